#include "core/propose.h"

#include "core/gemm.h"
#include "core/keys.h"
#include "core/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void code_row(struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    const struct rt_centroid_set *set = t->set;
    uint8_t *codes = a->codes + row * a->code_stride;
    struct rt_row_sizes *sizes = &a->row_sizes[row];
    a->code_of[row] = codes;
    if (t->coded) {
        a->code_of[row] = t->coded->codes + rt_target_index(t, row) * rt_row_code_bytes(a->dim);
        memcpy(sizes, a->code_of[row] + a->code_stride, sizeof *sizes);
    } else if (!t->has_codes) {
        struct rt_quantised q;
        a->kernels->quantise(t->rows + row * a->dim, set->is_ip ? NULL : set->mean, a->dim, codes,
                             &q);
        *sizes = rt_row_sizes(q.scale, q.norm2, q.error2);
    }
    a->row_scale[row] = set->is_ip ? -sizes->scale : -2 * sizes->scale;
}

/* What its code leaves of a row, rounded like a centroid's (centroid_set.c). */
static void code_rest(struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    const struct rt_centroid_set *set = t->set;
    struct rt_fine_rows *fine = a->fine;
    const float *x = t->rows + row * a->dim;
    struct rt_quantised q;
    for (size_t i = 0; i < a->dim; i++) {
        float code = (float)((int)a->code_of[row][i] - 128);
        float centred = set->is_ip ? x[i] : x[i] - set->mean[i];
        fine->rest[i] = centred - a->row_sizes[row].scale * code;
    }
    a->kernels->quantise(fine->rest, NULL, a->dim, fine->codes + row * a->code_stride, &q);
    struct rt_row_sizes low = rt_row_sizes(q.scale, q.norm2, q.error2);
    fine->scale[row] = set->is_ip ? -low.scale : -2 * low.scale;
    fine->bound[row] = rt_row_fine_bound(set, &a->bound[row], &a->row_sizes[row], &low);
}

/* What a row needs before tiles pass by; false: E over all. */
static bool prepare_row(struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    if (t->by_codes) { /* a is the distance itself */
        code_row(a, t, row);
        a->bound[row] = (struct rt_row_bound){0, 0, 0, 0};
        return true;
    }
    if (a->proposer == RT_PROPOSE_NONE || !t->set->can_propose)
        return false;
    code_row(a, t, row);
    return rt_row_bound(t->set, a->proposer == RT_PROPOSE_SGEMM, &a->row_sizes[row],
                        &a->bound[row]);
}

/* Coded rows lie anywhere: their cache lines are asked for some rows ahead. */
static void prefetch_code(const struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    if (!t->coded || row >= t->n_rows)
        return;
    size_t bytes = rt_row_code_bytes(a->dim);
    const uint8_t *code = t->coded->codes + rt_target_index(t, row) * bytes;
    for (size_t at = 0; at < bytes + 63; at += 64)
        __builtin_prefetch(code + (at < bytes ? at : bytes - 1));
}

void rt_propose_prepare(struct rt_assigner *a, const struct rt_target *t, size_t begin, size_t end)
{
    for (size_t row = begin; row < end; row++) {
        prefetch_code(a, t, row + 8);
        a->n_listed[row] = 0;
        a->settled[row] = UINT64_MAX;
        a->wants_all[row] = !prepare_row(a, t, row);
        if (a->wants_all[row]) { /* no slot may pass */
            a->code_of[row] = memset(a->codes + row * a->code_stride, 128, a->code_stride);
            a->row_scale[row] = 0;
            a->bound[row] = (struct rt_row_bound){0, 0, 0, 0};
        }
        a->threshold[row] = a->wants_all[row] ? -INFINITY : INFINITY;
    }
}

void rt_propose_prepare_fine(struct rt_assigner *a, const struct rt_target *t)
{
    for (size_t row = 0; row < t->n_rows; row++)
        if (!a->wants_all[row])
            code_rest(a, t, row);
}

/* From the values of a block of rows along the set's directions. */
static void code_along(struct rt_assigner *a, const struct rt_target *t, size_t row,
                       const float *values)
{
    const struct rt_centroid_set *set = t->set;
    struct rt_along_rows *along = a->along;
    float norm2;
    float error2;
    a->kernels->quantise_by(values, set->along.n, set->along.row_scale,
                            along->codes + row * RT_LEADING_MOST, &norm2, &error2);
    if (a->wants_all[row])
        along->bound[row] = (struct rt_row_along_bound){0, 0, 0, 0};
    else
        along->bound[row] = rt_row_along_bound(set, &a->row_sizes[row], norm2, error2);
}

