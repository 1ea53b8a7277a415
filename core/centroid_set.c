#include "core/centroid_set.h"

#include "core/assigner.h"
#include "core/kernels/kernels.h"
#include "core/leading.h"
#include "core/memory.h"
#include "core/roundoff.h"

#include <math.h>
#include <string.h>

#define MOST_NORM 0x1p61 /* of c': rows and centroids of A6 stay below */

struct head { /* first bytes of a store */
    uint32_t n_groups, is_coded, has_low, n_along;
    double mean_norm, skew;
    float along_scale, along_unit;
    uint64_t zeros[3];
};

/* The store's parts, in order, each beginning a cache line. */
struct parts {
    struct head *head;
    float *mean;
    uint32_t *first_slot, *id_of, *slot_of;
    float *scale, *norm, *p, *w;
    int32_t *sums;
    float *group_p, *group_w;
    int8_t *codes;
    float *low_scale, *low_w; /* of sets in cells of many dimensions */
    float *group_low, *group_low_w;
    int32_t *low_sums;
    int8_t *low_codes;
    float *group_along_p, *group_along_w, *group_rest; /* where it has directions */
    int32_t *along_starts, *along_sums;
    int8_t *along_codes;
    float *direction_scale, *direction_norm;
    int32_t *direction_sums;
    int8_t *direction_codes;
    size_t bytes;
    uint32_t dim;
};

static float greater(float a, float b)
{
    return a > b ? a : b;
}

static size_t steps_of(uint32_t dim)
{
    return ((size_t)dim + 3) / 4;
}

static void *take(uintptr_t memory, size_t *at, size_t bytes)
{
    void *part = (void *)(memory + *at);
    *at += rt_whole_lines(bytes);
    return part;
}

static void take_low_codes(struct parts *s, uintptr_t memory, size_t *at, size_t groups,
                           uint32_t dim)
{
    size_t slots = 16 * groups;
    s->low_scale = take(memory, at, slots * sizeof *s->low_scale);
    s->low_w = take(memory, at, slots * sizeof *s->low_w);
    s->group_low = take(memory, at, groups * sizeof *s->group_low);
    s->group_low_w = take(memory, at, groups * sizeof *s->group_low_w);
    s->low_sums = take(memory, at, slots * sizeof *s->low_sums);
    s->low_codes = take(memory, at, groups * steps_of(dim) * 64);
}

static void take_directions(struct parts *s, uintptr_t memory, size_t *at, size_t groups,
                            uint32_t dim)
{
    size_t slots = 16 * groups;
    size_t most = RT_LEADING_MOST;
    s->along_starts = take(memory, at, slots * sizeof *s->along_starts);
    s->group_along_p = take(memory, at, groups * sizeof *s->group_along_p);
    s->group_along_w = take(memory, at, groups * sizeof *s->group_along_w);
    s->group_rest = take(memory, at, groups * sizeof *s->group_rest);
    s->along_sums = take(memory, at, slots * sizeof *s->along_sums);
    s->along_codes = take(memory, at, slots * most);
    s->direction_scale = take(memory, at, most * sizeof *s->direction_scale);
    s->direction_norm = take(memory, at, most * sizeof *s->direction_norm);
    s->direction_sums = take(memory, at, most * sizeof *s->direction_sums);
    s->direction_codes = take(memory, at, most * 4 * steps_of(dim));
}

/* memory 0: for the size alone. Directions come last, so that a store is the same up to there with
 * them or without. */
