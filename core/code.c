#include "core/code.h"

#include "core/kernels/kernels.h"

#include <math.h>

#define ROWS_AHEAD 2u /* lists of consecutive rows lie anywhere */

/* RaBitQ's factors from the sums of u (rabitq.md 2), in f64, rounded once. */
static void factors_from(const struct rt_code_sums *sums, uint32_t dim, float *factors)
{
    double square = sums->square;
    double absolute = sums->absolute;
    if (!(absolute > 0)) { /* u = 0: the estimate is exact, |v - c|^2 */
        factors[0] = factors[1] = factors[2] = 0;
        return;
    }
    double x0 = (double)dim * square / (absolute * absolute) - 1; /* 1/x0^2 - 1 */
    double error = dim > 1 && x0 > 0 ? sqrt(square * x0 / (double)(dim - 1)) : 0;
    factors[0] = (float)square;
    factors[1] = (float)(square / absolute);
    factors[2] = (float)error;
}

void rt_code_encode(enum rt_metric metric, const float *row, const float *centroid, uint32_t dim,
                    uint8_t *code, float *factors)
{
    struct rt_code_sums sums;
    rt_kernels()->scan.encode(row, centroid, metric == RT_IP, dim, code, &sums);
    factors_from(&sums, dim, factors);
    if (metric == RT_IP) /* g = -<u,c>; never -0 (A5) */
        factors[3] = (float)(0.0 - sums.centroid) + 0.0f;
}

static void ask_for(const float *centroid, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i += 16) /* a line */
        __builtin_prefetch(centroid + i);
}

void rt_code_encode_rows(enum rt_metric metric, const float *rows, const uint32_t *lists, size_t n,
                         const float *centroids, uint32_t dim, uint8_t *codes, float *factors)
{
    const size_t code_bytes = rt_code_bytes(dim);
    const size_t n_factors = rt_code_n_factors(metric);
    for (size_t i = 0; i < n; i++) {
        if (centroids && n - i > ROWS_AHEAD && lists[i + ROWS_AHEAD] != UINT32_MAX)
            ask_for(centroids + (size_t)lists[i + ROWS_AHEAD] * dim, dim);
        if (lists[i] != UINT32_MAX)
            rt_code_encode(metric, rows + i * dim,
                           centroids ? centroids + (size_t)lists[i] * dim : NULL, dim,
                           codes + i * code_bytes, factors + i * n_factors);
    }
}
