/* Times a training, and tells how good its lists are: recall@10 at equal numbers of rows scanned,
 * every row in its exactly nearest list, and how unequal the lists are.
 * mpirun -n 2 bench_train ROWS LEAVES lloyd|hierarchical ITERATIONS REFINEMENTS|auto [QUERIES
 * TRUTH] ROWS and QUERIES: .u8bin or .fbin; TRUTH: .ibin; without them training is only timed. */
#include "core/element.h"
#include "core/memory.h"
#include "core/rotation.h"
#include "kmeans/train.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FOUND 10u
#define N_SCANS 6u

static int rank, n_ranks;

struct source {
    FILE *file;
    uint64_t n_rows;
    uint32_t dim;
    enum rt_element type;
};

static enum rt_status read_rows(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct source *s = ctx;
    size_t row_bytes = s->dim * rt_element_size(s->type);
    if (fseeko(s->file, (off_t)(8 + begin * row_bytes), SEEK_SET) ||
        fread(rows, row_bytes, n_rows, s->file) != n_rows)
        RT_FAIL(RT_IO, "cannot read row %" PRIu64, begin);
done:
    return st;
}

static int open_source(const char *name, struct source *s)
{
    uint32_t head[2];
    s->file = fopen(name, "rb");
    if (!s->file || fread(head, sizeof head, 1, s->file) != 1)
        return -1;
    s->n_rows = head[0];
    s->dim = head[1];
    s->type = strstr(name, ".u8bin") ? RT_U8 : RT_F32; /* or a truth's numbers, as wide */
    return 0;
}

static const char *last_stage = "";
static double stage_began, cpu_began;

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* When each stage first speaks; processor time tells more than the clock on a busy machine. */
static void progress(void *ctx, const char *stage, uint64_t done, uint64_t total, double moved,
                     double objective)
{
    (void)ctx;
    (void)done;
    (void)total;
    (void)moved;
    (void)objective;
    if (rank != 0 || strcmp(stage, last_stage) == 0)
        return;
    last_stage = stage;
    (void)printf("  first of %-8s at %.2f s, %.2f s of processor\n", stage,
                 MPI_Wtime() - stage_began, cpu_seconds() - cpu_began);
}

/* --- how good the lists are --- */

struct near {
    float distance;
    uint32_t list;
};

static int by_distance(const void *a, const void *b)
{
    float x = ((const struct near *)a)->distance;
    float y = ((const struct near *)b)->distance;
    return x < y ? -1 : x > y;
}

static float distance_of(const float *a, const float *b, uint32_t dim)
{
    float lane[16] = {0};
    uint32_t i = 0;
    for (; i + 16 <= dim; i += 16)
        for (uint32_t j = 0; j < 16; j++)
            lane[j] += (a[i + j] - b[i + j]) * (a[i + j] - b[i + j]);
    for (; i < dim; i++)
        lane[0] += (a[i] - b[i]) * (a[i] - b[i]);
    float sum = 0;
    for (uint32_t j = 0; j < 16; j++)
        sum += lane[j];
    return sum;
}

/* Every row of this rank into its exactly nearest list; then those of all ranks. */
static enum rt_status assign_all(struct source *s, const struct rt_rotation *rotation,
                                 const struct rt_level *leaves, uint32_t *list, uint64_t *counts,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum { BATCH = 2048 };
    struct rt_range own = rt_share(s->n_rows, rank, n_ranks, 1);
    uint32_t dim = s->dim;
    float *rows = NULL, *distance = NULL;
    void *native = NULL;
    uint64_t *bytes = NULL;
    struct rt_centroid_set *set = NULL;
    struct rt_assigner *assigner = NULL;
    double objective = 0;
    RT_TRY(rt_array_new(BATCH, dim * sizeof(float), &rows, err));
    RT_TRY(rt_array_new(BATCH, dim * sizeof(float), &native, err));
    RT_TRY(rt_array_new(BATCH, sizeof(float), &distance, err));
    RT_TRY(rt_array_new((size_t)n_ranks, sizeof *bytes, &bytes, err));
    RT_TRY(rt_centroid_set_new(leaves->centroids, leaves->n, dim, RT_L2, NULL, &set, err));
    RT_TRY(rt_assigner_new(BATCH, dim, 1, RT_PROPOSE_AUTO, &assigner, err));
    for (uint64_t at = own.begin; at < own.end; at += BATCH) {
        size_t n = own.end - at < BATCH ? (size_t)(own.end - at) : BATCH;
        RT_TRY(read_rows(s, at, n, native, err));
        rt_element_to_f32(s->type, native, rows, n * dim);
        rt_rotation_apply(rotation, rows, n);
        rt_assign_nearest(assigner, set, rows, n, list + at, distance);
        for (size_t i = 0; i < n; i++) {
            counts[list[at + i]]++;
            objective += (double)distance[i];
        }
    }
    for (int r = 0; r < n_ranks; r++)
        bytes[r] = rt_range_count(rt_share(s->n_rows, r, n_ranks, 1)) * sizeof *list;
    rt_allgatherv_bytes(MPI_COMM_WORLD, list + own.begin, list, bytes);
    rt_sum_u64(MPI_COMM_WORLD, counts, leaves->n);
    MPI_Allreduce(MPI_IN_PLACE, &objective, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0)
        (void)printf("  objective %.6e\n", objective);
done:
    rt_assigner_free(assigner);
    rt_centroid_set_free(set);
    rt_array_free(rows);
    rt_array_free(native);
    rt_array_free(distance);
    rt_array_free(bytes);
    return st;
}