void rt_propose_prepare_along(struct rt_assigner *a, const struct rt_target *t)
{
    for (size_t at = 0; at < t->n_rows; at += RT_ROW_BLOCK) {
        size_t n = t->n_rows - at < RT_ROW_BLOCK ? t->n_rows - at : RT_ROW_BLOCK;
        float scale[RT_ROW_BLOCK];
        float least[RT_ROW_BLOCK];
        a->n_distances += n * t->set->along.n;
        for (size_t i = 0; i < n; i++)
            scale[i] = a->wants_all[at + i] ? 0 : a->row_sizes[at + i].scale;
        a->kernels->int8_tile(&t->set->along.as_set, a->code_of + at, n, scale, NULL, a->a, NULL,
                              least);
        for (size_t i = 0; i < n; i++)
            code_along(a, t, at + i, a->a + i * RT_TILE);
    }
}

static const struct rt_row_bound *bound_of(const struct rt_assigner *a, const struct rt_target *t,
                                           size_t row)
{
    return t->is_fine ? &a->fine->bound[row] : &a->bound[row];
}

/* Of a list by coded distances as many as are wanted: those that tie go by number. */
static void cut_ties(struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    float *values = t->list_a + row * t->room;
    uint32_t *ids = t->list_id + row * t->room;
    for (uint32_t i = 0; i < a->n_listed[row]; i++)
        a->keys[i] = rt_key_of(values[i], ids[i]);
    rt_keys_select(a->keys, a->n_listed[row], t->best);
    for (uint32_t i = 0; i < t->best; i++) {
        values[i] = rt_key_distance(a->keys[i]);
        ids[i] = (uint32_t)a->keys[i];
    }
    a->n_listed[row] = t->best;
}

void rt_propose_prune(struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    float *values = t->list_a + row * t->room;
    uint32_t *ids = t->list_id + row * t->room;
    uint32_t n = a->n_listed[row];
    float most;
    uint32_t kept = 0;
    if (t->best == 1) { /* values are a - b */
        most = a->threshold[row];
    } else {
        float next;
        float b = rt_bound(t->set, &a->bound[row], t->set->most_p, t->set->most_w);
        if (n <= t->best)
            return;
        a->kernels->find_rank(values, n, t->best, &most, &next);
        a->threshold[row] = most + b < a->threshold[row] ? most + b : a->threshold[row];
        most = rt_propose_capped(a->threshold[row] + b);
    }
    for (uint32_t i = 0; i < n; i++) {
        values[kept] = values[i];
        ids[kept] = ids[i];
        kept += values[i] <= most;
    }
    a->n_listed[row] = kept;
    if (t->by_codes && kept > t->best)
        cut_ties(a, t, row);
}

static void overflow(struct rt_assigner *a, size_t row)
{
    a->wants_all[row] = 1;
    a->n_listed[row] = 0;
    a->threshold[row] = -INFINITY;
}

/* A list full of candidates for one nearest: E decides among them, and the list begins anew. */
static void settle(struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    const uint32_t *ids = t->list_id + row * t->room;
    float distances[RT_TILE];
    for (uint32_t i = 0; i < a->n_listed[row]; i += RT_TILE) {
        uint32_t n = a->n_listed[row] - i < RT_TILE ? a->n_listed[row] - i : RT_TILE;
        rt_target_measure(a, t, row, ids + i, n, distances);
        for (uint32_t k = 0; k < n; k++) {
            uint64_t key = rt_key_of(distances[k], ids[i + k]);
            a->settled[row] = key < a->settled[row] ? key : a->settled[row];
        }
    }
    a->candidates += a->n_listed[row];
    a->n_listed[row] = 0;
}

/* Makes room for as many as a tile can bring; false: the list is full of true candidates. */
static bool has_room(struct rt_assigner *a, const struct rt_target *t, size_t row, size_t n)
{
    if (a->n_listed[row] + n <= t->room)
        return true;
    rt_propose_prune(a, t, row);
    if (a->n_listed[row] + n <= t->room)
        return true;
    overflow(a, row);
    return false;
}

