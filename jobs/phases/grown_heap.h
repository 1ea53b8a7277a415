/* insert --from-row takes the heap that the index was made of, grown: rows keep their numbers,
 * which are their ids, and where the index keeps no vectors it reads all of them there from now on.
 */
#ifndef RT_JOBS_PHASES_GROWN_HEAP_H
#define RT_JOBS_PHASES_GROWN_HEAP_H

#include "io/index_reader.h"
#include "io/rows.h"

/* Do `rows` hold what the index has read so far? Paths may differ, for a heap may have moved.
 * `name` is what the call names them. Fail with RT_INPUT where they do not, RT_IO, RT_NOMEM. Local.
 *
 * By the manifest's sample of the heap, of rows before `end`: 4 MiB at most. *is_own: they are;
 * else there are too few for a word. */
enum rt_status rt_grown_heap_check_sample(const struct rt_manifest *manifest, struct rt_rows *rows,
                                          uint64_t end, const char *name, bool *is_own,
                                          struct rt_error *err) RT_MUST_CHECK;
/* By their number, and by the codes of some rows of the index, of whatever heap, computed again
 * from them: some hundred rows. Fails with RT_DAMAGED, too. */
enum rt_status rt_grown_heap_check_codes(const struct rt_index_view *view, struct rt_rows *rows,
                                         const char *name, struct rt_error *err) RT_MUST_CHECK;

#endif
