/* ranktape insert: new rows into a published index. They go through its tree into a new pair of
 * files (appendable, vectors); the next search finds them, vacuum folds them into the lists. */
#include "jobs/insert.h"
#include "jobs/insert_resume.h"
#include "jobs/job.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/units.h"
#include "io/index_dir.h"
#include "jobs/phases/carry.h"
#include "jobs/phases/durable.h"
#include "jobs/phases/edit.h"
#include "jobs/phases/good_ids.h"
#include "jobs/phases/grown_heap.h"
#include "jobs/phases/insert_phase.h"
#include "jobs/phases/new_ids.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/phases/tombstone_phase.h"
#include "jobs/phases/tree_sets.h"
#include "kmeans/means.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>

#define LEAST_CHUNKS 8u /* of a rank's rows for each tape: so few slots are left unused */

struct insertion {
    struct rt_edit edit;
    struct rt_rows *rows;
    struct rt_row_source *source;
    struct rt_insert_resume before;
    struct rt_checkpointing checkpointing;
    struct rt_new_ids ids;
    bool is_own_heap;                /* rank 0: ROWS are the index's own heap, grown */
    struct rt_good_ids good;         /* --replace */
    struct rt_tombstone_output dead; /* rows replaced */
    struct rt_carry *carry;
    struct rt_tree_sets sets;
    struct rt_rotation *rotation;
    struct rt_insert_output out;
};

/* ---- rows that suit the index ---- */

enum rt_status rt_insert_check_rows(const struct rt_manifest *m, const struct rt_rows_info *info,
                                    const struct rt_options *options, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *name = options->argument[1];
    if (info->dim != m->dim)
        RT_FAIL(RT_INPUT, "'%s' has rows of %" PRIu32 " dimensions, the index has %" PRIu32, name,
                info->dim, m->dim);
    if (info->type != m->element)
        RT_FAIL(RT_INPUT, "'%s' has rows of %s, the index of %s", name, rt_element_name(info->type),
                rt_element_name(m->element));
    if (m->rerank_in_heap && options->concurrent &&
        options->origin[RT_OPT_from_row] != RT_FROM_GIVEN)
        RT_FAIL(RT_USAGE,
                "--concurrent: the index keeps no vectors, and only its own heap may grow under it "
                "(--from-row); '%s' would be another",
                name);
    if (options->from_row > info->n_rows)
        RT_FAIL(RT_USAGE, "--from-row %" PRIu64 ": '%s' has only %" PRIu64 " rows",
                options->from_row, name, info->n_rows);
done:
    return st;
}

void rt_insert_complete(const struct rt_manifest *m, uint64_t n_rows,
                        const struct rt_plan_input *machine, struct rt_options *options)
{
    uint64_t row_bytes = (uint64_t)m->dim * rt_element_size(m->element);
    uint64_t leaf_bytes = (uint64_t)m->levels[m->n_levels - 1] * m->dim * sizeof(float);
    uint64_t n_new = n_rows - options->from_row;
    /* a rank's part of each tape is rounded up to shares, of at most a chunk (E4) */
    uint64_t filled = rt_chunks_large(n_new).n_chunks / machine->ranks / LEAST_CHUNKS;
    uint64_t most = machine->ranks < RT_MAX_TAPES ? machine->ranks : RT_MAX_TAPES;
    most = filled < most ? filled : most;
    options->metric = (int)m->metric;
    options->rerank_in_heap = m->rerank_in_heap;
    if (options->origin[RT_OPT_tapes] == RT_FROM_AUTO)
        options->tapes = most ? most : 1;
    if (options->origin[RT_OPT_chooser] == RT_FROM_AUTO)
        options->chooser = RT_CHOOSER_RNG;
    if (m->rerank_in_heap && options->chooser == RT_CHOOSER_RNG)
        options->chooser = RT_CHOOSER_ID; /* runs of heap rows */
    if (options->origin[RT_OPT_block_rows] == RT_FROM_AUTO)
        options->block_rows = rt_insert_block_rows(row_bytes, leaf_bytes);
    if (options->origin[RT_OPT_memory] == RT_FROM_AUTO)
        options->memory = rt_plan_auto_memory(machine);
}

/* Rows have the numbers of the heap that they are in, which is the index's own, grown. */
static bool says_from_row(const struct insertion *in)
{
    return in->edit.job->options->origin[RT_OPT_from_row] == RT_FROM_GIVEN;
}

