/* The proposals' simpler kernels, over the vectors of exact_lanes.h: included once by the file of
 * each instruction set. */
#ifndef RT_CORE_KERNELS_PROPOSE_LANES_H
#define RT_CORE_KERNELS_PROPOSE_LANES_H

#include "core/kernels/exact_lanes.h"

typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t vb __attribute__((vector_size(VECTOR_BYTES / 4)));

/* Adding it rounds a value below 2^22 to the nearest whole number, which is then in the low bits.
 */
#define ROUNDER 0x1.8p23f

ALWAYS void centred_step(vf *x, const float *row, const float *mean)
{
    load_f32(x, row);
    if (mean) {
        vf m[NV];
        load_f32(m, mean);
        for (size_t k = 0; k < NV; k++)
            x[k] -= m[k];
    }
}

ALWAYS void norm_step(vf *most, vf *norm2, const vf *x)
{
    for (size_t k = 0; k < NV; k++) {
        vf size = (vf)((vu)x[k] & UINT32_C(0x7fffffff));
        vi is_more = size > most[k];
        most[k] = (vf)(((vu)size & (vu)is_more) | ((vu)most[k] & ~(vu)is_more));
        norm2[k] += x[k] * x[k];
    }
}

ALWAYS void quantise_step(uint8_t *codes, vf *error2, vu *sum, const vf *x, float scale,
                          float inverse)
{
    for (size_t k = 0; k < NV; k++) {
        vf shifted = x[k] * inverse + ROUNDER;
        vf q = shifted - ROUNDER;
        vf error = x[k] - scale * q;
        error2[k] += error * error;
        vu code = ((vu)shifted & 255u) ^ 128u;
        sum[k] += code;
        vb bytes = __builtin_convertvector(code, vb);
        memcpy(codes + k * WIDTH, &bytes, sizeof bytes);
    }
}

ALWAYS vf clamped(vf x, float most)
{
    vf limit = (vf){0} + most;
    vi is_more = x > limit;
    x = (vf)(((vu)limit & (vu)is_more) | ((vu)x & ~(vu)is_more));
    vi is_less = x < -limit;
    return (vf)(((vu)-limit & (vu)is_less) | ((vu)x & ~(vu)is_less));
}

ALWAYS int32_t add_up(const vu *sum)
{
    uint32_t lane[16];
    uint32_t total = 0;
    memcpy(lane, sum, sizeof lane);
    for (int l = 0; l < 16; l++)
        total += lane[l];
    return (int32_t)total;
}

static void quantise(const float *row, const float *mean, size_t dim, uint8_t *codes,
                     struct rt_quantised *out)
{
    vf most[NV];
    vf norm2[NV];
    vf error2[NV];
    vf x[NV];
    vu sum[NV];
    float tail[16];
    float tail_mean[16];
    size_t whole = dim / 16 * 16;
    for (size_t k = 0; k < NV; k++) {
        most[k] = norm2[k] = error2[k] = (vf){0};
        sum[k] = (vu){0};
    }
    for (size_t i = 0; i < whole; i += 16) {
        centred_step(x, row + i, mean ? mean + i : NULL);
        norm_step(most, norm2, x);
    }
    if (dim % 16) {
        (void)tail_of(row, dim, tail);
        centred_step(x, tail, mean ? tail_of(mean, dim, tail_mean) : NULL);
        norm_step(most, norm2, x);
    }
    float top = 0;
    float lane[16];
    memcpy(lane, most, sizeof lane);
    for (int l = 0; l < 16; l++)
        top = lane[l] > top ? lane[l] : top;
    int is_plain = top >= 0x1p-100f && top <= 0x1p100f;
    float scale = is_plain ? top / 127.0f : 0.0f;
    float inverse = is_plain ? 127.0f / top : 0.0f;
    for (size_t i = 0; i < whole; i += 16) {
        centred_step(x, row + i, mean ? mean + i : NULL);
        quantise_step(codes + i, error2, sum, x, scale, inverse);
    }
    if (dim % 16) {
        uint8_t last[16];
        centred_step(x, tail, mean ? tail_mean : NULL);
        quantise_step(last, error2, sum, x, scale, inverse);
        memcpy(codes + whole, last, (dim % 16 + 3) / 4 * 4);
    }
    *out = (struct rt_quantised){scale, tree_f32(error2), tree_f32(norm2),
                                 add_up(sum) - 128 * (int32_t)((dim + 15) / 16 * 16)};
}

static void quantise_by(const float *x, size_t n, float scale, uint8_t *codes, float *norm2,
                        float *error2)
{
    vf norms[NV];
    vf errors[NV];
    float inverse = 1 / scale;
    for (size_t k = 0; k < NV; k++)
        norms[k] = errors[k] = (vf){0};
    for (size_t i = 0; i < n; i += WIDTH) {
        vf value = load_vf(x + i);
        vf shifted = clamped(value * inverse, 127.0f) + ROUNDER;
        vf error = value - scale * (shifted - ROUNDER);
        vu code = ((vu)shifted & 255u) ^ 128u;
        vb bytes = __builtin_convertvector(code, vb);
        memcpy(codes + i, &bytes, sizeof bytes);
        norms[i / WIDTH % NV] += value * value;
        errors[i / WIDTH % NV] += error * error;
    }
    *norm2 = tree_f32(norms);
    *error2 = tree_f32(errors);
}

