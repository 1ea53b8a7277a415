/* Codes and scanning with AVX-512 (F, BW, DQ, VL). The portable file says what each does; no FMA
 * here (A2). */
#include "core/element.h"
#include "core/kernels/scan_kernels.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>

/* The first n (1..16) of 16 lanes. */
static inline __mmask16 first_lanes(size_t n)
{
    return (__mmask16)(0xffffu >> (16 - n));
}

static inline float tree_f32(__m512 lanes)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* low holds lanes 0..7, high lanes 8..15. */
static inline double tree_f64(__m512d low, __m512d high)
{
    __m512d eight = _mm512_add_pd(low, high);
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

static inline __m512d low_f64(__m512 x)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}
static inline __m512d high_f64(__m512 x)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}

static void encode(const float *row, const float *c, bool dots, size_t dim, uint8_t *code,
                   struct rt_code_sums *sums)
{
    __m512d square[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    __m512d absolute[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    __m512d centroid[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (size_t i = 0; i < dim; i += 16) {
        size_t left = dim - i < 16 ? dim - i : 16;
        __mmask16 mask = first_lanes(left);
        __m512 x = _mm512_maskz_loadu_ps(mask, row + i);
        __m512 y = c ? _mm512_maskz_loadu_ps(mask, c + i) : _mm512_setzero_ps();
        if (c)
            x = _mm512_sub_ps(x, y);
        unsigned bits = ~(unsigned)_mm512_movepi32_mask(_mm512_castps_si512(x)) & mask;
        __m512d low = low_f64(x);
        __m512d high = high_f64(x);
        square[0] = _mm512_add_pd(square[0], _mm512_mul_pd(low, low));
        square[1] = _mm512_add_pd(square[1], _mm512_mul_pd(high, high));
        absolute[0] = _mm512_add_pd(absolute[0], _mm512_abs_pd(low));
        absolute[1] = _mm512_add_pd(absolute[1], _mm512_abs_pd(high));
        if (c && dots) {
            centroid[0] = _mm512_add_pd(centroid[0], _mm512_mul_pd(low, low_f64(y)));
            centroid[1] = _mm512_add_pd(centroid[1], _mm512_mul_pd(high, high_f64(y)));
        }
        code[i / 8] = (uint8_t)bits;
        if (left > 8)
            code[i / 8 + 1] = (uint8_t)(bits >> 8);
    }
    sums->square = tree_f64(square[0], square[1]);
    sums->absolute = tree_f64(absolute[0], absolute[1]);
    sums->centroid = tree_f64(centroid[0], centroid[1]);
}

static void table_terms(const float *v, const float *c, size_t dim, float *difference,
                        struct rt_scan_terms *terms)
{
    __m512 square = _mm512_setzero_ps();
    __m512 dot = _mm512_setzero_ps();
    __m512 most = _mm512_setzero_ps();
    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first_lanes(dim - i < 16 ? dim - i : 16);
        __m512 r = _mm512_maskz_loadu_ps(mask, v + i);
        if (c) {
            __m512 y = _mm512_maskz_loadu_ps(mask, c + i);
            dot = _mm512_add_ps(dot, _mm512_mul_ps(r, y));
            r = _mm512_sub_ps(r, y);
        }
        _mm512_storeu_ps(difference + i, r);
        square = _mm512_add_ps(square, _mm512_mul_ps(r, r));
        __m512 entry = _mm512_abs_ps(r);
        entry = _mm512_add_ps(entry, _mm512_permute_ps(entry, 0xb1)); /* |r0| + |r1| in 0 and 1 */
        entry = _mm512_add_ps(entry, _mm512_permute_ps(entry, 0x4e));
        most = _mm512_max_ps(most, entry);
    }
    terms->square = tree_f32(square);
    terms->dot = tree_f32(dot);
    terms->most = _mm512_reduce_max_ps(most);
}

/* The 16 entries of group g of four, as integers. Table pairs: lanes 2p, 2p+1 of sum and difference
 * belong to pair p. */
static inline __m512i entries_of(__m512 sum, __m512 difference, int g, __m512 most, __m512 inverse)
{
    /* entry m of a pair: 0 -> -(a+b), 1 -> a-b, 2 -> b-a, 3 -> a+b; difference lane 2p is a-b, lane
     * 2p+1 is b-a */
    const __m512i low_choice =
        _mm512_set_epi32(0, 17, 16, 0, 0, 17, 16, 0, 0, 17, 16, 0, 0, 17, 16, 0);
    const __m512i high_choice =
        _mm512_set_epi32(2, 2, 2, 2, 19, 19, 19, 19, 18, 18, 18, 18, 2, 2, 2, 2);
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    __m512i shift = _mm512_set1_epi32(4 * g);
    __m512 low = _mm512_permutex2var_ps(sum, _mm512_add_epi32(low_choice, shift), difference);
    __m512 high = _mm512_permutex2var_ps(sum, _mm512_add_epi32(high_choice, shift), difference);
    low = _mm512_castsi512_ps(
        _mm512_mask_xor_epi32(_mm512_castps_si512(low), 0x1111, _mm512_castps_si512(low), sign));
    high = _mm512_castsi512_ps(
        _mm512_mask_xor_epi32(_mm512_castps_si512(high), 0x000f, _mm512_castps_si512(high), sign));
    return _mm512_cvtps_epi32(
        _mm512_mul_ps(_mm512_add_ps(_mm512_add_ps(low, high), most), inverse));
}

static void table_fill(const float *difference, uint32_t n_groups, float most, float inverse,
                       uint8_t *entries)
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512 m = _mm512_set1_ps(most);
    __m512 s = _mm512_set1_ps(inverse);
    for (size_t g = 0; g < n_groups; g += 4) {
        __m512 a = _mm512_loadu_ps(difference + 4 * g);
        __m512 b = _mm512_permute_ps(a, 0xb1);
        __m512 sum = _mm512_add_ps(a, b);
        __m512 diff = _mm512_sub_ps(a, b);
        __m512i low =
            _mm512_packs_epi32(entries_of(sum, diff, 0, m, s), entries_of(sum, diff, 1, m, s));
        __m512i high =
            _mm512_packs_epi32(entries_of(sum, diff, 2, m, s), entries_of(sum, diff, 3, m, s));
        /* dword 4q + g now holds entries 4q..4q+3 of group g */
        __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
        __mmask16 mask = 0xffff;
        if (n_groups - g < 4)
            mask = first_lanes(4 * (n_groups - g));
        _mm512_storeu_si512(entries + 16 * g, _mm512_maskz_mov_epi32(mask, bytes));
    }
}

/* Row sums of up to 256 groups as 32 words in row order. */
static inline __m512i word_sums(const uint8_t *entries, const uint8_t *codes, size_t n_groups)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i a0 = _mm512_setzero_si512(); /* words: rows w + 256 x rows w+8; then rows w+8; then the
                                            same of the */
    __m512i b0 = _mm512_setzero_si512(); /* rows 16 higher */
    __m512i a1 = _mm512_setzero_si512();
    __m512i b1 = _mm512_setzero_si512();
    for (size_t g = 0; g < n_groups; g += 4) {
        __m512i code = n_groups - g >= 4 ? _mm512_loadu_si512(codes + 16 * g)
                                         : _mm512_maskz_loadu_epi32(first_lanes(4 * (n_groups - g)),
                                                                    codes + 16 * g);
        __m512i table = _mm512_loadu_si512(entries + 16 * g);
        __m512i t0 = _mm512_shuffle_epi8(table, _mm512_and_si512(code, nibble));
        __m512i t1 =
            _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(code, 4), nibble));
        a0 = _mm512_add_epi16(a0, t0);
        b0 = _mm512_add_epi16(b0, _mm512_srli_epi16(t0, 8));
        a1 = _mm512_add_epi16(a1, t1);
        b1 = _mm512_add_epi16(b1, _mm512_srli_epi16(t1, 8));
    }
    __m512i ab0 =
        _mm512_add_epi16(_mm512_shuffle_i64x2(a0, b0, 0x44), _mm512_shuffle_i64x2(a0, b0, 0xee));
    __m512i ab1 =
        _mm512_add_epi16(_mm512_shuffle_i64x2(a1, b1, 0x44), _mm512_shuffle_i64x2(a1, b1, 0xee));
    __m512i all = _mm512_add_epi16(_mm512_shuffle_i64x2(ab0, ab1, 0x88),
                                   _mm512_shuffle_i64x2(ab0, ab1, 0xdd));
    __m512i upper =
        _mm512_maskz_shuffle_i64x2(0x33, all, all, 0xf5); /* what a's words hold too much */
    return _mm512_sub_epi16(all, _mm512_slli_epi16(upper, 8));
}

