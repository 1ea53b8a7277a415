/* Times a training and tells how good its lists are: recall@10 at equal numbers of rows scanned,
 * every row in its exactly nearest list. mpirun -n 2 bench_train ROWS LEAVES lloyd|hierarchical
 * ITERATIONS REFINEMENTS ROWS: FILE.u8bin or FILE.fbin, or syn:N:DIM:CLUSTERS. The first 200 rows
 * are the queries (they stay in the lists and are not counted as their own neighbours). */
#include "core/element.h"
#include "core/memory.h"
#include "core/random.h"
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

#define MANIFOLD 32u
#define QUERIES 200u
#define FOUND 10u

static int rank, n_ranks;

struct source {
    FILE *file;
    uint64_t n_rows;
    uint32_t dim, n_clusters;
    enum rt_element type;
    float *basis; /* MANIFOLD x dim */
};

static float normal(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = rt_random(1, RT_RANDOM_TEST, a, b, c);
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)(x >> (16 * i) & 0xffff) * 0x1p-16f - 0.5f;
    return sum * 1.732f;
}

/* Clusters of skewed sizes on a manifold of 32 dimensions. */
static void syn_row(const struct source *s, uint64_t row, float *out)
{
    double u = (double)(rt_random(1, RT_RANDOM_TEST, row, 0, 1) >> 11) * 0x1p-53;
    uint64_t cluster = (uint64_t)(u * sqrt(u) * s->n_clusters);
    float latent[MANIFOLD];
    for (uint32_t i = 0; i < MANIFOLD; i++)
        latent[i] = normal(cluster, i, 2) + 0.45f * normal(row, i, 3);
    for (uint32_t j = 0; j < s->dim; j++)
        out[j] = 0;
    for (uint32_t i = 0; i < MANIFOLD; i++)
        for (uint32_t j = 0; j < s->dim; j++)
            out[j] += latent[i] * s->basis[i * s->dim + j];
}

static enum rt_status read_rows(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct source *s = ctx;
    size_t row_bytes = s->dim * rt_element_size(s->type);
    if (!s->file) {
        for (size_t i = 0; i < n_rows; i++)
            syn_row(s, begin + i, (float *)rows + i * s->dim);
    } else if (fseeko(s->file, (off_t)(8 + begin * row_bytes), SEEK_SET) ||
               fread(rows, row_bytes, n_rows, s->file) != n_rows) {
        RT_FAIL(RT_IO, "cannot read row %" PRIu64, begin);
    }
done:
    return st;
}

