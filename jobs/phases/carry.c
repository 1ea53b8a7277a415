#include "jobs/phases/carry.h"

#include "core/find.h"
#include "core/memory.h"
#include "jobs/phases/heap_carry.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

#define BLOCK_RECORDS UINT64_C(4096)

struct rt_carry_block { /* consecutive records of one tape */
    const struct rt_tape_view *tape;
    uint64_t begin, end;
    uint64_t n_before; /* live rows before it */
};

bool rt_carry_is_taken(const struct rt_carry *carry, uint64_t generation)
{
    for (size_t i = 0; i < carry->n_files; i++)
        if (carry->files[i] == generation)
            return true;
    return false;
}

uint64_t rt_carry_choose(const struct rt_manifest *manifest, uint64_t n_rows, uint64_t *files,
                         size_t *n_files)
{
    uint64_t held = n_rows;
    *n_files = 0;
    for (size_t i = manifest->n_files; i-- > 0;) { /* sorted: the youngest of a kind is its last */
        const struct rt_manifest_file *file = &manifest->files[i];
        if (file->kind != RT_FILE_APPENDABLE || !file->is_pair || file->rows / 2 > held)
            continue;
        files[(*n_files)++] = file->number;
        held += file->rows;
    }
    return held - n_rows;
}

uint64_t rt_carry_bytes(uint64_t n_records, uint64_t n_segments)
{
    if (n_segments)
        return rt_heap_carry_bytes(n_records, n_segments);
    return (n_records / BLOCK_RECORDS + 1) * (sizeof(struct rt_carry_block) + sizeof(uint64_t));
}

static enum rt_status cut_blocks(struct rt_carry *carry, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = 0;
    for (size_t i = 0; i < carry->view->n_appendable; i++)
        if (rt_carry_is_taken(carry, carry->view->appendable[i].shape.generation))
            n += carry->view->appendable[i].records.n_records / BLOCK_RECORDS + 1;
    RT_TRY(rt_array_zero((size_t)n, sizeof *carry->blocks, &carry->blocks, err));
    for (size_t i = 0; i < carry->view->n_appendable; i++) {
        const struct rt_tape_view *tape = &carry->view->appendable[i];
        uint64_t n_records = tape->records.n_records;
        for (uint64_t at = 0; at < n_records && rt_carry_is_taken(carry, tape->shape.generation);
             at += BLOCK_RECORDS)
            carry->blocks[carry->n_blocks++] = (struct rt_carry_block){
                .tape = tape,
                .begin = at,
                .end = n_records - at < BLOCK_RECORDS ? n_records : at + BLOCK_RECORDS};
    }
done:
    return st;
}

/* Records of lists that were folded since stay where they are. */
static enum rt_status judge(const struct rt_index_view *view, const struct rt_tape_view *tape,
                            uint64_t record, bool *goes_along, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t id = tape->records.ids[record];
    uint32_t list = tape->records.lists[record];
    *goes_along = false;
    if (id != RT_NO_ID && list < view->n_lists &&
        rt_index_list_generation(view, list) <= tape->shape.generation)
        RT_TRY(rt_index_judge(view, id, tape->shape.generation, goes_along, err));
done:
    return st;
}

static enum rt_status count_block(const struct rt_index_view *view,
                                  const struct rt_carry_block *block, uint64_t *n,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tape_view *tape = block->tape;
    uint64_t n_records = block->end - block->begin;
    RT_TRY(rt_h5_map_check_rows(tape->map, RT_TAPE_LISTS, block->begin, n_records, err));
    RT_TRY(rt_h5_map_check_rows(tape->map, RT_TAPE_IDS, block->begin, n_records, err));
    for (uint64_t i = block->begin; i < block->end; i++) {
        bool goes_along = false;
        RT_TRY(judge(view, tape, i, &goes_along, err));
        *n += goes_along;
    }
done:
    return st;
}

