/* Flat k-means: the same bits on any number of ranks, and right by a plain oracle. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "core/memory.h"

static bool reseeds;        /* in what is trained from here on */
static bool stops_by_moves; /* as cells do, whose rows are coded once */

/* Trains over comm; returns k x dim centroids (freed by the caller), or NULL. */
static float *train(MPI_Comm comm, struct kmeans_data *data, enum rt_metric metric, bool spherical,
                    uint32_t k, uint32_t n_iterations, enum rt_proposer proposer,
                    struct rt_lloyd_result *result)
{
    struct rt_error err;
    struct rt_sample *sample = NULL;
    float *centroids = NULL;
    CHECK_OK(kmeans_sample(comm, data, metric, data->n_rows, &sample, &err));
    if (!sample)
        return NULL;
    CHECK_OK(rt_array_new(k, data->dim * sizeof *centroids, &centroids, &err));
    struct rt_lloyd_setting setting = kmeans_setting(sample, metric, spherical, n_iterations);
    setting.proposer = proposer;
    setting.reseeds = reseeds;
    setting.stops_by_moves = stops_by_moves;
    struct rt_lloyd_place place = {0, 0};
    CHECK_OK(rt_lloyd_train(comm, &setting, place, sample, 0, sample->n_local, k, centroids, NULL,
                            result, &err));
    rt_sample_free(sample);
    return centroids;
}

/* Every rank trains alone over all rows, then all together: the bits must be the same. */
static void check_ranks(struct kmeans_data *data, enum rt_metric metric, bool spherical, uint32_t k,
                        uint32_t n_iterations)
{
    struct rt_lloyd_result alone_result;
    float *alone = train(MPI_COMM_SELF, data, metric, spherical, k, n_iterations, RT_PROPOSE_NONE,
                         &alone_result);
    for (int p = RT_PROPOSE_AUTO; p <= RT_PROPOSE_NONE; p++) {
        struct rt_lloyd_result result;
        float *together = train(MPI_COMM_WORLD, data, metric, spherical, k, n_iterations,
                                (enum rt_proposer)p, &result);
        if (alone && together)
            CHECK(kmeans_same_bits(alone, together, (size_t)k * data->dim * sizeof *alone));
        if (!stops_by_moves) /* else nobody asks for it */
            CHECK(result.joined == alone_result.joined);
        CHECK(result.n_moved == alone_result.n_moved);
        CHECK(result.n_iterations == alone_result.n_iterations);
        rt_array_free(together);
    }
    rt_array_free(alone);
}

RT_TEST("centroids are the same bits on any number of ranks and with any proposer")
{
    struct kmeans_data data = kmeans_data_of(3000, 24, 40, 1);
    check_ranks(&data, RT_L2, false, 50, 8);
}
RT_TEST("so they are under cosine and ip, spherical or not")
{
    struct kmeans_data data = kmeans_data_of(1500, 17, 20, 2);
    check_ranks(&data, RT_COSINE, true, 30, 6);
    check_ranks(&data, RT_IP, true, 30, 6);
    check_ranks(&data, RT_IP, false, 30, 6);
}
RT_TEST("so they are for magnitudes of 1e-6 and 1e6, and with one row of 1e17")
{
    struct kmeans_data data = kmeans_data_of(800, 9, 10, 3);
    data.scale = 1e-6f;
    check_ranks(&data, RT_L2, false, 12, 5);
    check_ranks(&data, RT_IP, true, 12, 5);
    data.scale = 1e6f;
    check_ranks(&data, RT_L2, false, 12, 5);
    data.scale = 1;
    data.huge_row = 333;
    check_ranks(&data, RT_L2, false, 12, 5);
}
RT_TEST("so they are with more ranks than rows, one row, and as many centroids as rows")
{
    struct kmeans_data data = kmeans_data_of(5, 3, 5, 4);
    check_ranks(&data, RT_L2, false, 2, 5);
    check_ranks(&data, RT_L2, false, 5, 5);
    data.n_rows = 1;
    check_ranks(&data, RT_L2, false, 1, 5);
}
RT_TEST("so they are without iterations: then they are rows")
{
    struct kmeans_data data = kmeans_data_of(300, 5, 5, 5);
    check_ranks(&data, RT_L2, false, 20, 0);
    struct rt_lloyd_result result;
    float *c = train(MPI_COMM_WORLD, &data, RT_L2, false, 20, 0, RT_PROPOSE_NONE, &result);
    for (int i = 0; c && i < 20; i++) {
        bool found = false;
        for (uint64_t row = 0; row < data.n_rows && !found; row++) {
            float values[5];
            kmeans_row(&data, row, values);
            found = memcmp(values, c + i * 5, sizeof values) == 0;
        }
        CHECK(found);
    }
    rt_array_free(c);
}
RT_TEST("identical rows give one centroid that is the row, and the others stay where they are")
{
    struct kmeans_data data = kmeans_data_of(200, 6, 5, 6);
    data.same = true;
    check_ranks(&data, RT_L2, false, 9, 10);
    struct rt_lloyd_result result;
    float *c = train(MPI_COMM_WORLD, &data, RT_L2, false, 9, 10, RT_PROPOSE_NONE, &result);
    for (int i = 0; c && i < 9 * 6; i++)
        CHECK(c[i] == 1.25f);
    CHECK(result.objective == 0);
    CHECK(result.has_settled);
    rt_array_free(c);
}
RT_TEST("so they are where small lists are given to the largest")
{
    struct kmeans_data data = kmeans_data_of(4000, 16, 12, 9);
    struct rt_lloyd_result with, without;
    float *usual = train(MPI_COMM_WORLD, &data, RT_L2, false, 40, 10, RT_PROPOSE_NONE, &without);
    reseeds = true;
    float *reseeded = train(MPI_COMM_WORLD, &data, RT_L2, false, 40, 10, RT_PROPOSE_NONE, &with);
    if (usual && reseeded)
        CHECK(!kmeans_same_bits(usual, reseeded, (size_t)40 * data.dim * sizeof *usual));
    check_ranks(&data, RT_L2, false, 40, 10);
    stops_by_moves = true;
    check_ranks(&data, RT_L2, false, 40, 10);
    check_ranks(&data, RT_L2, false, 40, 3); /* the last iteration gives nothing away */
    stops_by_moves = false;
    reseeds = false;
    rt_array_free(usual);
    rt_array_free(reseeded);
}
RT_TEST("empty lists are filled from the largest")
{
    struct kmeans_data data =
        kmeans_data_of(600, 4, 2, 7); /* two clusters, many twins among the first rows */
    data.scale = 0.5f;
    check_ranks(&data, RT_L2, false, 150, 10);
    struct rt_lloyd_result result;
    float *c = train(MPI_COMM_WORLD, &data, RT_L2, false, 150, 30, RT_PROPOSE_NONE, &result);
    rt_array_free(c);
}

