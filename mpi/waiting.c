#include "mpi/waiting.h"

#include "core/clock.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static atomic_uint_fast64_t nanoseconds_in_all;
static atomic_int n_waiting; /* threads */
static struct {
    void (*call)(void *context, bool has_failed);
    void *context;
} part;

/* Who waits for longer must not take a core from one that works; and what that adds must be little
 * of what was waited, for others may wait for what passes through this rank. */
#define AWAKE_SECONDS 5e-4
#define NAP_SHARE (1.0 / 32)
#define MOST_NAP_SECONDS 1e-3

double rt_waiting_begin(void)
{
    atomic_fetch_add_explicit(&n_waiting, 1, memory_order_relaxed);
    return rt_clock_seconds();
}

void rt_waiting_end(double began)
{
    double seconds = rt_clock_seconds() - began;
    atomic_fetch_sub_explicit(&n_waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&nanoseconds_in_all, (uint_fast64_t)(seconds * 1e9),
                              memory_order_relaxed);
}

double rt_waiting_seconds(void)
{
    return 1e-9 * (double)atomic_load_explicit(&nanoseconds_in_all, memory_order_relaxed);
}

bool rt_waiting_now(void)
{
    return atomic_load_explicit(&n_waiting, memory_order_relaxed) > 0;
}

void rt_waiting_take_part(void (*take_part)(void *context, bool has_failed), void *context)
{
    part.call = take_part;
    part.context = context;
}

static void nap_after(double waited)
{
    if (waited < AWAKE_SECONDS)
        return;
    double nap = waited * NAP_SHARE < MOST_NAP_SECONDS ? waited * NAP_SHARE : MOST_NAP_SECONDS;
    const struct timespec time = {.tv_nsec = (long)(nap * 1e9)};
    (void)nanosleep(&time, NULL);
}

void rt_wait(MPI_Request *request, bool has_failed)
{
    double began = rt_waiting_begin();
    int is_complete = 0;
    MPI_Test(request, &is_complete, MPI_STATUS_IGNORE);
    while (!is_complete) {
        if (part.call)
            part.call(part.context, has_failed);
        nap_after(rt_clock_seconds() - began);
        MPI_Test(request, &is_complete, MPI_STATUS_IGNORE);
    }
    rt_waiting_end(began);
}
