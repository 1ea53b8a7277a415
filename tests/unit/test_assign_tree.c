/* Assignment down a tree, against a descent that computes every distance. */
#include "tests/unit/assign_trials.h"

#include "core/descend.h"
#include "core/memory.h"

#include <inttypes.h>

/* A tree over `centroids`: cell of a leaf by its number, uneven, every cell with at least one
 * child. */
#define MOST_TREE_DIM 401

struct coded {
    int codes[MOST_TREE_DIM];
    float scale, norm2;
};

struct small_tree {
    struct rt_tree tree;
    float reference[MOST_TREE_DIM];
    struct coded *cells[3];
    float *centroids[3];
    uint32_t *first_child[3], *parent[3];
    struct rt_centroid_set *sets[3], *plain_sets[3];
};

static void make_level(struct small_tree *s, uint32_t l, uint32_t n, uint32_t n_below)
{
    s->first_child[l] = malloc((n + 1) * sizeof(uint32_t));
    for (uint32_t c = 0; c <= n; c++) { /* square spacing: cells of very different size */
        uint64_t spare = n_below - n;
        s->first_child[l][c] = c + (uint32_t)(spare * c * c / ((uint64_t)n * n));
    }
    s->parent[l + 1] = malloc(n_below * sizeof(uint32_t));
    for (uint32_t c = 0; c < n; c++)
        for (uint32_t i = s->first_child[l][c]; i < s->first_child[l][c + 1]; i++)
            s->parent[l + 1][i] = c;
}

/* B11, slowly: codes of x - reference, their scale, and the squares in the order of A4. */
static float code_of(const float *x, const float *reference, uint32_t dim, int *codes, float *norm2)
{
    float lanes[16] = {0};
    float top = 0;
    for (uint32_t i = 0; i < dim; i++) {
        float value = reference ? x[i] - reference[i] : x[i];
        top = fabsf(value) > top ? fabsf(value) : top;
        lanes[i % 16] += value * value;
    }
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    *norm2 = lanes[0];
    bool is_plain = top >= 0x1p-100f;
    for (uint32_t i = 0; i < dim; i++) {
        float value = reference ? x[i] - reference[i] : x[i];
        codes[i] = is_plain ? (int)rintf(value * (127.0f / top)) : 0;
    }
    return is_plain ? top / 127.0f : 0.0f;
}

/* The point that codes are about, and cells as codes. */
static void code_cells(struct small_tree *s)
{
    const uint32_t dim = s->tree.dim;
    const uint32_t n_top = s->tree.levels[0].n;
    for (uint32_t i = 0; i < dim; i++) {
        double sum = 0;
        for (uint32_t t = 0; t < n_top; t++)
            sum += (double)s->centroids[0][(size_t)t * dim + i];
        s->reference[i] = (float)(sum / (double)n_top);
    }
    for (uint32_t l = 0; l + 1 < s->tree.n_levels; l++) {
        const uint32_t n = s->tree.levels[l].n;
        s->cells[l] = malloc(n * sizeof *s->cells[l]);
        for (uint32_t c = 0; c < n; c++)
            s->cells[l][c].scale = code_of(s->centroids[l] + (size_t)c * dim, s->reference, dim,
                                           s->cells[l][c].codes, &s->cells[l][c].norm2);
    }
}

static void make_tree(const struct trial *t, const uint32_t *counts, uint32_t n_levels,
                      struct small_tree *s)
{
    memset(s, 0, sizeof *s);
    s->tree = (struct rt_tree){.dim = t->dim, .metric = t->metric, .n_levels = n_levels};
    for (uint32_t l = 0; l < n_levels; l++) {
        s->centroids[l] = numbers_of(t, 21 + l, counts[l]);
        if (l + 1 < n_levels)
            make_level(s, l, counts[l], counts[l + 1]);
        s->tree.levels[l] =
            (struct rt_level){counts[l], s->centroids[l], s->parent[l], s->first_child[l]};
    }
    for (uint32_t l = 0; l < n_levels; l++) {
        CHECK_OK(rt_level_set_new(&s->tree, l, t->metric, true, NULL, &s->sets[l], &err));
        if (l + 1 < n_levels)
            CHECK_OK(
                rt_level_set_new(&s->tree, l, t->metric, false, NULL, &s->plain_sets[l], &err));
        else
            CHECK_OK(rt_centroid_set_new(s->centroids[l], counts[l], t->dim, t->metric, NULL,
                                         &s->plain_sets[l], &err));
    }
    if (t->dim <= MOST_TREE_DIM)
        code_cells(s);
}

