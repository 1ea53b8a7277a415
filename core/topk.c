#include "core/topk.h"

#include <math.h>
#include <stdlib.h>

#define FEW 64u

static const struct rt_hit missing = {INFINITY, INFINITY, RT_NO_ID};

float rt_topk_bound(const struct rt_topk *top)
{
    if (top->k == 0)
        return -INFINITY;
    return top->n < top->k ? INFINITY : top->hits[0].key;
}

/* Moves hits[hole] down until no child comes after it. */
static void sift_down(struct rt_hit *hits, uint32_t n, uint32_t hole)
{
    struct rt_hit hit = hits[hole];
    for (uint64_t child; (child = 2 * (uint64_t)hole + 1) < n; hole = (uint32_t)child) {
        if (child + 1 < n && rt_hit_before(&hits[child], &hits[child + 1]))
            child++;
        if (!rt_hit_before(&hit, &hits[child]))
            break;
        hits[hole] = hits[child];
    }
    hits[hole] = hit;
}

void rt_topk_push(struct rt_topk *top, const struct rt_hit *hit)
{
    if (top->n == top->k) {
        if (top->k && rt_hit_before(hit, &top->hits[0])) {
            top->hits[0] = *hit;
            sift_down(top->hits, top->n, 0);
        }
        return;
    }
    uint32_t hole = top->n++;
    for (uint32_t parent; hole > 0; hole = parent) {
        parent = (hole - 1) / 2;
        if (!rt_hit_before(&top->hits[parent], hit))
            break;
        top->hits[hole] = top->hits[parent];
    }
    top->hits[hole] = *hit;
}

void rt_topk_end(struct rt_topk *top)
{
    for (uint32_t last = top->n; last > 1; last--) { /* heap sort: the greatest goes to the end */
        struct rt_hit greatest = top->hits[0];
        top->hits[0] = top->hits[last - 1];
        sift_down(top->hits, last - 1, 0);
        top->hits[last - 1] = greatest;
    }
    for (uint32_t i = top->n; i < top->k; i++)
        top->hits[i] = missing;
}

void rt_topk_merge(const struct rt_hit *a, const struct rt_hit *b, uint32_t k, struct rt_hit *out)
{
    for (uint32_t i = 0; i < k; i++)
        out[i] = rt_hit_before(b, a) ? *b++ : *a++;
}

static int by_distance(const void *left, const void *right)
{
    const struct rt_hit *a = left;
    const struct rt_hit *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

void rt_topk_show(struct rt_hit *hits, uint32_t k)
{
    if (k > FEW) {
        qsort(hits, k, sizeof *hits, by_distance);
        return;
    }
    for (uint32_t i = 1; i < k; i++) { /* most lie in order: key and distance seldom differ */
        struct rt_hit hit = hits[i];
        uint32_t at = i;
        for (; at > 0 && by_distance(&hits[at - 1], &hit) > 0; at--)
            hits[at] = hits[at - 1];
        hits[at] = hit;
    }
}