static inline void sums_of(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                           __m512i sums[2])
{
    sums[0] = _mm512_setzero_si512();
    sums[1] = _mm512_setzero_si512();
    for (size_t g = 0; g < n_groups; g += 256) {
        size_t n = n_groups - g < 256 ? n_groups - g : 256;
        __m512i words = word_sums(entries + 16 * g, codes + 16 * g, n);
        sums[0] = _mm512_add_epi32(sums[0], _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words)));
        sums[1] =
            _mm512_add_epi32(sums[1], _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(words, 1)));
    }
}

#include "core/kernels/scan_blocks_512.h"

static void between(const float *bounds, size_t n_blocks, float low, float high, uint32_t *kept)
{
    const __m512 least = _mm512_set1_ps(low);
    const __m512 most = _mm512_set1_ps(high);
    for (size_t b = 0; b < n_blocks; b++, bounds += 32) {
        __m512 x = _mm512_loadu_ps(bounds);
        __m512 y = _mm512_loadu_ps(bounds + 16);
        __mmask16 first = _mm512_cmp_ps_mask(x, least, _CMP_NLE_UQ);
        __mmask16 second = _mm512_cmp_ps_mask(y, least, _CMP_NLE_UQ);
        first = _mm512_mask_cmp_ps_mask(first, x, most, _CMP_LE_OQ);
        second = _mm512_mask_cmp_ps_mask(second, y, most, _CMP_LE_OQ);
        kept[b] = (uint32_t)first | (uint32_t)second << 16;
    }
}

