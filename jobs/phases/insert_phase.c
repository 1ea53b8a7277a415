#include "jobs/phases/insert_phase.h"

#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "core/units.h"
#include "jobs/phases/first_bad_row.h"
#include "jobs/phases/insert_before.h"
#include "jobs/phases/insert_files.h"
#include "jobs/phases/inserter.h"
#include "mpi/agree.h"

#include <math.h>
#include <string.h>

#define WRITE_BUFFER_BYTES ((size_t)8 << 20)

static uint64_t least_power_of_two(uint64_t value)
{
    uint64_t power = 1;
    while (power * 2 <= value)
        power *= 2;
    return power;
}

/* Blocks and chunks are both powers of two, so that one holds whole ones of the other. */
static void size_blocks(uint64_t block_rows, const struct rt_chunks *chunks, uint64_t n_local,
                        size_t *block, size_t *group)
{
    uint64_t chunk = UINT64_C(1) << chunks->shift;
    *block = (size_t)least_power_of_two(block_rows ? block_rows : 1);
    while (*block > 1 && *block / 2 >= n_local) /* no more than there are rows for */
        *block /= 2;
    *group = *block > chunk ? *block : (size_t)chunk;
}

/* Spread of each leaf that is counted, n_skipped, n_candidates, hash of the rows. */
static size_t sums_of(size_t n_counted)
{
    return 2 * n_counted + 2 + RT_HASH128_LIMBS;
}

/* Of a rank, in whole chunks. */
static uint64_t most_rows(const struct rt_chunks *chunks, uint64_t n_ranks)
{
    return (chunks->n_chunks + n_ranks - 1) / n_ranks << chunks->shift;
}

/* Rows on one of the tapes among which a rank's are drawn evenly: six deviations above the mean, in
 * whole shares; all of them where there is one tape. */
static uint64_t most_rows_of_tape(uint64_t n_local, uint32_t n_tapes, uint64_t share)
{
    uint64_t even = n_local / n_tapes;
    uint64_t most = even + (uint64_t)(6 * sqrt((double)even)) + share;
    return n_tapes > 1 && most < n_local ? most : n_local;
}

static uint64_t writers_bytes(const struct rt_insert_sizes *sizes, const struct rt_chunks *chunks,
                              uint64_t n_local)
{
    struct rt_tape_shape tape = {.chunk_rows = UINT64_C(1) << chunks->shift,
                                 .code_bytes = rt_code_bytes(sizes->dim),
                                 .n_factors = rt_code_n_factors(sizes->metric)};
    struct rt_vectors_shape vectors = {.cap_rows = tape.chunk_rows,
                                       .dim = sizes->dim,
                                       .element = sizes->element,
                                       .has_vectors = !sizes->in_heap};
    uint64_t n_slots =
        most_rows_of_tape(n_local, sizes->tapes_of_rank, rt_vectors_share_slots(&vectors));
    return rt_tape_writer_bytes(&tape, n_local, WRITE_BUFFER_BYTES) +
           sizes->tapes_of_rank * rt_vectors_writer_bytes(&vectors, n_slots, WRITE_BUFFER_BYTES);
}

uint64_t rt_insert_phase_bytes(const struct rt_insert_sizes *sizes)
{
    size_t block = 0;
    size_t group = 0;
    uint32_t dim = sizes->dim;
    struct rt_chunks chunks = rt_chunks_of(sizes->n_rows);
    uint64_t n_local = most_rows(&chunks, sizes->n_ranks);
    size_blocks(sizes->block_rows, &chunks, n_local, &block, &group);
    uint64_t bytes = rt_row_coder_bytes(dim, sizes->beam, block);
    uint64_t vectors = block * (uint64_t)dim * rt_element_size(sizes->element);
    bytes += vectors;
    if (n_local > block) /* one is written while another is computed */
        bytes += vectors + block * (sizeof(uint64_t) + sizeof(uint32_t));
    uint64_t record_bytes =
        rt_tape_record_bytes(rt_code_bytes(dim), rt_code_n_factors(sizes->metric));
    bytes += group * (2 * record_bytes + 3 * sizeof(uint32_t));
    bytes += sizes->n_lists * (uint64_t)(sizeof(struct rt_objective) + 2 * sizeof(uint64_t) +
                                         sizeof(float) + sizeof(double));
    return bytes + writers_bytes(sizes, &chunks, n_local);
}

