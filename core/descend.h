/* One row down a tree without a store of centroids: what core/assign.h gives, for rows so few that
 * building that store would cost more than they do. Looks only at centroids it
 * measures, which may be mapped and not yet checked (H7). */
#ifndef RT_CORE_DESCEND_H
#define RT_CORE_DESCEND_H

#include "core/error.h"
#include "core/metric.h"
#include "core/tree.h"

#include <stdint.h>

struct rt_descent_options {
    const struct rt_tree *tree; /* lent */
    enum rt_metric distance;    /* RT_L2 or RT_IP */
    uint32_t beam;              /* cells kept at each level above the leaves */
    /* Called before centroids [first, first + n) of a level, their children's borders too, are
     * read; NULL: none. */
    enum rt_status (*touch)(void *context, uint32_t level, uint32_t first, uint32_t n,
                            struct rt_error *err);
    void *context;
};

struct rt_descent;
enum rt_status rt_descent_new(const struct rt_descent_options *options, struct rt_descent **out,
                              struct rt_error *err) RT_MUST_CHECK;
void rt_descent_free(struct rt_descent *descent); /* NULL is fine */
/* row: dim f32, rotated. The leaf that rt_assign_tree gives (B2), and E to it. Fails with what
 * touch fails with, RT_DAMAGED (children that are not there), RT_NOMEM. */
enum rt_status rt_descend(struct rt_descent *descent, const float *row, uint32_t *leaf,
                          float *distance, struct rt_error *err) RT_MUST_CHECK;

#endif
