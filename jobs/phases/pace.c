#include "jobs/phases/pace.h"

#include "core/clock.h"

#include <time.h>

#define NAP_SECONDS 0.1

static enum rt_status sleep_for(struct rt_phase_context *context, double seconds,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double end = rt_clock_seconds() + seconds;
    while (rt_clock_seconds() < end) {
        double left = end - rt_clock_seconds();
        double nap = left < NAP_SECONDS ? left : NAP_SECONDS;
        const struct timespec time = {.tv_nsec = nap > 0 ? (long)(nap * 1e9) : 0};
        (void)nanosleep(&time, NULL);
        RT_TRY(rt_phase_check(context, err));
    }
done:
    return st;
}

enum rt_status rt_pace_spend(struct rt_phase_context *context, uint64_t bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double delay = (double)context->job->options->cost_delay / 1000;
    context->unpaced_bytes += bytes;
    for (; delay > 0 && context->unpaced_bytes >= RT_PACE_BYTES;
         context->unpaced_bytes -= RT_PACE_BYTES)
        RT_TRY(sleep_for(context, delay, err));
    RT_TRY(rt_phase_check(context, err));
done:
    return st;
}
