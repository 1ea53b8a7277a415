/* The inner loops that exist once for every instruction set. The table is filled once, by CPU or by
 * RANKTAPE_ISA, and then only read. Every function gives the same bits in every instruction set,
 * save those marked as proposals. Kernels never allocate, fail or log; pointers need no
 * alignment unless said. */
#ifndef RT_CORE_KERNELS_KERNELS_H
#define RT_CORE_KERNELS_KERNELS_H

#include "core/error.h"
#include "core/kernels/scan_kernels.h"

#include <stddef.h>
#include <stdint.h>

#define RT_KAC_SCALE 0x1.6a09e6p-1f /* f32 of 1/sqrt(2) */

enum rt_isa { /* those of one processor in ascending order */
              RT_ISA_PORTABLE = 0,
              RT_ISA_AVX2,
              RT_ISA_AVX512,
              RT_ISA_AVX512_VNNI,
              RT_ISA_AVX512_AMX,
              RT_ISA_NEON,
              RT_ISA_NEON_DOT,
              RT_N_ISAS
};

struct rt_quantised {
    float scale;
    float error2; /* sum of (x'_i - scale q_i)^2 */
    float norm2;  /* sum of x'_i^2 */
    int32_t sum;  /* of the codes less 128 */
};

struct rt_int8_tile {
    const int8_t *codes; /* 64-byte aligned */
    const float *scale, *norm;
    const int32_t *sums;
    size_t n_groups;
    size_t n_steps;
};
static inline struct rt_int8_tile rt_int8_tile_part(const struct rt_int8_tile *tile, size_t group,
                                                    size_t n_groups)
{
    return (struct rt_int8_tile){tile->codes + group * tile->n_steps * 64,
                                 tile->scale + 16 * group,
                                 tile->norm + 16 * group,
                                 tile->sums + 16 * group,
                                 n_groups,
                                 tile->n_steps};
}

/* Rows by their codes: of those that lie stride bytes apart, the numbers meant. */
struct rt_int8_rows {
    const uint8_t *codes;
    size_t stride;
    const float *scale; /* row_scale of all that lie there */
    const uint32_t *numbers;
    size_t n;
};
static inline const uint8_t *rt_int8_row(const struct rt_int8_rows *rows, size_t at)
{
    return rows->codes + rows->numbers[at] * rows->stride;
}
/* Those meant by numbers[at..at + n). */
static inline void rt_int8_rows_find(const struct rt_int8_rows *rows, size_t at, size_t n,
                                     const uint8_t **codes, float *scale)
{
    for (size_t i = 0; i < n; i++) {
        codes[i] = rt_int8_row(rows, at + i);
        scale[i] = rows->scale[rows->numbers[at + i]];
    }
}

/* Centroids of a cell whose sums of products begin with numbers of their own. */
struct rt_int8_cell {
    const int8_t *codes; /* as those of a tile */
    const int32_t *starts, *sums;
    size_t n_groups, n_steps;
};

struct rt_kernels {
    enum rt_isa isa;

    /* Distances of one row, f32, 16 lanes and tree of A4: sum (a_i - b_i)^2; minus sum a_i b_i. */
    float (*l2)(const float *a, const float *b, size_t dim);
    float (*ip)(const float *a, const float *b, size_t dim);
    /* The same to n of `centroids` (row-major, dim each): those numbered by list, or 0..n-1 where
     * list is NULL. */
    void (*l2_among)(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                     size_t n, float *out);
    void (*ip_among)(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                     size_t n, float *out);

    /* Sums in f64 over f32 values, 16 lanes and tree of A4: x_i^2, a_i b_i, x_i, |x_i|. */
    double (*norm2)(const float *x, size_t dim);
    double (*dot)(const float *a, const float *b, size_t dim);
    double (*sum)(const float *x, size_t dim);
    double (*sum_abs)(const float *x, size_t dim);

    /* Steps of the rotation, in place: x_i's sign flipped by the top bit of signs[i];
     * Walsh-Hadamard of p (a power of two) numbers, flipped first unless signs is NULL, natural
     * order, then each times scale; (low_i, high_i) := ((low_i + high_i) s, (low_i - high_i) s)
     * with s = RT_KAC_SCALE. */
    void (*flip)(float *x, const uint32_t *signs, size_t dim);
    void (*fht)(float *x, const uint32_t *signs, size_t p, float scale);
    void (*kac)(float *low, float *high, size_t m);

    /* Element conversions (exact). */
    void (*f16_to_f32)(const void *src, float *dst, size_t n);
    void (*u8_to_f32)(const void *src, float *dst, size_t n);
    void (*i8_to_f32)(const void *src, float *dst, size_t n);

    /* Proposals (B3): their f32 results may differ from one instruction set to another, within the
     * slack that assign.c allows for. The integers are the same. */

