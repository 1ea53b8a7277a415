#include "jobs/phases/row_source.h"

#include "core/memory.h"

#include <pthread.h>
#include <time.h>

#define PIECE_BYTES ((size_t)8 << 20)
enum { TAG_REQUEST = 1, TAG_REPLY, TAG_ROWS };

struct request {
    uint64_t begin;
    uint64_t n_rows; /* 0: this rank is done */
};

struct rt_row_source {
    MPI_Comm comm;
    int rank, n_ranks;
    bool is_scattered;
    bool has_server;
    struct rt_rows *rows;
    size_t row_bytes;
    pthread_mutex_t reading; /* rank 0: its own phases and the server share one reader */
    pthread_t server;
    void *piece;
};

static enum rt_status read_own(struct rt_row_source *source, uint64_t begin, size_t n_rows, void *buffer,
                               struct rt_error *err)
{
    (void)pthread_mutex_lock(&source->reading);
    enum rt_status st = rt_rows_read(source->rows, begin, n_rows, buffer, err);
    (void)pthread_mutex_unlock(&source->reading);
    return st;
}

static size_t piece_rows(const struct rt_row_source *source)
{
    return PIECE_BYTES / source->row_bytes ? PIECE_BYTES / source->row_bytes : 1;
}

static void answer(struct rt_row_source *source, int to, struct request request)
{
    for (uint64_t done = 0; done < request.n_rows;) {
        size_t n = piece_rows(source);
        if (n > request.n_rows - done)
            n = (size_t)(request.n_rows - done);
        struct rt_error reply = {.status = RT_OK};
        reply.status = read_own(source, request.begin + done, n, source->piece, &reply);
        MPI_Send(&reply, (int)sizeof reply, MPI_BYTE, to, TAG_REPLY, source->comm);
        if (reply.status != RT_OK)
            return;
        MPI_Send(source->piece, (int)(n * source->row_bytes), MPI_BYTE, to, TAG_ROWS, source->comm);
        done += n;
    }
}

static void *serve(void *context)
{
    struct rt_row_source *source = context;
    for (int n_open = source->n_ranks - 1; n_open > 0;) {
        int has_request = 0;
        MPI_Status from;
        MPI_Iprobe(MPI_ANY_SOURCE, TAG_REQUEST, source->comm, &has_request, &from);
        if (!has_request) { /* sleep, not spin: rank 0 computes on the same core */
            (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
            continue;
        }
        struct request request;
        MPI_Recv(&request, (int)sizeof request, MPI_BYTE, from.MPI_SOURCE, TAG_REQUEST, source->comm,
                 MPI_STATUS_IGNORE);
        if (request.n_rows == 0)
            n_open--;
        else
            answer(source, from.MPI_SOURCE, request);
    }
    return NULL;
}

static enum rt_status start_server(struct rt_row_source *source, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int provided = MPI_THREAD_SINGLE;
    MPI_Query_thread(&provided);
    if (provided < MPI_THREAD_MULTIPLE)
        RT_FAIL(RT_USAGE, "--scatter needs an MPI with MPI_THREAD_MULTIPLE, this one has less");
    RT_TRY(rt_array_new(piece_rows(source), source->row_bytes, &source->piece, err));
    if (pthread_create(&source->server, NULL, serve, source) != 0)
        RT_FAIL(RT_NOMEM, "cannot start the thread that scatters rows");
    source->has_server = true;
done:
    return st;
}

enum rt_status rt_row_source_new(MPI_Comm comm, struct rt_rows *rows, bool scatter, struct rt_row_source **out,
                                 struct rt_error *err)
{
    struct rt_row_source *source = NULL;
    enum rt_status st = rt_array_zero(1, sizeof *source, &source, err);
    const struct rt_rows_info *info = rt_rows_info(rows);
    if (st == RT_OK) {
        MPI_Comm_rank(comm, &source->rank);
        MPI_Comm_size(comm, &source->n_ranks);
        source->rows = rows;
        source->row_bytes = (size_t)info->dim * rt_element_size(info->type);
        source->is_scattered = scatter && source->n_ranks > 1;
        (void)pthread_mutex_init(&source->reading, NULL);
        if (source->is_scattered && source->rank == 0)
            st = start_server(source, err);
    }
    /* The communicator comes last: a rank that failed above must not leave the others in MPI_Comm_dup. */
    RT_AGREE_INTO(comm);
    MPI_Comm_dup(comm, &source->comm);
    *out = source;
    return RT_OK;
}
