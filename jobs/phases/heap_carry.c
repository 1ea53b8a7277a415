#include "jobs/phases/heap_carry.h"

#include "core/find.h"
#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>

#define GRAIN 64u         /* slots that go along together, if any of them lives */
#define BLOCK_SLOTS 4096u /* 64 grains: a bit each */

struct rt_heap_block {  /* consecutive place slots of one segment */
    uint64_t first_row; /* of its first grain that goes along */
    const struct rt_segment_ref *segment;
    uint64_t grains; /* bit g: grain g goes along */
    uint32_t begin, n_slots;
};

uint64_t rt_heap_carry_most_runs(uint64_t n_slots, uint64_t n_segments)
{
    return n_slots / GRAIN / 2 + n_segments; /* every other grain is dead */
}

uint64_t rt_heap_carry_bytes(uint64_t n_slots, uint64_t n_segments)
{
    uint64_t n_blocks = n_slots / BLOCK_SLOTS + n_segments;
    uint64_t n_runs = rt_heap_carry_most_runs(n_slots, n_segments);
    return n_blocks * (sizeof(struct rt_heap_block) + sizeof(uint64_t)) +
           2 * n_runs * sizeof(struct rt_heap_run); /* made by doubling */
}

/* ---- which slots ---- */

static uint32_t n_blocks_of(const struct rt_carry *carry, const struct rt_segment_ref *segment)
{
    if (!rt_carry_is_taken(carry, segment->file->shape.generation))
        return 0;
    return (uint32_t)((segment->entry->n_slots + BLOCK_SLOTS - 1) / BLOCK_SLOTS);
}

static enum rt_status cut_blocks(struct rt_carry *carry, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = carry->view;
    size_t n = 0;
    for (size_t i = 0; i < view->n_segments; i++)
        n += n_blocks_of(carry, &view->segments[i]);
    RT_TRY(rt_array_zero(n, sizeof *carry->heap_blocks, &carry->heap_blocks, err));
    for (size_t i = 0; i < view->n_segments; i++) {
        const struct rt_segment_ref *segment = &view->segments[i];
        uint32_t n_of_segment = n_blocks_of(carry, segment);
        uint32_t n_slots = (uint32_t)segment->entry->n_slots; /* at most RT_SEGMENT_SLOTS */
        for (uint32_t b = 0; b < n_of_segment; b++) {
            uint32_t begin = b * BLOCK_SLOTS;
            carry->heap_blocks[carry->n_blocks++] = (struct rt_heap_block){
                .segment = segment,
                .begin = begin,
                .n_slots = n_slots - begin < BLOCK_SLOTS ? n_slots - begin : BLOCK_SLOTS};
        }
    }
done:
    return st;
}

/* Slot in its file of the block's slot `at` where a live row lies; else RT_NO_ROW. */
static enum rt_status live_slot(const struct rt_carry *carry, const struct rt_heap_block *block,
                                uint32_t at, uint64_t *slot, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_vectors_view *file = block->segment->file;
    bool is_live = false;
    *slot = rt_segment_slot(file, block->segment->entry, block->begin + at);
    if (*slot == RT_NO_ROW)
        return RT_OK;
    RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)file->datasets.ids, *slot, 1, err));
    uint64_t id = file->ids[*slot];
    if (id != RT_NO_ID)
        RT_TRY(rt_index_judge(carry->view, id, file->shape.generation, &is_live, err));
    if (!is_live)
        *slot = RT_NO_ROW;
done:
    return st;
}

static enum rt_status look_into(const struct rt_carry *carry, const struct rt_heap_block *block,
                                uint64_t *grains, uint64_t *n_live, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t at = 0; at < block->n_slots; at++) {
        uint64_t slot = RT_NO_ROW;
        RT_TRY(live_slot(carry, block, at, &slot, err));
        if (slot == RT_NO_ROW)
            continue;
        *grains |= UINT64_C(1) << at / GRAIN;
        ++*n_live;
    }
