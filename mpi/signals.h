/* Requests to stop, as flags, and a clear last word where a mapped file is cut under a reader or a
 * damaged one makes a library crash. Install after MPI_Init. */
#ifndef RT_MPI_SIGNALS_H
#define RT_MPI_SIGNALS_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>

/* With takes_stops SIGUSR1, SIGTERM and SIGINT set a flag (a second SIGINT ends the process); a job
 * that never looks at it must end as any program does. SIGBUS from a mapped file that has lost
 * bytes writes one line and ends with 1, any other crashes as always. A crash (SIGBUS, SIGSEGV,
 * SIGFPE, SIGABRT) of a thread with a crash note writes one line that names it and ends with 1. */
void rt_signals_install(bool takes_stops);
/* The job's last word is out: what crashes from here on is a library that cleans up (HDF5 1.10,
 * after a file that a full disk did not let it close), and the process ends with this code where
 * that is not 0. Nor does a broken pipe end it (a single process and Open MPI's daemon part in
 * whichever order). */
void rt_signals_told(int exit_code);
/* The signal that asked this process to stop, -1 for rt_signals_ask_stop, 0 for none. */
int rt_signals_stop_asked(void);
/* Asks as a signal would: at once, or from this second of the monotonic clock on (--time-limit; 0:
 * never). */
void rt_signals_ask_stop(void);
void rt_signals_stop_at(double seconds);
/* "by SIGUSR1", "at the time limit", or "on request" where another rank was asked. */
const char *rt_signals_stop_reason(void);
/* A local step for RT_LOCAL: RT_STOPPED with a message when a stop was asked for, else RT_OK. Call
 * it only where what was done is saved. */
enum rt_status rt_signals_check(struct rt_error *err) RT_MUST_CHECK;
/* Forgets requests (tests). */
void rt_signals_clear(void);

/* Names a mapped range in SIGBUS's last line; name (a path or what it is) is lent until
 * rt_signals_unguard. At most 256 ranges are known by name, more are fine. */
void rt_signals_guard(const void *begin, size_t n_bytes, const char *name);
void rt_signals_unguard(const void *begin);

#endif
