/* Many leaves at a fraction of flat k-means' cost: sqrt(K) cells first, then leaves inside each
 * cell, on whichever ranks the cell's rows come to lie (D6, D7). What the walls between cells
 * spoil, refine.h mends. */
#ifndef RT_KMEANS_HIERARCHICAL_H
#define RT_KMEANS_HIERARCHICAL_H

#include "kmeans/keep.h"
#include "kmeans/lloyd.h"
#include "mpi/node_copy.h"

/* Where there are more than twice as many rows for a centroid, about so many train it: cells are
 * scaffolding, and leaves of cells are where all rows refine them afterwards. */
#define RT_COARSE_ROWS_PER_CELL 256u
#define RT_ROWS_PER_LEAF 96u

struct rt_hierarchical_progress {
    void *ctx;
    /* Rows of the sample whose cell is finished, on every rank; local. May be NULL. */
    void (*cell_done)(void *ctx, uint64_t rows_done, uint64_t rows_all);
};

/* Trains k leaves over the whole sample. Collective over comm; k <= sample->n_total. Rows travel:
 * afterwards sample holds the rows of this rank's part of the line of cells, with their numbers.
 * centroids: k x dim; all places get the same. leaf: receives the leaf of each local row in the
 * last assignment (*leaf is NULL before; the caller frees it), or NULL. keep: where finished cells
 * are kept, and found again (kept_cells.h); NULL: nowhere. Fails with RT_NOMEM, RT_USAGE (2^32 rows
 * on a rank), RT_IO. */
enum rt_status rt_hierarchical_train(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                                     struct rt_sample *sample, uint32_t k,
                                     struct rt_node_copy *centroids, uint32_t **leaf,
                                     const struct rt_keep *keep,
                                     const struct rt_hierarchical_progress *progress,
                                     struct rt_error *err) RT_MUST_CHECK;
/* Trains seats[c] centroids over the rows of each cell c, with c's first seat as its number; cells
 * of 0 seats are left, and no cell has more seats than rows. cell: of each local row. centroids:
 * the sum of seats x dim, cell by cell. Rows travel as above. Collective over comm. */
enum rt_status rt_hierarchical_train_cells(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                                           uint64_t level, struct rt_sample *sample,
                                           const uint32_t *cell, uint32_t n_cells,
                                           const uint64_t *seats, float *centroids,
                                           const struct rt_hierarchical_progress *progress,
                                           struct rt_error *err) RT_MUST_CHECK;
uint64_t rt_hierarchical_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint64_t row_bytes,
                               uint32_t n_ranks);

#endif
