/* Rows for the tests of k-means: clustered rows as a pure function of a seed, and samples of them
 * over any communicator. */
#ifndef RT_TESTS_KMEANS_DATA_H
#define RT_TESTS_KMEANS_DATA_H

#include "core/checksum.h"
#include "core/memory.h"
#include "core/random.h"
#include "kmeans/lloyd.h"
#include "kmeans/sample.h"
#include "mpi/node_copy.h"
#include "mpi/partition.h"

#include <math.h>
#include <string.h>

struct kmeans_data {
    uint64_t n_rows;
    uint32_t dim;
    uint32_t n_clusters;
    float scale;       /* of all values */
    float skew;        /* part of the rows that lie in cluster 0 */
    uint64_t huge_row; /* this row holds 1e17s; UINT64_MAX: none */
    uint64_t nan_row;  /* this row holds a NaN */
    bool same;         /* all rows are alike */
    uint64_t seed;
    enum rt_element type;               /* RT_F32, or RT_U8: 128 + 16 x, rounded */
    bool native;                        /* how the sample keeps rows */
    const struct rt_rotation *rotation; /* or NULL */
};

static inline float kmeans_uniform(uint64_t seed, uint64_t a, uint64_t b)
{
    return (float)(rt_random(seed, RT_RANDOM_TEST, a, b, 0) >> 40) * 0x1p-24f - 0.5f;
}

static inline void kmeans_row(const struct kmeans_data *data, uint64_t row, float *out)
{
    uint64_t bits = rt_random(data->seed, RT_RANDOM_TEST, row, UINT64_MAX, 1);
    uint64_t cluster = rt_random_below(bits, data->n_clusters);
    if ((float)(rt_random(data->seed, RT_RANDOM_TEST, row, UINT64_MAX, 2) >> 40) * 0x1p-24f <
        data->skew)
        cluster = 0;
    for (uint32_t i = 0; i < data->dim; i++) {
        float center = 4 * kmeans_uniform(data->seed + 1, cluster, i);
        float noise = data->same ? 0 : kmeans_uniform(data->seed + 2, row, i);
        out[i] = data->scale * (data->same ? 1.25f : center + noise);
        if (row == data->huge_row)
            out[i] = 1e17f;
        if (row == data->nan_row)
            out[i] = NAN;
    }
}

static inline enum rt_status kmeans_read(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                                         struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct kmeans_data *data = ctx;
    float *row = NULL;
    RT_TRY(rt_array_new(data->dim, sizeof *row, &row, err));
    for (size_t i = 0; i < n_rows; i++) {
        kmeans_row(data, begin + i, row);
        if (data->type == RT_F32)
            memcpy((float *)rows + i * data->dim, row, data->dim * sizeof *row);
        else
            for (uint32_t j = 0; j < data->dim; j++)
                ((uint8_t *)rows)[i * data->dim + j] =
                    (uint8_t)fmaxf(0, fminf(255, rintf(128 + 16 * row[j])));
    }
done:
    rt_array_free(row);
    return st;
}

static inline struct kmeans_data kmeans_data_of(uint64_t n_rows, uint32_t dim, uint32_t n_clusters,
                                                uint64_t seed)
{
    struct kmeans_data data = {.n_rows = n_rows,
                               .dim = dim,
                               .n_clusters = n_clusters,
                               .scale = 1,
                               .huge_row = UINT64_MAX,
                               .nan_row = UINT64_MAX,
                               .seed = seed};
    return data;
}

static inline enum rt_status kmeans_sample(MPI_Comm comm, struct kmeans_data *data,
                                           enum rt_metric metric, uint64_t n_wanted,
                                           struct rt_sample **out, struct rt_error *err)
{
    int rank = 0;
    int n_ranks = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    struct rt_range own = rt_share(data->n_rows, rank, n_ranks, 1);
    struct rt_sample_options options = {.n_rows = data->n_rows,
                                        .n_wanted = n_wanted,
                                        .dim = data->dim,
                                        .type = data->type,
                                        .native = data->native,
                                        .rotation = data->rotation,
                                        .metric = metric,
                                        .seed = data->seed,
                                        .begin = own.begin,
                                        .end = own.end,
                                        .ctx = data,
                                        .read = kmeans_read};
    return rt_sample_read(comm, &options, out, err);
}

static inline struct rt_lloyd_setting kmeans_setting(const struct rt_sample *sample,
                                                     enum rt_metric metric, bool spherical,
                                                     uint32_t n_iterations)
{
    struct rt_lloyd_setting setting = {.distance = rt_means_distance(metric, spherical),
                                       .spherical = spherical,
                                       .seed = 7,
                                       .n_iterations = n_iterations};
    setting.scale = rt_scale_new(sample->exponent, sample->n_total ? sample->n_total : 1,
                                 sample->dim, setting.distance, spherical);
    return setting;
}

/* Ranks that train together, and those of them that share memory with this one, as if on a node. */
struct kmeans_ranks {
    MPI_Comm comm, node;
};
static inline struct kmeans_ranks kmeans_alone(void)
{
    return (struct kmeans_ranks){MPI_COMM_SELF, MPI_COMM_NULL};
}
/* All ranks. kind, modulo 4: nobody shares; all do; nodes of consecutive ranks, two each; nodes of
 * unequal size whose ranks lie apart. */
static inline struct kmeans_ranks kmeans_together(int kind)
{
    struct kmeans_ranks ranks = {MPI_COMM_WORLD, MPI_COMM_NULL};
    int rank = 0;
    MPI_Comm_rank(ranks.comm, &rank);
    int color = kind % 4 == 1 ? 0 : kind % 4 == 2 ? rank / 2 : rank % 3 == 1;
    if (kind % 4 != 0)
        MPI_Comm_split(ranks.comm, color, rank, &ranks.node);
    return ranks;
}
static inline void kmeans_ranks_free(struct kmeans_ranks *ranks)
{
    if (ranks->node != MPI_COMM_NULL)
        MPI_Comm_free(&ranks->node);
}
/* Leaves for these ranks; NULL on all where there is no memory. */
static inline struct rt_node_copy *kmeans_leaves(const struct kmeans_ranks *ranks, uint32_t k,
                                                 uint32_t dim)
{
    struct rt_error err;
    struct rt_node_copy *leaves = NULL;
    size_t n_bytes = (size_t)k * dim * sizeof(float);
    enum rt_status st = rt_node_copy_new(ranks->comm, ranks->node, n_bytes, &leaves, &err);
    return st == RT_OK ? leaves : NULL;
}
/* A copy of them, which the caller frees; NULL where there is no memory. */
static inline float *kmeans_values(const struct rt_node_copy *leaves, uint32_t k, uint32_t dim)
{
    struct rt_error err;
    float *values = NULL;
    if (rt_array_new(k, dim * sizeof *values, &values, &err) == RT_OK)
        memcpy(values, rt_node_copy_data(leaves), (size_t)k * dim * sizeof *values);
    return values;
}

static inline bool kmeans_same_bits(const void *a, const void *b, size_t n_bytes)
{
    struct rt_hash128 left = rt_hash128(a, n_bytes);
    struct rt_hash128 right = rt_hash128(b, n_bytes);
    return left.low == right.low && left.high == right.high;
}

#endif
