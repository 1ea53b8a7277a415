/* How proposals become answers. Rows are taken in batches; for each, the centroids of T pass by in
 * tiles of up to 64, as products of codes (or of BLAS) turned into a(c). What could still be among
 * the best, a(c) - b(c) <= T, is put on the row's list; T is an upper bound of the A-th least a +
 * b, so far. When T has passed, E decides among those left. Lists that overflow, rows beyond A6 and
 * broken bounds end in E over all of T (B8). */
#include "core/assign.h"

#include "core/centroid_set.h"
#include "core/gemm.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE 64            /* slots of a tile */
#define BLOCK 64           /* rows of a tile where codes multiply */
#define GEMM_BLOCK 256     /* and where BLAS does */
#define GEMM_TILES 4       /* tiles that BLAS multiplies at once */
#define GEMM_BYTES 4194304 /* but not more of rows, nor of centroids, than this */
#define BATCH 2048         /* rows that descend a tree together: their codes fit the second cache */
#define NEAREST_LIST 64    /* room of a row's list for one nearest */
#define SPARE 16           /* entries that pick may write beyond its end */
#define ARENA_BYTES 6291456
#define ARENA_SPARE ((size_t)512) /* its parts begin cache lines */
#define INT8_DIM 2048             /* beyond it the bounds of codes leave too many candidates */

struct pair { /* a cell that a row descends into */
    uint32_t cell, row;
};

struct assigner_sizes {
    size_t n_batch; /* rows */
    size_t arena;
    size_t gemm_rows, gemm_tiles;
};

struct rt_assigner {
    size_t max_rows;
    uint32_t dim, max_beam;
    enum rt_proposer proposer; /* never AUTO */
    const struct rt_kernels *kernels;
    struct assigner_sizes sizes;
    uint64_t rows, candidates;

    /* of each row of the batch */
    uint8_t *codes; /* code_stride each */
    size_t code_stride;
    const uint8_t **code_of;
    float *row_scale;
    struct rt_row_bound *bound;
    float *threshold; /* T */
    uint32_t *n_listed;
    uint8_t *wants_all; /* E over all of T */

    char *arena; /* lists, kept cells and pairs: laid out anew for each call */
    float *a;    /* BLOCK or GEMM_BLOCK x TILE */
    float *gemm_rows, *gemm_centroids;
    struct packed *packed;
    uint32_t *numbers; /* candidates to measure, and their E */
    float *distances;
    uint64_t *keys;
};

/* Slots gathered from anywhere in a set. */
struct packed {
    int8_t *codes;
    uint32_t ids[TILE];
    float scale[TILE], norm[TILE], p[TILE], w[TILE];
    int32_t sums[TILE];
};

struct tile {
    struct rt_int8_tile products;
    const uint32_t *ids; /* UINT32_MAX: empty slot */
    const float *p, *w;
    float most_p, most_w;
};

/* The T of B2: all of a set, or the children of the cells kept for each row. */
struct target {
    const struct rt_centroid_set *set;
    const float *rows;            /* of this batch, or */
    const struct rt_coded *coded; /* not NULL: index[first..] of these */
    size_t first;
    size_t n_rows;
    uint32_t best;               /* A */
    const uint32_t *first_child; /* not NULL: T = children of kept[row][0..n_kept) */
    const uint32_t *kept;
    uint32_t n_kept;
    size_t room; /* of a list */
    float *list_a;
    uint32_t *list_id;
};

/* ---- sizes ---- */

static size_t room_for(uint32_t best)
{
    return best == 1 ? NEAREST_LIST : (2 * (size_t)best + (size_t)2 * TILE + 15) / 16 * 16 + SPARE;
}

/* Bytes of arena for one row: its list, two levels of kept cells, its pairs twice. */
static size_t arena_for(uint32_t best)
{
    return room_for(best) * (sizeof(float) + sizeof(uint32_t)) +
           (size_t)best * (2 * sizeof(uint32_t) + 2 * sizeof(struct pair));
}

static struct assigner_sizes sizes_of(size_t max_rows, uint32_t dim, uint32_t max_beam)
{
    struct assigner_sizes s;
    size_t one = arena_for(max_beam);
    size_t most = one > ARENA_BYTES ? one : ARENA_BYTES;
    s.n_batch = max_rows < BATCH ? max_rows : BATCH;
    s.arena = s.n_batch > most / one ? most : s.n_batch * one;
    s.arena += ARENA_SPARE;
    s.gemm_rows = GEMM_BYTES / sizeof(float) / dim;
    s.gemm_tiles = s.gemm_rows / TILE;
    s.gemm_rows = s.gemm_rows > GEMM_BLOCK ? GEMM_BLOCK : s.gemm_rows < 16 ? 16 : s.gemm_rows;
    s.gemm_tiles = s.gemm_tiles > GEMM_TILES ? GEMM_TILES : s.gemm_tiles < 1 ? 1 : s.gemm_tiles;
    return s;
}

static size_t batch_for(const struct rt_assigner *a, uint32_t best)
{
    size_t n = (a->sizes.arena - ARENA_SPARE) / arena_for(best);
    return n < a->sizes.n_batch ? n : a->sizes.n_batch;
}

static size_t code_stride_of(uint32_t dim)
{
    return ((size_t)dim + 3) / 4 * 4;
}

/* Candidates of one row, sure and open. */
static size_t measured_most(uint32_t max_beam)
{
    return room_for(max_beam > 1 ? max_beam : 2);
}

/* Of one block and tile, by codes or by BLAS. */
static size_t products_of(const struct assigner_sizes *s)
{
    size_t gemm = s->gemm_rows * s->gemm_tiles * TILE;
    size_t codes = (size_t)BLOCK * TILE;
    return gemm > codes ? gemm : codes;
}

size_t rt_assigner_bytes(size_t max_rows, uint32_t dim, uint32_t max_beam)
{
    struct assigner_sizes s = sizes_of(max_rows, dim, max_beam);
    size_t a_row = code_stride_of(dim) + sizeof(uint8_t *) + 2 * sizeof(float) +
                   sizeof(struct rt_row_bound) + sizeof(uint32_t) + 1;
    return sizeof(struct rt_assigner) + s.n_batch * a_row + s.arena +
           products_of(&s) * sizeof(float) +
           sizeof(float) * dim * (s.gemm_rows + s.gemm_tiles * TILE) + sizeof(struct packed) +
           TILE * code_stride_of(dim) +
           measured_most(max_beam) * (sizeof(uint32_t) + sizeof(float) + sizeof(uint64_t));
}

