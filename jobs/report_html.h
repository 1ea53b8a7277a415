/* The record of a job as a page for people: the same JSON that --report FILE.json holds, so that
 * both tell the same. */
#ifndef RT_JOBS_REPORT_HTML_H
#define RT_JOBS_REPORT_HTML_H

#include <jansson.h>
#include <stdio.h>

/* Writes the page; parts whose keys are missing are left out. Whether out took it all is for the
 * caller to ask (ferror). */
void rt_report_html(FILE *out, const json_t *record);

/* The part with a bar for each rank and phase; also of the page. */
void rt_report_timeline(FILE *out, const json_t *record);

#endif
