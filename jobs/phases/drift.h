/* Does the tree still suit the rows? How far rows lie from their centroids now, and at build; how
 * unequal lists have become; what to do about it. */
#ifndef RT_JOBS_PHASES_DRIFT_H
#define RT_JOBS_PHASES_DRIFT_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"

#include <jansson.h>

struct rt_drift {         /* the same on all ranks */
    double mean_now;      /* distance of a row to its centroid (B1), over sampled live rows */
    double mean_at_build; /* over all rows then */
    double imbalance;     /* lists x sum of squared sizes / squared sum: 1 where all are equal */
    uint64_t n_large;     /* lists of more than twice the rows that 99 % of lists had at build */
    uint64_t n_lists;
    uint64_t n_sampled;
};

/* Collective over the job's communicator. sizes: rows of every list, in files of any kind; the same
 * on all ranks. Rows whose vectors stay in the heap are not measured:
 * mean_now is mean_at_build then. Fails with RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_drift_measure(struct rt_phase_context *context, const struct rt_index_view *view,
                                const uint64_t *sizes, struct rt_drift *out,
                                struct rt_error *err) RT_MUST_CHECK;
/* "fine", "split" or "rebuild"; the same as a sentence. */
const char *rt_drift_word(const struct rt_drift *drift);
const char *rt_drift_advice(const struct rt_drift *drift);
json_t *rt_drift_json(const struct rt_drift *drift);

#endif
