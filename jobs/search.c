/* ranktape search: queries against an index, with recall where truth is known, and what it cost. */
#include "jobs/job.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/units.h"
#include "io/heap_vectors.h"
#include "io/index_reader.h"
#include "io/neighbours.h"
#include "io/rows.h"
#include "jobs/phases/index_search.h"
#include "jobs/phases/index_view.h"
#include "jobs/phases/phase.h"
#include "jobs/sweep.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_QUERIES 16384u /* of all ranks: many, as threads and ranks meet after each batch */
#define ENOUGH_SECONDS 0.2   /* of a sweep at one point */
#define MOST_RUNS 3
#define BATCH_ENTRIES (UINT64_C(1) << 22) /* of lists, or of hits: 64 MiB or so a thread */

struct search {
    struct rt_job *job;
    struct rt_index_view *view;
    struct rt_heap_vectors *heap;
    struct rt_id_filter *filter;
    float *queries; /* n_queries x dim, prepared, on all ranks */
    size_t n_queries;
    uint64_t *truth; /* n_queries x truth_k, rank 0; NULL: none */
    uint32_t truth_k;
    struct rt_index_search_options options;
    struct rt_hit *hits;          /* n_queries x k, rank 0; NULL elsewhere */
    struct rt_scan_count *counts; /* n_queries */
    double seconds;
    double *latencies; /* n_queries, sorted; with --latency */
};