uint64_t rt_insert_phase_kept_bytes(uint64_t n_rows, uint32_t n_lists, int ranks_per_node)
{
    struct rt_durable_options durable = {
        .n_units = rt_chunks_of(n_rows).n_chunks, .n_sums = sums_of(n_lists), .n_most = n_lists};
    return rt_durable_bytes(&durable, ranks_per_node);
}

static enum rt_status allocate(struct rt_inserter *in, bool writes_behind, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_insert_input *input = in->input;
    const struct rt_rows_info *info = rt_rows_info(input->rows);
    struct rt_row_coder_options coder = {
        .tree = input->tree,
        .sets = input->sets,
        .distance = rt_means_distance(input->tree->metric, input->tree->spherical),
        .touch = input->touch,
        .touch_context = input->touch_context,
        .rotation = input->rotation,
        .element = info->type,
        .beam = input->beam,
        .proposer = RT_PROPOSE_AUTO,
        .max_rows = in->block_rows};
    RT_TRY(rt_row_coder_new(&coder, &in->coder, err));
    RT_TRY(rt_tape_columns_new(in->group_rows, in->code_bytes, in->n_factors, &in->rows, err));
    RT_TRY(rt_tape_columns_new(in->group_rows, in->code_bytes, in->n_factors, &in->sorted, err));
    RT_TRY(rt_array_new(in->group_rows, sizeof *in->distances, &in->distances, err));
    RT_TRY(rt_array_new(in->group_rows, sizeof *in->order, &in->order, err));
    RT_TRY(rt_array_new(in->group_rows, sizeof *in->scratch, &in->scratch, err));
    RT_TRY(rt_array_new(in->block_rows, in->row_bytes, &in->native, err));
    if (writes_behind) {
        RT_TRY(rt_array_new(in->block_rows, in->row_bytes, &in->other_native, err));
        RT_TRY(rt_array_new(in->block_rows, sizeof *in->other_ids, &in->other_ids, err));
        RT_TRY(rt_array_new(in->block_rows, sizeof *in->other_lists, &in->other_lists, err));
        RT_TRY(rt_behind_new(&in->behind, err));
    }
    RT_TRY(rt_array_zero(in->out->slots->n_tapes, sizeof *in->slot_next, &in->slot_next, err));
    RT_TRY(
        rt_array_zero(in->out->slots->n_tapes, sizeof(struct rt_unit_writer *), &in->vectors, err));
    RT_TRY(rt_array_zero(in->n_sums, sizeof *in->sums, &in->sums, err));
    in->spread = (struct rt_objective *)in->sums;
    in->n_skipped = in->sums + 2 * in->n_counted;
    in->n_candidates = in->n_skipped + 1;
    in->rows_hash = in->n_candidates + 1;
    if (!input->counts_leaves)
        goto done;
    RT_TRY(rt_array_zero(in->n_lists, sizeof(uint64_t), &in->out->list_rows, err));
    RT_TRY(rt_array_zero(in->n_lists, sizeof(float), &in->out->leaves.radius, err));
    RT_TRY(rt_array_zero(in->n_lists, sizeof(double), &in->out->leaves.spread, err));
    RT_TRY(rt_array_zero(in->n_lists, sizeof(uint64_t), &in->out->leaves.rows, err));
done:
    return st;
}

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
    int rank = in->run.layout_rank;
    for (size_t i = 0, end = 0; i < n_rows;) {
        uint32_t tape = 0;
        end = (size_t)(end_of_tape_run(in, first_row + i, first_row + n_rows, &tape) - first_row);
        for (; i < end; i++)
            places[i] = rt_slot_layout_place(in->out->slots, rank, tape, in->slot_next[tape]++);
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

/* In a build compaction adds up the hashes; here nothing else looks at all new records. */
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
    if (in->input->carry)
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
    struct rt_carry_columns columns = {.lists = in->rows.lists + at,
                                       .ids = in->rows.ids + at,
                                       .codes = in->rows.codes + at * in->code_bytes,
                                       .factors = in->rows.factors + at * in->n_factors,
                                       .vectors = in->native};
    RT_TRY(rt_carry_read(in->input->carry, first_row, n_rows, &columns, err));
    RT_TRY(append_vectors(in, first_row, n_rows, columns.ids, columns.lists, in->rows.places + at,
                          err));
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
        rt_row_coder_encode(in->coder, i, list, in->rows.codes + (at + i) * in->code_bytes,
                            in->rows.factors + (at + i) * in->n_factors);
        if (in->input->gate)
            rt_recall_gate_pass(in->input->gate, in->native + i * in->row_bytes,
                                in->rows.ids[at + i]);
    }
    RT_TRY(append_vectors(in, first_row, n_rows, in->rows.ids + at, in->rows.lists + at,
                          in->rows.places + at, err));
    size_t record_bytes = rt_tape_record_bytes(in->code_bytes, in->n_factors);
    size_t slot_bytes = sizeof(uint64_t) + sizeof(uint32_t) +
                        (in->out->slots->segments_by_part ? 0 : in->row_bytes);
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
    const struct rt_tape_columns *from = &in->rows;
    struct rt_tape_columns *to = &in->sorted;
    size_t n = rt_row_coder_order(from->lists + at, n_rows, in->order, in->scratch);
    for (size_t i = 0; i < n; i++) {
        size_t row = at + in->order[i];
        to->lists[i] = from->lists[row];
        to->ids[i] = from->ids[row];
        to->places[i] = from->places[row];
        memcpy(to->codes + i * in->code_bytes, from->codes + row * in->code_bytes, in->code_bytes);
        memcpy(to->factors + i * in->n_factors, from->factors + row * in->n_factors,
               in->n_factors * sizeof(float));
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
                                 WRITE_BUFFER_BYTES, &in->vectors[tape], err));
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
    RT_TRY(rt_tape_writer_new(in->tape_file, first, end, WRITE_BUFFER_BYTES, &in->tape, err));
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

