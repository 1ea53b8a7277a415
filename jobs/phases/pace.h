/* A job that shares its disk with others: after every so many bytes it sleeps (--cost-delay, as a
 * database's vacuum delay). */
#ifndef RT_JOBS_PHASES_PACE_H
#define RT_JOBS_PHASES_PACE_H

#include "mpi/watchdog.h"

#include <stdint.h>
#include <time.h>

#define RT_PACE_BYTES (UINT64_C(64) << 20)

struct rt_pace {
    uint64_t delay_ms; /* 0: never */
    uint64_t bytes;    /* since the last sleep */
};

static inline struct rt_pace rt_pace_new(uint64_t delay_ms)
{
    return (struct rt_pace){.delay_ms = delay_ms};
}

static inline void rt_pace_spend(struct rt_pace *pace, uint64_t bytes)
{
    const struct timespec delay = {.tv_sec = (time_t)(pace->delay_ms / 1000),
                                   .tv_nsec = (long)(pace->delay_ms % 1000) * 1000000};
    pace->bytes += bytes;
    for (; pace->delay_ms && pace->bytes >= RT_PACE_BYTES; pace->bytes -= RT_PACE_BYTES) {
        (void)nanosleep(&delay, NULL);
        rt_watchdog_beat();
    }
}

#endif