static const char *const proposer_names[] = {
    [RT_PROPOSE_INT8] = "int8", [RT_PROPOSE_SGEMM] = "sgemm", [RT_PROPOSE_NONE] = "none"};

/* Test builds take the proposer from the environment, so that whole jobs can be compared (B10). */
static enum rt_proposer forced(enum rt_proposer wanted)
{
#ifdef RT_CHECKS
    const char *given = getenv("RANKTAPE_PROPOSER");
    for (int p = RT_PROPOSE_INT8; given && p <= RT_PROPOSE_NONE; p++)
        if (strcmp(given, proposer_names[p]) == 0)
            return (enum rt_proposer)p;
#endif
    return wanted;
}

static enum rt_proposer resolve(enum rt_proposer wanted, uint32_t dim)
{
    wanted = forced(wanted);
    enum rt_isa isa = rt_kernels()->isa;
    bool has_products =
        isa == RT_ISA_AVX512_VNNI || isa == RT_ISA_AVX512_AMX || isa == RT_ISA_NEON_DOT;
    if (wanted == RT_PROPOSE_AUTO)
        wanted = has_products && dim <= INT8_DIM ? RT_PROPOSE_INT8 : RT_PROPOSE_SGEMM;
    if (wanted == RT_PROPOSE_SGEMM && !rt_gemm_is_sound(dim)) /* B9 */
        wanted = RT_PROPOSE_INT8;
    return wanted;
}

const char *rt_proposer_name(enum rt_proposer wanted, uint32_t dim)
{
    return proposer_names[resolve(wanted, dim)];
}

enum rt_status rt_assigner_new(size_t max_rows, uint32_t dim, uint32_t max_beam,
                               enum rt_proposer proposer, struct rt_assigner **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_assigner *a = NULL;
    max_rows = max_rows ? max_rows : 1;
    max_beam = max_beam ? max_beam : 1;
    RT_TRY(rt_array_zero(1, sizeof *a, &a, err));
    a->max_rows = max_rows;
    a->dim = dim;
    a->max_beam = max_beam;
    a->proposer = resolve(proposer, dim);
    a->kernels = rt_kernels();
    a->sizes = sizes_of(max_rows, dim, max_beam);
    a->code_stride = code_stride_of(dim);
    size_t n = a->sizes.n_batch;
    size_t most = measured_most(max_beam);
    RT_TRY(rt_array_new(n, a->code_stride, &a->codes, err));
    RT_TRY(rt_array_new(n, sizeof *a->code_of, &a->code_of, err));
    RT_TRY(rt_array_new(n, sizeof *a->row_scale, &a->row_scale, err));
    RT_TRY(rt_array_new(n, sizeof *a->bound, &a->bound, err));
    RT_TRY(rt_array_new(n, sizeof *a->threshold, &a->threshold, err));
    RT_TRY(rt_array_new(n, sizeof *a->n_listed, &a->n_listed, err));
    RT_TRY(rt_array_new(n, sizeof *a->wants_all, &a->wants_all, err));
    RT_TRY(rt_array_new(a->sizes.arena, 1, &a->arena, err));
    RT_TRY(rt_array_new(products_of(&a->sizes), sizeof *a->a, &a->a, err));
    RT_TRY(rt_array_new(1, sizeof *a->packed, &a->packed, err));
    a->packed->codes = NULL;
    RT_TRY(rt_array_new(TILE, a->code_stride, &a->packed->codes, err));
    RT_TRY(rt_array_new(most, sizeof *a->numbers, &a->numbers, err));
    RT_TRY(rt_array_new(most, sizeof *a->distances, &a->distances, err));
    RT_TRY(rt_array_new(most, sizeof *a->keys, &a->keys, err));
    if (a->proposer == RT_PROPOSE_SGEMM) {
        size_t row_bytes = dim * sizeof(float);
        RT_TRY(rt_array_new(a->sizes.gemm_rows, row_bytes, &a->gemm_rows, err));
        RT_TRY(rt_array_new(a->sizes.gemm_tiles * TILE, row_bytes, &a->gemm_centroids, err));
    }
    *out = a;
    a = NULL;
done:
    rt_assigner_free(a);
    return st;
}

void rt_assigner_free(struct rt_assigner *assigner)
{
    if (!assigner)
        return;
    rt_array_free(assigner->codes);
    rt_array_free(assigner->code_of);
    rt_array_free(assigner->row_scale);
    rt_array_free(assigner->bound);
    rt_array_free(assigner->threshold);
    rt_array_free(assigner->n_listed);
    rt_array_free(assigner->wants_all);
    rt_array_free(assigner->arena);
    rt_array_free(assigner->a);
    if (assigner->packed)
        rt_array_free(assigner->packed->codes);
    rt_array_free(assigner->packed);
    rt_array_free(assigner->numbers);
    rt_array_free(assigner->distances);
    rt_array_free(assigner->keys);
    rt_array_free(assigner->gemm_rows);
    rt_array_free(assigner->gemm_centroids);
    rt_array_free(assigner);
}

void rt_assigner_counts(const struct rt_assigner *assigner, uint64_t *rows, uint64_t *candidates)
{
    *rows = assigner->rows;
    *candidates = assigner->candidates;
}

/* ---- rows ---- */

size_t rt_row_code_bytes(uint32_t dim)
{
    return code_stride_of(dim) + sizeof(struct rt_row_sizes);
}

void rt_row_code(enum rt_metric distance, const float *row, const float *reference, uint32_t dim,
                 void *code)
{
    struct rt_quantised q;
    rt_kernels()->quantise(row, distance == RT_IP ? NULL : reference, dim, code, &q);
    struct rt_row_sizes sizes = rt_row_sizes(q.scale, q.norm2, q.error2);
    memcpy((uint8_t *)code + code_stride_of(dim), &sizes, sizeof sizes);
}

void rt_row_decode(const void *code, const float *reference, uint32_t dim, float *out)
{
    const uint8_t *codes = code;
    struct rt_row_sizes sizes;
    memcpy(&sizes, codes + code_stride_of(dim), sizeof sizes);
    for (uint32_t i = 0; i < dim; i++)
        out[i] = reference[i] + sizes.scale * (float)((int)codes[i] - 128);
}