static struct parts layout(uintptr_t memory, uint32_t n, uint32_t dim, uint32_t n_cells,
                           bool has_along)
{
    struct parts s = {.dim = dim};
    size_t at = 0;
    size_t cells = n_cells ? n_cells : 1;
    size_t groups = ((size_t)n + 15 * cells) / 16; /* as many as n centroids can take in cells */
    size_t slots = 16 * groups;
    bool is_fine = n_cells > 0 && dim >= RT_FINE_DIM;
    s.head = take(memory, &at, sizeof *s.head);
    s.mean = take(memory, &at, dim * sizeof *s.mean);
    s.first_slot = take(memory, &at, (cells + 1) * sizeof *s.first_slot);
    s.id_of = take(memory, &at, slots * sizeof *s.id_of);
    s.slot_of = take(memory, &at, (size_t)n * sizeof *s.slot_of);
    s.scale = take(memory, &at, slots * sizeof *s.scale);
    s.norm = take(memory, &at, slots * sizeof *s.norm);
    s.p = take(memory, &at, slots * sizeof *s.p);
    s.w = take(memory, &at, slots * sizeof *s.w);
    s.sums = take(memory, &at, slots * sizeof *s.sums);
    s.group_p = take(memory, &at, groups * sizeof *s.group_p);
    s.group_w = take(memory, &at, groups * sizeof *s.group_w);
    s.codes = take(memory, &at, groups * steps_of(dim) * 64);
    take_low_codes(&s, memory, &at, is_fine ? groups : 0, dim);
    if (has_along)
        take_directions(&s, memory, &at, groups, dim);
    s.bytes = at;
    return s;
}

size_t rt_centroid_set_bytes_in_cells(uint32_t n, uint32_t dim, uint32_t n_cells)
{
    return layout(0, n, dim, n_cells, false).bytes;
}

size_t rt_centroid_set_bytes(uint32_t n, uint32_t dim)
{
    return layout(0, n, dim, 0, false).bytes;
}

size_t rt_leaf_set_bytes(uint32_t n, uint32_t dim, uint32_t n_cells)
{
    return layout(0, n, dim, n_cells, rt_leading_is_for(n, dim)).bytes;
}

struct rt_along_sizes rt_along_sizes(const struct rt_centroid_set *set, size_t group, size_t end)
{
    const struct rt_along_codes *along = &set->along;
    struct rt_along_sizes s = {0, 0, 0, 0};
    for (; group < end; group++) {
        s.p = greater(s.p, along->group_p[group]);
        s.w = greater(s.w, along->group_w[group]);
        s.rest = greater(s.rest, along->group_rest[group]);
    }
    s.k = (set->k[2] * (s.p + s.w) + set->k[1]) * (s.p + s.w) + set->k[0];
    return s;
}

void rt_centroids_mean(const float *centroids, uint32_t n, uint32_t dim, double *sums, float *mean)
{
    for (uint32_t i = 0; i < dim; i++)
        sums[i] = 0;
    for (uint32_t c = 0; c < n; c++)
        for (uint32_t i = 0; i < dim; i++)
            sums[i] += (double)centroids[(size_t)c * dim + i];
    for (uint32_t i = 0; i < dim; i++)
        mean[i] = (float)(sums[i] / (double)n);
}

/* Those of place c (0..15) in a group. */
static void put_codes(const uint8_t *row_codes, size_t n_steps, size_t c, int8_t *codes)
{
    for (size_t step = 0; step < n_steps; step++) {
        uint32_t four;
        memcpy(&four, row_codes + 4 * step, sizeof four);
        four ^= UINT32_C(0x80808080); /* less 128 */
        memcpy(codes + step * 64 + c * 4, &four, sizeof four);
    }
}

/* c - mean by codes, of up to 16 centroids. */
static void code_group(const struct parts *s, const float *const *centroids, size_t n, uint32_t dim,
                       bool is_coded, size_t group, uint8_t *row_codes, struct rt_quantised *out)
{
    const struct rt_kernels *kernels = rt_kernels();
    size_t n_steps = steps_of(dim);
    int8_t *codes = s->codes + group * n_steps * 64;
    if (kernels->quantise_group && !is_coded) {
        kernels->quantise_group(centroids, n, s->mean, dim, codes, out);
        return;
    }
    memset(codes, 0, n_steps * 64);
    for (size_t c = 0; c < n; c++) {
        kernels->quantise(centroids[c], s->mean, dim, row_codes, &out[c]);
        put_codes(row_codes, n_steps, c, codes);
    }
}

/* What the bound needs of the slot's centroid; false where it is beyond A6. */
static bool fill_slot(const struct parts *s, bool is_ip, size_t slot, const struct rt_quantised *q)
{
    if (!((double)q->norm2 <= MOST_NORM * MOST_NORM))
        return false;
    double norm = sqrt((double)q->norm2 + 0x1p-130);
    double error = 1.001 * sqrt((double)q->error2 + 0x1p-130) + 4 * RT_ROUNDOFF * norm;
    s->scale[slot] = q->scale;
    s->norm[slot] = is_ip ? 0.0f : q->norm2;
    s->p[slot] = (float)((is_ip ? 1.001 : 2.002) * norm);
    s->w[slot] = (float)((is_ip ? 1.001 : 2.002) * error);
    s->sums[slot] = 128 * q->sum;
    return true;
}

