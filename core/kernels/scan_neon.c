/* Codes and scanning with NEON (AArch64). The portable file says what each does; no vmla or FMA
 * here (A2). */
#include "core/element.h"
#include "core/kernels/scan_kernels.h"

#include <arm_neon.h>
#include <float.h>
#include <math.h>
#include <string.h>

struct lanes { /* the 16 lanes of A4 */
    float32x4_t quarter[4];
};
struct lanes_f64 {
    float64x2_t eighth[8];
};

static inline struct lanes zero_lanes(void)
{
    float32x4_t zero = vdupq_n_f32(0);
    return (struct lanes){{zero, zero, zero, zero}};
}
static inline struct lanes_f64 zero_lanes_f64(void)
{
    struct lanes_f64 x;
    for (int e = 0; e < 8; e++)
        x.eighth[e] = vdupq_n_f64(0);
    return x;
}

static inline float tree_f32(struct lanes x)
{
    float32x4_t four =
        vaddq_f32(vaddq_f32(x.quarter[0], x.quarter[2]), vaddq_f32(x.quarter[1], x.quarter[3]));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
static inline double tree_f64(struct lanes_f64 x)
{
    for (int half = 4; half > 0; half /= 2)
        for (int e = 0; e < half; e++)
            x.eighth[e] = vaddq_f64(x.eighth[e], x.eighth[e + half]);
    return vgetq_lane_f64(x.eighth[0], 0) + vgetq_lane_f64(x.eighth[0], 1);
}

static inline struct lanes_f64 widen(struct lanes x)
{
    struct lanes_f64 wide;
    for (int q = 0; q < 4; q++) {
        wide.eighth[2 * q] = vcvt_f64_f32(vget_low_f32(x.quarter[q]));
        wide.eighth[2 * q + 1] = vcvt_high_f64_f32(x.quarter[q]);
    }
    return wide;
}

static inline void add_product_f64(struct lanes_f64 *sum, const struct lanes_f64 *a,
                                   const struct lanes_f64 *b)
{
    for (int e = 0; e < 8; e++)
        sum->eighth[e] = vaddq_f64(sum->eighth[e], vmulq_f64(a->eighth[e], b->eighth[e]));
}
static inline void add_absolute_f64(struct lanes_f64 *sum, const struct lanes_f64 *a)
{
    for (int e = 0; e < 8; e++)
        sum->eighth[e] = vaddq_f64(sum->eighth[e], vabsq_f64(a->eighth[e]));
}
static inline void add_product(struct lanes *sum, struct lanes a, struct lanes b)
{
    for (int q = 0; q < 4; q++)
        sum->quarter[q] = vaddq_f32(sum->quarter[q], vmulq_f32(a.quarter[q], b.quarter[q]));
}
static inline struct lanes minus(struct lanes a, struct lanes b)
{
    for (int q = 0; q < 4; q++)
        a.quarter[q] = vsubq_f32(a.quarter[q], b.quarter[q]);
    return a;
}

/* 16 elements from the i-th on, of which n are there; the others are 0. The bytes may lie at any
 * address. */
static inline struct lanes load_f32(const void *row, size_t i, size_t n)
{
    uint8_t part[64] = {0};
    const uint8_t *p = (const uint8_t *)row + 4 * i;
    if (n < 16) {
        memcpy(part, p, 4 * n);
        p = part;
    }
    struct lanes x;
    for (int q = 0; q < 4; q++)
        x.quarter[q] = vreinterpretq_f32_u8(vld1q_u8(p + 16 * q));
    return x;
}
static inline struct lanes load_f16(const void *row, size_t i, size_t n)
{
    uint8_t part[32] = {0};
    const uint8_t *p = (const uint8_t *)row + 2 * i;
    if (n < 16) {
        memcpy(part, p, 2 * n);
        p = part;
    }
    struct lanes x;
    for (int q = 0; q < 4; q++)
        x.quarter[q] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * q)));
    return x;
}
static inline uint8x16_t load_bytes(const void *row, size_t i, size_t n)
{
    uint8_t part[16] = {0};
    const uint8_t *p = (const uint8_t *)row + i;
    if (n < 16) {
        memcpy(part, p, n);
        p = part;
    }
    return vld1q_u8(p);
}
static inline struct lanes load_u8(const void *row, size_t i, size_t n)
{
    uint8x16_t bytes = load_bytes(row, i, n);
    uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
    uint16x8_t high = vmovl_u8(vget_high_u8(bytes));
    return (struct lanes){{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                           vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
                           vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                           vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))}};
}
static inline struct lanes load_i8(const void *row, size_t i, size_t n)
{
    int8x16_t bytes = vreinterpretq_s8_u8(load_bytes(row, i, n));
    int16x8_t low = vmovl_s8(vget_low_s8(bytes));
    int16x8_t high = vmovl_s8(vget_high_s8(bytes));
    return (struct lanes){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                           vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                           vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}

static inline size_t terms_at(size_t i, size_t dim)
{
    return dim - i < 16 ? dim - i : 16;
}

/* Bit l: the sign of lane l. */
static inline unsigned negative_lanes(struct lanes x)
{
    static const int32_t place[4] = {0, 1, 2, 3};
    unsigned bits = 0;
    for (int q = 0; q < 4; q++) {
        uint32x4_t sign = vshrq_n_u32(vreinterpretq_u32_f32(x.quarter[q]), 31);
        bits |= vaddvq_u32(vshlq_u32(sign, vld1q_s32(place))) << 4 * q;
    }
    return bits;
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
        unsigned bits = ~negative_lanes(x) & 0xffffu >> (16 - n);
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

static void table_terms(const float *v, const float *c, size_t dim, float *difference,
                        struct rt_scan_terms *terms)
{
    struct lanes square = zero_lanes();
    struct lanes dot = square;
    float32x4_t most = vdupq_n_f32(0);
    for (size_t i = 0; i < dim; i += 16) {
        size_t n = terms_at(i, dim);
        struct lanes r = load_f32(v, i, n);
        if (c) {
            struct lanes y = load_f32(c, i, n);
            add_product(&dot, r, y);
            r = minus(r, y);
        }
        add_product(&square, r, r);
        for (int q = 0; q < 4; q++) {
            vst1q_f32(difference + i + 4 * q, r.quarter[q]);
            float32x4_t x = vabsq_f32(r.quarter[q]);
            x = vaddq_f32(x, vrev64q_f32(x));
            most = vmaxq_f32(most, vaddq_f32(x, vextq_f32(x, x, 2)));
        }
    }
    *terms = (struct rt_scan_terms){tree_f32(square), tree_f32(dot), vmaxvq_f32(most)};
}

static void table_fill(const float *difference, uint32_t n_groups, float most, float inverse,
                       uint8_t *entries)
{
    static const uint32_t flip0[4] = {1u << 31, 0, 1u << 31, 0};
    static const uint32_t flip1[4] = {1u << 31, 1u << 31, 0, 0};
    const float32x4_t m = vdupq_n_f32(most);
    const float32x4_t s = vdupq_n_f32(inverse);
    memset(entries, 0, (size_t)(n_groups + 3) / 4 * 64);
    for (size_t g = 0; g < n_groups; g++) {
        const float *r = difference + 4 * g;
        float32x4_t r0 = vreinterpretq_f32_u32(
            veorq_u32(vreinterpretq_u32_f32(vdupq_n_f32(r[0])), vld1q_u32(flip0)));
        float32x4_t r1 = vreinterpretq_f32_u32(
            veorq_u32(vreinterpretq_u32_f32(vdupq_n_f32(r[1])), vld1q_u32(flip1)));
        float32x4_t low = vaddq_f32(r0, r1);
        const float high[4] = {-r[2] - r[3], r[2] - r[3], -r[2] + r[3], r[2] + r[3]};
        uint16x4_t words[4];
        for (int q = 0; q < 4; q++) {
            float32x4_t t = vaddq_f32(vaddq_f32(low, vdupq_n_f32(high[q])), m);
            words[q] = vqmovun_s32(vcvtnq_s32_f32(vmulq_f32(t, s)));
        }
        vst1q_u8(entries + 16 * g, vcombine_u8(vqmovn_u16(vcombine_u16(words[0], words[1])),
                                               vqmovn_u16(vcombine_u16(words[2], words[3]))));
    }
}

/* Adds the row sums of up to 256 groups to 32 words of 32 bits in row order. */
static inline void add_sums(const uint8_t *entries, const uint8_t *codes, size_t n_groups,
                            uint32x4_t sums[8])
{
    uint16x8_t a[2] = {vdupq_n_u16(0), vdupq_n_u16(0)};
    uint16x8_t b[2] = {vdupq_n_u16(0), vdupq_n_u16(0)};
    for (size_t g = 0; g < n_groups; g++) {
        uint8x16_t code = vld1q_u8(codes + 16 * g);
        uint8x16_t table = vld1q_u8(entries + 16 * g);
        uint16x8_t t0 = vreinterpretq_u16_u8(vqtbl1q_u8(table, vandq_u8(code, vdupq_n_u8(15))));
        uint16x8_t t1 = vreinterpretq_u16_u8(vqtbl1q_u8(table, vshrq_n_u8(code, 4)));
        a[0] = vaddq_u16(a[0], t0);
        b[0] = vsraq_n_u16(b[0], t0, 8);
        a[1] = vaddq_u16(a[1], t1);
        b[1] = vsraq_n_u16(b[1], t1, 8);
    }
    for (int h = 0; h < 2; h++) {
        uint16x8_t first = vsubq_u16(a[h], vshlq_n_u16(b[h], 8));
        sums[4 * h] = vaddw_u16(sums[4 * h], vget_low_u16(first));
        sums[4 * h + 1] = vaddw_u16(sums[4 * h + 1], vget_high_u16(first));
        sums[4 * h + 2] = vaddw_u16(sums[4 * h + 2], vget_low_u16(b[h]));
        sums[4 * h + 3] = vaddw_u16(sums[4 * h + 3], vget_high_u16(b[h]));
    }
}

static inline void sums_of(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                           uint32x4_t sums[8])
{
    for (int q = 0; q < 8; q++)
        sums[q] = vdupq_n_u32(0);
    for (size_t g = 0; g < n_groups; g += 256)
        add_sums(entries + 16 * g, codes + 16 * g, n_groups - g < 256 ? n_groups - g : 256, sums);
}

static void block_sums(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                       uint32_t *sums)
{
    uint32x4_t all[8];
    sums_of(entries, codes, n_groups, all);
    for (int q = 0; q < 8; q++)
        vst1q_u32(sums + 4 * q, all[q]);
}

static void scan(const struct rt_scan_table *table, const uint8_t *codes, const float *factors,
                 size_t n_blocks, float tau, float *bounds, uint32_t *kept)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    const float32x4_t scale = vdupq_n_f32(table->scale);
    const float32x4_t base = vdupq_n_f32(table->base);
    const float32x4_t offset = vdupq_n_f32(table->offset);
    const float32x4_t width = vdupq_n_f32(table->width);
    const size_t first = 32 * (size_t)table->first;
    for (size_t b = 0; b < n_blocks; b++) {
        uint32x4_t sums[8];
        sums_of(table->entries, codes, table->n_groups, sums);
        kept[b] = 0;
        for (size_t q = 0; q < 8; q++) {
            const float *f = factors + 4 * q;
            float32x4_t e = vaddq_f32(vmulq_f32(scale, vcvtq_f32_u32(sums[q])), base);
            float32x4_t rough = vaddq_f32(vld1q_f32(f + first), offset);
            rough = vsubq_f32(rough, vmulq_f32(e, vld1q_f32(f + 32)));
            float32x4_t bound = vsubq_f32(rough, vmulq_f32(vld1q_f32(f + 64), width));
            uint32x4_t tame = vcleq_f32(bound, vdupq_n_f32(FLT_MAX));
            bound = vbslq_f32(tame, bound, vdupq_n_f32(-INFINITY));
            vst1q_f32(bounds + 32 * b + 4 * q, bound);
            uint32x4_t keep = vandq_u32(vcleq_f32(bound, vdupq_n_f32(tau)), vld1q_u32(bit));
            kept[b] |= vaddvq_u32(keep) << 4 * q;
        }
        codes += (size_t)16 * table->n_groups;
        factors += (size_t)32 * table->n_factors;
    }
}

static void between(const float *bounds, size_t n_blocks, float low, float high, uint32_t *kept)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    for (size_t b = 0; b < n_blocks; b++) {
        kept[b] = 0;
        for (size_t q = 0; q < 8; q++, bounds += 4) {
            float32x4_t x = vld1q_f32(bounds);
            uint32x4_t keep = vbicq_u32(vcleq_f32(x, vdupq_n_f32(high)), /* and not */
                                        vcleq_f32(x, vdupq_n_f32(low)));
            kept[b] |= vaddvq_u32(vandq_u32(keep, vld1q_u32(bit))) << 4 * q;
        }
    }
}

/* x_i := (f32)((f64)x_i / norm) */
static inline struct lanes scaled(struct lanes x, double norm)
{
    struct lanes_f64 wide = widen(x);
    const float64x2_t divisor = vdupq_n_f64(norm);
    for (int q = 0; q < 4; q++)
        x.quarter[q] = vcvt_high_f32_f64(vcvt_f32_f64(vdivq_f64(wide.eighth[2 * q], divisor)),
                                         vdivq_f64(wide.eighth[2 * q + 1], divisor));
    return x;
}

#include "core/kernels/scan_rows.h"

void rt_scan_kernels_neon(struct rt_scan_kernels *table)
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
