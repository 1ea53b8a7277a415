/* The k least of many (key, id), and merges of such: every order is total, so the k least are the
 * same whatever the order they come in (A5, I1). */
#ifndef RT_CORE_TOPK_H
#define RT_CORE_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_NO_ID UINT64_MAX /* a place that no row fills; its key and distance are +infinity */

struct rt_hit {
    float key;      /* max(distance, lower bound), I1 */
    float distance; /* exact, E of B1 */
    uint64_t id;
};

static inline bool rt_hit_before(const struct rt_hit *a, const struct rt_hit *b)
{
    return a->key < b->key || (a->key == b->key && a->id < b->id);
}

/* A max-heap of at most k hits in an array that is lent. Start with n = 0. */
struct rt_topk {
    uint32_t k;
    uint32_t n;
    struct rt_hit *hits; /* k of them */
};

/* The key that a hit must not exceed to matter: the k-th least so far, +infinity while fewer are
 * there, and minus infinity for k = 0. */
float rt_topk_bound(const struct rt_topk *top);
/* Takes the hit if it is among the k least so far. Keys are not NaN. */
void rt_topk_push(struct rt_topk *top, const struct rt_hit *hit);
/* Ends the heap: the array is sorted ascending by (key, id), places n..k-1 are filled with
 * RT_NO_ID. */
void rt_topk_end(struct rt_topk *top);
/* out (k, not one of the inputs) := the k least of a and b, each k long and as rt_topk_end leaves
 * it. */
void rt_topk_merge(const struct rt_hit *a, const struct rt_hit *b, uint32_t k, struct rt_hit *out);
/* Sorts k final hits as they are shown: by (distance, id), missing places last. */
void rt_topk_show(struct rt_hit *hits, uint32_t k);

#endif
