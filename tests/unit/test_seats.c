/* Seats of cells by Sainte-Lague, against choosing every seat by looking at all cells. */
#include "tests/rt_test.h"

#include "core/random.h"
#include "kmeans/seats.h"

__extension__ typedef unsigned __int128 uint128;

static uint64_t share_slowly(const uint64_t *rows, size_t n, uint64_t n_seats, uint64_t *seats)
{
    uint64_t given = 0;
    memset(seats, 0, n * sizeof *seats);
    for (; given < n_seats; given++) {
        size_t best = n;
        for (size_t c = 0; c < n; c++)
            if (seats[c] < rows[c] && (best == n || (seats[best] > 0 && seats[c] == 0) ||
                                       ((seats[best] > 0 || seats[c] == 0) &&
                                        (uint128)rows[c] * (2 * seats[best] + 1) >
                                            (uint128)rows[best] * (2 * seats[c] + 1))))
                best = c;
        if (best == n)
            break;
        seats[best]++;
    }
    return given;
}

static void check_seats(const uint64_t *rows, size_t n, uint64_t n_seats)
{
    struct rt_error err;
    uint64_t fast[64];
    uint64_t slow[64];
    uint64_t given = UINT64_MAX;
    CHECK_OK(rt_seats_share(rows, n, n_seats, fast, &given, &err));
    CHECK(given == share_slowly(rows, n, n_seats, slow));
    CHECK(memcmp(fast, slow, n * sizeof *fast) == 0);
}

RT_TEST("seats are those of brute force")
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        uint64_t rows[64];
        size_t n = 1 + (size_t)rt_random_below(rt_random(seed, RT_RANDOM_TEST, 0, 0, 0), 64);
        uint64_t most = UINT64_C(1)
                        << rt_random_below(rt_random(seed, RT_RANDOM_TEST, 1, 0, 0), 20);
        for (size_t c = 0; c < n; c++)
            rows[c] = rt_random_below(rt_random(seed, RT_RANDOM_TEST, 2, c, 0), most + 1);
        check_seats(rows, n, rt_random_below(rt_random(seed, RT_RANDOM_TEST, 3, 0, 0), 500));
    }
}
RT_TEST("a cell of few rows has a seat as well")
{
    struct rt_error err;
    uint64_t rows[4] = {100000, 1, 0, 3};
    uint64_t seats[4];
    uint64_t given = 0;
    CHECK_OK(rt_seats_share(rows, 4, 10, seats, &given, &err));
    CHECK(seats[0] == 8 && seats[1] == 1 && seats[2] == 0 && seats[3] == 1 && given == 10);
}
RT_TEST("ties go to the smaller cell")
{
    struct rt_error err;
    uint64_t rows[3] = {10, 10, 10};
    uint64_t seats[3];
    uint64_t given = 0;
    CHECK_OK(rt_seats_share(rows, 3, 4, seats, &given, &err));
    CHECK(seats[0] == 2 && seats[1] == 1 && seats[2] == 1 && given == 4);
}
RT_TEST("no cell gets more seats than rows, and empty cells none")
{
    struct rt_error err;
    uint64_t rows[4] = {3, 0, 1, 100};
    uint64_t seats[4];
    uint64_t given = 0;
    CHECK_OK(rt_seats_share(rows, 4, 1000, seats, &given, &err));
    CHECK(seats[0] == 3 && seats[1] == 0 && seats[2] == 1 && seats[3] == 100 && given == 104);
}
RT_TEST("counts beyond 2^32 do not overflow")
{
    uint64_t rows[3] = {UINT64_C(1) << 62, (UINT64_C(1) << 62) - 1, UINT64_C(1) << 61};
    check_seats(rows, 3, 250);
}

RT_TEST_MAIN()
