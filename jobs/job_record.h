/* Parts of the record that every writing job tells with --json and --report: its phases with what
 * each rank did in them, the hosts, and what the program is made of. */
#ifndef RT_JOBS_JOB_RECORD_H
#define RT_JOBS_JOB_RECORD_H

#include "jobs/job.h"
#include "jobs/phases/phase.h"
#include "jobs/plan_model.h"

#include <jansson.h>

/* What a phase cost, beside what was planned (NULL: nothing was). NULL where memory ran out, as of
 * all functions here. */
json_t *rt_record_phase(const char *name, const struct rt_phase_record *record,
                        const struct rt_plan_cost *planned);
/* Adds when it began, in seconds since `began` (rt_clock_seconds), and how its work spread over the
 * ranks. */
void rt_record_add_times(json_t *phase, const char *unit, const struct rt_phase_record *record,
                         double began);
/* Every phase of the log, with times. */
json_t *rt_record_phases(const struct rt_phase_log *log, double began);
/* Adds versions, hosts (the first 64) and their number, ranks, the call's words and options.
 * Collective over the job's communicator; record is NULL but on rank 0. */
void rt_record_add_run(const struct rt_job *job, json_t *record);

#endif
