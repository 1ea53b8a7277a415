/* What a file says of its tree in attributes, and how it names what it keeps by level: tree files
 * and exported files alike (docs/format.md). */
#ifndef RT_IO_TREE_HEAD_H
#define RT_IO_TREE_HEAD_H

#include "core/element.h"
#include "core/error.h"
#include "core/tree.h"
#include "io/hdf5.h"

#define RT_LEVEL_NAME 40

/* "STEM_LEVEL", in name. */
const char *rt_level_name(const char *stem, uint32_t level, char name[RT_LEVEL_NAME]);
/* The number of a level's dataset, by name: how many stand before it differs from tree to tree. */
uint32_t rt_level_dataset(const struct rt_h5_layout *layout, const char *stem, uint32_t level);

/* Dimension to rotation; and how many levels there are, and what each holds. */
void rt_tree_head_put(struct rt_h5_layout *layout, const struct rt_tree *tree,
                      enum rt_element element);
void rt_tree_head_put_levels(struct rt_h5_layout *layout, const struct rt_tree *tree);
/* Both back: all of tree but its arrays. Fails with RT_DAMAGED. */
enum rt_status rt_tree_head_get(const struct rt_h5_layout *found, const char *path,
                                struct rt_tree *tree, enum rt_element *element,
                                struct rt_error *err) RT_MUST_CHECK;

#endif
