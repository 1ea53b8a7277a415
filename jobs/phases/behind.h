/* Work that goes on behind the caller's back: one piece at a time, on a thread of its own, so that
 * a block is written while the next one is computed. The thread calls no MPI. */
#ifndef RT_JOBS_PHASES_BEHIND_H
#define RT_JOBS_PHASES_BEHIND_H

#include "core/error.h"

struct rt_behind;
typedef enum rt_status (*rt_behind_work)(void *context, struct rt_error *err);

/* Starts the thread. The caller frees *out. Fails with RT_NOMEM. */
enum rt_status rt_behind_new(struct rt_behind **out, struct rt_error *err) RT_MUST_CHECK;
/* Waits for what is under way and ends the thread; what that failed with is lost. NULL is fine. */
void rt_behind_free(struct rt_behind *behind);

/* Gives the thread its next piece; nothing is under way (rt_behind_wait). context is lent until
 * then. */
void rt_behind_start(struct rt_behind *behind, rt_behind_work work, void *context);
/* Until nothing is under way: what that piece returned, once; RT_OK where there was none. NULL is
 * fine. The time counts as the caller's in files (io/file_clock.h). */
enum rt_status rt_behind_wait(struct rt_behind *behind, struct rt_error *err) RT_MUST_CHECK;

#endif
