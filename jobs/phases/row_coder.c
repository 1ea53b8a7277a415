#include "jobs/phases/row_coder.h"

#include "core/code.h"
#include "core/memory.h"

#include <string.h>

#define PREPARED                                                                                   \
    32u /* rows that stay in the first caches from their conversion to their rotation */

struct rt_row_coder {
    struct rt_row_coder_options options;
    struct rt_assigner *assigner; /* one of the two */
    struct rt_descent *descent;
    struct rt_coded_rows rows;
    enum rt_row_verdict *verdicts;
    uint32_t *lists;
    float *distances;
    float *rotated;
};

size_t rt_row_coder_bytes(uint32_t dim, uint32_t beam, size_t max_rows)
{
    size_t a_row = (size_t)dim * sizeof(float) + sizeof(enum rt_row_verdict) + sizeof(uint32_t) +
                   sizeof(float);
    return max_rows * a_row + (beam ? rt_assigner_bytes(max_rows, dim, beam) : 0);
}

enum rt_status rt_row_coder_new(const struct rt_row_coder_options *options,
                                struct rt_row_coder **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_coder *coder = NULL;
    uint32_t dim = options->tree->dim;
    RT_TRY(rt_array_zero(1, sizeof *coder, &coder, err));
    coder->options = *options;
    /* however large the number that an option or a manifest gives */
    coder->options.beam = rt_tree_beam(options->tree, options->beam);
    RT_TRY(rt_array_new(options->max_rows, sizeof *coder->verdicts, &coder->verdicts, err));
    RT_TRY(rt_array_new(options->max_rows, sizeof *coder->lists, &coder->lists, err));
    RT_TRY(rt_array_new(options->max_rows, sizeof *coder->distances, &coder->distances, err));
    RT_TRY(rt_array_new(options->max_rows, dim * sizeof(float), &coder->rotated, err));
    struct rt_descent_options few = {.tree = options->tree,
                                     .distance = options->distance,
                                     .beam = coder->options.beam,
                                     .touch = options->touch,
                                     .context = options->touch_context};
    if (options->sets)
        RT_TRY(rt_assigner_new(options->max_rows, dim, coder->options.beam, options->proposer,
                               &coder->assigner, err));
    else
        RT_TRY(rt_descent_new(&few, &coder->descent, err));
    *out = coder;
    coder = NULL;
done:
    rt_row_coder_free(coder);
    return st;
}

void rt_row_coder_free(struct rt_row_coder *coder)
{
    if (!coder)
        return;
    rt_assigner_free(coder->assigner);
    rt_descent_free(coder->descent);
    rt_array_free(coder->verdicts);
    rt_array_free(coder->lists);
    rt_array_free(coder->distances);
    rt_array_free(coder->rotated);
    rt_array_free(coder);
}

/* Rows [begin, end), rotated. Bad rows become zero rows for the time of the assignment, so that
 * batches keep their shape. Returns how many are good. */
static size_t prepare(struct rt_row_coder *coder, const void *native, size_t begin, size_t end)
{
    uint32_t dim = coder->options.tree->dim;
    size_t row_bytes = dim * rt_element_size(coder->options.element);
    float *rows = coder->rotated + begin * dim;
    size_t n_good = 0;
    rt_element_to_f32(coder->options.element, (const char *)native + begin * row_bytes, rows,
                      (end - begin) * dim);
    for (size_t i = begin; i < end; i++) {
        float *row = coder->rotated + i * dim;
        coder->verdicts[i] = rt_metric_prepare_row(coder->options.tree->metric, row, dim);
        if (coder->verdicts[i] == RT_ROW_GOOD)
            n_good++;
        else
            memset(row, 0, dim * sizeof *row);
    }
    rt_rotation_apply(coder->options.rotation, rows, end - begin);
    return n_good;
}

static enum rt_status descend(struct rt_row_coder *coder, size_t n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < n_rows; i++)
        RT_TRY(rt_descend(coder->descent, coder->rotated + i * coder->options.tree->dim,
                          &coder->lists[i], &coder->distances[i], err));
done:
    return st;
}

enum rt_status rt_row_coder_assign(struct rt_row_coder *coder, const void *native, size_t n_rows,
                                   const struct rt_coded_rows **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n_good = 0;
    for (size_t at = 0; at < n_rows; at += PREPARED)
        n_good += prepare(coder, native, at, n_rows - at < PREPARED ? n_rows : at + PREPARED);
    if (coder->descent)
        RT_TRY(descend(coder, n_rows, err));
    else
        rt_assign_tree(coder->assigner, coder->options.tree, coder->options.sets,
                       coder->options.beam, coder->rotated, n_rows, coder->lists, coder->distances);
    if (n_good < n_rows)
        for (size_t i = 0; i < n_rows; i++)
            if (coder->verdicts[i] != RT_ROW_GOOD)
                coder->lists[i] = RT_NO_PARENT;
    coder->rows = (struct rt_coded_rows){.n_rows = n_rows,
                                         .verdicts = coder->verdicts,
                                         .lists = coder->lists,
                                         .distances = coder->distances,
                                         .rotated = coder->rotated,
                                         .n_good = n_good};
    *out = &coder->rows;
done:
    return st;
}

void rt_row_coder_encode(const struct rt_row_coder *coder, uint8_t *codes, float *factors)
{
    const struct rt_tree *tree = coder->options.tree;
    const float *centroids = tree->residual ? rt_tree_leaves(tree)->centroids : NULL;
    rt_code_encode_rows(tree->metric, coder->rotated, coder->lists, coder->rows.n_rows, centroids,
                        tree->dim, codes, factors);
}

size_t rt_row_coder_order(const uint32_t *lists, size_t n_rows, uint32_t *order, uint32_t *scratch)
{
    size_t n = 0;
    uint32_t most = 0;
    for (size_t i = 0; i < n_rows; i++)
        if (lists[i] != RT_NO_PARENT) {
            order[n++] = (uint32_t)i;
            most = lists[i] > most ? lists[i] : most;
        }
    /* A stable byte-wise radix sort by list: equal lists stay in row order. */
    uint32_t *from = order;
    uint32_t *to = scratch;
    for (unsigned shift = 0; shift < 32 && most >> shift; shift += 8) {
        size_t first[257] = {0};
        for (size_t i = 0; i < n; i++)
            first[((lists[from[i]] >> shift) & 255) + 1]++;
        for (size_t b = 0; b < 256; b++)
            first[b + 1] += first[b];
        for (size_t i = 0; i < n; i++)
            to[first[(lists[from[i]] >> shift) & 255]++] = from[i];
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order)
        memcpy(order, from, n * sizeof *order);
    return n;
}

void rt_row_coder_counts(const struct rt_row_coder *coder, uint64_t *rows, uint64_t *candidates)
{
    if (coder->assigner)
        rt_assigner_counts(coder->assigner, rows, candidates);
}