static size_t index_of(const struct target *t, size_t row)
{
    return t->coded->index ? t->coded->index[t->first + row] : t->first + row;
}

static const float *values_of(const struct rt_assigner *a, const struct target *t, size_t row)
{
    return t->coded ? t->coded->row(t->coded->ctx, (uint32_t)index_of(t, row))
                    : t->rows + row * a->dim;
}

/* ---- E ---- */

static void measure(const struct rt_assigner *a, const struct target *t, size_t row,
                    const uint32_t *numbers, size_t n, float *out)
{
    const float *x = values_of(a, t, row);
    if (t->set->is_ip)
        a->kernels->ip_among(x, t->set->centroids, a->dim, numbers, n, out);
    else
        a->kernels->l2_among(x, t->set->centroids, a->dim, numbers, n, out);
}

/* (E, number) as one ordered integer (A5). */
static uint64_t key_of(float distance, uint32_t number)
{
    uint32_t bits;
    distance += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &distance, sizeof bits);
    bits = bits & UINT32_C(0x80000000) ? ~bits : bits | UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | number;
}

static float distance_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float distance;
    bits = bits & UINT32_C(0x80000000) ? bits & UINT32_C(0x7fffffff) : ~bits;
    memcpy(&distance, &bits, sizeof distance);
    return distance;
}

static void sift_down(uint64_t *heap, size_t n, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child])
            child++;
        if (heap[at] >= heap[child])
            return;
        uint64_t key = heap[at];
        heap[at] = heap[child];
        heap[child] = key;
    }
}

static void sort_keys(uint64_t *keys, size_t n)
{
    if (n <= 24) {
        for (size_t i = 1; i < n; i++) {
            uint64_t key = keys[i];
            size_t at = i;
            for (; at > 0 && keys[at - 1] > key; at--)
                keys[at] = keys[at - 1];
            keys[at] = key;
        }
        return;
    }
    for (size_t i = n / 2; i-- > 0;)
        sift_down(keys, n, i);
    for (size_t end = n - 1; end > 0; end--) {
        uint64_t most = keys[0];
        keys[0] = keys[end];
        keys[end] = most;
        sift_down(keys, end, 0);
    }
}

/* Brings the `wanted` least keys to the front, in any order. */
static void select_keys(uint64_t *keys, size_t n, size_t wanted)
{
    size_t begin = 0;
    for (size_t end = n; begin < end;) {
        size_t at = begin;
        uint64_t pivot = keys[begin + (end - begin) / 2];
        keys[begin + (end - begin) / 2] = keys[end - 1];
        keys[end - 1] = pivot;
        for (size_t i = begin; i < end; i++)
            if (keys[i] <= pivot) { /* the pivot itself comes last */
                uint64_t key = keys[i];
                keys[i] = keys[at];
                keys[at++] = key;
            }
        if (at == wanted || at == wanted + 1)
            return;
        if (at > wanted)
            end = at - 1;
        else
            begin = at;
    }
}

/* The `best` least of what is offered, as a heap with the greatest on top. */
struct least {
    uint64_t *keys;
    size_t n, best;
};

static void offer(struct least *least, uint64_t key)
{
    if (least->n < least->best) {
        least->keys[least->n++] = key;
        if (least->n == least->best)
            for (size_t i = least->n / 2; i-- > 0;)
                sift_down(least->keys, least->n, i);
    } else if (key < least->keys[0]) {
        least->keys[0] = key;
        sift_down(least->keys, least->n, 0);
    }
}

/* Offers centroids [begin, end), or those of members. */
static void offer_range(const struct rt_assigner *a, const struct target *t, size_t row,
                        const uint32_t *members, uint32_t begin, uint32_t end, struct least *least)
{
    uint32_t numbers[TILE];
    float distances[TILE];
    for (uint32_t at = begin; at < end;) {
        uint32_t n = end - at < TILE ? end - at : TILE;
        for (uint32_t i = 0; i < n; i++)
            numbers[i] = members ? members[at + i] : at + i;
        measure(a, t, row, numbers, n, distances);
        for (uint32_t i = 0; i < n; i++)
            offer(least, key_of(distances[i], numbers[i]));
        at += n;
    }
}

/* B2 itself: the best of T by E alone, sorted, in keys (room for t->best). Returns how many, and
 * how many were measured. */
static size_t best_of_all(const struct rt_assigner *a, const struct target *t, size_t row,
                          uint64_t *keys, uint64_t *n_measured)
{
    struct least least = {keys, 0, t->best};
    if (t->first_child) {
        for (uint32_t i = 0; i < t->n_kept; i++) {
            uint32_t cell = t->kept[row * t->n_kept + i];
            if (cell == UINT32_MAX)
                break;
            offer_range(a, t, row, NULL, t->first_child[cell], t->first_child[cell + 1], &least);
            *n_measured += t->first_child[cell + 1] - t->first_child[cell];
        }
    } else {
        offer_range(a, t, row, t->set->members, 0, t->set->n, &least);
        *n_measured += t->set->n;
    }
    sort_keys(keys, least.n);
    return least.n;
}

/* ---- proposals ---- */

static float capped(float threshold)
{
    return threshold < FLT_MAX ? threshold : FLT_MAX; /* empty slots have a = infinity */
}

/* What a row needs before tiles pass by; false: E over all. */
static bool prepare_row(struct rt_assigner *a, const struct target *t, size_t row)
{
    const struct rt_centroid_set *set = t->set;
    struct rt_row_sizes sizes;
    uint8_t *codes = a->codes + row * a->code_stride;
    a->code_of[row] = codes;
    if (a->proposer == RT_PROPOSE_NONE || !set->can_propose)
        return false;
    if (t->coded) {
        a->code_of[row] = t->coded->codes + index_of(t, row) * rt_row_code_bytes(a->dim);
        memcpy(&sizes, a->code_of[row] + a->code_stride, sizeof sizes);
    } else {
        struct rt_quantised q;
        a->kernels->quantise(t->rows + row * a->dim, set->is_ip ? NULL : set->mean, a->dim, codes,
                             &q);
        sizes = rt_row_sizes(q.scale, q.norm2, q.error2);
    }
    a->row_scale[row] = set->is_ip ? -sizes.scale : -2 * sizes.scale;
    return rt_row_bound(set, a->proposer == RT_PROPOSE_SGEMM, &sizes, &a->bound[row]);
}

