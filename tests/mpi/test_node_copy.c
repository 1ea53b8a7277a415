/* One copy a node: parts of all ranks come to all places, wherever those lie, each once. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/rt_test.h"

#include "core/fault.h"
#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/node_copy.h"
#include "mpi/traffic.h"

#include <stdlib.h>

/* Nodes made of the ranks of this one: nobody shares; all do; two and two; unequal, lying apart. */
enum { APART, TOGETHER, PAIRS, UNEQUAL, N_KINDS };

static MPI_Comm node_of(int kind)
{
    MPI_Comm node = MPI_COMM_NULL;
    int color = kind == TOGETHER ? 0 : kind == PAIRS ? rt_test_rank / 2 : rt_test_rank % 3 == 1;
    if (kind != APART)
        MPI_Comm_split(MPI_COMM_WORLD, color, rt_test_rank, &node);
    return node;
}

static void node_free(MPI_Comm *node)
{
    if (*node != MPI_COMM_NULL)
        MPI_Comm_free(node);
}

static unsigned char byte_of(int rank, uint64_t i, int round)
{
    return (unsigned char)(31 * rank + (int)(i % 251) + 7 * round);
}

/* The second rank has nothing, the others more and more; the last more than goes in one piece. */
static uint64_t count_of(int rank, int n_ranks)
{
    uint64_t n = rank == 1 ? 0 : 1000 * ((uint64_t)rank + 1) + 3;
    return rank == n_ranks - 1 ? n + RT_PIECE_BYTES : n;
}

static void gather_and_check(struct rt_node_copy *copy, const uint64_t *counts, int n_ranks)
{
    unsigned char *bytes = rt_node_copy_data(copy);
    uint64_t begin = 0;
    uint64_t n_bad = 0;
    for (int r = 0; r < rt_test_rank; r++)
        begin += counts[r];
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < counts[rt_test_rank]; i++)
            bytes[begin + i] = byte_of(rt_test_rank, i, round);
        rt_node_copy_gather(copy, counts);
        const unsigned char *at = bytes;
        for (int r = 0; r < n_ranks; at += counts[r++])
            for (uint64_t i = 0; i < counts[r]; i++)
                n_bad += at[i] != byte_of(r, i, round);
        rt_node_copy_meet(copy);
    }
    CHECK(n_bad == 0);
}

RT_TEST("each rank's part comes to all ranks, and once to each place")
{
    struct rt_error err;
    uint64_t counts[64];
    uint64_t n_all = 0;
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    for (int r = 0; r < n_ranks; r++)
        n_all += counts[r] = count_of(r, n_ranks);
    for (int kind = 0; kind < N_KINDS; kind++) {
        MPI_Comm node = node_of(kind);
        struct rt_node_copy *copy = NULL;
        CHECK_OK(rt_node_copy_new(MPI_COMM_WORLD, node, n_all, &copy, &err));
        uint64_t sent = rt_traffic_bytes();
        gather_and_check(copy, counts, n_ranks);
        sent = rt_traffic_bytes() - sent;
        rt_sum_u64(MPI_COMM_WORLD, &sent, 1);
        CHECK(sent == 2 * n_all * (uint64_t)(rt_node_copy_n_places(copy) - 1));
        CHECK(kind != APART || rt_node_copy_n_places(copy) == n_ranks);
        CHECK(rt_node_copy_is_here(copy, rt_test_rank));
        rt_node_copy_free(copy);
        node_free(&node);
    }
}

RT_TEST("what a place does together is done once, and a flag of one is a flag of all")
{
    struct rt_error err;
    enum { N = 1000 };
    for (int kind = 0; kind < N_KINDS; kind++) {
        MPI_Comm node = node_of(kind);
        struct rt_node_copy *copy = NULL;
        CHECK_OK(rt_node_copy_new(MPI_COMM_WORLD, node, N, &copy, &err));
        struct rt_range own = rt_node_copy_part(copy, N);
        uint64_t n[2] = {rt_range_count(own), N};
        MPI_Comm place = kind == APART ? MPI_COMM_SELF : node;
        int rank = 0;
        int n_here = 0;
        MPI_Comm_rank(place, &rank);
        MPI_Comm_size(place, &n_here);
        rt_sum_u64(place, n, 1);
        CHECK(n[0] == N || n[0] == N * (uint64_t)n_here); /* the latter without shared memory */
        bool flags[N] = {false};
        if (n[0] == N && n_here < N) {
            flags[rank] = true;
            rt_node_copy_unite(copy, flags, N);
            for (int i = 0; i < N; i++)
                CHECK(flags[i] == (i < n_here));
        }
        rt_node_copy_free(copy);
        node_free(&node);
    }
}

#ifdef RT_CHECKS
RT_TEST("a rank without memory ends it for all, whatever they had by then")
{
    struct rt_error err;
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    for (int nth = 1; nth <= 6; nth++) { /* for the handle, four tables, shared memory's handle */
        char fault[40];
        MPI_Comm node = node_of(PAIRS);
        struct rt_node_copy *copy = NULL;
        size_t before = rt_memory_now();
        (void)snprintf(fault, sizeof fault, "malloc:%d:%d", n_ranks - 1, nth);
        (void)setenv("RANKTAPE_FAULT", fault, 1);
        rt_fault_set_rank(rt_test_rank);
        enum rt_status st = rt_node_copy_new(MPI_COMM_WORLD, node, 5000, &copy, &err);
        (void)unsetenv("RANKTAPE_FAULT");
        rt_fault_set_rank(rt_test_rank);
        CHECK(st == RT_NOMEM && !copy && err.rank == n_ranks - 1);
        CHECK(rt_memory_now() == before);
        node_free(&node);
    }
}
#endif

RT_TEST_MAIN()
