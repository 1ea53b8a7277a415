#include "mpi/progress.h"

#include "core/clock.h"
#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/signals.h"
#include "mpi/traffic.h"
#include "mpi/waiting.h"
#include "mpi/watchdog.h"
#include "mpi/world.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ROUND_SECONDS 0.1
#define MEMORY_SECONDS 1.0
#define CALL_SECONDS 0.001 /* MPI is asked no more often */
#define NOTE_BYTES 120

/* What is reduced: the counters and how many ranks say so are summed, the last words are maxima. */
enum {
    WORD_RESUMED = RT_N_COUNTERS,
    WORD_ENDED,  /* ranks that are in rt_progress_end, or rt_progress_meet */
    WORD_FAILED, /* ... with a failure */
    WORD_STOP,   /* ranks that were asked to stop */
    N_SUMS,
    WORD_BEHIND = N_SUMS, /* the rank that has done least: behind_of */
    WORD_MEMORY,          /* private bytes */
    N_WORDS
};

struct rt_progress {
    MPI_Comm comm;
    MPI_Datatype words; /* N_WORDS as one element, so that an operation sees them together */
    MPI_Op join;
    int rank, n_ranks;
    rt_progress_show show;
    void *context;

    bool is_open;
    bool is_meeting;
    const char *phase, *unit;
    uint64_t total;
    char note[NOTE_BYTES];
    atomic_uint_fast64_t mine[WORD_RESUMED + 1];
    uint64_t traffic_before; /* bytes sent when the phase began */
    double began, last_call;
    uint64_t memory_bytes; /* asked of the system now and then */
    double memory_asked;

    /* Rounds: every rank joins every round, in order, but when it likes. */
    MPI_Request request; /* of the round at work, or none */
    double round_began;
    uint64_t sent[N_WORDS];
    uint64_t coming[N_WORDS];
    uint64_t latest[N_WORDS]; /* result of the last complete round, the same on all ranks */
};

static void join_words(void *from, void *to, int *n, MPI_Datatype *type)
{
    const uint64_t *a = from;
    uint64_t *b = to;
    (void)type;
    for (int i = 0; i < *n; i++, a += N_WORDS, b += N_WORDS) {
        for (int w = 0; w < N_SUMS; w++)
            b[w] += a[w];
        for (int w = N_SUMS; w < N_WORDS; w++)
            b[w] = a[w] > b[w] ? a[w] : b[w];
    }
}

/* Greater for less done, then for the smaller rank; what a rank can do has 40 bits and ranks 24,
 * and more than that is as good as the most. */
#define MOST_DONE ((UINT64_C(1) << 40) - 1)
#define MOST_RANK ((UINT64_C(1) << 24) - 1)

static uint64_t behind_of(uint64_t done, int rank)
{
    return (MOST_DONE - (done < MOST_DONE ? done : MOST_DONE)) << 24 |
           (MOST_RANK - ((uint64_t)rank < MOST_RANK ? (uint64_t)rank : MOST_RANK));
}

enum rt_status rt_progress_new(MPI_Comm comm, rt_progress_show show, void *context,
                               struct rt_progress **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_progress *p = NULL;
    RT_LOCAL(rt_array_zero(1, sizeof *p, &p, err));
    RT_AGREE(comm);
    MPI_Comm_dup(comm, &p->comm);
    MPI_Comm_rank(p->comm, &p->rank);
    MPI_Comm_size(p->comm, &p->n_ranks);
    MPI_Type_contiguous(N_WORDS, MPI_UINT64_T, &p->words);
    MPI_Type_commit(&p->words);
    MPI_Op_create(join_words, 1, &p->join);
    p->show = show;
    p->context = context;
    p->request = MPI_REQUEST_NULL;
    *out = p;
    p = NULL;
done:
    rt_array_free(p);
    return st;
}

void rt_progress_add(struct rt_progress *progress, enum rt_counter counter, uint64_t amount)
{
    atomic_fetch_add_explicit(&progress->mine[counter], amount, memory_order_relaxed);
}

void rt_progress_add_resumed(struct rt_progress *progress, uint64_t amount)
{
    atomic_fetch_add_explicit(&progress->mine[WORD_RESUMED], amount, memory_order_relaxed);
}

void rt_progress_set_total(struct rt_progress *progress, uint64_t total)
{
    progress->total = total;
}

void rt_progress_set_note(struct rt_progress *progress, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(progress->note, sizeof progress->note, format, args);
    va_end(args);
}

/* What the system says takes reading a file: once a second. */
static uint64_t memory_of(struct rt_progress *p, double now)
{
    if (p->memory_bytes == 0 || now - p->memory_asked >= MEMORY_SECONDS) {
        p->memory_bytes = rt_rss_read().anonymous;
        p->memory_asked = now;
    }
    return p->memory_bytes;
}

static void join_round(struct rt_progress *p, double now, bool has_ended, bool has_failed)
{
    atomic_store(&p->mine[RT_COUNT_BYTES_SENT], rt_traffic_bytes() - p->traffic_before);
    for (int i = 0; i <= WORD_RESUMED; i++)
        p->sent[i] = atomic_load_explicit(&p->mine[i], memory_order_relaxed);
    p->sent[WORD_ENDED] = has_ended;
    p->sent[WORD_FAILED] = has_failed;
    p->sent[WORD_STOP] = rt_signals_stop_asked() != 0;
    p->sent[WORD_BEHIND] = behind_of(p->sent[RT_COUNT_DONE], p->rank);
    p->sent[WORD_MEMORY] = memory_of(p, now);
    p->round_began = now;
    MPI_Iallreduce(p->sent, p->coming, 1, p->words, p->join, p->comm, &p->request);
}

