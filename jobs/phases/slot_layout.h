/* Which slot of which vectors tape each row takes (E2): fixed before the first row is read, from
 * the counts alone. */
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

struct rt_slot_part { /* this rank's part of a tape */
    uint64_t begin;   /* first slot */
    uint64_t end;     /* behind the last slot it must write, unused ones included */
    uint64_t n_slots; /* that hold rows (skipped rows too) */
};

struct rt_slot_layout {
    struct rt_chunks chunks;
    struct rt_range rows; /* of this rank */
    int rank;
    enum rt_chooser_kind chooser;
    uint64_t seed;
    uint32_t n_tapes;
    struct rt_tape_entry *tapes; /* n_tapes, the same on all ranks */
    struct rt_slot_part *parts;  /* n_tapes, this rank's */
    uint32_t *first_segments; /* n_tapes: number of the segment of slot 0 of the part's tape (of the
                               * part itself with segments_by_part) */
    uint64_t n_slots;
    uint32_t first_segment;
    uint32_t n_segments;
    bool segments_by_part; /* vectors stay in the heap: a segment is a run of consecutive heap rows
                            */
};

struct rt_slot_layout_options {
    struct rt_chunks chunks;
    enum rt_chooser_kind chooser;
    uint32_t n_tapes;
    uint64_t seed;
    uint64_t share_slots; /* parts and tapes begin at multiples of it (E4) */
    bool segments_by_part;
    uint32_t first_segment; /* numbers given before */
};

/* Collective over comm; options agree. The caller frees with rt_slot_layout_free. Fails with
 * RT_NOMEM, RT_USAGE (more segments than 2^32). */
enum rt_status rt_slot_layout_new(MPI_Comm comm, const struct rt_slot_layout_options *options,
                                  struct rt_slot_layout **out, struct rt_error *err) RT_MUST_CHECK;
void rt_slot_layout_free(struct rt_slot_layout *layout); /* NULL is fine */

/* Tape of a row of this rank. */
static inline uint32_t rt_slot_layout_tape(const struct rt_slot_layout *layout, uint64_t row)
{
    return rt_choose_tape(layout->chooser, layout->n_tapes, layout->seed, (uint32_t)layout->rank,
                          row);
}
/* The place of slot number `slot` of the file, in this rank's part of `tape`. */
struct rt_place rt_slot_layout_place(const struct rt_slot_layout *layout, uint32_t tape,
                                     uint64_t slot);

#endif
