/* ranktape delete: rows die by their ids. Nothing is rewritten: tombstones in a new generation say
 * which; vacuum gives the space back. */
#include "jobs/delete.h"

#include "jobs/job.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/units.h"
#include "jobs/phases/edit.h"
#include "jobs/phases/tombstone_phase.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>

#define PIECE_IDS 65536u

struct deletion {
    struct rt_edit edit;
    struct rt_ids *ids;
    struct rt_range mine; /* of the file's ids */
    uint64_t at;
    uint64_t *piece;
    struct rt_tombstone_output dead;
};

static enum rt_status check_call(const struct rt_options *options, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if ((options->ids[0] != '\0') == (options->keep[0] != '\0'))
        RT_FAIL(RT_USAGE, "delete needs one of --ids FILE (these die) and --keep FILE (all others "
                          "die)");
done:
    return st;
}

enum rt_status rt_delete_open(const struct rt_options *options, struct rt_ids **out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(check_call(options, err));
    const char *name = options->ids[0] ? options->ids : options->keep;
    RT_TRY(rt_ids_open(name, RT_IDS_ANY, out, err));
done:
    return st;
}

uint64_t rt_delete_reading_bytes(void)
{
    return PIECE_IDS * sizeof(uint64_t);
}

static enum rt_status open_ids(struct deletion *d, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = d->edit.job;
    RT_TRY(rt_delete_open(job->options, &d->ids, err));
    d->mine = rt_share(rt_ids_count(d->ids), job->rank, job->n_ranks, 1);
    RT_TRY(rt_array_new(PIECE_IDS, sizeof *d->piece, &d->piece, err));
done:
    return st;
}

static enum rt_status next_ids(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                               size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct deletion *d = context;
    if (rewind)
        d->at = d->mine.begin;
    uint64_t left = d->mine.end - d->at;
    most = most < PIECE_IDS ? most : PIECE_IDS;
    *n = left < most ? (size_t)left : most;
    RT_TRY(rt_ids_read(d->ids, d->at, *n, d->piece, err));
    for (size_t i = 0; i < *n; i++)
        pairs[i] = (struct rt_pair){.key = d->piece[i]};
    d->at += *n;
done:
    return st;
}

static enum rt_status find_rows(struct deletion *d, struct rt_error *err)
{
    struct rt_tombstone_input input = {.view = d->edit.view,
                                       .ids = next_ids,
                                       .ids_context = d,
                                       .n_ids = rt_range_count(d->mine),
                                       .keeps = d->edit.job->options->keep[0] != '\0'};
    return rt_tombstone_phase(&d->edit.context, &input, &d->dead, err);
}

static enum rt_status publish(struct deletion *d, struct rt_error *err)
{
    struct rt_new_file file = {
        .kind = RT_FILE_TOMBSTONES, .layout = &d->dead.layout, .rows = d->dead.n_entries};
    json_t *what = NULL;
    if (d->edit.job->rank == 0) {
        rt_edit_bury(&d->edit, &d->dead);
        what = json_pack("{s:I}", "deleted", (json_int_t)d->dead.n_dead);
    }
    return rt_edit_publish(&d->edit, &file, 1, NULL, what, err);
}

static void say(struct deletion *d)
{
    const struct rt_job *job = d->edit.job;
    char dead[RT_UNITS_TEXT];
    char unknown[RT_UNITS_TEXT];
    char seconds[RT_UNITS_TEXT];
    rt_job_row(job, "delete", "%s   %s rows deleted, %s ids unknown, generation %" PRIu64,
               rt_units_seconds(rt_clock_seconds() - d->edit.began, seconds),
               rt_units_count(d->dead.n_dead, dead), rt_units_count(d->dead.n_unknown, unknown),
               d->edit.published ? d->edit.published : d->edit.view->manifest->generation);
    rt_edit_set(&d->edit, "deleted", json_integer((json_int_t)d->dead.n_dead));
    rt_edit_set(&d->edit, "unknown", json_integer((json_int_t)d->dead.n_unknown));
    /* on purpose, or an empty file of a pipeline that has failed */
    if (job->options->keep[0] && d->dead.n_dead && d->dead.n_dead == d->edit.view->manifest->n_rows)
        rt_job_warn(job, "'%s' names no row of '%s': --keep has deleted all of them",
                    job->options->keep, d->edit.context.dir);
}

enum rt_status rt_delete_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct deletion d = {.ids = NULL};
    RT_LOCAL(check_call(job->options, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_edit_begin(job, job->options->argument[0], RT_CHECK_STRUCTURE, &d.edit, err));
    RT_LOCAL(open_ids(&d, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_edit_foresee(&d.edit, 0, rt_ids_count(d.ids), err));
    RT_TRY(find_rows(&d, err));
    rt_array_free(d.piece);
    d.piece = NULL;
    if (d.dead.n_dead)
        RT_TRY(publish(&d, err));
    say(&d);
    RT_TRY(rt_edit_tell(&d.edit, err));
done:
    if (d.edit.job) {
        st = rt_phase_blame(&d.edit.context, st, err);
        rt_edit_end(&d.edit, st, err);
    }
    rt_ids_close(d.ids);
    rt_array_free(d.piece);
    rt_array_free(d.dead.absorbed);
    return st;
}
