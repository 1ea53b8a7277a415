#include "kmeans/means.h"

#include "core/kernels/kernels.h"
#include "kmeans/means_kernels.h"

#include <float.h>
#include <math.h>

#ifdef __FAST_MATH__
#error "sums must not be reordered: build without -ffast-math" /* A2 */
#endif
_Static_assert(FLT_EVAL_METHOD == 0, "floats are computed in their own precision (A2)");

#define OVERSHOOT 0.6f
#define LANES 16

static int ceil_log2(uint64_t n)
{
    int log = 0;
    while (log < 63 && (UINT64_C(1) << log) < n)
        log++;
    return log;
}

enum rt_metric rt_means_distance(enum rt_metric metric, bool spherical)
{
    return metric == RT_IP && spherical ? RT_IP : RT_L2;
}

struct rt_scale rt_scale_new(int exponent, uint64_t n_total, uint32_t dim, enum rt_metric distance,
                             bool spherical)
{
    struct rt_scale scale = {.exponent = exponent};
    scale.grain = exponent - 62 + ceil_log2(n_total); /* C1 */
    /* C4: |E| <= 2^kE. Centroids of length 1 may be longer than every row: then they set the scale.
     */
    int centroid = spherical && exponent < 0 ? 0 : exponent;
    int row = distance == RT_IP ? exponent : centroid;
    scale.objective_exponent = 2 + ceil_log2(dim) + row + centroid;
    scale.to_grain = ldexp(1.0, -scale.grain);
    scale.to_objective = ldexp(1.0, 59 - scale.objective_exponent);
    return scale;
}

double rt_objective_value(const struct rt_scale *scale, rt_int128 joined)
{
    return ldexp((double)joined, scale->objective_exponent - 59);
}

#ifdef RT_MEANS_AVX512
static bool has_avx512(void)
{
    enum rt_isa isa = rt_kernels()->isa;
    return isa >= RT_ISA_AVX512 && isa <= RT_ISA_AVX512_AMX;
}
#endif

static void add_portable(double to_grain, int64_t *restrict sum, const float *restrict row,
                         size_t dim)
{
    for (size_t i = 0; i < dim; i++)
        sum[i] += (int64_t)llrint((double)row[i] * to_grain);
}

static void subtract_portable(double to_grain, int64_t *restrict sum, const float *restrict row,
                              size_t dim)
{
    for (size_t i = 0; i < dim; i++)
        sum[i] -= (int64_t)llrint((double)row[i] * to_grain);
}

void rt_means_add(const struct rt_scale *scale, int64_t *sum, const float *row, size_t dim)
{
#ifdef RT_MEANS_AVX512
    if (has_avx512()) {
        rt_means_add_avx512(scale->to_grain, sum, row, dim);
        return;
    }
#endif
    add_portable(scale->to_grain, sum, row, dim);
}

void rt_means_subtract(const struct rt_scale *scale, int64_t *sum, const float *row, size_t dim)
{
#ifdef RT_MEANS_AVX512
    if (has_avx512()) {
        rt_means_subtract_avx512(scale->to_grain, sum, row, dim);
        return;
    }
#endif
    subtract_portable(scale->to_grain, sum, row, dim);
}

/* The lanes and tree of A4. */
static double fold(double *lane)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int l = 0; l < step; l++)
            lane[l] += lane[l + step];
    return lane[0];
}

bool rt_means_normalise(float *centroid, size_t dim)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < dim; i++)
        lane[i % LANES] += (double)centroid[i] * (double)centroid[i];
    double norm = sqrt(fold(lane));
    if (!(norm > 0))
        return false;
    for (size_t i = 0; i < dim; i++)
        centroid[i] = (float)((double)centroid[i] / norm);
    return true;
}

/* C3 */
static void divide_one(const struct rt_scale *scale, const int64_t *sum, double count, size_t dim,
                       bool spherical, float *centroid)
{
    double unit = ldexp(1.0, scale->grain);
    double norm = 1;
    if (spherical) {
        double lane[LANES] = {0};
        for (size_t i = 0; i < dim; i++) {
            double mean = (double)sum[i] * unit / count;
            lane[i % LANES] += mean * mean;
        }
        norm = sqrt(fold(lane));
        if (!(norm > 0))
            return;
        for (size_t i = 0; i < dim; i++)
            centroid[i] = (float)((double)sum[i] * unit / count / norm);
        return;
    }
    for (size_t i = 0; i < dim; i++)
        centroid[i] = (float)((double)sum[i] * unit / count);
}

void rt_means_divide(const struct rt_scale *scale, const int64_t *sums, const int64_t *counts,
                     size_t n, size_t dim, bool spherical, float *centroids)
{
    for (size_t c = 0; c < n; c++)
        if (counts[c] > 0)
            divide_one(scale, sums + c * dim, (double)counts[c], dim, spherical,
                       centroids + c * dim);
}

void rt_means_overshoot(const float *before, size_t n, size_t dim, bool spherical, float *centroids)
{
    for (size_t i = 0; i < n * dim; i++)
        centroids[i] += OVERSHOOT * (centroids[i] - before[i]);
    for (size_t c = 0; spherical && c < n; c++)
        (void)rt_means_normalise(centroids + c * dim, dim);
}
