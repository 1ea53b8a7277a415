/* Rows against a whole set. They are taken in batches; propose.h lists what could be among the best
 * of each, decide.h lets E choose among those left. */
#include "core/assign.h"

#include "core/decide.h"
#include "core/propose.h"

/* Rows against a whole set. */
static void assign_flat(struct rt_assigner *a, const struct rt_centroid_set *set, const float *rows,
                        const struct rt_coded *coded, size_t n_rows, uint32_t count, bool is_sorted,
                        uint32_t *out_list, float *out_distance)
{
    struct rt_source source = {.n_groups = set->n_groups};
    if (count == 0)
        return;
    rt_assigner_check(a, set->dim, coded ? 0 : n_rows, count);
    size_t n_batch = rt_assigner_batch(a, count);
    size_t at_once = a->proposer == RT_PROPOSE_SGEMM ? a->sizes.gemm_rows : RT_ROW_BLOCK;
    at_once = at_once > n_batch ? n_batch : at_once;
    for (size_t at = 0; at < n_rows; at += at_once) {
        uint32_t numbers[RT_BATCH];
        char *arena = a->arena;
        struct rt_target t = {.set = set,
                              .rows = coded ? NULL : rows + at * a->dim,
                              .coded = coded,
                              .first = at,
                              .n_rows = n_rows - at < at_once ? n_rows - at : at_once,
                              .best = count};
        rt_assigner_carve_lists(&t, at_once, &arena);
        for (uint32_t i = 0; i < t.n_rows; i++)
            numbers[i] = i;
        rt_propose_prepare(a, &t, 0, t.n_rows);
        rt_propose(a, &t, &source, numbers, t.n_rows);
        if (is_sorted)
            rt_decide_rows(a, &t, out_list + at * count,
                           out_distance ? out_distance + at * count : NULL);
        else
            rt_decide_sets(a, &t, out_list + at * count);
        a->rows += t.n_rows;
    }
}

void rt_assign_nearest(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                       const float *rows, size_t n_rows, uint32_t *out_list, float *out_distance)
{
    assign_flat(assigner, set, rows, NULL, n_rows, 1, true, out_list, out_distance);
}

void rt_assign_best(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                    const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                    float *out_distance)
{
    assign_flat(assigner, set, rows, NULL, n_rows, count, true, out_list, out_distance);
}

void rt_assign_best_unsorted(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                             const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list)
{
    assign_flat(assigner, set, rows, NULL, n_rows, count, false, out_list, NULL);
}

void rt_assign_coded(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                     const struct rt_coded *rows, size_t n_rows, uint32_t *out_list,
                     float *out_distance)
{
    assign_flat(assigner, set, NULL, rows, n_rows, 1, true, out_list, out_distance);
}
