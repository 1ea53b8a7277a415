/* Finished training as a state in checkpoint/ (G1): what insert needs to know beside the tree file,
 * so that a run that goes on does not train again. */
#ifndef RT_JOBS_PHASES_TRAINED_STATE_H
#define RT_JOBS_PHASES_TRAINED_STATE_H

#include "jobs/phases/train_phase.h"

/* Rank 0, once the tree file is synced. Fails with RT_IO, RT_NOMEM. */
enum rt_status rt_trained_state_write(const struct rt_phase_context *context,
                                      const struct rt_train_output *output,
                                      struct rt_error *err) RT_MUST_CHECK;
/* Collective over the job's communicator. *found: there is one; then output has all but rotation,
 * sets, tree and shares, and *fingerprint is the tree's. */
enum rt_status rt_trained_state_read(const struct rt_phase_context *context, bool *found,
                                     struct rt_train_output *output, struct rt_hash128 *fingerprint,
                                     struct rt_error *err) RT_MUST_CHECK;
/* After such a state was read: where st is RT_DAMAGED the tree is not the one that it tells of, and
 * rank 0 removes it, so that the next run trains again. Other failures change nothing. Local. */
void rt_trained_state_distrust(const struct rt_phase_context *context, enum rt_status st);

#endif
