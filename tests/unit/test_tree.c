#include "core/tree.h"
#include "tests/rt_test.h"

#include <math.h>

#define DIM 3

static struct rt_error err;

/* Two cells with 2 and 3 leaves. */
struct example {
    float cells[2 * DIM], leaves[5 * DIM];
    uint32_t first_child[3], parent[5];
    struct rt_tree tree;
};

static struct rt_tree *make(struct example *e)
{
    static const uint32_t first[] = {0, 2, 5};
    static const uint32_t parent[] = {0, 0, 1, 1, 1};
    memset(e, 0, sizeof *e);
    memcpy(e->first_child, first, sizeof first);
    memcpy(e->parent, parent, sizeof parent);
    for (int i = 0; i < 5 * DIM; i++)
        e->leaves[i] = (float)i;
    e->tree = (struct rt_tree){.dim = DIM, .n_levels = 2};
    e->tree.levels[0] = (struct rt_level){2, e->cells, NULL, e->first_child};
    e->tree.levels[1] = (struct rt_level){5, e->leaves, e->parent, NULL};
    return &e->tree;
}

static void is_damaged(const struct rt_tree *tree, const char *word)
{
    CHECK_STATUS(RT_DAMAGED, rt_tree_check(tree, &err));
    if (!strstr(err.text, word))
        RT_TEST_FAILED("'%s' does not say '%s'", err.text, word);
}

RT_TEST("a sound tree passes, and so does one of leaves alone")
{
    struct example e;
    CHECK_OK(rt_tree_check(make(&e), &err));
    struct rt_tree flat = {.dim = DIM, .n_levels = 1};
    flat.levels[0] = (struct rt_level){5, e.leaves, NULL, NULL};
    CHECK_OK(rt_tree_check(&flat, &err));
    CHECK(rt_tree_leaves(&flat)->n == 5 && rt_tree_leaves(&e.tree)->n == 5);
}

RT_TEST("each broken link is named")
{
    struct example e;
    make(&e)->levels[1].parent = NULL;
    is_damaged(&e.tree, "links");
    make(&e)->levels[0].first_child = NULL;
    is_damaged(&e.tree, "links");
    make(&e)->levels[0].parent = e.parent;
    is_damaged(&e.tree, "top");
    make(&e)->levels[1].first_child = e.first_child;
    is_damaged(&e.tree, "leaves have children");
    make(&e);
    e.first_child[0] = 1;
    is_damaged(&e.tree, "level 0");
    make(&e);
    e.first_child[2] = 4;
    is_damaged(&e.tree, "level 0");
    make(&e);
    e.first_child[1] = 0;
    is_damaged(&e.tree, "cell 0");
    make(&e);
    e.first_child[1] = 5;
    is_damaged(&e.tree, "parent");
    make(&e);
    e.first_child[1] = 6;
    is_damaged(&e.tree, "cell 0");
    make(&e);
    e.first_child[1] = UINT32_MAX;
    is_damaged(&e.tree, "cell 0");
    make(&e);
    e.parent[2] = 0;
    is_damaged(&e.tree, "centroid 2");
    make(&e);
    e.parent[4] = UINT32_MAX;
    is_damaged(&e.tree, "centroid 4");
}

RT_TEST("impossible counts are named")
{
    struct example e;
    make(&e)->n_levels = 0;
    is_damaged(&e.tree, "0 levels");
    make(&e)->n_levels = RT_MAX_LEVELS + 1;
    is_damaged(&e.tree, "9 levels");
    make(&e)->dim = 0;
    is_damaged(&e.tree, "dimension");
    make(&e)->dim = 65536;
    is_damaged(&e.tree, "dimension");
    make(&e)->levels[0].n = 0;
    is_damaged(&e.tree, "no centroids");
}

RT_TEST("a centroid that is not finite or too long is named")
{
    static const float wild[] = {NAN, INFINITY, -INFINITY, 0x1p61f};
    struct example e;
    for (size_t w = 0; w < 4; w++) {
        make(&e);
        e.leaves[3 * DIM + 1] = wild[w];
        is_damaged(&e.tree, "centroid 3 of level 1");
        make(&e);
        e.cells[2] = wild[w];
        is_damaged(&e.tree, "centroid 0 of level 0");
    }
}

RT_TEST_MAIN()
