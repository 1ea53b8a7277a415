/* What this machine can do, measured with all ranks at work at once, in well under a minute. */
#ifndef RT_JOBS_CALIBRATE_H
#define RT_JOBS_CALIBRATE_H

#include "core/error.h"
#include "jobs/plan_model.h"

#include <mpi.h>

/* Rates of the slowest rank, for rows of dim numbers; no measurement takes longer than `seconds`,
 * by much, and a file no more than 128 MiB. Files are written and read, without a name,
 * in the folder `dir` (what cannot be measured there is 0, unknown). Collective over comm; fails
 * with RT_NOMEM. */
enum rt_status rt_calibrate(MPI_Comm comm, uint32_t dim, const char *dir, double seconds,
                            struct rt_plan_rates *out, struct rt_error *err) RT_MUST_CHECK;

#endif