/* Coded rows lie anywhere: their cache lines are asked for some rows ahead. */
static void prefetch_code(const struct rt_assigner *a, const struct target *t, size_t row)
{
    if (!t->coded || row >= t->n_rows)
        return;
    size_t bytes = rt_row_code_bytes(a->dim);
    const uint8_t *code = t->coded->codes + index_of(t, row) * bytes;
    for (size_t at = 0; at < bytes + 63; at += 64)
        __builtin_prefetch(code + (at < bytes ? at : bytes - 1));
}

static void prepare(struct rt_assigner *a, const struct target *t, size_t begin, size_t end)
{
    for (size_t row = begin; row < end; row++) {
        prefetch_code(a, t, row + 8);
        a->n_listed[row] = 0;
        a->wants_all[row] = !prepare_row(a, t, row);
        if (a->wants_all[row]) { /* no slot may pass */
            a->code_of[row] = memset(a->codes + row * a->code_stride, 128, a->code_stride);
            a->row_scale[row] = 0;
            a->bound[row] = (struct rt_row_bound){0, 0, 0, 0};
        }
        a->threshold[row] = a->wants_all[row] ? -INFINITY : INFINITY;
    }
}

/* Takes off a row's list what cannot be among the best any more. */
static void prune(struct rt_assigner *a, const struct target *t, size_t row)
{
    float *values = t->list_a + row * t->room;
    uint32_t *ids = t->list_id + row * t->room;
    uint32_t n = a->n_listed[row];
    float most;
    uint32_t kept = 0;
    if (t->best == 1) { /* values are a - b */
        most = a->threshold[row];
    } else {
        float next;
        float b = rt_bound(t->set, &a->bound[row], t->set->most_p, t->set->most_w);
        if (n <= t->best)
            return;
        a->kernels->find_rank(values, n, t->best, &most, &next);
        a->threshold[row] = most + b;
        most = capped(a->threshold[row] + b);
    }
    for (uint32_t i = 0; i < n; i++) {
        values[kept] = values[i];
        ids[kept] = ids[i];
        kept += values[i] <= most;
    }
    a->n_listed[row] = kept;
}

static void overflow(struct rt_assigner *a, size_t row)
{
    a->wants_all[row] = 1;
    a->n_listed[row] = 0;
    a->threshold[row] = -INFINITY;
}

/* Makes room for as many as a tile can bring; false: the list is full of true candidates. */
static bool has_room(struct rt_assigner *a, const struct target *t, size_t row, size_t n)
{
    if (a->n_listed[row] + n <= t->room)
        return true;
    prune(a, t, row);
    if (a->n_listed[row] + n <= t->room)
        return true;
    overflow(a, row);
    return false;
}

static void list_nearest(struct rt_assigner *a, const struct target *t, const struct tile *tile,
                         size_t row, const float *values, uint64_t mask)
{
    float *lows = t->list_a + row * t->room;
    uint32_t *ids = t->list_id + row * t->room;
    for (; mask; mask &= mask - 1) {
        int slot = __builtin_ctzll(mask);
        float b = rt_bound(t->set, &a->bound[row], tile->p[slot], tile->w[slot]);
        float low = values[slot] - b;
        float high = values[slot] + b;
        if (!(low <= a->threshold[row]))
            continue;
        if (high < a->threshold[row])
            a->threshold[row] = high;
        if (!has_room(a, t, row, 1))
            return;
        lows[a->n_listed[row]] = low;
        ids[a->n_listed[row]++] = tile->ids[slot];
    }
}

static void list_best(struct rt_assigner *a, const struct target *t, const struct tile *tile,
                      size_t row, const float *values, uint64_t mask)
{
    if (!has_room(a, t, row, (size_t)__builtin_popcountll(mask) + SPARE))
        return;
    size_t end = row * t->room + a->n_listed[row];
    a->n_listed[row] +=
        (uint32_t)a->kernels->pick(values, tile->ids, mask, t->list_a + end, t->list_id + end);
}

/* a-values of one row's tile are known: values, and the least of them. */
static void list_seeded(struct rt_assigner *a, const struct target *t, const struct tile *tile,
                        size_t row, const float *values, float least)
{
    float b = rt_bound(t->set, &a->bound[row], tile->most_p, tile->most_w);
    if (t->best == 1 && least + b < a->threshold[row])
        a->threshold[row] = least + b;
    uint64_t mask =
        a->kernels->at_most(values, 16 * tile->products.n_groups, capped(a->threshold[row] + b));
    if (mask)
        (t->best == 1 ? list_nearest : list_best)(a, t, tile, row, values, mask);
}

static void tile_by_codes(struct rt_assigner *a, const struct target *t, const struct tile *tile,
                          const uint32_t *rows, size_t n)
{
    const uint8_t *codes[BLOCK];
    float scale[BLOCK];
    float threshold[BLOCK];
    uint64_t mask[BLOCK];
    float least[BLOCK];
    bool is_seeded = true;
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        size_t row = rows[i];
        float b = rt_bound(t->set, &a->bound[row], tile->most_p, tile->most_w);
        codes[i] = a->code_of[row];
        scale[i] = a->row_scale[row];
        threshold[i] = capped(a->threshold[row] + b);
        is_seeded &= threshold[i] < FLT_MAX || t->best > 1;
    }
    a->kernels->int8_tile(&tile->products, codes, n, scale, threshold, a->a, mask,
                          is_seeded ? NULL : least);
    for (size_t i = 0; i < n; i++) {
        if (!is_seeded)
            list_seeded(a, t, tile, rows[i], a->a + i * TILE, least[i]);
        else if (mask[i])
            (t->best == 1 ? list_nearest : list_best)(a, t, tile, rows[i], a->a + i * TILE,
                                                      mask[i]);
    }
}

/* Centroids of a tile, centred, as rows for BLAS. */
static void centre_tile(struct rt_assigner *a, const struct target *t, const struct tile *tile,
                        float *out)
{
    const struct rt_centroid_set *set = t->set;
    for (size_t slot = 0; slot < 16 * tile->products.n_groups; slot++, out += a->dim) {
        if (tile->ids[slot] == UINT32_MAX)
            memset(out, 0, a->dim * sizeof *out);
        else
            (void)a->kernels->centre(set->centroids + (size_t)tile->ids[slot] * a->dim, set->mean,
                                     a->dim, out);
    }
}

