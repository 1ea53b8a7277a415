#define VECTOR_BYTES 64
#include "core/kernels/propose_lanes.h"
/* count_at_most is there */
#include "core/kernels/pick_least_512.h"

#include <immintrin.h>

#define FEW 3u /* ranks that are gone through one by one */

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

/* As in propose_lanes.h, to the bit, with the reductions and conversions that this instruction set
 * has of its own: centroids and rows pass here so often that they are a tenth of a training. */
ALWAYS __m512 centred(const float *row, const float *mean, __mmask16 some)
{
    __m512 x = _mm512_maskz_loadu_ps(some, row);
    return mean ? _mm512_sub_ps(x, _mm512_maskz_loadu_ps(some, mean)) : x;
}

ALWAYS float lanes_sum(__m512 v)
{
    vf lanes[NV] = {(vf)v};
    return tree_f32(lanes);
}

ALWAYS __mmask16 mask_of(size_t i, size_t dim)
{
    return (__mmask16)(dim - i < 16 ? (1u << (dim - i)) - 1 : 0xffffu);
}

ALWAYS void quantise_about(const float *row, const float *mean, size_t dim, uint8_t *codes,
                           struct rt_quantised *out)
{
    __m512 most = _mm512_setzero_ps();
    __m512 norm2 = _mm512_setzero_ps();
    __m512 error2 = _mm512_setzero_ps();
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 some = mask_of(i, dim);
        __m512 x = centred(row + i, mean ? mean + i : NULL, some);
        most = _mm512_max_ps(_mm512_abs_ps(x), most); /* a NaN leaves most as it is */
        norm2 = _mm512_add_ps(norm2, _mm512_mul_ps(x, x));
    }
    float top = _mm512_reduce_max_ps(most);
    int is_plain = top >= 0x1p-100f && top <= 0x1p100f;
    float scale = is_plain ? top / 127.0f : 0.0f;
    float inverse = is_plain ? 127.0f / top : 0.0f;
    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 some = mask_of(i, dim);
        __mmask16 stored = dim - i < 16 ? mask_of(0, (dim - i + 3) / 4 * 4) : some;
        __m512 x = centred(row + i, mean ? mean + i : NULL, some);
        __m512 rounder = _mm512_set1_ps(ROUNDER);
        __m512 shifted = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(inverse)), rounder);
        __m512 q = _mm512_sub_ps(shifted, rounder);
        __m512 error = _mm512_sub_ps(x, _mm512_mul_ps(_mm512_set1_ps(scale), q));
        error2 = _mm512_add_ps(error2, _mm512_mul_ps(error, error));
        __m512i code =
            _mm512_xor_si512(_mm512_and_si512(_mm512_castps_si512(shifted), _mm512_set1_epi32(255)),
                             _mm512_set1_epi32(128));
        sum = _mm512_add_epi32(sum, code);
        _mm512_mask_cvtepi32_storeu_epi8(codes + i, stored, code);
    }
    *out = (struct rt_quantised){scale, lanes_sum(error2), lanes_sum(norm2),
                                 (int32_t)_mm512_reduce_add_epi32(sum) -
                                     128 * (int32_t)((dim + 15) / 16 * 16)};
}

ALWAYS float group_most(const float *const *centroids, size_t n, const float *mean, size_t dim)
{
    __m512 most = _mm512_setzero_ps();
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < dim; i += 16)
            most = _mm512_max_ps(
                _mm512_abs_ps(centred(centroids[c] + i, mean + i, mask_of(i, dim))), most);
    return _mm512_reduce_max_ps(most);
}

