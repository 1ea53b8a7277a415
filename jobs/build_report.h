/* What a build tells at its end: lines for people as phases finish, the table behind them, and one
 * JSON object for
 * --json, --report and the record that stays in the index. */
#ifndef RT_JOBS_BUILD_REPORT_H
#define RT_JOBS_BUILD_REPORT_H

#include "core/error.h"
#include "io/rows.h"
#include "jobs/job.h"
#include "jobs/phases/compact_phase.h"
#include "jobs/phases/insert_phase.h"
#include "jobs/phases/publish_phase.h"
#include "jobs/phases/train_phase.h"
#include "jobs/plan_model.h"

#include <jansson.h>

/* All that is known of a build; phases that have not run are all zero. */
struct rt_build_facts {
    const struct rt_rows_info *rows;
    const struct rt_plan *plan;
    const struct rt_train_output *train;
    const struct rt_insert_output *insert;
    const struct rt_compact_output *compact;
    const struct rt_publish_output *publish;
    uint64_t generation;
    uint64_t n_bytes; /* of all files */
    struct rt_hash128 digest;
    double seconds;
};

struct rt_list_sizes {
    uint64_t least, median, p99, most;
    uint32_t n_empty;
};
/* Of n_lists counts; scratch is allocated. Fails with RT_NOMEM. */
enum rt_status rt_list_sizes_of(const uint64_t *rows, uint32_t n_lists, struct rt_list_sizes *out,
                                struct rt_error *err) RT_MUST_CHECK;

/* One line of the table for each phase, printed when it is over; rank 0. */
void rt_build_say_plan(const struct rt_job *job, const struct rt_build_facts *facts);
void rt_build_say_train(const struct rt_job *job, const struct rt_build_facts *facts);
void rt_build_say_insert(const struct rt_job *job, const struct rt_build_facts *facts);
void rt_build_say_compact(const struct rt_job *job, const struct rt_build_facts *facts,
                          const struct rt_list_sizes *lists);
void rt_build_say_publish(const struct rt_job *job, const struct rt_build_facts *facts);

/* The record as JSON: phases that are over, lists, planned beside actual, training log. NULL where
 * memory ran out. */
json_t *rt_build_record(const struct rt_job *job, const struct rt_build_facts *facts,
                        const struct rt_list_sizes *lists);

/* Adds what is told but not kept in the index: when phases began and how their work spread over the
 * ranks, the histogram of list sizes, and rates of this machine (NULL: not measured). */
void rt_build_add_details(const struct rt_build_facts *facts, const struct rt_phase_log *log,
                          double began, const struct rt_plan_rates *limits, json_t *record);

#endif
