#include "kmeans/levels.h"

#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <string.h>

void rt_levels_free(struct rt_levels *levels)
{
    for (uint32_t l = 0; l < RT_MAX_LEVELS; l++) {
        rt_array_free(levels->centroids[l]);
        rt_array_free(levels->parent[l]);
        rt_array_free(levels->first_child[l]);
    }
    rt_array_free(levels->was);
    memset(levels, 0, sizeof *levels);
}

/* --- numbers --- */

/* order: the present numbers of those of level l that stay, by (parent, number). stays: by present
 * number. upper: the new number of each present parent, NULL at the top. begins: n_upper + 1
 * entries, first child of each. */
static uint32_t order_level(const struct rt_levels *levels, uint32_t l, const bool *stays,
                            const uint32_t *upper, uint32_t n_upper, uint32_t *begins,
                            uint32_t *order)
{
    uint32_t n = 0;
    if (!upper) {
        for (uint32_t c = 0; c < levels->n[l]; c++)
            if (stays[c])
                order[n++] = c;
        return n;
    }
    memset(begins, 0, ((size_t)n_upper + 1) * sizeof *begins);
    for (uint32_t c = 0; c < levels->n[l]; c++)
        if (stays[c]) {
            begins[upper[levels->parent[l][c]]]++;
            n++;
        }
    uint32_t end = 0;
    for (uint32_t p = 0; p <= n_upper; p++) {
        end += begins[p];
        begins[p] = end;
    }
    for (uint32_t c = levels->n[l]; c-- > 0;)
        if (stays[c])
            order[--begins[upper[levels->parent[l][c]]]] = c;
    return n;
}

/* Moves level l's arrays into their new order; upper as above. */
static enum rt_status reorder_level(struct rt_levels *levels, uint32_t l, const uint32_t *order,
                                    uint32_t n, const uint32_t *upper, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t dim = levels->dim;
    float *centroids = NULL;
    uint32_t *parent = NULL;
    if (levels->centroids[l]) {
        RT_TRY(rt_array_new(n, dim * sizeof *centroids, &centroids, err));
        for (uint32_t i = 0; i < n; i++)
            memcpy(centroids + i * dim, levels->centroids[l] + order[i] * dim,
                   dim * sizeof *centroids);
    }
    if (upper) {
        RT_TRY(rt_array_new(n, sizeof *parent, &parent, err));
        for (uint32_t i = 0; i < n; i++)
            parent[i] = upper[levels->parent[l][order[i]]];
    }
    rt_array_free(levels->centroids[l]);
    rt_array_free(levels->parent[l]);
    levels->centroids[l] = centroids;
    levels->parent[l] = parent;
    levels->n[l] = n;
    centroids = NULL;
    parent = NULL;
done:
    rt_array_free(centroids);
    rt_array_free(parent);
    return st;
}

/* stays[l][c]: c has a leaf below it. */
static enum rt_status mark_staying(const struct rt_levels *levels, bool **stays,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t l = levels->n_levels; l-- > 0;) {
        RT_TRY(rt_array_zero(levels->n[l], sizeof *stays[l], &stays[l], err));
        if (l + 1 == levels->n_levels)
            memset(stays[l], true, levels->n[l] * sizeof *stays[l]);
        else
            for (uint32_t c = 0; c < levels->n[l + 1]; c++)
                if (stays[l + 1][c])
                    stays[l][levels->parent[l + 1][c]] = true;
    }
done:
    return st;
}

/* D10 */
enum rt_status rt_levels_number(struct rt_levels *levels, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool *stays[RT_MAX_LEVELS] = {NULL};
    uint32_t *order = NULL;
    uint32_t *upper = NULL; /* new number of each present centroid of the level above */
    uint32_t *begins = NULL;
    RT_TRY(mark_staying(levels, stays, err));
    for (uint32_t l = 0; l < levels->n_levels; l++) {
        uint32_t n_before = levels->n[l];
        uint32_t n_upper = l > 0 ? levels->n[l - 1] : 0;
        RT_TRY(rt_array_new(n_before, sizeof *order, &order, err));
        RT_TRY(rt_array_new((size_t)n_upper + 1, sizeof *begins, &begins, err));
        uint32_t n = order_level(levels, l, stays[l], upper, n_upper, begins, order);
        RT_TRY(reorder_level(levels, l, order, n, upper, err));
        rt_array_free(upper);
        upper = NULL;
        RT_TRY(rt_array_zero(n_before, sizeof *upper, &upper, err));
        for (uint32_t i = 0; i < n; i++)
            upper[order[i]] = i;
        if (l > 0) {
            rt_array_free(levels->first_child[l - 1]);
            levels->first_child[l - 1] = begins;
            begins = NULL;
        }
        rt_array_free(begins);
        begins = NULL;
        if (l + 1 == levels->n_levels) {
            rt_array_free(levels->was);
            levels->was = order;
            order = NULL;
        }
        rt_array_free(order);
        order = NULL;
    }
done:
    for (uint32_t l = 0; l < RT_MAX_LEVELS; l++)
        rt_array_free(stays[l]);
    rt_array_free(order);
    rt_array_free(upper);
    rt_array_free(begins);
    return st;
}

/* --- training --- */

struct upper_work {
    MPI_Comm comm;
    const struct rt_lloyd_setting *setting;
    struct rt_levels *levels;
    struct rt_range own; /* rows of the level below that are this rank's */
    struct rt_sample *rows;
};

