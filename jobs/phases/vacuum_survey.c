#include "jobs/phases/vacuum_survey.h"

#include "core/memory.h"
#include "jobs/phases/pace.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <string.h>

#define MOST_ROUND_BYTES (UINT64_C(256) << 20) /* of frozen blocks a rank writes in a round */
#define PIECE 1024u                            /* entries, between two looks at the other ranks */
#define WORTH 64u /* appendable rows of a list: at least its rows over this (H2) */

uint64_t rt_survey_bytes(uint32_t n_lists, size_t n_vectors)
{
    uint64_t a_list = 4 * sizeof(uint64_t) + sizeof(bool);
    return n_lists * a_list + n_vectors * sizeof(uint64_t);
}

static enum rt_status allocate(const struct rt_index_view *view, struct rt_survey *s,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = view->n_lists;
    s->n_lists = view->n_lists;
    RT_TRY(rt_array_zero(n, sizeof *s->rows, &s->rows, err));
    RT_TRY(rt_array_zero(n, sizeof *s->n_dead, &s->n_dead, err));
    RT_TRY(rt_array_zero(n, sizeof *s->n_records, &s->n_records, err));
    RT_TRY(rt_array_zero(n, sizeof *s->n_live, &s->n_live, err));
    RT_TRY(rt_array_zero(n, sizeof *s->is_chosen, &s->is_chosen, err));
    RT_TRY(rt_array_zero(view->n_vectors, sizeof *s->n_dead_slots, &s->n_dead_slots, err));
done:
    return st;
}

void rt_survey_free(struct rt_survey *s)
{
    rt_array_free(s->rows);
    rt_array_free(s->n_dead);
    rt_array_free(s->n_records);
    rt_array_free(s->n_live);
    rt_array_free(s->is_chosen);
    rt_array_free(s->n_dead_slots);
    memset(s, 0, sizeof *s);
}

struct surveyor {
    struct rt_phase_context *context;
    const struct rt_index_view *view;
    bool is_phase; /* of its own: entries are what it counts */
    struct rt_survey s;
};

/* The next rows of a dataset, n of them, are to be read. */
static enum rt_status begin_piece(struct surveyor *v, const struct rt_h5_map *map, uint32_t dataset,
                                  uint64_t at, uint64_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t bytes = n * rt_h5_row_bytes(&rt_h5_map_layout(map)->datasets[dataset]);
    RT_TRY(rt_h5_map_check_rows(map, dataset, at, n, err));
    rt_progress_add(v->context->progress, RT_COUNT_BYTES_READ, bytes);
    RT_TRY(rt_pace_spend(v->context, bytes, err));
done:
    return st;
}

static void end_piece(struct surveyor *v, uint64_t n)
{
    rt_progress_add(v->context->progress, RT_COUNT_DONE, v->is_phase ? n : 0);
}

/* The dead slots of one id. A list holds the row still if it was written after the row had got its
 * place, and before the row died. */
static enum rt_status visit_tombstone(struct surveyor *v, struct rt_tombstone entry,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = v->view;
    for (size_t f = 0; f < view->n_vectors; f++) {
        const struct rt_vectors_view *file = &view->vectors[f];
        uint64_t slot = RT_NO_ROW;
        if (file->shape.generation >= entry.generation)
            continue;
        RT_TRY(rt_vectors_find(file, entry.id, &slot, err));
        if (slot == RT_NO_ROW)
            continue;
        v->s.n_dead_slots[f]++;
        uint32_t list = file->lists[slot];
        const struct rt_segment_entry *segment = rt_vectors_segment_of(file, slot);
        if (list >= view->n_lists || !segment)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: slot %llu is in no list or segment",
                    rt_h5_map_path(file->map), (unsigned long long)slot);
        uint64_t written = rt_index_list_generation(view, list);
        if (segment->born <= written && written < entry.generation)
            v->s.n_dead[list]++;
    }
done:
    return st;
}

static enum rt_status visit_tombstones(struct surveyor *v, const struct rt_tombstones_view *file,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = v->context->job;
    struct rt_range mine = rt_share(file->shape.n, job->rank, job->n_ranks, 1);
    for (uint64_t at = mine.begin, n = 0; at < mine.end; at += n) {
        n = mine.end - at < PIECE ? mine.end - at : PIECE;
        RT_TRY(begin_piece(v, file->map, RT_TOMBSTONES_ENTRIES, at, n, err));
        for (const struct rt_tombstone *e = file->entries + at; e < file->entries + at + n; e++)
            if (rt_index_is_live(v->view, e->id, e->generation)) /* the latest of the id counts */
                RT_TRY(visit_tombstone(v, *e, err));
        end_piece(v, n);
    }
done:
    return st;
}