static void list_nearest(struct rt_assigner *a, const struct rt_target *t,
                         const struct rt_tile *tile, size_t row, const float *values, uint64_t mask)
{
    float *lows = t->list_a + row * t->room;
    uint32_t *ids = t->list_id + row * t->room;
    for (; mask; mask &= mask - 1) {
        int slot = __builtin_ctzll(mask);
        float b = rt_bound(t->set, bound_of(a, t, row), tile->p[slot], tile->w[slot]);
        float low = values[slot] - b;
        float high = values[slot] + b;
        if (!(low <= a->threshold[row]))
            continue;
        if (high < a->threshold[row])
            a->threshold[row] = high;
        if (a->n_listed[row] == t->room)
            rt_propose_prune(a, t, row);
        if (a->n_listed[row] == t->room)
            settle(a, t, row);
        lows[a->n_listed[row]] = low;
        ids[a->n_listed[row]++] = tile->ids[slot];
    }
}

static void list_best(struct rt_assigner *a, const struct rt_target *t, const struct rt_tile *tile,
                      size_t row, const float *values, uint64_t mask)
{
    if (!has_room(a, t, row, (size_t)__builtin_popcountll(mask) + RT_SPARE))
        return;
    size_t end = row * t->room + a->n_listed[row];
    a->n_listed[row] +=
        (uint32_t)a->kernels->pick(values, tile->ids, mask, t->list_a + end, t->list_id + end);
}

/* The one nearest by coded distance. */
static void list_least(struct rt_assigner *a, const struct rt_target *t, const struct rt_tile *tile,
                       size_t row, const float *values, uint64_t mask)
{
    float *least = t->list_a + row * t->room;
    uint32_t *id = t->list_id + row * t->room;
    for (; mask; mask &= mask - 1) {
        int slot = __builtin_ctzll(mask);
        bool is_less = a->n_listed[row] == 0 || values[slot] < *least ||
                       (values[slot] <= *least && tile->ids[slot] < *id);
        if (!is_less)
            continue;
        *least = a->threshold[row] = values[slot];
        *id = tile->ids[slot];
        a->n_listed[row] = 1;
    }
}

static void list(struct rt_assigner *a, const struct rt_target *t, const struct rt_tile *tile,
                 size_t row, const float *values, uint64_t mask)
{
    if (t->best > 1)
        list_best(a, t, tile, row, values, mask);
    else if (t->by_codes)
        list_least(a, t, tile, row, values, mask);
    else
        list_nearest(a, t, tile, row, values, mask);
}

/* a-values of one row's tile are known: values, and the least of them. */
static void list_seeded(struct rt_assigner *a, const struct rt_target *t,
                        const struct rt_tile *tile, size_t row, const float *values, float least)
{
    float b = rt_bound(t->set, bound_of(a, t, row), tile->most_p, tile->most_w);
    if (t->best == 1 && least + b < a->threshold[row])
        a->threshold[row] = least + b;
    uint64_t mask = a->kernels->at_most(values, 16 * tile->products.n_groups,
                                        rt_propose_capped(a->threshold[row] + b));
    if (mask)
        list(a, t, tile, row, values, mask);
}

static void tile_by_codes(struct rt_assigner *a, const struct rt_target *t,
                          const struct rt_tile *tile, const uint32_t *rows, size_t n)
{
    const uint8_t *codes[RT_ROW_BLOCK];
    float scale[RT_ROW_BLOCK];
    float threshold[RT_ROW_BLOCK];
    uint64_t mask[RT_ROW_BLOCK];
    float least[RT_ROW_BLOCK];
    bool is_seeded = true;
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        size_t row = rows[i];
        float b = rt_bound(t->set, &a->bound[row], tile->most_p, tile->most_w);
        codes[i] = a->code_of[row];
        scale[i] = a->row_scale[row];
        threshold[i] = rt_propose_capped(a->threshold[row] + b);
        is_seeded &= threshold[i] < FLT_MAX || t->best > 1;
    }
    a->kernels->int8_tile(&tile->products, codes, n, scale, threshold, a->a, mask,
                          is_seeded ? NULL : least);
    for (size_t i = 0; i < n; i++) {
        if (!is_seeded)
            list_seeded(a, t, tile, rows[i], a->a + i * RT_TILE, least[i]);
        else if (mask[i])
            list(a, t, tile, rows[i], a->a + i * RT_TILE, mask[i]);
    }
}

