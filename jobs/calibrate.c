#include "jobs/calibrate.h"

#include "core/assign.h"
#include "core/memory.h"
#include "core/random.h"
#include "io/past_cache.h"
#include "mpi/agree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 1024
#define CENTROIDS 1024
#define PIECE ((size_t)8 << 20)
#define FILE_PIECES 16

struct bench {
    MPI_Comm comm;
    uint32_t dim;
    double seconds; /* of each measurement, at most */
    float *rows, *centroids;
    uint32_t *lists;
    char *from, *to; /* PIECE bytes each */
};

static enum rt_status make(struct bench *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = (size_t)ROWS * b->dim;
    RT_TRY(rt_array_new(n, sizeof(float), &b->rows, err));
    RT_TRY(rt_array_new(n, sizeof(float), &b->centroids, err));
    RT_TRY(rt_array_new(ROWS, sizeof *b->lists, &b->lists, err));
    RT_TRY(rt_array_zero(PIECE, 1, &b->from, err));
    RT_TRY(rt_array_zero(PIECE, 1, &b->to, err));
    for (size_t i = 0; i < n; i++) {
        b->rows[i] = (float)(rt_mix64(2 * i) >> 40) * 0x1p-24f - 0.5f;
        b->centroids[i] = (float)(rt_mix64(2 * i + 1) >> 40) * 0x1p-24f - 0.5f;
    }
done:
    return st;
}

static void unmake(struct bench *b)
{
    rt_array_free(b->rows);
    rt_array_free(b->centroids);
    rt_array_free(b->lists);
    rt_array_free(b->from);
    rt_array_free(b->to);
}

/* Assigns until the time is over. Local. */
static enum rt_status assign(struct bench *b, enum rt_proposer proposer, double *rate,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroid_set *set = NULL;
    struct rt_assigner *assigner = NULL;
    double done = 0;
    RT_TRY(rt_centroid_set_new(b->centroids, CENTROIDS, b->dim, RT_L2, NULL, &set, err));
    RT_TRY(rt_assigner_new(ROWS, b->dim, 1, proposer, &assigner, err));
    rt_assign_nearest(assigner, set, b->rows, ROWS, b->lists, NULL); /* warm */
    double began = MPI_Wtime();
    do {
        rt_assign_nearest(assigner, set, b->rows, ROWS, b->lists, NULL);
        done += 2.0 * ROWS * CENTROIDS * b->dim;
    } while (MPI_Wtime() - began < b->seconds);
    *rate = done / (MPI_Wtime() - began);
done:
    rt_assigner_free(assigner);
    rt_centroid_set_free(set);
    return st;
}

static double copy(struct bench *b)
{
    double done = 0;
    double began = MPI_Wtime();
    do {
        memcpy(b->to, b->from, PIECE);
        b->from[0] = (char)(b->to[PIECE - 1] + 1); /* keeps the copy from being optimised away */
        done += (double)PIECE;
    } while (MPI_Wtime() - began < b->seconds / 3);
    return done / (MPI_Wtime() - began);
}

/* Piece n of a file, as those of an index are written. */
static bool write_piece(const struct bench *b, struct rt_past_cache *past, int fd, const char *name,
                        int n)
{
    struct rt_error ignored;
    return rt_past_cache_write_all(past, fd, name, b->from, PIECE, (uint64_t)n * PIECE, &ignored) ==
           RT_OK;
}

/* Writes, durably, and reads back past the page cache as far as the system lets us. Rates stay 0
 * where the folder does not take a file. */
static void file(struct bench *b, const char *dir, struct rt_plan_rates *rates)
{
    char name[4200];
    struct rt_past_cache past;
    (void)snprintf(name, sizeof name, "%s/.ranktape-calibrate-XXXXXX", dir);
    int fd = mkstemp(name);
    if (fd < 0)
        return;
    rt_past_cache_open(&past, name, UINT64_MAX);
    (void)unlink(name);
    double began = MPI_Wtime();
    int n = 0;
    while (n < FILE_PIECES && MPI_Wtime() - began < 2 * b->seconds &&
           write_piece(b, &past, fd, name, n))
        n++;
    rt_past_cache_close(&past);
    if (fdatasync(fd) == 0 && n > 0)
        rates->write_bytes = n * (double)PIECE / (MPI_Wtime() - began);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    began = MPI_Wtime();
    int read = 0;
    while (read < n && pread(fd, b->to, PIECE, (off_t)read * (off_t)PIECE) == (ssize_t)PIECE)
        read++;
    if (read > 0)
        rates->read_bytes = read * (double)PIECE / (MPI_Wtime() - began);
    (void)close(fd);
}

/* With the rank half the job away: most likely on another node. Collective. */
static double exchange(struct bench *b)
{
    int rank;
    int n_ranks;
    MPI_Comm_rank(b->comm, &rank);
    MPI_Comm_size(b->comm, &n_ranks);
    if (n_ranks == 1)
        return 0;
    int to = (rank + n_ranks / 2) % n_ranks;
    int from = (rank + n_ranks - n_ranks / 2) % n_ranks;
    double began = MPI_Wtime();
    for (int i = 0; i < FILE_PIECES; i++)
        MPI_Sendrecv(b->from, (int)PIECE, MPI_BYTE, to, 0, b->to, (int)PIECE, MPI_BYTE, from, 0,
                     b->comm, MPI_STATUS_IGNORE);
    return FILE_PIECES * (double)PIECE / (MPI_Wtime() - began);
}

enum rt_status rt_calibrate(MPI_Comm comm, uint32_t dim, const char *dir, double seconds,
                            struct rt_plan_rates *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct bench b = {.comm = comm, .dim = dim, .seconds = seconds};
    struct rt_plan_rates rates = {0};
    RT_LOCAL(make(&b, err));
    RT_AGREE(comm);
    RT_LOCAL(assign(&b, RT_PROPOSE_SGEMM, &rates.sgemm_flops, err));
    RT_AGREE(comm);
    RT_LOCAL(assign(&b, RT_PROPOSE_AUTO, &rates.assign_flops, err));
    RT_AGREE(comm);
    rates.memory_bytes = copy(&b);
    MPI_Barrier(comm);
    file(&b, dir, &rates);
    MPI_Barrier(comm);
    rates.exchange_bytes = exchange(&b);
    MPI_Allreduce(MPI_IN_PLACE, &rates, sizeof rates / sizeof(double), MPI_DOUBLE, MPI_MIN, comm);
    *out = rates;
done:
    unmake(&b);
    return st;
}
