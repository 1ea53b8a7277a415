#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "mpi/agree.h"
#include "mpi/progress.h"
#include "mpi/signals.h"

#include <signal.h>
#include <time.h>

static int n_ranks_now(void)
{
    int n = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    return n;
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct seen {
    int n_shown, n_last;
    bool went_back, has_failed;
    struct rt_progress_state latest;
};

static void show(void *context, const struct rt_progress_state *state)
{
    struct seen *seen = context;
    if (seen->n_shown > 0 && strcmp(seen->latest.phase, state->phase) == 0)
        seen->went_back |= state->counters[RT_COUNT_DONE] < seen->latest.counters[RT_COUNT_DONE];
    seen->n_shown++;
    seen->n_last += state->is_last;
    seen->has_failed |= state->is_failed;
    seen->latest = *state;
}

RT_TEST("sums are exact at the end, though ranks tick unlike often or never")
{
    struct rt_error err;
    struct rt_progress *p = NULL;
    struct seen seen = {0};
    int n = n_ranks_now();
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, show, &seen, &p, &err));
    for (int phase = 0; phase < 3; phase++) {
        rt_progress_begin(p, phase % 2 ? "insert" : "train", "rows", 1000);
        int n_steps = rt_test_rank == 0 ? 5 : rt_test_rank * 40; /* rank 0 is the first to end */
        for (int i = 0; i < n_steps; i++) {
            rt_progress_add(p, RT_COUNT_DONE, 3);
            rt_progress_add(p, RT_COUNT_BYTES_READ, UINT64_C(5000000000));
            sleep_ms(2);
            if (rt_test_rank != 1) /* who never ticks holds up nobody but the end */
                CHECK(rt_progress_tick(p));
        }
        rt_progress_add_resumed(p, 2);
        CHECK_OK(rt_progress_end(p, RT_OK, &err));
        uint64_t steps = 5 + 40 * (uint64_t)n * (unsigned)(n - 1) / 2;
        CHECK(rt_progress_total_of(p, RT_COUNT_DONE) == 3 * steps);
        CHECK(rt_progress_total_of(p, RT_COUNT_BYTES_READ) == UINT64_C(5000000000) * steps);
        CHECK(rt_progress_total_of(p, RT_COUNT_SKIPPED) == 0);
        CHECK(rt_progress_mine(p, RT_COUNT_DONE) == 3 * (uint64_t)n_steps);
        CHECK(!rt_progress_is_stopped(p));
        if (rt_test_rank == 0) {
            CHECK(seen.n_last == phase + 1 && !seen.went_back && !seen.has_failed);
            CHECK(seen.latest.counters[RT_COUNT_DONE] == 3 * steps);
            CHECK(seen.latest.resumed == 2 * (uint64_t)n && seen.latest.n_ranks == n);
        } else {
            CHECK(seen.n_shown == 0);
        }
    }
    rt_progress_free(p);
}

RT_TEST("rank 0 sees progress while the others work")
{
    struct rt_error err;
    struct rt_progress *p = NULL;
    struct seen seen = {0};
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, show, &seen, &p, &err));
    rt_progress_begin(p, "insert", "rows", 0);
    double began = now_seconds();
    while (now_seconds() - began < 1.2) {
        rt_progress_add(p, RT_COUNT_DONE, 1);
        sleep_ms(1);
        (void)rt_progress_tick(p);
    }
    rt_progress_set_note(p, "cells %d/%d", 3, 4);
    int n_before = seen.n_shown;
    CHECK_OK(rt_progress_end(p, RT_OK, &err));
    if (rt_test_rank == 0) {
        CHECK(n_before >= 2 && n_before <= 12);
        CHECK(strcmp(seen.latest.note, "cells 3/4") == 0 && seen.latest.is_last);
    }
    rt_progress_free(p);
}