static float coded_distance(const struct small_tree *s, const struct coded *row,
                            const struct coded *cell)
{
    bool is_ip = s->tree.metric == RT_IP;
    int32_t p = 0;
    for (uint32_t i = 0; i < s->tree.dim; i++)
        p += row->codes[i] * cell->codes[i];
    float row_scale = row->scale * (is_ip ? -1 : -2);
    float scaled = cell->scale * (float)p;
    return (is_ip ? 0.0f : cell->norm2) + row_scale * scaled;
}

static uint32_t least_coded(const struct small_tree *s, uint32_t l, const float *row,
                            const uint32_t *numbers, uint32_t n, uint32_t count, uint32_t *out)
{
    float distances[MANY];
    bool is_taken[MANY] = {0};
    struct coded coded;
    coded.scale = code_of(row, s->tree.metric == RT_IP ? NULL : s->reference, s->tree.dim,
                          coded.codes, &coded.norm2);
    for (uint32_t i = 0; i < n; i++)
        distances[i] = coded_distance(s, &coded, &s->cells[l][numbers[i]]);
    count = count < n ? count : n;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < n; i++)
            if (!is_taken[i] && (best == UINT32_MAX || distances[i] < distances[best] ||
                                 (distances[i] == distances[best] && numbers[i] < numbers[best])))
                best = i;
        is_taken[best] = true;
        out[k] = numbers[best];
    }
    return count;
}

static void free_tree(struct small_tree *s)
{
    for (int l = 0; l < 3; l++) {
        free(s->centroids[l]), free(s->first_child[l]), free(s->parent[l]), free(s->cells[l]);
        rt_centroid_set_free(s->sets[l]);
        rt_centroid_set_free(s->plain_sets[l]);
    }
}

/* by_codes: cells are kept by B11, else by E. */
static void descend_plainly(const struct small_tree *s, const float *row, bool by_codes,
                            const uint32_t *beams, uint32_t count, uint32_t *out,
                            float *out_distance)
{
    uint32_t kept[MANY];
    uint32_t children[MANY];
    float distances[MANY];
    uint32_t n_children = s->tree.levels[0].n;
    for (uint32_t i = 0; i < n_children; i++)
        children[i] = i;
    for (uint32_t l = 0;; l++) {
        const struct rt_level *level = &s->tree.levels[l];
        if (l + 1 == s->tree.n_levels) {
            best_of(s->tree.metric, row, level->centroids, s->tree.dim, children, n_children, count,
                    out, out_distance);
            return;
        }
        uint32_t beam = beams[l] < n_children ? beams[l] : n_children;
        uint32_t n = by_codes ? least_coded(s, l, row, children, n_children, beam, kept)
                              : best_of(s->tree.metric, row, level->centroids, s->tree.dim,
                                        children, n_children, beam, kept, distances);
        n_children = 0;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = level->first_child[kept[i]]; c < level->first_child[kept[i] + 1]; c++)
                children[n_children++] = c;
    }
}

static void descend_rows(const struct trial *t, const struct rt_tree *tree, uint32_t beam,
                         const float *rows, uint32_t *list, float *out)
{
    struct rt_descent *descent = NULL;
    struct rt_descent_options options = {.tree = tree, .distance = t->metric, .beam = beam};
    CHECK_OK(rt_descent_new(&options, &descent, &err));
    for (size_t r = 0; r < t->n_rows; r++)
        CHECK_OK(rt_descend(descent, rows + r * t->dim, &list[r], &out[r], &err));
    rt_descent_free(descent);
}

