#include "jobs/phases/insert_chunks.h"

#include "core/code.h"
#include "core/record.h"
#include "jobs/phases/first_bad_row.h"
#include "jobs/phases/insert_files.h"

#include <string.h>

/* ---- vectors ---- */

/* The end of the run of rows from `first` on that go to one tape, at most `end`. */
static uint64_t end_of_tape_run(const struct rt_inserter *in, uint64_t first, uint64_t end,
                                uint32_t *tape)
{
    const struct rt_slot_layout *slots = in->out->slots;
    int rank = in->run.layout_rank;
    *tape = rt_slot_layout_tape(slots, rank, first);
    uint64_t row = slots->chooser == RT_CHOOSER_RNG ? first + 1 : end;
    while (row < end && rt_slot_layout_tape(slots, rank, row) == *tape)
        row++;
    return row;
}

/* Vectors go out in row order, each to its tape; runs of rows of one tape in one piece. */
static enum rt_status write_vectors(void *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_block_vectors *v = context;
    const struct rt_inserter *in = v->in;
    for (size_t i = 0, end = 0; i < v->n_rows; i = end) {
        uint32_t tape = 0;
        end = (size_t)(end_of_tape_run(in, v->first_row + i, v->first_row + v->n_rows, &tape) -
                       v->first_row);
        RT_TRY(rt_vectors_append(in->vectors[tape], v->native + i * in->row_bytes, v->ids + i,
                                 v->lists + i, end - i, err));
    }
done:
    return st;
}

static void place_vectors(struct rt_inserter *in, uint64_t first_row, size_t n_rows,
                          struct rt_place *places)
{
    for (size_t i = 0, end = 0; i < n_rows;) {
        uint32_t tape = 0;
        end = (size_t)(end_of_tape_run(in, first_row + i, first_row + n_rows, &tape) - first_row);
        for (; i < end; i++)
            places[i] =
                rt_slot_layout_place(in->out->slots, tape, in->slot_next[tape]++, first_row + i);
    }
}

/* The block in `native`: its vectors get their places and are written, at once or behind; `native`
 * is then room for the next one. */
static enum rt_status append_vectors(struct rt_inserter *in, uint64_t first_row, size_t n_rows,
                                     const uint64_t *ids, const uint32_t *lists,
                                     struct rt_place *places, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *native = in->native;
    RT_TRY(rt_behind_wait(in->behind, err));
    in->under_way = (struct rt_block_vectors){in, first_row, n_rows, native, ids, lists};
    place_vectors(in, first_row, n_rows, places);
    if (!in->behind)
        return write_vectors(&in->under_way, err);
    memcpy(in->other_ids, ids, n_rows * sizeof *ids);
    memcpy(in->other_lists, lists, n_rows * sizeof *lists);
    in->under_way.ids = in->other_ids;
    in->under_way.lists = in->other_lists;
    in->native = in->other_native;
    in->other_native = native;
    rt_behind_start(in->behind, write_vectors, &in->under_way);
done:
    return st;
}

/* ---- rows and records ---- */

/* What compaction, or who reads the index, must find again. */
static void hash_row(struct rt_inserter *in, size_t at)
{
    struct rt_hash128 hash =
        rt_record_hash(in->rows.lists[at], in->rows.ids[at], in->rows.codes + at * in->code_bytes,
                       in->code_bytes, in->rows.factors + at * in->n_factors, in->n_factors);
    rt_hash128_add_limbs(hash, in->rows_hash);
}

/* Adds up to what is handed in, so only when the row's chunk is on the tape. */
static void count_row(struct rt_inserter *in, size_t at)
{
    uint32_t list = in->rows.lists[at];
    float distance = in->distances[at];
    if (list == RT_NO_LIST) {
        ++*in->n_skipped;
        return;
    }
    if (in->rows.ids[at] > in->largest_id)
        in->largest_id = in->rows.ids[at];
    hash_row(in, at);
    if (!in->input->counts_leaves)
        return;
    in->out->list_rows[list]++;
    if (distance > in->out->leaves.radius[list])
        in->out->leaves.radius[list] = distance;
    rt_objective_add(&in->spread[list], rt_objective_grains(&in->scale, distance));
}

