/* The bounds. x' = fl(x - mu) and c' = fl(c - mu) under l2; under ip x' = x, and only centroids are
 * centred (x.mu is the same for all). x^ = s_x q_x and c^ = s_c q_c are what the codes say, e_x =
 * |x' - x^|, e_c = |c' - c^|, X = |x'| + e_x, C = |c'| + e_c, so |x^| <= X and |c^| <= C; m =
 * ceil(d/16).
 *
 * l2. E - |x'|^2 differs from |c'|^2 - 2 x^.c^ by
 *   2 (e_x |c'| + X e_c)      since x'.c' - x^.c^ = (x' - x^).c' + x^.(c' - c^)
 *   gamma(m + 7) D            E's roundings: difference, square, m + 3 additions;
 *                             D = |x - c|^2
 *   2.03 u (|x'| + |c'|)^2    centring: |x - mu - x'| <= 1.01 u |x'|, so |D - |x' - c'|^2| is
 *                             at most that; with the one above no more than
 *                             gamma(m + 11) (X + C)^2 <= 2 gamma(m + 11) (X^2 + C^2)
 *   gamma(m + 7) C^2          n_c, a sum of squares in f32
 * f32 evaluates a = fl(n_c + r_x fl(s_c fl(q.q))) with r_x = -2 s_x exact: with
 * 2|x^||c^| <= X^2 + C^2, the roundings of the three products and of the sum come to at
 * most 5.2 u C^2 + 4.1 u X^2, with or without FMA. a + b, a - b and T + b are each rounded once, by
 * at most u (|a| + b) where it matters (|a| <= 2.1 C^2 + 1.1 X^2; T is compared with a - b, so it
 * is as large as a when rounding could decide): 5 u C^2 + 3 u X^2 and a share of b. So b = 2 e_x
 * |c'| + 2 X e_c + (2 gamma(m + 11) + gamma(m + 7) + 16 u) C^2 + (2 gamma(m + 11) + 12 u) X^2 + d
 * 2^-124, the last for all underflows (E's squares, d 2^-149; codes are not used where max|x'_i| <
 * 2^-100).
 *
 * ip. E + x.mu differs from -x^.c^ by e_x |c'| + X e_c, by gamma(m + 5) |x||c| (E; |c| <= |mu|
 * + 1.01 |c'|), by 1.01 u |x||c'| (centring); evaluation and comparisons round by at most 8 u X C
 * more. So b = e_x |c'| + X e_c + X ((10 u + 1.01 gamma(m + 5)) C + gamma(m + 5) |mu|) + d 2^-124.
 *
 * BLAS instead of codes: e_x = e_c = 0, and |fl(x'.c') - x'.c'| <= gamma(d) |x'||c'| + d 2^-126 in
 * any order, with or without FMA, flushed or not; e_x is thus replaced by (gamma(d) + 4 u) |x'| and
 * X e_c left out (e_c within C only widens).
 *
 * Low codes: x~ of x' - x^ and c~ of c' - c^, and what both codes leave is within e_x and e_c (the
 * residual is off by 2.1 u |x'_i| before it is coded, hence 4 u |x'| more). x'.c' differs from the
 * sum of x^.c^, x^.c~ and x~.c^ by e_x |c'| + (|x'| + e_x) e_c + |x~||c~|. Two more products,
 * smaller by 2^-7, and two sums round by 4.5 u C^2 + 2.4 u X^2 at most: with the above still below
 * 16 u C^2 + 12 u X^2.
 *
 * Directions (B7, leading.h), l2: x'.c' = (A x').k + x'.r, k what the centroid's codes say, r = c'
 * - A'k. A x' = A x^ + A (x' - x^), and t, the f32 of A x^, is off by 4 u |t| (its scale, the
 * integer and the product round) and by e_t from its codes: (e_t + 8 u |t|) |k| and e_x |A'k|. For
 * any z, x'.r = (x' - A'z).r + z.(A r); with z = t, |x' - A't|^2 = |x'|^2 - 2 t.A x' + |A't|^2,
 * at most |x'|^2 - (1 - e - 8 u)|t|^2 + 2 (1 + e)|t| e_x, e no less than the norm of A A' - 1. Sums
 * are rounded to half a unit; the unit, the sum as f32 and their product round by no more than the
 * three products above.
 *
 * Every constant is made in f64, then enlarged by 1.001 or more (p, w, k, row bounds), far more
 * than the few u of storing in f32 and of summing nonnegative terms in f32. Norms are f32 sums:
 * relative error gamma(m + 6) <= 2.5e-4 of the square, underflow below 2^-130; x'_i - s q_i in f32
 * is off by at most 2.1 u |x'_i| beyond its own rounding, hence e_x + 4 u |x'|, and e_c + 4 u |c'|.
 * Sizes: |x'|, |c'| <= 2^62, so nothing overflows below 2^127. */
