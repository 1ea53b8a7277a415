#include "jobs/phases/index_search.h"

#include "core/memory.h"
#include "core/rotation.h"
#include "core/thread.h"
#include "jobs/phases/merge_hits.h"
#include "jobs/phases/tree_sets.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define QUERIES_A_RANK 8u    /* so many, and ranks share a batch by queries */
#define CHOSEN_AT_ONCE 1024u /* queries whose lists a thread chooses together */
#define LEAST_AT_ONCE 64u    /* while threads share them */
#define PIECES_OF_WORKER 2u  /* at least, of what is left */

struct rt_index_search;

/* One thread of a rank, and its part of the queries at hand: numbers of this rank's. */
struct worker {
    struct rt_index_search *search;
    struct rt_index_scan *scan;
    struct rt_assigner *assigner;
    struct rt_range range;
    enum rt_status st;
    struct rt_error err;
};

/* What all workers do with their parts. */
typedef enum rt_status task(struct worker *w, struct rt_error *err);

struct rt_index_search {
    const struct rt_job *job;
    const struct rt_index_view *view;
    struct rt_index_search_options options;
    const struct rt_tree *tree;
    struct rt_rotation *rotation;
    struct rt_tree_sets sets;
    uint32_t n_probes;
    size_t n_shared; /* queries whose lists' blocks ranks share, at most */
    size_t n_own;    /* and those that a rank answers alone */
    float *rotated;  /* n_shared or n_own x dim */
    uint32_t *lists;
    uint32_t *order; /* n_own, by nearest list */
    uint64_t *order_scratch;
    float *tau;
    struct rt_hit *hits; /* batch x k: this rank's, then all ranks' on rank 0 */
    struct rt_scan_count *counts;
    struct worker *workers;

    /* the queries that the workers share out among themselves */
    const float *queries;
    size_t first; /* their first one's number in the batch */
    size_t n_queries;
    atomic_size_t n_taken; /* of them, by workers that take one piece after the other */
    task *task;
};

static bool is_wanted(void *context, uint64_t id)
{
    return rt_id_filter_has(context, id);
}

/* ---- making and freeing ---- */

/* With enough queries each rank searches for its own, and nothing is done twice. Where there are
 * few, or each takes all the rows there are, ranks share the blocks of the lists (I5). */
static bool is_by_queries(const struct rt_index_search *s, size_t n_queries)
{
    size_t n_ranks = (size_t)s->job->n_ranks;
    return n_ranks == 1 || (!s->options.exact && n_queries / QUERIES_A_RANK >= n_ranks);
}

/* What is_by_queries leaves to blocks. */
static size_t most_shared(const struct rt_index_search *s)
{
    size_t n_ranks = (size_t)s->job->n_ranks;
    size_t batch = s->options.batch;
    size_t few = QUERIES_A_RANK * n_ranks;
    if (n_ranks == 1)
        return 0;
    return s->options.exact || batch < few ? batch : few;
}

static size_t most_chosen(const struct rt_index_search *s)
{
    return s->options.batch < CHOSEN_AT_ONCE ? s->options.batch : CHOSEN_AT_ONCE;
}

static size_t most_together(const struct rt_index_search *s)
{
    const uint32_t together = rt_scan_together(s->n_probes);
    return s->n_own < together ? s->n_own : together;
}

static uint32_t most_of_worker(const struct rt_index_search *s)
{
    rt_assert(s->options.threads > 0);
    size_t shared = (s->n_shared + s->options.threads - 1) / s->options.threads;
    return (uint32_t)(shared > most_together(s) ? shared : most_together(s));
}

static struct rt_index_scan_source scan_source(const struct rt_index_search *s)
{
    return (struct rt_index_scan_source){.view = s->view,
                                         .heap = s->options.heap,
                                         .is_wanted = s->options.filter ? is_wanted : NULL,
                                         .context = s->options.filter};
}