static enum rt_status open_rows(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = in->edit.job;
    struct rt_plan_input machine = {0};
    rt_plan_phase_machine(job, &machine);
    if (job->rank == 0) {
        RT_LOCAL(rt_plan_phase_open(job, job->options->argument[1], &in->rows, &machine, err));
        RT_LOCAL(rt_insert_check_rows(in->edit.view->manifest, rt_rows_info(in->rows), job->options,
                                      err));
        RT_LOCAL(rt_rows_sample(in->rows, job->options->from_row, err));
    }
    RT_AGREE(job->comm);
    RT_TRY(rt_plan_phase_share(job, &in->rows, err));
    rt_insert_complete(in->edit.view->manifest, rt_rows_info(in->rows)->n_rows, &machine,
                       job->options);
done:
    return st;
}

static void tell_counts(struct insertion *in, uint64_t n_inserted, uint64_t n_skipped,
                        uint64_t n_replaced)
{
    rt_edit_set(&in->edit, "inserted", json_integer((json_int_t)n_inserted));
    rt_edit_set(&in->edit, "skipped", json_integer((json_int_t)n_skipped));
    rt_edit_set(&in->edit, "replaced", json_integer((json_int_t)n_replaced));
}

/* ---- what a run before has done ---- */

/* Rank 0, in the way of the first state. */
static enum rt_status write_record(void *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct insertion *in = context;
    const struct rt_job *job = in->edit.job;
    struct rt_first_run record = {.generation = in->edit.context.generation,
                                  .base = in->edit.view->manifest->generation,
                                  .ranks = job->n_ranks,
                                  .tapes = job->options->tapes,
                                  .chooser = job->options->chooser};
    RT_TRY(rt_phase_check_lock(&in->edit.context, err));
    RT_TRY(rt_first_run_write(in->edit.context.dir, job->options, rt_rows_info(in->rows), &record,
                              err));
    in->edit.has_begun = true;
done:
    return st;
}

static bool are_few(const struct insertion *in)
{
    uint64_t n_new = rt_rows_info(in->rows)->n_rows - in->edit.job->options->from_row;
    return rt_insert_is_few(n_new, rt_tree_leaves(&in->edit.view->tree.tree)->n);
}

static enum rt_status look_back(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_edit *edit = &in->edit;
    struct rt_options *options = edit->job->options;
    uint64_t current = edit->view->manifest->generation;
    if (edit->job->rank == 0 && options->resume)
        RT_LOCAL(rt_insert_resume_look(edit->context.dir, options, in->rows, edit->view->manifest,
                                       &in->before, err));
    RT_AGREE(edit->job->comm);
    rt_bcast_bytes(edit->job->comm, &in->before, sizeof in->before, 0);
    if (in->before.found == RT_INSERT_VOID)
        rt_job_warn(edit->job,
                    "the insert that was interrupted was into generation %" PRIu64
                    " of '%s', which is at %" PRIu64 " now: it begins anew",
                    in->before.first.base, edit->context.dir, current);
    bool are_numbered = !options->ids[0] && !says_from_row(in); /* anew, if twice */
    if (in->before.is_unsure && are_numbered)
        rt_job_warn(
            edit->job,
            "the history of '%s' goes back no further: rows that an insert before it has put "
            "in come twice",
            edit->context.dir);
    if (in->before.found != RT_INSERT_INTERRUPTED)
        goto done;
    options->tapes = in->before.first.tapes;
    options->chooser = in->before.first.chooser;
    RT_TRY(rt_edit_go_on(edit, in->before.first.generation, err));
    rt_job_row(edit->job, "", "goes on with what an insert on %d ranks has left",
               in->before.first.ranks);
done:
    return st;
}

/* Few rows are inserted sooner than anything could be kept of them. */
static enum rt_status begin_checkpoints(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_edit *edit = &in->edit;
    bool goes_on = in->before.found == RT_INSERT_INTERRUPTED;
    in->checkpointing = (struct rt_checkpointing){
        .interval_seconds = edit->job->options->checkpoint_interval,
        .resumes = goes_on,
        .layout_ranks = goes_on ? in->before.first.ranks : edit->job->n_ranks,
        .begin = goes_on ? NULL : write_record,
        .begin_context = in};
    if (are_few(in))
        goto done;
    if (edit->job->rank == 0 && !goes_on) {
        if (in->before.found != RT_INSERT_VOID)
            rt_edit_tell_void(edit);
        RT_LOCAL(rt_index_remove_checkpoint(edit->context.dir, err));
    }
    RT_AGREE(edit->job->comm);
    edit->context.checkpoint = &in->checkpointing;
done:
    return st;
}

