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

/* Which files to write anew: those with any dead rows under `full`, else with a part of more than
 * dead_fraction; and small ones, so that nightly inserts leave a logarithm of files (H3).
 * n_dead_slots and is_chosen (all false at first): by vectors file of the view. Local. */
enum rt_status rt_vectors_choose(const struct rt_index_view *view, const uint64_t *n_dead_slots,
                                 bool full, double dead_fraction, bool *is_chosen,
                                 struct rt_error *err) RT_MUST_CHECK;
/* Private bytes of a rank that writes a file of this shape (n_slots, dim, element, has_vectors and
 * ids_ascend count) from an index of so many segments. budget_bytes as in the context. */
uint64_t rt_vectors_phase_bytes(const struct rt_vectors_shape *shape, size_t n_segments,
                                uint64_t budget_bytes, int n_ranks);

#endif
