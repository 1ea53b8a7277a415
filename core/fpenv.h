/* The floating-point environment every thread of ours works in (A3): round to nearest, no flush to
 * zero, no denormals read as zero. A shared library linked with fast-math start files changes it as
 * it loads, so it is set and checked. */
#ifndef RT_CORE_FPENV_H
#define RT_CORE_FPENV_H

#include <stdbool.h>

/* Sets it for the calling thread. First thing in main and in every thread. */
void rt_fpenv_set(void);
/* Whether the calling thread still has it. Tested by arithmetic as well as by the control register.
 */
bool rt_fpenv_is_strict(void);

#endif
