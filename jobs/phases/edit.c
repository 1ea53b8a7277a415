#include "jobs/phases/edit.h"

#include "core/clock.h"
#include "core/memory.h"
#include "io/index_dir.h"
#include "jobs/first_run.h"
#include "jobs/job_record.h"
#include "jobs/phases/index_view.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/plan_edit_model.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

static enum rt_status lock_index(struct rt_edit *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lock_options lock = {.break_lock = e->job->options->break_lock, .wait_seconds = 5};
    RT_TRY(rt_index_dir_require(e->context.dir, err));
    if (e->job->options->dry_run) /* a reader like others */
        goto done;
    RT_TRY(rt_lock_take(e->context.dir, &lock, &e->lock, err));
    e->context.lock = e->lock;
    rt_progress_view_set_index(e->watch, e->context.dir, e->lock);
done:
    return st;
}

/* The generation to come: a copy of what is published, on rank 0 as text and back. */
static enum rt_status copy_manifest(struct rt_edit *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *text = NULL;
    size_t n = 0;
    rt_manifest_free(e->manifest);
    e->manifest = NULL;
    RT_TRY(rt_manifest_print(e->view->manifest, &text, &n, err));
    RT_TRY(rt_manifest_parse("manifest", text, n, &e->manifest, err));
    e->manifest->generation = e->context.generation;
done:
    rt_array_free(text);
    return st;
}

static enum rt_status open_generation(struct rt_edit *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = e->job->comm;
    size_t before = rt_memory_now();
    RT_TRY(rt_index_view_open(e->job, e->context.dir, e->check, &e->view, err));
    e->view_bytes = rt_memory_now() - before;
    if (e->job->rank == 0)
        RT_LOCAL(e->job->options->dry_run
                     ? rt_index_dir_next(e->context.dir, &e->context.generation, err)
                     : rt_index_dir_claim(e->context.dir, &e->context.generation, err));
    RT_AGREE(comm);
    rt_bcast_bytes(comm, &e->context.generation, sizeof e->context.generation, 0);
    if (e->job->rank == 0)
        RT_LOCAL(copy_manifest(e, err));
    RT_AGREE(comm);
done:
    return st;
}

enum rt_status rt_edit_begin(struct rt_job *job, const char *dir, enum rt_index_check check,
                             struct rt_edit *edit, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *edit = (struct rt_edit){.job = job, .check = check, .began = rt_clock_seconds()};
    edit->context = (struct rt_phase_context){
        .job = job,
        .dir = dir,
        .base_bytes = job->base_bytes,
        .budget_bytes = job->options->memory,
        .way = job->options->io == RT_WRITE_MPIO ? RT_IO_MPIO : RT_IO_DIRECT};
    RT_LOCAL(rt_job_check_reports(job, err));
    RT_AGREE(job->comm);
    if (job->rank == 0)
        edit->record = json_object();
    RT_TRY(rt_progress_view_start(job, &edit->watch, &edit->context.progress, err));
    if (job->rank == 0)
        RT_LOCAL(lock_index(edit, err));
    RT_AGREE(job->comm);
    RT_TRY(open_generation(edit, err));
done:
    return st;
}

enum rt_status rt_edit_foresee(struct rt_edit *edit, uint64_t n_rows, uint64_t n_ids,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_options *options = edit->job->options;
    struct rt_edit_plan plan = {.n_phases = 0};
    struct rt_edit_plan_input input = {
        .view = edit->view, .view_bytes = edit->view_bytes, .n_ids = n_ids};
    rt_plan_phase_machine(edit->job, &input.machine);
    input.machine.n_rows = n_rows;
    if (options->origin[RT_OPT_memory] == RT_FROM_AUTO)
        options->memory = rt_plan_auto_memory(&input.machine);
    edit->context.budget_bytes = options->memory;
    if (edit->job->rank == 0)
        RT_LOCAL(rt_edit_plan_make(&input, options, &plan, err));
    RT_AGREE(edit->job->comm);
    edit->memory_planned = plan.peak_bytes;
done:
    return st;
}

enum rt_status rt_edit_go_on(struct rt_edit *edit, uint64_t generation, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t claimed = edit->context.generation;
    edit->goes_on = true;
    edit->context.generation = generation;
    if (edit->job->rank == 0) {
        rt_index_dir_disclaim(edit->context.dir, claimed);
        edit->manifest->generation = generation;
        RT_LOCAL(rt_index_unfinish_files(edit->context.dir, generation, err));
    }
    RT_AGREE(edit->job->comm);
done:
    return st;
}

void rt_edit_bury(struct rt_edit *edit, const struct rt_tombstone_output *dead)
{
    struct rt_manifest *m = edit->manifest;
    for (size_t i = 0; i < dead->n_absorbed && dead->n_entries; i++) {
        const struct rt_manifest_file *file =
            rt_manifest_find(m, RT_FILE_TOMBSTONES, dead->absorbed[i]);
        m->n_tombstones -= file ? file->rows : 0;
        rt_manifest_drop_file(m, RT_FILE_TOMBSTONES, dead->absorbed[i]);
    }
    m->n_tombstones += dead->n_entries;
    m->n_rows -= dead->n_dead;
    m->rows_hash = rt_hash128_subtract(m->rows_hash, dead->rows_hash);
}

static enum rt_status add_history(struct rt_edit *e, json_t *what, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *line = rt_job_history(e->job, e->context.generation, e->manifest->n_rows);
    if (!line || !what || json_object_update(line, what) != 0) {
        json_decref(line);
        line = NULL;
    }
    RT_TRY(rt_manifest_add_history(e->manifest, line, err));
done:
    json_decref(what);
    return st;
}

