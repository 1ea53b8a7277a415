#include "io/index_rows.h"

#include "core/code.h"

#include <inttypes.h>
#include <string.h>

/* ---- frozen lists ---- */

void rt_list_blocks_part(const struct rt_index_view *view, const struct rt_list_blocks *blocks,
                         uint64_t first, uint64_t n_blocks, struct rt_list_blocks *part)
{
    part->n_blocks = n_blocks;
    part->codes = blocks->codes + first * rt_block_code_bytes(view->manifest->dim);
    part->factors = blocks->factors + first * view->n_factors * RT_BLOCK_ROWS;
    part->ids = blocks->ids + first * RT_BLOCK_ROWS;
    part->places = blocks->places + first * RT_BLOCK_ROWS;
}

static const struct rt_list_view *frozen_file(const struct rt_index_view *view, uint64_t generation)
{
    for (size_t i = view->n_frozen; i-- > 0;)
        if (view->frozen[i].shape.generation == generation)
            return &view->frozen[i];
    return NULL;
}

enum rt_status rt_index_list(const struct rt_index_view *view, uint32_t list,
                             struct rt_list_blocks *blocks, uint64_t *n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_list_view *directory = &view->frozen[view->n_frozen - 1];
    if (list >= view->n_lists)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: there is no list %" PRIu32, view->dir, list);
    uint64_t rows = directory->rows[list];
    uint64_t first = directory->first_blocks[list];
    uint64_t n = rt_block_count(rows);
    const struct rt_list_view *file = n > 0 ? frozen_file(view, directory->files[list]) : directory;
    if (!file)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: list %" PRIu32 " is in a file of generation %" PRIu64
                ", which is not there",
                rt_h5_map_path(directory->map), list, directory->files[list]);
    memset(blocks, 0, sizeof *blocks);
    if (n > 0) {
        if (first > file->shape.n_blocks || n > file->shape.n_blocks - first)
            RT_FAIL(RT_DAMAGED,
                    "'%s' is damaged: list %" PRIu32 " reaches beyond the blocks of '%s'",
                    rt_h5_map_path(directory->map), list, rt_h5_map_path(file->map));
        rt_list_blocks_part(view, &file->blocks, first, n, blocks);
    }
    *n_rows = rows;
done:
    return st;
}

static const struct rt_segment_ref *find_segment(const struct rt_index_view *view, uint32_t number)
{
    size_t begin = 0;
    size_t end = view->n_segments;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        if (view->segments[middle].entry->number < number)
            begin = middle + 1;
        else
            end = middle;
    }
    const struct rt_segment_ref *found = &view->segments[begin];
    return begin < view->n_segments && found->entry->number == number ? found : NULL;
}

enum rt_status rt_index_place(const struct rt_index_view *view, uint32_t segment, uint32_t slot,
                              struct rt_place_view *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_segment_ref *found = find_segment(view, segment);
    if (!found)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: there is no segment %" PRIu32, view->dir, segment);
    const struct rt_vectors_view *file = found->file;
    const struct rt_segment_entry *entry = found->entry;
    uint64_t at = rt_segment_slot(file, entry, slot);
    if (at == RT_NO_ROW)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: segment %" PRIu32 " has no slot %" PRIu32,
                rt_h5_map_path(file->map), segment, slot);
    uint64_t vector_bytes = rt_element_size(file->shape.element) * file->shape.dim;
    out->vector = file->vectors ? (const char *)file->vectors + at * vector_bytes : NULL;
    out->heap_row = entry->first_row == RT_NO_ROW ? RT_NO_ROW : entry->first_row + slot;
    out->id = &file->ids[at];
    out->list = &file->lists[at];
    out->file = file;
    out->slot = at;
done:
    return st;
}

enum rt_status rt_index_check_place(const struct rt_place_view *place, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_vectors_view *file = place->file;
    const struct rt_vectors_datasets *d = &file->datasets;
    const int columns[] = {d->vectors, d->ids, d->lists};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (columns[i] >= 0)
            RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)columns[i], place->slot, 1, err));
