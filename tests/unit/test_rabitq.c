/* What the estimates promise: identities, and the statistics of RaBitQ with windows that hold five
 * standard deviations at these sizes. Seeds are fixed, so a run is the same everywhere. Negative
 * cases show that the checks can fail. */
#include "core/kernels/kernels.h"
#include "tests/rt_test.h"
#include "tests/unit/memory_index.h"

#define SEED 20240521

typedef void rotate_fn(uint64_t seed, uint32_t dim, float *rows, size_t n_rows);

static void rotate_well(uint64_t seed, uint32_t dim, float *rows, size_t n_rows)
{
    struct rt_rotation *rotation = NULL;
    MUST(rt_rotation_new(seed, dim, &rotation, err));
    rt_rotation_apply(rotation, rows, n_rows);
    rt_rotation_free(rotation);
}

static void rotate_not(uint64_t seed, uint32_t dim, float *rows, size_t n_rows)
{
    (void)seed, (void)dim, (void)rows, (void)n_rows;
}

/* One round of signs, Walsh-Hadamard and Kac, where four are needed. */
static void rotate_once(uint64_t seed, uint32_t dim, float *rows, size_t n_rows)
{
    uint32_t p = 1;
    while (2 * p <= dim)
        p *= 2;
    for (float *x = rows; n_rows-- > 0; x += dim) {
        for (uint32_t i = 0; i < dim; i++)
            if (rt_random(seed, RT_RANDOM_TEST, i, 77, 0) >> 63)
                x[i] = -x[i];
        for (uint32_t h = 1; h < p; h *= 2)
            for (uint32_t i = 0; i < p; i++)
                if ((i & h) == 0) {
                    float a = x[i];
                    x[i] = a + x[i + h];
                    x[i + h] = a - x[i + h];
                }
        for (uint32_t i = 0; i < p; i++)
            x[i] /= (float)sqrt(p);
        for (uint32_t i = 0; p != dim && i < dim / 2; i++) {
            float a = x[i];
            float b = x[dim - dim / 2 + i];
            x[i] = (a + b) * (float)sqrt(0.5);
            x[dim - dim / 2 + i] = (a - b) * (float)sqrt(0.5);
        }
    }
}

static double product(const float *a, const float *b, uint32_t dim)
{
    const void *row = b;
    float minus;
    rt_kernels()->scan.rows_ip[RT_F32](a, &row, 1, dim, &minus);
    return -(double)minus;
}

/* Codes of rows without centroid: the signs as +-1 beside the factors. */
static void encode_rows(const float *rows, size_t n, uint32_t dim, uint8_t *codes, float *signs,
                        float *factors)
{
    for (size_t row = 0; row < n; row++) {
        uint8_t *code = codes + row * rt_code_bytes(dim);
        rt_code_encode(RT_L2, rows + row * dim, NULL, dim, code, factors + 3 * row);
        for (uint32_t i = 0; i < dim; i++)
            signs[row * dim + i] = code[i / 8] >> i % 8 & 1 ? 1 : -1;
    }
}

static float *floats(size_t n)
{
    float *array = malloc(n * sizeof *array);
    if (!array)
        exit(1);
    return array;
}

/* ---- x0, unbiasedness, spread ---- */

RT_TEST("x0 of Gaussian rows has the mean and spread of the theory")
{
    static const struct {
        uint32_t dim;
        double mean, window, sd;
    } cases[] = {{128, 0.7994, 0.005, 0.0187}, {768, 0.7981, 0.002, 0.0077}};
    for (size_t c = 0; c < 2; c++) {
        enum { ROWS = 400 };
        const uint32_t dim = cases[c].dim;
        float *row = floats(dim);
        uint8_t code[96];
        double sum = 0;
        double squares = 0;
        for (uint64_t r = 0; r < ROWS; r++) {
            float f[3];
            for (uint32_t i = 0; i < dim; i++)
                row[i] = draw_normal(SEED, r, i);
            rotate_well(SEED, dim, row, 1);
            rt_code_encode(RT_L2, row, NULL, dim, code, f);
            double x0 = sqrt((double)f[0] / dim) / (double)f[1];
            double error = sqrt((double)f[0] * (1 / (x0 * x0) - 1) / (dim - 1));
            CHECK(fabs((double)f[2] - error) < 1e-4 * error);
            sum += x0;
            squares += x0 * x0;
        }
        double mean = sum / ROWS;
        double sd = sqrt(squares / ROWS - mean * mean);
        CHECK(fabs(mean - cases[c].mean) < cases[c].window);
        CHECK(fabs(sd / cases[c].sd - 1) < 0.15);
        free(row);
    }
}

