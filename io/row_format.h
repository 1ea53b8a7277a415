/* What the row formats have in common: the suffixes, and what a header says of where the rows lie.
 * Between io/rows.c and io/rows_*.c, one of which there is for each family. */
#ifndef RT_IO_ROW_FORMAT_H
#define RT_IO_ROW_FORMAT_H

#include "core/element.h"
#include "io/input_file.h"

#include <stdbool.h>

enum rt_row_format { RT_ROW_BIN = 0, RT_ROW_VECS, RT_ROW_NPY, RT_ROW_HDF5 };
#define RT_ROW_SUFFIXES ".fbin .u8bin .i8bin .f16bin .fvecs .bvecs .npy .h5 .hdf5"

struct rt_row_suffix {
    const char *suffix;
    enum rt_row_format format;
    int type; /* enum rt_element, or -1: the file itself, or --type, says it */
};
/* By the end of the name, '.crop_nb_N' taken off first; NULL where it is no row suffix. '.bin' is
 * one. */
const struct rt_row_suffix *rt_row_suffix_find(const char *path);
/* N of '.crop_nb_N'; false without one. */
bool rt_row_suffix_crop(const char *path, uint64_t *n_rows);
/* Length of FILE in 'FILE.h5:/dataset', whether or not it is there; 0 where name is no such pair.
 */
size_t rt_row_dataset_split(const char *name);
/* 'FILE' or 'FILE.h5:/dataset' (unless a file has that whole name) taken apart. *set is NULL where
 * it is no HDF5 file, and a copy of `dataset` (or NULL) for a bare one. The caller frees both with
 * free. Fails with RT_NOMEM. */
enum rt_status rt_row_name_split(const char *name, const char *dataset, char **path, char **set,
                                 struct rt_error *err) RT_MUST_CHECK;

/* Where the rows of one file lie. Plain bytes (it is packed and broadcast). */
struct rt_row_layout {
    uint64_t n_rows;
    uint64_t data_offset;
    uint64_t stride_bytes; /* from row to row in the file */
    uint32_t dim;          /* 0: an empty vecs file, any dimension */
    uint32_t format;       /* enum rt_row_format */
    uint32_t type;         /* enum rt_element, as the reader gives rows */
    uint8_t is_converted;  /* f64 in the file */
    uint8_t is_plain;      /* rows can be read by offset, little-endian; else by HDF5 only */
    uint8_t may_grow; /* --concurrent, and the format allows it: later bytes are no rows of ours */
    uint8_t padding;
};

/* What is known before the header is read. */
struct rt_row_request {
    int type;            /* by suffix or --type, -1: not told */
    const char *dataset; /* HDF5 only */
    bool may_grow;
};

/* Each reads a header and checks it against the size. Fail with RT_INPUT, RT_IO, RT_NOMEM. */
enum rt_status rt_rows_bin_header(const struct rt_input_file *file,
                                  const struct rt_row_request *request, struct rt_row_layout *out,
                                  struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_rows_vecs_header(const struct rt_input_file *file,
                                   const struct rt_row_request *request, struct rt_row_layout *out,
                                   struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_rows_npy_header(const struct rt_input_file *file,
                                  const struct rt_row_request *request, struct rt_row_layout *out,
                                  struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_rows_hdf5_header(const struct rt_input_file *file,
                                   const struct rt_row_request *request, struct rt_row_layout *out,
                                   struct rt_error *err) RT_MUST_CHECK;

/* Rows of a vecs file: each row's own dimension checked and dropped. scratch has at least
 * scratch_bytes >= stride. Fails with RT_INPUT naming the row, RT_IO. */
enum rt_status rt_rows_vecs_read(const struct rt_input_file *file,
                                 const struct rt_row_layout *layout, uint64_t begin, size_t n_rows,
                                 void *buffer, unsigned char *scratch, size_t scratch_bytes,
                                 struct rt_error *err) RT_MUST_CHECK;

/* RT_INPUT where what the file holds contradicts --type. */
enum rt_status rt_row_check_type(const char *path, enum rt_element found, int asked,
                                 struct rt_error *err) RT_MUST_CHECK;

#endif
