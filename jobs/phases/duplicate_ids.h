/* Ids from a file may repeat; an index may not hold one twice. */
#ifndef RT_JOBS_PHASES_DUPLICATE_IDS_H
#define RT_JOBS_PHASES_DUPLICATE_IDS_H

#include "jobs/phases/phase.h"
#include "jobs/phases/row_source.h"

/* Looks for an id that two rows have. Ids that ascend over all rows need one look; else they are
 * dealt out by hash, in as many passes as keep a rank within its budget, and each rank looks
 * through its part. Collective over the job's communicator. Fails with RT_INPUT, naming the least
 * such id and its first two rows. */
enum rt_status rt_duplicate_ids_check(struct rt_phase_context *context, uint64_t n_rows,
                                      struct rt_row_source *source,
                                      struct rt_error *err) RT_MUST_CHECK;

#endif