/* Rows are centred in gemm_rows. */
static void tiles_by_gemm(struct rt_assigner *a, const struct target *t, const struct tile *tiles,
                          size_t n_tiles, const uint32_t *rows, size_t n)
{
    size_t width = 0;
    for (size_t i = 0; i < n_tiles; i++) {
        centre_tile(a, t, &tiles[i], a->gemm_centroids + width * a->dim);
        width += 16 * tiles[i].products.n_groups;
    }
    rt_gemm(n, width, a->dim, a->gemm_rows, a->gemm_centroids, a->a, width);
    for (size_t r = 0; r < n; r++) {
        float *values = a->a + r * width;
        for (size_t i = 0; i < n_tiles; i++) {
            size_t some = 16 * tiles[i].products.n_groups;
            float least = a->kernels->scale_products(values, tiles[i].products.norm,
                                                     t->set->is_ip ? -1.0f : -2.0f, some);
            list_seeded(a, t, &tiles[i], rows[r], values, least);
            values += some;
        }
    }
}

/* Where a walk over tiles gets them: whole groups of the set, or numbers begin..begin + n to
 * gather.
 */
struct source {
    uint32_t first_group, n_groups;
    uint32_t begin, n;
    bool is_gathered;
};

static size_t n_tiles_of(const struct source *s)
{
    return s->is_gathered ? (s->n + TILE - 1) / TILE : (s->n_groups + 3) / 4;
}

/* Where a slot's codes begin: [group][step][16][4]. */
static size_t place_of(size_t slot, size_t n_steps)
{
    return slot / 16 * n_steps * 64 + slot % 16 * 4;
}

static void gather(struct rt_assigner *a, const struct rt_centroid_set *set, const struct source *s,
                   size_t index, struct tile *out)
{
    struct packed *packed = a->packed;
    size_t n_steps = a->code_stride / 4;
    uint32_t at = (uint32_t)(index * TILE);
    uint32_t n = s->n - at < TILE ? s->n - at : TILE;
    size_t n_groups = (n + 15) / 16;
    out->most_p = out->most_w = 0;
    for (uint32_t i = 0; i < 16 * n_groups; i++) {
        int8_t *to = packed->codes + place_of(i, n_steps);
        bool is_empty = i >= n;
        uint32_t id = is_empty ? s->begin : s->begin + at + i;
        uint32_t slot = set->slot_of[id];
        const int8_t *from = set->codes + place_of(slot, n_steps);
        for (size_t step = 0; step < n_steps; step++)
            memcpy(to + step * 64, from + step * 64, 4);
        packed->ids[i] = is_empty ? UINT32_MAX : id;
        packed->scale[i] = set->scale[slot];
        packed->norm[i] = is_empty ? INFINITY : set->norm[slot];
        packed->p[i] = set->p[slot];
        packed->w[i] = set->w[slot];
        packed->sums[i] = set->sums[slot];
        out->most_p = packed->p[i] > out->most_p ? packed->p[i] : out->most_p;
        out->most_w = packed->w[i] > out->most_w ? packed->w[i] : out->most_w;
    }
    out->products = (struct rt_int8_tile){packed->codes, packed->scale, packed->norm,
                                          packed->sums,  n_groups,      n_steps};
    out->ids = packed->ids;
    out->p = packed->p;
    out->w = packed->w;
}

static void tile_of(struct rt_assigner *a, const struct rt_centroid_set *set,
                    const struct source *s, size_t index, struct tile *out)
{
    if (s->is_gathered) {
        gather(a, set, s, index, out);
        return;
    }
    size_t n_tiles = n_tiles_of(s); /* of about the same size */
    size_t group = s->first_group + s->n_groups * index / n_tiles;
    size_t end = s->first_group + s->n_groups * (index + 1) / n_tiles;
    size_t n_steps = a->code_stride / 4;
    out->products = (struct rt_int8_tile){set->codes + group * n_steps * 64,
                                          set->scale + 16 * group,
                                          set->norm + 16 * group,
                                          set->sums + 16 * group,
                                          end - group,
                                          n_steps};
    out->ids = set->id_of + 16 * group;
    out->p = set->p + 16 * group;
    out->w = set->w + 16 * group;
    out->most_p = out->most_w = 0;
    for (; group < end; group++) {
        out->most_p = set->group_p[group] > out->most_p ? set->group_p[group] : out->most_p;
        out->most_w = set->group_w[group] > out->most_w ? set->group_w[group] : out->most_w;
    }
}

static void propose_by_codes(struct rt_assigner *a, const struct target *t,
                             const struct source *source, const uint32_t *rows, size_t n)
{
    size_t n_tiles = n_tiles_of(source);
    for (size_t index = 0; index < n_tiles; index++) {
        struct tile tile;
        tile_of(a, t->set, source, index, &tile);
        for (size_t at = 0; at < n; at += BLOCK)
            tile_by_codes(a, t, &tile, rows + at, n - at < BLOCK ? n - at : BLOCK);
    }
}

static void propose_by_gemm(struct rt_assigner *a, const struct target *t,
                            const struct source *source, const uint32_t *rows, size_t n)
{
    size_t n_tiles = n_tiles_of(source);
    size_t at_once = source->is_gathered ? 1 : a->sizes.gemm_tiles; /* packed holds one */
    for (size_t at = 0; at < n; at += a->sizes.gemm_rows) {
        size_t some = n - at < a->sizes.gemm_rows ? n - at : a->sizes.gemm_rows;
        for (size_t i = 0; i < some; i++)
            (void)a->kernels->centre(values_of(a, t, rows[at + i]),
                                     t->set->is_ip ? NULL : t->set->mean, a->dim,
                                     a->gemm_rows + i * a->dim);
        for (size_t index = 0; index < n_tiles;) {
            struct tile tiles[GEMM_TILES];
            size_t n_here = 0;
            while (n_here < at_once && index < n_tiles)
                tile_of(a, t->set, source, index++, &tiles[n_here++]);
            tiles_by_gemm(a, t, tiles, n_here, rows + at, some);
        }
    }
}

