/* Codes and scanning with AVX2 and F16C. The portable file says what each does; no FMA here (A2).
 */
#include "core/element.h"
#include "core/kernels/scan_kernels.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

struct lanes { /* the 16 lanes of A4 */
    __m256 low, high;
};
struct lanes_f64 {
    __m256d quarter[4];
};

static inline struct lanes zero_lanes(void)
{
    return (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
static inline struct lanes_f64 zero_lanes_f64(void)
{
    __m256d zero = _mm256_setzero_pd();
    return (struct lanes_f64){{zero, zero, zero, zero}};
}

static inline float tree_f32(struct lanes x)
{
    __m256 eight = _mm256_add_ps(x.low, x.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
static inline double tree_f64(struct lanes_f64 x)
{
    __m256d low = _mm256_add_pd(x.quarter[0], x.quarter[2]);
    __m256d high = _mm256_add_pd(x.quarter[1], x.quarter[3]);
    low = _mm256_add_pd(low, high);
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(low), _mm256_extractf128_pd(low, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

static inline struct lanes_f64 widen(struct lanes x)
{
    return (struct lanes_f64){{_mm256_cvtps_pd(_mm256_castps256_ps128(x.low)),
                               _mm256_cvtps_pd(_mm256_extractf128_ps(x.low, 1)),
                               _mm256_cvtps_pd(_mm256_castps256_ps128(x.high)),
                               _mm256_cvtps_pd(_mm256_extractf128_ps(x.high, 1))}};
}

static inline void add_product_f64(struct lanes_f64 *sum, const struct lanes_f64 *a,
                                   const struct lanes_f64 *b)
{
    for (int q = 0; q < 4; q++)
        sum->quarter[q] =
            _mm256_add_pd(sum->quarter[q], _mm256_mul_pd(a->quarter[q], b->quarter[q]));
}
static inline void add_absolute_f64(struct lanes_f64 *sum, const struct lanes_f64 *a)
{
    const __m256d sign = _mm256_set1_pd(-0.0);
    for (int q = 0; q < 4; q++)
        sum->quarter[q] = _mm256_add_pd(sum->quarter[q], _mm256_andnot_pd(sign, a->quarter[q]));
}
static inline void add_product(struct lanes *sum, struct lanes a, struct lanes b)
{
    sum->low = _mm256_add_ps(sum->low, _mm256_mul_ps(a.low, b.low));
    sum->high = _mm256_add_ps(sum->high, _mm256_mul_ps(a.high, b.high));
}
static inline struct lanes minus(struct lanes a, struct lanes b)
{
    return (struct lanes){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}

/* 16 elements from the i-th on, of which n are there; the others are 0. */
static inline struct lanes load_f32(const void *row, size_t i, size_t n)
{
    float part[16] = {0};
    const float *p = (const float *)(const void *)((const char *)row + 4 * i);
    if (n < 16) {
        memcpy(part, p, 4 * n);
        p = part;
    }
    return (struct lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline struct lanes load_f16(const void *row, size_t i, size_t n)
{
    uint16_t part[16] = {0};
    const char *p = (const char *)row + 2 * i;
    if (n < 16) {
        memcpy(part, p, 2 * n);
        p = (const char *)part;
    }
    return (struct lanes){
        _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
        _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)))};
}
static inline __m128i load_bytes(const void *row, size_t i, size_t n)
{
    uint8_t part[16] = {0};
    const char *p = (const char *)row + i;
    if (n < 16) {
        memcpy(part, p, n);
        p = (const char *)part;
    }
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
static inline struct lanes load_u8(const void *row, size_t i, size_t n)
{
    __m128i bytes = load_bytes(row, i, n);
    return (struct lanes){
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
}
static inline struct lanes load_i8(const void *row, size_t i, size_t n)
{
    __m128i bytes = load_bytes(row, i, n);
    return (struct lanes){
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
}

static inline size_t terms_at(size_t i, size_t dim)
{
    return dim - i < 16 ? dim - i : 16;
}

static void encode(const float *row, const float *c, bool dots, size_t dim, uint8_t *code,
                   struct rt_code_sums *sums)
{
    struct lanes_f64 square = zero_lanes_f64();
    struct lanes_f64 absolute = square;
    struct lanes_f64 centroid = square;
    for (size_t i = 0; i < dim; i += 16) {
        size_t n = terms_at(i, dim);
        struct lanes x = load_f32(row, i, n);
        struct lanes y = c ? load_f32(c, i, n) : zero_lanes();
        if (c)
            x = minus(x, y);
        struct lanes_f64 wide = widen(x);
        unsigned negative =
            (unsigned)_mm256_movemask_ps(x.low) | (unsigned)_mm256_movemask_ps(x.high) << 8;
        unsigned bits = ~negative & 0xffffu >> (16 - n);
        add_product_f64(&square, &wide, &wide);
        add_absolute_f64(&absolute, &wide);
        if (c && dots) {
            struct lanes_f64 wide_c = widen(y);
            add_product_f64(&centroid, &wide, &wide_c);
        }
        code[i / 8] = (uint8_t)bits;
        if (n > 8)
            code[i / 8 + 1] = (uint8_t)(bits >> 8);
    }
    *sums = (struct rt_code_sums){tree_f64(square), tree_f64(absolute), tree_f64(centroid)};
}

/* (|r0| + |r1|) + (|r2| + |r3|) of each group, in all four of its lanes. */
static inline __m256 group_most(__m256 r)
{
    __m256 x = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), r);
    x = _mm256_add_ps(x, _mm256_permute_ps(x, 0xb1));
    return _mm256_add_ps(x, _mm256_permute_ps(x, 0x4e));
}

static void table_terms(const float *v, const float *c, size_t dim, float *difference,
                        struct rt_scan_terms *terms)
{
    struct lanes square = zero_lanes();
    struct lanes dot = zero_lanes();
    __m256 most = _mm256_setzero_ps();
    for (size_t i = 0; i < dim; i += 16) {
        size_t n = terms_at(i, dim);
        struct lanes r = load_f32(v, i, n);
        if (c) {
            struct lanes y = load_f32(c, i, n);
            add_product(&dot, r, y);
            r = minus(r, y);
        }
        _mm256_storeu_ps(difference + i, r.low);
        _mm256_storeu_ps(difference + i + 8, r.high);
        add_product(&square, r, r);
        most = _mm256_max_ps(most, _mm256_max_ps(group_most(r.low), group_most(r.high)));
    }
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    *terms = (struct rt_scan_terms){tree_f32(square), tree_f32(dot), _mm_cvtss_f32(four)};
}

static void table_fill(const float *difference, uint32_t n_groups, float most, float inverse,
                       uint8_t *entries)
{
    const __m256 m = _mm256_set1_ps(most);
    const __m256 s = _mm256_set1_ps(inverse);
    const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
    const __m256 first_signs = _mm256_set_ps(0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f);
    const __m256 other_signs = _mm256_set_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
    memset(entries, 0, (size_t)(n_groups + 3) / 4 * 64);
    for (size_t g = 0; g < n_groups; g++) {
        const float *r = difference + 4 * g;
        /* entries 0..7: r2 by bit 2, -r3; low pair: bit 0 is r0, bit 1 is r1 */
        __m256 low = _mm256_add_ps(_mm256_xor_ps(_mm256_set1_ps(r[0]), other_signs),
                                   _mm256_xor_ps(_mm256_set1_ps(r[1]), first_signs));
        __m256 without = _mm256_setr_m128(_mm_set1_ps(-r[2] - r[3]), _mm_set1_ps(r[2] - r[3]));
        __m256 with = _mm256_setr_m128(_mm_set1_ps(-r[2] + r[3]), _mm_set1_ps(r[2] + r[3]));
        __m256 lower = _mm256_mul_ps(_mm256_add_ps(_mm256_add_ps(low, without), m), s);
        __m256 upper = _mm256_mul_ps(_mm256_add_ps(_mm256_add_ps(low, with), m), s);
        /* dwords of the pack: entries 0-3, 8-11 | 4-7, 12-15, then the same again as bytes */
        __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(lower), _mm256_cvtps_epi32(upper));
        __m256i bytes = _mm256_packus_epi16(words, words);
        bytes = _mm256_permutevar8x32_epi32(bytes, order);
        _mm_storeu_si128((__m128i *)(void *)(entries + 16 * g), _mm256_castsi256_si128(bytes));
    }
}

/* Row sums of up to 256 groups as 32 words in row order: 0..15, 16..31. */
static inline void word_sums(const uint8_t *entries, const uint8_t *codes, size_t n_groups,
                             __m256i words[2])
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i a[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i b[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t g = 0; g < n_groups; g += 2) {
        const __m128i *p = (const __m128i *)(const void *)(codes + 16 * g);
        __m256i code = n_groups - g >= 2 ? _mm256_loadu_si256((const __m256i *)(const void *)p)
                                         : _mm256_zextsi128_si256(_mm_loadu_si128(p));
        __m256i table = _mm256_loadu_si256((const __m256i *)(const void *)(entries + 16 * g));
        __m256i t0 = _mm256_shuffle_epi8(table, _mm256_and_si256(code, nibble));
        __m256i t1 =
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble));
        a[0] = _mm256_add_epi16(a[0], t0);
        b[0] = _mm256_add_epi16(b[0], _mm256_srli_epi16(t0, 8));
        a[1] = _mm256_add_epi16(a[1], t1);
        b[1] = _mm256_add_epi16(b[1], _mm256_srli_epi16(t1, 8));
    }
    for (int h = 0; h < 2; h++) {
        __m256i all = _mm256_add_epi16(_mm256_permute2x128_si256(a[h], b[h], 0x20),
                                       _mm256_permute2x128_si256(a[h], b[h], 0x31));
        __m256i upper = _mm256_permute2x128_si256(all, all, 0x81); /* b below, 0 above */
        words[h] = _mm256_sub_epi16(all, _mm256_slli_epi16(upper, 8));
    }
}

static inline void sums_of(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                           __m256i sums[4])
{
    for (int q = 0; q < 4; q++)
        sums[q] = _mm256_setzero_si256();
    for (size_t g = 0; g < n_groups; g += 256) {
        __m256i words[2];
        word_sums(entries + 16 * g, codes + 16 * g, n_groups - g < 256 ? n_groups - g : 256, words);
        for (size_t h = 0; h < 2; h++) {
            __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words[h]));
            __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words[h], 1));
            sums[2 * h] = _mm256_add_epi32(sums[2 * h], low);
            sums[2 * h + 1] = _mm256_add_epi32(sums[2 * h + 1], high);
        }
    }
}

