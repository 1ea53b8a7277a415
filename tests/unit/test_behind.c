/* One piece of work at a time behind the caller's back: its result comes once, to who waits. */
#include "tests/rt_test.h"

#include "jobs/phases/behind.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct piece {
    int fails;
    atomic_int *n_done;
};

static enum rt_status work(void *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct piece *piece = context;
    (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    (void)atomic_fetch_add(piece->n_done, 1);
    if (piece->fails)
        RT_FAIL(RT_IO, "piece %d", piece->fails);
done:
    return st;
}

RT_TEST("who waits finds the piece done, and its failure told once")
{
    struct rt_error err;
    struct rt_behind *behind = NULL;
    atomic_int n_done = 0;
    CHECK_OK(rt_behind_new(&behind, &err));
    CHECK_OK(rt_behind_wait(behind, &err)); /* nothing is under way */
    for (int i = 1; i <= 20; i++) {
        struct piece piece = {.fails = i % 3 == 0 ? i : 0, .n_done = &n_done};
        rt_behind_start(behind, work, &piece);
        enum rt_status st = rt_behind_wait(behind, &err);
        CHECK(atomic_load(&n_done) == i);
        CHECK(st == (piece.fails ? RT_IO : RT_OK));
        CHECK(!piece.fails || atoi(err.text + strlen("piece ")) == i);
        CHECK_OK(rt_behind_wait(behind, &err));
    }
    rt_behind_free(behind);
}

RT_TEST("who frees it waits for what is under way")
{
    struct rt_error err;
    struct rt_behind *behind = NULL;
    atomic_int n_done = 0;
    struct piece piece = {.n_done = &n_done};
    CHECK_OK(rt_behind_new(&behind, &err));
    rt_behind_start(behind, work, &piece);
    rt_behind_free(behind);
    CHECK(atomic_load(&n_done) == 1);
    rt_behind_free(NULL);
    CHECK_OK(rt_behind_wait(NULL, &err));
}

RT_TEST_MAIN()
