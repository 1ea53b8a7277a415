/* A row of an index as FAISS keeps it: its code in a list, by --faiss, and its vector for refine.
 * Codes of 1 bit come from the index's own records, others from the vectors. One thread. */
#ifndef RT_JOBS_PHASES_FAISS_ROWS_H
#define RT_JOBS_PHASES_FAISS_ROWS_H

#include "core/options.h"
#include "io/heap_vectors.h"
#include "io/index_rows.h"
#include "jobs/phases/live_rows.h"

struct rt_faiss_rows;
/* heap: where vectors stay in the row files, else NULL. view and heap are lent. */
enum rt_status rt_faiss_rows_new(const struct rt_index_view *view, struct rt_heap_vectors *heap,
                                 enum rt_faiss_kind kind, bool refine, struct rt_faiss_rows **out,
                                 struct rt_error *err) RT_MUST_CHECK;
void rt_faiss_rows_free(struct rt_faiss_rows *rows); /* NULL is fine */
/* Whether vectors are read at all. */
bool rt_faiss_rows_needs_vectors(const struct rt_index_view *view, enum rt_faiss_kind kind,
                                 bool refine);

/* code: bytes of a row as it lies in a list; of rabitq kinds the bits, and two factors behind them.
 * vector: dim floats as a search measures them, or NULL. Fails with RT_INPUT (an id or a value that
 * FAISS cannot hold), RT_DAMAGED, RT_IO. */
enum rt_status rt_faiss_rows_take(struct rt_faiss_rows *rows, const struct rt_live_row *row,
                                  uint8_t *code, float *vector, struct rt_error *err) RT_MUST_CHECK;

#endif
