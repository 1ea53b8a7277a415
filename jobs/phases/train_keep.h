/* Where training stands as a state in checkpoint/: what all ranks have alike from rank 0, and the
 * lists of the sample's rows from every rank, by the rows' numbers (G1). */
#ifndef RT_JOBS_PHASES_TRAIN_KEEP_H
#define RT_JOBS_PHASES_TRAIN_KEEP_H

#include "jobs/phases/phase.h"
#include "kmeans/keep.h"

struct rt_train_keep {
    const struct rt_phase_context *context;
    double last, cost;           /* seconds: when a state was kept last, and what that took */
    uint32_t sequence;           /* of the last state */
    double last_part, part_cost; /* the same of this rank's parts */
    uint32_t start, n_parts;     /* number of this run, and of the last part; they name a part */
};
/* The callbacks over *keep, which is filled in and must live as long. */
struct rt_keep rt_train_keep_over(const struct rt_phase_context *context,
                                  struct rt_train_keep *keep);

#endif
