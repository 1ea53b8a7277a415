/* An insert takes along the small ones of the pairs (appendable, vectors) that inserts before it
 * have left, so that many small inserts leave few files (H3). Only live rows go along; they get new
 * places, which no frozen list knows. */
#ifndef RT_JOBS_PHASES_CARRY_H
#define RT_JOBS_PHASES_CARRY_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"

struct rt_carry {
    const struct rt_index_view *view; /* lent */
    uint64_t *files;                  /* generation numbers of the pairs taken, n_files of them */
    size_t n_files;
    uint64_t n_rows; /* live ones, over all */
    struct rt_carry_block *blocks;
    uint64_t n_blocks;
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
/* Private bytes of a rank for n_records taken. */
uint64_t rt_carry_bytes(uint64_t n_records);

struct rt_carry_columns { /* of n rows, as a tape's records and a vectors file's slots */
    uint32_t *lists;
    uint64_t *ids;
    uint8_t *codes;
    float *factors;
    unsigned char *vectors;
};
/* Live rows [begin, begin + n) of those taken, in the order of files and records. Local. Fails with
 * RT_DAMAGED. */
enum rt_status rt_carry_read(const struct rt_carry *carry, uint64_t begin, size_t n,
                             const struct rt_carry_columns *out,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
