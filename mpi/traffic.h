/* How many bytes this process has exchanged with other ranks, each counted on one side: what a
 * phase is charged for beside its reading and writing. Counted where rows, records, sums and
 * centroids travel; agreements and progress, a few bytes each, are not. */
#ifndef RT_MPI_TRAFFIC_H
#define RT_MPI_TRAFFIC_H

#include <stdint.h>

/* Any thread. */
void rt_traffic_add(uint64_t n_bytes);
/* Since the process began. */
uint64_t rt_traffic_bytes(void);

#endif