static float centre(const float *row, const float *mean, size_t dim, float *out)
{
    vf norm2[NV];
    vf most[NV];
    vf x[NV];
    size_t whole = dim / 16 * 16;
    for (size_t k = 0; k < NV; k++)
        most[k] = norm2[k] = (vf){0};
    for (size_t i = 0; i < whole; i += 16) {
        centred_step(x, row + i, mean ? mean + i : NULL);
        norm_step(most, norm2, x);
        memcpy(out + i, x, sizeof x);
    }
    if (dim % 16) {
        float tail[16];
        float tail_mean[16];
        centred_step(x, tail_of(row, dim, tail), mean ? tail_of(mean, dim, tail_mean) : NULL);
        norm_step(most, norm2, x);
        memcpy(out + whole, x, dim % 16 * sizeof *out);
    }
    return tree_f32(norm2);
}

/* Plain loops that the compiler turns into vectors. */
static float scale_products(float *a, const float *norm, float factor, size_t n)
{
    vf least[NV];
    for (size_t k = 0; k < NV; k++)
        least[k] = (vf){0} + INFINITY;
    for (size_t i = 0; i < n; i += 16) {
        vf p[NV];
        vf c[NV];
        load_f32(p, a + i);
        load_f32(c, norm + i);
        for (size_t k = 0; k < NV; k++) {
            p[k] = c[k] + factor * p[k];
            vi is_less = p[k] < least[k];
            least[k] = (vf)(((vu)p[k] & (vu)is_less) | ((vu)least[k] & ~(vu)is_less));
        }
        memcpy(a + i, p, sizeof p);
    }
    float lane[16];
    memcpy(lane, least, sizeof lane);
    float smallest = lane[0];
    for (int l = 1; l < 16; l++)
        smallest = lane[l] < smallest ? lane[l] : smallest;
    return smallest;
}

ALWAYS size_t count_at_most(const float *values, size_t n, float most)
{
    uint32_t count = 0; /* lists are far below 2^32 */
    for (size_t i = 0; i < n; i++)
        count += values[i] <= most;
    return count;
}

ALWAYS void select_least(vf *least, const vf *x, float above)
{
    for (size_t k = 0; k < NV; k++) {
        vi is_it = (x[k] < least[k]) & (x[k] > above);
        least[k] = (vf)(((vu)x[k] & (vu)is_it) | ((vu)least[k] & ~(vu)is_it));
    }
}

/* The least value greater than `above`; infinity: there is none. */
ALWAYS float least_above(const float *values, size_t n, float above)
{
    vf least[NV];
    vf x[NV];
    size_t whole = n / 16 * 16;
    for (size_t k = 0; k < NV; k++)
        least[k] = (vf){0} + INFINITY;
    for (size_t i = 0; i < whole; i += 16) {
        load_f32(x, values + i);
        select_least(least, x, above);
    }
    float lane[16];
    memcpy(lane, least, sizeof lane);
    float smallest = INFINITY;
    for (int l = 0; l < 16; l++)
        smallest = lane[l] < smallest ? lane[l] : smallest;
    for (size_t i = whole; i < n; i++)
        smallest = values[i] > above && values[i] < smallest ? values[i] : smallest;
    return smallest;
}

ALWAYS float greatest(const float *values, size_t n)
{
    vf most[NV];
    vf x[NV];
    size_t whole = n / 16 * 16;
    for (size_t k = 0; k < NV; k++)
        most[k] = (vf){0} - INFINITY;
    for (size_t i = 0; i < whole; i += 16) {
        load_f32(x, values + i);
        for (size_t k = 0; k < NV; k++) {
            vi is_it = x[k] > most[k];
            most[k] = (vf)(((vu)x[k] & (vu)is_it) | ((vu)most[k] & ~(vu)is_it));
        }
    }
    float lane[16];
    memcpy(lane, most, sizeof lane);
    float largest = -INFINITY;
    for (int l = 0; l < 16; l++)
        largest = lane[l] > largest ? lane[l] : largest;
    for (size_t i = whole; i < n; i++)
        largest = values[i] > largest ? values[i] : largest;
    return largest;
}

static void find_rank(const float *values, size_t n, size_t rank, float *at, float *next)
{
    float low = least_above(values, n, -INFINITY);
    float high = greatest(values, n);
    size_t count = count_at_most(values, n, low);
    *at = *next = low;
    if (count > rank)
        return;
    if (rank == n) {
        *at = high;
        *next = INFINITY;
        return;
    }
    /* Fewer than rank are <= low, at least rank are <= high. */
    while (count != rank) {
        float middle = low + (high - low) * 0.5f;
        if (!(middle > low && middle < high))
            break;
        count = count_at_most(values, n, middle);
        if (count > rank)
            high = middle;
        else
            low = middle;
    }
    *at = count == rank ? low : high;
    *next = least_above(values, n, low);
}

#include "core/kernels/pick_least.h"

ALWAYS void fill_proposals(struct rt_kernels *table)
{
    table->quantise = quantise;
    table->quantise_by = quantise_by;
    table->centre = centre;
    table->scale_products = scale_products;
    table->find_rank = find_rank;
    table->pick_least = pick_least;
}

#endif
