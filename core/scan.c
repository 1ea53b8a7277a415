#include "core/scan.h"

#include "core/block.h"
#include "core/code.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define SLICE 16u        /* queries that share one pass over a chunk of a list's blocks */
#define CHUNK_BLOCKS 64u /* 2,048 rows: their codes and factors stay in the cache meanwhile */
#define GOOD_BUFFER 512u
#define PREFETCH_BYTES ((size_t)512) /* of a vector; the hardware follows from there */
#define DIGIT_BITS 11u
#define SPARE_SEEDS 2u /* measured for a first tau beside the k */

/* A row that may be among the k least: its bound was <= tau when it was kept. What is compared is
 * kept apart, in 8 bytes: order_of(bound) << 32 | number of the row. */
struct row {
    uint64_t id;
    struct rt_place place;
};

struct query {
    struct rt_topk top;
    float limit;          /* tau from outside (I5), +infinity without */
    uint32_t n;           /* candidates */
    uint32_t n_rows;      /* places of rows taken, those of candidates gone included */
    uint32_t n_seeds;     /* measured for a first tau */
    uint64_t *candidates; /* a min-heap while they are measured, else unordered */
    struct row *rows;
    struct rt_scan_count count;
};

struct rt_scanner {
    struct rt_scan_source source;
    struct rt_scan_options options;
    const struct rt_scan_kernels *kernels;
    rt_row_distance *distance;
    bool is_ip, is_residual;
    uint32_t dim, n_groups, n_factors, n_lists;
    size_t row_bytes;
    struct rt_scan_batch batch; /* the one being searched */
    struct query *queries;
    struct rt_hit *hits;     /* k of each query */
    uint64_t *candidates;    /* buffer of each query */
    struct row *rows;        /* buffer of each query, and of one more */
    uint64_t *seeds;         /* first_few: the complements of candidates */
    uint64_t *pairs, *spare; /* list << 32 | query << 1 | (its nearest list: 0) */
    size_t n_pairs;
    struct rt_scan_table *tables; /* residual: of one slice; else of every query */
    uint8_t *entries;
    float *difference; /* v - c, padded to 16 */
    const struct rt_scan_table *slice_tables[SLICE];
    struct query *slice[SLICE];
    float bounds[CHUNK_BLOCKS * RT_BLOCK_ROWS];
    uint32_t kept[CHUNK_BLOCKS];
    size_t digits[1u << DIGIT_BITS];
};

/* ---- making and freeing ---- */

static rt_row_distance *distance_for(enum rt_metric metric, enum rt_element element)
{
    const struct rt_scan_kernels *kernels = &rt_kernels()->scan;
    return metric == RT_IP       ? kernels->row_ip[element]
           : metric == RT_COSINE ? kernels->row_cosine[element]
                                 : kernels->row_l2[element];
}

float rt_scan_distance(enum rt_metric metric, enum rt_element element, const float *query,
                       const void *row, uint32_t dim)
{
    return distance_for(metric, element)(query, row, dim);
}

struct sizes { /* entries of each array */
    size_t queries, hits, candidates, rows, seeds, pairs, tables, entries, difference;
};

static size_t product(size_t a, size_t b) /* SIZE_MAX where it overflows: refused as memory */
{
    size_t result = 0;
    return __builtin_mul_overflow(a, b, &result) ? SIZE_MAX : result;
}

static uint32_t buffer_of(const struct rt_scan_options *options)
{
    if (options->buffer == 0)
        return GOOD_BUFFER;
    return options->buffer < RT_SCAN_MIN_BUFFER ? RT_SCAN_MIN_BUFFER : options->buffer;
}

static struct sizes sizes_of(const struct rt_scan_source *source,
                             const struct rt_scan_options *options)
{
    struct sizes s;
    size_t groups = ((size_t)rt_block_groups(source->tree->dim) + 3) / 4 * 4;
    s.queries = options->max_queries;
    s.hits = product(s.queries, options->k);
    s.candidates = product(s.queries, buffer_of(options));
    s.rows = product(s.queries + 1, buffer_of(options));
    s.seeds = (size_t)options->k + SPARE_SEEDS;
    s.pairs = product(s.queries, options->max_probes);
    s.tables = source->tree->residual ? SLICE : s.queries;
    s.entries = product(s.tables, groups * 16);
    s.difference = ((size_t)source->tree->dim + 15) / 16 * 16;
    return s;
}

