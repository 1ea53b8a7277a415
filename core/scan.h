/* Search inside lists: fast scan of 1-bit codes, lower bounds, lazy rerank on original vectors
 * (rabitq.md 5, 6; algorithms.md I). Which lists a query probes is the caller's choice
 * (core/assign.h). Knows no file and no MPI: blocks and vectors come through callbacks, ranks share
 * the blocks by parts and two rounds. The answers are the k least rows of the probed lists by (key,
 * id), key = max(exact distance, lower bound): the same for any batch, order of lists, buffer,
 * parts and instruction set (I1). */
#ifndef RT_CORE_SCAN_H
#define RT_CORE_SCAN_H

#include "core/element.h"
#include "core/error.h"
#include "core/place.h"
#include "core/topk.h"
#include "core/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of one list in whole blocks of RT_BLOCK_ROWS, the last one perhaps not full (its other codes
 * are zero bits; its other factors, ids and places may hold anything). Frozen blocks and appendable
 * records alike (I2): records are put into blocks by rt_block_put and scanned with the same tables.
 */
struct rt_scan_run {
    uint64_t n_rows;
    uint64_t generation;  /* of the file, handed to is_live (H4) */
    const uint8_t *codes; /* blocks x rt_block_code_bytes */
    const float *factors; /* blocks x rt_code_n_factors x RT_BLOCK_ROWS: a block's factor f of row r
                           * at [f x RT_BLOCK_ROWS + r] */
    const uint64_t *ids;  /* blocks x RT_BLOCK_ROWS */
    const struct rt_place *places; /* blocks x RT_BLOCK_ROWS */
    bool lasts; /* the arrays stay as they are for the scanner's life; else until the next list */
};

#define RT_SCAN_FETCH 16u /* vectors asked for at once, at most */

/* The index as a scanner sees it; lent for the scanner's life. A scanner belongs to one thread and
 * calls from it alone; scanners of several threads may share what their contexts share safely. */
struct rt_scan_source {
    void *context;
    const struct rt_tree *tree; /* metric, residual, dim and the leaves' centroids are used */
    enum rt_element element;    /* of original vectors */
    /* Blocks of a list over all its runs: the same on every rank. Cheap. */
    uint64_t (*n_blocks)(void *context, uint32_t list);
    /* Lends the runs that hold blocks [begin, end) of a list, in order, nothing beside them; *runs
     * until the next call, their arrays as each run says. Asked once or twice a batch for each list
     * (I3). Only the last block of a run may be partly filled. */
    enum rt_status (*read_list)(void *context, uint32_t list, uint64_t begin, uint64_t end,
                                const struct rt_scan_run **runs, size_t *n_runs,
                                struct rt_error *err);
    /* Does reading wait for a disk? Asked once a batch; NULL: no. Where it does, expect_list says
     * which blocks of which list will be read soon. */
    bool (*is_slow)(void *context);
    void (*expect_list)(void *context, uint32_t list, uint64_t begin, uint64_t end);
    /* Lends the original vectors of n <= RT_SCAN_FETCH places, in any alignment: for the scanner's
     * life where vectors_last, else until the next call. */
    enum rt_status (*read_vectors)(void *context, const struct rt_place *places, size_t n,
                                   const void **vectors, struct rt_error *err);
    bool vectors_last;
    /* May this row be found (tombstones, --filter)? NULL: every row. */
    bool (*is_live)(void *context, uint64_t id, uint64_t generation);
};

struct rt_scan_options {
    uint32_t k;           /* neighbours of a query, at least 1 */
    float epsilon;        /* bound = rough - epsilon x err; 0..4 */
    bool exact;           /* all bounds are minus infinity: brute force over the probed lists */
    uint32_t max_queries; /* of a batch, at least 1 */
    uint32_t max_probes;  /* lists of a query, at least 1 */
    uint32_t buffer; /* candidates a query holds at most; 0: a good one; below RT_SCAN_MIN_BUFFER:
                        that */
};
#define RT_SCAN_MIN_BUFFER 64u

/* One batch of queries. n_parts processes that call with the same batch and parts 0..n_parts-1 scan
 * every block of the probed lists exactly once between them (I5). */
struct rt_scan_batch {
    size_t n_queries;
    uint32_t n_probes;
    const float
        *queries; /* n_queries x dim, as rt_metric_prepare_row leaves them: for exact distances */
    const float *rotated; /* the same rotated: for tables */
    const uint32_t
        *lists; /* n_queries x n_probes leaves, nearest first, none twice; UINT32_MAX: no more */
    uint32_t part;
    uint32_t n_parts;      /* 1: everything here */
    const uint32_t *order; /* their numbers in every array here and of hits, tau and counts; NULL:
                            * 0, 1, .. */
};

/* What one query cost here; sums over parts are the query's. */
struct rt_scan_count {
    uint64_t lists;    /* lists that have rows, scanned */
    uint64_t rows;     /* codes scanned */
    uint64_t reranked; /* exact distances */
};

/* Queries in this order, so many at a time, find in the caches much of what the ones before them
 * touched: order (n_queries) := their numbers by nearest list. lists: n_queries x n_probes as in a
 * batch, of n_lists in all; scratch: 2 x n_queries. */
uint32_t rt_scan_together(uint32_t n_probes);
void rt_scan_order(const uint32_t *lists, size_t n_queries, uint32_t n_probes, uint32_t n_lists,
                   uint64_t *scratch, uint32_t *order);

struct rt_scanner;
/* Bytes that rt_scanner_new allocates for these. */
size_t rt_scanner_bytes(const struct rt_scan_source *source, const struct rt_scan_options *options);
enum rt_status rt_scanner_new(const struct rt_scan_source *source,
                              const struct rt_scan_options *options, struct rt_scanner **out,
                              struct rt_error *err) RT_MUST_CHECK;
void rt_scanner_free(struct rt_scanner *scanner);

/* The whole search of a batch (of its part): hits is n_queries x k, each query's ascending by (key,
 * id), missing places RT_NO_ID; counts (n_queries) may be NULL. One process then calls rt_topk_show
 * on each query's hits. */
enum rt_status rt_scan(struct rt_scanner *scanner, const struct rt_scan_batch *batch,
                       struct rt_hit *hits, struct rt_scan_count *counts,
                       struct rt_error *err) RT_MUST_CHECK;

/* The same in two rounds for several parts (I5). Round 1 scans this part's blocks and measures the
 * ceil(k / n_parts) + 2 least bounds of each query; hits: the k least keys known here, as above.
 * The caller merges them over the parts (rt_topk_merge; a maximum of k hits travels) and gives
 * every part tau: each query's k-th key of the merged. Round 2 measures what is left with bound <=
 * tau; hits: this part's final k least, round 1's among them, to be merged again and shown. batch
 * must be the same in both and live until round 2 is done. */
enum rt_status rt_scan_round1(struct rt_scanner *scanner, const struct rt_scan_batch *batch,
                              struct rt_hit *hits, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_scan_round2(struct rt_scanner *scanner, const float *tau, struct rt_hit *hits,
                              struct rt_scan_count *counts, struct rt_error *err) RT_MUST_CHECK;

/* E of B1 between a query (f32) and a row of any element type, order A4, on this CPU's kernels.
 * Cosine: row is scaled as A6 says on the way. For brute force and verify. */
float rt_scan_distance(enum rt_metric metric, enum rt_element element, const float *query,
                       const void *row, uint32_t dim);

#endif