static struct rt_scan_options scan_options(const struct rt_index_search *s)
{
    return (struct rt_scan_options){.k = s->options.k,
                                    .epsilon = s->options.epsilon,
                                    .exact = s->options.exact,
                                    .max_queries = most_of_worker(s),
                                    .max_probes = s->n_probes};
}

static enum rt_status worker_new(struct rt_index_search *s, struct worker *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t most = 1;
    for (uint32_t l = 0; l < s->tree->n_levels; l++)
        most = s->options.probes[l] > most ? s->options.probes[l] : most;
    const struct rt_index_scan_source source = scan_source(s);
    const struct rt_scan_options scan = scan_options(s);
    w->search = s;
    RT_TRY(rt_index_scan_new(&source, &scan, &w->scan, err));
    RT_TRY(rt_assigner_new(most_chosen(s), s->tree->dim, most, RT_PROPOSE_AUTO, &w->assigner, err));
done:
    return st;
}

static enum rt_status allocate(struct rt_index_search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t batch = s->options.batch;
    s->n_shared = most_shared(s);
    s->n_own = (batch + (size_t)s->job->n_ranks - 1) / (size_t)s->job->n_ranks;
    const size_t n_known = s->n_shared > s->n_own ? s->n_shared : s->n_own;
    RT_TRY(rt_rotation_new(s->tree->rotation_seed, s->tree->dim, &s->rotation, err));
    /* zeros, so that the first batch does not stop at each page */
    RT_TRY(rt_array_zero(n_known, s->tree->dim * sizeof(float), &s->rotated, err));
    RT_TRY(rt_array_zero(n_known, s->n_probes * sizeof(uint32_t), &s->lists, err));
    RT_TRY(rt_array_zero(s->n_own, sizeof *s->order, &s->order, err));
    RT_TRY(rt_array_zero(s->n_own, 2 * sizeof *s->order_scratch, &s->order_scratch, err));
    RT_TRY(rt_array_zero(s->n_shared, sizeof *s->tau, &s->tau, err));
    RT_TRY(rt_array_zero(batch, s->options.k * sizeof *s->hits, &s->hits, err));
    RT_TRY(rt_array_zero(batch, sizeof *s->counts, &s->counts, err));
    RT_TRY(rt_array_zero(s->options.threads, sizeof *s->workers, &s->workers, err));
    for (uint32_t t = 0; t < s->options.threads; t++)
        RT_TRY(worker_new(s, &s->workers[t], err));
    const struct rt_index_scan_source source = scan_source(s);
    const struct rt_scan_options scan = scan_options(s);
    rt_index_scan_expect(&source, &scan, s->options.n_queries / (uint64_t)s->job->n_ranks);
done:
    return st;
}

enum rt_status rt_index_search_new(const struct rt_job *job, const struct rt_index_view *view,
                                   const struct rt_index_search_options *options,
                                   struct rt_index_search **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_search *s = NULL;
    RT_LOCAL(rt_array_zero(1, sizeof *s, &s, err));
    RT_AGREE(job->comm);
    s->job = job;
    s->view = view;
    s->options = *options;
    s->tree = &view->tree.tree;
    s->n_probes = options->probes[s->tree->n_levels - 1];
    /* A query ranks lists by its own metric, whatever rows were assigned by (B1). */
    RT_TRY(rt_tree_sets_new(job, s->tree, s->tree->metric == RT_IP ? RT_IP : RT_L2, false,
                            options->pin, &s->sets, err));
    RT_LOCAL(allocate(s, err));
    RT_AGREE(job->comm);
    *out = s;
    s = NULL;
done:
    rt_index_search_free(s);
    return st;
}

