/* How long this process has waited for other ranks, or for what they send: what a phase took less
 * this is work. Kept at the few places where ranks meet, so that a rank that is behind can be told
 * from those that wait for it. */
#ifndef RT_MPI_WAITING_H
#define RT_MPI_WAITING_H

#include <stdbool.h>

/* Around a call that blocks: `began` is what rt_waiting_begin returned. Any thread; a clock is
 * read. */
double rt_waiting_begin(void);
void rt_waiting_end(double began);
/* Since the process began. */
double rt_waiting_seconds(void);
/* Whether it waits just now. */
bool rt_waiting_now(void);

#endif
