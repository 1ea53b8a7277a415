/* Plain C: the specification of every kernel. */
#include "core/kernels/fht_plain.h"
#include "core/kernels/kernels.h"

#include <math.h>
#include <string.h>

#define LANES 16

/* l += l+8, l+4, l+2, l+1 (A4) */
static float tree_f32(float *lane)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int l = 0; l < step; l++)
            lane[l] += lane[l + step];
    return lane[0];
}

static double tree_f64(double *lane)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int l = 0; l < step; l++)
            lane[l] += lane[l + step];
    return lane[0];
}

static float l2(const float *a, const float *b, size_t dim)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++) {
        float difference = a[i] - b[i];
        lane[i % LANES] += difference * difference;
    }
    return tree_f32(lane);
}

static float ip(const float *a, const float *b, size_t dim)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++)
        lane[i % LANES] += a[i] * b[i];
    return 0.0f - tree_f32(lane); /* +0, never -0 (A5) */
}

static void l2_among(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                     size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = l2(row, centroids + (list ? list[i] : i) * dim, dim);
}

static void ip_among(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                     size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = ip(row, centroids + (list ? list[i] : i) * dim, dim);
}

static double norm2(const float *x, size_t dim)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++)
        lane[i % LANES] += (double)x[i] * (double)x[i];
    return tree_f64(lane);
}

static double dot(const float *a, const float *b, size_t dim)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++)
        lane[i % LANES] += (double)a[i] * (double)b[i];
    return tree_f64(lane);
}

static double sum(const float *x, size_t dim)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++)
        lane[i % LANES] += (double)x[i];
    return tree_f64(lane);
}

static double sum_abs(const float *x, size_t dim)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++)
        lane[i % LANES] += fabs((double)x[i]);
    return tree_f64(lane);
}

static void flip(float *x, const uint32_t *signs, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits ^= signs[i] & UINT32_C(0x80000000);
        memcpy(&x[i], &bits, sizeof bits);
    }
}

static void fht(float *x, const uint32_t *signs, size_t p, float scale)
{
    if (signs)
        flip(x, signs, p);
    fht_plain(x, p, scale);
}

static void kac(float *low, float *high, size_t m)
{
    for (size_t i = 0; i < m; i++) {
        float a = low[i];
        float b = high[i];
        low[i] = (a + b) * RT_KAC_SCALE;
        high[i] = (a - b) * RT_KAC_SCALE;
    }
}

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u;
    uint32_t fraction = half & 0x3ffu;
    uint32_t bits;
    if (exponent == 31) /* infinity, or a NaN made quiet as the hardware does */
        bits = sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0);
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    else { /* zero or denormal: fraction times 2^-24, exact */
        float value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void f16_to_f32(const void *src, float *dst, size_t n)
{
    const unsigned char *from = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = half_to_float((uint16_t)(from[2 * i] | from[2 * i + 1] << 8));
}

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

static void quantise(const float *row, const float *mean, size_t dim, uint8_t *codes,
                     struct rt_quantised *out)
{
    float most = 0;
    float norm2[LANES] = {0};
    float error2[LANES] = {0};
    int32_t sum = 0;
    for (size_t i = 0; i < dim; i++) {
        float value = mean ? row[i] - mean[i] : row[i];
        most = fabsf(value) > most ? fabsf(value) : most;
        norm2[i % LANES] += value * value;
    }
    int is_plain = most >= 0x1p-100f && most <= 0x1p100f;
    float scale = is_plain ? most / 127.0f : 0.0f;
    float inverse = is_plain ? 127.0f / most : 0.0f;
    for (size_t i = 0; i < dim; i++) {
        float value = mean ? row[i] - mean[i] : row[i];
        float q = is_plain ? rintf(value * inverse) : 0.0f;
        float error = value - scale * q;
        int code = is_plain && value == value ? (int)q : 0;
        codes[i] = (uint8_t)(code + 128);
        sum += code;
        error2[i % LANES] += error * error;
    }
    for (size_t i = dim; i % 4; i++)
        codes[i] = 128;
    *out = (struct rt_quantised){scale, tree_f32(error2), tree_f32(norm2), sum};
}

static float centre(const float *row, const float *mean, size_t dim, float *out)
{
    float norm2[LANES] = {0};
    for (size_t i = 0; i < dim; i++) {
        out[i] = mean ? row[i] - mean[i] : row[i];
        norm2[i % LANES] += out[i] * out[i];
    }
    return tree_f32(norm2);
}

static int32_t product(const uint8_t *row, const int8_t *codes, size_t n_steps)
{
    int32_t total = 0;
    for (size_t step = 0; step < n_steps; step++)
        for (size_t j = 0; j < 4; j++)
            total += ((int32_t)row[4 * step + j] - 128) * codes[64 * step + j];
    return total;
}

static uint64_t at_most(const float *a, size_t n, float threshold)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < n; i++)
        mask |= (uint64_t)(a[i] <= threshold) << i;
    return mask;
}