static void add_tile(float *a, const float *more, size_t n_rows, size_t width)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t c = 0; c < width; c++)
            a[i * RT_TILE + c] += more[i * RT_TILE + c];
}

/* Rows whose least a - b by the first codes alone does not exceed T, with their products, to the
 * front of left and a->a. Returns how many. */
static size_t rows_left(struct rt_assigner *a, const struct rt_target *t,
                        const struct rt_tile *tile, const uint32_t *rows, size_t n, uint32_t *left)
{
    const uint8_t *codes[RT_ROW_BLOCK];
    float scale[RT_ROW_BLOCK];
    float least[RT_ROW_BLOCK];
    size_t n_left = 0;
    for (size_t i = 0; i < n; i++) {
        codes[i] = a->code_of[rows[i]];
        scale[i] = a->row_scale[rows[i]];
    }
    a->kernels->int8_tile(&tile->products, codes, n, scale, NULL, a->a, NULL, least);
    for (size_t i = 0; i < n; i++) {
        float b = rt_bound(t->set, &a->bound[rows[i]], tile->most_p, tile->first_w);
        if (!(least[i] - b <= a->threshold[rows[i]]))
            continue;
        memmove(a->a + n_left * RT_TILE, a->a + i * RT_TILE, RT_TILE * sizeof *a->a);
        left[n_left++] = rows[i];
    }
    return n_left;
}

/* The same by both codes of rows and centroids; the product of the two low ones is left out. */
static void tile_by_fine_codes(struct rt_assigner *a, const struct rt_target *t,
                               const struct rt_tile *tile, const uint32_t *all_rows, size_t n)
{
    static const float no_norm[RT_TILE];
    struct rt_fine_rows *fine = a->fine;
    struct rt_int8_tile parts[2] = {tile->low, tile->products};
    const uint8_t *codes[2][RT_ROW_BLOCK];
    float scale[2][RT_ROW_BLOCK];
    float least[RT_ROW_BLOCK];
    uint32_t rows[RT_ROW_BLOCK];
    size_t width = 16 * tile->products.n_groups;
    n = rows_left(a, t, tile, all_rows, n, rows);
    a->n_distances += n * (uint64_t)width * 2;
    for (size_t i = 0; i < n; i++) {
        codes[0][i] = a->code_of[rows[i]];
        codes[1][i] = fine->codes + rows[i] * a->code_stride;
        scale[0][i] = a->row_scale[rows[i]];
        scale[1][i] = fine->scale[rows[i]];
    }
    for (size_t k = 0; n > 0 && k < 2; k++) {
        parts[k].norm = no_norm;
        a->kernels->int8_tile(&parts[k], codes[k], n, scale[k], NULL, fine->a, NULL, least);
        add_tile(a->a, fine->a, n, width);
    }
    for (size_t i = 0; i < n; i++) {
        const float *values = a->a + i * RT_TILE;
        float b = rt_bound(t->set, &fine->bound[rows[i]], tile->most_p, tile->most_w);
        uint64_t mask =
            a->kernels->at_most(values, width, rt_propose_capped(a->threshold[rows[i]] + b));
        if (mask)
            list_nearest(a, t, tile, rows[i], values, mask);
    }
}

/* Centroids of a tile, centred, as rows for BLAS. */
static void centre_tile(struct rt_assigner *a, const struct rt_target *t,
                        const struct rt_tile *tile, float *out)
{
    const struct rt_centroid_set *set = t->set;
    for (size_t slot = 0; slot < 16 * tile->products.n_groups; slot++, out += a->dim) {
        if (tile->ids[slot] == UINT32_MAX)
            memset(out, 0, a->dim * sizeof *out);
        else
            (void)a->kernels->centre(set->centroids + (size_t)tile->ids[slot] * a->dim, set->mean,
                                     a->dim, out);
    }
}

/* Rows are centred in gemm_rows. */
static void tiles_by_gemm(struct rt_assigner *a, const struct rt_target *t,
                          const struct rt_tile *tiles, size_t n_tiles, const uint32_t *rows,
                          size_t n)
{
    size_t width = 0;
    for (size_t i = 0; i < n_tiles; i++) {
        centre_tile(a, t, &tiles[i], a->gemm_centroids + width * a->dim);
        width += 16 * tiles[i].products.n_groups;
    }
    rt_gemm(n, width, a->dim, a->gemm_rows, a->gemm_centroids, a->a, width);
    for (size_t r = 0; r < n; r++) {
        float *values = a->a + r * width;
        for (size_t i = 0; i < n_tiles; i++) {
            size_t some = 16 * tiles[i].products.n_groups;
            float least = a->kernels->scale_products(values, tiles[i].products.norm,
                                                     t->set->is_ip ? -1.0f : -2.0f, some);
            list_seeded(a, t, &tiles[i], rows[r], values, least);
            values += some;
        }
    }
}

