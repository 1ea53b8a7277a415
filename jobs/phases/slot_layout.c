#include "jobs/phases/slot_layout.h"

#include "core/find.h"
#include "core/memory.h"
#include "mpi/agree.h"

#include <inttypes.h>

static uint64_t round_up(uint64_t value, uint64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static uint64_t segments_of(uint64_t n_slots)
{
    return (n_slots + RT_SEGMENT_SLOTS - 1) / RT_SEGMENT_SLOTS;
}

/* Where a rank's part of a tape stands among all parts; -1: it has none. */
static int64_t part_index(const struct rt_slot_layout *layout, int rank, uint32_t tape)
{
    if (layout->chooser == RT_CHOOSER_RNG)
        return (int64_t)rank * layout->n_tapes + tape;
    return rt_choose_tape(layout->chooser, layout->n_tapes, layout->seed, (uint32_t)rank, 0) == tape
               ? rank
               : -1;
}

const struct rt_slot_part *rt_slot_layout_part(const struct rt_slot_layout *layout, int rank,
                                               uint32_t tape)
{
    int64_t index = part_index(layout, rank, tape);
    return index < 0 || layout->parts[index].n_slots == 0 ? NULL : &layout->parts[index];
}

/* Slots of each part; `rng` is counted without reading a row, each rank counting for its share of
 * the layout's (E2). Collective under rng. */
static enum rt_status count_rows(MPI_Comm comm, struct rt_slot_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *counts = NULL;
    int rank = 0;
    int n_ranks = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    for (int r = 0; r < layout->n_ranks && layout->chooser != RT_CHOOSER_RNG; r++)
        layout->parts[r].n_slots = rt_range_count(rt_slot_layout_rows(layout, r));
    if (layout->chooser != RT_CHOOSER_RNG)
        goto done;
    size_t n = (size_t)layout->n_ranks * layout->n_tapes;
    RT_LOCAL(rt_array_zero(n, sizeof *counts, &counts, err));
    RT_AGREE(comm);
    struct rt_range mine = rt_share((uint64_t)layout->n_ranks, rank, n_ranks, 1);
    for (uint64_t r = mine.begin; r < mine.end; r++) {
        struct rt_range rows = rt_slot_layout_rows(layout, (int)r);
        for (uint64_t row = rows.begin; row < rows.end; row++)
            counts[r * layout->n_tapes + rt_slot_layout_tape(layout, (int)r, row)]++;
    }
    rt_sum_u64(comm, counts, n);
    for (size_t i = 0; i < n; i++)
        layout->parts[i].n_slots = counts[i];
done:
    rt_array_free(counts);
    return st;
}

/* Tape by tape, rank by rank. The last part in use ends where its rows end; every other is filled
 * up to a share border. */
static void place_parts(struct rt_slot_layout *layout, uint64_t share)
{
    struct rt_slot_part *last = NULL;
    uint32_t last_tape = 0;
    uint64_t at = 0;
    for (uint32_t tape = 0; tape < layout->n_tapes; tape++) {
        uint64_t first = at;
        for (int r = 0; r < layout->n_ranks; r++) {
            int64_t index = part_index(layout, r, tape);
            if (index < 0)
                continue;
            struct rt_slot_part *part = &layout->parts[index];
            part->begin = at;
            at += round_up(part->n_slots, share);
            part->end = at;
            if (part->n_slots) {
                last = part;
                last_tape = tape;
            }
        }
        layout->tapes[tape] = (struct rt_tape_entry){.first_slot = first, .n_slots = at - first};
    }
    if (last) {
        uint64_t excess = last->end - last->begin - last->n_slots;
        last->end -= excess;
        layout->tapes[last_tape].n_slots -= excess;
        at -= excess;
    }
    layout->n_slots = at;
    for (uint32_t tape = last_tape + 1; tape < layout->n_tapes; tape++) /* unused */
        layout->tapes[tape].first_slot = at;
}

static uint64_t number_segments(struct rt_slot_layout *layout)
{
    uint64_t first = layout->first_segment;
    for (uint32_t tape = 0; tape < layout->n_tapes; tape++) {
        layout->first_segments[tape] = (uint32_t)first;
        first += segments_of(layout->tapes[tape].n_slots);
    }
    return first - layout->first_segment;
}

/* ---- vectors that stay in the heap ---- */

/* Runs of heap rows cut where a rank's rows end, and into segments; into `out`, unless that is
 * NULL. Returns how many. */
static uint64_t cut_runs(const struct rt_slot_layout *layout,
                         const struct rt_slot_layout_options *options, struct rt_heap_segment *out)
{
    uint64_t n = 0;
    size_t run = 0;
    for (int r = 0; r < layout->n_ranks; r++) {
        struct rt_range rows = rt_slot_layout_rows(layout, r);
        for (uint64_t row = rows.begin, end = 0; row < rows.end; row = end) {
            while (run + 1 < options->n_heap_runs && options->heap_runs[run + 1].first_row <= row)
                run++;
            const struct rt_heap_run *from = &options->heap_runs[run];
            end = rows.end - row > RT_SEGMENT_SLOTS ? row + RT_SEGMENT_SLOTS : rows.end;
            if (run + 1 < options->n_heap_runs && from[1].first_row < end)
                end = from[1].first_row;
            if (out)
                out[n] = (struct rt_heap_segment){
                    .run = {.first_row = row, .heap_row = from->heap_row + (row - from->first_row)},
                    .n_rows = end - row};
            n++;
        }
    }
    return n;
}

uint32_t rt_slot_layout_tape_of_segment(const struct rt_slot_layout *layout,
                                        const struct rt_heap_segment *segment, int *rank)
{
    while (rt_slot_layout_rows(layout, *rank).end <= segment->run.first_row)
        ++*rank;
    return rt_slot_layout_tape(layout, *rank, segment->run.first_row);
}

/* Numbers ascend with slots: tape by tape, rank by rank. */
static void number_heap_segments(struct rt_slot_layout *layout, uint64_t n_segments)
{
    uint32_t *next = layout->first_segments; /* all 0 so far */
    uint32_t number = layout->first_segment;
    int rank = 0;
    for (uint64_t s = 0; s < n_segments; s++)
        next[rt_slot_layout_tape_of_segment(layout, &layout->heap_segments[s], &rank)]++;
    for (uint32_t tape = 0; tape < layout->n_tapes; tape++) {
        uint32_t n = next[tape];
        next[tape] = number;
        number += n;
    }
    rank = 0;
    for (uint64_t s = 0; s < n_segments; s++)
        layout->heap_segments[s].number =
            next[rt_slot_layout_tape_of_segment(layout, &layout->heap_segments[s], &rank)]++;
}

/* ---- a layout ---- */

static enum rt_status make_segments(struct rt_slot_layout *layout,
                                    const struct rt_slot_layout_options *options,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = options->heap_runs ? cut_runs(layout, options, NULL) : number_segments(layout);
    if (n > UINT32_MAX - options->first_segment) /* the same on all ranks */
        RT_FAIL(RT_USAGE, "%" PRIu64 " segments of vectors, at most %" PRIu32 " fit an index", n,
                UINT32_MAX);
    layout->n_segments = (uint32_t)n;
    if (!options->heap_runs)
        goto done;
    RT_TRY(rt_array_new((size_t)n, sizeof *layout->heap_segments, &layout->heap_segments, err));
    (void)cut_runs(layout, options, layout->heap_segments);
    number_heap_segments(layout, n);
done:
    return st;
}

uint64_t rt_slot_layout_bytes(int n_ranks, uint32_t tapes_of_rank, uint64_t n_heap_segments)
{
    uint64_t n_parts = (uint64_t)n_ranks * tapes_of_rank;
    return n_parts * (sizeof(struct rt_slot_part) + sizeof(uint64_t)) +
           n_heap_segments * sizeof(struct rt_heap_segment);
}

static enum rt_status allocate(struct rt_slot_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n_parts = (size_t)layout->n_ranks * layout->tapes_of_rank;
    RT_TRY(rt_array_zero(layout->n_tapes, sizeof *layout->tapes, &layout->tapes, err));
    RT_TRY(rt_array_zero(n_parts, sizeof *layout->parts, &layout->parts, err));
    RT_TRY(rt_array_zero(layout->n_tapes, sizeof *layout->first_segments, &layout->first_segments,
                         err));
done:
    return st;
}

enum rt_status rt_slot_layout_new(MPI_Comm comm, const struct rt_slot_layout_options *options,
                                  struct rt_slot_layout **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_slot_layout *layout = NULL;
    rt_assert(!options->heap_runs || options->chooser != RT_CHOOSER_RNG);
    RT_LOCAL(rt_array_zero(1, sizeof *layout, &layout, err));
    if (st == RT_OK) {
        layout->chunks = options->chunks;
        layout->n_ranks = options->n_ranks;
        layout->chooser = options->chooser;
        layout->seed = options->seed;
        layout->n_tapes = options->n_tapes;
        layout->tapes_of_rank = options->chooser == RT_CHOOSER_RNG ? options->n_tapes : 1;
        layout->first_segment = options->first_segment;
    }
    if (st == RT_OK)
        RT_LOCAL(allocate(layout, err));
    RT_AGREE(comm);
    RT_TRY(count_rows(comm, layout, err));
    place_parts(layout, options->share_slots);
    RT_LOCAL(make_segments(layout, options, err));
    RT_AGREE(comm);
    *out = layout;
    layout = NULL;
done:
    rt_slot_layout_free(layout);
    return st;
}

void rt_slot_layout_free(struct rt_slot_layout *layout)
{
    if (!layout)
        return;
    rt_array_free(layout->tapes);
    rt_array_free(layout->parts);
    rt_array_free(layout->first_segments);
    rt_array_free(layout->heap_segments);
    rt_array_free(layout);
}

uint64_t rt_slot_layout_slot(const struct rt_slot_layout *layout, int rank, uint32_t tape,
                             uint64_t row)
{
    uint64_t first = rt_slot_layout_rows(layout, rank).begin;
    uint64_t before = row - first;
    if (layout->chooser == RT_CHOOSER_RNG) {
        before = 0;
        for (uint64_t r = first; r < row; r++)
            before += rt_slot_layout_tape(layout, rank, r) == tape;
    }
    return layout->parts[part_index(layout, rank, tape)].begin + before;
}

struct rt_place rt_slot_layout_place(const struct rt_slot_layout *layout, uint32_t tape,
                                     uint64_t slot, uint64_t row)
{
    if (layout->heap_segments) {
        const struct rt_heap_segment *segment = &layout->heap_segments[rt_find_last(
            &layout->heap_segments->run.first_row, sizeof *segment, layout->n_segments, row)];
        return (struct rt_place){.segment = segment->number,
                                 .slot = (uint32_t)(row - segment->run.first_row)};
    }
    uint64_t offset = slot - layout->tapes[tape].first_slot;
    return (struct rt_place){.segment = layout->first_segments[tape] +
                                        (uint32_t)(offset / RT_SEGMENT_SLOTS),
                             .slot = (uint32_t)(offset % RT_SEGMENT_SLOTS)};
}
