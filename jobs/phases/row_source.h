/* Where a phase gets rows and ids from: this rank's own reader or, with --scatter, rank 0, whose
 * host alone sees the heap. Rank 0 then answers the others from a thread of its own, so that every
 * phase reads in the same way and at its own pace; at most one piece (8 MiB) a rank is under way.
 */
#ifndef RT_JOBS_PHASES_ROW_SOURCE_H
#define RT_JOBS_PHASES_ROW_SOURCE_H

#include "core/error.h"
#include "io/rows.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_row_source;

struct rt_row_source_options {
    const char *ids;    /* file of ids, one for each row of the heap; "": numbers */
    bool scatter;       /* only rank 0 opens and reads anything */
    uint64_t first_row; /* rows of the heap before it are left out: row 0 here is this one */
    uint64_t first_id;  /* id of row 0 here where no file gives ids */
};
/* Collective over comm; options agree. rows is lent. Fails with RT_NOMEM, RT_INPUT (ids), RT_IO,
 * RT_USAGE (scatter without a thread-safe MPI), on all ranks. */
enum rt_status rt_row_source_new(MPI_Comm comm, struct rt_rows *rows,
                                 const struct rt_row_source_options *options,
                                 struct rt_row_source **out, struct rt_error *err) RT_MUST_CHECK;
/* Rows there are here, and the row of the heap that a row here is. */
uint64_t rt_row_source_n_rows(const struct rt_row_source *source);
uint64_t rt_row_source_heap_row(const struct rt_row_source *source, uint64_t row);
/* Collective: rank 0 serves until all have come here. NULL on all ranks is fine. */
void rt_row_source_free(struct rt_row_source *source);

/* Local. Rows [begin, begin + n_rows) in their own element type; errors as rt_rows_read. */
enum rt_status rt_row_source_read(struct rt_row_source *source, uint64_t begin, size_t n_rows,
                                  void *rows, struct rt_error *err) RT_MUST_CHECK;
/* Local. Ids of the rows; errors as rt_ids_read. */
enum rt_status rt_row_source_read_ids(struct rt_row_source *source, uint64_t begin, size_t n_rows,
                                      uint64_t *ids, struct rt_error *err) RT_MUST_CHECK;
/* Ids come from a file: they may repeat. */
bool rt_row_source_has_ids(const struct rt_row_source *source);

#endif
