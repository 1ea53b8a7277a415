/* appendable-G.h5: code records in order of arrival, by columns, so that a range of lists is found
 * in the list column alone. Records of a chunk lie together, sorted by (list, row) (E3). Table in
 * docs/format.md, "appendable". */
#ifndef RT_IO_TAPE_FILE_H
#define RT_IO_TAPE_FILE_H

#include "core/error.h"
#include "core/place.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

struct rt_tape_shape {
    uint64_t generation;
    struct rt_hash128 fingerprint;
    uint64_t n_records; /* unused ones between ranks' parts included */
    uint64_t n_chunks;
    uint64_t chunk_rows; /* E1; also the cap of checksum units */
    uint32_t dim;
    uint32_t code_bytes; /* rt_code_bytes(dim) */
    uint32_t n_factors;
};
enum { /* datasets, in layout order; the first five are the columns of a record */
       RT_TAPE_LISTS = 0, /* u32 */
       RT_TAPE_IDS,       /* u64; RT_NO_ID: unused */
       RT_TAPE_CODES,     /* u8 x code_bytes */
       RT_TAPE_FACTORS,   /* f32 x n_factors */
       RT_TAPE_PLACES,    /* u32 x 2: segment, slot in it */
       RT_TAPE_CHUNKS,    /* u64 x 2 a chunk: first record, records */
       RT_TAPE_N_DATASETS
};
#define RT_TAPE_COLUMNS 5
/* What unused records are filled with, column by column (lists and ids 0xff, else 0). */
extern const uint8_t rt_tape_fill[RT_TAPE_COLUMNS];

/* Records of one batch; each pointer has n_records packed entries. */
struct rt_tape_records {
    uint64_t n_records;
    const uint32_t *lists;
    const uint64_t *ids;
    const uint8_t *codes;
    const float *factors;
    const struct rt_place *places;
};

/* The same, to be filled: room for n_rows. */
struct rt_tape_columns {
    uint32_t *lists;
    uint64_t *ids;
    uint8_t *codes;
    float *factors;
    struct rt_place *places;
};
/* The caller frees the columns with rt_tape_columns_free, after a failure (RT_NOMEM) too; they are
 * all NULL at first. */
enum rt_status rt_tape_columns_new(size_t n_rows, uint32_t code_bytes, uint32_t n_factors,
                                   struct rt_tape_columns *out, struct rt_error *err) RT_MUST_CHECK;
void rt_tape_columns_free(struct rt_tape_columns *own);
/* Record number `record` of from, but for its place, to number `at` of to. */
void rt_tape_take(const struct rt_tape_columns *to, size_t at, const struct rt_tape_records *from,
                  uint64_t record, uint32_t code_bytes, uint32_t n_factors);
/* Bytes of one record over all columns. */
size_t rt_tape_record_bytes(uint32_t code_bytes, uint32_t n_factors);

enum rt_status rt_tape_layout(const struct rt_tape_shape *shape, struct rt_h5_layout *layout,
                              struct rt_error *err) RT_MUST_CHECK;
/* The same, checked against a file's own attributes. Fails with RT_DAMAGED. */
enum rt_status rt_tape_check(const char *path, const struct rt_h5_layout *found,
                             struct rt_tape_shape *shape, struct rt_h5_layout *layout,
                             struct rt_error *err) RT_MUST_CHECK;
/* Shares (ranks' parts) begin at multiples of this many records. */
uint64_t rt_tape_share_records(const struct rt_tape_shape *shape);

/* Private memory of a writer over so many records; of the shape chunk_rows, code_bytes and
 * n_factors count. */
uint64_t rt_tape_writer_bytes(const struct rt_tape_shape *shape, uint64_t n_records,
                              size_t buffer_bytes);
/* A writer over records [begin, end): rt_unit_writer over the five columns. */
enum rt_status rt_tape_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                  size_t buffer_bytes, struct rt_unit_writer **out,
                                  struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_tape_append(struct rt_unit_writer *writer, const struct rt_tape_records *records,
                              struct rt_error *err) RT_MUST_CHECK;

/* A mapped tape file. */
struct rt_tape_view {
    struct rt_h5_map *map;
    struct rt_tape_shape shape;
    struct rt_tape_records records; /* all of them, lent by the map */
    const uint64_t
        *chunks; /* n_chunks x 2; every pair checked to lie inside n_records, and their sum */
};
enum rt_status rt_tape_open(const char *path, struct rt_tape_view *view,
                            struct rt_error *err) RT_MUST_CHECK;
void rt_tape_close(struct rt_tape_view *view);
/* First record in [begin, end), all of one chunk, whose list is at least `list` (E3); end: none. */
uint64_t rt_tape_first_of_list(const struct rt_tape_view *view, uint64_t begin, uint64_t end,
                               uint32_t list);

#endif