static enum rt_status visit_records(struct surveyor *v, const struct rt_tape_view *tape,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = v->context->job;
    const struct rt_index_view *view = v->view;
    struct rt_range mine = rt_share(tape->records.n_records, job->rank, job->n_ranks, 1);
    for (uint64_t at = mine.begin, n = 0; at < mine.end; at += n) {
        n = mine.end - at < PIECE ? mine.end - at : PIECE;
        RT_TRY(begin_piece(v, tape->map, RT_TAPE_LISTS, at, n, err));
        RT_TRY(begin_piece(v, tape->map, RT_TAPE_IDS, at, n, err));
        for (uint64_t i = at; i < at + n; i++) {
            uint32_t list = tape->records.lists[i];
            uint64_t id = tape->records.ids[i];
            if (list >= view->n_lists ||
                rt_index_list_generation(view, list) > tape->shape.generation)
                continue;
            v->s.n_records[list]++;
            v->s.n_live[list] += rt_index_is_live(view, id, tape->shape.generation);
        }
        end_piece(v, n);
    }
done:
    return st;
}

static enum rt_status visit(struct surveyor *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(allocate(v->view, &v->s, err));
    for (size_t i = 0; i < v->view->n_tombstones; i++)
        RT_TRY(visit_tombstones(v, &v->view->tombstones[i], err));
    for (size_t i = 0; i < v->view->n_appendable; i++)
        RT_TRY(visit_records(v, &v->view->appendable[i], err));
done:
    return st;
}

static enum rt_status survey(struct surveyor *v, struct rt_survey *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = v->context->job->comm;
    const struct rt_index_view *view = v->view;
    struct rt_survey *s = &v->s;
    RT_LOCAL(visit(v, err));
    RT_AGREE(comm);
    rt_sum_u64(comm, s->n_dead, s->n_lists);
    rt_sum_u64(comm, s->n_records, s->n_lists);
    rt_sum_u64(comm, s->n_live, s->n_lists);
    rt_sum_u64(comm, s->n_dead_slots, view->n_vectors);
    memcpy(s->rows, view->frozen[view->n_frozen - 1].rows, s->n_lists * sizeof *s->rows);
    *out = *s;
    memset(s, 0, sizeof *s);
done:
    rt_survey_free(s);
    return st;
}

enum rt_status rt_survey_make(struct rt_phase_context *context, const struct rt_index_view *view,
                              struct rt_survey *out, struct rt_error *err)
{
    struct surveyor v = {.context = context, .view = view};
    return survey(&v, out, err);
}

enum rt_status rt_survey_phase(struct rt_phase_context *context, const struct rt_index_view *view,
                               struct rt_survey *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct surveyor v = {.context = context, .view = view, .is_phase = true};
    struct rt_phase_clock clock;
    struct rt_phase_record record;
    uint64_t total = 0;
    for (size_t i = 0; i < view->n_tombstones; i++)
        total += view->tombstones[i].shape.n;
    for (size_t i = 0; i < view->n_appendable; i++)
        total += view->appendable[i].records.n_records;
    rt_phase_begin(context, "survey", "entries", total, &clock);
    RT_TRY(survey(&v, out, err));
    RT_TRY(rt_phase_end(context, &clock, st, &record, err));
done:
    return st;
}

/* ---- counting ---- */

static enum rt_status count_list(struct rt_phase_context *context, const struct rt_index_view *view,
                                 uint32_t list, uint64_t *n_live, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_phase_check(context, err));
    uint64_t generation = rt_index_list_generation(view, list);
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(view, list, &blocks, &n_rows, err));
    RT_TRY(rt_index_check_blocks(view, list, 0, blocks.n_blocks, err));
    for (uint64_t i = 0; i < n_rows; i++)
        *n_live += rt_index_is_live(view, blocks.ids[i], generation);
done:
    return st;
}

enum rt_status rt_survey_count_frozen(struct rt_phase_context *context,
                                      const struct rt_index_view *view, const struct rt_survey *s,
                                      uint64_t *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    uint64_t total = 0;
    uint64_t before = 0;
    for (uint32_t list = 0; list < s->n_lists; list++)
        total += s->is_chosen[list] ? s->rows[list] : 0;
    struct rt_range mine = rt_share(total, job->rank, job->n_ranks, 1);
    memset(rows, 0, s->n_lists * sizeof *rows);
    for (uint32_t list = 0; list < s->n_lists && st == RT_OK; list++) {
        if (!s->is_chosen[list] || s->rows[list] == 0)
            continue;
        bool is_mine = before >= mine.begin && before < mine.end;
        if (is_mine && s->n_dead[list])
            RT_LOCAL(count_list(context, view, list, &rows[list], err));
        else if (is_mine)
            rows[list] = s->rows[list];
        before += s->rows[list];
    }
    RT_AGREE(job->comm);
    rt_sum_u64(job->comm, rows, s->n_lists);
done:
    return st;
}

