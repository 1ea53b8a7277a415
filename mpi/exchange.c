#include "mpi/exchange.h"

#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/traffic.h"
#include "mpi/waiting.h"
#include "mpi/watchdog.h"

#include <string.h>

enum { TAG_PIECE = 1 };

struct head { /* of a piece, before its bytes, which it keeps 16-byte aligned */
    _Alignas(16) uint32_t has_failed; /* the sender gives up; no bytes */
    uint32_t more;
};

enum { OUT_0, OUT_1, IN_0, IN_1, N_BUFFERS };

struct rt_exchange {
    MPI_Comm comm;
    int rank, n_ranks;
    size_t capacity;
    char *buffers[N_BUFFERS];
    unsigned char *flags; /* n_ranks: I have bytes for r; n_ranks: r has bytes for me */
};

/* What the callbacks of this rank have come to; `others` is true once a peer has said that it
 * failed. */
struct verdict {
    enum rt_status st;
    bool others;
    struct rt_error *err;
};

static bool has_failed(const struct verdict *verdict)
{
    return verdict->st != RT_OK || verdict->others;
}

static size_t buffer_bytes(size_t capacity)
{
    return sizeof(struct head) + capacity;
}

size_t rt_exchange_bytes(int n_ranks, size_t piece_bytes)
{
    if (piece_bytes == 0)
        piece_bytes = RT_EXCHANGE_PIECE;
    return N_BUFFERS * buffer_bytes(piece_bytes) + 2 * (size_t)n_ranks;
}

enum rt_status rt_exchange_new(MPI_Comm comm, size_t piece_bytes, struct rt_exchange **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_exchange *x = NULL;
    int n_ranks = 0;
    MPI_Comm_size(comm, &n_ranks);
    rt_assert(piece_bytes <= RT_EXCHANGE_PIECE);
    RT_TRY(rt_same(comm, &piece_bytes, sizeof piece_bytes, "piece_bytes", err));
    RT_LOCAL(rt_array_zero(1, sizeof *x, &x, err));
    if (st == RT_OK)
        x->capacity = piece_bytes ? piece_bytes : RT_EXCHANGE_PIECE;
    for (int i = 0; i < N_BUFFERS; i++)
        RT_LOCAL(rt_array_new(buffer_bytes(x->capacity), 1, &x->buffers[i], err));
    RT_LOCAL(rt_array_new(2 * (size_t)n_ranks, 1, &x->flags, err));
    RT_AGREE(comm);
    MPI_Comm_dup(comm, &x->comm);
    MPI_Comm_rank(x->comm, &x->rank);
    x->n_ranks = n_ranks;
    *out = x;
    x = NULL;
done:
    if (x) {
        for (int i = 0; i < N_BUFFERS; i++)
            rt_array_free(x->buffers[i]);
        rt_array_free(x->flags);
        rt_array_free(x);
    }
    return st;
}

void rt_exchange_free(struct rt_exchange *exchange)
{
    if (!exchange)
        return;
    MPI_Comm_free(&exchange->comm);
    for (int i = 0; i < N_BUFFERS; i++)
        rt_array_free(exchange->buffers[i]);
    rt_array_free(exchange->flags);
    rt_array_free(exchange);
}

static struct head head_of(const char *buffer)
{
    struct head head;
    memcpy(&head, buffer, sizeof head);
    return head;
}

static char *bytes_of(char *buffer)
{
    return buffer + sizeof(struct head);
}

/* Bytes of a message that came, without its head. A message of ours is never shorter. */
static size_t count_of(const MPI_Status *status)
{
    int n = 0;
    MPI_Get_count(status, MPI_BYTE, &n);
    rt_assert(n >= (int)sizeof(struct head));
    return (size_t)n - sizeof(struct head);
}

/* One round's callbacks. */
struct round {
    struct rt_exchange *x;
    rt_exchange_source source;
    rt_exchange_sink sink;
    void *context;
    struct verdict verdict;
};

/* Makes the next piece for `to` in buffer; returns its bytes with the head. Once something has
 * failed, a last word. */
static size_t fill(struct round *round, int to, char *buffer)
{
    struct head head = {0, 0};
    size_t n_bytes = 0;
    bool more = false;
    if (!has_failed(&round->verdict))
        round->verdict.st = round->source(round->context, to, bytes_of(buffer), round->x->capacity,
                                          &n_bytes, &more, round->verdict.err);
    if (has_failed(&round->verdict)) {
        head.has_failed = 1;
        n_bytes = 0;
        more = false;
    }
    rt_assert(n_bytes <= round->x->capacity);
    head.more = more;
    memcpy(buffer, &head, sizeof head);
    rt_watchdog_beat();
    return sizeof head + n_bytes;
}

