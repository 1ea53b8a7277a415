/* synth: clustered random rows, queries and the truth about them. Each rank makes and writes its
 * share; every value is a function of seed and row, so the bytes do not depend on the ranks. */
#include "core/memory.h"
#include "core/metric.h"
#include "core/units.h"
#include "io/fs.h"
#include "io/neighbours.h"
#include "io/row_writer.h"
#include "jobs/exact.h"
#include "jobs/job.h"
#include "jobs/progress_view.h"
#include "jobs/synth_rows.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)1 << 22) /* of f32 made and written at once */
#define TRUTH_BYTES                                                                                \
    ((uint64_t)256 << 20) /* answers kept at once; more queries take more passes over the rows */
#define SHARE_ROWS 64     /* shares of ranks begin at multiples */

/* One of the two row files. */
struct output {
    const char *path;
    enum rt_synth_kind kind;
    uint64_t n_rows;
    struct rt_row_target target;
    bool is_created; /* on rank 0: there is a .partial to publish or to remove */
};

struct synth {
    struct rt_job *job;
    struct rt_progress_view *view; /* rank 0 */
    struct rt_progress *progress;
    enum rt_element type;
    enum rt_metric metric;
    uint32_t dim;
    size_t block_rows;
    struct rt_synth *rows;
    float *values;         /* block_rows x dim */
    unsigned char *packed; /* the same in the element type */
    struct output outputs[2];
    int n_outputs;
};

/* ---- what is asked for ---- */

static enum rt_status require_new(const struct rt_job *job, const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char file[RT_TEXT_BYTES];
    const char *dataset = strstr(path, ":/");
    size_t length = dataset ? (size_t)(dataset - path) : strlen(path);
    memcpy(file, path, length);
    file[length] = '\0';
    RT_TRY(rt_fs_check_target(file, err));
    if (!job->options->force && access(file, F_OK) == 0)
        RT_FAIL(RT_USAGE, "'%s' exists already (--force replaces it)", file);
done:
    return st;
}

static enum rt_status require_apart(const char *a, const char *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (a[0] && strcmp(a, b) == 0)
        RT_FAIL(RT_USAGE, "'%s' is named twice", a);
done:
    return st;
}

/* On rank 0, before any work. */
static enum rt_status check_call(struct synth *synth, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = synth->job->options;
    const char *out = options->argument[0];
    const char *type = options->origin[RT_OPT_type] == RT_FROM_GIVEN
                           ? rt_element_name((enum rt_element)options->type)
                           : NULL;
    enum rt_element query_type;
    if (options->rows == 0 || options->dim == 0)
        RT_FAIL(RT_USAGE, "--rows and --dim are needed (ranktape synth --help)");
    if (options->truth[0] && !options->queries[0])
        RT_FAIL(RT_USAGE, "--truth needs --queries");
    RT_TRY(require_apart(options->queries, out, err));
    RT_TRY(require_apart(options->truth, out, err));
    RT_TRY(require_apart(options->truth, options->queries, err));
    RT_TRY(rt_row_target_type(out, type, &synth->type, err));
    RT_TRY(require_new(synth->job, out, err));
    if (options->queries[0]) {
        RT_TRY(rt_row_target_type(options->queries, type, &query_type, err));
        if (query_type != synth->type)
            RT_FAIL(RT_USAGE, "'%s' holds %s rows, '%s' %s queries", out,
                    rt_element_name(synth->type), options->queries, rt_element_name(query_type));
        RT_TRY(require_new(synth->job, options->queries, err));
    }
    if (options->truth[0]) {
        RT_TRY(rt_neighbours_check_name(options->truth, options->rows - 1, options->query_count,
                                        (uint32_t)options->truth_k, err));
        RT_TRY(require_new(synth->job, options->truth, err));
    }
done:
    return st;
}

