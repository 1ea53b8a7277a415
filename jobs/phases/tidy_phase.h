/* What is left after all worthwhile lists have been folded: appendable records of the other lists,
 * brought together in one file, and the tombstones that some vectors file still needs. */
#ifndef RT_JOBS_PHASES_TIDY_PHASE_H
#define RT_JOBS_PHASES_TIDY_PHASE_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"

#include <stdbool.h>

struct rt_tidy_output {
    struct rt_h5_layout layout; /* of the new file, .partial */
    uint64_t n;                 /* records, or tombstones; 0: there is no such file */
    struct rt_phase_record record;
};

/* Live records of lists that are not in is_folded, by (list, age), into appendable-G. Collective
 * over the job's communicator. Fails with RT_DAMAGED, RT_IO, RT_NOMEM. */
enum rt_status rt_tidy_records(struct rt_phase_context *context, const struct rt_index_view *view,
                               const bool *is_folded, struct rt_tidy_output *out,
                               struct rt_error *err) RT_MUST_CHECK;
/* Tombstones whose id some vectors file holds that is older than they and not in is_rewritten (by
 * file of the view), into tombstones-G, unless they are all that one file holds: then n says so and
 * nothing is written. No list and no record needs one any more. Likewise. */
enum rt_status rt_tidy_tombstones(struct rt_phase_context *context,
                                  const struct rt_index_view *view, const bool *is_rewritten,
                                  struct rt_tidy_output *out, struct rt_error *err) RT_MUST_CHECK;

/* Private bytes of a rank that tidies so many records, or tombstones, over all ranks, of which
 * n_stay are written. budget_bytes as in the context. */
uint64_t rt_tidy_records_bytes(uint64_t n_records, uint64_t n_stay, uint32_t dim,
                               enum rt_metric metric, uint64_t budget_bytes, int n_ranks);
uint64_t rt_tidy_tombstones_bytes(uint64_t n, uint64_t n_stay, uint64_t budget_bytes, int n_ranks);

#endif
