/* Hierarchical k-means: the same bits on any number of ranks, for skewed cells and cells that span
 * ranks. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "core/memory.h"
#include "kmeans/hierarchical.h"

/* k x dim centroids, freed by the caller, and the sum over the sample's numbers and rows, which
 * must outlive travel. */
static float *train(struct kmeans_ranks ranks, struct kmeans_data *data, enum rt_metric metric,
                    uint32_t k, uint64_t checks[2])
{
    struct rt_error err;
    struct rt_sample *sample = NULL;
    MPI_Comm comm = ranks.comm;
    CHECK_OK(kmeans_sample(comm, data, metric, data->n_rows, &sample, &err));
    if (!sample)
        return NULL;
    struct rt_node_copy *leaves = kmeans_leaves(&ranks, k, data->dim);
    struct rt_lloyd_setting setting = kmeans_setting(sample, metric, metric != RT_L2, 4);
    CHECK_OK(rt_hierarchical_train(comm, &setting, sample, k, leaves, NULL, NULL, NULL, &err));
    float *centroids = kmeans_values(leaves, k, data->dim);
    rt_node_copy_free(leaves);
    checks[0] = checks[1] = 0;
    float row[256];
    for (size_t i = 0; i < sample->n_local; i++) {
        uint64_t number = rt_sample_number(sample, i);
        checks[0] += number;
        kmeans_row(data, number, row);
        if (metric == RT_L2 && data->huge_row == UINT64_MAX)
            checks[1] +=
                memcmp(row, rt_sample_get(sample, i, 1, row), sizeof *row * data->dim) == 0;
    }
    rt_sum_u64(comm, checks, 2);
    CHECK(checks[0] == sample->n_total * (sample->n_total - 1) / 2);
    if (metric == RT_L2 && data->huge_row == UINT64_MAX)
        CHECK(checks[1] == sample->n_total);
    rt_sample_free(sample);
    return centroids;
}

static void check_ranks(struct kmeans_data *data, enum rt_metric metric, uint32_t k)
{
    uint64_t checks[2];
    float *alone = train(kmeans_alone(), data, metric, k, checks);
    for (int kind = 0; kind < 4; kind++) {
        struct kmeans_ranks ranks = kmeans_together(kind);
        float *together = train(ranks, data, metric, k, checks);
        if (alone && together)
            CHECK(kmeans_same_bits(alone, together, (size_t)k * data->dim * sizeof *alone));
        rt_array_free(together);
        kmeans_ranks_free(&ranks);
    }
    rt_array_free(alone);
}

RT_TEST("leaves are the same bits on any number of ranks, and no row is lost on the way")
{
    struct kmeans_data data = kmeans_data_of(6000, 12, 50, 31);
    check_ranks(&data, RT_L2, 100);
    check_ranks(&data, RT_COSINE, 70);
    check_ranks(&data, RT_IP, 70);
}
RT_TEST("a cell of most rows spans ranks and is trained in cells of its own")
{
    struct kmeans_data data = kmeans_data_of(8000, 6, 40, 32);
    data.skew = 0.8f;
    check_ranks(&data, RT_L2, 400);
}
RT_TEST("identical rows, few rows, one leaf, a leaf for each row, one row of 1e17")
{
    struct kmeans_data data = kmeans_data_of(300, 5, 10, 33);
    check_ranks(&data, RT_L2, 1);
    check_ranks(&data, RT_L2, 2);
    check_ranks(&data, RT_L2, 300);
    data.huge_row = 77;
    check_ranks(&data, RT_L2, 40);
    data.huge_row = UINT64_MAX;
    data.same = true;
    check_ranks(&data, RT_L2, 40);
    data.same = false;
    data.n_rows = 3;
    check_ranks(&data, RT_L2, 3);
}
RT_TEST("leaves of given cells: seats as told, cells without seats left")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(900, 4, 10, 34);
    MPI_Comm comms[2] = {MPI_COMM_SELF, MPI_COMM_WORLD};
    float leaves[2][12 * 4];
    uint64_t seats[5] = {4, 0, 1, 6, 1};
    for (int i = 0; i < 2; i++) {
        struct rt_sample *sample = NULL;
        uint32_t cell[900];
        CHECK_OK(kmeans_sample(comms[i], &data, RT_L2, data.n_rows, &sample, &err));
        for (size_t r = 0; r < sample->n_local; r++)
            cell[r] = (uint32_t)(rt_sample_number(sample, r) / 7 % 5);
        struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 3);
        CHECK_OK(rt_hierarchical_train_cells(comms[i], &setting, RT_PLACE_SPLIT, sample, cell, 5,
                                             seats, leaves[i], NULL, &err));
        rt_sample_free(sample);
    }
    CHECK(kmeans_same_bits(leaves[0], leaves[1], sizeof leaves[0]));
}