static uint32_t clusters_of(struct rt_options *options)
{
    if (options->origin[RT_OPT_clusters] == RT_FROM_AUTO) {
        uint64_t n = options->rows / 200;
        options->clusters = n < 1 ? 1 : n > UINT32_MAX ? UINT32_MAX : n;
    }
    return (uint32_t)options->clusters;
}

/* ---- rows ---- */

static enum rt_status create(struct synth *synth, struct output *output, const char *dataset,
                             struct rt_error *err)
{
    struct rt_row_target_options target = {.type = synth->type,
                                           .n_rows = output->n_rows,
                                           .dim = synth->dim,
                                           .dataset = dataset,
                                           .metric = rt_metric_name(synth->metric)};
    enum rt_status st = rt_row_target_create(output->path, &target, &output->target, err);
    output->is_created = st == RT_OK;
    return st;
}

static enum rt_status write_share(struct synth *synth, const struct output *output,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = synth->job;
    struct rt_row_writer *writer = NULL;
    struct rt_error ignored;
    struct rt_range share = rt_share(output->n_rows, job->rank, job->n_ranks, SHARE_ROWS);
    RT_TRY(rt_row_writer_open(output->path, &output->target, &writer, err));
    for (uint64_t begin = share.begin; begin < share.end; begin += synth->block_rows) {
        uint64_t left = share.end - begin;
        size_t n = left < synth->block_rows ? (size_t)left : synth->block_rows;
        rt_synth_rows(synth->rows, output->kind, begin, n, synth->values);
        rt_element_from_f32(synth->type, synth->values, synth->packed, n * synth->dim);
        RT_TRY(rt_row_writer_write(writer, begin, n, synth->packed, err));
        rt_progress_add(synth->progress, RT_COUNT_DONE, n);
        rt_progress_add(synth->progress, RT_COUNT_BYTES_WRITTEN,
                        n * synth->dim * rt_element_size(synth->type));
        if (!rt_progress_tick(synth->progress))
            break; /* another rank has failed */
    }
done:
    if (rt_row_writer_close(writer, st == RT_OK ? err : &ignored) != RT_OK && st == RT_OK)
        st = err->status;
    return st;
}

/* Collective. */
static enum rt_status write_output(struct synth *synth, struct output *output, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = synth->job->comm;
    const char *what = output->kind == RT_SYNTH_ROW ? "rows" : "queries";
    if (synth->job->rank == 0)
        RT_LOCAL(create(synth, output, output->kind == RT_SYNTH_ROW ? "/train" : "/test", err));
    RT_AGREE(comm);
    MPI_Bcast(&output->target, (int)sizeof output->target, MPI_BYTE, 0, comm);
    rt_progress_begin(synth->progress, what, what, output->n_rows);
    RT_LOCAL(write_share(synth, output, err));
    RT_TRY(rt_progress_end(synth->progress, st, err));
done:
    return st;
}

/* ---- truth ---- */

/* Queries [begin, begin + n) as they are measured. A query without direction under cosine keeps its
 * place and finds what is nearest to zero. */
static void make_queries(const struct synth *synth, uint64_t begin, size_t n, float *queries)
{
    rt_synth_rows(synth->rows, RT_SYNTH_QUERY, begin, n, queries);
    for (size_t q = 0; q < n; q++)
        (void)rt_metric_prepare_row(synth->metric, queries + q * synth->dim, synth->dim);
}

static void show_rows(struct synth *synth, struct rt_exact *exact)
{
    const struct rt_job *job = synth->job;
    struct rt_range share = rt_share(job->options->rows, job->rank, job->n_ranks, SHARE_ROWS);
    for (uint64_t begin = share.begin; begin < share.end; begin += synth->block_rows) {
        uint64_t left = share.end - begin;
        size_t n = left < synth->block_rows ? (size_t)left : synth->block_rows;
        rt_synth_rows(synth->rows, RT_SYNTH_ROW, begin, n, synth->values);
        size_t run = 0; /* rows are shown in runs between bad ones, which no index holds */
        for (size_t i = 0; i <= n; i++)
            if (i == n || rt_metric_prepare_row(synth->metric, synth->values + i * synth->dim,
                                                synth->dim) != RT_ROW_GOOD) {
                rt_exact_add(exact, synth->values + run * synth->dim, i - run, NULL, begin + run);
                run = i + 1;
            }
        rt_progress_add(synth->progress, RT_COUNT_DONE, n);
        (void)rt_progress_tick(synth->progress);
    }
}

