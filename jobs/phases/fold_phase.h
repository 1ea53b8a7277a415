/* Fold: chosen lists are written anew, their dead rows left out and their appendable records taken
 * in, into frozen-G with a directory of all lists (H1). Every rank writes an equal range of the
 * blocks and reads what belongs there; records need no exchange, since all ranks see all files. */
#ifndef RT_JOBS_PHASES_FOLD_PHASE_H
#define RT_JOBS_PHASES_FOLD_PHASE_H

#include "core/metric.h"
#include "io/list_file.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/vacuum_survey.h"

struct rt_fold_output {
    struct rt_h5_layout layout; /* of frozen-G.h5.partial */
    uint64_t *rows;             /* of every list from now on; the caller frees it */
    uint64_t *files;            /* generation of every list's file; likewise */
    uint64_t n_rows_removed;    /* dead ones left out */
    uint64_t n_rows_written;
    struct rt_phase_record record;
};

/* Collective over the job's communicator. Makes frozen-G.h5.partial, synced and closed. Fails with
 * RT_DAMAGED (what it reads does not match its checksums), RT_IO, RT_NOMEM. */
enum rt_status rt_fold_phase(struct rt_phase_context *context, const struct rt_index_view *view,
                             const struct rt_survey *survey, struct rt_fold_output *out,
                             struct rt_error *err) RT_MUST_CHECK;
/* Private bytes of a rank in this phase, beside the survey: in all, and of its output, which stays.
 * n_blocks: to be written, by all ranks. */
uint64_t rt_fold_phase_bytes(uint32_t dim, enum rt_metric metric, uint32_t n_lists,
                             uint64_t n_blocks, int n_ranks);
uint64_t rt_fold_output_bytes(uint32_t n_lists);
void rt_fold_output_free(struct rt_fold_output *output);

#endif
