#include "jobs/phases/merge_hits.h"

#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/traffic.h"

#include <stdbool.h>
#include <string.h>

#define PIECE_BYTES ((size_t)4 << 20)

enum rt_status rt_merge_hits(MPI_Comm comm, struct rt_hit *hits, size_t n_queries, uint32_t k,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int rank = 0;
    int n_ranks = 1;
    struct rt_hit *theirs = NULL;
    struct rt_hit *merged = NULL;
    size_t in_piece = PIECE_BYTES / (k * sizeof *hits);
    in_piece = in_piece ? in_piece : 1;
    in_piece = in_piece < n_queries ? in_piece : n_queries;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    RT_LOCAL(rt_array_new(in_piece, k * sizeof *theirs, &theirs, err));
    RT_LOCAL(rt_array_new(k, sizeof *merged, &merged, err));
    RT_AGREE(comm);
    for (int step = 1; step < n_ranks; step *= 2)
        for (size_t first = 0; first < n_queries; first += in_piece) {
            size_t n = n_queries - first < in_piece ? n_queries - first : in_piece;
            int n_bytes = (int)(n * k * sizeof *hits);
            struct rt_hit *mine = hits + first * k;
            if (rank % (2 * step) == step) {
                rt_traffic_add((uint64_t)n_bytes);
                MPI_Send(mine, n_bytes, MPI_BYTE, rank - step, 0, comm);
            } else if (rank % (2 * step) == 0 && rank + step < n_ranks) {
                MPI_Recv(theirs, n_bytes, MPI_BYTE, rank + step, 0, comm, MPI_STATUS_IGNORE);
                for (size_t q = 0; q < n; q++) {
                    rt_topk_merge(mine + q * k, theirs + q * k, k, merged);
                    memcpy(mine + q * k, merged, k * sizeof *merged);
                }
            }
        }
done:
    rt_array_free(theirs);
    rt_array_free(merged);
    return st;
}

/* Hits of ranks [begin, end), between two ranks. */
static void pass_on(MPI_Comm comm, struct rt_hit *hits, size_t n_queries, uint32_t k, int begin,
                    int end, int other, bool sends)
{
    int n_ranks = 1;
    MPI_Comm_size(comm, &n_ranks);
    end = end < n_ranks ? end : n_ranks;
    char *at = (char *)(hits + rt_share(n_queries, begin, n_ranks, 1).begin * k);
    char *stop = (char *)(hits + rt_share(n_queries, end - 1, n_ranks, 1).end * k);
    while (at < stop) {
        size_t left = (size_t)(stop - at);
        int n_bytes = (int)(left < PIECE_BYTES ? left : PIECE_BYTES);
        if (sends) {
            rt_traffic_add((uint64_t)n_bytes);
            MPI_Send(at, n_bytes, MPI_BYTE, other, 0, comm);
        } else {
            MPI_Recv(at, n_bytes, MPI_BYTE, other, 0, comm, MPI_STATUS_IGNORE);
        }
        at += n_bytes;
    }
}

void rt_gather_hits(MPI_Comm comm, struct rt_hit *hits, size_t n_queries, uint32_t k)
{
    int rank = 0;
    int n_ranks = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    for (int step = 1; step < n_ranks; step *= 2) {
        if (rank % (2 * step) == step) {
            pass_on(comm, hits, n_queries, k, rank, rank + step, rank - step, true);
            break;
        }
        if (rank + step < n_ranks)
            pass_on(comm, hits, n_queries, k, rank + step, rank + 2 * step, rank + step, false);
    }
}
