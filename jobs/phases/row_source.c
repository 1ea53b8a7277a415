#include "jobs/phases/row_source.h"

#include "core/memory.h"
#include "core/thread.h"
#include "io/ids.h"
#include "mpi/agree.h"
#include "mpi/traffic.h"

#include <pthread.h>
#include <time.h>

#define PIECE_BYTES ((size_t)8 << 20)
enum { TAG_REQUEST = 1, TAG_VERDICT, TAG_PIECE };
enum kind { KIND_ROWS, KIND_IDS, KIND_DONE };

struct request {
    uint64_t kind; /* enum kind, in the width of the others */
    uint64_t begin, n_rows;
};

struct rt_row_source {
    MPI_Comm comm;
    int rank, n_ranks;
    bool is_scattered;
    bool has_ids;
    uint64_t first_row, first_id;
    struct rt_rows *rows;
    struct rt_ids *ids; /* NULL: row numbers, or rank 0 has them */
    size_t row_bytes;
    pthread_mutex_t reading; /* rank 0: its own phases and the server share one reader */
    pthread_t server;
    bool has_server;
    unsigned char *piece; /* of the server */
};

static enum rt_status read_own(struct rt_row_source *source, enum kind kind, uint64_t begin,
                               size_t n_rows, void *out, struct rt_error *err)
{
    (void)pthread_mutex_lock(&source->reading);
    begin += source->first_row;
    enum rt_status st = kind == KIND_ROWS ? rt_rows_read(source->rows, begin, n_rows, out, err)
                                          : rt_ids_read(source->ids, begin, n_rows, out, err);
    (void)pthread_mutex_unlock(&source->reading);
    return st;
}

static size_t entry_bytes(const struct rt_row_source *source, enum kind kind)
{
    return kind == KIND_ROWS ? source->row_bytes : sizeof(uint64_t);
}

/* Rows (ids) of a piece: the same on both sides, so that a piece's size needs no telling. */
static size_t piece_rows(const struct rt_row_source *source, enum kind kind, uint64_t left)
{
    size_t most = PIECE_BYTES / entry_bytes(source, kind);
    most = most ? most : 1;
    return left < most ? (size_t)left : most;
}

static void answer(struct rt_row_source *source, int to, const struct request *request)
{
    enum kind kind = (enum kind)request->kind;
    for (uint64_t done = 0; done < request->n_rows;) {
        size_t n = piece_rows(source, kind, request->n_rows - done);
        struct rt_error verdict = {.status = RT_OK};
        verdict.status = read_own(source, kind, request->begin + done, n, source->piece, &verdict);
        MPI_Send(&verdict, (int)sizeof verdict, MPI_BYTE, to, TAG_VERDICT, source->comm);
        if (verdict.status != RT_OK)
            return;
        MPI_Send(source->piece, (int)(n * entry_bytes(source, kind)), MPI_BYTE, to, TAG_PIECE,
                 source->comm);
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
        MPI_Recv(&request, (int)sizeof request, MPI_BYTE, from.MPI_SOURCE, TAG_REQUEST,
                 source->comm, MPI_STATUS_IGNORE);
        if (request.kind == KIND_DONE)
            n_open--;
        else
            answer(source, from.MPI_SOURCE, &request);
    }
    return NULL;
}

static enum rt_status prepare(struct rt_row_source *source, const char *ids_name,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(source->rows);
    bool reads = !source->is_scattered || source->rank == 0;
    if (source->has_ids && reads)
        RT_TRY(rt_ids_open(ids_name, info->n_rows, &source->ids, err));
    if (source->is_scattered && source->rank == 0) {
        int provided = MPI_THREAD_SINGLE;
        MPI_Query_thread(&provided);
        if (provided < MPI_THREAD_MULTIPLE)
            RT_FAIL(RT_USAGE,
                    "--scatter needs an MPI that gives MPI_THREAD_MULTIPLE, this one does not");
        size_t piece = source->row_bytes > PIECE_BYTES ? source->row_bytes : PIECE_BYTES;
        RT_TRY(rt_array_new(piece, 1, &source->piece, err));
    }
done:
    return st;
}

static enum rt_status start_server(struct rt_row_source *source, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (!source->is_scattered || source->rank != 0)
        return RT_OK;
    RT_TRY(rt_thread_start(&source->server, serve, source, err));
    source->has_server = true;
done:
    return st;
}

