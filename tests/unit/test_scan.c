#include "core/kernels/kernels.h"
#include "tests/rt_test.h"
#include "tests/unit/memory_index.h"

#include <float.h>

#define MOST_GROUPS 1100
#define MOST (4 * MOST_GROUPS)

static const uint32_t dims[] = {1,   2,   3,   4,   5,   15,  16,   17,  31,
                                100, 127, 128, 129, 200, 768, 1025, 4097};
#define N_DIMS (sizeof dims / sizeof *dims)

static float vector_a[MOST + 16];
static float vector_b[MOST + 16];
static float difference[MOST + 16];
static uint8_t entries[MOST_GROUPS * 16];
static uint8_t other_entries[MOST_GROUPS * 16];
static uint8_t block[MOST_GROUPS * 16];

/* By a table of distances, of one row. */
static float row_distance(rt_row_distances *distances, const float *query, const void *row,
                          size_t dim)
{
    float out = NAN;
    distances(query, &row, 1, dim, &out);
    return out;
}

static void draw(uint64_t seed, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(int64_t)rt_random(seed, RT_RANDOM_TEST, i, 0, 0) * 0x1p-62f;
}

/* Calls the body with every instruction set of this machine. */
#define EACH_ISA(name)                                                                             \
    for (int isa_##name = 0; isa_##name < RT_N_ISAS; isa_##name++)                                 \
        for (struct rt_kernels name = pick(isa_##name); name.scan.scan; name.scan.scan = NULL)

static struct rt_kernels pick(int isa)
{
    struct rt_kernels table;
    memset(&table, 0, sizeof table);
    if (rt_isa_is_here((enum rt_isa)isa))
        rt_kernels_of((enum rt_isa)isa, &table);
    return table;
}

/* ---- kernels ---- */

/* Sums of table look-ups by the definition of a code's nibbles, row by row out of the block. */
static void look_up(const uint8_t *table, uint32_t n_groups, uint32_t *sums)
{
    uint8_t code[MOST_GROUPS];
    for (uint32_t row = 0; row < RT_BLOCK_ROWS; row++) {
        rt_block_get(block, 4 * n_groups, row, code);
        sums[row] = 0;
        for (uint32_t g = 0; g < n_groups; g++)
            sums[row] += table[16 * g + (code[g / 2] >> g % 2 * 4 & 15)];
    }
}

RT_TEST("every kernel's 32 sums are the sums of table look-ups, across the 16-bit border too")
{
    static const uint32_t groups[] = {1,   2,   3,   4,   5,   7,   25,  32,  192,
                                      255, 256, 257, 258, 260, 511, 514, 1025};
    for (size_t n = 0; n < sizeof groups / sizeof *groups; n++)
        for (int full = 0; full < 2; full++) {
            uint32_t expected[32];
            uint32_t sums[32];
            size_t bytes = (size_t)groups[n] * 16;
            memset(entries, 0, sizeof entries);
            for (size_t i = 0; i < bytes; i++) {
                uint64_t bits = rt_random(n, RT_RANDOM_TEST, i, 0, 0);
                block[i] = (uint8_t)bits;
                entries[i] = full ? 255 : (uint8_t)(bits >> 8);
            }
            look_up(entries, groups[n], expected);
            CHECK(!full || expected[31] == 255 * groups[n]);
            EACH_ISA(kernels)
            {
                kernels.scan.block_sums(entries, block, groups[n], sums);
                CHECK(memcmp(sums, expected, sizeof sums) == 0);
            }
        }
}

RT_TEST("a wrong order of nibbles is noticed by that check")
{
    uint32_t expected[32];
    uint32_t sums[32];
    for (size_t i = 0; i < 32 * 16; i++) {
        block[i] = (uint8_t)rt_random(3, RT_RANDOM_TEST, i, 0, 0);
        entries[i] = (uint8_t)rt_random(4, RT_RANDOM_TEST, i, 0, 0);
    }
    look_up(entries, 32, expected);
    for (size_t i = 0; i < 32 * 16; i++)
        block[i] = (uint8_t)(block[i] >> 4 | block[i] << 4);
    rt_kernels()->scan.block_sums(entries, block, 32, sums);
    CHECK(memcmp(sums, expected, sizeof sums) != 0);
}

RT_TEST("a table's terms are distance, product and greatest entry, the same bits in every kernel")
{
    for (size_t d = 0; d < N_DIMS; d++)
        for (int with = 0; with < 2; with++) {
            size_t dim = dims[d];
            size_t padded = (dim + 15) / 16 * 16;
            struct rt_scan_terms first = {0, 0, 0};
            float expected[MOST + 16];
            double square = 0;
            draw(d, dim, vector_a);
            draw(d + 50, dim, vector_b);
            for (size_t i = 0; i < padded; i++) {
                expected[i] = i >= dim ? 0 : with ? vector_a[i] - vector_b[i] : vector_a[i];
                square += (double)expected[i] * (double)expected[i];
            }
            EACH_ISA(kernels)
            {
                struct rt_scan_terms terms;
                memset(difference, 0xff, sizeof difference);
                kernels.scan.table_terms(vector_a, with ? vector_b : NULL, dim, difference, &terms);
                CHECK(memcmp(difference, expected, padded * sizeof(float)) == 0);
                if (kernels.isa == RT_ISA_PORTABLE)
                    first = terms;
                CHECK(memcmp(&first, &terms, sizeof terms) == 0);
                CHECK(fabs((double)terms.square - square) <= 1e-5 * square);
                CHECK(with || terms.dot == 0);
                CHECK(!with || terms.dot == -row_distance(kernels.scan.rows_ip[RT_F32], vector_a,
                                                          vector_b, dim));
                CHECK(!with || terms.square == row_distance(kernels.scan.rows_l2[RT_F32], vector_a,
                                                            vector_b, dim));
            }
        }
}

/* T[g][m] in f64 */
static double exact_entry(size_t g, unsigned m)
{
    double sum = 0;
    for (unsigned j = 0; j < 4; j++)
        sum += (double)difference[4 * g + j] * (m >> j & 1 ? 1 : -1);
    return sum;
}

RT_TEST(
    "entries are (T - lo)/k rounded, in 0..255, and zero in the padding; the same in every kernel")
{
    for (size_t d = 0; d < N_DIMS; d++) {
        uint32_t n_groups = rt_block_groups(dims[d]);
        struct rt_scan_terms terms;
        double most = 0;
        draw(d + 9, dims[d], vector_a);
        rt_kernels()->scan.table_terms(vector_a, NULL, dims[d], difference, &terms);
        for (size_t g = 0; g < n_groups; g++)
            for (unsigned m = 0; m < 16; m++) {
                CHECK(exact_entry(g, m) == -exact_entry(g, 15 - m));
                most = fmax(most, exact_entry(g, m));
            }
        CHECK(fabs(most - (double)terms.most) <= 1e-6 * most);
        double k = 2 * most / 255;
        memset(other_entries, 0xcc, sizeof other_entries);
        EACH_ISA(kernels)
        {
            memset(entries, 0xcc, sizeof entries);
            kernels.scan.table_fill(difference, n_groups, terms.most, 255 / (2 * terms.most),
                                    entries);
            for (size_t g = 0; g < n_groups; g++)
                for (unsigned m = 0; m < 16; m++)
                    CHECK(fabs(entries[16 * g + m] * k - most - exact_entry(g, m)) <= 0.5001 * k);
            for (size_t i = 16 * (size_t)n_groups; i < (n_groups + 3u) / 4 * 64; i++)
                CHECK(entries[i] == 0);
            if (kernels.isa == RT_ISA_PORTABLE)
                memcpy(other_entries, entries, sizeof entries);
            CHECK(memcmp(entries, other_entries, sizeof entries) == 0);
        }
    }
}

RT_TEST(
    "bounds are the stated expression, and kept are those up to tau, the same bits in every kernel")
{
    enum { GROUPS = 33, BLOCKS = 3, FACTORS = 4 };
    static float factors[BLOCKS * FACTORS * 32];
    static uint8_t codes[BLOCKS * GROUPS * 16];
    for (int ip = 0; ip < 2; ip++) {
        uint32_t n_factors = ip ? 4 : 3;
        struct rt_scan_table table = {.entries = entries,
                                      .n_groups = GROUPS,
                                      .n_factors = n_factors,
                                      .first = ip ? 3 : 0,
                                      .scale = 0.013f,
                                      .base = -50,
                                      .offset = 7.7f,
                                      .width = 3.1f};
        memset(entries, 0, sizeof entries);
        draw(1, sizeof factors / sizeof *factors, factors);
        for (size_t i = 0; i < sizeof codes; i++)
            codes[i] = (uint8_t)rt_random(2, RT_RANDOM_TEST, i, 0, 0);
        for (size_t i = 0; i < GROUPS * 16; i++)
            entries[i] = (uint8_t)rt_random(3, RT_RANDOM_TEST, i, 0, 0);
        factors[32 + 3] = NAN;      /* row 3: NaN */
        factors[64 + 4] = -FLT_MAX; /* row 4: +infinity */
        EACH_ISA(kernels)
        {
            float bounds[BLOCKS * 32];
            uint32_t kept[BLOCKS];
            uint32_t sums[32];
            const float tau = 7.5f;
            kernels.scan.scan(&table, codes, factors, BLOCKS, tau, bounds, kept);
            for (size_t b = 0; b < BLOCKS; b++) {
                const float *f = factors + b * n_factors * 32;
                kernels.scan.block_sums(entries, codes + b * GROUPS * 16, GROUPS, sums);
                for (size_t r = 0; r < 32; r++) {
                    float e = table.scale * (float)sums[r];
                    e += table.base;
                    float rough = f[32 * table.first + r] + table.offset;
                    float product = e * f[32 + r];
                    rough -= product;
                    product = f[64 + r] * table.width;
                    float bound = b == 0 && (r == 3 || r == 4) ? -INFINITY : rough - product;
                    CHECK(memcmp(&bound, &bounds[32 * b + r], 4) == 0);
                    CHECK((kept[b] >> r & 1) == (bound <= tau));
                }
            }
        }
    }
}

RT_TEST("distances to stored rows are E of B1 on the row as f32, for every element type and kernel")
{
    static float converted[MOST];
    static uint8_t stored[4 * MOST + 1];
    const struct rt_kernels *main_table = rt_kernels();
    for (int element = RT_F32; element <= RT_I8; element++)
        for (size_t d = 0; d < N_DIMS; d++) {
            size_t dim = dims[d];
            draw(d, dim, vector_a);
            for (size_t i = 0; i < dim; i++)
                vector_b[i] = 60 * (vector_a[i] + 0.3f);
            rt_element_from_f32((enum rt_element)element, vector_b, stored + 1,
                                dim); /* unaligned */
            rt_element_to_f32((enum rt_element)element, stored + 1, converted, dim);
            float l2 = main_table->l2(vector_a, converted, dim);
            float ip = main_table->ip(vector_a, converted, dim);
            if (rt_metric_prepare_row(RT_COSINE, converted, dim) != RT_ROW_GOOD)
                continue;
            float cosine = main_table->l2(vector_a, converted, dim);
            EACH_ISA(kernels)
            {
                const struct rt_scan_kernels *scan = &kernels.scan;
                CHECK(row_distance(scan->rows_l2[element], vector_a, stored + 1, dim) == l2);
                CHECK(row_distance(scan->rows_ip[element], vector_a, stored + 1, dim) == ip);
                CHECK(row_distance(scan->rows_cosine[element], vector_a, stored + 1, dim) ==
                      cosine);
            }
        }
}

RT_TEST("distances to many rows are those to each of them")
{
    enum { ROWS = 11, DIM = 45 };
    static uint8_t stored[ROWS * 4 * DIM];
    const void *rows[ROWS];
    for (int element = RT_F32; element <= RT_I8; element++) {
        draw(5, DIM, vector_a);
        draw(6, ROWS * DIM, vector_b);
        rt_element_from_f32((enum rt_element)element, vector_b, stored, ROWS * DIM);
        for (size_t r = 0; r < ROWS; r++) /* in no order */
            rows[r] = stored + r * 4 % ROWS * DIM * rt_element_size((enum rt_element)element);
        EACH_ISA(kernels)
        {
            rt_row_distances *const all[] = {kernels.scan.rows_l2[element],
                                             kernels.scan.rows_ip[element],
                                             kernels.scan.rows_cosine[element]};
            for (size_t f = 0; f < 3; f++)
                for (size_t n = 0; n <= ROWS; n++) {
                    float out[ROWS + 1];
                    out[n] = 77;
                    all[f](vector_a, rows, n, DIM, out);
                    for (size_t r = 0; r < n; r++) {
                        float one = row_distance(all[f], vector_a, rows[r], DIM);
                        CHECK(memcmp(&out[r], &one, sizeof one) == 0);
                    }
                    CHECK(out[n] == 77);
                }
        }
    }
}

RT_TEST("bounds between two, and bounds to begin with, are the same in every instruction set")
{
    enum { BLOCKS = 5 };
    float bounds[32 * BLOCKS];
    uint32_t kept[BLOCKS];
    draw(9, 32 * BLOCKS, bounds);
    bounds[7] = -INFINITY;
    bounds[40] = INFINITY;
    bounds[41] = bounds[42];
    const float lows[] = {NAN, -INFINITY, bounds[41], INFINITY};
    EACH_ISA(kernels)
    {
        for (size_t low = 0; low < 4; low++)
            for (size_t high = 0; high < 48; high++) {
                kernels.scan.between(bounds, BLOCKS, lows[low], bounds[high], kept);
                for (size_t r = 0; r < 32 * BLOCKS; r++) {
                    bool is_kept = bounds[r] <= bounds[high] && !(bounds[r] <= lows[low]);
                    CHECK((kept[r / 32] >> r % 32 & 1) == is_kept);
                }
            }
        for (size_t n = 1; n <= 32 * BLOCKS; n++)
            for (uint32_t most = 1; most <= 16 && most <= n; most++) {
                float at = kernels.scan.seed(bounds, n, most);
                uint32_t n_below = 0;
                for (size_t i = 0; i < n; i++)
                    n_below += bounds[i] <= at;
                CHECK(n_below >= most);
                CHECK(at == rt_kernels()->scan.seed(bounds, n, most));
            }
    }
}

/* ---- the engine ---- */

struct found {
    struct rt_hit *hits;
    struct rt_scan_count *counts;
};

static void found_free(struct found *f)
{
    free(f->hits);
    free(f->counts);
}

struct how { /* to search */
    uint32_t k, n_probes, batch, buffer, n_parts;
    float epsilon;
    bool exact;
    bool in_order; /* all together, by nearest list */
};

static void sum_counts(struct rt_scan_count *sum, const struct rt_scan_count *part, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum[i].lists += part[i].lists;
        sum[i].rows += part[i].rows;
        sum[i].reranked += part[i].reranked;
    }
}

/* All queries by their nearest lists, some together. */
static void search_in_order(struct rt_scanner *scanner, struct rt_scan_batch batch,
                            uint32_t n_lists, uint32_t together, struct found *f)
{
    const size_t n = batch.n_queries;
    uint64_t *scratch = malloc(2 * n * sizeof *scratch);
    uint32_t *order = malloc(n * sizeof *order);
    rt_scan_order(batch.lists, n, batch.n_probes, n_lists, scratch, order);
    for (size_t i = 0; i < n; i += together) {
        CHECK(i == 0 || batch.lists[(size_t)order[i - 1] * batch.n_probes] <=
                            batch.lists[(size_t)order[i] * batch.n_probes]);
        batch.n_queries = n - i < together ? n - i : together;
        batch.order = order + i;
        MUST(rt_scan(scanner, &batch, f->hits, f->counts, err));
    }
    free(scratch);
    free(order);
}

/* All parts of one batch, in turn, in two rounds as ranks do it. */
static void search_parts(struct rt_scanner **scanners, struct rt_scan_batch batch, uint32_t k,
                         struct rt_hit *hits, struct rt_scan_count *counts)
{
    size_t n = batch.n_queries * k;
    struct rt_hit *some = malloc(n * sizeof *some);
    struct rt_hit *merged = malloc(n * sizeof *merged);
    struct rt_scan_count *cost = malloc(batch.n_queries * sizeof *cost);
    float *tau = malloc(batch.n_queries * sizeof *tau);
    for (int round = 1; round <= 2; round++)
        for (batch.part = 0; batch.part < batch.n_parts; batch.part++) {
            if (round == 1)
                MUST(rt_scan_round1(scanners[batch.part], &batch, some, err));
            else
                MUST(rt_scan_round2(scanners[batch.part], tau, some, cost, err));
            for (size_t q = 0; q < batch.n_queries; q++)
                if (batch.part > 0)
                    rt_topk_merge(hits + q * k, some + q * k, k, merged + q * k);
            memcpy(hits, batch.part > 0 ? merged : some, n * sizeof *hits);
            for (size_t q = 0; q < batch.n_queries && round == 1; q++)
                tau[q] = hits[q * k + k - 1].key;
            if (round == 2)
                sum_counts(counts, cost, batch.n_queries);
        }
    free(some);
    free(merged);
    free(cost);
    free(tau);
}

static struct found search(struct memory_index *x, struct how how, const uint32_t *lists)
{
    const struct index_shape *s = &x->shape;
    struct rt_scan_source source = index_source(x);
    struct rt_scan_options options = {how.k,     how.epsilon,  how.exact,
                                      how.batch, how.n_probes, how.buffer};
    struct rt_scanner *scanners[8];
    struct found f = {malloc((size_t)s->n_queries * how.k * sizeof *f.hits),
                      calloc(s->n_queries, sizeof *f.counts)};
    size_t before = rt_memory_now();
    for (uint32_t p = 0; p < how.n_parts; p++)
        MUST(rt_scanner_new(&source, &options, &scanners[p], err));
    if (rt_memory_now() - before != how.n_parts * rt_scanner_bytes(&source, &options))
        RT_TEST_FAILED("a scanner's bytes are not as announced");
    if (how.in_order) {
        struct rt_scan_batch all = {.n_queries = s->n_queries,
                                    .n_probes = how.n_probes,
                                    .queries = x->queries,
                                    .rotated = x->rotated_queries,
                                    .lists = lists,
                                    .n_parts = 1};
        search_in_order(scanners[0], all, s->n_lists, how.batch, &f);
    }
    for (size_t q = 0; q < s->n_queries && !how.in_order; q += how.batch) {
        struct rt_scan_batch batch = {.n_queries = s->n_queries - q < how.batch ? s->n_queries - q
                                                                                : how.batch,
                                      .n_probes = how.n_probes,
                                      .queries = x->queries + q * s->dim,
                                      .rotated = x->rotated_queries + q * s->dim,
                                      .lists = lists + q * how.n_probes,
                                      .n_parts = how.n_parts};
        if (how.n_parts == 1)
            MUST(rt_scan(scanners[0], &batch, f.hits + q * how.k, f.counts + q, err));
        else
            search_parts(scanners, batch, how.k, f.hits + q * how.k, f.counts + q);
    }
    for (uint32_t p = 0; p < how.n_parts; p++)
        rt_scanner_free(scanners[p]);
    return f;
}

static int same_hits(const struct rt_hit *a, const struct rt_hit *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].key != b[i].key || a[i].distance != b[i].distance || a[i].id != b[i].id)
            return 0;
    return 1;
}

