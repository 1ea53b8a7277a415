#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "core/fault.h"
#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/shared.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define N_WORDS ((size_t)300001)

static MPI_Comm node;
static int node_rank, node_size;

static void find_node(void)
{
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rt_test_rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &node_rank);
    MPI_Comm_size(node, &node_size);
}

/* Fills by shares, checks that everybody sees all, twice. */
static void fill_and_check(struct rt_shared *shared)
{
    uint64_t *target = rt_shared_target(shared);
    const uint64_t *data = rt_shared_data(shared);
    CHECK((uintptr_t)data % 64 == 0);
    struct rt_range mine = rt_shared_fill(shared, N_WORDS);
    for (uint64_t round = 1; round <= 2; round++) {
        for (uint64_t i = mine.begin; i < mine.end; i++)
            target[i] = i * 3 + round;
        rt_shared_filled(shared);
        size_t n_bad = 0;
        for (uint64_t i = 0; i < N_WORDS; i++)
            n_bad += data[i] != i * 3 + round;
        CHECK(n_bad == 0);
        rt_shared_free_to_fill(shared);
    }
}

RT_TEST("ranks of a node share one copy, filled together, and each bears its part of it")
{
    struct rt_error err;
    find_node();
    struct rt_shared *shared = NULL;
    struct rt_shared_options options = {.use_window = true};
    size_t before = rt_memory_now();
    CHECK_OK(rt_shared_new(node, N_WORDS * 8, &options, &shared, &err));
    if (rt_shared_kind(shared) == RT_SHARED_WINDOW) {
        struct rt_range mine = rt_shared_fill(shared, N_WORDS);
        CHECK(rt_range_count(mine) <= N_WORDS / (unsigned)node_size + 1);
        uint64_t sum = rt_memory_now() - before;
        CHECK(sum < N_WORDS * 8 / (unsigned)node_size + 4096);
        rt_sum_u64(node, &sum, 1);
        CHECK(sum >= N_WORDS * 8);
    } else { /* alone, or a tiny /dev/shm: said why */
        CHECK(rt_shared_kind(shared) == RT_SHARED_PRIVATE);
        CHECK((node_size == 1) == (rt_shared_reason(shared)[0] == '\0'));
        CHECK(rt_memory_now() - before >= N_WORDS * 8);
    }
    fill_and_check(shared);
    rt_shared_free(shared);
    CHECK(rt_memory_now() == before);
    MPI_Comm_free(&node);
}

RT_TEST("a window larger than /dev/shm is not taken, nobody dies of it, and the reason is told")
{
    struct rt_error err;
    find_node();
    struct rt_shared *shared = NULL;
    struct rt_shared_options options = {.use_window = true,
                                        .scratch_file = "rt_shared_test.scratch"};
    char folder[] = "/tmp/rt_shared_XXXXXX";
    char name[64];
    if (node_rank == 0)
        CHECK(mkdtemp(folder) != NULL);
    MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, node);
    (void)snprintf(name, sizeof name, "%s/scratch", folder);
    options.scratch_file = name;
    /* Larger than any memory; the scratch file cannot be made either, nor a private copy. */
    enum rt_status st = rt_shared_new(node, SIZE_MAX - 8191, &options, &shared, &err);
    CHECK(st == RT_NOMEM);
    CHECK(access(name, F_OK) != 0);
    MPI_Barrier(node);
    if (node_rank == 0)
        (void)rmdir(folder);
    MPI_Comm_free(&node);
}

RT_TEST("without a window a scratch file is shared, and leaves no name behind")
{
    struct rt_error err;
    find_node();
    char folder[] = "/tmp/rt_shared_XXXXXX";
    char name[64];
    if (node_rank == 0)
        CHECK(mkdtemp(folder) != NULL);
    MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, node);
    (void)snprintf(name, sizeof name, "%s/scratch", folder);
    struct rt_shared *shared = NULL;
    struct rt_shared_options options = {.scratch_file = name};
    CHECK_OK(rt_shared_new(node, N_WORDS * 8, &options, &shared, &err));
    CHECK(rt_shared_kind(shared) == (node_size > 1 ? RT_SHARED_SCRATCH : RT_SHARED_PRIVATE));
    CHECK(access(name, F_OK) != 0);
    fill_and_check(shared);
    rt_shared_free(shared);
    MPI_Barrier(node);
    if (node_rank == 0)
        CHECK(rmdir(folder) == 0);
    MPI_Comm_free(&node);
}

