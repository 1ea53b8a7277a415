/* One reader for every row format and for a heap of many files: open, header, rows by number. Hides
 * suffixes, headers, the limit on open files, and HDF5. Element conversion beyond f64 -> f32 is
 * core/element.h's. */
#ifndef RT_IO_ROWS_H
#define RT_IO_ROWS_H

#include "core/element.h"
#include "core/error.h"
#include "io/row_sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file of a heap, with what tells that it changed. */
struct rt_heap_file {
    char *path;         /* as it can be opened from here */
    char *dataset;      /* NULL, or the HDF5 dataset */
    uint64_t first_row; /* number of its first row in the heap */
    uint64_t n_rows;
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint64_t header_bytes; /* bytes before the first row; 0 where only HDF5 knows */
    bool may_grow;         /* behind its rows (is_growing): bytes that come there change nothing */
};

struct rt_rows_info {
    uint64_t n_rows;
    uint32_t dim; /* 1..RT_MAX_DIM; 0 only where every file is an empty vecs file (n_rows 0) */
    enum rt_element type;
    uint64_t n_bytes; /* of all files */
    size_t n_files;
    const struct rt_heap_file *files;   /* lent by the reader */
    bool is_converted;                  /* some file holds f64, given as f32: worth saying once */
    const struct rt_row_sample *sample; /* lent; of rt_rows_sample, without blocks before it */
    bool needs_hdf5; /* some file is read through HDF5 (chunked, foreign type): only on the thread
                        that calls HDF5 */
};

struct rt_rows_options {
    const char *type; /* --type, or NULL */
    const char
        *dataset;    /* default dataset of a bare FILE.h5: "/train" for rows, "/test" for queries */
    bool is_growing; /* --concurrent: what is there now is the snapshot, the heap may grow behind
                        it: its last file, and by files */
    /* With is_growing: rows of each file of an earlier snapshot. What has come behind it since, in
     * its last file or in files after that, is left out. NULL: what is there now. */
    const uint64_t *snapshot;
    size_t n_snapshot; /* files */
};

struct rt_rows;
/* ROWS of the command line: a file, FILE.h5:/dataset, a directory, or @LIST. Reads headers only.
 * Fails with RT_INPUT (format, mixed types, lying header, type not told), RT_USAGE (is_growing on a
 * format that cannot grow), RT_IO, RT_NOMEM. The caller closes *out. */
enum rt_status rt_rows_open(const char *name, const struct rt_rows_options *options,
                            struct rt_rows **out, struct rt_error *err) RT_MUST_CHECK;
void rt_rows_close(struct rt_rows *rows); /* NULL is fine */
const struct rt_rows_info *rt_rows_info(const struct rt_rows *rows);
/* Rows [begin, begin + n_rows) in their own element type, densely packed, into buffer (n_rows x dim
 * x size bytes). The range must lie in the heap. One thread at a time for a handle; at most 64
 * files are open at once. Fails with RT_INPUT (file shrank or changed, wrong dimension in a vecs
 * row: file and row named), RT_IO, RT_NOMEM. */
enum rt_status rt_rows_read(struct rt_rows *rows, uint64_t begin, size_t n_rows, void *buffer,
                            struct rt_error *err) RT_MUST_CHECK;
/* File and row within it, for messages: 'part-0007.fvecs' row 184,211. */
void rt_rows_name_row(const struct rt_rows *rows, uint64_t row, char *text, size_t text_size);

/* Reads blocks of rows [first_row, n_rows) and keeps their checksums, in the handle and in its
 * packs: a file that is found to have changed is then told with the rows that differ. first_row at
 * most n_rows. Fails as rt_rows_read. */
enum rt_status rt_rows_sample(struct rt_rows *rows, uint64_t first_row,
                              struct rt_error *err) RT_MUST_CHECK;
/* The sample that would be of the first n_rows alone, as they were before the heap has grown. Fails
 * as rt_rows_read. */
enum rt_status rt_rows_sample_before(struct rt_rows *rows, uint64_t first_row, uint64_t n_rows,
                                     struct rt_row_sample *out, struct rt_error *err) RT_MUST_CHECK;
/* The same blocks again, as far as they end by row `end`: out->blocks have their places and the
 * hashes of what is there now. Fails as rt_rows_read. */
enum rt_status rt_rows_sample_again(struct rt_rows *rows, const struct rt_row_sample *sample,
                                    uint64_t end, struct rt_row_sample *out,
                                    struct rt_error *err) RT_MUST_CHECK;
/* Compares every file's size and time of change with those seen at open (is_growing: it may only
 * have grown). Fails with RT_INPUT naming the file that changed, RT_IO. */
enum rt_status rt_rows_check_unchanged(struct rt_rows *rows, struct rt_error *err) RT_MUST_CHECK;
/* Reads the blocks of the sample again, from files opened anew: rows may change behind a size and a
 * time that do not, or in a heap that may only grow. Fails with RT_INPUT naming the rows that
 * changed, and as rt_rows_read. */
enum rt_status rt_rows_check_sample(struct rt_rows *rows, struct rt_error *err) RT_MUST_CHECK;

/* The reader as bytes (no pointers, same byte order on all ranks), so that one rank reads all
 * headers and others open none: pack on rank 0, broadcast, unpack elsewhere. Unpacking touches no
 * file. The caller frees *bytes with rt_array_free and closes *out. Fails with RT_NOMEM; unpack
 * with RT_INPUT where the bytes are not a pack. */
enum rt_status rt_rows_pack(const struct rt_rows *rows, unsigned char **bytes, size_t *n_bytes,
                            struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_rows_unpack(const void *bytes, size_t n_bytes, struct rt_rows **out,
                              struct rt_error *err) RT_MUST_CHECK;

#endif