/* Another rank's failure, or a request to stop, ends it early: chunks of a group that was broken
 * off are not done. */
static enum rt_status insert_run(struct rt_inserter *in, bool *goes_on, struct rt_error *err)
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

/* All rows of this rank that no run before has made durable. */
static enum rt_status insert_rows(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = in->context->job;
    struct rt_range mine = rt_chunk_work_share(&in->work, job->rank, job->n_ranks);
    bool goes_on = true;
    for (uint64_t at = mine.begin;
         goes_on && rt_chunk_work_next(&in->work, mine.end, &at, &in->run);)
        RT_TRY(insert_run(in, &goes_on, err));
done:
    rt_durable_leave(in->durable);
    return st;
}

/* --- what runs before this one have done --- */

static void reduce_leaves(struct rt_inserter *in)
{
    struct rt_leaf_statistics *leaves = &in->out->leaves;
    MPI_Comm comm = in->context->job->comm;
    memcpy(leaves->rows, in->out->list_rows, in->n_lists * sizeof *leaves->rows);
    rt_sum_u64(comm, leaves->rows, in->n_lists);
    rt_max_f32(comm, leaves->radius, in->n_lists);
    for (uint32_t list = 0; list < in->n_lists; list++)
        leaves->spread[list] = rt_objective_value(&in->scale, rt_objective_join(in->spread[list]));
}

static void reduce(struct rt_inserter *in)
{
    struct rt_insert_output *out = in->out;
    MPI_Comm comm = in->context->job->comm;
    rt_durable_take(in->durable, in->sums, out->leaves.radius, &in->largest_id);
    rt_sum_u64(comm, in->sums, in->n_sums);
    if (in->input->counts_leaves)
        reduce_leaves(in);
    out->rows_hash = rt_hash128_of_limbs(in->rows_hash);
    out->n_skipped = *in->n_skipped;
    out->n_candidates = *in->n_candidates;
    out->largest_id = in->largest_id;
    rt_max_u64(comm, &out->largest_id, 1);
    out->n_rows = in->chunks.n_rows - in->n_carried - out->n_skipped;
}

/* The same on all ranks. */
static enum rt_status refuse_empty(const struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char count[RT_UNITS_TEXT];
    if (in->out->n_rows == 0 && !in->input->carry)
        RT_FAIL(RT_INPUT, "all %s rows of '%s' are bad (--bad-rows skip): nothing is left to index",
                rt_units_count(in->out->n_skipped, count), in->context->job->options->argument[0]);
done:
    return st;
}

/* The sums of all ranks, once the files are whole. Collective. */
static enum rt_status finish(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_elsewhere =
        in->work.done || in->work.layout_ranks != in->context->job->n_ranks; /* chunks of others */
    if (is_elsewhere && in->input->counts_leaves)
        RT_LOCAL(rt_insert_before_recount(in, err));
    RT_AGREE(in->context->job->comm);
    reduce(in);
    st = refuse_empty(in, err);
done:
    return st;
}

