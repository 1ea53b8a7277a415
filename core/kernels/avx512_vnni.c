#include "core/kernels/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* n_rows x n_groups (both constants) sums in registers. */
ALWAYS void products(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                     size_t n_groups, __m512i sums[][4])
{
    const int8_t *codes = tile->codes;
    size_t n_steps = tile->n_steps;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t g = 0; g < n_groups; g++)
            sums[r][g] = _mm512_setzero_si512();
    for (size_t step = 0; step < n_steps; step++) {
        __m512i c[4];
        for (size_t g = 0; g < n_groups; g++)
            c[g] = _mm512_load_si512((const void *)(codes + (g * n_steps + step) * 64));
        for (size_t r = 0; r < n_rows; r++) {
            int32_t four;
            memcpy(&four, rows[r] + 4 * step, sizeof four);
            __m512i x = _mm512_set1_epi32(four);
            for (size_t g = 0; g < n_groups; g++)
                sums[r][g] = _mm512_dpbusd_epi32(sums[r][g], x, c[g]);
        }
    }
}

ALWAYS void part(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                 size_t n_groups, const float *row_scale, const float *threshold, float *a,
                 uint64_t *mask, float *least)
{
    __m512i sums[12][4];
    products(tile, rows, n_rows, n_groups, sums);
    for (size_t r = 0; r < n_rows; r++) {
        uint64_t bits = 0;
        __m512 smallest = _mm512_set1_ps(INFINITY);
        __m512 factor = _mm512_set1_ps(row_scale[r]);
        for (size_t g = 0; g < n_groups; g++) {
            __m512i offset = _mm512_loadu_si512((const void *)(tile->sums + 16 * g));
            __m512 p = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[r][g], offset));
            p = _mm512_fmadd_ps(factor, _mm512_mul_ps(_mm512_loadu_ps(tile->scale + 16 * g), p),
                                _mm512_loadu_ps(tile->norm + 16 * g));
            _mm512_storeu_ps(a + 64 * r + 16 * g, p);
            if (least)
                smallest = _mm512_min_ps(smallest, p);
            else
                bits |= (uint64_t)_mm512_cmp_ps_mask(p, _mm512_set1_ps(threshold[r]), _CMP_LE_OQ)
                        << 16 * g;
        }
        if (least)
            least[r] = _mm512_reduce_min_ps(smallest);
        else
            mask[r] = bits;
    }
}

ALWAYS void all_rows(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                     size_t at_once, size_t n_groups, const float *row_scale,
                     const float *threshold, float *a, uint64_t *mask, float *least)
{
    size_t r = 0;
    for (; r + at_once <= n_rows; r += at_once)
        part(tile, rows + r, at_once, n_groups, row_scale + r, least ? NULL : threshold + r,
             a + 64 * r, least ? NULL : mask + r, least ? least + r : NULL);
    for (; r < n_rows; r++)
        part(tile, rows + r, 1, n_groups, row_scale + r, least ? NULL : threshold + r, a + 64 * r,
             least ? NULL : mask + r, least ? least + r : NULL);
}

ALWAYS void by_groups(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least)
{
    switch (tile->n_groups) {
    case 1:
        all_rows(tile, rows, n_rows, 12, 1, row_scale, threshold, a, mask, least);
        break;
    case 2:
        all_rows(tile, rows, n_rows, 8, 2, row_scale, threshold, a, mask, least);
        break;
    case 3:
        all_rows(tile, rows, n_rows, 6, 3, row_scale, threshold, a, mask, least);
        break;
    default:
        all_rows(tile, rows, n_rows, 4, 4, row_scale, threshold, a, mask, least);
    }
}

static void int8_tile(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least)
{
    if (least)
        by_groups(tile, rows, n_rows, row_scale, NULL, a, NULL, least);
    else
        by_groups(tile, rows, n_rows, row_scale, threshold, a, mask, NULL);
}

void rt_kernels_avx512_vnni(struct rt_kernels *table)
{
    table->int8_tile = int8_tile;
}
