/* All ranks learn of one rank's failure, with its message, and leave together: nobody is left in a
 * collective call. Bodies have enum rt_status st = RT_OK, struct rt_error *err and the label done.
 */
#ifndef RT_MPI_AGREE_H
#define RT_MPI_AGREE_H

#include "core/error.h"

#include <mpi.h>
#include <stddef.h>

/* Does this rank's step unless this rank has failed already; never jumps. */
#define RT_LOCAL(call)                                                                             \
    do {                                                                                           \
        if (st == RT_OK)                                                                           \
            st = (call);                                                                           \
    } while (0)

/* End of a step: all ranks take the worst status and the message of the first rank that has it; all
 * jump to done, or none does. (The worst is no better than our own; that is said for analysers.) */
#define RT_AGREE(comm)                                                                             \
    do {                                                                                           \
        enum rt_status rt_own = st;                                                                \
        st = rt_agree((comm), rt_own, err);                                                        \
        if (st != RT_OK || rt_own != RT_OK)                                                        \
            goto done;                                                                             \
    } while (0)

/* Returns the largest of all ranks' st; when that is not RT_OK, *err is the message of the first
 * rank that has it, with err->rank its rank in the world. Collective over comm. One reduction; on
 * failure one Bcast. Waits as rt_wait does: between ranks of which one works for hours yet, place
 * this first, and other collective calls behind. */
enum rt_status rt_agree(MPI_Comm comm, enum rt_status st, struct rt_error *err) RT_MUST_CHECK;

/* Test builds (RT_CHECKS) compare a value that must be the same on all ranks with rank 0's; others
 * do nothing. Collective over comm. Fails on all ranks with RT_DAMAGED, naming the value and the
 * first rank that differs. */
#ifdef RT_CHECKS
enum rt_status rt_same(MPI_Comm comm, const void *value, size_t n_bytes, const char *name,
                       struct rt_error *err) RT_MUST_CHECK;
#else
static inline enum rt_status rt_same(MPI_Comm comm, const void *value, size_t n_bytes,
                                     const char *name, struct rt_error *err)
{
    (void)comm, (void)value, (void)n_bytes, (void)name, (void)err;
    return RT_OK;
}
#endif

#endif
