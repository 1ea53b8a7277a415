/* Ids of the rows that an insert will put in: what a bad row would have replaced stays. */
#ifndef RT_JOBS_PHASES_GOOD_IDS_H
#define RT_JOBS_PHASES_GOOD_IDS_H

#include "core/metric.h"
#include "jobs/phases/pair_sort.h"
#include "jobs/phases/row_source.h"
#include "mpi/partition.h"

struct rt_good_ids {
    /* given */
    struct rt_row_source *source;
    uint32_t dim;
    enum rt_element element;
    enum rt_metric metric;
    bool may_skip; /* --bad-rows skip: else a bad row ends the insert, and all are good */
    /* of rt_good_ids_begin */
    struct rt_range mine;
    uint64_t at;
    uint64_t *ids;
    unsigned char *native;
    float *values;
};

/* Private bytes of a rank. */
uint64_t rt_good_ids_bytes(uint32_t dim, enum rt_element element);
/* This rank's part of the rows of the source. rt_good_ids_end frees what was made, after a failure
 * too. Fails with RT_NOMEM. */
enum rt_status rt_good_ids_begin(struct rt_good_ids *good, int rank, int n_ranks,
                                 struct rt_error *err) RT_MUST_CHECK;
/* The next ids of this rank's, as keys, at most `most` of them, anew after rewind; *n 0: no more.
 * context: a struct rt_good_ids. Fails as rt_row_source_read. */
enum rt_status rt_good_ids_next(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                                size_t *n, struct rt_error *err) RT_MUST_CHECK;
void rt_good_ids_end(struct rt_good_ids *good);

#endif
