#include "jobs/phases/pair_sort.h"

#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <math.h>
#include <string.h>

#define PIECE 16384u                  /* pairs asked of the source at once */
#define MOST_ROOM (UINT64_C(1) << 26) /* pairs of a rank, where the budget is larger */
#define LEAST_ROOM (UINT64_C(1) << 16)
/* Sampled pairs that decide the borders of a run: n of them make runs differ by a part of
 * 1/sqrt(n). Every rank holds those of all runs for a moment. */
#define MOST_SAMPLES UINT64_C(1024)
#define LEAST_SAMPLES UINT64_C(64)
#define ALL_SAMPLES (UINT64_C(1) << 17) /* 2 MiB, while there are few enough runs */
#define SAMPLED_PART 64u                /* one pair of so many: the pairs themselves travel once */

struct pairs { /* as large as the counts say; else grows by doubling */
    struct rt_pair *at;
    size_t n, room;
};

struct sorter {
    struct rt_phase_context *context;
    const struct rt_pair_sort *sort;
    MPI_Comm comm;
    int rank, n_ranks;
    uint64_t n_runs, n_passes;
    uint64_t even_run;       /* pairs of a run, were they all alike, and some more */
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

/* ---- sorting in memory ---- */

#define SHORT_RUN 16u

static bool is_less(const struct rt_pair *x, const struct rt_pair *y)
{
    return x->key < y->key || (x->key == y->key && x->value < y->value);
}

static void sort_short(struct rt_pair *at, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct rt_pair pair = at[i];
        size_t j = i;
        for (; j > 0 && is_less(&pair, &at[j - 1]); j--)
            at[j] = at[j - 1];
        at[j] = pair;
    }
}

static void merge(const struct rt_pair *a, size_t n_a, const struct rt_pair *b, size_t n_b,
                  struct rt_pair *out)
{
    while (n_a && n_b) {
        bool takes_b = is_less(b, a);
        *out++ = takes_b ? *b : *a;
        b += takes_b;
        a += !takes_b;
        n_b -= takes_b;
        n_a -= !takes_b;
    }
    memcpy(out, n_a ? a : b, (n_a + n_b) * sizeof *out);
}

/* By merging runs that double, between the pairs and as many spare ones. (qsort takes the memory
 * for that where nobody counts it.) */
static void merge_sort(struct rt_pair *at, size_t n, struct rt_pair *spare)
{
    struct rt_pair *from = at;
    struct rt_pair *to = spare;
    for (size_t begin = 0; begin < n; begin += SHORT_RUN)
        sort_short(at + begin, n - begin < SHORT_RUN ? n - begin : SHORT_RUN);
    for (size_t run = SHORT_RUN; run < n; run *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * run) {
            size_t n_a = n - begin < run ? n - begin : run;
            size_t n_b = n - begin - n_a < run ? n - begin - n_a : run;
            merge(from + begin, n_a, from + begin + n_a, n_b, to + begin);
        }
        struct rt_pair *last = from;
        from = to;
        to = last;
    }
    if (from != at)
        memcpy(at, from, n * sizeof *at);
}

