/* What plan shows of the phases of a job, whatever the job: for people, and for programs. */
#ifndef RT_JOBS_PLAN_TABLE_H
#define RT_JOBS_PLAN_TABLE_H

#include "jobs/job.h"
#include "jobs/plan_model.h"

/* n phases, side by side: names and costs; seconds are known for all of them or none. Rank 0. */
void rt_plan_table_phases(const struct rt_job *job, const char *const *names,
                          const struct rt_plan_cost *costs, int n, uint32_t ranks);
json_t *rt_plan_table_json(const char *const *names, const struct rt_plan_cost *costs, int n);
/* What the machine does, and the sum of the phases' seconds; without rates how to get them. */
void rt_plan_table_time(const struct rt_job *job, const struct rt_plan_rates *rates,
                        const struct rt_plan_cost *costs, int n);
/* Why a rank's budget is what it is: "--memory", "80 % of 7.7 GiB". */
void rt_plan_table_budget(const struct rt_options *options, const struct rt_plan_input *input,
                          char *text, size_t text_size);
/* "-" for none; text has room for RT_UNITS_TEXT. */
const char *rt_plan_table_bytes(uint64_t bytes, char *text);
json_t *rt_plan_table_number(uint64_t bytes); /* at most 2^63 - 1 */

#endif
