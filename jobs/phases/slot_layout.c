#include "jobs/phases/slot_layout.h"

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

/* Slots of each tape that this rank's rows take; `rng` is counted without reading a row (E2). */
static void count_rows(struct rt_slot_layout *layout)
{
    uint64_t n = rt_range_count(layout->rows);
    if (layout->chooser != RT_CHOOSER_RNG) {
        if (n)
            layout->parts[rt_slot_layout_tape(layout, layout->rows.begin)].n_slots = n;
        return;
    }
    for (uint64_t row = layout->rows.begin; row < layout->rows.end; row++)
        layout->parts[rt_slot_layout_tape(layout, row)].n_slots++;
}

/* The last part of the last tape in use ends where its rows end; every other is filled up to a
 * share border. */
static void trim_last(MPI_Comm comm, struct rt_slot_layout *layout, int n_ranks)
{
    uint64_t last = 0;
    for (uint32_t t = 0; t < layout->n_tapes; t++)
        if (layout->parts[t].n_slots)
            last = (uint64_t)t * (uint64_t)n_ranks + (uint64_t)layout->rank + 1;
    uint64_t last_of_all = last;
    rt_max_u64(comm, &last_of_all, 1);
    uint64_t excess = 0;
    if (last && last == last_of_all) {
        struct rt_slot_part *part = &layout->parts[(last - 1) / (uint64_t)n_ranks];
        excess = part->end - part->begin - part->n_slots;
        part->end -= excess;
    }
    rt_sum_u64(comm, &excess, 1);
    if (last_of_all)
        layout->tapes[(last_of_all - 1) / (uint64_t)n_ranks].n_slots -= excess;
    layout->n_slots -= excess;
}

static void place_parts(MPI_Comm comm, struct rt_slot_layout *layout, uint64_t share,
                        uint64_t *before, uint64_t *whole)
{
    int n_ranks = 1;
    MPI_Comm_size(comm, &n_ranks);
    for (uint32_t t = 0; t < layout->n_tapes; t++)
        whole[t] = round_up(layout->parts[t].n_slots, share);
    rt_exscan_u64(comm, whole, before, layout->n_tapes);
    for (uint32_t t = 0; t < layout->n_tapes; t++)
        layout->parts[t].end = whole[t]; /* its length, for now */
    rt_sum_u64(comm, whole, layout->n_tapes);
    uint64_t first = 0;
    for (uint32_t t = 0; t < layout->n_tapes; t++) {
        layout->tapes[t] = (struct rt_tape_entry){.first_slot = first, .n_slots = whole[t]};
        layout->parts[t].begin = first + before[t];
        layout->parts[t].end += layout->parts[t].begin;
        first += whole[t];
    }
    layout->n_slots = first;
    trim_last(comm, layout, n_ranks);
}

static uint64_t number_segments(MPI_Comm comm, struct rt_slot_layout *layout, uint64_t *before,
                                uint64_t *whole)
{
    uint64_t first = layout->first_segment;
    for (uint32_t t = 0; t < layout->n_tapes; t++)
        whole[t] = segments_of(layout->segments_by_part ? layout->parts[t].n_slots
                                                        : layout->tapes[t].n_slots);
    if (layout->segments_by_part) {
        rt_exscan_u64(comm, whole, before, layout->n_tapes);
        rt_sum_u64(comm, whole, layout->n_tapes);
    }
    for (uint32_t t = 0; t < layout->n_tapes; t++) {
        layout->first_segments[t] = (uint32_t)(first + (layout->segments_by_part ? before[t] : 0));
        first += whole[t];
    }
    return first - layout->first_segment;
}

enum rt_status rt_slot_layout_new(MPI_Comm comm, const struct rt_slot_layout_options *options,
                                  struct rt_slot_layout **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_slot_layout *layout = NULL;
    uint64_t *before = NULL;
    uint64_t *whole = NULL;
    int n_ranks = 1;
    MPI_Comm_size(comm, &n_ranks);
    RT_LOCAL(rt_array_zero(1, sizeof *layout, &layout, err));
    if (st == RT_OK) {
        MPI_Comm_rank(comm, &layout->rank);
        layout->chunks = options->chunks;
        layout->rows = rt_chunks_rows(&layout->chunks, layout->rank, n_ranks);
        layout->chooser = options->chooser;
        layout->seed = options->seed;
        layout->n_tapes = options->n_tapes;
        layout->segments_by_part = options->segments_by_part;
        layout->first_segment = options->first_segment;
    }
    RT_LOCAL(rt_array_zero(options->n_tapes, sizeof *layout->tapes, &layout->tapes, err));
    RT_LOCAL(rt_array_zero(options->n_tapes, sizeof *layout->parts, &layout->parts, err));
    RT_LOCAL(rt_array_zero(options->n_tapes, sizeof *layout->first_segments,
                           &layout->first_segments, err));
    RT_LOCAL(rt_array_zero(options->n_tapes, sizeof *before, &before, err));
    RT_LOCAL(rt_array_zero(options->n_tapes, sizeof *whole, &whole, err));
    RT_AGREE(comm);
    count_rows(layout);
    place_parts(comm, layout, options->share_slots, before, whole);
    uint64_t n_segments = number_segments(comm, layout, before, whole);
    if (n_segments > UINT32_MAX - options->first_segment) /* the same on all ranks */
        RT_FAIL(RT_USAGE, "%" PRIu64 " segments of vectors, at most %" PRIu32 " fit an index",
                n_segments, UINT32_MAX);
    layout->n_segments = (uint32_t)n_segments;
    *out = layout;
    layout = NULL;
done:
    rt_slot_layout_free(layout);
    rt_array_free(before);
    rt_array_free(whole);
    return st;
}

void rt_slot_layout_free(struct rt_slot_layout *layout)
{
    if (!layout)
        return;
    rt_array_free(layout->tapes);
    rt_array_free(layout->parts);
    rt_array_free(layout->first_segments);
    rt_array_free(layout);
}

struct rt_place rt_slot_layout_place(const struct rt_slot_layout *layout, uint32_t tape,
                                     uint64_t slot)
{
    uint64_t from =
        layout->segments_by_part ? layout->parts[tape].begin : layout->tapes[tape].first_slot;
    uint64_t offset = slot - from;
    return (struct rt_place){.segment = layout->first_segments[tape] +
                                        (uint32_t)(offset / RT_SEGMENT_SLOTS),
                             .slot = (uint32_t)(offset % RT_SEGMENT_SLOTS)};
}
