/* The random rotation of an index: four rounds of signs, Walsh-Hadamard and (where dim is no power
 * of two) a Kac step. Rows, centroids and queries all pass through the same one. Bit-identical on
 * every CPU. */
#ifndef RT_CORE_ROTATION_H
#define RT_CORE_ROTATION_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

#define RT_ROTATION_VERSION 1u

struct rt_rotation;
enum rt_status rt_rotation_new(uint64_t seed, uint32_t dim, struct rt_rotation **out,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_rotation_free(struct rt_rotation *rotation);
/* Rotates n_rows rows of dim floats in place. */
void rt_rotation_apply(const struct rt_rotation *rotation, float *rows, size_t n_rows);
void rt_rotation_invert(const struct rt_rotation *rotation, float *rows, size_t n_rows);

#endif
