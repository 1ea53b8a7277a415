/* Lists of at most so many rows (D11): leaves of too many are trained anew as several. */
#ifndef RT_KMEANS_SPLIT_H
#define RT_KMEANS_SPLIT_H

#include "kmeans/lloyd.h"
#include "kmeans/sample.h"
#include "mpi/node_copy.h"

/* Splits those of *n_leaves leaves whose share of a heap of n_rows rows would be over `limit`, by
 * the sample's rows: each into as many as keep it below, never more than its rows. leaf: of each
 * local row. *leaves (n x sample->dim, freed and replaced by one of each rank alone) and *n_leaves
 * are as they were where none is too large. Rows may travel to other ranks. Collective. Fails with
 * RT_NOMEM, RT_USAGE (more than 2^32-1 leaves). */
enum rt_status rt_split_leaves(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                               struct rt_sample *sample, const uint32_t *leaf, uint64_t limit,
                               uint64_t n_rows, struct rt_node_copy **leaves, uint32_t *n_leaves,
                               struct rt_error *err) RT_MUST_CHECK;

#endif
