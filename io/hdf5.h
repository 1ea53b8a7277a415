/* The few things we do with HDF5. A file is a flat list of contiguous datasets and attributes of
 * the root group, known before the first byte is written (`rt_h5_layout`). One rank creates it, all
 * space assigned and nothing filled, and closes it; then any rank writes raw bytes, either itself
 * at the dataset's offset (direct) or through MPI-IO (mpio). Both ways give the same bytes, and no
 * metadata changes after creation (G6). The one module that calls HDF5, with io/rows_hdf5.c and
 * exports; all calls pass one mutex. */
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
 * and units, and its attributes with the same values. Fails with RT_DAMAGED, naming the first that
 * differs. */
enum rt_status rt_h5_compare(const char *path, const struct rt_h5_layout *found,
                             const struct rt_h5_layout *expected,
                             struct rt_error *err) RT_MUST_CHECK;

enum rt_io_way { RT_IO_DIRECT = 0, RT_IO_MPIO = 1 };

/* An open file of known layout. Direct: any thread may write and read. mpio: one thread, and open
 * and close are collective over the communicator. */
struct rt_h5_file;
/* Opens a created and closed file for writing. comm: NULL under RT_IO_DIRECT; under RT_IO_MPIO the
 * address of an MPI_Comm, over which this call is then collective (agree on creation first). The
 * layout is copied. Fails with RT_IO; RT_USAGE for mpio where this build has none. */
enum rt_status rt_h5_open_write(const void *comm, const char *path,
                                const struct rt_h5_layout *layout, enum rt_io_way way,
                                struct rt_h5_file **out, struct rt_error *err) RT_MUST_CHECK;
/* Opens for rt_h5_read only, by offsets; reads the layout from the file where layout is NULL. */
enum rt_status rt_h5_open_read(const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_file **out, struct rt_error *err) RT_MUST_CHECK;
const struct rt_h5_layout *rt_h5_file_layout(const struct rt_h5_file *file);
const char *rt_h5_file_path(const struct rt_h5_file *file);
/* Rows [first_row, first_row + n_rows) of a dataset, packed. Not collective in either way. Fail
 * with RT_IO. */
enum rt_status rt_h5_write(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                           uint64_t n_rows, const void *rows, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_read(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                          uint64_t n_rows, void *rows, struct rt_error *err) RT_MUST_CHECK;
/* Checksums of units [first_unit, first_unit + n_units): to NAME.xxh3, and from it. */
enum rt_status rt_h5_write_sums(struct rt_h5_file *file, uint32_t dataset, uint64_t first_unit,
                                uint64_t n_units, const uint64_t *sums,
                                struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_read_sums(struct rt_h5_file *file, uint32_t dataset, uint64_t first_unit,
                               uint64_t n_units, uint64_t *sums,
                               struct rt_error *err) RT_MUST_CHECK;
/* What this process wrote reaches the disk (mpio: of this rank's descriptor as well, not
 * collective). */
enum rt_status rt_h5_sync(struct rt_h5_file *file, struct rt_error *err) RT_MUST_CHECK;
/* True after a failed mpio write or close: the ranks must agree on that and MPI_Abort, and nobody
 * may close the file, since closing hangs (platform: a failed flush on one rank). Never true under
 * direct. */
bool rt_h5_must_abort(const struct rt_h5_file *file);
/* mpio: collective. Fails with RT_IO. The handle is gone afterwards in every case; NULL is fine. */
enum rt_status rt_h5_close(struct rt_h5_file *file, struct rt_error *err) RT_MUST_CHECK;

/* The two hashes of a finished file that its manifest keeps: `structure` over all bytes outside the
 * datasets that have checksums and outside those checksums, in file order; `sums` over the checksum
 * datasets in layout order. */
struct rt_h5_hashes {
    struct rt_hash128 structure, sums;
};
enum rt_status rt_h5_hash_file(const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_hashes *out, struct rt_error *err) RT_MUST_CHECK;

/* A file mapped read-only. rt_h5_map_rows gives all rows of a dataset: inside the map where they
 * lie 8-byte aligned, else (below 4096 bytes) a copy the map owns. NULL for a dataset without
 * bytes. */
struct rt_h5_map;
/* layout NULL: read from the file. */
enum rt_status rt_h5_map_open(const char *path, const struct rt_h5_layout *layout,
                              struct rt_h5_map **out, struct rt_error *err) RT_MUST_CHECK;
void rt_h5_map_close(struct rt_h5_map *map);
const struct rt_h5_layout *rt_h5_map_layout(const struct rt_h5_map *map);
const char *rt_h5_map_path(const struct rt_h5_map *map);
const void *rt_h5_map_rows(const struct rt_h5_map *map, uint32_t dataset);
const uint64_t *rt_h5_map_sums(const struct rt_h5_map *map,
                               uint32_t dataset); /* NULL where there are none */
/* Unit `unit` of a dataset against its checksum. Fails with RT_DAMAGED, naming file, dataset and
 * rows. */
enum rt_status rt_h5_map_check_unit(const struct rt_h5_map *map, uint32_t dataset, uint64_t unit,
                                    struct rt_error *err) RT_MUST_CHECK;

/* Around every HDF5 call of other files: takes the mutex and silences HDF5's own printing. */
void rt_h5_enter(void);
void rt_h5_leave(void);
/* HDF5's innermost message, for our own; to be called before rt_h5_leave. */
void rt_h5_reason(char *text, size_t text_size);
/* True where this build can do RT_IO_MPIO. */
bool rt_h5_has_mpio(void);

#endif
