/* An insert takes along the small ones of the pairs (appendable, vectors) that inserts before it
 * have left, so that many small inserts leave few files (H3). Only live rows go along; they get new
 * places, which no frozen list knows. */
#ifndef RT_JOBS_PHASES_CARRY_H
#define RT_JOBS_PHASES_CARRY_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/slot_layout.h"

struct rt_carry {
    const struct rt_index_view *view; /* lent */
    uint64_t *files;                  /* generation numbers of the pairs taken, n_files of them */
    size_t n_files;
    uint64_t n_live; /* rows, over all */
    uint64_t n_rows; /* the same; where vectors stay in the heap dead rows among them as well, which
                        keep runs of heap rows in one piece */
    uint64_t n_blocks;
    struct rt_carry_block *blocks;
    struct rt_heap_block *heap_blocks; /* where vectors stay in the heap: these, instead, */
    struct rt_heap_run *heap_runs;     /* and n_heap_runs of these */
    size_t n_heap_runs;
};

/* Which pairs go along with n_rows new rows: every one of at most twice the rows held so far, from
 * the youngest. Collective over the job's communicator; view is the same index on all ranks. The
 * caller frees *out with rt_carry_free. Fails with RT_NOMEM. */
enum rt_status rt_carry_new(struct rt_phase_context *context, const struct rt_index_view *view,
                            uint64_t n_rows, struct rt_carry **out,
                            struct rt_error *err) RT_MUST_CHECK;
void rt_carry_free(struct rt_carry *carry); /* NULL is fine */

/* Which pairs go along, and nothing else: their generations into files, which has room for the
 * manifest's n_files, their count into *n_files. Returns their records, dead ones included. */
uint64_t rt_carry_choose(const struct rt_manifest *manifest, uint64_t n_rows, uint64_t *files,
                         size_t *n_files);
/* Does the pair of this generation go along? */
bool rt_carry_is_taken(const struct rt_carry *carry, uint64_t generation);
/* Private bytes of a rank for n_records taken (slots of n_segments, where vectors stay in the heap;
 * else 0). */
uint64_t rt_carry_bytes(uint64_t n_records, uint64_t n_segments);

/* Rows [begin, begin + n) of those taken, in the order of files and records; where vectors stay in
 * the heap in that of segments, and a dead one has id RT_NO_ID and list RT_NO_LIST and nothing
 * else. Records go to out, whose places stay as they are, and vectors, where files hold them, to
 * `vectors`. Local. Fails with RT_DAMAGED. */
enum rt_status rt_carry_read(const struct rt_carry *carry, uint64_t begin, size_t n,
                             const struct rt_tape_columns *out, unsigned char *vectors,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
