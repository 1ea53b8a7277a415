/* insert --from-row takes the heap that the index was made of, grown: rows keep their numbers,
 * which are their ids, and where the index keeps no vectors it reads all of them there from now on.
 */
#ifndef RT_JOBS_PHASES_GROWN_HEAP_H
#define RT_JOBS_PHASES_GROWN_HEAP_H

#include "core/options.h"
#include "io/index_reader.h"
#include "io/rows.h"

/* Are `rows` the index's own heap? Paths may differ, for a heap may have moved.
 *
 * An index that keeps no vectors compares their number, and the codes of some rows of its own, of
 * whatever heap, with those of `rows`: some hundred. Another compares the manifest's sample of rows
 * before --from-row, 4 MiB at most; where no block of it lies there, only --replace says that rows
 * stand for those that were. Both take any heap once they hold no rows, and one that does not know
 * its heap takes this.
 *
 * Fails with RT_INPUT where they are not and must be, for rows without ids of their own and for an
 * index without vectors; RT_IO, RT_DAMAGED, RT_NOMEM. Local. */
enum rt_status rt_grown_heap_check(const struct rt_index_view *view, struct rt_rows *rows,
                                   const struct rt_options *options, bool *is_own,
                                   struct rt_error *err) RT_MUST_CHECK;
/* Does the manifest name other files, or other numbers of rows in them, as the own heap? */
bool rt_grown_heap_is_new(const struct rt_manifest *manifest, const struct rt_rows_info *info);
/* Rows of the own heap were put in: into the manifest to come, whose counts are still those of
 * before. A heap with fewer rows than are known tells of these alone. Fails as rt_rows_read, and
 * with RT_USAGE. Local. */
enum rt_status rt_grown_heap_record(struct rt_manifest *manifest, struct rt_rows *rows,
                                    struct rt_error *err) RT_MUST_CHECK;

#endif
