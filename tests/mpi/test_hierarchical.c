/* Hierarchical k-means: the same bits on any number of ranks, for skewed cells and cells that span
 * ranks. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "core/memory.h"
#include "kmeans/hierarchical.h"

/* k x dim centroids, freed by the caller, and the sum over the sample's numbers and rows, which
 * must outlive travel. */
static float *train(MPI_Comm comm, struct kmeans_data *data, enum rt_metric metric, uint32_t k,
                    uint64_t checks[2])
{
    struct rt_error err;
    struct rt_sample *sample = NULL;
    float *centroids = NULL;
    CHECK_OK(kmeans_sample(comm, data, metric, data->n_rows, &sample, &err));
    if (!sample)
        return NULL;
    CHECK_OK(rt_array_new(k, data->dim * sizeof *centroids, &centroids, &err));
    struct rt_lloyd_setting setting = kmeans_setting(sample, metric, metric != RT_L2, 4);
    CHECK_OK(rt_hierarchical_train(comm, &setting, sample, k, centroids, NULL, NULL, &err));
    checks[0] = checks[1] = 0;
    float row[256];
    for (size_t i = 0; i < sample->n_local; i++) {
        uint64_t number = rt_sample_number(sample, i);
        checks[0] += number;
        kmeans_row(data, number, row);
        if (metric == RT_L2 && data->huge_row == UINT64_MAX)
            checks[1] +=
                memcmp(row, rt_sample_get(sample, i, 1, row), sizeof *row * data->dim) == 0;
    }
    rt_sum_u64(comm, checks, 2);
    CHECK(checks[0] == sample->n_total * (sample->n_total - 1) / 2);
    if (metric == RT_L2 && data->huge_row == UINT64_MAX)
        CHECK(checks[1] == sample->n_total);
    rt_sample_free(sample);
    return centroids;
}

static void check_ranks(struct kmeans_data *data, enum rt_metric metric, uint32_t k)
{
    uint64_t checks[2];
    float *alone = train(MPI_COMM_SELF, data, metric, k, checks);
    float *together = train(MPI_COMM_WORLD, data, metric, k, checks);
    if (alone && together)
        CHECK(kmeans_same_bits(alone, together, (size_t)k * data->dim * sizeof *alone));
    rt_array_free(alone);
    rt_array_free(together);
}

RT_TEST("leaves are the same bits on any number of ranks, and no row is lost on the way")
{
    struct kmeans_data data = kmeans_data_of(6000, 12, 50, 31);
    check_ranks(&data, RT_L2, 100);
    check_ranks(&data, RT_COSINE, 70);
    check_ranks(&data, RT_IP, 70);
}
RT_TEST("a cell of most rows spans ranks and is trained in cells of its own")
{
    struct kmeans_data data = kmeans_data_of(8000, 6, 40, 32);
    data.skew = 0.8f;
    check_ranks(&data, RT_L2, 400);
}
RT_TEST("identical rows, few rows, one leaf, a leaf for each row, one row of 1e17")
{
    struct kmeans_data data = kmeans_data_of(300, 5, 10, 33);
    check_ranks(&data, RT_L2, 1);
    check_ranks(&data, RT_L2, 2);
    check_ranks(&data, RT_L2, 300);
    data.huge_row = 77;
    check_ranks(&data, RT_L2, 40);
    data.huge_row = UINT64_MAX;
    data.same = true;
    check_ranks(&data, RT_L2, 40);
    data.same = false;
    data.n_rows = 3;
    check_ranks(&data, RT_L2, 3);
}
RT_TEST("leaves of given cells: seats as told, cells without seats left")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(900, 4, 10, 34);
    MPI_Comm comms[2] = {MPI_COMM_SELF, MPI_COMM_WORLD};
    float leaves[2][12 * 4];
    uint64_t seats[5] = {4, 0, 1, 6, 1};
    for (int i = 0; i < 2; i++) {
        struct rt_sample *sample = NULL;
        uint32_t cell[900];
        CHECK_OK(kmeans_sample(comms[i], &data, RT_L2, data.n_rows, &sample, &err));
        for (size_t r = 0; r < sample->n_local; r++)
            cell[r] = (uint32_t)(rt_sample_number(sample, r) / 7 % 5);
        struct rt_lloyd_setting setting = kmeans_setting(sample, RT_L2, false, 3);
        CHECK_OK(rt_hierarchical_train_cells(comms[i], &setting, RT_PLACE_SPLIT, sample, cell, 5,
                                             seats, leaves[i], NULL, &err));
        rt_sample_free(sample);
    }
    CHECK(kmeans_same_bits(leaves[0], leaves[1], sizeof leaves[0]));
}

RT_TEST_MAIN()
