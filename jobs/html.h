/* A page that stands alone: one file, no script, nothing fetched; light and dark, narrow and wide,
 * screen and paper. What comes from outside (names of files and hosts, messages) goes through
 * rt_html_text. Numbers are written by the caller. */
#ifndef RT_JOBS_HTML_H
#define RT_JOBS_HTML_H

#include "core/error.h"

#include <stdbool.h>
#include <stdio.h>

/* Markup as it stands. */
void rt_html_put(FILE *out, const char *format, ...) RT_PRINTF(2, 3);
/* Text, escaped for content and attributes; control characters become U+FFFD. NULL is nothing. */
void rt_html_text(FILE *out, const char *text);

/* Head, style, the patterns that fills use (url(#fill0) .. url(#fill5), url(#waiting)), and <main>
 * with its <h1>; title is text. */
void rt_html_begin(FILE *out, const char *title);
void rt_html_end(FILE *out);
/* <section> with its <h2>; heading and note (may be NULL) are markup of ours. */
void rt_html_section(FILE *out, const char *heading, const char *note);
void rt_html_end_section(FILE *out);

/* A table with a heading a column: names parted by '|', those that begin with '>' hold numbers.
 * Cells follow between <tr> and </tr>. */
void rt_html_table(FILE *out, const char *caption, const char *columns);
/* A row that names the rows below it. */
void rt_html_group(FILE *out, const char *text, int n_columns);
void rt_html_end_table(FILE *out);

/* A picture of a share (0..): a bar of that part of the cell, full from 1 on and of another fill
 * beyond. */
void rt_html_share(FILE *out, double share);

/* A swatch of a fill with its meaning, for legends. */
void rt_html_swatch(FILE *out, const char *fill, const char *text);

#endif