static const struct index_shape shapes[] = {
    {1, RT_L2, RT_U8, true, 128, 3000, 24, 40, 0, 0.5f, 3, 40, false, 5},
    {2, RT_COSINE, RT_F16, true, 100, 2500, 16, 40, 0, 0.8f, 0.2f, 1, false, 3},
    {3, RT_IP, RT_F32, true, 37, 2500, 20, 40, 0, 0.8f, 0, 3, false, 0},
    {4, RT_L2, RT_I8, false, 65, 2000, 9, 40, 0, 0.5f, 0, 30, false, 4},
    {5, RT_IP, RT_F16, false, 128, 2000, 12, 40, 0, 0.7f, 0, 1, false, 2},
    {6, RT_COSINE, RT_I8, false, 130, 1500, 7, 40, 0, 0.7f, 0, 30, false, 7},
    {7, RT_L2, RT_F32, true, 1, 700, 5, 40, 0, 0.5f, 0, 1, false, 3},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

RT_TEST("with bounds of minus infinity the answer is brute force over the probed lists")
{
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct memory_index *x = index_new(shapes[i]);
        for (uint32_t k = 1; k <= 5000; k = k * 17 + 2) { /* 1, 19, 325 */
            struct how how = {k, 5, 16, k > 100 ? 64 : 0, 1, 1.9f, true, false};
            uint32_t *lists = index_probes(x, how.n_probes);
            struct found f = search(x, how, lists);
            struct rt_hit *expected = malloc(k * sizeof *expected);
            for (size_t q = 0; q < shapes[i].n_queries; q++) {
                index_brute_force(x, q, lists + q * how.n_probes, how.n_probes, k, expected);
                CHECK(same_hits(f.hits + q * k, expected, k));
                CHECK(f.counts[q].reranked <= f.counts[q].rows &&
                      f.counts[q].lists <= how.n_probes);
            }
            free(expected);
            free(lists);
            found_free(&f);
        }
        index_free(x);
    }
}

