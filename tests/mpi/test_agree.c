#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "mpi/agree.h"

#include <stdbool.h>

static int n_ranks_now(void)
{
    int n = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    return n;
}

static enum rt_status fail_as(enum rt_status status, int rank, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (status != RT_OK)
        RT_FAIL(status, "rank %d cannot go on", rank);
done:
    return st;
}

/* A collective function of the usual shape. *went_on: this rank came past the agreement. */
static enum rt_status work(MPI_Comm comm, enum rt_status mine, bool *went_on, int *n_steps,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_LOCAL(fail_as(mine, rt_test_rank, err));
    RT_LOCAL((++*n_steps, RT_OK));
    RT_AGREE(comm);
    *went_on = true;
done:
    return st;
}

RT_TEST("when nobody fails all go on")
{
    struct rt_error err = {.rank = 77};
    bool went_on = false;
    int n_steps = 0;
    CHECK_OK(work(MPI_COMM_WORLD, RT_OK, &went_on, &n_steps, &err));
    CHECK(went_on && n_steps == 1);
    CHECK(err.rank == 77); /* untouched */
}

RT_TEST("whichever rank fails, all stop with its status, rank and message")
{
    for (int bad = 0; bad < n_ranks_now(); bad++) {
        struct rt_error err;
        char text[64];
        bool went_on = false;
        int n_steps = 0;
        CHECK_STATUS(RT_IO, work(MPI_COMM_WORLD, rt_test_rank == bad ? RT_IO : RT_OK, &went_on,
                                 &n_steps, &err));
        (void)snprintf(text, sizeof text, "rank %d cannot go on", bad);
        CHECK(!went_on && err.status == RT_IO && err.rank == bad && strcmp(err.text, text) == 0);
        CHECK(strncmp(err.where, "test_agree.c:", 13) == 0);
        CHECK(n_steps == (rt_test_rank != bad)); /* a failed rank does no further step */
    }
}

RT_TEST("when all fail the first rank speaks")
{
    struct rt_error err;
    bool went_on = false;
    int n_steps = 0;
    CHECK_STATUS(RT_INPUT, work(MPI_COMM_WORLD, RT_INPUT, &went_on, &n_steps, &err));
    CHECK(err.rank == 0 && strcmp(err.text, "rank 0 cannot go on") == 0);
}

RT_TEST("the worst status wins over a smaller rank")
{
    int last = n_ranks_now() - 1;
    struct rt_error err;
    bool went_on = false;
    int n_steps = 0;
    CHECK_STATUS(RT_NOMEM, work(MPI_COMM_WORLD, rt_test_rank == last ? RT_NOMEM : RT_STOPPED,
                                &went_on, &n_steps, &err));
    CHECK(err.rank == last && err.status == RT_NOMEM);
}

RT_TEST("in a group that numbers its ranks backwards the message names the rank of the world")
{
    MPI_Comm backwards;
    int n = n_ranks_now();
    MPI_Comm_split(MPI_COMM_WORLD, 0, n - rt_test_rank, &backwards);
    struct rt_error err;
    bool went_on = false;
    int n_steps = 0;
    CHECK_STATUS(RT_IO, work(backwards, RT_IO, &went_on, &n_steps, &err));
    CHECK(err.rank == n - 1);
    MPI_Comm_free(&backwards);
}

RT_TEST("a failure that was agreed in a group keeps its rank and message when all agree")
{
    MPI_Comm half;
    int n = n_ranks_now();
    MPI_Comm_split(MPI_COMM_WORLD, rt_test_rank % 2, rt_test_rank, &half);
    struct rt_error err;
    bool went_on = false;
    int n_steps = 0;
    int bad = n - 1; /* all of its half learn it first */
    enum rt_status st =
        work(half, rt_test_rank == bad ? RT_DAMAGED : RT_OK, &went_on, &n_steps, &err);
    CHECK(st == (rt_test_rank % 2 == bad % 2 ? RT_DAMAGED : RT_OK));
    CHECK_STATUS(RT_DAMAGED, rt_agree(MPI_COMM_WORLD, st, &err));
    CHECK(err.rank == bad);
    MPI_Comm_free(&half);
}

#ifdef RT_CHECKS
RT_TEST("a value that differs on one rank is found, wherever it differs")
{
    unsigned char value[1000];
    for (size_t at = 0; at < sizeof value; at += 333) {
        for (int bad = 1; bad < n_ranks_now(); bad++) {
            struct rt_error err;
            memset(value, 5, sizeof value);
            if (rt_test_rank == bad)
                value[at] = 6;
            CHECK_STATUS(RT_DAMAGED, rt_same(MPI_COMM_WORLD, value, sizeof value, "n_lists", &err));
            CHECK(err.rank == bad && strstr(err.text, "'n_lists'"));
        }
    }
    struct rt_error err;
    memset(value, 5, sizeof value);
    CHECK_OK(rt_same(MPI_COMM_WORLD, value, sizeof value, "n_lists", &err));
    if (n_ranks_now() > 1)
        CHECK_STATUS(RT_DAMAGED,
                     rt_same(MPI_COMM_WORLD, value, rt_test_rank == 0 ? 10 : 20, "n", &err));
}
#endif

RT_TEST_MAIN()