RT_TEST(
    "over fresh rotations the estimate is unbiased, its error spreads with the sine of the angle; "
    "|u|/sqrt(n) for factor_ip is biased by a fifth")
{
    enum { DIM = 128, ROTATIONS = 3000 };
    static const double angles[3] = {90, 60, 30};
    static const double cosine[3] = {0, 0.5, 0.8660254037844386};
    static const double sine[3] = {1, 0.8660254037844386, 0.5};
    float original[4 * DIM]; /* u, then v at each angle, unit length */
    double squares[3] = {0};
    double mean = 0;
    double biased = 0;
    for (uint32_t i = 0; i < DIM; i++) {
        original[i] = draw_normal(SEED, 1, i);
        original[DIM + i] = draw_normal(SEED, 2, i);
    }
    double along = product(original, original + DIM, DIM) / product(original, original, DIM);
    for (uint32_t i = 0; i < DIM; i++)
        original[DIM + i] -= (float)along * original[i];
    (void)rt_metric_prepare_row(RT_COSINE, original, DIM);
    (void)rt_metric_prepare_row(RT_COSINE, original + DIM, DIM);
    for (uint32_t i = 0; i < DIM; i++) /* from the last: each mixes u and the orthogonal vector */
        for (uint32_t a = 3; a-- > 0;)
            original[(a + 1) * DIM + i] =
                (float)(cosine[a] * (double)original[i] + sine[a] * (double)original[DIM + i]);
    for (uint64_t r = 0; r < ROTATIONS; r++) {
        float x[4 * DIM];
        float signs[DIM];
        float f[3];
        uint8_t code[DIM / 8];
        memcpy(x, original, sizeof x);
        rotate_well(SEED + r, DIM, x, 4);
        encode_rows(x, 1, DIM, code, signs, f);
        for (int a = 0; a < 3; a++) {
            const double e = product(signs, x + (a + 1) * DIM, DIM);
            const double error = (e * (double)f[1] - cosine[a]) / (double)f[2];
            squares[a] += error * error;
            mean += a == 1 ? e * (double)f[1] / ROTATIONS : 0;
            biased += a == 1 ? e * sqrt((double)f[0] / DIM) / ROTATIONS : 0;
        }
    }
    CHECK(fabs(mean - 0.5) < 0.0055);
    CHECK(fabs(biased / 0.5 - 0.798) < 0.02);
    for (int a = 0; a < 3; a++) {
        double sd = sqrt(squares[a] / ROTATIONS);
        if (!(fabs(sd / sine[a] - 1) < 0.06))
            RT_TEST_FAILED("at %g degrees the error's sd is %g", angles[a], sd);
    }
}

/* ---- how many true distances lie below their bound ---- */

struct coverage {             /* shares, in percent */
    double below[3];          /* at epsilon 1, 1.9, 2.5 */
    double both;              /* two-sided at 1.9 */
    double tables;            /* below at 1.9, e from the 8-bit tables */
    double x0_mean, x0_least; /* not in percent */
};

enum { ROWS = 400, QUERIES = 200, ROTATIONS = 4 };

/* sparse: values other than 0 in a row; 0: all of them. */
static void draw_rows(uint32_t dim, uint32_t sparse, uint64_t seed, float *rows)
{
    for (uint64_t r = 0; r < ROWS; r++) {
        float *row = rows + r * dim;
        for (uint32_t i = 0; i < dim; i++)
            row[i] = sparse ? 0 : draw_normal(seed, r, i);
        for (uint64_t i = 0; i < sparse; i++)
            row[rt_random_below(rt_random(seed, RT_RANDOM_TEST, r, i, 5), dim)] =
                i ? draw_normal(seed, r, i) : 1 + draw_normal(seed, r, i) * 0.1f;
    }
}

