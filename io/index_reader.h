/* A published index opened for reading: every file of its generation checked and mapped read-only.
 * No MPI; HDF5 only inside rt_index_open; afterwards bytes by offset, so that any number of threads
 * may share one view. Whatever is wrong in the files is RT_DAMAGED with file and reason, never a
 * crash. */
#ifndef RT_IO_INDEX_READER_H
#define RT_IO_INDEX_READER_H

#include "core/error.h"
#include "io/list_file.h"
#include "io/manifest.h"
#include "io/tape_file.h"
#include "io/tombstones.h"
#include "io/tree_file.h"
#include "io/vectors_file.h"

struct rt_index_view {
    char *dir;
    struct rt_manifest *manifest;
    struct rt_tree_view tree;
    size_t n_frozen; /* files, ascending generation; the last one's directory is in force */
    struct rt_list_view *frozen;
    size_t n_appendable;
    struct rt_tape_view *appendable;
    size_t n_vectors;
    struct rt_vectors_view *vectors; /* ascending generation */
    size_t n_segments;
    struct rt_segment_ref { /* ascending by number */
        const struct rt_vectors_view *file;
        const struct rt_segment_entry *entry;
    } * segments;
    size_t n_tombstones; /* files */
    struct rt_tombstones_view *tombstones;
    uint32_t n_lists, n_factors, code_bytes;
};

enum rt_index_check {
    RT_CHECK_STRUCTURE = 0, /* sizes, hashes of structure, shapes; directory and tree are checked
                               where touched (H7) */
    RT_CHECK_TREE, /* also all of the tree's units and values: what search wants, which reads them
                      all anyway */
    RT_CHECK_ALL   /* also every entry of the directory; bulk units and records are left to the two
                      below */
};
/* Fails with RT_USAGE (no index there, unfinished, newer major version), RT_DAMAGED, RT_IO,
 * RT_NOMEM. */
enum rt_status rt_index_open(const char *dir, enum rt_index_check check, struct rt_index_view **out,
                             struct rt_error *err) RT_MUST_CHECK;
/* What CURRENT says, as bytes; "" where it cannot be read. Another line: another generation. */
#define RT_CURRENT_BYTES 128
void rt_index_current(const char *dir, char line[RT_CURRENT_BYTES]);
/* The same for a manifest that CURRENT does not name (yet): the recall gate looks at an index
 * before it is published. manifest becomes the view's, also after a failure. */
enum rt_status rt_index_open_manifest(const char *dir, struct rt_manifest *manifest,
                                      enum rt_index_check check, struct rt_index_view **out,
                                      struct rt_error *err) RT_MUST_CHECK;
/* What RT_CHECK_TREE adds, for a view that was opened without. */
enum rt_status rt_index_check_tree(const struct rt_index_view *view,
                                   struct rt_error *err) RT_MUST_CHECK;
/* One more file of tombstones, which no manifest names yet: the rows it names are dead from now on,
 * as far as this view goes. */
enum rt_status rt_index_bury(struct rt_index_view *view, const char *path,
                             struct rt_error *err) RT_MUST_CHECK;
void rt_index_close(struct rt_index_view *view);

#endif
