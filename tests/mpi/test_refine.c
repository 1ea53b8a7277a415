/* Global refinement: the same bits on any number of ranks, sums that are those of fresh ones, a
 * better objective. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "core/memory.h"
#include "kmeans/hierarchical.h"
#include "kmeans/refine.h"

struct refined {
    float *before; /* k x dim */
    float *after;
    uint32_t *leaf; /* of each local row */
    struct rt_sample *sample;
    struct rt_lloyd_setting setting;
    struct rt_refine_result result;
};

static void refined_free(struct refined *r)
{
    rt_array_free(r->before);
    rt_array_free(r->after);
    rt_array_free(r->leaf);
    rt_sample_free(r->sample);
}

/* Rows begin at the leaf that training gave them, or at any. */
static void refine_from(bool is_anywhere, struct kmeans_ranks ranks, struct kmeans_data *data,
                        enum rt_metric metric, uint32_t k, uint32_t n_rounds,
                        enum rt_proposer proposer, struct refined *out)
{
    struct rt_error err;
    MPI_Comm comm = ranks.comm;
    memset(out, 0, sizeof *out);
    CHECK_OK(kmeans_sample(comm, data, metric, data->n_rows, &out->sample, &err));
    struct rt_node_copy *leaves = kmeans_leaves(&ranks, k, data->dim);
    out->setting = kmeans_setting(out->sample, metric, metric != RT_L2, 3);
    out->setting.proposer = proposer;
    CHECK_OK(rt_hierarchical_train(comm, &out->setting, out->sample, k, leaves, &out->leaf, NULL,
                                   NULL, &err));
    out->before = kmeans_values(leaves, k, data->dim);
    for (size_t i = 0; i < out->sample->n_local && is_anywhere; i++)
        out->leaf[i] = (uint32_t)(rt_sample_number(out->sample, i) * 7919 % k);
    struct rt_refine_options options = {.n_rounds = n_rounds};
    CHECK_OK(rt_refine(comm, &out->setting, &options, out->sample, k, leaves, &out->leaf,
                       &out->result, &err));
    out->after = kmeans_values(leaves, k, data->dim);
    rt_node_copy_free(leaves);
    kmeans_ranks_free(&ranks);
}

static void refine(struct kmeans_ranks ranks, struct kmeans_data *data, enum rt_metric metric,
                   uint32_t k, uint32_t n_rounds, enum rt_proposer proposer, struct refined *out)
{
    refine_from(false, ranks, data, metric, k, n_rounds, proposer, out);
}

static void check_ranks(struct kmeans_data *data, enum rt_metric metric, uint32_t k,
                        uint32_t n_rounds)
{
    struct refined alone;
    refine(kmeans_alone(), data, metric, k, n_rounds, RT_PROPOSE_NONE, &alone);
    for (int p = RT_PROPOSE_AUTO; p <= RT_PROPOSE_NONE; p++) {
        struct refined together;
        refine(kmeans_together(p), data, metric, k, n_rounds, (enum rt_proposer)p, &together);
        CHECK(kmeans_same_bits(alone.after, together.after, (size_t)k * data->dim * sizeof(float)));
        CHECK(alone.result.objective == together.result.objective);
        CHECK(alone.result.n_moved == together.result.n_moved);
        CHECK(alone.result.n_neighbours == together.result.n_neighbours);
        refined_free(&together);
    }
    refined_free(&alone);
}

RT_TEST("refined leaves are the same bits on any number of ranks and with any proposer")
{
    struct kmeans_data data = kmeans_data_of(5000, 10, 60, 41);
    check_ranks(&data, RT_L2, 120, 4);
    check_ranks(&data, RT_COSINE, 90, 3);
    check_ranks(&data, RT_IP, 90, 3);
}
RT_TEST("so they are with few rows, identical rows, a skewed cell, one leaf")
{
    struct kmeans_data data = kmeans_data_of(2000, 6, 30, 42);
    data.skew = 0.7f;
    check_ranks(&data, RT_L2, 100, 3);
    data.skew = 0;
    check_ranks(&data, RT_L2, 1, 3);
    data.n_rows = 9;
    check_ranks(&data, RT_L2, 9, 3);
    data.n_rows = 400;
    data.same = true;
    check_ranks(&data, RT_L2, 40, 3);
}

