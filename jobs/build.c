/* ranktape build: from a row file to a published index, in five phases. */
#include "jobs/build_report.h"
#include "jobs/build_resume.h"
#include "jobs/calibrate.h"
#include "jobs/job.h"
#include "jobs/job_record.h"

#include "core/clock.h"
#include "core/fingerprint.h"
#include "core/memory.h"
#include "io/fs.h"
#include "io/index_dir.h"
#include "io/manifest.h"
#include "io/tree_file.h"
#include "jobs/phases/compact_phase.h"
#include "jobs/phases/durable.h"
#include "jobs/phases/insert_phase.h"
#include "jobs/phases/new_ids.h"
#include "jobs/phases/new_index.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/phases/publish_phase.h"
#include "jobs/phases/recall_gate.h"
#include "jobs/phases/row_source.h"
#include "jobs/phases/train_phase.h"
#include "jobs/progress_view.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <string.h>

#define LIMIT_SECONDS 0.3 /* a measurement of the limits, at most */

struct build {
    struct rt_job *job;
    struct rt_phase_context context;
    struct rt_progress_view *view;
    struct rt_rows *rows;
    struct rt_plan plan;
    struct rt_row_source *source;
    struct rt_new_ids ids;
    struct rt_recall_gate *gate;
    struct rt_index_dir_begin dir; /* rank 0's findings, on all */
    struct rt_build_resume before;
    bool is_ours; /* rank 0: what lies in INDEX of this generation this run has made */
    struct rt_checkpointing checkpointing;
    struct rt_lock *lock; /* rank 0 */
    struct rt_train_output train;
    struct rt_insert_output insert;
    struct rt_compact_output compact;
    struct rt_publish_output publish;
    struct rt_list_sizes lists;
    struct rt_build_facts facts;
    double began;
};

/* Rank 0: what there is to go on with; what others have left is no longer of use, else. */
static enum rt_status look_back(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (b->job->options->resume)
        RT_TRY(rt_build_resume_look(b->job->options, b->facts.rows, &b->before, err));
    if (b->before.found == RT_BUILD_NOTHING)
        RT_TRY(rt_index_remove_checkpoint(b->context.dir, err));
    if (b->before.found == RT_BUILD_INTERRUPTED)
        RT_TRY(rt_index_unfinish_files(b->context.dir, b->before.first.generation, err));
done:
    return st;
}

/* Rank 0 makes the directory and takes the lock; all learn the generation to write. */
static enum rt_status begin_index(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = b->job;
    if (job->rank == 0) {
        RT_LOCAL(rt_new_index_begin(b->context.dir, job->options, &b->dir, &b->lock, err));
        b->context.lock = b->lock;
        if (st == RT_OK)
            rt_progress_view_set_index(b->view, b->context.dir, b->lock);
        RT_LOCAL(look_back(b, err));
        b->is_ours = b->dir.made || (st == RT_OK && b->before.found == RT_BUILD_NOTHING);
    }
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &b->dir, sizeof b->dir, 0);
    rt_bcast_bytes(job->comm, &b->before, sizeof b->before, 0);
    b->context.generation = b->dir.generation;
    b->checkpointing = (struct rt_checkpointing){
        .interval_seconds = job->options->checkpoint_interval, .layout_ranks = job->n_ranks};
    if (b->before.found == RT_BUILD_INTERRUPTED) {
        b->context.generation = b->before.first.generation;
        b->checkpointing.resumes = true;
        b->checkpointing.layout_ranks = b->before.first.ranks;
        job->options->tapes = b->before.first.tapes;
        job->options->chooser = b->before.first.chooser;
    }
    b->facts.generation = b->context.generation;
done:
    return st;
}

/* From here on a job may go on with what this one has done. */
static enum rt_status begin_checkpoints(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_first_run record = {.generation = b->context.generation,
                                  .ranks = b->job->n_ranks,
                                  .tapes = b->job->options->tapes,
                                  .chooser = b->job->options->chooser};
    if (b->job->rank == 0)
        RT_LOCAL(rt_phase_check_lock(&b->context, err));
    if (b->job->rank == 0 && !b->checkpointing.resumes)
        RT_LOCAL(rt_first_run_write(b->context.dir, b->job->options, b->facts.rows, &record, err));
    RT_AGREE(b->job->comm);
    b->context.checkpoint = &b->checkpointing;
done:
    return st;
}