size_t rt_scanner_bytes(const struct rt_scan_source *source, const struct rt_scan_options *options)
{
    struct sizes s = sizes_of(source, options);
    const size_t parts[] = {product(s.queries, sizeof(struct query)),
                            product(s.hits, sizeof(struct rt_hit)),
                            product(s.candidates, sizeof(uint64_t)),
                            product(s.rows, sizeof(struct row)),
                            product(s.seeds, sizeof(uint64_t)),
                            product(s.pairs, 2 * sizeof(uint64_t)),
                            product(s.tables, sizeof(struct rt_scan_table)),
                            s.entries,
                            s.difference * sizeof(float)};
    size_t total = sizeof(struct rt_scanner);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (__builtin_add_overflow(total, parts[i], &total))
            return SIZE_MAX;
    return total;
}

enum rt_status rt_scanner_new(const struct rt_scan_source *source,
                              const struct rt_scan_options *options, struct rt_scanner **out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_scanner *s = NULL;
    const struct rt_tree *tree = source->tree;
    struct sizes n = sizes_of(source, options);
    rt_assert(options->k > 0 && options->max_queries > 0 && options->max_probes > 0);
    rt_assert(options->max_queries <= INT32_MAX);
    RT_TRY(rt_array_zero(1, sizeof *s, &s, err));
    s->source = *source;
    s->options = *options;
    s->options.buffer = buffer_of(options);
    s->kernels = &rt_kernels()->scan;
    s->distance = distance_for(tree->metric, source->element);
    s->is_ip = tree->metric == RT_IP;
    s->is_residual = tree->residual;
    s->dim = tree->dim;
    s->n_groups = rt_block_groups(tree->dim);
    s->n_factors = rt_code_n_factors(tree->metric);
    s->n_lists = rt_tree_leaves(tree)->n;
    s->row_bytes = tree->dim * rt_element_size(source->element);
    RT_TRY(rt_array_new(n.queries, sizeof *s->queries, &s->queries, err));
    RT_TRY(rt_array_new(n.hits, sizeof *s->hits, &s->hits, err));
    RT_TRY(rt_array_new(n.candidates, sizeof *s->candidates, &s->candidates, err));
    RT_TRY(rt_array_new(n.rows, sizeof *s->rows, &s->rows, err));
    RT_TRY(rt_array_new(n.seeds, sizeof *s->seeds, &s->seeds, err));
    RT_TRY(rt_array_new(n.pairs, sizeof *s->pairs, &s->pairs, err));
    RT_TRY(rt_array_new(n.pairs, sizeof *s->spare, &s->spare, err));
    RT_TRY(rt_array_new(n.tables, sizeof *s->tables, &s->tables, err));
    RT_TRY(rt_array_zero(n.entries, 1, &s->entries, err));
    RT_TRY(rt_array_new(n.difference, sizeof *s->difference, &s->difference, err));
    *out = s;
    s = NULL;
done:
    rt_scanner_free(s);
    return st;
}

void rt_scanner_free(struct rt_scanner *s)
{
    if (!s)
        return;
    rt_array_free(s->queries);
    rt_array_free(s->hits);
    rt_array_free(s->candidates);
    rt_array_free(s->rows);
    rt_array_free(s->seeds);
    rt_array_free(s->pairs);
    rt_array_free(s->spare);
    rt_array_free(s->tables);
    rt_array_free(s->entries);
    rt_array_free(s->difference);
    rt_array_free(s);
}

/* ---- measuring: lazy rerank of one query (rabitq.md 6, I1) ---- */

static float tau_of(const struct query *q)
{
    float bound = rt_topk_bound(&q->top);
    return bound < q->limit ? bound : q->limit;
}

/* Unsigned numbers in the order of the floats, both zeros alike. */
static uint32_t order_of(float x)
{
    uint32_t bits = 0;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 1u << 31 ? ~bits : bits | 1u << 31;
}
static float bound_of(uint64_t candidate)
{
    uint32_t order = (uint32_t)(candidate >> 32);
    uint32_t bits = order & 1u << 31 ? order & ~(1u << 31) : ~order;
    float x = 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}
/* The greatest candidate whose bound is <= tau. */
static uint64_t last_within(float tau)
{
    return (uint64_t)order_of(tau) << 32 | UINT32_MAX;
}

