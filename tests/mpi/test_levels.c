/* Training as a whole: levels over leaves, their numbers, the beam, given centroids, samples of
 * every shape. */
#define RT_TEST_MPI
#include <mpi.h>

#include "tests/mpi/kmeans_data.h"
#include "tests/rt_test.h"

#include "core/memory.h"
#include "kmeans/levels.h"
#include "kmeans/train.h"

static struct rt_train_options options_of(uint32_t cells, uint32_t leaves)
{
    struct rt_train_options options = {.n_levels = cells > 0 ? 2 : 1,
                                       .metric = RT_L2,
                                       .training = RT_TRAINING_LLOYD,
                                       .n_iterations = 5,
                                       .n_refinements = RT_TRAIN_AUTO,
                                       .beam = RT_TRAIN_AUTO,
                                       .node = MPI_COMM_NULL};
    options.lists[0] = cells > 0 ? cells : leaves;
    options.lists[1] = leaves;
    return options;
}

static void train(MPI_Comm comm, struct kmeans_data *data, const struct rt_train_options *options,
                  struct rt_trained *out)
{
    struct rt_error err;
    struct rt_sample *sample = NULL;
    memset(out, 0, sizeof *out);
    CHECK_OK(kmeans_sample(comm, data, options->metric, data->n_rows, &sample, &err));
    if (sample)
        CHECK_OK(rt_train(comm, options, sample, out, &err));
    rt_sample_free(sample);
}

static float distance_of(enum rt_metric metric, const float *a, const float *b, uint32_t dim)
{
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += metric == RT_IP ? -(double)a[i] * (double)b[i]
                               : ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return (float)sum;
}

/* Children contiguous and ascending, no cell without, every parent the nearest. */
static void check_tree(const struct rt_tree *tree)
{
    for (uint32_t l = 0; l + 1 < tree->n_levels; l++) {
        const struct rt_level *upper = &tree->levels[l];
        const struct rt_level *lower = &tree->levels[l + 1];
        CHECK(upper->first_child[0] == 0 && upper->first_child[upper->n] == lower->n);
        for (uint32_t c = 0; c < upper->n; c++) {
            CHECK(upper->first_child[c] < upper->first_child[c + 1]);
            for (uint32_t i = upper->first_child[c]; i < upper->first_child[c + 1]; i++)
                CHECK(lower->parent[i] == c);
        }
        for (uint32_t i = 0; i < lower->n; i++) {
            const float *x = lower->centroids + (size_t)i * tree->dim;
            float own = distance_of(
                RT_L2, x, upper->centroids + (size_t)lower->parent[i] * tree->dim, tree->dim);
            for (uint32_t c = 0; c < upper->n; c++)
                CHECK(own <=
                      distance_of(RT_L2, x, upper->centroids + (size_t)c * tree->dim, tree->dim) *
                              1.0001f +
                          1e-6f);
        }
    }
}

static void check_same(const struct rt_trained *a, const struct rt_trained *b)
{
    CHECK(a->tree.n_levels == b->tree.n_levels);
    CHECK(a->beam == b->beam && a->beam_agreed == b->beam_agreed &&
          a->beam_sampled == b->beam_sampled);
    for (uint32_t l = 0; l < a->tree.n_levels && l < b->tree.n_levels; l++) {
        const struct rt_level *x = &a->tree.levels[l];
        const struct rt_level *y = &b->tree.levels[l];
        CHECK(x->n == y->n);
        if (x->n != y->n)
            continue;
        CHECK(kmeans_same_bits(x->centroids, y->centroids,
                               (size_t)x->n * a->tree.dim * sizeof(float)));
        if (l > 0)
            CHECK(kmeans_same_bits(x->parent, y->parent, x->n * sizeof(uint32_t)));
    }
}

static void check_same_log(const struct rt_trained *a, const struct rt_trained *b)
{
    CHECK(a->n_log == b->n_log);
    CHECK(a->n_neighbours == b->n_neighbours && a->n_refinements == b->n_refinements);
    for (size_t i = 0; i < a->n_log && i < b->n_log; i++)
        CHECK((a->log[i].objective == b->log[i].objective ||
               (isnan(a->log[i].objective) && isnan(b->log[i].objective))) &&
              a->log[i].n_moved == b->log[i].n_moved);
}