static int open_source(const char *name, struct source *s)
{
    if (sscanf(name, "syn:%" SCNu64 ":%" SCNu32 ":%" SCNu32, &s->n_rows, &s->dim, &s->n_clusters) ==
        3) {
        s->basis = malloc(MANIFOLD * s->dim * sizeof *s->basis);
        for (uint32_t i = 0; s->basis && i < MANIFOLD * s->dim; i++)
            s->basis[i] = normal(i, 0, 4);
        return s->basis ? 0 : -1;
    }
    uint32_t head[2];
    s->file = fopen(name, "rb");
    if (!s->file || fread(head, sizeof head, 1, s->file) != 1)
        return -1;
    s->n_rows = head[0];
    s->dim = head[1];
    s->type = strstr(name, ".u8bin") ? RT_U8 : RT_F32;
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

/* The k nearest rows of each query among this rank's rows, merged on all ranks; then how many rows
 * are scanned until each is found. */
struct near {
    float distance;
    uint32_t row;
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

static void offer(struct near *list, struct near new)
{
    if (new.distance >= list[FOUND - 1].distance)
        return;
    uint32_t at = FOUND - 1;
    for (; at > 0 && list[at - 1].distance > new.distance; at--)
        list[at] = list[at - 1];
    list[at] = new;
}

static void print_recall(const struct rt_tree *tree, const float *queries, const struct near *truth,
                         const uint32_t *list, const uint64_t *counts)
{
    const uint64_t scanned[] = {500, 1000, 2000, 4000, 8000, 16000};
    uint64_t found[6] = {0};
    const struct rt_level *leaves = rt_tree_leaves(tree);
    struct near *order = malloc(leaves->n * sizeof *order);
    uint64_t *before = malloc(leaves->n * sizeof *before);
    for (uint32_t q = 0; order && before && q < QUERIES; q++) {
        for (uint32_t l = 0; l < leaves->n; l++) {
            order[l].row = l;
            order[l].distance = distance_of(queries + q * tree->dim,
                                            leaves->centroids + (size_t)l * tree->dim, tree->dim);
        }
        qsort(order, leaves->n, sizeof *order, by_distance);
        uint64_t rows = 0;
        for (uint32_t l = 0; l < leaves->n; l++) {
            before[order[l].row] = rows;
            rows += counts[order[l].row];
        }
        for (uint32_t i = 0; i < FOUND; i++)
            for (int s = 0; s < 6; s++)
                found[s] += before[list[truth[q * FOUND + i].row]] < scanned[s];
    }
    (void)printf("  recall@10 at 500..16000 rows:");
    for (int s = 0; s < 6; s++)
        (void)printf(" %.4f", (double)found[s] / (QUERIES * FOUND));
    (void)printf("\n");
    free(order);
    free(before);
}

static enum rt_status judge(struct source *s, const struct rt_rotation *rotation,
                            const struct rt_tree *tree, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_range own = rt_share(s->n_rows, rank, n_ranks, 1);
    uint32_t dim = s->dim;
    const struct rt_level *leaves = rt_tree_leaves(tree);
    float *queries = NULL, *rows = NULL, *distance = NULL;
    void *native = NULL;
    uint32_t *list = NULL;
    uint64_t *counts = NULL, *bytes = NULL;
    struct near *near = NULL, *all = NULL;
    struct rt_centroid_set *set = NULL;
    struct rt_assigner *assigner = NULL;
    enum { BATCH = 2048 };
    double objective = 0;
    RT_TRY(rt_array_new(QUERIES, dim * sizeof(float), &queries, err));
    RT_TRY(rt_array_new(BATCH, dim * sizeof(float), &rows, err));
    RT_TRY(rt_array_new(BATCH, dim * sizeof(float), &native, err));
    RT_TRY(rt_array_new(BATCH, sizeof(float), &distance, err));
    RT_TRY(rt_array_new((size_t)s->n_rows, sizeof *list, &list, err));
    RT_TRY(rt_array_zero(leaves->n, sizeof *counts, &counts, err));
    RT_TRY(rt_array_new((size_t)n_ranks, sizeof *bytes, &bytes, err));
    RT_TRY(rt_array_new(QUERIES * FOUND, sizeof *near, &near, err));
    RT_TRY(rt_array_new((size_t)n_ranks * QUERIES * FOUND, sizeof *all, &all, err));
    RT_TRY(rt_centroid_set_new(leaves->centroids, leaves->n, dim, RT_L2, NULL, &set, err));
    RT_TRY(rt_assigner_new(BATCH, dim, 1, RT_PROPOSE_AUTO, &assigner, err));
    RT_TRY(read_rows(s, 0, QUERIES, native, err));
    rt_element_to_f32(s->type, native, queries, QUERIES * (size_t)dim);
    rt_rotation_apply(rotation, queries, QUERIES);
    for (uint32_t i = 0; i < QUERIES * FOUND; i++)
        near[i] = (struct near){INFINITY, 0};
    double seconds = 0;
    for (uint64_t at = own.begin; at < own.end; at += BATCH) {
        size_t n = own.end - at < BATCH ? (size_t)(own.end - at) : BATCH;
        RT_TRY(read_rows(s, at, n, native, err));
        rt_element_to_f32(s->type, native, rows, n * dim);
        rt_rotation_apply(rotation, rows, n);
        seconds -= MPI_Wtime();
        rt_assign_nearest(assigner, set, rows, n, list + at, distance);
        seconds += MPI_Wtime();
        for (size_t i = 0; i < n; i++) {
            counts[list[at + i]]++;
            objective += (double)distance[i];
            for (uint32_t q = 0; q < QUERIES; q++)
                if (at + i != q)
                    offer(near + q * FOUND,
                          (struct near){distance_of(queries + q * dim, rows + i * dim, dim),
                                        (uint32_t)(at + i)});
        }
    }
    for (int r = 0; r < n_ranks; r++)
        bytes[r] = rt_range_count(rt_share(s->n_rows, r, n_ranks, 1)) * sizeof *list;
    rt_allgatherv_bytes(MPI_COMM_WORLD, list + own.begin, list, bytes);
    rt_sum_u64(MPI_COMM_WORLD, counts, leaves->n);
    MPI_Allgather(near, QUERIES * FOUND * sizeof *near, MPI_BYTE, all,
                  QUERIES * FOUND * sizeof *near, MPI_BYTE, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &objective, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (uint32_t i = 0; i < QUERIES * FOUND; i++)
        near[i] = (struct near){INFINITY, 0};
    for (size_t i = 0; i < (size_t)n_ranks * QUERIES * FOUND; i++)
        offer(near + i / FOUND % QUERIES * FOUND, all[i]);
    if (rank == 0) {
        uint64_t n_candidates = 0, n_assigned = 0;
        rt_assigner_counts(assigner, &n_assigned, &n_candidates);
        (void)printf("  exact assignment %.2f s, %.2f candidates a row; objective %.6e\n", seconds,
                     (double)n_candidates / (double)n_assigned, objective);
        print_recall(tree, queries, near, list, counts);
    }
done:
    rt_assigner_free(assigner);
    rt_centroid_set_free(set);
    rt_array_free(queries);
    rt_array_free(rows);
    rt_array_free(native);
    rt_array_free(distance);
    rt_array_free(list);
    rt_array_free(counts);
    rt_array_free(bytes);
    rt_array_free(near);
    rt_array_free(all);
    return st;
}

static enum rt_status run(char **argv, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct source source = {.type = RT_F32};
    struct rt_sample *sample = NULL;
    struct rt_rotation *rotation = NULL;
    struct rt_trained trained = {0};
    struct rt_train_options options = {
        .n_levels = 2, .metric = RT_L2, .beam = RT_TRAIN_AUTO, .progress = progress};
    if (open_source(argv[1], &source))
        RT_FAIL(RT_IO, "cannot open '%s'", argv[1]);
    options.lists[1] = (uint32_t)strtoul(argv[2], NULL, 10);
    options.lists[0] = (uint32_t)sqrt((double)options.lists[1]);
    options.training = strcmp(argv[3], "lloyd") == 0 ? RT_TRAINING_LLOYD : RT_TRAINING_HIERARCHICAL;
    options.n_iterations = (uint32_t)strtoul(argv[4], NULL, 10);
    options.n_refinements = (uint32_t)strtoul(argv[5], NULL, 10);
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
    if (!getenv("BENCH_TRAIN_ONLY"))
        RT_TRY(judge(&source, rotation, &trained.tree, err));
done:
    rt_sample_free(sample);
    rt_trained_free(&trained);
    rt_rotation_free(rotation);
    if (source.file)
        (void)fclose(source.file);
    free(source.basis);
    return st;
}

int main(int argc, char **argv)
{
    int provided = 0;
    struct rt_error err;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    int failed = argc != 6;
    if (failed && rank == 0)
        (void)fprintf(stderr,
                      "usage: bench_train ROWS LEAVES lloyd|hierarchical ITERATIONS REFINEMENTS\n");
    if (!failed && run(argv + 0, &err) != RT_OK) {
        (void)fprintf(stderr, "rank %d: %s\n", rank, err.text);
        failed = 1;
    }
    MPI_Finalize();
    return failed;
}
