#include "jobs/phases/publish_phase.h"

#include "core/checksum.h"
#include "core/fingerprint.h"
#include "core/memory.h"
#include "io/index_reader.h"
#include "jobs/phases/index_search.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

#define SAMPLED_UNITS                                                                              \
    UINT64_C(64) /* read back of each dataset, over all ranks, without --verify-writes */

struct publisher {
    struct rt_phase_context *context;
    const struct rt_publish_input *input;
    struct rt_publish_output *out;
    bool resumes; /* machines may have failed since the bytes were written: all are read back */
};

static enum rt_status check_unit(struct rt_h5_file *file, uint32_t dataset, uint64_t unit,
                                 void *buffer, uint64_t *n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_dataset *d = &rt_h5_file_layout(file)->datasets[dataset];
    uint64_t first = unit * d->unit_rows;
    uint64_t n = d->dims[0] - first < d->unit_rows ? d->dims[0] - first : d->unit_rows;
    uint64_t sum = 0;
    RT_TRY(rt_h5_read(file, dataset, first, n, buffer, err));
    RT_TRY(rt_h5_read_sums(file, dataset, unit, 1, &sum, err));
    if (rt_hash64(buffer, (size_t)(n * rt_h5_row_bytes(d))) != sum)
        RT_FAIL(RT_DAMAGED,
                "'%s', dataset %s, rows %" PRIu64 " to %" PRIu64
                ": what was read back is not what was written",
                rt_h5_file_path(file), d->name, first, first + n - 1);
    *n_rows = n;
done:
    return st;
}

uint64_t rt_publish_phase_bytes(void)
{
    return RT_UNIT_BYTES;
}

/* This rank reads what its neighbour wrote: units are dealt out one rank further than they were
 * written. */
static enum rt_status check_dataset(struct publisher *p, struct rt_h5_file *file, uint32_t dataset,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_dataset *d = &rt_h5_file_layout(file)->datasets[dataset];
    const struct rt_job *job = p->context->job;
    uint64_t n_units = rt_h5_n_units(d);
    void *buffer = NULL;
    struct rt_range mine = rt_share(n_units, (job->rank + 1) % job->n_ranks, job->n_ranks, 1);
    bool is_whole = job->options->verify_writes || p->resumes;
    uint64_t step = is_whole ? 1 : (n_units + SAMPLED_UNITS - 1) / SAMPLED_UNITS;
    if (n_units == 0)
        goto done;
    RT_TRY(rt_array_new(d->unit_rows, rt_h5_row_bytes(d), &buffer, err));
    for (uint64_t unit = (mine.begin + step - 1) / step * step; unit < mine.end; unit += step) {
        uint64_t n_rows = 0;
        RT_TRY(check_unit(file, dataset, unit, buffer, &n_rows, err));
        rt_progress_add(p->context->progress, RT_COUNT_BYTES_READ, n_rows * rt_h5_row_bytes(d));
        if (!rt_progress_tick(p->context->progress))
            break;
    }
done:
    rt_array_free(buffer);
    return st;
}

static enum rt_status read_back(struct publisher *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_file *file = NULL;
    char path[RT_PATH_MAX];
    for (uint32_t i = 0; i < p->input->n_files; i++) {
        const struct rt_new_file *new_file = &p->input->files[i];
        RT_TRY(rt_index_path(p->context->dir, new_file->kind, p->context->generation, true, path,
                             err));
        RT_TRY(rt_h5_open_read(path, new_file->layout, &file, err));
        for (uint32_t d = 0; d < new_file->layout->n_datasets; d++)
            RT_TRY(check_dataset(p, file, d, err));
        RT_TRY(rt_h5_close(file, err));
        file = NULL;
        rt_progress_add(p->context->progress, RT_COUNT_DONE, p->context->job->rank == 0);
    }
done:
    if (file) {
        struct rt_error ignored;
        enum rt_status closed = rt_h5_close(file, &ignored);
        (void)closed; /* the first error is the one to tell */
    }
    return st;
}

/* Rank 0: the files get their names, which last once the manifest does, and the manifest their
 * hashes. */
static enum rt_status name_files(struct publisher *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *manifest = p->input->manifest;
    char path[RT_PATH_MAX];
    for (uint32_t i = 0; i < p->input->n_files; i++) {
        const struct rt_new_file *file = &p->input->files[i];
        RT_TRY(rt_index_finish_file(p->context->dir, file->kind, p->context->generation, err));
        RT_TRY(
            rt_index_path(p->context->dir, file->kind, p->context->generation, false, path, err));
        RT_TRY(rt_manifest_add_file(manifest, file->kind, p->context->generation, path,
                                    file->layout, file->rows, err));
        rt_manifest_find(manifest, file->kind, p->context->generation)->is_pair = file->is_pair;
    }
    manifest->digest = rt_digest(manifest->tree_hash, manifest->rows_hash);
done:
    return st;
}