static void take(struct round *round, int from, char *buffer, size_t n_bytes)
{
    if (head_of(buffer).has_failed)
        round->verdict.others = true;
    if (n_bytes > 0 && !has_failed(&round->verdict))
        round->verdict.st =
            round->sink(round->context, from, bytes_of(buffer), n_bytes, round->verdict.err);
    rt_watchdog_beat();
}

static void keep_own(struct round *round)
{
    char *buffer = round->x->buffers[OUT_0];
    do {
        size_t n_bytes = fill(round, round->x->rank, buffer) - sizeof(struct head);
        take(round, round->x->rank, buffer, n_bytes);
    } while (head_of(buffer).more && !has_failed(&round->verdict));
}

/* The next rank after `to` that gets something, in a circle that begins behind this one, so that no
 * rank is everybody's first; this rank itself: no more. */
static int next_receiver(const struct rt_exchange *x, int to)
{
    do
        to = (to + 1) % x->n_ranks;
    while (to != x->rank && !x->flags[to]);
    return to;
}

/* Sends all pieces, rank after rank, and takes those of n_senders in whatever order they come; two
 * buffers each way. A synchronous send is the credit: it ends when the receiver has taken the
 * piece, so no sender fills a receiver's memory with messages nobody asked for yet. One receive at
 * a time waits, so that pieces of one rank are taken in order. */
static void trade(struct round *round, int n_senders)
{
    struct rt_exchange *x = round->x;
    MPI_Request requests[3] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    int in = IN_0;
    int most = (int)buffer_bytes(x->capacity);
    int to = next_receiver(x, x->rank);
    if (n_senders > 0)
        MPI_Irecv(x->buffers[in], most, MPI_BYTE, MPI_ANY_SOURCE, TAG_PIECE, x->comm, &requests[2]);
    for (;;) {
        for (int slot = OUT_0; slot <= OUT_1 && to != x->rank; slot++) {
            if (requests[slot] != MPI_REQUEST_NULL)
                continue;
            size_t n = fill(round, to, x->buffers[slot]);
            rt_traffic_add(n - sizeof(struct head));
            MPI_Issend(x->buffers[slot], (int)n, MPI_BYTE, to, TAG_PIECE, x->comm, &requests[slot]);
            if (!head_of(x->buffers[slot]).more)
                to = next_receiver(x, to);
        }
        int which = MPI_UNDEFINED;
        MPI_Status status;
        double waiting = rt_waiting_begin();
        MPI_Waitany(3, requests, &which, &status);
        rt_waiting_end(waiting);
        if (which == MPI_UNDEFINED)
            break;
        if (which < 2)
            continue;
        int taken = in;
        size_t n_bytes = count_of(&status);
        n_senders -= !head_of(x->buffers[taken]).more;
        if (n_senders > 0) { /* the next piece travels while this one is worked on */
            in = in == IN_0 ? IN_1 : IN_0;
            MPI_Irecv(x->buffers[in], most, MPI_BYTE, MPI_ANY_SOURCE, TAG_PIECE, x->comm,
                      &requests[2]);
        }
        take(round, status.MPI_SOURCE, x->buffers[taken], n_bytes);
    }
}

enum rt_status rt_exchange_round(struct rt_exchange *exchange, const uint64_t *has_bytes_for,
                                 rt_exchange_source source, rt_exchange_sink sink, void *context,
                                 struct rt_error *err)
{
    struct rt_exchange *x = exchange;
    struct round round = {x, source, sink, context, {RT_OK, false, err}};
    unsigned char *to_send = x->flags;
    unsigned char *to_take = x->flags + x->n_ranks;
    for (int r = 0; r < x->n_ranks; r++)
        to_send[r] = !has_bytes_for || has_bytes_for[r] != 0;
    double waiting = rt_waiting_begin();
    MPI_Alltoall(to_send, 1, MPI_UNSIGNED_CHAR, to_take, 1, MPI_UNSIGNED_CHAR, x->comm);
    rt_waiting_end(waiting);
    if (to_send[x->rank])
        keep_own(&round);
    int n_senders = 0;
    for (int r = 0; r < x->n_ranks; r++)
        n_senders += r != x->rank && to_take[r];
    trade(&round, n_senders);
    return rt_agree(x->comm, round.verdict.st, err);
}
