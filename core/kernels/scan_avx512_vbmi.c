/* Scanning with AVX-512 VBMI and VNNI: bytes of four groups are brought together row by row, so
 * that one instruction looks entries of all four up and another adds them up in 32 bits. */
#include "core/kernels/scan_kernels.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>

#define BYTES_4(a, b, c, d) ((int)((a) | (b) << 8 | (c) << 16 | (unsigned)(d) << 24))
#define ROW_4(j) BYTES_4(j, 16 + (j), 32 + (j), 48 + (j)) /* byte j of each group */

/* Sums of 16 rows each, as a block has them: row j / 2 + 8 (j % 2) in lane j. */
static inline __attribute__((always_inline)) void add_groups(const uint8_t *entries, __m512i codes,
                                                             __m512i both[2])
{
    const __m512i by_row = _mm512_set_epi32(
        ROW_4(15), ROW_4(14), ROW_4(13), ROW_4(12), ROW_4(11), ROW_4(10), ROW_4(9), ROW_4(8),
        ROW_4(7), ROW_4(6), ROW_4(5), ROW_4(4), ROW_4(3), ROW_4(2), ROW_4(1), ROW_4(0));
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i group = _mm512_set1_epi32(BYTES_4(0, 16, 32, 48));
    const __m512i ones = _mm512_set1_epi8(1);
    enum { AND_OR = 0xea };
    __m512i table = _mm512_loadu_si512(entries);
    codes = _mm512_permutexvar_epi8(by_row, codes);
    __m512i low = _mm512_ternarylogic_epi32(codes, nibble, group, AND_OR);
    __m512i high = _mm512_ternarylogic_epi32(_mm512_srli_epi16(codes, 4), nibble, group, AND_OR);
    both[0] = _mm512_dpbusd_epi32(both[0], _mm512_permutexvar_epi8(low, table), ones);
    both[1] = _mm512_dpbusd_epi32(both[1], _mm512_permutexvar_epi8(high, table), ones);
}

static inline __m512i whole(const uint8_t *codes)
{
    return _mm512_loadu_si512(codes);
}
static inline __m512i rest(const uint8_t *codes, uint32_t n_groups) /* zeros beyond */
{
    uint32_t n = n_groups < 4 ? n_groups : 4;
    return _mm512_maskz_loadu_epi32((__mmask16)(0xffffu >> (16 - 4 * n)), codes);
}

static inline __attribute__((always_inline)) void
sums_of(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups, __m512i sums[2])
{
    const __m512i lane_of_row =
        _mm512_set_epi32(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i both[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512i more[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()}; /* additions take time */
    uint32_t g = 0;
    for (; g + 8 <= n_groups; g += 8) {
        add_groups(entries + (size_t)16 * g, whole(codes + (size_t)16 * g), both);
        add_groups(entries + (size_t)16 * g + 64, whole(codes + (size_t)16 * g + 64), more);
    }
    for (; g < n_groups; g += 4)
        add_groups(entries + (size_t)16 * g, rest(codes + (size_t)16 * g, n_groups - g), both);
    both[0] = _mm512_add_epi32(both[0], more[0]);
    both[1] = _mm512_add_epi32(both[1], more[1]);
    sums[0] = _mm512_permutexvar_epi32(lane_of_row, both[0]);
    sums[1] = _mm512_permutexvar_epi32(lane_of_row, both[1]);
}

#include "core/kernels/scan_blocks_512.h"

void rt_scan_kernels_avx512_vbmi(struct rt_scan_kernels *table)
{
    table->block_sums = block_sums;
    table->scan = scan;
}
