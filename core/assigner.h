/* The scratch of one thread that assigns rows, and what its parts share: rows of a batch against a
 * target T (B2). Private to core: assigner.c makes it, propose.c lists what could be among the
 * best, decide.c measures what is left, assign.c and assign_tree.c are the calls of core/assign.h.
 */
#ifndef RT_CORE_ASSIGNER_H
#define RT_CORE_ASSIGNER_H

#include "core/assign.h"
#include "core/centroid_set.h"
#include "core/kernels/kernels.h"

#include <stdbool.h>

#define RT_TILE 64        /* slots of a tile */
#define RT_BATCH 8192     /* rows that descend a tree together, at most */
#define RT_ROW_BLOCK 64   /* rows of a tile where codes multiply */
#define RT_SPARE 16       /* entries that pick may write beyond its end */
#define RT_TOP_SLOTS 1024 /* of a top level whose distances are kept for a block of rows */
#define RT_GEMM_TILES 4   /* tiles that BLAS multiplies at once */

struct rt_pair { /* a cell that a row descends into */
    uint32_t cell, row;
};

struct rt_assigner_sizes {
    size_t n_batch; /* rows */
    size_t arena;
    size_t gemm_rows, gemm_tiles;
};

struct rt_assigner {
    size_t max_rows;
    uint32_t dim, max_beam;
    enum rt_proposer proposer; /* never AUTO */
    const struct rt_kernels *kernels;
    struct rt_assigner_sizes sizes;
    uint64_t rows, candidates, n_distances;

    /* of each row of the batch */
    uint8_t *codes; /* code_stride each */
    size_t code_stride;
    const uint8_t **code_of;
    float *row_scale;
    struct rt_row_sizes *row_sizes;
    struct rt_row_bound *bound;
    float *threshold; /* T */
    uint32_t *n_listed;
    uint64_t *settled;  /* key (E, number) of the nearest of those its list had no room for */
    uint8_t *wants_all; /* E over all of T */
    struct rt_fine_rows *fine;   /* NULL below RT_FINE_DIM */
    struct rt_along_rows *along; /* NULL unless rt_leading_suits */

    char *arena; /* lists, kept cells and pairs: laid out anew for each call */
    float *a;    /* rows x slots of a tile */
    float *gemm_rows, *gemm_centroids;
    float *top_values; /* RT_ROW_BLOCK x RT_TOP_SLOTS */
    struct rt_packed *packed;
    uint32_t *numbers; /* candidates to measure, and their E */
    float *distances;
    uint64_t *keys;
};

/* Of each row of the batch, what its code leaves, by codes in its turn. */
struct rt_fine_rows {
    uint8_t *codes; /* code_stride each */
    float *scale;   /* as row_scale */
    struct rt_row_bound *bound;
    float *rest, *a; /* scratch: dim; RT_ROW_BLOCK x RT_TILE */
};

/* A set without cells is looked at in so many parts: neighbours by number are often near. */
#define RT_PARTS 16

/* Of each row of the batch, what it is along a set's directions. */
struct rt_along_rows {
    uint8_t *codes; /* RT_LEADING_MOST each */
    struct rt_row_along_bound *bound;
    int32_t *most;   /* scratch, of some rows: greatest sums, */
    float *lows;     /* least a - b, */
    float *of_parts; /* RT_PARTS for each: least a - b of parts of a set without cells, */
    uint32_t *left;  /* and those left of them */
};

/* Slots gathered from anywhere in a set. */
struct rt_packed {
    int8_t *codes;
    uint32_t ids[RT_TILE];
    float scale[RT_TILE], norm[RT_TILE], p[RT_TILE], w[RT_TILE];
    int32_t sums[RT_TILE];
};

struct rt_tile {
    struct rt_int8_tile products;
    const uint32_t *ids; /* UINT32_MAX: empty slot */
    const float *p, *w;
    float most_p, most_w;
    float first_w;           /* where a target is_fine, most_w of the first codes alone */
    struct rt_int8_tile low; /* where a target is_fine */
};

/* The T of B2: all of a set, or the children of the cells kept for each row. */
struct rt_target {
    const struct rt_centroid_set *set;
    const float *rows;            /* of this batch, or */
    const struct rt_coded *coded; /* not NULL: index[first..] of these */
    size_t first;
    size_t n_rows;
    uint32_t best;  /* A */
    bool by_codes;  /* least by coded distance, not by E (B11) */
    bool is_fine;   /* products by both codes of rows and centroids */
    bool is_along;  /* what rows are along the set's directions is known, and tells the lows */
    bool has_codes; /* the batch's codes, made before, are about this set's reference */
    const uint32_t *first_child; /* not NULL: T = children of kept[row][0..n_kept) */
    const uint32_t *kept;
    uint32_t n_kept;
    float *highs; /* of each row: its `best` least a + b of cells so far, ascending */
    size_t room;  /* of a list */
    float *list_a;
    uint32_t *list_id;
};
/* Bytes of a row's or centroid's codes: dim rounded up to whole steps of 4. */
static inline size_t rt_code_stride(uint32_t dim)
{
    return ((size_t)dim + 3) / 4 * 4;
}

static inline size_t rt_target_index(const struct rt_target *t, size_t row)
{
    return t->coded->index ? t->coded->index[t->first + row] : t->first + row;
}

/* The row's f32 values, rotated. */
static inline const float *rt_target_values(const struct rt_assigner *a, const struct rt_target *t,
                                            size_t row)
{
    return t->coded ? t->coded->row(t->coded->ctx, (uint32_t)rt_target_index(t, row))
                    : t->rows + row * a->dim;
}

/* E of a row to these centroids. */
static inline void rt_target_measure(const struct rt_assigner *a, const struct rt_target *t,
                                     size_t row, const uint32_t *numbers, size_t n, float *out)
{
    const float *x = rt_target_values(a, t, row);
    if (t->set->is_ip)
        a->kernels->ip_among(x, t->set->centroids, a->dim, numbers, n, out);
    else
        a->kernels->l2_among(x, t->set->centroids, a->dim, numbers, n, out);
}

/* Room of a row's list for `best` of T. */
size_t rt_assigner_room(uint32_t best);
/* Rows of a batch for `best` of T. */
size_t rt_assigner_batch(const struct rt_assigner *a, uint32_t best);
/* Candidates of one row, sure and open, at most. */
size_t rt_assigner_most_measured(uint32_t max_beam);
/* The next part of the arena; begins a cache line. */
void *rt_assigner_carve(char **at, size_t bytes);
/* The rows' lists. */
void rt_assigner_carve_lists(struct rt_target *t, size_t n_rows, char **at);
/* Ends the program where a call is beyond what the assigner is for. */
void rt_assigner_check(const struct rt_assigner *a, uint32_t dim, size_t n_rows, uint32_t most);

#endif