RT_TEST("where neither window nor file can be had, every rank has its own copy")
{
    struct rt_error err;
    find_node();
    struct rt_shared *shared = NULL;
    struct rt_shared_options options = {.scratch_file = "/nowhere/at/all"};
    CHECK_OK(rt_shared_new(node, N_WORDS * 8, &options, &shared, &err));
    CHECK(rt_shared_kind(shared) == RT_SHARED_PRIVATE);
    CHECK(node_size == 1 || strstr(rt_shared_reason(shared), "/nowhere/at/all"));
    struct rt_range mine = rt_shared_fill(shared, N_WORDS);
    CHECK(mine.begin == 0 && mine.end == N_WORDS);
    fill_and_check(shared);
    rt_shared_free(shared);
    CHECK_OK(rt_shared_new(node, 0, &options, &shared, &err)); /* nothing at all is fine */
    rt_shared_filled(shared);
    rt_shared_free(shared);
    MPI_Comm_free(&node);
}

RT_TEST("a data file is mapped at any offset; a short or missing one is told by all")
{
    struct rt_error err;
    find_node();
    char name[] = "/tmp/rt_shared_XXXXXX";
    uint64_t words[2000];
    for (uint64_t i = 0; i < 2000; i++)
        words[i] = i * i;
    if (node_rank == 0) {
        int fd = mkstemp(name);
        CHECK(fd >= 0 && write(fd, words, sizeof words) == (ssize_t)sizeof words);
        (void)close(fd);
    }
    MPI_Bcast(name, sizeof name, MPI_CHAR, 0, node);
    struct rt_shared *shared = NULL;
    struct rt_shared_options options = {.data_file = name, .data_offset = 8008};
    CHECK_OK(rt_shared_new(node, sizeof words - 8008, &options, &shared, &err));
    CHECK(rt_shared_kind(shared) == RT_SHARED_MAPPED && !rt_shared_target(shared));
    CHECK(memcmp(rt_shared_data(shared), words + 1001, sizeof words - 8008) == 0);
    CHECK(rt_range_count(rt_shared_fill(shared, 10)) == 0);
    rt_shared_free(shared);
    shared = NULL;
    CHECK_STATUS(RT_DAMAGED, rt_shared_new(node, sizeof words - 8007, &options, &shared, &err));
    options.data_offset = UINT64_MAX - 7;
    CHECK_STATUS(RT_DAMAGED, rt_shared_new(node, 16, &options, &shared, &err));
    MPI_Barrier(node);
    if (node_rank == 0)
        (void)unlink(name);
    MPI_Barrier(node);
    CHECK_STATUS(RT_IO, rt_shared_new(node, 16, &options, &shared, &err));
    CHECK(!shared);
    options.data_file =
        node_rank == node_size - 1 ? "/nowhere" : "/proc/self/exe"; /* one rank alone fails */
    options.data_offset = 0;
    CHECK_STATUS(RT_IO, rt_shared_new(node, 16, &options, &shared, &err));
    MPI_Comm_free(&node);
}

#ifdef RT_CHECKS
RT_TEST("where one rank has no memory, all ranks hear of it, whatever they had by then")
{
    struct rt_error err;
    find_node();
    for (int nth = 1; nth <= 2; nth++) { /* for the handle, for a copy of the data */
        char fault[40];
        struct rt_shared *shared = NULL;
        struct rt_shared_options options = {.use_window = nth == 1};
        (void)snprintf(fault, sizeof fault, "malloc:%d:%d", node_size - 1, nth);
        (void)setenv("RANKTAPE_FAULT", fault, 1);
        rt_fault_set_rank(node_rank);
        enum rt_status st = rt_shared_new(node, N_WORDS * 8, &options, &shared, &err);
        (void)unsetenv("RANKTAPE_FAULT");
        rt_fault_set_rank(node_rank);
        CHECK(st == RT_NOMEM && !shared);
    }
    MPI_Comm_free(&node);
}
#endif

RT_TEST_MAIN()
