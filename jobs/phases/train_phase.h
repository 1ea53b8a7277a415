/* Train: a seeded sample of the rows becomes the levels of centroids (or --centroids gives them),
 * once for each node in shared memory, with what proposals need beside them; and the tree file. */
#ifndef RT_JOBS_PHASES_TRAIN_PHASE_H
#define RT_JOBS_PHASES_TRAIN_PHASE_H

#include "core/assign.h"
#include "core/checksum.h"
#include "core/rotation.h"
#include "core/tree.h"
#include "io/hdf5.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/row_source.h"
#include "jobs/phases/tree_sets.h"
#include "jobs/plan_model.h"
#include "kmeans/train.h"

#define RT_TREE_SHARES (3 * RT_MAX_LEVELS)

struct rt_train_input {
    const struct rt_plan *plan;
    struct rt_rows *rows; /* for names in messages */
    struct rt_row_source *source;
};

struct rt_train_output {
    struct rt_rotation *rotation;
    struct rt_trained trained; /* its tree is the index's */
    struct rt_tree_sets sets;
    struct rt_shared *shares[RT_TREE_SHARES]; /* the memory below the tree */
    uint32_t n_shares;
    enum rt_shared_kind shared_kind; /* of the last share */
    int exponent;                    /* sample values are below 2^exponent (C1) */
    uint64_t n_sampled, n_bad,
        n_far; /* sample rows; left out as bad; left out as too large to vote (C2) */
    struct rt_hash128 fingerprint, tree_hash;
    struct rt_h5_layout layout; /* of tree-G.h5.partial */
    struct rt_phase_record record;
};

/* Collective over the job's communicator. Completes the options beam and refinements. Fails with
 * RT_INPUT (bad rows, centroids that do not suit), RT_IO, RT_NOMEM. The caller frees *out with
 * rt_train_output_free, also after a failure. */
enum rt_status rt_train_phase(struct rt_phase_context *context, const struct rt_train_input *input,
                              struct rt_train_output *out, struct rt_error *err) RT_MUST_CHECK;
void rt_train_output_free(struct rt_train_output *output); /* collective */

#endif
