#include "jobs/phases/fold_phase.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "io/index_dir.h"
#include "jobs/phases/pace.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

#define WRITE_BUFFER_BYTES ((size_t)8 << 20)
#define PIECE_BLOCKS 256u /* gathered before they are written */

struct folder {
    struct rt_phase_context *context;
    const struct rt_index_view *view;
    const struct rt_survey *survey;
    struct rt_fold_output *out;
    uint64_t *first_blocks; /* of every list in its file */
    struct rt_range share;  /* blocks of this rank */
    struct rt_h5_file *file;
    struct rt_unit_writer *writer;
    /* the piece being gathered */
    uint8_t *codes;
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
    uint64_t n_blocks; /* begun in it */
};

uint64_t rt_fold_output_bytes(uint32_t n_lists)
{
    return 2 * sizeof(uint64_t) * (uint64_t)n_lists;
}

uint64_t rt_fold_phase_bytes(uint32_t dim, enum rt_metric metric, uint32_t n_lists,
                             uint64_t n_blocks, int n_ranks)
{
    struct rt_list_shape shape = {
        .n_blocks = n_blocks, .dim = dim, .n_factors = rt_code_n_factors(metric)};
    uint64_t share = rt_share_most(n_blocks, n_ranks, rt_list_share_blocks(&shape));
    uint64_t piece =
        rt_block_code_bytes(dim) + RT_BLOCK_ROWS * (shape.n_factors * sizeof(float) +
                                                    sizeof(uint64_t) + sizeof(struct rt_place));
    return rt_fold_output_bytes(n_lists) + n_lists * sizeof(uint64_t) + rt_code_bytes(dim) +
           PIECE_BLOCKS * piece + rt_list_writer_bytes(&shape, share, WRITE_BUFFER_BYTES);
}

/* The directory of all lists: the chosen ones one behind the other in the new file. */
static uint64_t make_directory(struct folder *f)
{
    const struct rt_list_view *old = &f->view->frozen[f->view->n_frozen - 1];
    const struct rt_survey *s = f->survey;
    uint64_t n_blocks = 0;
    for (uint32_t list = 0; list < s->n_lists; list++) {
        f->out->files[list] = s->is_chosen[list] ? f->context->generation : old->files[list];
        f->first_blocks[list] = s->is_chosen[list] ? n_blocks : old->first_blocks[list];
        if (!s->is_chosen[list]) {
            f->out->rows[list] = s->rows[list];
            continue;
        }
        f->out->n_rows_removed += s->rows[list] - f->out->rows[list];
        f->out->n_rows_removed += s->n_records[list] - s->n_live[list];
        f->out->rows[list] += s->n_live[list];
        f->out->n_rows_written += f->out->rows[list];
        n_blocks += rt_block_count(f->out->rows[list]);
    }
    return n_blocks;
}

