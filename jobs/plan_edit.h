/* plan of a job that changes a published index: insert, delete or vacuum. */
#ifndef RT_JOBS_PLAN_EDIT_H
#define RT_JOBS_PLAN_EDIT_H

#include "jobs/job.h"

/* options->planned says which; its words are those of that job. Reads the headers of the index's
 * files, of the rows and of the ids, nothing else. Collective over job->comm. Fails with RT_USAGE,
 * RT_INPUT, RT_DAMAGED, RT_IO. */
enum rt_status rt_plan_edit_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;

#endif
