/* Waiting for other ranks, or for what they send. How long this process has: what a phase took less
 * this is work. Kept at the few places where ranks meet, so that a rank that is behind can be told
 * from those that wait for it. And waiting that does not hold up others. */
#ifndef RT_MPI_WAITING_H
#define RT_MPI_WAITING_H

#include <mpi.h>
#include <stdbool.h>

/* Around a call that blocks: `began` is what rt_waiting_begin returned. Any thread; a clock is
 * read. */
double rt_waiting_begin(void);
void rt_waiting_end(double began);
/* Since the process began. */
double rt_waiting_seconds(void);
/* Whether it waits just now. */
bool rt_waiting_now(void);

/* Waits until the request is complete, however long others work while this rank is done, or has
 * failed. Meanwhile calls what rt_waiting_take_part was given last, at least every millisecond or
 * two: so rounds of progress go on, those that work learn of a failure, and a watchdog sees that
 * all ranks answer. From the thread that calls MPI. */
void rt_wait(MPI_Request *request, bool has_failed);
void rt_waiting_take_part(void (*take_part)(void *context, bool has_failed),
                          void *context); /* NULL: nothing */

#endif
