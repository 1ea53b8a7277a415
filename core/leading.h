/* The few directions in which a set's centroids mostly lie (B7): products of what rows and
 * centroids are along these take a fraction of those of all dimensions, and what lies across is
 * bounded. Private to core. */
#ifndef RT_CORE_LEADING_H
#define RT_CORE_LEADING_H

#include "core/centroid_set.h"

/* Sets of fewer dimensions or centroids have none, nor those for which codes do not propose. */
#define RT_LEADING_DIM 64
#define RT_LEADING_MOST_DIM 2048
#define RT_LEADING_LEAST 1024
static inline bool rt_leading_suits(uint32_t dim)
{
    return dim >= RT_LEADING_DIM && dim <= RT_LEADING_MOST_DIM;
}
static inline bool rt_leading_is_for(uint32_t n, uint32_t dim)
{
    return n >= RT_LEADING_LEAST && rt_leading_suits(dim);
}

/* The directions, nearly orthonormal, are the rows of A: codes times scale, to the bit. */
struct rt_leading {
    uint32_t n; /* 0: too much of the centroids lies across; else 32 or 64 */
    uint32_t dim;
    float *rows;    /* n x dim: A */
    uint8_t *codes; /* n x rt_code_stride: of quantise */
    float scale[RT_LEADING_MOST];
    int32_t sums[RT_LEADING_MOST];   /* 128 x sum of codes */
    float *gram;                     /* n x n: A times its transpose, rounded */
    double skew;                     /* no less than the norm of gram less the identity */
    float centroid_scale, row_scale; /* of codes along the directions */
    float unit;                      /* twice their product */
    float *centred;                  /* RT_LEADING_BLOCK x dim: scratch */
};

/* What a centroid is along the directions, by codes, and what the bound needs of it. */
struct rt_along {
    uint8_t codes[RT_LEADING_MOST]; /* of k */
    int32_t sum;                    /* of the codes less 128 */
    double size;                    /* no less than |A'k| and |k| */
    double rest;                    /* no less than |r|, r = c' - A'k */
    double rest_along;              /* no less than |A r| */
};

/* Centroids at once: they stay in the first cache while the directions pass by. */
#define RT_LEADING_BLOCK 8

/* Those of n centroids about mean. The same for the same centroids, on any CPU. Fails with
 * RT_NOMEM. */
enum rt_status rt_leading_new(const float *centroids, uint32_t n, uint32_t dim, const float *mean,
                              struct rt_leading **out, struct rt_error *err) RT_MUST_CHECK;
void rt_leading_free(struct rt_leading *leading);
/* n: at most RT_LEADING_BLOCK. */
void rt_leading_along(struct rt_leading *leading, const float *const *centroids, size_t n,
                      const float *mean, struct rt_along *out);

#endif
