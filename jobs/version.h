/* What this program is made of: its version, and the libraries, kernels and compiler that are in
 * use on this machine. */
#ifndef RT_JOBS_VERSION_H
#define RT_JOBS_VERSION_H

#include "core/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* {"ranktape": "0.1.0", "mpi": .., ..}. The caller owns it; NULL where memory ran out. After
 * MPI_Init and rt_kernels_init. */
json_t *rt_version_json(void);
/* One item a line, or one JSON object. To be called after MPI_Init and rt_kernels_init. Fails with
 * RT_NOMEM. */
enum rt_status rt_version_write(bool as_json, FILE *out, struct rt_error *err) RT_MUST_CHECK;

#endif