static void sift_down(uint64_t *heap, uint32_t n, uint32_t hole)
{
    uint64_t moved = heap[hole];
    for (uint64_t child; (child = 2 * (uint64_t)hole + 1) < n; hole = (uint32_t)child) {
        if (child + 1 < n)
            child += heap[child + 1] < heap[child];
        if (moved <= heap[child])
            break;
        heap[hole] = heap[child];
    }
    heap[hole] = moved;
}

/* Takes the least out. The hole goes down to a leaf before the last comes in, and hardly rises: no
 * branch to guess. */
static uint64_t pop(uint64_t *heap, uint32_t *n)
{
    const uint64_t least = heap[0];
    const uint64_t last = heap[--*n];
    const size_t count = *n;
    size_t hole = 0;
    size_t child = 1;
    for (; child + 1 < count; child = 2 * hole + 1) {
        child += heap[child + 1] < heap[child];
        heap[hole] = heap[child];
        hole = child;
    }
    if (child < count) {
        heap[hole] = heap[child];
        hole = child;
    }
    for (size_t parent; hole > 0 && heap[parent = (hole - 1) / 2] > last; hole = parent)
        heap[hole] = heap[parent];
    heap[hole] = last;
    return least;
}

/* Drops what cannot be among the k least any more and makes a heap of the rest. */
static void make_heap(struct query *q)
{
    const uint64_t limit = last_within(tau_of(q));
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n; i++) {
        q->candidates[n] = q->candidates[i];
        n += q->candidates[i] <= limit;
    }
    q->n = n;
    for (uint32_t i = n / 2; i-- > 0;)
        sift_down(q->candidates, n, i);
}

static size_t pop_least(struct query *q, uint64_t *taken, size_t most)
{
    const uint64_t limit = last_within(tau_of(q));
    size_t n = 0;
    while (n < most && q->n > 0 && q->candidates[0] <= limit)
        taken[n++] = pop(q->candidates, &q->n);
    return n;
}

static void prefetch_rows(const void *const *rows, size_t n, size_t bytes)
{
    size_t reach = bytes < PREFETCH_BYTES ? bytes : PREFETCH_BYTES;
    for (size_t i = 0; i < n; i++) {
        const char *row = rows[i];
        for (size_t offset = 0; offset < reach; offset += 64)
            __builtin_prefetch(row + offset);
        __builtin_prefetch(row + reach - 1);
    }
}

/* Measures the `most` least bounds, in ascending order, while they are <= tau. The candidates must
 * be a heap. */
static enum rt_status measure(struct rt_scanner *s, struct query *q, size_t most,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const float *vector = s->batch.queries + (size_t)(q - s->queries) * s->dim;
    uint64_t taken[RT_SCAN_FETCH];
    struct rt_place places[RT_SCAN_FETCH];
    const void *rows[RT_SCAN_FETCH];
    while (most > 0) {
        size_t n = pop_least(q, taken, most < RT_SCAN_FETCH ? most : RT_SCAN_FETCH);
        if (n == 0)
            break;
        for (size_t i = 0; i < n; i++)
            places[i] = q->rows[(uint32_t)taken[i]].place;
        RT_TRY(s->source.read_vectors(s->source.context, places, n, rows, err));
        prefetch_rows(rows, n, s->row_bytes);
        for (size_t i = 0; i < n && taken[i] <= last_within(tau_of(q)); i++) {
            float bound = bound_of(taken[i]);
            float distance = s->distance(vector, rows[i], s->dim);
            float key = distance > bound ? distance : bound;
            uint64_t id = q->rows[(uint32_t)taken[i]].id;
            rt_topk_push(&q->top, &(struct rt_hit){key, distance, id});
            q->count.reranked++;
        }
        most -= n;
    }
done:
    return st;
}

/* I4: a full buffer measures its least bounds until tau has dropped half of it; the rest moves
 * together. */
static enum rt_status make_room(struct rt_scanner *s, struct query *q, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t buffer = s->options.buffer;
    struct row *kept = s->rows + (size_t)s->options.max_queries * buffer;
    make_heap(q);
    while (q->n > buffer / 2) {
        RT_TRY(measure(s, q, buffer / 8, err));
        make_heap(q);
    }
    for (uint32_t i = 0; i < q->n; i++) {
        kept[i] = q->rows[(uint32_t)q->candidates[i]];
        q->candidates[i] = q->candidates[i] >> 32 << 32 | i;
    }
    memcpy(q->rows, kept, q->n * sizeof *kept);
    q->n_rows = q->n;
done:
    return st;
}