/* One query against all rows by the kernels: e of each row from the tables. */
static void table_estimates(const float *query, uint32_t dim, const uint8_t *codes, double *e)
{
    const struct rt_scan_kernels *k = &rt_kernels()->scan;
    const uint32_t groups = rt_block_groups(dim);
    float *difference = floats((dim + 15) / 16 * 16);
    uint8_t *entries = malloc((groups + 3) / 4 * 64);
    uint8_t *block = malloc(rt_block_code_bytes(dim));
    struct rt_scan_terms terms;
    k->table_terms(query, NULL, dim, difference, &terms);
    k->table_fill(difference, groups, terms.most, 255 / (2 * terms.most), entries);
    const double step = 2 * (double)terms.most / 255;
    for (uint32_t first = 0; first < ROWS; first += RT_BLOCK_ROWS) {
        uint32_t sums[32];
        uint32_t n = ROWS - first < RT_BLOCK_ROWS ? ROWS - first : RT_BLOCK_ROWS;
        memset(block, 0, rt_block_code_bytes(dim));
        for (uint32_t r = 0; r < n; r++)
            rt_block_put(block, dim, r, codes + (first + r) * rt_code_bytes(dim));
        k->block_sums(entries, block, groups, sums);
        for (uint32_t r = 0; r < n; r++)
            e[first + r] = step * sums[r] - (double)terms.most * groups;
    }
    free(difference);
    free(entries);
    free(block);
}

static struct coverage cover(uint32_t dim, uint32_t sparse, rotate_fn *rotate)
{
    static const double epsilon[3] = {1, 1.9, 2.5};
    const double one = 100.0 / ((double)ROWS * QUERIES * ROTATIONS);
    struct coverage c = {{0}, 0, 0, 0, 1};
    float *rows = floats((size_t)ROWS * dim);
    float *queries = floats((size_t)QUERIES * dim);
    float *signs = floats((size_t)ROWS * dim);
    uint8_t *codes = malloc((size_t)ROWS * rt_code_bytes(dim));
    float factors[3 * ROWS];
    double e[ROWS];
    for (uint64_t rotation = 0; rotation < ROTATIONS; rotation++) {
        draw_rows(dim, sparse, SEED, rows);
        for (size_t i = 0; i < (size_t)QUERIES * dim; i++)
            queries[i] = draw_normal(SEED + 1, i, dim);
        rotate(SEED + rotation, dim, rows, ROWS);
        rotate(SEED + rotation, dim, queries, QUERIES);
        encode_rows(rows, ROWS, dim, codes, signs, factors);
        for (size_t r = 0; r < ROWS; r++) {
            double x0 = sqrt((double)factors[3 * r] / dim) / (double)factors[3 * r + 1];
            c.x0_mean += x0 / (ROWS * ROTATIONS);
            c.x0_least = fmin(c.x0_least, x0);
        }
        for (size_t q = 0; q < QUERIES; q++) {
            const float *query = queries + q * dim;
            const double norm = sqrt(product(query, query, dim));
            double most = 0;
            for (uint32_t i = 0; i < dim; i += 4) {
                double entry = 0;
                for (uint32_t j = i; j < i + 4 && j < dim; j++)
                    entry += fabs((double)query[j]);
                most = fmax(most, entry);
            }
            table_estimates(query, dim, codes, e);
            for (size_t r = 0; r < ROWS; r++) {
                const double exact = product(signs + r * dim, query, dim);
                const double truth = product(rows + r * dim, query, dim);
                const double unit = (double)factors[3 * r + 2] * norm;
                const double error = exact * (double)factors[3 * r + 1] - truth;
                for (int i = 0; i < 3; i++)
                    c.below[i] += error < -epsilon[i] * unit ? one : 0;
                c.both += fabs(error) > 1.9 * unit ? one : 0;
                c.tables += e[r] * (double)factors[3 * r + 1] - truth < -1.9 * unit ? one : 0;
                /* the rounding of tables: at most half a step a group */
                if (!(fabs(e[r] - exact) <=
                      rt_block_groups(dim) * most / 255 * 1.00001 + 1e-5 * norm))
                    RT_TEST_FAILED("e from the table is off by %g", e[r] - exact);
            }
        }
    }
    free(rows);
    free(queries);
    free(signs);
    free(codes);
    return c;
}

static int within(double value, double low, double high, const char *what, uint32_t dim)
{
    if (value >= low && value <= high)
        return 1;
    RT_TEST_FAILED("%s at %u dimensions: %.3f %%, not %.2f..%.2f (seed %d)", what, dim, value, low,
                   high, SEED);
    return 0;
}

RT_TEST("Gaussian rows: 2.85 % of true distances lie below the bound at epsilon 1.9, and tables "
        "hardly add to it")
{
    static const uint32_t dims[] = {96, 128, 768};
    for (size_t d = 0; d < 3; d++) {
        struct coverage c = cover(dims[d], 0, rotate_well);
        within(c.below[1], 2.4, 3.3, "below", dims[d]);
        within(c.both, 4.9, 6.6, "two-sided", dims[d]);
        within(c.tables - c.below[1], -0.3, 0.3, "change by tables", dims[d]);
        if (dims[d] == 128) {
            within(c.below[0], 14.96, 16.96, "below at epsilon 1", 128);
            within(c.below[2], 0.34, 0.84, "below at epsilon 2.5", 128);
        }
    }
}

