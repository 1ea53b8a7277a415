/* Vectors files written anew without their dead rows, several into one: places stay what they were,
 * a bitmap says which slots are still there (E5). */
#ifndef RT_JOBS_PHASES_VECTORS_PHASE_H
#define RT_JOBS_PHASES_VECTORS_PHASE_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"

#include <stdbool.h>

struct rt_vectors_output {
    struct rt_h5_layout layout; /* of vectors-G.h5.partial */
    uint64_t n_rows;            /* in it; 0: there is no such file, all were dead */
    struct rt_phase_record record;
};

/* is_chosen: for each vectors file of the view, the same on all ranks. Collective over the job's
 * communicator. Makes vectors-G.h5.partial, synced and closed. Fails with RT_DAMAGED, RT_IO,
 * RT_NOMEM. */
enum rt_status rt_vectors_phase(struct rt_phase_context *context, const struct rt_index_view *view,
                                const bool *is_chosen, struct rt_vectors_output *out,
                                struct rt_error *err) RT_MUST_CHECK;

#endif