static void check_ranks(struct kmeans_data *data, const struct rt_train_options *options)
{
    struct rt_trained alone;
    struct rt_trained together;
    struct rt_train_options plain = *options;
    plain.proposer = RT_PROPOSE_NONE;
    train(MPI_COMM_SELF, data, &plain, &alone);
    for (int p = RT_PROPOSE_AUTO; p <= RT_PROPOSE_NONE; p++) {
        struct kmeans_ranks ranks = kmeans_together(p);
        plain.proposer = (enum rt_proposer)p;
        plain.node = ranks.node;
        train(ranks.comm, data, &plain, &together);
        check_same(&alone, &together);
        check_same_log(&alone, &together);
        rt_trained_free(&together);
        kmeans_ranks_free(&ranks);
    }
    rt_trained_free(&alone);
}

RT_TEST("a tree is the same bits on any number of ranks, children contiguous, parents nearest")
{
    struct kmeans_data data = kmeans_data_of(4000, 16, 60, 21);
    struct rt_train_options options = options_of(9, 100);
    struct rt_trained trained;
    check_ranks(&data, &options);
    train(MPI_COMM_WORLD, &data, &options, &trained);
    CHECK(trained.tree.n_levels == 2);
    CHECK(trained.tree.levels[1].n == 100);
    check_tree(&trained.tree);
    CHECK(trained.beam >= 1 && trained.beam <= 9);
    CHECK(trained.beam_sampled == 4000);
    CHECK(trained.beam_agreed * UINT64_C(1000) >= trained.beam_sampled * UINT64_C(993));
    rt_trained_free(&trained);
}
RT_TEST("three levels, and levels that are not smaller than those below are left out")
{
    struct kmeans_data data = kmeans_data_of(2000, 8, 60, 22);
    struct rt_train_options options = options_of(4, 200);
    struct rt_trained trained;
    options.n_levels = 3;
    options.lists[0] = 4;
    options.lists[1] = 25;
    options.lists[2] = 200;
    check_ranks(&data, &options);
    train(MPI_COMM_WORLD, &data, &options, &trained);
    CHECK(trained.tree.n_levels == 3);
    check_tree(&trained.tree);
    rt_trained_free(&trained);
    options.lists[2] = 200;
    options.lists[1] = 300;
    data.n_rows = 150; /* cuts the leaves to 150 */
    train(MPI_COMM_WORLD, &data, &options, &trained);
    CHECK(trained.tree.n_levels == 2);
    CHECK(trained.tree.levels[1].n == 150);
    check_tree(&trained.tree);
    rt_trained_free(&trained);
}
RT_TEST("no rows, one row, fewer rows than leaves, identical rows")
{
    struct kmeans_data data = kmeans_data_of(0, 5, 3, 23);
    struct rt_train_options options = options_of(2, 10);
    struct rt_trained trained;
    check_ranks(&data, &options);
    train(MPI_COMM_WORLD, &data, &options, &trained);
    CHECK(trained.tree.n_levels == 1 && trained.tree.levels[0].n == 1);
    rt_trained_free(&trained);
    data.n_rows = 1;
    check_ranks(&data, &options);
    data.n_rows = 7;
    check_ranks(&data, &options);
    data.n_rows = 100;
    data.same = true;
    check_ranks(&data, &options);
}
RT_TEST("cosine and ip")
{
    struct kmeans_data data = kmeans_data_of(1500, 12, 30, 24);
    struct rt_train_options options = options_of(6, 60);
    options.metric = RT_COSINE;
    options.spherical = true;
    check_ranks(&data, &options);
    options.metric = RT_IP;
    check_ranks(&data, &options);
    options.spherical = false;
    check_ranks(&data, &options);
}
RT_TEST("fewer dimensions train, whole rows give the means")
{
    struct kmeans_data data = kmeans_data_of(1500, 20, 30, 25);
    struct rt_train_options options = options_of(6, 60);
    struct rt_trained trained;
    options.kmeans_dimension = 7;
    check_ranks(&data, &options);
    train(MPI_COMM_WORLD, &data, &options, &trained);
    CHECK(trained.tree.dim == 20);
    check_tree(&trained.tree);
    rt_trained_free(&trained);
}
RT_TEST("leaves of too many rows are split, the others stay")
{
    struct kmeans_data data = kmeans_data_of(2000, 6, 40, 28);
    struct rt_train_options options = options_of(5, 30);
    struct rt_trained whole;
    struct rt_trained split;
    data.skew = 0.3f;
    options.n_rows = 20000;
    options.max_list_rows = 1000;
    for (int hierarchical = 0; hierarchical < 2; hierarchical++) {
        options.training = hierarchical ? RT_TRAINING_HIERARCHICAL : RT_TRAINING_LLOYD;
        options.max_list_rows = 1000;
        check_ranks(&data, &options);
        train(MPI_COMM_WORLD, &data, &options, &split);
        options.max_list_rows = 0;
        train(MPI_COMM_WORLD, &data, &options, &whole);
        CHECK(split.n_split > 0);
        CHECK(split.tree.levels[1].n == whole.tree.levels[1].n + split.n_split);
        check_tree(&split.tree);
        rt_trained_free(&whole);
        rt_trained_free(&split);
    }
}
RT_TEST("hierarchical training and refinement, of some dimensions too")
{
    struct kmeans_data data = kmeans_data_of(3000, 10, 60, 29);
    struct rt_train_options options = options_of(9, 100);
    struct rt_trained trained;
    options.training = RT_TRAINING_HIERARCHICAL;
    check_ranks(&data, &options);
    train(MPI_COMM_WORLD, &data, &options, &trained);
    CHECK(trained.n_refinements >= 1 && trained.n_neighbours >= 32);
    check_tree(&trained.tree);
    rt_trained_free(&trained);
    options.kmeans_dimension = 4;
    check_ranks(&data, &options);
    options.n_refinements = 0;
    check_ranks(&data, &options);
    data.n_rows = 0;
    check_ranks(&data, &options);
}
RT_TEST("rows kept in their own type train to the same bits")
{
    struct rt_error err;
    struct kmeans_data data = kmeans_data_of(1500, 20, 30, 33);
    struct rt_train_options options = options_of(6, 60);
    struct rt_trained kept[2];
    struct rt_rotation *rotation = NULL;
    CHECK_OK(rt_rotation_new(4, data.dim, &rotation, &err));
    data.type = RT_U8;
    data.rotation = rotation;
    options.training = RT_TRAINING_HIERARCHICAL;
    options.max_list_rows = 80;
    options.n_rows = 3000;
    for (int metric = RT_L2; metric <= RT_COSINE; metric++) {
        options.metric = (enum rt_metric)metric;
        options.spherical = metric != RT_L2;
        options.kmeans_dimension = metric == RT_IP ? 9 : 0;
        for (int native = 0; native < 2; native++) {
            data.native = native;
            train(MPI_COMM_WORLD, &data, &options, &kept[native]);
        }
        check_same(&kept[0], &kept[1]);
        check_same_log(&kept[0], &kept[1]);
        rt_trained_free(&kept[0]);
        rt_trained_free(&kept[1]);
    }
    rt_rotation_free(rotation);
}
/* Where all ranks share memory, or none do. least: of what is planned, what is used at least. */
static void check_bytes(struct kmeans_data *data, struct rt_train_options *options, int kind,
                        double least)
{
    struct rt_error err;
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    struct rt_trained trained;
    struct rt_sample *sample = NULL;
    struct kmeans_ranks ranks = kmeans_together(kind);
    uint32_t dim = data->dim;
    options->node = ranks.node;
    CHECK_OK(kmeans_sample(MPI_COMM_WORLD, data, RT_L2, data->n_rows, &sample, &err));
    size_t before = rt_memory_now() - (size_t)rt_sample_bytes(sample->n_local, dim, RT_F32, false);
    rt_memory_reset_peak();
    CHECK_OK(rt_train(MPI_COMM_WORLD, options, sample, &trained, &err));
    size_t used = rt_memory_peak() - before;
    uint64_t planned = rt_train_bytes(options, data->n_rows, dim, RT_F32, false, (uint32_t)n_ranks,
                                      kind ? (uint32_t)n_ranks : 1, 0);
    if (used > planned + planned / 10 || (double)used < least * (double)planned)
        RT_TEST_FAILED("training %d, %u leaves, sharing %d: used %zu, planned %zu",
                       options->training, options->lists[1], kind, used, (size_t)planned);
    rt_trained_free(&trained);
    rt_sample_free(sample);
    kmeans_ranks_free(&ranks);
}

