/* The one door to BLAS. Its products only propose (B3): what they say is never part of an answer.
 */
#ifndef RT_CORE_GEMM_H
#define RT_CORE_GEMM_H

#include <stddef.h>

/* Whether this build has a BLAS. */
int rt_gemm_is_here(void);
/* out (m x n, row-major, n_stride floats from row to row) := a (m x k) times the transpose of b (n
 * x k). */
void rt_gemm(size_t m, size_t n, size_t k, const float *a, const float *b, float *out,
             size_t n_stride);

#endif
