#include "jobs/phases/tree_nodes.h"

#include "core/memory.h"

#include <string.h>

/* A flat table has no root, but one row alone would be a root without leaves. */
static bool wants_root(const struct rt_tree *tree, enum rt_nodes_wanted wanted)
{
    return wanted == RT_NODES_ROOTED ||
           (wanted == RT_NODES_TABLE && (tree->n_levels > 1 || tree->levels[0].n == 1));
}

uint64_t rt_tree_nodes_most(const struct rt_tree *tree, enum rt_nodes_wanted wanted)
{
    uint64_t n = rt_tree_leaves(tree)->n;
    for (uint32_t l = 0; wanted != RT_NODES_LEAVES && l + 1 < tree->n_levels; l++)
        n += tree->levels[l].n;
    return n + wants_root(tree, wanted);
}

static bool has_leaf(const struct rt_tree_nodes *nodes, uint32_t l, uint32_t cell)
{
    const struct rt_level *level = &nodes->tree->levels[l];
    bool are_leaves = l + 2 == nodes->tree->n_levels;
    for (uint32_t c = level->first_child[cell]; c < level->first_child[cell + 1]; c++)
        if (are_leaves || nodes->places[l + 1][c] != RT_NO_PARENT)
            return true;
    return false;
}

enum rt_status rt_tree_nodes_new(const struct rt_tree *tree, enum rt_nodes_wanted wanted,
                                 struct rt_tree_nodes *nodes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *nodes = (struct rt_tree_nodes){.tree = tree, .has_root = wants_root(tree, wanted)};
    nodes->n = nodes->n_cells[tree->n_levels - 1] = rt_tree_leaves(tree)->n;
    for (uint32_t l = tree->n_levels - 1; wanted != RT_NODES_LEAVES && l-- > 0;) {
        uint32_t n = tree->levels[l].n;
        RT_TRY(rt_array_new(n, sizeof(uint32_t), &nodes->cells[l], err));
        RT_TRY(rt_array_new(n, sizeof(uint32_t), &nodes->places[l], err));
        for (uint32_t cell = 0; cell < n; cell++) {
            bool is_kept = has_leaf(nodes, l, cell);
            nodes->places[l][cell] = is_kept ? nodes->n_cells[l] : RT_NO_PARENT;
            if (is_kept)
                nodes->cells[l][nodes->n_cells[l]++] = cell;
        }
        nodes->n += nodes->n_cells[l];
    }
    nodes->n += nodes->has_root;
done:
    return st;
}

void rt_tree_nodes_free(struct rt_tree_nodes *nodes)
{
    for (uint32_t l = 0; l < RT_MAX_LEVELS; l++) {
        rt_array_free(nodes->cells[l]);
        rt_array_free(nodes->places[l]);
    }
}

static uint32_t cell_of(const struct rt_tree_nodes *nodes, uint32_t level, uint32_t place)
{
    return nodes->cells[level] ? nodes->cells[level][place] : place;
}

static void take_root(const struct rt_tree_nodes *nodes, float *vector)
{
    const struct rt_tree *tree = nodes->tree;
    for (uint32_t i = 0; i < tree->dim; i++) {
        double sum = 0;
        for (uint32_t c = 0; c < nodes->n_cells[0]; c++)
            sum += (double)tree->levels[0].centroids[(size_t)cell_of(nodes, 0, c) * tree->dim + i];
        vector[i] = (float)(sum / nodes->n_cells[0]);
    }
}

void rt_tree_nodes_take(const struct rt_tree_nodes *nodes, uint64_t node, float *vector,
                        int64_t *parent)
{
    const struct rt_tree *tree = nodes->tree;
    uint64_t first = 0; /* node of the level */
    *parent = -1;
    for (uint32_t l = tree->n_levels; l-- > 0;) {
        const struct rt_level *level = &tree->levels[l];
        uint64_t above =
            first + nodes->n_cells[l]; /* the first node of the next level, or the root */
        if (node < above) {
            uint32_t cell = cell_of(nodes, l, (uint32_t)(node - first));
            memcpy(vector, level->centroids + (size_t)cell * tree->dim, tree->dim * sizeof(float));
            if (l > 0 && nodes->places[l - 1])
                *parent = (int64_t)(above + nodes->places[l - 1][level->parent[cell]]);
            else if (nodes->has_root)
                *parent = (int64_t)above;
            return;
        }
        first = above;
    }
    take_root(nodes, vector);
}