/* `idle`: pairs of no meaning now, whose memory is used where it suffices; may be NULL. */
static enum rt_status sort_pairs(struct pairs *pairs, const struct pairs *idle,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_pair *own = NULL;
    if (pairs->n < 2)
        return RT_OK;
    struct rt_pair *room = idle && idle->room >= pairs->n ? idle->at : NULL;
    if (!room) {
        RT_TRY(rt_array_new(pairs->n, sizeof *own, &own, err));
        room = own;
    }
    merge_sort(pairs->at, pairs->n, room);
done:
    rt_array_free(own);
    return st;
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

static uint64_t samples_of_run(uint64_t n_total, uint64_t n_runs)
{
    uint64_t n = ALL_SAMPLES / n_runs;
    n = n < n_total / n_runs / SAMPLED_PART ? n : n_total / n_runs / SAMPLED_PART;
    return n > MOST_SAMPLES ? MOST_SAMPLES : n < LEAST_SAMPLES ? LEAST_SAMPLES : n;
}

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

static enum rt_status next_piece(struct sorter *s, bool rewind, size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_phase_check(s->context, err));
    RT_TRY(s->sort->source(s->sort->context, rewind, s->piece, PIECE, n, err));
done:
    return st;
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
        RT_TRY(next_piece(s, rewind, &n, err));
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
    struct pairs all = {0};
    uint64_t *bytes = NULL;
    uint64_t total = 0;
    uint64_t step = n_total / (samples_of_run(n_total, s->n_runs) * s->n_runs) + 1;
    RT_LOCAL(sample(s, step, &mine, err));
    RT_LOCAL(rt_array_zero((size_t)s->n_ranks, sizeof *bytes, &bytes, err));
    RT_AGREE(s->comm);
    bytes[s->rank] = mine.n * sizeof *mine.at;
    rt_sum_u64(s->comm, bytes, (size_t)s->n_ranks);
    for (int r = 0; r < s->n_ranks; r++)
        total += bytes[r];
    size_t n = (size_t)(total / sizeof *all.at);
    RT_LOCAL(rt_array_new(n, sizeof *all.at, &all.at, err));
    RT_AGREE(s->comm);
    rt_allgatherv_bytes(s->comm, mine.at, all.at, bytes);
    all.n = n;
    RT_LOCAL(sort_pairs(&all, NULL, err));
    RT_AGREE(s->comm);
    for (uint64_t run = 1; run < s->n_runs; run++) {
        struct rt_pair border = n ? all.at[run * n / s->n_runs] : (struct rt_pair){0, 0};
        if (s->sort->most_per_key)
            border.value = 0;
        s->borders[run - 1] = border;
    }
done:
    rt_array_free(mine.at);
    rt_array_free(all.at);
    rt_array_free(bytes);
    return st;
}

static enum rt_status count_runs(struct sorter *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = 0;
    bool rewind = true;
    do {
        RT_TRY(next_piece(s, rewind, &n, err));
        rewind = false;
        for (size_t i = 0; i < n; i++)
            s->first[run_of(s, s->piece[i]) + 1]++;
    } while (n);
done:
    return st;
}

/* The most that leave this rank in a pass; s->first counts its own pairs by run. */
static uint64_t most_out(const struct sorter *s)
{
    uint64_t most = 0;
    for (uint64_t pass = 0; pass < s->n_passes; pass++) {
        uint64_t n = 0;
        for (uint64_t r = 0; r < (uint64_t)s->n_ranks; r++)
            n += s->first[pass * (uint64_t)s->n_ranks + r + 1];
        most = n > most ? n : most;
    }
    return most;
}

/* The longest run that comes; s->first counts the pairs of all ranks. Where keys are thinned out,
 * what comes may be far more than what stays. */
static uint64_t most_in(const struct sorter *s)
{
    uint64_t most = 0;
    for (uint64_t run = (uint64_t)s->rank; run < s->n_runs; run += (uint64_t)s->n_ranks)
        most = s->first[run + 1] > most ? s->first[run + 1] : most;
    return s->sort->most_per_key && most > s->even_run ? s->even_run : most;
}

/* The same for both ways, since each is the other's spare memory while it is sorted. */
static enum rt_status reserve(struct sorter *s, uint64_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new((size_t)n, sizeof *s->out.at, &s->out.at, err));
    RT_TRY(rt_array_new((size_t)n, sizeof *s->in.at, &s->in.at, err));
    s->out.room = s->in.room = (size_t)n;
done:
    return st;
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
        RT_TRY(next_piece(s, rewind, &n, err));
        rewind = false;
        for (size_t i = 0; i < n; i++) {
            uint64_t run = run_of(s, s->piece[i]);
            if (run >= first_run && run - first_run < (uint64_t)s->n_ranks)
                RT_TRY(push(&s->out, &s->piece[i], 1, err));
        }
    } while (n);
    RT_TRY(sort_pairs(&s->out, &s->in, err));
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