static size_t n_tiles_of(const struct rt_source *s)
{
    return s->is_gathered ? (s->n + RT_TILE - 1) / RT_TILE : (s->n_groups + 3) / 4;
}

/* Where a slot's codes begin: [group][step][16][4]. */
static size_t place_of(size_t slot, size_t n_steps)
{
    return slot / 16 * n_steps * 64 + slot % 16 * 4;
}

static void gather(struct rt_assigner *a, const struct rt_centroid_set *set,
                   const struct rt_source *s, size_t index, struct rt_tile *out)
{
    struct rt_packed *packed = a->packed;
    size_t n_steps = a->code_stride / 4;
    uint32_t at = (uint32_t)(index * RT_TILE);
    uint32_t n = s->n - at < RT_TILE ? s->n - at : RT_TILE;
    size_t n_groups = (n + 15) / 16;
    out->most_p = out->most_w = 0;
    for (uint32_t i = 0; i < 16 * n_groups; i++) {
        int8_t *to = packed->codes + place_of(i, n_steps);
        bool is_empty = i >= n;
        uint32_t id = is_empty ? s->begin : s->begin + at + i;
        uint32_t slot = set->slot_of[id];
        const int8_t *from = set->codes + place_of(slot, n_steps);
        for (size_t step = 0; step < n_steps; step++)
            memcpy(to + step * 64, from + step * 64, 4);
        packed->ids[i] = is_empty ? UINT32_MAX : id;
        packed->scale[i] = set->scale[slot];
        packed->norm[i] = is_empty ? INFINITY : set->norm[slot];
        packed->p[i] = set->p[slot];
        packed->w[i] = set->w[slot];
        packed->sums[i] = set->sums[slot];
        out->most_p = packed->p[i] > out->most_p ? packed->p[i] : out->most_p;
        out->most_w = packed->w[i] > out->most_w ? packed->w[i] : out->most_w;
    }
    out->products = (struct rt_int8_tile){packed->codes, packed->scale, packed->norm,
                                          packed->sums,  n_groups,      n_steps};
    out->ids = packed->ids;
    out->p = packed->p;
    out->w = packed->w;
}

/* Groups [group, end) of a set. */
static void groups_of(const struct rt_centroid_set *set, size_t n_steps, size_t group, size_t end,
                      struct rt_tile *out)
{
    out->products = (struct rt_int8_tile){set->codes + group * n_steps * 64,
                                          set->scale + 16 * group,
                                          set->norm + 16 * group,
                                          set->sums + 16 * group,
                                          end - group,
                                          n_steps};
    out->ids = set->id_of + 16 * group;
    out->p = set->p + 16 * group;
    out->w = set->w + 16 * group;
    out->most_p = out->most_w = 0;
    for (; group < end; group++) {
        out->most_p = set->group_p[group] > out->most_p ? set->group_p[group] : out->most_p;
        out->most_w = set->group_w[group] > out->most_w ? set->group_w[group] : out->most_w;
    }
}

/* The same with low codes. */
static void fine_groups_of(const struct rt_centroid_set *set, size_t n_steps, size_t group,
                           size_t end, struct rt_tile *out)
{
    groups_of(set, n_steps, group, end, out);
    out->low = (struct rt_int8_tile){set->low.codes + group * n_steps * 64,
                                     set->low.scale + 16 * group,
                                     NULL,
                                     set->low.sums + 16 * group,
                                     end - group,
                                     n_steps};
    out->first_w = out->most_w;
    out->w = set->low.w + 16 * group;
    out->most_w = set->low.most_w;
}

static void tile_of(struct rt_assigner *a, const struct rt_centroid_set *set,
                    const struct rt_source *s, size_t index, struct rt_tile *out)
{
    if (s->is_gathered) {
        gather(a, set, s, index, out);
        return;
    }
    size_t n_tiles = n_tiles_of(s); /* of about the same size */
    groups_of(set, a->code_stride / 4, s->first_group + s->n_groups * index / n_tiles,
              s->first_group + s->n_groups * (index + 1) / n_tiles, out);
}

