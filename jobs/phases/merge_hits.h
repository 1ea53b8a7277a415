/* Hits of all ranks on rank 0. */
#ifndef RT_JOBS_PHASES_MERGE_HITS_H
#define RT_JOBS_PHASES_MERGE_HITS_H

#include "core/error.h"
#include "core/topk.h"

#include <mpi.h>
#include <stddef.h>

/* hits: n_queries x k of this rank, each as rt_topk_end leaves them; afterwards rank 0's are the k
 * least of all ranks by (key, id). A tree of merges: no rank holds more than two sets. Collective
 * over comm. Fails with RT_NOMEM. */
enum rt_status rt_merge_hits(MPI_Comm comm, struct rt_hit *hits, size_t n_queries, uint32_t k,
                             struct rt_error *err) RT_MUST_CHECK;
/* hits: n_queries x k, those of its share (rt_share, multiple of 1) known to each rank; afterwards
 * rank 0 knows all, other ranks' are of no use. Up a tree. Collective over comm. */
void rt_gather_hits(MPI_Comm comm, struct rt_hit *hits, size_t n_queries, uint32_t k);

#endif
