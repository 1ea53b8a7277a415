#include "core/assign.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"

#include <string.h>

struct rt_centroid_set {
    const float *centroids;
    uint32_t n;
    uint32_t dim;
    enum rt_metric distance;
};

#define BLOCK 64 /* centroids measured at once */

struct rt_assigner {
    size_t max_rows;
    uint32_t dim;
    uint32_t max_beam;
    float *best;       /* max_beam */
    uint32_t *kept[2]; /* max_beam */
    uint64_t rows, candidates;
};

size_t rt_centroid_set_bytes_in_cells(uint32_t n, uint32_t dim, uint32_t n_cells)
{
    return ((size_t)n + (size_t)n_cells * 15) * ((size_t)dim + 24) + 4096;
}

size_t rt_centroid_set_bytes(uint32_t n, uint32_t dim)
{
    return rt_centroid_set_bytes_in_cells(n, dim, 1);
}

enum rt_status rt_centroid_set_view(const float *centroids, uint32_t n, uint32_t dim,
                                    enum rt_metric distance, uint32_t n_cells, const void *memory,
                                    struct rt_centroid_set **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroid_set *set = NULL;
    (void)n_cells;
    (void)memory;
    RT_TRY(rt_array_new(1, sizeof *set, &set, err));
    *set = (struct rt_centroid_set){centroids, n, dim, distance};
    *out = set;
done:
    return st;
}

enum rt_status rt_centroid_set_new(const float *centroids, uint32_t n, uint32_t dim,
                                   enum rt_metric distance, void *memory,
                                   struct rt_centroid_set **out, struct rt_error *err)
{
    return rt_centroid_set_view(centroids, n, dim, distance, 0, memory, out, err);
}

enum rt_status rt_centroid_set_new_in_cells(const float *centroids, uint32_t n, uint32_t dim,
                                            enum rt_metric distance, const uint32_t *first_child,
                                            uint32_t n_cells, void *memory,
                                            struct rt_centroid_set **out, struct rt_error *err)
{
    (void)first_child;
    return rt_centroid_set_view(centroids, n, dim, distance, n_cells, memory, out, err);
}

void rt_centroid_set_free(struct rt_centroid_set *set)
{
    rt_array_free(set);
}

size_t rt_assigner_bytes(size_t max_rows, uint32_t dim, uint32_t max_beam)
{
    return sizeof(struct rt_assigner) + max_rows * ((size_t)dim + 32) + (size_t)max_beam * 12;
}

enum rt_status rt_assigner_new(size_t max_rows, uint32_t dim, uint32_t max_beam,
                               enum rt_proposer proposer, struct rt_assigner **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_assigner *a = NULL;
    (void)proposer;
    RT_TRY(rt_array_zero(1, sizeof *a, &a, err));
    a->max_rows = max_rows;
    a->dim = dim;
    a->max_beam = max_beam;
    RT_TRY(rt_array_new(max_beam, sizeof(float), &a->best, err));
    RT_TRY(rt_array_new(max_beam, sizeof(uint32_t), &a->kept[0], err));
    RT_TRY(rt_array_new(max_beam, sizeof(uint32_t), &a->kept[1], err));
    *out = a;
    a = NULL;
done:
    rt_assigner_free(a);
    return st;
}

void rt_assigner_free(struct rt_assigner *assigner)
{
    if (!assigner)
        return;
    rt_array_free(assigner->best);
    rt_array_free(assigner->kept[0]);
    rt_array_free(assigner->kept[1]);
    rt_array_free(assigner);
}

/* The count least so far by (E, number), ascending. */
struct best {
    uint32_t count, n;
    float *distance;
    uint32_t *list;
};

static void offer(struct best *best, float distance, uint32_t number)
{
    uint32_t at = best->n;
    if (at == best->count) {
        float worst = best->distance[at - 1];
        if (distance > worst || (distance == worst && number > best->list[at - 1]))
            return;
        at--;
    } else {
        best->n++;
    }
    for (; at > 0 && (best->distance[at - 1] > distance ||
                      (best->distance[at - 1] == distance && best->list[at - 1] > number));
         at--) {
        best->distance[at] = best->distance[at - 1];
        best->list[at] = best->list[at - 1];
    }
    best->distance[at] = distance;
    best->list[at] = number;
}

