/* Who has what: rows to chunks, chunks and blocks to ranks, as pure functions of the counts (E1,
 * F3); and the sums and copies between ranks that need 64-bit counts. Between ranks only integers
 * are summed (A9), so results do not depend on the number of ranks. */
#ifndef RT_MPI_PARTITION_H
#define RT_MPI_PARTITION_H

#include "core/checksum.h"
#include "core/error.h"

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

struct rt_range { /* half-open */
    uint64_t begin, end;
};
static inline uint64_t rt_range_count(struct rt_range range)
{
    return range.end - range.begin;
}

/* Rank's part of [0, total), cut at multiples of multiple_of (>= 1): with U = ceil(total /
 * multiple_of) units, units [rank U / n, (rank + 1) U / n). Parts touch, cover everything, and
 * differ by at most one unit. */
struct rt_range rt_share(uint64_t total, int rank, int n_ranks, uint64_t multiple_of);
/* The largest part of a rank. */
uint64_t rt_share_most(uint64_t total, int n_ranks, uint64_t multiple_of);
/* The rank whose part holds index (index < total). */
int rt_share_owner(uint64_t total, uint64_t index, int n_ranks, uint64_t multiple_of);

/* E1. 2^shift consecutive rows are a chunk: the unit of work, of durability and of resume. The last
 * may be shorter. */
struct rt_chunks {
    uint64_t n_rows;
    uint64_t n_chunks;
    unsigned shift;
};
struct rt_chunks rt_chunks_of(uint64_t n_rows);
/* As few chunks as can be, of at most 2^16 rows: an insert's records lie in few sorted chunks, so
 * that a list's are found by few searches. Where one will do it is no larger than it must be, since
 * parts of ranks and tapes are rounded to it (E4). */
struct rt_chunks rt_chunks_large(uint64_t n_rows);
/* Chunks of a rank, rows of a chunk, rows of a rank's chunks. */
struct rt_range rt_chunks_share(const struct rt_chunks *chunks, int rank, int n_ranks);
struct rt_range rt_chunk_rows(const struct rt_chunks *chunks, uint64_t chunk);
struct rt_range rt_chunks_rows(const struct rt_chunks *chunks, int rank, int n_ranks);
int rt_chunk_owner(const struct rt_chunks *chunks, uint64_t chunk, int n_ranks);

/* All of these are collective over comm, with the same n (counts, root) on all ranks, and travel in
 * pieces of at most RT_PIECE_BYTES, which also bounds what MPI allocates. */
#define RT_PIECE_BYTES ((size_t)8 << 20)

/* out[i] = sum of in[i] over the ranks before this one (0 on rank 0). in == out is fine. */
void rt_exscan_u64(MPI_Comm comm, const uint64_t *in, uint64_t *out, size_t n);
/* In place on every rank. Sums wrap modulo 2^64; the caller bounds them. */
void rt_sum_u64(MPI_Comm comm, uint64_t *values, size_t n);
void rt_sum_i64(MPI_Comm comm, int64_t *values, size_t n);
void rt_max_u64(MPI_Comm comm, uint64_t *values, size_t n);
void rt_min_u64(MPI_Comm comm, uint64_t *values, size_t n);
/* Sum of 128-bit hashes modulo 2^128 (K1). */
struct rt_hash128 rt_sum_hash128(MPI_Comm comm, struct rt_hash128 mine);
void rt_max_f32(MPI_Comm comm, float *values, size_t n);
/* out (counts[my rank] values) = the sum over ranks of my part of `in`, which holds sum(counts)
 * values in rank order. scratch: rt_reduce_scatter_bytes bytes. out may be this rank's own part of
 * in. */
void rt_reduce_scatter_i64(MPI_Comm comm, const int64_t *in, int64_t *out, const uint64_t *counts,
                           void *scratch);
size_t rt_reduce_scatter_bytes(int n_ranks);
/* all receives counts[r] bytes of each rank r, in rank order; mine holds counts[my rank] and may
 * already lie in its place. */
void rt_allgatherv_bytes(MPI_Comm comm, const void *mine, void *all, const uint64_t *counts);
/* One step of a ring: range `out` of bytes goes to one rank while range `in` comes from another;
 * empty ranges do neither. */
void rt_pass_on(MPI_Comm comm, void *bytes, int to, struct rt_range out, int from,
                struct rt_range in);
void rt_bcast_bytes(MPI_Comm comm, void *buffer, uint64_t n_bytes, int root);

#endif
