/* Records on their way into frozen blocks (F4). They come in any order, each with the number of its
 * slot, and lie as they are until their window is whole: an arrival touches one place in memory.
 * Blocks are packed from it in order, a few at a time. */
#ifndef RT_JOBS_PHASES_BLOCK_WINDOW_H
#define RT_JOBS_PHASES_BLOCK_WINDOW_H

#include "core/checksum.h"
#include "core/error.h"
#include "io/list_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_WINDOW_BATCH 64u /* blocks packed at once */

struct rt_block_window;

/* Bytes of a record on its way: its slot in the window (u32: block x 32 + row, counted from the
 * window's begin), its place, then the record as rt_record_pack lays it out. */
size_t rt_block_window_wire_bytes(uint32_t dim, uint32_t n_factors);
/* Private memory of a window of n_blocks. */
uint64_t rt_block_window_bytes(uint32_t dim, uint32_t n_factors, uint64_t n_blocks);
/* Room for n_blocks blocks, whose slots a u32 counts. The caller frees *out. Fails with RT_NOMEM.
 */
enum rt_status rt_block_window_new(uint32_t dim, uint32_t n_factors, uint64_t n_blocks,
                                   struct rt_block_window **out,
                                   struct rt_error *err) RT_MUST_CHECK;
void rt_block_window_free(struct rt_block_window *window); /* NULL is fine */

/* The window is now the next n_blocks blocks, none of them with a record. */
void rt_block_window_clear(struct rt_block_window *window, uint64_t n_blocks);
/* Puts records into their slots. False: one has a slot beyond the window; those before it are in.
 */
bool rt_block_window_take(struct rt_block_window *window, const void *records, size_t n_records);
/* Where the records of the window at hand lie, for those that put them there themselves: slot s
 * at records + s * record_bytes, its place and then the record as rt_record_pack lays it out, and
 * bit s % 32 of present[s / 32]. Lent until the window is cleared. */
struct rt_window_slots {
    unsigned char *records;
    uint32_t *present;
    size_t record_bytes;
    uint64_t n_blocks;
};
struct rt_window_slots rt_block_window_slots(const struct rt_block_window *window);
/* Packs blocks [first, first + n), n <= RT_WINDOW_BATCH: *blocks is lent until the next call. The
 * hashes of their rows (K1) are added to *hash. */
void rt_block_window_pack(struct rt_block_window *window, uint64_t first, uint64_t n,
                          struct rt_list_blocks *blocks, struct rt_hash128 *hash);

#endif