/* What the heap has gained since, and no other insert has taken. */
static void tell_rest(const struct insertion *in)
{
    const struct rt_manifest *m = in->edit.view->manifest;
    uint64_t n_seen = in->before.n_rows;
    bool is_told = says_from_row(in) && !in->edit.job->options->ids[0];
    if (is_told && rt_manifest_own_rows(m) > n_seen)
        n_seen = rt_manifest_own_rows(m);
    if (n_seen < rt_rows_info(in->rows)->n_rows)
        rt_job_row(in->edit.job, "", "rows from %" PRIu64 " on have come since%s", n_seen,
                   is_told ? ": --from-row takes them" : "");
}

/* Rank 0: --resume where the rows are in the index already, as a job that is queued again need not
 * know. What the run that published them could not remove goes. */
static enum rt_status tell_published(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = in->edit.job;
    const struct rt_insert_resume *b = &in->before;
    bool is_pending = false;
    RT_TRY(rt_first_run_is_pending(in->edit.context.dir, in->edit.view->manifest->generation,
                                   &is_pending, err));
    if (!is_pending)
        RT_TRY(rt_index_dir_keep(in->edit.context.dir, in->edit.lock,
                                 job->options->keep_generations, NULL, err));
    rt_job_row(job, "done", "%s holds these rows already: generation %" PRIu64,
               in->edit.context.dir, b->generation);
    tell_rest(in);
    tell_counts(in, b->n_inserted, b->n_skipped, b->n_replaced);
done:
    return st;
}

