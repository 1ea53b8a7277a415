#include "io/tree_file.h"

#include "core/memory.h"
#include "io/tree_head.h"

#include <stdio.h>
#include <string.h>

/* unit_rows of a column that one rank writes. */
static uint64_t unit(uint64_t row_bytes)
{
    return rt_unit_rows(row_bytes, 0);
}

enum rt_status rt_tree_layout(const struct rt_tree *tree, enum rt_element element,
                              uint64_t generation, struct rt_hash128 fingerprint,
                              struct rt_hash128 tree_hash, struct rt_h5_layout *layout,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char name[RT_LEVEL_NAME];
    char hex[33];
    uint64_t n_leaves = tree->levels[tree->n_levels - 1].n;
    rt_hash128_hex(tree_hash, hex);
    rt_h5_layout_begin(layout, RT_FILE_TREE, generation, fingerprint);
    rt_h5_layout_text(layout, "tree_hash", hex);
    rt_tree_head_put(layout, tree, element);
    rt_tree_head_put_levels(layout, tree);
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        uint64_t n = tree->levels[l].n;
        RT_TRY(rt_h5_layout_add(layout, rt_level_name("centroids", l, name), RT_H5_F32, n, 0,
                                tree->dim, unit(UINT64_C(4) * tree->dim), err));
        if (l > 0)
            RT_TRY(rt_h5_layout_add(layout, rt_level_name("parents", l, name), RT_H5_U32, n, 0, 0,
                                    unit(4), err));
        if (l + 1 < tree->n_levels)
            RT_TRY(rt_h5_layout_add(layout, rt_level_name("first_child", l, name), RT_H5_U32, n + 1,
                                    0, 0, unit(4), err));
    }
    RT_TRY(rt_h5_layout_add(layout, "leaf_rows", RT_H5_U64, n_leaves, 0, 0, unit(8), err));
    RT_TRY(rt_h5_layout_add(layout, "leaf_radius", RT_H5_F32, n_leaves, 0, 0, unit(4), err));
    RT_TRY(rt_h5_layout_add(layout, "leaf_spread", RT_H5_F64, n_leaves, 0, 0, unit(8), err));
done:
    return st;
}

static enum rt_status write_levels(struct rt_h5_file *file, const struct rt_tree *tree,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_layout *layout = rt_h5_file_layout(file);
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        const struct rt_level *level = &tree->levels[l];
        RT_TRY(rt_unit_write_all(file, rt_level_dataset(layout, "centroids", l), level->centroids,
                                 err));
        if (l > 0)
            RT_TRY(rt_unit_write_all(file, rt_level_dataset(layout, "parents", l), level->parent,
                                     err));
        if (l + 1 < tree->n_levels)
            RT_TRY(rt_unit_write_all(file, rt_level_dataset(layout, "first_child", l),
                                     level->first_child, err));
    }
done:
    return st;
}

enum rt_status rt_tree_file_write(const char *path, const struct rt_tree *tree,
                                  enum rt_element element, uint64_t generation,
                                  struct rt_hash128 fingerprint, struct rt_hash128 tree_hash,
                                  struct rt_h5_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_file *file = NULL;
    RT_TRY(rt_tree_layout(tree, element, generation, fingerprint, tree_hash, layout, err));
    RT_TRY(rt_h5_create(path, layout, err));
    RT_TRY(rt_h5_open_write(NULL, path, layout, RT_IO_DIRECT, &file, err));
    RT_TRY(write_levels(file, tree, err));
    RT_TRY(rt_h5_sync(file, err));
    struct rt_h5_file *closing = file;
    file = NULL;
    RT_TRY(rt_h5_close(closing, err));
done:
    rt_h5_drop(file);
    return st;
}