/* What only rows on their way need: sorting ids takes as much. */
static void release_rows(struct rt_inserter *in)
{
    rt_row_coder_free(in->coder);
    rt_tape_columns_free(&in->rows);
    rt_tape_columns_free(&in->sorted);
    rt_array_free(in->distances);
    rt_array_free(in->order);
    rt_array_free(in->scratch);
    rt_behind_free(in->behind);
    rt_array_free(in->native);
    rt_array_free(in->other_native);
    rt_array_free(in->other_ids);
    rt_array_free(in->other_lists);
    rt_array_free(in->slot_next);
    rt_array_free(in->vectors);
    in->coder = NULL;
    in->rows = in->sorted = (struct rt_tape_columns){.lists = NULL};
    in->distances = NULL;
    in->order = in->scratch = NULL;
    in->behind = NULL;
    in->native = in->other_native = NULL;
    in->other_ids = NULL;
    in->other_lists = NULL;
    in->slot_next = NULL;
    in->vectors = NULL;
}

static void release(struct rt_inserter *in)
{
    rt_durable_free(in->durable);
    release_rows(in);
    rt_array_free(in->sums);
}

enum rt_status rt_insert_phase(struct rt_phase_context *context,
                               const struct rt_insert_input *input, struct rt_insert_output *out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(input->rows);
    struct rt_phase_clock clock;
    struct rt_vectors_shape shape;
    MPI_Comm comm = context->job->comm;
    memset(out, 0, sizeof *out);
    struct rt_inserter in = {.context = context,
                             .input = input,
                             .out = out,
                             .dim = info->dim,
                             .code_bytes = rt_code_bytes(info->dim),
                             .n_factors = rt_code_n_factors(input->tree->metric),
                             .n_lists = rt_tree_leaves(input->tree)->n,
                             .row_bytes = info->dim * rt_element_size(info->type),
                             .bad_row = RT_NO_BAD_ROW};
    enum rt_metric distance = rt_means_distance(input->tree->metric, input->tree->spherical);
    uint64_t n_rows = rt_row_source_n_rows(input->source);
    in.n_carried = input->carry ? input->carry->n_rows : 0;
    in.chunks = input->carry ? rt_chunks_large(in.n_carried + n_rows) : rt_chunks_of(n_rows);
    in.n_counted = input->counts_leaves ? in.n_lists : 0;
    in.n_sums = sums_of(in.n_counted);
    in.scale = rt_scale_new(input->exponent, n_rows, info->dim, distance, input->tree->spherical);
    uint64_t n_most = most_rows(&in.chunks, (uint64_t)context->job->n_ranks);
    size_blocks(input->block_rows, &in.chunks, n_most, &in.block_rows, &in.group_rows);
    rt_phase_begin(context, "insert", "rows", in.chunks.n_rows, &clock);
    RT_TRY(rt_insert_files_place(&in, &shape, err));
    bool is_direct = context->way == RT_IO_DIRECT;
    RT_LOCAL(allocate(&in, is_direct && n_most > in.block_rows, err));
    RT_AGREE(comm);
    RT_TRY(rt_insert_before_look(&in, &shape, err));
    RT_TRY(rt_insert_files_make(&in, &shape, err));
    struct rt_h5_file *files[] = {in.tape_file, in.vectors_file};
    RT_LOCAL(rt_durable_start(in.durable, files, 2, err));
    RT_LOCAL(rt_insert_before_count(&in, err));
    RT_LOCAL(insert_rows(&in, err));
    release_rows(&in);
    st = rt_insert_files_complete(&in, st, err);
    st = rt_phase_end(context, &clock, st, &out->record, err);
    st = rt_first_bad_row(context, input->rows, input->source, in.bad_row, st, err);
done:
    st = rt_durable_end(in.durable, st, err);
    st = rt_phase_close_file(context, in.tape_file, st, err);
    st = rt_phase_close_file(context, in.vectors_file, st, err);
    if (st == RT_OK)
        st = finish(&in, err);
    release(&in);
    return st;
}

void rt_insert_output_free(struct rt_insert_output *output)
{
    rt_slot_layout_free(output->slots);
    rt_array_free(output->list_rows);
    rt_array_free(output->leaves.rows);
    rt_array_free(output->leaves.radius);
    rt_array_free(output->leaves.spread);
    memset(output, 0, sizeof *output);
}
