/* Upper levels over finished leaves, and the final numbers of everything (D10). */
#ifndef RT_KMEANS_LEVELS_H
#define RT_KMEANS_LEVELS_H

#include "core/tree.h"
#include "kmeans/lloyd.h"
#include "mpi/node_copy.h"

/* Levels that own their arrays. */
struct rt_levels {
    uint32_t dim;
    uint32_t n_levels; /* coarse to leaf */
    uint32_t n[RT_MAX_LEVELS];
    float *centroids[RT_MAX_LEVELS]; /* n x dim; NULL: they are elsewhere, and keep their places */
    uint32_t *parent[RT_MAX_LEVELS]; /* n; NULL at the top */
    uint32_t *was; /* leaves: the number each had before rt_levels_number; NULL: not numbered */
    uint32_t *first_child[RT_MAX_LEVELS]; /* n + 1; NULL at the leaves */
};
void rt_levels_free(struct rt_levels *levels);

/* Trains levels of lists[0..n_levels-1) centroids over the n_leaves first rows of leaves, each
 * level over the one below as rows; parent = nearest; childless cells go; all levels are renumbered
 * by (parent, number), leaves where they are: centroids of the last level of *out is NULL. A level
 * with no fewer centroids than the one below is left out. Collective over comm; every place has all
 * leaves. Fails with RT_NOMEM. */
enum rt_status rt_levels_train(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                               uint32_t n_levels, const uint32_t *lists, uint32_t dim,
                               const struct rt_node_copy *leaves, uint32_t n_leaves,
                               struct rt_levels *out, struct rt_error *err) RT_MUST_CHECK;
/* Renumbers levels whose parents are in range but in any order; childless cells go. `was` tells of
 * the leaves' order. Local. */
enum rt_status rt_levels_number(struct rt_levels *levels, struct rt_error *err) RT_MUST_CHECK;

#endif
