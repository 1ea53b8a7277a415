/* Global refinement (D8, D9): every row against the leaves around its leaf, wherever they stand in
 * the hierarchy; sums follow the rows that move. Mends what the walls between cells spoil at a few
 * distances a row and round. */
#ifndef RT_KMEANS_REFINE_H
#define RT_KMEANS_REFINE_H

#include "kmeans/lloyd.h"
#include "mpi/node_copy.h"

/* Most leaves whose neighbours are sought among all of them; above, through a tree (D8). */
#define RT_REFINE_FLAT_LEAVES 8192u
/* Rows by which the neighbours of the last rounds are chosen, and how many of 1,000 of them must
 * find their nearest leaf among the neighbours of their leaf (A8). */
#define RT_REFINE_SAMPLE 4096u
#define RT_AGREEMENT_PER_MILLE 993u
#define RT_REFINE_STILL_PER 64u
#define RT_REFINE_STAGE "refine"

struct rt_refine_options {
    uint32_t n_rounds;
    /* End when no more than one row in RT_REFINE_STILL_PER moves (D8); else when none does. */
    bool may_stop;
    const struct rt_keep *keep; /* NULL: nothing is kept; else the rows are the whole sample's */
    /* What was kept of stage RT_REFINE_STAGE by another run; leaf is then what was kept with it.
     * NULL: from the first round. Lent. */
    const unsigned char *stand;
    size_t stand_bytes;
    void *ctx;
    /* After a round (1-based), on every rank; may be NULL. */
    void (*progress)(void *ctx, uint32_t round, uint32_t n_rounds, uint32_t n_neighbours,
                     uint64_t n_moved);
};
struct rt_refine_result {
    uint32_t n_rounds;     /* done; fewer than asked where too little moves */
    uint32_t n_neighbours; /* of the last round */
    uint64_t n_moved;
    double objective; /* of the rows and the centroids as they are at the end */
};

/* Refines k leaves in place; at first and at the end every place has all of them. Collective over
 * comm. *leaf: of each local row, any leaf near it at
 * first (its last assignment, say), that of the last round afterwards. Rows travel to where their
 * leaf is at home: the sample then has others (numbers kept), and *leaf is another array. Above
 * RT_REFINE_FLAT_LEAVES leaves are renumbered. Fails with RT_NOMEM, RT_USAGE (2^32 rows or more on
 * a rank). */
enum rt_status rt_refine(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                         const struct rt_refine_options *options, struct rt_sample *sample,
                         uint32_t k, struct rt_node_copy *leaves, uint32_t **leaf,
                         struct rt_refine_result *out, struct rt_error *err) RT_MUST_CHECK;
/* Bytes a rank holds beside the leaves and n_local sample rows of row_bytes each, where n_sharing
 * ranks are a place. */
uint64_t rt_refine_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint64_t row_bytes,
                         uint32_t n_ranks, uint32_t n_sharing);
/* Of these, what a place has once. */
uint64_t rt_refine_common_bytes(uint32_t k, uint32_t dim);
/* Leaves that a place gets in a round that is not the wide one, its own among them: k where it is
 * as well to get all of them. */
double rt_refine_reached(uint32_t k, uint32_t n_places);

#endif
