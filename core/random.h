/* Random numbers as a pure function of (seed, purpose, index..): no generator with a state (A7). */
#ifndef RT_CORE_RANDOM_H
#define RT_CORE_RANDOM_H

#include <stdint.h>

enum rt_purpose { /* two uses never share numbers; values are part of the format: append only */
                  RT_RANDOM_ROTATION = 1,
                  RT_RANDOM_SAMPLE_BLOCK,
                  RT_RANDOM_FIRST_CENTROID,
                  RT_RANDOM_EMPTY_SPLIT,
                  RT_RANDOM_BEAM_SAMPLE,
                  RT_RANDOM_CHOOSER,
                  RT_RANDOM_SYNTH_CENTER,
                  RT_RANDOM_SYNTH_ROW,
                  RT_RANDOM_SYNTH_QUERY,
                  RT_RANDOM_SYNTH_BASIS,
                  RT_RANDOM_SYNTH_WEIGHT,
                  RT_RANDOM_GATE,
                  RT_RANDOM_VERIFY,
                  RT_RANDOM_MAX_LIST,
                  RT_RANDOM_TEST,
                  RT_RANDOM_COARSE_ROW,
                  RT_RANDOM_NEIGHBOUR_SAMPLE
};

/* 64 well-mixed bits (splitmix64 finaliser over the chained words). */
static inline uint64_t rt_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}
static inline uint64_t rt_random(uint64_t seed, enum rt_purpose purpose, uint64_t a, uint64_t b,
                                 uint64_t c)
{
    uint64_t h = rt_mix64(seed + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)purpose + 1));
    h = rt_mix64(h ^ (a * UINT64_C(0xd1342543de82ef95) + UINT64_C(0x9e3779b97f4a7c15)));
    h = rt_mix64(h ^ (b * UINT64_C(0xa0761d6478bd642f) + UINT64_C(0xbf58476d1ce4e5b9)));
    return rt_mix64(h ^ (c * UINT64_C(0xe7037ed1a0b428db) + UINT64_C(0x94d049bb133111eb)));
}
__extension__ typedef unsigned __int128 rt_uint128;
/* Uniform in [0, n), n > 0, without modulo (multiply-shift of the top bits). */
static inline uint64_t rt_random_below(uint64_t bits, uint64_t n)
{
    return (uint64_t)(((rt_uint128)bits * n) >> 64);
}
/* Pseudo-random permutation of [0, n): a Feistel network with cycle walking (D1). n >= 1, index <
 * n. */
uint64_t rt_random_permute(uint64_t seed, enum rt_purpose purpose, uint64_t index, uint64_t n);

#endif
