#include "kmeans/refine_work.h"

#include "core/memory.h"

#include <string.h>

/* Before a round; centroids follow it and, where there are cells, these, the leaves' parents and
 * the cells' first children. */
struct stand {
    uint64_t k, dim, n_cells, round, n_neighbours;
};

enum rt_status rt_refine_save(const struct rt_refine_work *w, const struct rt_keep *keep,
                              uint32_t round, uint32_t n_neighbours, struct rt_error *err)
{
    uint32_t n_cells = w->cells.n_levels ? w->cells.n[0] : 0;
    struct stand stand = {w->k, w->dim, n_cells, round, n_neighbours};
    size_t row = w->dim * sizeof *w->centroids;
    const struct rt_keep_piece pieces[] = {
        {&stand, sizeof stand},
        {w->centroids, w->k * row},
        {w->cells.centroids[0], n_cells * row},
        {w->cells.parent[1], w->k * sizeof(uint32_t)},
        {w->cells.first_child[0], ((size_t)n_cells + 1) * sizeof(uint32_t)}};
    return keep->save(keep->ctx, RT_REFINE_STAGE, pieces, n_cells ? 5 : 2, w->sample, w->leaf, err);
}

static enum rt_status load_cells(struct rt_refine_work *w, uint32_t n_cells,
                                 const unsigned char *at, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n_centroids = (size_t)n_cells * w->dim;
    size_t n_children = (size_t)n_cells + 1;
    w->cells.dim = w->dim;
    w->cells.n_levels = 2;
    w->cells.n[0] = n_cells;
    w->cells.n[1] = w->k;
    RT_TRY(rt_array_new(n_centroids, sizeof(float), &w->cells.centroids[0], err));
    RT_TRY(rt_array_new(w->k, sizeof(uint32_t), &w->cells.parent[1], err));
    RT_TRY(rt_array_new(n_children, sizeof(uint32_t), &w->cells.first_child[0], err));
    memcpy(w->cells.centroids[0], at, n_centroids * sizeof(float));
    at += n_centroids * sizeof(float);
    memcpy(w->cells.parent[1], at, w->k * sizeof(uint32_t));
    at += w->k * sizeof(uint32_t);
    memcpy(w->cells.first_child[0], at, n_children * sizeof(uint32_t));
    rt_refine_view_cells(w);
done:
    return st;
}

enum rt_status rt_refine_load(struct rt_refine_work *w, const struct rt_refine_options *options,
                              uint32_t *round, uint32_t *n_neighbours, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stand stand = {0};
    size_t n_bytes = (size_t)w->k * w->dim * sizeof *w->centroids;
    if (options->stand_bytes >= sizeof stand)
        memcpy(&stand, options->stand, sizeof stand);
    size_t of_cells = stand.n_cells ? (size_t)(stand.n_cells * w->dim + w->k + stand.n_cells + 1) *
                                          sizeof(uint32_t)
                                    : 0;
    if (stand.k != w->k || stand.dim != w->dim || stand.n_cells > w->k ||
        options->stand_bytes != sizeof stand + n_bytes + of_cells)
        RT_FAIL(RT_DAMAGED, "the checkpoint of refinement is not of this training: --force starts "
                            "anew");
    struct rt_range own = rt_node_copy_part(w->leaves, n_bytes);
    memcpy((char *)w->centroids + own.begin, options->stand + sizeof stand + own.begin,
           (size_t)rt_range_count(own));
    if (stand.n_cells)
        RT_TRY(
            load_cells(w, (uint32_t)stand.n_cells, options->stand + sizeof stand + n_bytes, err));
    *round = (uint32_t)stand.round;
    *n_neighbours = (uint32_t)stand.n_neighbours;
done:
    return st;
}
