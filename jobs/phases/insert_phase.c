#include "jobs/phases/insert_phase.h"

#include "core/code.h"
#include "core/memory.h"
#include "core/units.h"
#include "jobs/phases/first_bad_row.h"
#include "jobs/phases/insert_before.h"
#include "jobs/phases/insert_chunks.h"
#include "jobs/phases/insert_files.h"
#include "jobs/phases/inserter.h"
#include "mpi/agree.h"

#include <math.h>
#include <string.h>

#define BLOCK_BYTES (UINT64_C(4) << 20)
#define LEAVES_OF_BLOCK 16u /* or as many times a block's memory leaves take */
#define MOST_AUTO_ROWS 8192u
#define FEW 16u /* rows of up to leaves over this */

static uint64_t least_power_of_two(uint64_t value)
{
    uint64_t power = 1;
    while (power * 2 <= value)
        power *= 2;
    return power;
}

uint64_t rt_insert_block_rows(uint64_t row_bytes, uint64_t leaf_bytes)
{
    uint64_t rows = BLOCK_BYTES / row_bytes;
    uint64_t more = leaf_bytes / LEAVES_OF_BLOCK / row_bytes;
    more = more < MOST_AUTO_ROWS ? more : MOST_AUTO_ROWS;
    rows = rows > more ? rows : more;
    return rows ? rows : 1;
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

static struct rt_chunks chunks_of(uint64_t n_rows, bool is_build)
{
    return is_build ? rt_chunks_of(n_rows) : rt_chunks_large(n_rows);
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
    return rt_tape_writer_bytes(&tape, n_local, RT_INSERT_BUFFER_BYTES) +
           sizes->tapes_of_rank *
               rt_vectors_writer_bytes(&vectors, n_slots,
                                       rt_inserter_vectors_buffer(sizes->tapes_of_rank));
}

bool rt_insert_is_few(uint64_t n_rows, uint32_t n_leaves)
{
    return n_rows <= n_leaves / FEW;
}

uint64_t rt_insert_phase_bytes(const struct rt_insert_sizes *sizes)
{
    size_t block = 0;
    size_t group = 0;
    uint32_t dim = sizes->dim;
    struct rt_chunks chunks = chunks_of(sizes->n_rows, sizes->n_lists > 0);
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
    struct rt_durable_options durable = {.n_units = chunks_of(n_rows, n_lists > 0).n_chunks,
                                         .n_sums = sums_of(n_lists),
                                         .n_most = n_lists};
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

/* Where vectors stay in the heap: runs of rows that go along, and the source's. */
static enum rt_status list_heap_runs(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_carry *carry = in->input->carry;
    struct rt_heap_run own = {.first_row = in->n_carried, .heap_row = in->input->first_heap_row};
    size_t n = carry ? carry->n_heap_runs : 0;
    if (!in->context->job->options->rerank_in_heap)
        return RT_OK;
    RT_TRY(rt_array_new(n + 1, sizeof *in->heap_runs, &in->heap_runs, err));
    if (n)
        memcpy(in->heap_runs, carry->heap_runs, n * sizeof *in->heap_runs);
    const struct rt_heap_run *last = n ? &in->heap_runs[n - 1] : NULL;
    if (!last || last->heap_row + (own.first_row - last->first_row) != own.heap_row)
        in->heap_runs[n++] = own;
    in->n_heap_runs = n;
done:
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
        RT_TRY(rt_insert_chunks(in, &goes_on, err));
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
    rt_array_free(in->heap_runs);
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
    in.chunks = chunks_of(in.n_carried + n_rows, !input->carry);
    in.n_counted = input->counts_leaves ? in.n_lists : 0;
    in.n_sums = sums_of(in.n_counted);
    in.scale = rt_scale_new(input->exponent, n_rows, info->dim, distance, input->tree->spherical);
    uint64_t n_most = most_rows(&in.chunks, (uint64_t)context->job->n_ranks);
    size_blocks(input->block_rows, &in.chunks, n_most, &in.block_rows, &in.group_rows);
    rt_phase_begin(context, "insert", "rows", in.chunks.n_rows, &clock);
    RT_LOCAL(list_heap_runs(&in, err));
    RT_AGREE(comm);
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