static enum rt_status make_file(struct folder *f, uint64_t n_blocks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = f->context->job;
    const struct rt_manifest *m = f->view->manifest;
    char path[RT_PATH_MAX];
    struct rt_list_shape shape = {.generation = f->context->generation,
                                  .fingerprint = m->fingerprint,
                                  .n_lists = f->survey->n_lists,
                                  .n_blocks = n_blocks,
                                  .dim = m->dim,
                                  .n_factors = f->view->n_factors};
    RT_LOCAL(rt_list_layout(&shape, &f->out->layout, err));
    RT_LOCAL(
        rt_index_path(f->context->dir, RT_FILE_FROZEN, f->context->generation, true, path, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_phase_create_file(f->context, path, &f->out->layout, &f->file, err));
    f->share = rt_share(n_blocks, job->rank, job->n_ranks, rt_list_share_blocks(&shape));
    if (job->rank == 0)
        RT_LOCAL(
            rt_list_write_directory(f->file, f->out->files, f->first_blocks, f->out->rows, err));
    RT_LOCAL(rt_list_writer_new(f->file, f->share.begin, f->share.end, WRITE_BUFFER_BYTES,
                                &f->writer, err));
    RT_AGREE(job->comm);
done:
    return st;
}

/* ---- rows into blocks ---- */

static void clear_piece(struct folder *f)
{
    size_t n = PIECE_BLOCKS;
    memset(f->codes, 0, n * rt_block_code_bytes(f->view->manifest->dim));
    memset(f->factors, 0, n * f->view->n_factors * RT_BLOCK_ROWS * sizeof(float));
    memset(f->ids, 0xff, n * RT_BLOCK_ROWS * sizeof(uint64_t));
    memset(f->places, 0, n * RT_BLOCK_ROWS * sizeof(struct rt_place));
    f->n_blocks = 0;
}

static enum rt_status write_piece(struct folder *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_blocks blocks = {.n_blocks = f->n_blocks,
                                    .codes = f->codes,
                                    .factors = f->factors,
                                    .ids = f->ids,
                                    .places = f->places};
    uint64_t bytes = f->n_blocks * (rt_block_code_bytes(f->view->manifest->dim) +
                                    RT_BLOCK_ROWS * (UINT64_C(4) * f->view->n_factors + 16));
    RT_TRY(rt_list_append(f->writer, &blocks, err));
    rt_progress_add(f->context->progress, RT_COUNT_BYTES_WRITTEN, bytes);
    clear_piece(f);
    RT_TRY(rt_pace_spend(f->context, bytes, err));
done:
    return st;
}

struct row { /* of a list, wherever it came from */
    uint64_t id;
    struct rt_place place;
    const uint8_t *code;
    const float *factors;
    size_t factor_step;
};

/* Row number `at` of the list; rows outside [begin, end) are another rank's. */
static enum rt_status put_row(struct folder *f, uint64_t at, struct rt_range mine,
                              const struct row *row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t dim = f->view->manifest->dim;
    uint32_t in_block = (uint32_t)(at % RT_BLOCK_ROWS);
    if (at < mine.begin || at >= mine.end)
        return RT_OK;
    if (in_block == 0) {
        if (f->n_blocks == PIECE_BLOCKS)
            RT_TRY(write_piece(f, err));
        f->n_blocks++;
    }
    uint64_t block = f->n_blocks - 1;
    rt_block_put(f->codes + block * rt_block_code_bytes(dim), dim, in_block, row->code);
    for (uint32_t i = 0; i < f->view->n_factors; i++)
        f->factors[(block * f->view->n_factors + i) * RT_BLOCK_ROWS + in_block] =
            row->factors[i * row->factor_step];
    f->ids[block * RT_BLOCK_ROWS + in_block] = row->id;
    f->places[block * RT_BLOCK_ROWS + in_block] = row->place;
done:
    return st;
}

static enum rt_status put_frozen(struct folder *f, uint32_t list, struct rt_range mine,
                                 uint8_t *code, uint64_t *at, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = f->view;
    uint32_t dim = view->manifest->dim;
    uint64_t generation = rt_index_list_generation(view, list);
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(view, list, &blocks, &n_rows, err));
    for (uint64_t i = 0; i < n_rows && *at < mine.end; i++) {
        uint64_t block = i / RT_BLOCK_ROWS;
        uint32_t in_block = (uint32_t)(i % RT_BLOCK_ROWS);
        if (in_block == 0)
            RT_TRY(rt_index_check_blocks(view, list, block, 1, err));
        if (!rt_index_is_live(view, blocks.ids[i], generation))
            continue;
        struct row row = {.id = blocks.ids[i],
                          .place = blocks.places[i],
                          .code = code,
                          .factors =
                              blocks.factors + block * view->n_factors * RT_BLOCK_ROWS + in_block,
                          .factor_step = RT_BLOCK_ROWS};
        rt_block_get(blocks.codes + block * rt_block_code_bytes(dim), dim, in_block, code);
        RT_TRY(put_row(f, (*at)++, mine, &row, err));
    }
done:
    return st;
}

static enum rt_status put_records(struct folder *f, const struct rt_tape_view *tape, uint32_t list,
                                  struct rt_range mine, uint64_t *at, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = f->view;
    const struct rt_tape_records *r = &tape->records;
    for (uint64_t chunk = 0; chunk < tape->shape.n_chunks && *at < mine.end; chunk++) {
        uint64_t begin = 0;
        uint64_t end = 0;
        rt_index_records(view, tape, chunk, list, &begin, &end);
        RT_TRY(rt_index_check_records(tape, begin, end, err));
        for (uint64_t i = begin; i < end; i++) {
            if (!rt_index_is_live(view, r->ids[i], tape->shape.generation))
                continue;
            struct row row = {.id = r->ids[i],
                              .place = r->places[i],
                              .code = r->codes + i * view->code_bytes,
                              .factors = r->factors + i * view->n_factors,
                              .factor_step = 1};
            RT_TRY(put_row(f, (*at)++, mine, &row, err));
        }
    }
done:
    return st;
}

