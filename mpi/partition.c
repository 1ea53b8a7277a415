#include "mpi/partition.h"

#include "mpi/traffic.h"
#include "mpi/waiting.h"

#include <string.h>

/* ---- shares: pure functions ---- */

static uint64_t n_units(uint64_t total, uint64_t multiple_of)
{
    return total / multiple_of + (total % multiple_of != 0);
}

/* First unit of a rank: floor(rank * units / n), which may pass 64 bits on the way. */
static uint64_t first_unit(uint64_t units, int rank, int n_ranks)
{
    return (uint64_t)((__extension__(unsigned __int128) units * (unsigned)rank) /
                      (unsigned)n_ranks);
}

static uint64_t unit_begin(uint64_t total, uint64_t unit, uint64_t multiple_of)
{
    uint64_t begin = 0;
    if (__builtin_mul_overflow(unit, multiple_of, &begin) || begin > total)
        return total;
    return begin;
}

struct rt_range rt_share(uint64_t total, int rank, int n_ranks, uint64_t multiple_of)
{
    uint64_t units = n_units(total, multiple_of);
    return (struct rt_range){
        unit_begin(total, first_unit(units, rank, n_ranks), multiple_of),
        unit_begin(total, first_unit(units, rank + 1, n_ranks), multiple_of),
    };
}

uint64_t rt_share_most(uint64_t total, int n_ranks, uint64_t multiple_of)
{
    uint64_t units = n_units(n_units(total, multiple_of), (uint64_t)n_ranks);
    return unit_begin(total, units, multiple_of);
}

int rt_share_owner(uint64_t total, uint64_t index, int n_ranks, uint64_t multiple_of)
{
    /* unit is in rank r's part iff floor(rU/N) <= unit < floor((r+1)U/N), iff r = ceil((unit + 1) N
     * / U) - 1 */
    uint64_t units = n_units(total, multiple_of);
    __extension__ unsigned __int128 product =
        (unsigned __int128)(index / multiple_of + 1) * (unsigned)n_ranks;
    return (int)((product - 1) / units);
}

struct rt_chunks rt_chunks_of(uint64_t n_rows)
{
    struct rt_chunks chunks = {.n_rows = n_rows, .shift = 8};
    while (chunks.shift < 16 && (n_rows / 4096) >> (chunks.shift + 1) != 0)
        chunks.shift++;
    chunks.n_chunks = n_units(n_rows, UINT64_C(1) << chunks.shift);
    return chunks;
}

struct rt_chunks rt_chunks_large(uint64_t n_rows)
{
    struct rt_chunks chunks = {.n_rows = n_rows, .shift = 8};
    while (chunks.shift < 16 && UINT64_C(1) << chunks.shift < n_rows)
        chunks.shift++;
    chunks.n_chunks = n_units(n_rows, UINT64_C(1) << chunks.shift);
    return chunks;
}

struct rt_range rt_chunks_share(const struct rt_chunks *chunks, int rank, int n_ranks)
{
    return rt_share(chunks->n_chunks, rank, n_ranks, 1);
}

struct rt_range rt_chunk_rows(const struct rt_chunks *chunks, uint64_t chunk)
{
    uint64_t size = UINT64_C(1) << chunks->shift;
    return (struct rt_range){unit_begin(chunks->n_rows, chunk, size),
                             unit_begin(chunks->n_rows, chunk + 1, size)};
}

struct rt_range rt_chunks_rows(const struct rt_chunks *chunks, int rank, int n_ranks)
{
    return rt_share(chunks->n_rows, rank, n_ranks, UINT64_C(1) << chunks->shift);
}

int rt_chunk_owner(const struct rt_chunks *chunks, uint64_t chunk, int n_ranks)
{
    return rt_share_owner(chunks->n_chunks, chunk, n_ranks, 1);
}

/* ---- sums and copies, in pieces ---- */

static size_t piece_of(size_t n, size_t at, size_t size)
{
    size_t most = RT_PIECE_BYTES / size;
    return n - at < most ? n - at : most;
}

