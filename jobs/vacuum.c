/* ranktape vacuum: new rows go into the lists, dead ones out of them, and space comes back, on all
 * ranks. It works in rounds of lists, each a generation of its own, so that a stop keeps what is
 * done; the last one also brings together what is left. Digest and answers do not change. */
#include "jobs/job.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/units.h"
#include "jobs/phases/drift.h"
#include "jobs/phases/edit.h"
#include "jobs/phases/fold_phase.h"
#include "jobs/phases/tidy_phase.h"
#include "jobs/phases/vacuum_survey.h"
#include "jobs/phases/vectors_phase.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

struct vacuum {
    struct rt_edit edit;
    uint64_t since; /* the first generation it may write */
    uint64_t bytes_before, bytes_after;
    uint64_t n_removed, n_lists, n_rounds;
    struct rt_drift drift;
    /* of the round at hand */
    struct rt_survey survey;
    struct rt_fold_output fold;
    bool *rewrites; /* vectors files of the view */
    bool rewrites_any, joins_records, trims;
    struct rt_vectors_output vectors;
    struct rt_tidy_output records, tombstones;
};

/* ---- what is to be done in a round ---- */

static enum rt_status choose_vectors(struct vacuum *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = v->edit.view;
    const struct rt_options *options = v->edit.job->options;
    RT_TRY(rt_array_zero(view->n_vectors, sizeof *v->rewrites, &v->rewrites, err));
    RT_TRY(rt_vectors_choose(view, v->survey.n_dead_slots, options->full, options->dead_fraction,
                             v->rewrites, err));
    for (size_t i = 0; i < view->n_vectors; i++)
        v->rewrites_any = v->rewrites_any || v->rewrites[i];
done:
    return st;
}

/* Records stay where they are while nothing of their one file is folded or dead. */
static void choose_records(struct vacuum *v)
{
    const struct rt_index_view *view = v->edit.view;
    const struct rt_survey *s = &v->survey;
    uint64_t n_gone = 0;
    uint64_t n_counting = 0;
    for (uint32_t list = 0; list < s->n_lists; list++) {
        n_counting += s->n_records[list];
        n_gone += s->is_chosen[list] ? s->n_records[list] : s->n_records[list] - s->n_live[list];
    }
    uint64_t n_stored = 0;
    bool any_pair = false;
    for (size_t i = 0; i < view->n_appendable; i++)
        n_stored += rt_manifest_rows(view->manifest, RT_FILE_APPENDABLE,
                                     view->appendable[i].shape.generation);
    for (size_t i = 0; i < view->manifest->n_files; i++)
        any_pair = any_pair || view->manifest->files[i].is_pair;
    v->joins_records = view->n_appendable > 1 || n_gone > 0 || n_stored > n_counting ||
                       (any_pair && v->rewrites_any);
}

static enum rt_status plan_round(struct vacuum *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = v->edit.job;
    const struct rt_index_view *view = v->edit.view;
    bool is_dry = job->options->dry_run;
    uint64_t budget = v->edit.context.budget_bytes;
    rt_min_u64(job->comm, &budget, 1);
    uint64_t round_rows = rt_survey_round_rows(view, budget, job->n_ranks);
    struct rt_survey_choice choice = {.full = job->options->full,
                                      .dead_fraction = job->options->dead_fraction,
                                      .since = v->since,
                                      .round_rows = round_rows,
                                      .most_rows = is_dry ? 0 : round_rows};
    RT_TRY(rt_survey_phase(&v->edit.context, view, &v->survey, err));
    rt_survey_choose(view, &choice, &v->survey);
    v->rewrites_any = v->joins_records = v->trims = false;
    if (v->survey.is_whole) {
        RT_LOCAL(choose_vectors(v, err));
        RT_AGREE(job->comm);
        choose_records(v);
        v->trims = view->n_tombstones > 0;
    }
done:
    return st;
}

/* ---- doing it ---- */

static enum rt_status write_files(struct vacuum *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_phase_context *context = &v->edit.context;
    const struct rt_index_view *view = v->edit.view;
    if (v->survey.n_chosen)
        RT_TRY(rt_fold_phase(context, view, &v->survey, &v->fold, err));
    if (v->rewrites_any)
        RT_TRY(rt_vectors_phase(context, view, v->rewrites, &v->vectors, err));
    if (v->joins_records)
        RT_TRY(rt_tidy_records(context, view, v->survey.is_chosen, &v->records, err));
    if (v->trims)
        RT_TRY(rt_tidy_tombstones(context, view, v->rewrites, &v->tombstones, err));
done:
    return st;
}

/* Tombstones that all stay in their one file need no new one. */
static bool trims_nothing(const struct vacuum *v)
{
    return v->edit.view->n_tombstones == 1 &&
           v->tombstones.n == v->edit.view->tombstones[0].shape.n;
}

static bool is_list_there(const struct vacuum *v, uint64_t number)
{
    for (uint32_t list = 0; list < v->survey.n_lists; list++)
        if (v->fold.files[list] == number && v->fold.rows[list] > 0)
            return true;
    return false;
}

