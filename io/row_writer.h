/* Writes rows in any format the reader knows, by any number of ranks at once: one rank creates the
 * file at its full size with its header, then any rank writes any rows at their offsets. The bytes
 * do not depend on who writes what. */
#ifndef RT_IO_ROW_WRITER_H
#define RT_IO_ROW_WRITER_H

#include "core/element.h"
#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

struct rt_row_target_options {
    enum rt_element type; /* rt_row_target_type says which */
    uint64_t n_rows;
    uint32_t dim;
    const char *dataset; /* name in an HDF5 file where PATH gives none: "/train", "/test" */
    const char *metric; /* rt_metric_name, for the HDF5 attribute "distance"; NULL: no attributes */
};

/* Where rows lie in a file being written. Plain bytes without pointers: the rank that created it
 * broadcasts it. */
struct rt_row_target {
    uint64_t n_rows;
    uint64_t data_offset;
    uint64_t stride_bytes; /* from row to row in the file */
    uint32_t dim;
    uint32_t type;                 /* enum rt_element */
    uint32_t has_dimension_prefix; /* vecs: each row begins with i32 dim */
    uint32_t padding;
};

/* The element type a file of this name gets: by its suffix, else by type ("f32"..; NULL: f32).
 * Fails with RT_USAGE where the name has no row suffix that can be written (.fbin .u8bin .i8bin
 * .f16bin .fvecs .bvecs .npy .h5 .hdf5, or FILE.h5:/dataset) or contradicts type. */
enum rt_status rt_row_target_type(const char *path, const char *type, enum rt_element *out,
                                  struct rt_error *err) RT_MUST_CHECK;
/* Creates PATH.partial at its full size, header written, rows unwritten; an old PATH.partial is
 * replaced. On one rank. Fails with RT_USAGE (more rows than the format can count, a type it cannot
 * hold, dim 0 or over RT_MAX_DIM), RT_IO (disk full among others), RT_NOMEM. */
enum rt_status rt_row_target_create(const char *path, const struct rt_row_target_options *options,
                                    struct rt_row_target *out, struct rt_error *err) RT_MUST_CHECK;
/* Renames PATH.partial to PATH (replacing it), synced. On one rank, after all have closed their
 * writers. RT_IO. */
enum rt_status rt_row_target_publish(const char *path, struct rt_error *err) RT_MUST_CHECK;
/* Removes PATH.partial after a failure; says nothing if it is not there. */
void rt_row_target_discard(const char *path);

struct rt_row_writer;
/* Opens PATH.partial, which some rank has created, for writing. Touches no header. Fails with
 * RT_IO, RT_NOMEM. */
enum rt_status rt_row_writer_open(const char *path, const struct rt_row_target *target,
                                  struct rt_row_writer **out, struct rt_error *err) RT_MUST_CHECK;
/* Writes rows [begin, begin + n_rows): n_rows x dim elements of the target's type, densely packed.
 * Fails with RT_IO. */
enum rt_status rt_row_writer_write(struct rt_row_writer *writer, uint64_t begin, size_t n_rows,
                                   const void *rows, struct rt_error *err) RT_MUST_CHECK;
/* Flushes to disk and closes; frees the writer whatever happens. NULL is fine. Fails with RT_IO. */
enum rt_status rt_row_writer_close(struct rt_row_writer *writer,
                                   struct rt_error *err) RT_MUST_CHECK;

#endif
