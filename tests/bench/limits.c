/* What this machine can do with every rank at work at once, for bench_build to hold the phases
 * against: mpirun -n N bench_limits DIM FOLDER prints one JSON object, rates of all ranks together.
 * Each is the best of three runs: a limit, not an average. */
#include <cblas.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIDE = 1024, CALL_BYTES = 8 << 20, N_CALLS = 64, N_RUNS = 3 };

static int rank, n_ranks;
static char path[4096];
static char *buffer; /* CALL_BYTES, twice */

static void stop(const char *why)
{
    (void)fprintf(stderr, "bench_limits: %s\n", why);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* The best rate of N_RUNS runs of work, which returns what it did; a run lasts as long as its
 * slowest rank. */
static double best_rate(double (*work)(int), int argument)
{
    double best = 0;
    for (int run = 0; run < N_RUNS; run++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double begin = MPI_Wtime();
        double done = work(argument);
        double seconds = MPI_Wtime() - begin;
        MPI_Allreduce(MPI_IN_PLACE, &done, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        best = done / seconds > best ? done / seconds : best;
    }
    return best;
}

/* Rows against leaves, as an assignment multiplies them. */
static double multiply(int dim)
{
    static float *a, *b, *c;
    size_t side = (size_t)SIDE * (size_t)dim;
    if (!a) {
        a = malloc(side * sizeof *a);
        b = malloc(side * sizeof *b);
        c = malloc((size_t)SIDE * SIDE * sizeof *c);
        if (!a || !b || !c)
            stop("out of memory");
        for (size_t i = 0; i < side; i++)
            a[i] = b[i] = (float)(i % 97) * 0.01F;
    }
    double flops = 2.0 * SIDE * SIDE * dim;
    int n_times = (int)(4e10 / flops) + 1;
    for (int i = 0; i < n_times; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, dim, 1, a, dim, b, dim, 0,
                    c, SIDE);
    return flops * n_times;
}

/* Writes go to a new file, whose pages must be made, as an index's are; reads come from the page
 * cache. */
static double transfer(int writes)
{
    int fd = open(path, writes ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY, 0600);
    if (fd < 0)
        stop("cannot open a file in FOLDER");
    for (int i = 0; i < N_CALLS; i++) {
        off_t at = (off_t)i * CALL_BYTES;
        ssize_t n = writes ? pwrite(fd, buffer, CALL_BYTES, at) : pread(fd, buffer, CALL_BYTES, at);
        if (n != CALL_BYTES)
            stop("a transfer fell short (is the disk full?)");
    }
    (void)close(fd);
    return (double)N_CALLS * CALL_BYTES;
}

static double exchange(int n_calls)
{
    int to = (rank + 1) % n_ranks;
    int from = (rank + n_ranks - 1) % n_ranks;
    for (int i = 0; i < n_calls; i++)
        MPI_Sendrecv(buffer, CALL_BYTES, MPI_BYTE, to, 0, buffer + CALL_BYTES, CALL_BYTES, MPI_BYTE,
                     from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return (double)n_calls * CALL_BYTES;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    int dim = argc == 3 ? atoi(argv[1]) : 0;
    if (dim < 1 || dim > 65536)
        stop("usage: bench_limits DIM FOLDER");
    (void)snprintf(path, sizeof path, "%s/bench_limits.%d", argv[2], rank);
    buffer = malloc((size_t)2 * CALL_BYTES);
    if (!buffer)
        stop("out of memory");
    memset(buffer, 1, (size_t)2 * CALL_BYTES);

    double sgemm = best_rate(multiply, dim);
    double write = best_rate(transfer, 1);
    double read = best_rate(transfer, 0);
    double sent = best_rate(exchange, N_CALLS);
    (void)unlink(path);
    if (rank == 0)
        (void)printf("{\"flops\": %.4g, \"bytes_written\": %.4g, \"bytes_read\": %.4g, "
                     "\"bytes_exchanged\": %.4g}\n",
                     sgemm, write, read, sent);
    free(buffer);
    MPI_Finalize();
    return 0;
}
