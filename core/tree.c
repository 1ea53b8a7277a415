#include "core/tree.h"

#include "core/element.h"
#include "core/kernels/kernels.h"

static enum rt_status check_centroids(const struct rt_tree *tree, uint32_t l, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_level *level = &tree->levels[l];
    if (level->n == 0)
        RT_FAIL(RT_DAMAGED, "level %u of the tree has no centroids", l);
    if (level->n > INT32_MAX)
        RT_FAIL(RT_DAMAGED, "level %u of the tree says it has %u centroids", l, level->n);
    for (uint32_t c = 0; c < level->n; c++) {
        double norm2 = rt_kernels()->norm2(level->centroids + (size_t)c * tree->dim, tree->dim);
        if (!(norm2 <= 0x1p120)) /* A6; not a number too */
            RT_FAIL(RT_DAMAGED, "centroid %u of level %u is not finite or too long", c, l);
    }
done:
    return st;
}

/* Level l's parents and the children of the level above it tell the same. */
static enum rt_status check_links(const struct rt_tree *tree, uint32_t l, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_level *above = &tree->levels[l - 1];
    const struct rt_level *level = &tree->levels[l];
    const uint32_t *first = above->first_child;
    if (!first || !level->parent)
        RT_FAIL(RT_DAMAGED, "level %u of the tree lacks its links", l);
    if (first[0] != 0 || first[above->n] != level->n)
        RT_FAIL(RT_DAMAGED, "the cells of level %u do not hold the %u centroids below", l - 1,
                level->n);
    for (uint32_t c = 0; c < above->n; c++) {
        if (first[c] >= first[c + 1] || first[c + 1] > level->n)
            RT_FAIL(RT_DAMAGED, "cell %u of level %u has a broken range of children", c, l - 1);
        for (uint32_t child = first[c]; child < first[c + 1]; child++)
            if (level->parent[child] != c)
                RT_FAIL(RT_DAMAGED, "centroid %u of level %u names another parent than cell %u",
                        child, l, c);
    }
done:
    return st;
}

enum rt_status rt_tree_check(const struct rt_tree *tree, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (tree->n_levels == 0 || tree->n_levels > RT_MAX_LEVELS)
        RT_FAIL(RT_DAMAGED, "the tree says it has %u levels", tree->n_levels);
    if (tree->dim == 0 || tree->dim > RT_MAX_DIM)
        RT_FAIL(RT_DAMAGED, "the tree says its dimension is %u", tree->dim);
    if (tree->levels[0].parent || rt_tree_leaves(tree)->first_child)
        RT_FAIL(RT_DAMAGED, "the top of the tree has parents or its leaves have children");
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        RT_TRY(check_centroids(tree, l, err));
        if (l > 0)
            RT_TRY(check_links(tree, l, err));
    }
done:
    return st;
}