static enum rt_status refuse_row(struct rt_inserter *in, uint64_t row, enum rt_row_verdict verdict,
                                 struct rt_error *err)
{
    in->bad_row = row;
    return rt_refuse_bad_row(in->input->rows, rt_row_source_heap_row(in->input->source, row),
                             verdict, err);
}

/* Rows of older pairs, as they are: only their places are new. */
static enum rt_status carry_block(struct rt_inserter *in, uint64_t first_row, size_t n_rows,
                                  size_t at, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tape_columns columns = {.lists = in->rows.lists + at,
                                      .ids = in->rows.ids + at,
                                      .codes = in->rows.codes + at * in->code_bytes,
                                      .factors = in->rows.factors + at * in->n_factors,
                                      .places = in->rows.places + at};
    RT_TRY(rt_carry_read(in->input->carry, first_row, n_rows, &columns, in->native, err));
    RT_TRY(append_vectors(in, first_row, n_rows, columns.ids, columns.lists, columns.places, err));
    rt_progress_add(in->context->progress, RT_COUNT_DONE, n_rows);
done:
    return st;
}

/* One block: read, judged, assigned, coded; its vectors are written, its records wait in the
 * group's columns at `at`. */
static enum rt_status code_block(struct rt_inserter *in, uint64_t first_row, size_t n_rows,
                                 size_t at, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t source_row = first_row - in->n_carried;
    RT_TRY(rt_row_source_read(in->input->source, source_row, n_rows, in->native, err));
    RT_TRY(rt_row_source_read_ids(in->input->source, source_row, n_rows, in->rows.ids + at, err));
    const struct rt_coded_rows *rows = NULL;
    RT_TRY(rt_row_coder_assign(in->coder, in->native, n_rows, &rows, err));
    rt_row_coder_encode(in->coder, in->rows.codes + at * in->code_bytes,
                        in->rows.factors + at * in->n_factors);
    for (size_t i = 0; i < n_rows; i++) {
        uint32_t list = rows->lists[i];
        in->rows.lists[at + i] = list;
        if (list == RT_NO_LIST) {
            if (in->context->job->options->bad_rows == RT_BAD_ROWS_FAIL)
                RT_TRY(refuse_row(in, source_row + i, rows->verdicts[i], err));
            in->rows.ids[at + i] = RT_NO_ID;
            memset(in->native + i * in->row_bytes, 0, in->row_bytes);
            continue;
        }
        in->distances[at + i] = rows->distances[i];
        if (in->input->gate)
            rt_recall_gate_pass(in->input->gate, in->native + i * in->row_bytes,
                                in->rows.ids[at + i]);
    }
    RT_TRY(append_vectors(in, first_row, n_rows, in->rows.ids + at, in->rows.lists + at,
                          in->rows.places + at, err));
    size_t record_bytes = rt_tape_record_bytes(in->code_bytes, in->n_factors);
    size_t slot_bytes =
        sizeof(uint64_t) + sizeof(uint32_t) + (in->out->slots->heap_segments ? 0 : in->row_bytes);
    size_t id_bytes = rt_row_source_has_ids(in->input->source) ? sizeof(uint64_t) : 0;
    rt_progress_add(in->context->progress, RT_COUNT_BYTES_READ,
                    n_rows * (in->row_bytes + id_bytes));
    rt_progress_add(in->context->progress, RT_COUNT_BYTES_WRITTEN,
                    n_rows * (record_bytes + slot_bytes));
    rt_progress_add(in->context->progress, RT_COUNT_DONE, n_rows);
done:
    return st;
}

