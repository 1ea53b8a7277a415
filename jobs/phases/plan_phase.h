/* The first phase of a build: what the rows are, what the options become, and whether it can fit.
 */
#ifndef RT_JOBS_PHASES_PLAN_PHASE_H
#define RT_JOBS_PHASES_PLAN_PHASE_H

#include "core/error.h"
#include "io/rows.h"
#include "jobs/job.h"
#include "jobs/plan_model.h"

/* Rank 0 opens job->options->argument[0] as rows, completes the options and plans for the ranks
 * there are; then options, plan and the rows' description are shared, so that every rank has *rows
 * open for reading (the caller closes it with rt_rows_close) and *plan filled, and job->options
 * completed. One warning where leaves are cut to the rows. Collective over job->comm. Does not
 * refuse a plan that cannot fit: rt_plan_phase_require does. Fails with RT_USAGE, RT_INPUT, RT_IO
 * on all ranks. */
enum rt_status rt_plan_phase(struct rt_job *job, struct rt_rows **rows, struct rt_plan *plan,
                             struct rt_error *err) RT_MUST_CHECK;
/* Fails with RT_USAGE where the plan does not fit, with remedies ("needs 9.8 GiB a rank in train,
 * has ..."). Local: the same on all ranks. */
enum rt_status rt_plan_phase_require(const struct rt_job *job, const struct rt_plan *plan,
                                     struct rt_error *err) RT_MUST_CHECK;

/* Completes --memory of a job without a plan. Collective over job->comm. */
void rt_plan_phase_memory(struct rt_job *job);

/* The parts of the above, for the job plan. rt_plan_phase_machine fills ranks and memory of *input
 * from what this job runs on; collective over job->comm. rt_plan_phase_open opens the rows of a
 * name and, with --centroids, reads how many there are, into *input; local. */
void rt_plan_phase_machine(const struct rt_job *job, struct rt_plan_input *input);
enum rt_status rt_plan_phase_open(const struct rt_job *job, const char *name, struct rt_rows **rows,
                                  struct rt_plan_input *input, struct rt_error *err) RT_MUST_CHECK;
/* What rank 0 has opened in *rows, to all others. Collective over job->comm. */
enum rt_status rt_plan_phase_share(const struct rt_job *job, struct rt_rows **rows,
                                   struct rt_error *err) RT_MUST_CHECK;
/* The one warning. Rank 0. */
void rt_plan_phase_warn(const struct rt_job *job, const struct rt_plan *plan);

#endif