void rt_propose_values(struct rt_assigner *a, const struct rt_target *t, size_t at, size_t n,
                       float *values)
{
    struct rt_source source = {.n_groups = t->set->n_groups};
    size_t n_slots = (size_t)16 * t->set->n_groups;
    size_t place = 0;
    float least[RT_ROW_BLOCK];
    a->n_distances += n * n_slots;
    for (size_t index = 0; index < n_tiles_of(&source); index++) {
        struct rt_tile tile;
        tile_of(a, t->set, &source, index, &tile);
        size_t width = 16 * tile.products.n_groups;
        a->kernels->int8_tile(&tile.products, a->code_of + at, n, a->row_scale + at, NULL, a->a,
                              NULL, least);
        for (size_t i = 0; i < n; i++)
            memcpy(values + i * n_slots + place, a->a + i * RT_TILE, width * sizeof *values);
        place += width;
    }
}

/* One more a + b among the n least, ascending; returns the greatest of these. */
static float lower_highs(float *highs, uint32_t n, float high)
{
    uint32_t at = n - 1;
    if (high < highs[at]) {
        for (; at > 0 && high < highs[at - 1]; at--)
            highs[at] = highs[at - 1];
        highs[at] = high;
    }
    return highs[n - 1];
}

/* As rt_propose_lows for one nearest, by what rows and centroids are along the set's directions. */
static void lows_along(struct rt_assigner *a, const struct rt_target *t,
                       const struct rt_source *source, const uint32_t *rows, size_t n, float *lows)
{
    int32_t *most = a->along->most;
    const struct rt_along_codes *along = &t->set->along;
    size_t group = source->first_group;
    struct rt_along_sizes sizes = rt_along_sizes(t->set, group, group + source->n_groups);
    struct rt_int8_cell cell = {along->codes + group * along->n * 16, along->starts + 16 * group,
                                along->sums + 16 * group, source->n_groups, along->n / 4};
    struct rt_int8_rows coded = {a->along->codes, RT_LEADING_MOST, NULL, rows, n};
    a->n_distances += n * (uint64_t)16 * source->n_groups * along->n / a->dim;
    a->kernels->int8_most(&cell, &coded, most);
    for (size_t i = 0; i < n; i++)
        lows[i] = -along->unit * (float)most[i];
    for (size_t i = 0; i < n; i++) {
        size_t row = rows[i];
        float b = rt_along_bound(&a->along->bound[row], &sizes);
        float high = lows[i] + b;
        lows[i] -= b;
        a->threshold[row] = high < a->threshold[row] ? high : a->threshold[row];
    }
}

static void lows_whole(struct rt_assigner *a, const struct rt_target *t,
                       const struct rt_source *source, const uint32_t *rows, size_t n, float *lows)
{
    struct rt_tile cell;
    a->n_distances += n * (uint64_t)16 * source->n_groups;
    groups_of(t->set, a->code_stride / 4, source->first_group,
              source->first_group + source->n_groups, &cell);
    struct rt_int8_rows coded = {a->codes, a->code_stride, a->row_scale, rows, n};
    a->kernels->int8_least(&cell.products, &coded, lows);
    for (size_t i = 0; i < n; i++) {
        size_t row = rows[i];
        float b = rt_bound(t->set, &a->bound[row], cell.most_p, cell.most_w);
        float high = lower_highs(t->highs + row * t->best, t->best, lows[i] + b);
        lows[i] -= b;
        a->threshold[row] = high < a->threshold[row] ? high : a->threshold[row];
    }
}

void rt_propose_lows(struct rt_assigner *a, const struct rt_target *t,
                     const struct rt_source *source, const uint32_t *rows, size_t n, float *lows)
{
    if (t->is_along)
        lows_along(a, t, source, rows, n, lows);
    else
        lows_whole(a, t, source, rows, n, lows);
}

/* Of rows, those whose T the group's least a - b does not exceed, to left. Returns how many. */
static size_t rows_of_group(struct rt_assigner *a, const struct rt_target *t,
                            const struct rt_source *group, const uint32_t *rows, size_t n)
{
    float *lows = a->along->lows;
    uint32_t *left = a->along->left;
    size_t n_left = 0;
    lows_along(a, t, group, rows, n, lows);
    for (size_t i = 0; i < n; i++) {
        left[n_left] = rows[i];
        n_left += lows[i] <= a->threshold[rows[i]];
    }
    return n_left;
}

