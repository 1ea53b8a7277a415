/* Looking up in ascending numbers. */
#ifndef RT_CORE_FIND_H
#define RT_CORE_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Number i of those that stand `stride` bytes apart, in structures or next to each other. */
static inline uint64_t rt_number_at(const uint64_t *numbers, size_t stride, uint64_t i)
{
    uint64_t number = 0;
    memcpy(&number, (const char *)numbers + i * stride, sizeof number);
    return number;
}

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
        if (rt_number_at(numbers, stride, middle) <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Borders of a search: number `low` is below the value, `high` at or above it. */
struct rt_bracket {
    uint64_t low, high;
    uint64_t least, most; /* the numbers there */
};

/* Draws a border to place `at`, strictly between them; true where it is the lower one. */
static inline bool rt_bracket_draw(struct rt_bracket *b, uint64_t at, uint64_t number,
                                   uint64_t value)
{
    if (number < value) {
        b->low = at;
        b->least = number;
        return true;
    }
    b->high = at;
    b->most = number;
    return false;
}

/* The place of the first of n ascending numbers that is at or above value; n where none is. Looks
 * where value would lie if they rose evenly, from there further and further towards it, and at last
 * by halves: few lines of memory where they nearly do, as ids mostly. Numbers that do not ascend
 * give any place within n. */
static inline uint64_t rt_find_first(const uint64_t *numbers, size_t stride, uint64_t n,
                                     uint64_t value)
{
    if (n == 0 || rt_number_at(numbers, stride, 0) >= value)
        return 0;
    struct rt_bracket b = {.high = n - 1,
                           .least = rt_number_at(numbers, stride, 0),
                           .most = rt_number_at(numbers, stride, n - 1)};
    if (b.most < value)
        return n;
    for (int round = 0; round < 3 && b.high - b.low > 16; round++) {
        double share = (double)(value - b.least) / (double)(b.most - b.least);
        uint64_t guess = b.low + (uint64_t)(share * (double)(b.high - b.low));
        guess = guess <= b.low ? b.low + 1 : guess >= b.high ? b.high - 1 : guess;
        bool is_up = rt_bracket_draw(&b, guess, rt_number_at(numbers, stride, guess), value);
        for (uint64_t step = 4; step < b.high - b.low; step *= 8) {
            uint64_t at = is_up ? b.low + step : b.high - step;
            if (rt_bracket_draw(&b, at, rt_number_at(numbers, stride, at), value) != is_up)
                break;
        }
    }
    while (b.high - b.low > 1) {
        uint64_t middle = b.low + (b.high - b.low) / 2;
        (void)rt_bracket_draw(&b, middle, rt_number_at(numbers, stride, middle), value);
    }
    return b.high;
}

#endif
