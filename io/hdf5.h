/* The few things we do with HDF5. A file is a flat list of contiguous datasets and attributes of
 * the root group, known before the first byte is written (`rt_h5_layout`). One rank creates it, all
 * space assigned and nothing filled, and closes it; then any rank writes raw bytes
 * (io/hdf5_file.h), either itself at the dataset's offset (direct) or through MPI-IO (mpio). Both
 * ways give the same bytes, and no metadata changes after creation (G6). The one module that calls
 * HDF5, with io/rows_hdf5.c and exports; all calls pass one mutex. */
#ifndef RT_IO_HDF5_H
#define RT_IO_HDF5_H

#include "core/checksum.h"
#include "core/element.h"
#include "core/error.h"
#include "io/format.h"
#include "io/fs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rt_h5_type { RT_H5_U8 = 0, RT_H5_I8, RT_H5_U32, RT_H5_U64, RT_H5_F16, RT_H5_F32, RT_H5_F64 };
#define RT_H5_MAX_DATASETS 32
#define RT_H5_MAX_ATTRIBUTES 32
#define RT_H5_MAX_RANK 3

struct rt_h5_dataset {
    char name[40];
    enum rt_h5_type type;
    uint32_t rank;                 /* 1..RT_H5_MAX_RANK; a row is all but the first dimension */
    uint64_t dims[RT_H5_MAX_RANK]; /* unused: 1 */
    uint64_t
        unit_rows; /* rows of a checksum unit; 0: none, covered by the file's own hash (small) */
    uint64_t offset,
        sums_offset; /* in the file: of the data, and of NAME.xxh3; 0 where there are no bytes */
};
struct rt_h5_attribute {
    char name[32];
    bool is_text;
    uint64_t number;
    char text[40];
};
/* Plain data, without pointers: it can be broadcast as bytes. */
struct rt_h5_layout {
    uint32_t n_datasets, n_attributes;
    uint64_t size; /* of the file; filled in by rt_h5_create and rt_h5_read_layout */
    struct rt_h5_dataset datasets[RT_H5_MAX_DATASETS];
    struct rt_h5_attribute attributes[RT_H5_MAX_ATTRIBUTES];
};

enum rt_h5_type rt_h5_type_of(enum rt_element element);
size_t rt_h5_type_size(enum rt_h5_type type);
/* Bytes of one row, of all rows; units of the dataset (0 where it has no checksums). */
uint64_t rt_h5_row_bytes(const struct rt_h5_dataset *dataset);
uint64_t rt_h5_dataset_bytes(const struct rt_h5_dataset *dataset);
uint64_t rt_h5_n_units(const struct rt_h5_dataset *dataset);

/* Starts a layout with what every file of an index has: kind, format version, fingerprint,
 * generation. */
void rt_h5_layout_begin(struct rt_h5_layout *layout, enum rt_file_kind kind, uint64_t generation,
                        struct rt_hash128 fingerprint);
/* Adds a dataset of rank 1 (columns 0), 2 (planes 0) or 3: n_rows x planes x columns. unit_rows as
 * in the struct. Overflow of its size, or too many of them, is our own bug or a hostile count:
 * RT_USAGE. */
enum rt_status rt_h5_layout_add(struct rt_h5_layout *layout, const char *name, enum rt_h5_type type,
                                uint64_t n_rows, uint64_t planes, uint64_t columns,
                                uint64_t unit_rows, struct rt_error *err) RT_MUST_CHECK;
void rt_h5_layout_number(struct rt_h5_layout *layout, const char *name, uint64_t value);
void rt_h5_layout_text(struct rt_h5_layout *layout, const char *name, const char *value);
/* Index of a dataset, or -1. */
int rt_h5_find(const struct rt_h5_layout *layout, const char *name);
/* Value of a numeric attribute (RT_DAMAGED with `path` where it is missing or text), or text
 * likewise. */
enum rt_status rt_h5_get_number(const struct rt_h5_layout *layout, const char *path,
                                const char *name, uint64_t *value,
                                struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_get_text(const struct rt_h5_layout *layout, const char *path, const char *name,
                              char text[40], struct rt_error *err) RT_MUST_CHECK;

/* The same within a range; the same as a hash; and what rt_h5_layout_begin has set (a newer format
 * version: RT_USAGE). */
enum rt_status rt_h5_get_u32(const struct rt_h5_layout *layout, const char *path, const char *name,
                             uint32_t least, uint32_t most, uint32_t *value,
                             struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_get_hash(const struct rt_h5_layout *layout, const char *path, const char *name,
                              struct rt_hash128 *hash, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_get_head(const struct rt_h5_layout *layout, const char *path,
                              enum rt_file_kind kind, uint64_t *generation,
                              struct rt_hash128 *fingerprint, struct rt_error *err) RT_MUST_CHECK;

/* One rank makes the file (an old one of this name is replaced): every dataset assigned, nothing
 * filled (holes read as zeros), datasets of 4096 bytes and more at multiples of 4096; beside each
 * one with unit_rows > 0 NAME.xxh3 of u64. Fills in offsets and size. The same layout gives the
 * same bytes. Fails with RT_IO. */
enum rt_status rt_h5_create(const char *path, struct rt_h5_layout *layout,
                            struct rt_error *err) RT_MUST_CHECK;
/* What is in a file of ours: everything in *layout, offsets checked to lie inside the file and
 * apart from each other. Fails with RT_DAMAGED (not HDF5, damaged, strange objects in it), RT_IO.
 */
enum rt_status rt_h5_read_layout(const char *path, struct rt_h5_layout *layout,
                                 struct rt_error *err) RT_MUST_CHECK;
/* The layout found must hold just the datasets of the layout expected, of the same types, shapes
 * and units, and its attributes with the same values; then offsets and size go into *expected.
 * Fails with RT_DAMAGED, naming the first that differs. */
enum rt_status rt_h5_adopt(const char *path, const struct rt_h5_layout *found,
                           struct rt_h5_layout *expected, struct rt_error *err) RT_MUST_CHECK;

struct rt_h5_range {
    uint64_t offset, bytes;
};
/* Where the bytes of datasets that have checksums lie, and of those checksums; with small_too of
 * all datasets. Ascending; returns their number, at most 2 x RT_H5_MAX_DATASETS. */
uint32_t rt_h5_ranges(const struct rt_h5_layout *layout, bool small_too,
                      struct rt_h5_range *ranges);

/* Around every HDF5 call of other files: takes the mutex, silences HDF5's own printing, and notes
 * path (may be NULL; lent until rt_h5_leave) for the case that HDF5 crashes on it. */
void rt_h5_enter(const char *path);
void rt_h5_leave(void);
/* HDF5's innermost message, for our own; to be called before rt_h5_leave. */
void rt_h5_reason(char *text, size_t text_size);

#define RT_H5_VERSION_TEXT 40
/* "1.10.8": of the library that is loaded, which may be newer than the headers. */
void rt_h5_version(char text[RT_H5_VERSION_TEXT]);
#endif