/* Parts kept in this process, as checkpoint/ keeps them: due after every cell. */
#define MOST_PARTS 400
struct memory_keep {
    unsigned char *bytes[MOST_PARTS];
    size_t n_bytes[MOST_PARTS];
    size_t n, n_found; /* kept so far; of those, what a run that goes on finds */
};

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static enum rt_status save_part(void *ctx, const struct rt_keep_piece *pieces, uint32_t n_pieces,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct memory_keep *m = ctx;
    size_t n = 0;
    if (m->n == MOST_PARTS)
        RT_FAIL(RT_NOMEM, "too many parts");
    for (uint32_t i = 0; i < n_pieces; i++)
        n += pieces[i].n_bytes;
    RT_TRY(rt_array_new(n, 1, &m->bytes[m->n], err));
    m->n_bytes[m->n] = n;
    unsigned char *at = m->bytes[m->n++];
    for (uint32_t i = 0; i < n_pieces; at += pieces[i++].n_bytes)
        memcpy(at, pieces[i].bytes, pieces[i].n_bytes);
done:
    return st;
}

static enum rt_status load_parts(void *ctx, rt_keep_visit visit, void *visit_context,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct memory_keep *m = ctx;
    for (size_t i = 0; i < m->n_found; i++) {
        unsigned char *bytes = NULL;
        RT_TRY(rt_array_new(m->n_bytes[i], 1, &bytes, err));
        memcpy(bytes, m->bytes[i], m->n_bytes[i]);
        RT_TRY(visit(visit_context, bytes, m->n_bytes[i], err));
    }
done:
    return st;
}

struct solution {
    float *centroids;
    uint64_t leaves; /* a sum over all rows */
    uint64_t n_kept; /* parts of all ranks */
};

static struct solution train_kept(bool is_alone, struct kmeans_data *data, uint32_t k,
                                  struct memory_keep *memory)
{
    struct rt_error err;
    struct kmeans_ranks ranks = is_alone ? kmeans_alone() : kmeans_together(2);
    MPI_Comm comm = ranks.comm;
    struct rt_sample *sample = NULL;
    struct solution out = {NULL, 0, 0};
    uint32_t *leaf = NULL;
    struct rt_keep keep = {
        .ctx = memory, .part_is_due = always, .save_part = save_part, .load_parts = load_parts};
    size_t n_before = memory->n;
    CHECK_OK(kmeans_sample(comm, data, RT_L2, data->n_rows, &sample, &err));
    struct rt_node_copy *leaves = kmeans_leaves(&ranks, k, data->dim);
    struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 4);
    CHECK_OK(rt_hierarchical_train(comm, &setting, sample, k, leaves, &leaf, &keep, NULL, &err));
    out.centroids = kmeans_values(leaves, k, data->dim);
    rt_node_copy_free(leaves);
    kmeans_ranks_free(&ranks);
    for (size_t i = 0; i < sample->n_local; i++) {
        CHECK(leaf[i] < k);
        out.leaves += rt_random(1, RT_RANDOM_TEST, rt_sample_number(sample, i), leaf[i], 0);
    }
    out.n_kept = memory->n - n_before;
    rt_sum_u64(comm, &out.leaves, 1);
    rt_sum_u64(comm, &out.n_kept, 1);
    rt_array_free(leaf);
    rt_sample_free(sample);
    return out;
}

static void forget(struct memory_keep *memory)
{
    for (size_t i = 0; i < memory->n; i++)
        rt_array_free(memory->bytes[i]);
    *memory = (struct memory_keep){.n = 0};
}

/* Kept on all ranks, gone on with on one or all of them, with a part of what was kept. */
static void check_kept(struct kmeans_data *data, uint32_t k)
{
    struct memory_keep memory = {.n = 0};
    struct solution whole = train_kept(false, data, k, &memory);
    size_t n_bytes = (size_t)k * data->dim * sizeof *whole.centroids;
    size_t n_all = memory.n;
    CHECK(whole.n_kept > 0);
    for (int part = 0; part <= 2; part++) {
        for (uint64_t alone = 0; alone <= 1; alone++) {
            memory.n_found = n_all * (size_t)part / 2;
            struct solution again = train_kept(alone, data, k, &memory);
            CHECK(kmeans_same_bits(whole.centroids, again.centroids, n_bytes));
            CHECK(whole.leaves == again.leaves);
            CHECK(part == 0 || again.n_kept < whole.n_kept + alone);
            if (part == 2 && !alone)
                CHECK(again.n_kept == 0); /* nothing was trained again */
            rt_array_free(again.centroids);
            for (; memory.n > n_all; memory.n--)
                rt_array_free(memory.bytes[memory.n - 1]);
        }
    }
    rt_array_free(whole.centroids);
    forget(&memory);
}

RT_TEST("finished cells are found again, on any number of ranks, and not trained again")
{
    struct kmeans_data data = kmeans_data_of(6000, 12, 50, 31);
    check_kept(&data, 100);
    data.skew = 0.8f;
    check_kept(&data, 400);
}

RT_TEST("parts that are not of this training are left alone")
{
    struct kmeans_data data = kmeans_data_of(2000, 8, 20, 31);
    struct memory_keep memory = {.n = 0};
    struct solution whole = train_kept(false, &data, 60, &memory);
    size_t n_bytes = (size_t)60 * data.dim * sizeof *whole.centroids;
    for (size_t i = 0; i < memory.n; i++)
        memory.n_bytes[i] -= 4;
    memory.n_found = memory.n;
    struct solution again = train_kept(false, &data, 60, &memory);
    CHECK(kmeans_same_bits(whole.centroids, again.centroids, n_bytes));
    CHECK(again.n_kept == whole.n_kept);
    rt_array_free(whole.centroids);
    rt_array_free(again.centroids);
    forget(&memory);
}

RT_TEST_MAIN()
