/* Compact: the records of the appendable tape become frozen lists. Every rank owns an equal range
 * of the blocks to come and writes them in one slab; each record travels once, in rounds of bounded
 * memory (algorithms.md F). */
#ifndef RT_JOBS_PHASES_COMPACT_PHASE_H
#define RT_JOBS_PHASES_COMPACT_PHASE_H

#include "core/checksum.h"
#include "io/list_file.h"
#include "io/tape_file.h"
#include "jobs/phases/phase.h"

struct rt_compact_input {
    const struct rt_tape_shape *tape_shape; /* appendable-G.h5.partial, this rank's chunks in it */
    const struct rt_h5_layout *tape_layout;
    uint64_t first_chunk, n_chunks; /* of this rank */
    const uint64_t *list_rows;      /* this rank's rows of each list */
    uint32_t n_lists;
    struct rt_hash128 fingerprint;
};

struct rt_compact_output {
    struct rt_h5_layout layout;  /* of frozen-G.h5.partial */
    struct rt_hash128 rows_hash; /* H_rows over all ranks (K1) */
    uint64_t n_blocks;
    uint64_t n_rounds;
    struct rt_phase_record record;
};

/* Collective over the job's communicator. Makes frozen-G.h5.partial, synced and closed. Fails with
 * RT_IO, RT_DAMAGED (the tape is not what insert wrote), RT_NOMEM. */
enum rt_status rt_compact_phase(struct rt_phase_context *context,
                                const struct rt_compact_input *input, struct rt_compact_output *out,
                                struct rt_error *err) RT_MUST_CHECK;

/* Private bytes of a rank in this phase with windows of window_bytes, n_blocks over all ranks; and
 * the window for a rank's share of the file, within its budget (F4). */
uint64_t rt_compact_phase_bytes(uint32_t dim, enum rt_metric metric, uint32_t n_lists,
                                uint64_t window_bytes, uint64_t n_blocks, int n_ranks);
uint64_t rt_compact_window_bytes(uint64_t budget_bytes, uint64_t share_bytes, int n_ranks);

#endif
