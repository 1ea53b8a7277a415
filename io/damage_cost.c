#include "io/damage_cost.h"

#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct cost {
    uint64_t n_rows;
    uint32_t least, most; /* lists */
};

static void add(struct cost *cost, const struct rt_index_view *view, uint32_t list, uint64_t n_rows)
{
    if (n_rows == 0 || list >= view->n_lists)
        return;
    cost->least = cost->n_rows == 0 || list < cost->least ? list : cost->least;
    cost->most = cost->n_rows == 0 || list > cost->most ? list : cost->most;
    cost->n_rows += n_rows;
}

/* Blocks [first, end) of a frozen file: the lists that the directory in force puts there. */
static void add_blocks(struct cost *cost, const struct rt_index_view *view,
                       const struct rt_list_view *file, uint64_t first, uint64_t end)
{
    const struct rt_list_view *directory = &view->frozen[view->n_frozen - 1];
    for (uint32_t list = 0; list < view->n_lists; list++) {
        uint64_t begin = directory->first_blocks[list];
        uint64_t rows = directory->rows[list];
        uint64_t n_blocks = rt_block_count(rows);
        if (directory->files[list] != file->shape.generation || begin >= end ||
            n_blocks > file->shape.n_blocks || begin + n_blocks <= first)
            continue;
        uint64_t from = first > begin ? (first - begin) * RT_BLOCK_ROWS : 0;
        uint64_t to = (end - begin) * RT_BLOCK_ROWS;
        to = to < rows ? to : rows;
        add(cost, view, list, to > from ? to - from : 0);
    }
}

static void add_entries(struct cost *cost, const struct rt_index_view *view, const uint64_t *ids,
                        const uint32_t *lists, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++)
        if (ids[i] != RT_NO_ID)
            add(cost, view, lists[i], 1);
}

void rt_damage_cost(const struct rt_index_view *view, const struct rt_h5_map *map, uint32_t dataset,
                    uint64_t first, uint64_t n, char *text, size_t text_size)
{
    struct cost cost = {0, 0, 0};
    char rows[RT_UNITS_TEXT];
    text[0] = '\0';
    for (size_t f = 0; f < view->n_frozen; f++)
        if (view->frozen[f].map == map && dataset < RT_LIST_COLUMNS)
            add_blocks(&cost, view, &view->frozen[f], first, first + n);
    for (size_t f = 0; f < view->n_appendable; f++)
        if (view->appendable[f].map == map && dataset < RT_TAPE_COLUMNS)
            add_entries(&cost, view, view->appendable[f].records.ids,
                        view->appendable[f].records.lists, first, first + n);
    for (size_t f = 0; f < view->n_vectors; f++) {
        const struct rt_vectors_view *file = &view->vectors[f];
        struct rt_vectors_datasets d = file->datasets;
        int which = (int)dataset;
        if (file->map == map && (which == d.vectors || which == d.ids || which == d.lists))
            add_entries(&cost, view, file->ids, file->lists, first, first + n);
    }
    if (cost.n_rows)
        (void)snprintf(text, text_size, "; this costs %s rows of lists %" PRIu32 " to %" PRIu32,
                       rt_units_count(cost.n_rows, rows), cost.least, cost.most);
}
