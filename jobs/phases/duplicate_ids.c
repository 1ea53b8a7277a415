#include "jobs/phases/duplicate_ids.h"

#include "core/memory.h"
#include "core/random.h"
#include "core/units.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_IDS 65536u
#define MOST_HELD                                                                                  \
    (UINT64_C(1) << 26) /* pairs of a rank in one pass, where the budget is larger                 \
                         */

struct pair {
    uint64_t id, row;
};

struct search {
    struct rt_row_source *source;
    struct rt_range mine;
    uint64_t *ids; /* PIECE_IDS */
    uint64_t n_passes, pass;
    int rank, n_ranks;
    int to; /* whom the reading below is for */
    uint64_t next_row;
    size_t n_read, used; /* ids read and looked at */
    struct pair *held;
    size_t n_held, room;
};

/* Do ids ascend over all rows? Then none repeats. */
static enum rt_status is_ascending(MPI_Comm comm, struct search *s, bool *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t ends[2] = {UINT64_MAX, 0}; /* first and last id here; none: nothing to compare */
    uint64_t falls = 0;
    uint64_t last = 0;
    for (uint64_t row = s->mine.begin; row < s->mine.end;) {
        size_t n = s->mine.end - row < PIECE_IDS ? (size_t)(s->mine.end - row) : PIECE_IDS;
        RT_TRY(rt_row_source_read_ids(s->source, row, n, s->ids, err));
        for (size_t i = 0; i < n; i++) {
            falls |= row + i > s->mine.begin && s->ids[i] <= last;
            last = s->ids[i];
        }
        if (row == s->mine.begin)
            ends[0] = s->ids[0];
        row += n;
    }
    ends[1] = last;
done:
    st = rt_agree(comm, st, err);
    if (st == RT_OK) {
        /* The largest last id before this rank: parts ascend among themselves, so the maximum is
         * the neighbour's. */
        uint64_t before = 0;
        uint64_t has = s->mine.end > s->mine.begin;
        uint64_t last_here = has ? ends[1] + 1 : 0; /* no id is 2^64-1 */
        MPI_Exscan(&last_here, &before, 1, MPI_UINT64_T, MPI_MAX, comm);
        if (s->rank == 0)
            before = 0;
        falls |= has && before > ends[0];
        rt_max_u64(comm, &falls, 1);
        *out = !falls;
    }
    return st;
}

static bool is_for(const struct search *s, uint64_t id, int to)
{
    uint64_t part = rt_random_below(rt_mix64(id), s->n_passes * (uint64_t)s->n_ranks);
    return part == s->pass * (uint64_t)s->n_ranks + (uint64_t)to;
}

static enum rt_status send_pairs(void *context, int to, void *buffer, size_t capacity,
                                 size_t *n_bytes, bool *more, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct search *s = context;
    struct pair *out = buffer;
    size_t n = 0;
    if (s->to != to) {
        s->to = to;
        s->next_row = s->mine.begin;
        s->n_read = s->used = 0;
    }
    *more = true;
    while ((n + 1) * sizeof *out <= capacity) {
        if (s->used == s->n_read) {
            uint64_t left = s->mine.end - s->next_row;
            if (left == 0) {
                *more = false;
                break;
            }
            s->n_read = left < PIECE_IDS ? (size_t)left : PIECE_IDS;
            s->used = 0;
            RT_TRY(rt_row_source_read_ids(s->source, s->next_row, s->n_read, s->ids, err));
            s->next_row += s->n_read;
        }
        uint64_t id = s->ids[s->used];
        uint64_t row = s->next_row - s->n_read + s->used++;
        if (is_for(s, id, to))
            out[n++] = (struct pair){id, row};
    }
    *n_bytes = n * sizeof *out;
done:
    return st;
}

