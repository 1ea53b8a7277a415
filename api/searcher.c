#include "api/searcher.h"

#include "core/memory.h"
#include "core/metric.h"

#include <math.h>
#include <string.h>

/* ---- a generation ---- */

enum rt_status rt_opened_open(const char *dir, const struct rt_texts *moved, struct rt_opened *out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_opened opened = {0};
    RT_TRY(rt_index_open(dir, RT_CHECK_TREE, &opened.view, err));
    RT_TRY(rt_heap_vectors_open(opened.view->manifest, moved, &opened.heap, err));
    const struct rt_tree *tree = &opened.view->tree.tree;
    RT_TRY(rt_rotation_new(tree->rotation_seed, tree->dim, &opened.rotation, err));
    /* A query ranks lists by its own metric, whatever rows were assigned by (B1). */
    for (uint32_t l = 0; l < tree->n_levels; l++)
        RT_TRY(rt_level_set_new(tree, l, tree->metric == RT_IP ? RT_IP : RT_L2, false, NULL,
                                &opened.sets[l], err));
    *out = opened;
    memset(&opened, 0, sizeof opened);
done:
    rt_opened_close(&opened);
    return st;
}

void rt_opened_close(struct rt_opened *opened)
{
    for (uint32_t l = 0; l < RT_MAX_LEVELS; l++)
        rt_centroid_set_free(opened->sets[l]);
    rt_rotation_free(opened->rotation);
    rt_heap_vectors_close(opened->heap);
    rt_index_close(opened->view);
    memset(opened, 0, sizeof *opened);
}

/* ---- a searcher ---- */

struct rt_searcher {
    const struct rt_opened *opened;
    struct rt_searcher_shape shape;
    uint32_t dim, n_lists_probed;
    struct rt_index_scan *scan;
    struct rt_assigner *assigner;
    float *prepared, *rotated; /* batch x dim */
    uint32_t *lists;           /* batch x n_lists_probed */
    struct rt_hit *hits;       /* batch x k */
    struct rt_scan_count *counts;
    const struct rt_searcher_call *call; /* the one at work */
};

static bool is_among(const uint64_t *ids, size_t n, uint64_t id)
{
    size_t begin = 0;
    while (begin < n) {
        size_t middle = begin + (n - begin) / 2;
        if (ids[middle] == id)
            return true;
        if (ids[middle] < id)
            begin = middle + 1;
        else
            n = middle;
    }
    return false;
}

static bool is_wanted(void *context, uint64_t id)
{
    const struct rt_searcher_call *call = ((const struct rt_searcher *)context)->call;
    return (!call->wanted || is_among(call->wanted, call->n_wanted, id)) &&
           (!call->filter || call->filter(call->filter_context, id) != 0);
}

enum rt_status rt_searcher_new(const struct rt_opened *opened,
                               const struct rt_searcher_shape *shape, struct rt_searcher **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_searcher *s = NULL;
    const struct rt_tree *tree = &opened->view->tree.tree;
    uint32_t widest = 1;
    for (uint32_t l = 0; l < tree->n_levels; l++)
        widest = shape->probes[l] > widest ? shape->probes[l] : widest;
    RT_TRY(rt_array_zero(1, sizeof *s, &s, err));
    s->opened = opened;
    s->shape = *shape;
    s->dim = tree->dim;
    s->n_lists_probed = shape->probes[tree->n_levels - 1];
    struct rt_index_scan_source source = {.view = opened->view,
                                          .heap = opened->heap,
                                          .is_wanted = shape->has_filter ? is_wanted : NULL,
                                          .context = s};
    struct rt_scan_options options = {.k = shape->k,
                                      .epsilon = shape->epsilon,
                                      .max_queries = shape->batch,
                                      .max_probes = s->n_lists_probed};
    RT_TRY(rt_index_scan_new(&source, &options, &s->scan, err));
    RT_TRY(rt_assigner_new(shape->batch, s->dim, widest, RT_PROPOSE_AUTO, &s->assigner, err));
    RT_TRY(rt_array_new(shape->batch, s->dim * sizeof *s->prepared, &s->prepared, err));
    RT_TRY(rt_array_new(shape->batch, s->dim * sizeof *s->rotated, &s->rotated, err));
    RT_TRY(rt_array_new(shape->batch, s->n_lists_probed * sizeof *s->lists, &s->lists, err));
    RT_TRY(rt_array_new(shape->batch, shape->k * sizeof *s->hits, &s->hits, err));
    RT_TRY(rt_array_new(shape->batch, sizeof *s->counts, &s->counts, err));
    *out = s;
    s = NULL;
done:
    rt_searcher_free(s);
    return st;
}