/* The answers of one batch of queries, on rank 0 into truth. Collective. */
static enum rt_status find_batch(struct synth *synth, uint64_t begin, size_t n, float *queries,
                                 struct rt_neighbours *truth, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_exact *exact = NULL;
    const struct rt_hit *hits;
    MPI_Comm comm = synth->job->comm;
    uint32_t k = (uint32_t)synth->job->options->truth_k;
    make_queries(synth, begin, n, queries);
    RT_LOCAL(rt_exact_new(synth->metric, queries, n, synth->dim, k, &exact, err));
    RT_AGREE(comm);
    show_rows(synth, exact);
    RT_TRY(rt_exact_merge(comm, exact, &hits, err));
    if (truth->ids) /* on rank 0 */
        for (size_t i = 0; i < n * k; i++) {
            truth->ids[begin * k + i] = hits[i].id;
            if (hits[i].id != RT_NO_ID)
                truth->distances[begin * k + i] = rt_metric_shown(synth->metric, hits[i].distance);
        }
done:
    rt_exact_free(exact);
    return st;
}

/* Collective. */
static enum rt_status write_truth(struct synth *synth, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = synth->job->options;
    struct rt_neighbours truth = {0};
    float *queries = NULL;
    uint64_t n_queries = options->query_count;
    uint32_t k = (uint32_t)options->truth_k;
    uint64_t query_bytes = k * sizeof(struct rt_hit) + synth->dim * sizeof(float);
    uint64_t batch = TRUTH_BYTES / query_bytes + 1;
    batch = batch < n_queries ? batch : n_queries;
    RT_LOCAL(rt_array_new(batch * synth->dim, sizeof(float), &queries, err));
    if (synth->job->rank == 0)
        RT_LOCAL(rt_neighbours_new(n_queries, k, true, &truth, err));
    RT_AGREE(synth->job->comm);
    rt_progress_begin(synth->progress, "truth", "rows",
                      options->rows * ((n_queries + batch - 1) / batch));
    for (uint64_t begin = 0; begin < n_queries; begin += batch) {
        uint64_t n = n_queries - begin < batch ? n_queries - begin : batch;
        RT_TRY(find_batch(synth, begin, (size_t)n, queries, &truth, err));
    }
    RT_TRY(rt_progress_end(synth->progress, st, err));
    if (synth->job->rank == 0)
        RT_LOCAL(rt_neighbours_write(options->truth, &truth, synth->metric, synth->dim, err));
    RT_AGREE(synth->job->comm);
done:
    rt_neighbours_free(&truth);
    rt_array_free(queries);
    return st;
}

/* ---- the job ---- */

/* Collective: the call is checked on rank 0, what follows from it is the same everywhere. */
static enum rt_status begin_synth(struct synth *synth, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_options *options = synth->job->options;
    if (synth->job->rank == 0)
        RT_LOCAL(check_call(synth, err));
    RT_AGREE(synth->job->comm);
    int type = (int)synth->type;
    MPI_Bcast(&type, 1, MPI_INT, 0, synth->job->comm);
    synth->type = (enum rt_element)type;
    synth->metric = (enum rt_metric)options->metric;
    synth->dim = (uint32_t)options->dim;
    synth->block_rows = BLOCK_BYTES / (synth->dim * sizeof(float));
    synth->block_rows += synth->block_rows == 0;
    synth->outputs[synth->n_outputs++] = (struct output){
        .path = options->argument[0], .kind = RT_SYNTH_ROW, .n_rows = options->rows};
    if (options->queries[0])
        synth->outputs[synth->n_outputs++] = (struct output){
            .path = options->queries, .kind = RT_SYNTH_QUERY, .n_rows = options->query_count};
    struct rt_synth_shape shape = {.dim = synth->dim,
                                   .n_clusters = clusters_of(options),
                                   .skew = options->skew,
                                   .type = synth->type,
                                   .seed = options->seed};
    RT_LOCAL(rt_synth_new(&shape, &synth->rows, err));
    RT_LOCAL(rt_array_new(synth->block_rows * synth->dim, sizeof(float), &synth->values, err));
    RT_LOCAL(rt_array_new(synth->block_rows * synth->dim, rt_element_size(synth->type),
                          &synth->packed, err));
    RT_AGREE(synth->job->comm);
done:
    return st;
}

