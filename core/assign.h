/* Many rows to their nearest centroids. int8 or sgemm products propose within a proven bound, the
 * exact kernel E decides (algorithms.md B): the answer depends on row and centroids alone, never on
 * CPU, BLAS, batch or proposal. Distances are E of B1: for RT_L2 and RT_COSINE sum (x-c)^2, for
 * RT_IP minus the inner product, f32 in the order A4. */
#ifndef RT_CORE_ASSIGN_H
#define RT_CORE_ASSIGN_H

#include "core/error.h"
#include "core/metric.h"
#include "core/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rt_proposer { RT_PROPOSE_AUTO = 0, RT_PROPOSE_INT8, RT_PROPOSE_SGEMM, RT_PROPOSE_NONE };
/* "int8", "sgemm" or "none": what an assigner of this dimension proposes with on this machine. */
const char *rt_proposer_name(enum rt_proposer wanted, uint32_t dim);

/* A set of centroids with what proposals need beside them (int8 codes, scales, norms, mean).
 * Read-only once built: any number of assigners may share one. `distance` is RT_L2 or RT_IP (cosine
 * is l2 on unit rows). */
struct rt_centroid_set;

/* Bytes of the store beside n x dim centroids (about dim + 28 a centroid, J2; in cells, from 384
 * dimensions on, 2 dim + 40), of one whose centroids are the children of n_cells cells (each cell's
 * children then begin at a multiple of 16, for the descent of a tree), and of a tree's leaves for
 * rows (where B7 may apply 73 more a leaf). */
size_t rt_centroid_set_bytes(uint32_t n, uint32_t dim);
size_t rt_centroid_set_bytes_in_cells(uint32_t n, uint32_t dim, uint32_t n_cells);
size_t rt_leaf_set_bytes(uint32_t n, uint32_t dim, uint32_t n_cells);
/* Builds the store in `memory` (rt_centroid_set_bytes, 64-byte aligned; the caller keeps it alive;
 * NULL: allocated by this call), over `centroids`, which are lent for the life of the set. Fails
 * with RT_NOMEM. */
enum rt_status rt_centroid_set_new(const float *centroids, uint32_t n, uint32_t dim,
                                   enum rt_metric distance, void *memory,
                                   struct rt_centroid_set **out,
                                   struct rt_error *err) RT_MUST_CHECK;
/* The same for a level below another: first_child (n_cells + 1 entries) is that of the level above;
 * only read during the call. memory: rt_centroid_set_bytes_in_cells. Any set does for any call
 * below; this one makes rt_assign_tree fast. is_wanted: of each cell; NULL: all. Children of the
 * others are not looked at, and are no answers of rt_assign_tree_best as long as its cells are
 * wanted ones; other calls need all. */
enum rt_status rt_centroid_set_new_in_cells(const float *centroids, uint32_t n, uint32_t dim,
                                            enum rt_metric distance, const uint32_t *first_child,
                                            uint32_t n_cells, const bool *is_wanted, void *memory,
                                            struct rt_centroid_set **out,
                                            struct rt_error *err) RT_MUST_CHECK;
/* Makes a part of such a store in memory, for a set whose parts are made by several processes of a
 * node: what belongs to centroids [begin, end). The other arguments are the same for all parts, and
 * n_cells 0 makes that of rt_centroid_set_new. Once all centroids are covered, rt_centroid_set_view
 * gives the set. Fails with RT_NOMEM. */
enum rt_status rt_centroid_set_make(const float *centroids, uint32_t n, uint32_t dim,
                                    enum rt_metric distance, const uint32_t *first_child,
                                    uint32_t n_cells, const bool *is_wanted, void *memory,
                                    uint32_t begin, uint32_t end,
                                    struct rt_error *err) RT_MUST_CHECK;
/* A set over a store that one of the calls above (n_cells 0 for the first) has finished in the same
 * memory, maybe in another process of the node. The same arguments must be given; builds nothing.
 */
enum rt_status rt_centroid_set_view(const float *centroids, uint32_t n, uint32_t dim,
                                    enum rt_metric distance, uint32_t n_cells, const void *memory,
                                    struct rt_centroid_set **out,
                                    struct rt_error *err) RT_MUST_CHECK;
/* The same four for a level of a tree, whose cells are the level above. All levels are coded about
 * the mean of the top one, and centroids above the leaves have codes of their own: what
 * rt_assign_tree needs (B11). for_rows: leaves have directions (B7), which make it faster; they
 * cost time and memory and serve no search for more than one list. A set is viewed without it. */
