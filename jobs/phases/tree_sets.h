/* What proposals need beside the centroids of every level, once for each node: in shared memory
 * where there is room. */
#ifndef RT_JOBS_PHASES_TREE_SETS_H
#define RT_JOBS_PHASES_TREE_SETS_H

#include "core/assign.h"
#include "core/tree.h"
#include "jobs/job.h"
#include "mpi/shared.h"

struct rt_tree_sets {
    struct rt_centroid_set *sets[RT_MAX_LEVELS];
    struct rt_shared *shares[RT_MAX_LEVELS];
    uint32_t n_levels;
};

/* distance: RT_L2 (l2, cosine, and ip without spherical centroids while rows are assigned) or
 * RT_IP. for_rows: as rt_level_set_new has it. Collective over the job's communicator; tree (lent
 * for the life of the sets) agrees. Fails with RT_NOMEM. */
enum rt_status rt_tree_sets_new(const struct rt_job *job, const struct rt_tree *tree,
                                enum rt_metric distance, bool for_rows, bool pin,
                                struct rt_tree_sets *out, struct rt_error *err) RT_MUST_CHECK;
void rt_tree_sets_free(struct rt_tree_sets *sets); /* collective; all zero is fine */

#endif
