#define VECTOR_BYTES 16
#include "core/kernels/propose_lanes.h"

#include "core/kernels/neon_at_most.h"

ALWAYS void products(const struct rt_int8_tile *tile, size_t group, const uint8_t *const *rows,
                     size_t n_rows, int32_t out[][16])
{
    const int8_t *codes = tile->codes + group * tile->n_steps * 64;
    int32x4_t sums[2][4];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 4; k++)
            sums[r][k] = vdupq_n_s32(0);
    for (size_t step = 0; step < tile->n_steps; step++)
        for (size_t r = 0; r < n_rows; r++) {
            uint32_t four;
            memcpy(&four, rows[r] + 4 * step, sizeof four);
            int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u)); /* code - 128 */
            for (size_t k = 0; k < 4; k++)
                sums[r][k] = vdotq_s32(sums[r][k], x, vld1q_s8(codes + step * 64 + k * 16));
        }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 4; k++)
            vst1q_s32(out[r] + 4 * k, sums[r][k]);
}

#include "core/kernels/int8_tile.h"

void rt_kernels_neon_dot(struct rt_kernels *table)
{
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
    table->int8_most = int8_most;
}
