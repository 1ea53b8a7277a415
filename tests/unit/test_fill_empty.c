#include "kmeans/fill_empty.h"
#include "tests/rt_test.h"

#include <math.h>

enum { K = 5, DIM = 3 };

/* Lists at 10, 20, .. in each dimension, with so many rows and such a sum of distances. */
struct crafted {
    struct rt_lloyd_setting setting;
    int64_t counts[K], high[K], low[K];
    float centroids[K * DIM];
};

static void craft(struct crafted *c, const int64_t *counts, const float *sums)
{
    memset(c, 0, sizeof *c);
    c->setting = (struct rt_lloyd_setting){.distance = RT_L2, .seed = 3};
    c->setting.scale = rt_scale_new(10, 1000, DIM, RT_L2, false);
    for (int l = 0; l < K; l++) {
        struct rt_objective sum = {0, 0};
        rt_objective_add(&sum, rt_objective_grains(&c->setting.scale, sums[l]));
        c->counts[l] = counts[l];
        c->high[l] = sum.high;
        c->low[l] = sum.low;
        for (int i = 0; i < DIM; i++)
            c->centroids[l * DIM + i] = 10.0f * (float)(l + 1);
    }
}

static bool fill(struct crafted *c, int64_t few)
{
    struct rt_error err;
    bool acted = false;
    const struct rt_lists lists = {&c->setting, K,      DIM, c->counts,
                                   c->high,     c->low, few, c->centroids};
    CHECK(rt_fill_empty(&lists, 1, &acted, &err) == RT_OK);
    return acted;
}

/* Whether the list stands beside the place of list `of`, at the same distance in each dimension. */
static bool stands_beside(const struct crafted *c, int list, int of)
{
    float step = fabsf(c->centroids[(size_t)list * DIM] - 10.0f * (float)(of + 1));
    for (int i = 0; i < DIM; i++)
        if (fabsf(fabsf(c->centroids[list * DIM + i] - 10.0f * (float)(of + 1)) - step) > 1e-5f)
            return false;
    return step > 0 && step < 1;
}

static bool stands(const struct crafted *c, int list)
{
    for (int i = 0; i < DIM; i++)
        if (c->centroids[list * DIM + i] != 10.0f * (float)(list + 1))
            return false;
    return true;
}

RT_TEST("an empty list takes half of the list that is largest by rows and deviation")
{
    struct crafted c;
    /* rows x sqrt(sum / (3 rows)): 58, 52, -, 63, 6 */
    craft(&c, (const int64_t[]){100, 90, 0, 80, 10}, (const float[]){100, 90, 0, 150, 10});
    CHECK(fill(&c, 1));
    CHECK(stands_beside(&c, 2, 3) && stands_beside(&c, 3, 3));
    CHECK(stands(&c, 0) && stands(&c, 1) && stands(&c, 4));
    for (int i = 0; i < DIM; i++)
        CHECK(fabsf(c.centroids[2 * DIM + i] + c.centroids[3 * DIM + i] - 80) < 1e-5f);
}

RT_TEST("where none is empty nothing moves")
{
    struct crafted c;
    craft(&c, (const int64_t[]){100, 90, 1, 80, 10}, (const float[]){100, 90, 0, 150, 10});
    CHECK(!fill(&c, 1));
    for (int l = 0; l < K; l++)
        CHECK(stands(&c, l));
}

RT_TEST("lists of few rows are as good as empty, and give nothing; each takes from what is left")
{
    struct crafted c;
    craft(&c, (const int64_t[]){100, 90, 9, 80, 4}, (const float[]){100, 90, 1e6f, 150, 1e6f});
    CHECK(fill(&c, 10));
    CHECK(stands_beside(&c, 2, 3) && stands_beside(&c, 3, 3));
    CHECK(stands_beside(&c, 4, 0) && stands_beside(&c, 0, 0));
    CHECK(stands(&c, 1));
}

RT_TEST("lists of identical rows have nothing to give")
{
    struct crafted c;
    craft(&c, (const int64_t[]){100, 90, 0, 80, 10}, (const float[]){0, 0, 0, 0, 0});
    CHECK(!fill(&c, 1));
    craft(&c, (const int64_t[]){100, 90, 0, 1, 10}, (const float[]){0, 0, 0, 50, 1});
    CHECK(fill(&c, 1)); /* one row alone has none either */
    CHECK(stands_beside(&c, 2, 4));
}

RT_TEST_MAIN()