enum rt_status rt_tree_file_write_leaves(const char *path, const struct rt_h5_layout *layout,
                                         const uint64_t *rows, const float *radius,
                                         const double *spread, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_file *file = NULL;
    RT_TRY(rt_h5_open_write(NULL, path, layout, RT_IO_DIRECT, &file, err));
    RT_TRY(rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "leaf_rows"), rows, err));
    RT_TRY(rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "leaf_radius"), radius, err));
    RT_TRY(rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "leaf_spread"), spread, err));
    RT_TRY(rt_h5_begin_sync_all(file, err));
    struct rt_h5_file *closing = file;
    file = NULL;
    RT_TRY(rt_h5_close(closing, err));
done:
    rt_h5_drop(file);
    return st;
}

/* Attributes of a tree file into the plain fields of the view. */
static enum rt_status read_head(const char *path, const struct rt_h5_layout *found,
                                struct rt_tree_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_h5_get_head(found, path, RT_FILE_TREE, &view->generation, &view->fingerprint, err));
    RT_TRY(rt_h5_get_hash(found, path, "tree_hash", &view->tree_hash, err));
    RT_TRY(rt_tree_head_get(found, path, &view->tree, &view->element, err));
done:
    return st;
}

/* Children of a level's cells: contiguous and complete. */
static enum rt_status check_children(const char *path, const struct rt_tree *tree, uint32_t l,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_level *level = &tree->levels[l];
    bool good = level->first_child[0] == 0 && level->first_child[level->n] == tree->levels[l + 1].n;
    for (uint32_t c = 0; c < level->n && good; c++)
        good = level->first_child[c] <= level->first_child[c + 1];
    if (!good)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: children of level %u do not add up", path, l);
done:
    return st;
}

enum rt_status rt_tree_file_open(const char *path, struct rt_tree_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found, layout;
    struct rt_tree_view opened;
    struct rt_tree *tree = &opened.tree;
    memset(&opened, 0, sizeof opened);
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(read_head(path, &found, &opened, err));
    RT_TRY(rt_tree_layout(tree, opened.element, opened.generation, opened.fingerprint,
                          opened.tree_hash, &layout, err));
    RT_TRY(rt_h5_adopt(path, &found, &layout, err));
    RT_TRY(rt_h5_map_open(path, &layout, &opened.map, err));
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        struct rt_level *level = &tree->levels[l];
        level->centroids = rt_h5_map_rows(opened.map, rt_level_dataset(&layout, "centroids", l));
        level->parent =
            l > 0 ? rt_h5_map_rows(opened.map, rt_level_dataset(&layout, "parents", l)) : NULL;
        bool is_leaf = l + 1 == tree->n_levels;
        level->first_child =
            is_leaf ? NULL
                    : rt_h5_map_rows(opened.map, rt_level_dataset(&layout, "first_child", l));
        if (!is_leaf)
            RT_TRY(check_children(path, tree, l, err));
    }
    opened.leaf_rows = rt_h5_map_rows(opened.map, (uint32_t)rt_h5_find(&layout, "leaf_rows"));
    opened.leaf_radius = rt_h5_map_rows(opened.map, (uint32_t)rt_h5_find(&layout, "leaf_radius"));
    opened.leaf_spread = rt_h5_map_rows(opened.map, (uint32_t)rt_h5_find(&layout, "leaf_spread"));
    *view = opened;
    opened.map = NULL;
done:
    rt_h5_map_close(opened.map);
    return st;
}

enum rt_status rt_tree_file_touch(const struct rt_tree_view *view, uint32_t level, uint32_t first,
                                  uint32_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_layout *layout = rt_h5_map_layout(view->map);
    RT_TRY(rt_h5_map_check_rows(view->map, rt_level_dataset(layout, "centroids", level), first, n,
                                err));
    if (level + 1 < view->tree.n_levels)
        RT_TRY(rt_h5_map_check_rows(view->map, rt_level_dataset(layout, "first_child", level),
                                    first, n + 1, err));
done:
    return st;
}

void rt_tree_file_close(struct rt_tree_view *view)
{
    rt_h5_map_close(view->map);
    memset(view, 0, sizeof *view);
}
