#define VECTOR_BYTES 16
#include "core/kernels/exact_lanes.h"

#include <arm_neon.h>

static void f16_to_f32(const void *src, float *dst, size_t n)
{
    const unsigned char *from = src;
    for (size_t i = 0; i < n; i++) {
        __fp16 half;
        memcpy(&half, from + 2 * i, sizeof half);
        dst[i] = (float)half;
    }
}

void rt_kernels_neon(struct rt_kernels *table)
{
    fill_exact(table);
    table->f16_to_f32 = f16_to_f32;
}