/* One scale for all: their sizes are alike, and one search for the greatest value serves 16. */
static void quantise_group(const float *const *centroids, size_t n, const float *mean, size_t dim,
                           int8_t *codes, struct rt_quantised *out)
{
    size_t n_steps = (dim + 3) / 4;
    float top = group_most(centroids, n, mean, dim);
    int is_plain = top >= 0x1p-100f && top <= 0x1p100f;
    float scale = is_plain ? top / 127.0f : 0.0f;
    __m512 inverse = _mm512_set1_ps(is_plain ? 127.0f / top : 0.0f);
    if (n < 16)
        memset(codes, 0, n_steps * 64);
    for (size_t c = 0; c < n; c++) {
        __m512 norm2 = _mm512_setzero_ps();
        __m512 error2 = _mm512_setzero_ps();
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < dim; i += 16) {
            _Alignas(16) int8_t bytes[16];
            size_t n_here = n_steps - i / 4 < 4 ? n_steps - i / 4 : 4;
            __m512 x = centred(centroids[c] + i, mean + i, mask_of(i, dim));
            __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
            __m512 error = _mm512_fnmadd_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(code), x);
            norm2 = _mm512_fmadd_ps(x, x, norm2);
            error2 = _mm512_fmadd_ps(error, error, error2);
            sum = _mm512_add_epi32(sum, code);
            _mm_store_si128((void *)bytes, _mm512_cvtepi32_epi8(code));
            for (size_t step = 0; step < n_here; step++)
                memcpy(codes + (i / 4 + step) * 64 + c * 4, bytes + 4 * step, 4);
        }
        out[c] = (struct rt_quantised){scale, lanes_sum(error2), lanes_sum(norm2),
                                       _mm512_reduce_add_epi32(sum)};
    }
}

static void quantise_512(const float *row, const float *mean, size_t dim, uint8_t *codes,
                         struct rt_quantised *out)
{
    if (mean)
        quantise_about(row, mean, dim, codes, out);
    else
        quantise_about(row, NULL, dim, codes, out);
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

/* The lanes of vector v that some of n entries fill. */
ALWAYS __mmask8 eight_of(size_t n, size_t v)
{
    size_t left = n > 8 * v ? n - 8 * v : 0;
    return (__mmask8)(left < 8 ? (1u << left) - 1 : 0xffu);
}

/* Each key's place is the number of lesser ones. */
ALWAYS void sort_at_most(uint64_t *keys, size_t n, size_t n_vectors)
{
    const __m512i one = _mm512_set1_epi64(1);
    __m512i key[8];
    __m512i place[8];
    for (size_t v = 0; v < n_vectors; v++) {
        place[v] = _mm512_setzero_si512();
        key[v] = _mm512_maskz_loadu_epi64(eight_of(n, v), keys + 8 * v);
    }
    for (size_t i = 0; i < n; i++) {
        __m512i other = _mm512_set1_epi64((int64_t)keys[i]);
        for (size_t v = 0; v < n_vectors; v++)
            place[v] = _mm512_mask_add_epi64(place[v], _mm512_cmplt_epu64_mask(other, key[v]),
                                             place[v], one);
    }
    for (size_t v = 0; v < n_vectors; v++)
        _mm512_mask_i64scatter_epi64(keys, eight_of(n, v), place[v], key[v], 8);
}

static void sort_few_512(uint64_t *keys, size_t n)
{
    if (n <= 16)
        sort_at_most(keys, n, 2);
    else if (n <= 32)
        sort_at_most(keys, n, 4);
    else
        sort_at_most(keys, n, 8);
}

ALWAYS __mmask16 lanes_at(size_t i, size_t n)
{
    return (__mmask16)(n - i < 16 ? 0xffffu >> (16 - (n - i)) : 0xffffu);
}

ALWAYS size_t count_at_most_512(const float *values, size_t n, float most)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 here = lanes_at(i, n);
        __m512 x = _mm512_maskz_loadu_ps(here, values + i);
        count += (unsigned)__builtin_popcount(
            _mm512_mask_cmp_ps_mask(here, x, _mm512_set1_ps(most), _CMP_LE_OQ));
    }
    return count;
}

/* The least value greater than `above`; infinity: there is none. */
ALWAYS float least_above_512(const float *values, size_t n, float above)
{
    __m512 least = _mm512_set1_ps(INFINITY);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 here = lanes_at(i, n);
        __m512 x = _mm512_maskz_loadu_ps(here, values + i);
        here = _mm512_mask_cmp_ps_mask(here, x, _mm512_set1_ps(above), _CMP_GT_OQ);
        least = _mm512_mask_min_ps(least, here, least, x);
    }
    return _mm512_reduce_min_ps(least);
}

ALWAYS float greatest_512(const float *values, size_t n)
{
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 here = lanes_at(i, n);
        most = _mm512_mask_max_ps(most, here, most, _mm512_maskz_loadu_ps(here, values + i));
    }
    return _mm512_reduce_max_ps(most);
}

