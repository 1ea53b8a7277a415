/* Rows die: their ids are found, tombstones for them written beside older small files of tombstones
 * (H3, H4), and their hashes added up, so that the digest can leave them out. */
#ifndef RT_JOBS_PHASES_TOMBSTONE_PHASE_H
#define RT_JOBS_PHASES_TOMBSTONE_PHASE_H

#include "core/checksum.h"
#include "io/index_rows.h"
#include "jobs/phases/pair_sort.h"
#include "jobs/phases/phase.h"

struct rt_tombstone_input {
    const struct rt_index_view *view; /* the same index on all ranks */
    rt_pair_source ids;               /* this rank's ids, as keys; values do not matter */
    void *ids_context;
    uint64_t n_ids; /* of this rank, about */
    bool keeps;     /* these stay and all others die */
};

struct rt_tombstone_output {
    uint64_t n_dead;             /* live rows that died */
    uint64_t n_unknown;          /* ids given that no live row has, each once */
    struct rt_hash128 rows_hash; /* of those that died (K1) */
    uint64_t n_entries;          /* of tombstones-G.h5.partial; 0: there is none */
    struct rt_h5_layout layout;
    uint64_t *absorbed; /* numbers of older files whose tombstones are in this one; the caller frees
                           it with rt_array_free */
    size_t n_absorbed;
    struct rt_phase_record record;
};

/* Collective over the job's communicator. Writes tombstones-G.h5.partial, synced and closed, where
 * any row died. Fails with RT_DAMAGED (a row is not where its id says), RT_IO, RT_NOMEM. */
enum rt_status rt_tombstone_phase(struct rt_phase_context *context,
                                  const struct rt_tombstone_input *input,
                                  struct rt_tombstone_output *out,
                                  struct rt_error *err) RT_MUST_CHECK;

/* Older files whose entries go along with n_ids (H3): their generations into numbers, which has
 * room for the view's n_tombstones, their count into *n. Returns the entries of all of them. */
uint64_t rt_tombstones_absorbed(const struct rt_index_view *view, uint64_t n_ids, uint64_t *numbers,
                                size_t *n);
/* Private bytes of a rank in this phase, where n_pairs are sorted over all ranks (the ids given,
 * entries absorbed and, where ids are to be kept, every slot), and of what one rank gets n_dead
 * rows die at most. budget_bytes as in the context. */
uint64_t rt_tombstone_phase_bytes(uint64_t n_pairs, uint64_t n_dead, uint64_t budget_bytes,
                                  int n_ranks);

#endif
