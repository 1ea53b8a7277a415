/* The exact kernels over vectors of VECTOR_BYTES (16, 32 or 64), included once by the file of each
 * instruction set. Written in the compiler's vector arithmetic, which is IEEE element by element:
 * 16 / (VECTOR_BYTES / 4) vectors are the 16 lanes of A4, so the bits are those of portable.c by
 * construction. */
#ifndef RT_CORE_KERNELS_EXACT_LANES_H
#define RT_CORE_KERNELS_EXACT_LANES_H

#include "core/kernels/fht_plain.h"
#include "core/kernels/kernels.h"

#include <math.h>
#include <string.h>
#ifdef __FMA__
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef double vd __attribute__((vector_size(VECTOR_BYTES)));
typedef float vh __attribute__((vector_size(VECTOR_BYTES / 2))); /* as many f32 as a vd has f64 */
typedef uint32_t vu __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t vq __attribute__((vector_size(VECTOR_BYTES)));

#define WIDTH ((size_t)VECTOR_BYTES / 4)
#define NV (16 / WIDTH)       /* vectors of f32 in 16 lanes */
#define ND (16 / (WIDTH / 2)) /* of f64 */
#define ALWAYS static inline __attribute__((always_inline))

ALWAYS void load_f32(vf *v, const float *x)
{
    for (size_t k = 0; k < NV; k++)
        memcpy(&v[k], x + k * WIDTH, sizeof v[k]);
}

ALWAYS void load_f64(vd *v, const float *x)
{
    for (size_t k = 0; k < ND; k++) {
        vh half;
        memcpy(&half, x + k * (WIDTH / 2), sizeof half);
        v[k] = __builtin_convertvector(half, vd);
    }
}

/* l += l+8, l+4, l+2, l+1 (A4), in vectors of 8 and 4 lanes. */
typedef float vf8 __attribute__((vector_size(32)));
typedef float vf4 __attribute__((vector_size(16)));
typedef double vd4 __attribute__((vector_size(32)));

ALWAYS float tree_f32(const vf *v)
{
    vf8 eight[2];
    vf4 four[2];
    memcpy(eight, v, sizeof eight);
    eight[0] += eight[1];
    memcpy(four, eight, sizeof four);
    four[0] += four[1];
    return (four[0][0] + four[0][2]) + (four[0][1] + four[0][3]);
}

ALWAYS double tree_f64(const vd *v)
{
    vd4 four[4];
    memcpy(four, v, sizeof four);
    four[0] += four[2];
    four[1] += four[3];
    four[0] += four[1];
    return (four[0][0] + four[0][2]) + (four[0][1] + four[0][3]);
}

/* The last dim % 16 values, then zeros: a missing term is 0 x 0, which changes no lane. */
ALWAYS const float *tail_of(const float *x, size_t dim, float *padded)
{
    memset(padded, 0, 16 * sizeof *padded);
    memcpy(padded, x + dim / 16 * 16, dim % 16 * sizeof *padded);
    return padded;
}

ALWAYS void l2_step(vf *lane, const vf *a, const float *b)
{
    vf c[NV];
    load_f32(c, b);
    for (size_t k = 0; k < NV; k++) {
        vf difference = a[k] - c[k];
        lane[k] += difference * difference;
    }
}

ALWAYS void ip_step(vf *lane, const vf *a, const float *b)
{
    vf c[NV];
    load_f32(c, b);
    for (size_t k = 0; k < NV; k++)
        lane[k] += a[k] * c[k];
}

/* `count` (a constant) centroids side by side, so that their additions overlap; each keeps its own
 * order. */
