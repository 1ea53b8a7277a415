#include "core/descend.h"

#include "core/assigner.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

struct scored {
    float distance;
    uint32_t number;
};

struct rt_descent {
    struct rt_descent_options options;
    void (*measure)(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                    size_t n, float *out);
    /* of coded distances (B11) */
    bool has_reference;
    float *reference; /* dim: the mean of the top level */
    double *sums;     /* dim: scratch */
    uint8_t *row_codes, *codes;
    /* of the level at hand, grown as needed */
    size_t room;
    uint32_t *numbers;
    float *distances;
    struct scored *scored;
    size_t n;
};

enum rt_status rt_descent_new(const struct rt_descent_options *options, struct rt_descent **out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_descent *descent = NULL;
    RT_TRY(rt_array_zero(1, sizeof *descent, &descent, err));
    descent->options = *options;
    descent->measure = options->distance == RT_IP ? rt_kernels()->ip_among : rt_kernels()->l2_among;
    uint32_t dim = options->tree->dim;
    RT_TRY(rt_array_new(dim, sizeof *descent->reference, &descent->reference, err));
    RT_TRY(rt_array_new(dim, sizeof *descent->sums, &descent->sums, err));
    RT_TRY(rt_array_new(rt_code_stride(dim), 1, &descent->row_codes, err));
    RT_TRY(rt_array_new(rt_code_stride(dim), 1, &descent->codes, err));
    *out = descent;
    descent = NULL;
done:
    rt_descent_free(descent);
    return st;
}

void rt_descent_free(struct rt_descent *descent)
{
    if (!descent)
        return;
    rt_array_free(descent->reference);
    rt_array_free(descent->sums);
    rt_array_free(descent->row_codes);
    rt_array_free(descent->codes);
    rt_array_free(descent->numbers);
    rt_array_free(descent->distances);
    rt_array_free(descent->scored);
    rt_array_free(descent);
}

static enum rt_status make_room(struct rt_descent *d, size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n <= d->room)
        return RT_OK;
    RT_TRY(rt_array_resize(2 * n, sizeof *d->numbers, &d->numbers, err));
    RT_TRY(rt_array_resize(2 * n, sizeof *d->distances, &d->distances, err));
    RT_TRY(rt_array_resize(2 * n, sizeof *d->scored, &d->scored, err));
    d->room = 2 * n;
done:
    return st;
}

/* Centroids [first, end) of a level are candidates. */
static enum rt_status add_range(struct rt_descent *d, uint32_t level, uint32_t first, uint32_t end,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_descent_options *o = &d->options;
    if (end < first || end > o->tree->levels[level].n)
        RT_FAIL(RT_DAMAGED, "the tree is damaged: children %u to %u of level %u", first, end,
                level);
    if (o->touch)
        RT_TRY(o->touch(o->context, level, first, end - first, err));
    RT_TRY(make_room(d, d->n + (end - first), err));
    for (uint32_t c = first; c < end; c++)
        d->numbers[d->n++] = c;
done:
    return st;
}

/* (E, number), as every order is (A5). */
static int by_distance(const void *a, const void *b)
{
    const struct scored *x = a;
    const struct scored *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int32_t product(const uint8_t *a, const uint8_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((int32_t)a[i] - 128) * ((int32_t)b[i] - 128);
    return sum;
}

/* B11, as int8_tile rounds it. */
static void measure_coded(struct rt_descent *d, uint32_t level, const float *row)
{
    const struct rt_tree *tree = d->options.tree;
    const struct rt_kernels *kernels = rt_kernels();
    bool is_ip = d->options.distance == RT_IP;
    struct rt_quantised x;
    struct rt_quantised c;
    if (!d->has_reference)
        rt_centroids_mean(tree->levels[0].centroids, tree->levels[0].n, tree->dim, d->sums,
                          d->reference);
    d->has_reference = true;
    kernels->quantise(row, is_ip ? NULL : d->reference, tree->dim, d->row_codes, &x);
    float row_scale = is_ip ? -x.scale : -2 * x.scale;
    for (size_t i = 0; i < d->n; i++) {
        kernels->quantise(tree->levels[level].centroids + (size_t)d->numbers[i] * tree->dim,
                          d->reference, tree->dim, d->codes, &c);
        float scaled = c.scale * (float)product(d->row_codes, d->codes, tree->dim);
        d->distances[i] = (is_ip ? 0.0f : c.norm2) + row_scale * scaled;
    }
}

static void score(struct rt_descent *d, uint32_t level, const float *row)
{
    const struct rt_tree *tree = d->options.tree;
    if (level + 1 < tree->n_levels)
        measure_coded(d, level, row);
    else
        d->measure(row, tree->levels[level].centroids, tree->dim, d->numbers, d->n, d->distances);
    for (size_t i = 0; i < d->n; i++)
        d->scored[i] = (struct scored){d->distances[i], d->numbers[i]};
    if (d->n)
        qsort(d->scored, d->n, sizeof *d->scored, by_distance);
}

enum rt_status rt_descend(struct rt_descent *d, const float *row, uint32_t *leaf, float *distance,
                          struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = d->options.tree;
    uint32_t last = tree->n_levels - 1;
    d->n = 0;
    RT_TRY(add_range(d, 0, 0, tree->levels[0].n, err));
    for (uint32_t level = 0;; level++) {
        score(d, level, row);
        if (level == last)
            break;
        size_t n_kept = d->n < d->options.beam ? d->n : d->options.beam;
        const uint32_t *first_child = tree->levels[level].first_child;
        d->n = 0;
        for (size_t i = 0; i < n_kept; i++) {
            uint32_t cell = d->scored[i].number;
            RT_TRY(add_range(d, level + 1, first_child[cell], first_child[cell + 1], err));
        }
    }
    if (d->n == 0)
        RT_FAIL(RT_DAMAGED, "the tree is damaged: cells without leaves");
    *leaf = d->scored[0].number;
    *distance = d->scored[0].distance;
done:
    return st;
}
