#include "core/find.h"
#include "core/random.h"
#include "tests/rt_test.h"

struct part {
    char name;
    uint64_t first;
};

static size_t find_slowly(const uint64_t *numbers, size_t n, uint64_t value)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (numbers[i] <= value)
            found = i;
    return found;
}

RT_TEST("the last at or below a number is found, among equals the last, in arrays and structures")
{
    for (uint64_t round = 0; round < 300; round++) {
        uint64_t numbers[40];
        struct part parts[40];
        size_t n = 1 + (size_t)rt_random_below(rt_random(2, RT_RANDOM_TEST, round, 0, 0), 40);
        uint64_t at = round % 3;
        for (size_t i = 0; i < n; i++) {
            numbers[i] = parts[i].first = at;
            at += rt_random_below(rt_random(2, RT_RANDOM_TEST, round, 1, i), 3);
        }
        for (uint64_t value = 0; value < at + 3; value++) {
            size_t expected = find_slowly(numbers, n, value);
            CHECK(rt_find_last(numbers, sizeof *numbers, n, value) == expected);
            CHECK(rt_find_last(&parts->first, sizeof *parts, n, value) == expected);
        }
        CHECK(rt_find_last(numbers, sizeof *numbers, n, UINT64_MAX) == n - 1);
    }
    CHECK(rt_find_last(NULL, sizeof(uint64_t), 0, 5) == 0);
}

static uint64_t find_first_slowly(const uint64_t *numbers, uint64_t n, uint64_t value)
{
    uint64_t i = 0;
    while (i < n && numbers[i] < value)
        i++;
    return i;
}

/* Steps that are even, drawn, mostly none and now and then enormous. */
static uint64_t step_of(uint64_t kind, uint64_t i)
{
    uint64_t drawn = rt_random(3, RT_RANDOM_TEST, kind, i, 0);
    return kind == 0   ? 3
           : kind == 1 ? rt_random_below(drawn, 1000)
           : kind == 2 ? (drawn % 500 == 0 ? drawn >> 12 : 0)
                       : (i == 1700 ? UINT64_C(1) << 63 : drawn % 2);
}

RT_TEST("the first at or above a number is found however numbers rise, up to the greatest there is")
{
    enum { N = 3000 };
    static uint64_t numbers[N];
    static struct part parts[N];
    for (uint64_t kind = 0; kind < 4; kind++)
        for (uint64_t n = 0; n <= N; n = n < 70 ? n + 1 : n + 977) {
            uint64_t at = kind;
            for (uint64_t i = 0; i < n; at += step_of(kind, i++))
                numbers[i] = parts[i].first = at;
            if (n > 2)
                numbers[n - 1] = parts[n - 1].first = UINT64_MAX;
            for (uint64_t i = 0; i < n; i += n < 70 ? 1 : 13)
                for (uint64_t beside = 0; beside < 3; beside++) {
                    uint64_t value = numbers[i] - 1 + beside;
                    uint64_t expected = find_first_slowly(numbers, n, value);
                    CHECK(rt_find_first(numbers, sizeof *numbers, n, value) == expected);
                    CHECK(rt_find_first(&parts->first, sizeof *parts, n, value) == expected);
                }
        }
    CHECK(rt_find_first(NULL, sizeof(uint64_t), 0, 5) == 0);
}

RT_TEST("numbers that do not ascend give a place within them")
{
    enum { N = 1000 };
    static uint64_t numbers[N];
    for (uint64_t i = 0; i < N; i++)
        numbers[i] = rt_random(4, RT_RANDOM_TEST, i, 0, 0);
    for (uint64_t i = 0; i < N; i++)
        CHECK(rt_find_first(numbers, sizeof *numbers, N, rt_random(5, RT_RANDOM_TEST, i, 0, 0)) <=
              N);
}

RT_TEST_MAIN()
