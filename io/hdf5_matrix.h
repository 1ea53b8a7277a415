/* Datasets of one or two axes in HDF5 files of other programs: what they hold, and their rows in a
 * type of ours; and such files written for other programs. Every call takes the HDF5 mutex
 * (io/hdf5.h), so any thread may call. */
#ifndef RT_IO_HDF5_MATRIX_H
#define RT_IO_HDF5_MATRIX_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rt_matrix_type { /* of values in memory, and of those written */
                      RT_MATRIX_F16 = 0,
                      RT_MATRIX_F32,
                      RT_MATRIX_F64,
                      RT_MATRIX_U8,
                      RT_MATRIX_I8,
                      RT_MATRIX_U64,
                      RT_MATRIX_I64
};
size_t rt_matrix_type_size(enum rt_matrix_type type);

struct rt_matrix_info {
    uint32_t n_axes; /* 1 or 2 */
    uint64_t n_rows;
    uint64_t n_columns; /* 1 where there is one axis */
    char kind;          /* 'f' (IEEE) 'i' 'u'; 0: something else */
    uint32_t item_bytes;
    char text[24]; /* its type for messages: 'f32', 'i64, big-endian', 'strings' */
    bool is_plain; /* contiguous and little-endian: row r begins at data_offset + r x n_columns x
                      item_bytes */
    uint64_t data_offset;
};

struct rt_hdf5_matrix;
/* Opens 'path' and its dataset read-only; with is_growing for a file that is being written with
 * SWMR. Both names are lent until it is closed. Fails with RT_INPUT (no HDF5 file, cut short, no
 * such dataset (those there are named), more axes, rows in other files, a sparse set of
 * ann-benchmarks), RT_NOMEM. */
enum rt_status rt_hdf5_matrix_open(const char *path, const char *dataset, bool is_growing,
                                   struct rt_hdf5_matrix **out, struct rt_error *err) RT_MUST_CHECK;
void rt_hdf5_matrix_close(struct rt_hdf5_matrix *matrix); /* NULL is fine */
const struct rt_matrix_info *rt_hdf5_matrix_info(const struct rt_hdf5_matrix *matrix);
/* Rows [begin, begin + n_rows), converted by HDF5 to type, in steps of at most 32 MiB. Out of range
 * integers clamp: ask for a type that holds them. Fails with RT_INPUT (damaged or shrunk), RT_IO.
 */
enum rt_status rt_hdf5_matrix_read(struct rt_hdf5_matrix *matrix, uint64_t begin, size_t n_rows,
                                   enum rt_matrix_type type, void *buffer,
                                   struct rt_error *err) RT_MUST_CHECK;
/* A string attribute of the root group, of fixed or variable length; or a number as one. False
 * where it is not there. */
bool rt_hdf5_matrix_attribute(struct rt_hdf5_matrix *matrix, const char *name, char *text,
                              size_t text_size);

struct rt_matrix_column { /* a dataset to be created */
    const char *name;     /* '/a/b' makes the group */
    enum rt_matrix_type type;
    uint32_t n_axes;
    uint64_t n_rows, n_columns;
    uint64_t data_offset; /* filled in */
};
struct rt_matrix_attribute {
    const char *name;
    const char *text; /* NULL: number */
    int64_t number;
};
/* Creates (or replaces) path with these datasets, space assigned and not filled, and root
 * attributes (strings of variable length, as h5py writes them). Without times: the same call gives
 * the same bytes. Fails with RT_IO. */
enum rt_status rt_hdf5_matrix_create(const char *path, struct rt_matrix_column *columns,
                                     size_t n_columns, const struct rt_matrix_attribute *attributes,
                                     size_t n_attributes, struct rt_error *err) RT_MUST_CHECK;

#endif
