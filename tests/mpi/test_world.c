/* Starts MPI by rt_world_begin itself. With the word `lone` it expects to be refused. */
#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "mpi/partition.h"
#include "mpi/world.h"

#include <sys/resource.h>

static struct rt_world world;

RT_TEST("nodes, leaders and hosts fit together")
{
    int n = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    CHECK(world.n_ranks == n && world.rank == rt_test_rank);
    CHECK(world.speaks == (rt_test_rank == 0));
    CHECK(world.node_rank >= 0 && world.node_rank < world.node_size);
    CHECK(world.max_node_size >= world.node_size && world.max_node_size <= n);
    CHECK(world.node_index >= 0 && world.node_index < world.n_nodes);
    CHECK((world.leaders != MPI_COMM_NULL) == (world.node_rank == 0));
    uint64_t n_leaders = world.node_rank == 0;
    rt_sum_u64(world.all, &n_leaders, 1);
    CHECK(n_leaders == (uint64_t)world.n_nodes);
    CHECK(world.host[0] != '\0' && strlen(world.host) < RT_MAX_HOST);
    char host[RT_MAX_HOST];
    rt_world_host_of(&world, n - 1, host);
    CHECK(rt_test_rank != n - 1 || strcmp(host, world.host) == 0);
    CHECK(host[0] != '\0');
}

RT_TEST("the soft limit of open files leaves room for a socket a peer")
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(limit.rlim_cur >= (rlim_t)world.n_ranks + 256 || world.n_ranks == 1);
    CHECK(limit.rlim_cur == limit.rlim_max || limit.rlim_cur >= 65536);
}

RT_TEST("private memory is told, and grows with what is touched")
{
    struct rt_rss before = rt_rss_read();
    CHECK(before.anonymous > 0 && before.resident >= before.anonymous &&
          before.peak >= before.resident);
    size_t n = (size_t)32 << 20;
    char *block = malloc(n);
    REQUIRE(block != NULL);
    memset(block, 1, n);
    struct rt_rss after = rt_rss_read();
    CHECK(block[n / 2] == 1);
    CHECK(after.anonymous >= before.anonymous + n - n / 8 &&
          after.peak >= before.anonymous + n - n / 8);
    free(block);
}

RT_TEST("with mpio the component that corrupts writes is off, unless the user chose")
{
    const char *value = getenv("OMPI_MCA_fcoll");
    CHECK(value && strcmp(value, "^vulcan") == 0);
}

int main(int argc, char **argv)
{
    struct rt_error err;
    enum rt_status st = rt_world_begin(&argc, &argv, true, &world, &err);
    rt_test_rank = world.rank;
    int result = 1;
    if (argc > 1 && strcmp(argv[1], "lone") == 0) {
        result = !(st == RT_USAGE && strstr(err.text, "MPI was not started by this launcher"));
        if (world.speaks)
            (void)printf("%s\n", err.text);
    } else if (st == RT_OK) {
        result = rt_test_main(argc, argv);
    } else {
        (void)fprintf(stderr, "refused: %s\n", err.text);
    }
    rt_world_end(&world);
    return result;
}