RT_TEST("a rank allocates no more than planned, and not half of it")
{
    struct kmeans_data data = kmeans_data_of(30000, 64, 200, 30);
    for (int kind = 0; kind < 2; kind++) {
        for (int hierarchical = 0; hierarchical < 2; hierarchical++) {
            struct rt_train_options options = options_of(17, 300);
            options.training = hierarchical ? RT_TRAINING_HIERARCHICAL : RT_TRAINING_LLOYD;
            options.n_iterations = 2;
            options.n_refinements = 2;
            check_bytes(&data, &options, kind, 0.5);
        }
        struct rt_train_options many = options_of(90, 8400); /* through cells */
        many.training = RT_TRAINING_HIERARCHICAL;
        many.n_iterations = 1;
        many.n_refinements = 2;
        check_bytes(&data, &many, kind, 0.78);
        if (kind == 0)
            continue;
        many.n_rows = data.n_rows; /* leaves that are changed before they get their levels */
        many.max_list_rows = 40;
        check_bytes(&data, &many, kind, 0.78);
        many.kmeans_dimension = 24;
        check_bytes(&data, &many, kind, 0.78);
    }
}
RT_TEST("given leaves get upper levels, a given tree stays")
{
    struct kmeans_data data = kmeans_data_of(600, 6, 30, 26);
    struct rt_train_options options = options_of(5, 40);
    struct rt_trained first;
    struct rt_trained second;
    train(MPI_COMM_WORLD, &data, &options, &first);
    struct rt_tree leaves = first.tree;
    leaves.n_levels = 1;
    leaves.levels[0] = first.tree.levels[1];
    leaves.levels[0].parent = NULL;
    options.given = &leaves;
    train(MPI_COMM_WORLD, &data, &options, &second);
    CHECK(second.tree.n_levels == 2 && second.tree.levels[1].n == 40);
    check_tree(&second.tree);
    rt_trained_free(&second);
    options.given = &first.tree;
    train(MPI_COMM_WORLD, &data, &options, &second);
    check_same(&first, &second);
    rt_trained_free(&second);
    rt_trained_free(&first);
}
RT_TEST("childless cells go, and everything is numbered by (parent, number)")
{
    struct rt_error err;
    struct rt_levels levels = {.dim = 1, .n_levels = 3, .n = {2, 4, 5}};
    float *values[3];
    uint32_t *parents[3] = {NULL, NULL, NULL};
    for (int l = 0; l < 3; l++) {
        CHECK_OK(rt_array_new(levels.n[l], sizeof(float), &values[l], &err));
        if (l > 0)
            CHECK_OK(rt_array_new(levels.n[l], sizeof(uint32_t), &parents[l], &err));
        levels.centroids[l] = values[l];
        levels.parent[l] = parents[l];
        for (uint32_t c = 0; c < levels.n[l]; c++)
            values[l][c] = (float)(100 * l) + (float)c;
    }
    memcpy(parents[1], (uint32_t[]){1, 0, 1, 0}, 16); /* cell 3 has no leaf */
    memcpy(parents[2], (uint32_t[]){2, 1, 0, 1, 2}, 20);
    CHECK_OK(rt_levels_number(&levels, &err));
    CHECK(levels.n[0] == 2 && levels.n[1] == 3 && levels.n[2] == 5);
    CHECK(memcmp(levels.centroids[1], (float[]){101, 100, 102}, 12) == 0);
    CHECK(memcmp(levels.parent[1], (uint32_t[]){0, 1, 1}, 12) == 0);
    CHECK(memcmp(levels.first_child[0], (uint32_t[]){0, 1, 3}, 12) == 0);
    CHECK(memcmp(levels.centroids[2], (float[]){201, 203, 202, 200, 204}, 20) == 0);
    CHECK(memcmp(levels.parent[2], (uint32_t[]){0, 0, 1, 2, 2}, 20) == 0);
    CHECK(memcmp(levels.first_child[1], (uint32_t[]){0, 2, 3, 5}, 16) == 0);
    rt_levels_free(&levels);
}

static unsigned char *shared_memory;
static bool shared_was_done;
static enum rt_status shared_new(void *ctx, size_t n_bytes, void **out, struct rt_range *own,
                                 struct rt_error *err)
{
    (void)ctx;
    enum rt_status st = rt_array_new(n_bytes, 1, &shared_memory, err);
    *out = shared_memory;
    *own = (struct rt_range){0, n_bytes};
    return st;
}
static enum rt_status shared_done(void *ctx, struct rt_error *err)
{
    (void)ctx;
    (void)err;
    shared_was_done = true;
    return RT_OK;
}
RT_TEST("a tree can be put into memory that others share")
{
    struct kmeans_data data = kmeans_data_of(600, 6, 30, 27);
    struct rt_train_options options = options_of(5, 40);
    struct rt_trained own;
    struct rt_trained shared;
    train(MPI_COMM_WORLD, &data, &options, &own);
    options.shared_new = shared_new;
    options.shared_done = shared_done;
    train(MPI_COMM_WORLD, &data, &options, &shared);
    CHECK(shared_was_done && !shared.owned);
    check_same(&own, &shared);
    rt_trained_free(&own);
    rt_trained_free(&shared);
    rt_array_free(shared_memory);
}

RT_TEST_MAIN()