RT_TEST("sums that followed the rows are those of a fresh count")
{
    enum { K = 80, D = 7 };
    struct kmeans_data data = kmeans_data_of(4000, D, 40, 43);
    struct refined r;
    refine(kmeans_together(3), &data, RT_L2, K, 5, RT_PROPOSE_AUTO, &r);
    int64_t sums[K * D] = {0};
    int64_t counts[K] = {0};
    float buffer[D];
    for (size_t i = 0; i < r.sample->n_local; i++) {
        rt_means_add(&r.setting.scale, sums + r.leaf[i] * D, rt_sample_get(r.sample, i, 1, buffer),
                     D);
        counts[r.leaf[i]]++;
    }
    rt_sum_i64(MPI_COMM_WORLD, sums, K * D);
    rt_sum_i64(MPI_COMM_WORLD, counts, K);
    float fresh[K * D];
    memcpy(fresh, r.after, sizeof fresh);
    rt_means_divide(&r.setting.scale, sums, counts, K, D, false, fresh);
    CHECK(kmeans_same_bits(fresh, r.after, sizeof fresh));
    refined_free(&r);
}

RT_TEST("rows that begin anywhere find home, however many must change ranks")
{
    enum { K = 300, D = 6 };
    struct kmeans_data data = kmeans_data_of(6000, D, 60, 46);
    for (int is_skewed = 0; is_skewed < 2; is_skewed++) {
        struct refined alone;
        struct refined together;
        data.skew = is_skewed ? 0.8f : 0;
        refine_from(true, kmeans_alone(), &data, RT_L2, K, 4, RT_PROPOSE_AUTO, &alone);
        refine_from(true, kmeans_together(2 + is_skewed), &data, RT_L2, K, 4, RT_PROPOSE_AUTO,
                    &together);
        CHECK(kmeans_same_bits(alone.after, together.after, K * D * sizeof(float)));
        CHECK(alone.result.objective == together.result.objective);
        uint64_t n[2] = {together.sample->n_local, 0};
        for (size_t i = 0; i < together.sample->n_local; i++)
            n[1] += rt_sample_number(together.sample, i);
        rt_sum_u64(MPI_COMM_WORLD, n, 2); /* none lost, none twice */
        CHECK(n[0] == data.n_rows && n[1] == data.n_rows * (data.n_rows - 1) / 2);
        refined_free(&together);
        refined_free(&alone);
    }
}

RT_TEST("no round raises the objective")
{
    struct kmeans_data data = kmeans_data_of(4000, 7, 40, 43);
    double before = INFINITY;
    for (uint32_t n_rounds = 2; n_rounds < 8; n_rounds++) {
        struct refined r;
        refine(kmeans_together(3), &data, RT_L2, 80, n_rounds, RT_PROPOSE_AUTO, &r);
        CHECK(r.result.objective > 0 && r.result.objective <= before * 1.000001);
        before = r.result.objective;
        refined_free(&r);
    }
}

static double objective_of(struct kmeans_data *data, const float *centroids, uint32_t k)
{
    double sum = 0;
    float row[64];
    for (uint64_t i = 0; i < data->n_rows; i++) {
        kmeans_row(data, i, row);
        double best = INFINITY;
        for (uint32_t c = 0; c < k; c++) {
            double e = 0;
            for (uint32_t j = 0; j < data->dim; j++) {
                double difference = (double)row[j] - (double)centroids[c * data->dim + j];
                e += difference * difference;
            }
            best = e < best ? e : best;
        }
        sum += best;
    }
    return sum;
}

RT_TEST("the objective over nearest leaves is better than before, and within 2 % of flat k-means")
{
    enum { K = 60, D = 8 };
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(4000, D, 40, 44);
    struct refined r;
    refine(kmeans_together(3), &data, RT_L2, K, 8, RT_PROPOSE_AUTO, &r);
    double before = objective_of(&data, r.before, K);
    double after = objective_of(&data, r.after, K);
    CHECK(after < before);
    struct rt_sample *sample = NULL;
    float flat[K * D];
    CHECK_OK(kmeans_sample(MPI_COMM_WORLD, &data, RT_L2, data.n_rows, &sample, &err));
    struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 10);
    struct rt_lloyd_place place = {0, 0};
    struct rt_lloyd_result result;
    CHECK_OK(rt_lloyd_train(MPI_COMM_WORLD, &setting, place, sample, 0, sample->n_local, K, flat,
                            NULL, &result, &err));
    CHECK(after < 1.02 * objective_of(&data, flat, K));
    rt_sample_free(sample);
    refined_free(&r);
}

RT_TEST("above 8,192 leaves neighbours are sought through cells")
{
    enum { K = 9000, D = 4, ROUNDS = 7 };
    struct kmeans_data data = kmeans_data_of(12000, D, 400, 45);
    struct refined alone;
    struct refined together;
    refine(kmeans_alone(), &data, RT_L2, K, ROUNDS, RT_PROPOSE_AUTO, &alone);
    refine(kmeans_together(3), &data, RT_L2, K, ROUNDS, RT_PROPOSE_AUTO, &together);
    CHECK(kmeans_same_bits(alone.after, together.after, K * D * sizeof(float)));
    refined_free(&together);
    refined_free(&alone);
}

RT_TEST_MAIN()