enum way { BEST, LISTS, NEAREST, N_WAYS }; /* rt_assign_tree_best, _lists and rt_assign_tree */
static const char *const way_names[] = {"best of tree", "lists", "tree"};

static void sort_rows(uint32_t *list, size_t n_rows, uint32_t count)
{
    for (; n_rows > 0; n_rows--, list += count)
        for (uint32_t i = 1; i < count; i++)
            for (uint32_t at = i; at > 0 && list[at - 1] > list[at]; at--) {
                uint32_t swap = list[at];
                list[at] = list[at - 1];
                list[at - 1] = swap;
            }
}

/* One call of the kind, and what comes of it against what is expected: lists come in any order. */
static void try_tree(const struct trial *t, enum way way, struct rt_assigner *a, int proposer,
                     const struct small_tree *s, struct rt_centroid_set *const *sets,
                     const uint32_t *beams, const float *rows, uint32_t count,
                     const uint32_t *expected, const float *distances)
{
    uint32_t *list = malloc(t->n_rows * count * sizeof *list);
    float *out = malloc(t->n_rows * count * sizeof *out);
    if (way == BEST) {
        rt_assign_tree_best(a, &s->tree, sets, beams, rows, t->n_rows, count, list, out);
    } else if (way == LISTS) {
        rt_assign_tree_lists(a, &s->tree, sets, beams, rows, t->n_rows, count, list);
        sort_rows(list, t->n_rows, count);
    } else {
        rt_assign_tree(a, &s->tree, sets, beams[0], rows, t->n_rows, list, NULL);
        compare(t, "tree without E", (enum rt_proposer)proposer, expected, distances, list, NULL,
                1);
        rt_assign_tree(a, &s->tree, sets, beams[0], rows, t->n_rows, list, out);
    }
    compare(t, way_names[way], (enum rt_proposer)proposer, expected, distances, list,
            way == LISTS ? NULL : out, count);
    free(list), free(out);
}

static void run_way(const struct trial *t, enum way way, const struct small_tree *s,
                    const float *rows, uint32_t beam, uint32_t count)
{
    uint32_t beams[] = {beam, way == NEAREST ? beam : beam + 3, beam};
    uint32_t most = count > beam + 3 ? count : beam + 3;
    count = way == NEAREST ? 1 : count;
    uint32_t *expected = malloc(t->n_rows * count * sizeof *expected);
    float *distances = malloc(t->n_rows * count * sizeof *distances);
    for (size_t r = 0; r < t->n_rows; r++)
        descend_plainly(s, rows + r * t->dim, way != BEST, beams, count, expected + r * count,
                        distances + r * count);
    if (way == LISTS)
        sort_rows(expected, t->n_rows, count);
    for (int p = RT_PROPOSE_AUTO; p <= RT_PROPOSE_NONE; p++) {
        struct rt_assigner *a = assigner_of(t, (enum rt_proposer)p, most);
        for (int in_cells = 0; in_cells < 2; in_cells++)
            try_tree(t, way, a, p, s, in_cells ? s->sets : s->plain_sets, beams, rows, count,
                     expected, distances);
        rt_assigner_free(a);
    }
    if (way == NEAREST) { /* and row by row, without sets */
        uint32_t *list = malloc(t->n_rows * sizeof *list);
        float *out = malloc(t->n_rows * sizeof *out);
        descend_rows(t, &s->tree, beam, rows, list, out);
        compare(t, "descent", RT_PROPOSE_NONE, expected, distances, list, out, 1);
        free(list), free(out);
    }
    free(expected), free(distances);
}

static void run_tree(const struct trial *t, const uint32_t *counts, uint32_t n_levels,
                     uint32_t beam, uint32_t count)
{
    struct small_tree s;
    make_tree(t, counts, n_levels, &s);
    float *rows = numbers_of(t, 31, t->n_rows);
    for (int way = 0; way < N_WAYS; way++)
        run_way(t, (enum way)way, &s, rows, beam, count);
    free_tree(&s);
    free(rows);
}

