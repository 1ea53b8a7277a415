#include "core/random.h"
#include "tests/rt_test.h"

#include <inttypes.h>

RT_TEST("numbers are the same today and for ever")
{
    /* Indexes hold what came of them: these values may never change. */
    CHECK(rt_mix64(0) == 0);
    CHECK(rt_mix64(1) == UINT64_C(0x5692161d100b05e5));
    uint64_t together = 0;
    for (uint64_t i = 0; i < 1000; i++)
        together = rt_mix64(together ^ rt_random(i, RT_RANDOM_TEST, i * 3, i * 5, i * 7));
    if (together != UINT64_C(0xf08b67e05fb60144))
        RT_TEST_FAILED("numbers changed: 0x%016" PRIx64, together);
    for (uint64_t i = 0; i < 1000; i++)
        together = rt_mix64(together ^ rt_random_permute(i, RT_RANDOM_TEST, i, i + 1));
    if (together != UINT64_C(0x833a834c13a8f60d))
        RT_TEST_FAILED("permutations changed: 0x%016" PRIx64, together);
}

RT_TEST("every argument matters")
{
    uint64_t base = rt_random(1, RT_RANDOM_TEST, 2, 3, 4);
    CHECK(base == rt_random(1, RT_RANDOM_TEST, 2, 3, 4));
    CHECK(base != rt_random(2, RT_RANDOM_TEST, 2, 3, 4));
    CHECK(base != rt_random(1, RT_RANDOM_GATE, 2, 3, 4));
    CHECK(base != rt_random(1, RT_RANDOM_TEST, 3, 3, 4));
    CHECK(base != rt_random(1, RT_RANDOM_TEST, 2, 4, 4));
    CHECK(base != rt_random(1, RT_RANDOM_TEST, 2, 3, 5));
    CHECK(rt_random(0, RT_RANDOM_TEST, 1, 0, 0) != rt_random(0, RT_RANDOM_TEST, 0, 1, 0));
}

RT_TEST("bits of neighbouring indexes are balanced and independent")
{
    enum { N = 100000 };
    int ones[64] = {0};
    int changed[64] = {0};
    uint64_t before = rt_random(5, RT_RANDOM_TEST, 0, 0, 0);
    for (uint64_t i = 1; i <= N; i++) {
        uint64_t bits = rt_random(5, RT_RANDOM_TEST, i, 0, 0);
        for (int b = 0; b < 64; b++) {
            ones[b] += (int)(bits >> b & 1);
            changed[b] += (int)((bits ^ before) >> b & 1);
        }
        before = bits;
    }
    for (int b = 0; b < 64; b++) { /* 5 sd of a fair coin: 790 */
        CHECK(ones[b] > N / 2 - 800 && ones[b] < N / 2 + 800);
        CHECK(changed[b] > N / 2 - 800 && changed[b] < N / 2 + 800);
    }
}

RT_TEST("rt_random_below stays below and is even")
{
    int counts[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        uint64_t value = rt_random_below(rt_random(6, RT_RANDOM_TEST, i, 0, 0), 7);
        CHECK(value < 7);
        counts[value % 7]++;
    }
    for (int v = 0; v < 7; v++) /* sd 93 */
        CHECK(counts[v] > 9500 && counts[v] < 10500);
    CHECK(rt_random_below(UINT64_MAX, UINT64_MAX) == UINT64_MAX - 1);
    CHECK(rt_random_below(UINT64_MAX, 1) == 0);
}

RT_TEST("a permutation meets every index once, at any size")
{
    static unsigned char seen[5000];
    for (uint64_t n = 1; n < 5000; n = n < 70 ? n + 1 : n * 3 - 1) {
        memset(seen, 0, sizeof seen);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t to = rt_random_permute(n, RT_RANDOM_TEST, i, n);
            REQUIRE(to < n);
            CHECK(!seen[to]);
            seen[to] = 1;
        }
    }
}

RT_TEST("a permutation of very many indexes stays inside, and seeds and purposes differ")
{
    static const uint64_t sizes[] = {UINT64_C(1) << 32, (UINT64_C(1) << 40) + 1, UINT64_MAX};
    for (size_t s = 0; s < 3; s++)
        for (uint64_t i = 0; i < 1000; i++)
            CHECK(rt_random_permute(1, RT_RANDOM_TEST, i, sizes[s]) < sizes[s]);
    int same = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t to = rt_random_permute(1, RT_RANDOM_TEST, i, 1000000);
        same += to == rt_random_permute(2, RT_RANDOM_TEST, i, 1000000);
        same += to == rt_random_permute(1, RT_RANDOM_GATE, i, 1000000);
    }
    CHECK(same < 5);
}

RT_TEST("the first of a permutation are spread evenly")
{
    enum { N = 1 << 20, M = 16384 };
    int low = 0;
    double products = 0;
    double before = 0;
    for (uint64_t i = 0; i < M; i++) {
        double at = (double)rt_random_permute(9, RT_RANDOM_SAMPLE_BLOCK, i, N) / N - 0.5;
        low += at < 0;
        products += at * before;
        before = at;
    }
    CHECK(low > M / 2 - 320 && low < M / 2 + 320); /* 5 sd */
    CHECK(products > -0.0833 * 640 && products < 0.0833 * 640);
}

RT_TEST_MAIN()