RT_TEST("answers do not depend on batch, buffer, parts, order of lists or instruction set")
{
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct memory_index *x = index_new(shapes[i]);
        const size_t n_queries = shapes[i].n_queries;
        enum { PROBES = 5 };
        uint32_t *lists = index_probes(x, PROBES);
        for (int e = 0; e < 3; e++) { /* epsilon 0.3: half of the bounds lie */
            const float epsilon = (float[]){0.3f, 1.9f, 4}[e];
            const struct how plain = {10, PROBES, 40, 0, 1, epsilon, false, false};
            struct found first = search(x, plain, lists);
            for (uint32_t other = 0; other < 9; other++) {
                struct how how = plain;
                how.batch = (uint32_t[]){1, 3, 40, 7, 40, 16, 2, 7, 40}[other];
                how.n_parts = (uint32_t[]){1, 1, 2, 3, 7, 7, 2, 1, 1}[other];
                how.buffer = (uint32_t[]){0, 64, 0, 64, 0, 100, 64, 0, 64}[other];
                how.in_order = other > 6;
                x->vectors_last = other % 2;
                struct found f = search(x, how, lists);
                CHECK(same_hits(first.hits, f.hits, n_queries * how.k));
                for (size_t q = 0; q < n_queries; q++) {
                    CHECK(first.counts[q].rows == f.counts[q].rows);
                    CHECK(first.counts[q].lists == f.counts[q].lists);
                }
                found_free(&f);
            }
            uint32_t *backward = malloc(n_queries * PROBES * sizeof *backward);
            for (size_t q = 0; q < n_queries; q++)
                for (size_t p = 0; p < PROBES; p++)
                    backward[q * PROBES + p] = lists[q * PROBES + PROBES - 1 - p];
            struct found f = search(x, plain, backward);
            CHECK(same_hits(first.hits, f.hits, n_queries * plain.k));
            found_free(&f);
            free(backward);
            found_free(&first);
        }
        free(lists);
        index_free(x);
    }
}

