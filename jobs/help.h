/* Texts that follow from the option table: --help, the manual page of a job, shell completion. */
#ifndef RT_JOBS_HELP_H
#define RT_JOBS_HELP_H

#include "core/options.h"

#include <stdio.h>

/* The program's own help: its jobs. */
void rt_help_program(FILE *out);
void rt_help_job(enum rt_job_id job, FILE *out);
/* ranktape-JOB(1) in mdoc. */
void rt_help_manual(enum rt_job_id job, FILE *out);
/* The function _ranktape of bash. */
void rt_help_completion(FILE *out);

#endif