void rt_index_search_free(struct rt_index_search *s)
{
    if (!s)
        return;
    for (uint32_t t = 0; s->workers && t < s->options.threads; t++) {
        rt_index_scan_free(s->workers[t].scan);
        rt_assigner_free(s->workers[t].assigner);
    }
    rt_array_free(s->workers);
    rt_tree_sets_free(&s->sets);
    rt_rotation_free(s->rotation);
    rt_array_free(s->rotated);
    rt_array_free(s->lists);
    rt_array_free(s->order);
    rt_array_free(s->order_scratch);
    rt_array_free(s->tau);
    rt_array_free(s->hits);
    rt_array_free(s->counts);
    rt_array_free(s);
}

/* ---- workers ---- */

static void *work(void *context)
{
    struct worker *w = context;
    w->st = w->search->task(w, &w->err);
    return NULL;
}

/* The workers share queries [first, first + n) of the batch, in parts or piece by piece; the
 * calling thread is one of them. */
static enum rt_status run_workers(struct rt_index_search *s, task *what, size_t first, size_t n,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_workers = n < s->options.threads ? (uint32_t)n : s->options.threads;
    pthread_t *threads = NULL;
    uint32_t n_started = 1;
    RT_TRY(rt_array_new(s->options.threads, sizeof *threads, &threads, err));
    s->task = what;
    s->first = first;
    s->n_queries = n;
    atomic_store(&s->n_taken, 0);
    for (uint32_t t = 0; t < n_workers; t++)
        s->workers[t].range = rt_share(n, (int)t, (int)n_workers, 1);
    struct rt_error ignored; /* no more threads to be had: their parts are done here */
    while (n_started < n_workers &&
           rt_thread_start(&threads[n_started], work, &s->workers[n_started], &ignored) == RT_OK)
        n_started++;
    for (uint32_t t = n_started; t < n_workers; t++)
        (void)work(&s->workers[t]);
    if (n_workers > 0)
        (void)work(&s->workers[0]);
    for (uint32_t t = 1; t < n_started; t++)
        (void)pthread_join(threads[t], NULL);
    for (uint32_t t = 0; t < n_workers && st == RT_OK; t++)
        if (s->workers[t].st != RT_OK) {
            st = s->workers[t].st;
            *err = s->workers[t].err;
        }
done:
    rt_array_free(threads);
    return st;
}

static size_t count_of(const struct worker *w)
{
    return (size_t)rt_range_count(w->range);
}

static struct rt_hit *hits_of(const struct worker *w)
{
    return w->search->hits + (w->search->first + w->range.begin) * w->search->options.k;
}

static struct rt_scan_count *counts_of(const struct worker *w)
{
    return w->search->counts + w->search->first + w->range.begin;
}

static void rotate(const struct worker *w, float *rotated)
{
    const struct rt_index_search *s = w->search;
    const uint32_t dim = s->tree->dim;
    memcpy(rotated, s->queries + (s->first + w->range.begin) * dim,
           count_of(w) * dim * sizeof *rotated);
    rt_rotation_apply(s->rotation, rotated, count_of(w));
}

/* The lists of n rotated queries. */
static void choose_lists(struct worker *w, const float *rotated, size_t n, uint32_t *lists)
{
    const struct rt_index_search *s = w->search;
    const size_t at_once = most_chosen(s);
    for (size_t q = 0; q < n; q += at_once)
        rt_assign_tree_lists(w->assigner, s->tree, s->sets.sets, s->options.probes,
                             rotated + q * s->tree->dim, n - q < at_once ? n - q : at_once,
                             s->n_probes, lists + q * s->n_probes);
}

/* ---- each rank its own queries ---- */

/* Of n_queries, where n_left are to be had. Many queries at once take less time each, but the last
 * pieces are small, so that no thread waits long for another. */
static size_t piece_of(const struct rt_index_search *s, size_t n_left, size_t most)
{
    const size_t n_workers = s->options.threads;
    const size_t least = (s->n_queries + n_workers - 1) / n_workers;
    size_t n = n_workers == 1 ? n_left : n_left / (PIECES_OF_WORKER * n_workers);
    n = n < LEAST_AT_ONCE ? LEAST_AT_ONCE : n;
    n = n < least ? n : least;
    n = n < most ? n : most;
    return n < n_left ? n : n_left;
}

