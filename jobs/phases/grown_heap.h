/* insert --from-row into an index that keeps no vectors: from now on it reads all rows from the
 * files given, so they must be the heap that it was made of, grown. */
#ifndef RT_JOBS_PHASES_GROWN_HEAP_H
#define RT_JOBS_PHASES_GROWN_HEAP_H

#include "io/index_reader.h"
#include "io/rows.h"

/* Do `rows` hold what the index has read so far? Their number tells, and the codes of some rows of
 * the index, computed again from them; paths may differ, for a heap may have moved. `name` is what
 * the call names them. Local, some hundred rows at most. Fails with RT_INPUT where they do not,
 * RT_IO, RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_grown_heap_check(const struct rt_index_view *view, struct rt_rows *rows,
                                   const char *name, struct rt_error *err) RT_MUST_CHECK;

#endif