/* Sorts what has come; of each key only the first most_per_key pairs stay. */
static enum rt_status thin(struct sorter *s, const struct pairs *idle, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct pairs *in = &s->in;
    uint32_t most = s->sort->most_per_key;
    size_t n = 0;
    RT_TRY(sort_pairs(in, idle, err));
    for (size_t i = 0; most && i < in->n; i++)
        if (n < most || in->at[n - most].key != in->at[i].key)
            in->at[n++] = in->at[i];
    if (most)
        in->n = n;
done:
    return st;
}

static enum rt_status take_pairs(void *context, int from, const void *bytes, size_t n_bytes,
                                 struct rt_error *err)
{
    (void)from;
    enum rt_status st = RT_OK;
    struct sorter *s = context;
    size_t n = n_bytes / sizeof(struct rt_pair);
    if (s->sort->most_per_key && s->in.n + n > s->in.room)
        RT_TRY(thin(s, NULL, err)); /* some of `out` is still to be sent */
    RT_TRY(push(&s->in, bytes, n, err));
done:
    return st;
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
    RT_LOCAL(thin(s, &s->out, err));
    RT_AGREE(s->comm); /* a sink may be collective */
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

static uint64_t passes_of(uint64_t n_total, uint64_t n_ranks, uint64_t room)
{
    return n_total / n_ranks / room + 1;
}

/* Of the longest of some runs: two deviations above the mean. */
static uint64_t even_run(uint64_t n_total, uint64_t n_runs)
{
    uint64_t pairs = n_total / n_runs + 1;
    double beyond = 2 / sqrt((double)samples_of_run(n_total, n_runs));
    return n_runs > 1 ? pairs + (uint64_t)(beyond * (double)pairs) : pairs;
}

uint64_t rt_pair_sort_bytes(uint64_t budget_bytes, uint64_t n_total, int n_ranks)
{
    uint64_t ranks = (uint64_t)n_ranks;
    uint64_t runs = passes_of(n_total, ranks, room_within(budget_bytes)) * ranks;
    uint64_t pairs = 2 * even_run(n_total, runs) * sizeof(struct rt_pair);
    uint64_t samples = runs > 1 ? runs * samples_of_run(n_total, runs) : 0;
    samples = 2 * (samples < n_total ? samples : n_total) * sizeof(struct rt_pair);
    pairs += rt_exchange_bytes(n_ranks, 0);
    return (pairs > samples ? pairs : samples) + PIECE * sizeof(struct rt_pair) +
           runs * (sizeof(struct rt_pair) + sizeof(uint64_t));
}

uint64_t rt_pair_sort_run(uint64_t budget_bytes, uint64_t n_total, int n_ranks)
{
    uint64_t ranks = (uint64_t)n_ranks;
    return even_run(n_total, passes_of(n_total, ranks, room_within(budget_bytes)) * ranks);
}

static void size_runs(struct rt_phase_context *context, struct sorter *s, uint64_t n_total)
{
    uint64_t room = s->sort->room ? s->sort->room : room_within(context->budget_bytes);
    rt_min_u64(s->comm, &room, 1);
    s->n_passes = passes_of(n_total, (uint64_t)s->n_ranks, room);
    s->n_runs = s->n_passes * (uint64_t)s->n_ranks;
    s->even_run = even_run(n_total, s->n_runs);
}

enum rt_status rt_pair_sort(struct rt_phase_context *context, const struct rt_pair_sort *sort,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_exchange *exchange = NULL;
    struct sorter s = {.context = context,
                       .sort = sort,
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
    RT_AGREE(s.comm);
    uint64_t leave = most_out(&s);
    rt_sum_u64(s.comm, s.first, (size_t)s.n_runs + 1);
    uint64_t come = most_in(&s);
    RT_LOCAL(reserve(&s, leave > come ? leave : come, err));
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