static float seed(const float *bounds, size_t n, uint32_t most)
{
    __m512 least = _mm512_set1_ps(INFINITY);
    __m512i n_below = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 here = first_lanes(n - i < 16 ? n - i : 16);
        least = _mm512_mask_min_ps(least, here, least, _mm512_maskz_loadu_ps(here, bounds + i));
    }
    for (int l = 0; l < 16; l++) {
        __m512 other = _mm512_permutexvar_ps(_mm512_set1_epi32(l), least);
        __mmask16 below = _mm512_cmp_ps_mask(other, least, _CMP_LE_OQ);
        n_below = _mm512_mask_sub_epi32(n_below, below, n_below, _mm512_set1_epi32(-1));
    }
    __mmask16 enough = _mm512_cmpge_epu32_mask(n_below, _mm512_set1_epi32((int)most));
    return _mm512_mask_reduce_min_ps(enough, least);
}

static inline __m512 load_f32(const void *row, size_t i, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, (const char *)row + 4 * i);
}
static inline __m512 load_f16(const void *row, size_t i, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const char *)row + 2 * i));
}
static inline __m512 load_u8(const void *row, size_t i, __mmask16 mask)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)row + i)));
}
static inline __m512 load_i8(const void *row, size_t i, __mmask16 mask)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)row + i)));
}

static inline __m512 add_square(__m512 sum, __m512 a, __m512 b)
{
    __m512 x = _mm512_sub_ps(a, b);
    return _mm512_add_ps(sum, _mm512_mul_ps(x, x));
}

/* x_i := (f32)((f64)x_i / norm) */
static inline __m512 scaled(__m512 x, __m512d norm)
{
    __m256 low = _mm512_cvtpd_ps(_mm512_div_pd(low_f64(x), norm));
    __m256 high = _mm512_cvtpd_ps(_mm512_div_pd(high_f64(x), norm));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/* Runs `step` for each 16 terms: mask and i are theirs; the whole ones first, with a constant mask.
 */
#define RT_EACH_16(step)                                                                           \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        __mmask16 mask = 0xffff;                                                                   \
        for (; i + 16 <= dim; i += 16) {                                                           \
            step;                                                                                  \
        }                                                                                          \
        if (i < dim) {                                                                             \
            mask = first_lanes(dim - i);                                                           \
            step;                                                                                  \
        }                                                                                          \
    } while (0)

