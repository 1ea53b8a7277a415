/* What could be among the best of T. The centroids of T pass by in tiles of up to 64, as products
 * of codes (or of BLAS) turned into a(c). What could still be among the best, a(c) - b(c) <= T, is
 * put on the row's list; T is an upper bound of the A-th least a + b, so far. Private to core. */
#ifndef RT_CORE_PROPOSE_H
#define RT_CORE_PROPOSE_H

#include "core/assigner.h"

#include <float.h>

/* Where a walk over tiles gets them: whole groups of the set, or numbers begin..begin + n to
 * gather. */
struct rt_source {
    uint32_t first_group, n_groups;
    uint32_t begin, n;
    bool is_gathered;
};

/* What rows [begin, end) of the batch need before tiles pass by. */
void rt_propose_prepare(struct rt_assigner *a, const struct rt_target *t, size_t begin, size_t end);

/* Shows the source's centroids to these rows of the batch: for one nearest, group by group where
 * the target is_along, by both codes where it is_fine (whole groups; prepared below). */
void rt_propose(struct rt_assigner *a, const struct rt_target *t, const struct rt_source *source,
                const uint32_t *rows, size_t n);

/* a of rows [at, at + n) of the batch, at most RT_ROW_BLOCK, to all slots of the set, row-major. */
void rt_propose_values(struct rt_assigner *a, const struct rt_target *t, size_t at, size_t n,
                       float *values);

/* For few nearest by codes, before rt_propose: brings the rows' T down to what their least a + b
 * among the source's whole groups, and those of such calls before, tell. lows[i]: no a - b of
 * rows[i] is below it there, so a row whose T stays less need not see them. */
void rt_propose_lows(struct rt_assigner *a, const struct rt_target *t,
                     const struct rt_source *source, const uint32_t *rows, size_t n, float *lows);

/* What the rows are along the set's directions, which rt_propose_lows then goes by; after
 * rt_propose_prepare. */
void rt_propose_prepare_along(struct rt_assigner *a, const struct rt_target *t);

/* The rows' low codes and bounds, for a set that has low codes; after rt_propose_prepare. */
void rt_propose_prepare_fine(struct rt_assigner *a, const struct rt_target *t);

/* Takes off a row's list what cannot be among the best any more. */
void rt_propose_prune(struct rt_assigner *a, const struct rt_target *t, size_t row);
/* A threshold that empty slots (a = infinity) do not pass. */
static inline float rt_propose_capped(float threshold)
{
    return threshold < FLT_MAX ? threshold : FLT_MAX;
}

#endif