static void show(struct rt_progress *p)
{
    if (p->rank != 0 || !p->show)
        return;
    struct rt_progress_state state = {
        .phase = p->phase,
        .unit = p->unit,
        .total = p->total,
        .resumed = p->latest[WORD_RESUMED],
        .seconds = rt_clock_seconds() - p->began,
        .note = p->note,
        .n_ranks = p->n_ranks,
        .behind_rank = (int)(MOST_RANK - (p->latest[WORD_BEHIND] & MOST_RANK)),
        .behind_done = MOST_DONE - (p->latest[WORD_BEHIND] >> 24),
        .memory_bytes = p->latest[WORD_MEMORY],
        .is_last = !p->is_meeting && p->latest[WORD_ENDED] == (uint64_t)p->n_ranks,
        .is_failed = p->latest[WORD_FAILED] != 0,
        .is_stopping = p->latest[WORD_STOP] != 0,
    };
    memcpy(state.counters, p->latest, sizeof state.counters);
    p->show(p->context, &state);
}

/* The round at work is complete: its result is the latest. */
static void take_round(struct rt_progress *p)
{
    memcpy(p->latest, p->coming, sizeof p->latest);
    rt_watchdog_beat_all();
    show(p);
}

static void test_round(struct rt_progress *p)
{
    int is_complete = 0;
    MPI_Test(&p->request, &is_complete, MPI_STATUS_IGNORE);
    if (is_complete)
        take_round(p);
}

static void tick(struct rt_progress *p, bool has_failed)
{
    rt_watchdog_beat();
    double now = rt_clock_seconds();
    if (now - p->last_call < CALL_SECONDS)
        return;
    p->last_call = now;
    if (p->request != MPI_REQUEST_NULL)
        test_round(p);
    else if (now - p->round_began >= ROUND_SECONDS)
        join_round(p, now, false, has_failed);
}

bool rt_progress_tick(struct rt_progress *progress)
{
    struct rt_progress *p = progress;
    if (!p->is_open)
        return true;
    tick(p, false);
    return p->latest[WORD_FAILED] == 0 && p->latest[WORD_STOP] == 0;
}

static void take_part(void *progress, bool has_failed)
{
    tick(progress, has_failed);
}

void rt_progress_begin(struct rt_progress *progress, const char *phase, const char *unit,
                       uint64_t total)
{
    struct rt_progress *p = progress;
    rt_assert(!p->is_open);
    p->phase = phase;
    p->unit = unit;
    p->total = total;
    p->note[0] = '\0';
    for (size_t i = 0; i < sizeof p->mine / sizeof *p->mine; i++)
        atomic_store(&p->mine[i], 0);
    memset(p->latest, 0, sizeof p->latest);
    p->traffic_before = rt_traffic_bytes();
    p->began = rt_clock_seconds();
    p->last_call = p->began;
    p->round_began = p->began;
    p->is_open = true;
    rt_waiting_take_part(take_part, p);
    rt_watchdog_arm(true);
}

/* The round in which all ranks have ended is the last on all of them: no request is left over, and
 * what it brought are final sums, however many rounds a rank joined by ticks before. */
static void end_phase(struct rt_progress *p, bool has_failed)
{
    rt_waiting_take_part(NULL, NULL);
    while (p->latest[WORD_ENDED] != (uint64_t)p->n_ranks) {
        if (p->request == MPI_REQUEST_NULL)
            join_round(p, rt_clock_seconds(), true, has_failed);
        rt_wait(&p->request, has_failed);
        take_round(p);
    }
    p->is_open = false;
}

void rt_progress_meet(struct rt_progress *progress, bool has_failed)
{
    struct rt_progress *p = progress;
    if (!p->is_open)
        return;
    p->is_meeting = true;
    end_phase(p, has_failed);
    p->is_meeting = false;
    p->is_open = true;
    rt_waiting_take_part(take_part, p);
    p->latest[WORD_ENDED] = 0;
}

enum rt_status rt_progress_end(struct rt_progress *progress, enum rt_status st,
                               struct rt_error *err)
{
    rt_assert(progress->is_open);
    rt_watchdog_beat();
    end_phase(progress, st > RT_STOPPED);
    return rt_agree(progress->comm, st, err);
}

void rt_progress_free(struct rt_progress *progress)
{
    if (!progress)
        return;
    if (progress->is_open)
        end_phase(progress, true);
    rt_watchdog_arm(false);
    MPI_Op_free(&progress->join);
    MPI_Type_free(&progress->words);
    MPI_Comm_free(&progress->comm);
    rt_array_free(progress);
}

bool rt_progress_is_stopped(const struct rt_progress *progress)
{
    return progress->latest[WORD_STOP] != 0;
}

uint64_t rt_progress_total_of(const struct rt_progress *progress, enum rt_counter counter)
{
    return progress->latest[counter];
}

uint64_t rt_progress_total_resumed(const struct rt_progress *progress)
{
    return progress->latest[WORD_RESUMED];
}

uint64_t rt_progress_mine(const struct rt_progress *progress, enum rt_counter counter)
{
    return atomic_load_explicit(&progress->mine[counter], memory_order_relaxed);
}
