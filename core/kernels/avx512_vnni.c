#include "core/kernels/avx512_finish.h"

#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* Sums of a few rows and groups in registers, each a variable of its own: arrays of them make the
 * compiler move all of them about in every step. s_rg is row r, group g. */
#define EACH_G1(M, r) M(r, 0)
#define EACH_G2(M, r) EACH_G1(M, r) M(r, 1)
#define EACH_G3(M, r) EACH_G2(M, r) M(r, 2)
#define EACH_G4(M, r) EACH_G3(M, r) M(r, 3)
#define EACH_G5(M, r) EACH_G4(M, r) M(r, 4)
#define EACH_G6(M, r) EACH_G5(M, r) M(r, 5)
#define EACH_R1(M, g) M(0, g)
#define EACH_R4(M, g) M(0, g) M(1, g) M(2, g) M(3, g)
#define EACH_R6(M, g) EACH_R4(M, g) M(4, g) M(5, g)
#define EACH_R8(M, g) EACH_R6(M, g) M(6, g) M(7, g)
#define EACH_R12(M, g) EACH_R8(M, g) M(8, g) M(9, g) M(10, g) M(11, g)

#define DECLARE(r, g) __m512i s_##r##_##g = _mm512_setzero_si512();
#define LOAD(r, g)                                                                                 \
    __m512i c_##g = _mm512_load_si512((const void *)(codes + ((size_t)(g)*n_steps + step) * 64));