RT_TEST("down a tree, with any beam, every proposer and both kinds of set give the same leaves")
{
    static const uint32_t two[] = {40, 900};
    static const uint32_t three[] = {5, 60, 1300};
    static const uint32_t one[] = {50};
    static const uint32_t wide[] = {6, 120};
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int metric = 0; metric < 2; metric++) {
            struct trial t = {(enum kind)kind, (enum rt_metric)metric, 24, 0, 90};
            run_tree(&t, two, 2, 1, 1);
            run_tree(&t, two, 2, 7, 12);
            run_tree(&t, two, 2, 50, 3);
            t.n_rows = 5;
            run_tree(&t, two, 2, 7, 3);
            t.n_rows = 90;
            run_tree(&t, three, 3, 2, 10);
            run_tree(&t, three, 3, 9, 2);
            run_tree(&t, one, 1, 4, 5);
            t.dim = 401; /* leaves have low codes too */
            t.n_rows = 40;
            run_tree(&t, wide, 2, 3, 1);
            run_tree(&t, wide, 2, 3, 2);
        }
    run_tree(&(struct trial){CLUSTERED, RT_L2, 128, 0, 2500}, two, 2, 8, 1);
}

RT_TEST("where leaves lie along few directions too, and rows far from them")
{
    static const uint32_t counts[] = {12, 1100};
    static const uint32_t alone[] = {1100};
    static const uint32_t dims[] = {64, 101, 390};
    for (int kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < (kind == FLAT ? 3 : 1); i++) {
            uint32_t dim = dims[((size_t)kind + i) % 3];
            struct trial t = {(enum kind)kind, RT_L2, dim, 0, 20};
            run_tree(&t, counts, 2, 5, 1);
            run_tree(&t, alone, 1, 1, 1);
            struct small_tree s; /* leaves of one kind, rows of another */
            make_tree(&(struct trial){FLAT, RT_L2, dim, 0, 20}, counts, 2, &s);
            float *rows = numbers_of(&t, 31, t.n_rows);
            run_way(&t, NEAREST, &s, rows, 12, 1);
            run_way(&t, LISTS, &s, rows, 3, 2);
            free_tree(&s);
            free(rows);
        }
}

RT_TEST("a row with more close leaves than its list holds asks E about these alone")
{
    static const uint32_t counts[] = {4, 4000};
    struct trial t = {IDENTICAL, RT_L2, 32, 0, 50};
    struct small_tree s;
    uint64_t n_rows;
    uint64_t n_candidates;
    make_tree(&t, counts, 2, &s);
    float *rows = numbers_of(&t, 31, t.n_rows);
    run_way(&t, NEAREST, &s, rows, 2, 1);
    uint32_t list[50];
    struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 4);
    rt_assign_tree(a, &s.tree, s.sets, 4, rows, t.n_rows, list, NULL);
    rt_assigner_counts(a, &n_rows, &n_candidates);
    if (n_candidates < 50 * 1333 || n_candidates > 50 * 1400) /* a third of them are as near */
        RT_TEST_FAILED("%" PRIu64 " candidates for 50 rows", n_candidates);
    rt_assigner_free(a);
    free_tree(&s);
    free(rows);
}

RT_TEST("along few directions products are fewer, and no more is left to E")
{
    static const uint32_t counts[][2] = {{1200}, {4, 1200}};
    struct trial t = {FLAT, RT_L2, 128, 0, 300};
    uint32_t list[300];
    float *rows = numbers_of(&t, 83, t.n_rows);
    for (uint32_t n_levels = 1; n_levels <= 2; n_levels++) {
        struct small_tree s;
        uint64_t distances[2];
        make_tree(&t, counts[n_levels - 1], n_levels, &s);
        for (int for_rows = 0; for_rows < 2; for_rows++) {
            struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 4);
            rt_assign_tree(a, &s.tree, for_rows ? s.sets : s.plain_sets, 4, rows, t.n_rows, list,
                           NULL);
            distances[for_rows] = rt_assigner_distances(a);
            rt_assigner_free(a);
        }
        if (4 * distances[1] > 3 * distances[0])
            RT_TEST_FAILED("%" PRIu64 " products, %" PRIu64 " without directions", distances[1],
                           distances[0]);
        free_tree(&s);
    }
    free(rows);
}

