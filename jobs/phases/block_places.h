/* Which blocks of a frozen file are still to be written, and by whom. Blocks are counted in
 * granules of share_blocks, the unit of resume. Those that no run before has made durable, in
 * order, have places 0, 1, .. (G5): without such a run a block's place is its number. Ranks' shares
 * and their windows are ranges of places. */
#ifndef RT_JOBS_PHASES_BLOCK_PLACES_H
#define RT_JOBS_PHASES_BLOCK_PLACES_H

#include "core/error.h"
#include "mpi/partition.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_block_places {
    uint64_t n_blocks, share_blocks;
    uint64_t n_granules;
    uint64_t *missing_before; /* n_granules + 1: granules to do before each; NULL: all are to do */
    uint64_t n_places;
};

/* done: a bit for each granule, of runs before this one; NULL: there was none. The caller ends
 * *places. Fails with RT_NOMEM. */
enum rt_status rt_block_places_begin(uint64_t n_blocks, uint64_t share_blocks, const uint64_t *done,
                                     struct rt_block_places *places,
                                     struct rt_error *err) RT_MUST_CHECK;
void rt_block_places_end(struct rt_block_places *places);

/* Is the granule that holds this block to be written? */
static inline bool rt_block_is_missing(const struct rt_block_places *places, uint64_t block)
{
    const uint64_t *before = places->missing_before;
    if (!before)
        return true;
    uint64_t granule = block / places->share_blocks;
    return before[granule] < before[granule + 1];
}

/* The place of a block that is missing. */
static inline uint64_t rt_block_place(const struct rt_block_places *places, uint64_t block)
{
    return places->missing_before
               ? places->missing_before[block / places->share_blocks] * places->share_blocks +
                     block % places->share_blocks
               : block;
}

/* The block at a place, place < n_places. */
uint64_t rt_block_at_place(const struct rt_block_places *places, uint64_t place);

/* A rank's share of all places, and the window of its share that is at most window_blocks long in
 * this round. */
struct rt_range rt_block_places_share(const struct rt_block_places *places, int rank, int n_ranks);
struct rt_range rt_block_places_window(const struct rt_block_places *places, int rank, int n_ranks,
                                       uint64_t window_blocks, uint64_t round);

#endif
