/* How many cells assignment has to look into (A8): measured on rows of the sample. */
#ifndef RT_KMEANS_BEAM_H
#define RT_KMEANS_BEAM_H

#include "core/tree.h"
#include "kmeans/lloyd.h"
#include "kmeans/sample.h"
#include "mpi/node_copy.h"

struct rt_beam {
    uint32_t width;     /* cells, of the level above the leaves */
    uint32_t n_sampled; /* rows measured, and rows of them that it puts into their nearest leaf */
    uint32_t n_agreed;
};

/* The first of 1, 2, 4, 8, 12, 16, 24, .. cells through which at least RT_AGREEMENT_PER_MILLE of
 * about 4,096 rows, drawn by setting->seed, come to their nearest of all leaves; all cells where
 * none does; 1 without cells or rows. progress, with setting->ctx: on every rank, after each width
 * tried. The ranks of node (MPI_COMM_NULL: none) have what proposals need once. Collective over
 * comm. Fails with RT_NOMEM. */
enum rt_status rt_beam_measure(MPI_Comm comm, MPI_Comm node, const struct rt_lloyd_setting *setting,
                               const struct rt_tree *tree, const struct rt_sample *sample,
                               void (*progress)(void *ctx, uint32_t beam, uint32_t n_cells),
                               struct rt_beam *out, struct rt_error *err) RT_MUST_CHECK;
/* Most bytes a rank holds while it measures k leaves under n_cells cells, where n_sharing ranks are
 * a node. */
uint64_t rt_beam_bytes(uint32_t n_cells, uint32_t k, uint32_t dim, uint32_t n_sharing);

#endif
