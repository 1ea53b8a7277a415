/* The Walsh-Hadamard transform number by number: what fht is, and how fewer numbers than a vector
 * holds are transformed. */
#ifndef RT_CORE_KERNELS_FHT_PLAIN_H
#define RT_CORE_KERNELS_FHT_PLAIN_H

#include <stddef.h>

static inline void fht_plain(float *x, size_t p, float scale)
{
    for (size_t h = 1; h < p; h *= 2)
        for (size_t block = 0; block < p; block += 2 * h)
            for (size_t i = block; i < block + h; i++) {
                float a = x[i];
                float b = x[i + h];
                x[i] = a + b;
                x[i + h] = a - b;
            }
    for (size_t i = 0; i < p; i++)
        x[i] *= scale;
}

#endif
