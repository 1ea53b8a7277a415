/* Lazy rerank: exact distances of candidates, least bounds first (rabitq.md 6, I1). */
#include "core/keys.h"
#include "core/scanner.h"

#include <string.h>

#define AT_ONCE 4u /* distances */
#define AHEAD 3u   /* queries whose vectors are on their way while another's are measured */
#define PREFETCH_BYTES ((size_t)512) /* of a vector; the hardware follows from there */

/* The greatest candidate whose bound is <= tau. */
static uint64_t last_within(float tau)
{
    return rt_key_of(tau, UINT32_MAX);
}

void rt_rerank_sort(struct rt_scan_query *q)
{
    const uint64_t limit = last_within(rt_scan_tau(q));
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
static const uint64_t *take_least(struct rt_scan_query *q, size_t most, size_t *n)
{
    const uint64_t limit = last_within(rt_scan_tau(q));
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

enum rt_status rt_rerank_begin(struct rt_scanner *s, struct rt_scan_query *q, size_t most,
                               struct rt_scan_fetch *fetch, struct rt_error *err)
{
    struct rt_place places[RT_SCAN_FETCH];
    const uint64_t *taken = take_least(q, most < RT_SCAN_FETCH ? most : RT_SCAN_FETCH, &fetch->n);
    for (size_t i = 0; i < fetch->n; i++) {
        const struct rt_scan_row *row = &q->rows[rt_key_number(taken[i])];
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

/* Some distances at a time, so that none waits for the one before; a tau that falls meanwhile
 * leaves the last of them unused. */
void rt_rerank_end(struct rt_scanner *s, struct rt_scan_query *q, const struct rt_scan_fetch *fetch)
{
    const float *vector = s->batch.queries + q->number * s->dim;
    for (size_t begin = 0; begin < fetch->n; begin += AT_ONCE) {
        float distances[AT_ONCE];
        size_t n = fetch->n - begin < AT_ONCE ? fetch->n - begin : AT_ONCE;
        if (fetch->bounds[begin] > rt_scan_tau(q))
            return;
        s->distances(vector, fetch->vectors + begin, n, s->dim, distances);
        for (size_t i = 0; i < n && fetch->bounds[begin + i] <= rt_scan_tau(q); i++) {
            float bound = fetch->bounds[begin + i];
            float key = distances[i] > bound ? distances[i] : bound;
            rt_topk_push(&q->top, &(struct rt_hit){key, distances[i], fetch->ids[begin + i]});
            q->count.reranked++;
        }
    }
}

enum rt_status rt_rerank(struct rt_scanner *s, struct rt_scan_query *q, size_t most,
                         struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_scan_fetch fetch;
    for (; most > 0; most -= fetch.n) {
        RT_TRY(rt_rerank_begin(s, q, most, &fetch, err));
        if (fetch.n == 0)
            break;
        rt_rerank_end(s, q, &fetch);
    }
done:
    return st;
}

enum rt_status rt_rerank_make_room(struct rt_scanner *s, struct rt_scan_query *q,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t buffer = s->options.buffer;
    struct rt_scan_row *kept = s->rows + (size_t)s->options.max_queries * buffer;
    rt_rerank_sort(q);
    while (q->end - q->first > buffer / 2) {
        RT_TRY(rt_rerank(s, q, buffer / 8, err));
        rt_rerank_sort(q);
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

enum rt_status rt_rerank_all(struct rt_scanner *s, size_t most, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_scan_fetch fetches[AHEAD + 1];
    const size_t n = s->batch.n_queries;
    const size_t ahead = s->source.vectors_last ? AHEAD : 0;
    for (size_t i = 0; i < n + ahead; i++) {
        if (i < n) {
            rt_rerank_sort(s->queries + i);
            RT_TRY(rt_rerank_begin(s, s->queries + i, most, &fetches[i % (AHEAD + 1)], err));
        }
        if (i >= ahead) {
            const struct rt_scan_fetch *fetch = &fetches[(i - ahead) % (AHEAD + 1)];
            rt_rerank_end(s, s->queries + i - ahead, fetch);
            RT_TRY(rt_rerank(s, s->queries + i - ahead, most - fetch->n, err));
        }
    }
done:
    return st;
}
