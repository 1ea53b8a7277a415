/* What putting rows into lists costs, one thread: assign_rates TREE.h5 ROWS.fbin N_ROWS AGREEMENT.
 * Finds the first beam that gives AGREEMENT of the rows the list that looking at all leaves does,
 * and times it against one sgemm over all leaves and the least of each row, and against the rate at
 * which this machine multiplies bytes. Prints one JSON object; bench_assign makes the inputs and
 * the ratios. */
#include "core/assign.h"
#include "core/code.h"
#include "core/gemm.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/rotation.h"
#include "io/tree_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 8192u        /* rows of a call, as insert does */
#define ROTATED 64u        /* rows of a call, as insert does */
#define COMPARED 8192u     /* rows held against all leaves */
#define GEMM_ROWS 512u     /* rows of a brute-force block */
#define GEMM_LEAVES 65536u /* leaves of one, so that products stay within 128 MiB */
#define ROUNDS 3

struct bench {
    struct rt_tree_view view;
    const struct rt_tree *tree;
    const struct rt_level *leaves;
    struct rt_rotation *rotation;
    struct rt_centroid_set *sets[RT_MAX_LEVELS];
    struct rt_assigner *assigner;
    uint32_t dim, n_cells;
    size_t n_rows, n_compared;
    float *rows, *distances;
    float *made;    /* ROTATED rows */
    uint8_t *codes; /* of a batch */
    float *factors;
    uint32_t *lists, *exact;
    uint32_t beam;
    double agreement, distances_a_row, candidates_a_row;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double least(const double *values)
{
    double found = values[0];
    for (int i = 1; i < ROUNDS; i++)
        found = values[i] < found ? values[i] : found;
    return found;
}

/* u8 x s8 by VNNI, multiplications and additions a second; 0 where the processor has none. */
#ifdef __x86_64__
__attribute__((target("avx512f,avx512vnni"))) static double vnni_rate(void)
{
    enum { TURNS = 20000000 };
    double began = now();
    for (long i = 0; i < TURNS;
         i++) /* twelve sums: more than the instruction takes cycles, twice */
        __asm__ volatile("vpdpbusd %%zmm31, %%zmm30, %%zmm0\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm1\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm2\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm3\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm4\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm5\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm6\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm7\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm8\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm9\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm10\n\t"
                         "vpdpbusd %%zmm31, %%zmm30, %%zmm11"
                         :
                         :
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11");
    return 12.0 * 128 * TURNS / (now() - began);
}
#endif

static double int8_rate(void)
{
#ifdef __x86_64__
    if (rt_isa_is_here(RT_ISA_AVX512_VNNI))
        return vnni_rate();
#endif
    return 0;
}

static enum rt_status read_rows(struct bench *b, const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t head[2];
    FILE *file = fopen(name, "rb");
    if (!file || fread(head, sizeof head, 1, file) != 1 || head[1] != b->dim)
        RT_FAIL(RT_INPUT, "'%s' is no fbin file of dimension %" PRIu32, name, b->dim);
    b->n_rows = b->n_rows < head[0] ? b->n_rows : head[0];
    b->n_compared = b->n_rows < COMPARED ? b->n_rows : COMPARED;
    RT_TRY(rt_array_new(b->n_rows, b->dim * sizeof(float), &b->rows, err));
    RT_TRY(rt_array_new(b->n_rows, sizeof *b->distances, &b->distances, err));
    RT_TRY(rt_array_new(b->n_rows, sizeof *b->lists, &b->lists, err));
    RT_TRY(rt_array_new(b->n_rows, sizeof *b->exact, &b->exact, err));
    RT_TRY(rt_array_new(ROTATED, b->dim * sizeof(float), &b->made, err));
    RT_TRY(rt_array_new(BATCH, rt_code_bytes(b->dim), &b->codes, err));
    RT_TRY(rt_array_new(BATCH, RT_MAX_FACTORS * sizeof(float), &b->factors, err));
    if (fread(b->rows, b->dim * sizeof(float), b->n_rows, file) != b->n_rows)
        RT_FAIL(RT_INPUT, "'%s' is short", name);
done:
    if (file)
        (void)fclose(file);
    return st;
}

static enum rt_status open_tree(struct bench *b, const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_tree_file_open(name, &b->view, err));
    b->tree = &b->view.tree;
    b->leaves = rt_tree_leaves(b->tree);
    b->dim = b->tree->dim;
    b->n_cells = b->tree->n_levels > 1 ? b->tree->levels[b->tree->n_levels - 2].n : 1;
    RT_TRY(rt_rotation_new(b->tree->rotation_seed, b->dim, &b->rotation, err));
    for (uint32_t l = 0; l < b->tree->n_levels; l++)
        RT_TRY(rt_level_set_new(b->tree, l, RT_L2, true, NULL, &b->sets[l], err));
    RT_TRY(rt_assigner_new(BATCH, b->dim, b->n_cells, RT_PROPOSE_AUTO, &b->assigner, err));
done:
    return st;
}

/* A few rows at a time, where they were just made, as insert does; what comes out is kept or not.
 */
static double rotate(struct bench *b, bool keep)
{
    double seconds = 0;
    for (size_t at = 0; at < b->n_rows; at += ROTATED) {
        size_t n = b->n_rows - at < ROTATED ? b->n_rows - at : ROTATED;
        float *rows = b->rows + at * b->dim;
        memcpy(b->made, rows, n * b->dim * sizeof *rows);
        double began = now();
        rt_rotation_apply(b->rotation, b->made, n);
        seconds += now() - began;
        if (keep)
            memcpy(rows, b->made, n * b->dim * sizeof *rows);
    }
    return seconds;
}

/* Rows of a batch that was just assigned, as insert does. */
static double encode(const struct bench *b, size_t begin, size_t n)
{
    double began = now();
    rt_code_encode_rows(RT_L2, b->rows + begin * b->dim, b->lists + begin, n, b->leaves->centroids,
                        b->dim, b->codes, b->factors);
    return now() - began;
}

/* Seconds; those of encoding, where they are wanted, apart. */
static double assign(struct bench *b, uint32_t beam, size_t n_rows, double *encoding)
{
    double seconds = 0;
    for (size_t at = 0; at < n_rows; at += BATCH) {
        size_t n = n_rows - at < BATCH ? n_rows - at : BATCH;
        double began = now();
        rt_assign_tree(b->assigner, b->tree, b->sets, beam, b->rows + at * b->dim, n, b->lists + at,
                       b->distances + at);
        seconds += now() - began;
        if (encoding)
            *encoding += encode(b, at, n);
    }
    return seconds;
}

/* A beam as wide as the tree looks at all leaves. */
static double assign_exactly(struct bench *b)
{
    double seconds = assign(b, b->n_cells, b->n_compared, NULL);
    memcpy(b->exact, b->lists, b->n_compared * sizeof *b->exact);
    return seconds;
}

static void find_beam(struct bench *b, double wanted)
{
    for (b->beam = 1;; b->beam += b->beam < 16 ? 1 : b->beam / 16) {
        size_t same = 0;
        (void)assign(b, b->beam, b->n_compared, NULL);
        for (size_t i = 0; i < b->n_compared; i++)
            same += b->lists[i] == b->exact[i];
        b->agreement = (double)same / (double)b->n_compared;
        if (b->agreement >= wanted || b->beam >= b->n_cells)
            return;
    }
}

/* norm - 2 product, the least of n and where: 16 lanes, so that the compiler makes vectors of it.
 */
static uint32_t argmin(const float *products, const float *norms, uint32_t n)
{
    float lane[16];
    uint32_t at[16];
    for (uint32_t l = 0; l < 16; l++) {
        lane[l] = INFINITY;
        at[l] = 0;
    }
    for (uint32_t i = 0; i + 16 <= n; i += 16)
        for (uint32_t l = 0; l < 16; l++) {
            float value = norms[i + l] - 2 * products[i + l];
            at[l] = value < lane[l] ? i : at[l];
            lane[l] = value < lane[l] ? value : lane[l];
        }
    uint32_t best = 0;
    for (uint32_t l = 1; l < 16; l++)
        best = lane[l] < lane[best] ? l : best;
    return at[best] + best;
}

/* Seconds a row of one sgemm over all leaves and the least of each row. */
static enum rt_status brute(const struct bench *b, double *gemm, double *minimum,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    float *products = NULL;
    float *norms = NULL;
    uint32_t n = b->leaves->n;
    size_t n_rows = b->n_compared < 8 * GEMM_ROWS ? b->n_compared : 8 * GEMM_ROWS;
    uint64_t sum = 0;
    n_rows = (uint64_t)n * b->dim > (1u << 25) && n_rows > GEMM_ROWS ? GEMM_ROWS : n_rows;
    RT_TRY(rt_array_new((size_t)GEMM_ROWS * GEMM_LEAVES, sizeof *products, &products, err));
    RT_TRY(rt_array_new(n, sizeof *norms, &norms, err));
    for (uint32_t c = 0; c < n; c++)
        norms[c] = (float)rt_kernels()->norm2(b->leaves->centroids + (size_t)c * b->dim, b->dim);
    memset(products, 0, (size_t)GEMM_ROWS * GEMM_LEAVES * sizeof *products); /* pages made */
    *gemm = *minimum = 0;
    for (size_t at = 0; at < n_rows; at += GEMM_ROWS)
        for (uint32_t c = 0; c < n; c += GEMM_LEAVES) {
            size_t some = n_rows - at < GEMM_ROWS ? n_rows - at : GEMM_ROWS;
            uint32_t wide = n - c < GEMM_LEAVES ? n - c : GEMM_LEAVES;
            double began = now();
            rt_gemm(some, wide, b->dim, b->rows + at * b->dim,
                    b->leaves->centroids + (size_t)c * b->dim, products, wide);
            double multiplied = now();
            for (size_t i = 0; i < some; i++)
                sum += argmin(products + i * wide, norms + c, wide);
            *gemm += multiplied - began;
            *minimum += now() - multiplied;
        }
    *gemm /= (double)n_rows;
    *minimum /= (double)n_rows + (sum == UINT64_MAX); /* the sum is used */
done:
    rt_array_free(products);
    rt_array_free(norms);
    return st;
}

static enum rt_status run(char **argv, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct bench b = {.n_rows = strtoul(argv[3], NULL, 10)};
    double tree[ROUNDS];
    double gemm[ROUNDS];
    double minimum[ROUNDS];
    double rotation[ROUNDS];
    double encoding[ROUNDS] = {0};
    uint64_t rows[2];
    uint64_t candidates[2];
    uint64_t distances[2];
    RT_TRY(rt_kernels_init(err));
    RT_TRY(open_tree(&b, argv[1], err));
    RT_TRY(read_rows(&b, argv[2], err));
    if (!rt_gemm_is_sound(b.dim))
        RT_FAIL(RT_USAGE, "this BLAS does not multiply as it should");
    (void)rotate(&b, true);
    double flat = assign_exactly(&b);
    find_beam(&b, strtod(argv[4], NULL));
    rt_assigner_counts(b.assigner, &rows[0], &candidates[0]);
    distances[0] = rt_assigner_distances(b.assigner);
    for (int i = 0; i < ROUNDS; i++) {
        RT_TRY(brute(&b, &gemm[i], &minimum[i], err));
        rotation[i] = rotate(&b, false);
        tree[i] = assign(&b, b.beam, b.n_rows, &encoding[i]);
    }
    rt_assigner_counts(b.assigner, &rows[1], &candidates[1]);
    distances[1] = rt_assigner_distances(b.assigner);
    double n = (double)b.n_rows;
    double assigned = (double)(rows[1] - rows[0]);
    (void)printf(
        "{\"rows\": %zu, \"dimension\": %" PRIu32 ", \"cells\": %" PRIu32 ", \"leaves\": %" PRIu32
        ", \"kernels\": \"%s\", \"proposer\": \"%s\", \"beam\": %" PRIu32
        ", \"agreement\": %.5f, \"distances\": %.1f, \"candidates\": %.3f, \"int8_rate\": %.4e, "
        "\"seconds_a_row\": {\"assign\": %.4e, \"flat\": %.4e, \"sgemm\": %.4e, \"argmin\": %.4e, "
        "\"rotate\": %.4e, \"encode\": %.4e}}\n",
        b.n_rows, b.dim, b.n_cells, b.leaves->n, rt_isa_name(rt_kernels()->isa),
        rt_proposer_name(RT_PROPOSE_AUTO, b.dim), b.beam, b.agreement,
        (double)(distances[1] - distances[0]) / assigned,
        (double)(candidates[1] - candidates[0]) / assigned, int8_rate(), least(tree) / n,
        flat / (double)b.n_compared, least(gemm), least(minimum), least(rotation) / n,
        least(encoding) / n);
done:
    rt_assigner_free(b.assigner);
    for (int l = 0; l < RT_MAX_LEVELS; l++)
        rt_centroid_set_free(b.sets[l]);
    rt_rotation_free(b.rotation);
    rt_array_free(b.rows);
    rt_array_free(b.made);
    rt_array_free(b.codes);
    rt_array_free(b.factors);
    rt_array_free(b.distances);
    rt_array_free(b.lists);
    rt_array_free(b.exact);
    rt_tree_file_close(&b.view);
    return st;
}

int main(int argc, char **argv)
{
    struct rt_error err;
    if (argc != 5) {
        (void)fprintf(stderr, "usage: assign_rates TREE.h5 ROWS.fbin N_ROWS AGREEMENT\n");
        return 2;
    }
    if (run(argv, &err) == RT_OK)
        return 0;
    (void)fprintf(stderr, "assign_rates: %s\n", err.text);
    return 1;
}