static enum rt_status plan(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = b->job;
    RT_LOCAL(rt_job_check_reports(job, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_plan_phase(job, &b->rows, &b->plan, err));
    RT_TRY(rt_plan_phase_require(job, &b->plan, err));
    b->context.budget_bytes = b->plan.budget_bytes;
    b->context.way = job->options->io == RT_WRITE_MPIO ? RT_IO_MPIO : RT_IO_DIRECT;
    b->facts.rows = rt_rows_info(b->rows);
    RT_TRY(begin_index(b, err));
    if (b->before.found == RT_BUILD_PUBLISHED)
        goto done;
    struct rt_row_source_options source = {.ids = job->options->ids,
                                           .scatter = job->options->scatter};
    RT_TRY(rt_row_source_new(job->comm, b->rows, &source, &b->source, err));
    b->ids.ascend = true; /* row numbers do */
    if (rt_row_source_has_ids(b->source))
        RT_TRY(rt_new_ids_check(&b->context, b->facts.rows->n_rows, b->source, NULL, false, &b->ids,
                                err));
    if (job->options->min_recall.recall > 0)
        RT_TRY(rt_recall_gate_new(job->comm, b->rows, b->source,
                                  (enum rt_metric)job->options->metric, job->options->seed,
                                  (uint32_t)job->options->min_recall.k, &b->gate, err));
    RT_TRY(begin_checkpoints(b, err));
    rt_build_say_plan(job, &b->facts);
    if (b->checkpointing.resumes)
        rt_job_row(job, "", "goes on with what a build on %d ranks has left",
                   b->checkpointing.layout_ranks);
done:
    return st;
}

static enum rt_status train(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_input input = {.plan = &b->plan, .rows = b->rows, .source = b->source};
    RT_TRY(rt_train_phase(&b->context, &input, &b->train, err));
    rt_progress_view_clear(b->view);
    rt_build_say_train(b->job, &b->facts);
done:
    return st;
}

static enum rt_status insert(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_insert_input input = {.tree = &b->train.trained.tree,
                                    .sets = b->train.sets.sets,
                                    .rotation = b->train.rotation,
                                    .beam = b->train.trained.beam,
                                    .exponent = b->train.exponent,
                                    .fingerprint = b->train.fingerprint,
                                    .rows = b->rows,
                                    .source = b->source,
                                    .block_rows = b->plan.block_rows,
                                    .ids_ascend = b->ids.ascend,
                                    .counts_leaves = true,
                                    .gate = b->gate};
    RT_TRY(rt_insert_phase(&b->context, &input, &b->insert, err));
    rt_progress_view_clear(b->view);
    rt_build_say_insert(b->job, &b->facts);
done:
    return st;
}

/* Rank 0, before lists are written, so that this is on the disk when they are. */
static enum rt_status write_leaf_statistics(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_TRY(rt_index_path(b->context.dir, RT_FILE_TREE, b->context.generation, true, path, err));
    RT_TRY(rt_tree_file_write_leaves(path, &b->train.layout, b->insert.leaves.rows,
                                     b->insert.leaves.radius, b->insert.leaves.spread, err));
done:
    return st;
}

/* The records that compaction has read are those that were inserted, if need be by a run before. */
static enum rt_status check_records(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    if (!memcmp(&b->compact.rows_hash, &b->insert.rows_hash, sizeof b->insert.rows_hash))
        goto done;
    RT_TRY(
        rt_index_path(b->context.dir, RT_FILE_APPENDABLE, b->context.generation, true, path, err));
    RT_FAIL(RT_DAMAGED, "'%s': the records read back are not those that were put in", path);
done:
    return st;
}

static enum rt_status compact(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_chunks *chunks = &b->insert.slots->chunks;
    struct rt_range mine = rt_chunks_share(chunks, b->job->rank, b->job->n_ranks);
    struct rt_compact_input input = {.tape_shape = &b->insert.tape_shape,
                                     .tape_layout = &b->insert.tape_layout,
                                     .first_chunk = mine.begin,
                                     .n_chunks = rt_range_count(mine),
                                     .list_rows = b->insert.list_rows,
                                     .n_lists = rt_tree_leaves(&b->train.trained.tree)->n,
                                     .fingerprint = b->train.fingerprint};
    if (b->job->rank == 0)
        RT_LOCAL(write_leaf_statistics(b, err));
    RT_AGREE(b->job->comm);
    RT_TRY(rt_compact_phase(&b->context, &input, &b->compact, err));
    RT_LOCAL(check_records(b, err));
    RT_LOCAL(rt_list_sizes_of(b->insert.leaves.rows, input.n_lists, &b->lists, err));
    RT_AGREE(b->job->comm);
    rt_progress_view_clear(b->view);
    rt_build_say_compact(b->job, &b->facts, &b->lists);
done:
    return st;
}

/* Rank 0: what the manifest says of this generation, but for files and digest. */
static enum rt_status fill_manifest(struct build *b, struct rt_manifest **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *m = NULL;
    const struct rt_options *options = b->job->options;
    const struct rt_tree *tree = &b->train.trained.tree;
    const struct rt_rows_info *rows = b->facts.rows;
    RT_TRY(rt_manifest_new(&m, err));
    m->generation = b->context.generation;
    m->fingerprint = b->train.fingerprint;
    m->tree_hash = b->train.tree_hash;
    m->rows_hash = b->compact.rows_hash;
    rt_manifest_take_tree(m, tree, rows->type);
    m->rerank_in_heap = options->rerank_in_heap;
    m->beam = b->train.trained.beam;
    m->n_rows = b->insert.n_rows;
    m->n_rows_frozen = b->insert.n_rows;
    m->n_rows_skipped = b->insert.n_skipped;
    m->largest_id = b->insert.largest_id;
    m->next_row = rows->n_rows;
    m->n_segments = b->insert.slots->n_segments;
    RT_TRY(rt_manifest_take_heap(m, rows->files, rows->n_files, rows->sample, err));
    *out = m;
    m = NULL;
done:
    rt_manifest_free(m);
    return st;
}

/* Record and options as the index keeps them. */
static enum rt_status add_record(struct build *b, struct rt_manifest *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *options = rt_options_json(b->job->options, RT_CLASS_NONE);
    json_t *record = rt_build_record(b->job, &b->facts, &b->lists);
    if (!options || !record) {
        json_decref(options);
        json_decref(record);
        RT_FAIL(RT_NOMEM, "out of memory for the build record");
    }
    rt_first_run_stamp_options(b->job->options, options);
    json_decref(m->options);
    json_decref(m->build);
    m->options = options;
    m->build = record;
    RT_TRY(rt_manifest_add_history(m, rt_job_history(b->job, m->generation, m->n_rows), err));
done:
    return st;
}

static enum rt_status sync_leaf_statistics(const struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_TRY(rt_index_path(b->context.dir, RT_FILE_TREE, b->context.generation, true, path, err));
    RT_TRY(rt_fs_sync_path(path, err));
done:
    return st;
}

static enum rt_status publish(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *manifest = NULL;
    struct rt_hash128 digest = rt_digest(b->train.tree_hash, b->compact.rows_hash);
    struct rt_new_file files[] = {
        {RT_FILE_TREE, &b->train.layout, rt_tree_leaves(&b->train.trained.tree)->n, false},
        {RT_FILE_FROZEN, &b->compact.layout, b->insert.n_rows, false},
        {RT_FILE_VECTORS, &b->insert.vectors_layout, b->insert.n_rows, false},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        b->facts.n_bytes += files[i].layout->size;
    b->facts.digest = digest;
    b->facts.seconds = rt_clock_seconds() - b->began;
    if (b->job->rank == 0) {
        RT_LOCAL(sync_leaf_statistics(b, err));
        RT_LOCAL(fill_manifest(b, &manifest, err));
        if (st == RT_OK)
            RT_LOCAL(add_record(b, manifest, err));
    }
    RT_AGREE(b->job->comm);
    struct rt_publish_input input = {.manifest = manifest,
                                     .files = files,
                                     .n_files = sizeof files / sizeof *files,
                                     .rows = b->rows,
                                     .rows_are_remote = b->job->options->scatter,
                                     .gate = b->gate,
                                     .min_recall = b->job->options->min_recall.recall};
    RT_TRY(rt_publish_phase(&b->context, &input, &b->publish, err));
    b->facts.seconds = rt_clock_seconds() - b->began;
    rt_progress_view_clear(b->view);
    rt_build_say_publish(b->job, &b->facts);
done:
    rt_manifest_free(manifest);
    return st;
}

/* A page shows throughput beside what the machine can do, which takes a second to find out. */
static enum rt_status measure_limits(struct build *b, struct rt_plan_rates *limits,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(
        rt_calibrate(b->job->comm, b->plan.input.dim, b->context.dir, LIMIT_SECONDS, limits, err));
    rt_plan_add_times(limits, &b->plan);
done:
    return st;
}

/* --report and --json, after everything else. Collective. */
static enum rt_status tell(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_plan_rates limits;
    bool has_limits = rt_job_reports_html(b->job);
    json_t *record = NULL;
    if (has_limits)
        RT_TRY(measure_limits(b, &limits, err));
    if (b->job->rank == 0)
        record = rt_build_record(b->job, &b->facts, &b->lists);
    rt_record_add_run(b->job, record);
    if (record) {
        rt_build_add_details(&b->facts, &b->context.log, b->began, has_limits ? &limits : NULL,
                             record);
        (void)json_object_set_new(record, "status", json_string(rt_status_name(RT_OK)));
        RT_LOCAL(rt_job_write_reports(b->job, record, err));
    }
    RT_AGREE(b->job->comm);
    if (record && b->job->json)
        (void)json_object_update(b->job->json, record);
done:
    json_decref(record);
    return st;
}

static bool is_published(const struct build *b)
{
    return rt_manifest_is_current(b->context.dir, b->context.generation);
}

/* After exit 2 nothing of this build stays, unless readers have it already; else what --resume goes
 * on with does. */
static void undo(struct build *b, enum rt_status st)
{
    bool can_go_on = b->context.checkpoint && rt_exit_code(st) != 2;
    if (b->job->rank != 0 || st == RT_OK || can_go_on || is_published(b))
        return;
    rt_new_index_undo(b->context.dir, &b->dir, b->lock, b->is_ours);
}

/* How a build ended, for those whose launcher changes exit codes. The failure itself is the one to
 * tell: that its report cannot be written says nothing more. */
static void report_failure(const struct build *b, enum rt_status st, const struct rt_error *err)
{
    struct rt_error ignored;
    if (b->job->rank != 0 || st == RT_OK || is_published(b) ||
        rt_job_check_reports(b->job, &ignored) != RT_OK)
        return;
    json_t *record = rt_job_failure(b->job, st, err);
    if (record && rt_job_write_reports(b->job, record, &ignored) != RT_OK)
        rt_job_warn(b->job, "%s", ignored.text);
    json_decref(record);
}

/* What a published build needs no longer: the appendable tape, whose records lie in frozen lists
 * now, the checkpoint, and what --force has replaced. */
static void clean(struct build *b)
{
    struct rt_error failed;
    bool is_pending = false; /* an insert into what was built may go on */
    if (b->job->rank != 0)
        return;
    if (b->before.found == RT_BUILD_PUBLISHED &&
        (rt_first_run_is_pending(b->context.dir, b->before.first.generation, &is_pending,
                                 &failed) != RT_OK ||
         is_pending))
        return;
    if (rt_index_dir_keep(b->context.dir, b->lock, b->job->options->keep_generations, NULL,
                          &failed) != RT_OK)
        rt_job_warn(b->job, "files that are no longer needed could not be removed: %s",
                    failed.text);
}

/* --resume where the same build is published: a job that is queued again need not know.
 * Collective. */
static enum rt_status tell_published(struct build *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char digest[33];
    rt_hash128_hex(b->before.digest, digest);
    rt_job_row(b->job, "done", "%s holds this build already: generation %llu, digest %s",
               b->context.dir, (unsigned long long)b->before.first.generation, digest);
    json_t *record = b->job->rank != 0
                         ? NULL
                         : json_pack("{s:s, s:s, s:I, s:I, s:s}", "job", b->job->name, "status",
                                     "done", "generation", (json_int_t)b->before.first.generation,
                                     "rows", (json_int_t)b->before.n_rows, "digest", digest);
    if (record)
        RT_LOCAL(rt_job_write_reports(b->job, record, err));
    RT_AGREE(b->job->comm);
    if (record && b->job->json)
        (void)json_object_update(b->job->json, record);
done:
    json_decref(record);
    return st;
}

static void release(struct build *b, enum rt_status st)
{
    rt_row_source_free(b->source);
    rt_recall_gate_free(b->gate);
    rt_train_output_free(&b->train);
    rt_insert_output_free(&b->insert);
    rt_progress_free(b->context.progress);
    if (b->view)
        rt_progress_view_end(b->view, rt_status_name(st), NULL);
    rt_progress_view_free(b->view);
    undo(b, st);
    rt_lock_release(b->lock);
    rt_rows_close(b->rows);
}

enum rt_status rt_build_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct build b = {.job = job, .began = rt_clock_seconds()};
    b.context = (struct rt_phase_context){
        .job = job, .dir = job->options->argument[1], .base_bytes = job->base_bytes};
    b.publish.recall = -1; /* not known yet where the manifest keeps the record */
    b.facts = (struct rt_build_facts){.plan = &b.plan,
                                      .train = &b.train,
                                      .insert = &b.insert,
                                      .compact = &b.compact,
                                      .publish = &b.publish};
    RT_TRY(rt_progress_view_start(job, &b.view, &b.context.progress, err));
    RT_TRY(plan(&b, err));
    if (b.before.found != RT_BUILD_PUBLISHED) {
        RT_TRY(train(&b, err));
        RT_TRY(insert(&b, err));
        RT_TRY(compact(&b, err));
        RT_TRY(publish(&b, err));
    }
    clean(&b);
    RT_TRY(b.before.found == RT_BUILD_PUBLISHED ? tell_published(&b, err) : tell(&b, err));
done:
    st = rt_phase_blame(&b.context, st, err);
    rt_durable_distrust(&b.context, st, err);
    report_failure(&b, st, err);
    release(&b, st);
    return st;
}
