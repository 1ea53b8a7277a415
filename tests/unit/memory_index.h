/* A whole index in memory, made in the plainest way: rows around random centres, nearest list by
 * trying all, codes put into blocks one by one. For tests of scanning and for its benchmark.
 * Failures end the program. */
#ifndef RT_TESTS_MEMORY_INDEX_H
#define RT_TESTS_MEMORY_INDEX_H

#include "core/block.h"
#include "core/code.h"
#include "core/element.h"
#include "core/memory.h"
#include "core/metric.h"
#include "core/random.h"
#include "core/rotation.h"
#include "core/scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        struct rt_error must_err;                                                                  \
        struct rt_error *err = &must_err;                                                          \
        if ((call) != RT_OK) {                                                                     \
            (void)fprintf(stderr, "%s: %s\n", #call, must_err.text);                               \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Near a standard normal: twelve uniforms, added as integers (A1). */
static inline float draw_normal(uint64_t seed, uint64_t row, uint64_t i)
{
    int64_t sum = 0;
    for (uint64_t part = 0; part < 6; part++) {
        uint64_t bits = rt_random(seed, RT_RANDOM_TEST, row, i, part);
        sum += (int64_t)(bits >> 32) + (int64_t)(bits & 0xffffffff);
    }
    return (float)ldexp((double)(sum - 6 * (INT64_C(1) << 32)), -32);
}

struct index_shape {
    uint64_t seed;
    enum rt_metric metric;
    enum rt_element element;
    bool residual;
    uint32_t dim, n_rows, n_lists, n_queries;
    uint32_t latent; /* dimensions that rows spread in around their centre; 0: all */
    float spread;    /* of rows around their centre, whose own is 1 */
    float offset;    /* added to every value */
    float scale;     /* then times this */
    bool unit;       /* and scaled to length 1, before it is stored */
    uint32_t late;   /* every late-th row of a list goes into a second run (appendable); 0: none */
};

struct memory_index {
    struct index_shape shape;
    struct rt_tree tree;
    struct rt_rotation *rotation;
    float *centroids;
    size_t row_bytes;
    uint8_t *stored; /* rows in their element type, in row order */
    float *prepared; /* rows as f32, scaled under cosine */
    float *rotated;
    uint32_t *list_of;
    struct rt_scan_run *runs; /* two a list */
    struct rt_scan_run cut[2];
    void *lent[5]; /* of the second run, as appendable records are: until the next list; vectors */
    bool vectors_last;
    bool is_slow;
    bool expected[64];   /* lists, where it is slow */
    uint64_t unexpected; /* calls of read_list for others */
    uint64_t dead_mask;  /* rows whose id & mask == 0 are dead, 0: none */
    uint64_t reads;      /* calls of read_list */
    float *queries, *rotated_queries;
};

static inline uint64_t id_of(uint64_t row)
{
    return rt_mix64(row) >> 1; /* ids in no order, none twice */
}

/* One row or query, before it is stored. basis: latent x dim. */
static inline void draw_row(const struct index_shape *s, const float *basis, uint64_t row,
                            float *value)
{
    uint64_t centre = rt_random_below(rt_random(s->seed, RT_RANDOM_TEST, row, 1, 99), s->n_lists);
    for (size_t i = 0; i < s->dim; i++) {
        float around = s->latent ? 0 : draw_normal(s->seed, row, i);
        value[i] = draw_normal(s->seed, UINT64_MAX - centre, i) + s->spread * around;
    }
    for (size_t l = 0; l < s->latent; l++) {
        float along = s->spread * draw_normal(s->seed, row, l) / (float)sqrt(s->latent);
        for (size_t i = 0; i < s->dim; i++)
            value[i] += along * basis[l * s->dim + i];
    }
    for (size_t i = 0; i < s->dim; i++)
        value[i] = s->scale * (value[i] + s->offset);
    if (s->unit)
        (void)rt_metric_prepare_row(RT_COSINE, value, s->dim);
}

static inline void index_rows(struct memory_index *x)
{
    const struct index_shape *s = &x->shape;
    size_t dim = s->dim;
    float *basis = calloc(s->latent * dim + 1, sizeof *basis);
    for (size_t i = 0; i < s->latent * dim; i++)
        basis[i] = draw_normal(s->seed + 1, i, 0);
    for (size_t row = 0; row < s->n_rows + s->n_queries; row++) {
        float *value =
            row < s->n_rows ? x->prepared + row * dim : x->queries + (row - s->n_rows) * dim;
        uint8_t *stored = x->stored + row * x->row_bytes;
        draw_row(s, basis, row, value);
        if (row < s->n_rows) {
            rt_element_from_f32(s->element, value, stored, dim);
            rt_element_to_f32(s->element, stored, value, dim);
        }
        if (rt_metric_prepare_row(s->metric, value, dim) != RT_ROW_GOOD)
            exit(1);
    }
    free(basis);
    memcpy(x->rotated, x->prepared, s->n_rows * dim * sizeof(float));
    memcpy(x->rotated_queries, x->queries, s->n_queries * dim * sizeof(float));
    rt_rotation_apply(x->rotation, x->rotated, s->n_rows);
    rt_rotation_apply(x->rotation, x->rotated_queries, s->n_queries);
}

/* Centroids are the means of the rows drawn for each; then each row goes to its nearest. */
static inline void index_lists(struct memory_index *x)
{
    const struct index_shape *s = &x->shape;
    size_t dim = s->dim;
    uint32_t *count = calloc(s->n_lists, sizeof *count);
    memset(x->centroids, 0, s->n_lists * dim * sizeof(float));
    for (size_t row = 0; row < s->n_rows; row++) {
        uint64_t c = rt_random_below(rt_random(s->seed, RT_RANDOM_TEST, row, 1, 99), s->n_lists);
        count[c]++;
        for (size_t i = 0; i < dim; i++)
            x->centroids[c * dim + i] += x->rotated[row * dim + i];
    }
    for (size_t c = 0; c < s->n_lists; c++)
        for (size_t i = 0; i < dim; i++)
            x->centroids[c * dim + i] /= (float)(count[c] ? count[c] : 1);
    free(count);
    for (size_t row = 0; row < s->n_rows; row++) {
        float least = INFINITY;
        for (uint32_t c = 0; c < s->n_lists; c++) {
            float d = rt_scan_distance(RT_L2, RT_F32, x->centroids + c * dim,
                                       x->rotated + row * dim, s->dim);
            if (d < least) {
                least = d;
                x->list_of[row] = c;
            }
        }
    }
}

/* Adds one row to a run whose arrays have room. */
static inline void index_add(struct memory_index *x, struct rt_scan_run *run, size_t row)
{
    const struct index_shape *s = &x->shape;
    uint32_t n_factors = rt_code_n_factors(s->metric);
    size_t block = run->n_rows / RT_BLOCK_ROWS;
    uint32_t place = (uint32_t)(run->n_rows % RT_BLOCK_ROWS);
    uint8_t code[8192];
    float factors[RT_MAX_FACTORS];
    const float *centroid = s->residual ? x->centroids + (size_t)x->list_of[row] * s->dim : NULL;
    rt_code_encode(s->metric, x->rotated + row * s->dim, centroid, s->dim, code, factors);
    rt_block_put((uint8_t *)(uintptr_t)run->codes + block * rt_block_code_bytes(s->dim), s->dim,
                 place, code);
    float *f = (float *)(uintptr_t)run->factors + block * n_factors * RT_BLOCK_ROWS + place;
    for (uint32_t i = 0; i < n_factors; i++)
        f[i * RT_BLOCK_ROWS] = factors[i];
    ((uint64_t *)(uintptr_t)run->ids)[run->n_rows] = id_of(row);
    ((struct rt_place *)(uintptr_t)run->places)[run->n_rows] =
        (struct rt_place){(uint32_t)(row % 3), (uint32_t)(row / 3)};
    run->n_rows++;
}

static inline void index_blocks(struct memory_index *x)
{
    const struct index_shape *s = &x->shape;
    uint32_t n_factors = rt_code_n_factors(s->metric);
    uint32_t *count = calloc(2 * (size_t)s->n_lists, sizeof *count);
    uint32_t *seen = calloc(s->n_lists, sizeof *seen);
    uint8_t *run_of = malloc(s->n_rows + 1);
    for (size_t row = 0; row < s->n_rows; row++) {
        uint32_t list = x->list_of[row];
        run_of[row] = s->late && ++seen[list] % s->late == 0;
        count[2 * (size_t)list + run_of[row]]++;
    }
    for (size_t r = 0; r < 2 * (size_t)s->n_lists; r++) {
        size_t blocks = (count[r] + RT_BLOCK_ROWS - 1) / RT_BLOCK_ROWS;
        struct rt_scan_run *run = x->runs + r;
        run->generation = r % 2;
        MUST(rt_array_zero(blocks, rt_block_code_bytes(s->dim), &run->codes, err));
        MUST(rt_array_new(blocks, n_factors * RT_BLOCK_ROWS * sizeof(float), &run->factors, err));
        /* what is beside the rows may hold anything: NaN must not hurt */
        memset((void *)(uintptr_t)run->factors, 0xff,
               blocks * n_factors * RT_BLOCK_ROWS * sizeof(float));
        MUST(rt_array_zero(blocks, RT_BLOCK_ROWS * sizeof(uint64_t), &run->ids, err));
        MUST(rt_array_zero(blocks, RT_BLOCK_ROWS * sizeof(struct rt_place), &run->places, err));
    }
    for (size_t row = 0; row < s->n_rows; row++)
        index_add(x, x->runs + 2 * (size_t)x->list_of[row] + run_of[row], row);
    free(count);
    free(seen);
    free(run_of);
}

static inline struct memory_index *index_new(struct index_shape shape)
{
    struct memory_index *x = calloc(1, sizeof *x);
    size_t dim = shape.dim;
    x->shape = shape;
    x->row_bytes = dim * rt_element_size(shape.element);
    MUST(rt_rotation_new(shape.seed, shape.dim, &x->rotation, err));
    MUST(rt_array_zero(shape.n_rows + shape.n_queries, x->row_bytes, &x->stored, err));
    MUST(rt_array_new(shape.n_rows * dim, 4, &x->prepared, err));
    MUST(rt_array_new(shape.n_rows * dim, 4, &x->rotated, err));
    MUST(rt_array_new(shape.n_queries * dim, 4, &x->queries, err));
    MUST(rt_array_new(shape.n_queries * dim, 4, &x->rotated_queries, err));
    MUST(rt_array_new(shape.n_lists * dim, 4, &x->centroids, err));
    MUST(rt_array_zero(shape.n_rows, 4, &x->list_of, err));
    MUST(rt_array_zero(2 * (size_t)shape.n_lists, sizeof *x->runs, &x->runs, err));
    x->tree = (struct rt_tree){.dim = shape.dim,
                               .metric = shape.metric,
                               .residual = shape.residual,
                               .rotation_seed = shape.seed,
                               .n_levels = 1,
                               .levels[0] = {.n = shape.n_lists, .centroids = x->centroids}};
    index_rows(x);
    index_lists(x);
    index_blocks(x);
    return x;
}

static inline void index_free(struct memory_index *x)
{
    for (size_t r = 0; r < 2 * (size_t)x->shape.n_lists; r++) {
        rt_array_free((void *)(uintptr_t)x->runs[r].codes);
        rt_array_free((void *)(uintptr_t)x->runs[r].factors);
        rt_array_free((void *)(uintptr_t)x->runs[r].ids);
        rt_array_free((void *)(uintptr_t)x->runs[r].places);
    }
    for (size_t i = 0; i < sizeof x->lent / sizeof *x->lent; i++)
        free(x->lent[i]);
    rt_array_free(x->runs);
    rt_array_free(x->stored);
    rt_array_free(x->prepared);
    rt_array_free(x->rotated);
    rt_array_free(x->queries);
    rt_array_free(x->rotated_queries);
    rt_array_free(x->centroids);
    rt_array_free(x->list_of);
    rt_rotation_free(x->rotation);
    free(x);
}

/* ---- what a scanner asks ---- */

static inline uint64_t run_blocks(const struct rt_scan_run *run)
{
    return (run->n_rows + RT_BLOCK_ROWS - 1) / RT_BLOCK_ROWS;
}

static inline uint64_t index_n_blocks(void *context, uint32_t list)
{
    const struct memory_index *x = context;
    return run_blocks(x->runs + 2 * (size_t)list) + run_blocks(x->runs + 2 * (size_t)list + 1);
}

/* A copy of n bytes in place of the one lent before, which says nothing any more. */
static inline void *index_lend(void **lent, const void *bytes, size_t n)
{
    void *copy = malloc(n);
    memcpy(copy, bytes, n);
    free(*lent);
    return *lent = copy;
}

static inline bool index_is_slow(void *context)
{
    return ((const struct memory_index *)context)->is_slow;
}

static inline void index_expect_list(void *context, uint32_t list, uint64_t begin, uint64_t end)
{
    ((struct memory_index *)context)->expected[list % 64] = begin < end;
}

static inline enum rt_status index_read_list(void *context, uint32_t list, uint64_t begin,
                                             uint64_t end, const struct rt_scan_run **runs,
                                             size_t *n_runs, struct rt_error *err)
{
    struct memory_index *x = context;
    uint32_t n_factors = rt_code_n_factors(x->shape.metric);
    uint64_t before = 0;
    (void)err;
    *n_runs = 0;
    x->reads++;
    x->unexpected += !x->expected[list % 64];
    for (size_t r = 0; r < 2; r++) {
        const struct rt_scan_run *run = x->runs + 2 * (size_t)list + r;
        uint64_t n = run_blocks(run);
        uint64_t from = begin > before ? begin - before : 0;
        uint64_t to = end > before ? end - before : 0;
        before += n;
        if (to > n)
            to = n;
        if (from >= to)
            continue;
        struct rt_scan_run *cut = x->cut + (*n_runs)++;
        *cut = *run;
        cut->n_rows = (to == n ? run->n_rows : to * RT_BLOCK_ROWS) - from * RT_BLOCK_ROWS;
        cut->codes += from * rt_block_code_bytes(x->shape.dim);
        cut->factors += from * n_factors * RT_BLOCK_ROWS;
        cut->ids += from * RT_BLOCK_ROWS;
        cut->places += from * RT_BLOCK_ROWS;
        cut->lasts = r == 0;
        if (cut->lasts)
            continue;
        size_t some = (size_t)(to - from) * RT_BLOCK_ROWS;
        cut->codes = index_lend(&x->lent[0], cut->codes,
                                some / RT_BLOCK_ROWS * rt_block_code_bytes(x->shape.dim));
        cut->factors = index_lend(&x->lent[1], cut->factors, some * n_factors * sizeof(float));
        cut->ids = index_lend(&x->lent[2], cut->ids, some * sizeof *cut->ids);
        cut->places = index_lend(&x->lent[3], cut->places, some * sizeof *cut->places);
    }
    *runs = x->cut;
    return RT_OK;
}

static inline enum rt_status index_read_vectors(void *context, const struct rt_place *places,
                                                size_t n, const void **vectors,
                                                struct rt_error *err)
{
    struct memory_index *x = context;
    unsigned char *copies = malloc(n * x->row_bytes + 1);
    (void)err;
    for (size_t i = 0; i < n; i++) {
        vectors[i] = x->stored + ((size_t)places[i].slot * 3 + places[i].segment) * x->row_bytes;
        if (!x->vectors_last)
            vectors[i] = memcpy(copies + i * x->row_bytes, vectors[i], x->row_bytes);
    }
    free(x->lent[4]);
    x->lent[4] = copies;
    return RT_OK;
}

static inline bool index_is_live(void *context, uint64_t id, uint64_t generation)
{
    const struct memory_index *x = context;
    (void)generation;
    return x->dead_mask == 0 || (id & x->dead_mask) != 0;
}

static inline struct rt_scan_source index_source(struct memory_index *x)
{
    return (struct rt_scan_source){.context = x,
                                   .tree = &x->tree,
                                   .element = x->shape.element,
                                   .n_blocks = index_n_blocks,
                                   .is_slow = index_is_slow,
                                   .expect_list = index_expect_list,
                                   .read_list = index_read_list,
                                   .read_vectors = index_read_vectors,
                                   .vectors_last = x->vectors_last,
                                   .is_live = index_is_live};
}

/* The n_probes nearest lists of every query by l2 (probing by any rule will do here), n_queries x
 * n_probes. */
static inline uint32_t *index_probes(const struct memory_index *x, uint32_t n_probes)
{
    const struct index_shape *s = &x->shape;
    uint32_t *lists = malloc((size_t)s->n_queries * n_probes * sizeof *lists);
    float *distance = malloc(s->n_lists * sizeof *distance);
    for (size_t q = 0; q < s->n_queries; q++) {
        for (uint32_t c = 0; c < s->n_lists; c++)
            distance[c] = rt_scan_distance(RT_L2, RT_F32, x->rotated_queries + q * s->dim,
                                           x->centroids + (size_t)c * s->dim, s->dim);
        for (uint32_t p = 0; p < n_probes; p++) {
            uint32_t best = UINT32_MAX;
            for (uint32_t c = 0; c < s->n_lists; c++)
                if (distance[c] < INFINITY && (best == UINT32_MAX || distance[c] < distance[best]))
                    best = c;
            lists[q * n_probes + p] = best;
            if (best != UINT32_MAX)
                distance[best] = INFINITY;
        }
    }
    free(distance);
    return lists;
}

/* The k least of the live rows of the lists by (distance, id), from the rows themselves. */
static inline void index_brute_force(const struct memory_index *x, size_t query,
                                     const uint32_t *lists, uint32_t n_probes, uint32_t k,
                                     struct rt_hit *hits)
{
    const struct index_shape *s = &x->shape;
    struct rt_topk top = {k, 0, hits};
    enum rt_metric metric = s->metric == RT_IP ? RT_IP : RT_L2;
    for (size_t row = 0; row < s->n_rows; row++) {
        bool probed = false;
        for (uint32_t p = 0; p < n_probes; p++)
            probed = probed || lists[p] == x->list_of[row];
        if (!probed || !index_is_live((void *)(uintptr_t)x, id_of(row), 0))
            continue;
        float d = rt_scan_distance(metric, RT_F32, x->queries + query * s->dim,
                                   x->prepared + row * s->dim, s->dim);
        rt_topk_push(&top, &(struct rt_hit){d, d, id_of(row)});
    }
    rt_topk_end(&top);
}

#endif
