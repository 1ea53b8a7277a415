#define VECTOR_BYTES 32
#include "core/kernels/propose_lanes.h"

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

/* 4 rows and one group of 16 centroids: u8 x s8 would saturate in vpmaddubsw (B5), so both go to 16
 * bits. */
ALWAYS void products(const struct rt_int8_tile *tile, size_t group, const uint8_t *const *rows,
                     size_t n_rows, int32_t out[][16])
{
    const int8_t *codes = tile->codes + group * tile->n_steps * 64;
    __m256i sums[2][4];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 4; k++)
            sums[r][k] = _mm256_setzero_si256();
    for (size_t step = 0; step < tile->n_steps; step++) {
        __m256i x[2];
        for (size_t r = 0; r < n_rows; r++) {
            int32_t four;
            memcpy(&four, rows[r] + 4 * step, sizeof four);
            four ^= (int32_t)0x80808080; /* code - 128, as s8 */
            x[r] = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(four)));
        }
        for (size_t k = 0; k < 4; k++) {
            __m256i c =
                _mm256_cvtepi8_epi16(_mm_load_si128((const void *)(codes + step * 64 + k * 16)));
            for (size_t r = 0; r < n_rows; r++)
                sums[r][k] = _mm256_add_epi32(sums[r][k], _mm256_madd_epi16(x[r], c));
        }
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 4; k++) { /* two partial sums a centroid, 4 centroids */
            __m256i pairs = _mm256_hadd_epi32(sums[r][k], sums[r][k]);
            _mm_storeu_si128((void *)(out[r] + 4 * k),
                             _mm_unpacklo_epi64(_mm256_castsi256_si128(pairs),
                                                _mm256_extracti128_si256(pairs, 1)));
        }
}

static uint64_t at_most(const float *a, size_t n, float threshold)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i += 8)
        bits |= (uint64_t)(unsigned)_mm256_movemask_ps(
                    _mm256_cmp_ps(_mm256_loadu_ps(a + i), _mm256_set1_ps(threshold), _CMP_LE_OQ))
                << i;
    return bits;
}

#include "core/kernels/int8_tile.h"

void rt_kernels_avx2(struct rt_kernels *table)
{
    fill_exact(table);
    fill_proposals(table);
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
    table->int8_most = int8_most;
    table->at_most = at_most;
    table->f16_to_f32 = f16_to_f32;
}