/* One iteration by the book, in double. */
static void oracle_step(struct kmeans_data *data, const float *from, uint32_t k, double *means,
                        double *objective)
{
    double count[64] = {0};
    float row[64];
    *objective = 0;
    memset(means, 0, k * data->dim * sizeof *means);
    for (uint64_t r = 0; r < data->n_rows; r++) {
        kmeans_row(data, r, row);
        double best = INFINITY;
        uint32_t at = 0;
        for (uint32_t c = 0; c < k; c++) {
            double sum = 0;
            for (uint32_t i = 0; i < data->dim; i++) {
                double difference = (double)row[i] - (double)from[c * data->dim + i];
                sum += difference * difference;
            }
            if (sum < best) {
                best = sum;
                at = c;
            }
        }
        *objective += best;
        count[at]++;
        for (uint32_t i = 0; i < data->dim; i++)
            means[at * data->dim + i] += (double)row[i];
    }
    for (uint32_t c = 0; c < k; c++)
        for (uint32_t i = 0; i < data->dim; i++)
            means[c * data->dim + i] /= count[c];
}

RT_TEST("an iteration agrees with means and objective in double")
{
    enum { K = 16, D = 12 };
    struct kmeans_data data = kmeans_data_of(4000, D, 16, 8);
    struct rt_lloyd_result result;
    double means[K * D];
    double objective = 0;
    float *first = train(MPI_COMM_WORLD, &data, RT_L2, false, K, 0, RT_PROPOSE_AUTO, &result);
    float *next = train(MPI_COMM_WORLD, &data, RT_L2, false, K, 1, RT_PROPOSE_AUTO, &result);
    if (first && next) {
        oracle_step(&data, first, K, means, &objective);
        for (int i = 0; i < K * D; i++)
            CHECK(fabs(means[i] - (double)next[i]) <= 1e-7 * fabs(means[i]) + 1e-8);
        CHECK(fabs(objective - result.objective) <= 1e-5 * objective);
    }
    rt_array_free(first);
    rt_array_free(next);
}

static double last_objective;
static int n_rises;
static void watch_objective(void *ctx, uint32_t iteration, uint64_t n_moved, double objective)
{
    (void)ctx;
    (void)n_moved;
    n_rises += iteration > 1 && objective > last_objective;
    last_objective = objective;
}

RT_TEST("the objective never rises while no list is empty")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(5000, 8, 12, 9);
    struct rt_sample *sample = NULL;
    float centroids[10 * 8];
    CHECK_OK(kmeans_sample(MPI_COMM_WORLD, &data, RT_L2, data.n_rows, &sample, &err));
    struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 50);
    setting.progress = watch_objective;
    struct rt_lloyd_place place = {0, 0};
    struct rt_lloyd_result result;
    n_rises = 0;
    CHECK_OK(rt_lloyd_train(MPI_COMM_WORLD, &setting, place, sample, 0, sample->n_local, 10,
                            centroids, NULL, &result, &err));
    CHECK(n_rises == 0);
    CHECK(result.n_iterations > 1);
    CHECK(result.has_settled);
    rt_sample_free(sample);
}

RT_TEST("sums made in slices are those made at once")
{
    struct rt_error err;
    enum { K = 40 };
    struct kmeans_data data =
        kmeans_data_of(60, 65535, 20, 10); /* 40 x 65535 x 8 bytes are more than a slice's 16 MiB */
    struct rt_sample *sample = NULL;
    float *together = NULL;
    CHECK_OK(kmeans_sample(MPI_COMM_WORLD, &data, RT_L2, data.n_rows, &sample, &err));
    CHECK_OK(rt_array_new(K, data.dim * sizeof *together, &together, &err));
    struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 2);
    struct rt_lloyd_place place = {0, 0};
    struct rt_lloyd_result result;
    CHECK_OK(rt_lloyd_train(MPI_COMM_WORLD, &setting, place, sample, 0, sample->n_local, K,
                            together, NULL, &result, &err));
    rt_sample_free(sample);
    data.n_rows = 60;
    float *alone = train(MPI_COMM_SELF, &data, RT_L2, false, K, 2, RT_PROPOSE_NONE, &result);
    if (alone && together)
        CHECK(kmeans_same_bits(alone, together, (size_t)K * data.dim * sizeof *alone));
    rt_array_free(alone);
    rt_array_free(together);
}

RT_TEST_MAIN()
