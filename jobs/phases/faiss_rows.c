#include "jobs/phases/faiss_rows.h"

#include "core/code.h"
#include "core/element.h"
#include "core/memory.h"
#include "core/rotation.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct rt_faiss_rows {
    const struct rt_index_view *view;
    struct rt_heap_vectors *heap;
    enum rt_faiss_kind kind;
    bool needs_vectors;
    struct rt_rotation *rotation; /* where codes are made from vectors */
    uint8_t *native;              /* a row of the heap */
    float *row;                   /* as a search measures it */
    float *rotated;
    uint8_t *code;
};

static bool is_rabitq(enum rt_faiss_kind kind)
{
    return kind == RT_FAISS_RABITQ || kind == RT_FAISS_RABITQ_FASTSCAN;
}

bool rt_faiss_rows_needs_vectors(const struct rt_index_view *view, enum rt_faiss_kind kind,
                                 bool refine)
{
    return refine || !is_rabitq(kind) || !view->manifest->residual;
}

enum rt_status rt_faiss_rows_new(const struct rt_index_view *view, struct rt_heap_vectors *heap,
                                 enum rt_faiss_kind kind, bool refine, struct rt_faiss_rows **out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = view->manifest;
    struct rt_faiss_rows *r = NULL;
    RT_TRY(rt_array_zero(1, sizeof *r, &r, err));
    r->view = view;
    r->heap = heap;
    r->kind = kind;
    r->needs_vectors = rt_faiss_rows_needs_vectors(view, kind, refine);
    RT_TRY(rt_rotation_new(m->rotation_seed, m->dim, &r->rotation, err));
    RT_TRY(rt_array_new(m->dim, rt_element_size(m->element), &r->native, err));
    RT_TRY(rt_array_new(m->dim, sizeof *r->row, &r->row, err));
    RT_TRY(rt_array_new(m->dim, sizeof *r->rotated, &r->rotated, err));
    RT_TRY(rt_array_new(view->code_bytes, 1, &r->code, err));
    *out = r;
    r = NULL;
done:
    rt_faiss_rows_free(r);
    return st;
}

void rt_faiss_rows_free(struct rt_faiss_rows *r)
{
    if (!r)
        return;
    rt_rotation_free(r->rotation);
    rt_array_free(r->native);
    rt_array_free(r->row);
    rt_array_free(r->rotated);
    rt_array_free(r->code);
    rt_array_free(r);
}

/* The row as it came, lent, and in r->row as a search measures it. */
static enum rt_status fetch(struct rt_faiss_rows *r, const struct rt_live_row *row,
                            const void **native, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = r->view->manifest;
    struct rt_place_view place;
    RT_TRY(rt_index_place(r->view, row->place.segment, row->place.slot, &place, err));
    if (*place.id != row->id)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: the vector of id %" PRIu64 " is that of id %" PRIu64,
                r->view->dir, row->id, *place.id);
    *native = place.vector;
    if (!place.vector) {
        if (!r->heap)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: it has no vector of id %" PRIu64, r->view->dir,
                    row->id);
        RT_TRY(rt_heap_vectors_read(r->heap, place.heap_row, r->native, err));
        *native = r->native;
    }
    rt_element_to_f32(m->element, *native, r->row, m->dim);
    if (rt_metric_prepare_row(m->metric, r->row, m->dim) != RT_ROW_GOOD)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: the vector of id %" PRIu64 " is no row that could be indexed",
                r->view->dir, row->id);
done:
    return st;
}

static enum rt_status put_fp16(struct rt_faiss_rows *r, uint64_t id, uint8_t *code,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t dim = r->view->manifest->dim;
    rt_element_from_f32(RT_F16, r->row, code, dim);
    for (uint32_t i = 0; i < dim; i++)
        if ((code[2 * i + 1] & 0x7c) == 0x7c) /* all bits of the exponent: infinity */
            RT_FAIL(RT_INPUT,
                    "the row of id %" PRIu64 " has the value %g, fp16 ends at 65504; --faiss flat "
                    "holds it",
                    id, (double)r->row[i]);
done:
    return st;
}

/* FAISS's factors of a 1-bit code (docs/exports.md) from ours. x row, c its centroid, u = x - c:
 * |u|^2, but for inner products |u|^2 - |x|^2; and |u|^2 sqrt(d) / |u|_1. */
static void put_factors(const struct rt_faiss_rows *r, uint32_t list, const float *factors,
                        uint8_t *to)
{
    const struct rt_manifest *m = r->view->manifest;
    const float *centroid = rt_tree_leaves(&r->view->tree.tree)->centroids + (size_t)list * m->dim;
    double first = factors[0];
    if (m->metric == RT_COSINE)
        first -= 1;
    if (m->metric == RT_IP) { /* -2 <u, c> - |c|^2 */
        first = 2 * (double)factors[3];
        for (uint32_t i = 0; i < m->dim; i++)
            first -= (double)centroid[i] * (double)centroid[i];
    }
    float out[2] = {(float)first, (float)((double)factors[1] * sqrt((double)m->dim))};
    memcpy(to, out, sizeof out);
}

static void put_bits(struct rt_faiss_rows *r, const struct rt_live_row *row, uint8_t *code)
{
    const struct rt_manifest *m = r->view->manifest;
    float made[RT_MAX_FACTORS];
    const uint8_t *bits = row->code;
    const float *factors = row->factors;
    if (!m->residual) { /* its codes are those of x, not of x - c */
        const float *centroid =
            rt_tree_leaves(&r->view->tree.tree)->centroids + (size_t)row->list * m->dim;
        memcpy(r->rotated, r->row, m->dim * sizeof(float));
        rt_rotation_apply(r->rotation, r->rotated, 1);
        rt_code_encode(m->metric, r->rotated, centroid, m->dim, r->code, made);
        bits = r->code;
        factors = made;
    }
    memcpy(code, bits, r->view->code_bytes);
    put_factors(r, row->list, factors, code + r->view->code_bytes);
}

enum rt_status rt_faiss_rows_take(struct rt_faiss_rows *r, const struct rt_live_row *row,
                                  uint8_t *code, float *vector, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t dim = r->view->manifest->dim;
    const void *native = NULL;
    if (row->id > INT64_MAX)
        RT_FAIL(RT_INPUT, "id %" PRIu64 " is over 2^63-1, the largest that FAISS holds", row->id);
    if (r->needs_vectors)
        RT_TRY(fetch(r, row, &native, err));
    switch (r->kind) {
    case RT_FAISS_FLAT:
        memcpy(code, r->row, dim * sizeof(float));
        break;
    case RT_FAISS_FP16:
        RT_TRY(put_fp16(r, row->id, code, err));
        break;
    case RT_FAISS_U8:
        rt_assert(native);
        memcpy(code, native, dim);
        break;
    case RT_FAISS_RABITQ:
    case RT_FAISS_RABITQ_FASTSCAN:
        put_bits(r, row, code);
        break;
    }
    if (vector)
        memcpy(vector, r->row, dim * sizeof(float));
done:
    return st;
}
