/* A distributed sort of (key, value) pairs in bounded memory: every rank gives its pairs, cut into
 * runs by sampled borders; runs come back in order, one a rank and pass. Nothing of the size of all
 * pairs is ever in one memory (H5). */
#ifndef RT_JOBS_PHASES_PAIR_SORT_H
#define RT_JOBS_PHASES_PAIR_SORT_H

#include "jobs/phases/phase.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_pair {
    uint64_t key, value;
};

/* This rank's next pairs, at most `most`, in any order; *n = 0: no more. With rewind from the
 * beginning again, the same ones. Local. */
typedef enum rt_status (*rt_pair_source)(void *context, bool rewind, struct rt_pair *pairs,
                                         size_t most, size_t *n, struct rt_error *err);
/* A run: pairs ascending by (key, value), lent for the call. `first` pairs of the job, repeats
 * included, lie before it. Called once a pass on every rank, perhaps with n = 0, rank r's run lying
 * behind that of rank r - 1: it may be collective, and then returns an agreed status. A run may be
 * millions of pairs: where each takes a while, call rt_phase_check between them. */
typedef enum rt_status (*rt_pair_sink)(void *context, uint64_t first, const struct rt_pair *pairs,
                                       size_t n, struct rt_error *err);

struct rt_pair_sort {
    rt_pair_source source;
    rt_pair_sink sink;
    void *context;
    uint64_t n_mine; /* pairs of this rank's source, about */
    /* 0: all pairs are kept, and a key may be cut between two runs. Else a key lies in one run, and
     * of its pairs only the first so many are kept, so that one key of many pairs fits anywhere. */
    uint32_t most_per_key;
    uint64_t room; /* pairs that a rank holds at most, about; 0: by the budget */
};

/* Collective over the job's communicator. Fails with what the callbacks fail with, RT_NOMEM. */
enum rt_status rt_pair_sort(struct rt_phase_context *context, const struct rt_pair_sort *sort,
                            struct rt_error *err) RT_MUST_CHECK;

/* Private bytes of a rank that sorts its part of n_total pairs, spread evenly over the ranks: those
 * that leave and those that come. budget_bytes as in the context. rt_pair_sort_run: pairs that the
 * sink gets at once, at most about. */
uint64_t rt_pair_sort_bytes(uint64_t budget_bytes, uint64_t n_total, int n_ranks);
uint64_t rt_pair_sort_run(uint64_t budget_bytes, uint64_t n_total, int n_ranks);

/* For qsort: by key, then value. */
int rt_pair_compare(const void *a, const void *b);

#endif