RT_TEST("for several best, directions are not looked at, and a set for searches has none")
{
    static const uint32_t counts[] = {4, 1200};
    static const uint32_t beams[] = {4};
    struct trial t = {FLAT, RT_L2, 128, 0, 300};
    struct small_tree s;
    struct rt_centroid_set *sets[2];
    uint32_t list[300 * 3];
    uint64_t distances[2];
    make_tree(&t, counts, 2, &s);
    float *rows = numbers_of(&t, 83, t.n_rows);
    CHECK(rt_level_set_bytes(&s.tree, 1, false) < rt_level_set_bytes(&s.tree, 1, true));
    for (int for_rows = 0; for_rows < 2; for_rows++) {
        struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 4);
        sets[0] = s.sets[0];
        CHECK_OK(rt_level_set_new(&s.tree, 1, t.metric, for_rows, NULL, &sets[1], &err));
        rt_assign_tree_lists(a, &s.tree, sets, beams, rows, t.n_rows, 3, list);
        distances[for_rows] = rt_assigner_distances(a);
        rt_assigner_free(a);
        rt_centroid_set_free(sets[1]);
    }
    CHECK(distances[0] == distances[1]);
    free_tree(&s);
    free(rows);
}

RT_TEST("a beam as wide as the tree finds what the flat search finds")
{
    static const uint32_t counts[] = {30, 700};
    struct trial t = {CLUSTERED, RT_L2, 32, 700, 200};
    struct small_tree s;
    uint32_t list[200];
    uint32_t flat[200];
    make_tree(&t, counts, 2, &s);
    float *rows = numbers_of(&t, 41, t.n_rows);
    struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 30);
    rt_assign_tree(a, &s.tree, s.sets, 1000, rows, t.n_rows, list, NULL);
    rt_assign_nearest(a, s.sets[1], rows, t.n_rows, flat, NULL);
    CHECK(memcmp(list, flat, sizeof list) == 0);
    rt_assign_nearest(a, s.plain_sets[1], rows, t.n_rows, flat, NULL);
    CHECK(memcmp(list, flat, sizeof list) == 0);
    rt_assigner_free(a);
    free_tree(&s);
    free(rows);
}

RT_TEST("a set in lent memory fits what it said, and another view of it gives the same")
{
    static const uint32_t counts[] = {9, 333};
    struct trial t = {CLUSTERED, RT_IP, 37, 333, 60};
    struct small_tree s;
    uint32_t first[60];
    uint32_t second[60];
    make_tree(&t, counts, 2, &s);
    float *rows = numbers_of(&t, 71, t.n_rows);
    size_t bytes = rt_centroid_set_bytes_in_cells(333, 37, 9);
    unsigned char *memory = NULL;
    CHECK_OK(rt_array_new(bytes + 64, 1, &memory, &err));
    memset(memory, 0xa5, bytes + 64);
    struct rt_centroid_set *set = NULL;
    struct rt_centroid_set *view = NULL;
    CHECK_OK(rt_centroid_set_new_in_cells(s.centroids[1], 333, 37, RT_IP, s.first_child[0], 9, NULL,
                                          memory, &set, &err));
    CHECK_OK(rt_centroid_set_view(s.centroids[1], 333, 37, RT_IP, 9, memory, &view, &err));
    for (size_t i = bytes; i < bytes + 64; i++)
        CHECK(memory[i] == 0xa5);
    struct rt_assigner *a = assigner_of(&t, RT_PROPOSE_INT8, 1);
    rt_assign_nearest(a, set, rows, t.n_rows, first, NULL);
    rt_assign_nearest(a, view, rows, t.n_rows, second, NULL);
    CHECK(memcmp(first, second, sizeof first) == 0);
    rt_assigner_free(a);
    rt_centroid_set_free(set);
    rt_centroid_set_free(view);
    rt_array_free(memory);
    free_tree(&s);
    free(rows);
}