/* One-hot rows must be spread over all dimensions: x0 near that of Gaussian rows (0.785 and more),
 * none far off. */
static int is_spread(const struct coverage *c)
{
    return c->x0_mean > 0.77 && c->x0_mean < 0.82 && c->x0_least > 0.6;
}

RT_TEST("one-hot and 4-sparse rows are covered as well, since they are rotated")
{
    static const uint32_t dims[] = {96, 100, 768, 1536};
    for (size_t d = 0; d < 4; d++)
        for (uint32_t sparse = 1; sparse <= 4; sparse += 3) {
            struct coverage c = cover(dims[d], sparse, rotate_well);
            within(c.below[1], 2.3, 3.4, sparse == 1 ? "one-hot" : "4-sparse", dims[d]);
            CHECK(is_spread(&c));
        }
}

RT_TEST("that check notices a rotation of one round, and none")
{
    struct coverage once = cover(768, 1, rotate_once);
    struct coverage never = cover(768, 1, rotate_not);
    CHECK(!is_spread(&once) && once.x0_mean < 0.7);
    CHECK(!is_spread(&never) && fabs(never.x0_mean - 1 / sqrt(768)) < 1e-6);
}

/* ---- the whole search ---- */

struct lies { /* shares of rows whose bound is above their distance */
    double all, of_top10;
};

/* Measures every probed row of every query. */
static struct lies count_lies(struct memory_index *x, uint32_t n_probes, float epsilon)
{
    const struct index_shape *s = &x->shape;
    const uint32_t k = s->n_rows;
    struct rt_scan_source source = index_source(x);
    struct rt_scan_options options = {k, epsilon, false, 1, n_probes, 0};
    struct rt_scanner *scanner = NULL;
    struct rt_hit *hits = malloc(k * sizeof *hits);
    uint32_t *lists = index_probes(x, n_probes);
    uint64_t n_all = 0;
    uint64_t n_lies = 0;
    uint64_t n_top = 0;
    MUST(rt_scanner_new(&source, &options, &scanner, err));
    for (size_t q = 0; q < s->n_queries; q++) {
        struct rt_scan_batch batch = {.n_queries = 1,
                                      .n_probes = n_probes,
                                      .queries = x->queries + q * s->dim,
                                      .rotated = x->rotated_queries + q * s->dim,
                                      .lists = lists + q * n_probes,
                                      .n_parts = 1};
        MUST(rt_scan(scanner, &batch, hits, NULL, err));
        rt_topk_show(hits, k);
        for (uint32_t i = 0; i < k && hits[i].id != RT_NO_ID; i++) {
            bool lie = hits[i].key > hits[i].distance;
            n_all++;
            n_lies += lie;
            n_top += lie && i < 10;
        }
    }
    rt_scanner_free(scanner);
    free(hits);
    free(lists);
    return (struct lies){(double)n_lies / (double)n_all, (double)n_top / (10.0 * s->n_queries)};
}

RT_TEST(
    "a common offset does not break the bounds, under any metric: tables are made for each list")
{
    for (int metric = RT_L2; metric <= RT_COSINE; metric++) {
        /* |c| = 100, rows and queries 0.6 around it */
        struct index_shape shape = {SEED,   (enum rt_metric)metric,
                                    RT_F32, true,
                                    128,    4000,
                                    1,      60,
                                    0,      0.053f,
                                    8.84f,  1,
                                    false,  0};
        struct memory_index *x = index_new(shape);
        struct lies lies = count_lies(x, 1, 1.9f);
        within(100 * lies.all, 1, 3.5, rt_metric_name((enum rt_metric)metric), 128);
        index_free(x);
    }
}

