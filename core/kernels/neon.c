#define VECTOR_BYTES 16
#include "core/kernels/propose_lanes.h"

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

/* Products of two s8 fit 16 bits, and vpadal adds pairs of them into 32. */
ALWAYS void products(const struct rt_int8_tile *tile, size_t group, const uint8_t *const *rows,
                     size_t n_rows, int32_t out[][16])
{
    const int8_t *codes = tile->codes + group * tile->n_steps * 64;
    int32x4_t sums[2][8];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 8; k++)
            sums[r][k] = vdupq_n_s32(0);
    for (size_t step = 0; step < tile->n_steps; step++)
        for (size_t r = 0; r < n_rows; r++) {
            uint32_t four;
            memcpy(&four, rows[r] + 4 * step, sizeof four);
            int8x8_t x = vreinterpret_s8_u32(vdup_n_u32(four ^ 0x80808080u)); /* code - 128 */
            for (size_t k = 0; k < 8; k++)
                sums[r][k] =
                    vpadalq_s16(sums[r][k], vmull_s8(x, vld1_s8(codes + step * 64 + k * 8)));
        }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 4; k++) /* two partial sums a centroid */
            vst1q_s32(out[r] + 4 * k, vpaddq_s32(sums[r][2 * k], sums[r][2 * k + 1]));
}

#include "core/kernels/neon_at_most.h"

#include "core/kernels/int8_tile.h"

void rt_kernels_neon(struct rt_kernels *table)
{
    fill_exact(table);
    fill_proposals(table);
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
    table->int8_most = int8_most;
    table->at_most = at_most;
    table->f16_to_f32 = f16_to_f32;
}
