/* What the job delete and its plan share. */
#ifndef RT_JOBS_DELETE_H
#define RT_JOBS_DELETE_H

#include "core/options.h"
#include "io/ids.h"

/* Opens the ids that die or, with --keep, stay; one of the two must be given. Reads their header.
 * Fails with RT_USAGE, and as rt_ids_open. The caller closes *out. */
enum rt_status rt_delete_open(const struct rt_options *options, struct rt_ids **out,
                              struct rt_error *err) RT_MUST_CHECK;
/* Private bytes of a rank that reads them. */
uint64_t rt_delete_reading_bytes(void);

#endif