void rt_searcher_free(struct rt_searcher *s)
{
    if (!s)
        return;
    rt_index_scan_free(s->scan);
    rt_assigner_free(s->assigner);
    rt_array_free(s->prepared);
    rt_array_free(s->rotated);
    rt_array_free(s->lists);
    rt_array_free(s->hits);
    rt_array_free(s->counts);
    rt_array_free(s);
}

bool rt_searcher_has_shape(const struct rt_searcher *s, const struct rt_searcher_shape *shape)
{
    return s->shape.k == shape->k && s->shape.epsilon == shape->epsilon &&
           s->shape.batch == shape->batch && s->shape.has_filter == shape->has_filter &&
           memcmp(s->shape.probes, shape->probes, sizeof shape->probes) == 0;
}

/* Copies, judges and rotates queries [first, first + n) of the call. */
static enum rt_status prepare(struct rt_searcher *s, size_t first, size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum rt_metric metric = s->opened->view->tree.tree.metric;
    memcpy(s->prepared, s->call->queries + first * s->dim, n * s->dim * sizeof *s->prepared);
    for (size_t q = 0; q < n; q++) {
        enum rt_row_verdict verdict =
            rt_metric_prepare_row(metric, s->prepared + q * s->dim, s->dim);
        if (verdict != RT_ROW_GOOD)
            RT_FAIL(RT_INPUT, "query %zu %s", first + q, rt_row_verdict_text(verdict));
    }
    memcpy(s->rotated, s->prepared, n * s->dim * sizeof *s->rotated);
    rt_rotation_apply(s->opened->rotation, s->rotated, n);
done:
    return st;
}

static void show(struct rt_searcher *s, size_t first, size_t n)
{
    enum rt_metric metric = s->opened->view->tree.tree.metric;
    uint32_t k = s->shape.k;
    for (size_t q = 0; q < n; q++) {
        struct rt_hit *hits = s->hits + q * k;
        uint64_t *ids = s->call->ids + (first + q) * k;
        rt_topk_show(hits, k);
        for (uint32_t i = 0; i < k; i++)
            ids[i] = hits[i].id;
        for (uint32_t i = 0; s->call->distances && i < k; i++)
            s->call->distances[(first + q) * k + i] =
                ids[i] == RT_NO_ID ? INFINITY : rt_metric_shown(metric, hits[i].distance);
        s->call->total->lists += s->counts[q].lists;
        s->call->total->rows += s->counts[q].rows;
        s->call->total->reranked += s->counts[q].reranked;
    }
}

enum rt_status rt_searcher_run(struct rt_searcher *s, const struct rt_searcher_call *call,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = &s->opened->view->tree.tree;
    s->call = call;
    for (size_t first = 0, n = 0; first < call->n_queries; first += n) {
        n = call->n_queries - first < s->shape.batch ? call->n_queries - first : s->shape.batch;
        RT_TRY(prepare(s, first, n, err));
        rt_assign_tree_lists(s->assigner, tree, s->opened->sets, s->shape.probes, s->rotated, n,
                             s->n_lists_probed, s->lists);
        struct rt_scan_batch batch = {.n_queries = n,
                                      .n_probes = s->n_lists_probed,
                                      .queries = s->prepared,
                                      .rotated = s->rotated,
                                      .lists = s->lists,
                                      .n_parts = 1};
        RT_TRY(rt_scan(rt_index_scanner(s->scan), &batch, s->hits, s->counts, err));
        show(s, first, n);
    }
done:
    s->call = NULL;
    return st;
}