/* As propose_lanes.h has it, but that a few least values are gone through one by one. */
static void find_rank_512(const float *values, size_t n, size_t rank, float *at, float *next)
{
    float low = least_above_512(values, n, -INFINITY);
    size_t count = count_at_most_512(values, n, low);
    for (; rank <= FEW && count < rank; count = count_at_most_512(values, n, low))
        low = least_above_512(values, n, low);
    if (rank == n) {
        *at = greatest_512(values, n);
        *next = INFINITY;
        return;
    }
    float high = count < rank ? greatest_512(values, n) : low;
    while (count < rank) { /* fewer than rank are <= low, at least rank are <= high */
        float middle = low + (high - low) * 0.5f;
        if (!(middle > low && middle < high))
            break;
        size_t here = count_at_most_512(values, n, middle);
        if (here > rank) {
            high = middle;
        } else {
            low = middle;
            count = here;
        }
    }
    *at = count < rank ? high : low;
    *next = count > rank ? low : least_above_512(values, n, low);
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

ALWAYS size_t count_512(const float *values, size_t n, float most)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16)
        count += (size_t)__builtin_popcount(
            _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), _mm512_set1_ps(most), _CMP_LE_OQ));
    return count;
}

/* Those <= low, and the first `spare` up to high. */
ALWAYS size_t places_512(const float *values, size_t n, float low, float high, size_t spare,
                         uint32_t *out)
{
    __m512i places = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    size_t n_out = 0;
    for (size_t i = 0; i < n; i += 16) {
        __m512 x = _mm512_loadu_ps(values + i);
        unsigned is_low = _mm512_cmp_ps_mask(x, _mm512_set1_ps(low), _CMP_LE_OQ);
        unsigned is_spare = _mm512_cmp_ps_mask(x, _mm512_set1_ps(high), _CMP_LE_OQ) & ~is_low;
        is_spare = _pdep_u32(spare < 16 ? (1u << spare) - 1 : 0xffffu, is_spare);
        spare -= (size_t)__builtin_popcount(is_spare);
        __mmask16 taken = (__mmask16)(is_low | is_spare);
        _mm512_storeu_si512(out + n_out, _mm512_maskz_compress_epi32(taken, places));
        n_out += (size_t)__builtin_popcount(taken);
        places = _mm512_add_epi32(places, _mm512_set1_epi32(16));
    }
    return n_out;
}

ALWAYS void range_512(const float *values, size_t n, float *least, float *most)
{
    __m512 infinity = _mm512_set1_ps(INFINITY);
    __m512 lows = infinity;
    __m512 highs = _mm512_sub_ps(_mm512_setzero_ps(), infinity);
    for (size_t i = 0; i < n; i += 16) {
        __m512 x = _mm512_loadu_ps(values + i);
        lows = _mm512_min_ps(x, lows);
        highs = _mm512_mask_max_ps(highs, _mm512_cmp_ps_mask(x, infinity, _CMP_LT_OQ), x, highs);
    }
    *least = _mm512_reduce_min_ps(lows);
    *most = _mm512_reduce_max_ps(highs);
}

ALWAYS size_t pick_least_of_512(const float *values, size_t n, size_t rank, uint32_t *out)
{
    return pick_least_by(range_512, count_512, places_512, values, n, rank, out);
}

static void pick_least_512(const float *values, size_t n_rows, size_t n, size_t rank,
                           const uint32_t *ids, uint32_t *out)
{
    for (size_t row = 0; row < n_rows;) {
        bool is_done = n_rows - row >= PICKED_ROWS &&
                       pick_together(values + row * n, n, rank, ids, out + row * rank);
        size_t end = n_rows - row < PICKED_ROWS ? n_rows : row + PICKED_ROWS;
        for (; row < end; row++)
            if (!is_done)
                pick_row(pick_least_of_512, values + row * n, n, rank, ids, out + row * rank);
    }
}

#include "core/kernels/int8_tile.h"

void rt_kernels_avx512(struct rt_kernels *table)
{
    fill_exact(table);
    fill_proposals(table);
    table->quantise = quantise_512;
    table->quantise_group = quantise_group;
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
    table->int8_most = int8_most;
    table->at_most = at_most;
    table->sort_few = sort_few_512;
    table->find_rank = find_rank_512;
    table->pick = pick;
    table->pick_least = pick_least_512;
    table->f16_to_f32 = f16_to_f32;
}