static int by_id_then_row(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Of an id that stands here many times its first two rows are enough to name it; else one id for
 * all rows would bring them all to one rank. */
static void keep_two(struct search *s)
{
    size_t n = 0;
    if (s->n_held)
        qsort(s->held, s->n_held, sizeof *s->held, by_id_then_row);
    for (size_t i = 0; i < s->n_held; i++)
        if (n < 2 || s->held[n - 2].id != s->held[i].id)
            s->held[n++] = s->held[i];
    s->n_held = n;
}

static enum rt_status take_pairs(void *context, int from, const void *bytes, size_t n_bytes,
                                 struct rt_error *err)
{
    (void)from;
    enum rt_status st = RT_OK;
    struct search *s = context;
    size_t n = n_bytes / sizeof *s->held;
    if (s->n_held + n > s->room) {
        keep_two(s);
        if (2 * (s->n_held + n) > s->room) {
            s->room = 2 * (s->n_held + n);
            RT_TRY(rt_array_resize(s->room, sizeof *s->held, &s->held, err));
        }
    }
    memcpy(s->held + s->n_held, bytes, n_bytes);
    s->n_held += n;
done:
    return st;
}

/* The least repeated id here: id, first row, second row; id RT_NONE where none is. */
#define RT_NONE UINT64_MAX
static void look(struct search *s, uint64_t found[3])
{
    keep_two(s);
    for (size_t i = 1; i < s->n_held; i++)
        if (s->held[i].id == s->held[i - 1].id && s->held[i].id < found[0]) {
            found[0] = s->held[i].id;
            found[1] = s->held[i - 1].row;
            found[2] = s->held[i].row;
            break;
        }
}

static enum rt_status search_by_hash(struct rt_phase_context *context, struct search *s,
                                     uint64_t n_rows, uint64_t found[3], struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_exchange *exchange = NULL;
    uint64_t room =
        context->budget_bytes ? context->budget_bytes / 4 / sizeof(struct pair) : MOST_HELD;
    room = room > MOST_HELD ? MOST_HELD : room;
    rt_min_u64(comm, &room, 1);
    s->n_passes = n_rows / (uint64_t)s->n_ranks / (room + 1) + 1;
    RT_TRY(rt_exchange_new(comm, 0, &exchange, err));
    for (s->pass = 0; s->pass < s->n_passes; s->pass++) {
        s->to = -1;
        s->n_held = 0;
        RT_TRY(rt_exchange_round(exchange, NULL, send_pairs, take_pairs, s, err));
        look(s, found);
    }
done:
    rt_exchange_free(exchange);
    return st;
}

enum rt_status rt_duplicate_ids_check(struct rt_phase_context *context, uint64_t n_rows,
                                      struct rt_row_source *source, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = context->job;
    struct rt_chunks chunks = rt_chunks_of(n_rows);
    struct search s = {.source = source,
                       .mine = rt_chunks_rows(&chunks, job->rank, job->n_ranks),
                       .rank = job->rank,
                       .n_ranks = job->n_ranks};
    uint64_t found[3] = {RT_NONE, 0, 0};
    bool ascends = false;
    RT_LOCAL(rt_array_new(PIECE_IDS, sizeof *s.ids, &s.ids, err));
    RT_AGREE(job->comm);
    RT_TRY(is_ascending(job->comm, &s, &ascends, err));
    if (!ascends) {
        RT_TRY(search_by_hash(context, &s, n_rows, found, err));
        uint64_t least = found[0];
        rt_min_u64(job->comm, &least, 1);
        if (least != RT_NONE && least == found[0]) { /* an id is held by one rank only */
            char first[RT_UNITS_TEXT];
            char second[RT_UNITS_TEXT];
            st = rt_error_set(
                err, RT_INPUT, __FILE__, __LINE__,
                "id %" PRIu64 " is given to row %s and to row %s; an id may stand once in an index",
                least, rt_units_count(found[1], first), rt_units_count(found[2], second));
        }
        RT_AGREE(job->comm);
    }
done:
    rt_array_free(s.ids);
    rt_array_free(s.held);
    return st;
}
