#include "jobs/phases/tidy_phase.h"

#include "core/code.h"
#include "core/memory.h"
#include "io/index_dir.h"
#include "jobs/phases/chunk_work.h"
#include "jobs/phases/pace.h"
#include "jobs/phases/pair_sort.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <string.h>

#define PIECE_RECORDS 4096u

struct tidying {
    struct rt_phase_context *context;
    const struct rt_index_view *view;
    const bool *leaves_out; /* lists, or vectors files */
    struct rt_tidy_output *out;
    size_t file; /* the source: of the view, and the entry of this rank's share of it */
    uint64_t at;
    uint64_t number; /* of that entry over this rank's shares of all files */
    uint64_t *stays; /* a bit for each of them, once they are judged */
    bool is_judged;
    uint64_t n_mine; /* entries that stay */
    struct rt_h5_file *file_out;
};

/* ---- memory ---- */

/* First all are judged, then those that stay are sorted: some_bytes a rank beside what sorting
 * takes. */
static uint64_t both_bytes(uint64_t n, uint64_t n_stay, uint64_t some_bytes, uint64_t budget_bytes,
                           int n_ranks)
{
    uint64_t bits = rt_bit_words(n / (uint64_t)n_ranks + 1) * sizeof(uint64_t);
    uint64_t judging = PIECE_RECORDS * sizeof(struct rt_pair);
    uint64_t sorting = n_stay ? some_bytes + rt_pair_sort_bytes(budget_bytes, n_stay, n_ranks) : 0;
    return bits + (judging > sorting ? judging : sorting);
}

uint64_t rt_tidy_records_bytes(uint64_t n_records, uint64_t n_stay, uint32_t dim,
                               enum rt_metric metric, uint64_t budget_bytes, int n_ranks)
{
    uint64_t record = rt_tape_record_bytes(rt_code_bytes(dim), rt_code_n_factors(metric));
    return both_bytes(n_records, n_stay, PIECE_RECORDS * record, budget_bytes, n_ranks);
}

uint64_t rt_tidy_tombstones_bytes(uint64_t n, uint64_t n_stay, uint64_t budget_bytes, int n_ranks)
{
    return both_bytes(n, n_stay, 0, budget_bytes, n_ranks);
}

/* ---- what both share ---- */

typedef enum rt_status (*next_function)(void *context, bool rewind, struct rt_pair *pairs,
                                        size_t most, size_t *n, struct rt_error *err);

static void go_to_first(struct tidying *t)
{
    t->file = t->at = t->number = 0;
}

/* Between pieces of the source, which comes from disk while it is judged. */
static enum rt_status look_at_others(struct tidying *t, uint64_t n_bytes, struct rt_error *err)
{
    return rt_pace_spend(t->context, t->is_judged ? 0 : n_bytes, err);
}

/* Sorting asks for the entries again and again: they are judged once. n_entries: this rank's. */
static enum rt_status count(struct tidying *t, next_function next, uint64_t n_entries,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_pair *pairs = NULL;
    size_t n = 0;
    bool rewind = true;
    RT_LOCAL(rt_array_new(PIECE_RECORDS, sizeof *pairs, &pairs, err));
    RT_LOCAL(rt_array_zero((size_t)rt_bit_words(n_entries), sizeof *t->stays, &t->stays, err));
    while (st == RT_OK && (rewind || n)) {
        RT_LOCAL(next(t, rewind, pairs, PIECE_RECORDS, &n, err));
        rewind = false;
        t->n_mine += n;
    }
    RT_AGREE(t->context->job->comm);
    t->is_judged = true;
    t->out->n = t->n_mine;
    rt_sum_u64(t->context->job->comm, &t->out->n, 1);
done:
    rt_array_free(pairs);
    return st;
}

static enum rt_status create(struct tidying *t, enum rt_file_kind kind, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_LOCAL(rt_index_path(t->context->dir, kind, t->context->generation, true, path, err));
    RT_AGREE(t->context->job->comm);
    RT_TRY(rt_phase_create_file(t->context, path, &t->out->layout, &t->file_out, err));
done:
    return st;
}

/* ---- records ---- */

/* A record's number over all appendable files: file above, record below. */
#define FILE_SHIFT 44

static bool record_stays(const struct tidying *t, const struct rt_tape_view *tape, uint64_t i)
{
    const struct rt_index_view *view = t->view;
    uint32_t list = tape->records.lists[i];
    return list < view->n_lists && !t->leaves_out[list] &&
           rt_index_list_generation(view, list) <= tape->shape.generation &&
           rt_index_is_live(view, tape->records.ids[i], tape->shape.generation);
}