/* ---- scanning: tables, blocks, candidates ---- */

/* This part's piece of the k least, and a little (I5). */
static uint32_t first_few(const struct rt_scanner *s)
{
    return (s->options.k + s->batch.n_parts - 1) / s->batch.n_parts + SPARE_SEEDS;
}

/* The table of a rotated query and a list's centroid (NULL: no residual, c = 0); rabitq.md 3 to 5.
 */
static void make_table(struct rt_scanner *s, const float *query, const float *centroid,
                       struct rt_scan_table *table, uint8_t *entries)
{
    struct rt_scan_terms terms;
    s->kernels->table_terms(query, centroid, s->dim, s->difference, &terms);
    const float twice = s->is_ip ? 1 : 2;
    const float span = terms.most + terms.most; /* hi - lo */
    const float inverse = span > 0 ? 255.0f / span : INFINITY;
    *table = (struct rt_scan_table){.entries = entries,
                                    .n_groups = s->n_groups,
                                    .n_factors = s->n_factors,
                                    .first = s->is_ip ? 3 : 0,
                                    .offset = s->is_ip ? 0.0f - terms.dot : terms.square};
    table->width = s->options.epsilon * (twice * (float)sqrt((double)terms.square));
    if (inverse <= FLT_MAX) {
        s->kernels->table_fill(s->difference, s->n_groups, terms.most, inverse, entries);
        table->scale = twice * (span / 255.0f);
        table->base = 0.0f - twice * (terms.most * (float)s->n_groups);
    } else { /* v = c: k = 0, every entry 0, e = 0 */
        memset(entries, 0, (size_t)s->n_groups * 16);
    }
}

/* A live row becomes a candidate. */
static enum rt_status keep_row(struct rt_scanner *s, struct query *q, const struct rt_scan_run *run,
                               uint64_t row, float bound, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (q->n_rows == s->options.buffer)
        RT_TRY(make_room(s, q, err));
    q->rows[q->n_rows] = (struct row){run->ids[row], run->places[row]};
    q->candidates[q->n++] = (uint64_t)order_of(bound) << 32 | q->n_rows++;
done:
    return st;
}

static bool is_live(const struct rt_scanner *s, const struct rt_scan_run *run, uint64_t row)
{
    return !s->source.is_live ||
           s->source.is_live(s->source.context, run->ids[row], run->generation);
}

/* Takes the rows of one block that the kernel kept. */
static enum rt_status keep_rows(struct rt_scanner *s, struct query *q,
                                const struct rt_scan_run *run, uint64_t block, const float *bounds,
                                uint32_t kept, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t first = block * RT_BLOCK_ROWS;
    if (run->n_rows - first < RT_BLOCK_ROWS)
        kept &= (1u << (run->n_rows - first)) - 1;
    for (; kept; kept &= kept - 1) {
        unsigned r = (unsigned)__builtin_ctz(kept);
        if (is_live(s, run, first + r))
            RT_TRY(keep_row(s, q, run, first + r, bounds[r], err));
    }
done:
    return st;
}

/* Bounds of a chunk of blocks for one query. */
static void bound_rows(struct rt_scanner *s, const struct rt_scan_table *table, float tau,
                       const struct rt_scan_run *run, uint64_t begin, size_t n)
{
    const uint8_t *codes = run->codes + (size_t)begin * s->n_groups * 16;
    const float *factors = run->factors + (size_t)begin * s->n_factors * RT_BLOCK_ROWS;
    if (!s->options.exact) {
        s->kernels->scan(table, codes, factors, n, tau, s->bounds, s->kept);
        return;
    }
    for (size_t i = 0; i < n * RT_BLOCK_ROWS; i++)
        s->bounds[i] = -INFINITY;
    memset(s->kept, 0xff, n * sizeof *s->kept);
}

/* The `most` least bounds among a chunk's live rows (the first n_rows of s->bounds), into s->seeds
 * as complements of candidates: 0 is more than any. How many there are. */
