#include "jobs/phases/live_rows.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "jobs/phases/pair_sort.h"
#include "jobs/phases/vacuum_survey.h"
#include "mpi/agree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_ROOM (UINT64_C(1) << 16)
#define MOST_ROOM (UINT64_C(1) << 24)

/* ---- how many ---- */

static enum rt_status add_up(const struct rt_index_view *view, const struct rt_survey *survey,
                             uint64_t *offsets, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = 0;
    for (uint32_t list = 0; list < view->n_lists; list++) {
        uint64_t rows = offsets[list] + survey->n_live[list];
        offsets[list] = n;
        n += rows;
    }
    offsets[view->n_lists] = n;
    if (n != view->manifest->n_rows)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: it holds %" PRIu64 " live rows, the manifest says %" PRIu64,
                view->dir, n, view->manifest->n_rows);
done:
    return st;
}

enum rt_status rt_live_rows_count(struct rt_phase_context *context,
                                  const struct rt_index_view *view, struct rt_live_rows *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_survey survey = {.n_lists = 0};
    struct rt_live_rows rows = {.view = view};
    rows.room = context->budget_bytes / 8 / sizeof(struct rt_pair);
    rows.room = rows.room < LEAST_ROOM ? LEAST_ROOM : rows.room;
    rows.room = rows.room > MOST_ROOM ? MOST_ROOM : rows.room;
    RT_LOCAL(rt_array_zero((size_t)view->n_lists + 1, sizeof *rows.offsets, &rows.offsets, err));
    RT_AGREE(comm);
    RT_TRY(rt_survey_make(context, view, &survey, err));
    for (uint32_t list = 0; list < view->n_lists; list++)
        survey.is_chosen[list] = true;
    RT_TRY(rt_survey_count_frozen(context, view, &survey, rows.offsets, err));
    RT_LOCAL(add_up(view, &survey, rows.offsets, err));
    RT_AGREE(comm);
    *out = rows;
    rows.offsets = NULL;
done:
    rt_array_free(rows.offsets);
    rt_survey_free(&survey);
    return st;
}

void rt_live_rows_free(struct rt_live_rows *rows)
{
    rt_array_free(rows->offsets);
    memset(rows, 0, sizeof *rows);
}

/* ---- the rows of one list, in any order ---- */

/* Where a row lies: 0 for its list's blocks, else 1 + a tape of the view; and its number there. */
#define FILE_SHIFT 44

typedef enum rt_status (*visit_function)(void *context, struct rt_pair row, struct rt_error *err);

static enum rt_status visit_list(const struct rt_index_view *view, uint32_t list,
                                 visit_function visit, void *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t generation = rt_index_list_generation(view, list);
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(view, list, &blocks, &n_rows, err));
    RT_TRY(rt_index_check_blocks(view, list, 0, blocks.n_blocks, err));
    for (uint64_t i = 0; i < n_rows; i++)
        if (rt_index_is_live(view, blocks.ids[i], generation))
            RT_TRY(visit(context, (struct rt_pair){blocks.ids[i], i}, err));
    for (size_t t = 0; t < view->n_appendable; t++) {
        const struct rt_tape_view *tape = &view->appendable[t];
        for (uint64_t chunk = 0; chunk < tape->shape.n_chunks; chunk++) {
            uint64_t begin = 0;
            uint64_t end = 0;
            rt_index_records(view, tape, chunk, list, &begin, &end);
            RT_TRY(rt_index_check_records(tape, begin, end, err));
            for (uint64_t i = begin; i < end; i++)
                if (rt_index_is_live(view, tape->records.ids[i], tape->shape.generation))
                    RT_TRY(visit(
                        context,
                        (struct rt_pair){tape->records.ids[i], (uint64_t)(t + 1) << FILE_SHIFT | i},
                        err));
        }
    }
done:
    return st;
}

/* ---- a part of a list by id ---- */

#define DIGIT_BITS 16
#define N_DIGITS (1u << DIGIT_BITS)

struct histogram {
    uint64_t prefix; /* ids count whose higher bits are these */
    unsigned shift;  /* of the digit counted */
    uint64_t *n;     /* N_DIGITS */
};

static enum rt_status count_digit(void *context, struct rt_pair row, struct rt_error *err)
{
    (void)err;
    struct histogram *h = context;
    unsigned above = h->shift + DIGIT_BITS;
    if (above == 64 || row.key >> above == h->prefix >> above)
        h->n[row.key >> h->shift & (N_DIGITS - 1)]++;
    return RT_OK;
}

