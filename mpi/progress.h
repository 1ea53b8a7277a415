/* Counters, failures and requests to stop, reduced without blocking while ranks work: no rank waits
 * for another. One communicator of its own; rounds of MPI_Iallreduce that ranks join at their
 * ticks.
 *
 *     rt_progress_begin(p, "insert", "rows", n_rows);
 *     while (st == RT_OK && work is left) {
 *         RT_LOCAL(step(..., err));
 *         rt_progress_add(p, RT_COUNT_DONE, n);
 *         if (!rt_progress_tick(p))
 *             break;                                 // another rank failed, or a stop was asked
 * for
 *     }
 *     RT_TRY(rt_progress_end(p, st, err));           // collective: all ranks get one verdict
 *     if (rt_progress_is_stopped(p)) ...             // the same on all ranks: save, then
 * RT_STOPPED
 *
 * In a phase with collective calls of its own the result of tick is ignored there (ranks see it at
 * different times) and failures travel by RT_AGREE; rt_progress_end still ends the phase. */
#ifndef RT_MPI_PROGRESS_H
#define RT_MPI_PROGRESS_H

#include "core/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

enum rt_counter {
    RT_COUNT_DONE = 0, /* units of the phase: rows, cells, records, files */
    RT_COUNT_BYTES_READ,
    RT_COUNT_BYTES_WRITTEN,
    RT_COUNT_BYTES_SENT, /* kept by progress itself: rt_traffic_bytes since the phase began */
    RT_COUNT_SKIPPED,
    RT_COUNT_OTHER, /* as the phase likes */
    RT_N_COUNTERS
};

struct rt_progress_state { /* what the view gets; counters are sums over all ranks */
    const char *phase;
    const char *unit;
    uint64_t total; /* units to be done by all ranks; 0: unknown */
    uint64_t counters[RT_N_COUNTERS];
    uint64_t resumed; /* units done before this start, part of counters[RT_COUNT_DONE]; left out of
                         rates */
    double seconds;   /* since rt_progress_begin on rank 0 */
    const char *note; /* "cells 63/63, refinement 6/8", or "" */
    int n_ranks;
    int behind_rank;       /* the one that has done least in this phase, */
    uint64_t behind_done;  /* and how much that is */
    uint64_t memory_bytes; /* private bytes of the rank that holds most */
    bool is_last;          /* the phase has ended */
    bool is_failed;        /* a rank has failed */
    bool is_stopping;      /* a stop was asked for */
};
/* Shows it; called on rank 0 only, from inside tick and end. */
typedef void (*rt_progress_show)(void *context, const struct rt_progress_state *state);

struct rt_progress;
/* Collective over comm, which is duplicated. show (may be NULL) is used on rank 0. */
enum rt_status rt_progress_new(MPI_Comm comm, rt_progress_show show, void *context,
                               struct rt_progress **out, struct rt_error *err) RT_MUST_CHECK;
/* Collective. Ends a phase that an agreed failure left open. NULL on all ranks is fine. */
void rt_progress_free(struct rt_progress *progress);

/* Local, but every rank begins and ends the same phases in the same order. phase and unit are
 * literals; total is the same number on all ranks, over all ranks. */
void rt_progress_begin(struct rt_progress *progress, const char *phase, const char *unit,
                       uint64_t total);
/* Adds to this rank's counter (not RT_COUNT_BYTES_SENT). Any thread. */
void rt_progress_add(struct rt_progress *progress, enum rt_counter counter, uint64_t amount);
/* Says that of this rank's done units `amount` (added by rt_progress_add as well) were done before
 * a resume. */
void rt_progress_add_resumed(struct rt_progress *progress, uint64_t amount);
/* Changes the total, or the note (rank 0's is shown; copied, cut at 120 bytes). */
void rt_progress_set_total(struct rt_progress *progress, uint64_t total);
void rt_progress_set_note(struct rt_progress *progress, const char *format, ...) RT_PRINTF(2, 3);

/* Takes part, at little cost: a clock is read, and MPI called at most every millisecond. From the
 * thread that calls MPI, at least every 100 ms of work. Returns false when another rank has failed
 * or a stop was asked for: leave the loop, save what is yours, call rt_progress_end. Outside a
 * phase it does nothing and returns true. Beats the watchdog. Ranks that wait in an agreement take
 * part by themselves. */
bool rt_progress_tick(struct rt_progress *progress);
/* Waits until all ranks have come here, taking part meanwhile, in the middle of a phase: where work
 * without collective calls ends and one begins. Collective. A rank that has failed says so, and
 * others learn of it at their next tick. Outside a phase it does nothing. */
void rt_progress_meet(struct rt_progress *progress, bool has_failed);
/* Ends the phase. Collective, however often each rank ticked: takes part until all ranks have come
 * here, shows the final sums, then agrees (as RT_AGREE, over the progress's own communicator) on
 * st. A rank that left because tick returned false passes its own st, RT_OK. */
enum rt_status rt_progress_end(struct rt_progress *progress, enum rt_status st,
                               struct rt_error *err) RT_MUST_CHECK;
/* After rt_progress_end, the same on all ranks: somebody asked for a stop (signal, or
 * rt_signals_ask_stop) in this phase or before. */
bool rt_progress_is_stopped(const struct rt_progress *progress);
/* Sum over all ranks of the phase that ended last (exact, on every rank). */
uint64_t rt_progress_total_of(const struct rt_progress *progress, enum rt_counter counter);
/* Of RT_COUNT_DONE: what was done before a resume. */
uint64_t rt_progress_total_resumed(const struct rt_progress *progress);
/* This rank's own counter in the present or last phase. */
uint64_t rt_progress_mine(const struct rt_progress *progress, enum rt_counter counter);

#endif