/* The manifest as text on every rank, so that all can open what is not published yet. */
static enum rt_status share_manifest(struct publisher *p, struct rt_manifest **out,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = p->context->job;
    char *text = NULL;
    size_t n_bytes = 0;
    if (job->rank == 0)
        RT_LOCAL(rt_manifest_print(p->input->manifest, &text, &n_bytes, err));
    RT_AGREE(job->comm);
    uint64_t length = n_bytes;
    rt_bcast_bytes(job->comm, &length, sizeof length, 0);
    if (job->rank != 0)
        RT_LOCAL(rt_array_new((size_t)length, 1, &text, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, text, length, 0);
    RT_LOCAL(rt_manifest_parse("manifest", text, (size_t)length, out, err));
    RT_AGREE(job->comm);
done:
    rt_array_free(text);
    return st;
}

static enum rt_status ask_index(struct publisher *p, const struct rt_index_view *view,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = p->context->job;
    struct rt_recall_gate *gate = p->input->gate;
    struct rt_index_search *search = NULL;
    struct rt_heap_vectors *heap = NULL;
    struct rt_hit *hits = NULL;
    uint64_t *truth = NULL;
    size_t n = (size_t)gate->n_queries * gate->k;
    struct rt_index_search_options options = {.k = gate->k,
                                              .epsilon = 1.9F,
                                              .threads = 1,
                                              .batch = RT_GATE_QUERIES,
                                              .n_queries = RT_GATE_QUERIES,
                                              .pin = job->options->pin};
    struct rt_texts none = {.n = 0};
    RT_LOCAL(rt_index_probes(view, NULL, 0, options.probes, err));
    RT_LOCAL(rt_heap_vectors_open(view->manifest, &none, &heap, err));
    options.heap = heap;
    RT_LOCAL(rt_array_new(n, sizeof *hits, &hits, err));
    RT_LOCAL(rt_array_new(n, sizeof *truth, &truth, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_index_search_new(job, view, &options, &search, err));
    RT_TRY(rt_index_search_run(search, gate->queries, gate->n_queries, hits, NULL, err));
    uint64_t possible = view->manifest->n_rows < gate->k ? view->manifest->n_rows : gate->k;
    for (size_t i = 0; i < n; i++)
        truth[i] = gate->hits[i].id;
    if (job->rank == 0)
        p->out->recall = rt_index_recall(hits, gate->n_queries, gate->k, truth, gate->k) * gate->k /
                         (double)possible;
done:
    rt_index_search_free(search);
    rt_heap_vectors_close(heap);
    rt_array_free(hits);
    rt_array_free(truth);
    return st;
}

/* --min-recall: the index to be is searched as it lies; below the least recall nothing is
 * published. */
static enum rt_status pass_gate(struct publisher *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = p->context->job;
    struct rt_manifest *manifest = NULL;
    struct rt_index_view *view = NULL;
    RT_TRY(share_manifest(p, &manifest, err));
    RT_LOCAL(rt_index_open_manifest(p->context->dir, manifest, RT_CHECK_TREE, &view, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_recall_gate_merge(job->comm, p->input->gate, err));
    if (p->input->gate->n_queries == 0) /* the same on all ranks */
        RT_FAIL(RT_GATE, "--min-recall: every row drawn as a query is bad, so recall cannot be "
                         "measured; nothing is published");
    RT_TRY(ask_index(p, view, err));
    if (job->rank == 0 && p->out->recall < p->input->min_recall)
        st = rt_error_set(err, RT_GATE, __FILE__, __LINE__,
                          "recall@%" PRIu32 " is %.4f on %" PRIu32
                          " sampled rows, below --min-recall %.4f; nothing is "
                          "published",
                          p->input->gate->k, p->out->recall, p->input->gate->n_queries,
                          p->input->min_recall);
    RT_AGREE(job->comm);
done:
    rt_index_close(view);
    return st;
}

enum rt_status rt_publish_phase(struct rt_phase_context *context,
                                const struct rt_publish_input *input, struct rt_publish_output *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_phase_clock clock;
    struct publisher p = {.context = context,
                          .input = input,
                          .out = out,
                          .resumes = context->checkpoint && context->checkpoint->resumes};
    const struct rt_job *job = context->job;
    *out = (struct rt_publish_output){.recall = -1};
    rt_phase_begin(context, "publish", "files", input->n_files, &clock);
    RT_LOCAL(read_back(&p, err));
    RT_AGREE(job->comm);
    if (input->rows && (!input->rows_are_remote || job->rank == 0))
        RT_LOCAL(rt_rows_check_unchanged(input->rows, err));
    if (input->rows && job->rank == 0)
        RT_LOCAL(rt_rows_check_sample(input->rows, err));
    if (job->rank == 0) {
        RT_LOCAL(rt_phase_check_lock(context, err)); /* else the names may be another job's */
        RT_LOCAL(name_files(&p, err));
    }
    RT_AGREE(job->comm);
    if (input->gate)
        RT_TRY(pass_gate(&p, err));
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err)); /* the last moment to stop */
    if (job->rank == 0)
        RT_LOCAL(rt_manifest_publish(context->dir, input->manifest, context->lock, err));
    RT_AGREE(job->comm);
done:
    return st;
}
