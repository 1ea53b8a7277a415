/* What int8_tile makes of integer products, for the files that make them (AVX-512). */
#ifndef RT_CORE_KERNELS_AVX512_FINISH_H
#define RT_CORE_KERNELS_AVX512_FINISH_H

#include "core/kernels/kernels.h"

#include <immintrin.h>
#include <math.h>

/* One row, from the sums of n_groups, 16 each, `apart` numbers apart; exactly one of mask and least
 * is not NULL. offsets: what the sums are too much, 16 a group; NULL: nothing. */
static inline __attribute__((always_inline)) void
finish_row(const struct rt_int8_tile *tile, const int32_t *sums, size_t apart,
           const int32_t *offsets, size_t n_groups, float row_scale, float threshold, float *a,
           uint64_t *mask, float *least)
{
    uint64_t bits = 0;
    __m512 smallest = _mm512_set1_ps(INFINITY);
    __m512 factor = _mm512_set1_ps(row_scale);
    for (size_t g = 0; g < n_groups; g++) {
        __m512i sum = _mm512_load_si512((const void *)(sums + g * apart));
        if (offsets)
            sum = _mm512_sub_epi32(sum, _mm512_loadu_si512((const void *)(offsets + 16 * g)));
        __m512 p = _mm512_mul_ps(_mm512_loadu_ps(tile->scale + 16 * g), _mm512_cvtepi32_ps(sum));
        p = _mm512_add_ps(_mm512_loadu_ps(tile->norm + 16 * g), _mm512_mul_ps(factor, p));
        _mm512_storeu_ps(a + 16 * g, p);
        if (least)
            smallest = _mm512_min_ps(smallest, p);
        else
            bits |= (uint64_t)_mm512_cmp_ps_mask(p, _mm512_set1_ps(threshold), _CMP_LE_OQ)
                    << 16 * g;
    }
    if (least)
        *least = _mm512_reduce_min_ps(smallest);
    else
        *mask = bits;
}

/* int8_tile, int8_least and int8_most by VNNI, for the rows that tiles of AMX would leave mostly
 * empty. */
void rt_int8_tile_vnni(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                       const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                       float *least);
void rt_int8_least_vnni(const struct rt_int8_tile *cell, const struct rt_int8_rows *rows,
                        float *least);
void rt_int8_most_vnni(const struct rt_int8_cell *cell, const struct rt_int8_rows *rows,
                       int32_t *most);

#endif
