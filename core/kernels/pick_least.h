/* pick_least: one search, over a file's own ways to look at all values. */
#ifndef RT_CORE_KERNELS_PICK_LEAST_H
#define RT_CORE_KERNELS_PICK_LEAST_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The least, and the greatest that is not infinite. */
typedef void pick_range(const float *values, size_t n, float *least, float *most);
/* How many are <= most. */
typedef size_t pick_count(const float *values, size_t n, float most);
/* Places of those <= low, and of the first `spare` others up to high. */
typedef size_t pick_places(const float *values, size_t n, float low, float high, size_t spare,
                           uint32_t *out);

/* Where the rank lies is guessed by how many are on either side; every fourth turn halves, as
 * values need not lie evenly. */
static inline __attribute__((always_inline)) size_t
pick_least_by(pick_range *range, pick_count *count, pick_places *places, const float *values,
              size_t n, size_t rank, uint32_t *out)
{
    float low = -INFINITY; /* fewer than rank, n_low, are <= low; n_high, at least rank, <= high */
    float least;
    float high;
    size_t n_low = 0;
    size_t n_high = n;
    range(values, n, &least, &high);
    if (!(least < INFINITY))
        return 0;
    size_t n_least = count(values, n, least);
    if (n_least < rank) {
        low = least;
        n_low = n_least;
    } else {
        high = least;
    }
    for (size_t turn = 1;; turn++) {
        float share = turn % 4 ? (float)(rank - n_low) / (float)(n_high - n_low) : 0.5f;
        float middle = low + (high - low) * share;
        if (!(middle > low && middle < high))
            middle = low + (high - low) * 0.5f;
        if (!(middle > low && middle < high))
            break;
        size_t n_here = count(values, n, middle);
        if (n_here < rank) {
            low = middle;
            n_low = n_here;
        } else {
            high = middle;
            n_high = n_here;
            if (n_here == rank)
                break;
        }
    }
    return places(values, n, low, high, rank - n_low, out);
}

/* Places of the `rank` least of n values, ties by place, in ascending order; returns how many. May
 * write 16 entries beyond them. */
typedef size_t pick_one(const float *values, size_t n, size_t rank, uint32_t *out);

/* Their ids, filled up to rank, where the places lay. */
static inline __attribute__((always_inline)) void pick_row(pick_one *pick, const float *values,
                                                           size_t n, size_t rank,
                                                           const uint32_t *ids, uint32_t *out)
{
    size_t n_out = pick(values, n, rank, out);
    for (size_t i = 0; i < n_out; i++)
        out[i] = ids[out[i]];
    for (size_t i = n_out; i < rank; i++)
        out[i] = UINT32_MAX;
}

/* ---- of any instruction set; count_at_most is the file's own ---- */

static inline void find_range(const float *values, size_t n, float *least, float *most)
{
    *least = INFINITY;
    *most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        *least = values[i] < *least ? values[i] : *least;
        *most = values[i] > *most && values[i] < INFINITY ? values[i] : *most;
    }
}

static inline size_t find_places(const float *values, size_t n, float low, float high, size_t spare,
                                 uint32_t *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) { /* what lies between are ties */
        bool is_low = values[i] <= low;
        bool is_spare = !is_low && values[i] <= high && spare > 0;
        out[n_out] = (uint32_t)i;
        n_out += is_low || is_spare;
        spare -= is_spare;
    }
    return n_out;
}

static inline size_t pick_least_of(const float *values, size_t n, size_t rank, uint32_t *out)
{
    return pick_least_by(find_range, count_at_most, find_places, values, n, rank, out);
}

static void pick_least(const float *values, size_t n_rows, size_t n, size_t rank,
                       const uint32_t *ids, uint32_t *out)
{
    for (size_t row = 0; row < n_rows; row++)
        pick_row(pick_least_of, values + row * n, n, rank, ids, out + row * rank);
}

#endif