static uint32_t least_bounds(struct rt_scanner *s, const struct rt_scan_run *run, uint64_t first,
                             size_t n_rows, uint32_t most)
{
    uint64_t *heap = s->seeds; /* the greatest candidate is on top */
    float greatest = INFINITY;
    uint32_t n = 0;
    memset(heap, 0, most * sizeof *heap);
    for (size_t i = 0; i < n_rows; i++) {
        uint64_t other = ~((uint64_t)order_of(s->bounds[i]) << 32 | i);
        if (!(s->bounds[i] <= greatest) || other <= heap[0] || !is_live(s, run, first + i))
            continue;
        heap[0] = other;
        sift_down(heap, most, 0);
        if (heap[0])
            greatest = bound_of(~heap[0]);
    }
    for (uint32_t i = 0; i < most; i++)
        if (heap[i])
            heap[n++] = heap[i];
    return n;
}

/* Ids and places lie far from the codes: they are on their way while others are taken. */
static void prefetch_kept(const struct rt_scan_run *run, uint64_t first, uint32_t kept)
{
    for (; kept; kept &= kept - 1) {
        uint64_t row = first + (unsigned)__builtin_ctz(kept);
        __builtin_prefetch(run->ids + row);
        __builtin_prefetch(run->places + row);
    }
}

/* While no tau is known every row would be a candidate: a chunk's least bounds are measured first,
 * and then only those rows are kept that tau leaves. */
static enum rt_status seed(struct rt_scanner *s, struct query *q, const struct rt_scan_run *run,
                           uint64_t begin, size_t n_blocks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t first = begin * RT_BLOCK_ROWS;
    size_t n_rows = n_blocks * RT_BLOCK_ROWS;
    n_rows = run->n_rows - first < n_rows ? (size_t)(run->n_rows - first) : n_rows;
    uint32_t n = least_bounds(s, run, first, n_rows, first_few(s) - q->n_seeds);
    for (uint32_t i = 0; i < n; i++)
        prefetch_kept(run, first + (uint32_t)~s->seeds[i], 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = (uint32_t)~s->seeds[i];
        RT_TRY(keep_row(s, q, run, first + row, s->bounds[row], err));
        s->bounds[row] = NAN; /* kept once */
    }
    q->n_seeds += n;
    make_heap(q);
    RT_TRY(measure(s, q, n, err));
    const float tau = tau_of(q);
    for (size_t b = 0; b < n_blocks; b++) {
        s->kept[b] = 0;
        for (size_t r = 0; r < RT_BLOCK_ROWS; r++)
            s->kept[b] |= (uint32_t)(s->bounds[b * RT_BLOCK_ROWS + r] <= tau) << r;
    }
done:
    return st;
}

/* One run of a list against a slice of queries, chunk by chunk, so that a long list is read once.
 */
static enum rt_status scan_run(struct rt_scanner *s, const struct rt_scan_run *run, size_t n_slice,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t n_blocks = (run->n_rows + RT_BLOCK_ROWS - 1) / RT_BLOCK_ROWS;
    for (uint64_t begin = 0; begin < n_blocks; begin += CHUNK_BLOCKS) {
        size_t n = n_blocks - begin < CHUNK_BLOCKS ? (size_t)(n_blocks - begin) : CHUNK_BLOCKS;
        for (size_t i = 0; i < n_slice; i++) {
            struct query *q = s->slice[i];
            bound_rows(s, s->slice_tables[i], tau_of(q), run, begin, n);
            if (q->n_seeds < first_few(s))
                RT_TRY(seed(s, q, run, begin, n, err));
            for (size_t b = 0; b < n; b++)
                prefetch_kept(run, (begin + b) * RT_BLOCK_ROWS, s->kept[b]);
            for (size_t b = 0; b < n; b++)
                if (s->kept[b])
                    RT_TRY(keep_rows(s, q, run, begin + b, s->bounds + b * RT_BLOCK_ROWS,
                                     s->kept[b], err));
        }
    }
done:
    return st;
}

static void count_list(struct query *q, const struct rt_scan_run *runs, size_t n_runs,
                       bool has_first)
{
    q->count.lists += has_first; /* a list that lies across parts counts once */
    for (size_t i = 0; i < n_runs; i++)
        q->count.rows += runs[i].n_rows;
}

