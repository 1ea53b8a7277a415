#include "kmeans/refine_work.h"

#include "core/memory.h"
#include "mpi/agree.h"

#include <math.h>
#include <string.h>

#define CELLS_SEARCHED 8u /* D8: above RT_REFINE_FLAT_LEAVES */

uint32_t rt_refine_n_cells(uint32_t k)
{
    return k > RT_REFINE_FLAT_LEAVES ? (uint32_t)sqrt((double)k) : 0;
}

size_t rt_refine_store_bytes(uint32_t k, uint32_t dim)
{
    return rt_refine_n_cells(k) > 0 ? rt_centroid_set_bytes_in_cells(k, dim, rt_refine_n_cells(k))
                                    : rt_centroid_set_bytes(k, dim);
}

void rt_refine_view_cells(struct rt_refine_work *w)
{
    w->tree.dim = w->dim;
    w->tree.n_levels = 2;
    w->tree.levels[0] =
        (struct rt_level){w->cells.n[0], w->cells.centroids[0], NULL, w->cells.first_child[0]};
    w->tree.levels[1] = (struct rt_level){w->k, w->centroids, w->cells.parent[1], NULL};
}

enum rt_status rt_refine_make_cells(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t lists[2] = {rt_refine_n_cells(w->k), w->k};
    uint32_t *now = NULL;
    if (lists[0] == 0)
        return RT_OK;
    RT_TRY(rt_levels_train(w->comm, w->setting, 2, lists, w->dim, w->leaves, w->k, &w->cells, err));
    RT_LOCAL(rt_array_new(w->k, sizeof *now, &now, err));
    RT_AGREE(w->comm);
    for (uint32_t l = 0; l < w->k; l++)
        now[w->cells.was[l]] = l;
    for (size_t i = 0; i < w->sample->n_local; i++)
        w->leaf[i] = now[w->leaf[i]];
    rt_array_free(w->cells.was);
    w->cells.was = NULL;
    rt_refine_view_cells(w);
done:
    rt_array_free(now);
    return st;
}

/* Once there are cells. */
static enum rt_status cells_new(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n = w->cells.n[0];
    RT_TRY(rt_centroid_set_new(w->cells.centroids[0], n, w->dim, w->setting->distance, NULL,
                               &w->sets[0], err));
    RT_TRY(rt_array_new(n, sizeof *w->is_reached, &w->is_reached, err));
    memset(w->is_reached, true, n * sizeof *w->is_reached);
done:
    return st;
}

enum rt_status rt_refine_renew_sets(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_cells = w->cells.n_levels ? w->cells.n[0] : 0;
    struct rt_range own = rt_node_copy_part(w->common, w->k);
    rt_centroid_set_free(w->sets[1]);
    w->sets[1] = NULL;
    if (n_cells && !w->sets[0])
        RT_LOCAL(cells_new(w, err));
    RT_AGREE(w->comm);
    RT_LOCAL(rt_centroid_set_make(w->centroids, w->k, w->dim, w->setting->distance,
                                  w->cells.first_child[0], n_cells, w->is_reached, w->store,
                                  (uint32_t)own.begin, (uint32_t)own.end, err));
    rt_node_copy_meet(w->common);
    RT_LOCAL(rt_centroid_set_view(w->centroids, w->k, w->dim, w->setting->distance, n_cells,
                                  w->store, &w->sets[1], err));
    RT_AGREE(w->comm);
done:
    return st;
}

size_t rt_refine_next_group(struct rt_refine_work *w, uint32_t *next)
{
    size_t n = 0;
    for (; *next < w->k && n < RT_REFINE_GROUP; (*next)++)
        if (w->starts[*next] < w->starts[*next + 1])
            w->group_leaf[n++] = *next;
    return n;
}

static void gather_group(struct rt_refine_work *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        memcpy(w->group + i * w->dim, w->centroids + (size_t)w->group_leaf[i] * w->dim,
               w->dim * sizeof *w->group);
}

void rt_refine_mark_reached(struct rt_refine_work *w)
{
    uint32_t next = 0;
    memset(w->is_reached, false, w->cells.n[0] * sizeof *w->is_reached);
    for (size_t n = rt_refine_next_group(w, &next); n > 0; n = rt_refine_next_group(w, &next)) {
        gather_group(w, n);
        rt_assign_best_unsorted(w->of_leaves, w->sets[0], w->group, n, CELLS_SEARCHED,
                                w->neighbours);
        for (size_t i = 0; i < n * CELLS_SEARCHED; i++)
            if (w->neighbours[i] != UINT32_MAX)
                w->is_reached[w->neighbours[i]] = true;
    }
    rt_node_copy_unite(w->leaves, w->is_reached, w->cells.n[0]);
}

void rt_refine_find_neighbours(struct rt_refine_work *w, size_t n, uint32_t m)
{
    gather_group(w, n);
    if (w->cells.n_levels == 0) {
        rt_assign_best_unsorted(w->of_leaves, w->sets[1], w->group, n, m, w->neighbours);
    } else {
        uint32_t beam = CELLS_SEARCHED;
        rt_assign_tree_best(w->of_leaves, &w->tree, w->sets, &beam, w->group, n, m, w->neighbours,
                            NULL);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t *list = w->neighbours + i * m;
        uint32_t at = 0;
        while (at + 1 < m && list[at] != w->group_leaf[i] && list[at] != UINT32_MAX)
            at++;
        memmove(list + 1, list, at * sizeof *list);
        list[0] = w->group_leaf[i];
    }
}

uint32_t rt_refine_count_neighbours(const uint32_t *list, uint32_t m)
{
    uint32_t n = 0;
    while (n < m && list[n] != UINT32_MAX)
        n++;
    return n;
}
