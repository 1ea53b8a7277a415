/* Found by a few turns of the power method on some of the centroids: any directions will do, the
 * best only leave the least across. */
#include "core/leading.h"

#include "core/assigner.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/roundoff.h"

#include <math.h>
#include <string.h>

#define SAMPLE 512u /* centroids looked at, or as many as have */
#define SAMPLE_VALUES 524288u
#define TURNS 2
#define ROWS_LONGER 1.25f
#define MOST_ACROSS 32 /* a set has directions if less than 1/32 of |c'|^2 lies across */

/* The sample about its mean, by rows and by columns, and what the method works on. */
struct search {
    uint32_t n, dim, n_directions;
    float *rows, *columns;
    float *directions; /* n_directions x dim */
    float *along;      /* n x n_directions */
    float *along_columns;
};

static void search_free(struct search *s)
{
    rt_array_free(s->rows);
    rt_array_free(s->columns);
    rt_array_free(s->directions);
    rt_array_free(s->along);
    rt_array_free(s->along_columns);
}

static void turn(const float *from, size_t n_rows, size_t n_columns, float *to)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t k = 0; k < n_columns; k++)
            to[k * n_rows + i] = from[i * n_columns + k];
}

static enum rt_status search_new(const float *centroids, uint32_t n, uint32_t dim,
                                 const float *mean, struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t most = RT_LEADING_MOST;
    s->n = SAMPLE_VALUES / dim < SAMPLE ? SAMPLE_VALUES / dim : SAMPLE;
    s->n = n < s->n ? n : s->n;
    s->dim = dim;
    s->n_directions = 2 * RT_LEADING_MOST <= dim ? RT_LEADING_MOST : RT_LEADING_MOST / 2;
    RT_TRY(rt_array_new((size_t)s->n * dim, sizeof(float), &s->rows, err));
    RT_TRY(rt_array_new((size_t)s->n * dim, sizeof(float), &s->columns, err));
    RT_TRY(rt_array_new(most * dim, sizeof(float), &s->directions, err));
    RT_TRY(rt_array_new(most * s->n, sizeof(float), &s->along, err));
    RT_TRY(rt_array_new(most * s->n, sizeof(float), &s->along_columns, err));
    for (uint32_t i = 0; i < s->n; i++)
        (void)rt_kernels()->centre(centroids + (size_t)i * n / s->n * dim, mean, dim,
                                   s->rows + (size_t)i * dim);
    turn(s->rows, s->n, dim, s->columns);
    for (uint32_t k = 0; k < s->n_directions; k++)
        memcpy(s->directions + (size_t)k * dim, s->rows + (size_t)k * s->n / s->n_directions * dim,
               dim * sizeof(float));
done:
    return st;
}

/* Gram-Schmidt, twice; what is left of nothing stays nothing. */
static void make_orthonormal(float *directions, uint32_t n, uint32_t dim)
{
    const struct rt_kernels *kernels = rt_kernels();
    for (uint32_t k = 0; k < n; k++) {
        float *x = directions + (size_t)k * dim;
        for (uint32_t again = 0; again < 2; again++) {
            for (uint32_t i = 0; i < k; i++) {
                const float *other = directions + (size_t)i * dim;
                float product = (float)kernels->dot(x, other, dim);
                for (uint32_t j = 0; j < dim; j++)
                    x[j] -= product * other[j];
            }
            double norm = sqrt(kernels->norm2(x, dim));
            for (uint32_t j = 0; j < dim; j++)
                x[j] = norm > 0 ? (float)((double)x[j] / norm) : 0.0f;
        }
    }
}

static void find_along(const struct search *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        rt_kernels()->ip_among(s->rows + (size_t)i * s->dim, s->directions, s->dim, NULL,
                               s->n_directions, s->along + (size_t)i * s->n_directions);
}

static void search_turn(const struct search *s)
{
    find_along(s);
    turn(s->along, s->n, s->n_directions, s->along_columns);
    for (uint32_t k = 0; k < s->n_directions; k++)
        rt_kernels()->ip_among(s->along_columns + (size_t)k * s->n, s->columns, s->n, NULL, s->dim,
                               s->directions + (size_t)k * s->dim);
    make_orthonormal(s->directions, s->n_directions, s->dim);
}

/* How many of the directions leave little enough across; 0: not even all of them. */
static uint32_t count_enough(const struct search *s)
{
    double whole = rt_kernels()->norm2(s->rows, (size_t)s->n * s->dim);
    double found = 0;
    find_along(s);
    turn(s->along, s->n, s->n_directions, s->along_columns);
    for (uint32_t k = 0; k < s->n_directions; k++) {
        found += rt_kernels()->norm2(s->along_columns + (size_t)k * s->n, s->n);
        if ((k + 1) % 32 == 0 && (whole - found) * MOST_ACROSS < whole)
            return k + 1;
    }
    return 0;
}

