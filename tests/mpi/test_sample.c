/* The sample: drawn by blocks, judged, numbered and scaled alike on any number of ranks; both ways
 * of keeping it. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "core/memory.h"

/* What a sample holds, whoever holds it. */
struct summary {
    uint64_t n, numbers, hash;
    int exponent;
    uint64_t n_bad, n_far;
};

static struct summary summary_of(MPI_Comm comm, struct rt_sample *sample)
{
    struct summary s = {
        .exponent = sample->exponent, .n_bad = sample->n_bad_total, .n_far = sample->n_far_total};
    struct rt_error err;
    float *buffer = NULL;
    CHECK_OK(rt_array_new(rt_sample_buffer_floats(sample, 2), sizeof *buffer, &buffer, &err));
    for (size_t i = 0; i < sample->n_local; i++) {
        uint64_t number = rt_sample_number(sample, i);
        const float *row = rt_sample_get(sample, i, 1, buffer);
        uint64_t hash = rt_hash128(row, sample->dim * sizeof *row).low;
        s.n++;
        s.numbers += rt_mix64(number + 1);
        s.hash += rt_mix64(hash ^ rt_mix64(number));
        uint32_t index[2] = {(uint32_t)i, 0};
        rt_sample_gather(sample, index, 2, buffer);
        CHECK(rt_hash128(buffer, sample->dim * sizeof *row).low == hash);
    }
    uint64_t sums[3] = {s.n, s.numbers, s.hash};
    rt_sum_u64(comm, sums, 3);
    s.n = sums[0];
    s.numbers = sums[1];
    s.hash = sums[2];
    CHECK(s.n == sample->n_total);
    uint64_t all = 0;
    for (uint64_t i = 0; i < s.n; i++)
        all += rt_mix64(i + 1);
    CHECK(all == s.numbers); /* 0 .. n - 1, each once */
    rt_array_free(buffer);
    return s;
}

static void check_same(struct summary a, struct summary b)
{
    CHECK(a.n == b.n && a.numbers == b.numbers && a.hash == b.hash && a.exponent == b.exponent);
    CHECK(a.n_bad == b.n_bad && a.n_far == b.n_far);
}

static struct summary check_ranks(struct kmeans_data *data, enum rt_metric metric,
                                  uint64_t n_wanted)
{
    struct rt_error err;
    struct rt_sample *sample = NULL;
    struct summary alone = {0};
    struct summary together = {0};
    CHECK_OK(kmeans_sample(MPI_COMM_SELF, data, metric, n_wanted, &sample, &err));
    if (sample)
        alone = summary_of(MPI_COMM_SELF, sample);
    rt_sample_free(sample);
    sample = NULL;
    CHECK_OK(kmeans_sample(MPI_COMM_WORLD, data, metric, n_wanted, &sample, &err));
    if (sample)
        together = summary_of(MPI_COMM_WORLD, sample);
    rt_sample_free(sample);
    check_same(alone, together);
    return together;
}

RT_TEST("the same rows, numbers and scale on any number of ranks")
{
    struct kmeans_data data = kmeans_data_of(20000, 64, 9, 51); /* blocks of 64 rows */
    struct summary s = check_ranks(&data, RT_L2, 3000);
    CHECK(s.n >= 3000 && s.n < 3064);
    s = check_ranks(&data, RT_L2, 1000000);
    CHECK(s.n == 20000);
    s = check_ranks(&data, RT_COSINE, 500);
    CHECK(s.exponent <= 0);
    data.n_rows = 2;
    check_ranks(&data, RT_L2, 10);
    data.n_rows = 0;
    s = check_ranks(&data, RT_L2, 10);
    CHECK(s.n == 0);
    data = kmeans_data_of(300, 5000, 9, 52); /* blocks of one row */
    s = check_ranks(&data, RT_L2, 20);
    CHECK(s.n == 20);
}
RT_TEST("a row of 1e17 does not vote and is counted; the scale is that of the others")
{
    struct kmeans_data data = kmeans_data_of(500, 8, 3, 53);
    struct summary plain = check_ranks(&data, RT_L2, 500);
    data.huge_row = 250;
    struct summary s = check_ranks(&data, RT_L2, 500);
    CHECK(s.n == 499 && s.n_far == 1 && s.exponent == plain.exponent);
}

static enum rt_status read_mostly_zeros(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                                        struct rt_error *err)
{
    const struct kmeans_data *data = ctx;
    enum rt_status st = kmeans_read(ctx, begin, n_rows, rows, err);
    for (size_t i = 0; i < n_rows; i++)
        if ((begin + i) % 4 != 0)
            memset((float *)rows + i * data->dim, 0, data->dim * sizeof(float));
    return st;
}

