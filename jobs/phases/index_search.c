#include "jobs/phases/index_search.h"

#include "core/memory.h"
#include "core/rotation.h"
#include "jobs/phases/merge_hits.h"
#include "jobs/phases/tree_sets.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

/* One thread of a rank. */
struct worker {
    struct rt_index_scan *scan;
    struct rt_scan_batch batch;
    struct rt_hit *hits;
    struct rt_scan_count *counts;
    const float *tau;
    int round; /* 0: whole, 1, 2 */
    enum rt_status st;
    struct rt_error err;
};

struct rt_index_search {
    const struct rt_job *job;
    const struct rt_index_view *view;
    struct rt_index_search_options options;
    const struct rt_tree *tree;
    struct rt_rotation *rotation;
    struct rt_tree_sets sets;
    struct rt_assigner *assigner;
    uint32_t n_probes;
    size_t assign_rows;
    float *rotated;
    uint32_t *lists;
    float *tau;
    struct rt_hit *hits; /* batch x k: this rank's */
    struct rt_scan_count *counts;
    struct worker *workers;
};

static bool is_wanted(void *context, uint64_t id)
{
    return rt_id_filter_has(context, id);
}

static enum rt_status worker_new(struct rt_index_search *s, struct worker *w, struct rt_error *err)
{
    struct rt_index_scan_source source = {.view = s->view,
                                          .heap = s->options.heap,
                                          .is_wanted = s->options.filter ? is_wanted : NULL,
                                          .context = s->options.filter};
    struct rt_scan_options scan = {.k = s->options.k,
                                   .epsilon = s->options.epsilon,
                                   .exact = s->options.exact,
                                   .max_queries =
                                       (s->options.batch + s->options.threads - 1) /
                                       s->options.threads, /* a worker's part of a batch */
                                   .max_probes = s->n_probes};
    return rt_index_scan_new(&source, &scan, &w->scan, err);
}

static enum rt_status allocate(struct rt_index_search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t batch = s->options.batch;
    uint32_t most = 1;
    for (uint32_t l = 0; l < s->tree->n_levels; l++)
        most = s->options.probes[l] > most ? s->options.probes[l] : most;
    s->assign_rows = batch < 1024 ? batch : 1024;
    RT_TRY(rt_rotation_new(s->tree->rotation_seed, s->tree->dim, &s->rotation, err));
    RT_TRY(rt_assigner_new(s->assign_rows, s->tree->dim, most, RT_PROPOSE_AUTO, &s->assigner, err));
    RT_TRY(rt_array_new(batch, s->tree->dim * sizeof(float), &s->rotated, err));
    RT_TRY(rt_array_new(batch, s->n_probes * sizeof(uint32_t), &s->lists, err));
    RT_TRY(rt_array_new(batch, sizeof *s->tau, &s->tau, err));
    RT_TRY(rt_array_new(batch, s->options.k * sizeof *s->hits, &s->hits, err));
    RT_TRY(rt_array_new(batch, sizeof *s->counts, &s->counts, err));
    RT_TRY(rt_array_zero(s->options.threads, sizeof *s->workers, &s->workers, err));
    for (uint32_t t = 0; t < s->options.threads; t++)
        RT_TRY(worker_new(s, &s->workers[t], err));
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
    RT_TRY(rt_tree_sets_new(job, s->tree, s->tree->metric == RT_IP ? RT_IP : RT_L2, options->pin,
                            &s->sets, err));
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
    for (uint32_t t = 0; s->workers && t < s->options.threads; t++)
        rt_index_scan_free(s->workers[t].scan);
    rt_array_free(s->workers);
    rt_tree_sets_free(&s->sets);
    rt_assigner_free(s->assigner);
    rt_rotation_free(s->rotation);
    rt_array_free(s->rotated);
    rt_array_free(s->lists);
    rt_array_free(s->tau);
    rt_array_free(s->hits);
    rt_array_free(s->counts);
    rt_array_free(s);
}

/* Every rank chooses the lists of its share of the queries; then all know all. */
static enum rt_status choose_lists(struct rt_index_search *s, const float *queries,
                                   size_t n_queries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = s->tree;
    int n_ranks = s->job->n_ranks;
    struct rt_range mine = rt_share(n_queries, s->job->rank, n_ranks, 1);
    uint64_t *counts = NULL;
    RT_LOCAL(rt_array_new((size_t)n_ranks, sizeof *counts, &counts, err));
    RT_AGREE(s->job->comm);
    memcpy(s->rotated, queries, n_queries * tree->dim * sizeof *queries);
    rt_rotation_apply(s->rotation, s->rotated, n_queries);
    for (size_t q = mine.begin; q < mine.end;) {
        size_t n = mine.end - q < s->assign_rows ? (size_t)(mine.end - q) : s->assign_rows;
        rt_assign_tree_best(s->assigner, tree, s->sets.sets, s->options.probes,
                            s->rotated + q * tree->dim, n, s->n_probes, s->lists + q * s->n_probes,
                            NULL);
        q += n;
    }
    if (n_ranks > 1) {
        for (int r = 0; r < n_ranks; r++)
            counts[r] =
                rt_range_count(rt_share(n_queries, r, n_ranks, 1)) * s->n_probes * sizeof(uint32_t);
        rt_allgatherv_bytes(s->job->comm, s->lists + mine.begin * s->n_probes, s->lists, counts);
    }
done:
    rt_array_free(counts);
    return st;
}