static void fill_empty(const struct parts *s, size_t slot)
{
    s->id_of[slot] = UINT32_MAX;
    s->scale[slot] = 0;
    s->norm[slot] = INFINITY;
    s->p[slot] = s->w[slot] = 0;
    s->sums[slot] = 0;
}

/* Infinite where a centroid is beyond A6. */
static void find_most_of_group(const struct parts *s, size_t group, bool can_propose)
{
    float p = can_propose ? 0 : INFINITY;
    float w = 0;
    for (size_t slot = 16 * group; can_propose && slot < 16 * group + 16; slot++) {
        p = greater(p, s->p[slot]);
        w = greater(w, s->w[slot]);
    }
    s->group_p[group] = p;
    s->group_w[group] = w;
}

static void find_most(const struct parts *s, struct rt_centroid_set *set)
{
    for (size_t g = 0; s->head->has_low && g < s->head->n_groups; g++) {
        set->low.most = greater(set->low.most, s->group_low[g]);
        set->low.most_w = greater(set->low.most_w, s->group_low_w[g]);
    }
    for (size_t g = 0; g < s->head->n_groups; g++) {
        set->most_p = greater(set->most_p, s->group_p[g]);
        set->most_w = greater(set->most_w, s->group_w[g]);
    }
    set->can_propose = isfinite(s->head->mean_norm) && isfinite(set->most_p);
}

/* What a store is made of. */
struct filling {
    const float *centroids;
    const uint32_t *members; /* NULL: centroids 0..n - 1 */
    uint32_t n, dim;
    bool is_ip, is_coded, has_low, has_along;
    const uint32_t *first_child; /* of n_cells; 0: not in cells */
    uint32_t n_cells;
    const bool *is_wanted; /* of each cell; NULL: all are */
    uint32_t begin, end;   /* of the centroids whose groups are made */
    uint8_t *row_codes;    /* scratch, dim rounded up to a multiple of 4; 8 dim for low codes */
    struct rt_leading *leading; /* NULL, or without directions: only codes of all dimensions */
};

/* What its codes leave of a centroid: rounded like a row's (propose.c). Returns how long it is at
 * most, doubled as the bound wants it. */
static float fill_low(const struct parts *s, const struct filling *f, const float *centroid,
                      size_t slot)
{
    float *rest = (float *)(void *)f->row_codes + f->dim; /* of the scratch */
    size_t at = slot / 16 * steps_of(f->dim) * 64;
    double doubled = f->is_ip ? 1.001 : 2.002;
    struct rt_quantised q;
    for (size_t i = 0; i < f->dim; i++) {
        int8_t code = s->codes[at + i / 4 * 64 + slot % 16 * 4 + i % 4];
        rest[i] = (centroid[i] - s->mean[i]) - s->scale[slot] * (float)code;
    }
    rt_kernels()->quantise(rest, NULL, f->dim, f->row_codes, &q);
    put_codes(f->row_codes, steps_of(f->dim), slot % 16, s->low_codes + at);
    struct rt_row_sizes low = rt_row_sizes(q.scale, q.norm2, q.error2);
    s->low_scale[slot] = q.scale;
    s->low_sums[slot] = 128 * q.sum;
    s->low_w[slot] = (float)(doubled * ((double)low.error + 4 * RT_ROUNDOFF * (double)s->p[slot]));
    return (float)(doubled * ((double)low.norm + (double)low.error));
}

static void fill_low_group(const struct parts *s, const struct filling *f,
                           const float *const *values, size_t n, size_t group)
{
    memset(s->low_codes + group * steps_of(f->dim) * 64, 0, steps_of(f->dim) * 64);
    s->group_low[group] = s->group_low_w[group] = 0;
    for (size_t i = 0; i < 16; i++) {
        size_t slot = 16 * group + i;
        s->low_scale[slot] = s->low_w[slot] = 0;
        s->low_sums[slot] = 0;
        float low = i < n ? fill_low(s, f, values[i], slot) : 0;
        s->group_low[group] = greater(s->group_low[group], low);
        s->group_low_w[group] = greater(s->group_low_w[group], s->low_w[slot]);
    }
}