/* The instruction itself: gcc 12 copies every sum twice a step around its intrinsic. */
#define ADD(r, g) __asm__("vpdpbusd %2, %1, %0" : "+v"(s_##r##_##g) : "v"(x_##r), "v"(c_##g));
#define STORE(r, g)                                                                                \
    _mm512_store_si512((void *)(out + (size_t)(r)*64 + (size_t)(g)*16), s_##r##_##g);
#define DECLARE_ROW(r, each_group)                                                                 \
    const uint8_t *row_##r = rows[r];                                                              \
    each_group(DECLARE, r)
#define STEP_ROW(r, each_group)                                                                    \
    int32_t four_##r;                                                                              \
    memcpy(&four_##r, row_##r + 4 * step, sizeof four_##r);                                        \
    __m512i x_##r = _mm512_set1_epi32(four_##r);                                                   \
    each_group(ADD, r)
#define STORE_ROW(r, each_group) each_group(STORE, r)

/* out: 64 for each row, 16 a group; 64-byte aligned. */
/* clang-format off */
#define PRODUCTS(n_rows, n_groups)                                                                 \
    ALWAYS void products_##n_rows##_##n_groups(const struct rt_int8_tile *tile,                    \
                                               const uint8_t *const *rows, int32_t *out)           \
    {                                                                                              \
        const int8_t *codes = tile->codes;                                                         \
        size_t n_steps = tile->n_steps;                                                            \
        EACH_R##n_rows(DECLARE_ROW, EACH_G##n_groups)                                              \
        for (size_t step = 0; step < n_steps; step++) {                                            \
            EACH_G##n_groups(LOAD, 0)                                                              \
            EACH_R##n_rows(STEP_ROW, EACH_G##n_groups)                                             \
        }                                                                                          \
        EACH_R##n_rows(STORE_ROW, EACH_G##n_groups)                                                \
    }
/* clang-format on */
PRODUCTS(4, 4)
PRODUCTS(6, 3)
PRODUCTS(8, 2)
PRODUCTS(12, 1)
PRODUCTS(4, 3)
PRODUCTS(4, 2)
PRODUCTS(4, 1)
PRODUCTS(1, 4)
PRODUCTS(1, 3)
PRODUCTS(1, 2)
PRODUCTS(1, 1)

ALWAYS void products(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                     size_t n_groups, int32_t *out)
{
    switch (n_rows == 1 ? n_groups : n_rows == 4 ? 8 + n_groups : 4 + n_groups) { /* a constant */
    case 1:
        products_1_1(tile, rows, out);
        break;
    case 2:
        products_1_2(tile, rows, out);
        break;
    case 3:
        products_1_3(tile, rows, out);
        break;
    case 4:
        products_1_4(tile, rows, out);
        break;
    case 5:
        products_12_1(tile, rows, out);
        break;
    case 6:
        products_8_2(tile, rows, out);
        break;
    case 7:
        products_6_3(tile, rows, out);
        break;
    case 9:
        products_4_1(tile, rows, out);
        break;
    case 10:
        products_4_2(tile, rows, out);
        break;
    case 11:
        products_4_3(tile, rows, out);
        break;
    default:
        products_4_4(tile, rows, out);
    }
}

/* Of n_rows, a constant, those up to n_wanted. */
ALWAYS void part(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                 size_t n_wanted, size_t n_groups, const float *row_scale, const float *threshold,
                 float *a, uint64_t *mask, float *least)
{
    _Alignas(64) int32_t sums[12 * 64];
    products(tile, rows, n_rows, n_groups, sums);
    for (size_t r = 0; r < n_wanted; r++)
        finish_row(tile, sums + r * 64, 16, tile->sums, n_groups, row_scale[r],
                   least ? 0.0f : threshold[r], a + 64 * r, least ? NULL : mask + r,
                   least ? least + r : NULL);
}

ALWAYS void all_rows(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                     size_t at_once, size_t n_groups, const float *row_scale,
                     const float *threshold, float *a, uint64_t *mask, float *least)
{
    size_t r = 0;
    for (; r + at_once <= n_rows; r += at_once)
        part(tile, rows + r, at_once, at_once, n_groups, row_scale + r,
             least ? NULL : threshold + r, a + 64 * r, least ? NULL : mask + r,
             least ? least + r : NULL);
    for (; r + 1 < n_rows; r += 4) { /* one sum alone waits for itself in every step */
        const uint8_t *four[4];
        size_t n = n_rows - r < 4 ? n_rows - r : 4;
        for (size_t i = 0; i < 4; i++)
            four[i] = rows[r + (i < n ? i : 0)];
        part(tile, four, 4, n, n_groups, row_scale + r, least ? NULL : threshold + r, a + 64 * r,
             least ? NULL : mask + r, least ? least + r : NULL);
    }
    for (; r < n_rows; r++)
        part(tile, rows + r, 1, 1, n_groups, row_scale + r, least ? NULL : threshold + r,
             a + 64 * r, least ? NULL : mask + r, least ? least + r : NULL);
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

void rt_int8_tile_vnni(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                       const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                       float *least)
{
    if (least)
        by_groups(tile, rows, n_rows, row_scale, NULL, a, NULL, least);
    else
        by_groups(tile, rows, n_rows, row_scale, threshold, a, mask, NULL);
}

/* ---- the least of each row ---- */

#define START_ROW(r, each_group)                                                                   \
    const uint8_t *row_##r = rows[r];                                                              \
    each_group(DECLARE, r)
#define FINISH(r, g)                                                                               \
    low_##r = _mm512_min_ps(                                                                       \
        low_##r,                                                                                   \
        _mm512_fmadd_ps(                                                                           \
            factor_##r,                                                                            \
            _mm512_mul_ps(_mm512_loadu_ps(part->scale + (size_t)16 * (g)),                         \
                          _mm512_cvtepi32_ps(_mm512_sub_epi32(                                     \
                              s_##r##_##g, _mm512_loadu_si512(part->sums + (size_t)16 * (g))))),   \
            _mm512_loadu_ps(part->norm + (size_t)16 * (g))));
#define FINISH_ROW(r, each_group)                                                                  \
    __m512 factor_##r = _mm512_set1_ps(row_scale[r]);                                              \
    __m512 low_##r = _mm512_load_ps(low + (size_t)16 * (r));                                       \
    each_group(FINISH, r) _mm512_store_ps(low + (size_t)16 * (r), low_##r);

/* Each a function of its own, or the compiler moves sums about. low: 16 lanes for each row. */
#define NOINLINE __attribute__((noinline))
/* clang-format off */
#define LEAST(n_rows, n_groups)                                                                    \
    static NOINLINE void least_##n_rows##_##n_groups(const struct rt_int8_tile *part,                       \
                                            const uint8_t *const *rows, const float *row_scale,    \
                                            float *low)                                            \
    {                                                                                              \
        const int8_t *codes = part->codes;                                                         \
        size_t n_steps = part->n_steps;                                                            \
        EACH_R##n_rows(START_ROW, EACH_G##n_groups)                                                \
        for (size_t step = 0; step < n_steps; step++) {                                            \
            EACH_G##n_groups(LOAD, 0)                                                              \
            EACH_R##n_rows(STEP_ROW, EACH_G##n_groups)                                             \
        }                                                                                          \
        EACH_R##n_rows(FINISH_ROW, EACH_G##n_groups)                                               \
    }
/* clang-format on */
/* The analyser does not see that the instruction itself writes sums. */
/* NOLINTBEGIN(clang-analyzer-core.*) */
LEAST(4, 4)
LEAST(4, 3)
LEAST(4, 2)
LEAST(4, 1)
LEAST(1, 4)
LEAST(1, 3)
LEAST(1, 2)
LEAST(1, 1)
/* NOLINTEND(clang-analyzer-core.*) */

/* n_rows: 1 or 4, a constant. */
ALWAYS void least_of(const struct rt_int8_tile *cell, const uint8_t *const *rows, size_t n_rows,
                     const float *row_scale, float *least)
{
    _Alignas(64) float low[4 * 16];
    for (size_t r = 0; r < n_rows; r++)
        _mm512_store_ps(low + 16 * r, _mm512_set1_ps(INFINITY));
    size_t n_parts = (cell->n_groups + 3) / 4; /* of about the same size */
    for (size_t i = 0, group = 0; i < n_parts; i++) {
        size_t n_here = cell->n_groups * (i + 1) / n_parts - group;
        struct rt_int8_tile part = rt_int8_tile_part(cell, group, n_here);
        switch (n_rows == 1 ? n_here : 4 + n_here) {
        case 1:
            least_1_1(&part, rows, row_scale, low);
            break;
        case 2:
            least_1_2(&part, rows, row_scale, low);
            break;
        case 3:
            least_1_3(&part, rows, row_scale, low);
            break;
        case 4:
            least_1_4(&part, rows, row_scale, low);
            break;
        case 5:
            least_4_1(&part, rows, row_scale, low);
            break;
        case 6:
            least_4_2(&part, rows, row_scale, low);
            break;
        case 7:
            least_4_3(&part, rows, row_scale, low);
            break;
        default:
            least_4_4(&part, rows, row_scale, low);
        }
        group += n_here;
    }
    for (size_t r = 0; r < n_rows; r++)
        least[r] = _mm512_reduce_min_ps(_mm512_load_ps(low + 16 * r));
}

void rt_int8_least_vnni(const struct rt_int8_tile *cell, const struct rt_int8_rows *rows,
                        float *least)
{
    const uint8_t *codes[4];
    float scale[4];
    for (size_t at = 0; at < rows->n;) {
        size_t n = rows->n - at < 4 ? 1 : 4;
        rt_int8_rows_find(rows, at, n, codes, scale);
        if (n == 4)
            least_of(cell, codes, 4, scale, least + at);
        else
            least_of(cell, codes, 1, scale, least + at);
        at += n;
    }
}

/* ---- the greatest sum of each row ---- */

#define BEGIN(r, g)                                                                                \
    __m512i s_##r##_##g = _mm512_sub_epi32(_mm512_loadu_si512(starts + (size_t)16 * (g)),          \
                                           _mm512_loadu_si512(offsets + (size_t)16 * (g)));
#define BEGIN_ROW(r, each_group)                                                                   \
    const uint8_t *row_##r = rows[r];                                                              \
    each_group(BEGIN, r)
#define SPREAD(r, each_group)                                                                      \
    int32_t four_##r;                                                                              \
    memcpy(&four_##r, row_##r + 4 * step, sizeof four_##r);                                        \
    __m512i x_##r = _mm512_set1_epi32(four_##r);
#define MULTIPLY(n_rows, g)                                                                        \
    {                                                                                              \
        LOAD(0, g)                                                                                 \
        EACH_R##n_rows(ADD, g)                                                                     \
    }
#define RAISE(r, g) most_##r = _mm512_max_epi32(most_##r, s_##r##_##g);
#define RAISE_ROW(r, each_group)                                                                   \
    __m512i most_##r = _mm512_load_si512((const void *)(most + (size_t)16 * (r)));                 \
    each_group(RAISE, r) _mm512_store_si512((void *)(most + (size_t)16 * (r)), most_##r);

/* most: 16 lanes for each row. Groups go one by one through a register, so that six fit. */
/* clang-format off */
#define MOST(n_rows, n_groups)                                                                     \
    static NOINLINE void most_##n_rows##_##n_groups(                                               \
        const int8_t *codes, size_t n_steps, const int32_t *starts, const int32_t *offsets,        \
        const uint8_t *const *rows, int32_t *most)                                                 \
    {                                                                                              \
        EACH_R##n_rows(BEGIN_ROW, EACH_G##n_groups)                                                \
        for (size_t step = 0; step < n_steps; step++) {                                            \
            EACH_R##n_rows(SPREAD, 0)                                                              \
            EACH_G##n_groups(MULTIPLY, n_rows)                                                     \
        }                                                                                          \
        EACH_R##n_rows(RAISE_ROW, EACH_G##n_groups)                                                \
    }
/* clang-format on */
MOST(4, 6)
MOST(4, 5)
MOST(4, 4)
MOST(4, 3)
MOST(4, 2)
MOST(4, 1)

typedef void most_of(const int8_t *codes, size_t n_steps, const int32_t *starts,
                     const int32_t *offsets, const uint8_t *const *rows, int32_t *most);

/* Lane r: the greatest of 16 lanes of most. */
ALWAYS __m128i most_of_rows(const int32_t *most)
{
    __m512i m[4];
    for (size_t r = 0; r < 4; r++)
        m[r] = _mm512_load_si512((const void *)(most + 16 * r));
    __m512i even =
        _mm512_max_epi32(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
    __m512i odd =
        _mm512_max_epi32(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
    __m512i four =
        _mm512_max_epi32(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd));
    __m256i two =
        _mm256_max_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
    return _mm_max_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}

/* Four rows at once; the last of them again where fewer are left. */
void rt_int8_most_vnni(const struct rt_int8_cell *cell, const struct rt_int8_rows *rows,
                       int32_t *out)
{
    static most_of *const of_groups[] = {most_4_1, most_4_2, most_4_3,
                                         most_4_4, most_4_5, most_4_6};
    size_t n_parts = (cell->n_groups + 5) / 6; /* of about the same size */
    for (size_t at = 0; at < rows->n; at += 4) {
        _Alignas(64) int32_t most[4 * 16];
        _Alignas(16) int32_t found[4];
        const uint8_t *codes[4];
        size_t n = rows->n - at < 4 ? rows->n - at : 4;
        for (size_t r = 0; r < 4; r++) {
            codes[r] = rt_int8_row(rows, at + (r < n ? r : n - 1));
            _mm512_store_si512((void *)(most + 16 * r), _mm512_set1_epi32(INT32_MIN));
        }
        for (size_t i = 0, group = 0; i < n_parts; i++) {
            size_t end = cell->n_groups * (i + 1) / n_parts;
            of_groups[end - group - 1](cell->codes + group * cell->n_steps * 64, cell->n_steps,
                                       cell->starts + 16 * group, cell->sums + 16 * group, codes,
                                       most);
            group = end;
        }
        _mm_store_si128((void *)found, most_of_rows(most));
        memcpy(out + at, found, n * sizeof *out);
    }
}

void rt_kernels_avx512_vnni(struct rt_kernels *table)
{
    table->int8_tile = rt_int8_tile_vnni;
    table->int8_least = rt_int8_least_vnni;
    table->int8_most = rt_int8_most_vnni;
}