static void *work(void *context)
{
    struct worker *w = context;
    struct rt_scanner *scanner = rt_index_scanner(w->scan);
    if (w->batch.n_queries == 0)
        w->st = RT_OK;
    else if (w->round == 0)
        w->st = rt_scan(scanner, &w->batch, w->hits, w->counts, &w->err);
    else if (w->round == 1)
        w->st = rt_scan_round1(scanner, &w->batch, w->hits, &w->err);
    else
        w->st = rt_scan_round2(scanner, w->tau, w->hits, w->counts, &w->err);
    return NULL;
}

/* The workers share the queries of a batch; the calling thread is the first of them. */
static enum rt_status run_workers(struct rt_index_search *s, const float *queries, size_t n_queries,
                                  int round, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_workers = s->options.threads;
    pthread_t *threads = NULL;
    uint32_t n_started = 1;
    RT_TRY(rt_array_new(n_workers, sizeof *threads, &threads, err));
    for (uint32_t t = 0; t < n_workers; t++) {
        struct worker *w = &s->workers[t];
        struct rt_range part = rt_share(n_queries, (int)t, (int)n_workers, 1);
        w->batch = (struct rt_scan_batch){.n_queries = (size_t)rt_range_count(part),
                                          .n_probes = s->n_probes,
                                          .queries = queries + part.begin * s->tree->dim,
                                          .rotated = s->rotated + part.begin * s->tree->dim,
                                          .lists = s->lists + part.begin * s->n_probes,
                                          .part = (uint32_t)s->job->rank,
                                          .n_parts = (uint32_t)s->job->n_ranks};
        w->hits = s->hits + part.begin * s->options.k;
        w->counts = s->counts + part.begin;
        w->tau = s->tau + part.begin;
        w->round = round;
        w->st = RT_OK;
    }
    while (n_started < n_workers &&
           pthread_create(&threads[n_started], NULL, work, &s->workers[n_started]) == 0)
        n_started++;
    (void)work(&s->workers[0]);
    for (uint32_t t = n_started; t < n_workers; t++) /* no more threads to be had: do it here */
        (void)work(&s->workers[t]);
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

static enum rt_status scan_in_rounds(struct rt_index_search *s, const float *queries,
                                     size_t n_queries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = s->job->comm;
    uint32_t k = s->options.k;
    RT_LOCAL(run_workers(s, queries, n_queries, 1, err));
    RT_AGREE(comm);
    RT_TRY(rt_merge_hits(comm, s->hits, n_queries, k, err));
    for (size_t q = 0; q < n_queries; q++)
        s->tau[q] = s->hits[(q + 1) * k - 1].key;
    rt_bcast_bytes(comm, s->tau, n_queries * sizeof *s->tau, 0);
    RT_LOCAL(run_workers(s, queries, n_queries, 2, err));
    RT_AGREE(comm);
    RT_TRY(rt_merge_hits(comm, s->hits, n_queries, k, err));
done:
    return st;
}

enum rt_status rt_index_search_run(struct rt_index_search *s, const float *queries,
                                   size_t n_queries, struct rt_hit *hits,
                                   struct rt_scan_count *counts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = s->job->comm;
    uint32_t k = s->options.k;
    RT_TRY(choose_lists(s, queries, n_queries, err));
    if (s->job->n_ranks > 1)
        RT_TRY(scan_in_rounds(s, queries, n_queries, err));
    else
        RT_TRY(run_workers(s, queries, n_queries, 0, err));
    if (counts) {
        if (s->job->n_ranks > 1)
            rt_sum_u64(comm, (uint64_t *)s->counts,
                       n_queries * (sizeof *s->counts / sizeof(uint64_t)));
        memcpy(counts, s->counts, n_queries * sizeof *counts);
    }
    if (s->job->rank == 0)
        for (size_t q = 0; q < n_queries; q++) {
            memcpy(hits + q * k, s->hits + q * k, k * sizeof *hits);
            rt_topk_show(hits + q * k, k);
        }
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
