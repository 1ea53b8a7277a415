#include "core/scan.h"

#include "core/block.h"
#include "core/code.h"
#include "core/kernels/kernels.h"
#include "core/keys.h"
#include "core/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define GROUP 16u        /* pairs of query and list that are scanned side by side */
#define CHUNK_BLOCKS 64u /* 2,048 rows: their codes and factors stay in the cache meanwhile */
#define AHEAD 3u         /* queries whose vectors are on their way while another's are measured */
#define LISTS_AHEAD 64u  /* lists that are asked for before they are scanned */
#define GOOD_BUFFER 512u
#define PREFETCH_BYTES ((size_t)512) /* of a vector; the hardware follows from there */
#define DIGIT_BITS 11u
#define SPARE_SEEDS 2u /* measured for a first tau beside the k */

/* A row that may be among the k least: its bound was <= tau when it was kept. What is compared is
 * kept apart, in 8 bytes: rt_key_of the bound and the number of the row. */
struct row {
    uint64_t id;
    struct rt_place place;
};

struct query {
    struct rt_topk top;
    float limit;          /* tau from outside (I5), +infinity without */
    uint32_t first, end;  /* candidates; those before are measured */
    uint32_t n_rows;      /* places of rows taken, those of candidates gone included */
    uint32_t n_seeds;     /* measured for a first tau */
    uint64_t *candidates; /* ascending while they are measured, else in any order */
    struct row *rows;
    struct rt_scan_count count;
};

/* Candidates taken out to be measured, and their vectors, which are on their way. Meanwhile the
 * query's rows may move. */
struct fetch {
    size_t n;
    float bounds[RT_SCAN_FETCH]; /* ascending */
    uint64_t ids[RT_SCAN_FETCH];
    const void *vectors[RT_SCAN_FETCH];
};

/* A query against a run of a list. Pairs of a group take each step together, so that what one waits
 * for arrives while the others work. */
struct pair {
    struct query *query;
    struct rt_scan_run run;
    struct rt_scan_table own; /* residual */
    const struct rt_scan_table *table;
    size_t n_blocks; /* of the chunk at hand */
    bool is_seeding;
    float seed;       /* the greatest bound that is measured for a first tau */
    uint32_t n_seeds; /* rows that are */
    float bounds[CHUNK_BLOCKS * RT_BLOCK_ROWS];
    uint32_t kept[CHUNK_BLOCKS];
    struct fetch fetch;
};

