/* The 1-bit code of a row against its centroid, its factors, and the distance estimate they give
 * (RaBitQ, arXiv 2405.12497; docs and sources of each formula at its declaration). */
#ifndef RT_CORE_CODE_H
#define RT_CORE_CODE_H

#include "core/error.h"
#include "core/metric.h"

#include <stddef.h>
#include <stdint.h>

/* Factors of a row, all f32, never NaN: |u|^2, |u|^2/|u|_1, error factor; under ip also g = -<u,c>.
 * u = x - c with residual, x without. */
#define RT_MAX_FACTORS 4
static inline uint32_t rt_code_n_factors(enum rt_metric metric)
{
    return metric == RT_IP ? 4u : 3u;
}
/* Bytes of one row's code on a tape: bit i of the row is bit i mod 8 of byte i/8, padding bits 0.
 */
static inline uint32_t rt_code_bytes(uint32_t dim)
{
    return (dim + 7) / 8;
}

/* Encodes one rotated row against its rotated centroid (centroid NULL: no residual, u = x). factors
 * has rt_code_n_factors entries. */
void rt_code_encode(enum rt_metric metric, const float *row, const float *centroid, uint32_t dim,
                    uint8_t *code, float *factors);
/* Those of n rows (n x dim), each against the centroid of its list; where that is UINT32_MAX, its
 * code and factors stay as they are. centroids: all of a level, NULL as above. codes, factors: n
 * of each. */
void rt_code_encode_rows(enum rt_metric metric, const float *rows, const uint32_t *lists, size_t n,
                         const float *centroids, uint32_t dim, uint8_t *codes, float *factors);

#endif
