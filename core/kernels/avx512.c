#define VECTOR_BYTES 64
#include "core/kernels/propose_lanes.h"

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

/* u8 x s8 would saturate in vpmaddubsw (B5), so both go to 16 bits. */
ALWAYS void products(const struct rt_int8_tile *tile, size_t group, const uint8_t *const *rows,
                     size_t n_rows, int32_t out[][16])
{
    const __m512i evens =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odds =
        _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    const int8_t *codes = tile->codes + group * tile->n_steps * 64;
    __m512i sums[2][2];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < 2; k++)
            sums[r][k] = _mm512_setzero_si512();
    for (size_t step = 0; step < tile->n_steps; step++) {
        __m512i x[2];
        for (size_t r = 0; r < n_rows; r++) {
            int32_t four;
            memcpy(&four, rows[r] + 4 * step, sizeof four);
            four ^= (int32_t)0x80808080; /* code - 128, as s8 */
            x[r] = _mm512_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(four)));
        }
        for (size_t k = 0; k < 2; k++) {
            __m512i c =
                _mm512_cvtepi8_epi16(_mm256_load_si256((const void *)(codes + step * 64 + k * 32)));
            for (size_t r = 0; r < n_rows; r++)
                sums[r][k] = _mm512_add_epi32(sums[r][k], _mm512_madd_epi16(x[r], c));
        }
    }
    for (size_t r = 0; r < n_rows; r++) /* two partial sums a centroid, 8 centroids a vector */
        _mm512_storeu_si512(
            (void *)out[r],
            _mm512_add_epi32(_mm512_permutex2var_epi32(sums[r][0], evens, sums[r][1]),
                             _mm512_permutex2var_epi32(sums[r][0], odds, sums[r][1])));
}

static uint64_t at_most(const float *a, size_t n, float threshold)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i += 16)
        bits |= (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(a + i), _mm512_set1_ps(threshold),
                                             _CMP_LE_OQ)
                << i;
    return bits;
}

static size_t pick(const float *values, const uint32_t *ids, uint64_t mask, float *out_values,
                   uint32_t *out_ids)
{
    size_t n = 0;
    for (size_t i = 0; mask >> i; i += 16) { /* whole stores are cheaper than compressing ones */
        __mmask16 bits = (__mmask16)(mask >> i);
        _mm512_storeu_ps(out_values + n,
                         _mm512_maskz_compress_ps(bits, _mm512_loadu_ps(values + i)));
        _mm512_storeu_si512(out_ids + n,
                            _mm512_maskz_compress_epi32(bits, _mm512_loadu_si512(ids + i)));
        n += (size_t)__builtin_popcount(bits);
        if (i == 48)
            break;
    }
    return n;
}

#include "core/kernels/int8_tile.h"

void rt_kernels_avx512(struct rt_kernels *table)
{
    fill_exact(table);
    fill_proposals(table);
    table->int8_tile = int8_tile;
    table->at_most = at_most;
    table->pick = pick;
    table->f16_to_f32 = f16_to_f32;
}
