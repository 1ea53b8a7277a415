/* What the job insert and its plan share: what an insert takes from the index, and decides. */
#ifndef RT_JOBS_INSERT_H
#define RT_JOBS_INSERT_H

#include "core/options.h"
#include "io/manifest.h"
#include "io/rows.h"
#include "jobs/plan_model.h"

/* Rows that suit the index. Fails with RT_INPUT (dimension, element type), RT_USAGE (--from-row).
 */
enum rt_status rt_insert_check_rows(const struct rt_manifest *index,
                                    const struct rt_rows_info *rows,
                                    const struct rt_options *options,
                                    struct rt_error *err) RT_MUST_CHECK;
/* Completes the options of an insert of n_rows rows, less those before --from-row. */
void rt_insert_complete(const struct rt_manifest *index, uint64_t n_rows,
                        const struct rt_plan_input *machine, struct rt_options *options);

#endif
