/* ranktape export: a generation of an index, live rows only, as a file of another program: written
 * under a temporary name, proven, renamed. Takes no lock: files of a generation never change. */
#include "jobs/export.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/units.h"
#include "jobs/phases/index_view.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/progress_view.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct rt_export_format *const formats[] = {
    /* by the words of --format */
    [RT_EXPORT_CENTROIDS] = &rt_export_centroids,
    [RT_EXPORT_FAISS] = &rt_export_faiss,
    [RT_EXPORT_HDF5] = &rt_export_hdf5,
    [RT_EXPORT_VECTORCHORD] = &rt_export_vectorchord,
};

struct job_state {
    struct rt_export e;
    const struct rt_export_format *format;
    struct rt_index_view *view;
    struct rt_progress_view *watch; /* rank 0 */
    struct rt_phase_record written, proven;
    uint64_t n_bytes[RT_EXPORT_FILES]; /* of the files; rank 0 */
    bool has_begun;                    /* to write */
    uint32_t n_published;
    json_t *record; /* rank 0: what --json and --report tell */
    double began;
};

/* ---- names ---- */

static enum rt_status split(const char *path, char dir[RT_PATH_MAX], char name[RT_PATH_MAX],
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = strlen(path);
    if (n == 0 || n >= RT_PATH_MAX || path[n - 1] == '/')
        RT_FAIL(RT_USAGE, "'%.60s' is no name of a file to write", path);
    memcpy(dir, path, n + 1);
    const char *parent = dirname(dir); /* cuts the copy, or points to a constant */
    memmove(dir, parent, strlen(parent) + 1);
    const char *slash = strrchr(path, '/');
    strcpy(name, slash ? slash + 1 : path);
done:
    return st;
}

static enum rt_status name_files(struct job_state *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const char mark[] = ".partial-";
    const char *out = s->e.context.job->options->argument[1];
    char dir[RT_PATH_MAX];
    char name[RT_PATH_MAX];
    char partial[RT_PATH_MAX + sizeof mark];
    for (uint32_t i = 0; i < RT_EXPORT_FILES && s->format->endings[i]; i++) {
        const char *ending = s->format->endings[i];
        if (strlen(out) + strlen(ending) + sizeof mark >= RT_PATH_MAX)
            RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", out);
        strcpy(s->e.out[i], out);
        strcat(s->e.out[i], ending);
        RT_TRY(split(s->e.out[i], dir, name, err));
        strcpy(partial, mark);
        strcat(partial, name);
        RT_TRY(rt_fs_join(dir, partial, s->e.partial[i], err));
        s->e.n_files = i + 1;
    }
done:
    return st;
}