RT_TEST("rows that move while vectors are on their way keep their names")
{
    enum { PROBES = 5, K = 150 };
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct memory_index *x = index_new(shapes[i]);
        uint32_t *lists = index_probes(x, PROBES);
        struct how how = {K, PROBES, 40, 4096, 1, 1.9f, false, false};
        struct found roomy = search(x, how, lists);
        x->vectors_last = true;
        how.buffer = 64;
        for (how.batch = 1; how.batch < 8; how.batch++) {
            struct found f = search(x, how, lists);
            CHECK(same_hits(roomy.hits, f.hits, shapes[i].n_queries * K));
            found_free(&f);
        }
        found_free(&roomy);
        free(lists);
        index_free(x);
    }
}

RT_TEST(
    "every row is in one part: all of them together scan and measure what one does, without bounds")
{
    struct memory_index *x = index_new(shapes[0]);
    uint32_t *lists = index_probes(x, 6);
    for (uint32_t parts = 1; parts <= 7; parts += 2) {
        struct how how = {3000, 6, 40, 0, parts, 1.9f, true, false};
        struct found f = search(x, how, lists);
        for (size_t q = 0; q < shapes[0].n_queries; q++)
            CHECK(f.counts[q].rows == f.counts[q].reranked && f.counts[q].lists == 6);
        found_free(&f);
    }
    free(lists);
    index_free(x);
}

