#include "core/chooser.h"
#include "tests/rt_test.h"

#include <math.h>
#include <stdbool.h>

RT_TEST("by id a rank has a tape, and ranks share where tapes are fewer")
{
    for (uint32_t n_tapes = 1; n_tapes <= 9; n_tapes++)
        for (uint32_t rank = 0; rank < 20; rank++)
            for (uint64_t row = 0; row < 50; row += 7)
                CHECK(rt_choose_tape(RT_CHOOSER_ID, n_tapes, row, rank, row) == rank % n_tapes);
}

RT_TEST("by zero all goes to the first tape")
{
    CHECK(rt_choose_tape(RT_CHOOSER_ZERO, 8, 3, 5, UINT64_MAX) == 0);
}

RT_TEST("by rng a row's tape depends on the seed and the row alone")
{
    bool differs = false;
    for (uint64_t row = 0; row < 100; row++) {
        uint32_t tape = rt_choose_tape(RT_CHOOSER_RNG, 8, 42, 0, row);
        for (uint32_t rank = 1; rank < 10; rank++)
            CHECK(rt_choose_tape(RT_CHOOSER_RNG, 8, 42, rank, row) == tape);
        differs |= rt_choose_tape(RT_CHOOSER_RNG, 8, 43, 0, row) != tape;
    }
    CHECK(differs);
}

/* Within six standard deviations of a fair draw. */
RT_TEST("by rng tapes get equal shares")
{
    enum { N_TAPES = 7, N_ROWS = 70000 };
    uint32_t counts[N_TAPES] = {0};
    for (uint64_t row = 0; row < N_ROWS; row++) {
        uint32_t tape = rt_choose_tape(RT_CHOOSER_RNG, N_TAPES, 1, 0, row);
        REQUIRE(tape < N_TAPES);
        counts[tape]++;
    }
    double mean = (double)N_ROWS / N_TAPES;
    for (int tape = 0; tape < N_TAPES; tape++)
        CHECK(fabs(counts[tape] - mean) < 6 * sqrt(mean));
}

RT_TEST_MAIN()