static enum rt_status next_records(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                                   size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct tidying *t = context;
    const struct rt_job *job = t->context->job;
    const struct rt_index_view *view = t->view;
    if (rewind)
        go_to_first(t);
    *n = 0;
    while (*n == 0 && t->file < view->n_appendable) {
        const struct rt_tape_view *tape = &view->appendable[t->file];
        struct rt_range mine = rt_share(tape->records.n_records, job->rank, job->n_ranks, 1);
        uint64_t begin = mine.begin + t->at;
        uint64_t end = mine.end - begin < most ? mine.end : begin + most;
        RT_TRY(rt_h5_map_check_rows(tape->map, RT_TAPE_LISTS, begin, end - begin, err));
        RT_TRY(rt_h5_map_check_rows(tape->map, RT_TAPE_IDS, begin, end - begin, err));
        RT_TRY(look_at_others(t, (end - begin) * (sizeof(uint32_t) + sizeof(uint64_t)), err));
        for (uint64_t i = begin; i < end; i++, t->at++, t->number++) {
            if (!(t->is_judged ? rt_bit_get(t->stays, t->number) : record_stays(t, tape, i)))
                continue;
            rt_bit_set(t->stays, t->number);
            pairs[(*n)++] =
                (struct rt_pair){tape->records.lists[i], (uint64_t)t->file << FILE_SHIFT | i};
        }
        if (t->at == rt_range_count(mine)) {
            t->at = 0;
            t->file++;
        }
    }
done:
    return st;
}

static uint64_t record_bytes(const struct rt_index_view *view)
{
    return rt_tape_record_bytes(view->code_bytes, view->n_factors);
}

static enum rt_status copy_record(const struct rt_index_view *view, const struct rt_tape_columns *c,
                                  size_t at, uint64_t number, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tape_view *tape = &view->appendable[number >> FILE_SHIFT];
    const struct rt_tape_records *from = &tape->records;
    uint64_t i = number & ((UINT64_C(1) << FILE_SHIFT) - 1);
    RT_TRY(rt_index_check_records(tape, i, i + 1, err));
    rt_tape_take(c, at, from, i, view->code_bytes, view->n_factors);
    c->places[at] = from->places[i];
done:
    return st;
}

static enum rt_status write_records(void *context, uint64_t first, const struct rt_pair *pairs,
                                    size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct tidying *t = context;
    struct rt_tape_columns c = {.lists = NULL};
    RT_TRY(rt_tape_columns_new(PIECE_RECORDS, t->view->code_bytes, t->view->n_factors, &c, err));
    for (size_t at = 0; at < n; at += PIECE_RECORDS) {
        size_t m = n - at < PIECE_RECORDS ? n - at : PIECE_RECORDS;
        const void *const parts[RT_TAPE_COLUMNS] = {c.lists, c.ids, c.codes, c.factors, c.places};
        for (size_t i = 0; i < m; i++)
            RT_TRY(copy_record(t->view, &c, i, pairs[at + i].value, err));
        for (uint32_t column = 0; column < RT_TAPE_COLUMNS; column++)
            RT_TRY(rt_h5_write(t->file_out, column, first + at, m, parts[column], err));
        rt_progress_add(t->context->progress, RT_COUNT_DONE, m);
        RT_TRY(rt_pace_spend(t->context, m * record_bytes(t->view), err));
    }
done:
    rt_tape_columns_free(&c);
    return st;
}

/* All records lie in order of their lists: any cut makes sorted chunks. */
static enum rt_status write_chunks(struct tidying *t, const struct rt_tape_shape *shape,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *entries = NULL;
    RT_TRY(rt_array_new((size_t)shape->n_chunks, 2 * sizeof *entries, &entries, err));
    for (uint64_t i = 0; i < shape->n_chunks; i++) {
        uint64_t left = shape->n_records - i * shape->chunk_rows;
        entries[2 * i] = i * shape->chunk_rows;
        entries[2 * i + 1] = left < shape->chunk_rows ? left : shape->chunk_rows;
    }
    RT_TRY(rt_h5_write(t->file_out, RT_TAPE_CHUNKS, 0, shape->n_chunks, entries, err));
done:
    rt_array_free(entries);
    return st;
}

enum rt_status rt_tidy_records(struct rt_phase_context *context, const struct rt_index_view *view,
                               const bool *is_folded, struct rt_tidy_output *out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_phase_clock clock;
    memset(out, 0, sizeof *out);
    struct tidying t = {.context = context, .view = view, .leaves_out = is_folded, .out = out};
    rt_phase_begin(context, "records", "records", 0, &clock);
    uint64_t n_entries = 0;
    for (size_t i = 0; i < view->n_appendable; i++)
        n_entries += rt_range_count(rt_share(view->appendable[i].records.n_records,
                                             context->job->rank, context->job->n_ranks, 1));
    RT_TRY(count(&t, next_records, n_entries, err));
    if (out->n > 0) {
        struct rt_chunks chunks = rt_chunks_large(out->n);
        struct rt_tape_shape shape = {.generation = context->generation,
                                      .fingerprint = view->manifest->fingerprint,
                                      .n_records = out->n,
                                      .n_chunks = chunks.n_chunks,
                                      .chunk_rows = UINT64_C(1) << chunks.shift,
                                      .dim = view->manifest->dim,
                                      .code_bytes = view->code_bytes,
                                      .n_factors = view->n_factors};
        struct rt_pair_sort sort = {
            .source = next_records, .sink = write_records, .context = &t, .n_mine = t.n_mine};
        RT_LOCAL(rt_tape_layout(&shape, &out->layout, err));
        RT_AGREE(context->job->comm);
        RT_TRY(create(&t, RT_FILE_APPENDABLE, err));
        RT_TRY(rt_pair_sort(context, &sort, err));
        if (context->job->rank == 0)
            RT_LOCAL(write_chunks(&t, &shape, err));
        RT_AGREE(context->job->comm);
        RT_TRY(rt_phase_hash_datasets(context, t.file_out, 0, out->layout.n_datasets, st, err));
    }
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
done:
    rt_array_free(t.stays);
    return rt_phase_close_file(context, t.file_out, st, err);
}