/* What of a list lies in this rank's share: frozen rows first, then records in the order of their
 * files, so that the file is the same on any number of ranks. */
static enum rt_status fold_list(struct folder *f, uint32_t list, uint8_t *code,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t first = f->first_blocks[list];
    uint64_t n_rows = f->out->rows[list];
    uint64_t begin = f->share.begin > first ? (f->share.begin - first) * RT_BLOCK_ROWS : 0;
    uint64_t end = f->share.end > first ? (f->share.end - first) * RT_BLOCK_ROWS : 0;
    struct rt_range mine = {begin, end < n_rows ? end : n_rows};
    uint64_t at = 0;
    if (mine.begin >= mine.end)
        return RT_OK;
    RT_TRY(put_frozen(f, list, mine, code, &at, err));
    for (size_t i = 0; i < f->view->n_appendable; i++)
        RT_TRY(put_records(f, &f->view->appendable[i], list, mine, &at, err));
    if (at < mine.end)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: list %" PRIu32 " has fewer rows than were counted",
                f->view->dir, list);
    rt_progress_add(f->context->progress, RT_COUNT_DONE, rt_range_count(mine));
done:
    return st;
}

static enum rt_status fold_lists(struct folder *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = f->view->manifest;
    uint8_t *code = NULL;
    RT_TRY(rt_array_new(f->view->code_bytes, 1, &code, err));
    RT_TRY(rt_array_new(PIECE_BLOCKS, rt_block_code_bytes(m->dim), &f->codes, err));
    RT_TRY(rt_array_new(PIECE_BLOCKS,
                        (size_t)f->view->n_factors * RT_BLOCK_ROWS * sizeof *f->factors,
                        &f->factors, err));
    RT_TRY(rt_array_new(PIECE_BLOCKS, RT_BLOCK_ROWS * sizeof *f->ids, &f->ids, err));
    RT_TRY(rt_array_new(PIECE_BLOCKS, RT_BLOCK_ROWS * sizeof *f->places, &f->places, err));
    clear_piece(f);
    for (uint32_t list = 0; list < f->survey->n_lists; list++)
        if (f->survey->is_chosen[list])
            RT_TRY(fold_list(f, list, code, err));
    if (f->n_blocks)
        RT_TRY(write_piece(f, err));
    RT_TRY(rt_unit_writer_end(f->writer, rt_list_fill, err));
done:
    rt_array_free(code);
    return st;
}

static enum rt_status allocate(struct folder *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = f->survey->n_lists;
    RT_TRY(rt_array_zero(n, sizeof *f->out->rows, &f->out->rows, err));
    RT_TRY(rt_array_zero(n, sizeof *f->out->files, &f->out->files, err));
    RT_TRY(rt_array_zero(n, sizeof *f->first_blocks, &f->first_blocks, err));
done:
    return st;
}

enum rt_status rt_fold_phase(struct rt_phase_context *context, const struct rt_index_view *view,
                             const struct rt_survey *survey, struct rt_fold_output *out,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_phase_clock clock;
    uint64_t total = 0;
    memset(out, 0, sizeof *out);
    struct folder f = {.context = context, .view = view, .survey = survey, .out = out};
    for (uint32_t list = 0; list < survey->n_lists; list++)
        total += survey->is_chosen[list] ? survey->rows[list] + survey->n_live[list] : 0;
    rt_phase_begin(context, "fold", "rows", total, &clock);
    RT_LOCAL(allocate(&f, err));
    RT_AGREE(comm);
    RT_TRY(rt_survey_count_frozen(context, view, survey, out->rows, err));
    RT_TRY(make_file(&f, make_directory(&f), err));
    RT_LOCAL(fold_lists(&f, err));
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
done:
    st = rt_phase_close_file(context, f.file, st, err);
    rt_unit_writer_free(f.writer);
    rt_array_free(f.first_blocks);
    rt_array_free(f.codes);
    rt_array_free(f.factors);
    rt_array_free(f.ids);
    rt_array_free(f.places);
    return st;
}

void rt_fold_output_free(struct rt_fold_output *output)
{
    rt_array_free(output->rows);
    rt_array_free(output->files);
    memset(output, 0, sizeof *output);
}