/* The next slice of a list's pairs that belong to this pass: their queries and tables. */
static size_t fill_slice(struct rt_scanner *s, const uint64_t *pairs, size_t n_pairs, uint64_t pass,
                         size_t *next)
{
    const uint32_t list = (uint32_t)(pairs[0] >> 32);
    const float *centroid = rt_tree_leaves(s->source.tree)->centroids + (size_t)list * s->dim;
    const size_t table_bytes = ((size_t)s->n_groups + 3) / 4 * 64;
    size_t n = 0;
    for (; *next < n_pairs && n < SLICE; ++*next) {
        size_t number = (uint32_t)pairs[*next] >> 1;
        if ((pairs[*next] & 1) != pass)
            continue;
        s->slice[n] = s->queries + number;
        s->slice_tables[n] = s->tables + (s->is_residual ? n : number);
        if (s->is_residual)
            make_table(s, s->batch.rotated + number * s->dim, centroid, s->tables + n,
                       s->entries + n * table_bytes);
        n++;
    }
    return n;
}

/* Blocks [begin, end) of a list for those of its pairs that belong to this pass. */
static enum rt_status scan_list(struct rt_scanner *s, const uint64_t *pairs, size_t n_pairs,
                                uint64_t pass, uint64_t begin, uint64_t end, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_scan_run *runs = NULL;
    size_t n_runs = 0;
    size_t next = 0;
    while (next < n_pairs && (pairs[next] & 1) != pass)
        next++;
    if (next == n_pairs)
        return st;
    RT_TRY(s->source.read_list(s->source.context, (uint32_t)(pairs[0] >> 32), begin, end, &runs,
                               &n_runs, err));
    for (size_t n; (n = fill_slice(s, pairs, n_pairs, pass, &next)) > 0;) {
        for (size_t i = 0; i < n; i++)
            count_list(s->slice[i], runs, n_runs, begin == 0);
        for (size_t i = 0; i < n_runs; i++)
            RT_TRY(scan_run(s, runs + i, n, err));
    }
done:
    return st;
}

/* ---- a batch: pairs by list, parts, passes ---- */

/* Stable, by list: the pairs are made in order of queries (I3). */
static void sort_pairs(struct rt_scanner *s)
{
    for (unsigned shift = 32; (s->n_lists - 1) >> (shift - 32) != 0; shift += DIGIT_BITS) {
        const uint64_t mask = (1u << DIGIT_BITS) - 1;
        uint64_t *swap = s->pairs;
        size_t begin = 0;
        memset(s->digits, 0, sizeof s->digits);
        for (size_t i = 0; i < s->n_pairs; i++)
            s->digits[s->pairs[i] >> shift & mask]++;
        for (size_t digit = 0; digit <= mask; digit++) {
            size_t count = s->digits[digit];
            s->digits[digit] = begin;
            begin += count;
        }
        for (size_t i = 0; i < s->n_pairs; i++)
            s->spare[s->digits[s->pairs[i] >> shift & mask]++] = s->pairs[i];
        s->pairs = s->spare;
        s->spare = swap;
        if (shift + DIGIT_BITS >= 64)
            break;
    }
}

static void make_pairs(struct rt_scanner *s)
{
    const struct rt_scan_batch *batch = &s->batch;
    s->n_pairs = 0;
    for (size_t q = 0; q < batch->n_queries; q++)
        for (uint32_t p = 0; p < batch->n_probes; p++) {
            uint32_t list = batch->lists[q * batch->n_probes + p];
            if (list == UINT32_MAX)
                break;
            rt_assert(list < s->n_lists);
            s->pairs[s->n_pairs++] = (uint64_t)list << 32 | q << 1 | (p > 0);
        }
    sort_pairs(s);
}

static size_t group_end(const struct rt_scanner *s, size_t begin)
{
    size_t end = begin + 1;
    while (end < s->n_pairs && s->pairs[end] >> 32 == s->pairs[begin] >> 32)
        end++;
    return end;
}

/* F3, I5: every block of a list, once for each query that probes it, lies on one line; a part is an
 * equal piece of it. So few lists are cut, and few tables made twice. */
struct share {
    uint64_t begin, end;
};
static struct share share_of(struct rt_scanner *s)
{
    uint64_t line = 0;
    if (s->batch.n_parts == 1)
        return (struct share){0, UINT64_MAX};
    for (size_t i = 0, end = 0; i < s->n_pairs; i = end) {
        end = group_end(s, i);
        line += (end - i) * s->source.n_blocks(s->source.context, (uint32_t)(s->pairs[i] >> 32));
    }
    __extension__ typedef unsigned __int128 wide;
    return (struct share){(uint64_t)((wide)line * s->batch.part / s->batch.n_parts),
                          (uint64_t)((wide)line * (s->batch.part + 1) / s->batch.n_parts)};
}

