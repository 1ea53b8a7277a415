/* Ids of new rows: an index may not hold one twice. */
#ifndef RT_JOBS_PHASES_NEW_IDS_H
#define RT_JOBS_PHASES_NEW_IDS_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/row_source.h"

#include <stdbool.h>

struct rt_new_ids {
    bool ascend;      /* over all rows: what is written in row order can be searched by halves */
    uint64_t largest; /* 0 where there are no rows */
};

/* Looks for an id that two rows have or, with a view (NULL: a new index), that a live row of the
 * index has already and may not be replaced. Ids that ascend over all rows, all above those of the
 * index, need one look; else they are sorted over the ranks. Collective over the job's
 * communicator. Fails with RT_INPUT, naming the least such id and its row or rows. */
enum rt_status rt_new_ids_check(struct rt_phase_context *context, uint64_t n_rows,
                                struct rt_row_source *source, const struct rt_index_view *view,
                                bool may_replace, struct rt_new_ids *out,
                                struct rt_error *err) RT_MUST_CHECK;

/* Private bytes of a rank while n_rows ids are checked; sorts: they do not ascend above those of
 * the index. budget_bytes as in the context. */
uint64_t rt_new_ids_bytes(uint64_t n_rows, bool sorts, uint64_t budget_bytes, int n_ranks);

#endif
