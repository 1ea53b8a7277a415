/* The parts of manual pages and of the completion that follow from the table of options. */
#ifndef RT_MAN_TABLE_H
#define RT_MAN_TABLE_H

#include "core/options.h"

#include <stdbool.h>
#include <stdio.h>

struct rt_manual {
    const char *date; /* "November 21, 2026" */
    const char *version;
    enum rt_job_id job; /* RT_N_JOBS: the page of the program */
};

/* Writes the table of this name: head, options, jobs and see_also in mdoc; job_names, option_names
 * and option_values in bash. False where there is none. */
bool rt_manual_table(const struct rt_manual *manual, const char *name, FILE *out);

#endif
