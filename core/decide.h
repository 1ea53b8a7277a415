/* Which of a row's candidates are the best of T: by their bounds where these tell, else by E; by E
 * over all of T where lists overflowed, rows are beyond A6 or bounds broke (B8). Private to core.
 */
#ifndef RT_CORE_DECIDE_H
#define RT_CORE_DECIDE_H

#include "core/assigner.h"

/* The best of each row, in any order, filled up with UINT32_MAX. */
void rt_decide_sets(struct rt_assigner *a, const struct rt_target *t, uint32_t *out);
/* The same sorted by (E, number), with distances (may be NULL). */
void rt_decide_rows(struct rt_assigner *a, const struct rt_target *t, uint32_t *out_list,
                    float *out_distance);

#endif
