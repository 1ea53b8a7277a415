#include "io/tombstones.h"

#include "core/find.h"

#include <string.h>

enum rt_status rt_tombstones_layout(const struct rt_tombstones_shape *shape,
                                    struct rt_h5_layout *layout, struct rt_error *err)
{
    rt_h5_layout_begin(layout, RT_FILE_TOMBSTONES, shape->generation, shape->fingerprint);
    rt_h5_layout_number(layout, "entries", shape->n);
    return rt_h5_layout_add(layout, "tombstones", RT_H5_U64, shape->n, 0, 2,
                            rt_unit_rows(sizeof(struct rt_tombstone), 0), err);
}

enum rt_status rt_tombstones_open(const char *path, struct rt_tombstones_view *view,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found;
    struct rt_h5_layout layout;
    struct rt_tombstones_view opened;
    memset(&opened, 0, sizeof opened);
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(rt_h5_get_head(&found, path, RT_FILE_TOMBSTONES, &opened.shape.generation,
                          &opened.shape.fingerprint, err));
    RT_TRY(rt_h5_get_number(&found, path, "entries", &opened.shape.n, err));
    if (rt_tombstones_layout(&opened.shape, &layout, err) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it holds %llu tombstones", path,
                (unsigned long long)opened.shape.n);
    RT_TRY(rt_h5_adopt(path, &found, &layout, err));
    RT_TRY(rt_h5_map_open(path, &layout, &opened.map, err));
    opened.entries = rt_h5_map_rows(opened.map, RT_TOMBSTONES_ENTRIES);
    *view = opened;
done:
    return st;
}

void rt_tombstones_close(struct rt_tombstones_view *view)
{
    rt_h5_map_close(view->map);
    memset(view, 0, sizeof *view);
}

/* The first entry of this id or one beyond. */
static uint64_t first_of(const struct rt_tombstones_view *view, uint64_t id)
{
    const struct rt_tombstone *entries = view->entries;
    return view->shape.n ? rt_find_first(&entries->id, sizeof *entries, view->shape.n, id) : 0;
}

static uint64_t generation_at(const struct rt_tombstones_view *view, uint64_t at, uint64_t id)
{
    const struct rt_tombstone *entries = view->entries;
    return at < view->shape.n && entries[at].id == id ? entries[at].generation : 0;
}

uint64_t rt_tombstones_find(const struct rt_tombstones_view *view, uint64_t id)
{
    return generation_at(view, first_of(view, id), id);
}

enum rt_status rt_tombstones_look_up(const struct rt_tombstones_view *view, uint64_t id,
                                     uint64_t *generation, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t at = first_of(view, id);
    RT_TRY(rt_h5_map_check_around(view->map, RT_TOMBSTONES_ENTRIES, at, err));
    *generation = generation_at(view, at, id);
done:
    return st;
}