/* Turned among themselves, so that each has its share of what is long: codes are then as sharp in
 * each. */
static void mix(float *directions, uint32_t n, uint32_t dim)
{
    float values[RT_LEADING_MOST];
    for (uint32_t i = 0; i < dim; i++) {
        for (uint32_t k = 0; k < n; k++)
            values[k] = directions[(size_t)k * dim + i];
        rt_kernels()->fht(values, NULL, n, (float)(1 / sqrt((double)n)));
        for (uint32_t k = 0; k < n; k++)
            directions[(size_t)k * dim + i] = values[k];
    }
}

static int64_t product(const uint8_t *a, const uint8_t *b, uint32_t dim)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += ((int64_t)a[i] - 128) * ((int64_t)b[i] - 128);
    return sum;
}

/* 16 bits, so that its products with codes are exact. */
static float short_scale(double value)
{
    int exponent;
    double part = frexp(value, &exponent);
    return (float)ldexp(floor(ldexp(part, 16)), exponent - 16);
}

static void code_directions(struct rt_leading *leading, const float *directions)
{
    uint32_t dim = leading->dim;
    size_t stride = rt_code_stride(dim);
    for (uint32_t k = 0; k < leading->n; k++) {
        uint8_t *codes = leading->codes + k * stride;
        struct rt_quantised q;
        rt_kernels()->quantise(directions + (size_t)k * dim, NULL, dim, codes, &q);
        int64_t square = product(codes, codes, dim);
        leading->scale[k] = square > 0 ? short_scale(1 / sqrt((double)square)) : 0.0f;
        leading->sums[k] = 128 * q.sum;
        for (uint32_t i = 0; i < dim; i++)
            leading->rows[(size_t)k * dim + i] = leading->scale[k] * (float)((int)codes[i] - 128);
    }
}

static void multiply(const double *a, uint32_t n, double *out)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) {
            double sum = 0;
            for (uint32_t j = 0; j < n; j++)
                sum += a[i * n + j] * a[j * n + k];
            out[i * n + k] = sum;
        }
}

/* The norm of the fourth power's entries is the fourth power of one between the spectral norm and
 * n^(1/8) times that. */
static double norm_of(double *matrix, uint32_t n, double *scratch)
{
    double sum = 0;
    multiply(matrix, n, scratch);
    multiply(scratch, n, matrix);
    for (uint32_t i = 0; i < n * n; i++)
        sum += matrix[i] * matrix[i];
    return 1.001 * sqrt(sqrt(sqrt(sum)));
}

static enum rt_status measure_directions(struct rt_leading *leading, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double *skew = NULL;
    double *scratch = NULL;
    uint32_t n = leading->n;
    size_t stride = rt_code_stride(leading->dim);
    RT_TRY(rt_array_new((size_t)n * n, sizeof *skew, &skew, err));
    RT_TRY(rt_array_new((size_t)n * n, sizeof *scratch, &scratch, err));
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) {
            int64_t sum =
                product(leading->codes + i * stride, leading->codes + k * stride, leading->dim);
            double value = (double)leading->scale[i] * (double)leading->scale[k] * (double)sum;
            leading->gram[i * n + k] = (float)value;
            skew[i * n + k] = value - (i == k);
        }
    leading->skew = norm_of(skew, n, scratch);
done:
    rt_array_free(skew);
    rt_array_free(scratch);
    return st;
}

/* By the greatest value of the sample: those beyond are cut off, and rows may be longer. */
static void choose_scales(const struct search *s, struct rt_leading *leading)
{
    float most = 0;
    find_along(s);
    for (size_t i = 0; i < (size_t)s->n * s->n_directions; i++)
        most = fabsf(s->along[i]) > most ? fabsf(s->along[i]) : most;
    leading->centroid_scale = short_scale((double)most / 127);
    leading->row_scale = ROWS_LONGER * leading->centroid_scale;
    leading->unit = 2 * leading->centroid_scale * leading->row_scale;
    if (!(leading->unit > 0x1p-100f && leading->unit < 0x1p100f))
        leading->n = 0;
}