static enum rt_status open_source(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = in->edit.job;
    const struct rt_manifest *m = in->edit.view->manifest;
    struct rt_row_source_options source = {.ids = job->options->ids,
                                           .scatter = job->options->scatter,
                                           .first_row = job->options->from_row,
                                           .first_id = job->options->from_row};
    if (!says_from_row(in))
        source.first_id = m->next_row;
    if (job->rank == 0 && says_from_row(in))
        RT_LOCAL(rt_grown_heap_check(in->edit.view, in->rows, job->options, &in->is_own_heap, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_row_source_new(job->comm, in->rows, &source, &in->source, err));
    RT_TRY(rt_new_ids_check(&in->edit.context, rt_row_source_n_rows(in->source), in->source,
                            in->edit.view, job->options->replace, &in->ids, err));
done:
    return st;
}

/* ---- rows that take the place of others ---- */

/* The old rows die first, so that none of them is carried along. */
static enum rt_status replace(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_edit *edit = &in->edit;
    const struct rt_manifest *m = edit->view->manifest;
    char path[RT_PATH_MAX];
    in->good = (struct rt_good_ids){.source = in->source,
                                    .dim = m->dim,
                                    .element = m->element,
                                    .metric = m->metric,
                                    .may_skip = edit->job->options->bad_rows == RT_BAD_ROWS_SKIP};
    RT_LOCAL(rt_good_ids_begin(&in->good, edit->job->rank, edit->job->n_ranks, err));
    RT_AGREE(edit->job->comm);
    struct rt_tombstone_input input = {.view = edit->view,
                                       .ids = rt_good_ids_next,
                                       .ids_context = &in->good,
                                       .n_ids = rt_range_count(in->good.mine)};
    RT_TRY(rt_tombstone_phase(&edit->context, &input, &in->dead, err));
    rt_good_ids_end(&in->good);
    if (in->dead.n_entries == 0)
        goto done;
    RT_LOCAL(rt_index_path(edit->context.dir, RT_FILE_TOMBSTONES, edit->context.generation, true,
                           path, err));
    RT_LOCAL(rt_index_bury(edit->view, path, err));
    RT_AGREE(edit->job->comm);
done:
    return st;
}

/* ---- the new pair ---- */

static enum rt_status touch_tree(void *context, uint32_t level, uint32_t first, uint32_t n,
                                 struct rt_error *err)
{
    return rt_tree_file_touch(&((const struct rt_index_view *)context)->tree, level, first, n, err);
}

/* What many rows are worth: the whole tree checked, and a store beside it. */
static enum rt_status make_sets(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = in->edit.job;
    const struct rt_tree *tree = &in->edit.view->tree.tree;
    RT_LOCAL(rt_index_check_tree(in->edit.view, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_tree_sets_new(job, tree, rt_means_distance(tree->metric, tree->spherical), true,
                            job->options->pin, &in->sets, err));
done:
    return st;
}

static enum rt_status insert_rows(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_edit *edit = &in->edit;
    const struct rt_options *options = edit->job->options;
    const struct rt_manifest *m = edit->view->manifest;
    const struct rt_tree *tree = &edit->view->tree.tree;
    uint64_t first_heap_row = says_from_row(in) ? options->from_row : m->next_row;
    RT_TRY(rt_carry_new(&edit->context, edit->view, rt_row_source_n_rows(in->source), &in->carry,
                        err));
    bool few = are_few(in);
    if (!few)
        RT_TRY(make_sets(in, err));
    RT_LOCAL(rt_rotation_new(tree->rotation_seed, tree->dim, &in->rotation, err));
    RT_AGREE(edit->job->comm);
    struct rt_insert_input input = {.tree = tree,
                                    .sets = few ? NULL : in->sets.sets,
                                    .touch = touch_tree,
                                    .touch_context = edit->view,
                                    .rotation = in->rotation,
                                    .beam = m->beam,
                                    .fingerprint = m->fingerprint,
                                    .rows = in->rows,
                                    .source = in->source,
                                    .block_rows = options->block_rows,
                                    .ids_ascend = in->ids.ascend && in->carry->n_rows == 0,
                                    .carry = in->carry,
                                    .first_segment = m->n_segments,
                                    .first_heap_row = first_heap_row};
    RT_TRY(rt_insert_phase(&edit->context, &input, &in->out, err));
    rt_tree_sets_free(&in->sets); /* publishing needs its memory for other things */
done:
    return st;
}

/* ---- the new generation ---- */

/* Where vectors stay in heaps, those of others are needed from now on, too. */
static enum rt_status add_heaps(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *m = in->edit.manifest;
    const struct rt_rows_info *info = rt_rows_info(in->rows);
    uint64_t n_rows = rt_row_source_n_rows(in->source);
    uint64_t first_row = says_from_row(in) ? in->edit.job->options->from_row : m->next_row;
    if (in->is_own_heap)
        RT_TRY(rt_grown_heap_record(m, in->rows, err));
    else if (m->rerank_in_heap)
        RT_TRY(rt_manifest_add_heaps(m, info->files, info->n_files, m->next_row, err));
    m->next_row = first_row + n_rows > m->next_row ? first_row + n_rows : m->next_row;
done:
    return st;
}

static enum rt_status fill_manifest(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *m = in->edit.manifest;
    m->n_rows_skipped += in->out.n_skipped;
    RT_TRY(add_heaps(in, err));
    if (in->out.n_rows == 0) /* what could be carried along stays where it is */
        goto done;
    rt_edit_bury(&in->edit, &in->dead);
    for (size_t i = 0; i < in->carry->n_files; i++) {
        uint64_t number = in->carry->files[i];
        m->n_rows_appendable -= rt_manifest_find(m, RT_FILE_APPENDABLE, number)->rows;
        rt_manifest_drop_file(m, RT_FILE_APPENDABLE, number);
        rt_manifest_drop_file(m, RT_FILE_VECTORS, number);
    }
    m->n_rows_appendable += in->carry->n_live + in->out.n_rows;
    m->n_rows += in->out.n_rows;
    m->rows_hash = rt_hash128_add(m->rows_hash, in->out.rows_hash);
    m->largest_id = in->out.largest_id > m->largest_id ? in->out.largest_id : m->largest_id;
    m->n_segments += in->out.slots->n_segments;
done:
    return st;
}

static enum rt_status publish(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_rows = in->out.n_rows ? in->carry->n_live + in->out.n_rows : 0;
    uint32_t n_files = in->dead.n_entries ? 3 : 2;
    struct rt_new_file files[] = {
        {RT_FILE_APPENDABLE, &in->out.tape_layout, n_rows, true},
        {RT_FILE_VECTORS, &in->out.vectors_layout, n_rows, false},
        {RT_FILE_TOMBSTONES, &in->dead.layout, in->dead.n_entries, false},
    };
    json_t *what = NULL;
    if (in->edit.job->rank == 0) {
        RT_LOCAL(fill_manifest(in, err));
        RT_LOCAL(rt_insert_history_line(in->edit.job->options, rt_rows_info(in->rows),
                                        in->out.n_rows, in->out.n_skipped, in->dead.n_dead, &what,
                                        err));
    }
    RT_AGREE(in->edit.job->comm);
    json_t *line = what;
    what = NULL; /* publishing takes it */
    RT_TRY(rt_edit_publish(&in->edit, files, in->out.n_rows ? n_files : 0, in->rows, line, err));
done:
    json_decref(what);
    return st;
}

/* What a run that went on did not put in itself has no rate. */
static const char *rate_text(const struct insertion *in, char text[RT_UNITS_TEXT + 16])
{
    const struct rt_phase_record *r = &in->out.record;
    char rate[RT_UNITS_TEXT];
    if (in->out.n_rows == 0)
        return "";
    if (r->units == 0)
        return ", all of them by the run before";
    (void)snprintf(text, RT_UNITS_TEXT + 16, ", %s rows/s",
                   rt_units_rate(r->seconds > 0 ? (double)r->units / r->seconds : 0, rate));
    return text;
}

static void say(struct insertion *in)
{
    const struct rt_job *job = in->edit.job;
    char rows[RT_UNITS_TEXT];
    char rate[RT_UNITS_TEXT + 16];
    char seconds[RT_UNITS_TEXT];
    char count[RT_UNITS_TEXT];
    rt_job_row(job, "insert", "%s   %s rows inserted%s, generation %" PRIu64,
               rt_units_seconds(rt_clock_seconds() - in->edit.began, seconds),
               rt_units_count(in->out.n_rows, rows), rate_text(in, rate),
               in->edit.published ? in->edit.published : in->edit.view->manifest->generation);
    if (in->out.n_skipped)
        rt_job_row(job, "", "%s bad rows left out", rt_units_count(in->out.n_skipped, count));
    if (in->dead.n_dead)
        rt_job_row(job, "", "%s rows replaced", rt_units_count(in->dead.n_dead, count));
    tell_counts(in, in->out.n_rows, in->out.n_skipped, in->dead.n_dead);
}

static void release(struct insertion *in, enum rt_status st, const struct rt_error *err)
{
    rt_row_source_free(in->source);
    rt_insert_output_free(&in->out);
    rt_tree_sets_free(&in->sets);
    rt_rotation_free(in->rotation);
    rt_carry_free(in->carry);
    rt_edit_end(&in->edit, st, err);
    rt_rows_close(in->rows);
    rt_array_free(in->dead.absorbed);
    rt_good_ids_end(&in->good);
}

static enum rt_status put_in(struct insertion *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = in->edit.view->manifest;
    RT_TRY(open_source(in, err));
    RT_TRY(begin_checkpoints(in, err));
    if (rt_row_source_n_rows(in->source) > 0) {
        if (in->edit.job->options->replace)
            RT_TRY(replace(in, err));
        RT_TRY(insert_rows(in, err));
    }
    bool needs_heap = in->edit.job->rank == 0 && in->is_own_heap && m->rerank_in_heap &&
                      rt_grown_heap_is_new(m, rt_rows_info(in->rows));
    rt_bcast_bytes(in->edit.job->comm, &needs_heap, sizeof needs_heap, 0);
    if (in->out.n_rows > 0 || needs_heap) /* without a row of it that is good, too */
        RT_TRY(publish(in, err));
    say(in);
done:
    return st;
}

enum rt_status rt_insert_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct insertion in = {.rows = NULL};
    RT_TRY(rt_edit_begin(job, job->options->argument[0], RT_CHECK_STRUCTURE, &in.edit, err));
    RT_TRY(open_rows(&in, err));
    RT_TRY(look_back(&in, err));
    RT_TRY(rt_edit_foresee(&in.edit, rt_rows_info(in.rows)->n_rows, 0, err));
    if (in.before.found != RT_INSERT_PUBLISHED)
        RT_TRY(put_in(&in, err));
    else if (job->rank == 0)
        RT_LOCAL(tell_published(&in, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_edit_tell(&in.edit, err));
done:
    st = rt_phase_blame(&in.edit.context, st, err);
    rt_durable_distrust(&in.edit.context, st, err);
    release(&in, st, err);
    return st;
}
