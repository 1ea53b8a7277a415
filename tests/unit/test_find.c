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

RT_TEST_MAIN()
