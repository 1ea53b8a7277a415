#include "core/random.h"
#include "core/topk.h"
#include "tests/rt_test.h"

#include <math.h>

#define MOST 300

static struct rt_hit draw_hit(uint64_t seed, uint64_t i)
{
    uint64_t bits = rt_random(seed, RT_RANDOM_TEST, i, 0, 0);
    float key = (float)(bits % 40) - 20; /* many ties */
    return (struct rt_hit){key, key - (float)(bits >> 40 & 3), rt_mix64(seed * MOST + i)};
}

static int by_key(const void *left, const void *right)
{
    return rt_hit_before(left, right) ? -1 : 1;
}

static int same_hits(const struct rt_hit *a, const struct rt_hit *b, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++)
        if (a[i].key != b[i].key || a[i].distance != b[i].distance || a[i].id != b[i].id)
            return 0;
    return 1;
}

RT_TEST("the heap keeps the k least by (key, id), whatever the order they come in")
{
    for (uint64_t n = 0; n < MOST; n += 37)
        for (uint32_t k = 0; k < 60; k += 1 + k / 3) {
            struct rt_hit all[MOST];
            struct rt_hit kept[60];
            struct rt_hit backward[60];
            struct rt_topk top = {k, 0, kept};
            struct rt_topk other = {k, 0, backward};
            for (uint64_t i = 0; i < n; i++) {
                all[i] = draw_hit(n, i);
                rt_topk_push(&top, &all[i]);
                float bound = rt_topk_bound(&top);
                CHECK(k == 0 ? bound == -INFINITY : i + 1 >= k || bound == INFINITY);
            }
            for (uint64_t i = n; i-- > 0;)
                rt_topk_push(&other, &all[i]);
            if (n > 0)
                qsort(all, n, sizeof *all, by_key);
            if (k > 0 && n >= k)
                CHECK(rt_topk_bound(&top) == all[k - 1].key);
            rt_topk_end(&top);
            rt_topk_end(&other);
            CHECK(same_hits(kept, all, n < k ? (uint32_t)n : k));
            CHECK(same_hits(kept, backward, k));
            for (uint64_t i = n; i < k; i++)
                CHECK(kept[i].id == RT_NO_ID && isinf(kept[i].key) && isinf(kept[i].distance));
        }
}

RT_TEST("a merge of parts is the k least of all")
{
    for (uint32_t k = 1; k < 50; k += 7) {
        struct rt_hit whole[50];
        struct rt_hit merged[50];
        struct rt_topk all = {k, 0, whole};
        for (uint32_t i = 0; i < k; i++)
            merged[i] = (struct rt_hit){INFINITY, INFINITY, RT_NO_ID};
        for (uint64_t part = 0; part < 5; part++) {
            struct rt_hit some[50];
            struct rt_hit next[50];
            struct rt_topk top = {k, 0, some};
            for (uint64_t i = 0; i < part * part * 3; i++) { /* none in the first */
                struct rt_hit hit = draw_hit(k, part * 1000 + i);
                rt_topk_push(&top, &hit);
                rt_topk_push(&all, &hit);
            }
            rt_topk_end(&top);
            rt_topk_merge(merged, some, k, next);
            memcpy(merged, next, sizeof merged);
        }
        rt_topk_end(&all);
        CHECK(same_hits(whole, merged, k));
    }
}

RT_TEST("hits are shown by (distance, id), missing places last")
{
    struct rt_hit hits[5] = {
        {1, 1, 9}, {2, 0.5f, 7}, {3, 1, 2}, {4, 0.5f, 8}, {INFINITY, INFINITY, RT_NO_ID}};
    static const uint64_t order[5] = {7, 8, 2, 9, RT_NO_ID};
    rt_topk_show(hits, 5);
    for (int i = 0; i < 5; i++)
        CHECK(hits[i].id == order[i]);
}

RT_TEST_MAIN()
