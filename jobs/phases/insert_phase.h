/* Insert: every rank streams its partition, puts each row into its nearest list, and appends the
 * code record to its part of the appendable tape and the vector to its part of the tape the chooser
 * names. No rank waits for another but for the files to be made and for the final sums. */
#ifndef RT_JOBS_PHASES_INSERT_PHASE_H
#define RT_JOBS_PHASES_INSERT_PHASE_H

#include "core/assign.h"
#include "core/checksum.h"
#include "core/rotation.h"
#include "core/tree.h"
#include "io/tape_file.h"
#include "jobs/phases/carry.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/recall_gate.h"
#include "jobs/phases/row_source.h"
#include "jobs/phases/slot_layout.h"

#include <stdbool.h>

struct rt_insert_input {
    const struct rt_tree *tree;          /* all lent */
    struct rt_centroid_set *const *sets; /* NULL: few rows, which descend by exact distances */
    enum rt_status (*touch)(void *context, uint32_t level, uint32_t first, uint32_t n,
                            struct rt_error *err); /* without sets: as in core/descend.h */
    void *touch_context;
    const struct rt_rotation *rotation;
    uint32_t beam;
    int exponent; /* every sample value is below 2^exponent (C1): the scale of spread */
    struct rt_hash128 fingerprint;
    struct rt_rows *rows;
    struct rt_row_source *source;
    uint64_t block_rows;
    struct rt_recall_gate *gate; /* NULL: none */
    bool ids_ascend;             /* in row order: else the vectors file gets them sorted (H5) */
    bool counts_leaves;          /* statistics of leaves are wanted: K numbers more to sum */
    /* Of an insert into a published index; all zero in a build. */
    const struct rt_carry *carry; /* rows of older pairs that go along, before the new ones */
    uint32_t first_segment;       /* numbers given before */
    uint64_t first_heap_row;      /* of the source's row 0, where vectors stay in the heap */
};

struct rt_leaf_statistics { /* by leaf, summed over ranks; at build, for drift (C5) */
    uint64_t *rows;
    float *radius;  /* largest E */
    double *spread; /* sum of E */
};

struct rt_insert_output {
    struct rt_slot_layout *slots;
    struct rt_tape_shape tape_shape;
    struct rt_h5_layout tape_layout;
    struct rt_h5_layout vectors_layout;
    uint64_t *list_rows; /* this rank's rows of each list; both only where leaves are counted */
    struct rt_leaf_statistics leaves;
    struct rt_hash128 rows_hash; /* of the new rows of all ranks (K1) */
    uint64_t n_rows;             /* of all ranks, without skipped and carried ones */
    uint64_t n_skipped;          /* of all ranks */
    uint64_t largest_id;         /* of all ranks; 0 where all rows are bad */
    uint64_t n_candidates;       /* centroids that E measured, over all ranks (B8) */
    struct rt_phase_record record;
};

/* Collective over the job's communicator. Makes appendable-G and vectors-G (still .partial), both
 * synced and closed. The caller frees *out with rt_insert_output_free. Fails with RT_INPUT (bad
 * row, duplicate id), RT_IO, RT_NOMEM. */
enum rt_status rt_insert_phase(struct rt_phase_context *context,
                               const struct rt_insert_input *input, struct rt_insert_output *out,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_insert_output_free(struct rt_insert_output *output);

/* Few rows beside the leaves of a tree descend by exact distances, without sets (H7). */
bool rt_insert_is_few(uint64_t n_rows, uint32_t n_leaves);

/* Private bytes of a rank in this phase, J1: for plan, and for sizing the buffers here. */
struct rt_insert_sizes {
    uint32_t dim;
    enum rt_element element;
    enum rt_metric metric;
    bool in_heap;    /* vectors stay there */
    uint64_t n_rows; /* of all ranks, carried ones included */
    uint32_t n_ranks;
    uint64_t block_rows;
    uint32_t n_lists; /* whose statistics are wanted; 0: an insert into a published index */
    uint32_t beam;    /* 0: few rows, without sets */
    uint32_t tapes_of_rank;
};
uint64_t rt_insert_phase_bytes(const struct rt_insert_sizes *sizes);
/* Rows that are read and assigned at once unless somebody says how many: 4 MiB of them, and up to
 * 8,192 where leaves take so much more memory that their codes should be read less often. */
uint64_t rt_insert_block_rows(uint64_t row_bytes, uint64_t leaf_bytes);
/* What its checkpoints add to that, and to the node's shared memory. n_lists likewise. */
uint64_t rt_insert_phase_kept_bytes(uint64_t n_rows, uint32_t n_lists, int ranks_per_node);

#endif