/* Every rank counts its share of the blocks. */
static enum rt_status find_rows(struct rt_phase_context *context, struct rt_carry *carry,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    uint64_t *counts = NULL;
    RT_LOCAL(cut_blocks(carry, err));
    struct rt_range mine = rt_share(carry->n_blocks, job->rank, job->n_ranks, 1);
    RT_LOCAL(rt_array_zero((size_t)carry->n_blocks, sizeof *counts, &counts, err));
    for (uint64_t b = mine.begin; b < mine.end; b++)
        RT_LOCAL(count_block(carry->view, &carry->blocks[b], &counts[b], err));
    RT_AGREE(job->comm);
    rt_sum_u64(job->comm, counts, (size_t)carry->n_blocks);
    for (uint64_t b = 0; b < carry->n_blocks; b++) {
        carry->blocks[b].n_before = carry->n_rows;
        carry->n_rows += counts[b];
    }
    carry->n_live = carry->n_rows;
done:
    rt_array_free(counts);
    return st;
}

enum rt_status rt_carry_new(struct rt_phase_context *context, const struct rt_index_view *view,
                            uint64_t n_rows, struct rt_carry **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_carry *carry = NULL;
    RT_LOCAL(rt_array_zero(1, sizeof *carry, &carry, err));
    if (st == RT_OK)
        carry->view = view;
    RT_LOCAL(rt_array_new(view->manifest->n_files, sizeof *carry->files, &carry->files, err));
    if (st == RT_OK)
        (void)rt_carry_choose(view->manifest, n_rows, carry->files, &carry->n_files);
    RT_AGREE(comm);
    if (view->manifest->rerank_in_heap)
        RT_TRY(rt_heap_carry_find(context, carry, err));
    else
        RT_TRY(find_rows(context, carry, err));
    *out = carry;
    carry = NULL;
done:
    rt_carry_free(carry);
    return st;
}

void rt_carry_free(struct rt_carry *carry)
{
    if (!carry)
        return;
    rt_array_free(carry->files);
    rt_array_free(carry->blocks);
    rt_array_free(carry->heap_blocks);
    rt_array_free(carry->heap_runs);
    rt_array_free(carry);
}

/* The last block with n_before <= row: empty ones before it have the same. */
static uint64_t block_of(const struct rt_carry *carry, uint64_t row)
{
    return rt_find_last(&carry->blocks->n_before, sizeof *carry->blocks, (size_t)carry->n_blocks,
                        row);
}

static enum rt_status take_record(const struct rt_carry *carry, const struct rt_tape_view *tape,
                                  uint64_t record, size_t at, const struct rt_tape_columns *out,
                                  unsigned char *vectors, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = carry->view;
    const struct rt_tape_records *from = &tape->records;
    size_t row_bytes = rt_element_size(view->manifest->element) * view->manifest->dim;
    struct rt_place place = from->places[record];
    struct rt_place_view there;
    RT_TRY(rt_index_place(view, place.segment, place.slot, &there, err));
    RT_TRY(rt_index_check_place(&there, err));
    if (*there.id != from->ids[record] || *there.list != from->lists[record])
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: the vector of row %" PRIu64 " is another row's",
                rt_h5_map_path(tape->map), from->ids[record]);
    rt_tape_take(out, at, from, record, view->code_bytes, view->n_factors);
    memcpy(vectors + at * row_bytes, there.vector, row_bytes);
done:
    return st;
}

enum rt_status rt_carry_read(const struct rt_carry *carry, uint64_t begin, size_t n,
                             const struct rt_tape_columns *out, unsigned char *vectors,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t at = 0;
    if (carry->heap_blocks)
        return rt_heap_carry_read(carry, begin, n, out, err);
    uint64_t b = block_of(carry, begin);
    uint64_t row = n ? carry->blocks[b].n_before : 0;
    for (; at < n && b < carry->n_blocks; b++) {
        const struct rt_carry_block *block = &carry->blocks[b];
        RT_TRY(rt_index_check_records(block->tape, block->begin, block->end, err));
        for (uint64_t i = block->begin; i < block->end && at < n; i++) {
            bool goes_along = false;
            RT_TRY(judge(carry->view, block->tape, i, &goes_along, err));
            if (!goes_along || row++ < begin)
                continue;
            RT_TRY(take_record(carry, block->tape, i, at++, out, vectors, err));
        }
    }
    if (at < n)
        RT_FAIL(RT_DAMAGED, "'%s' has changed while it was read", carry->view->dir);
done:
    return st;
}