#include "core/centroid_set.h"
#include "core/roundoff.h"

#include <math.h>

void rt_centroid_set_constants(struct rt_centroid_set *set, double mean_norm)
{
    uint32_t lanes = (set->dim + 15) / 16;
    double l2 = 2 * rt_gamma(lanes + 11);
    double ip = rt_gamma(lanes + 5);
    if (set->is_ip) {
        set->k[2] = 0;
        set->k[1] = (float)(1.01 * (10 * RT_ROUNDOFF + 1.01 * ip));
        set->k[0] = (float)(1.01 * ip * mean_norm);
        set->row_omega = 0;
    } else { /* p + w >= 2.002 C */
        set->k[2] = (float)(1.002 * (l2 + rt_gamma(lanes + 7) + 16 * RT_ROUNDOFF) / 4);
        set->k[1] = set->k[0] = 0;
        set->row_omega = (float)(1.002 * (l2 + 12 * RT_ROUNDOFF));
    }
    set->row_least = (float)(1.01 * set->dim * 0x1p-124);
    set->gemm_alpha = (float)(1.002 * (rt_gamma(set->dim) + 4 * RT_ROUNDOFF));
}

struct rt_row_sizes rt_row_sizes(float scale, float norm2, float error2)
{
    float norm = 1.001f * sqrtf(norm2 + 0x1p-130f);
    float error = 1.001f * sqrtf(error2 + 0x1p-130f) + 4 * 0x1p-24f * norm;
    return (struct rt_row_sizes){scale, norm, error};
}

bool rt_row_bound(const struct rt_centroid_set *set, bool is_gemm, const struct rt_row_sizes *row,
                  struct rt_row_bound *out)
{
    if (!(row->norm <= 0x1p61f) || !set->can_propose)
        return false;
    float norm = row->norm;
    float error = is_gemm ? 0.0f : row->error;
    float whole = norm + error;
    out->alpha = is_gemm ? set->gemm_alpha * norm : error;
    out->beta = is_gemm ? 0.0f : whole;
    out->zeta = set->is_ip ? whole : 1.0f;
    out->omega = set->row_omega * whole * whole + set->row_least;
    return true;
}

/* t: what the row is along the directions, up to rounding; x' - A't is shorter than the row by t.
 */
struct rt_row_along_bound rt_row_along_bound(const struct rt_centroid_set *set,
                                             const struct rt_row_sizes *row, float norm2,
                                             float error2)
{
    float skew = set->along.skew;
    struct rt_row_sizes t = rt_row_sizes(set->along.row_scale, norm2, error2);
    float across = row->norm * row->norm - (1 - skew - 0x1p-10f) * norm2 +
                   2 * (1 + skew) * t.norm * row->error;
    float error = t.error + 8 * 0x1p-24f * t.norm;
    float whole = row->norm + row->error;
    whole = whole > t.norm + error ? whole : t.norm + error;
    return (struct rt_row_along_bound){
        .alpha = row->error + error,
        .beta = t.norm,
        .rest = 1.001f * sqrtf((across > 0 ? across : 0) + 0x1p-130f),
        .omega = set->row_omega * whole * whole + set->row_least + set->along.unit};
}

struct rt_row_bound rt_row_fine_bound(const struct rt_centroid_set *set,
                                      const struct rt_row_bound *bound,
                                      const struct rt_row_sizes *row,
                                      const struct rt_row_sizes *low)
{
    struct rt_row_bound fine = *bound;
    fine.alpha = low->error + 4 * 0x1p-24f * row->norm;
    fine.omega += (low->norm + low->error) * set->low.most;
    return fine;
}