/* A centroid so far out that sums could overflow: nothing is told of its group. */
#define MOST_START 0x1p28
#define EMPTY_START (-(1 << 30)) /* below all others whatever is added */

static void fill_along(const struct parts *s, const struct rt_leading *leading,
                       const struct rt_along *along, size_t slot)
{
    size_t n_steps = leading->n / 4;
    size_t group = slot / 16;
    double start = (double)s->norm[slot] / (double)leading->unit;
    bool is_far = !(start < MOST_START);
    float p = is_far ? INFINITY : greater(s->p[slot], (float)(2.002 * along->size));
    put_codes(along->codes, n_steps, slot % 16, s->along_codes + group * n_steps * 64);
    s->along_starts[slot] = is_far ? EMPTY_START : -(int32_t)lrint(start);
    s->along_sums[slot] = 128 * along->sum;
    s->group_along_p[group] = greater(s->group_along_p[group], p);
    s->group_along_w[group] = greater(s->group_along_w[group], (float)(2.002 * along->rest_along));
    s->group_rest[group] = greater(s->group_rest[group], (float)(2.002 * along->rest));
}

static void fill_along_group(const struct parts *s, struct rt_leading *leading,
                             const float *const *values, size_t n, size_t group)
{
    struct rt_along along[RT_LEADING_BLOCK];
    size_t bytes = (size_t)leading->n * 16;
    memset(s->along_codes + group * bytes, 0, bytes);
    s->group_along_p[group] = s->group_along_w[group] = s->group_rest[group] = 0;
    for (size_t i = 0; i < 16; i++) {
        s->along_starts[16 * group + i] = EMPTY_START;
        s->along_sums[16 * group + i] = 0;
    }
    for (size_t at = 0; at < n; at += RT_LEADING_BLOCK) {
        size_t some = n - at < RT_LEADING_BLOCK ? n - at : RT_LEADING_BLOCK;
        rt_leading_along(leading, values + at, some, s->mean, along);
        for (size_t i = 0; i < some; i++)
            fill_along(s, leading, &along[i], 16 * group + at + i);
    }
}

/* One group: centroids first.. of a cell, n of them. */
static void fill_group(const struct parts *s, const struct filling *f, uint32_t first, size_t n,
                       size_t group)
{
    const float *values[16];
    struct rt_quantised q[16];
    bool can_propose = true;
    for (size_t i = 0; i < n; i++) {
        uint32_t number = f->members ? f->members[first + i] : first + (uint32_t)i;
        values[i] = f->centroids + (size_t)number * f->dim;
        s->id_of[16 * group + i] = number;
        s->slot_of[first + i] = (uint32_t)(16 * group + i);
    }
    code_group(s, values, n, f->dim, f->is_coded, group, f->row_codes, q);
    for (size_t i = 0; i < n; i++)
        can_propose &= fill_slot(s, f->is_ip, 16 * group + i, &q[i]);
    for (size_t i = n; i < 16; i++)
        fill_empty(s, 16 * group + i);
    find_most_of_group(s, group, can_propose);
    if (f->has_low)
        fill_low_group(s, f, values, can_propose ? n : 0, group);
    if (f->leading && f->leading->n)
        fill_along_group(s, f->leading, values, can_propose ? n : 0, group);
}

static void fill_directions(const struct parts *s, const struct rt_leading *leading)
{
    size_t stride = rt_code_stride(leading->dim);
    s->head->n_along = leading->n;
    s->head->skew = leading->skew;
    s->head->along_scale = leading->row_scale;
    s->head->along_unit = leading->unit;
    memset(s->direction_codes, 0, leading->n * stride);
    for (uint32_t k = 0; k < leading->n; k++) {
        s->direction_scale[k] = leading->scale[k];
        s->direction_norm[k] = 0;
        s->direction_sums[k] = leading->sums[k];
        put_codes(leading->codes + k * stride, stride / 4, k % 16,
                  s->direction_codes + k / 16 * stride * 16);
    }
}

