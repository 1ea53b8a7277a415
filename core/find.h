/* Looking up in ascending numbers. */
#ifndef RT_CORE_FIND_H
#define RT_CORE_FIND_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The place of the last of n ascending numbers that is at or below value: where several are the
 * same (something empty lies before another), the last of them. 0 where none is, or n is 0.
 * numbers: the first, of those that stand `stride` bytes apart, in structures or next to each
 * other. */
static inline size_t rt_find_last(const uint64_t *numbers, size_t stride, size_t n, uint64_t value)
{
    size_t low = 0;
    size_t high = n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        uint64_t number = 0;
        memcpy(&number, (const char *)numbers + middle * stride, sizeof number);
        if (number <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

#endif
