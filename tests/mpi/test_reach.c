/* Refinement on so many nodes that each gets only the leaves that its rows can reach. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "kmeans/hierarchical.h"
#include "kmeans/refine.h"

enum { K = 9000, D = 4, ROUNDS = 4, SHARING = 3 };

/* The first SHARING ranks are one node, each other is one of its own. */
static struct kmeans_ranks mostly_apart(void)
{
    struct kmeans_ranks ranks = {MPI_COMM_WORLD, MPI_COMM_NULL};
    int color = rt_test_rank < SHARING ? 0 : rt_test_rank;
    MPI_Comm_split(MPI_COMM_WORLD, color, rt_test_rank, &ranks.node);
    return ranks;
}

/* The caller frees what it returns. */
static float *refine(struct kmeans_ranks ranks)
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(12000, D, 400, 45);
    struct rt_sample *sample = NULL;
    uint32_t *leaf = NULL;
    struct rt_refine_options options = {.n_rounds = ROUNDS};
    struct rt_refine_result result;
    CHECK_OK(kmeans_sample(ranks.comm, &data, RT_L2, data.n_rows, &sample, &err));
    struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 2);
    struct rt_node_copy *leaves = kmeans_leaves(&ranks, K, D);
    CHECK_OK(
        rt_hierarchical_train(ranks.comm, &setting, sample, K, leaves, &leaf, NULL, NULL, &err));
    CHECK_OK(rt_refine(ranks.comm, &setting, &options, sample, K, leaves, &leaf, &result, &err));
    float *values = kmeans_values(leaves, K, D);
    rt_node_copy_free(leaves);
    rt_array_free(leaf);
    rt_sample_free(sample);
    return values;
}

RT_TEST("nodes that get less than all leaves come to the bits of one rank")
{
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    uint32_t n_places = (uint32_t)(n_ranks - SHARING + 1);
    REQUIRE(rt_refine_reached(K, n_places) < K);
    struct kmeans_ranks ranks = mostly_apart();
    float *together = refine(ranks);
    float *alone = refine(kmeans_alone());
    CHECK(kmeans_same_bits(alone, together, (size_t)K * D * sizeof(float)));
    rt_array_free(alone);
    rt_array_free(together);
    kmeans_ranks_free(&ranks);
}

RT_TEST_MAIN()
