/* What --help, the manual and error messages say of an option: the shape of its value, what it may
 * be, and its default. Follows from the option table. */
#ifndef RT_CORE_OPTION_TEXT_H
#define RT_CORE_OPTION_TEXT_H

#include "core/options.h"

#include <stddef.h>

#define RT_OPTION_TEXT 512 /* enough for every text below */

/* "auto", or "off", may be given. */
bool rt_option_has_auto(const struct rt_option *option);
bool rt_option_has_off(const struct rt_option *option);
/* "N[,N...]", "l2|ip|cosine", "on|off"; "" where an option is mostly given without a value. */
const char *rt_option_value(const struct rt_option *option);
/* The help of an option with its default, where that says something. */
void rt_option_describe(const struct rt_option *option, char text[RT_OPTION_TEXT]);
/* What it takes: "a whole number from 1 to 1024, or auto". */
void rt_option_range(const struct rt_option *option, char text[RT_OPTION_TEXT]);

/* Whether the job has options of this class; the class's heading. */
bool rt_option_belongs(const struct rt_option *option, enum rt_job_id job,
                       enum rt_option_class class);
bool rt_option_has_any(enum rt_job_id job, enum rt_option_class class);
const char *rt_option_class_title(enum rt_option_class class);

#endif
