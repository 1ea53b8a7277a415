/* Plain C: the specification of every kernel. */
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

static void fht(float *x, size_t p, float scale)
{
    for (size_t h = 1; h < p; h *= 2)
        for (size_t block = 0; block < p; block += 2 * h)
            for (size_t i = block; i < block + h; i++) {
                float a = x[i];
                float b = x[i + h];
                x[i] = a + b;
                x[i + h] = a - b;
            }
    for (size_t i = 0; i < p; i++)
        x[i] *= scale;
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

void rt_kernels_portable(struct rt_kernels *table)
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
    table->f16_to_f32 = f16_to_f32;
    table->u8_to_f32 = u8_to_f32;
    table->i8_to_f32 = i8_to_f32;
}
