/* How a figure of each rank (seconds of work) spreads over the ranks: extremes and quartiles of
 * any number of ranks, and each one's own while they are few. What is held and sent does not grow
 * with the ranks. */
#ifndef RT_MPI_SPREAD_H
#define RT_MPI_SPREAD_H

#include <mpi.h>

#define RT_SPREAD_TOLD 64 /* ranks that a picture can show one by one */

struct rt_spread {
    double least, most;
    int least_rank, most_rank; /* the least of several */
    double quartiles[3];       /* past the limit to 1/256 of the span between the extremes */
    int n_told;                /* ranks in told: all, or none where they are too many */
    double told[RT_SPREAD_TOLD];
};

/* Fills *out on every rank from the value (>= 0) of each; up to most_told (<= RT_SPREAD_TOLD) ranks
 * are told one by one. Collective over comm; most_told must agree. */
void rt_spread_measure(MPI_Comm comm, double value, int most_told, struct rt_spread *out);

#endif
