/* Inner loops of means.c for one instruction set each; the same bits as its portable ones. Private
 * to means.c. */
#ifndef RT_KMEANS_MEANS_KERNELS_H
#define RT_KMEANS_MEANS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* sum[i] += llrint(row[i] to_grain), or -=, for dim values. */
void rt_means_add_avx512(double to_grain, int64_t *sum, const float *row, size_t dim);
void rt_means_subtract_avx512(double to_grain, int64_t *sum, const float *row, size_t dim);

#endif