ALWAYS void distances(int is_ip, int count, const float *a, const float *const *b, size_t dim,
                      float *out)
{
    vf lane[4][NV];
    for (int c = 0; c < count; c++)
        for (size_t k = 0; k < NV; k++)
            lane[c][k] = (vf){0};
    for (size_t i = 0; i + 16 <= dim; i += 16) {
        vf x[NV];
        load_f32(x, a + i);
        for (int c = 0; c < count; c++)
            if (is_ip)
                ip_step(lane[c], x, b[c] + i);
            else
                l2_step(lane[c], x, b[c] + i);
    }
    if (dim % 16) {
        float padded[16];
        vf x[NV];
        load_f32(x, tail_of(a, dim, padded));
        for (int c = 0; c < count; c++)
            if (is_ip)
                ip_step(lane[c], x, tail_of(b[c], dim, padded));
            else
                l2_step(lane[c], x, tail_of(b[c], dim, padded));
    }
    for (int c = 0; c < count; c++)
        out[c] = is_ip ? 0.0f - tree_f32(lane[c]) : tree_f32(lane[c]);
}

ALWAYS void among(int is_ip, const float *row, const float *centroids, size_t dim,
                  const uint32_t *list, size_t n, float *out)
{
    const float *b[4];
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t c = 0; c < 4; c++)
            b[c] = centroids + (list ? list[i + c] : i + c) * dim;
        distances(is_ip, 4, row, b, dim, out + i);
    }
    for (; i + 2 <= n; i += 2) {
        for (size_t c = 0; c < 2; c++)
            b[c] = centroids + (list ? list[i + c] : i + c) * dim;
        distances(is_ip, 2, row, b, dim, out + i);
    }
    for (; i < n; i++) {
        b[0] = centroids + (list ? list[i] : i) * dim;
        distances(is_ip, 1, row, b, dim, out + i);
    }
}

static float l2(const float *a, const float *b, size_t dim)
{
    float out;
    distances(0, 1, a, &b, dim, &out);
    return out;
}

static float ip(const float *a, const float *b, size_t dim)
{
    float out;
    distances(1, 1, a, &b, dim, &out);
    return out;
}

static void l2_among(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                     size_t n, float *out)
{
    among(0, row, centroids, dim, list, n, out);
}

static void ip_among(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                     size_t n, float *out)
{
    among(1, row, centroids, dim, list, n, out);
}

enum sum_kind { SUM_NORM2, SUM_DOT, SUM_PLAIN, SUM_ABS };

ALWAYS void sum_step(enum sum_kind kind, vd *lane, const float *a, const float *b)
{
    vd x[ND];
    vd y[ND];
    load_f64(x, a);
    if (kind == SUM_DOT)
        load_f64(y, b);
    for (size_t k = 0; k < ND; k++) {
        if (kind == SUM_ABS)
            x[k] = (vd)((vq)x[k] & (UINT64_MAX >> 1));
        if (kind == SUM_NORM2 || kind == SUM_DOT)
            lane[k] += x[k] * (kind == SUM_DOT ? y[k] : x[k]);
        else
            lane[k] += x[k];
    }
}

ALWAYS double sum_f64(enum sum_kind kind, const float *a, const float *b, size_t dim)
{
    vd lane[ND];
    for (size_t k = 0; k < ND; k++)
        lane[k] = (vd){0};
    for (size_t i = 0; i + 16 <= dim; i += 16)
        sum_step(kind, lane, a + i, b + i);
    if (dim % 16) {
        float padded_a[16];
        float padded_b[16];
        sum_step(kind, lane, tail_of(a, dim, padded_a), tail_of(b, dim, padded_b));
    }
    return tree_f64(lane);
}

static double norm2(const float *x, size_t dim)
{
    return sum_f64(SUM_NORM2, x, x, dim);
}

static double dot(const float *a, const float *b, size_t dim)
{
    return sum_f64(SUM_DOT, a, b, dim);
}

static double sum(const float *x, size_t dim)
{
    return sum_f64(SUM_PLAIN, x, x, dim);
}

static double sum_abs(const float *x, size_t dim)
{
    return sum_f64(SUM_ABS, x, x, dim);
}

static void flip(float *x, const uint32_t *signs, size_t dim)
{
    size_t i = 0;
    for (; i + WIDTH <= dim; i += WIDTH) {
        vu value;
        vu sign;
        memcpy(&value, x + i, sizeof value);
        memcpy(&sign, signs + i, sizeof sign);
        value ^= sign & UINT32_C(0x80000000);
        memcpy(x + i, &value, sizeof value);
    }
    for (; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits ^= signs[i] & UINT32_C(0x80000000);
        memcpy(&x[i], &bits, sizeof bits);
    }
}

