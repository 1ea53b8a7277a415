/* From rows as they lie in the heap to what an index keeps of them: judged, rotated, put into their
 * nearest list, encoded. Local to one rank and one thread; a batch in, a batch out. Shared by
 * build, and by verify, which codes rows again. */
#ifndef RT_JOBS_ROW_CODER_H
#define RT_JOBS_ROW_CODER_H

#include "core/assign.h"
#include "core/descend.h"
#include "core/element.h"
#include "core/error.h"
#include "core/metric.h"
#include "core/rotation.h"
#include "core/tree.h"

#include <stddef.h>
#include <stdint.h>

struct rt_row_coder_options {
    const struct rt_tree *tree;          /* these four are lent for the coder's life */
    struct rt_centroid_set *const *sets; /* one for each level; NULL: rows are few, and take the
                                            exact way of core/descend.h to the same leaves */
    enum rt_metric distance;             /* without sets: RT_L2 or RT_IP */
    enum rt_status (*touch)(void *context, uint32_t level, uint32_t first, uint32_t n,
                            struct rt_error *err); /* without sets: as in core/descend.h */
    void *touch_context;
    const struct rt_rotation *rotation;
    enum rt_element element; /* of the rows given */
    uint32_t beam;
    enum rt_proposer proposer;
    size_t max_rows; /* of a batch */
};

struct rt_row_coder;
/* Private bytes of a coder with these options; beam 0: without sets. */
size_t rt_row_coder_bytes(uint32_t dim, uint32_t beam, size_t max_rows);
enum rt_status rt_row_coder_new(const struct rt_row_coder_options *options,
                                struct rt_row_coder **out, struct rt_error *err) RT_MUST_CHECK;
void rt_row_coder_free(struct rt_row_coder *coder); /* NULL is fine */

/* Rows of a batch after rt_row_coder_assign; lent until the next call. */
struct rt_coded_rows {
    size_t n_rows;
    const enum rt_row_verdict *verdicts; /* n_rows; what is not RT_ROW_GOOD has list RT_NO_PARENT */
    const uint32_t *lists;               /* n_rows: leaf */
    const float *distances;              /* n_rows: E to the leaf's centroid */
    const float *rotated;                /* n_rows x dim; a bad row is all zero */
    size_t n_good;
};
/* native: n_rows packed rows in their element type, n_rows <= max_rows. Fails only without sets,
 * as rt_descend does. */
enum rt_status rt_row_coder_assign(struct rt_row_coder *coder, const void *native, size_t n_rows,
                                   const struct rt_coded_rows **out,
                                   struct rt_error *err) RT_MUST_CHECK;
/* Codes (rt_code_bytes each) and factors of the batch's good rows, each at its row's place. */
void rt_row_coder_encode(const struct rt_row_coder *coder, uint8_t *codes, float *factors);

/* Rows 0..n_rows sorted by (list, row) (E3), those with list RT_NO_PARENT left out: row numbers
 * into order, their count is returned. order and scratch: n_rows entries. */
size_t rt_row_coder_order(const uint32_t *lists, size_t n_rows, uint32_t *order, uint32_t *scratch);

/* What assigning cost so far (B8). */
void rt_row_coder_counts(const struct rt_row_coder *coder, uint64_t *rows, uint64_t *candidates);

#endif
