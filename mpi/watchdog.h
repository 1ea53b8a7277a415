/* A thread that ends the job when this rank, or a rank it waits for, makes no progress for too
 * long: a hung file system or a stopped process must not hold a cluster until its time limit. A
 * rank that waits for others (mpi/waiting.h) leaves the one that hangs the first word. */
#ifndef RT_MPI_WATCHDOG_H
#define RT_MPI_WATCHDOG_H

#include "core/error.h"
#include "mpi/world.h"

#include <stdbool.h>

/* Starts the thread. stall_seconds 0: none. While armed, after stall_seconds without a beat it
 * writes one line with rank and host to stderr and ends the job with exit code 1. world must
 * outlive it. Fails with RT_NOMEM. A second start changes nothing. */
enum rt_status rt_watchdog_start(const struct rt_world *world, double stall_seconds,
                                 struct rt_error *err) RT_MUST_CHECK;
/* Before rt_watchdog_start: once a stop is asked for, the job has this long to end by itself; then
 * the thread ends it with exit code 75 and one line, since what is kept for --resume is on disk
 * already (G4). 0: no limit. job: its name, a literal. */
void rt_watchdog_set_grace(const char *job, double grace_seconds);
void rt_watchdog_stop(void); /* fine where none was started */

/* Progress arms it with its first phase and disarms it when it is freed, so that a job without
 * progress is never ended. */
void rt_watchdog_arm(bool armed);

/* This rank did something. Any thread; costs one atomic store. Ticks, agreements and pieces of an
 * exchange beat by themselves. */
void rt_watchdog_beat(void);
/* All ranks have answered (a round of progress, an agreement): proves that nobody hangs. */
void rt_watchdog_beat_all(void);
/* What the rank is doing, for the line: a literal ("insert"), or NULL. */
void rt_watchdog_set_phase(const char *phase);

#endif
