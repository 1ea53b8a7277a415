/* The clock that durations are taken from. */
#ifndef RT_CORE_CLOCK_H
#define RT_CORE_CLOCK_H

/* Seconds of a monotonic clock, from a point that only differences tell of. */
double rt_clock_seconds(void);

#endif