void rt_edit_tell_void(const struct rt_edit *edit)
{
    struct rt_error ignored;
    json_t *record = NULL;
    if (rt_first_run_read(edit->context.dir, &record, &ignored) == RT_OK && record &&
        rt_first_run_generation(record) != edit->context.generation)
        rt_job_warn(edit->job, "what an interrupted %s has left in '%s' is void: %s begins it anew",
                    rt_job_name(rt_first_run_job(record)), edit->context.dir,
                    rt_first_run_job(record) == RT_JOB_INSERT ? "--resume" : "build --force");
    json_decref(record);
}

enum rt_status rt_edit_publish(struct rt_edit *edit, const struct rt_new_file *files,
                               uint32_t n_files, struct rt_rows *rows, json_t *what,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_publish_output output;
    struct rt_publish_input input = {.manifest = edit->manifest,
                                     .files = files,
                                     .n_files = n_files,
                                     .rows = rows,
                                     .rows_are_remote = edit->job->options->scatter};
    if (edit->job->rank == 0)
        RT_LOCAL(add_history(edit, what, err));
    RT_AGREE(edit->job->comm);
    RT_TRY(rt_publish_phase(&edit->context, &input, &output, err));
    edit->published = edit->context.generation;
    rt_progress_view_clear(edit->watch);
    if (edit->job->rank == 0) {
        struct rt_error failed;
        rt_edit_tell_void(edit);
        if (rt_index_dir_keep(edit->context.dir, edit->lock, edit->job->options->keep_generations,
                              NULL, &failed) != RT_OK)
            rt_job_warn(edit->job, "files of old generations could not be removed: %s",
                        failed.text);
    }
done:
    return st;
}

enum rt_status rt_edit_again(struct rt_edit *edit, struct rt_error *err)
{
    rt_index_close(edit->view);
    edit->view = NULL;
    return open_generation(edit, err);
}

/* Whether checkpoint/ holds more than this job's progress: what another job may go on with. */
static bool is_other_pending(const struct rt_edit *e)
{
    struct rt_error ignored;
    bool is_pending = true;
    uint64_t current = e->view ? e->view->manifest->generation : 0;
    return rt_first_run_is_pending(e->context.dir, current, &is_pending, &ignored) != RT_OK ||
           is_pending;
}

static void undo(const struct rt_edit *e, enum rt_status st)
{
    struct rt_error ignored;
    struct rt_index_dir_begin begin = {.state = RT_INDEX_PUBLISHED,
                                       .generation = e->context.generation,
                                       .keeps_checkpoint =
                                           !e->has_begun && !e->goes_on && is_other_pending(e)};
    if (st != RT_OK && (e->goes_on || (e->has_begun && rt_exit_code(st) != 2)))
        return;
    if (e->lock && begin.generation && !rt_manifest_is_current(e->context.dir, begin.generation) &&
        rt_lock_check(e->lock, &ignored) == RT_OK)
        rt_index_dir_undo(e->context.dir, &begin);
}

void rt_edit_set(struct rt_edit *edit, const char *key, json_t *value)
{
    if (edit->record)
        (void)json_object_set_new(edit->record, key, value);
    else
        json_decref(value);
}

enum rt_status rt_edit_tell(struct rt_edit *edit, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = edit->job;
    edit->is_told = true;
    uint64_t memory[2] = {job->base_bytes + rt_memory_most(), job->base_bytes};
    rt_max_u64(job->comm, memory, 2);
    rt_record_add_run(job, edit->record);
    if (edit->record) {
        rt_edit_set(edit, "memory_bytes", json_integer((json_int_t)memory[0]));
        if (edit->memory_planned)
            rt_edit_set(edit, "memory_bytes_planned",
                        json_integer((json_int_t)edit->memory_planned));
        rt_edit_set(edit, "base_bytes", json_integer((json_int_t)memory[1]));
        rt_edit_set(edit, "job", json_string(job->name));
        rt_edit_set(edit, "generation",
                    json_integer((json_int_t)(edit->published ? edit->published
                                                              : edit->view->manifest->generation)));
        rt_edit_set(edit, "status", json_string(rt_status_name(RT_OK)));
        rt_edit_set(edit, "seconds", json_real(rt_clock_seconds() - edit->began));
        rt_edit_set(edit, "phases", rt_record_phases(&edit->context.log, edit->began));
        RT_LOCAL(rt_job_write_reports(job, edit->record, err));
    }
    RT_AGREE(job->comm);
    if (edit->record && job->json)
        (void)json_object_update(job->json, edit->record);
done:
    return st;
}

/* How the job ended, for those whose launcher changes exit codes. The failure itself is the one to
 * tell: that its report cannot be written says nothing more. */
static void report_failure(const struct rt_edit *e, enum rt_status st, const struct rt_error *err)
{
    struct rt_error ignored;
    json_t *record = NULL;
    if (rt_job_check_reports(e->job, &ignored) == RT_OK)
        record = rt_job_failure(e->job, st, err);
    if (record && rt_job_write_reports(e->job, record, &ignored) != RT_OK)
        rt_job_warn(e->job, "%s", ignored.text);
    json_decref(record);
}

void rt_edit_end(struct rt_edit *edit, enum rt_status st, const struct rt_error *err)
{
    rt_progress_free(edit->context.progress); /* its last word may go into the index */
    if (edit->job->rank == 0) {
        if (edit->published != edit->context.generation)
            undo(edit, st);
        if (st != RT_OK && !edit->is_told)
            report_failure(edit, st, err);
    }
    json_decref(edit->record);
    if (edit->watch)
        rt_progress_view_end(edit->watch, rt_status_name(st), NULL);
    rt_progress_view_free(edit->watch);
    rt_lock_release(edit->lock);
    rt_index_close(edit->view);
    rt_manifest_free(edit->manifest);
}