static void release(struct rt_row_source *source)
{
    if (!source)
        return;
    if (source->comm != MPI_COMM_NULL)
        MPI_Comm_free(&source->comm);
    rt_ids_close(source->ids);
    rt_array_free(source->piece);
    (void)pthread_mutex_destroy(&source->reading);
    rt_array_free(source);
}

enum rt_status rt_row_source_new(MPI_Comm comm, struct rt_rows *rows,
                                 const struct rt_row_source_options *options,
                                 struct rt_row_source **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_source *source = NULL;
    RT_LOCAL(rt_array_zero(1, sizeof *source, &source, err));
    if (st == RT_OK) {
        source->comm = MPI_COMM_NULL;
        (void)pthread_mutex_init(&source->reading, NULL);
    }
    RT_AGREE(comm);
    const struct rt_rows_info *info = rt_rows_info(rows);
    MPI_Comm_dup(comm, &source->comm);
    MPI_Comm_rank(comm, &source->rank);
    MPI_Comm_size(comm, &source->n_ranks);
    source->rows = rows;
    source->row_bytes = (size_t)info->dim * rt_element_size(info->type);
    source->is_scattered = options->scatter && source->n_ranks > 1;
    source->has_ids = options->ids[0] != '\0';
    source->first_row = options->first_row;
    source->first_id = options->first_id;
    RT_LOCAL(prepare(source, options->ids, err));
    RT_AGREE(comm);
    RT_LOCAL(start_server(source, err));
    RT_AGREE(comm);
    *out = source;
    source = NULL;
done:
    release(source);
    return st;
}

void rt_row_source_free(struct rt_row_source *source)
{
    if (!source)
        return;
    if (source->is_scattered && source->rank != 0) {
        struct request done = {.kind = KIND_DONE};
        MPI_Send(&done, (int)sizeof done, MPI_BYTE, 0, TAG_REQUEST, source->comm);
    }
    if (source->has_server)
        (void)pthread_join(source->server, NULL);
    release(source);
}

static enum rt_status ask(struct rt_row_source *source, enum kind kind, uint64_t begin,
                          size_t n_rows, unsigned char *out, struct rt_error *err)
{
    struct request request = {.kind = kind, .begin = begin, .n_rows = n_rows};
    if (n_rows)
        MPI_Send(&request, (int)sizeof request, MPI_BYTE, 0, TAG_REQUEST, source->comm);
    for (size_t done = 0; done < n_rows;) {
        struct rt_error verdict;
        MPI_Recv(&verdict, (int)sizeof verdict, MPI_BYTE, 0, TAG_VERDICT, source->comm,
                 MPI_STATUS_IGNORE);
        if (verdict.status != RT_OK) {
            *err = verdict;
            return verdict.status;
        }
        size_t n = piece_rows(source, kind, n_rows - done);
        size_t bytes = n * entry_bytes(source, kind);
        MPI_Recv(out, (int)bytes, MPI_BYTE, 0, TAG_PIECE, source->comm, MPI_STATUS_IGNORE);
        rt_traffic_add(bytes); /* here: rank 0's own phase may end before it has answered all */
        out += bytes;
        done += n;
    }
    return RT_OK;
}

enum rt_status rt_row_source_read(struct rt_row_source *source, uint64_t begin, size_t n_rows,
                                  void *rows, struct rt_error *err)
{
    if (source->is_scattered && source->rank != 0)
        return ask(source, KIND_ROWS, begin, n_rows, rows, err);
    return read_own(source, KIND_ROWS, begin, n_rows, rows, err);
}

enum rt_status rt_row_source_read_ids(struct rt_row_source *source, uint64_t begin, size_t n_rows,
                                      uint64_t *ids, struct rt_error *err)
{
    if (!source->has_ids) {
        for (size_t i = 0; i < n_rows; i++)
            ids[i] = source->first_id + begin + i;
        return RT_OK;
    }
    if (source->is_scattered && source->rank != 0)
        return ask(source, KIND_IDS, begin, n_rows, (unsigned char *)ids, err);
    return read_own(source, KIND_IDS, begin, n_rows, ids, err);
}

bool rt_row_source_has_ids(const struct rt_row_source *source)
{
    return source->has_ids;
}

uint64_t rt_row_source_n_rows(const struct rt_row_source *source)
{
    return rt_rows_info(source->rows)->n_rows - source->first_row;
}

uint64_t rt_row_source_heap_row(const struct rt_row_source *source, uint64_t row)
{
    return source->first_row + row;
}