ALWAYS vf load_flipped(const float *x, const uint32_t *signs)
{
    vf v;
    vu bits;
    memcpy(&v, x, sizeof v);
    if (!signs)
        return v;
    memcpy(&bits, signs, sizeof bits);
    return (vf)((vu)v ^ (bits & UINT32_C(0x80000000)));
}

/* Vectors one by one: an array of them the compiler would keep in memory. */
ALWAYS vf load_vf(const float *x)
{
    vf v;
    memcpy(&v, x, sizeof v);
    return v;
}

ALWAYS void store_vf(float *x, vf v)
{
    memcpy(x, &v, sizeof v);
}

#define BUTTERFLY(a, b)                                                                            \
    do {                                                                                           \
        vf both_ = (a) + (b);                                                                      \
        (b) = (a) - (b);                                                                           \
        (a) = both_;                                                                               \
    } while (0)

/* Steps h and 2h in one pass over x, h a multiple of WIDTH, and then each times scale, which
 * changes nothing where it is 1. */
ALWAYS void fht_two_steps(float *x, size_t p, size_t h, float scale)
{
    for (size_t block = 0; block < p; block += 4 * h)
        for (size_t i = block; i < block + h; i += WIDTH) {
            float *at = x + i;
            vf a = load_vf(at);
            vf b = load_vf(at + h);
            vf c = load_vf(at + 2 * h);
            vf d = load_vf(at + 3 * h);
            BUTTERFLY(a, b);
            BUTTERFLY(c, d);
            BUTTERFLY(a, c);
            BUTTERFLY(b, d);
            store_vf(at, a * scale);
            store_vf(at + h, b * scale);
            store_vf(at + 2 * h, c * scale);
            store_vf(at + 3 * h, d * scale);
        }
}

ALWAYS void fht_step(float *x, size_t p, size_t h, float scale)
{
    for (size_t block = 0; block < p; block += 2 * h)
        for (size_t i = block; i < block + h; i += WIDTH) {
            vf a;
            vf b;
            memcpy(&a, x + i, sizeof a);
            memcpy(&b, x + i + h, sizeof b);
            vf both = (a + b) * scale;
            b = (a - b) * scale;
            memcpy(x + i, &both, sizeof both);
            memcpy(x + i + h, &b, sizeof b);
        }
}

/* One step inside a vector: partner has the value at distance h; where the lane's bit h is set the
 * result is partner - value, else partner + value (addition commutes to the bit). */
#define INSIDE(v, h)                                                                               \
    do {                                                                                           \
        vu place_;                                                                                 \
        vf sign_;                                                                                  \
        for (uint32_t l_ = 0; l_ < WIDTH; l_++) {                                                  \
            place_[l_] = l_ ^ (h);                                                                 \
            sign_[l_] = l_ & (h) ? -1.0f : 1.0f;                                                   \
        }                                                                                          \
        vf partner_ = SHUFFLE(v, place_);                                                          \
        (v) = ADD_SIGNED(partner_, v, sign_);                                                      \
    } while (0)
/* one instruction, rounded once: the product is exact */
#if VECTOR_BYTES > 32
#define ADD_SIGNED(a, b, sign) ((vf)_mm512_fmadd_ps((__m512)(b), (__m512)(sign), (__m512)(a)))
#elif defined __FMA__
#define ADD_SIGNED(a, b, sign) ((vf)_mm256_fmadd_ps((__m256)(b), (__m256)(sign), (__m256)(a)))
#else
#define ADD_SIGNED(a, b, sign) ((a) + (vf)((vu)(b) ^ ((vu)(sign)&UINT32_C(0x80000000))))
#endif
#ifdef __clang__
ALWAYS vf shuffle_f32(vf v, vu place)
{
    vf out;
    for (size_t l = 0; l < WIDTH; l++)
        out[l] = v[place[l]];
    return out;
}
#define SHUFFLE(v, place) shuffle_f32(v, place)
#else
#define SHUFFLE(v, place) __builtin_shuffle(v, place)
#endif

