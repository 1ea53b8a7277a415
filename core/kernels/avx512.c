#define VECTOR_BYTES 64
#include "core/kernels/exact_lanes.h"

#include <immintrin.h>

static void f16_to_f32(const void *src, float *dst, size_t n)
{
    const unsigned char *from = src;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i,
                         _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(from + 2 * i))));
    if (i < n) {
        __mmask16 some = (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(dst + i, some,
                              _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, from + 2 * i)));
    }
}

void rt_kernels_avx512(struct rt_kernels *table)
{
    fill_exact(table);
    table->f16_to_f32 = f16_to_f32;
}
