/* Compares for both NEON files. */
#ifndef RT_CORE_KERNELS_NEON_AT_MOST_H
#define RT_CORE_KERNELS_NEON_AT_MOST_H

#include <arm_neon.h>

static uint64_t at_most(const float *a, size_t n, float threshold)
{
    const uint32x4_t places = {1, 2, 4, 8};
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i += 4) {
        uint32x4_t is_less = vcleq_f32(vld1q_f32(a + i), vdupq_n_f32(threshold));
        bits |= (uint64_t)vaddvq_u32(vandq_u32(is_less, places)) << i;
    }
    return bits;
}

#endif