static void drop_all(struct rt_manifest *m, enum rt_file_kind kind)
{
    for (size_t i = m->n_files; i-- > 0;)
        if (m->files[i].kind == kind)
            rt_manifest_drop_file(m, kind, m->files[i].number);
}

/* Places of what was folded are in lists from now on: an insert must not give it new ones (H3). */
static void part_pairs(struct rt_manifest *m, const struct rt_survey *s)
{
    uint64_t n_folded = 0;
    for (uint32_t list = 0; list < s->n_lists; list++)
        n_folded += s->is_chosen[list] ? s->n_live[list] : 0;
    for (size_t i = 0; i < m->n_files && n_folded > 0; i++)
        m->files[i].is_pair = false;
}

/* Rank 0: files that hold nothing any more are named no longer. */
static void fill_manifest(struct vacuum *v)
{
    struct rt_manifest *m = v->edit.manifest;
    const struct rt_index_view *view = v->edit.view;
    const struct rt_survey *s = &v->survey;
    if (s->n_chosen) {
        m->n_rows_frozen = 0;
        for (uint32_t list = 0; list < s->n_lists; list++) {
            m->n_rows_frozen += v->fold.rows[list];
            m->n_rows_appendable -= s->is_chosen[list] ? s->n_records[list] : 0;
        }
        for (size_t f = 0; f < view->n_frozen; f++)
            if (!is_list_there(v, view->frozen[f].shape.generation))
                rt_manifest_drop_file(m, RT_FILE_FROZEN, view->frozen[f].shape.generation);
        part_pairs(m, s);
    }
    for (size_t f = 0; f < view->n_vectors && v->rewrites_any; f++)
        if (v->rewrites[f])
            rt_manifest_drop_file(m, RT_FILE_VECTORS, view->vectors[f].shape.generation);
    if (v->joins_records) {
        drop_all(m, RT_FILE_APPENDABLE);
        m->n_rows_appendable = v->records.n;
    }
    if (v->trims) {
        drop_all(m, RT_FILE_TOMBSTONES);
        m->n_tombstones = v->tombstones.n;
    }
}

static enum rt_status publish(struct vacuum *v, struct rt_error *err)
{
    struct rt_new_file files[4];
    uint32_t n = 0;
    uint64_t n_rows = v->edit.view->manifest->n_rows;
    json_t *what = NULL;
    if (v->survey.n_chosen)
        files[n++] =
            (struct rt_new_file){RT_FILE_FROZEN, &v->fold.layout, v->fold.n_rows_written, false};
    if (v->vectors.n_rows)
        files[n++] =
            (struct rt_new_file){RT_FILE_VECTORS, &v->vectors.layout, v->vectors.n_rows, false};
    if (v->records.n)
        files[n++] =
            (struct rt_new_file){RT_FILE_APPENDABLE, &v->records.layout, v->records.n, false};
    if (v->tombstones.n && v->trims)
        files[n++] =
            (struct rt_new_file){RT_FILE_TOMBSTONES, &v->tombstones.layout, v->tombstones.n, false};
    if (v->edit.job->rank == 0) {
        fill_manifest(v);
        what = json_pack("{s:I, s:I}", "lists", (json_int_t)v->survey.n_chosen, "live",
                         (json_int_t)n_rows);
    }
    return rt_edit_publish(&v->edit, files, n, NULL, what, err);
}

static void end_round(struct vacuum *v)
{
    rt_survey_free(&v->survey);
    rt_fold_output_free(&v->fold);
    rt_array_free(v->rewrites);
    v->rewrites = NULL;
    memset(&v->vectors, 0, sizeof v->vectors);
    memset(&v->records, 0, sizeof v->records);
    memset(&v->tombstones, 0, sizeof v->tombstones);
}

static uint64_t dead_records_left(const struct vacuum *v)
{
    uint64_t n = 0;
    for (uint32_t list = 0; list < v->survey.n_lists && v->joins_records; list++)
        n += v->survey.is_chosen[list] ? 0 : v->survey.n_records[list] - v->survey.n_live[list];
    return n;
}

/* What a round would remove and make of its lists. The survey's tombstones may hit rows that an
 * older vacuum has taken out of their lists: of an id that came back and died again. So lists are
 * looked into. */
static enum rt_status foresee(struct vacuum *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_survey *s = &v->survey;
    struct rt_phase_clock clock;
    struct rt_phase_record record;
    uint64_t *rows = NULL;
    rt_phase_begin(&v->edit.context, "count", "lists", s->n_chosen, &clock);
    RT_LOCAL(rt_array_new(s->n_lists, sizeof *rows, &v->fold.rows, err));
    RT_AGREE(v->edit.job->comm);
    rows = v->fold.rows;
    RT_TRY(rt_survey_count_frozen(&v->edit.context, v->edit.view, s, rows, err));
    if (v->edit.job->rank == 0)
        rt_progress_add(v->edit.context.progress, RT_COUNT_DONE, s->n_chosen);
    RT_TRY(rt_phase_end(&v->edit.context, &clock, st, &record, err));
    for (uint32_t list = 0; list < s->n_lists; list++) {
        if (!s->is_chosen[list])
            continue;
        v->n_removed += s->rows[list] - rows[list] + s->n_records[list] - s->n_live[list];
        rows[list] += s->n_live[list];
    }
    v->n_removed += dead_records_left(v);
done:
    return st;
}

