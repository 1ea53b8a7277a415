/* Assignment to centroids without a tree: the nearest and the best, whatever proposes them. */
#include "tests/unit/assign_trials.h"

#include "core/memory.h"

#include <inttypes.h>

/* Nearest and best with every proposer against the plain definition. */
static void run_flat(const struct trial *t)
{
    float *centroids = numbers_of(t, 11, t->n);
    float *rows = numbers_of(t, 12, t->n_rows);
    uint32_t count = t->n > 6 ? (t->n < 2 * MOST_BEST ? t->n / 2 : MOST_BEST) : t->n + 2;
    size_t room = t->n_rows * count;
    uint32_t *expected = malloc(room * sizeof *expected);
    uint32_t *list = malloc(room * sizeof *list);
    uint32_t *nearest = malloc(t->n_rows * sizeof *nearest);
    float *distances = malloc(room * sizeof *distances);
    float *out = malloc(room * sizeof *out);
    float *nearest_distances = malloc(t->n_rows * sizeof *out);
    for (size_t r = 0; r < t->n_rows; r++) {
        best_of(t->metric, rows + r * t->dim, centroids, t->dim, NULL, t->n, count,
                expected + r * count, distances + r * count);
        nearest[r] = expected[r * count];
        nearest_distances[r] = distances[r * count];
    }
    struct rt_centroid_set *set = NULL;
    CHECK_OK(rt_centroid_set_new(centroids, t->n, t->dim, t->metric, NULL, &set, &err));
    for (int p = RT_PROPOSE_AUTO; p <= RT_PROPOSE_NONE; p++) {
        struct rt_assigner *a = assigner_of(t, (enum rt_proposer)p, count);
        rt_assign_nearest(a, set, rows, t->n_rows, list, NULL);
        compare(t, "nearest", (enum rt_proposer)p, nearest, nearest_distances, list, NULL, 1);
        rt_assign_nearest(a, set, rows, t->n_rows, list, out);
        compare(t, "nearest with E", (enum rt_proposer)p, nearest, nearest_distances, list, out, 1);
        rt_assign_best(a, set, rows, t->n_rows, count, list, out);
        compare(t, "best", (enum rt_proposer)p, expected, distances, list, out, count);
        rt_assigner_free(a);
    }
    rt_centroid_set_free(set);
    free(centroids), free(rows), free(expected), free(list), free(nearest), free(distances);
    free(out), free(nearest_distances);
}

RT_TEST("every proposer gives the nearest and the best of B2, on data that hurts")
{
    static const uint32_t dims[] = {1, 2, 3, 16, 127, 128, 300};
    static const uint32_t counts[] = {1, 2, 15, 16, 17, 63, 65, 200};
    for (int kind = 0; kind < N_KINDS; kind++)
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
            for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
                for (int metric = 0; metric < 2; metric++)
                    run_flat(&(struct trial){(enum kind)kind, (enum rt_metric)metric, dims[d],
                                             counts[k], 30 + 41 * (d % 3)});
}

RT_TEST("also in many dimensions and among many centroids")
{
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int metric = 0; metric < 2; metric++) {
            run_flat(&(struct trial){(enum kind)kind, (enum rt_metric)metric, 960, 150, 20});
            run_flat(&(struct trial){(enum kind)kind, (enum rt_metric)metric, 4097, 70, 9});
            run_flat(&(struct trial){(enum kind)kind, (enum rt_metric)metric, 20, MANY, 70});
        }
}

/* Rows as codes about a reference, and where E finds them. */
struct coded_rows {
    const float *rows;
    uint32_t dim;
    unsigned char *codes;
    uint32_t index[70];
};

static const float *row_of(void *ctx, uint32_t index)
{
    const struct coded_rows *coded = ctx;
    return coded->rows + (size_t)index * coded->dim;
}

static void code_rows(const struct trial *t, const float *rows, const float *reference,
                      struct coded_rows *out)
{
    size_t bytes = rt_row_code_bytes(t->dim);
    *out = (struct coded_rows){.rows = rows, .dim = t->dim, .codes = malloc(bytes * t->n_rows)};
    for (uint32_t i = 0; i < t->n_rows; i++) {
        rt_row_code(t->metric, rows + (size_t)i * t->dim, reference, t->dim,
                    out->codes + i * bytes);
        out->index[i] = (uint32_t)rt_random_permute(9, RT_RANDOM_TEST, i, t->n_rows);
    }
}

