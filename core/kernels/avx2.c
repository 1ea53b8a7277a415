#define VECTOR_BYTES 32
#include "core/kernels/exact_lanes.h"

#include <immintrin.h>

static void f16_to_f32(const void *src, float *dst, size_t n)
{
    const unsigned char *from = src;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + 2 * i))));
    if (i < n) {
        uint16_t padded[8] = {0};
        float out[8];
        memcpy(padded, from + 2 * i, (n - i) * sizeof *padded);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const void *)padded)));
        memcpy(dst + i, out, (n - i) * sizeof *out);
    }
}

void rt_kernels_avx2(struct rt_kernels *table)
{
    fill_exact(table);
    table->f16_to_f32 = f16_to_f32;
}