RT_TEST("where reading is slow every list is expected before it is read, where it is not none is")
{
    struct memory_index *x = index_new(shapes[0]);
    uint32_t *lists = index_probes(x, 6);
    for (uint32_t parts = 1; parts <= 3; parts++)
        for (int slow = 0; slow < 2; slow++) {
            struct how how = {10, 6, 40, 0, parts, 1.9f, false, false};
            memset(x->expected, 0, sizeof x->expected);
            x->is_slow = slow;
            x->reads = x->unexpected = 0;
            struct found f = search(x, how, lists);
            CHECK(x->reads > 0 && x->unexpected == (slow ? 0 : x->reads));
            found_free(&f);
        }
    free(lists);
    index_free(x);
}

RT_TEST("dead rows are not found, and places without a row are empty")
{
    struct memory_index *x = index_new(shapes[1]);
    uint32_t *lists = index_probes(x, 2);
    x->dead_mask = 3;
    struct how how = {500, 2, 8, 64, 1, 1.9f, false, false};
    struct found f = search(x, how, lists);
    struct rt_hit *expected = malloc(how.k * sizeof *expected);
    for (size_t q = 0; q < shapes[1].n_queries; q++) {
        index_brute_force(x, q, lists + q * how.n_probes, how.n_probes, how.k, expected);
        rt_topk_show(f.hits + q * how.k, how.k);
        for (size_t i = 0; i < how.k; i++) {
            CHECK(f.hits[q * how.k + i].id ==
                  expected[i].id); /* all rows are in: by (distance, id) alike */
            CHECK(f.hits[q * how.k + i].id == RT_NO_ID || (f.hits[q * how.k + i].id & 3) != 0);
        }
        CHECK(f.hits[q * how.k + how.k - 1].id == RT_NO_ID &&
              isinf(f.hits[q * how.k + how.k - 1].distance));
    }
    free(expected);
    found_free(&f);
    free(lists);
    index_free(x);
}

