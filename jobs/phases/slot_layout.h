/* Which slot of which vectors tape each row takes (E2): fixed before the first row is read, from
 * the counts alone. The layout speaks of the ranks of the job's first start, so that a job that
 * goes on with other ranks puts every row where the first would have put it. */
#ifndef RT_JOBS_PHASES_SLOT_LAYOUT_H
#define RT_JOBS_PHASES_SLOT_LAYOUT_H

#include "core/chooser.h"
#include "core/error.h"
#include "core/place.h"
#include "io/vectors_file.h"
#include "mpi/partition.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

struct rt_slot_part { /* a rank's part of a tape */
    uint64_t begin;   /* first slot */
    uint64_t end;     /* behind the last slot it must write, unused ones included */
    uint64_t n_slots; /* that hold rows (skipped rows too) */
};

/* Vectors stay in the heap: rows from first_row on, up to the next run's, are consecutive heap
 * rows.
 */
struct rt_heap_run {
    uint64_t first_row, heap_row;
};
struct rt_heap_segment { /* a run's part of at most RT_SEGMENT_SLOTS, in one rank's rows (E5) */
    struct rt_heap_run run;
    uint64_t n_rows;
    uint32_t number;
};

struct rt_slot_layout {
    struct rt_chunks chunks;
    int n_ranks; /* of the layout */
    enum rt_chooser_kind chooser;
    uint64_t seed;
    uint32_t n_tapes;
    uint32_t tapes_of_rank;      /* 1; n_tapes where rows are drawn (rng) */
    struct rt_tape_entry *tapes; /* n_tapes */
    struct rt_slot_part *parts;  /* n_ranks x tapes_of_rank */
    uint32_t *first_segments; /* n_tapes: number of the segment of its slot 0, unless there are */
    struct rt_heap_segment *heap_segments; /* n_segments, ascending rows; each rank's all go to one
                                            * tape */
    uint64_t n_slots;
    uint32_t first_segment;
    uint32_t n_segments;
};

struct rt_slot_layout_options {
    struct rt_chunks chunks;
    int n_ranks; /* of the layout */
    enum rt_chooser_kind chooser;
    uint32_t n_tapes;
    uint64_t seed;
    uint64_t share_slots;                /* parts and tapes begin at multiples of it (E4) */
    const struct rt_heap_run *heap_runs; /* n_heap_runs, ascending rows, the first from row 0 on;
                                          * NULL: vectors lie in the file */
    size_t n_heap_runs;
    uint32_t first_segment; /* numbers given before */
};

/* Collective over comm; options agree, and heap runs never go with rng. The caller frees with
 * rt_slot_layout_free. Fails with RT_NOMEM, RT_USAGE (more segments than 2^32). */
enum rt_status rt_slot_layout_new(MPI_Comm comm, const struct rt_slot_layout_options *options,
                                  struct rt_slot_layout **out, struct rt_error *err) RT_MUST_CHECK;
/* Private bytes of a layout, of a rank's tapes 1 unless rows are drawn (rng); n_segments: those of
 * vectors that stay in the heap. */
uint64_t rt_slot_layout_bytes(int n_ranks, uint32_t tapes_of_rank, uint64_t n_heap_segments);
void rt_slot_layout_free(struct rt_slot_layout *layout); /* NULL is fine */

/* Rows of a rank of the layout. */
static inline struct rt_range rt_slot_layout_rows(const struct rt_slot_layout *layout, int rank)
{
    return rt_chunks_rows(&layout->chunks, rank, layout->n_ranks);
}
/* Tape of a row of that rank. */
static inline uint32_t rt_slot_layout_tape(const struct rt_slot_layout *layout, int rank,
                                           uint64_t row)
{
    return rt_choose_tape(layout->chooser, layout->n_tapes, layout->seed, (uint32_t)rank, row);
}
/* That rank's part of a tape; NULL where none of its rows goes there. */
const struct rt_slot_part *rt_slot_layout_part(const struct rt_slot_layout *layout, int rank,
                                               uint32_t tape);
/* The slot that a row of that rank takes in its tape. Costs a draw for each row before it under
 * rng. */
uint64_t rt_slot_layout_slot(const struct rt_slot_layout *layout, int rank, uint32_t tape,
                             uint64_t row);
/* The tape of a segment of heap rows, for segments one after the other: *rank, 0 at first, becomes
 * the one whose rows they are. */
uint32_t rt_slot_layout_tape_of_segment(const struct rt_slot_layout *layout,
                                        const struct rt_heap_segment *segment, int *rank);
/* The place of a row that takes slot number `slot` of the file, in `tape`. */
struct rt_place rt_slot_layout_place(const struct rt_slot_layout *layout, uint32_t tape,
                                     uint64_t slot, uint64_t row);

#endif