/* ---- tombstones ---- */

static enum rt_status is_needed(const struct tidying *t, struct rt_tombstone entry, bool *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = t->view;
    *out = false;
    if (!rt_index_is_live(view, entry.id, entry.generation))
        return RT_OK; /* a later tombstone of the id says more */
    for (size_t i = 0; i < view->n_vectors && !*out; i++) {
        uint64_t slot = RT_NO_ROW;
        if (t->leaves_out[i] || view->vectors[i].shape.generation >= entry.generation)
            continue;
        RT_TRY(rt_vectors_find(&view->vectors[i], entry.id, &slot, err));
        *out = slot != RT_NO_ROW;
    }
done:
    return st;
}

static enum rt_status next_tombstones(void *context, bool rewind, struct rt_pair *pairs,
                                      size_t most, size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct tidying *t = context;
    const struct rt_job *job = t->context->job;
    if (rewind)
        go_to_first(t);
    *n = 0;
    while (*n == 0 && t->file < t->view->n_tombstones) {
        const struct rt_tombstones_view *file = &t->view->tombstones[t->file];
        struct rt_range mine = rt_share(file->shape.n, job->rank, job->n_ranks, 1);
        uint64_t begin = mine.begin + t->at;
        uint64_t end = mine.end - begin < most ? mine.end : begin + most;
        RT_TRY(look_at_others(t, (end - begin) * sizeof(struct rt_tombstone), err));
        for (uint64_t i = begin; i < end; i++, t->at++, t->number++) {
            bool needed = t->is_judged && rt_bit_get(t->stays, t->number);
            struct rt_tombstone entry = file->entries[i];
            if (!t->is_judged)
                RT_TRY(is_needed(t, entry, &needed, err));
            if (!needed)
                continue;
            rt_bit_set(t->stays, t->number);
            pairs[(*n)++] = (struct rt_pair){entry.id, entry.generation};
        }
        if (t->at == rt_range_count(mine)) {
            t->at = 0;
            t->file++;
        }
    }
done:
    return st;
}

static enum rt_status write_tombstones(void *context, uint64_t first, const struct rt_pair *pairs,
                                       size_t n, struct rt_error *err)
{
    struct tidying *t = context;
    if (n == 0)
        return RT_OK;
    rt_progress_add(t->context->progress, RT_COUNT_DONE, n);
    return rt_h5_write(t->file_out, RT_TOMBSTONES_ENTRIES, first, n, pairs, err);
}

enum rt_status rt_tidy_tombstones(struct rt_phase_context *context,
                                  const struct rt_index_view *view, const bool *is_rewritten,
                                  struct rt_tidy_output *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_phase_clock clock;
    memset(out, 0, sizeof *out);
    struct tidying t = {.context = context, .view = view, .leaves_out = is_rewritten, .out = out};
    rt_phase_begin(context, "tombstones", "ids", 0, &clock);
    uint64_t n_entries = 0;
    for (size_t i = 0; i < view->n_tombstones; i++)
        n_entries += rt_range_count(
            rt_share(view->tombstones[i].shape.n, context->job->rank, context->job->n_ranks, 1));
    RT_TRY(count(&t, next_tombstones, n_entries, err));
    /* where all stay in the one file that they are in, there is nothing to write */
    if (out->n > 0 && !(view->n_tombstones == 1 && out->n == view->tombstones[0].shape.n)) {
        struct rt_tombstones_shape shape = {.generation = context->generation,
                                            .fingerprint = view->manifest->fingerprint,
                                            .n = out->n};
        struct rt_pair_sort sort = {
            .source = next_tombstones, .sink = write_tombstones, .context = &t, .n_mine = t.n_mine};
        RT_LOCAL(rt_tombstones_layout(&shape, &out->layout, err));
        RT_AGREE(context->job->comm);
        RT_TRY(create(&t, RT_FILE_TOMBSTONES, err));
        RT_TRY(rt_pair_sort(context, &sort, err));
        RT_TRY(rt_phase_hash_datasets(context, t.file_out, 0, out->layout.n_datasets, st, err));
    }
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
done:
    rt_array_free(t.stays);
    return rt_phase_close_file(context, t.file_out, st, err);
}
