/* What refinement (D8, D9) holds on a rank, and its parts. Private to kmeans/refine*.c.
 *
 * A leaf has a home: the rank that holds its rows, its sums and its centroid, and seeks its
 * neighbours. So all that a leaf costs is paid once, whatever the ranks are: codes of its
 * neighbours above all, about as much as a hundred rows. Rows that move to a leaf of another home
 * go there; where it has no room for them they stay where they are, as strays, and try again in the
 * next round. What a rank knows of all leaves, centroids and codes, it has in common with the ranks
 * of its place (node_copy.h): a home writes its centroids there between two rounds, and those of
 * other places come once. */
#ifndef RT_KMEANS_REFINE_WORK_H
#define RT_KMEANS_REFINE_WORK_H

#include "kmeans/levels.h"
#include "kmeans/refine.h"
#include "mpi/exchange.h"
#include "mpi/node_copy.h"
#include "mpi/partition.h"

/* Passes of a round in which rows travel, each as many as there is room for: those that went in one
 * pass make room for those of the next. */
#define RT_REFINE_PASSES 4u
#define RT_REFINE_FEW_PER 64u /* of so many rows one may well wait for the next round */
#define RT_REFINE_GROUP 256u  /* leaves whose neighbours are sought at once */
#define RT_REFINE_MOST_NEIGHBOURS 512u

/* Rows lie by leaf in `order`; `was` and `order_was` are those of the round before. Arrays of rows
 * have room for `room` rows. */
struct rt_refine_work {
    MPI_Comm comm;
    int rank, n_ranks;
    const struct rt_lloyd_setting *setting;
    struct rt_sample *sample;
    uint32_t k, dim;
    struct rt_node_copy *leaves; /* k x dim */
    float *centroids;            /* its data */
    size_t room;
    uint32_t *leaf, *was;          /* of each row */
    uint32_t *order, *order_was;   /* rows by leaf */
    uint32_t *starts, *starts_was; /* k + 1 */

    /* homes: leaves [first_leaf[r], first_leaf[r + 1]) are at home on rank r */
    uint32_t *first_leaf; /* n_ranks + 1 */
    /* Where rows of one leaf are more than one rank has room for, those after its home hold rows of
     * it, too, and keep them: the one that begins with rows of an earlier home; UINT32_MAX: none */
    uint32_t spilled;
    int64_t *sums;      /* of leaves at home, x dim */
    int64_t *counts;    /* of leaves at home */
    float *before;      /* of leaves at home, x dim: centroids before a round */
    int64_t *delta;     /* dim */
    uint32_t *cursor;   /* n_ranks: next leaf to tell each rank of, */
    uint32_t *next_row; /* the next place in order of a row that goes to each, */
    uint32_t *end_row;  /* the end of those that go, in all passes */
    uint32_t *pass_end; /* and in this one; */
    uint32_t *wanted;   /* rows that would go and have no room yet */
    uint32_t *goes;     /* RT_REFINE_PASSES x n_ranks: rows that go to each in a pass */
    size_t n_free;      /* places of rows that have gone, in order_was */
    uint64_t *bytes;    /* n_ranks: of centroids of each; then what has something for it */
    struct rt_exchange *exchange;

    size_t batch;
    float *rows;     /* batch x row_dim */
    float *row;      /* row_dim */
    uint32_t *found; /* batch */
    /* Rows as codes about a point near their leaf: where it was at the start, itself known by a
     * code about the middle of all leaves. Made when a row comes to a leaf. */
    size_t code_bytes;
    unsigned char *codes; /* of each row */
    float *reference;     /* dim */
    /* of all leaves, made by the ranks of a place together: */
    struct rt_node_copy *common;
    float *middle;             /* dim */
    unsigned char *references; /* k x code_bytes */
    void *store;               /* of sets[1] */
    struct rt_centroid_set *near;
    struct rt_assigner *of_rows;

    /* search for neighbours: all leaves, or through cells */
    float *group;         /* RT_REFINE_GROUP x dim centroids, */
    uint32_t *group_leaf; /* their numbers, */
    uint32_t *neighbours; /* and RT_REFINE_GROUP x most neighbours */
    uint32_t most;        /* neighbours a leaf may have */
    struct rt_assigner *of_leaves;
    struct rt_levels cells; /* n_levels 0: all leaves */
    struct rt_tree tree;
    bool *is_reached;                /* of each cell, whether its leaves are known here */
    struct rt_centroid_set *sets[2]; /* cells, leaves; without cells only [1] */
};

