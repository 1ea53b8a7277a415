/* ranktape import: an exported HDF5 file becomes an index again, of the same digest. Nothing in the
 * file is believed before it is checked. */
#include "jobs/job.h"

#include "core/clock.h"
#include "core/fingerprint.h"
#include "core/units.h"
#include "io/export_hdf5.h"
#include "io/tree_file.h"
#include "jobs/phases/import_phase.h"
#include "jobs/phases/new_index.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/phases/publish_phase.h"
#include "jobs/progress_view.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

struct import {
    struct rt_job *job;
    struct rt_phase_context context;
    struct rt_progress_view *watch; /* rank 0 */
    struct rt_export_hdf5_view file;
    struct rt_index_dir_begin dir; /* rank 0's findings, on all */
    struct rt_lock *lock;          /* rank 0 */
    struct rt_h5_layout tree, frozen, vectors;
    uint64_t n_segments;
    struct rt_manifest *manifest; /* rank 0 */
    double began;
};

/* ---- the file ---- */

static enum rt_status open_file(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = im->job;
    RT_LOCAL(rt_export_hdf5_open(job->options->argument[0], &im->file, err));
    RT_AGREE(job->comm);
    RT_LOCAL(job->rank == 0 ? rt_export_hdf5_check_head(&im->file, err)
                            : rt_export_hdf5_check_offsets(&im->file, err));
    RT_AGREE(job->comm);
done:
    return st;
}

/* Options, build record and history, as the exported index had them. */
static enum rt_status take_record(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_export_hdf5_view *file = &im->file;
    struct rt_manifest *m = im->manifest;
    json_error_t wrong;
    json_t *record = json_loadb(file->record ? file->record : "", file->shape.record_bytes,
                                JSON_REJECT_DUPLICATES, &wrong);
    json_t *options = json_object_get(record, "options");
    json_t *build = json_object_get(record, "build");
    json_t *history = json_object_get(record, "history");
    size_t i = 0;
    const json_t *line = NULL;
    bool good = json_is_object(options) && json_is_object(build) && json_is_array(history);
    json_array_foreach(history, i, line) good = good && json_is_object(line);
    if (!good)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: its record is no JSON object of options, build and history",
                rt_h5_map_path(file->map));
    json_decref(m->options);
    json_decref(m->build);
    json_decref(m->history);
    m->options = json_incref(options);
    m->build = json_incref(build);
    m->history = json_incref(history);
done:
    json_decref(record);
    return st;
}

/* ---- the index ---- */

/* Rank 0 makes the directory and takes the lock; all learn the generation to write. */
static enum rt_status begin_index(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = im->job;
    if (job->rank == 0) {
        RT_LOCAL(rt_new_index_begin(im->context.dir, job->options, &im->dir, &im->lock, err));
        im->context.lock = im->lock;
        if (st == RT_OK)
            rt_progress_view_set_index(im->watch, im->context.dir, im->lock);
        if (st == RT_OK)
            RT_LOCAL(rt_index_remove_checkpoint(im->context.dir, err)); /* of a build given up */
    }
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &im->dir, sizeof im->dir, 0);
    im->context.generation = im->dir.generation;
done:
    return st;
}

static enum rt_status write_tree(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_export_hdf5_shape *shape = &im->file.shape;
    char path[RT_PATH_MAX];
    RT_TRY(rt_index_path(im->context.dir, RT_FILE_TREE, im->context.generation, true, path, err));
    RT_TRY(rt_tree_file_write(path, &shape->tree, shape->element, im->context.generation,
                              shape->fingerprint, shape->tree_hash, &im->tree, err));
    RT_TRY(rt_tree_file_write_leaves(path, &im->tree, im->file.leaves.rows, im->file.leaves.radius,
                                     im->file.leaves.spread, err));
    RT_TRY(rt_fs_sync_path(path, err));
done:
    return st;
}

