#include "io/tree_head.h"

#include "core/rotation.h"
#include "io/format.h"

#include <stdio.h>

const char *rt_level_name(const char *stem, uint32_t level, char name[RT_LEVEL_NAME])
{
    (void)snprintf(name, RT_LEVEL_NAME, "%s_%u", stem, level);
    return name;
}

uint32_t rt_level_dataset(const struct rt_h5_layout *layout, const char *stem, uint32_t level)
{
    char name[RT_LEVEL_NAME];
    return (uint32_t)rt_h5_find(layout, rt_level_name(stem, level, name));
}

void rt_tree_head_put(struct rt_h5_layout *layout, const struct rt_tree *tree,
                      enum rt_element element)
{
    rt_h5_layout_number(layout, "dimension", tree->dim);
    rt_h5_layout_text(layout, "metric", rt_metric_name(tree->metric));
    rt_h5_layout_text(layout, "element", rt_element_name(element));
    rt_h5_layout_number(layout, "residual", tree->residual);
    rt_h5_layout_number(layout, "spherical", tree->spherical);
    rt_h5_layout_number(layout, "rotation_seed", tree->rotation_seed);
    rt_h5_layout_number(layout, "rotation_version", RT_ROTATION_VERSION);
}

void rt_tree_head_put_levels(struct rt_h5_layout *layout, const struct rt_tree *tree)
{
    char name[RT_LEVEL_NAME];
    rt_h5_layout_number(layout, "levels", tree->n_levels);
    for (uint32_t l = 0; l < tree->n_levels; l++)
        rt_h5_layout_number(layout, rt_level_name("level", l, name), tree->levels[l].n);
}

enum rt_status rt_tree_head_get(const struct rt_h5_layout *found, const char *path,
                                struct rt_tree *tree, enum rt_element *element,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[RT_LEVEL_NAME];
    uint32_t flag = 0;
    RT_TRY(rt_h5_get_u32(found, path, "dimension", 1, RT_MAX_DIM, &tree->dim, err));
    RT_TRY(rt_h5_get_text(found, path, "metric", text, err));
    if (rt_metric_parse(text, &tree->metric) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: metric '%s'", path, text);
    RT_TRY(rt_h5_get_text(found, path, "element", text, err));
    if (rt_element_parse(text, element) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: element '%s'", path, text);
    RT_TRY(rt_h5_get_u32(found, path, "residual", 0, 1, &flag, err));
    tree->residual = flag;
    RT_TRY(rt_h5_get_u32(found, path, "spherical", 0, 1, &flag, err));
    tree->spherical = flag;
    RT_TRY(rt_h5_get_number(found, path, "rotation_seed", &tree->rotation_seed, err));
    RT_TRY(rt_h5_get_u32(found, path, "rotation_version", RT_ROTATION_VERSION, RT_ROTATION_VERSION,
                         &flag, err));
    RT_TRY(rt_h5_get_u32(found, path, "levels", 1, RT_MAX_LEVELS, &tree->n_levels, err));
    for (uint32_t l = 0; l < tree->n_levels; l++)
        RT_TRY(rt_h5_get_u32(found, path, rt_level_name("level", l, text), 1, RT_NO_LIST - 1,
                             &tree->levels[l].n, err));
done:
    return st;
}