enum rt_status rt_leading_new(const float *centroids, uint32_t n, uint32_t dim, const float *mean,
                              struct rt_leading **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct search s = {.n = 0};
    struct rt_leading *leading = NULL;
    size_t most = RT_LEADING_MOST;
    RT_TRY(rt_array_zero(1, sizeof *leading, &leading, err));
    leading->dim = dim;
    RT_TRY(rt_array_new(most * dim, sizeof(float), &leading->rows, err));
    RT_TRY(rt_array_new(most, rt_code_stride(dim), &leading->codes, err));
    RT_TRY(rt_array_new(most * most, sizeof(float), &leading->gram, err));
    RT_TRY(rt_array_new(RT_LEADING_BLOCK, dim * sizeof(float), &leading->centred, err));
    RT_TRY(search_new(centroids, n, dim, mean, &s, err));
    for (int i = 0; i < TURNS; i++)
        search_turn(&s);
    s.n_directions = leading->n = count_enough(&s);
    if (leading->n) {
        mix(s.directions, leading->n, dim);
        choose_scales(&s, leading);
    }
    code_directions(leading, s.directions);
    RT_TRY(measure_directions(leading, err));
    if (!(leading->skew < 0.25)) /* directions that are none, or alike: nearly no centroids */
        leading->n = 0;
    *out = leading;
    leading = NULL;
done:
    search_free(&s);
    rt_leading_free(leading);
    return st;
}

void rt_leading_free(struct rt_leading *leading)
{
    if (!leading)
        return;
    rt_array_free(leading->rows);
    rt_array_free(leading->codes);
    rt_array_free(leading->gram);
    rt_array_free(leading->centred);
    rt_array_free(leading);
}

/* The errors of f32 products, of all directions together, for numbers of one length in n terms. */
static double error_of(const struct rt_leading *leading, uint32_t n_terms)
{
    uint32_t m = (n_terms + 15) / 16 + 4;
    return 1.01 * sqrt((double)leading->n) * rt_gamma(m);
}

/* out := gram x, of which the kernel makes the negative. */
static void multiply_gram(const struct rt_leading *leading, const float *x, float *out)
{
    rt_kernels()->ip_among(x, leading->gram, leading->n, NULL, leading->n, out);
}

/* k's codes about gram^-1 y: what is left is then across. */
static void code_along(const struct rt_leading *leading, const float *y, float *k,
                       struct rt_along *out)
{
    float gy[RT_LEADING_MOST];
    float ignored[2];
    multiply_gram(leading, y, gy);
    for (uint32_t i = 0; i < leading->n; i++)
        k[i] = 2 * y[i] + gy[i];
    rt_kernels()->quantise_by(k, leading->n, leading->centroid_scale, out->codes, &ignored[0],
                              &ignored[1]);
    out->sum = 0;
    for (uint32_t i = 0; i < leading->n; i++) {
        int32_t code = out->codes[i] - 128;
        k[i] = leading->centroid_scale * (float)code; /* exact */
        out->sum += code;
    }
}

/* From |c'|^2 and y = A c'. */
static void measure_along(const struct rt_leading *leading, double norm2, const float *y,
                          struct rt_along *out)
{
    float k[RT_LEADING_MOST];
    float gk[RT_LEADING_MOST];
    double cross = 0;
    double square = 0;
    double curved = 0;
    double along = 0;
    code_along(leading, y, k, out);
    multiply_gram(leading, k, gk);
    for (uint32_t i = 0; i < leading->n; i++) {
        double difference = (double)y[i] + (double)gk[i];
        cross += (double)k[i] * (double)y[i];
        square += (double)k[i] * (double)k[i];
        curved -= (double)k[i] * (double)gk[i];
        along += difference * difference;
    }
    double size = sqrt(square);
    double error = error_of(leading, leading->dim) * sqrt(norm2) +
                   2 * error_of(leading, leading->n) * size + 0x1p-60;
    double rest = norm2 - 2 * cross + curved + 3 * size * error;
    out->size = (1 + leading->skew) * size;
    out->rest = 1.001 * sqrt(rest > 0 ? rest : 0) + 1e-7 * sqrt(norm2);
    out->rest_along = 1.001 * (sqrt(along) + error);
}

void rt_leading_along(struct rt_leading *leading, const float *const *centroids, size_t n,
                      const float *mean, struct rt_along *out)
{
    const struct rt_kernels *kernels = rt_kernels();
    float y[RT_LEADING_BLOCK][RT_LEADING_MOST];
    size_t dim = leading->dim;
    for (size_t c = 0; c < n; c++)
        (void)kernels->centre(centroids[c], mean, dim, leading->centred + c * dim);
    for (uint32_t i = 0; i < leading->n; i++) {
        float products[RT_LEADING_BLOCK];
        kernels->ip_among(leading->rows + i * dim, leading->centred, dim, NULL, n, products);
        for (size_t c = 0; c < n; c++)
            y[c][i] = -products[c];
    }
    for (size_t c = 0; c < n; c++)
        measure_along(leading, kernels->norm2(leading->centred + c * dim, dim), y[c], &out[c]);
}