static void int8_tile(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least)
{
    for (size_t r = 0; r < n_rows; r++, a += 64) {
        float smallest = INFINITY;
        for (size_t c = 0; c < 16 * tile->n_groups; c++) {
            const int8_t *codes = tile->codes + c / 16 * 64 * tile->n_steps + c % 16 * 4;
            float scaled = tile->scale[c] * (float)product(rows[r], codes, tile->n_steps);
            a[c] = tile->norm[c] + row_scale[r] * scaled;
            smallest = a[c] < smallest ? a[c] : smallest;
        }
        if (least)
            least[r] = smallest;
        else
            mask[r] = at_most(a, 16 * tile->n_groups, threshold[r]);
    }
}

static void int8_least(const struct rt_int8_tile *cell, const struct rt_int8_rows *rows,
                       float *least)
{
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *row;
        float row_scale;
        rt_int8_rows_find(rows, r, 1, &row, &row_scale);
        least[r] = INFINITY;
        for (size_t c = 0; c < 16 * cell->n_groups; c++) {
            const int8_t *codes = cell->codes + c / 16 * 64 * cell->n_steps + c % 16 * 4;
            float scaled = cell->scale[c] * (float)product(row, codes, cell->n_steps);
            float value = cell->norm[c] + row_scale * scaled;
            least[r] = value < least[r] ? value : least[r];
        }
    }
}

static void int8_most(const struct rt_int8_cell *cell, const struct rt_int8_rows *rows,
                      int32_t *most)
{
    for (size_t r = 0; r < rows->n; r++) {
        most[r] = INT32_MIN;
        for (size_t c = 0; c < 16 * cell->n_groups; c++) {
            const int8_t *codes = cell->codes + c / 16 * 64 * cell->n_steps + c % 16 * 4;
            int32_t sum = cell->starts[c] + product(rt_int8_row(rows, r), codes, cell->n_steps);
            most[r] = sum > most[r] ? sum : most[r];
        }
    }
}

static void quantise_by(const float *x, size_t n, float scale, uint8_t *codes, float *norm2,
                        float *error2)
{
    float norms[LANES] = {0};
    float errors[LANES] = {0};
    float inverse = 1 / scale;
    for (size_t i = 0; i < n; i++) {
        float q = x[i] * inverse;
        q = q < -127.0f ? -127.0f : q;
        q = rintf(q > 127.0f ? 127.0f : q);
        float error = x[i] - scale * q;
        codes[i] = (uint8_t)((int)q + 128);
        norms[i % LANES] += x[i] * x[i];
        errors[i % LANES] += error * error;
    }
    *norm2 = tree_f32(norms);
    *error2 = tree_f32(errors);
}

static float scale_products(float *a, const float *norm, float factor, size_t n)
{
    float smallest = INFINITY;
    for (size_t i = 0; i < n; i++) {
        a[i] = norm[i] + factor * a[i];
        smallest = a[i] < smallest ? a[i] : smallest;
    }
    return smallest;
}

#define MOST_KEYS 64u

/* Each key's place is the number of lesser values: no branch to guess, and the compiler compares
 * four at once. Keys of equal values take the next places and are put right at the end. */
static void sort_few(uint64_t *keys, size_t n)
{
    int32_t value[MOST_KEYS] = {0};
    uint64_t sorted[MOST_KEYS];
    const size_t padded = (n + 15) / 16 * 16;
    for (size_t i = 0; i < padded; i++)
        value[i] = i < n ? (int32_t)((keys[i] >> 32) ^ (1u << 31)) : INT32_MAX;
    memset(sorted, 0xff, sizeof sorted); /* UINT64_MAX: no key yet */
    for (size_t i = 0; i < n; i++) {
        uint32_t place = 0;
        for (size_t j = 0; j < padded; j++)
            place += value[j] < value[i];
        while (sorted[place] != UINT64_MAX)
            place++;
        sorted[place] = keys[i];
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && keys[at - 1] > sorted[i]; at--)
            keys[at] = keys[at - 1];
        keys[at] = sorted[i];
    }
}

static size_t count_at_most(const float *values, size_t n, float most)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += values[i] <= most;
    return count;
}

static void find_rank(const float *values, size_t n, size_t rank, float *at, float *next)
{
    float low = values[0];
    float high = values[0];
    for (size_t i = 1; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
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
    *next = INFINITY;
    for (size_t i = 0; i < n; i++)
        *next = values[i] > low && values[i] < *next ? values[i] : *next;
}

#include "core/kernels/pick_least.h"

static size_t pick(const float *values, const uint32_t *ids, uint64_t mask, float *out_values,
                   uint32_t *out_ids)
{
    size_t n = 0;
    for (; mask; mask &= mask - 1) {
        int i = __builtin_ctzll(mask);
        out_values[n] = values[i];
        out_ids[n++] = ids[i];
    }
    return n;
}

void rt_kernels_portable(struct rt_kernels *table)
{
    table->quantise = quantise;
    table->centre = centre;
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
    table->int8_most = int8_most;
    table->quantise_by = quantise_by;
    table->scale_products = scale_products;
    table->at_most = at_most;
    table->sort_few = sort_few;
    table->find_rank = find_rank;
    table->pick_least = pick_least;
    table->pick = pick;
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
    table->f16_to_f32 = f16_to_f32;
    table->u8_to_f32 = u8_to_f32;
    table->i8_to_f32 = i8_to_f32;
}
