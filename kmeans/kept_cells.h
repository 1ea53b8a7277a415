/* Cells of hierarchical training that are finished, kept by the rank that trained them and found
 * again by whatever ranks go on (G1). What a cell comes to depends on its rows, seats and number
 * alone (D7), so only its centroids and the leaf of each of its rows are kept. */
#ifndef RT_KMEANS_KEPT_CELLS_H
#define RT_KMEANS_KEPT_CELLS_H

#include "kmeans/keep.h"

#include <mpi.h>

struct rt_cell_line { /* all lent; rank and n_ranks of the communicator that trains */
    int rank, n_ranks;
    uint32_t n_cells, dim;
    const uint64_t *begins;     /* n_cells + 1: where each cell's rows begin on the line */
    const uint64_t *borders;    /* n_ranks + 1: where each rank's part of the line begins */
    const uint64_t *first_seat; /* n_cells + 1 */
    uint32_t *leaf;             /* of this rank's rows on the line, or NULL */
    float *centroids;           /* of all seats; a cell's are whole on the first of its ranks */
};

struct rt_kept_cells;
/* Finds the cells that runs before have finished: their centroids and leaves are put in place.
 * Collective over comm. keep NULL: *out is NULL, which all functions take. The caller frees *out
 * with rt_kept_cells_free. Fails with RT_IO, RT_NOMEM. */
enum rt_status rt_kept_cells_new(MPI_Comm comm, const struct rt_keep *keep,
                                 const struct rt_cell_line *line, struct rt_kept_cells **out,
                                 struct rt_error *err) RT_MUST_CHECK;
/* The same on all ranks. Local. */
bool rt_kept_cells_has(const struct rt_kept_cells *kept, uint32_t cell);
/* This rank's part of the cell is finished; keeps what is, when that is due. Local. */
enum rt_status rt_kept_cells_add(struct rt_kept_cells *kept, uint32_t cell,
                                 struct rt_error *err) RT_MUST_CHECK;
/* Keeps what is finished at once: training stops here. Local. */
enum rt_status rt_kept_cells_save(struct rt_kept_cells *kept, struct rt_error *err) RT_MUST_CHECK;
void rt_kept_cells_free(struct rt_kept_cells *kept);

#endif
