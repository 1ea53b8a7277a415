/* What runs before this one have inserted, where a job goes on (G). */
#ifndef RT_JOBS_PHASES_INSERT_BEFORE_H
#define RT_JOBS_PHASES_INSERT_BEFORE_H

#include "jobs/phases/inserter.h"

/* Finds the work that is left: in->durable, in->work. Collective over the job's communicator. */
enum rt_status rt_insert_before_look(struct rt_inserter *in, const struct rt_vectors_shape *shape,
                                     struct rt_error *err) RT_MUST_CHECK;
/* What is done counts as done here, and the recall gate sees its rows; each rank tells of a part.
 * Local. */
enum rt_status rt_insert_before_count(struct rt_inserter *in, struct rt_error *err) RT_MUST_CHECK;
/* Rows of each list over the chunks that compact will read on this rank, which others, or a run
 * before, may have inserted (G1). Local; the tape is whole. */
enum rt_status rt_insert_before_recount(struct rt_inserter *in, struct rt_error *err) RT_MUST_CHECK;

#endif
