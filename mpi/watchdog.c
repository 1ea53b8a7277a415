#include "mpi/watchdog.h"

#include "core/clock.h"
#include "core/thread.h"
#include "mpi/signals.h"
#include "mpi/waiting.h"

#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Others wait a little longer than the rank that hangs, so that the one to blame can speak first.
 */
#define GRACE_SECONDS 3.0

static atomic_uint_fast64_t beats;     /* of this rank */
static atomic_uint_fast64_t all_beats; /* proofs that every rank answers */
static _Atomic(const char *) phase_name;
static atomic_bool is_armed;

static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_running;
    bool is_stopping;
    double stall_seconds;
    double grace_seconds;
    const char *job;
    const struct rt_world *world;
} dog = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void rt_watchdog_beat(void)
{
    atomic_fetch_add_explicit(&beats, 1, memory_order_relaxed);
}

void rt_watchdog_beat_all(void)
{
    rt_watchdog_beat();
    atomic_fetch_add_explicit(&all_beats, 1, memory_order_relaxed);
}

void rt_watchdog_arm(bool armed)
{
    rt_watchdog_beat_all();
    atomic_store(&is_armed, armed);
}

void rt_watchdog_set_phase(const char *phase)
{
    atomic_store(&phase_name, phase);
}

static volatile sig_atomic_t exit_code = 1;

static void give_up(int signal_number)
{
    (void)signal_number;
    _exit(exit_code);
}

/* One line, then the end. MPI_Abort may itself wait for the thread that hangs, so an alarm stands
 * behind it. */
static void say_and_end(const char *line, int n, int code)
{
    ssize_t written = write(STDERR_FILENO, line, n < 0 ? 0 : (size_t)n);
    (void)written;
    exit_code = code;
    struct sigaction action = {.sa_handler = give_up};
    sigset_t let_through;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)sigemptyset(&let_through); /* this thread takes no other signals */
    (void)sigaddset(&let_through, SIGALRM);
    (void)pthread_sigmask(SIG_UNBLOCK, &let_through, NULL);
    (void)alarm(2);
    if (dog.world->is_threaded)
        MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

static void end_job(const char *what)
{
    const char *phase = atomic_load(&phase_name);
    char line[512];
    int n = snprintf(
        line, sizeof line,
        "ranktape: rank %d on node %s: %s for %.0f s (--stall-timeout)%s%s; the job is ended\n",
        dog.world->rank, dog.world->host, what, dog.stall_seconds, phase ? " in " : "",
        phase ? phase : "");
    say_and_end(line, n, 1);
}

/* Rank 0 speaks for all; where it has not been asked itself, another does, a little later. */
static void end_stopped_job(void)
{
    char line[256];
    int n =
        snprintf(line, sizeof line,
                 "ranktape: %s: stopped %s, --grace is over; run again with --resume to go on\n",
                 dog.job, rt_signals_stop_reason());
    say_and_end(line, n, 75);
}

/* Ranks that wait for one out of reach all notice at the same moment, and one line is enough. Who
 * does not wait speaks first, then rank 0, then the first rank of each node (rank 0 may be the one
 * that cannot be heard), then the others. */
static double turn_seconds(void)
{
    if (!rt_waiting_now())
        return 0;
    return dog.world->rank == 0 ? 1 : dog.world->node_rank == 0 ? 2 : 3;
}

/* Who has been asked to stop has a term already: mostly because another rank has just ended the
 * job. */
static bool stall_matters(void)
{
    return !(dog.grace_seconds > 0 && rt_signals_stop_asked());
}

static bool grace_is_over(double now, double *asked_at)
{
    double part = dog.world->rank == 0 ? 0.8 : 0.9;
    if (!(dog.grace_seconds > 0) || !rt_signals_stop_asked())
        return false;
    if (*asked_at == 0)
        *asked_at = now;
    return now - *asked_at > part * dog.grace_seconds;
}

static void *watch(void *unused)
{
    (void)unused;
    double pause = dog.stall_seconds / 8 < 1 ? dog.stall_seconds / 8 : 1;
    if (dog.grace_seconds > 0 && dog.grace_seconds / 20 < pause)
        pause = dog.grace_seconds / 20;
    double asked_at = 0;
    uint64_t seen = 0;
    uint64_t seen_all = 0;
    double since = rt_clock_seconds();
    double since_all = since;
    double last = since;
    (void)pthread_mutex_lock(&dog.mutex);
    while (!dog.is_stopping) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        long nanoseconds = until.tv_nsec + (long)(pause * 1e9);
        until.tv_sec += nanoseconds / 1000000000;
        until.tv_nsec = nanoseconds % 1000000000;
        (void)pthread_cond_timedwait(&dog.wake, &dog.mutex, &until);
        double now = rt_clock_seconds();
        uint64_t beat = atomic_load(&beats);
        uint64_t beat_all = atomic_load(&all_beats);
        /* A process that was itself stopped for a while (a batch system's suspend) counts
         * anew; so does one whose work has not begun. */
        bool is_anew = now - last > pause + GRACE_SECONDS || !atomic_load(&is_armed);
        last = now;
        if (beat != seen || is_anew)
            seen = beat, since = now;
        if (beat_all != seen_all || is_anew)
            seen_all = beat_all, since_all = now;
        if (dog.is_stopping)
            break;
        if (grace_is_over(now, &asked_at))
            end_stopped_job();
        double patience = dog.stall_seconds + turn_seconds();
        if (now - since > patience && stall_matters())
            end_job("no progress, of its own or of a rank it waits for,");
        if (now - since_all > patience + GRACE_SECONDS && stall_matters())
            end_job("a rank has not answered");
    }
    (void)pthread_mutex_unlock(&dog.mutex);
    return NULL;
}

void rt_watchdog_set_grace(const char *job, double grace_seconds)
{
    dog.job = job;
    dog.grace_seconds = grace_seconds;
}

enum rt_status rt_watchdog_start(const struct rt_world *world, double stall_seconds,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (dog.is_running || !(stall_seconds > 0))
        goto done;
    dog.world = world;
    dog.stall_seconds = stall_seconds;
    dog.is_stopping = false;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&dog.wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    RT_TRY(rt_thread_start(&dog.thread, watch, NULL, err));
    dog.is_running = true;
done:
    return st;
}

void rt_watchdog_stop(void)
{
    if (!dog.is_running)
        return;
    (void)pthread_mutex_lock(&dog.mutex);
    dog.is_stopping = true;
    (void)pthread_cond_signal(&dog.wake);
    (void)pthread_mutex_unlock(&dog.mutex);
    (void)pthread_join(dog.thread, NULL);
    (void)pthread_cond_destroy(&dog.wake);
    dog.is_running = false;
}
