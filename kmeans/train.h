/* Training as one collective call: centroids of every level from a sample, and what insert needs to
 * know. */
#ifndef RT_KMEANS_TRAIN_H
#define RT_KMEANS_TRAIN_H

#include "core/assign.h"
#include "core/tree.h"
#include "kmeans/keep.h"
#include "kmeans/sample.h"
#include "mpi/node_copy.h"

#define RT_TRAIN_AUTO_REFINEMENTS 12u /* at most */
#define RT_TRAIN_AUTO UINT32_MAX      /* refinements: those; beam: measured (A8) */

enum rt_training { RT_TRAINING_AUTO = 0, RT_TRAINING_LLOYD, RT_TRAINING_HIERARCHICAL };

struct rt_train_options {
    uint32_t n_levels; /* as --lists: coarse to leaf; leaves beyond the sample's rows are cut */
    uint32_t lists[RT_MAX_LEVELS];
    enum rt_metric metric;
    bool spherical;
    bool residual;          /* passed on to the tree */
    uint64_t rotation_seed; /* passed on to the tree */
    uint64_t seed;
    enum rt_training training;
    uint32_t n_iterations;
    uint32_t n_refinements;    /* of hierarchical training; RT_TRAIN_AUTO; 0: none */
    uint32_t kmeans_dimension; /* 0: off */
    uint64_t max_list_rows;    /* 0: off */
    uint64_t n_rows;           /* of the heap, for max_list_rows */
    uint32_t beam;             /* RT_TRAIN_AUTO, or passed on */
    enum rt_proposer proposer;
    /* Ranks that share memory with this one, which hold the leaves of hierarchical training once
     * (node_copy.h); MPI_COMM_NULL: none. */
    MPI_Comm node;
    /* Leaves, or a whole tree, from outside, rotated: nothing is trained but the missing upper
     * levels (those of lists that lie over the given ones; a given tree of several levels is taken
     * as it is). NULL: train. */
    const struct rt_tree *given;
    void *ctx;
    /* On every rank, not collective. done of total in this stage ("lloyd", "cells", "refine",
     * "levels", "beam"); moved: part of the rows, below 0 where unknown; objective: mean distance
     * sum, NaN where unknown. May be NULL. */
    void (*progress)(void *ctx, const char *stage, uint64_t done, uint64_t total, double moved,
                     double objective);
    /* As in struct rt_lloyd_setting, with ctx. */
    enum rt_status (*check)(void *ctx, struct rt_error *err);
    const struct rt_keep *keep; /* NULL: nothing is kept */
    /* Memory for the tree that lives longer (node-shared memory): bytes, 64-byte aligned.
     * Collective, called on every rank in the same order; *own: the bytes this rank fills. After
     * the last write `shared_done` is called on every rank (collective), then all may read. NULL:
     * private memory of every rank, freed by rt_trained_free. */
    enum rt_status (*shared_new)(void *ctx, size_t n_bytes, void **out, struct rt_range *own,
                                 struct rt_error *err);
    enum rt_status (*shared_done)(void *ctx, struct rt_error *err);
};

struct rt_train_step { /* one line of the training's log */
    char stage[12];
    uint32_t number;       /* iteration or round, from 1 */
    uint32_t n_neighbours; /* refine */
    uint64_t n_moved;
    double objective; /* NaN where not measured: refinement does at its end only */
};

struct rt_trained {
    struct rt_tree tree; /* a view of the arrays below, or of shared_new's */
    uint32_t beam; /* passed on, or measured; the cells of the level above the leaves where all are
                      kept */
    uint32_t beam_sampled; /* rows measured, and rows of them that the beam puts into their nearest
                              leaf */
    uint32_t beam_agreed;
    uint32_t n_refinements; /* done */
    uint32_t n_neighbours;  /* of the last refinement */
    uint32_t n_split;       /* leaves added by max_list_rows */
    double objective;       /* sum over the sample, of the last training step */
    struct rt_train_step *log;
    size_t n_log;
    struct rt_levels *owned;     /* memory of these ranks; NULL with shared_new, */
    struct rt_node_copy *leaves; /* as these, which are its last level */
};
void rt_trained_free(struct rt_trained *trained); /* collective where they are `owned` */

/* Trains. Collective over comm; options agree. sample: its rows may have travelled to other ranks
 * afterwards (numbers kept). The caller frees *out with rt_trained_free. Fails with RT_NOMEM,
 * RT_USAGE (a row count beyond 2^32-1 on a rank), RT_INPUT (given centroids of another dimension).
 */
enum rt_status rt_train(MPI_Comm comm, const struct rt_train_options *options,
                        struct rt_sample *sample, struct rt_trained *out,
                        struct rt_error *err) RT_MUST_CHECK;
/* Most bytes a rank holds, the sample included, for a sample of sample_rows rows in all.
 * n_sharing: ranks of options->node (which is not looked at), 1 where there are none. shared_bytes:
 * its part of what shared_new gives, at the end. */
uint64_t rt_train_bytes(const struct rt_train_options *options, uint64_t sample_rows, uint32_t dim,
                        enum rt_element type, bool native, uint32_t n_ranks, uint32_t n_sharing,
                        uint64_t shared_bytes);
/* Bytes of a node that its ranks share while they train; 0: they share nothing. */
uint64_t rt_train_shared_bytes(const struct rt_train_options *options, uint32_t dim);

#endif