/* ---- choosing ---- */

uint64_t rt_survey_round_rows(const struct rt_index_view *view, uint64_t budget_bytes, int n_ranks)
{
    uint64_t row_bytes = view->code_bytes + 4 * view->n_factors + UINT64_C(16);
    uint64_t round = budget_bytes / 4;
    round = round < MOST_ROUND_BYTES ? round : MOST_ROUND_BYTES;
    return round / row_bytes * (uint64_t)n_ranks;
}

/* What lists that are not chosen use of a frozen file. */
struct use {
    uint64_t blocks, rows;
};

static bool is_in_file(const struct rt_index_view *view, const struct rt_list_shape *file,
                       uint32_t list)
{
    return view->frozen[view->n_frozen - 1].files[list] == file->generation;
}

static struct use use_of_file(const struct rt_index_view *view, const struct rt_list_shape *file,
                              const struct rt_survey *s)
{
    struct use use = {0, 0};
    for (uint32_t list = 0; list < s->n_lists; list++)
        if (is_in_file(view, file, list) && !s->is_chosen[list]) {
            use.blocks += rt_block_count(s->rows[list]);
            use.rows += s->rows[list];
        }
    return use;
}

static void choose_file(const struct rt_index_view *view, const struct rt_list_shape *file,
                        struct rt_survey *s)
{
    for (uint32_t list = 0; list < s->n_lists; list++)
        if (is_in_file(view, file, list) && s->rows[list] > 0)
            s->is_chosen[list] = true;
}

/* Lists of a file of which too many blocks are unused go to the new one, so that the file goes
 * (H1). Where some of a file's lists stay it is no smaller: all or none. */
static void choose_of_sparse_files(const struct rt_index_view *view,
                                   const struct rt_survey_choice *choice, struct rt_survey *s)
{
    for (size_t f = 0; f < view->n_frozen; f++) {
        const struct rt_list_shape *file = &view->frozen[f].shape;
        if (file->generation >= choice->since)
            continue;
        uint64_t used = use_of_file(view, file, s).blocks;
        if (used > 0 && (double)used < (1 - choice->dead_fraction) * (double)file->n_blocks)
            choose_file(view, file, s);
    }
}

/* As a build leaves it: one frozen file, no dead rows, no block unused, nothing appendable. */
static bool is_as_built(const struct rt_index_view *view, const struct rt_survey *s)
{
    uint64_t used = 0;
    for (uint32_t list = 0; list < s->n_lists; list++) {
        if (s->n_dead[list] || s->n_records[list])
            return false;
        used += rt_block_count(s->rows[list]);
    }
    return view->n_frozen == 1 && used == view->frozen[0].shape.n_blocks;
}

/* A round reads so many rows at most, but one list at least. */
static void cut_round(uint64_t most_rows, struct rt_survey *s)
{
    uint64_t rows = 0;
    s->n_chosen = 0;
    s->is_whole = true;
    for (uint32_t list = 0; list < s->n_lists; list++) {
        if (!s->is_chosen[list])
            continue;
        uint64_t more = s->rows[list] + s->n_records[list];
        if (most_rows && s->n_chosen && rows + more > most_rows) {
            s->is_chosen[list] = false;
            s->is_whole = false;
            continue;
        }
        rows += more;
        s->n_chosen++;
    }
}

/* Under full: files that are not as a build or a round of vacuum leaves them. One that is full of
 * lists to leave alone, and that half a round would fill, stays, so that a vacuum that was stopped
 * goes on where it was. */
static void choose_of_old_files(const struct rt_index_view *view,
                                const struct rt_survey_choice *choice, struct rt_survey *s)
{
    for (size_t f = 0; f < view->n_frozen; f++) {
        const struct rt_list_shape *file = &view->frozen[f].shape;
        if (file->generation >= choice->since)
            continue;
        struct use use = use_of_file(view, file, s);
        if (use.blocks != file->n_blocks || use.rows < choice->round_rows / 2)
            choose_file(view, file, s);
    }
}

void rt_survey_choose(const struct rt_index_view *view, const struct rt_survey_choice *choice,
                      struct rt_survey *s)
{
    bool all = choice->full && !is_as_built(view, s);
    for (uint32_t list = 0; list < s->n_lists; list++) {
        bool is_worth = s->n_live[list] > 0 && s->n_live[list] * WORTH >= s->rows[list];
        s->is_chosen[list] = s->n_dead[list] > 0 || is_worth || (all && s->n_records[list] > 0);
    }
    if (all)
        choose_of_old_files(view, choice, s);
    choose_of_sparse_files(view, choice, s);
    cut_round(choice->most_rows, s);
}