size_t rt_level_set_bytes(const struct rt_tree *tree, uint32_t level, bool for_rows);
enum rt_status rt_level_set_new(const struct rt_tree *tree, uint32_t level, enum rt_metric distance,
                                bool for_rows, void *memory, struct rt_centroid_set **out,
                                struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_level_set_make(const struct rt_tree *tree, uint32_t level,
                                 enum rt_metric distance, bool for_rows, void *memory,
                                 uint32_t begin, uint32_t end, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_level_set_view(const struct rt_tree *tree, uint32_t level,
                                 enum rt_metric distance, const void *memory,
                                 struct rt_centroid_set **out, struct rt_error *err) RT_MUST_CHECK;
void rt_centroid_set_free(struct rt_centroid_set *set);

/* A set of up to `most` centroids, remade in place as often as wanted: for rows that lie near each
 * other, whose codes are made once about a reference among them. As rows and centroids are then
 * short, so are the bounds (B5): on 1,000,000 x 128 clustered rows and 96 neighbours of a leaf 1.15
 * candidates are left, where codes about the mean of all 4,096 leaves leave 9.4. */
size_t rt_small_set_bytes(uint32_t most, uint32_t dim);
enum rt_status rt_small_set_new(uint32_t most, uint32_t dim, enum rt_metric distance,
                                struct rt_centroid_set **out, struct rt_error *err) RT_MUST_CHECK;
/* Makes it the set of centroids[members[0..n)], 1 <= n <= most, in any order; answers are by those
 * numbers. members NULL: 0..n - 1. reference: dim floats, copied; centroids and members are lent
 * until the next fill. */
void rt_small_set_fill(struct rt_centroid_set *set, const float *centroids, const uint32_t *members,
                       uint32_t n, const float *reference);

/* A row's code about a reference (with RT_IP: about zero, reference is ignored), of
 * rt_row_code_bytes each. */
size_t rt_row_code_bytes(uint32_t dim);
void rt_row_code(enum rt_metric distance, const float *row, const float *reference, uint32_t dim,
                 void *code);
/* What a code made about reference says of its row, nearly. */
void rt_row_decode(const void *code, const float *reference, uint32_t dim, float *out);
/* Rows that are known by their codes; `row` gives the values of one of them, rotated, where only E
 * can decide: valid until it is called again. */
struct rt_coded {
    const unsigned char *codes; /* rt_row_code_bytes each, of all rows */
    const uint32_t *index;      /* which of them are meant; NULL: 0, 1, .. */
    const float *(*row)(void *ctx, uint32_t index);
    void *ctx;
};

/* Scratch of one thread, for batches of at most max_rows rows and sets of dimension dim. max_beam
 * is the largest `beam`, `beams[l]` (each counted as no more than the cells of its level) or
 * `count` of any later call; a call beyond these limits ends the program. Batches of 2,048 rows
 * make the descent of a tree fast, up to 8,192 where its cells are many and large. */
struct rt_assigner;
size_t rt_assigner_bytes(size_t max_rows, uint32_t dim, uint32_t max_beam);
enum rt_status rt_assigner_new(size_t max_rows, uint32_t dim, uint32_t max_beam,
                               enum rt_proposer proposer, struct rt_assigner **out,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_assigner_free(struct rt_assigner *assigner);

/* rows: n_rows x dim f32, rotated. Each call takes n_rows <= max_rows.
 * out_list[i]: the nearest of the set (B2, ties to the smaller number); out_distance[i] (may be
 * NULL): E to it. */
void rt_assign_nearest(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                       const float *rows, size_t n_rows, uint32_t *out_list, float *out_distance);
/* The `count` nearest of the set, ascending by (E, number), count x n_rows entries row-major; where
 * the set has fewer, the rest is UINT32_MAX. out_distance may be NULL. */
void rt_assign_best(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                    const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                    float *out_distance);
/* The same numbers in any order, which takes fewer distances; UINT32_MAX comes last. */
void rt_assign_best_unsorted(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                             const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list);
/* Down a tree: at each level above the leaves keep the `beam` children of those kept before that
 * are least by (coded distance, number) (B11); then the nearest leaf among their children, by E.
 * sets[l] is rt_level_set_new's of tree->levels[l]. beam >= cells keeps all. */
void rt_assign_tree(struct rt_assigner *assigner, const struct rt_tree *tree,
                    struct rt_centroid_set *const *sets, uint32_t beam, const float *rows,
                    size_t n_rows, uint32_t *out_list, float *out_distance);
/* Likewise the `count` best leaves (refinement neighbours above 8,192 leaves), with cells kept by
 * E: best(x, .., beams[l]) at level l (n_levels - 1 entries). sets[l]: any of its centroids. */
void rt_assign_tree_best(struct rt_assigner *assigner, const struct rt_tree *tree,
                         struct rt_centroid_set *const *sets, const uint32_t *beams,
                         const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                         float *out_distance);
/* The lists a query probes: cells kept as rt_assign_tree does, beams[l] at level l; then the
 * `count` best leaves of their children, in any order, but one of the nearest first; UINT32_MAX
 * comes last. sets[l] is rt_level_set_new's. */
void rt_assign_tree_lists(struct rt_assigner *assigner, const struct rt_tree *tree,
                          struct rt_centroid_set *const *sets, const uint32_t *beams,
                          const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list);
/* The nearest of a small set for n_rows (any number) coded rows, whose codes were made about the
 * set's reference: refinement's rows against the neighbours of their leaf (D8). */
void rt_assign_coded(struct rt_assigner *assigner, const struct rt_centroid_set *set,
                     const struct rt_coded *rows, size_t n_rows, uint32_t *out_list,
                     float *out_distance);

/* What proposals cost so far (B8): rows assigned, and candidates that E had to measure. */
void rt_assigner_counts(const struct rt_assigner *assigner, uint64_t *rows, uint64_t *candidates);
/* Products of a row and a slot (B5) so far, at all levels, slots left empty among them. */
uint64_t rt_assigner_distances(const struct rt_assigner *assigner);

/* B9: 64 x 64 x dim cancelling numbers through this BLAS against f64; false: outside the bound,
 * sgemm must not propose. */
int rt_gemm_is_sound(uint32_t dim);

#endif
