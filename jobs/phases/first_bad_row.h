/* Which row --bad-rows fail names: a sample, or the rank that is fastest, seldom meets the first.
 */
#ifndef RT_JOBS_PHASES_FIRST_BAD_ROW_H
#define RT_JOBS_PHASES_FIRST_BAD_ROW_H

#include "jobs/phases/phase.h"
#include "jobs/phases/row_source.h"

#define RT_NO_BAD_ROW UINT64_MAX

/* To be called where a phase has failed, with that agreed failure in st and *err. row: a bad row
 * this rank has met, or RT_NO_BAD_ROW. Where any rank has met one, the ranks read their rows before
 * it, and *err then names the first bad row of all; they read for a few seconds at most, since no
 * better name is worth reading a heap of terabytes once more. Any other failure stays what it is.
 * Collective over the job's communicator; returns st. */
enum rt_status rt_first_bad_row(const struct rt_phase_context *context, const struct rt_rows *rows,
                                struct rt_row_source *source, uint64_t row, enum rt_status st,
                                struct rt_error *err) RT_MUST_CHECK;

/* Fails with RT_INPUT, naming file, row (of the heap) and cause. */
enum rt_status rt_refuse_bad_row(const struct rt_rows *rows, uint64_t row,
                                 enum rt_row_verdict verdict, struct rt_error *err) RT_MUST_CHECK;

#endif
