/* rabitq.md 1: four rounds of signs, Walsh-Hadamard of the first or last p values, Kac step. */
#include "core/rotation.h"

#include "core/element.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/random.h"

#include <math.h>

#define ROUNDS 4

struct rt_rotation {
    uint32_t dim;
    uint32_t power;  /* the largest power of two <= dim */
    float scale;     /* 1/sqrt(power) */
    uint32_t *signs; /* ROUNDS x dim, top bit: negative */
};

enum rt_status rt_rotation_new(uint64_t seed, uint32_t dim, struct rt_rotation **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rotation *rotation = NULL;
    if (dim == 0 || dim > RT_MAX_DIM)
        RT_FAIL(RT_USAGE, "dimension %u is outside 1..%u", dim, RT_MAX_DIM);
    RT_TRY(rt_array_zero(1, sizeof *rotation, &rotation, err));
    RT_TRY(rt_array_new((size_t)ROUNDS * dim, sizeof *rotation->signs, &rotation->signs, err));
    rotation->dim = dim;
    rotation->power = 1;
    while (rotation->power * 2 <= dim)
        rotation->power *= 2;
    rotation->scale = (float)(1.0 / sqrt((double)rotation->power));
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t i = 0; i < dim; i++) { /* A7: one word for 64 signs */
            uint64_t word = rt_random(seed, RT_RANDOM_ROTATION, round, i / 64, 0);
            rotation->signs[(size_t)round * dim + i] = (word >> (i % 64) & 1) ? 0x80000000u : 0;
        }
    *out = rotation;
    rotation = NULL;
done:
    rt_rotation_free(rotation);
    return st;
}

void rt_rotation_free(struct rt_rotation *rotation)
{
    if (!rotation)
        return;
    rt_array_free(rotation->signs);
    rt_array_free(rotation);
}

static void kac(const struct rt_kernels *kernels, float *row, uint32_t dim)
{
    uint32_t m = dim / 2;
    kernels->kac(row, row + (dim - m), m); /* the middle of an odd dim stays */
}

void rt_rotation_apply(const struct rt_rotation *rotation, float *rows, size_t n_rows)
{
    const struct rt_kernels *kernels = rt_kernels();
    uint32_t dim = rotation->dim;
    uint32_t power = rotation->power;
    for (size_t r = 0; r < n_rows; r++) {
        float *row = rows + r * dim;
        for (uint32_t round = 0; round < ROUNDS; round++) {
            const uint32_t *signs = rotation->signs + (size_t)round * dim;
            uint32_t first = round % 2 ? dim - power : 0; /* of those that are transformed */
            uint32_t rest = round % 2 ? 0 : power;        /* of those that are not */
            kernels->flip(row + rest, signs + rest, dim - power);
            kernels->fht(row + first, signs + first, power, rotation->scale);
            if (dim != power)
                kac(kernels, row, dim);
        }
    }
}

void rt_rotation_invert(const struct rt_rotation *rotation, float *rows, size_t n_rows)
{
    const struct rt_kernels *kernels = rt_kernels();
    uint32_t dim = rotation->dim;
    uint32_t power = rotation->power;
    for (size_t r = 0; r < n_rows; r++) {
        float *row = rows + r * dim;
        for (uint32_t round = ROUNDS; round-- > 0;) {
            if (dim != power)
                kac(kernels, row, dim);
            kernels->fht(round % 2 ? row + (dim - power) : row, NULL, power, rotation->scale);
            kernels->flip(row, rotation->signs + (size_t)round * dim, dim);
        }
    }
}