/* Blocks of a list that begins at `line` and takes n_pairs places for each block: those whose first
 * place is in the share. */
static uint64_t block_at(uint64_t place, uint64_t line, uint64_t n_pairs, uint64_t n_blocks)
{
    if (place <= line)
        return 0;
    uint64_t block = (place - line - 1) / n_pairs + 1;
    return block < n_blocks ? block : n_blocks;
}

/* pass 0: each query's nearest list, so that tau is low when the others are scanned in pass 1. */
static enum rt_status scan_pass(struct rt_scanner *s, const struct share *share, uint64_t pass,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t line = 0;
    for (size_t i = 0, after = 0; i < s->n_pairs; i = after) {
        after = group_end(s, i);
        uint64_t n_pairs = after - i;
        uint64_t n = s->source.n_blocks(s->source.context, (uint32_t)(s->pairs[i] >> 32));
        uint64_t begin = block_at(share->begin, line, n_pairs, n);
        uint64_t end = block_at(share->end, line, n_pairs, n);
        line += n_pairs * n;
        if (begin < end)
            RT_TRY(scan_list(s, s->pairs + i, after - i, pass, begin, end, err));
    }
done:
    return st;
}

static void begin_batch(struct rt_scanner *s, const struct rt_scan_batch *batch)
{
    const size_t table_bytes = ((size_t)s->n_groups + 3) / 4 * 64;
    rt_assert(batch->n_queries <= s->options.max_queries);
    rt_assert(batch->n_probes <= s->options.max_probes && batch->part < batch->n_parts);
    s->batch = *batch;
    for (size_t i = 0; i < batch->n_queries; i++) {
        struct query *q = s->queries + i;
        *q = (struct query){.top = {s->options.k, 0, s->hits + i * s->options.k},
                            .limit = INFINITY,
                            .candidates = s->candidates + i * s->options.buffer,
                            .rows = s->rows + i * s->options.buffer};
        if (!s->is_residual)
            make_table(s, batch->rotated + i * s->dim, NULL, s->tables + i,
                       s->entries + i * table_bytes);
    }
    make_pairs(s);
}

/* Measures the `most` least bounds of every query. */
static enum rt_status measure_all(struct rt_scanner *s, size_t most, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < s->batch.n_queries; i++) {
        make_heap(s->queries + i);
        RT_TRY(measure(s, s->queries + i, most, err));
    }
done:
    return st;
}

/* Scans all pairs; measures only what a first tau and the buffers ask for. */
static enum rt_status scan_pairs(struct rt_scanner *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct share share = share_of(s);
    RT_TRY(scan_pass(s, &share, 0, err));
    RT_TRY(scan_pass(s, &share, 1, err));
done:
    return st;
}

static void give_hits(const struct rt_scanner *s, struct rt_hit *hits, struct rt_scan_count *counts)
{
    for (size_t i = 0; i < s->batch.n_queries; i++) {
        struct rt_topk copy = s->queries[i].top;
        copy.hits = hits + i * copy.k;
        memcpy(copy.hits, s->queries[i].top.hits, copy.n * sizeof *copy.hits);
        rt_topk_end(&copy);
        if (counts)
            counts[i] = s->queries[i].count;
    }
}

enum rt_status rt_scan_round1(struct rt_scanner *scanner, const struct rt_scan_batch *batch,
                              struct rt_hit *hits, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    begin_batch(scanner, batch);
    RT_TRY(scan_pairs(scanner, err));
    RT_TRY(measure_all(scanner, first_few(scanner), err));
    give_hits(scanner, hits, NULL);
done:
    return st;
}

enum rt_status rt_scan_round2(struct rt_scanner *scanner, const float *tau, struct rt_hit *hits,
                              struct rt_scan_count *counts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < scanner->batch.n_queries; i++)
        scanner->queries[i].limit = tau[i];
    RT_TRY(measure_all(scanner, SIZE_MAX, err));
    give_hits(scanner, hits, counts);
done:
    return st;
}

enum rt_status rt_scan(struct rt_scanner *scanner, const struct rt_scan_batch *batch,
                       struct rt_hit *hits, struct rt_scan_count *counts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    begin_batch(scanner, batch);
    RT_TRY(scan_pairs(scanner, err));
    RT_TRY(measure_all(scanner, SIZE_MAX, err));
    give_hits(scanner, hits, counts);
done:
    return st;
}
