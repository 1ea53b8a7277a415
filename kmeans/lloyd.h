/* Flat k-means (D3-D5) over rows that lie on the ranks of a communicator: the result is a function
 * of rows, seats and seed, to the bit, on any number of ranks. */
#ifndef RT_KMEANS_LLOYD_H
#define RT_KMEANS_LLOYD_H

#include "core/assign.h"
#include "kmeans/keep.h"
#include "kmeans/means.h"
#include "kmeans/sample.h"

/* What all of a job's training shares. */
struct rt_lloyd_setting {
    struct rt_scale scale;
    enum rt_metric distance; /* rt_means_distance */
    bool spherical;
    uint64_t seed;
    uint32_t n_iterations; /* 0: the first centroids as they are */
    /* D4 ends the iterations by the rows that move, not by the gain of the objective; results then
     * tell no objective. */
    bool stops_by_moves;
    bool overshoots; /* in all iterations but the last (C6) */
    bool reseeds;    /* lists of few rows are given to the largest, once (D5) */
    enum rt_proposer proposer;
    void *ctx;
    /* After an iteration (1-based), on every rank of the communicator; may be NULL. */
    void (*progress)(void *ctx, uint32_t iteration, uint64_t n_moved, double objective);
    /* Before each iteration or round of refinement, on every rank, local: a failure (a request to
     * stop) ends the training on all of them. May be NULL. */
    enum rt_status (*check)(void *check_ctx, struct rt_error *err);
    void *check_ctx;
    const struct rt_keep *keep; /* NULL: nothing is kept; else the rows are the whole sample's */
};

/* Where in the training a call stands; keys its random numbers. Levels from 0 are those of
 * hierarchical training, cells by the number of their first leaf. */
#define RT_PLACE_UPPER (UINT64_C(1) << 32) /* levels over the leaves */
#define RT_PLACE_SPLIT (UINT64_C(2) << 32) /* leaves split by --max-list-rows */
struct rt_lloyd_place {
    uint64_t level;
    uint64_t cell;
};

struct rt_lloyd_result {
    uint32_t n_iterations; /* done */
    uint64_t n_moved;      /* in the last one */
    double objective;      /* of the last assignment, in the unit of distances */
    rt_int128 joined;      /* the same, exact */
    bool has_settled;      /* stopped by D4, not by n_iterations */
};

/* Bytes a call on n_ranks allocates on a rank beside what it is given. */
uint64_t rt_lloyd_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint32_t row_dim,
                        uint32_t n_ranks);

/* Trains k centroids over local rows [begin, begin + n_local) of sample on each rank. Collective
 * over comm; k, place and setting agree. 1 <= k <= the rows of all ranks. centroids: k x dim of
 * this rank, all ranks get the same. list: n_local, the centroid each row had in the last
 * assignment (of the first centroids where there are no iterations); or NULL. Fails with RT_NOMEM.
 */
enum rt_status rt_lloyd_train(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                              struct rt_lloyd_place place, const struct rt_sample *sample,
                              size_t begin, size_t n_local, uint32_t k, float *centroids,
                              uint32_t *list, struct rt_lloyd_result *out,
                              struct rt_error *err) RT_MUST_CHECK;

/* Rows that one call of the assigner gets. */
size_t rt_lloyd_batch_rows(uint32_t dim);

/* Full-dimension means of k centroids that were trained on the first sample->dim values of rows
 * (--kmeans-dimension): one assignment pass, then means of whole rows; empty ones as in D5. narrow:
 * k x sample->dim. centroids: k x row_dim. Afterwards sample hands out whole rows. Collective over
 * comm. Fails with RT_NOMEM. */
enum rt_status rt_lloyd_widen(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                              struct rt_sample *sample, uint32_t k, float *narrow, float *centroids,
                              struct rt_error *err) RT_MUST_CHECK;

#endif