/* The nearest of level l for this rank's rows of level l + 1. */
static enum rt_status find_parents(const struct upper_work *w, uint32_t l, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_levels *levels = w->levels;
    struct rt_centroid_set *set = NULL;
    struct rt_assigner *assigner = NULL;
    size_t batch = rt_lloyd_batch_rows(levels->dim);
    RT_TRY(rt_centroid_set_new(levels->centroids[l], levels->n[l], levels->dim,
                               w->setting->distance, NULL, &set, err));
    RT_TRY(rt_assigner_new(batch, levels->dim, 1, w->setting->proposer, &assigner, err));
    for (uint64_t at = w->own.begin; at < w->own.end; at += batch) {
        size_t n = w->own.end - at < batch ? (size_t)(w->own.end - at) : batch;
        rt_assign_nearest(assigner, set, levels->centroids[l + 1] + at * levels->dim, n,
                          levels->parent[l + 1] + at, NULL);
    }
done:
    rt_centroid_set_free(set);
    rt_assigner_free(assigner);
    return st;
}

static enum rt_status level_new(struct upper_work *w, uint32_t l, uint32_t n, uint64_t **counts,
                                int n_ranks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_levels *levels = w->levels;
    levels->n[l] = n;
    RT_TRY(rt_array_new(n, levels->dim * sizeof(float), &levels->centroids[l], err));
    RT_TRY(rt_array_new(levels->n[l + 1], sizeof(uint32_t), &levels->parent[l + 1], err));
    RT_TRY(rt_array_new((size_t)n_ranks, sizeof **counts, counts, err));
    for (int r = 0; r < n_ranks; r++)
        (*counts)[r] = rt_range_count(rt_share(levels->n[l + 1], r, n_ranks, 1)) * sizeof(uint32_t);
done:
    return st;
}

static enum rt_status train_level(struct upper_work *w, uint32_t l, uint32_t n,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_levels *levels = w->levels;
    uint64_t *counts = NULL;
    int rank = 0;
    int n_ranks = 0;
    MPI_Comm_rank(w->comm, &rank);
    MPI_Comm_size(w->comm, &n_ranks);
    w->own = rt_share(levels->n[l + 1], rank, n_ranks, 1);
    RT_LOCAL(level_new(w, l, n, &counts, n_ranks, err));
    RT_AGREE(w->comm);
    RT_TRY(rt_sample_over(w->comm, RT_L2, levels->dim,
                          levels->centroids[l + 1] + w->own.begin * levels->dim,
                          (size_t)rt_range_count(w->own), &w->rows, err));
    /* The level below are other rows than the sample: a scale of their own. */
    struct rt_lloyd_setting setting = *w->setting;
    setting.scale = rt_scale_new(w->rows->exponent, w->rows->n_total, levels->dim, setting.distance,
                                 setting.spherical);
    struct rt_lloyd_place place = {RT_PLACE_UPPER, l};
    struct rt_lloyd_result result;
    RT_TRY(rt_lloyd_train(w->comm, &setting, place, w->rows, 0, w->rows->n_local, n,
                          levels->centroids[l], NULL, &result, err));
    RT_LOCAL(find_parents(w, l, err));
    RT_AGREE(w->comm);
    rt_allgatherv_bytes(w->comm, levels->parent[l + 1] + w->own.begin, levels->parent[l + 1],
                        counts);
done:
    rt_sample_free(w->rows);
    w->rows = NULL;
    rt_array_free(counts);
    return st;
}

/* Each rank of a place moves its part of the new order, by way of memory of its own. Collective. */
static enum rt_status reorder_leaves(MPI_Comm comm, const struct rt_node_copy *leaves,
                                     const struct rt_levels *levels, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t dim = levels->dim;
    float *values = rt_node_copy_data(leaves);
    float *moved = NULL;
    struct rt_range own = rt_node_copy_part(leaves, levels->n[levels->n_levels - 1]);
    size_t n = (size_t)rt_range_count(own);
    RT_LOCAL(rt_array_new(n, dim * sizeof *moved, &moved, err));
    RT_AGREE(comm);
    for (size_t i = 0; i < n; i++)
        memcpy(moved + i * dim, values + levels->was[own.begin + i] * dim, dim * sizeof *moved);
    rt_node_copy_meet(leaves);
    memcpy(values + own.begin * dim, moved, n * dim * sizeof *moved);
    rt_node_copy_meet(leaves);
done:
    rt_array_free(moved);
    return st;
}

enum rt_status rt_levels_train(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                               uint32_t n_levels, const uint32_t *lists, uint32_t dim,
                               const struct rt_node_copy *leaves, uint32_t n_leaves,
                               struct rt_levels *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_levels levels = {.dim = dim};
    struct upper_work w = {.comm = comm, .setting = setting, .levels = &levels};
    uint32_t n[RT_MAX_LEVELS]; /* of the levels to make, leaf to coarse */
    n[0] = n_leaves;
    levels.n_levels = 1;
    for (uint32_t l = n_levels - 1; l-- > 0;)
        if (lists[l] < n[levels.n_levels - 1])
            n[levels.n_levels++] = lists[l];
    uint32_t leaf = levels.n_levels - 1;
    levels.n[leaf] = n_leaves;
    levels.centroids[leaf] = rt_node_copy_data(leaves);
    for (uint32_t l = leaf; l-- > 0;)
        RT_TRY(train_level(&w, l, n[leaf - l], err));
    levels.centroids[leaf] = NULL;
    RT_LOCAL(rt_levels_number(&levels, err));
    RT_AGREE(comm);
    RT_TRY(reorder_leaves(comm, leaves, &levels, err));
    *out = levels;
    memset(&levels, 0, sizeof levels);
done:
    if (levels.n_levels > 0) /* lent */
        levels.centroids[levels.n_levels - 1] = NULL;
    rt_levels_free(&levels);
    return st;
}
