/* Places of the blocks that are still to be written: every one once, in order, and windows that
 * cover them. */
#include "tests/rt_test.h"

#include "jobs/phases/block_places.h"
#include "jobs/phases/chunk_work.h"

#include <string.h>

enum { SHARE = 16, MOST_BLOCKS = 16 * 150 };

static void check_windows(const struct rt_block_places *places, int n_ranks, uint64_t window_blocks)
{
    uint64_t next = 0;
    for (int rank = 0; rank < n_ranks; rank++) {
        struct rt_range share = rt_block_places_share(places, rank, n_ranks);
        CHECK(share.begin == next);
        for (uint64_t round = 0; round <= MOST_BLOCKS / SHARE; round++) {
            struct rt_range window =
                rt_block_places_window(places, rank, n_ranks, window_blocks, round);
            CHECK(window.begin == next && rt_range_count(window) <= window_blocks);
            next = window.end;
        }
        CHECK(next == share.end);
    }
    CHECK(next == places->n_places);
}

static void check(uint64_t n_blocks, const uint64_t *done)
{
    struct rt_error err;
    struct rt_block_places places;
    uint64_t n = 0;
    CHECK_OK(rt_block_places_begin(n_blocks, SHARE, done, &places, &err));
    for (uint64_t block = 0; block < n_blocks; block++) {
        bool is_missing = !done || !rt_bit_get(done, block / SHARE);
        CHECK(rt_block_is_missing(&places, block) == is_missing);
        if (!is_missing)
            continue;
        CHECK(rt_block_place(&places, block) == n);
        CHECK(rt_block_at_place(&places, n) == block);
        n++;
    }
    CHECK(places.n_places == n);
    for (int n_ranks = 1; n_ranks <= 7; n_ranks += 3)
        for (uint64_t window = SHARE; window <= 8 * SHARE; window *= 2)
            check_windows(&places, n_ranks, window);
    rt_block_places_end(&places);
}

RT_TEST("blocks that no run has made durable are numbered in order, and windows cover them")
{
    static const uint64_t sizes[] = {0, 1, SHARE, SHARE + 1, 1000, MOST_BLOCKS - 3, MOST_BLOCKS};
    uint64_t done[MOST_BLOCKS / SHARE / 64 + 1];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(sizes[i], NULL);
        for (uint64_t step = 1; step <= 5; step++) { /* 1: all are done; 2: every other; .. */
            memset(done, 0, sizeof done);
            for (uint64_t g = 0; g * SHARE < sizes[i]; g += step)
                rt_bit_set(done, g);
            check(sizes[i], done);
            memset(done, 0, sizeof done);
            for (uint64_t g = step; g * SHARE < sizes[i]; g += g / step + 1)
                rt_bit_set(done, g);
            check(sizes[i], done);
        }
    }
}

RT_TEST_MAIN()
