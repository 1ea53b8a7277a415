/* pick_least of 16 rows at once by AVX-512, a row in each lane: all rows' searches wait for each
 * other's memory and divisions together. */
#ifndef RT_CORE_KERNELS_PICK_LEAST_512_H
#define RT_CORE_KERNELS_PICK_LEAST_512_H

#include "core/kernels/pick_least.h"

#include <immintrin.h>

#define PICKED_ROWS 16u
#define PICKED_MOST 1024u /* values of a row; more are searched row by row */

/* 16 x 16 values; lane r of out[c] is value c of row r. */
static inline __attribute__((always_inline)) void turn_square(const float *values, size_t stride,
                                                              float *out)
{
    __m512 a[16];
    __m512 b[16];
#pragma GCC unroll 16
    for (size_t r = 0; r < 16; r++)
        a[r] = _mm512_loadu_ps(values + r * stride);
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) { /* pairs of rows */
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 16; i += 4) /* a[i + k]: column k of each quarter, four rows */
        for (size_t k = 0; k < 2; k++) {
            __m512d low = _mm512_castps_pd(b[i + k]);
            __m512d high = _mm512_castps_pd(b[i + 2 + k]);
            a[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; k++) {
        __m512 even = _mm512_shuffle_f32x4(a[k], a[4 + k], 0x88); /* quarters 0, 2 of rows 0..7 */
        __m512 odd = _mm512_shuffle_f32x4(a[k], a[4 + k], 0xdd);
        __m512 even_below = _mm512_shuffle_f32x4(a[8 + k], a[12 + k], 0x88);
        __m512 odd_below = _mm512_shuffle_f32x4(a[8 + k], a[12 + k], 0xdd);
        _mm512_store_ps(out + 16 * k, _mm512_shuffle_f32x4(even, even_below, 0x88));
        _mm512_store_ps(out + 16 * (4 + k), _mm512_shuffle_f32x4(odd, odd_below, 0x88));
        _mm512_store_ps(out + 16 * (8 + k), _mm512_shuffle_f32x4(even, even_below, 0xdd));
        _mm512_store_ps(out + 16 * (12 + k), _mm512_shuffle_f32x4(odd, odd_below, 0xdd));
    }
}

/* How many of each lane's values are <= most. */
static inline __attribute__((always_inline)) __m512i count_lanes(const float *columns, size_t n,
                                                                 __m512 most)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i count[4];
    for (size_t k = 0; k < 4; k++)
        count[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 4) /* n is a multiple of 16 */
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++) {
            __m512 x = _mm512_load_ps(columns + 16 * (i + k));
            count[k] = _mm512_mask_add_epi32(count[k], _mm512_cmp_ps_mask(x, most, _CMP_LE_OQ),
                                             count[k], one);
        }
    return _mm512_add_epi32(_mm512_add_epi32(count[0], count[1]),
                            _mm512_add_epi32(count[2], count[3]));
}

/* A number for each lane that exactly `rank` of its n values do not exceed; fewer where no more
 * than these are finite. False: ties may stand in the way, or no value is finite. */
static inline __attribute__((always_inline)) bool find_ranks(const float *columns, size_t n,
                                                             size_t rank, __m512 *found)
{
    const __m512 infinity = _mm512_set1_ps(INFINITY);
    const __m512i wanted = _mm512_set1_epi32((int)rank);
    __m512 low = infinity;
    __m512 high = _mm512_sub_ps(_mm512_setzero_ps(), infinity);
    for (size_t i = 0; i < n; i++) {
        __m512 x = _mm512_load_ps(columns + 16 * i);
        low = _mm512_min_ps(x, low);
        high = _mm512_mask_max_ps(high, _mm512_cmp_ps_mask(x, infinity, _CMP_LT_OQ), x, high);
    }
    if (_mm512_cmp_ps_mask(low, infinity, _CMP_NLT_UQ))
        return false;
    __m512i n_low = count_lanes(columns, n, low);
    __m512i n_high = count_lanes(columns, n, high);
    __mmask16 is_all = _mm512_cmple_epi32_mask(n_high, wanted);
    __mmask16 is_least = _mm512_cmpeq_epi32_mask(n_low, wanted);
    __mmask16 open = (__mmask16) ~(is_all | is_least);
    *found = _mm512_mask_mov_ps(high, is_least, low);
    if (_mm512_mask_cmpgt_epi32_mask(open, n_low, wanted))
        return false;
    for (size_t turn = 1; open; turn++) {
        __m512 width = _mm512_sub_ps(high, low);
        __m512 share = _mm512_div_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(wanted, n_low)),
                                     _mm512_cvtepi32_ps(_mm512_sub_epi32(n_high, n_low)));
        __m512 half = _mm512_fmadd_ps(width, _mm512_set1_ps(0.5f), low);
        __m512 middle = turn % 4 ? _mm512_fmadd_ps(width, share, low) : half;
        __mmask16 is_within = _mm512_cmp_ps_mask(middle, low, _CMP_GT_OQ) &
                              _mm512_cmp_ps_mask(middle, high, _CMP_LT_OQ);
        middle = _mm512_mask_mov_ps(half, is_within, middle);
        is_within = _mm512_cmp_ps_mask(middle, low, _CMP_GT_OQ) &
                    _mm512_cmp_ps_mask(middle, high, _CMP_LT_OQ);
        if (open & ~is_within)
            return false;
        __m512i here = count_lanes(columns, n, middle);
        __mmask16 is_low = _mm512_cmplt_epi32_mask(here, wanted);
        __mmask16 is_found = open & _mm512_cmpeq_epi32_mask(here, wanted);
        *found = _mm512_mask_mov_ps(*found, is_found, middle);
        open &= (__mmask16)~is_found;
        low = _mm512_mask_mov_ps(low, is_low, middle);
        n_low = _mm512_mask_mov_epi32(n_low, is_low, here);
        high = _mm512_mask_mov_ps(middle, is_low, high);
        n_high = _mm512_mask_mov_epi32(here, is_low, n_high);
    }
    return true;
}

/* Ids of the n values up to most, filled up to rank; writes 16 beyond them. */
static inline __attribute__((always_inline)) void write_ids(const float *values, size_t n,
                                                            size_t rank, float most,
                                                            const uint32_t *ids, uint32_t *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 is_it =
            _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), _mm512_set1_ps(most), _CMP_LE_OQ);
        _mm512_storeu_si512(out + n_out, _mm512_maskz_compress_epi32(
                                             is_it, _mm512_loadu_si512((const void *)(ids + i))));
        n_out += (size_t)__builtin_popcount(is_it);
    }
    for (; n_out < rank; n_out++)
        out[n_out] = UINT32_MAX;
}

/* PICKED_ROWS rows; false: look at each by itself. */
static inline __attribute__((always_inline)) bool
pick_together(const float *values, size_t n, size_t rank, const uint32_t *ids, uint32_t *out)
{
    _Alignas(64) float columns[PICKED_MOST * PICKED_ROWS];
    _Alignas(64) float most[PICKED_ROWS];
    __m512 found;
    if (n > PICKED_MOST)
        return false;
    for (size_t i = 0; i < n; i += 16)
        turn_square(values + i, n, columns + 16 * i);
    if (!find_ranks(columns, n, rank, &found))
        return false;
    _mm512_store_ps(most, found);
    for (size_t r = 0; r < PICKED_ROWS; r++)
        write_ids(values + r * n, n, rank, most[r], ids, out + r * rank);
    return true;
}

#endif