done:
    return st;
}

enum rt_status rt_index_check_blocks(const struct rt_index_view *view, uint32_t list,
                                     uint64_t first, uint64_t n_blocks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_list_view *directory = &view->frozen[view->n_frozen - 1];
    const struct rt_list_view *file = frozen_file(view, directory->files[list]);
    for (uint32_t column = 0; column < RT_LIST_COLUMNS && n_blocks && file; column++)
        RT_TRY(rt_h5_map_check_rows(file->map, column, directory->first_blocks[list] + first,
                                    n_blocks, err));
done:
    return st;
}

/* ---- appendable records ---- */

enum rt_status rt_index_check_records(const struct rt_tape_view *tape, uint64_t begin, uint64_t end,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t column = 0; column < RT_TAPE_COLUMNS; column++)
        RT_TRY(rt_h5_map_check_rows(tape->map, column, begin, end - begin, err));
done:
    return st;
}

uint64_t rt_index_list_generation(const struct rt_index_view *view, uint32_t list)
{
    return view->frozen[view->n_frozen - 1].files[list];
}

void rt_index_records(const struct rt_index_view *view, const struct rt_tape_view *tape,
                      uint64_t chunk, uint32_t list, uint64_t *begin, uint64_t *end)
{
    const uint64_t *entry = tape->chunks + 2 * chunk;
    *begin = *end = entry[0];
    if (rt_index_list_generation(view, list) > tape->shape.generation)
        return;
    *begin = rt_tape_first_of_list(tape, entry[0], entry[0] + entry[1], list);
    *end = rt_tape_first_of_list(tape, *begin, entry[0] + entry[1], list + 1);
}

uint64_t rt_index_n_records(const struct rt_index_view *view, const struct rt_tape_view *tape,
                            uint32_t list)
{
    uint64_t n = 0;
    for (uint64_t chunk = 0; chunk < tape->shape.n_chunks; chunk++) {
        uint64_t begin = 0;
        uint64_t end = 0;
        rt_index_records(view, tape, chunk, list, &begin, &end);
        n += end - begin;
    }
    return n;
}

/* ---- by id ---- */

bool rt_index_is_live(const struct rt_index_view *view, uint64_t id, uint64_t generation)
{
    for (size_t i = view->n_tombstones; i-- > 0;)
        if (view->tombstones[i].shape.generation > generation &&
            rt_tombstones_find(&view->tombstones[i], id) > generation)
            return false;
    return true;
}

enum rt_status rt_index_judge(const struct rt_index_view *view, uint64_t id, uint64_t generation,
                              bool *is_live, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *is_live = true;
    for (size_t i = view->n_tombstones; i-- > 0 && *is_live;) {
        uint64_t died = 0;
        if (view->tombstones[i].shape.generation > generation)
            RT_TRY(rt_tombstones_look_up(&view->tombstones[i], id, &died, err));
        *is_live = died <= generation;
    }
done:
    return st;
}

enum rt_status rt_index_find(const struct rt_index_view *view, uint64_t id,
                             struct rt_found_row *row, bool *found, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *found = false;
    if (id > view->manifest->largest_id)
        return RT_OK;
    for (size_t i = view->n_vectors; i-- > 0 && !*found;) {
        const struct rt_vectors_view *file = &view->vectors[i];
        uint64_t slot = RT_NO_ROW;
        bool is_live = false;
        RT_TRY(rt_vectors_find(file, id, &slot, err));
        if (slot != RT_NO_ROW)
            RT_TRY(rt_index_judge(view, id, file->shape.generation, &is_live, err));
        if (!is_live)
            continue;
        if (file->lists[slot] >= view->n_lists)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: slot %" PRIu64 " names list %" PRIu32,
                    rt_h5_map_path(file->map), slot, file->lists[slot]);
        *row = (struct rt_found_row){file, slot, file->lists[slot]};
        *found = true;
    }
done:
    return st;
}