/* The next piece for a worker, of no more than `most`; false: all are taken. */
static bool take_piece(struct worker *w, size_t most)
{
    struct rt_index_search *s = w->search;
    size_t n;
    size_t begin = atomic_load(&s->n_taken);
    do {
        n = piece_of(s, s->n_queries - begin, most);
    } while (!atomic_compare_exchange_weak(&s->n_taken, &begin, begin + n));
    w->range = (struct rt_range){begin, begin + n};
    return n > 0;
}

static enum rt_status prepare(struct worker *w, struct rt_error *err)
{
    const struct rt_index_search *s = w->search;
    (void)err;
    while (take_piece(w, most_chosen(s))) {
        float *rotated = s->rotated + w->range.begin * s->tree->dim;
        rotate(w, rotated);
        choose_lists(w, rotated, count_of(w), s->lists + w->range.begin * s->n_probes);
    }
    return RT_OK;
}

static enum rt_status answer(struct worker *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_search *s = w->search;
    const uint32_t k = s->options.k;
    struct rt_hit *hits = s->hits + s->first * k;
    struct rt_scan_batch batch = {.n_probes = s->n_probes,
                                  .queries = s->queries + s->first * s->tree->dim,
                                  .rotated = s->rotated,
                                  .lists = s->lists,
                                  .n_parts = 1};
    while (take_piece(w, most_together(s))) {
        batch.n_queries = count_of(w);
        batch.order = s->order + w->range.begin;
        RT_TRY(rt_scan(rt_index_scanner(w->scan), &batch, hits, s->counts + s->first, err));
        for (size_t i = 0; i < batch.n_queries; i++)
            rt_topk_show(hits + (size_t)batch.order[i] * k, k);
    }
done:
    return st;
}

static enum rt_status search_by_queries(struct rt_index_search *s, size_t n_queries,
                                        struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_range mine = rt_share(n_queries, s->job->rank, s->job->n_ranks, 1);
    memset(s->counts, 0, n_queries * sizeof *s->counts);
    const size_t n = (size_t)rt_range_count(mine);
    RT_LOCAL(run_workers(s, prepare, mine.begin, n, err));
    rt_scan_order(s->lists, n, s->n_probes, rt_tree_leaves(s->tree)->n, s->order_scratch, s->order);
    RT_LOCAL(run_workers(s, answer, mine.begin, n, err));
    RT_AGREE(s->job->comm);
    rt_gather_hits(s->job->comm, s->hits, n_queries, s->options.k);
done:
    return st;
}

/* ---- all ranks the same queries, each its blocks ---- */

/* A worker's queries as a scanner takes them. */
static struct rt_scan_batch part_of(const struct worker *w)
{
    const struct rt_index_search *s = w->search;
    return (struct rt_scan_batch){.n_queries = count_of(w),
                                  .n_probes = s->n_probes,
                                  .queries = s->queries + w->range.begin * s->tree->dim,
                                  .rotated = s->rotated + w->range.begin * s->tree->dim,
                                  .lists = s->lists + w->range.begin * s->n_probes,
                                  .part = (uint32_t)s->job->rank,
                                  .n_parts = (uint32_t)s->job->n_ranks};
}

static enum rt_status round1(struct worker *w, struct rt_error *err)
{
    const struct rt_scan_batch batch = part_of(w);
    return rt_scan_round1(rt_index_scanner(w->scan), &batch, hits_of(w), err);
}

static enum rt_status round2(struct worker *w, struct rt_error *err)
{
    return rt_scan_round2(rt_index_scanner(w->scan), w->search->tau + w->range.begin, hits_of(w),
                          counts_of(w), err);
}

static enum rt_status rotate_part(struct worker *w, struct rt_error *err)
{
    (void)err;
    rotate(w, w->search->rotated + w->range.begin * w->search->tree->dim);
    return RT_OK;
}

