/* Words and bars for progress, alike wherever it is shown. */
#ifndef RT_JOBS_PROGRESS_TEXT_H
#define RT_JOBS_PROGRESS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define RT_BAR_BYTES(columns) (3 * (columns) + 1)

/* The locale speaks UTF-8, as LC_ALL, LC_CTYPE and LANG say. */
bool rt_progress_speaks_utf8(void);
/* A bar of so many columns, drawn to the half column in UTF-8, in plain ASCII otherwise; text has
 * RT_BAR_BYTES(columns). fraction is 0..1. Returns text. */
char *rt_progress_bar(double fraction, int columns, bool is_utf8, char *text);

#endif
