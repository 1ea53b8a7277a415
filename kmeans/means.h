/* Sums, means and objectives that do not depend on the order of rows or on who adds them:
 * fixed-point integers (C1-C5). Knows rows and counts only; no MPI but in the one collective
 * function. */
#ifndef RT_KMEANS_MEANS_H
#define RT_KMEANS_MEANS_H

#include "core/error.h"
#include "core/metric.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef __int128 rt_int128;

/* The grains of one job: made of the sample's largest magnitude and count alone. */
struct rt_scale {
    int exponent;           /* M = 2^exponent (C1) */
    int grain;              /* q: a value counts llrint(x 2^-q) */
    int objective_exponent; /* kE: |E| counts at most 2^kE (C4, C5) */
    double to_grain;        /* 2^-q */
    double to_objective;    /* 2^(59-kE) */
};
struct rt_scale rt_scale_new(int exponent, uint64_t n_total, uint32_t dim, enum rt_metric distance,
                             bool spherical);
/* The list distance of training and insert: ip only with spherical, else l2 (B1). */
enum rt_metric rt_means_distance(enum rt_metric metric, bool spherical);

/* Sum of distances, in two halves that cannot overflow (C4). */
struct rt_objective {
    int64_t high, low;
};
static inline int64_t rt_objective_grains(const struct rt_scale *scale, float distance)
{
    double v = (double)distance * scale->to_objective;
    double most = 0x1p59;
    return (int64_t)__builtin_llrint(v > most ? most : v < -most ? -most : v);
}
static inline void rt_objective_add(struct rt_objective *sum, int64_t grains)
{
    sum->high += grains >> 30;
    sum->low += grains & ((INT64_C(1) << 30) - 1);
}
static inline rt_int128 rt_objective_join(struct rt_objective sum)
{
    return (rt_int128)sum.high * ((rt_int128)1 << 30) + sum.low;
}
/* In the unit of distances, rounded once. */
double rt_objective_value(const struct rt_scale *scale, rt_int128 joined);

/* sum[i] += llrint(row[i] 2^-q), or -=, for dim values of magnitude at most 2^exponent. */
void rt_means_add(const struct rt_scale *scale, int64_t *sum, const float *row, size_t dim);
void rt_means_subtract(const struct rt_scale *scale, int64_t *sum, const float *row, size_t dim);
/* C3: n means of dim values from sums and counts. A centroid without rows, or spherical without
 * length, keeps what it holds. */
void rt_means_divide(const struct rt_scale *scale, const int64_t *sums, const int64_t *counts,
                     size_t n, size_t dim, bool spherical, float *centroids);
/* Moves n means on by 0.6 of the way they have come (C6): k-means then needs fewer iterations for
 * the same lists. before: where they were. */
void rt_means_overshoot(const float *before, size_t n, size_t dim, bool spherical,
                        float *centroids);
/* D3-D5 on the unit sphere: scales to unit length (f64, A4); false and untouched where there is
 * none. */
bool rt_means_normalise(float *centroid, size_t dim);

#endif