struct rt_scanner {
    struct rt_scan_source source;
    struct rt_scan_options options;
    const struct rt_scan_kernels *kernels;
    rt_row_distance *distance;
    uint64_t (*at_most)(const float *a, size_t n, float threshold);
    void (*find_rank)(const float *values, size_t n, size_t rank, float *at, float *next);
    bool is_ip, is_residual;
    uint32_t dim, n_groups, n_factors, n_lists;
    size_t row_bytes;
    struct rt_scan_batch batch; /* the one being searched */
    struct query *queries;
    struct rt_hit *hits;     /* k of each query */
    uint64_t *candidates;    /* buffer of each query */
    struct row *rows;        /* buffer of each query, and of one more */
    uint64_t *pairs, *spare; /* list << 32 | query << 1 | (its nearest list: 0) */
    size_t n_pairs;
    struct rt_scan_table *tables; /* of every query, without residual */
    uint8_t *entries;             /* residual: of a group's tables; else of all queries' */
    float *difference;            /* v - c, padded to 16 */
    struct pair group[GROUP];
    size_t n_group;
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
    size_t queries, hits, candidates, rows, pairs, tables, entries, difference;
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
    s.pairs = product(s.queries, options->max_probes);
    s.tables = source->tree->residual ? 0 : s.queries;
    s.entries = product(s.tables ? s.tables : GROUP, groups * 16);
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
    s->at_most = rt_kernels()->at_most;
    s->find_rank = rt_kernels()->find_rank;
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

/* The greatest candidate whose bound is <= tau. */
static uint64_t last_within(float tau)
{
    return rt_key_of(tau, UINT32_MAX);
}

/* Drops what cannot be among the k least any more and sorts the rest. */
static void sort_candidates(struct query *q)
{
    const uint64_t limit = last_within(tau_of(q));
    uint32_t n = 0;
    for (uint32_t i = q->first; i < q->end; i++) {
        q->candidates[n] = q->candidates[i];
        n += q->candidates[i] <= limit;
    }
    q->first = 0;
    q->end = n;
    rt_keys_sort(q->candidates, n);
}

/* Lends the least; they are taken. */
static const uint64_t *take_least(struct query *q, size_t most, size_t *n)
{
    const uint64_t limit = last_within(tau_of(q));
    const uint64_t *taken = q->candidates + q->first;
    for (*n = 0; *n < most && q->first < q->end && q->candidates[q->first] <= limit; q->first++)
        ++*n;
    return taken;
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

/* Takes the `most` least bounds out (no more than a fetch holds), while they are <= tau, and asks
 * for their vectors. The candidates must be sorted. */
static enum rt_status begin_fetch(struct rt_scanner *s, struct query *q, size_t most,
                                  struct fetch *fetch, struct rt_error *err)
{
    struct rt_place places[RT_SCAN_FETCH];
    const uint64_t *taken = take_least(q, most < RT_SCAN_FETCH ? most : RT_SCAN_FETCH, &fetch->n);
    for (size_t i = 0; i < fetch->n; i++) {
        const struct row *row = &q->rows[rt_key_number(taken[i])];
        fetch->bounds[i] = rt_key_distance(taken[i]);
        fetch->ids[i] = row->id;
        places[i] = row->place;
    }
    if (fetch->n == 0)
        return RT_OK;
    enum rt_status st =
        s->source.read_vectors(s->source.context, places, fetch->n, fetch->vectors, err);
    if (st == RT_OK)
        prefetch_rows(fetch->vectors, fetch->n, s->row_bytes);
    return st;
}

static void end_fetch(struct rt_scanner *s, struct query *q, const struct fetch *fetch)
{
    const float *vector = s->batch.queries + (size_t)(q - s->queries) * s->dim;
    for (size_t i = 0; i < fetch->n && fetch->bounds[i] <= tau_of(q); i++) {
        float bound = fetch->bounds[i];
        float distance = s->distance(vector, fetch->vectors[i], s->dim);
        float key = distance > bound ? distance : bound;
        rt_topk_push(&q->top, &(struct rt_hit){key, distance, fetch->ids[i]});
        q->count.reranked++;
    }
}

/* Measures the `most` least bounds, in ascending order, while they are <= tau. The candidates must
 * be sorted. */
static enum rt_status measure(struct rt_scanner *s, struct query *q, size_t most,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct fetch fetch;
    for (; most > 0; most -= fetch.n) {
        RT_TRY(begin_fetch(s, q, most, &fetch, err));
        if (fetch.n == 0)
            break;
        end_fetch(s, q, &fetch);
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
    sort_candidates(q);
    while (q->end - q->first > buffer / 2) {
        RT_TRY(measure(s, q, buffer / 8, err));
        sort_candidates(q);
    }
    const uint32_t n = q->end - q->first;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t candidate = q->candidates[q->first + i];
        kept[i] = q->rows[rt_key_number(candidate)];
        q->candidates[i] = candidate >> 32 << 32 | i;
    }
    memcpy(q->rows, kept, n * sizeof *kept);
    q->first = 0;
    q->end = n;
    q->n_rows = n;
done:
    return st;
}

/* ---- scanning: tables, blocks, candidates ---- */

/* This part's piece of the k least, and a little (I5). */
static uint32_t first_few(const struct rt_scanner *s)
{
    return (s->options.k + s->batch.n_parts - 1) / s->batch.n_parts + SPARE_SEEDS;
}

/* Measured for a first tau: k in every part, since with fewer there is none and every row is kept.
 */
static uint32_t n_seeds(const struct rt_scanner *s)
{
    return s->options.k + SPARE_SEEDS;
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
    q->candidates[q->end++] = rt_key_of(bound, q->n_rows++);
done:
    return st;
}

static bool is_live(const struct rt_scanner *s, const struct rt_scan_run *run, uint64_t row)
{
    return !s->source.is_live ||
           s->source.is_live(s->source.context, run->ids[row], run->generation);
}

/* Takes the rows of one block whose bits are set; *n_live counts them. */
static enum rt_status keep_block(struct rt_scanner *s, struct pair *pair, uint64_t block,
                                 const float *bounds, uint32_t kept, uint32_t *n_live,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_scan_run *run = &pair->run;
    const uint64_t first = block * RT_BLOCK_ROWS;
    if (run->n_rows - first < RT_BLOCK_ROWS)
        kept &= (1u << (run->n_rows - first)) - 1;
    for (; kept; kept &= kept - 1) {
        unsigned r = (unsigned)__builtin_ctz(kept);
        if (!is_live(s, run, first + r))
            continue;
        RT_TRY(keep_row(s, pair->query, run, first + r, bounds[r], err));
        ++*n_live;
    }
done:
    return st;
}

/* Those of the chunk that begins at block `begin`. */
static enum rt_status keep_rows(struct rt_scanner *s, struct pair *pair, uint64_t begin,
                                uint32_t *n_live, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *n_live = 0;
    for (size_t b = 0; b < pair->n_blocks; b++)
        if (pair->kept[b])
            RT_TRY(keep_block(s, pair, begin + b, pair->bounds + b * RT_BLOCK_ROWS, pair->kept[b],
                              n_live, err));
done:
    return st;
}

/* Ids and places lie far from the codes: they are on their way while others are taken. */
static void prefetch_kept(const struct pair *pair, uint64_t begin)
{
    for (size_t b = 0; b < pair->n_blocks; b++)
        for (uint32_t kept = pair->kept[b]; kept; kept &= kept - 1) {
            uint64_t row = (begin + b) * RT_BLOCK_ROWS + (unsigned)__builtin_ctz(kept);
            __builtin_prefetch(pair->run.ids + row);
            __builtin_prefetch(pair->run.places + row);
        }
}

/* kept := the rows with low < bound <= high. */
static void keep_between(const struct rt_scanner *s, struct pair *pair, float low, float high)
{
    for (size_t b = 0; b < pair->n_blocks; b++) {
        const float *bounds = pair->bounds + b * RT_BLOCK_ROWS;
        pair->kept[b] = (uint32_t)(s->at_most(bounds, RT_BLOCK_ROWS, high) &
                                   ~s->at_most(bounds, RT_BLOCK_ROWS, low));
    }
}

/* A number that at least `most` of n bounds are not above, and few more. */
static float seed_bound(const struct rt_scanner *s, const float *bounds, size_t n, uint32_t most)
{
    enum { LANES = 16 };
    float least[LANES];
    float at = INFINITY;
    float next;
    size_t i = 0;
    if (most > LANES) {
        s->find_rank(bounds, n, most, &at, &next);
        return at;
    }
    for (size_t l = 0; l < LANES; l++)
        least[l] = INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            least[l] = bounds[i + l] < least[l] ? bounds[i + l] : least[l];
    for (size_t l = 0; i + l < n; l++)
        least[l] = bounds[i + l] < least[l] ? bounds[i + l] : least[l];
    for (size_t l = 0; l < LANES; l++) { /* the most-th of the least of all lanes */
        uint32_t n_below = 0;
        for (size_t j = 0; j < LANES; j++)
            n_below += least[j] <= least[l];
        at = n_below >= most && least[l] < at ? least[l] : at;
    }
    return at;
}

/* Bounds of a chunk of blocks and what tau leaves of them. While no tau is known every row would be
 * a candidate: then only a chunk's least bounds are kept at first, up to pair->seed. */
static void bound_rows(struct rt_scanner *s, struct pair *pair, uint64_t begin)
{
    const struct rt_scan_run *run = &pair->run;
    const uint64_t n_rows = run->n_rows - begin * RT_BLOCK_ROWS;
    const size_t n = pair->n_blocks;
    const uint8_t *codes = run->codes + (size_t)begin * s->n_groups * 16;
    const float *factors = run->factors + (size_t)begin * s->n_factors * RT_BLOCK_ROWS;
    pair->is_seeding = pair->query->n_seeds < n_seeds(s);
    if (s->options.exact) {
        for (size_t i = 0; i < n * RT_BLOCK_ROWS; i++)
            pair->bounds[i] = -INFINITY;
        memset(pair->kept, 0xff, n * sizeof *pair->kept);
    } else {
        s->kernels->scan(pair->table, codes, factors, n, tau_of(pair->query), pair->bounds,
                         pair->kept);
    }
    const uint32_t most = n_seeds(s) - pair->query->n_seeds;
    pair->seed = INFINITY;
    if (pair->is_seeding && n_rows > most) {
        size_t n_here = n_rows < n * RT_BLOCK_ROWS ? (size_t)n_rows : n * RT_BLOCK_ROWS;
        pair->seed = seed_bound(s, pair->bounds, n_here, most);
        keep_between(s, pair, NAN, pair->seed);
    }
    prefetch_kept(pair, begin);
}

/* A seeding pair's least bounds become candidates, and the first of them are asked for. */
static enum rt_status keep_seeds(struct rt_scanner *s, struct pair *pair, uint64_t begin,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t most = n_seeds(s) - pair->query->n_seeds;
    RT_TRY(keep_rows(s, pair, begin, &pair->n_seeds, err));
    pair->n_seeds = pair->n_seeds < most ? pair->n_seeds : most;
    sort_candidates(pair->query);
    pair->fetch.n = 0;
    if (s->source.vectors_last)
        RT_TRY(begin_fetch(s, pair->query, pair->n_seeds, &pair->fetch, err));
done:
    return st;
}

/* They are measured; of the others only what tau leaves now is to be kept. */
static enum rt_status measure_seeds(struct rt_scanner *s, struct pair *pair, uint64_t begin,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    end_fetch(s, pair->query, &pair->fetch);
    RT_TRY(measure(s, pair->query, pair->n_seeds - pair->fetch.n, err));
    pair->query->n_seeds += pair->n_seeds;
    keep_between(s, pair, pair->seed, tau_of(pair->query));
    prefetch_kept(pair, begin);
done:
    return st;
}

/* The next chunk of every pair of the group. */
static enum rt_status scan_chunk(struct rt_scanner *s, uint64_t begin, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct pair *end = s->group + s->n_group;
    for (struct pair *p = s->group; p < end; p++)
        if (p->n_blocks)
            bound_rows(s, p, begin);
    for (struct pair *p = s->group; p < end; p++)
        if (p->n_blocks && p->is_seeding)
            RT_TRY(keep_seeds(s, p, begin, err));
    for (struct pair *p = s->group; p < end; p++)
        if (p->n_blocks && p->is_seeding)
            RT_TRY(measure_seeds(s, p, begin, err));
    for (struct pair *p = s->group; p < end; p++) {
        uint32_t n_live;
        RT_TRY(keep_rows(s, p, begin, &n_live, err));
    }
done:
    return st;
}

/* Scans the pairs of the group, chunk by chunk, so that a long list is read once for all that probe
 * it; the group is empty then. */
static enum rt_status scan_group(struct rt_scanner *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t most = 0;
    for (size_t i = 0; i < s->n_group; i++) {
        uint64_t n_blocks = rt_block_count(s->group[i].run.n_rows);
        most = n_blocks > most ? n_blocks : most;
    }
    for (uint64_t begin = 0; begin < most; begin += CHUNK_BLOCKS) {
        for (size_t i = 0; i < s->n_group; i++) {
            struct pair *p = &s->group[i];
            uint64_t n_blocks = rt_block_count(p->run.n_rows);
            uint64_t left = n_blocks > begin ? n_blocks - begin : 0;
            p->n_blocks = left < CHUNK_BLOCKS ? (size_t)left : CHUNK_BLOCKS;
        }
        RT_TRY(scan_chunk(s, begin, err));
    }
done:
    s->n_group = 0;
    return st;
}

/* A query and a run of a list join the group; a full one is scanned first. */
static enum rt_status add_pair(struct rt_scanner *s, size_t number, uint32_t list,
                               const struct rt_scan_run *run, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (s->n_group == GROUP)
        RT_TRY(scan_group(s, err));
    const size_t table_bytes = ((size_t)s->n_groups + 3) / 4 * 64;
    struct pair *pair = &s->group[s->n_group];
    pair->query = s->queries + number;
    pair->run = *run;
    pair->table = &s->tables[number];
    if (s->is_residual) {
        const float *centroid = rt_tree_leaves(s->source.tree)->centroids + (size_t)list * s->dim;
        make_table(s, s->batch.rotated + number * s->dim, centroid, &pair->own,
                   s->entries + s->n_group * table_bytes);
        pair->table = &pair->own;
    }
    pair->query->count.rows += run->n_rows;
    s->n_group++;
done:
    return st;
}

/* Blocks [begin, end) of a list for those of its pairs that belong to this pass. Runs that are lent
 * until the next list is read are scanned before it is, one by one. */
static enum rt_status scan_list(struct rt_scanner *s, const uint64_t *pairs, size_t n_pairs,
                                uint64_t pass, uint64_t begin, uint64_t end, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_scan_run *runs = NULL;
    const uint32_t list = (uint32_t)(pairs[0] >> 32);
    size_t n_runs = 0;
    size_t first = 0;
    while (first < n_pairs && (pairs[first] & 1) != pass)
        first++;
    if (first == n_pairs)
        return st;
    RT_TRY(s->source.read_list(s->source.context, list, begin, end, &runs, &n_runs, err));
    for (size_t i = 0; i < n_runs; i++) {
        for (size_t next = first; next < n_pairs; next++)
            if ((pairs[next] & 1) == pass)
                RT_TRY(add_pair(s, (uint32_t)pairs[next] >> 1, list, &runs[i], err));
        if (!runs[i].lasts)
            RT_TRY(scan_group(s, err));
    }
    for (size_t next = first; next < n_pairs && begin == 0; next++)
        if ((pairs[next] & 1) == pass) /* a list that lies across parts counts once */
            s->queries[(uint32_t)pairs[next] >> 1].count.lists++;
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

/* The pairs of one list, and the blocks of it that are this part's. */
struct piece {
    const uint64_t *pairs;
    size_t n_pairs;
    uint64_t begin, end;
};
struct walk { /* over all lists, in order */
    size_t at;
    uint64_t line;
};

static bool next_piece(const struct rt_scanner *s, const struct share *share, struct walk *walk,
                       struct piece *piece)
{
    while (walk->at < s->n_pairs) {
        const uint64_t *pairs = s->pairs + walk->at;
        size_t n_pairs = group_end(s, walk->at) - walk->at;
        uint64_t n = s->source.n_blocks(s->source.context, (uint32_t)(pairs[0] >> 32));
        *piece = (struct piece){pairs, n_pairs, block_at(share->begin, walk->line, n_pairs, n),
                                block_at(share->end, walk->line, n_pairs, n)};
        walk->at += n_pairs;
        walk->line += n_pairs * n;
        if (piece->begin < piece->end)
            return true;
    }
    return false;
}

/* pass 0: each query's nearest list, so that tau is low when the others are scanned in pass 1. */
static enum rt_status scan_pass(struct rt_scanner *s, const struct share *share, uint64_t pass,
                                bool asks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct walk scanned = {0, 0};
    struct walk asked = {0, 0};
    struct piece piece;
    for (size_t n_ahead = 0; next_piece(s, share, &scanned, &piece); n_ahead -= n_ahead > 0) {
        struct piece next;
        for (; asks && n_ahead < LISTS_AHEAD && next_piece(s, share, &asked, &next); n_ahead++)
            s->source.expect_list(s->source.context, (uint32_t)(next.pairs[0] >> 32), next.begin,
                                  next.end);
        RT_TRY(scan_list(s, piece.pairs, piece.n_pairs, pass, piece.begin, piece.end, err));
    }
    RT_TRY(scan_group(s, err));
done:
    return st;
}

static void begin_batch(struct rt_scanner *s, const struct rt_scan_batch *batch)
{
    const size_t table_bytes = ((size_t)s->n_groups + 3) / 4 * 64;
    rt_assert(batch->n_queries <= s->options.max_queries);
    rt_assert(batch->n_probes <= s->options.max_probes && batch->part < batch->n_parts);
    s->batch = *batch;
    s->n_group = 0; /* a batch that failed may have left some */
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
    struct fetch fetches[AHEAD + 1];
    const size_t n = s->batch.n_queries;
    const size_t ahead = s->source.vectors_last ? AHEAD : 0;
    for (size_t i = 0; i < n + ahead; i++) {
        if (i < n) {
            sort_candidates(s->queries + i);
            RT_TRY(begin_fetch(s, s->queries + i, most, &fetches[i % (AHEAD + 1)], err));
        }
        if (i >= ahead) {
            const struct fetch *fetch = &fetches[(i - ahead) % (AHEAD + 1)];
            end_fetch(s, s->queries + i - ahead, fetch);
            RT_TRY(measure(s, s->queries + i - ahead, most - fetch->n, err));
        }
    }
done:
    return st;
}

/* Scans all pairs; measures only what a first tau and the buffers ask for. */
static enum rt_status scan_pairs(struct rt_scanner *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct share share = share_of(s);
    const bool asks = s->source.is_slow && s->source.is_slow(s->source.context);
    RT_TRY(scan_pass(s, &share, 0, asks, err));
    RT_TRY(scan_pass(s, &share, 1, asks, err));
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
