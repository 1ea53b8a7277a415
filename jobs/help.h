/* --help, which follows from the option table. */
#ifndef RT_JOBS_HELP_H
#define RT_JOBS_HELP_H

#include "core/options.h"

#include <stdio.h>

/* The program's own help: its jobs. */
void rt_help_program(FILE *out);
void rt_help_job(enum rt_job_id job, FILE *out);

#endif
