/* Exact nearest rows of a batch of queries, found by all ranks together: each rank shows the rows
 * it has, in any order, then the ranks' answers are merged. E decides, ties by id (A5), so the
 * answer is the same on any number of ranks. */
#ifndef RT_JOBS_EXACT_H
#define RT_JOBS_EXACT_H

#include "core/error.h"
#include "core/metric.h"
#include "core/topk.h"

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

struct rt_exact;
/* queries: n_queries x dim, as rt_metric_prepare_row leaves them, lent for the life of *out and the
 * same on all ranks. The caller frees *out with rt_exact_free. Fails with RT_NOMEM. */
enum rt_status rt_exact_new(enum rt_metric metric, const float *queries, size_t n_queries,
                            uint32_t dim, uint32_t k, struct rt_exact **out,
                            struct rt_error *err) RT_MUST_CHECK;
void rt_exact_free(struct rt_exact *exact); /* NULL is fine */
/* Private bytes of one with these counts. */
size_t rt_exact_bytes(size_t n_queries, uint32_t dim, uint32_t k);

/* Shows it n_rows prepared rows (n_rows x dim) with their ids (NULL: first_id, first_id + 1..).
 * Local. */
void rt_exact_add(struct rt_exact *exact, const float *rows, size_t n_rows, const uint64_t *ids,
                  uint64_t first_id);
/* Merges the answers of all ranks into rank 0's: a tree of messages. Collective over comm; nothing
 * may be added after. Returns n_queries x k hits ascending by (distance, id), missing ones RT_NO_ID
 * with infinity; lent. On other ranks than 0 the content is unspecified. Fails with RT_NOMEM. */
enum rt_status rt_exact_merge(MPI_Comm comm, struct rt_exact *exact, const struct rt_hit **hits,
                              struct rt_error *err) RT_MUST_CHECK;

#endif
