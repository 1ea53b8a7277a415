/* --cost-delay: a sleep for every 64 MiB that a vacuum has moved, whatever the pieces. */
#include "tests/rt_test.h"

#include "core/clock.h"
#include "jobs/phases/pace.h"

#define DELAY_MS 20

static double seconds_of(struct rt_pace *pace, uint64_t bytes, int n_times)
{
    double began = rt_clock_seconds();
    for (int i = 0; i < n_times; i++)
        rt_pace_spend(pace, bytes);
    return rt_clock_seconds() - began;
}

RT_TEST("a sleep for each 64 MiB, in one piece or in many, and none before")
{
    struct rt_pace pace = rt_pace_new(DELAY_MS);
    CHECK(seconds_of(&pace, RT_PACE_BYTES - 1, 1) < DELAY_MS / 1000.0);
    CHECK(seconds_of(&pace, 1, 1) >= DELAY_MS / 1000.0);
    CHECK(seconds_of(&pace, 3 * RT_PACE_BYTES, 1) >= 3 * DELAY_MS / 1000.0);
    CHECK(seconds_of(&pace, RT_PACE_BYTES / 8, 24) >= 3 * DELAY_MS / 1000.0);
    CHECK(pace.bytes == 0);
}

RT_TEST("without a delay nothing sleeps")
{
    struct rt_pace pace = rt_pace_new(0);
    CHECK(seconds_of(&pace, 100 * RT_PACE_BYTES, 100) < 1);
}

RT_TEST_MAIN()
