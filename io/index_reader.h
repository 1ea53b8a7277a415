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
    struct rt_vectors_view *vectors; /* ascending first_segment */
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
/* The same for a manifest that CURRENT does not name (yet): the recall gate looks at an index
 * before it is published. manifest becomes the view's, also after a failure. */
enum rt_status rt_index_open_manifest(const char *dir, struct rt_manifest *manifest,
                                      enum rt_index_check check, struct rt_index_view **out,
                                      struct rt_error *err) RT_MUST_CHECK;
void rt_index_close(struct rt_index_view *view);

/* The blocks of a list, checked to lie inside their file: an empty list has none. rows in them:
 * *n_rows. */
enum rt_status rt_index_list(const struct rt_index_view *view, uint32_t list,
                             struct rt_list_blocks *blocks, uint64_t *n_rows,
                             struct rt_error *err) RT_MUST_CHECK;
/* The same for blocks [first, first + n_blocks) of the list, to share it out. */
void rt_list_blocks_part(const struct rt_index_view *view, const struct rt_list_blocks *blocks,
                         uint64_t first, uint64_t n_blocks, struct rt_list_blocks *part);

struct rt_place_view { /* what a place names */
    const void
        *vector; /* dim elements, possibly unaligned only for one-byte types; NULL: in the heap */
    uint64_t heap_row; /* row in the heap where vector is NULL, else RT_NO_ROW */
    uint64_t id;       /* as the vectors file says */
    uint32_t list;
};
/* Fails with RT_DAMAGED where there is no such segment or slot. */
enum rt_status rt_index_place(const struct rt_index_view *view, uint32_t segment, uint32_t slot,
                              struct rt_place_view *out, struct rt_error *err) RT_MUST_CHECK;

/* Called for each thing found wrong; verification goes on. text is one line. */
typedef void (*rt_index_report)(void *context, const char *text);
struct rt_index_verified {
    uint64_t n_units, n_bytes, n_errors;
    uint64_t n_slots; /* in use, of vectors files */
};
/* Part `part` of n_parts (a rank's) of all checksum units of all files, and for part 0 the hashes
 * of checksums. Fails only where it could not look (RT_NOMEM); damage is reported and counted. */
enum rt_status rt_index_verify_checksums(const struct rt_index_view *view, uint32_t part,
                                         uint32_t n_parts, rt_index_report report, void *context,
                                         struct rt_index_verified *out,
                                         struct rt_error *err) RT_MUST_CHECK;
/* Part of the lists: directory entries, padding of last blocks, places against the vectors file (id
 * and list equal), slots in use, and the sum of row hashes over frozen and appendable rows of the
 * part (H_rows less tombstones: none in version 1 builds), to be added up over parts and compared
 * with the manifest. */
enum rt_status rt_index_verify_lists(const struct rt_index_view *view, uint32_t part,
                                     uint32_t n_parts, rt_index_report report, void *context,
                                     struct rt_index_verified *out, uint64_t *n_rows,
                                     struct rt_hash128 *rows_hash,
                                     struct rt_error *err) RT_MUST_CHECK;

#endif