/* Each rank does 1,000 steps of 2 ms unless it hears that another failed. Returns its steps. */
static int work_until_told(struct rt_progress *p, int bad, int bad_step, enum rt_status *out,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int step = 0;
    rt_progress_begin(p, "insert", "rows", 1000 * (uint64_t)n_ranks_now());
    for (; step < 1000 && st == RT_OK; step++) {
        if (rt_test_rank == bad && step == bad_step)
            st = rt_error_set(err, RT_IO, __FILE__, __LINE__, "write fails on rank %d", bad);
        rt_progress_add(p, RT_COUNT_DONE, 1);
        sleep_ms(2);
        if (!rt_progress_tick(p))
            break;
    }
    *out = rt_progress_end(p, st, err);
    return step;
}

RT_TEST("a rank that fails in a phase without collective calls is heard by all, who stop soon")
{
    struct rt_progress *p = NULL;
    struct rt_error err;
    int n = n_ranks_now();
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &p, &err));
    for (int i = 0; i < 3; i++) {
        int bad = i == 0 ? 0 : i == 1 ? n - 1 : n / 2;
        enum rt_status st = RT_OK;
        double began = now_seconds();
        int steps = work_until_told(p, bad, 10 * i, &st, &err);
        CHECK(st == RT_IO && err.rank == bad && strstr(err.text, "write fails"));
        CHECK(steps < 1000);
        CHECK(now_seconds() - began < 1.9); /* 1,000 steps take over 2 s */
    }
    enum rt_status st = RT_OK; /* and the next phase starts clean */
    struct rt_error unused;
    rt_progress_begin(p, "compact", "records", 1);
    CHECK(rt_progress_tick(p));
    st = rt_progress_end(p, RT_OK, &unused);
    CHECK(st == RT_OK);
    rt_progress_free(p);
}

RT_TEST("when two ranks fail in unlike ways the worse one is told")
{
    struct rt_progress *p = NULL;
    struct rt_error err;
    int last = n_ranks_now() - 1;
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &p, &err));
    rt_progress_begin(p, "insert", "rows", 0);
    enum rt_status st = RT_OK;
    if (rt_test_rank == 0)
        st = rt_error_set(&err, RT_INPUT, __FILE__, __LINE__, "bad row");
    if (rt_test_rank == last)
        st = rt_error_set(&err, RT_NOMEM, __FILE__, __LINE__, "no memory");
    CHECK_STATUS(RT_NOMEM, rt_progress_end(p, st, &err));
    CHECK(err.rank == last);
    rt_progress_free(p);
}

RT_TEST("a signal to one rank stops all, with one verdict")
{
    struct rt_progress *p = NULL;
    struct rt_error err;
    rt_signals_install(true);
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &p, &err));
    for (int bad = 0; bad < n_ranks_now(); bad++) {
        rt_signals_clear();
        MPI_Barrier(MPI_COMM_WORLD);
        rt_progress_begin(p, "insert", "rows", 0);
        bool is_told = false;
        double began = now_seconds();
        for (int step = 0; step < 1000 && !is_told; step++) {
            if (rt_test_rank == bad && step == 20)
                (void)raise(bad % 2 ? SIGUSR1 : SIGTERM);
            sleep_ms(2);
            is_told = !rt_progress_tick(p);
        }
        CHECK(is_told);
        CHECK_OK(rt_progress_end(p, RT_OK, &err));
        CHECK(rt_progress_is_stopped(p));
        CHECK(now_seconds() - began < 1.9);
        enum rt_status st = RT_OK; /* the road a phase takes then */
        RT_LOCAL(rt_signals_check(&err));
        CHECK(st == (rt_test_rank == bad ? RT_STOPPED : RT_OK));
        CHECK_STATUS(RT_STOPPED, rt_agree(MPI_COMM_WORLD, st, &err));
        CHECK(err.rank == bad && strstr(err.text, bad % 2 ? "SIGUSR1" : "SIGTERM"));
    }
    rt_signals_clear();
    rt_progress_free(p);
}

