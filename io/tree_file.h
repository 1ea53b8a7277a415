/* tree-G.h5: the levels of centroids, rotated, and what each leaf held at build. Centroids are
 * written before insert, so that ranks can map them (J2); the leaves' statistics after it, into
 * space assigned at creation. Table in docs/format.md, "tree". */
#ifndef RT_IO_TREE_FILE_H
#define RT_IO_TREE_FILE_H

#include "core/element.h"
#include "core/error.h"
#include "core/tree.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

/* The layout of a tree's file; datasets are found by name: centroids_L, parents_L (L > 0),
 * first_child_L (above the leaves), leaf_rows, leaf_radius, leaf_spread. tree_hash: H_tree (K1). */
enum rt_status rt_tree_layout(const struct rt_tree *tree, enum rt_element element,
                              uint64_t generation, struct rt_hash128 fingerprint,
                              struct rt_hash128 tree_hash, struct rt_h5_layout *layout,
                              struct rt_error *err) RT_MUST_CHECK;
/* One rank: creates the file and writes all levels with checksums, synced. *layout is filled in. */
enum rt_status rt_tree_file_write(const char *path, const struct rt_tree *tree,
                                  enum rt_element element, uint64_t generation,
                                  struct rt_hash128 fingerprint, struct rt_hash128 tree_hash,
                                  struct rt_h5_layout *layout, struct rt_error *err) RT_MUST_CHECK;
/* One rank, after insert: rows, radius (largest E; C5) and spread (sum of E) of each leaf, n
 * entries each. Not synced, but on their way to the disk. */
enum rt_status rt_tree_file_write_leaves(const char *path, const struct rt_h5_layout *layout,
                                         const uint64_t *rows, const float *radius,
                                         const double *spread, struct rt_error *err) RT_MUST_CHECK;

/* A mapped tree file. */
struct rt_tree_view {
    struct rt_h5_map *map;
    struct rt_tree tree; /* arrays lent by the map */
    enum rt_element element;
    uint64_t generation;
    struct rt_hash128 fingerprint, tree_hash;
    const uint64_t *leaf_rows;
    const float *leaf_radius;
    const double *leaf_spread;
};
/* Checks shapes and, level by level, that children are contiguous and complete; values of centroids
 * and parents are checked by rt_tree_check, which reads them all. Fails with RT_DAMAGED. */
enum rt_status rt_tree_file_open(const char *path, struct rt_tree_view *view,
                                 struct rt_error *err) RT_MUST_CHECK;
/* Centroids [first, first + n) of a level, and where their children begin and end, against their
 * checksums, each unit once (H7). Fails with RT_DAMAGED. */
enum rt_status rt_tree_file_touch(const struct rt_tree_view *view, uint32_t level, uint32_t first,
                                  uint32_t n, struct rt_error *err) RT_MUST_CHECK;
void rt_tree_file_close(struct rt_tree_view *view);

#endif