    /* x' = row - mean (mean NULL: row). codes (dim rounded up to a multiple of 4, padding 128) :=
     * rint(x'_i / scale) + 128 with scale = max|x'_i| / 127; where max|x'_i| is outside 2^-100..
     * 2^100, scale is 0 and all codes are 128. The same bits in every instruction set (B11). */
    void (*quantise)(const float *row, const float *mean, size_t dim, uint8_t *codes,
                     struct rt_quantised *out);
    /* n (1..16) centroids about mean as one group of int8_tile: codes[step][16][4], those beyond n
     * are 0; their scales may be one for all. NULL where quantise does as well. */
    void (*quantise_group)(const float *const *centroids, size_t n, const float *mean, size_t dim,
                           int8_t *codes, struct rt_quantised *out);
    /* out := row - mean (mean NULL: row), for BLAS; returns the sum of squares. */
    float (*centre)(const float *row, const float *mean, size_t dim, float *out);
    /* A tile of n_rows rows (codes as above) and 16 n_groups centroids (1..4 groups):
     * a[64 r + c] := norm[c] + row_scale[r] (scale[c] (sum of (row code - 128) x centroid code)),
     * each operation rounded to f32: the same bits in every instruction set (B11).
     * codes[group][step][16][4]: 4 dimensions a step. sums[c]: 128 x sum of centroid codes.
     * least NULL: mask[r] := bits c with a <= threshold[r]. Else least[r] := the least a. */
    void (*int8_tile)(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least);
    /* least[i] := the least a of row numbers[i], up to rounding, of any number of groups: distances
     * stay in registers. */
    void (*int8_least)(const struct rt_int8_tile *cell, const struct rt_int8_rows *rows,
                       float *least);
    /* most[i] := the greatest of starts[c] + sum of (row code - 128) x centroid code, of row
     * numbers[i] and any number of groups: the same integers in every instruction set. The rows'
     * scales are not looked at. */
    void (*int8_most)(const struct rt_int8_cell *cell, const struct rt_int8_rows *rows,
                      int32_t *most);
    /* n (a multiple of 16) numbers by a given scale > 0: codes := rint(x_i / scale) + 128, those
     * beyond 127 scale cut off; the sums of x_i^2 and of (x_i - scale q_i)^2. */
    void (*quantise_by)(const float *x, size_t n, float scale, uint8_t *codes, float *norm2,
                        float *error2);
    /* a[c] := norm[c] + factor a[c], n a multiple of 16; returns the least. */
    float (*scale_products)(float *a, const float *norm, float factor, size_t n);
    /* Bits i with a[i] <= threshold, n <= 64 a multiple of 16. */
    uint64_t (*at_most)(const float *a, size_t n, float threshold);
    /* *at: a number such that at least `rank` of the n values (all finite, 1 <= rank <= n) are <=
     * it; *next: not above the value that follows those rank in order, infinity where none does.
     * Both as near as a few dozen halvings bring them. */
    void (*find_rank)(const float *values, size_t n, size_t rank, float *at, float *next);
    /* For each of n_rows rows of n values (a multiple of 16; infinities are none): the ids of its
     * `rank` (1..n) least, ties by place, in order of place, then UINT32_MAX; rank entries a row.
     * May write 16 entries beyond them. */
    void (*pick_least)(const float *values, size_t n_rows, size_t n, size_t rank,
                       const uint32_t *ids, uint32_t *out);
    /* Sorts up to 64 keys, ascending; no two are equal, and none is UINT64_MAX. */
    void (*sort_few)(uint64_t *keys, size_t n);
    /* The values and ids (up to 64) whose bit is set, in order; returns how many. May write 16
     * entries beyond them. */
    size_t (*pick)(const float *values, const uint32_t *ids, uint64_t mask, float *out_values,
                   uint32_t *out_ids);

    struct rt_scan_kernels scan; /* of codes and search; scan_*.c fill it */
};

/* Fills the table. Call once at start, before threads; without it the first rt_kernels() does, and
 * a bad RANKTAPE_ISA is then ignored. RT_USAGE: RANKTAPE_ISA names no instruction set, or one this
 * CPU lacks; the message lists those it has. */
enum rt_status rt_kernels_init(struct rt_error *err) RT_MUST_CHECK;
/* The table. */
const struct rt_kernels *rt_kernels(void);
/* For a guest in somebody else's process, before the first of the two: leaves out an instruction
 * set that the system must be asked for, since that changes the process (AMX makes the signal
 * frames of all its threads larger). */
void rt_kernels_ask_nothing(void);

const char *rt_isa_name(enum rt_isa isa); /* "portable" "avx2" ... */
/* Whether this CPU and build have it. */
int rt_isa_is_here(enum rt_isa isa);
/* A table of one instruction set, for tests. Only where rt_isa_is_here. */
void rt_kernels_of(enum rt_isa isa, struct rt_kernels *out);

/* Each puts its functions over those already in the table; rt_kernels_of calls them from portable
 * upward, and rt_scan_kernels_* of the same instruction set on its scan part. */
void rt_kernels_portable(struct rt_kernels *table);
void rt_kernels_avx2(struct rt_kernels *table);
void rt_kernels_avx512(struct rt_kernels *table);
void rt_kernels_avx512_vnni(struct rt_kernels *table);
void rt_kernels_avx512_amx(struct rt_kernels *table);
void rt_kernels_neon(struct rt_kernels *table);
void rt_kernels_neon_dot(struct rt_kernels *table);

#endif
