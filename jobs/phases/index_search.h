/* Search of an opened index by all ranks (algorithms.md I): a batch is shared by queries; where it
 * has few for a rank, the blocks of the probed lists are, in two rounds and merges. Answers do not
 * depend on batch, threads or ranks. */
#ifndef RT_JOBS_PHASES_INDEX_SEARCH_H
#define RT_JOBS_PHASES_INDEX_SEARCH_H

#include "core/scan.h"
#include "io/heap_vectors.h"
#include "io/index_scan.h"
#include "jobs/job.h"
#include "jobs/phases/id_filter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_index_search_options {
    uint32_t k;
    float epsilon;
    bool exact;                     /* all bounds minus infinity */
    uint32_t probes[RT_MAX_LEVELS]; /* kept at each level, coarse to leaf: rt_index_probes */
    uint32_t threads;
    uint32_t batch;     /* queries at once, at most */
    uint64_t n_queries; /* that will be searched for, about */
    bool pin;
    struct rt_id_filter *filter;  /* ids that may be found; NULL: all. Lent */
    struct rt_heap_vectors *heap; /* where vectors stay in the heap; lent */
};

struct rt_index_search;
/* Collective over the job's communicator; view is lent and the same index on all ranks. */
enum rt_status rt_index_search_new(const struct rt_job *job, const struct rt_index_view *view,
                                   const struct rt_index_search_options *options,
                                   struct rt_index_search **out,
                                   struct rt_error *err) RT_MUST_CHECK;
void rt_index_search_free(
    struct rt_index_search *search); /* collective; NULL on all ranks is fine */

/* n_queries <= batch prepared queries (rt_metric_prepare_row), the same on all ranks. hits:
 * n_queries x k, on rank 0, by (distance, id), distances as E gives them; may be NULL elsewhere.
 * counts: n_queries, sums over ranks; may be NULL on all ranks. Collective. */
enum rt_status rt_index_search_run(struct rt_index_search *search, const float *queries,
                                   size_t n_queries, struct rt_hit *hits,
                                   struct rt_scan_count *counts,
                                   struct rt_error *err) RT_MUST_CHECK;

/* Share of truth found: hits of n_queries x k against the first k of each truth row (width truth_k
 * >= k, RT_NO_ID where there is none), by id. */
double rt_index_recall(const struct rt_hit *hits, size_t n_queries, uint32_t k,
                       const uint64_t *truth, uint32_t truth_k);

#endif