/* What searches of 1, 2, .. lists scan and find, all queries together. */
struct curve {
    uint32_t n;
    double *rows, *found; /* n */
};

/* Adds one query's to the curve. order, place: n of scratch. */
static void add_query(struct curve *curve, const struct rt_level *leaves, uint32_t dim,
                      const float *query, const uint32_t *truth, const uint32_t *list,
                      const uint64_t *counts, struct near *order, uint32_t *place)
{
    for (uint32_t l = 0; l < curve->n; l++)
        order[l] = (struct near){distance_of(query, leaves->centroids + (size_t)l * dim, dim), l};
    qsort(order, curve->n, sizeof *order, by_distance);
    double rows = 0;
    for (uint32_t l = 0; l < curve->n; l++) {
        place[order[l].list] = l;
        rows += (double)counts[order[l].list];
        curve->rows[l] += rows;
    }
    for (uint32_t i = 0; i < FOUND; i++)
        for (uint32_t l = place[list[truth[i]]]; l < curve->n; l++)
            curve->found[l]++;
}

/* Recall where searches scan n rows in the mean, linear between the numbers of lists in log rows:
 * uneven lists scan more rows for the same number of lists, and that is what a search pays. */
static double recall_at(const struct curve *curve, size_t n_queries, double n)
{
    uint32_t l = 0;
    while (l + 1 < curve->n && curve->rows[l] < n * (double)n_queries)
        l++;
    double all = (double)(n_queries * FOUND);
    if (l == 0 || curve->rows[l] <= curve->rows[l - 1])
        return curve->found[l] / all;
    double t =
        log(n * (double)n_queries / curve->rows[l - 1]) / log(curve->rows[l] / curve->rows[l - 1]);
    t = t < 1 ? t : 1;
    return (curve->found[l - 1] + t * (curve->found[l] - curve->found[l - 1])) / all;
}

static enum rt_status print_recall(const struct rt_level *leaves, uint32_t dim,
                                   const float *queries, size_t n_queries, const uint32_t *truth,
                                   size_t truth_k, const uint32_t *list, const uint64_t *counts,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct curve curve = {.n = leaves->n};
    struct near *order = NULL;
    uint32_t *place = NULL;
    RT_TRY(rt_array_zero(leaves->n, sizeof(double), &curve.rows, err));
    RT_TRY(rt_array_zero(leaves->n, sizeof(double), &curve.found, err));
    RT_TRY(rt_array_new(leaves->n, sizeof *order, &order, err));
    RT_TRY(rt_array_new(leaves->n, sizeof *place, &place, err));
    for (size_t q = 0; q < n_queries; q++)
        add_query(&curve, leaves, dim, queries + q * dim, truth + q * truth_k, list, counts, order,
                  place);
    (void)printf("  recall@10 at 500..16000 rows:");
    for (uint32_t s = 0; s < N_SCANS; s++)
        (void)printf(" %.4f", recall_at(&curve, n_queries, (double)(UINT64_C(500) << s)));
    (void)printf("\n");
done:
    rt_array_free(curve.rows);
    rt_array_free(curve.found);
    rt_array_free(order);
    rt_array_free(place);
    return st;
}

static void print_variation(const uint64_t *counts, uint32_t n, uint64_t n_rows)
{
    double mean = (double)n_rows / n;
    double squares = 0;
    for (uint32_t l = 0; l < n; l++)
        squares += ((double)counts[l] - mean) * ((double)counts[l] - mean);
    (void)printf("  variation of list sizes %.4f\n", sqrt(squares / n) / mean);
}

static enum rt_status judge(struct source *s, const struct rt_rotation *rotation,
                            const struct rt_tree *tree, char **names, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_level *leaves = rt_tree_leaves(tree);
    struct source of_queries = {0}, of_truth = {0};
    float *queries = NULL;
    uint32_t *truth = NULL, *list = NULL;
    void *native = NULL;
    uint64_t *counts = NULL;
    if (open_source(names[0], &of_queries) || open_source(names[1], &of_truth) ||
        of_queries.n_rows > of_truth.n_rows || of_queries.dim != s->dim || of_truth.dim < FOUND)
        RT_FAIL(RT_IO, "cannot use '%s' and '%s' as queries and truth", names[0], names[1]);
    size_t n_queries = (size_t)of_queries.n_rows;
    RT_TRY(rt_array_new(n_queries, s->dim * sizeof *queries, &queries, err));
    RT_TRY(rt_array_new(n_queries, s->dim * sizeof *queries, &native, err));
    RT_TRY(rt_array_new(n_queries, of_truth.dim * sizeof *truth, &truth, err));
    RT_TRY(rt_array_new((size_t)s->n_rows, sizeof *list, &list, err));
    RT_TRY(rt_array_zero(leaves->n, sizeof *counts, &counts, err));
    RT_TRY(read_rows(&of_queries, 0, n_queries, native, err));
    RT_TRY(read_rows(&of_truth, 0, n_queries, truth, err));
    rt_element_to_f32(of_queries.type, native, queries, n_queries * s->dim);
    rt_rotation_apply(rotation, queries, n_queries);
    RT_TRY(assign_all(s, rotation, leaves, list, counts, err));
    if (rank == 0) {
        RT_TRY(print_recall(leaves, s->dim, queries, n_queries, truth, of_truth.dim, list, counts,
                            err));
        print_variation(counts, leaves->n, s->n_rows);
    }
done:
    rt_array_free(queries);
    rt_array_free(native);
    rt_array_free(truth);
    rt_array_free(list);
    rt_array_free(counts);
    return st;
}