static int by_seconds(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static enum rt_status open_index(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = s->job->options;
    RT_TRY(rt_index_view_open(s->job, options->argument[0], RT_CHECK_TREE, &s->view, err));
    RT_LOCAL(rt_heap_vectors_open(s->view->manifest, &options->heap, &s->heap, err));
    RT_AGREE(s->job->comm);
    if (options->filter[0])
        RT_TRY(rt_id_filter_read(s->job, options->filter, &s->filter, err));
done:
    return st;
}

/* Rank 0: converts and judges packed rows of `element` into s->queries. */
static enum rt_status prepare_queries(struct search *s, enum rt_element element, const void *native,
                                      const struct rt_rows *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = s->view->manifest;
    rt_element_to_f32(element, native, s->queries, s->n_queries * m->dim);
    for (size_t q = 0; q < s->n_queries; q++) {
        enum rt_row_verdict verdict =
            rt_metric_prepare_row(m->metric, s->queries + q * m->dim, m->dim);
        if (verdict == RT_ROW_GOOD)
            continue;
        char name[256];
        rt_rows_name_row(rows, q, name, sizeof name);
        RT_FAIL(RT_INPUT, "query %s %s", name, rt_row_verdict_text(verdict));
    }
done:
    return st;
}

static enum rt_status read_queries(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = s->job->options;
    const struct rt_manifest *m = s->view->manifest;
    struct rt_rows *rows = NULL;
    void *native = NULL;
    struct rt_rows_options how = {.type = options->type >= 0 &&
                                                  options->origin[RT_OPT_type] == RT_FROM_GIVEN
                                              ? rt_element_name((enum rt_element)options->type)
                                              : NULL,
                                  .dataset = "/test"};
    RT_TRY(rt_rows_open(options->argument[1], &how, &rows, err));
    const struct rt_rows_info *info = rt_rows_info(rows);
    if (info->n_rows == 0)
        RT_FAIL(RT_INPUT, "'%s' holds no queries", options->argument[1]);
    if (info->dim != m->dim)
        RT_FAIL(RT_INPUT, "queries have %" PRIu32 " dimensions, the index %" PRIu32, info->dim,
                m->dim);
    s->n_queries = (size_t)info->n_rows;
    RT_TRY(rt_array_new(s->n_queries, m->dim * sizeof(float), &s->queries, err));
    RT_TRY(rt_array_new(s->n_queries, m->dim * rt_element_size(info->type), &native, err));
    RT_TRY(rt_rows_read(rows, 0, s->n_queries, native, err));
    RT_TRY(prepare_queries(s, info->type, native, rows, err));
done:
    rt_array_free(native);
    rt_rows_close(rows);
    return st;
}

static enum rt_status read_truth(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *name = s->job->options->truth;
    struct rt_neighbours truth = {0};
    RT_TRY(rt_neighbours_read(name, &truth, err));
    if (truth.n_queries != s->n_queries)
        RT_FAIL(RT_INPUT, "'%s' has the neighbours of %" PRIu64 " queries, there are %zu", name,
                truth.n_queries, s->n_queries);
    if (truth.k < s->options.k)
        RT_FAIL(RT_USAGE, "--k %" PRIu32 " is more than the %" PRIu32 " neighbours in '%s'",
                s->options.k, truth.k, name);
    s->truth = truth.ids;
    s->truth_k = truth.k;
    truth.ids = NULL;
done:
    rt_neighbours_free(&truth);
    return st;
}

/* --sample-truth: live rows of the index, drawn by seed, as they lie there. */
static enum rt_status draw_queries(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = s->view->manifest;
    const struct rt_options *options = s->job->options;
    size_t row_bytes = m->dim * rt_element_size(m->element);
    unsigned char *vector = NULL;
    s->n_queries = 0;
    size_t wanted =
        options->sample_truth < m->n_rows ? (size_t)options->sample_truth : (size_t)m->n_rows;
    RT_TRY(rt_array_new(wanted, m->dim * sizeof(float), &s->queries, err));
    RT_TRY(rt_array_new(row_bytes, 1, &vector, err));
    uint64_t n_slots = 0;
    for (size_t f = 0; f < s->view->n_vectors; f++)
        n_slots += s->view->vectors[f].shape.n_slots;
    for (uint64_t i = 0; i < n_slots && s->n_queries < wanted; i++) {
        uint64_t slot = rt_random_permute(options->seed, RT_RANDOM_GATE, i, n_slots);
        size_t f = 0;
        while (slot >= s->view->vectors[f].shape.n_slots)
            slot -= s->view->vectors[f++].shape.n_slots;
        const struct rt_vectors_view *vectors = &s->view->vectors[f];
        uint64_t id = vectors->ids[slot];
        if (id == RT_NO_ID || !rt_index_is_live(s->view, id, vectors->shape.generation))
            continue;
        const void *native = vector;
        if (vectors->vectors) {
            native = (const unsigned char *)vectors->vectors + slot * row_bytes;
        } else {
            uint64_t heap_row = rt_vectors_heap_row(vectors, slot);
            if (heap_row == RT_NO_ROW)
                RT_FAIL(RT_DAMAGED, "id %" PRIu64 " lies in no segment of its vectors file", id);
            RT_TRY(rt_heap_vectors_read(s->heap, heap_row, vector, err));
        }
        float *query = s->queries + s->n_queries * m->dim;
        rt_element_to_f32(m->element, native, query, m->dim);
        if (rt_metric_prepare_row(m->metric, query, m->dim) == RT_ROW_GOOD)
            s->n_queries++;
    }
    if (s->n_queries == 0)
        RT_FAIL(RT_INPUT, "'%s' holds no row to draw", options->argument[0]);
done:
    rt_array_free(vector);
    return st;
}

static enum rt_status gather_queries(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = s->job;
    bool draws = job->options->sample_truth > 0;
    if (job->rank == 0) {
        RT_LOCAL(draws ? draw_queries(s, err) : read_queries(s, err));
        if (job->options->truth[0])
            RT_LOCAL(read_truth(s, err));
        if (job->options->out[0])
            RT_LOCAL(rt_neighbours_check_name(job->options->out, s->view->manifest->largest_id,
                                              s->n_queries, s->options.k, err));
    }
    RT_AGREE(job->comm);
    uint64_t n = s->n_queries;
    rt_bcast_bytes(job->comm, &n, sizeof n, 0);
    s->n_queries = (size_t)n;
    s->options.n_queries = n;
    if (job->rank != 0)
        RT_LOCAL(
            rt_array_new(s->n_queries, s->view->manifest->dim * sizeof(float), &s->queries, err));
    if (job->rank == 0)
        RT_LOCAL(rt_array_zero(s->n_queries, s->options.k * sizeof *s->hits, &s->hits, err));
    RT_LOCAL(rt_array_zero(s->n_queries, sizeof *s->counts, &s->counts, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, s->queries, n * s->view->manifest->dim * sizeof(float), 0);
done:
    return st;
}

static enum rt_status search_batches(struct rt_index_search *search, const float *queries,
                                     size_t n_queries, uint32_t dim, uint32_t k, size_t batch,
                                     struct rt_hit *hits, struct rt_scan_count *counts,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t q = 0; q < n_queries; q += batch) {
        size_t n = n_queries - q < batch ? n_queries - q : batch;
        RT_TRY(rt_index_search_run(search, queries + q * dim, n, hits ? hits + q * k : NULL,
                                   counts ? counts + q : NULL, err));
    }
done:
    return st;
}

/* Answers do not depend on the batch; its memory does, on what one query takes. */
static uint32_t batch_of(const struct search *s, uint32_t n_probes, uint64_t most)
{
    uint64_t of_query = n_probes > s->options.k ? n_probes : s->options.k;
    uint64_t batch = BATCH_ENTRIES / of_query;
    batch = batch < most ? batch : most;
    batch = batch < s->n_queries ? batch : s->n_queries;
    return batch ? (uint32_t)batch : 1;
}

static enum rt_status run_queries(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_search *search = NULL;
    uint32_t dim = s->view->manifest->dim;
    RT_TRY(rt_index_search_new(s->job, s->view, &s->options, &search, err));
    (void)RT_FAULT("search");
    MPI_Barrier(s->job->comm);
    double began = rt_clock_seconds();
    RT_TRY(search_batches(search, s->queries, s->n_queries, dim, s->options.k, s->options.batch,
                          s->hits, s->counts, err));
    s->seconds = rt_clock_seconds() - began;
    if (s->job->options->latency) {
        RT_LOCAL(rt_array_new(s->n_queries, sizeof *s->latencies, &s->latencies, err));
        RT_AGREE(s->job->comm);
        for (size_t q = 0; q < s->n_queries; q++) {
            began = rt_clock_seconds();
            RT_TRY(rt_index_search_run(search, s->queries + q * dim, 1,
                                       s->hits ? s->hits + q * s->options.k : NULL, NULL, err));
            s->latencies[q] = rt_clock_seconds() - began;
        }
        qsort(s->latencies, s->n_queries, sizeof *s->latencies, by_seconds);
    }
done:
    rt_index_search_free(search);
    return st;
}

/* --sample-truth: the same queries over all lists, every vector measured. */
static enum rt_status find_truth(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_search *search = NULL;
    struct rt_index_search_options exact = s->options;
    const struct rt_tree *tree = &s->view->tree.tree;
    struct rt_hit *hits = NULL;
    size_t n = s->n_queries * s->options.k;
    exact.exact = true;
    exact.batch = batch_of(s, rt_tree_leaves(tree)->n, 64); /* every query probes every list */
    for (uint32_t l = 0; l < tree->n_levels; l++)
        exact.probes[l] = tree->levels[l].n;
    if (s->job->rank == 0) {
        RT_LOCAL(rt_array_new(n, sizeof *hits, &hits, err));
        RT_LOCAL(rt_array_new(n, sizeof *s->truth, &s->truth, err));
    }
    RT_AGREE(s->job->comm);
    RT_TRY(rt_index_search_new(s->job, s->view, &exact, &search, err));
    RT_TRY(search_batches(search, s->queries, s->n_queries, tree->dim, exact.k, exact.batch, hits,
                          NULL, err));
    for (size_t i = 0; hits && s->truth && i < n; i++)
        s->truth[i] = hits[i].id;
    s->truth_k = s->options.k;
done:
    rt_index_search_free(search);
    rt_array_free(hits);
    return st;
}

/* ---- --sweep ---- */

/* One point, measured again where it was over so soon that the clock says little: the best of a
 * few. Rank 0's clock decides for all. */
static enum rt_status measure_point(struct search *s, struct rt_sweep *sweep, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double best = INFINITY;
    double spent = 0;
    for (int i = 0; i < MOST_RUNS && spent < ENOUGH_SECONDS; i++) {
        RT_TRY(run_queries(s, err));
        rt_bcast_bytes(s->job->comm, &s->seconds, sizeof s->seconds, 0);
        best = fmin(best, s->seconds);
        spent += s->seconds;
    }
    struct rt_sweep_point *p = &sweep->point[sweep->n++];
    double n = (double)s->n_queries;
    *p = (struct rt_sweep_point){.probes = s->options.probes[s->view->tree.tree.n_levels - 1],
                                 .epsilon = s->options.epsilon,
                                 .seconds = best,
                                 .queries_per_second = best > 0 ? n / best : 0};
    for (size_t q = 0; q < s->n_queries; q++) {
        p->lists += (double)s->counts[q].lists / n;
        p->rows += (double)s->counts[q].rows / n;
        p->reranked += (double)s->counts[q].reranked / n;
    }
    if (s->job->rank == 0)
        p->recall = rt_index_recall(s->hits, s->n_queries, s->options.k, s->truth, s->truth_k);
    rt_bcast_bytes(s->job->comm, &p->recall, sizeof p->recall, 0);
    char rate[RT_UNITS_TEXT];
    rt_job_row(s->job, "sweep", "probes %-6" PRIu32 " epsilon %-4g recall %.4f  %s queries/s",
               p->probes, (double)p->epsilon, p->recall,
               rt_units_rate(p->queries_per_second, rate));
done:
    return st;
}

/* Probes double until they gain nothing, or are all lists. */
static enum rt_status measure_points(struct search *s, struct rt_sweep *sweep, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_leaves = rt_tree_leaves(&s->view->tree.tree)->n;
    for (uint64_t probes = 1;; probes *= 2) {
        RT_TRY(rt_index_probes(s->view, &probes, 1, s->options.probes, err));
        s->options.batch =
            batch_of(s, s->options.probes[s->view->tree.tree.n_levels - 1], BATCH_QUERIES);
        for (int e = 0; e < RT_SWEEP_EPSILONS; e++) {
            s->options.epsilon = rt_sweep_epsilons[e];
            RT_TRY(measure_point(s, sweep, err));
        }
        if (probes >= n_leaves || !rt_sweep_gains(sweep))
            break;
    }
done:
    return st;
}

static enum rt_status run_sweep(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = s->job->options;
    struct rt_sweep sweep = {.index = options->argument[0],
                             .k = s->options.k,
                             .n_queries = s->n_queries,
                             .n_ranks = s->job->n_ranks};
    if (s->job->rank == 0)
        RT_LOCAL(rt_sweep_check_base(options->sweep, err));
    RT_AGREE(s->job->comm);
    if (options->sample_truth)
        RT_TRY(find_truth(s, err));
    RT_TRY(measure_points(s, &sweep, err));
    rt_sweep_mark_front(&sweep);
    if (s->job->rank == 0)
        RT_LOCAL(rt_sweep_write(&sweep, options->sweep, err));
    RT_AGREE(s->job->comm);
    rt_job_row(s->job, "done", "%zu settings   %s.csv, %s.html", sweep.n, options->sweep,
               options->sweep);
    rt_job_set(s->job, "k", json_integer(s->options.k));
    rt_job_set(s->job, "queries", json_integer((json_int_t)s->n_queries));
    rt_job_set(s->job, "sweep", rt_sweep_json(&sweep));
done:
    return st;
}

static enum rt_status write_out(const struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_neighbours found = {0};
    const struct rt_manifest *m = s->view->manifest;
    RT_TRY(rt_neighbours_new(s->n_queries, s->options.k, true, &found, err));
    for (size_t i = 0; i < s->n_queries * s->options.k; i++) {
        found.ids[i] = s->hits[i].id;
        found.distances[i] =
            s->hits[i].id == RT_NO_ID ? INFINITY : rt_metric_shown(m->metric, s->hits[i].distance);
    }
    RT_TRY(rt_neighbours_write(s->job->options->out, &found, m->metric, m->dim, err));
done:
    rt_neighbours_free(&found);
    return st;
}

static void say(const struct search *s)
{
    const struct rt_job *job = s->job;
    char text[RT_UNITS_TEXT];
    double n = (double)s->n_queries;
    double lists = 0;
    double rows = 0;
    double reranked = 0;
    for (size_t q = 0; q < s->n_queries; q++) {
        lists += (double)s->counts[q].lists / n;
        rows += (double)s->counts[q].rows / n;
        reranked += (double)s->counts[q].reranked / n;
    }
    char probes[128];
    size_t at = 0;
    for (uint32_t l = 0; l < s->view->tree.tree.n_levels && at < sizeof probes; l++)
        at += (size_t)snprintf(probes + at, sizeof probes - at, "%s%" PRIu32, l ? "," : "",
                               s->options.probes[l]);
    rt_job_print(job, "%s queries, k %" PRIu32 ", probes %s, epsilon %g, %d rank%s, kernel %s",
                 rt_units_count(s->n_queries, text), s->options.k, probes,
                 (double)s->options.epsilon, job->n_ranks, job->n_ranks == 1 ? "" : "s",
                 rt_isa_name(rt_kernels()->isa));
    double recall =
        s->truth ? rt_index_recall(s->hits, s->n_queries, s->options.k, s->truth, s->truth_k) : -1;
    char label[32];
    (void)snprintf(label, sizeof label, "recall@%" PRIu32, s->options.k);
    if (s->truth)
        rt_job_row(job, label, "%.4f", recall);
    double rate = s->seconds > 0 ? n / s->seconds : 0;
    if (s->latencies)
        rt_job_row(job, "rate",
                   "%s queries/s, %.3f ms each (batch); p50 %.3f, p99 %.3f ms one by one",
                   rt_units_rate(rate, text), 1e3 / rate, 1e3 * s->latencies[s->n_queries / 2],
                   1e3 * s->latencies[s->n_queries * 99 / 100]);
    else
        rt_job_row(job, "rate", "%s queries/s, %.3f ms each (batch)", rt_units_rate(rate, text),
                   1e3 / rate);
    rt_job_row(job, "work", "%.1f lists, %.0f rows scanned, %.1f vectors reranked a query", lists,
               rows, reranked);
    rt_job_set(job, "recall", s->truth ? json_real(recall) : json_null());
    rt_job_set(job, "k", json_integer(s->options.k));
    rt_job_set(job, "queries", json_integer((json_int_t)s->n_queries));
    rt_job_set(job, "seconds", json_real(s->seconds));
    rt_job_set(job, "queries_per_second", json_real(rate));
    rt_job_set(job, "lists_scanned", json_real(lists));
    rt_job_set(job, "rows_scanned", json_real(rows));
    rt_job_set(job, "reranked", json_real(reranked));
    if (s->latencies) {
        rt_job_set(job, "latency_p50_seconds", json_real(s->latencies[s->n_queries / 2]));
        rt_job_set(job, "latency_p99_seconds", json_real(s->latencies[s->n_queries * 99 / 100]));
    }
}

static enum rt_status set_options(struct search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = s->job->options;
    s->options = (struct rt_index_search_options){.k = (uint32_t)options->k,
                                                  .epsilon = (float)options->epsilon,
                                                  .threads = (uint32_t)options->threads,
                                                  .pin = true,
                                                  .filter = s->filter,
                                                  .heap = s->heap};
    if (options->truth[0] && options->sample_truth)
        RT_FAIL(RT_USAGE, "--truth and --sample-truth cannot be given together");
    if (options->sample_truth && options->n_arguments > 1)
        RT_FAIL(RT_USAGE, "--sample-truth draws the queries from the index; leave '%s' out",
                options->argument[1]);
    if (options->sweep[0] && !options->truth[0] && !options->sample_truth)
        RT_FAIL(RT_USAGE, "--sweep measures recall: give --truth FILE or --sample-truth N");
    if (options->sweep[0] && (options->probes.n || options->out[0] || options->latency ||
                              options->origin[RT_OPT_epsilon] == RT_FROM_GIVEN))
        RT_FAIL(RT_USAGE, "--sweep goes over probes and epsilon itself, and has no use for "
                          "--probes, --epsilon, --out and --latency");
    if (!options->sample_truth && options->n_arguments < 2)
        RT_FAIL(RT_USAGE, "which queries? (a row file, or --sample-truth N)");
    RT_TRY(
        rt_index_probes(s->view, options->probes.value, options->probes.n, s->options.probes, err));
done:
    return st;
}

static void release(struct search *s)
{
    rt_heap_vectors_close(s->heap);
    rt_index_close(s->view);
    rt_id_filter_free(s->filter);
    rt_array_free(s->queries);
    rt_array_free(s->truth);
    rt_array_free(s->hits);
    rt_array_free(s->counts);
    rt_array_free(s->latencies);
}

enum rt_status rt_search_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct search s = {.job = job};
    RT_TRY(open_index(&s, err));
    RT_LOCAL(set_options(&s, err));
    RT_AGREE(job->comm);
    RT_TRY(gather_queries(&s, err));
    if (job->options->sweep[0]) {
        RT_TRY(run_sweep(&s, err));
        goto done;
    }
    s.options.batch = batch_of(&s, s.options.probes[s.view->tree.tree.n_levels - 1], BATCH_QUERIES);
    RT_TRY(run_queries(&s, err));
    if (job->options->sample_truth)
        RT_TRY(find_truth(&s, err));
    if (job->rank == 0) {
        say(&s);
        if (job->options->out[0])
            RT_LOCAL(write_out(&s, err));
    }
    RT_AGREE(job->comm);
done:
    release(&s);
    return st;
}
