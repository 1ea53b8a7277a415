/* A batch of queries: pairs of query and list by list, parts, passes, rounds. */
#include "core/keys.h"
#include "core/scanner.h"

#include <math.h>
#include <string.h>

#define LISTS_AHEAD 64u /* lists that are asked for before they are scanned */
#define MANY_PROBES 12u /* most of a query's time goes into codes, which many share */
#define FEW_TOGETHER 64u
#define MANY_TOGETHER 1024u

/* ---- which queries together ---- */

uint32_t rt_scan_together(uint32_t n_probes)
{
    return n_probes < MANY_PROBES ? FEW_TOGETHER : MANY_TOGETHER;
}

void rt_scan_order(const uint32_t *lists, size_t n_queries, uint32_t n_probes, uint32_t n_lists,
                   uint64_t *scratch, uint32_t *order)
{
    uint64_t *keys = scratch;
    uint64_t *spare = scratch + n_queries;
    for (size_t q = 0; q < n_queries; q++)
        keys[q] = (uint64_t)lists[q * n_probes] << 32 | q;
    rt_keys_sort_by_upper(&keys, &spare, n_queries, n_lists);
    for (size_t q = 0; q < n_queries; q++)
        order[q] = rt_key_number(keys[q]);
}

/* ---- the pairs, by list ---- */

static void make_pairs(struct rt_scanner *s)
{
    const struct rt_scan_batch *batch = &s->batch;
    s->n_pairs = 0;
    for (size_t q = 0; q < batch->n_queries; q++)
        for (uint32_t p = 0; p < batch->n_probes; p++) {
            uint32_t list = batch->lists[s->queries[q].number * batch->n_probes + p];
            if (list == UINT32_MAX)
                break;
            rt_assert(list < s->n_lists);
            s->pairs[s->n_pairs++] = (uint64_t)list << 32 | q << 1 | (p > 0);
        }
    rt_keys_sort_by_upper(&s->pairs, &s->spare, s->n_pairs, s->n_lists);
}

static size_t group_end(const struct rt_scanner *s, size_t begin)
{
    size_t end = begin + 1;
    while (end < s->n_pairs && s->pairs[end] >> 32 == s->pairs[begin] >> 32)
        end++;
    return end;
}

/* ---- this part of them ---- */

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

/* ---- scanning ---- */

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
                RT_TRY(rt_scan_add_pair(s, (uint32_t)pairs[next] >> 1, list, &runs[i], err));
        if (!runs[i].lasts)
            RT_TRY(rt_scan_group(s, err));
    }
    for (size_t next = first; next < n_pairs && begin == 0; next++)
        if ((pairs[next] & 1) == pass) /* a list that lies across parts counts once */
            s->queries[(uint32_t)pairs[next] >> 1].count.lists++;
done:
    return st;
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
    RT_TRY(rt_scan_group(s, err));
done:
    return st;
}

static void begin_batch(struct rt_scanner *s, const struct rt_scan_batch *batch)
{
    const size_t table_bytes = rt_scan_table_bytes(s);
    rt_assert(batch->n_queries <= s->options.max_queries);
    rt_assert(batch->n_probes <= s->options.max_probes && batch->part < batch->n_parts);
    s->batch = *batch;
    s->n_group = 0; /* a batch that failed may have left some */
    for (size_t i = 0; i < batch->n_queries; i++) {
        struct rt_scan_query *q = s->queries + i;
        *q = (struct rt_scan_query){.number = batch->order ? batch->order[i] : i,
                                    .top = {s->options.k, 0, s->hits + i * s->options.k},
                                    .limit = INFINITY,
                                    .candidates = s->candidates + i * s->options.buffer,
                                    .rows = s->rows + i * s->options.buffer};
        if (!s->is_residual)
            rt_scan_make_table(s, batch->rotated + q->number * s->dim, NULL, s->tables + i,
                               s->entries + i * table_bytes);
    }
    make_pairs(s);
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
        const struct rt_scan_query *q = &s->queries[i];
        struct rt_topk copy = q->top;
        copy.hits = hits + q->number * copy.k;
        memcpy(copy.hits, q->top.hits, copy.n * sizeof *copy.hits);
        rt_topk_end(&copy);
        if (counts)
            counts[q->number] = q->count;
    }
}

enum rt_status rt_scan_round1(struct rt_scanner *scanner, const struct rt_scan_batch *batch,
                              struct rt_hit *hits, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    begin_batch(scanner, batch);
    RT_TRY(scan_pairs(scanner, err));
    RT_TRY(rt_rerank_all(scanner, rt_scan_few(scanner, batch->n_parts), err));
    give_hits(scanner, hits, NULL);
done:
    return st;
}

enum rt_status rt_scan_round2(struct rt_scanner *scanner, const float *tau, struct rt_hit *hits,
                              struct rt_scan_count *counts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < scanner->batch.n_queries; i++)
        scanner->queries[i].limit = tau[scanner->queries[i].number];
    RT_TRY(rt_rerank_all(scanner, SIZE_MAX, err));
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
    RT_TRY(rt_rerank_all(scanner, SIZE_MAX, err));
    give_hits(scanner, hits, counts);
done:
    return st;
}