/* Where the run's chunks lie on the tape, as far as it has come. */
static enum rt_status write_chunk_directory(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = in->directory_end - in->directory_begin;
    if (n)
        RT_TRY(
            rt_h5_write(in->tape_file, RT_TAPE_CHUNKS, in->directory_begin, n, in->directory, err));
    in->directory_begin = in->directory_end;
done:
    return st;
}

/* One chunk of the columns, sorted by (list, row), onto the tape (E3). */
static enum rt_status append_chunk(struct rt_inserter *in, size_t at, size_t n_rows,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tape_columns *rows = &in->rows;
    struct rt_tape_columns *to = &in->sorted;
    const struct rt_tape_records from = {at + n_rows, rows->lists,   rows->ids,
                                         rows->codes, rows->factors, rows->places};
    size_t n = rt_row_coder_order(rows->lists + at, n_rows, in->order, in->scratch);
    for (size_t i = 0; i < n; i++) {
        size_t row = at + in->order[i];
        rt_tape_take(to, i, &from, row, in->code_bytes, in->n_factors);
        to->places[i] = from.places[row];
    }
    if (in->directory_end - in->directory_begin == RT_DIRECTORY_CHUNKS)
        RT_TRY(write_chunk_directory(in, err));
    uint64_t *entry = in->directory + 2 * (in->directory_end++ - in->directory_begin);
    entry[0] = rt_unit_writer_row(in->tape);
    entry[1] = n;
    struct rt_tape_records records = {n, to->lists, to->ids, to->codes, to->factors, to->places};
    RT_TRY(rt_tape_append(in->tape, &records, err));
    RT_TRY(rt_unit_writer_fill(in->tape, rt_tape_fill, n_rows - n, err));
done:
    return st;
}

static enum rt_status insert_group(struct rt_inserter *in, uint64_t first_row, size_t n_rows,
                                   bool *goes_on, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_chunks *chunks = &in->out->slots->chunks;
    for (size_t at = 0, n = 0; at < n_rows && *goes_on; at += n) {
        uint64_t row = first_row + at;
        n = n_rows - at < in->block_rows ? n_rows - at : in->block_rows;
        if (row < in->n_carried) {
            n = in->n_carried - row < n ? (size_t)(in->n_carried - row) : n;
            RT_TRY(carry_block(in, row, n, at, err));
        } else {
            RT_TRY(code_block(in, row, n, at, err));
        }
        *goes_on = rt_progress_tick(in->context->progress);
    }
    for (size_t at = 0; at < n_rows && *goes_on;) {
        uint64_t chunk = (first_row + at) >> chunks->shift;
        size_t n = (size_t)rt_range_count(rt_chunk_rows(chunks, chunk));
        RT_TRY(append_chunk(in, at, n, err));
        for (size_t i = 0; i < n; i++)
            if (first_row + at + i >= in->n_carried)
                count_row(in, at + i);
        at += n;
    }
done:
    return st;
}

/* ---- the run ---- */

/* Slots of the run in a tape: chunk by chunk where a layout rank's rows all go to one tape. Drawn
 * rows (rng) lie anywhere in the part, so that the run goes to the end of it (chunk_work.h: group
 * 0). */
static enum rt_status open_vectors(struct rt_inserter *in, uint32_t tape, struct rt_range rows,
                                   bool is_last, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_slot_layout *slots = in->out->slots;
    int rank = in->run.layout_rank;
    const struct rt_slot_part *part = rt_slot_layout_part(slots, rank, tape);
    if (!part)
        return RT_OK;
    uint64_t first = rt_slot_layout_slot(slots, rank, tape, rows.begin);
    bool is_drawn = slots->chooser == RT_CHOOSER_RNG;
    uint64_t end = is_last ? part->end : first + rt_range_count(rows);
    RT_TRY(rt_vectors_writer_new(in->vectors_file, is_drawn ? part->begin : first, end,
                                 rt_inserter_vectors_buffer(slots->tapes_of_rank),
                                 &in->vectors[tape], err));
    if (is_drawn)
        RT_TRY(rt_unit_writer_go_on(in->vectors[tape], first, err));
    in->slot_next[tape] = first;
done:
    return st;
}

