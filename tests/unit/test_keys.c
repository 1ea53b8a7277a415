#include "core/keys.h"
#include "core/random.h"
#include "tests/rt_test.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 600, MANY = 3000 };

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Values of all kinds, many of them alike; numbers that are not in order. */
static void draw(uint64_t seed, size_t n, uint64_t *keys)
{
    static const float few[] = {-INFINITY, -3, -0.0f, 0, 1, INFINITY};
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = rt_random(seed, RT_RANDOM_TEST, i, 0, 0);
        float value = (float)(int64_t)bits * 0x1p-62f;
        keys[i] = rt_key_of(seed % 2 ? few[bits % 6] : value, (uint32_t)((i * 7919 + 13) % 1009));
    }
}

RT_TEST("keys are ordered as their values, then as their numbers, and give both back")
{
    static const float ascending[] = {-INFINITY, -2.5f, -1e-40f, 0, 1e-40f, 1, 1e30f, INFINITY};
    for (size_t i = 0; i < sizeof ascending / sizeof *ascending; i++) {
        CHECK(rt_key_distance(rt_key_of(ascending[i], 77)) == ascending[i]);
        CHECK(rt_key_number(rt_key_of(ascending[i], 77)) == 77);
        CHECK(rt_key_of(ascending[i], 4) < rt_key_of(ascending[i], 5));
        CHECK(i == 0 || rt_key_of(ascending[i - 1], UINT32_MAX) < rt_key_of(ascending[i], 0));
    }
    CHECK(rt_key_of(-0.0f, 9) == rt_key_of(0.0f, 9));
}

RT_TEST("keys of any number are sorted, those of equal values and sorted ones too")
{
    static uint64_t keys[MOST];
    static uint64_t expected[MOST];
    for (size_t n = 0; n <= MOST; n = n < 70 ? n + 1 : n + 53)
        for (uint64_t seed = 0; seed < 4; seed++) {
            draw(4 * n + seed, n, keys);
            memcpy(expected, keys, sizeof keys);
            qsort(expected, n, sizeof *expected, compare);
            if (seed == 2)
                memcpy(keys, expected, sizeof keys);
            rt_keys_sort(keys, n);
            CHECK(memcmp(keys, expected, n * sizeof *keys) == 0);
        }
}

RT_TEST("many keys whose lower words ascend are sorted by their upper ones")
{
    static uint64_t rooms[2][MANY];
    static uint64_t expected[MANY];
    const uint32_t ends[] = {1, 2, 2048, 2049, 5000000, UINT32_MAX};
    for (size_t n = 0; n <= MANY; n = n * 2 + 1)
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            uint64_t *keys = rooms[0];
            uint64_t *spare = rooms[1];
            for (size_t i = 0; i < n; i++)
                keys[i] = rt_random(n, RT_RANDOM_TEST, i, 0, 0) % ends[e] << 32 | i;
            memcpy(expected, keys, n * sizeof *keys);
            qsort(expected, n, sizeof *expected, compare);
            rt_keys_sort_by_upper(&keys, &spare, n, ends[e]);
            CHECK(memcmp(keys, expected, n * sizeof *keys) == 0);
        }
}

RT_TEST("the least keys come to the front")
{
    static uint64_t keys[MOST];
    static uint64_t expected[MOST];
    for (size_t n = 1; n <= MOST; n = n * 3 + 1)
        for (size_t wanted = 0; wanted <= n; wanted = wanted * 2 + 1) {
            draw(n + wanted, n, keys);
            memcpy(expected, keys, sizeof keys);
            qsort(expected, n, sizeof *expected, compare);
            rt_keys_select(keys, n, wanted);
            qsort(keys, wanted, sizeof *keys, compare);
            CHECK(memcmp(keys, expected, wanted * sizeof *keys) == 0);
            qsort(keys, n, sizeof *keys, compare);
            CHECK(memcmp(keys, expected, n * sizeof *keys) == 0);
        }
}

RT_TEST_MAIN()
