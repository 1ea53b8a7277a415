/* Loaded before MPI (LD_PRELOAD): counts what every rank of a job sends and gets, by the kind of
 * call, and writes it to the file $MESSAGES.RANK when MPI ends, a line for each kind: name, calls,
 * bytes put in, bytes got out, most bytes of one call. A reduction puts in what a rank gives and
 * gets out what it is given; pieces between two ranks have one side each. */
#include <mpi.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum kind {
    SEND,
    RECEIVE,
    BCAST,
    REDUCE,
    SCAN,
    REDUCE_SCATTER,
    ALLGATHER,
    ALLTOALL,
    PROGRESS, /* non-blocking: a tick of progress, as often as time passes */
    N_KINDS
};

static const char *const names[N_KINDS] = {"send",      "receive",  "bcast",
                                           "reduce",    "scan",     "reduce_scatter",
                                           "allgather", "alltoall", "progress"};

static struct {
    atomic_ullong calls, in, out, most;
} seen[N_KINDS];

static unsigned long long bytes_of(int count, MPI_Datatype type)
{
    int size = 0;
    PMPI_Type_size(type, &size);
    return (unsigned long long)count * (unsigned long long)size;
}

static void count(enum kind kind, unsigned long long in, unsigned long long out)
{
    unsigned long long larger = in > out ? in : out;
    unsigned long long most = atomic_load(&seen[kind].most);
    atomic_fetch_add(&seen[kind].calls, 1);
    atomic_fetch_add(&seen[kind].in, in);
    atomic_fetch_add(&seen[kind].out, out);
    while (larger > most && !atomic_compare_exchange_weak(&seen[kind].most, &most, larger)) {
    }
}

static unsigned long long ranks_of(MPI_Comm comm)
{
    int n = 0;
    PMPI_Comm_size(comm, &n);
    return (unsigned long long)n;
}

int MPI_Send(const void *from, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    count(SEND, bytes_of(n, type), 0);
    return PMPI_Send(from, n, type, to, tag, comm);
}

int MPI_Issend(const void *from, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm,
               MPI_Request *request)
{
    count(SEND, bytes_of(n, type), 0);
    return PMPI_Issend(from, n, type, to, tag, comm, request);
}

/* Of those that are received, the calls alone: how much comes is counted where it is sent. */
int MPI_Recv(void *to, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm,
             MPI_Status *status)
{
    count(RECEIVE, 0, 0);
    return PMPI_Recv(to, n, type, from, tag, comm, status);
}

int MPI_Irecv(void *to, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    count(RECEIVE, 0, 0);
    return PMPI_Irecv(to, n, type, from, tag, comm, request);
}

int MPI_Sendrecv(const void *out, int n_out, MPI_Datatype out_type, int to, int out_tag, void *in,
                 int n_in, MPI_Datatype in_type, int from, int in_tag, MPI_Comm comm,
                 MPI_Status *status)
{
    if (to != MPI_PROC_NULL)
        count(SEND, bytes_of(n_out, out_type), 0);
    if (from != MPI_PROC_NULL)
        count(RECEIVE, 0, 0);
    return PMPI_Sendrecv(out, n_out, out_type, to, out_tag, in, n_in, in_type, from, in_tag, comm,
                         status);
}

int MPI_Bcast(void *buffer, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
    int rank = 0;
    PMPI_Comm_rank(comm, &rank);
    count(BCAST, rank == root ? bytes_of(n, type) : 0, rank == root ? 0 : bytes_of(n, type));
    return PMPI_Bcast(buffer, n, type, root, comm);
}

int MPI_Reduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, int root,
               MPI_Comm comm)
{
    count(REDUCE, bytes_of(n, type), bytes_of(n, type));
    return PMPI_Reduce(from, to, n, type, op, root, comm);
}

int MPI_Allreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    count(REDUCE, bytes_of(n, type), bytes_of(n, type));
    return PMPI_Allreduce(from, to, n, type, op, comm);
}

int MPI_Iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *request)
{
    count(PROGRESS, bytes_of(n, type), bytes_of(n, type));
    return PMPI_Iallreduce(from, to, n, type, op, comm, request);
}

int MPI_Exscan(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    count(SCAN, bytes_of(n, type), bytes_of(n, type));
    return PMPI_Exscan(from, to, n, type, op, comm);
}

int MPI_Reduce_scatter(const void *from, void *to, const int *counts, MPI_Datatype type, MPI_Op op,
                       MPI_Comm comm)
{
    unsigned long long in = 0;
    int rank = 0;
    PMPI_Comm_rank(comm, &rank);
    for (unsigned long long r = 0; r < ranks_of(comm); r++)
        in += bytes_of(counts[r], type);
    count(REDUCE_SCATTER, in, bytes_of(counts[rank], type));
    return PMPI_Reduce_scatter(from, to, counts, type, op, comm);
}

int MPI_Allgather(const void *from, int n, MPI_Datatype type, void *to, int n_out,
                  MPI_Datatype out_type, MPI_Comm comm)
{
    count(ALLGATHER, bytes_of(n_out, out_type), ranks_of(comm) * bytes_of(n_out, out_type));
    return PMPI_Allgather(from, n, type, to, n_out, out_type, comm);
}

int MPI_Allgatherv(const void *from, int n, MPI_Datatype type, void *to, const int *counts,
                   const int *starts, MPI_Datatype out_type, MPI_Comm comm)
{
    unsigned long long out = 0;
    int rank = 0;
    PMPI_Comm_rank(comm, &rank);
    for (unsigned long long r = 0; r < ranks_of(comm); r++)
        out += bytes_of(counts[r], out_type);
    count(ALLGATHER, bytes_of(counts[rank], out_type), out);
    return PMPI_Allgatherv(from, n, type, to, counts, starts, out_type, comm);
}

int MPI_Alltoall(const void *from, int n, MPI_Datatype type, void *to, int n_out,
                 MPI_Datatype out_type, MPI_Comm comm)
{
    count(ALLTOALL, ranks_of(comm) * bytes_of(n, type), ranks_of(comm) * bytes_of(n_out, out_type));
    return PMPI_Alltoall(from, n, type, to, n_out, out_type, comm);
}

int MPI_Finalize(void)
{
    char name[4200];
    int rank = 0;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)snprintf(name, sizeof name, "%s.%d", getenv("MESSAGES"), rank);
    FILE *file = fopen(name, "w");
    for (int kind = 0; file && kind < N_KINDS; kind++)
        (void)fprintf(file, "%s %llu %llu %llu %llu\n", names[kind], atomic_load(&seen[kind].calls),
                      atomic_load(&seen[kind].in), atomic_load(&seen[kind].out),
                      atomic_load(&seen[kind].most));
    if (file)
        (void)fclose(file);
    return PMPI_Finalize();
}