RT_TEST("clustered rows: few bounds lie, fewer of true neighbours; lazy rerank finds what exact "
        "ranking of the lists does")
{
    struct index_shape shape = {SEED, RT_L2, RT_F32, true, 128, 20000, 64,
                                60,   12,    0.7f,   0,    1,   false, 0};
    struct memory_index *x = index_new(shape);
    enum { PROBES = 12, K = 10 };
    uint32_t *lists = index_probes(x, PROBES);
    struct lies lies = count_lies(x, PROBES, 1.9f);
    within(100 * lies.all, 1, 3.5, "lies", 128);
    within(100 * lies.of_top10, 0, 1.5, "lies of true neighbours", 128);
    for (int e = 0; e < 2; e++) {
        struct rt_scan_source source = index_source(x);
        struct rt_scan_options options = {K, e ? 4 : 1.9f, false, 60, PROBES, 0};
        struct rt_scan_batch batch = {.n_queries = 60,
                                      .n_probes = PROBES,
                                      .queries = x->queries,
                                      .rotated = x->rotated_queries,
                                      .lists = lists,
                                      .n_parts = 1};
        struct rt_scanner *scanner = NULL;
        struct rt_hit hits[60 * K];
        struct rt_scan_count counts[60];
        int found = 0;
        uint64_t reranked = 0;
        MUST(rt_scanner_new(&source, &options, &scanner, err));
        MUST(rt_scan(scanner, &batch, hits, counts, err));
        for (size_t q = 0; q < 60; q++) {
            struct rt_hit truth[K];
            index_brute_force(x, q, lists + q * PROBES, PROBES, K, truth);
            for (int i = 0; i < K; i++)
                for (int j = 0; j < K; j++)
                    found += truth[i].id == hits[q * K + (size_t)j].id;
            for (size_t i = 1; i < K && e; i++)
                CHECK(hits[q * K + i].distance >=
                      hits[q * K + i - 1].distance); /* in order as they come */
            reranked += counts[q].reranked;
        }
        CHECK(found >= 60 * K * (e ? 1.0 : 0.99));
        CHECK(reranked < 60 * (e ? 2000 : 300)); /* lazy: far from all */
        rt_scanner_free(scanner);
    }
    free(lists);
    index_free(x);
}

/* ---- identities with rounding ---- */

RT_TEST("v = u gives |u|^2; a query of zero gives rough = |u|^2 and no error")
{
    enum { DIM = 768 };
    static float u[DIM];
    float signs[DIM];
    uint8_t code[DIM / 8];
    float f[3];
    float difference[DIM];
    struct rt_scan_terms terms;
    for (uint32_t i = 0; i < DIM; i++)
        u[i] = draw_normal(SEED, 3, i);
    encode_rows(u, 1, DIM, code, signs, f);
    CHECK(fabs(product(signs, u, DIM) * (double)f[1] / (double)f[0] - 1) < 1e-6);
    memset(u, 0, sizeof u);
    rt_kernels()->scan.table_terms(u, NULL, DIM, difference, &terms);
    CHECK(terms.square == 0 && terms.most == 0);
}

RT_TEST(
    "bounds of unit rows agree between l2 and ip: l2 = 2 + 2 ip; without and with residual alike")
{
    for (int residual = 0; residual < 2; residual++)
        for (int e = 0; e < 2; e++) {
            struct index_shape shape = {SEED, RT_COSINE, RT_F32, residual, 96, 600,  2,
                                        10,   0,         0.7f,   0.1f,     1,  true, 0};
            struct memory_index *l2 = index_new(shape);
            shape.metric = RT_IP;
            struct memory_index *ip = index_new(shape);
            struct memory_index *both[2] = {l2, ip};
            static struct rt_hit hits[2][10 * 600];
            uint32_t lists[20];
            for (size_t i = 0; i < 20; i++)
                lists[i] = i % 2;
            for (int m = 0; m < 2; m++) {
                struct rt_scan_source source = index_source(both[m]);
                struct rt_scan_options options = {600, (float)e, false, 10, 2, 0};
                struct rt_scan_batch batch = {.n_queries = 10,
                                              .n_probes = 2,
                                              .queries = both[m]->queries,
                                              .rotated = both[m]->rotated_queries,
                                              .lists = lists,
                                              .n_parts = 1};
                struct rt_scanner *scanner = NULL;
                MUST(rt_scanner_new(&source, &options, &scanner, err));
                MUST(rt_scan(scanner, &batch, hits[m], NULL, err));
                rt_scanner_free(scanner);
            }
            uint64_t n_bounds = 0;
            for (size_t i = 0; i < 10 * 600; i++) {
                n_bounds += hits[0][i].key > hits[0][i].distance;
                CHECK(fabsf(hits[0][i].key - (2 + 2 * hits[1][i].key)) < 1e-5f);
            }
            CHECK(n_bounds > 600); /* keys are bounds often enough to say something */
            index_free(l2);
            index_free(ip);
        }
}

RT_TEST_MAIN()
