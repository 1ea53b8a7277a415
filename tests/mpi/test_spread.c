#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "mpi/spread.h"
#include "mpi/waiting.h"

#include <math.h>
#include <time.h>

static int n_ranks_now(void)
{
    int n = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    return n;
}

RT_TEST("few ranks are told one by one, with exact quartiles")
{
    struct rt_spread s;
    int n = n_ranks_now();
    rt_spread_measure(MPI_COMM_WORLD, n - rt_test_rank, RT_SPREAD_TOLD, &s); /* n .. 1 */
    CHECK(s.n_told == n && s.least == 1 && s.most == n);
    CHECK(s.least_rank == n - 1 && s.most_rank == 0);
    for (int r = 0; r < n; r++)
        CHECK(s.told[r] == n - r);
    for (int q = 1; q <= 3; q++)
        CHECK(s.quartiles[q - 1] == 1 + (n - 1) * q / 4);
}

RT_TEST("of many ranks quartiles are right to a part of the span")
{
    struct rt_spread s;
    int n = n_ranks_now();
    rt_spread_measure(MPI_COMM_WORLD, 10 + 5.0 * rt_test_rank, 0, &s);
    double span = 5.0 * (n - 1);
    CHECK(s.n_told == 0 && s.least == 10 && s.most == 10 + span);
    CHECK(s.least_rank == 0 && s.most_rank == n - 1);
    for (int q = 1; q <= 3; q++)
        CHECK(fabs(s.quartiles[q - 1] - (10 + 5.0 * ((n - 1) * q / 4))) <= span / 256);
}

RT_TEST("equal ranks have no span")
{
    struct rt_spread s;
    rt_spread_measure(MPI_COMM_WORLD, 0, 0, &s);
    CHECK(s.least == 0 && s.most == 0 && s.quartiles[1] == 0 && s.least_rank == 0);
}

RT_TEST("what is waited adds up")
{
    double before = rt_waiting_seconds();
    double began = rt_waiting_begin();
    struct timespec time = {0, 20000000};
    (void)nanosleep(&time, NULL);
    rt_waiting_end(began);
    CHECK(rt_waiting_seconds() - before >= 0.019);
}

RT_TEST_MAIN()
