/* First centroids (D3): rows drawn by a keyed hash, the same on any number of ranks. */
#ifndef RT_KMEANS_FIRST_ROWS_H
#define RT_KMEANS_FIRST_ROWS_H

#include "kmeans/lloyd.h"

/* The k rows of least f(seed, level, cell, row number) among local rows [begin, begin + n_local) of
 * sample on each rank, in that order, into centroids (k x dim), the same on all ranks; of unit
 * length where the setting is spherical. Collective over comm; k, place and setting agree. 1 <= k
 * <= the rows of all ranks. Fails with RT_NOMEM, or RT_USAGE where k is too large. */
enum rt_status rt_first_rows(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                             struct rt_lloyd_place place, const struct rt_sample *sample,
                             size_t begin, size_t n_local, uint32_t k, float *centroids,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
