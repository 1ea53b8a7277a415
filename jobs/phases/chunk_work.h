/* Which chunks a rank inserts (G5): those that no run before has made durable, in order, cut into
 * equal parts. Pure functions of the counts and the bits, the same on all ranks. */
#ifndef RT_JOBS_PHASES_CHUNK_WORK_H
#define RT_JOBS_PHASES_CHUNK_WORK_H

#include "mpi/partition.h"

#include <stdbool.h>
#include <stdint.h>

/* A bit for each unit of work: word i / 64, bit i % 64. */
static inline bool rt_bit_get(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}
static inline void rt_bit_set(uint64_t *bits, uint64_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline uint64_t rt_bit_words(uint64_t n)
{
    return n / 64 + (n % 64 != 0);
}
/* Units of n that have no bit; all of them where bits is NULL. */
uint64_t rt_bits_missing(const uint64_t *bits, uint64_t n);

struct rt_chunk_work {
    struct rt_chunks chunks;
    int layout_ranks;     /* of the first start: whose parts of the files the chunks lie in (E2) */
    const uint64_t *done; /* a bit a chunk; NULL: none is done. Lent */
    uint64_t group;       /* parts are cut at multiples of so many chunks, counted from the begin of
                             a layout rank's, so that no page has two writers (E4); 0: between
                             layout ranks only */
};
struct rt_chunk_run { /* consecutive chunks to do, all of one layout rank */
    int layout_rank;
    struct rt_range chunks;
};

/* The chunks among which a rank does those that are not done. */
struct rt_range rt_chunk_work_share(const struct rt_chunk_work *work, int rank, int n_ranks);
/* The next run at or after *at and before end; moves *at behind it. False: there is none. */
bool rt_chunk_work_next(const struct rt_chunk_work *work, uint64_t end, uint64_t *at,
                        struct rt_chunk_run *run);

#endif