/* Shows the source's centroids to these rows of the batch. */
static void propose(struct rt_assigner *a, const struct target *t, const struct source *source,
                    const uint32_t *rows, size_t n)
{
    if (a->proposer == RT_PROPOSE_NONE || !t->set->can_propose)
        return;
    if (a->proposer == RT_PROPOSE_SGEMM)
        propose_by_gemm(a, t, source, rows, n);
    else
        propose_by_codes(a, t, source, rows, n);
}

/* ---- decisions ---- */

static float just_below(float value)
{
    return value - (fabsf(value) * 0x1p-22f + 0x1p-140f);
}

/* Sorts the open ones of part_list by their own bounds, not the widest. sure: a + b < low, out: a -
 * b > high. */
static void part_open(struct rt_assigner *a, const struct target *t, size_t row, size_t begin,
                      uint64_t open, float low, float high, size_t *n_sure, size_t *n_open)
{
    const float *values = t->list_a + row * t->room + begin;
    const uint32_t *ids = t->list_id + row * t->room + begin;
    uint32_t *last = a->numbers + measured_most(a->max_beam);
    for (; open; open &= open - 1) {
        int i = __builtin_ctzll(open);
        uint32_t slot = t->set->slot_of[ids[i]];
        float b = rt_bound(t->set, &a->bound[row], t->set->p[slot], t->set->w[slot]);
        if (!(values[i] - b <= high))
            continue;
        if (values[i] + b < low) {
            a->distances[*n_sure] = values[i];
            a->numbers[(*n_sure)++] = ids[i];
        } else {
            *(last - ++*n_open) = ids[i];
        }
    }
}

/* The candidates on the list of a row, A > 1, with more than A of them: sure ones (a in
 * `distances`) to `numbers` from the front, those that E must decide behind them. Returns the
 * number of sure ones; *n_open of the others. */
static size_t part_list(struct rt_assigner *a, const struct target *t, size_t row, size_t *n_open)
{
    const float *values = t->list_a + row * t->room;
    const uint32_t *ids = t->list_id + row * t->room;
    size_t n = a->n_listed[row];
    float at;
    float next;
    float most = rt_bound(t->set, &a->bound[row], t->set->most_p, t->set->most_w);
    a->kernels->find_rank(values, n, t->best, &at, &next);
    size_t n_sure = 0;
    size_t open = 0;
    for (size_t begin = 0; begin < n; begin += TILE) {
        size_t some = n - begin < TILE ? n - begin : TILE;
        uint64_t all = UINT64_MAX >> (TILE - some);
        some = (some + 15) / 16 * 16;
        uint64_t maybe = a->kernels->at_most(values + begin, some, at + 2 * most) & all;
        uint64_t sure =
            a->kernels->at_most(values + begin, some, just_below(next - 2 * most)) & all;
        n_sure += a->kernels->pick(values + begin, ids + begin, sure, a->distances + n_sure,
                                   a->numbers + n_sure);
        part_open(a, t, row, begin, maybe & ~sure, next - most, at + most, &n_sure, &open);
    }
    memmove(a->numbers + n_sure, a->numbers + measured_most(a->max_beam) - open,
            open * sizeof *a->numbers);
    *n_open = open;
    return n_sure;
}

static void make_keys(struct rt_assigner *a, const struct target *t, size_t row,
                      const uint32_t *numbers, size_t n)
{
    measure(a, t, row, numbers, n, a->distances);
    a->candidates += n;
    for (size_t i = 0; i < n; i++)
        a->keys[i] = key_of(a->distances[i], numbers[i]);
}

/* The best of the row's list by E, as sorted keys in a->keys. */
static size_t best_by_e(struct rt_assigner *a, const struct target *t, size_t row,
                        const uint32_t *numbers, size_t n)
{
    make_keys(a, t, row, numbers, n);
    sort_keys(a->keys, n);
    return n < t->best ? n : t->best;
}

static void write_nearest(struct rt_assigner *a, const struct target *t, size_t row,
                          uint32_t *out_list, float *out_distance)
{
    uint32_t *ids = t->list_id + row * t->room;
    if (!a->wants_all[row])
        prune(a, t, row);
    size_t n = a->n_listed[row];
    if (n == 1 && !out_distance) { /* B3 */
        *out_list = ids[0];
        a->candidates++;
        return;
    }
    n = a->wants_all[row] || n == 0 ? best_of_all(a, t, row, a->keys, &a->candidates)
                                    : best_by_e(a, t, row, ids, n);
    *out_list = n ? (uint32_t)a->keys[0] : UINT32_MAX;
    if (out_distance)
        *out_distance = n ? distance_of(a->keys[0]) : INFINITY;
}

/* A row that sees the children of its nearest cell first has a low T for all others. */
static void put_nearest_first(uint32_t *kept, const float *values, size_t n)
{
    size_t least = 0;
    for (size_t i = 1; i < n; i++)
        least = values[i] < values[least] ? i : least;
    if (n > 0) {
        uint32_t first = kept[0];
        kept[0] = kept[least];
        kept[least] = first;
    }
}

/* The set of the best of one row, in any order and without E where the bounds tell: out has room
 * for t->best. Returns how many. */
static size_t keep_best(struct rt_assigner *a, const struct target *t, size_t row, uint32_t *out)
{
    size_t n = a->n_listed[row];
    if (t->best == 1) {
        write_nearest(a, t, row, out, NULL);
        return 1;
    }
    if (a->wants_all[row] || n == 0) {
        n = best_of_all(a, t, row, a->keys, &a->candidates);
        for (size_t i = 0; i < n; i++)
            out[i] = (uint32_t)a->keys[i];
        return n;
    }
    if (n <= t->best) {
        memcpy(out, t->list_id + row * t->room, n * sizeof *out);
        return n;
    }
    size_t n_open;
    size_t n_sure = part_list(a, t, row, &n_open);
    rt_assert(n_sure <= t->best && n_sure + n_open >= t->best);
    memcpy(out, a->numbers, n_sure * sizeof *out);
    put_nearest_first(out, a->distances, n_sure);
    size_t wanted = t->best - n_sure;
    if (n_open > wanted) {
        make_keys(a, t, row, a->numbers + n_sure, n_open);
        select_keys(a->keys, n_open, wanted);
        for (size_t i = 0; i < wanted; i++)
            out[n_sure + i] = (uint32_t)a->keys[i];
    } else {
        memcpy(out + n_sure, a->numbers + n_sure, n_open * sizeof *out);
        wanted = n_open;
    }
    return n_sure + wanted;
}