static enum rt_status run(char **argv, bool is_judged, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct source source = {.type = RT_F32};
    struct rt_sample *sample = NULL;
    struct rt_rotation *rotation = NULL;
    struct rt_trained trained = {0};
    struct rt_train_options options = {.node = MPI_COMM_NULL,
                                       .n_levels = 2,
                                       .metric = RT_L2,
                                       .beam = RT_TRAIN_AUTO,
                                       .progress = progress};
    if (open_source(argv[1], &source))
        RT_FAIL(RT_IO, "cannot open '%s'", argv[1]);
    const char *seed = getenv("BENCH_SEED"); /* the luck of one seed is worth up to a point */
    options.seed = seed ? strtoull(seed, NULL, 10) : 0;
    options.lists[1] = (uint32_t)strtoul(argv[2], NULL, 10);
    options.lists[0] = (uint32_t)sqrt((double)options.lists[1]);
    options.training = strcmp(argv[3], "lloyd") == 0 ? RT_TRAINING_LLOYD : RT_TRAINING_HIERARCHICAL;
    options.n_iterations = (uint32_t)strtoul(argv[4], NULL, 10);
    options.n_refinements =
        strcmp(argv[5], "auto") == 0 ? RT_TRAIN_AUTO : (uint32_t)strtoul(argv[5], NULL, 10);
    RT_TRY(rt_rotation_new(5, source.dim, &rotation, err));
    struct rt_range own = rt_share(source.n_rows, rank, n_ranks, 1);
    struct rt_sample_options wanted = {.n_rows = source.n_rows,
                                       .n_wanted = source.n_rows,
                                       .dim = source.dim,
                                       .type = source.type,
                                       .metric = RT_L2,
                                       .rotation = rotation,
                                       .native = getenv("BENCH_NATIVE") != NULL,
                                       .begin = own.begin,
                                       .end = own.end,
                                       .ctx = &source,
                                       .read = read_rows};
    stage_began = MPI_Wtime();
    RT_TRY(rt_sample_read(MPI_COMM_WORLD, &wanted, &sample, err));
    double began = MPI_Wtime();
    if (rank == 0)
        (void)printf("%s, %d ranks: sample of %" PRIu64 " rows %.2f s\n", argv[1], n_ranks,
                     sample->n_total, began - stage_began);
    stage_began = began;
    cpu_began = cpu_seconds();
    RT_TRY(rt_train(MPI_COMM_WORLD, &options, sample, &trained, err));
    if (rank == 0) {
        (void)printf("  train %.2f s, %.2f s of processor: objective %.6e, %u refinements, %u "
                     "neighbours, beam %u (%u of %u)\n",
                     MPI_Wtime() - began, cpu_seconds() - cpu_began, trained.objective,
                     trained.n_refinements, trained.n_neighbours, trained.beam, trained.beam_agreed,
                     trained.beam_sampled);
        for (size_t i = 0; i < trained.n_log; i++)
            (void)printf("    %s %u: neighbours %u, moved %.4f, objective %.6e\n",
                         trained.log[i].stage, trained.log[i].number, trained.log[i].n_neighbours,
                         (double)trained.log[i].n_moved / (double)sample->n_total,
                         trained.log[i].objective);
    }
    rt_sample_free(sample);
    sample = NULL;
    if (is_judged)
        RT_TRY(judge(&source, rotation, &trained.tree, argv + 6, err));
done:
    rt_sample_free(sample);
    rt_trained_free(&trained);
    rt_rotation_free(rotation);
    if (source.file)
        (void)fclose(source.file);
    return st;
}

int main(int argc, char **argv)
{
    int provided = 0;
    struct rt_error err;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    int failed = argc != 6 && argc != 8;
    if (failed && rank == 0)
        (void)fprintf(
            stderr, "usage: bench_train ROWS LEAVES lloyd|hierarchical ITERATIONS REFINEMENTS|auto "
                    "[QUERIES TRUTH]\n");
    if (!failed && run(argv, argc == 8, &err) != RT_OK) {
        (void)fprintf(stderr, "rank %d: %s\n", rank, err.text);
        failed = 1;
    }
    MPI_Finalize();
    return failed;
}