RT_TEST("rows of one leaf find the nearest of its neighbours, in any order of them")
{
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int metric = 0; metric < 2; metric++)
            for (uint32_t m = 1; m < 200; m += 1 + m / 2) {
                struct trial t = {(enum kind)kind, (enum rt_metric)metric, 50, 400, 70};
                float *centroids = numbers_of(&t, 51, t.n);
                float *rows = numbers_of(&t, 52, t.n_rows);
                uint32_t subset[200];
                uint32_t expected[70];
                uint32_t list[70];
                float distances[70];
                float out[70];
                struct rt_centroid_set *set = NULL;
                struct coded_rows coded;
                for (uint32_t i = 0; i < m; i++)
                    subset[i] = (uint32_t)rt_random_permute(m, RT_RANDOM_TEST, i, t.n);
                code_rows(&t, rows, centroids + (size_t)subset[m / 2] * t.dim, &coded);
                for (size_t r = 0; r < t.n_rows; r++)
                    best_of(t.metric, rows + (size_t)coded.index[r] * t.dim, centroids, t.dim,
                            subset, m, 1, expected + r, distances + r);
                CHECK_OK(rt_small_set_new(200, t.dim, t.metric, &set, &err));
                rt_small_set_fill(set, centroids, subset, m,
                                  centroids + (size_t)subset[m / 2] * t.dim);
                struct rt_coded given = {coded.codes, coded.index, row_of, &coded};
                for (int p = RT_PROPOSE_AUTO; p <= RT_PROPOSE_NONE; p++) {
                    struct rt_assigner *a = assigner_of(&t, (enum rt_proposer)p, 1);
                    rt_assign_coded(a, set, &given, t.n_rows, list, NULL);
                    compare(&t, "among", (enum rt_proposer)p, expected, distances, list, NULL, 1);
                    rt_assign_coded(a, set, &given, t.n_rows, list, out);
                    compare(&t, "among with E", (enum rt_proposer)p, expected, distances, list, out,
                            1);
                    rt_assigner_free(a);
                }
                rt_centroid_set_free(set);
                free(centroids), free(rows), free(coded.codes);
            }
}

RT_TEST("rows beyond the promised range still get E's answer")
{
    struct trial t = {PLAIN, RT_L2, 20, 100, 6};
    float *centroids = numbers_of(&t, 61, t.n);
    float *rows = numbers_of(&t, 62, t.n_rows);
    uint32_t expected[6];
    uint32_t list[6];
    float distances[6];
    rows[0] = 0x1p63f;
    rows[20] = -0x1p62f;
    struct rt_centroid_set *set = NULL;
    for (size_t r = 0; r < t.n_rows; r++)
        best_of(t.metric, rows + r * t.dim, centroids, t.dim, NULL, t.n, 1, expected + r,
                distances + r);
    CHECK_OK(rt_centroid_set_new(centroids, t.n, t.dim, t.metric, NULL, &set, &err));
    struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 1);
    rt_assign_nearest(a, set, rows, t.n_rows, list, NULL);
    compare(&t, "long rows", RT_PROPOSE_INT8, expected, distances, list, NULL, 1);
    rt_centroid_set_free(set);
    centroids[33] = 0x1p62f;
    for (size_t r = 0; r < t.n_rows; r++)
        best_of(t.metric, rows + r * t.dim, centroids, t.dim, NULL, t.n, 1, expected + r,
                distances + r);
    CHECK_OK(rt_centroid_set_new(centroids, t.n, t.dim, t.metric, NULL, &set, &err));
    rt_assign_nearest(a, set, rows, t.n_rows, list, NULL);
    compare(&t, "a long centroid", RT_PROPOSE_INT8, expected, distances, list, NULL, 1);
    rt_centroid_set_free(set);
    rt_assigner_free(a);
    free(centroids), free(rows);
}

RT_TEST("an assigner needs no more memory than it said")
{
    for (uint32_t dim = 1; dim < 3000; dim = dim * 3 + 1)
        for (size_t rows = 1; rows < 5000; rows *= 16)
            for (uint32_t beam = 1; beam < 5000; beam *= 20)
                for (int p = RT_PROPOSE_INT8; p <= RT_PROPOSE_NONE; p++) {
                    struct rt_assigner *a = NULL;
                    size_t before = rt_memory_now();
                    CHECK_OK(rt_assigner_new(rows, dim, beam, (enum rt_proposer)p, &a, &err));
                    CHECK(rt_memory_now() - before <= rt_assigner_bytes(rows, dim, beam));
                    rt_assigner_free(a);
                    CHECK(rt_memory_now() == before);
                }
}

RT_TEST("codes leave few candidates on rows they are made for")
{
    struct trial t = {PLAIN, RT_L2, 128, 1000, 500};
    float *centroids = numbers_of(&t, 81, t.n);
    float *rows = numbers_of(&t, 82, t.n_rows);
    for (size_t i = 0; i < t.n_rows * t.dim; i++) /* about as far from one as to the others */
        rows[i] = 0.8f * rows[i] + centroids[i];
    uint32_t list[500];
    uint64_t n_rows;
    uint64_t n_candidates;
    struct rt_centroid_set *set = NULL;
    CHECK_OK(rt_centroid_set_new(centroids, t.n, t.dim, t.metric, NULL, &set, &err));
    struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 1);
    rt_assign_nearest(a, set, rows, t.n_rows, list, NULL);
    rt_assigner_counts(a, &n_rows, &n_candidates);
    CHECK(n_rows == 500);
    if (n_candidates < 500 || n_candidates > 2000)
        RT_TEST_FAILED("%" PRIu64 " candidates for 500 rows", n_candidates);
    rt_centroid_set_free(set);
    rt_assigner_free(a);
    free(centroids), free(rows);
}

RT_TEST("this BLAS multiplies within its bound")
{
    CHECK(rt_gemm_is_sound(1) == rt_gemm_is_sound(300));
    CHECK(rt_gemm_is_sound(64) == rt_gemm_is_sound(2000));
}

RT_TEST_MAIN()