static enum rt_status write_round(struct vacuum *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(write_files(v, err));
    v->trims = v->trims && !trims_nothing(v);
    if (v->survey.n_chosen || v->rewrites_any || v->joins_records || v->trims) {
        RT_TRY(publish(v, err));
        v->n_removed += v->fold.n_rows_removed + dead_records_left(v);
        v->n_rounds++;
        v->edit.context.if_stopped = "the lists done so far are published; run again to go on";
        RT_TRY(rt_edit_again(&v->edit, err));
    }
done:
    return st;
}

/* How well the tree suits the rows once the last round is done, or would be. */
static enum rt_status measure_drift(struct vacuum *v, struct rt_error *err)
{
    struct rt_survey *s = &v->survey;
    for (uint32_t list = 0; list < s->n_lists; list++)
        s->rows[list] = s->is_chosen[list] ? v->fold.rows[list] : s->rows[list] + s->n_live[list];
    return rt_drift_measure(&v->edit.context, v->edit.view, s->rows, &v->drift, err);
}

/* One generation. *more: lists were left for another round. */
static enum rt_status run_round(struct vacuum *v, bool *more, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(plan_round(v, err));
    *more = !v->survey.is_whole;
    v->n_lists += v->survey.n_chosen;
    if (v->edit.job->options->dry_run)
        RT_TRY(foresee(v, err));
    else
        RT_TRY(write_round(v, err));
    if (!*more)
        RT_TRY(measure_drift(v, err));
done:
    end_round(v);
    return st;
}

/* ---- what is told ---- */

static void say_plan(struct vacuum *v)
{
    const struct rt_job *job = v->edit.job;
    char lists[RT_UNITS_TEXT];
    char rows[RT_UNITS_TEXT];
    rt_job_row(job, "vacuum", "would remove %s dead rows and write %s of %" PRIu32 " lists anew",
               rt_units_count(v->n_removed, rows), rt_units_count(v->n_lists, lists),
               v->edit.view->n_lists);
}

static void say(struct vacuum *v)
{
    const struct rt_job *job = v->edit.job;
    char seconds[RT_UNITS_TEXT];
    char rows[RT_UNITS_TEXT];
    char lists[RT_UNITS_TEXT];
    char bytes[RT_UNITS_TEXT];
    uint64_t freed = v->bytes_before > v->bytes_after ? v->bytes_before - v->bytes_after : 0;
    if (job->options->dry_run)
        say_plan(v);
    else
        rt_job_row(job, "vacuum",
                   "%s   %s dead rows removed, %s lists written anew, %s given back, generation "
                   "%" PRIu64,
                   rt_units_seconds(rt_clock_seconds() - v->edit.began, seconds),
                   rt_units_count(v->n_removed, rows), rt_units_count(v->n_lists, lists),
                   rt_units_bytes(freed, bytes), v->edit.view->manifest->generation);
    rt_job_row(job, "drift",
               "distance to centroids %.4g, at build %.4g; imbalance %.2f; %" PRIu64
               " lists over twice the p99 at build",
               v->drift.mean_now, v->drift.mean_at_build, v->drift.imbalance, v->drift.n_large);
    rt_job_row(job, "advice", "%s", rt_drift_advice(&v->drift));
    rt_edit_set(&v->edit, "rows_removed", json_integer((json_int_t)v->n_removed));
    rt_edit_set(&v->edit, "lists_touched", json_integer((json_int_t)v->n_lists));
    rt_edit_set(&v->edit, "bytes_freed",
                job->options->dry_run /* only doing it tells */
                    ? json_null()
                    : json_integer((json_int_t)v->bytes_before - (json_int_t)v->bytes_after));
    rt_edit_set(&v->edit, "rounds", json_integer((json_int_t)v->n_rounds));
    rt_edit_set(&v->edit, "drift", rt_drift_json(&v->drift));
    rt_edit_set(&v->edit, "advice", json_string(rt_drift_word(&v->drift)));
}

enum rt_status rt_vacuum_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool more = true;
    struct vacuum v = {.n_rounds = 0};
    RT_TRY(rt_edit_begin(job, job->options->argument[0], RT_CHECK_ALL, &v.edit, err));
    RT_TRY(rt_edit_foresee(&v.edit, 0, 0, err));
    v.since = v.edit.context.generation;
    v.bytes_before = rt_manifest_bytes(v.edit.view->manifest);
    while (more)
        RT_TRY(run_round(&v, &more, err));
    v.bytes_after = rt_manifest_bytes(v.edit.view->manifest);
    say(&v);
    RT_TRY(rt_edit_tell(&v.edit, err));
done:
    end_round(&v);
    st = rt_phase_blame(&v.edit.context, st, err);
    rt_edit_end(&v.edit, st, err);
    return st;
}