static void propose_by_codes(struct rt_assigner *a, const struct rt_target *t,
                             const struct rt_source *source, const uint32_t *rows, size_t n)
{
    size_t n_tiles = n_tiles_of(source);
    for (size_t index = 0; index < n_tiles; index++) {
        struct rt_tile tile;
        tile_of(a, t->set, source, index, &tile);
        for (size_t at = 0; at < n; at += RT_ROW_BLOCK)
            tile_by_codes(a, t, &tile, rows + at, n - at < RT_ROW_BLOCK ? n - at : RT_ROW_BLOCK);
    }
}

static void propose_by_gemm(struct rt_assigner *a, const struct rt_target *t,
                            const struct rt_source *source, const uint32_t *rows, size_t n)
{
    size_t n_tiles = n_tiles_of(source);
    size_t at_once = source->is_gathered ? 1 : a->sizes.gemm_tiles; /* packed holds one */
    for (size_t at = 0; at < n; at += a->sizes.gemm_rows) {
        size_t some = n - at < a->sizes.gemm_rows ? n - at : a->sizes.gemm_rows;
        for (size_t i = 0; i < some; i++)
            (void)a->kernels->centre(rt_target_values(a, t, rows[at + i]),
                                     t->set->is_ip ? NULL : t->set->mean, a->dim,
                                     a->gemm_rows + i * a->dim);
        for (size_t index = 0; index < n_tiles;) {
            struct rt_tile tiles[RT_GEMM_TILES];
            size_t n_here = 0;
            while (n_here < at_once && index < n_tiles)
                tile_of(a, t->set, source, index++, &tiles[n_here++]);
            tiles_by_gemm(a, t, tiles, n_here, rows + at, some);
        }
    }
}

/* By both codes. */
static void propose_fine(struct rt_assigner *a, const struct rt_target *t,
                         const struct rt_source *source, const uint32_t *rows, size_t n)
{
    size_t n_tiles = n_tiles_of(source);
    a->n_distances += n * (uint64_t)16 * source->n_groups;
    for (size_t index = 0; index < n_tiles; index++) {
        struct rt_tile tile;
        fine_groups_of(t->set, a->code_stride / 4,
                       source->first_group + source->n_groups * index / n_tiles,
                       source->first_group + source->n_groups * (index + 1) / n_tiles, &tile);
        for (size_t at = 0; at < n; at += RT_ROW_BLOCK)
            tile_by_fine_codes(a, t, &tile, rows + at,
                               n - at < RT_ROW_BLOCK ? n - at : RT_ROW_BLOCK);
    }
}

static void propose_whole(struct rt_assigner *a, const struct rt_target *t,
                          const struct rt_source *source, const uint32_t *rows, size_t n)
{
    bool is_proposed = a->proposer != RT_PROPOSE_NONE && t->set->can_propose;
    if (!t->by_codes && !is_proposed)
        return;
    a->n_distances += n * (source->is_gathered ? source->n : (uint64_t)16 * source->n_groups);
    if (!t->by_codes && a->proposer == RT_PROPOSE_SGEMM)
        propose_by_gemm(a, t, source, rows, n);
    else
        propose_by_codes(a, t, source, rows, n);
}

/* A group is shown only to rows whose T its lows along the directions do not exceed. */
static void propose_groups(struct rt_assigner *a, const struct rt_target *t,
                           const struct rt_source *source, const uint32_t *rows, size_t n)
{
    const uint32_t *left = a->along->left;
    for (uint32_t i = 0; i < source->n_groups; i++) {
        struct rt_source one = {.first_group = source->first_group + i, .n_groups = 1};
        size_t n_left = rows_of_group(a, t, &one, rows, n);
        if (n_left && t->is_fine)
            propose_fine(a, t, &one, left, n_left);
        else if (n_left)
            propose_whole(a, t, &one, left, n_left);
    }
}

void rt_propose(struct rt_assigner *a, const struct rt_target *t, const struct rt_source *source,
                const uint32_t *rows, size_t n)
{
    if (n == 0)
        return;
    if (t->is_along)
        propose_groups(a, t, source, rows, n);
    else if (t->is_fine)
        propose_fine(a, t, source, rows, n);
    else
        propose_whole(a, t, source, rows, n);
}