RT_TEST("a phase with collective calls may tick between them and ignore the answer")
{
    struct rt_progress *p = NULL;
    struct rt_error err;
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &p, &err));
    rt_progress_begin(p, "train", "iterations", 100);
    for (int i = 0; i < 100; i++) {
        int one = 1;
        for (int k = 0; k < 3 + rt_test_rank; k++) {
            sleep_ms(1);
            (void)rt_progress_tick(p);
        }
        MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        CHECK(one == n_ranks_now());
        rt_progress_add(p, RT_COUNT_DONE, rt_test_rank == 0);
    }
    CHECK_OK(rt_progress_end(p, RT_OK, &err));
    CHECK(rt_progress_total_of(p, RT_COUNT_DONE) == 100);
    rt_progress_free(p);
}

RT_TEST("a phase that was left open by an agreed failure is closed when progress is freed")
{
    struct rt_progress *p = NULL;
    struct rt_error err;
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &p, &err));
    rt_progress_begin(p, "train", "iterations", 100);
    for (int k = 0; k < 20 * rt_test_rank; k++) {
        sleep_ms(3);
        (void)rt_progress_tick(p);
    }
    rt_progress_free(p);
    rt_progress_free(NULL);
}

RT_TEST("while ranks wait in an agreement for one that works, its progress is seen")
{
    struct rt_error err;
    struct rt_progress *p = NULL;
    struct seen seen = {0};
    enum rt_status st = RT_OK;
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, show, &seen, &p, &err));
    rt_progress_begin(p, "insert", "rows", 0);
    for (int i = 0; i < 250 && rt_test_rank == n_ranks_now() - 1; i++) {
        sleep_ms(4);
        rt_progress_add(p, RT_COUNT_DONE, 1);
        CHECK(rt_progress_tick(p));
    }
    CHECK_OK(rt_agree(MPI_COMM_WORLD, st, &err));
    if (rt_test_rank == 0)
        CHECK(seen.n_shown > 2 && !seen.has_failed); /* a round takes 100 ms */
    CHECK_OK(rt_progress_end(p, RT_OK, &err));
    CHECK(rt_progress_total_of(p, RT_COUNT_DONE) == 250);
    rt_progress_free(p);
}

RT_TEST("who works hears of a failure of which another already waits to tell all")
{
    struct rt_error err = {.rank = -1};
    struct rt_progress *p = NULL;
    enum rt_status st = RT_OK;
    double began = now_seconds();
    bool fails = rt_test_rank == n_ranks_now() - 1;
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, NULL, NULL, &p, &err));
    rt_progress_begin(p, "insert", "rows", 0);
    if (fails)
        st = rt_error_set(&err, RT_IO, __FILE__, __LINE__, "the disk is full");
    while (!fails && rt_progress_tick(p) && now_seconds() - began < 60)
        sleep_ms(1);
    CHECK(now_seconds() - began < 60); /* else never */
    CHECK(rt_agree(MPI_COMM_WORLD, st, &err) == RT_IO);
    CHECK(strcmp(err.text, "the disk is full") == 0);
    rt_progress_free(p);
}

RT_TEST("the rank that has done least is named, and the memory of the one that holds most")
{
    struct rt_error err;
    struct rt_progress *p = NULL;
    struct seen seen = {0};
    int n = n_ranks_now();
    CHECK_OK(rt_progress_new(MPI_COMM_WORLD, show, &seen, &p, &err));
    rt_progress_begin(p, "insert", "rows", 0);
    rt_progress_add(p, RT_COUNT_DONE, rt_test_rank == n / 2 ? 3 : 1000);
    CHECK_OK(rt_progress_end(p, RT_OK, &err));
    if (rt_test_rank == 0) {
        CHECK(seen.latest.behind_rank == n / 2 && seen.latest.behind_done == 3);
        CHECK(seen.latest.memory_bytes > 100000);
        CHECK(seen.latest.counters[RT_COUNT_DONE] == 3 + UINT64_C(1000) * (uint64_t)(n - 1));
    }
    rt_progress_free(p);
}

RT_TEST_MAIN()
