/* An index opened by all ranks of a job that only reads it. */
#ifndef RT_JOBS_PHASES_INDEX_VIEW_H
#define RT_JOBS_PHASES_INDEX_VIEW_H

#include "io/index_reader.h"
#include "jobs/job.h"

/* rt_index_open on every rank, so that all see one generation: where one is published meanwhile
 * they open again. Collective over the job's communicator. Fails as rt_index_open does; with RT_IO
 * where publishing does not stop. The caller closes *out with rt_index_close. */
enum rt_status rt_index_view_open(const struct rt_job *job, const char *dir,
                                  enum rt_index_check check, struct rt_index_view **out,
                                  struct rt_error *err) RT_MUST_CHECK;

#endif