/* What a rank puts into a reduction leaves it once, unless it is alone. */
static void count_for_others(MPI_Comm comm, uint64_t n_bytes)
{
    int n_ranks = 0;
    MPI_Comm_size(comm, &n_ranks);
    rt_traffic_add(n_ranks > 1 ? n_bytes : 0);
}

void rt_exscan_u64(MPI_Comm comm, const uint64_t *in, uint64_t *out, size_t n)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    if (in != out)
        memcpy(out, in, n * sizeof *out);
    count_for_others(comm, n * sizeof *out);
    double waiting = rt_waiting_begin();
    for (size_t at = 0, piece = 0; at < n; at += piece) {
        piece = piece_of(n, at, sizeof *out);
        MPI_Exscan(MPI_IN_PLACE, out + at, (int)piece, MPI_UINT64_T, MPI_SUM, comm);
    }
    rt_waiting_end(waiting);
    if (rank == 0) /* where MPI leaves it undefined */
        memset(out, 0, n * sizeof *out);
}

static void reduce_all(MPI_Comm comm, void *values, size_t n, MPI_Datatype type, size_t size,
                       MPI_Op op)
{
    char *bytes = values;
    count_for_others(comm, n * size);
    double waiting = rt_waiting_begin();
    for (size_t at = 0, piece = 0; at < n; at += piece) {
        piece = piece_of(n, at, size);
        MPI_Allreduce(MPI_IN_PLACE, bytes + at * size, (int)piece, type, op, comm);
    }
    rt_waiting_end(waiting);
}

void rt_sum_u64(MPI_Comm comm, uint64_t *values, size_t n)
{
    reduce_all(comm, values, n, MPI_UINT64_T, sizeof *values, MPI_SUM);
}

void rt_sum_i64(MPI_Comm comm, int64_t *values, size_t n)
{
    reduce_all(comm, values, n, MPI_INT64_T, sizeof *values, MPI_SUM);
}

void rt_max_u64(MPI_Comm comm, uint64_t *values, size_t n)
{
    reduce_all(comm, values, n, MPI_UINT64_T, sizeof *values, MPI_MAX);
}

void rt_min_u64(MPI_Comm comm, uint64_t *values, size_t n)
{
    reduce_all(comm, values, n, MPI_UINT64_T, sizeof *values, MPI_MIN);
}

void rt_max_f32(MPI_Comm comm, float *values, size_t n)
{
    reduce_all(comm, values, n, MPI_FLOAT, sizeof *values, MPI_MAX);
}

/* Values of each rank's part in one round of a reduce-scatter. */
static size_t scatter_piece(int n_ranks)
{
    size_t piece = RT_PIECE_BYTES / sizeof(int64_t) / (size_t)n_ranks;
    return piece ? piece : 1;
}

size_t rt_reduce_scatter_bytes(int n_ranks)
{
    return scatter_piece(n_ranks) * (size_t)n_ranks * sizeof(int64_t) +
           (size_t)n_ranks * sizeof(int);
}

void rt_reduce_scatter_i64(MPI_Comm comm, const int64_t *in, int64_t *out, const uint64_t *counts,
                           void *scratch)
{
    int n_ranks = 0;
    int rank = 0;
    MPI_Comm_size(comm, &n_ranks);
    MPI_Comm_rank(comm, &rank);
    size_t piece = scatter_piece(n_ranks);
    int64_t *packed = scratch;
    int *now = (int *)(packed + piece * (size_t)n_ranks);
    uint64_t most = 0;
    for (int r = 0; r < n_ranks; r++)
        most = counts[r] > most ? counts[r] : most;
    for (uint64_t at = 0; at < most;
         at += piece) { /* the next values of every part, side by side */
        const int64_t *part = in;
        int64_t *end = packed;
        for (int r = 0; r < n_ranks; r++) {
            uint64_t left = counts[r] > at ? counts[r] - at : 0;
            now[r] = (int)(left < piece ? left : piece);
            memcpy(end, part + (now[r] ? at : 0), (size_t)now[r] * sizeof *end);
            end += now[r];
            part += counts[r];
        }
        rt_traffic_add((uint64_t)(end - packed - now[rank]) * sizeof *end);
        MPI_Reduce_scatter(packed, out + (now[rank] ? at : 0), now, MPI_INT64_T, MPI_SUM, comm);
    }
}