static void block_sums(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                       uint32_t *sums)
{
    __m256i all[4];
    sums_of(entries, codes, n_groups, all);
    for (size_t q = 0; q < 4; q++)
        _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * q), all[q]);
}

static void scan(const struct rt_scan_table *table, const uint8_t *codes, const float *factors,
                 size_t n_blocks, float tau, float *bounds, uint32_t *kept)
{
    const __m256 scale = _mm256_set1_ps(table->scale);
    const __m256 base = _mm256_set1_ps(table->base);
    const __m256 offset = _mm256_set1_ps(table->offset);
    const __m256 width = _mm256_set1_ps(table->width);
    const __m256 most = _mm256_set1_ps(FLT_MAX);
    const __m256 limit = _mm256_set1_ps(tau);
    const size_t first = 32 * (size_t)table->first;
    for (size_t b = 0; b < n_blocks; b++) {
        __m256i sums[4];
        sums_of(table->entries, codes, table->n_groups, sums);
        kept[b] = 0;
        for (size_t q = 0; q < 4; q++) {
            const float *f = factors + 8 * q;
            __m256 e = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_cvtepi32_ps(sums[q])), base);
            __m256 rough = _mm256_add_ps(_mm256_loadu_ps(f + first), offset);
            rough = _mm256_sub_ps(rough, _mm256_mul_ps(e, _mm256_loadu_ps(f + 32)));
            __m256 bound = _mm256_sub_ps(rough, _mm256_mul_ps(_mm256_loadu_ps(f + 64), width));
            __m256 wild = _mm256_cmp_ps(bound, most, _CMP_NLE_UQ);
            bound = _mm256_blendv_ps(bound, _mm256_set1_ps(-INFINITY), wild);
            _mm256_storeu_ps(bounds + 32 * b + 8 * q, bound);
            __m256 keep = _mm256_cmp_ps(bound, limit, _CMP_LE_OQ);
            kept[b] |= (uint32_t)_mm256_movemask_ps(keep) << 8 * q;
        }
        codes += (size_t)16 * table->n_groups;
        factors += (size_t)32 * table->n_factors;
    }
}

