#include "core/code.h"

#include "core/kernels/kernels.h"

#include <math.h>

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