static void measure(struct rt_assigner *a, const struct rt_centroid_set *set, const float *row,
                    const uint32_t *subset, uint32_t begin, uint32_t end, struct best *best)
{
    float distance[BLOCK];
    const struct rt_kernels *kernels = rt_kernels();
    for (uint32_t at = begin; at < end;) {
        uint32_t n = end - at < BLOCK ? end - at : BLOCK;
        (set->distance == RT_IP ? kernels->ip_among : kernels->l2_among)(
            row, subset ? set->centroids : set->centroids + (size_t)at * set->dim, set->dim,
            subset ? subset + at : NULL, n, distance);
        for (uint32_t i = 0; i < n; i++)
            offer(best, distance[i], subset ? subset[at + i] : at + i);
        at += n;
    }
    a->candidates += end - begin;
}

static void finish(struct best *best)
{
    for (uint32_t i = best->n; i < best->count; i++)
        best->list[i] = UINT32_MAX;
}

void rt_assign_best(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                    const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                    float *out_distance)
{
    for (size_t r = 0; r < n_rows; r++) {
        struct best best = {count, 0, out_distance ? out_distance + r * count : assigner->best,
                            out_list + r * count};
        measure(assigner, set, rows + r * set->dim, NULL, 0, set->n, &best);
        finish(&best);
    }
    assigner->rows += n_rows;
}

void rt_assign_nearest(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                       const float *rows, size_t n_rows, uint32_t *out_list, float *out_distance)
{
    rt_assign_best(assigner, set, rows, n_rows, 1, out_list, out_distance);
}

void rt_assign_among(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                     const uint32_t *subset, uint32_t n_subset, const float *rows, size_t n_rows,
                     uint32_t *out_list, float *out_distance)
{
    for (size_t r = 0; r < n_rows; r++) {
        struct best best = {1, 0, out_distance ? out_distance + r : assigner->best, out_list + r};
        measure(assigner, set, rows + r * set->dim, subset, 0, n_subset, &best);
        finish(&best);
    }
    assigner->rows += n_rows;
}

void rt_assign_tree_best(struct rt_assigner *assigner, const struct rt_tree *tree,
                         struct rt_centroid_set *const *sets, const uint32_t *beams,
                         const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                         float *out_distance)
{
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = rows + r * tree->dim;
        uint32_t everything = 0;
        uint32_t *cells = &everything;
        uint32_t n_cells = 0;
        for (uint32_t l = 0; l < tree->n_levels; l++) {
            bool is_leaf = l + 1 == tree->n_levels;
            uint32_t keep = is_leaf                        ? count
                            : beams[l] < tree->levels[l].n ? beams[l]
                                                           : tree->levels[l].n;
            struct best best = {keep, 0,
                                is_leaf && out_distance ? out_distance + r * count : assigner->best,
                                is_leaf ? out_list + r * count : assigner->kept[l % 2]};
            if (l == 0)
                measure(assigner, sets[l], row, NULL, 0, sets[l]->n, &best);
            const uint32_t *first = l ? tree->levels[l - 1].first_child : NULL;
            for (uint32_t i = 0; i < n_cells; i++)
                measure(assigner, sets[l], row, NULL, first[cells[i]], first[cells[i] + 1], &best);
            if (is_leaf)
                finish(&best);
            cells = best.list;
            n_cells = best.n;
        }
    }
    assigner->rows += n_rows;
}

void rt_assign_tree(struct rt_assigner *assigner, const struct rt_tree *tree,
                    struct rt_centroid_set *const *sets, uint32_t beam, const float *rows,
                    size_t n_rows, uint32_t *out_list, float *out_distance)
{
    uint32_t beams[RT_MAX_LEVELS];
    for (int l = 0; l < RT_MAX_LEVELS; l++)
        beams[l] = beam;
    rt_assign_tree_best(assigner, tree, sets, beams, rows, n_rows, 1, out_list, out_distance);
}

void rt_assigner_counts(const struct rt_assigner *assigner, uint64_t *rows, uint64_t *candidates)
{
    *rows = assigner->rows;
    *candidates = assigner->candidates;
}