static struct rt_sample_options options_of(struct kmeans_data *data)
{
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    struct rt_range own = rt_share(data->n_rows, rt_test_rank, n_ranks, 1);
    struct rt_sample_options options = {.n_rows = data->n_rows,
                                        .n_wanted = data->n_rows,
                                        .dim = data->dim,
                                        .metric = RT_L2,
                                        .begin = own.begin,
                                        .end = own.end,
                                        .ctx = data,
                                        .read = kmeans_read};
    return options;
}

RT_TEST("rows of zeros do not keep the others from voting")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(400, 8, 3, 54);
    struct rt_sample_options options = options_of(&data);
    struct rt_sample *sample = NULL;
    options.read = read_mostly_zeros;
    CHECK_OK(rt_sample_read(MPI_COMM_WORLD, &options, &sample, &err));
    if (sample)
        CHECK(sample->n_total == 400 && sample->n_far_total == 0);
    rt_sample_free(sample);
}

static void name_row(void *ctx, uint64_t row, char *text, size_t text_size)
{
    (void)ctx;
    (void)snprintf(text, text_size, "'rows.fbin' row %d", (int)row);
}

RT_TEST("the first bad row ends it, named; skip counts it and goes on")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(1000, 8, 3, 55);
    data.nan_row = 617;
    struct rt_sample_options options = options_of(&data);
    struct rt_sample *sample = NULL;
    options.name_row = name_row;
    CHECK_STATUS(RT_INPUT, rt_sample_read(MPI_COMM_WORLD, &options, &sample, &err));
    CHECK(!sample);
    CHECK(strstr(err.text, "'rows.fbin' row 617"));
    options.skip_bad_rows = true;
    CHECK_OK(rt_sample_read(MPI_COMM_WORLD, &options, &sample, &err));
    if (sample)
        CHECK(sample->n_total == 999 && sample->n_bad_total == 1);
    rt_sample_free(sample);
}

static enum rt_status read_or_fail(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                                   struct rt_error *err)
{
    enum rt_status st = kmeans_read(ctx, begin, n_rows, rows, err);
    if (begin + n_rows == 1000)
        RT_FAIL(RT_IO, "the last row cannot be read");
done:
    return st;
}

RT_TEST("a rank that cannot read tells all")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(1000, 8, 3, 56);
    struct rt_sample_options options = options_of(&data);
    struct rt_sample *sample = NULL;
    options.read = read_or_fail;
    CHECK_STATUS(RT_IO, rt_sample_read(MPI_COMM_WORLD, &options, &sample, &err));
    CHECK(strstr(err.text, "the last row"));
}

static enum rt_status read_u8(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                              struct rt_error *err)
{
    const struct kmeans_data *data = ctx;
    uint8_t *to = rows;
    (void)err;
    for (size_t i = 0; i < n_rows; i++)
        for (uint32_t j = 0; j < data->dim; j++)
            to[i * data->dim + j] = (uint8_t)rt_random(data->seed, RT_RANDOM_TEST, begin + i, j, 9);
    return RT_OK;
}

RT_TEST("rows kept in their own type give the same bits as rows kept rotated, whole or narrow")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(700, 31, 3, 57);
    struct rt_rotation *rotation = NULL;
    CHECK_OK(rt_rotation_new(3, data.dim, &rotation, &err));
    for (int metric = RT_L2; metric <= RT_COSINE; metric++) {
        struct rt_sample_options options = options_of(&data);
        struct rt_sample *kept[2] = {NULL, NULL};
        options.read = read_u8;
        options.type = RT_U8;
        options.rotation = rotation;
        options.metric = (enum rt_metric)metric;
        for (int native = 0; native < 2; native++) {
            options.native = native;
            CHECK_OK(rt_sample_read(MPI_COMM_WORLD, &options, &kept[native], &err));
        }
        if (kept[0] && kept[1]) {
            check_same(summary_of(MPI_COMM_WORLD, kept[0]), summary_of(MPI_COMM_WORLD, kept[1]));
            rt_sample_narrow(kept[0], 5);
            rt_sample_narrow(kept[1], 5);
            check_same(summary_of(MPI_COMM_WORLD, kept[0]), summary_of(MPI_COMM_WORLD, kept[1]));
        }
        rt_sample_free(kept[0]);
        rt_sample_free(kept[1]);
    }
    rt_rotation_free(rotation);
}

RT_TEST_MAIN()
