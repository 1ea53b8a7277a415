#include "jobs/phases/pair_sort.h"

#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <stdlib.h>
#include <string.h>

#define PIECE 16384u                  /* pairs asked of the source at once */
#define MOST_ROOM (UINT64_C(1) << 26) /* pairs of a rank, where the budget is larger */
#define LEAST_ROOM (UINT64_C(1) << 16)
#define SAMPLES_PER_RUN UINT64_C(64) /* runs differ by some 12 % then */

struct pairs { /* as large as the counts say; else grows by doubling */
    struct rt_pair *at;
    size_t n, room;
};

struct sorter {
    const struct rt_pair_sort *sort;
    MPI_Comm comm;
    int rank, n_ranks;
    uint64_t n_runs, n_passes;
    struct rt_pair *borders; /* n_runs - 1: the first pair of every run but the first */
    uint64_t *first;         /* n_runs + 1: pairs before the run, over all ranks */
    struct rt_pair *piece;
    uint64_t pass;
    struct pairs out;  /* this rank's pairs of the pass, ascending */
    size_t *out_begin; /* n_ranks + 1: those for each rank */
    size_t sent;       /* of those for the rank at work */
    int to;
    struct pairs in;
};

int rt_pair_compare(const void *a, const void *b)
{
    const struct rt_pair *x = a;
    const struct rt_pair *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

static enum rt_status push(struct pairs *to, const struct rt_pair *pairs, size_t n,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n == 0)
        return RT_OK;
    if (to->n + n > to->room) {
        size_t room = 2 * to->room > to->n + n ? 2 * to->room : to->n + n;
        RT_TRY(rt_array_resize(room, sizeof *to->at, &to->at, err));
        to->room = room;
    }
    memcpy(to->at + to->n, pairs, n * sizeof *pairs);
    to->n += n;
done:
    return st;
}

/* ---- borders ---- */

