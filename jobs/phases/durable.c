#include "jobs/phases/durable.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/thread.h"
#include "io/checkpoint.h"
#include "mpi/agree.h"
#include "mpi/shared.h"
#include "mpi/world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_FILES 2
#define LEAST_SECONDS 1.0 /* of a phase before its end is worth a state */
#define LEFT UINT64_MAX   /* answers every question to come */

/* What the ranks of a node have handed in, in their shared memory; where there is none, of one
 * rank. Behind it: the last question that each rank has answered, bits, sums, most. */
struct board {
    pthread_mutex_t mutex; /* of all processes */
    atomic_uint_fast64_t question;
    uint64_t n_units; /* handed in */
    uint64_t largest;
};
struct head { /* of a state */
    uint64_t n_units, n_sums, n_most, largest;
};

struct rt_durable {
    struct rt_phase_context *context;
    struct rt_durable_options options;
    struct rt_shared *shared;
    bool is_leader;
    int place, n_ranks; /* of this rank among those of the board */
    struct board *board;
    atomic_uint_fast64_t *answers;
    uint64_t *bits, *sums;
    float *most;
    uint64_t *before; /* NULL: nothing */
    bool has_begun;   /* files and job are known after a loss of power */
    unsigned start;   /* number of this run among those that went on; names its states */
    uint64_t n_saved; /* units in the last state of this run */
    double began;
    struct rt_h5_file *files[MOST_FILES];
    uint32_t n_files;
    /* the syncing thread of a leader */
    pthread_t thread;
    bool is_running;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_ending;
    atomic_bool has_failed;
    struct rt_error failure;
};

/* ---- the board ---- */

static size_t board_bytes(const struct rt_durable_options *options, int n_ranks)
{
    return rt_whole_lines(sizeof(struct board)) +
           ((size_t)n_ranks + rt_bit_words(options->n_units) + options->n_sums) * sizeof(uint64_t) +
           options->n_most * sizeof(float);
}

uint64_t rt_durable_bytes(const struct rt_durable_options *options, int ranks_per_node)
{
    return board_bytes(options, ranks_per_node) / (uint64_t)ranks_per_node +
           rt_bit_words(options->n_units) * sizeof(uint64_t);
}

static void lay_out(struct rt_durable *d)
{
    unsigned char *at = rt_shared_target(d->shared);
    d->board = (struct board *)at;
    d->answers = (atomic_uint_fast64_t *)(at + rt_whole_lines(sizeof(struct board)));
    d->bits = (uint64_t *)(d->answers + d->n_ranks);
    d->sums = d->bits + rt_bit_words(d->options.n_units);
    d->most = (float *)(d->sums + d->options.n_sums);
}

