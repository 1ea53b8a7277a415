/* The levels of centroids of an index, coarse to leaf, all rotated. A view: it owns nothing; the
 * arrays may lie in private, node-shared or mapped memory. */
#ifndef RT_CORE_TREE_H
#define RT_CORE_TREE_H

#include "core/error.h"
#include "core/metric.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_MAX_LEVELS 8
#define RT_NO_PARENT UINT32_MAX

struct rt_level {
    uint32_t n;                  /* centroids of this level */
    const float *centroids;      /* n x dim, row-major, rotated */
    const uint32_t *parent;      /* n: number in the level above; NULL at the top */
    const uint32_t *first_child; /* n + 1: children of c are [first_child[c], first_child[c+1]);
                                    NULL at the leaves */
};

struct rt_tree {
    uint32_t dim;
    enum rt_metric metric;
    bool spherical;
    bool residual;
    uint64_t rotation_seed;
    uint32_t n_levels; /* 1..RT_MAX_LEVELS */
    struct rt_level levels[RT_MAX_LEVELS];
};

static inline const struct rt_level *rt_tree_leaves(const struct rt_tree *tree)
{
    return &tree->levels[tree->n_levels - 1];
}

/* The cells that a beam keeps where it keeps most of them: never more than a level has. */
static inline uint32_t rt_tree_beam(const struct rt_tree *tree, uint32_t beam)
{
    uint32_t most = 1;
    for (uint32_t l = 0; l + 1 < tree->n_levels; l++)
        most = tree->levels[l].n > most ? tree->levels[l].n : most;
    return beam < most ? beam : most;
}

/* Checks what a reader must not trust: counts, parents in range and ascending, children contiguous
 * and matching, centroids finite. Fails with RT_DAMAGED, saying which. */
enum rt_status rt_tree_check(const struct rt_tree *tree, struct rt_error *err) RT_MUST_CHECK;

#endif