/* All files appear, or, after a failure, none of them. On rank 0. */
static enum rt_status publish(struct synth *synth, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (int i = 0; i < synth->n_outputs; i++) {
        RT_TRY(rt_row_target_publish(synth->outputs[i].path, err));
        synth->outputs[i].is_created = false;
    }
done:
    return st;
}

static void end_synth(struct synth *synth, enum rt_status st)
{
    for (int i = 0; i < synth->n_outputs; i++)
        if (synth->outputs[i].is_created)
            rt_row_target_discard(synth->outputs[i].path);
    rt_progress_free(synth->progress);
    if (synth->view)
        rt_progress_view_end(synth->view, rt_status_name(st), NULL);
    rt_progress_view_free(synth->view);
    rt_synth_free(synth->rows);
    rt_array_free(synth->values);
    rt_array_free(synth->packed);
}

static void report(const struct synth *synth, double seconds)
{
    const struct rt_job *job = synth->job;
    const struct rt_options *options = job->options;
    char rows[RT_UNITS_TEXT];
    char queries[RT_UNITS_TEXT];
    char clusters[RT_UNITS_TEXT];
    char time[RT_UNITS_TEXT];
    rt_job_row(job, "rows", "%s x %u %s, %s clusters   %s", rt_units_count(options->rows, rows),
               synth->dim, rt_element_name(synth->type),
               rt_units_count(options->clusters, clusters), options->argument[0]);
    if (options->queries[0])
        rt_job_row(job, "queries", "%s   %s", rt_units_count(options->query_count, queries),
                   options->queries);
    if (options->truth[0])
        rt_job_row(job, "truth", "%llu neighbours of each, %s   %s",
                   (unsigned long long)options->truth_k, rt_metric_name(synth->metric),
                   options->truth);
    rt_job_row(job, "done", "%s", rt_units_seconds(seconds, time));
    rt_job_set(job, "rows", json_integer((json_int_t)options->rows));
    rt_job_set(job, "dimension", json_integer(synth->dim));
    rt_job_set(job, "element", json_string(rt_element_name(synth->type)));
    rt_job_set(job, "clusters", json_integer((json_int_t)options->clusters));
    rt_job_set(job, "queries",
               json_integer(options->queries[0] ? (json_int_t)options->query_count : 0));
    rt_job_set(job, "seconds", json_real(seconds));
    rt_job_set(job, "options", rt_options_json(options, RT_CLASS_NONE));
}

enum rt_status rt_synth_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct synth synth = {.job = job};
    double began = MPI_Wtime();
    RT_TRY(rt_progress_view_start(job, &synth.view, &synth.progress, err));
    RT_TRY(begin_synth(&synth, err));
    for (int i = 0; i < synth.n_outputs; i++)
        RT_TRY(write_output(&synth, &synth.outputs[i], err));
    if (job->options->truth[0])
        RT_TRY(write_truth(&synth, err));
    if (job->rank == 0)
        RT_LOCAL(publish(&synth, err));
    RT_AGREE(job->comm);
    rt_progress_view_clear(synth.view);
    report(&synth, MPI_Wtime() - began);
done:
    end_synth(&synth, st);
    return st;
}
