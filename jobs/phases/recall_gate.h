/* The recall gate of --min-recall: some rows of the heap serve as queries, their true neighbours
 * are found while rows pass by in insert, and before publishing the index is asked for them. */
#ifndef RT_JOBS_PHASES_RECALL_GATE_H
#define RT_JOBS_PHASES_RECALL_GATE_H

#include "core/element.h"
#include "core/error.h"
#include "core/metric.h"
#include "core/topk.h"
#include "io/rows.h"
#include "jobs/phases/row_source.h"

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#define RT_GATE_QUERIES 100u

struct rt_recall_gate {
    uint32_t n_queries;
    uint32_t k;
    uint32_t dim;
    enum rt_metric metric;
    enum rt_element element;
    float
        *queries; /* n_queries x dim, prepared (unit length under cosine), the same on all ranks */
    struct rt_hit *hits; /* n_queries x k: heaps while rows pass, ascending by (distance, id) after
                            rt_recall_gate_merge */
    struct rt_topk *tops;
};

/* Draws the queries: seeded rows of the heap, bad ones left out. Collective over comm. The caller
 * frees with rt_recall_gate_free. */
enum rt_status rt_recall_gate_new(MPI_Comm comm, const struct rt_rows *rows,
                                  struct rt_row_source *source, enum rt_metric metric,
                                  uint64_t seed, uint32_t k, struct rt_recall_gate **out,
                                  struct rt_error *err) RT_MUST_CHECK;
void rt_recall_gate_free(struct rt_recall_gate *gate); /* NULL is fine */
/* One good row passes by. Local. */
void rt_recall_gate_pass(struct rt_recall_gate *gate, const void *native_row, uint64_t id);
/* The k least of all ranks, on all ranks. Collective over comm. */
enum rt_status rt_recall_gate_merge(MPI_Comm comm, struct rt_recall_gate *gate,
                                    struct rt_error *err) RT_MUST_CHECK;

#endif
