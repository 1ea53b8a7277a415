#include "io/vectors_file.h"

#include "core/memory.h"

#include <string.h>

static const uint8_t fill[] = {0, 0xff, 0xff}; /* vectors, ids, lists */

struct rt_vectors_datasets rt_vectors_datasets(const struct rt_h5_layout *layout)
{
    return (struct rt_vectors_datasets){rt_h5_find(layout, "vectors"), rt_h5_find(layout, "ids"),
                                        rt_h5_find(layout, "lists"), rt_h5_find(layout, "tapes"),
                                        rt_h5_find(layout, "segments")};
}

enum rt_status rt_vectors_layout(const struct rt_vectors_shape *shape, struct rt_h5_layout *layout,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = shape->n_slots;
    uint64_t cap = shape->cap_rows;
    uint64_t row_bytes = rt_element_size(shape->element) * shape->dim;
    rt_h5_layout_begin(layout, RT_FILE_VECTORS, shape->generation, shape->fingerprint);
    rt_h5_layout_number(layout, "dimension", shape->dim);
    rt_h5_layout_text(layout, "element", rt_element_name(shape->element));
    rt_h5_layout_number(layout, "slots", shape->n_slots);
    rt_h5_layout_number(layout, "chunk_rows", shape->cap_rows);
    rt_h5_layout_number(layout, "in_heap", !shape->has_vectors);
    rt_h5_layout_number(layout, "tapes", shape->n_tapes);
    rt_h5_layout_number(layout, "segments", shape->n_segments);
    rt_h5_layout_number(layout, "first_segment", shape->first_segment);
    if (shape->has_vectors)
        RT_TRY(rt_h5_layout_add(layout, "vectors", rt_h5_type_of(shape->element), n, 0, shape->dim,
                                rt_unit_rows(row_bytes, cap), err));
    RT_TRY(rt_h5_layout_add(layout, "ids", RT_H5_U64, n, 0, 0, rt_unit_rows(8, cap), err));
    RT_TRY(rt_h5_layout_add(layout, "lists", RT_H5_U32, n, 0, 0, rt_unit_rows(4, cap), err));
    RT_TRY(rt_h5_layout_add(layout, "tapes", RT_H5_U64, shape->n_tapes, 0, 2, 0, err));
    RT_TRY(rt_h5_layout_add(layout, "segments", RT_H5_U64, shape->n_segments, 0, 4, 0, err));
done:
    return st;
}

enum rt_status rt_vectors_check(const char *path, const struct rt_h5_layout *found,
                                struct rt_vectors_shape *shape, struct rt_h5_layout *layout,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[40];
    uint32_t flag = 0;
    struct rt_vectors_shape read;
    memset(&read, 0, sizeof read);
    RT_TRY(rt_h5_get_head(found, path, RT_FILE_VECTORS, &read.generation, &read.fingerprint, err));
    RT_TRY(rt_h5_get_u32(found, path, "dimension", 1, RT_MAX_DIM, &read.dim, err));
    RT_TRY(rt_h5_get_text(found, path, "element", text, err));
    if (rt_element_parse(text, &read.element) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: element '%s'", path, text);
    RT_TRY(rt_h5_get_number(found, path, "slots", &read.n_slots, err));
    RT_TRY(rt_h5_get_number(found, path, "chunk_rows", &read.cap_rows, err));
    RT_TRY(rt_h5_get_u32(found, path, "in_heap", 0, 1, &flag, err));
    read.has_vectors = !flag;
    RT_TRY(rt_h5_get_u32(found, path, "tapes", 1, UINT32_MAX, &read.n_tapes, err));
    RT_TRY(rt_h5_get_u32(found, path, "segments", 0, UINT32_MAX, &read.n_segments, err));
    RT_TRY(rt_h5_get_u32(found, path, "first_segment", 0, UINT32_MAX - read.n_segments,
                         &read.first_segment, err));
    if (read.cap_rows == 0 || (read.cap_rows & (read.cap_rows - 1)) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: chunks of %llu rows", path,
                (unsigned long long)read.cap_rows);
    if (rt_vectors_layout(&read, layout, err) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it holds %llu slots", path,
                (unsigned long long)read.n_slots);
    RT_TRY(rt_h5_adopt(path, found, layout, err));
    *shape = read;
done:
    return st;
}

uint64_t rt_vectors_share_slots(const struct rt_vectors_shape *shape)
{
    const uint64_t bytes[] = {4, 8, rt_element_size(shape->element) * shape->dim};
    return rt_share_rows(bytes, shape->has_vectors ? 3 : 2, shape->cap_rows);
}

static uint64_t segments_of(uint64_t n_slots)
{
    return n_slots / RT_SEGMENT_SLOTS + (n_slots % RT_SEGMENT_SLOTS != 0);
}

uint64_t rt_vectors_n_segments(const struct rt_tape_entry *tapes, uint32_t n_tapes)
{
    uint64_t n = 0;
    for (uint32_t tape = 0; tape < n_tapes; tape++)
        n += segments_of(tapes[tape].n_slots);
    return n;
}

enum rt_status rt_vectors_write_directory(struct rt_h5_file *file,
                                          const struct rt_tape_entry *tapes, uint32_t n_tapes,
                                          const uint64_t *row_of_tape, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_segment_entry *segments = NULL;
    struct rt_vectors_datasets datasets = rt_vectors_datasets(rt_h5_file_layout(file));
    uint64_t n_segments = rt_vectors_n_segments(tapes, n_tapes);
    uint64_t at = 0;
    RT_TRY(rt_array_new((size_t)n_segments, sizeof *segments, &segments, err));
    for (uint32_t tape = 0; tape < n_tapes; tape++) {
        for (uint64_t first = 0; first < tapes[tape].n_slots; first += RT_SEGMENT_SLOTS) {
            uint64_t left = tapes[tape].n_slots - first;
            segments[at++] = (struct rt_segment_entry){
                .tape = tape,
                .first_slot = tapes[tape].first_slot + first,
                .n_slots = left < RT_SEGMENT_SLOTS ? left : RT_SEGMENT_SLOTS,
                .first_row = row_of_tape ? row_of_tape[tape] + first : RT_NO_ROW,
            };
        }
    }
    RT_TRY(rt_h5_write(file, (uint32_t)datasets.tapes, 0, n_tapes, tapes, err));
    RT_TRY(rt_h5_write(file, (uint32_t)datasets.segments, 0, n_segments, segments, err));
done:
    rt_array_free(segments);
    return st;
}

enum rt_status rt_vectors_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                     size_t buffer_bytes, struct rt_unit_writer **out,
                                     struct rt_error *err)
{
    struct rt_vectors_datasets datasets = rt_vectors_datasets(rt_h5_file_layout(file));
    const uint32_t columns[] = {(uint32_t)datasets.vectors, (uint32_t)datasets.ids,
                                (uint32_t)datasets.lists};
    uint32_t skip = datasets.vectors < 0;
    return rt_unit_writer_new(file, columns + skip, 3 - skip, begin, end, buffer_bytes, out, err);
}

