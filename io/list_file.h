/* frozen-G.h5: the list directory, and blocks of 32 codes with factors, ids and places. A list's
 * blocks lie together in one file, its rows in row order, the last block padded (id RT_NO_ID, zeros
 * elsewhere). Table in docs/format.md, "frozen". */
#ifndef RT_IO_LIST_FILE_H
#define RT_IO_LIST_FILE_H

#include "core/block.h"
#include "core/error.h"
#include "core/place.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

struct rt_list_shape {
    uint64_t generation;
    struct rt_hash128 fingerprint;
    uint32_t n_lists;
    uint64_t n_blocks;
    uint32_t dim;
    uint32_t n_factors;
};
enum {                    /* datasets, in layout order; the first four are the columns of a block */
       RT_LIST_CODES = 0, /* u8 x groups x 16: rt_block_put */
       RT_LIST_FACTORS,   /* f32 x n_factors x 32: factor f of row r at [f][r] */
       RT_LIST_IDS,       /* u64 x 32 */
       RT_LIST_PLACES,    /* u32 x 32 x 2: segment and slot of row r at [r] */
       RT_LIST_FILES,     /* u64 a list: generation number of the frozen file that holds it */
       RT_LIST_FIRST_BLOCKS, /* u64 a list: its first block there */
       RT_LIST_ROWS,         /* u64 a list: rows, blocks = ceil(rows / 32) */
       RT_LIST_N_DATASETS
};
#define RT_LIST_COLUMNS 4
extern const uint8_t rt_list_fill[RT_LIST_COLUMNS]; /* ids 0xff, else 0 */

/* Blocks of one batch; each pointer has n_blocks packed entries. */
struct rt_list_blocks {
    uint64_t n_blocks;
    const uint8_t *codes;
    const float *factors;
    const uint64_t *ids;
    const struct rt_place *places;
};

enum rt_status rt_list_layout(const struct rt_list_shape *shape, struct rt_h5_layout *layout,
                              struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_list_check(const char *path, const struct rt_h5_layout *found,
                             struct rt_list_shape *shape, struct rt_h5_layout *layout,
                             struct rt_error *err) RT_MUST_CHECK;
/* Shares of ranks begin at multiples of this many blocks: a pure function of n_blocks, dim and
 * n_factors, 16 blocks for small files, up to 4096 for large ones. */
uint64_t rt_list_share_blocks(const struct rt_list_shape *shape);

/* Private memory of a writer over n_blocks of them; of the shape n_blocks, dim and n_factors count.
 */
uint64_t rt_list_writer_bytes(const struct rt_list_shape *shape, uint64_t n_blocks,
                              size_t buffer_bytes);
/* A writer over blocks [begin, end), in order. */
enum rt_status rt_list_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                  size_t buffer_bytes, struct rt_unit_writer **out,
                                  struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_list_append(struct rt_unit_writer *writer, const struct rt_list_blocks *blocks,
                              struct rt_error *err) RT_MUST_CHECK;
/* The whole directory, by one rank; each array has n_lists entries (files NULL: all in this file).
 */
enum rt_status rt_list_write_directory(struct rt_h5_file *file, const uint64_t *files,
                                       const uint64_t *first_blocks, const uint64_t *rows,
                                       struct rt_error *err) RT_MUST_CHECK;

/* A mapped frozen file. */
struct rt_list_view {
    struct rt_h5_map *map;
    struct rt_list_shape shape;
    struct rt_list_blocks blocks; /* all of them, lent by the map */
    const uint64_t *files, *first_blocks,
        *rows; /* the directory; not checked: rt_index_list does, list by list */
};
enum rt_status rt_list_open(const char *path, struct rt_list_view *view,
                            struct rt_error *err) RT_MUST_CHECK;
void rt_list_close(struct rt_list_view *view);

#endif