ALWAYS vf fht_inside(vf v)
{
    INSIDE(v, 1u);
    INSIDE(v, 2u);
#if VECTOR_BYTES > 16
    INSIDE(v, 4u);
#endif
#if VECTOR_BYTES > 32
    INSIDE(v, 8u);
#endif
    return v;
}

/* Eight vectors in registers from the first step to the last they hold. */
#define FHT_EIGHT (8 * WIDTH)
ALWAYS void fht_eight(float *x, const uint32_t *signs, float scale)
{
    vf v[8];
#pragma GCC unroll 8
    for (size_t k = 0; k < 8; k++)
        v[k] = fht_inside(load_flipped(x + k * WIDTH, signs ? signs + k * WIDTH : NULL));
#pragma GCC unroll 4
    for (size_t k = 0; k < 8; k += 2)
        BUTTERFLY(v[k], v[k + 1]);
#pragma GCC unroll 2
    for (size_t k = 0; k < 8; k += 4) {
        BUTTERFLY(v[k], v[k + 2]);
        BUTTERFLY(v[k + 1], v[k + 3]);
    }
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; k++)
        BUTTERFLY(v[k], v[k + 4]);
#pragma GCC unroll 8
    for (size_t k = 0; k < 8; k++)
        store_vf(x + k * WIDTH, v[k] * scale);
}

/* The first steps, as many as registers hold; the distance of the next. scale is for the last. */
ALWAYS size_t fht_first(float *x, const uint32_t *signs, size_t p, float scale)
{
    if (p >= FHT_EIGHT) {
        for (size_t i = 0; i < p; i += FHT_EIGHT)
            fht_eight(x + i, signs ? signs + i : NULL, p == FHT_EIGHT ? scale : 1.0f);
        return FHT_EIGHT;
    }
    for (size_t i = 0; i < p; i += WIDTH)
        store_vf(x + i, fht_inside(load_flipped(x + i, signs ? signs + i : NULL)) *
                            (p == WIDTH ? scale : 1.0f));
    return WIDTH;
}

static void fht(float *x, const uint32_t *signs, size_t p, float scale)
{
    if (p < WIDTH) {
        if (signs)
            flip(x, signs, p);
        fht_plain(x, p, scale);
        return;
    }
    size_t h = fht_first(x, signs, p, scale);
    for (; 2 * h < p; h *= 4)
        fht_two_steps(x, p, h, 4 * h == p ? scale : 1.0f);
    if (h < p)
        fht_step(x, p, h, scale);
}

static void kac(float *low, float *high, size_t m)
{
    size_t i = 0;
    for (; i + WIDTH <= m; i += WIDTH) {
        vf a;
        vf b;
        memcpy(&a, low + i, sizeof a);
        memcpy(&b, high + i, sizeof b);
        vf both = (a + b) * RT_KAC_SCALE;
        b = (a - b) * RT_KAC_SCALE;
        memcpy(low + i, &both, sizeof both);
        memcpy(high + i, &b, sizeof b);
    }
    for (; i < m; i++) {
        float a = low[i];
        float b = high[i];
        low[i] = (a + b) * RT_KAC_SCALE;
        high[i] = (a - b) * RT_KAC_SCALE;
    }
}

/* The compiler makes vectors of these two by itself, exactly. */
static void u8_to_f32(const void *src, float *dst, size_t n)
{
    const uint8_t *from = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)from[i];
}

static void i8_to_f32(const void *src, float *dst, size_t n)
{
    const int8_t *from = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)from[i];
}

ALWAYS void fill_exact(struct rt_kernels *table)
{
    table->l2 = l2;
    table->ip = ip;
    table->l2_among = l2_among;
    table->ip_among = ip_among;
    table->norm2 = norm2;
    table->dot = dot;
    table->sum = sum;
    table->sum_abs = sum_abs;
    table->flip = flip;
    table->fht = fht;
    table->kac = kac;
    table->u8_to_f32 = u8_to_f32;
    table->i8_to_f32 = i8_to_f32;
}

#endif
