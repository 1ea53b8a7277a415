/* Ids that a search may find (--filter): a sorted list, once for each node. */
#ifndef RT_JOBS_PHASES_ID_FILTER_H
#define RT_JOBS_PHASES_ID_FILTER_H

#include "jobs/job.h"

#include <stdbool.h>
#include <stdint.h>

struct rt_id_filter;
/* Reads the ids of a file (as rt_ids_open takes it; any order, repeats are fine) and sorts them: 8
 * bytes an id, in memory that the ranks of a node share where it has room. Collective over the
 * job's communicator; path agrees. Fails with RT_INPUT, RT_IO, RT_NOMEM. */
enum rt_status rt_id_filter_read(const struct rt_job *job, const char *path,
                                 struct rt_id_filter **out, struct rt_error *err) RT_MUST_CHECK;
void rt_id_filter_free(struct rt_id_filter *filter); /* collective; NULL on all ranks is fine */
/* Any thread. */
bool rt_id_filter_has(const struct rt_id_filter *filter, uint64_t id);

#endif