/* Which run takes a pair: the last whose border is not above it. */
static uint64_t run_of(const struct sorter *s, struct rt_pair pair)
{
    uint64_t begin = 0;
    uint64_t end = s->n_runs - 1;
    if (s->sort->most_per_key)
        pair.value = UINT64_MAX; /* borders have value 0: a key stays whole */
    while (begin < end) {
        uint64_t middle = begin + (end - begin) / 2;
        if (rt_pair_compare(&s->borders[middle], &pair) <= 0)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* Every step-th pair of this rank. */
static enum rt_status sample(struct sorter *s, uint64_t step, struct pairs *samples,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t at = 0;
    size_t n = 0;
    bool rewind = true;
    do {
        RT_TRY(s->sort->source(s->sort->context, rewind, s->piece, PIECE, &n, err));
        rewind = false;
        for (size_t i = 0; i < n; i++, at++)
            if (at % step == step / 2)
                RT_TRY(push(samples, &s->piece[i], 1, err));
    } while (n);
done:
    return st;
}

static enum rt_status choose_borders(struct sorter *s, uint64_t n_total, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct pairs mine = {0};
    struct rt_pair *all = NULL;
    uint64_t *bytes = NULL;
    uint64_t total = 0;
    uint64_t step = n_total / (SAMPLES_PER_RUN * s->n_runs) + 1;
    RT_LOCAL(sample(s, step, &mine, err));
    RT_LOCAL(rt_array_zero((size_t)s->n_ranks, sizeof *bytes, &bytes, err));
    RT_AGREE(s->comm);
    bytes[s->rank] = mine.n * sizeof *mine.at;
    rt_sum_u64(s->comm, bytes, (size_t)s->n_ranks);
    for (int r = 0; r < s->n_ranks; r++)
        total += bytes[r];
    size_t n = (size_t)(total / sizeof *all);
    RT_LOCAL(rt_array_new(n, sizeof *all, &all, err));
    RT_AGREE(s->comm);
    rt_allgatherv_bytes(s->comm, mine.at, all, bytes);
    if (n)
        qsort(all, n, sizeof *all, rt_pair_compare);
    for (uint64_t run = 1; run < s->n_runs; run++) {
        struct rt_pair border = n ? all[run * n / s->n_runs] : (struct rt_pair){0, 0};
        if (s->sort->most_per_key)
            border.value = 0;
        s->borders[run - 1] = border;
    }
done:
    rt_array_free(mine.at);
    rt_array_free(all);
    rt_array_free(bytes);
    return st;
}

static enum rt_status count_runs(struct sorter *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = 0;
    bool rewind = true;
    do {
        RT_TRY(s->sort->source(s->sort->context, rewind, s->piece, PIECE, &n, err));
        rewind = false;
        for (size_t i = 0; i < n; i++)
            s->first[run_of(s, s->piece[i]) + 1]++;
    } while (n);
done:
    return st;
}

static enum rt_status reserve(struct pairs *pairs, uint64_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_resize((size_t)n, sizeof *pairs->at, &pairs->at, err));
    pairs->room = (size_t)n;
done:
    return st;
}

/* Room for the most that leave this rank in a pass; s->first counts its own pairs by run. */
static enum rt_status reserve_out(struct sorter *s, struct rt_error *err)
{
    uint64_t most = 0;
    for (uint64_t pass = 0; pass < s->n_passes; pass++) {
        uint64_t n = 0;
        for (uint64_t r = 0; r < (uint64_t)s->n_ranks; r++)
            n += s->first[pass * (uint64_t)s->n_ranks + r + 1];
        most = n > most ? n : most;
    }
    return reserve(&s->out, most, err);
}

/* Room for the longest run that comes; s->first counts the pairs of all ranks. Where a key may be
 * thinned out, what comes may be far more than what stays. */
static enum rt_status reserve_in(struct sorter *s, struct rt_error *err)
{
    uint64_t most = 0;
    for (uint64_t run = (uint64_t)s->rank; run < s->n_runs; run += (uint64_t)s->n_ranks)
        most = s->first[run + 1] > most ? s->first[run + 1] : most;
    return s->sort->most_per_key ? RT_OK : reserve(&s->in, most, err);
}

/* ---- passes ---- */

/* This rank's pairs of the pass's runs, in order. */
static enum rt_status collect(struct sorter *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t first_run = s->pass * (uint64_t)s->n_ranks;
    size_t n = 0;
    bool rewind = true;
    s->out.n = 0;
    do {
        RT_TRY(s->sort->source(s->sort->context, rewind, s->piece, PIECE, &n, err));
        rewind = false;
        for (size_t i = 0; i < n; i++) {
            uint64_t run = run_of(s, s->piece[i]);
            if (run >= first_run && run - first_run < (uint64_t)s->n_ranks)
                RT_TRY(push(&s->out, &s->piece[i], 1, err));
        }
    } while (n);
    if (s->out.n)
        qsort(s->out.at, s->out.n, sizeof *s->out.at, rt_pair_compare);
    size_t at = 0;
    for (int r = 0; r < s->n_ranks; r++) {
        s->out_begin[r] = at;
        while (at < s->out.n && run_of(s, s->out.at[at]) == first_run + (uint64_t)r)
            at++;
    }
    s->out_begin[s->n_ranks] = at;
done:
    return st;
}

static enum rt_status send_pairs(void *context, int to, void *buffer, size_t capacity,
                                 size_t *n_bytes, bool *more, struct rt_error *err)
{
    (void)err;
    struct sorter *s = context;
    if (s->to != to) {
        s->to = to;
        s->sent = s->out_begin[to];
    }
    size_t n = s->out_begin[to + 1] - s->sent;
    size_t most = capacity / sizeof(struct rt_pair);
    n = n < most ? n : most;
    if (n) /* nothing may be sent from nowhere */
        memcpy(buffer, s->out.at + s->sent, n * sizeof(struct rt_pair));
    s->sent += n;
    *n_bytes = n * sizeof(struct rt_pair);
    *more = s->sent < s->out_begin[to + 1];
    return RT_OK;
}

/* Of each key only the first most_per_key pairs stay. */
static void thin(struct sorter *s)
{
    struct pairs *in = &s->in;
    uint32_t most = s->sort->most_per_key;
    size_t n = 0;
    if (in->n)
        qsort(in->at, in->n, sizeof *in->at, rt_pair_compare);
    for (size_t i = 0; most && i < in->n; i++)
        if (n < most || in->at[n - most].key != in->at[i].key)
            in->at[n++] = in->at[i];
    if (most)
        in->n = n;
}

static enum rt_status take_pairs(void *context, int from, const void *bytes, size_t n_bytes,
                                 struct rt_error *err)
{
    (void)from;
    struct sorter *s = context;
    size_t n = n_bytes / sizeof(struct rt_pair);
    if (s->sort->most_per_key && s->in.n + n > s->in.room)
        thin(s);
    return push(&s->in, bytes, n, err);
}

static enum rt_status run_pass(struct sorter *s, struct rt_exchange *exchange, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t run = s->pass * (uint64_t)s->n_ranks + (uint64_t)s->rank;
    RT_LOCAL(collect(s, err));
    RT_AGREE(s->comm);
    s->to = -1;
    s->in.n = 0;
    RT_TRY(rt_exchange_round(exchange, NULL, send_pairs, take_pairs, s, err));
    thin(s);
    RT_LOCAL(s->sort->sink(s->sort->context, s->first[run], s->in.at, s->in.n, err));
    RT_AGREE(s->comm);
done:
    return st;
}

static uint64_t room_within(uint64_t budget_bytes)
{
    uint64_t room = budget_bytes ? budget_bytes / 8 / sizeof(struct rt_pair) : MOST_ROOM;
    return room > MOST_ROOM ? MOST_ROOM : room < LEAST_ROOM ? LEAST_ROOM : room;
}

uint64_t rt_pair_sort_bytes(uint64_t budget_bytes, uint64_t n_total, int n_ranks)
{
    uint64_t ranks = (uint64_t)n_ranks;
    uint64_t passes = n_total / ranks / room_within(budget_bytes) + 1;
    uint64_t pairs = n_total / ranks / passes + 1;
    pairs += pairs / 8; /* SAMPLES_PER_RUN */
    return (3 * pairs + PIECE) * sizeof(struct rt_pair) +
           passes * ranks * (sizeof(struct rt_pair) + sizeof(uint64_t)) +
           rt_exchange_bytes(n_ranks, 0);
}

static void size_runs(struct rt_phase_context *context, struct sorter *s, uint64_t n_total)
{
    uint64_t room = s->sort->room ? s->sort->room : room_within(context->budget_bytes);
    rt_min_u64(s->comm, &room, 1);
    s->n_passes = n_total / (uint64_t)s->n_ranks / room + 1;
    s->n_runs = s->n_passes * (uint64_t)s->n_ranks;
}

enum rt_status rt_pair_sort(struct rt_phase_context *context, const struct rt_pair_sort *sort,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_exchange *exchange = NULL;
    struct sorter s = {.sort = sort,
                       .comm = context->job->comm,
                       .rank = context->job->rank,
                       .n_ranks = context->job->n_ranks};
    uint64_t n_total = sort->n_mine;
    rt_sum_u64(s.comm, &n_total, 1);
    size_runs(context, &s, n_total);
    RT_LOCAL(rt_array_new(PIECE, sizeof *s.piece, &s.piece, err));
    RT_LOCAL(rt_array_new((size_t)s.n_runs - 1, sizeof *s.borders, &s.borders, err));
    RT_LOCAL(rt_array_zero((size_t)s.n_runs + 1, sizeof *s.first, &s.first, err));
    RT_LOCAL(rt_array_new((size_t)s.n_ranks + 1, sizeof *s.out_begin, &s.out_begin, err));
    RT_AGREE(s.comm);
    if (s.n_runs > 1)
        RT_TRY(choose_borders(&s, n_total, err));
    RT_LOCAL(count_runs(&s, err));
    RT_LOCAL(reserve_out(&s, err));
    RT_AGREE(s.comm);
    rt_sum_u64(s.comm, s.first, (size_t)s.n_runs + 1);
    RT_LOCAL(reserve_in(&s, err));
    RT_AGREE(s.comm);
    for (uint64_t run = 0; run < s.n_runs; run++)
        s.first[run + 1] += s.first[run];
    RT_TRY(rt_exchange_new(s.comm, 0, &exchange, err));
    for (s.pass = 0; s.pass < s.n_passes; s.pass++)
        RT_TRY(run_pass(&s, exchange, err));
done:
    rt_exchange_free(exchange);
    rt_array_free(s.piece);
    rt_array_free(s.borders);
    rt_array_free(s.first);
    rt_array_free(s.out_begin);
    rt_array_free(s.out.at);
    rt_array_free(s.in.at);
    return st;
}