static void leave_out_group(const struct parts *s, uint32_t first, size_t n, size_t group)
{
    for (size_t i = 0; i < 16; i++)
        fill_empty(s, 16 * group + i);
    for (size_t i = 0; i < n; i++)
        s->slot_of[first + i] = (uint32_t)(16 * group + i);
    memset(s->codes + group * steps_of(s->dim) * 64, 0, steps_of(s->dim) * 64);
    find_most_of_group(s, group, true);
}

/* Everything but the mean, which is there already: of the groups whose first centroids are of this
 * part; what belongs to none of them is made with the first. */
static void fill(const struct parts *s, const struct filling *f)
{
    uint32_t everything[2] = {0, f->n};
    uint32_t n_cells = f->n_cells ? f->n_cells : 1;
    const uint32_t *first = f->n_cells ? f->first_child : everything;
    bool is_first = f->begin == 0;
    size_t group = 0;
    for (uint32_t cell = 0; cell < n_cells; cell++) {
        bool is_wanted = !f->is_wanted || f->is_wanted[cell];
        if (is_first)
            s->first_slot[cell] = (uint32_t)(16 * group);
        for (uint32_t c = first[cell]; c < first[cell + 1]; c += 16, group++) {
            size_t left = first[cell + 1] - c;
            if (c < f->begin || c >= f->end)
                continue;
            if (is_wanted)
                fill_group(s, f, c, left < 16 ? left : 16, group);
            else
                leave_out_group(s, c, left < 16 ? left : 16, group);
        }
    }
    if (!is_first)
        return;
    s->first_slot[n_cells] = (uint32_t)(16 * group);
    *s->head =
        (struct head){.n_groups = (uint32_t)group, .is_coded = f->is_coded, .has_low = f->has_low};
    s->head->mean_norm = sqrt(rt_kernels()->norm2(s->mean, f->dim));
    if (f->leading)
        fill_directions(s, f->leading);
}

static void show_along(const struct parts *s, struct rt_along_codes *along)
{
    uint32_t n = s->head->n_along;
    *along = (struct rt_along_codes){.n = n,
                                     .codes = s->along_codes,
                                     .starts = s->along_starts,
                                     .sums = s->along_sums,
                                     .group_p = s->group_along_p,
                                     .group_w = s->group_along_w,
                                     .group_rest = s->group_rest,
                                     .as_set = {s->direction_codes, s->direction_scale,
                                                s->direction_norm, s->direction_sums, n / 16,
                                                steps_of(s->dim)},
                                     .skew = (float)(1.001 * s->head->skew),
                                     .row_scale = s->head->along_scale,
                                     .unit = s->head->along_unit};
}

static void show(const struct parts *s, const float *centroids, uint32_t n, uint32_t dim,
                 enum rt_metric distance, uint32_t n_cells, struct rt_centroid_set *set)
{
    *set = (struct rt_centroid_set){.centroids = centroids,
                                    .n = n,
                                    .dim = dim,
                                    .is_ip = distance == RT_IP,
                                    .is_coded = s->head->is_coded != 0,
                                    .n_cells = n_cells,
                                    .n_groups = s->head->n_groups,
                                    .mean = s->mean,
                                    .first_slot = s->first_slot,
                                    .id_of = s->id_of,
                                    .slot_of = s->slot_of,
                                    .scale = s->scale,
                                    .norm = s->norm,
                                    .p = s->p,
                                    .w = s->w,
                                    .sums = s->sums,
                                    .group_p = s->group_p,
                                    .group_w = s->group_w,
                                    .codes = s->codes};
    if (s->head->has_low)
        set->low = (struct rt_low_codes){
            .codes = s->low_codes, .scale = s->low_scale, .sums = s->low_sums, .w = s->low_w};
    if (s->head->n_along)
        show_along(s, &set->along);
    find_most(s, set);
    rt_centroid_set_constants(set, s->head->mean_norm);
}

enum rt_status rt_centroid_set_view(const float *centroids, uint32_t n, uint32_t dim,
                                    enum rt_metric distance, uint32_t n_cells, const void *memory,
                                    struct rt_centroid_set **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroid_set *set = NULL;
    struct parts s = layout((uintptr_t)memory, n, dim, n_cells, true); /* if it has them */
    RT_TRY(rt_array_zero(1, sizeof *set, &set, err));
    show(&s, centroids, n, dim, distance, n_cells, set);
    *out = set;
done:
    return st;
}