done:
    return st;
}

/* Every rank looks into its share of the blocks. */
static enum rt_status find_grains(struct rt_phase_context *context, struct rt_carry *carry,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    uint64_t *grains = NULL; /* and behind those of all blocks: how many rows live */
    size_t n = (size_t)carry->n_blocks;
    struct rt_range mine = rt_share(n, job->rank, job->n_ranks, 1);
    RT_LOCAL(rt_array_zero(n + 1, sizeof *grains, &grains, err));
    for (uint64_t b = mine.begin; b < mine.end; b++)
        RT_LOCAL(look_into(carry, &carry->heap_blocks[b], &grains[b], &grains[n], err));
    RT_AGREE(job->comm);
    rt_sum_u64(job->comm, grains, n + 1);
    for (size_t b = 0; b < n; b++)
        carry->heap_blocks[b].grains = grains[b];
    carry->n_live = grains[n];
done:
    rt_array_free(grains);
    return st;
}

/* ---- which rows they become ---- */

/* Heap rows from heap_row on come next: in the run at hand if they lie less than a grain behind it,
 * with rows in between that stay unused; else in one of their own. */
static enum rt_status reach(struct rt_carry *carry, uint64_t heap_row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = carry->n_heap_runs;
    const struct rt_heap_run *last = n ? &carry->heap_runs[n - 1] : NULL;
    uint64_t end = last ? last->heap_row + (carry->n_rows - last->first_row) : 0;
    if (last && heap_row >= end && heap_row - end < GRAIN) {
        carry->n_rows += heap_row - end;
        goto done;
    }
    if ((n & (n - 1)) == 0)
        RT_TRY(rt_array_resize(n ? 2 * n : 1, sizeof *carry->heap_runs, &carry->heap_runs, err));
    rt_assert(carry->heap_runs);
    carry->heap_runs[carry->n_heap_runs++] =
        (struct rt_heap_run){.first_row = carry->n_rows, .heap_row = heap_row};
done:
    return st;
}

static enum rt_status place_rows(struct rt_carry *carry, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint64_t b = 0; b < carry->n_blocks; b++) {
        struct rt_heap_block *block = &carry->heap_blocks[b];
        bool is_first = true;
        block->first_row = carry->n_rows;
        for (uint32_t at = 0; at < block->n_slots; at += GRAIN) {
            if (!(block->grains >> at / GRAIN & 1))
                continue;
            RT_TRY(reach(carry, block->segment->entry->first_row + block->begin + at, err));
            if (is_first)
                block->first_row = carry->n_rows;
            is_first = false;
            carry->n_rows += block->n_slots - at < GRAIN ? block->n_slots - at : GRAIN;
        }
    }
done:
    return st;
}

enum rt_status rt_heap_carry_find(struct rt_phase_context *context, struct rt_carry *carry,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    RT_LOCAL(cut_blocks(carry, err));
    RT_AGREE(comm);
    RT_TRY(find_grains(context, carry, err));
    RT_LOCAL(place_rows(carry, err));
    RT_AGREE(comm);
done:
    return st;
}

/* ---- reading ---- */

/* The block's slot for its row number `offset`, counted from its first that goes along; n_slots or
 * more where rows between two segments stay unused. */
static uint32_t slot_of(const struct rt_heap_block *block, uint64_t offset)
{
    uint64_t grains = block->grains;
    for (uint64_t skip = offset / GRAIN; skip > 0 && grains; skip--)
        grains &= grains - 1;
    if (!grains)
        return block->n_slots;
    return (uint32_t)__builtin_ctzll(grains) * GRAIN + (uint32_t)(offset % GRAIN);
}

static int compare_places(struct rt_place a, struct rt_place b)
{
    uint64_t x = (uint64_t)a.segment << 32 | a.slot;
    uint64_t y = (uint64_t)b.segment << 32 | b.slot;
    return (x > y) - (x < y);
}

