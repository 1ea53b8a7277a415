/* States of a phase in checkpoint/ (durable.h): NAME-START-RANK is what the board of that leader
 * held, in the run that was the START-th to go on with the phase. */
#ifndef RT_JOBS_PHASES_DURABLE_STATES_H
#define RT_JOBS_PHASES_DURABLE_STATES_H

#include "io/checkpoint.h"
#include "jobs/phases/durable_board.h"

/* What the board holds by now, written under the state's name once the caller commits it. *out as
 * rt_checkpoint_begin has it. Fails with RT_IO, RT_NOMEM. */
enum rt_status rt_durable_state_begin(const char *dir, struct rt_durable_board *board,
                                      unsigned start, int rank, struct rt_checkpoint **out,
                                      uint64_t *n_units, struct rt_error *err) RT_MUST_CHECK;

struct rt_found_state {
    unsigned start;
    int rank;
};
struct rt_found_states {
    const char *name;
    struct rt_found_state *states;
    size_t n, room;
};
/* The states of a phase that are there, whole or not. The caller frees ->states with rt_array_free,
 * after a failure too. Fails with RT_IO, RT_NOMEM. */
enum rt_status rt_durable_states_find(const char *dir, const char *name,
                                      struct rt_found_states *found,
                                      struct rt_error *err) RT_MUST_CHECK;
/* Adds to the board those that count; *any: there are such. *last: the greatest START. */
enum rt_status rt_durable_states_read(const char *dir, const struct rt_found_states *found,
                                      struct rt_durable_board *board, unsigned *last, bool *any,
                                      struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_durable_states_remove(const char *dir, const struct rt_found_states *found,
                                        struct rt_error *err) RT_MUST_CHECK;

#endif
