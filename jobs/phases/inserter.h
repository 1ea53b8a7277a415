/* The state of an insert phase on one rank, shared by its parts only: the rows' way
 * (insert_chunks.h), the files they go to (insert_files.h) and what earlier runs have done
 * (insert_before.h). */
#ifndef RT_JOBS_PHASES_INSERTER_H
#define RT_JOBS_PHASES_INSERTER_H

#include "jobs/phases/behind.h"
#include "jobs/phases/chunk_work.h"
#include "jobs/phases/durable.h"
#include "jobs/phases/insert_phase.h"
#include "jobs/phases/row_coder.h"
#include "kmeans/means.h"

#define RT_INSERT_BUFFER_BYTES ((size_t)8 << 20) /* of each file being written */

/* Of each tape's writer: a rank's buffers are as large however many tapes it writes. */
static inline size_t rt_inserter_vectors_buffer(uint32_t tapes_of_rank)
{
    return RT_INSERT_BUFFER_BYTES / tapes_of_rank;
}
#define RT_DIRECTORY_CHUNKS 1024u /* whose entries wait to be written */

struct rt_inserter;

/* A block's vectors, with what lies beside them in their file. */
struct rt_block_vectors {
    const struct rt_inserter *in;
    uint64_t first_row;
    size_t n_rows;
    const unsigned char *native;
    const uint64_t *ids;
    const uint32_t *lists;
};

struct rt_inserter {
    struct rt_phase_context *context;
    const struct rt_insert_input *input;
    struct rt_insert_output *out;
    uint32_t dim, code_bytes, n_factors, n_lists;
    size_t row_bytes;
    struct rt_chunks chunks;
    uint64_t n_carried;            /* rows before the first of the source */
    struct rt_heap_run *heap_runs; /* n_heap_runs of all rows, where vectors stay in the heap */
    size_t n_heap_runs;
    size_t block_rows; /* read and coded at once */
    size_t group_rows; /* whole chunks, and whole blocks: what the columns hold */
    struct rt_chunk_work work;
    struct rt_chunk_run run; /* the chunks at hand */
    uint64_t n_kept;         /* of the run's: handed in as done */
    struct rt_row_coder *coder;
    struct rt_tape_columns rows,
        sorted;       /* of a group of rows; one chunk in the order of the tape */
    float *distances; /* of the group's rows to their lists */
    uint32_t *order, *scratch;
    unsigned char *native;
    struct rt_behind *behind; /* writes the vectors of a block while the next is computed; NULL:
                                 there is but one, or MPI-IO, which is one thread's */
    struct rt_block_vectors under_way;
    unsigned char *other_native; /* these three: of the block that is under way, or room for one */
    uint64_t *other_ids;
    uint32_t *other_lists;
    uint64_t *slot_next; /* next slot of the run, by tape */
    struct rt_h5_file *tape_file, *vectors_file;
    struct rt_unit_writer *tape;     /* of the run, as the next ones */
    struct rt_unit_writer **vectors; /* by tape; NULL where the run has no part */
    uint64_t directory[2 * RT_DIRECTORY_CHUNKS];
    uint64_t directory_begin, directory_end; /* chunks whose entries wait there */
    struct rt_scale scale;
    struct rt_durable *durable;
    size_t n_counted; /* leaves with statistics */
    size_t n_sums;
    uint64_t *sums; /* what the rows add that are not handed in yet: spread of each leaf that is
                       counted, n_skipped, n_candidates, hash of the rows */
    struct rt_objective *spread; /* these point there */
    uint64_t *n_skipped, *n_candidates, *rows_hash;
    uint64_t candidates_counted; /* of the coder's */
    uint64_t largest_id;
    uint64_t bad_row; /* of the source, met with --bad-rows fail, or RT_NO_BAD_ROW */
};

#endif