RT_TEST("a set made in parts is, byte for byte, one made at once")
{
    static const uint32_t counts[] = {9, 333};
    struct trial t = {CLUSTERED, RT_L2, 37, 333, 60};
    struct small_tree s;
    make_tree(&t, counts, 2, &s);
    size_t bytes = rt_centroid_set_bytes_in_cells(333, 37, 9);
    unsigned char *memory[2] = {NULL, NULL};
    struct rt_centroid_set *set = NULL;
    bool is_wanted[9] = {false, true, true, false, true, true, true, true, true};
    for (uint32_t n_parts = 1; n_parts <= 400; n_parts *= 4) {
        for (int i = 0; i < 2; i++)
            CHECK_OK(rt_array_zero(bytes, 1, &memory[i], &err));
        CHECK_OK(rt_centroid_set_new_in_cells(s.centroids[1], 333, 37, RT_L2, s.first_child[0], 9,
                                              is_wanted, memory[0], &set, &err));
        for (uint32_t part = n_parts; part-- > 0;)
            CHECK_OK(rt_centroid_set_make(s.centroids[1], 333, 37, RT_L2, s.first_child[0], 9,
                                          is_wanted, memory[1], 333 * part / n_parts,
                                          333 * (part + 1) / n_parts, &err));
        CHECK(memcmp(memory[0], memory[1], bytes) == 0);
        rt_centroid_set_free(set);
        for (int i = 0; i < 2; i++)
            rt_array_free(memory[i]);
    }
    free_tree(&s);
}

RT_TEST("the leaves' set of a tree is the same in parts, with directions too")
{
    static const uint32_t counts[] = {7, 1111};
    struct trial t = {FLAT, RT_L2, 67, 0, 0};
    struct small_tree s;
    struct rt_centroid_set *set = NULL;
    void *memory[2];
    make_tree(&t, counts, 2, &s);
    size_t bytes = rt_level_set_bytes(&s.tree, 1, true);
    for (int i = 0; i < 2; i++)
        CHECK_OK(rt_array_zero(bytes, 1, &memory[i], &err));
    CHECK_OK(rt_level_set_new(&s.tree, 1, t.metric, true, memory[0], &set, &err));
    for (uint32_t part = 3; part-- > 0;)
        CHECK_OK(rt_level_set_make(&s.tree, 1, t.metric, true, memory[1], 1111 * part / 3,
                                   1111 * (part + 1) / 3, &err));
    CHECK(memcmp(memory[0], memory[1], bytes) == 0);
    rt_centroid_set_free(set);
    for (int i = 0; i < 2; i++)
        rt_array_free(memory[i]);
    free_tree(&s);
}

static uint64_t candidates_in(const struct trial *t, const struct small_tree *s,
                              struct rt_centroid_set *const *sets, const float *rows)
{
    uint32_t list[300];
    uint64_t n_rows;
    uint64_t n_candidates;
    struct rt_assigner *a = assigner_of(t, RT_PROPOSE_INT8, 4);
    rt_assign_tree(a, &s->tree, sets, 4, rows, t->n_rows, list, NULL);
    rt_assigner_counts(a, &n_rows, &n_candidates);
    rt_assigner_free(a);
    return n_candidates;
}

RT_TEST("low codes leave few candidates among close leaves of many dimensions")
{
    static const uint32_t counts[] = {4, 600};
    struct trial t = {CLUSTERED, RT_L2, 768, 0, 300};
    struct small_tree s;
    make_tree(&t, counts, 2, &s);
    float *rows = numbers_of(&t, 83, t.n_rows);
    uint64_t few = candidates_in(&t, &s, s.sets, rows);
    uint64_t many = candidates_in(&t, &s, s.plain_sets, rows);
    if (few < 300 || few > 450 || many < 3000)
        RT_TEST_FAILED("%" PRIu64 " candidates for 300 rows, %" PRIu64 " without", few, many);
    free_tree(&s);
    free(rows);
}

RT_TEST_MAIN()