static enum rt_status open_run(struct rt_inserter *in, struct rt_range rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_slot_layout *slots = in->out->slots;
    struct rt_range of_rank = rt_slot_layout_rows(slots, in->run.layout_rank);
    struct rt_range records = rt_insert_files_records(in, in->run.layout_rank);
    uint64_t first = records.begin + rows.begin - of_rank.begin;
    bool is_last = rows.end == of_rank.end;
    in->n_kept = 0;
    in->directory_begin = in->directory_end = in->run.chunks.begin;
    uint64_t end = is_last ? records.end : first + rt_range_count(rows);
    if (end > in->out->tape_shape.n_records)
        end = in->out->tape_shape.n_records;
    RT_TRY(rt_tape_writer_new(in->tape_file, first, end, RT_INSERT_BUFFER_BYTES, &in->tape, err));
    for (uint32_t tape = 0; tape < slots->n_tapes; tape++)
        RT_TRY(open_vectors(in, tape, rows, is_last, err));
done:
    return st;
}

static void close_run(struct rt_inserter *in)
{
    struct rt_error ignored;
    enum rt_status behind = rt_behind_wait(in->behind, &ignored);
    (void)behind; /* something else has failed then, and is told */
    for (uint32_t tape = 0; in->vectors && tape < in->out->slots->n_tapes; tape++) {
        rt_unit_writer_free(in->vectors[tape]);
        in->vectors[tape] = NULL;
    }
    rt_unit_writer_free(in->tape);
    in->tape = NULL;
}

/* All chunks that the run has come past are written and handed in. */
static enum rt_status keep_run(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t begin = in->run.chunks.begin + in->n_kept;
    uint64_t rows = 0;
    uint64_t candidates = 0;
    RT_TRY(rt_behind_wait(in->behind, err));
    RT_TRY(rt_unit_writer_flush(in->tape, err));
    for (uint32_t tape = 0; tape < in->out->slots->n_tapes; tape++)
        if (in->vectors[tape])
            RT_TRY(rt_unit_writer_flush(in->vectors[tape], err));
    RT_TRY(write_chunk_directory(in, err));
    rt_row_coder_counts(in->coder, &rows, &candidates);
    *in->n_candidates += candidates - in->candidates_counted;
    in->candidates_counted = candidates;
    RT_TRY(rt_durable_keep(in->durable, begin, in->directory_end, in->sums, in->out->leaves.radius,
                           in->largest_id, err));
    in->n_kept = in->directory_end - in->run.chunks.begin;
done:
    return st;
}

static enum rt_status finish_run(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_behind_wait(in->behind, err));
    for (uint32_t tape = 0; tape < in->out->slots->n_tapes; tape++)
        if (in->vectors[tape])
            RT_TRY(rt_vectors_writer_end(in->vectors[tape], err));
    RT_TRY(rt_unit_writer_end(in->tape, rt_tape_fill, err));
    RT_TRY(keep_run(in, err));
done:
    return st;
}

enum rt_status rt_insert_chunks(struct rt_inserter *in, bool *goes_on, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_chunks *chunks = &in->work.chunks;
    struct rt_range rows = {in->run.chunks.begin << chunks->shift,
                            rt_chunk_rows(chunks, in->run.chunks.end - 1).end};
    RT_TRY(open_run(in, rows, err));
    for (uint64_t row = rows.begin; row < rows.end && *goes_on; row += in->group_rows) {
        uint64_t left = rows.end - row;
        RT_TRY(insert_group(in, row, left < in->group_rows ? (size_t)left : in->group_rows, goes_on,
                            err));
        if (*goes_on && rt_durable_asks(in->durable))
            RT_TRY(keep_run(in, err));
    }
    RT_TRY(*goes_on ? finish_run(in, err) : keep_run(in, err));
done:
    close_run(in);
    return st;
}