/* The same, sorted by (E, number), with distances (may be NULL), filled up with UINT32_MAX. */
static void write_best(struct rt_assigner *a, const struct target *t, size_t row,
                       uint32_t *out_list, float *out_distance)
{
    size_t n = a->n_listed[row];
    if (a->wants_all[row] || n == 0) {
        n = best_of_all(a, t, row, a->keys, &a->candidates);
    } else {
        const uint32_t *numbers = t->list_id + row * t->room;
        if (n > t->best) {
            size_t n_open;
            n = part_list(a, t, row, &n_open);
            n += n_open;
            numbers = a->numbers;
        }
        n = best_by_e(a, t, row, numbers, n);
    }
    for (size_t i = 0; i < t->best; i++) {
        out_list[i] = i < n ? (uint32_t)a->keys[i] : UINT32_MAX;
        if (out_distance)
            out_distance[i] = i < n ? distance_of(a->keys[i]) : INFINITY;
    }
}

#ifdef RT_CHECKS
/* B10: every 1,000th row again, by E over all of T; sorted tells whether list is. */
static void check_row(struct rt_assigner *a, const struct target *t, size_t row,
                      const uint32_t *list, bool is_sorted)
{
    uint64_t n_measured = 0;
    if ((a->rows + row) % 1000)
        return;
    size_t n = best_of_all(a, t, row, a->keys, &n_measured);
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        if (!is_sorted)
            for (j = 0; j + 1 < n && list[j] != (uint32_t)a->keys[i];)
                j++;
        rt_assert(list[j] == (uint32_t)a->keys[i]);
    }
}
#else
static void check_row(struct rt_assigner *a, const struct target *t, size_t row,
                      const uint32_t *list, bool is_sorted)
{
    (void)a, (void)t, (void)row, (void)list, (void)is_sorted;
}
#endif

static void write_sets(struct rt_assigner *a, const struct target *t, uint32_t *out)
{
    for (size_t row = 0; row < t->n_rows; row++, out += t->best) {
        for (size_t n = keep_best(a, t, row, out); n < t->best; n++)
            out[n] = UINT32_MAX;
        check_row(a, t, row, out, false);
    }
}

static void write_rows(struct rt_assigner *a, const struct target *t, uint32_t *out_list,
                       float *out_distance)
{
    for (size_t row = 0; row < t->n_rows; row++) {
        size_t at = row * t->best;
        (t->best == 1 ? write_nearest : write_best)(a, t, row, out_list + at,
                                                    out_distance ? out_distance + at : NULL);
        check_row(a, t, row, out_list + at, true);
    }
}

/* ---- the calls ---- */

static void *carve(char **at, size_t bytes)
{
    void *part = *at;
    *at += (bytes + 63) / 64 * 64;
    return part;
}

static void carve_lists(struct target *t, size_t n_rows, char **at)
{
    t->room = room_for(t->best);
    t->list_a = carve(at, n_rows * t->room * sizeof *t->list_a);
    t->list_id = carve(at, n_rows * t->room * sizeof *t->list_id);
}

static void check_call(const struct rt_assigner *a, uint32_t dim, size_t n_rows, uint32_t most)
{
    if (dim != a->dim || n_rows > a->max_rows || most > a->max_beam)
        rt_die("%zu rows of dimension %u for %u best, but the assigner is for %zu, %u and %u",
               n_rows, dim, most, a->max_rows, a->dim, a->max_beam);
}

/* Rows against a whole set. */
static void assign_flat(struct rt_assigner *a, const struct rt_centroid_set *set, const float *rows,
                        const struct rt_coded *coded, size_t n_rows, uint32_t count, bool is_sorted,
                        uint32_t *out_list, float *out_distance)
{
    struct source source = {.n_groups = set->n_groups};
    if (count == 0)
        return;
    check_call(a, set->dim, coded ? 0 : n_rows, count);
    size_t n_batch = batch_for(a, count);
    size_t at_once = a->proposer == RT_PROPOSE_SGEMM ? a->sizes.gemm_rows : BLOCK;
    at_once = at_once > n_batch ? n_batch : at_once;
    for (size_t at = 0; at < n_rows; at += at_once) {
        uint32_t numbers[BATCH];
        char *arena = a->arena;
        struct target t = {.set = set,
                           .rows = coded ? NULL : rows + at * a->dim,
                           .coded = coded,
                           .first = at,
                           .n_rows = n_rows - at < at_once ? n_rows - at : at_once,
                           .best = count};
        carve_lists(&t, at_once, &arena);
        for (uint32_t i = 0; i < t.n_rows; i++)
            numbers[i] = i;
        prepare(a, &t, 0, t.n_rows);
        propose(a, &t, &source, numbers, t.n_rows);
        if (is_sorted)
            write_rows(a, &t, out_list + at * count,
                       out_distance ? out_distance + at * count : NULL);
        else
            write_sets(a, &t, out_list + at * count);
        a->rows += t.n_rows;
    }
}

void rt_assign_nearest(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                       const float *rows, size_t n_rows, uint32_t *out_list, float *out_distance)
{
    assign_flat(assigner, set, rows, NULL, n_rows, 1, true, out_list, out_distance);
}

void rt_assign_best(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                    const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                    float *out_distance)
{
    assign_flat(assigner, set, rows, NULL, n_rows, count, true, out_list, out_distance);
}

void rt_assign_best_unsorted(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                             const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list)
{
    assign_flat(assigner, set, rows, NULL, n_rows, count, false, out_list, NULL);
}

void rt_assign_coded(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                     const struct rt_coded *rows, size_t n_rows, uint32_t *out_list,
                     float *out_distance)
{
    assign_flat(assigner, set, NULL, rows, n_rows, 1, true, out_list, out_distance);
}

struct descent {
    const struct rt_tree *tree;
    struct rt_centroid_set *const *sets;
    uint32_t beams[RT_MAX_LEVELS]; /* capped; of the leaves: count */
    uint32_t *kept[2];
    struct pair *pairs[2];
    char *lists;
};