/* The id that so many of the list's are smaller than: digit by digit, from the top. */
static enum rt_status select_id(const struct rt_index_view *view, uint32_t list, uint64_t n_smaller,
                                uint64_t *id, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct histogram h = {.shift = 64};
    RT_TRY(rt_array_new(N_DIGITS, sizeof *h.n, &h.n, err));
    while (h.shift > 0) {
        uint32_t digit = 0;
        h.shift -= DIGIT_BITS;
        memset(h.n, 0, N_DIGITS * sizeof *h.n);
        RT_TRY(visit_list(view, list, count_digit, &h, err));
        while (digit < N_DIGITS - 1 && h.n[digit] <= n_smaller)
            n_smaller -= h.n[digit++];
        h.prefix |= (uint64_t)digit << h.shift;
    }
    *id = h.prefix;
done:
    rt_array_free(h.n);
    return st;
}

struct part {        /* rows of a list whose ids lie in [first, end) */
    const char *dir; /* for messages */
    uint64_t first, end;
    struct rt_pair *rows;
    uint64_t n, room;
};

static enum rt_status take_row(void *context, struct rt_pair row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct part *part = context;
    if (row.key < part->first || row.key >= part->end)
        return RT_OK;
    if (part->n == part->room)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: id %" PRIu64 " is one row too many in its list",
                part->dir, row.key);
    part->rows[part->n++] = row;
done:
    return st;
}

struct walk {
    const struct rt_live_rows *rows;
    rt_live_row_sink sink;
    void *context;
    uint8_t *code;
};

static enum rt_status give_row(struct walk *w, uint32_t list, const struct rt_list_blocks *blocks,
                               struct rt_pair row, struct rt_error *err)
{
    const struct rt_index_view *view = w->rows->view;
    struct rt_live_row out = {.id = row.key, .list = list};
    float factors[RT_MAX_FACTORS];
    uint64_t i = row.value & ((UINT64_C(1) << FILE_SHIFT) - 1);
    if (row.value >> FILE_SHIFT) {
        const struct rt_tape_records *r = &view->appendable[(row.value >> FILE_SHIFT) - 1].records;
        out.place = r->places[i];
        out.code = r->codes + i * view->code_bytes;
        out.factors = r->factors + i * view->n_factors;
    } else {
        uint64_t block = i / RT_BLOCK_ROWS;
        uint32_t in_block = (uint32_t)(i % RT_BLOCK_ROWS);
        uint32_t dim = view->manifest->dim;
        rt_block_get(blocks->codes + block * rt_block_code_bytes(dim), dim, in_block, w->code);
        for (uint32_t f = 0; f < view->n_factors; f++)
            factors[f] = blocks->factors[(block * view->n_factors + f) * RT_BLOCK_ROWS + in_block];
        out.place = blocks->places[i];
        out.code = w->code;
        out.factors = factors;
    }
    return w->sink(w->context, &out, err);
}

static enum rt_status give_part(struct walk *w, uint32_t list, struct part *part,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    RT_TRY(visit_list(w->rows->view, list, take_row, part, err));
    if (part->n != part->room)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: list %" PRIu32 " holds other rows than were counted, or an id "
                "twice",
                w->rows->view->dir, list);
    qsort(part->rows, (size_t)part->n, sizeof *part->rows, rt_pair_compare);
    RT_TRY(rt_index_list(w->rows->view, list, &blocks, &n_rows, err));
    for (uint64_t i = 0; i < part->n; i++)
        RT_TRY(give_row(w, list, &blocks, part->rows[i], err));
done:
    return st;
}

/* Rows [begin, end) of a list of n_rows, in parts that fit. */
static enum rt_status walk_list(struct walk *w, uint32_t list, uint64_t n_rows, uint64_t begin,
                                uint64_t end, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct part part = {.dir = w->rows->view->dir};
    uint64_t most = end - begin < w->rows->room ? end - begin : w->rows->room;
    RT_TRY(rt_array_new((size_t)most, sizeof *part.rows, &part.rows, err));
    if (begin > 0)
        RT_TRY(select_id(w->rows->view, list, begin, &part.end, err));
    for (uint64_t at = begin; at < end; at += most) {
        part.n = 0;
        part.room = end - at < most ? end - at : most;
        part.first = part.end;
        part.end = RT_NO_ID;
        if (at + part.room < n_rows)
            RT_TRY(select_id(w->rows->view, list, at + part.room, &part.end, err));
        RT_TRY(give_part(w, list, &part, err));
    }
done:
    rt_array_free(part.rows);
    return st;
}

enum rt_status rt_live_rows_walk(const struct rt_live_rows *rows, uint64_t begin, uint64_t end,
                                 rt_live_row_sink sink, void *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct walk w = {.rows = rows, .sink = sink, .context = context};
    RT_TRY(rt_array_new(rows->view->code_bytes, 1, &w.code, err));
    for (uint32_t list = 0; list < rows->view->n_lists; list++) {
        uint64_t first = rows->offsets[list];
        uint64_t n = rows->offsets[list + 1] - first;
        uint64_t from = begin > first ? begin - first : 0;
        uint64_t to = end > first ? end - first : 0;
        to = to < n ? to : n;
        if (from < to)
            RT_TRY(walk_list(&w, list, n, from, to, err));
    }
done:
    rt_array_free(w.code);
    return st;
}