static void between(const float *bounds, size_t n_blocks, float low, float high, uint32_t *kept)
{
    const __m256 least = _mm256_set1_ps(low);
    const __m256 most = _mm256_set1_ps(high);
    for (size_t b = 0; b < n_blocks; b++) {
        kept[b] = 0;
        for (size_t q = 0; q < 4; q++, bounds += 8) {
            __m256 x = _mm256_loadu_ps(bounds);
            __m256 keep = _mm256_and_ps(_mm256_cmp_ps(x, least, _CMP_NLE_UQ),
                                        _mm256_cmp_ps(x, most, _CMP_LE_OQ));
            kept[b] |= (uint32_t)_mm256_movemask_ps(keep) << 8 * q;
        }
    }
}

/* x_i := (f32)((f64)x_i / norm) */
static inline struct lanes scaled(struct lanes x, double norm)
{
    struct lanes_f64 wide = widen(x);
    const __m256d divisor = _mm256_set1_pd(norm);
    __m128 quarter[4];
    for (int q = 0; q < 4; q++)
        quarter[q] = _mm256_cvtpd_ps(_mm256_div_pd(wide.quarter[q], divisor));
    return (struct lanes){_mm256_setr_m128(quarter[0], quarter[1]),
                          _mm256_setr_m128(quarter[2], quarter[3])};
}

#include "core/kernels/scan_rows.h"

void rt_scan_kernels_avx2(struct rt_scan_kernels *table)
{
    *table = (struct rt_scan_kernels){
        .encode = encode,
        .table_terms = table_terms,
        .table_fill = table_fill,
        .block_sums = block_sums,
        .scan = scan,
        .between = between,
        .seed = table->seed, /* the portable one */
        .rows_l2 = RT_BY_ELEMENT(rows_l2),
        .rows_ip = RT_BY_ELEMENT(rows_ip),
        .rows_cosine = RT_BY_ELEMENT(rows_cosine),
    };
}
