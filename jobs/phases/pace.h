/* A job that shares its disk with others: after every so many bytes it sleeps (--cost-delay, as a
 * database's vacuum delay). */
#ifndef RT_JOBS_PHASES_PACE_H
#define RT_JOBS_PHASES_PACE_H

#include "jobs/phases/phase.h"

#include <stdint.h>

#define RT_PACE_BYTES (UINT64_C(64) << 20)

/* This rank has moved so many bytes more; in place of rt_phase_check, as whose it fails: a stop and
 * the progress of other ranks are looked at between short sleeps, however long the delay is. */
enum rt_status rt_pace_spend(struct rt_phase_context *context, uint64_t bytes,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
