/* One reader for every row format and for a heap of many files: open, header, rows by number. */
#ifndef RT_IO_ROWS_H
#define RT_IO_ROWS_H

#include "core/element.h"
#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file of a heap, with what tells that it changed. */
struct rt_heap_file {
    char *path;        /* as it can be opened from here */
    char *dataset;     /* NULL, or the HDF5 dataset */
    uint64_t first_row; /* number of its first row in the heap */
    uint64_t n_rows;
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint64_t header_bytes;
};

struct rt_rows_info {
    uint64_t n_rows;
    uint32_t dim;
    enum rt_element type;
    uint64_t n_bytes; /* of all files */
    size_t n_files;
    const struct rt_heap_file *files; /* lent by the reader */
};

struct rt_rows_options {
    const char *type;    /* --type, or NULL */
    const char *dataset; /* default dataset of a bare FILE.h5: "/train" for rows, "/test" for queries */
};

struct rt_rows;
/* ROWS of the command line: a file, FILE.h5:/dataset, a directory, or @LIST. Reads headers only. Fails with RT_INPUT
 * (format, mixed types, lying header), RT_IO. */
enum rt_status rt_rows_open(const char *name, const struct rt_rows_options *options, struct rt_rows **out,
                            struct rt_error *err) RT_MUST_CHECK;
void rt_rows_close(struct rt_rows *rows);
const struct rt_rows_info *rt_rows_info(const struct rt_rows *rows);
/* Rows [begin, begin + n_rows) in their own element type, densely packed, into buffer (n_rows x dim x size bytes).
 * Fails with RT_INPUT (torn file, wrong dimension in a vecs row: file and row of the heap named), RT_IO. */
enum rt_status rt_rows_read(struct rt_rows *rows, uint64_t begin, size_t n_rows, void *buffer,
                            struct rt_error *err) RT_MUST_CHECK;
/* File and row within it, for messages: 'part-0007.fvecs' row 184,211. */
void rt_rows_name_row(const struct rt_rows *rows, uint64_t row, char *text, size_t text_size);

#endif
