/* The sums of means.c eight values at a time: vcvtpd2qq rounds as llrint does, so the bits are the
 * same. */
#include "kmeans/means_kernels.h"

#include <immintrin.h>

static inline __m512i grains_of(__m256 row, __m512d to_grain)
{
    return _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_cvtps_pd(row), to_grain));
}

static inline __mmask8 rest_mask(size_t n)
{
    return (__mmask8)((1u << n) - 1);
}

void rt_means_add_avx512(double to_grain, int64_t *sum, const float *row, size_t dim)
{
    __m512d unit = _mm512_set1_pd(to_grain);
    size_t i = 0;
    for (; i + 8 <= dim; i += 8)
        _mm512_storeu_si512(sum + i, _mm512_add_epi64(_mm512_loadu_si512(sum + i),
                                                      grains_of(_mm256_loadu_ps(row + i), unit)));
    if (i < dim) {
        __mmask8 rest = rest_mask(dim - i);
        __m512i add = grains_of(_mm256_maskz_loadu_ps(rest, row + i), unit);
        _mm512_mask_storeu_epi64(sum + i, rest,
                                 _mm512_add_epi64(_mm512_maskz_loadu_epi64(rest, sum + i), add));
    }
}

void rt_means_subtract_avx512(double to_grain, int64_t *sum, const float *row, size_t dim)
{
    __m512d unit = _mm512_set1_pd(to_grain);
    size_t i = 0;
    for (; i + 8 <= dim; i += 8)
        _mm512_storeu_si512(sum + i, _mm512_sub_epi64(_mm512_loadu_si512(sum + i),
                                                      grains_of(_mm256_loadu_ps(row + i), unit)));
    if (i < dim) {
        __mmask8 rest = rest_mask(dim - i);
        __m512i less = grains_of(_mm256_maskz_loadu_ps(rest, row + i), unit);
        _mm512_mask_storeu_epi64(sum + i, rest,
                                 _mm512_sub_epi64(_mm512_maskz_loadu_epi64(rest, sum + i), less));
    }
}
