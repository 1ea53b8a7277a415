/* pick_least over a file's own count_at_most(). */
#ifndef RT_CORE_KERNELS_PICK_LEAST_H
#define RT_CORE_KERNELS_PICK_LEAST_H

#include <math.h>
#include <stdbool.h>

/* The least, and the greatest that is not infinite; false: all are. */
static inline bool find_range(const float *values, size_t n, float *least, float *most)
{
    *least = INFINITY;
    *most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        *least = values[i] < *least ? values[i] : *least;
        *most = values[i] > *most && values[i] < INFINITY ? values[i] : *most;
    }
    return *least < INFINITY;
}

static size_t pick_least(const float *values, size_t n, size_t rank, uint32_t *out)
{
    float low = -INFINITY; /* fewer than rank are <= low, at least rank (or all) <= high */
    float least;
    float high;
    size_t n_low = 0;
    if (!find_range(values, n, &least, &high))
        return 0;
    size_t n_least = count_at_most(values, n, least);
    if (n_least < rank) {
        low = least;
        n_low = n_least;
    } else {
        high = least;
    }
    for (float middle; (middle = low + (high - low) * 0.5f) > low && middle < high;) {
        size_t count = count_at_most(values, n, middle);
        if (count < rank) {
            low = middle;
            n_low = count;
        } else {
            high = middle;
            if (count == rank)
                break;
        }
    }
    size_t n_out = 0;
    for (size_t i = 0, spare = rank - n_low; i < n; i++) { /* what lies between ties */
        bool is_low = values[i] <= low;
        bool is_spare = !is_low && values[i] <= high && spare > 0;
        out[n_out] = (uint32_t)i;
        n_out += is_low || is_spare;
        spare -= is_spare;
    }
    return n_out;
}

#endif
