/* Pairs of query and list, some side by side: bounds of rows, and candidates. */
#include "core/keys.h"
#include "core/scanner.h"

#include <float.h>
#include <math.h>
#include <string.h>

void rt_scan_make_table(struct rt_scanner *s, const float *query, const float *centroid,
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
static enum rt_status keep_row(struct rt_scanner *s, struct rt_scan_query *q,
                               const struct rt_scan_run *run, uint64_t row, float bound,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (q->n_rows == s->options.buffer)
        RT_TRY(rt_rerank_make_room(s, q, err));
    q->rows[q->n_rows] = (struct rt_scan_row){run->ids[row], run->places[row]};
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
static enum rt_status keep_block(struct rt_scanner *s, struct rt_scan_pair *pair, uint64_t block,
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
static enum rt_status keep_rows(struct rt_scanner *s, struct rt_scan_pair *pair, uint64_t begin,
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
static void prefetch_kept(const struct rt_scan_pair *pair, uint64_t begin)
{
    for (size_t b = 0; b < pair->n_blocks; b++)
        for (uint32_t kept = pair->kept[b]; kept; kept &= kept - 1) {
            uint64_t row = (begin + b) * RT_BLOCK_ROWS + (unsigned)__builtin_ctz(kept);
            __builtin_prefetch(pair->run.ids + row);
            __builtin_prefetch(pair->run.places + row);
        }
}

/* A number that at least `most` of n bounds are not above, and few more. */
static float seed_bound(const struct rt_scanner *s, const float *bounds, size_t n, uint32_t most)
{
    float at;
    float next;
    if (most <= 16)
        return s->kernels->seed(bounds, n, most);
    s->find_rank(bounds, n, most, &at, &next);
    return at;
}

/* Bounds of a chunk of blocks and what tau leaves of them. While no tau is known every row would be
 * a candidate: then only a chunk's least bounds are kept at first, up to pair->seed. */
static void bound_rows(struct rt_scanner *s, struct rt_scan_pair *pair, uint64_t begin)
{
    const struct rt_scan_run *run = &pair->run;
    const uint64_t n_rows = run->n_rows - begin * RT_BLOCK_ROWS;
    const size_t n = pair->n_blocks;
    const uint8_t *codes = run->codes + (size_t)begin * s->n_groups * 16;
    const float *factors = run->factors + (size_t)begin * s->n_factors * RT_BLOCK_ROWS;
    pair->is_seeding = pair->query->n_seeds < rt_scan_few(s, 1);
    if (s->options.exact) {
        for (size_t i = 0; i < n * RT_BLOCK_ROWS; i++)
            pair->bounds[i] = -INFINITY;
        memset(pair->kept, 0xff, n * sizeof *pair->kept);
    } else {
        s->kernels->scan(pair->table, codes, factors, n, rt_scan_tau(pair->query), pair->bounds,
                         pair->kept);
    }
    const uint32_t most = rt_scan_few(s, 1) - pair->query->n_seeds;
    pair->seed = INFINITY;
    if (pair->is_seeding && n_rows > most) {
        size_t n_here = n_rows < n * RT_BLOCK_ROWS ? (size_t)n_rows : n * RT_BLOCK_ROWS;
        pair->seed = seed_bound(s, pair->bounds, n_here, most);
        s->kernels->between(pair->bounds, n, NAN, pair->seed, pair->kept);
    }
    prefetch_kept(pair, begin);
}

/* A seeding pair's least bounds become candidates, and the first of them are asked for. */
static enum rt_status keep_seeds(struct rt_scanner *s, struct rt_scan_pair *pair, uint64_t begin,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t most = rt_scan_few(s, 1) - pair->query->n_seeds;
    RT_TRY(keep_rows(s, pair, begin, &pair->n_seeds, err));
    pair->n_seeds = pair->n_seeds < most ? pair->n_seeds : most;
    rt_rerank_sort(pair->query);
    pair->fetch.n = 0;
    if (s->source.vectors_last)
        RT_TRY(rt_rerank_begin(s, pair->query, pair->n_seeds, &pair->fetch, err));
done:
    return st;
}

/* They are measured; of the others only what tau leaves now is to be kept. */
static enum rt_status measure_seeds(struct rt_scanner *s, struct rt_scan_pair *pair, uint64_t begin,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    rt_rerank_end(s, pair->query, &pair->fetch);
    RT_TRY(rt_rerank(s, pair->query, pair->n_seeds - pair->fetch.n, err));
    pair->query->n_seeds += pair->n_seeds;
    s->kernels->between(pair->bounds, pair->n_blocks, pair->seed, rt_scan_tau(pair->query),
                        pair->kept);
    prefetch_kept(pair, begin);
done:
    return st;
}

/* The next chunk of every pair of the group. */
static enum rt_status scan_chunk(struct rt_scanner *s, uint64_t begin, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_scan_pair *end = s->group + s->n_group;
    for (struct rt_scan_pair *p = s->group; p < end; p++)
        if (p->n_blocks)
            bound_rows(s, p, begin);
    for (struct rt_scan_pair *p = s->group; p < end; p++)
        if (p->n_blocks && p->is_seeding)
            RT_TRY(keep_seeds(s, p, begin, err));
    for (struct rt_scan_pair *p = s->group; p < end; p++)
        if (p->n_blocks && p->is_seeding)
            RT_TRY(measure_seeds(s, p, begin, err));
    for (struct rt_scan_pair *p = s->group; p < end; p++) {
        uint32_t n_live;
        RT_TRY(keep_rows(s, p, begin, &n_live, err));
    }
done:
    return st;
}

enum rt_status rt_scan_group(struct rt_scanner *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t most = 0;
    for (size_t i = 0; i < s->n_group; i++) {
        uint64_t n_blocks = rt_block_count(s->group[i].run.n_rows);
        most = n_blocks > most ? n_blocks : most;
    }
    for (uint64_t begin = 0; begin < most; begin += RT_SCAN_CHUNK) {
        for (size_t i = 0; i < s->n_group; i++) {
            struct rt_scan_pair *p = &s->group[i];
            uint64_t n_blocks = rt_block_count(p->run.n_rows);
            uint64_t left = n_blocks > begin ? n_blocks - begin : 0;
            p->n_blocks = left < RT_SCAN_CHUNK ? (size_t)left : RT_SCAN_CHUNK;
        }
        RT_TRY(scan_chunk(s, begin, err));
    }
done:
    s->n_group = 0;
    return st;
}

enum rt_status rt_scan_add_pair(struct rt_scanner *s, size_t number, uint32_t list,
                                const struct rt_scan_run *run, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (s->n_group == RT_SCAN_GROUP)
        RT_TRY(rt_scan_group(s, err));
    const size_t table_bytes = rt_scan_table_bytes(s);
    struct rt_scan_pair *pair = &s->group[s->n_group];
    pair->query = s->queries + number;
    pair->run = *run;
    pair->table = &s->tables[number];
    if (s->is_residual) {
        const float *centroid = rt_tree_leaves(s->source.tree)->centroids + (size_t)list * s->dim;
        rt_scan_make_table(s, s->batch.rotated + pair->query->number * s->dim, centroid, &pair->own,
                           s->entries + s->n_group * table_bytes);
        pair->table = &pair->own;
    }
    pair->query->count.rows += run->n_rows;
    s->n_group++;
done:
    return st;
}
