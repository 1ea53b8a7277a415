/* --cost-delay: a sleep for every 64 MiB that a vacuum has moved, whatever the pieces, and none
 * that a stop has to wait for. */
#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "core/clock.h"
#include "core/options.h"
#include "jobs/phases/pace.h"
#include "mpi/signals.h"

#define DELAY_MS 20
#define LONG_DELAY_MS 1000000 /* the test's time is over before it is */

struct vacuum {
    struct rt_options options;
    struct rt_job job;
    struct rt_phase_context context;
};

static void begin(struct vacuum *v, uint64_t delay_ms)
{
    struct rt_error err;
    *v = (struct vacuum){.options = {.cost_delay = delay_ms}};
    v->job = (struct rt_job){.comm = MPI_COMM_WORLD, .options = &v->options};
    v->context = (struct rt_phase_context){.job = &v->job};
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &v->context.progress, &err));
    rt_progress_begin(v->context.progress, "fold", "rows", 0);
}

static void end(struct vacuum *v)
{
    struct rt_error err;
    CHECK_OK(rt_progress_end(v->context.progress, RT_OK, &err));
    rt_progress_free(v->context.progress);
    rt_signals_clear();
}

static double seconds_of(struct vacuum *v, uint64_t bytes, int n_times)
{
    struct rt_error err;
    double began = rt_clock_seconds();
    for (int i = 0; i < n_times; i++)
        CHECK_OK(rt_pace_spend(&v->context, bytes, &err));
    return rt_clock_seconds() - began;
}

RT_TEST("a sleep for each 64 MiB, in one piece or in many")
{
    struct vacuum v;
    begin(&v, DELAY_MS);
    CHECK(seconds_of(&v, RT_PACE_BYTES, 1) >= DELAY_MS / 1000.0);
    CHECK(seconds_of(&v, 3 * RT_PACE_BYTES, 1) >= 3 * DELAY_MS / 1000.0);
    CHECK(seconds_of(&v, RT_PACE_BYTES / 8, 24) >= 3 * DELAY_MS / 1000.0);
    CHECK(v.context.unpaced_bytes == 0);
    end(&v);
}

RT_TEST("none before, and without a delay none at all")
{
    struct vacuum v;
    begin(&v, LONG_DELAY_MS);
    (void)seconds_of(&v, RT_PACE_BYTES - 1, 1);
    end(&v);
    begin(&v, 0);
    (void)seconds_of(&v, 100 * RT_PACE_BYTES, 100);
    end(&v);
}

RT_TEST("a stop of any rank ends a long sleep of each")
{
    struct rt_error err;
    struct vacuum v;
    begin(&v, LONG_DELAY_MS);
    if (rt_test_rank == 0)
        rt_signals_ask_stop();
    CHECK(rt_pace_spend(&v.context, RT_PACE_BYTES, &err) == RT_STOPPED);
    end(&v);
}

RT_TEST_MAIN()