/* tree_f32 of four at once: the same additions. */
static inline __m128 tree_f32_4(const __m512 lanes[4])
{
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(lanes[0], lanes[1], 0x44),
                              _mm512_shuffle_f32x4(lanes[0], lanes[1], 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(lanes[2], lanes[3], 0x44),
                              _mm512_shuffle_f32x4(lanes[2], lanes[3], 0xee));
    __m512 four =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    four = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4e));
    four = _mm512_add_ps(four, _mm512_permute_ps(four, 0xb1));
    return _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, four));
}

static inline __m512 add_product(__m512 sum, __m512 a, __m512 b)
{
    return _mm512_add_ps(sum, _mm512_mul_ps(a, b));
}

/* Four rows at once, whose additions do not wait for each other; what is left one by one. */
#define RT_ROWS(name, type, add, is_minus)                                                         \
    static void rows_##name##_##type(const float *query, const void *const *rows, size_t n,        \
                                     size_t dim, float *out)                                       \
    {                                                                                              \
        for (size_t r = 0, some; r < n; r += some) {                                               \
            some = n - r < 4 ? 1 : 4;                                                              \
            __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),        \
                             _mm512_setzero_ps()};                                                 \
            if (some == 4)                                                                         \
                RT_EACH_16(__m512 q = load_f32(query, i, mask);                                    \
                           sum[0] = add(sum[0], load_##type(rows[r], i, mask), q);                 \
                           sum[1] = add(sum[1], load_##type(rows[r + 1], i, mask), q);             \
                           sum[2] = add(sum[2], load_##type(rows[r + 2], i, mask), q);             \
                           sum[3] = add(sum[3], load_##type(rows[r + 3], i, mask), q));            \
            else                                                                                   \
                RT_EACH_16(sum[0] = add(sum[0], load_##type(rows[r], i, mask),                     \
                                        load_f32(query, i, mask)));                                \
            __m128 all = tree_f32_4(sum);                                                          \
            all = (is_minus) ? _mm_sub_ps(_mm_setzero_ps(), all) : all;                            \
            _mm_mask_storeu_ps(out + r, some == 4 ? 15 : 1, all);                                  \
        }                                                                                          \
    }

#define RT_ROW_FUNCTIONS(type)                                                                     \
    RT_ROWS(l2, type, add_square, false)                                                           \
    RT_ROWS(ip, type, add_product, true)                                                           \
    static float cosine_##type(const float *query, const void *row, size_t dim)                    \
    {                                                                                              \
        __m512d low = _mm512_setzero_pd();                                                         \
        __m512d high = _mm512_setzero_pd();                                                        \
        RT_EACH_16(__m512 x = load_##type(row, i, mask);                                           \
                   low = _mm512_add_pd(low, _mm512_mul_pd(low_f64(x), low_f64(x)));                \
                   high = _mm512_add_pd(high, _mm512_mul_pd(high_f64(x), high_f64(x))));           \
        __m512d norm = _mm512_set1_pd(sqrt(tree_f64(low, high)));                                  \
        __m512 sum = _mm512_setzero_ps();                                                          \
        RT_EACH_16(sum = add_square(sum, scaled(load_##type(row, i, mask), norm),                  \
                                    load_f32(query, i, mask)));                                    \
        return tree_f32(sum);                                                                      \
    }                                                                                              \
    RT_ROW_BY_ROW(cosine_##type)
RT_ROW_FUNCTIONS(f32)
RT_ROW_FUNCTIONS(f16)
RT_ROW_FUNCTIONS(u8)
RT_ROW_FUNCTIONS(i8)

void rt_scan_kernels_avx512(struct rt_scan_kernels *table)
{
    *table = (struct rt_scan_kernels){
        .encode = encode,
        .table_terms = table_terms,
        .table_fill = table_fill,
        .block_sums = block_sums,
        .scan = scan,
        .between = between,
        .seed = seed,
        .rows_l2 = RT_BY_ELEMENT(rows_l2),
        .rows_ip = RT_BY_ELEMENT(rows_ip),
        .rows_cosine = RT_BY_ELEMENT(rows_cosine),
    };
}