static inline uint32_t rt_refine_n_home(const struct rt_refine_work *w)
{
    return w->first_leaf[w->rank + 1] - w->first_leaf[w->rank];
}
/* Row `index`, rotated; valid until the next call. ctx: the work. */
const float *rt_refine_row(void *ctx, uint32_t index);
/* What rows of a leaf have their codes about; valid until the next call. */
const float *rt_refine_reference(struct rt_refine_work *w, size_t leaf);
/* order and starts from leaf. */
void rt_refine_order(struct rt_refine_work *w);

/* --- neighbours (D8) --- */

/* Cells over k leaves through which neighbours are sought; 0: among all leaves. */
uint32_t rt_refine_n_cells(uint32_t k);
size_t rt_refine_store_bytes(uint32_t k, uint32_t dim);
/* Where there are to be cells: makes them, and renumbers the leaves so that a cell's are
 * contiguous. The cells stay as they are while the leaves move: they only say where to look.
 * Collective. */
enum rt_status rt_refine_make_cells(struct rt_refine_work *w, struct rt_error *err) RT_MUST_CHECK;
void rt_refine_view_cells(struct rt_refine_work *w);
/* Next leaves with rows here, from *next on, into group_leaf; returns how many. */
size_t rt_refine_next_group(struct rt_refine_work *w, uint32_t *next);
/* Marks in is_reached the cells in which the neighbours of leaves with rows in this place are
 * sought. Collective. */
void rt_refine_mark_reached(struct rt_refine_work *w);
/* Sets over the present centroids, of the cells that are reached. Collective. */
enum rt_status rt_refine_renew_sets(struct rt_refine_work *w, struct rt_error *err) RT_MUST_CHECK;
/* The m neighbours of n leaves (group_leaf) into neighbours, n x m; where there are fewer, the rest
 * is UINT32_MAX. Each comes first among its own, even where twins of smaller numbers fill the list.
 */
void rt_refine_find_neighbours(struct rt_refine_work *w, size_t n, uint32_t m);
uint32_t rt_refine_count_neighbours(const uint32_t *list, uint32_t m);

/* --- how many neighbours (A8) --- */

/* The least number of neighbours that agrees. Collective. */
enum rt_status rt_refine_choose_neighbours(struct rt_refine_work *w, uint32_t *m,
                                           struct rt_error *err) RT_MUST_CHECK;

/* --- rows and sums at the homes of their leaves (D9) --- */

/* Rows that a rank has room for where n_rows begin there. */
size_t rt_refine_room(uint64_t n_rows, int n_ranks);
/* Gives every leaf a home, and moves the rows there. leaf: of each row; afterwards that of the rows
 * that are here now, with room. Collective. */
enum rt_status rt_refine_settle(struct rt_refine_work *w, struct rt_error *err) RT_MUST_CHECK;
/* leaf has changed from was: sums follow, rows go to their homes, and order is made anew; rows at
 * new leaves have new codes. Collective. */
enum rt_status rt_refine_follow(struct rt_refine_work *w, struct rt_error *err) RT_MUST_CHECK;
/* Every home divides its sums. Others do not know of it yet. Local. */
void rt_refine_renew_centroids(struct rt_refine_work *w, bool overshoots);

/* --- centroids from their homes --- */

/* All leaves to all places. Collective. */
void rt_refine_gather(struct rt_refine_work *w);
/* Through cells: to each place the leaves that those of its rows can reach, the children of the
 * cells in which their neighbours are sought; what a place gets falls with the places.
 * Collective. */
enum rt_status rt_refine_reach(struct rt_refine_work *w, struct rt_error *err) RT_MUST_CHECK;

/* --- where it stands (G1) --- */

enum rt_status rt_refine_save(const struct rt_refine_work *w, const struct rt_keep *keep,
                              uint32_t round, uint32_t n_neighbours,
                              struct rt_error *err) RT_MUST_CHECK;
/* The bytes are as rt_refine_save has made them: their checksum was right. Local. */
enum rt_status rt_refine_load(struct rt_refine_work *w, const struct rt_refine_options *options,
                              uint32_t *round, uint32_t *n_neighbours,
                              struct rt_error *err) RT_MUST_CHECK;

#endif