/* about: n_about centroids, whose mean is subtracted. The part that has the first centroid keeps
 * it for all. */
static enum rt_status make_about(struct filling f, const float *about, uint32_t n_about,
                                 void *memory, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double *scratch = NULL;
    float *mean = NULL;
    struct parts s = layout((uintptr_t)memory, f.n, f.dim, f.n_cells, f.has_along);
    RT_TRY(rt_array_new(f.dim, sizeof *scratch, &scratch, err));
    if (f.begin > 0) {
        RT_TRY(rt_array_new(f.dim, sizeof *mean, &mean, err));
        s.mean = mean;
    }
    rt_centroids_mean(about, n_about, f.dim, scratch, s.mean);
    f.row_codes = (uint8_t *)scratch;
    if (f.has_along)
        RT_TRY(rt_leading_new(f.centroids, f.n, f.dim, s.mean, &f.leading, err));
    fill(&s, &f);
done:
    rt_leading_free(f.leading);
    rt_array_free(scratch);
    rt_array_free(mean);
    return st;
}

static enum rt_status new_about(struct filling f, const float *about, uint32_t n_about,
                                void *memory, struct rt_centroid_set **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    void *owned = NULL;
    if (!memory) {
        size_t bytes = layout(0, f.n, f.dim, f.n_cells, f.has_along).bytes;
        RT_TRY(rt_array_new(bytes, 1, &owned, err));
        memory = owned;
    }
    RT_TRY(make_about(f, about, n_about, memory, err));
    RT_TRY(rt_centroid_set_view(f.centroids, f.n, f.dim, f.is_ip ? RT_IP : RT_L2, f.n_cells, memory,
                                out, err));
    (*out)->owned = owned;
    owned = NULL;
done:
    rt_array_free(owned);
    return st;
}

/* What is made in cells lies about the mean of the first that is wanted: about[0..1] of them. */
static struct filling cells_filling(const float *centroids, uint32_t n, uint32_t dim,
                                    enum rt_metric distance, const uint32_t *first_child,
                                    uint32_t n_cells, const bool *is_wanted, uint32_t about[2])
{
    about[0] = 0;
    about[1] = n;
    for (uint32_t c = 0; is_wanted && c < n_cells; c++)
        if (is_wanted[c] && first_child[c] < first_child[c + 1]) {
            memcpy(about, first_child + c, 2 * sizeof *about);
            break;
        }
    return (struct filling){.centroids = centroids,
                            .n = n,
                            .dim = dim,
                            .is_ip = distance == RT_IP,
                            .first_child = first_child,
                            .n_cells = n_cells,
                            .is_wanted = is_wanted,
                            .end = n};
}

enum rt_status rt_centroid_set_make(const float *centroids, uint32_t n, uint32_t dim,
                                    enum rt_metric distance, const uint32_t *first_child,
                                    uint32_t n_cells, const bool *is_wanted, void *memory,
                                    uint32_t begin, uint32_t end, struct rt_error *err)
{
    uint32_t about[2];
    struct filling f =
        cells_filling(centroids, n, dim, distance, first_child, n_cells, is_wanted, about);
    f.begin = begin;
    f.end = end;
    return make_about(f, centroids + (size_t)about[0] * dim, about[1] - about[0], memory, err);
}

enum rt_status rt_centroid_set_new_in_cells(const float *centroids, uint32_t n, uint32_t dim,
                                            enum rt_metric distance, const uint32_t *first_child,
                                            uint32_t n_cells, const bool *is_wanted, void *memory,
                                            struct rt_centroid_set **out, struct rt_error *err)
{
    uint32_t about[2];
    struct filling f =
        cells_filling(centroids, n, dim, distance, first_child, n_cells, is_wanted, about);
    return new_about(f, centroids + (size_t)about[0] * dim, about[1] - about[0], memory, out, err);
}

enum rt_status rt_centroid_set_new(const float *centroids, uint32_t n, uint32_t dim,
                                   enum rt_metric distance, void *memory,
                                   struct rt_centroid_set **out, struct rt_error *err)
{
    return rt_centroid_set_new_in_cells(centroids, n, dim, distance, NULL, 0, NULL, memory, out,
                                        err);
}

