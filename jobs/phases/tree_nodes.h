/* The nodes of a tree as a table of id, parent and vector: leaves first, then the level above, ..,
 * the root last, numbered from 0. Cells without a leaf below them are left out: in such a table
 * they would be leaves of another depth. */
#ifndef RT_JOBS_TREE_NODES_H
#define RT_JOBS_TREE_NODES_H

#include "core/error.h"
#include "core/tree.h"

#include <stdbool.h>
#include <stdint.h>

enum rt_nodes_wanted {
    RT_NODES_LEAVES, /* the leaves alone, without parents */
    RT_NODES_TABLE,  /* all levels, under a root but where the leaves are the only level */
    RT_NODES_ROOTED  /* all levels and always a root */
};

struct rt_tree_nodes {
    const struct rt_tree *tree; /* lent */
    uint64_t n;
    bool has_root;
    uint32_t n_cells[RT_MAX_LEVELS]; /* of each level, as they are numbered */
    uint32_t *cells[RT_MAX_LEVELS];  /* number in the level; NULL: all, at the leaves */
    uint32_t *places[RT_MAX_LEVELS]; /* of each cell among cells; RT_NO_PARENT: left out */
};

/* The most nodes there can be, those left out counted: cheap, for limits and space. */
uint64_t rt_tree_nodes_most(const struct rt_tree *tree, enum rt_nodes_wanted wanted);
/* Local. Fails with RT_NOMEM; free it either way. */
enum rt_status rt_tree_nodes_new(const struct rt_tree *tree, enum rt_nodes_wanted wanted,
                                 struct rt_tree_nodes *nodes, struct rt_error *err) RT_MUST_CHECK;
void rt_tree_nodes_free(struct rt_tree_nodes *nodes);
/* Node number `node`: its vector (dim floats), still rotated, and the number of its parent, -1:
 * none. The root is the plain mean of its children, summed in their order, as VectorChord makes it.
 */
void rt_tree_nodes_take(const struct rt_tree_nodes *nodes, uint64_t node, float *vector,
                        int64_t *parent);

#endif
