#include "kmeans/refine_work.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/random.h"
#include "mpi/agree.h"

#include <stdlib.h>

#define N_CANDIDATES 5u

static const uint32_t candidates[N_CANDIDATES] = {32, 64, 128, 256, RT_REFINE_MOST_NEIGHBOURS};

/* Rows by which the neighbours are chosen: local indexes in the order of leaves, and the nearest of
 * all leaves. */
struct drawn {
    uint32_t *index;
    uint32_t *nearest;
    size_t n;
};

static int compare_keys(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static enum rt_status sort_by_leaf(const struct rt_refine_work *w, uint32_t *index, size_t n,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *keys = NULL;
    RT_TRY(rt_array_new(n, sizeof *keys, &keys, err));
    for (size_t i = 0; i < n; i++)
        keys[i] = (uint64_t)w->leaf[index[i]] << 32 | index[i];
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++)
        index[i] = (uint32_t)keys[i];
done:
    rt_array_free(keys);
    return st;
}

static enum rt_status draw_rows(struct rt_refine_work *w, struct drawn *drawn, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_sample_draw(w->sample, w->setting->seed, RT_RANDOM_NEIGHBOUR_SAMPLE, RT_REFINE_SAMPLE,
                          &drawn->index, &drawn->n, err));
    RT_TRY(sort_by_leaf(w, drawn->index, drawn->n, err));
    RT_TRY(rt_array_new(drawn->n, sizeof *drawn->nearest, &drawn->nearest, err));
    for (size_t at = 0; at < drawn->n; at += w->batch) {
        size_t left = drawn->n - at;
        size_t rows = left < w->batch ? left : w->batch;
        rt_sample_gather(w->sample, drawn->index + at, rows, w->rows);
        rt_assign_nearest(w->of_rows, w->sets[1], w->rows, rows, drawn->nearest + at, NULL);
    }
done:
    return st;
}

/* How many of the leaf's neighbours, itself first, come before `other` in order of (E, number);
 * w->most where it is not among them. */
static uint32_t place_among(struct rt_refine_work *w, uint32_t leaf, const uint32_t *list,
                            uint32_t other)
{
    const struct rt_kernels *kernels = rt_kernels();
    const float *from = w->centroids + (size_t)leaf * w->dim;
    uint32_t n = rt_refine_count_neighbours(list, w->most);
    uint32_t at = 0;
    uint32_t before = 1;
    float distance[RT_REFINE_MOST_NEIGHBOURS];
    while (at < n && list[at] != other)
        at++;
    if (other == leaf || at == n)
        return other == leaf ? 0 : w->most;
    (w->setting->distance == RT_IP ? kernels->ip_among : kernels->l2_among)(
        from, w->centroids, w->dim, list, n, distance);
    for (uint32_t i = 1; i < n; i++)
        before += distance[i] < distance[at] || (distance[i] == distance[at] && list[i] < other);
    return before;
}

/* Counts for each drawn row the candidates that would have its nearest leaf among the neighbours of
 * its leaf. within: rows for each candidate, then all rows. */
static void count_within(struct rt_refine_work *w, const struct drawn *drawn, uint64_t *within)
{
    for (size_t first = 0, end = 0; first < drawn->n; first = end) {
        size_t n = 0; /* leaves of this group, from row first to row end */
        for (end = first; end < drawn->n; end++) {
            uint32_t leaf = w->leaf[drawn->index[end]];
            if (n > 0 && w->group_leaf[n - 1] == leaf)
                continue;
            if (n == RT_REFINE_GROUP)
                break;
            w->group_leaf[n++] = leaf;
        }
        rt_refine_find_neighbours(w, n, w->most);
        size_t at = 0;
        for (size_t i = first; i < end; i++) {
            uint32_t leaf = w->leaf[drawn->index[i]];
            at += w->group_leaf[at] != leaf;
            const uint32_t *list = w->neighbours + at * w->most;
            uint32_t place = place_among(w, leaf, list, drawn->nearest[i]);
            for (uint32_t c = 0; c < N_CANDIDATES; c++)
                within[c] += place < candidates[c] && place < w->most;
        }
    }
    within[N_CANDIDATES] = drawn->n;
}

enum rt_status rt_refine_choose_neighbours(struct rt_refine_work *w, uint32_t *m,
                                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t within[N_CANDIDATES + 1] = {0};
    struct drawn drawn = {0};
    RT_LOCAL(draw_rows(w, &drawn, err));
    RT_AGREE(w->comm);
    count_within(w, &drawn, within);
    rt_sum_u64(w->comm, within, N_CANDIDATES + 1);
    uint32_t c = 0;
    while (c + 1 < N_CANDIDATES && within[c] * 1000 < within[N_CANDIDATES] * RT_AGREEMENT_PER_MILLE)
        c++;
    *m = candidates[c] < w->most ? candidates[c] : w->most;
done:
    rt_array_free(drawn.index);
    rt_array_free(drawn.nearest);
    return st;
}
