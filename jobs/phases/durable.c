#include "jobs/phases/durable.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/thread.h"
#include "jobs/phases/durable_states.h"
#include "mpi/agree.h"
#include "mpi/world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_FILES 2
#define LEAST_SECONDS 1.0 /* of a phase before its end is worth a state */

struct rt_durable {
    struct rt_phase_context *context;
    struct rt_durable_board board;
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

uint64_t rt_durable_bytes(const struct rt_durable_options *options, int ranks_per_node)
{
    return rt_durable_board_bytes(options, ranks_per_node) / (uint64_t)ranks_per_node +
           rt_bit_words(options->n_units) * sizeof(uint64_t);
}

/* ---- states ---- */

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
    const struct rt_job *job = d->context->job;
    uint64_t n_units = 0;
    RT_TRY(rt_phase_check_lock(d->context, err));
    RT_TRY(begin_job(d, err));
    RT_TRY(rt_durable_state_begin(d->context->dir, &d->board, d->start, job->rank, &state, &n_units,
                                  err));
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

/* Rank 0. All that runs before have left goes into one state of this run's own. */
static enum rt_status load(struct rt_durable *d, bool *any, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dir = d->context->dir;
    struct rt_found_states found = {0};
    unsigned last = 0;
    RT_TRY(rt_durable_states_find(dir, d->board.options.name, &found, err));
    RT_TRY(rt_durable_states_read(dir, &found, &d->board, &last, any, err));
    d->start = last + 1;
    if (*any)
        RT_TRY(save(d, err));
    RT_TRY(rt_durable_states_remove(dir, &found, err));
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
    uint64_t n_bytes = rt_bit_words(d->board.options.n_units) * sizeof *d->before;
    rt_bcast_bytes(job->comm, words, sizeof words, 0);
    d->start = (unsigned)words[1];
    if (!words[0])
        goto done;
    RT_LOCAL(rt_array_new((size_t)n_bytes, 1, &d->before, err));
    RT_AGREE(job->comm);
    if (job->rank == 0)
        memcpy(d->before, d->board.bits, (size_t)n_bytes);
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
    d->start = 1;
    d->began = rt_clock_seconds();
    (void)pthread_mutex_init(&d->mutex, NULL);
    RT_LOCAL(rt_durable_board_new(context->job->world, options, &d->board, err));
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
    rt_durable_board_free(&durable->board);
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

/* Asks the ranks, and gives them an interval to hand in what they have. */
static bool ask(struct rt_durable *d, double interval)
{
    const double pause = 0.02;
    uint64_t question = rt_durable_board_ask(&d->board);
    for (double waited = 0; waited < interval && !rt_durable_board_answered(&d->board, question);
         waited += pause)
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
        bool is_new = rt_durable_board_n_units(&d->board) != d->n_saved;
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
    if (!d->board.is_leader)
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
    return durable && rt_durable_board_is_asked(&durable->board);
}

enum rt_status rt_durable_keep(struct rt_durable *durable, uint64_t begin, uint64_t end,
                               uint64_t *sums, const float *most, uint64_t largest,
                               struct rt_error *err)
{
    struct rt_durable *d = durable;
    if (!d)
        return RT_OK;
    uint64_t question = rt_durable_board_question(&d->board);
    rt_durable_board_add(&d->board, begin, end, sums, most, largest);
    memset(sums, 0, d->board.options.n_sums * sizeof *sums);
    rt_durable_board_answer(&d->board, question);
    if (!atomic_load(&d->has_failed))
        return RT_OK;
    *err = d->failure;
    return d->failure.status;
}

void rt_durable_leave(struct rt_durable *durable)
{
    if (durable)
        rt_durable_board_answer(&durable->board, RT_BOARD_LEFT);
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
    if (d->board.is_leader && is_worth_it && rt_durable_board_n_units(&d->board) != d->n_saved)
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
    if (durable && durable->board.is_leader)
        rt_durable_board_take(&durable->board, sums, most, largest);
}

/* ---- what is not to be trusted ---- */

static enum rt_status forget(const char *dir, const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_found_states found = {0};
    RT_TRY(rt_durable_states_find(dir, name, &found, err));
    RT_TRY(rt_durable_states_remove(dir, &found, err));
done:
    rt_array_free(found.states);
    return st;
}

void rt_durable_distrust(const struct rt_phase_context *context, enum rt_status st,
                         struct rt_error *err)
{
    struct rt_error failed;
    if (st != RT_DAMAGED || !context->checkpoint)
        return;
    if (context->job->rank == 0 && (forget(context->dir, RT_DURABLE_INSERT, &failed) != RT_OK ||
                                    forget(context->dir, RT_DURABLE_COMPACT, &failed) != RT_OK))
        return; /* the damage is the one to tell; the next run meets it again */
    size_t length = strlen(err->text);
    (void)snprintf(err->text + length, sizeof err->text - length, "; --resume does that part anew");
}
