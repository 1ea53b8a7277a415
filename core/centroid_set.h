/* What a set of centroids holds beside them so that proposals (B3) can be made about rows, and the
 * constants of their proven bounds. Private to core; the constructors are declared in
 * assign.h.
 *
 * Centroids lie in slots: in order of number, 16 slots a group, and in a set in cells each cell
 * begins a group; slots left over have norm +infinity, so no proposal picks them. */
#ifndef RT_CORE_CENTROID_SET_H
#define RT_CORE_CENTROID_SET_H

#include "core/assign.h"
#include "core/kernels/kernels.h"

#include <stdbool.h>

/* From this dimension on the leaves of a tree have low codes too. */
#define RT_FINE_DIM 384

/* What codes leave of a centroid, by codes in its turn: with them a product has 16 bits (B5). */
struct rt_low_codes {
    const int8_t *codes; /* as those of the set; NULL: it has none */
    const float *scale;
    const int32_t *sums;
    const float *w;     /* in place of the set's w, with both codes: 2e_c, for ip e_c */
    float most, most_w; /* greatest 2|low part|, for ip |low part|, and w */
};

/* Most directions a set may have (B7). */
#define RT_LEADING_MOST 64

/* What centroids are along the directions in which they mostly lie, by codes (leading.h). */
struct rt_along_codes {
    uint32_t n;                 /* directions; 0: the set has none */
    const int8_t *codes;        /* [group][n/4][16][4] */
    const int32_t *starts;      /* of each slot: -|c'|^2 / unit */
    const int32_t *sums;        /* 128 x sum of codes */
    const float *group_p;       /* of each group the greatest 2 max(|c'|, |k|), */
    const float *group_w;       /* 2|A r| */
    const float *group_rest;    /* and 2|r| */
    struct rt_int8_tile as_set; /* the directions as centroids: what rows are along them */
    float skew;
    float row_scale; /* of rows' codes there */
    float unit;      /* a = -unit (start + product) */
};

struct rt_centroid_set {
    const float *centroids;
    uint32_t n, dim;
    uint32_t room;           /* of a set remade in place: the most centroids it may hold */
    const uint32_t *members; /* of such a set: their numbers; NULL: 0..n - 1 */
    bool is_ip;
    bool can_propose; /* else a centroid is beyond A6, and only E is sure */
    bool is_coded;    /* each centroid has a code of its own: B11 */
    uint32_t n_cells; /* 0: not in cells */
    uint32_t n_groups;
    const float *mean;              /* dim: what is subtracted first (B6); any point will do */
    const uint32_t *first_slot;     /* n_cells + 1 */
    const uint32_t *id_of;          /* of each slot, UINT32_MAX for those left over */
    const uint32_t *slot_of;        /* of each centroid */
    const float *scale;             /* of each slot: s_c */
    const float *norm;              /* |c'|^2 for l2, 0 for ip */
    const float *p, *w;             /* upper bounds of 2|c'| and 2e_c; for ip of |c'| and e_c */
    const int32_t *sums;            /* 128 x sum of codes */
    const float *group_p, *group_w; /* greatest of each group */
    const int8_t *codes;            /* [group][dim/4][16][4] */
    struct rt_low_codes low;
    struct rt_along_codes along;
    float most_p, most_w;       /* greatest of all */
    float k[3];                 /* see rt_bound */
    float row_omega, row_least; /* omega = row_omega (|x'| + e_x)^2 + row_least */
    float gemm_alpha;           /* alpha = gemm_alpha |x'| where BLAS multiplies */
    void *owned;
    uint8_t *row_codes; /* of a set remade in place: scratch */
};

/* The mean of n centroids: f64, ascending number, then f32 (B6). sums: scratch, dim. */
void rt_centroids_mean(const float *centroids, uint32_t n, uint32_t dim, double *sums, float *mean);

/* The constants of the bound, from dim and is_ip. mean_norm: of the mean. */
void rt_centroid_set_constants(struct rt_centroid_set *set, double mean_norm);

/* What a row adds to the bound. */
struct rt_row_bound {
    float alpha, beta, zeta, omega;
};

/* b(c) (B4, B5) from p + w and the row: never less for greater p or w, so the bound at the greatest
 * p and w of a tile is a bound for all of it, rounding included. */
static inline float rt_bound(const struct rt_centroid_set *set, const struct rt_row_bound *row,
                             float p, float w)
{
    float size = p + w;
    float k = (set->k[2] * size + set->k[1]) * size + set->k[0];
    return row->alpha * p + row->beta * w + (row->zeta * k + row->omega);
}

/* What a row's bounds are made of: its scale, and not less than |x'| and e_x. */
struct rt_row_sizes {
    float scale, norm, error;
};
struct rt_row_sizes rt_row_sizes(float scale, float norm2, float error2);
/* The row's part of the bound (is_gemm: without e_x); false: the row is too large or not finite,
 * and only E is sure. */
bool rt_row_bound(const struct rt_centroid_set *set, bool is_gemm, const struct rt_row_sizes *row,
                  struct rt_row_bound *out);

/* The same where the row has low codes too, of these sizes. */
struct rt_row_bound rt_row_fine_bound(const struct rt_centroid_set *set,
                                      const struct rt_row_bound *bound,
                                      const struct rt_row_sizes *row,
                                      const struct rt_row_sizes *low);

/* The same along a set's directions: beta as above; rest goes with the centroids' rest. */
struct rt_row_along_bound {
    float alpha, beta, rest, omega;
};
/* Of groups: their greatest. */
struct rt_along_sizes {
    float p, w, rest, k;
};
/* norm2 and error2: of what the row is along them, and what the codes of this leave. */
struct rt_row_along_bound rt_row_along_bound(const struct rt_centroid_set *set,
                                             const struct rt_row_sizes *row, float norm2,
                                             float error2);
struct rt_along_sizes rt_along_sizes(const struct rt_centroid_set *set, size_t group, size_t end);
static inline float rt_along_bound(const struct rt_row_along_bound *row,
                                   const struct rt_along_sizes *groups)
{
    return row->alpha * groups->p + row->beta * groups->w + row->rest * groups->rest +
           (groups->k + row->omega);
}

#endif