/* Records of a list stand in the order of their rows in a chunk (E3), and so of their places. */
static bool find_in_chunk(const struct rt_index_view *view, const struct rt_tape_view *tape,
                          uint64_t chunk, uint32_t list, struct rt_place place, uint64_t *record)
{
    uint64_t begin = 0;
    uint64_t end = 0;
    rt_index_records(view, tape, chunk, list, &begin, &end);
    uint64_t past = end;
    while (begin < end) {
        uint64_t middle = begin + (end - begin) / 2;
        if (compare_places(tape->records.places[middle], place) < 0)
            begin = middle + 1;
        else
            end = middle;
    }
    *record = begin;
    return begin < past && compare_places(tape->records.places[begin], place) == 0;
}

static const struct rt_tape_view *tape_of(const struct rt_index_view *view, uint64_t generation)
{
    for (size_t i = 0; i < view->n_appendable; i++)
        if (view->appendable[i].shape.generation == generation)
            return &view->appendable[i];
    return NULL;
}

/* The record of a row: *chunk is that of the row before, which mostly is its own. */
static enum rt_status find_record(const struct rt_carry *carry, const struct rt_heap_block *block,
                                  uint32_t at, uint64_t slot, uint64_t *chunk, uint64_t *record,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_vectors_view *file = block->segment->file;
    const struct rt_tape_view *tape = tape_of(carry->view, file->shape.generation);
    struct rt_place place = {(uint32_t)block->segment->entry->number, block->begin + at};
    bool found = false;
    RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)file->datasets.lists, slot, 1, err));
    uint64_t n_chunks = tape && file->lists[slot] < carry->view->n_lists ? tape->shape.n_chunks : 0;
    for (uint64_t i = 0; i < n_chunks && !found; i++) {
        uint64_t looked = (*chunk + i) % n_chunks;
        found = find_in_chunk(carry->view, tape, looked, file->lists[slot], place, record);
        if (found)
            *chunk = looked;
    }
    if (found)
        RT_TRY(rt_index_check_records(tape, *record, *record + 1, err));
    if (!found || tape->records.ids[*record] != file->ids[slot])
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: no record has the place of row %" PRIu64,
                rt_h5_map_path(file->map), file->ids[slot]);
done:
    return st;
}

static void take_record(const struct rt_carry *carry, const struct rt_heap_block *block,
                        uint64_t record, size_t at, const struct rt_tape_columns *out)
{
    const struct rt_index_view *view = carry->view;
    const struct rt_tape_view *tape = tape_of(view, block->segment->file->shape.generation);
    rt_tape_take(out, at, &tape->records, record, view->code_bytes, view->n_factors);
}

enum rt_status rt_heap_carry_read(const struct rt_carry *carry, uint64_t begin, size_t n,
                                  const struct rt_tape_columns *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t b = rt_find_last(&carry->heap_blocks->first_row, sizeof *carry->heap_blocks,
                            (size_t)carry->n_blocks, begin);
    uint64_t chunk = 0;
    for (size_t i = 0; i < n; i++) {
        while (b + 1 < carry->n_blocks && carry->heap_blocks[b + 1].first_row <= begin + i)
            b++;
        const struct rt_heap_block *block = &carry->heap_blocks[b];
        uint32_t at = slot_of(block, begin + i - block->first_row);
        uint64_t slot = RT_NO_ROW;
        uint64_t record = 0;
        out->ids[i] = RT_NO_ID;
        out->lists[i] = RT_NO_LIST;
        if (at < block->n_slots)
            RT_TRY(live_slot(carry, block, at, &slot, err));
        if (slot == RT_NO_ROW)
            continue;
        RT_TRY(find_record(carry, block, at, slot, &chunk, &record, err));
        take_record(carry, block, record, i, out);
    }
done:
    return st;
}
