/* What a phase has done, made durable while it goes on (G2, G3). Its work falls into numbered
 * units, each done by one rank, with sums over all that is done. Ranks hand in units whose bytes
 * they have written; one thread a node then syncs the files for all its ranks, and only after that
 * keeps the bits and sums in a state of its own in checkpoint/. A run that goes on finds what all
 * nodes kept, on whatever ranks. All functions take NULL, for a job without checkpoints, and do
 * nothing. */
#ifndef RT_JOBS_PHASES_DURABLE_H
#define RT_JOBS_PHASES_DURABLE_H

#include "io/hdf5_file.h"
#include "jobs/phases/chunk_work.h"
#include "jobs/phases/phase.h"

#define RT_DURABLE_INSERT "insert" /* names of states */
#define RT_DURABLE_COMPACT "compact"

struct rt_durable_options {
    const char *name; /* of the states */
    uint64_t n_units;
    size_t n_sums; /* 64-bit, added modulo 2^64 */
    size_t n_most; /* f32 that are not negative: the greatest */
};
struct rt_durable;

/* Private bytes of a rank and its part of the node's shared ones. */
uint64_t rt_durable_bytes(const struct rt_durable_options *options, int ranks_per_node);
/* Collective over the job's communicator. *out NULL where the context has no checkpoint. Reads what
 * runs before this one have kept. The caller frees *out with rt_durable_free. Fails with RT_IO,
 * RT_NOMEM, RT_USAGE. */
enum rt_status rt_durable_new(struct rt_phase_context *context,
                              const struct rt_durable_options *options, struct rt_durable **out,
                              struct rt_error *err) RT_MUST_CHECK;
/* The bits of units done before this run; NULL: none. Lent; the same on all ranks. */
const uint64_t *rt_durable_before(const struct rt_durable *durable);

/* From now on kept units are made durable, in these files. files are lent until rt_durable_end. */
enum rt_status rt_durable_start(struct rt_durable *durable, struct rt_h5_file *const *files,
                                uint32_t n_files, struct rt_error *err) RT_MUST_CHECK;
/* Whether it is time to write out what is done and call rt_durable_keep. Local, at little cost. */
bool rt_durable_asks(const struct rt_durable *durable);
/* Units [begin, end) of this rank are done and written to the files; they may be none. sums: what
 * they add; set to 0. most, largest: the greatest values so far. Local. Fails with what the syncing
 * thread met. */
enum rt_status rt_durable_keep(struct rt_durable *durable, uint64_t begin, uint64_t end,
                               uint64_t *sums, const float *most, uint64_t largest,
                               struct rt_error *err) RT_MUST_CHECK;
/* This rank has nothing more to hand in: it is asked no more. */
void rt_durable_leave(struct rt_durable *durable);
/* Ends the syncing; where st is RT_OK or RT_STOPPED what was handed in since is made durable first.
 * Collective over the job's communicator; st is this rank's status so far, the agreed one is
 * returned. The files are not needed afterwards. */
enum rt_status rt_durable_end(struct rt_durable *durable, enum rt_status st,
                              struct rt_error *err) RT_MUST_CHECK;
/* After rt_durable_end: adds what was handed in, by this run and those before it, to sums, most and
 * largest (or NULL) of one rank of each node. */
void rt_durable_take(const struct rt_durable *durable, uint64_t *sums, float *most,
                     uint64_t *largest);
void rt_durable_free(struct rt_durable *durable); /* collective */

/* Where a job with checkpoints fails with RT_DAMAGED, what its states tell of is not to be trusted:
 * rank 0 removes those of insert and compact, and *err says that --resume does that anew.
 * Other failures change nothing. Local; every rank calls it. */
void rt_durable_distrust(const struct rt_phase_context *context, enum rt_status st,
                         struct rt_error *err);

#endif
