#include "mpi/agree.h"

#include "mpi/waiting.h"
#include "mpi/watchdog.h"

#include <string.h>

enum rt_status rt_agree(MPI_Comm comm, enum rt_status st, struct rt_error *err)
{
    struct {
        int status;
        int rank;
    } mine, worst;
    mine.status = (int)st;
    MPI_Comm_rank(comm, &mine.rank);
    rt_watchdog_beat();
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Iallreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, comm, &request); /* ties: least rank */
    rt_wait(&request, st > RT_STOPPED); /* of a stop all hear anyway */
    rt_watchdog_beat_all();
    if (worst.status == RT_OK)
        return RT_OK;
    if (mine.rank == worst.rank) {
        err->status = st;
        if (err->rank < 0) /* else agreed before, perhaps in a smaller group */
            MPI_Comm_rank(MPI_COMM_WORLD, &err->rank); /* comm may number its ranks otherwise */
    }
    MPI_Bcast(err, (int)sizeof *err, MPI_BYTE, worst.rank, comm);
    return (enum rt_status)worst.status;
}

#ifdef RT_CHECKS
enum rt_status rt_same(MPI_Comm comm, const void *value, size_t n_bytes, const char *name,
                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char first[256];
    size_t n_first = n_bytes;
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Bcast(&n_first, (int)sizeof n_first, MPI_BYTE, 0, comm);
    int differs = n_first != n_bytes;
    for (size_t at = 0; at < n_first; at += sizeof first) {
        size_t n = n_first - at < sizeof first ? n_first - at : sizeof first;
        if (rank == 0)
            memcpy(first, (const unsigned char *)value + at, n);
        MPI_Bcast(first, (int)n, MPI_BYTE, 0, comm);
        if (!differs)
            differs = memcmp(first, (const unsigned char *)value + at, n) != 0;
    }
    if (differs)
        st = rt_error_set(err, RT_DAMAGED, __FILE__, __LINE__,
                          "internal error: '%s' is not the same on this rank as on rank 0", name);
    return rt_agree(comm, st, err);
}
#endif