/* A file of the index must not be overwritten by what is made of it. */
static enum rt_status require_outside(const char *index, const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char dir[RT_PATH_MAX];
    char name[RT_PATH_MAX];
    struct stat a;
    struct stat b;
    RT_TRY(split(path, dir, name, err));
    if (stat(index, &a) == 0 && stat(dir, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        RT_FAIL(RT_USAGE, "'%s' lies in the index itself; write it elsewhere", path);
done:
    return st;
}

/* Rank 0. */
static enum rt_status require_room(const struct job_state *s, uint64_t n_bytes,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = s->e.context.job->options;
    char dir[RT_PATH_MAX];
    char name[RT_PATH_MAX];
    char needed[RT_UNITS_TEXT];
    char there[RT_UNITS_TEXT];
    uint64_t free_bytes = 0;
    for (uint32_t i = 0; i < s->e.n_files; i++) {
        const char *path = s->e.out[i];
        struct stat info;
        RT_TRY(rt_fs_check_target(path, err));
        RT_TRY(require_outside(s->e.context.dir, path, err));
        bool is_there = lstat(path, &info) == 0;
        if (is_there && !S_ISREG(info.st_mode))
            RT_FAIL(RT_USAGE, "'%s' is there and is no file; nothing else is replaced", path);
        if (is_there && !options->force)
            RT_FAIL(RT_USAGE, "'%s' exists already (--force replaces it)", path);
    }
    RT_TRY(split(s->e.out[0], dir, name, err));
    RT_TRY(rt_fs_free_bytes(dir, &free_bytes, err));
    if (free_bytes < n_bytes)
        RT_FAIL(RT_IO, "'%s' takes about %s, but only %s are free there", s->e.out[0],
                rt_units_bytes(n_bytes, needed), rt_units_bytes(free_bytes, there));
done:
    return st;
}

/* ---- the job ---- */

static enum rt_status check_call(struct job_state *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = s->e.context.job;
    if (job->options->format < 0)
        RT_FAIL(RT_USAGE, "which --format? one of %s", rt_option_table[RT_OPT_format].words);
    s->format = formats[job->options->format];
    RT_TRY(rt_job_check_reports(job, err));
    RT_TRY(name_files(s, err));
done:
    return st;
}

static enum rt_status begin(struct job_state *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = s->e.context.job;
    uint64_t n_bytes = 0;
    bool needs_vectors = false;
    RT_LOCAL(check_call(s, err));
    RT_AGREE(job->comm);
    rt_plan_phase_memory(job);
    s->e.context.budget_bytes = job->options->memory;
    RT_TRY(rt_progress_view_start(job, &s->watch, &s->e.context.progress, err));
    RT_TRY(rt_index_view_open(job, s->e.context.dir, RT_CHECK_TREE, &s->view, err));
    s->e.view = s->view;
    RT_LOCAL(s->format->check(&s->e, &n_bytes, &needs_vectors, err));
    if (job->rank == 0)
        RT_LOCAL(require_room(s, n_bytes, err));
    RT_AGREE(job->comm);
    if (needs_vectors || job->options->heap.n)
        RT_LOCAL(rt_heap_vectors_open(s->view->manifest, &job->options->heap, &s->e.heap, err));
    RT_AGREE(job->comm);
done:
    return st;
}

static enum rt_status write_files(struct job_state *s, struct rt_error *err)
{
    s->has_begun = true;
    return s->format->write(&s->e, err);
}

/* Readers blame the file for what it holds; here it is ours, and was not written well. */
static enum rt_status prove(struct job_state *s, struct rt_error *err)
{
    enum rt_status st = s->format->prove(&s->e, err);
    if (st == RT_INPUT)
        st = err->status = RT_IO;
    return st;
}

/* A step of the format as a phase. */
static enum rt_status run(struct job_state *s, const char *name,
                          enum rt_status (*step)(struct job_state *, struct rt_error *),
                          struct rt_phase_record *record, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_phase_clock clock;
    rt_assert(s->format);
    rt_phase_begin(&s->e.context, name, s->format->unit, 0, &clock);
    RT_LOCAL(step(s, err));
    RT_TRY(rt_phase_end(&s->e.context, &clock, st, record, err));
done:
    return st;
}

/* Rank 0. */
static enum rt_status publish(struct job_state *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char dir[RT_PATH_MAX];
    char name[RT_PATH_MAX];
    for (uint32_t i = 0; i < s->e.n_files; i++) {
        RT_TRY(rt_fs_size(s->e.partial[i], &s->n_bytes[i], err));
        RT_TRY(rt_fs_sync_path(s->e.partial[i], err));
    }
    for (; s->n_published < s->e.n_files; s->n_published++)
        RT_TRY(rt_fs_rename(s->e.partial[s->n_published], s->e.out[s->n_published], err));
    RT_TRY(split(s->e.out[0], dir, name, err));
    RT_TRY(rt_fs_sync_dir(dir, err));
done:
    return st;
}

/* ---- what is told ---- */

static json_t *phase_json(const char *name, const struct rt_phase_record *r)
{
    return json_pack("{s:s, s:f, s:I, s:I, s:I}", "name", name, "seconds", r->seconds, "bytes_read",
                     (json_int_t)r->bytes_read, "bytes_written", (json_int_t)r->bytes_written,
                     "memory_bytes", (json_int_t)r->memory_bytes);
}

/* Rank 0. */
static enum rt_status make_record(struct job_state *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = s->e.context.job;
    const struct rt_manifest *m = s->view->manifest;
    char digest[33];
    json_t *files = json_array();
    for (uint32_t i = 0; i < s->e.n_files; i++)
        (void)json_array_append_new(files,
                                    json_pack("{s:o, s:I}", "path", rt_job_text_json(s->e.out[i]),
                                              "bytes", (json_int_t)s->n_bytes[i]));
    rt_hash128_hex(m->digest, digest);
    s->record = json_pack("{s:s, s:s, s:f, s:s, s:I, s:I, s:s, s:o, s:[o, o]}", "job", job->name,
                          "status", rt_status_name(RT_OK), "seconds", rt_clock_seconds() - s->began,
                          "format", s->format->name, "rows", (json_int_t)m->n_rows, "generation",
                          (json_int_t)m->generation, "digest", digest, "files", files, "phases",
                          phase_json("write", &s->written), phase_json("prove", &s->proven));
    if (!s->record)
        RT_FAIL(RT_NOMEM, "out of memory: the record of the export");
done:
    return st;
}

static void say(const struct job_state *s)
{
    const struct rt_job *job = s->e.context.job;
    const struct rt_manifest *m = s->view->manifest;
    char seconds[RT_UNITS_TEXT];
    char rows[RT_UNITS_TEXT];
    char bytes[RT_UNITS_TEXT];
    rt_job_row(job, "export", "%s   %s rows of generation %" PRIu64 " as %s, read back",
               rt_units_seconds(rt_clock_seconds() - s->began, seconds),
               rt_units_count(m->n_rows, rows), m->generation, s->format->name);
    for (uint32_t i = 0; i < s->e.n_files; i++)
        rt_job_row(job, i ? "" : "files", "%s   %s", s->e.out[i],
                   rt_units_bytes(s->n_bytes[i], bytes));
}

/* Rank 0: reports, however the job has ended, and no half-written file. */
static void tell_end(struct job_state *s, enum rt_status st, const struct rt_error *err)
{
    const struct rt_job *job = s->e.context.job;
    struct rt_error failed;
    for (uint32_t i = s->n_published; i < s->e.n_files && s->has_begun; i++)
        (void)unlink(s->e.partial[i]);
    if (rt_job_check_reports(job, &failed) != RT_OK)
        return; /* that is the failure */
    json_t *failure = st == RT_OK ? NULL : rt_job_failure(job, st, err);
    const json_t *record = failure ? failure : s->record;
    if (record && rt_job_write_reports(job, record, &failed) != RT_OK)
        rt_job_warn(job, "%s", failed.text);
    if (st == RT_OK && job->json)
        (void)json_object_update(job->json, s->record);
    json_decref(failure);
}

enum rt_status rt_export_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct job_state s = {.began = rt_clock_seconds(),
                          .e.context = {.job = job,
                                        .dir = job->options->argument[0],
                                        .base_bytes = job->base_bytes,
                                        .if_stopped = "nothing is exported"}};
    RT_TRY(begin(&s, err));
    RT_TRY(run(&s, "write", write_files, &s.written, err));
    RT_TRY(run(&s, "prove", prove, &s.proven, err));
    if (job->rank == 0) {
        RT_LOCAL(publish(&s, err));
        RT_LOCAL(make_record(&s, err));
    }
    RT_AGREE(job->comm);
    rt_progress_view_clear(s.watch);
    say(&s);
done:
    if (job->rank == 0)
        tell_end(&s, st, err);
    json_decref(s.record);
    rt_progress_free(s.e.context.progress);
    if (s.watch)
        rt_progress_view_end(s.watch, rt_status_name(st), NULL);
    rt_progress_view_free(s.watch);
    rt_heap_vectors_close(s.e.heap);
    rt_index_close(s.view);
    return st;
}
