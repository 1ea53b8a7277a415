/* What the phases of a build read and write, and nothing else, for bench_io to hold them against:
 *   mpirun -n N bench_raw_io ROWS FOLDER READ_BYTES WRITTEN_BYTES [READ_BYTES WRITTEN_BYTES]..
 * Step by step, each rank reads its equal part of READ_BYTES of ROWS and writes its equal part of
 * WRITTEN_BYTES to one new file, in turns of BLOCK_BYTES written, and at last all sync that file:
 * plain pread, pwrite and fdatasync. Files go away at the end: a step finds the page cache as the
 * steps before it have left it, as a phase of a build does (pages that were just given back take
 * writes several times faster than pages that no one has touched for long). Prints one JSON object:
 * of each step the seconds of the slowest rank, from the first byte to the end of the syncs.
 * READ_BYTES may be 0. */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4 << 20 };

static void stop(const char *why)
{
    (void)fprintf(stderr, "bench_raw_io: %s\n", why);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static uint64_t number(const char *text)
{
    char *end = NULL;
    uint64_t value = strtoull(text, &end, 10);
    if (!*text || *end)
        stop("usage: bench_raw_io ROWS FOLDER READ_BYTES WRITTEN_BYTES ..");
    return value;
}

/* Bytes [begin, end) of a whole that is cut into n equal parts of whole blocks. */
static uint64_t border(uint64_t whole, uint64_t part, uint64_t n)
{
    uint64_t at = whole / n * part / BLOCK_BYTES * BLOCK_BYTES;
    return part == n ? whole : at;
}

static void transfer(int fd, char *buffer, uint64_t *at, uint64_t end, uint64_t n_bytes, int writes)
{
    for (uint64_t n = 0; n_bytes > 0 && *at < end; *at += n, n_bytes -= n) {
        n = n_bytes < BLOCK_BYTES ? n_bytes : BLOCK_BYTES;
        n = end - *at < n ? end - *at : n;
        ssize_t done =
            writes ? pwrite(fd, buffer, n, (off_t)*at) : pread(fd, buffer, n, (off_t)*at);
        if (done != (ssize_t)n)
            stop("a transfer fell short");
    }
}

static int open_new(const char *folder, int step, uint64_t n_bytes, int rank)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/bench_raw_io.%d", folder, step);
    int fd = rank == 0 ? open(path, O_CREAT | O_TRUNC | O_RDWR, 0600) : -1;
    if (rank == 0 && (fd < 0 || ftruncate(fd, (off_t)n_bytes) != 0))
        stop("cannot make a file in FOLDER");
    MPI_Barrier(MPI_COMM_WORLD);
    fd = rank == 0 ? fd : open(path, O_RDWR);
    if (fd < 0)
        stop("cannot open the new file");
    return fd;
}

/* Seconds of the slowest rank. */
static double run(int from, int to, char *buffer, uint64_t n_read, uint64_t n_written, int rank,
                  int n_ranks)
{
    uint64_t part = (uint64_t)rank;
    uint64_t n = (uint64_t)n_ranks;
    uint64_t read_at = border(n_read, part, n);
    uint64_t read_end = border(n_read, part + 1, n);
    uint64_t write_at = border(n_written, part, n);
    uint64_t write_end = border(n_written, part + 1, n);
    uint64_t turns = (write_end - write_at) / BLOCK_BYTES + 1;
    uint64_t read_bytes = (read_end - read_at) / turns + 1; /* of a turn */
    MPI_Barrier(MPI_COMM_WORLD);
    double seconds = MPI_Wtime();
    for (uint64_t turn = 0; turn < turns; turn++) {
        transfer(from, buffer, &read_at, read_end, read_bytes, 0);
        transfer(to, buffer, &write_at, write_end, BLOCK_BYTES, 1);
    }
    if (fdatasync(to) != 0)
        stop("a sync failed");
    seconds = MPI_Wtime() - seconds;
    MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return seconds;
}

int main(int argc, char **argv)
{
    int rank = 0;
    int n_ranks = 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    if (argc < 5 || argc % 2 == 0)
        stop("usage: bench_raw_io ROWS FOLDER READ_BYTES WRITTEN_BYTES ..");
    int from = open(argv[1], O_RDONLY);
    char *buffer = malloc(BLOCK_BYTES);
    if (from < 0 || !buffer)
        stop("cannot open ROWS");
    memset(buffer, 1, BLOCK_BYTES);
    for (int step = 0; 3 + 2 * step < argc; step++) {
        uint64_t n_written = number(argv[4 + 2 * step]);
        int to = open_new(argv[2], step, n_written, rank);
        double seconds =
            run(from, to, buffer, number(argv[3 + 2 * step]), n_written, rank, n_ranks);
        if (rank == 0)
            (void)printf("%s%.6f", step ? ", " : "{\"seconds\": [", seconds);
        (void)close(to);
    }
    for (int step = 0; rank == 0 && 3 + 2 * step < argc; step++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/bench_raw_io.%d", argv[2], step);
        (void)unlink(path);
    }
    if (rank == 0)
        (void)printf("]}\n");
    (void)close(from);
    free(buffer);
    MPI_Finalize();
    return 0;
}