static struct filling level_filling(const struct rt_tree *tree, uint32_t level,
                                    enum rt_metric distance, bool for_rows)
{
    const struct rt_level *at = &tree->levels[level];
    const struct rt_level *above = level ? at - 1 : NULL;
    bool is_leaf = level + 1 == tree->n_levels;
    return (struct filling){.centroids = at->centroids,
                            .n = at->n,
                            .dim = tree->dim,
                            .is_ip = distance == RT_IP,
                            .is_coded = level + 1 < tree->n_levels,
                            .has_low = above && is_leaf && tree->dim >= RT_FINE_DIM,
                            .has_along = for_rows && is_leaf && distance != RT_IP &&
                                         rt_leading_is_for(at->n, tree->dim),
                            .first_child = above ? above->first_child : NULL,
                            .n_cells = above ? above->n : 0,
                            .end = at->n};
}

size_t rt_level_set_bytes(const struct rt_tree *tree, uint32_t level, bool for_rows)
{
    struct filling f = level_filling(tree, level, RT_L2, for_rows);
    return layout(0, f.n, f.dim, f.n_cells, f.has_along).bytes;
}

enum rt_status rt_level_set_new(const struct rt_tree *tree, uint32_t level, enum rt_metric distance,
                                bool for_rows, void *memory, struct rt_centroid_set **out,
                                struct rt_error *err)
{
    return new_about(level_filling(tree, level, distance, for_rows), tree->levels[0].centroids,
                     tree->levels[0].n, memory, out, err);
}

enum rt_status rt_level_set_make(const struct rt_tree *tree, uint32_t level,
                                 enum rt_metric distance, bool for_rows, void *memory,
                                 uint32_t begin, uint32_t end, struct rt_error *err)
{
    struct filling f = level_filling(tree, level, distance, for_rows);
    f.begin = begin;
    f.end = end;
    return make_about(f, tree->levels[0].centroids, tree->levels[0].n, memory, err);
}

enum rt_status rt_level_set_view(const struct rt_tree *tree, uint32_t level,
                                 enum rt_metric distance, const void *memory,
                                 struct rt_centroid_set **out, struct rt_error *err)
{
    const struct rt_level *at = &tree->levels[level];
    return rt_centroid_set_view(at->centroids, at->n, tree->dim, distance, level ? at[-1].n : 0,
                                memory, out, err);
}

size_t rt_small_set_bytes(uint32_t most, uint32_t dim)
{
    return rt_centroid_set_bytes(most, dim) + 4 * steps_of(dim);
}

enum rt_status rt_small_set_new(uint32_t most, uint32_t dim, enum rt_metric distance,
                                struct rt_centroid_set **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroid_set *set = NULL;
    RT_TRY(rt_array_zero(1, sizeof *set, &set, err));
    RT_TRY(rt_array_new(rt_centroid_set_bytes(most, dim), 1, &set->owned, err));
    RT_TRY(rt_array_new((size_t)4 * steps_of(dim), 1, &set->row_codes, err));
    set->dim = dim;
    set->is_ip = distance == RT_IP;
    set->room = most;
    *out = set;
    set = NULL;
done:
    rt_centroid_set_free(set);
    return st;
}

void rt_small_set_fill(struct rt_centroid_set *set, const float *centroids, const uint32_t *members,
                       uint32_t n, const float *reference)
{
    struct rt_centroid_set was = *set;
    struct parts s = layout((uintptr_t)was.owned, was.room, was.dim, 0, false);
    rt_assert(n >= 1 && n <= was.room);
    memcpy(s.mean, reference, was.dim * sizeof *s.mean);
    struct filling f = {.centroids = centroids,
                        .members = members,
                        .n = n,
                        .dim = was.dim,
                        .is_ip = was.is_ip,
                        .end = n,
                        .row_codes = was.row_codes};
    fill(&s, &f);
    show(&s, centroids, n, was.dim, was.is_ip ? RT_IP : RT_L2, 0, set);
    set->members = members;
    set->room = was.room;
    set->owned = was.owned;
    set->row_codes = was.row_codes;
}

void rt_centroid_set_free(struct rt_centroid_set *set)
{
    if (!set)
        return;
    rt_array_free(set->row_codes);
    rt_array_free(set->owned);
    rt_array_free(set);
}
