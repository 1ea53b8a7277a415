#include "core/recode.h"

#include "core/code.h"
#include "core/memory.h"
#include "core/rotation.h"

#include <string.h>

struct rt_recoder {
    const struct rt_tree *tree;
    enum rt_element element;
    struct rt_rotation *rotation;
    float *row;
    uint8_t *code;
};

enum rt_status rt_recoder_new(const struct rt_tree *tree, enum rt_element element,
                              struct rt_recoder **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_recoder *r = NULL;
    RT_TRY(rt_array_zero(1, sizeof *r, &r, err));
    r->tree = tree;
    r->element = element;
    RT_TRY(rt_rotation_new(tree->rotation_seed, tree->dim, &r->rotation, err));
    RT_TRY(rt_array_new(tree->dim, sizeof *r->row, &r->row, err));
    RT_TRY(rt_array_new(rt_code_bytes(tree->dim), 1, &r->code, err));
    *out = r;
    r = NULL;
done:
    rt_recoder_free(r);
    return st;
}

void rt_recoder_free(struct rt_recoder *r)
{
    if (!r)
        return;
    rt_rotation_free(r->rotation);
    rt_array_free(r->row);
    rt_array_free(r->code);
    rt_array_free(r);
}

/* +0 is not -0, and a NaN is itself: factors are compared as they are stored. */
static bool same_bits(float a, float b)
{
    uint32_t x = 0;
    uint32_t y = 0;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

enum rt_recode_verdict rt_recode(struct rt_recoder *r, const void *vector, uint32_t list,
                                 const uint8_t *code, const float *factors)
{
    const struct rt_tree *tree = r->tree;
    float found[RT_MAX_FACTORS];
    rt_element_to_f32(r->element, vector, r->row, tree->dim);
    if (rt_metric_prepare_row(tree->metric, r->row, tree->dim) != RT_ROW_GOOD)
        return RT_RECODE_NO_ROW;
    rt_rotation_apply(r->rotation, r->row, 1);
    const float *centroid =
        tree->residual ? rt_tree_leaves(tree)->centroids + (size_t)list * tree->dim : NULL;
    rt_code_encode(tree->metric, r->row, centroid, tree->dim, r->code, found);
    bool is_same = memcmp(code, r->code, rt_code_bytes(tree->dim)) == 0;
    for (uint32_t f = 0; f < rt_code_n_factors(tree->metric); f++)
        is_same = is_same && same_bits(factors[f], found[f]);
    return is_same ? RT_RECODE_SAME : RT_RECODE_DIFFERS;
}
