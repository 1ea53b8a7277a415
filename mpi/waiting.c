#include "mpi/waiting.h"

#include "core/clock.h"

#include <stdatomic.h>
#include <stdint.h>

static atomic_uint_fast64_t nanoseconds_in_all;
static atomic_int n_waiting; /* threads */

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