enum rt_status rt_vectors_append(struct rt_unit_writer *writer, const void *vectors,
                                 const uint64_t *ids, const uint32_t *lists, uint64_t n_slots,
                                 struct rt_error *err)
{
    const void *const columns[] = {vectors, ids, lists};
    uint32_t skip = 3 - rt_unit_writer_columns(writer);
    return rt_unit_writer_append(writer, columns + skip, n_slots, err);
}

enum rt_status rt_vectors_writer_end(struct rt_unit_writer *writer, struct rt_error *err)
{
    return rt_unit_writer_end(writer, fill + (3 - rt_unit_writer_columns(writer)), err);
}

/* Tapes inside the file, one behind the other; segments inside their tapes, cut as the format says.
 */
static enum rt_status check_directory(const char *path, const struct rt_vectors_view *view,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t end = 0;
    for (uint32_t i = 0; i < view->shape.n_tapes; i++) {
        const struct rt_tape_entry *tape = &view->tapes[i];
        if (tape->first_slot < end || tape->first_slot > view->shape.n_slots ||
            tape->n_slots > view->shape.n_slots - tape->first_slot)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: tape %u reaches beyond its slots", path, i);
        end = tape->first_slot + tape->n_slots;
    }
    for (uint32_t i = 0; i < view->shape.n_segments; i++) {
        const struct rt_segment_entry *segment = &view->segments[i];
        bool good = segment->tape < view->shape.n_tapes && segment->n_slots <= RT_SEGMENT_SLOTS;
        if (good) {
            const struct rt_tape_entry *tape = &view->tapes[segment->tape];
            good = segment->first_slot >= tape->first_slot &&
                   segment->first_slot - tape->first_slot <= tape->n_slots &&
                   segment->n_slots <= tape->n_slots - (segment->first_slot - tape->first_slot);
        }
        if (!good || (segment->first_row == RT_NO_ROW) != view->shape.has_vectors)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: segment %u does not lie in a tape", path, i);
    }
done:
    return st;
}

enum rt_status rt_vectors_open(const char *path, struct rt_vectors_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found, layout;
    struct rt_vectors_view opened;
    memset(&opened, 0, sizeof opened);
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(rt_vectors_check(path, &found, &opened.shape, &layout, err));
    RT_TRY(rt_h5_map_open(path, &layout, &opened.map, err));
    struct rt_vectors_datasets datasets = rt_vectors_datasets(&layout);
    opened.vectors =
        datasets.vectors < 0 ? NULL : rt_h5_map_rows(opened.map, (uint32_t)datasets.vectors);
    opened.ids = rt_h5_map_rows(opened.map, (uint32_t)datasets.ids);
    opened.lists = rt_h5_map_rows(opened.map, (uint32_t)datasets.lists);
    opened.tapes = rt_h5_map_rows(opened.map, (uint32_t)datasets.tapes);
    opened.segments = rt_h5_map_rows(opened.map, (uint32_t)datasets.segments);
    RT_TRY(check_directory(path, &opened, err));
    *view = opened;
    opened.map = NULL;
done:
    rt_h5_map_close(opened.map);
    return st;
}

void rt_vectors_close(struct rt_vectors_view *view)
{
    rt_h5_map_close(view->map);
    memset(view, 0, sizeof *view);
}