/* Pairs in order of cell, stable, by bytes of the cell's number. Returns where they end up. */
static struct pair *sort_pairs(struct pair *pairs, struct pair *other, size_t n, uint32_t n_cells)
{
    for (unsigned shift = 0; shift < 32 && (n_cells - 1) >> shift; shift += 8) {
        uint32_t start[257] = {0};
        for (size_t i = 0; i < n; i++)
            start[(pairs[i].cell >> shift & 255) + 1]++;
        for (size_t b = 0; b < 256; b++)
            start[b + 1] += start[b];
        for (size_t i = 0; i < n; i++)
            other[start[pairs[i].cell >> shift & 255]++] = pairs[i];
        struct pair *swap = pairs;
        pairs = other;
        other = swap;
    }
    return pairs;
}

static void source_of_cell(const struct target *t, uint32_t n_cells, uint32_t cell,
                           struct source *out)
{
    const struct rt_centroid_set *set = t->set;
    memset(out, 0, sizeof *out);
    if (set->n_cells == n_cells) {
        out->first_group = set->first_slot[cell] / 16;
        out->n_groups = set->first_slot[cell + 1] / 16 - out->first_group;
    } else {
        out->is_gathered = true;
        out->begin = t->first_child[cell];
        out->n = t->first_child[cell + 1] - out->begin;
    }
}

/* Shows each row the children of its kept cells begin..end, cell by cell. */
static void propose_children(struct rt_assigner *a, const struct descent *d, const struct target *t,
                             uint32_t n_cells, size_t begin, size_t end)
{
    uint32_t rows[BATCH];
    size_t n = 0;
    for (size_t row = 0; row < t->n_rows; row++)
        for (size_t i = begin; i < end; i++) {
            d->pairs[0][n] = (struct pair){t->kept[row * t->n_kept + i], (uint32_t)row};
            n += d->pairs[0][n].cell != UINT32_MAX;
        }
    struct pair *pairs = sort_pairs(d->pairs[0], d->pairs[1], n, n_cells);
    for (size_t i = 0; i < n;) {
        struct source source;
        uint32_t cell = pairs[i].cell;
        size_t n_here = 0;
        for (; i < n && pairs[i].cell == cell; i++)
            rows[n_here++] = pairs[i].row;
        source_of_cell(t, n_cells, cell, &source);
        propose(a, t, &source, rows, n_here);
    }
}

static struct target target_of(const struct descent *d, uint32_t l, const float *rows,
                               size_t n_rows, const struct target *above)
{
    struct target t = {.set = d->sets[l], .rows = rows, .n_rows = n_rows, .best = d->beams[l]};
    if (above) {
        t.first_child = d->tree->levels[l - 1].first_child;
        t.kept = d->kept[(l - 1) % 2];
        t.n_kept = above->best;
    }
    return t;
}

/* Level l of the descent: the kept cells of each row, or at the leaves the answer. */
static void descend(struct rt_assigner *a, const struct descent *d, struct target *t, uint32_t l,
                    uint32_t *out_list, float *out_distance)
{
    bool is_leaf = l + 1 == d->tree->n_levels;
    uint32_t *kept = d->kept[l % 2];
    uint32_t n = d->tree->levels[l].n;
    if (l == 0 && !is_leaf && t->best == n) { /* a beam as wide as the level keeps all */
        for (size_t row = 0; row < t->n_rows; row++)
            for (uint32_t i = 0; i < n; i++)
                kept[row * n + i] = i;
        return;
    }
    char *lists = d->lists;
    carve_lists(t, t->n_rows, &lists);
    prepare(a, t, 0, t->n_rows);
    if (t->first_child) {
        propose_children(a, d, t, d->tree->levels[l - 1].n, 0, 1);
        propose_children(a, d, t, d->tree->levels[l - 1].n, 1, t->n_kept);
    } else {
        uint32_t numbers[BATCH];
        struct source source = {.n_groups = t->set->n_groups};
        for (uint32_t i = 0; i < t->n_rows; i++)
            numbers[i] = i;
        propose(a, t, &source, numbers, t->n_rows);
    }
    if (is_leaf) {
        write_rows(a, t, out_list, out_distance);
        return;
    }
    write_sets(a, t, kept); /* filled up where there are fewer children than the beam is wide */
}

void rt_assign_tree_best(struct rt_assigner *assigner, const struct rt_tree *tree,
                         struct rt_centroid_set *const *sets, const uint32_t *beams,
                         const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                         float *out_distance)
{
    struct descent d = {.tree = tree, .sets = sets};
    uint32_t most = count;
    if (count == 0)
        return;
    for (uint32_t l = 0; l + 1 < tree->n_levels; l++) {
        uint32_t n = tree->levels[l].n;
        d.beams[l] = beams[l] < n ? beams[l] : n;
        d.beams[l] = d.beams[l] ? d.beams[l] : 1;
        most = d.beams[l] > most ? d.beams[l] : most;
    }
    d.beams[tree->n_levels - 1] = count;
    check_call(assigner, tree->dim, n_rows, most);
    size_t n_batch = batch_for(assigner, most);
    for (size_t at = 0; at < n_rows; at += n_batch) {
        size_t n = n_rows - at < n_batch ? n_rows - at : n_batch;
        char *arena = assigner->arena;
        struct target above;
        for (int i = 0; i < 2; i++) {
            d.kept[i] = carve(&arena, n * most * sizeof *d.kept[i]);
            d.pairs[i] = carve(&arena, n * most * sizeof *d.pairs[i]);
        }
        d.lists = arena;
        for (uint32_t l = 0; l < tree->n_levels; l++) {
            struct target t = target_of(&d, l, rows + at * tree->dim, n, l ? &above : NULL);
            descend(assigner, &d, &t, l, out_list + at * count,
                    out_distance ? out_distance + at * count : NULL);
            above = t;
        }
        assigner->rows += n;
    }
}

void rt_assign_tree(struct rt_assigner *assigner, const struct rt_tree *tree,
                    struct rt_centroid_set *const *sets, uint32_t beam, const float *rows,
                    size_t n_rows, uint32_t *out_list, float *out_distance)
{
    uint32_t beams[RT_MAX_LEVELS];
    for (int l = 0; l < RT_MAX_LEVELS; l++)
        beams[l] = beam;
    rt_assign_tree_best(assigner, tree, sets, beams, rows, n_rows, 1, out_list, out_distance);
}
