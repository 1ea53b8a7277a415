#include "core/random.h"

#define ROUNDS 6

/* One pass of the Feistel network over [0, 2^(2 half_bits)). */
static uint64_t pass(uint64_t seed, enum rt_purpose purpose, uint64_t value, unsigned half_bits)
{
    uint64_t mask = (UINT64_C(1) << half_bits) - 1;
    uint64_t left = value >> half_bits;
    uint64_t right = value & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t next = left ^ (rt_random(seed, purpose, round, right, half_bits) & mask);
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

uint64_t rt_random_permute(uint64_t seed, enum rt_purpose purpose, uint64_t index, uint64_t n)
{
    unsigned half_bits = 1;
    while (half_bits < 32 && (UINT64_C(1) << 2 * half_bits) < n)
        half_bits++;
    /* Walks the cycle until it is back inside: at most 4 steps on average, since 4 n > 2^(2
     * half_bits). */
    do
        index = pass(seed, purpose, index, half_bits);
    while (index >= n);
    return index;
}