static enum rt_status write_files(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = im->job;
    if (job->rank == 0)
        RT_LOCAL(write_tree(im, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &im->tree, sizeof im->tree, 0);
    RT_TRY(rt_import_lists(&im->context, &im->file, &im->frozen, err));
    RT_TRY(rt_import_vectors(&im->context, &im->file, &im->vectors, &im->n_segments, err));
done:
    return st;
}

/* Rank 0: all but files and digest. The heap of the exported index may be out of sight: its vectors
 * came along, and its row files are not named. */
static enum rt_status fill_manifest(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_export_hdf5_shape *shape = &im->file.shape;
    RT_TRY(rt_manifest_new(&im->manifest, err));
    struct rt_manifest *m = im->manifest;
    m->generation = im->context.generation;
    m->fingerprint = shape->fingerprint;
    m->tree_hash = shape->tree_hash;
    m->rows_hash = shape->rows_hash;
    rt_manifest_take_tree(m, &shape->tree, shape->element);
    m->beam = shape->beam;
    m->n_rows = shape->n_rows;
    m->n_rows_frozen = shape->n_rows;
    m->n_rows_skipped = shape->n_skipped;
    m->largest_id = shape->largest_id;
    m->next_row = shape->next_row;
    m->n_segments = (uint32_t)im->n_segments;
    RT_TRY(take_record(im, err));
    RT_TRY(rt_manifest_add_history(m, rt_job_history(im->job, m->generation, m->n_rows), err));
done:
    return st;
}

static enum rt_status publish(struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_rows = im->file.shape.n_rows;
    struct rt_publish_output output;
    struct rt_new_file files[] = {
        {RT_FILE_TREE, &im->tree, im->file.n_lists, false},
        {RT_FILE_FROZEN, &im->frozen, n_rows, false},
        {RT_FILE_VECTORS, &im->vectors, n_rows, false}, /* the last: not there without rows */
    };
    if (im->job->rank == 0)
        RT_LOCAL(fill_manifest(im, err));
    RT_AGREE(im->job->comm);
    struct rt_publish_input input = {
        .manifest = im->manifest, .files = files, .n_files = n_rows ? 3 : 2};
    RT_TRY(rt_publish_phase(&im->context, &input, &output, err));
done:
    return st;
}

/* ---- how it ended ---- */

static void clean(const struct import *im)
{
    struct rt_error failed;
    if (im->job->rank == 0 &&
        rt_index_dir_keep(im->context.dir, im->lock, im->job->options->keep_generations, NULL,
                          &failed) != RT_OK)
        rt_job_warn(im->job, "files that are no longer needed could not be removed: %s",
                    failed.text);
}

/* Rank 0. */
static enum rt_status tell(const struct import *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = im->job;
    const struct rt_manifest *m = im->manifest;
    double seconds = rt_clock_seconds() - im->began;
    char digest[33];
    char text[RT_UNITS_TEXT];
    char rows[RT_UNITS_TEXT];
    rt_hash128_hex(m->digest, digest);
    rt_job_row(job, "import", "%s   %s rows in %" PRIu32 " lists, generation %" PRIu64,
               rt_units_seconds(seconds, text), rt_units_count(m->n_rows, rows), im->file.n_lists,
               m->generation);
    rt_job_row(job, "digest", "%s", digest);
    json_t *record =
        json_pack("{s:s, s:s, s:f, s:I, s:I, s:s}", "job", job->name, "status",
                  rt_status_name(RT_OK), "seconds", seconds, "generation",
                  (json_int_t)m->generation, "rows", (json_int_t)m->n_rows, "digest", digest);
    if (record)
        RT_TRY(rt_job_write_reports(job, record, err));
    if (record && job->json)
        (void)json_object_update(job->json, record);
done:
    json_decref(record);
    return st;
}

/* Rank 0: a failure is reported, and INDEX is as it was before. */
static void undo(const struct import *im, enum rt_status st, const struct rt_error *err)
{
    struct rt_error failed;
    struct rt_index_dir_begin begin = im->dir;
    if (begin.state == RT_INDEX_UNFINISHED) /* --force has given it up */
        begin.state = RT_INDEX_EMPTY;
    if (st == RT_OK ||
        (im->context.generation && rt_manifest_is_current(im->context.dir, im->context.generation)))
        return;
    rt_new_index_undo(im->context.dir, &begin, im->lock, true);
    if (rt_job_check_reports(im->job, &failed) != RT_OK)
        return; /* that is the failure */
    json_t *record = rt_job_failure(im->job, st, err);
    if (record && rt_job_write_reports(im->job, record, &failed) != RT_OK)
        rt_job_warn(im->job, "%s", failed.text);
    json_decref(record);
}

enum rt_status rt_import_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct import im = {.job = job, .began = rt_clock_seconds()};
    im.context = (struct rt_phase_context){.job = job,
                                           .dir = job->options->argument[1],
                                           .base_bytes = job->base_bytes,
                                           .way = job->options->io == RT_WRITE_MPIO ? RT_IO_MPIO
                                                                                    : RT_IO_DIRECT};
    RT_LOCAL(rt_job_check_reports(job, err));
    RT_AGREE(job->comm);
    rt_plan_phase_memory(job);
    im.context.budget_bytes = job->options->memory;
    RT_TRY(rt_progress_view_start(job, &im.watch, &im.context.progress, err));
    RT_TRY(open_file(&im, err));
    RT_TRY(begin_index(&im, err));
    RT_TRY(write_files(&im, err));
    RT_TRY(publish(&im, err));
    rt_progress_view_clear(im.watch);
    clean(&im);
    if (job->rank == 0)
        RT_LOCAL(tell(&im, err));
    RT_AGREE(job->comm);
done:
    st = rt_phase_blame(&im.context, st, err);
    rt_progress_free(im.context.progress); /* its last word may go into the index */
    if (job->rank == 0)
        undo(&im, st, err);
    if (im.watch)
        rt_progress_view_end(im.watch, rt_status_name(st), NULL);
    rt_progress_view_free(im.watch);
    rt_lock_release(im.lock);
    rt_manifest_free(im.manifest);
    rt_export_hdf5_close(&im.file);
    return st;
}