RT_TEST("a batch reads each list at most twice; the places after UINT32_MAX are not probed")
{
    struct memory_index *x = index_new(shapes[0]);
    uint32_t *lists = index_probes(x, 6);
    struct how how = {10, 6, 40, 0, 1, 1.9f, false, false};
    for (size_t q = 0; q < shapes[0].n_queries; q++)
        lists[q * 6 + 4] = UINT32_MAX;
    struct found f = search(x, how, lists);
    CHECK(x->reads <= 2 * (uint64_t)shapes[0].n_lists);
    for (size_t q = 0; q < shapes[0].n_queries; q++)
        CHECK(f.counts[q].lists == 4);
    found_free(&f);
    free(lists);
    index_free(x);
}

RT_TEST("a query without lists has no neighbours; identical rows come in order of id")
{
    struct index_shape same = {11, RT_L2, RT_U8, true, 20, 200, 1, 3, 0, 0, 0, 0, false, 0};
    struct memory_index *x = index_new(same);
    uint32_t lists[3] = {0, 0, UINT32_MAX};
    struct how how = {50, 1, 3, 64, 1, 1.9f, false, false};
    struct found f = search(x, how, lists);
    for (size_t i = 1; i < how.k; i++)
        CHECK(f.hits[i].id > f.hits[i - 1].id && f.hits[i].distance == 0);
    CHECK(f.hits[2 * how.k].id == RT_NO_ID && f.counts[2].rows == 0);
    found_free(&f);
    index_free(x);
}