void rt_pass_on(MPI_Comm comm, void *bytes, int to, struct rt_range out, int from,
                struct rt_range in)
{
    char *base = bytes;
    uint64_t to_send = rt_range_count(out);
    uint64_t to_take = rt_range_count(in);
    for (uint64_t at = 0; at < to_send || at < to_take; at += RT_PIECE_BYTES) {
        size_t n_out = at < to_send ? piece_of(to_send, at, 1) : 0;
        size_t n_in = at < to_take ? piece_of(to_take, at, 1) : 0;
        rt_traffic_add(n_out);
        MPI_Sendrecv(base + out.begin + (n_out ? at : 0), (int)n_out, MPI_BYTE,
                     n_out ? to : MPI_PROC_NULL, 0, base + in.begin + (n_in ? at : 0), (int)n_in,
                     MPI_BYTE, n_in ? from : MPI_PROC_NULL, 0, comm, MPI_STATUS_IGNORE);
    }
}

/* A ring: in step s each rank passes on what it got in step s - 1. Every byte crosses each link
 * once, no scratch. */
void rt_allgatherv_bytes(MPI_Comm comm, const void *mine, void *all, const uint64_t *counts)
{
    int n_ranks = 0;
    int rank = 0;
    MPI_Comm_size(comm, &n_ranks);
    MPI_Comm_rank(comm, &rank);
    char *bytes = all;
    uint64_t begin = 0; /* of rank's part */
    uint64_t total = 0;
    for (int r = 0; r < n_ranks; r++) {
        begin += r < rank ? counts[r] : 0;
        total += counts[r];
    }
    if (counts[rank] && bytes + begin != (const char *)mine)
        memmove(bytes + begin, mine, counts[rank]);
    int next = (rank + 1) % n_ranks;
    int before = (rank + n_ranks - 1) % n_ranks;
    uint64_t out_begin = begin;
    double waiting = rt_waiting_begin();
    for (int step = 0; step + 1 < n_ranks; step++) {
        int out = (rank - step + n_ranks) % n_ranks;
        int in = (out + n_ranks - 1) % n_ranks;
        uint64_t in_begin = out == 0 ? total - counts[in] : out_begin - counts[in];
        rt_pass_on(comm, all, next, (struct rt_range){out_begin, out_begin + counts[out]}, before,
                   (struct rt_range){in_begin, in_begin + counts[in]});
        out_begin = in_begin;
    }
    rt_waiting_end(waiting);
}

void rt_bcast_bytes(MPI_Comm comm, void *buffer, uint64_t n_bytes, int root)
{
    char *bytes = buffer;
    int rank = 0;
    int n_ranks = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    if (rank == root)
        rt_traffic_add(n_bytes * (uint64_t)(n_ranks - 1));
    double waiting = rt_waiting_begin();
    for (size_t at = 0, piece = 0; at < n_bytes; at += piece) {
        piece = piece_of(n_bytes, at, 1);
        MPI_Bcast(bytes + at, (int)piece, MPI_BYTE, root, comm);
    }
    rt_waiting_end(waiting);
}

/* Four 32-bit limbs, so that sums of limbs cannot overflow 64 bits. */
struct rt_hash128 rt_sum_hash128(MPI_Comm comm, struct rt_hash128 mine)
{
    uint64_t limbs[RT_HASH128_LIMBS] = {0};
    rt_hash128_add_limbs(mine, limbs);
    rt_sum_u64(comm, limbs, RT_HASH128_LIMBS);
    return rt_hash128_of_limbs(limbs);
}
