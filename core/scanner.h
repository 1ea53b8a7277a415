/* The scratch of one scanner and what its parts share. Private to core: scanner.c makes it, scan.c
 * takes batches apart into pairs of query and list, scan_group.c bounds rows of such pairs and
 * keeps candidates, rerank.c measures them. */
#ifndef RT_CORE_SCANNER_H
#define RT_CORE_SCANNER_H

#include "core/block.h"
#include "core/kernels/kernels.h"
#include "core/scan.h"

#define RT_SCAN_GROUP 16u /* pairs of query and list that are scanned side by side */
#define RT_SCAN_CHUNK 64u /* blocks; their codes and factors stay in the cache meanwhile */
#define RT_SCAN_SPARE 2u  /* measured for a first tau beside the k */

/* A row that may be among the k least: its bound was <= tau when it was kept. What is compared is
 * kept apart, in 8 bytes: rt_key_of the bound and the number of the row. */
struct rt_scan_row {
    uint64_t id;
    struct rt_place place;
};

struct rt_scan_query {
    size_t number; /* in the caller's arrays */
    struct rt_topk top;
    float limit;          /* tau from outside (I5), +infinity without */
    uint32_t first, end;  /* candidates; those before are measured */
    uint32_t n_rows;      /* places of rows taken, those of candidates gone included */
    uint32_t n_seeds;     /* measured for a first tau */
    uint64_t *candidates; /* ascending while they are measured, else in any order */
    struct rt_scan_row *rows;
    struct rt_scan_count count;
};

/* Candidates taken out to be measured, and their vectors, which are on their way. Meanwhile the
 * query's rows may move. */
struct rt_scan_fetch {
    size_t n;
    float bounds[RT_SCAN_FETCH]; /* ascending */
    uint64_t ids[RT_SCAN_FETCH];
    const void *vectors[RT_SCAN_FETCH];
};

/* A query against a run of a list. Pairs of a group take each step together, so that what one waits
 * for arrives while the others work. */
struct rt_scan_pair {
    struct rt_scan_query *query;
    struct rt_scan_run run;
    struct rt_scan_table own; /* residual */
    const struct rt_scan_table *table;
    size_t n_blocks; /* of the chunk at hand */
    bool is_seeding;
    float seed;       /* the greatest bound that is measured for a first tau */
    uint32_t n_seeds; /* rows that are */
    float bounds[RT_SCAN_CHUNK * RT_BLOCK_ROWS];
    uint32_t kept[RT_SCAN_CHUNK];
    struct rt_scan_fetch fetch;
};

struct rt_scanner {
    struct rt_scan_source source;
    struct rt_scan_options options;
    const struct rt_scan_kernels *kernels;
    rt_row_distances *distances;
    void (*find_rank)(const float *values, size_t n, size_t rank, float *at, float *next);
    bool is_ip, is_residual;
    uint32_t dim, n_groups, n_factors, n_lists;
    size_t row_bytes;
    struct rt_scan_batch batch; /* the one being searched */
    struct rt_scan_query *queries;
    struct rt_hit *hits;      /* k of each query */
    uint64_t *candidates;     /* buffer of each query */
    struct rt_scan_row *rows; /* buffer of each query, and of one more */
    uint64_t *pairs, *spare;  /* list << 32 | query << 1 | (its nearest list: 0) */
    size_t n_pairs;
    struct rt_scan_table *tables; /* of every query, without residual */
    uint8_t *entries;             /* residual: of a group's tables; else of all queries' */
    float *difference;            /* v - c, padded to 16 */
    struct rt_scan_pair group[RT_SCAN_GROUP];
    size_t n_group;
};

/* A piece of the k least, and a little: as many bounds are measured for a first tau. */
static inline uint32_t rt_scan_few(const struct rt_scanner *s, uint32_t n_parts)
{
    return (s->options.k + n_parts - 1) / n_parts + RT_SCAN_SPARE;
}

static inline float rt_scan_tau(const struct rt_scan_query *q)
{
    float bound = rt_topk_bound(&q->top);
    return bound < q->limit ? bound : q->limit;
}

static inline size_t rt_scan_table_bytes(const struct rt_scanner *s)
{
    return ((size_t)s->n_groups + 3) / 4 * 64;
}

/* ---- scan_group.c ---- */

/* The table of a rotated query and a list's centroid (NULL: no residual, c = 0); rabitq.md 3 to 5.
 */
void rt_scan_make_table(struct rt_scanner *s, const float *query, const float *centroid,
                        struct rt_scan_table *table, uint8_t *entries);
/* A query of the batch and a run of a list join the group; a full one is scanned first. */
enum rt_status rt_scan_add_pair(struct rt_scanner *s, size_t number, uint32_t list,
                                const struct rt_scan_run *run, struct rt_error *err) RT_MUST_CHECK;
/* Scans the pairs of the group, chunk by chunk, so that a long list is read once for all that probe
 * it; the group is empty then. */
enum rt_status rt_scan_group(struct rt_scanner *s, struct rt_error *err) RT_MUST_CHECK;

/* ---- rerank.c ---- */

/* Drops candidates that cannot be among the k least any more and sorts the rest. */
void rt_rerank_sort(struct rt_scan_query *q);
/* Takes the `most` least bounds out (no more than a fetch holds), while they are <= tau, and asks
 * for their vectors. The candidates must be sorted. */
enum rt_status rt_rerank_begin(struct rt_scanner *s, struct rt_scan_query *q, size_t most,
                               struct rt_scan_fetch *fetch, struct rt_error *err) RT_MUST_CHECK;
/* Measures what was taken out. */
void rt_rerank_end(struct rt_scanner *s, struct rt_scan_query *q,
                   const struct rt_scan_fetch *fetch);
/* Measures the `most` least bounds, in ascending order, while they are <= tau. The candidates must
 * be sorted. */
enum rt_status rt_rerank(struct rt_scanner *s, struct rt_scan_query *q, size_t most,
                         struct rt_error *err) RT_MUST_CHECK;
/* The same for every query of the batch, whose candidates may be in any order. */
enum rt_status rt_rerank_all(struct rt_scanner *s, size_t most, struct rt_error *err) RT_MUST_CHECK;
/* I4: a full buffer measures its least bounds until tau has dropped half of it; the rest moves
 * together. */
enum rt_status rt_rerank_make_room(struct rt_scanner *s, struct rt_scan_query *q,
                                   struct rt_error *err) RT_MUST_CHECK;

#endif
