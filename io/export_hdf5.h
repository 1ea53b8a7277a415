/* An index as one HDF5 file (`export --format hdf5`), for any reader of HDF5 and for `import`: the
 * tree, and of every live row its id, list, code, factors and vector, by (list, id). Which files of
 * an index held them leaves no trace: the bytes are the same from any number of ranks and before
 * and after a vacuum. Table in docs/format.md, "The exported file". */
#ifndef RT_IO_EXPORT_HDF5_H
#define RT_IO_EXPORT_HDF5_H

#include "core/checksum.h"
#include "core/element.h"
#include "core/error.h"
#include "core/tree.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

#define RT_EXPORT_NAME "ranktape export"
#define RT_EXPORT_VERSION 1u
#define RT_EXPORT_MOST_RECORD (UINT64_C(64) << 20) /* bytes of the record's text */

struct rt_export_hdf5_shape {
    struct rt_tree tree; /* for a layout its numbers; for writing the arrays too */
    enum rt_element element;
    uint32_t beam;
    struct rt_hash128 fingerprint, tree_hash, rows_hash;
    uint64_t n_rows, n_skipped, largest_id, next_row; /* as in the manifest */
    uint64_t record_bytes;
};
struct rt_export_hdf5_leaves { /* a value a leaf each, as in tree-G.h5; and where lists begin */
    const uint64_t *rows;
    const float *radius;
    const double *spread;
    const uint64_t *offsets; /* n_lists + 1: list l holds rows [offsets[l], offsets[l + 1]) */
};
enum {                    /* columns of a row, in this order */
       RT_EXPORT_IDS = 0, /* u64 */
       RT_EXPORT_LISTS,   /* u32 */
       RT_EXPORT_CODES,   /* u8 x code_bytes */
       RT_EXPORT_FACTORS, /* f32 x n_factors */
       RT_EXPORT_VECTORS, /* element x dim, as the row came */
       RT_EXPORT_N_COLUMNS
};

enum rt_status rt_export_hdf5_layout(const struct rt_export_hdf5_shape *shape,
                                     struct rt_h5_layout *layout,
                                     struct rt_error *err) RT_MUST_CHECK;
/* Shares of ranks begin at multiples of this many rows. */
uint64_t rt_export_hdf5_share_rows(const struct rt_export_hdf5_shape *shape);
/* One rank: all but the rows, with checksums. record: shape->record_bytes of JSON. */
enum rt_status rt_export_hdf5_write_head(struct rt_h5_file *file,
                                         const struct rt_export_hdf5_shape *shape,
                                         const struct rt_export_hdf5_leaves *leaves,
                                         const char *record, struct rt_error *err) RT_MUST_CHECK;
/* A writer over rows [begin, end) of the columns. */
enum rt_status rt_export_hdf5_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                         size_t buffer_bytes, struct rt_unit_writer **out,
                                         struct rt_error *err) RT_MUST_CHECK;

/* A mapped file. Opening checks shapes and attributes; the rest is for the two below. */
struct rt_export_hdf5_view {
    struct rt_h5_map *map;
    struct rt_export_hdf5_shape shape; /* arrays lent by the map; first_child by the view, once
                                          rt_export_hdf5_check_head has been there */
    struct rt_export_hdf5_leaves leaves;
    const uint64_t *ids;
    const uint32_t *lists;
    const uint8_t *codes;
    const float *factors;
    const void *vectors;
    const char *record; /* shape.record_bytes, no NUL behind */
    uint32_t n_lists, code_bytes, n_factors;
    uint32_t *first_child[RT_MAX_LEVELS];
};
/* Fails with RT_INPUT (missing, no HDF5 file or another), RT_USAGE (a newer version), RT_DAMAGED,
 * RT_IO. */
enum rt_status rt_export_hdf5_open(const char *path, struct rt_export_hdf5_view *view,
                                   struct rt_error *err) RT_MUST_CHECK;
void rt_export_hdf5_close(struct rt_export_hdf5_view *view);
/* Checksums of all but the rows, where lists begin, the tree, its fingerprint and hash. Fails with
 * RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_export_hdf5_check_head(struct rt_export_hdf5_view *view,
                                         struct rt_error *err) RT_MUST_CHECK;
/* Where lists begin, alone: what finds a row's list. */
enum rt_status rt_export_hdf5_check_offsets(const struct rt_export_hdf5_view *view,
                                            struct rt_error *err) RT_MUST_CHECK;
/* The list that holds a row, after rt_export_hdf5_check_offsets. */
uint32_t rt_export_hdf5_list_of(const struct rt_export_hdf5_view *view, uint64_t row);
/* Rows [begin, end): checksums of all columns, each unit once. Fails with RT_DAMAGED. */
enum rt_status rt_export_hdf5_check_sums(const struct rt_export_hdf5_view *view, uint64_t begin,
                                         uint64_t end, struct rt_error *err) RT_MUST_CHECK;
/* Rows [begin, end): checksums, lists, order of ids, codes' padding, factors and vectors that are
 * numbers; adds their hashes (K1) to *rows_hash. After rt_export_hdf5_check_offsets. Fails with
 * RT_DAMAGED, naming the row, RT_NOMEM. */
enum rt_status rt_export_hdf5_check_rows(const struct rt_export_hdf5_view *view, uint64_t begin,
                                         uint64_t end, struct rt_hash128 *rows_hash,
                                         struct rt_error *err) RT_MUST_CHECK;

#endif
