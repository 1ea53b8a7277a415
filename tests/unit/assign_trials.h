/* Rows and centroids for tests of assignment, made from seeds, and the plain definition of what is
 * nearest. */
#ifndef RT_TESTS_ASSIGN_TRIALS_H
#define RT_TESTS_ASSIGN_TRIALS_H

#include "core/assign.h"
#include "core/kernels/kernels.h"
#include "core/random.h"
#include "tests/rt_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BEST 40
#define MANY 5000

static struct rt_error err;

/* Data that hurts (K2), all with numbers from a seed. */
enum kind {
    PLAIN,
    CLUSTERED,
    OFFSET,     /* 1e4 added to every value */
    MAGNITUDES, /* rows of length 1e-6 .. 1e6 */
    IDENTICAL,  /* three rows, over and over: all ties */
    HUGE_ROW,   /* one of 1e17 */
    TINY,       /* denormals, zero rows, -0 */
    BORDER,     /* |x|^2 near 2^120 */
    FLAT,       /* along few directions, and a little across */
    N_KINDS
};
static const char *const kind_names[] = {"plain",      "clustered", "offset",
                                         "magnitudes", "identical", "huge row",
                                         "tiny",       "border",    "flat"};

static float normal(uint64_t seed, uint64_t a, uint64_t b)
{
    int64_t total = 0;
    for (uint64_t i = 0; i < 6; i++) {
        uint64_t bits = rt_random(seed, RT_RANDOM_TEST, a, b, i);
        total += (int64_t)(bits >> 32) + (int64_t)(bits & 0xffffffff);
    }
    return (float)((double)(total - INT64_C(6) * 0xffffffff) * 0x1p-32);
}

#define N_DIRECTIONS 9
#define MOST_DIM 4097

static void add_along(uint64_t seed, size_t row, uint32_t dim, float *x)
{
    static float directions[N_DIRECTIONS][MOST_DIM];
    static uint32_t n_made;
    CHECK(dim <= MOST_DIM);
    for (; n_made < dim; n_made++)
        for (uint32_t k = 0; k < N_DIRECTIONS; k++)
            directions[k][n_made] = normal(4, k, n_made);
    for (uint32_t i = 0; i < dim; i++)
        x[i] *= 0.1f;
    for (uint32_t k = 0; k < N_DIRECTIONS; k++) {
        float size = normal(seed, row, 1000 + k);
        for (uint32_t i = 0; i < dim; i++)
            x[i] += size * directions[k][i];
    }
}

static void shape_row(enum kind kind, uint64_t seed, size_t row, uint32_t dim, float *x)
{
    float size = 1;
    if (kind == MAGNITUDES)
        for (uint64_t i = rt_random(seed, RT_RANDOM_TEST, row, 77, 77) % 13; i > 0; i--)
            size *= 10;
    for (uint32_t i = 0; i < dim; i++) {
        if (kind == CLUSTERED)
            x[i] = 0.3f * x[i] + normal(3, row % 17, i);
        else if (kind == OFFSET)
            x[i] += 1e4f;
        else if (kind == MAGNITUDES)
            x[i] *= 1e-6f * size;
        else if (kind == HUGE_ROW && row == 3)
            x[i] *= 1e17f;
        else if (kind == TINY)
            x[i] = row % 5 == 0 ? -0.0f : x[i] * 0x1p-140f;
        else if (kind == BORDER)
            x[i] *= 0x1p57f / (float)sqrt((double)dim);
    }
    if (kind == FLAT)
        add_along(seed, row, dim, x);
}

static void fill(enum kind kind, uint64_t seed, size_t n, uint32_t dim, float *out)
{
    for (size_t row = 0; row < n; row++) {
        size_t from = kind == IDENTICAL ? row % 3 : row;
        uint64_t own = kind == IDENTICAL ? 5 : seed;
        for (uint32_t i = 0; i < dim; i++)
            out[row * dim + i] = normal(own, from, i);
        shape_row(kind, seed, row, dim, out + row * dim);
    }
}

static float distance(enum rt_metric metric, const float *a, const float *b, uint32_t dim)
{
    float lane[16] = {0};
    for (uint32_t i = 0; i < dim; i++) {
        float term = metric == RT_IP ? a[i] * b[i] : (a[i] - b[i]) * (a[i] - b[i]);
        lane[i % 16] += term;
    }
    for (int step = 8; step > 0; step /= 2)
        for (int l = 0; l < step; l++)
            lane[l] += lane[l + step];
    return metric == RT_IP ? 0.0f - lane[0] : lane[0];
}

/* B2 in the plainest way: the count best of list, ascending by (E, number). Returns how many. */
static uint32_t best_of(enum rt_metric metric, const float *row, const float *centroids,
                        uint32_t dim, const uint32_t *list, uint32_t n, uint32_t count,
                        uint32_t *out, float *out_distance)
{
    uint32_t n_out = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = list ? list[i] : i;
        float e = distance(metric, row, centroids + (size_t)c * dim, dim);
        uint32_t at = n_out < count ? n_out++ : count;
        for (;
             at > 0 && (e < out_distance[at - 1] || (e == out_distance[at - 1] && c < out[at - 1]));
             at--)
            if (at < count) {
                out[at] = out[at - 1];
                out_distance[at] = out_distance[at - 1];
            }
        if (at < count) {
            out[at] = c;
            out_distance[at] = e;
        }
    }
    for (uint32_t i = n_out; i < count; i++)
        out[i] = UINT32_MAX;
    return n_out;
}

struct trial {
    enum kind kind;
    enum rt_metric metric;
    uint32_t dim, n;
    size_t n_rows;
};

static float *numbers_of(const struct trial *t, uint64_t seed, size_t n)
{
    float *out = malloc((n * t->dim + 1) * sizeof *out);
    fill(t->kind, seed, n, t->dim, out);
    return out;
}

static struct rt_assigner *assigner_of(const struct trial *t, enum rt_proposer proposer,
                                       uint32_t most)
{
    struct rt_assigner *a = NULL;
    CHECK_OK(rt_assigner_new(t->n_rows, t->dim, most, proposer, &a, &err));
    return a;
}

static void compare(const struct trial *t, const char *what, enum rt_proposer proposer,
                    const uint32_t *expected, const float *distances, const uint32_t *list,
                    const float *out, uint32_t count)
{
    for (size_t i = 0; i < t->n_rows * count; i++)
        if (list[i] != expected[i] ||
            (out && list[i] != UINT32_MAX &&
             !(out[i] == distances[i] && !(out[i] == 0 && signbit(out[i]))))) {
            RT_TEST_FAILED(
                "%s, %s, metric %d, dim %u, %u centroids, proposer %d: row %zu place %zu: "
                "%u at %g, not %u at %g",
                what, kind_names[t->kind], (int)t->metric, t->dim, t->n, (int)proposer, i / count,
                i % count, list[i], out ? (double)out[i] : 0.0, expected[i], (double)distances[i]);
            return;
        }
}

#endif