static enum rt_status choose(struct worker *w, struct rt_error *err)
{
    const struct rt_index_search *s = w->search;
    const size_t begin = s->first + w->range.begin;
    (void)err;
    choose_lists(w, s->rotated + begin * s->tree->dim, count_of(w), s->lists + begin * s->n_probes);
    return RT_OK;
}

/* Every rank chooses the lists of its share of the queries; then all know all. */
static enum rt_status share_lists(struct rt_index_search *s, size_t n_queries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int n_ranks = s->job->n_ranks;
    struct rt_range mine = rt_share(n_queries, s->job->rank, n_ranks, 1);
    uint64_t *counts = NULL;
    RT_LOCAL(rt_array_new((size_t)n_ranks, sizeof *counts, &counts, err));
    RT_LOCAL(run_workers(s, rotate_part, 0, n_queries, err));
    RT_LOCAL(run_workers(s, choose, mine.begin, (size_t)rt_range_count(mine), err));
    RT_AGREE(s->job->comm);
    for (int r = 0; r < n_ranks; r++)
        counts[r] =
            rt_range_count(rt_share(n_queries, r, n_ranks, 1)) * s->n_probes * sizeof(uint32_t);
    rt_allgatherv_bytes(s->job->comm, s->lists + mine.begin * s->n_probes, s->lists, counts);
done:
    rt_array_free(counts);
    return st;
}

static enum rt_status search_by_blocks(struct rt_index_search *s, size_t n_queries,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = s->job->comm;
    uint32_t k = s->options.k;
    RT_TRY(share_lists(s, n_queries, err));
    RT_LOCAL(run_workers(s, round1, 0, n_queries, err));
    RT_AGREE(comm);
    RT_TRY(rt_merge_hits(comm, s->hits, n_queries, k, err));
    for (size_t q = 0; q < n_queries; q++)
        s->tau[q] = s->hits[(q + 1) * k - 1].key;
    rt_bcast_bytes(comm, s->tau, n_queries * sizeof *s->tau, 0);
    RT_LOCAL(run_workers(s, round2, 0, n_queries, err));
    RT_AGREE(comm);
    RT_TRY(rt_merge_hits(comm, s->hits, n_queries, k, err));
    if (s->job->rank == 0)
        for (size_t q = 0; q < n_queries; q++)
            rt_topk_show(s->hits + q * k, k);
done:
    return st;
}

enum rt_status rt_index_search_run(struct rt_index_search *s, const float *queries,
                                   size_t n_queries, struct rt_hit *hits,
                                   struct rt_scan_count *counts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t k = s->options.k;
    rt_assert(n_queries <= s->options.batch);
    s->queries = queries;
    if (is_by_queries(s, n_queries))
        RT_TRY(search_by_queries(s, n_queries, err));
    else
        RT_TRY(search_by_blocks(s, n_queries, err));
    if (counts) {
        if (s->job->n_ranks > 1)
            rt_sum_u64(s->job->comm, (uint64_t *)s->counts,
                       n_queries * (sizeof *s->counts / sizeof(uint64_t)));
        memcpy(counts, s->counts, n_queries * sizeof *counts);
    }
    if (s->job->rank == 0)
        memcpy(hits, s->hits, n_queries * k * sizeof *hits);
done:
    return st;
}

double rt_index_recall(const struct rt_hit *hits, size_t n_queries, uint32_t k,
                       const uint64_t *truth, uint32_t truth_k)
{
    uint64_t found = 0;
    for (size_t q = 0; q < n_queries; q++)
        for (uint32_t i = 0; i < k; i++) {
            uint64_t id = hits[q * k + i].id;
            for (uint32_t j = 0; j < k && id != RT_NO_ID; j++)
                if (truth[q * truth_k + j] == id) {
                    found++;
                    break;
                }
        }
    return n_queries ? (double)found / ((double)n_queries * k) : 0;
}