static enum rt_status refuse(void *context, const struct rt_place *places, size_t n,
                             const void **vectors, struct rt_error *err)
{
    (void)context, (void)places, (void)n, (void)vectors;
    return rt_error_set(err, RT_IO, __FILE__, __LINE__, "no vectors today");
}

RT_TEST("a failed read is passed on, and the scanner can be used again")
{
    struct rt_error err = {0};
    struct memory_index *x = index_new(shapes[0]);
    struct rt_scan_source source = index_source(x);
    struct rt_scan_options options = {5, 1.9f, false, 4, 1, 0};
    struct rt_scan_batch batch = {.n_queries = 4,
                                  .n_probes = 1,
                                  .queries = x->queries,
                                  .rotated = x->rotated_queries,
                                  .lists = (uint32_t[]){0, 1, 2, 3},
                                  .n_parts = 1};
    struct rt_scanner *scanner = NULL;
    struct rt_hit hits[20];
    source.read_vectors = refuse;
    CHECK_OK(rt_scanner_new(&source, &options, &scanner, &err));
    CHECK_STATUS(RT_IO, rt_scan(scanner, &batch, hits, NULL, &err));
    CHECK_STATUS(RT_IO, rt_scan(scanner, &batch, hits, NULL, &err));
    rt_scanner_free(scanner);
    index_free(x);
}

RT_TEST_MAIN()
