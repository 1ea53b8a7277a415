/* (E, number) as one integer, so that every order is total (A5), and the least of many such. */
#ifndef RT_CORE_KEYS_H
#define RT_CORE_KEYS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* (E, number) as one ordered integer (A5). */
static inline uint64_t rt_key_of(float distance, uint32_t number)
{
    uint32_t bits;
    distance += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &distance, sizeof bits);
    bits = bits & UINT32_C(0x80000000) ? ~bits : bits | UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | number;
}

static inline float rt_key_distance(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float distance;
    bits = bits & UINT32_C(0x80000000) ? bits & UINT32_C(0x7fffffff) : ~bits;
    memcpy(&distance, &bits, sizeof distance);
    return distance;
}

static inline uint32_t rt_key_number(uint64_t key)
{
    return (uint32_t)key;
}

/* Ascending; no two keys are equal, and none is UINT64_MAX. */
void rt_keys_sort(uint64_t *keys, size_t n);
/* The same for many whose lower words ascend as it is, and whose upper words are below `end`.
 * spare: room for n; the two arrays may change places. */
void rt_keys_sort_by_upper(uint64_t **keys, uint64_t **spare, size_t n, uint32_t end);
/* Brings the `wanted` least keys to the front, in any order. */
void rt_keys_select(uint64_t *keys, size_t n, size_t wanted);

/* The `best` least of what is offered, as a heap with the greatest on top. */
struct rt_least {
    uint64_t *keys;
    size_t n, best;
};
void rt_keys_offer(struct rt_least *least, uint64_t key);

#endif
