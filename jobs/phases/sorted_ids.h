/* Where ids do not ascend by tape, a vectors file carries its ids sorted, so that one is found
 * without reading lists (H5). */
#ifndef RT_JOBS_PHASES_SORTED_IDS_H
#define RT_JOBS_PHASES_SORTED_IDS_H

#include "io/vectors_file.h"
#include "jobs/phases/phase.h"
#include "mpi/partition.h"

/* This rank's part of the slots, by ranges. */
struct rt_sorted_ids_input {
    struct rt_h5_file *file; /* open for writing; ids of all slots are in it, this rank's parts
                                flushed */
    const struct rt_range *parts;
    uint32_t n_parts;
    const char *source; /* NULL: no id is there twice; else where the ids come from, to be named
                           (RT_DAMAGED) where one is */
};
/* Fills the file's `sorted` and its checksums: entries of all used slots, then unused ones.
 * Collective over the job's communicator. Fails with RT_IO, RT_NOMEM,
 * RT_DAMAGED. */
enum rt_status rt_sorted_ids_write(struct rt_phase_context *context,
                                   const struct rt_sorted_ids_input *input,
                                   struct rt_error *err) RT_MUST_CHECK;

/* Private bytes of a rank while n_ids are sorted so. */
uint64_t rt_sorted_ids_bytes(uint64_t budget_bytes, uint64_t n_ids, int n_ranks);

#endif