static void begin_board(struct rt_durable *d)
{
    pthread_mutexattr_t of_processes;
    memset(d->board, 0, board_bytes(&d->options, d->n_ranks));
    (void)pthread_mutexattr_init(&of_processes);
    (void)pthread_mutexattr_setpshared(&of_processes, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutex_init(&d->board->mutex, &of_processes);
    (void)pthread_mutexattr_destroy(&of_processes);
}

static enum rt_status make_board(struct rt_durable *d, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_world *world = d->context->job->world;
    struct rt_shared_options options = {.use_window = true};
    RT_TRY(rt_shared_new(world->node, board_bytes(&d->options, world->node_size), &options,
                         &d->shared, err));
    bool is_shared = rt_shared_kind(d->shared) == RT_SHARED_WINDOW;
    d->n_ranks = is_shared ? world->node_size : 1;
    d->place = is_shared ? world->node_rank : 0;
    d->is_leader = d->place == 0;
    lay_out(d);
    if (d->is_leader)
        begin_board(d);
    rt_shared_filled(d->shared);
done:
    return st;
}

/* ---- states ---- */

static void state_name(const struct rt_durable *d, unsigned start, int rank,
                       char name[RT_CHECKPOINT_NAME])
{
    (void)snprintf(name, RT_CHECKPOINT_NAME, "%s-%u-%d", d->options.name, start, rank);
}

static enum rt_status put_board(const struct rt_durable *d, struct rt_checkpoint *to,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_durable_options *o = &d->options;
    struct head head = {o->n_units, o->n_sums, o->n_most, d->board->largest};
    RT_TRY(rt_checkpoint_put(to, &head, sizeof head, err));
    RT_TRY(rt_checkpoint_put(to, d->bits, rt_bit_words(o->n_units) * sizeof *d->bits, err));
    RT_TRY(rt_checkpoint_put(to, d->sums, o->n_sums * sizeof *d->sums, err));
    RT_TRY(rt_checkpoint_put(to, d->most, o->n_most * sizeof *d->most, err));
done:
    return st;
}

/* The first state of a run: from now on there is a job to go on with, and the files that states
 * speak of must not get lost with their names. */
static enum rt_status begin_job(struct rt_durable *d, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_checkpointing *checkpoint = d->context->checkpoint;
    if (d->has_begun)
        goto done;
    RT_TRY(rt_fs_sync_dir(d->context->dir, err));
    if (checkpoint->begin && d->context->job->rank == 0)
        RT_TRY(checkpoint->begin(checkpoint->begin_context, err));
    d->has_begun = true;
done:
    return st;
}

/* What is on the board by now; then the files; and only then its name (G2). */
static enum rt_status save(struct rt_durable *d, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_checkpoint *state = NULL;
    char name[RT_CHECKPOINT_NAME];
    state_name(d, d->start, d->context->job->rank, name);
    RT_TRY(begin_job(d, err));
    RT_TRY(rt_checkpoint_begin(d->context->dir, name, &state, err));
    (void)pthread_mutex_lock(&d->board->mutex);
    uint64_t n_units = d->board->n_units;
    st = put_board(d, state, err);
    (void)pthread_mutex_unlock(&d->board->mutex);
    RT_TRY(st);
    for (uint32_t i = 0; i < d->n_files; i++)
        RT_TRY(rt_h5_sync(d->files[i], err));
    st = rt_checkpoint_commit(state, err);
    state = NULL;
    if (st == RT_OK)
        d->n_saved = n_units;
done:
    rt_checkpoint_drop(state);
    return st;
}

struct found_state {
    unsigned start;
    int rank;
};
struct found_states {
    const char *name;
    struct found_state *states;
    size_t n, room;
};

static void find_state(void *context, const char *name)
{
    struct found_states *found = context;
    struct found_state state = {0, 0};
    char behind = 0;
    if (sscanf(name + strlen(found->name), "-%u-%d%c", &state.start, &state.rank, &behind) != 2 ||
        state.start == 0 || state.rank < 0)
        return;
    size_t n_taken = found->n < found->room ? found->n : found->room;
    for (size_t i = 0; i < n_taken; i++)
        if (found->states[i].start == state.start && found->states[i].rank == state.rank)
            return;
    if (found->n < found->room)
        found->states[found->n] = state;
    found->n++;
}

static enum rt_status find_states(const struct rt_durable *d, struct found_states *found,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *found = (struct found_states){.name = d->options.name};
    do { /* once to count, once to take */
        found->room = found->n;
        rt_array_free(found->states);
        found->states = NULL;
        RT_TRY(rt_array_new(found->room, sizeof *found->states, &found->states, err));
        found->n = 0;
        RT_TRY(rt_checkpoint_names(d->context->dir, found->name, find_state, found, err));
    } while (found->n > found->room);
done:
    return st;
}

/* Adds a state to the board; one that is not whole or of other sizes adds nothing. */
static enum rt_status add_state(struct rt_durable *d, const struct found_state *state, bool *added,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_durable_options *o = &d->options;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    char name[RT_CHECKPOINT_NAME];
    struct head head;
    uint64_t n_words = rt_bit_words(o->n_units);
    *added = false;
    state_name(d, state->start, state->rank, name);
    RT_TRY(rt_checkpoint_read(d->context->dir, name, &bytes, &n_bytes, err));
    if (!bytes || n_bytes != sizeof head + (n_words + o->n_sums) * 8 + o->n_most * sizeof(float))
        goto done;
    memcpy(&head, bytes, sizeof head);
    if (head.n_units != o->n_units || head.n_sums != o->n_sums || head.n_most != o->n_most)
        goto done;
    const unsigned char *at = bytes + sizeof head;
    for (uint64_t i = 0; i < n_words + o->n_sums; i++, at += 8) {
        uint64_t word = 0;
        memcpy(&word, at, 8);
        if (i < n_words)
            d->bits[i] |= word;
        else
            d->sums[i - n_words] += word;
    }
    for (size_t i = 0; i < o->n_most; i++, at += sizeof(float)) {
        float value = 0;
        memcpy(&value, at, sizeof value);
        d->most[i] = value > d->most[i] ? value : d->most[i];
    }
    d->board->largest = head.largest > d->board->largest ? head.largest : d->board->largest;
    *added = true;
done:
    rt_array_free(bytes);
    return st;
}

/* Rank 0. A run that goes on first puts all it has found into one state of its own, so the states
 * of the last run whose first state is there are all there is; those of other runs are in it, or
 * came after it has failed to be written. */
static enum rt_status load(struct rt_durable *d, bool *any, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct found_states found = {0};
    unsigned last = 0;
    *any = false;
    RT_TRY(find_states(d, &found, err));
    for (size_t i = 0; i < found.n; i++)
        last = found.states[i].start > last ? found.states[i].start : last;
    for (unsigned start = last; start > 0 && !*any; start--) {
        bool added = false;
        struct found_state first = {start, 0};
        RT_TRY(add_state(d, &first, &added, err));
        if (!added && start > 1)
            continue;
        *any = added;
        for (size_t i = 0; i < found.n; i++)
            if (found.states[i].start == start && found.states[i].rank != 0) {
                RT_TRY(add_state(d, &found.states[i], &added, err));
                *any = *any || added;
            }
    }
    d->start = last + 1;
    if (*any)
        RT_TRY(save(d, err));
    for (size_t i = 0; i < found.n; i++) {
        char name[RT_CHECKPOINT_NAME];
        state_name(d, found.states[i].start, found.states[i].rank, name);
        RT_TRY(rt_checkpoint_remove(d->context->dir, name, err));
    }
done:
    rt_array_free(found.states);
    return st;
}

/* Bits of the runs before, to all. Collective. */
static enum rt_status share_before(struct rt_durable *d, bool any, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = d->context->job;
    uint64_t words[2] = {any, d->start};
    uint64_t n_bytes = rt_bit_words(d->options.n_units) * sizeof *d->before;
    rt_bcast_bytes(job->comm, words, sizeof words, 0);
    d->start = (unsigned)words[1];
    if (!words[0])
        goto done;
    RT_LOCAL(rt_array_new((size_t)n_bytes, 1, &d->before, err));
    RT_AGREE(job->comm);
    if (job->rank == 0)
        memcpy(d->before, d->bits, (size_t)n_bytes);
    rt_bcast_bytes(job->comm, d->before, n_bytes, 0);
done:
    return st;
}

enum rt_status rt_durable_new(struct rt_phase_context *context,
                              const struct rt_durable_options *options, struct rt_durable **out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_durable *d = NULL;
    bool any = false;
    *out = NULL;
    if (!context->checkpoint)
        return RT_OK;
    RT_LOCAL(rt_array_zero(1, sizeof *d, &d, err));
    RT_AGREE(context->job->comm);
    d->context = context;
    d->options = *options;
    d->start = 1;
    d->began = rt_clock_seconds();
    (void)pthread_mutex_init(&d->mutex, NULL);
    RT_LOCAL(make_board(d, err));
    RT_AGREE(context->job->comm);
    if (context->job->rank == 0 && context->checkpoint->resumes)
        RT_LOCAL(load(d, &any, err));
    RT_AGREE(context->job->comm);
    RT_TRY(share_before(d, any, err));
    *out = d;
    d = NULL;
done:
    rt_durable_free(d);
    return st;
}

const uint64_t *rt_durable_before(const struct rt_durable *durable)
{
    return durable ? durable->before : NULL;
}

void rt_durable_free(struct rt_durable *durable)
{
    if (!durable)
        return;
    rt_shared_free(durable->shared);
    rt_array_free(durable->before);
    (void)pthread_mutex_destroy(&durable->mutex);
    rt_array_free(durable);
}

/* ---- the syncing thread ---- */

/* Waits so long, with the mutex held; false: it is to end. */
static bool sleep_for(struct rt_durable *d, double seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    double nanoseconds = (double)until.tv_nsec + seconds * 1e9;
    until.tv_sec += (time_t)(nanoseconds / 1e9);
    until.tv_nsec = (long)(nanoseconds - 1e9 * (double)(time_t)(nanoseconds / 1e9));
    while (!d->is_ending && pthread_cond_timedwait(&d->wake, &d->mutex, &until) == 0)
        ;
    return !d->is_ending;
}

static bool all_have_answered(const struct rt_durable *d, uint64_t question)
{
    for (int i = 0; i < d->n_ranks; i++)
        if (atomic_load(&d->answers[i]) < question)
            return false;
    return true;
}

/* Asks the ranks, and gives them an interval to hand in what they have. */
static bool ask(struct rt_durable *d, double interval)
{
    const double pause = 0.02;
    uint64_t question = atomic_fetch_add(&d->board->question, 1) + 1;
    for (double waited = 0; waited < interval && !all_have_answered(d, question); waited += pause)
        if (!sleep_for(d, pause))
            return false;
    return true;
}

static void *sync_again_and_again(void *context)
{
    struct rt_durable *d = context;
    double interval = d->context->checkpoint->interval_seconds;
    (void)pthread_mutex_lock(&d->mutex);
    while (sleep_for(d, interval) && ask(d, interval)) {
        (void)pthread_mutex_unlock(&d->mutex);
        (void)pthread_mutex_lock(&d->board->mutex);
        bool is_new = d->board->n_units != d->n_saved;
        (void)pthread_mutex_unlock(&d->board->mutex);
        if (is_new && save(d, &d->failure) != RT_OK)
            atomic_store(&d->has_failed, true);
        (void)pthread_mutex_lock(&d->mutex);
        if (atomic_load(&d->has_failed))
            break;
    }
    (void)pthread_mutex_unlock(&d->mutex);
    return NULL;
}

enum rt_status rt_durable_start(struct rt_durable *durable, struct rt_h5_file *const *files,
                                uint32_t n_files, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_durable *d = durable;
    if (!d)
        return RT_OK;
    rt_assert(n_files <= MOST_FILES);
    memcpy(d->files, files, n_files * sizeof *d->files);
    d->n_files = n_files;
    if (!d->is_leader)
        return RT_OK;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    RT_TRY(rt_thread_start(&d->thread, sync_again_and_again, d, err));
    d->is_running = true;
done:
    return st;
}

static void stop_thread(struct rt_durable *d)
{
    if (!d->is_running)
        return;
    (void)pthread_mutex_lock(&d->mutex);
    d->is_ending = true;
    (void)pthread_cond_signal(&d->wake);
    (void)pthread_mutex_unlock(&d->mutex);
    (void)pthread_join(d->thread, NULL);
    (void)pthread_cond_destroy(&d->wake);
    d->is_running = false;
}

/* ---- the ranks ---- */

bool rt_durable_asks(const struct rt_durable *durable)
{
    return durable && atomic_load_explicit(&durable->board->question, memory_order_relaxed) >
                          atomic_load(&durable->answers[durable->place]);
}

enum rt_status rt_durable_keep(struct rt_durable *durable, uint64_t begin, uint64_t end,
                               uint64_t *sums, const float *most, uint64_t largest,
                               struct rt_error *err)
{
    struct rt_durable *d = durable;
    if (!d)
        return RT_OK;
    uint64_t question = atomic_load(&d->board->question);
    (void)pthread_mutex_lock(&d->board->mutex);
    for (uint64_t unit = begin; unit < end; unit++)
        rt_bit_set(d->bits, unit);
    d->board->n_units += end - begin;
    for (size_t i = 0; i < d->options.n_sums; i++)
        d->sums[i] += sums[i];
    for (size_t i = 0; i < d->options.n_most; i++)
        d->most[i] = most[i] > d->most[i] ? most[i] : d->most[i];
    d->board->largest = largest > d->board->largest ? largest : d->board->largest;
    (void)pthread_mutex_unlock(&d->board->mutex);
    memset(sums, 0, d->options.n_sums * sizeof *sums);
    atomic_store(&d->answers[d->place], question);
    if (!atomic_load(&d->has_failed))
        return RT_OK;
    *err = d->failure;
    return d->failure.status;
}

void rt_durable_leave(struct rt_durable *durable)
{
    if (durable)
        atomic_store(&durable->answers[durable->place], LEFT);
}

enum rt_status rt_durable_end(struct rt_durable *durable, enum rt_status st, struct rt_error *err)
{
    struct rt_durable *d = durable;
    if (!d)
        return st;
    stop_thread(d);
    enum rt_status kept = RT_OK;
    struct rt_error own = {.status = RT_OK};
    double least = d->context->checkpoint->interval_seconds;
    least = least < LEAST_SECONDS ? least : LEAST_SECONDS;
    bool is_worth_it = st == RT_STOPPED || (st == RT_OK && rt_clock_seconds() - d->began >= least);
    if (d->is_leader && is_worth_it && d->board->n_units != d->n_saved)
        kept = save(d, &own);
    if (kept > st) {
        st = kept;
        *err = own;
    }
    return rt_agree(d->context->job->comm, st, err);
}

void rt_durable_take(const struct rt_durable *durable, uint64_t *sums, float *most,
                     uint64_t *largest)
{
    const struct rt_durable *d = durable;
    if (!d || !d->is_leader)
        return;
    for (size_t i = 0; i < d->options.n_sums; i++)
        sums[i] += d->sums[i];
    for (size_t i = 0; i < d->options.n_most; i++)
        most[i] = d->most[i] > most[i] ? d->most[i] : most[i];
    if (largest)
        *largest = d->board->largest > *largest ? d->board->largest : *largest;
}
