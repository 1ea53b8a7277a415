/* The inner loops of codes and scanning, one set for each instruction set, all with the same bits:
 * a part of the table of kernels.h. Buffers said to be padded are readable and writable up to the
 * next multiple of 16 floats. */
#ifndef RT_CORE_KERNELS_SCAN_KERNELS_H
#define RT_CORE_KERNELS_SCAN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_N_ELEMENTS 4 /* enum rt_element */

/* Sums of one code, f64 in the order of A4, products formed in f64. */
struct rt_code_sums {
    double square;   /* u_i^2 */
    double absolute; /* |u_i| */
    double centroid; /* u_i c_i, where it is asked for; else 0 */
};

/* What the table of one query and list is made from. */
struct rt_scan_terms {
    float square; /* sum (v_i - c_i)^2, A4 */
    float dot;    /* sum v_i c_i, A4; 0 without c */
    float
        most; /* the greatest entry: max over groups of (|r0| + |r1|) + (|r2| + |r3|), r = v - c */
};

/* The table of one query and list, and the terms of its bounds (rabitq.md 3, 5), for rows in
 * blocks: e = scale x sum + base;  rough = (factor[first] + offset) - e x factor[1];  bound = rough
 * - factor[2] x width in f32, rounded after every operation; a bound that is NaN or +infinity
 * becomes minus infinity (measure the row). */
struct rt_scan_table {
    const uint8_t *entries; /* n_groups x 16, zero up to the next multiple of 4 groups */
    uint32_t n_groups;
    uint32_t n_factors;
    uint32_t first; /* 0 for l2 (|u|^2), 3 for ip (-<u,c>) */
    float scale;    /* 2k for l2, k for ip */
    float base;     /* 2 lo G, lo G */
    float offset;   /* F */
    float width;    /* epsilon x 2 |v - c|, epsilon x |v - c| */
};

/* Distances of one query to n rows. */
typedef void rt_row_distances(const float *query, const void *const *rows, size_t n, size_t dim,
                              float *out);

struct rt_scan_kernels {
    /* The signs and sums of u = row - c (f32; c NULL: u = row). code: rt_code_bytes, padding bits
     * 0. sums->centroid is 0 without c or without `dots`. */
    void (*encode)(const float *row, const float *c, bool dots, size_t dim, uint8_t *code,
                   struct rt_code_sums *sums);
    /* difference (padded, the padding set to 0) := v - c; c may be NULL (0). */
    void (*table_terms)(const float *v, const float *c, size_t dim, float *difference,
                        struct rt_scan_terms *terms);
    /* entries[16 g + m] := round to even of (T + most) x inverse, T = (+-r0 +-r1) + (+-r2 +-r3)
     * with + where the bit of m is set; difference padded as table_terms leaves it; entries has
     * room for n_groups rounded up to 4. */
    void (*table_fill)(const float *difference, uint32_t n_groups, float most, float inverse,
                       uint8_t *entries);
    /* sums[r]: of the entries that row r's nibbles choose in one block. entries as in
     * rt_scan_table. */
    void (*block_sums)(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                       uint32_t *sums);
    /* For n_blocks blocks: bounds (32 each), and kept (bit r of each: bound of row r <= tau). */
    void (*scan)(const struct rt_scan_table *table, const uint8_t *codes, const float *factors,
                 size_t n_blocks, float tau, float *bounds, uint32_t *kept);
    /* kept of n_blocks blocks of bounds, none NaN: bit r says low < bound of row r <= high; low
     * NaN: any is above it. */
    void (*between)(const float *bounds, size_t n_blocks, float low, float high, uint32_t *kept);
    /* A number that at least `most` (1..16) of n >= most bounds are not above, and few more: the
     * most-th of the least of 16 lanes. Infinity where fewer lanes have any. */
    float (*seed)(const float *bounds, size_t n, uint32_t most);
    /* E of B1 between a query and rows as they are stored, by element type: l2; ip; l2 with the row
     * scaled to length 1 as A6 does. */
    rt_row_distances *rows_l2[RT_N_ELEMENTS];
    rt_row_distances *rows_ip[RT_N_ELEMENTS];
    rt_row_distances *rows_cosine[RT_N_ELEMENTS];
};

/* For the files that fill it: a row's distance, taken row by row; and a function of each element
 * type. */
#define RT_ROW_BY_ROW(name)                                                                        \
    static void rows_##name(const float *query, const void *const *rows, size_t n, size_t dim,     \
                            float *out)                                                            \
    {                                                                                              \
        for (size_t r = 0; r < n; r++)                                                             \
            out[r] = name(query, rows[r], dim);                                                    \
    }
#define RT_BY_ELEMENT(name)                                                                        \
    {                                                                                              \
        [RT_F32] = name##_f32, [RT_F16] = name##_f16, [RT_U8] = name##_u8, [RT_I8] = name##_i8     \
    }

/* Each sets the functions it has. */
void rt_scan_kernels_portable(struct rt_scan_kernels *table);
void rt_scan_kernels_avx2(struct rt_scan_kernels *table);
void rt_scan_kernels_avx512(struct rt_scan_kernels *table);
void rt_scan_kernels_avx512_vbmi(struct rt_scan_kernels *table);
void rt_scan_kernels_neon(struct rt_scan_kernels *table);

#endif
