#include "io/vectors_file.h"

#include "core/find.h"
#include "core/memory.h"

#include <stdatomic.h>
#include <string.h>

static const uint8_t fill[] = {0, 0xff, 0xff}; /* vectors, ids, lists */

struct rt_vectors_datasets rt_vectors_datasets(const struct rt_h5_layout *layout)
{
    return (struct rt_vectors_datasets){
        rt_h5_find(layout, "vectors"), rt_h5_find(layout, "ids"),      rt_h5_find(layout, "lists"),
        rt_h5_find(layout, "tapes"),   rt_h5_find(layout, "segments"), rt_h5_find(layout, "sorted"),
        rt_h5_find(layout, "kept")};
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
    rt_h5_layout_number(layout, "ids_ascend", shape->ids_ascend);
    rt_h5_layout_number(layout, "kept_words", shape->n_kept);
    rt_h5_layout_number(layout, "sorted_ids", shape->n_sorted);
    if (shape->has_vectors)
        RT_TRY(rt_h5_layout_add(layout, "vectors", rt_h5_type_of(shape->element), n, 0, shape->dim,
                                rt_unit_rows(row_bytes, cap), err));
    RT_TRY(rt_h5_layout_add(layout, "ids", RT_H5_U64, n, 0, 0, rt_unit_rows(8, cap), err));
    RT_TRY(rt_h5_layout_add(layout, "lists", RT_H5_U32, n, 0, 0, rt_unit_rows(4, cap), err));
    RT_TRY(rt_h5_layout_add(layout, "tapes", RT_H5_U64, shape->n_tapes, 0, 2, 0, err));
    RT_TRY(rt_h5_layout_add(layout, "segments", RT_H5_U64, shape->n_segments, 0, 7, 0, err));
    if (!shape->ids_ascend)
        RT_TRY(rt_h5_layout_add(layout, "sorted", RT_H5_U64, shape->n_sorted, 0, 2,
                                rt_unit_rows(16, cap), err));
    if (shape->n_kept)
        RT_TRY(rt_h5_layout_add(layout, "kept", RT_H5_U64, shape->n_kept, 0, 2,
                                rt_unit_rows(16, cap), err));
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
    RT_TRY(rt_h5_get_u32(found, path, "ids_ascend", 0, 1, &flag, err));
    read.ids_ascend = flag;
    RT_TRY(rt_h5_get_number(found, path, "kept_words", &read.n_kept, err));
    RT_TRY(rt_h5_get_number(found, path, "sorted_ids", &read.n_sorted, err));
    if (read.cap_rows == 0 || (read.cap_rows & (read.cap_rows - 1)) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: chunks of %llu rows", path,
                (unsigned long long)read.cap_rows);
    if (read.ids_ascend && read.n_sorted > 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its ids ascend, and yet it sorts %llu", path,
                (unsigned long long)read.n_sorted);
    if (rt_vectors_layout(&read, layout, err) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it holds %llu slots", path,
                (unsigned long long)read.n_slots);
    RT_TRY(rt_h5_adopt(path, found, layout, err));
    *shape = read;
done:
    return st;
}

#define COLUMNS 3

static uint32_t column_bytes(const struct rt_vectors_shape *shape, uint64_t bytes[COLUMNS])
{
    bytes[0] = 4;
    bytes[1] = 8;
    bytes[2] = (uint64_t)rt_element_size(shape->element) * shape->dim;
    return shape->has_vectors ? COLUMNS : COLUMNS - 1;
}

uint64_t rt_vectors_share_slots(const struct rt_vectors_shape *shape)
{
    uint64_t bytes[COLUMNS];
    uint32_t n = column_bytes(shape, bytes);
    return rt_share_rows(bytes, n, shape->cap_rows);
}

uint64_t rt_vectors_writer_bytes(const struct rt_vectors_shape *shape, uint64_t n_slots,
                                 size_t buffer_bytes)
{
    uint64_t bytes[COLUMNS];
    uint32_t n = column_bytes(shape, bytes);
    return rt_unit_writer_bytes(bytes, n, shape->cap_rows, n_slots, buffer_bytes);
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
                                          uint32_t first_number, const uint64_t *row_of_tape,
                                          struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_segment_entry *segments = NULL;
    struct rt_vectors_datasets datasets = rt_vectors_datasets(rt_h5_file_layout(file));
    uint64_t n_segments = rt_vectors_n_segments(tapes, n_tapes);
    uint64_t generation = 0;
    uint64_t at = 0;
    RT_TRY(rt_h5_get_number(rt_h5_file_layout(file), rt_h5_file_path(file), "generation",
                            &generation, err));
    RT_TRY(rt_array_new((size_t)n_segments, sizeof *segments, &segments, err));
    for (uint32_t tape = 0; tape < n_tapes; tape++) {
        for (uint64_t first = 0; first < tapes[tape].n_slots; first += RT_SEGMENT_SLOTS) {
            uint64_t left = tapes[tape].n_slots - first;
            segments[at] = (struct rt_segment_entry){
                .number = first_number + at,
                .tape = tape,
                .first_slot = tapes[tape].first_slot + first,
                .n_slots = left < RT_SEGMENT_SLOTS ? left : RT_SEGMENT_SLOTS,
                .first_row = row_of_tape ? row_of_tape[tape] + first : RT_NO_ROW,
                .first_kept = RT_ALL_KEPT,
                .born = generation,
            };
            at++;
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

uint64_t rt_segment_stored(const struct rt_vectors_view *view,
                           const struct rt_segment_entry *segment)
{
    if (segment->first_kept == RT_ALL_KEPT || segment->n_slots == 0)
        return segment->n_slots;
    const struct rt_kept_word *last =
        &view->kept[segment->first_kept + (segment->n_slots - 1) / 64];
    return last->n_before + (uint64_t)__builtin_popcountll(last->bits);
}

uint64_t rt_segment_slot(const struct rt_vectors_view *view, const struct rt_segment_entry *segment,
                         uint32_t slot)
{
    uint64_t before = slot;
    if (slot >= segment->n_slots)
        return RT_NO_ROW;
    if (segment->first_kept != RT_ALL_KEPT) {
        const struct rt_kept_word *word = &view->kept[segment->first_kept + slot / 64];
        uint64_t bit = UINT64_C(1) << slot % 64;
        before = word->n_before + (uint64_t)__builtin_popcountll(word->bits & (bit - 1));
        if (!(word->bits & bit) || before >= view->shape.n_slots - segment->first_slot)
            return RT_NO_ROW;
    }
    return segment->first_slot + before;
}

const struct rt_segment_entry *rt_vectors_segment_of(const struct rt_vectors_view *view,
                                                     uint64_t slot)
{
    uint32_t begin = 0;
    uint32_t end = view->shape.n_segments;
    while (begin < end) { /* the last one that begins at or before it */
        uint32_t middle = begin + (end - begin) / 2;
        if (view->segments[middle].first_slot <= slot)
            begin = middle + 1;
        else
            end = middle;
    }
    const struct rt_segment_entry *found = begin ? &view->segments[begin - 1] : NULL;
    return found && slot - found->first_slot < rt_segment_stored(view, found) ? found : NULL;
}

/* The place's slot of the n-th slot of a segment that is there. */
static uint64_t nth_kept(const struct rt_kept_word *words, uint64_t n_words, uint64_t n)
{
    uint64_t begin = 0;
    while (n_words - begin > 1) { /* the last word with n_before <= n */
        uint64_t middle = begin + (n_words - begin) / 2;
        if (words[middle].n_before <= n)
            begin = middle;
        else
            n_words = middle;
    }
    uint64_t bits = words[begin].bits;
    for (uint64_t skip = n - words[begin].n_before; skip > 0 && bits; skip--)
        bits &= bits - 1;
    return begin * 64 + (bits ? (uint64_t)__builtin_ctzll(bits) : 0);
}

uint64_t rt_vectors_heap_row(const struct rt_vectors_view *view, uint64_t slot)
{
    const struct rt_segment_entry *segment = rt_vectors_segment_of(view, slot);
    if (!segment || segment->first_row == RT_NO_ROW)
        return RT_NO_ROW;
    uint64_t offset = slot - segment->first_slot;
    if (segment->first_kept != RT_ALL_KEPT)
        offset = nth_kept(view->kept + segment->first_kept, (segment->n_slots + 63) / 64, offset);
    return segment->first_row + offset;
}

static bool lies_in_tape(const struct rt_vectors_view *view, const struct rt_segment_entry *segment)
{
    if (segment->tape >= view->shape.n_tapes || segment->n_slots > RT_SEGMENT_SLOTS)
        return false;
    if (segment->first_kept != RT_ALL_KEPT) {
        uint64_t n_words = (segment->n_slots + 63) / 64;
        if (segment->first_kept > view->shape.n_kept ||
            n_words > view->shape.n_kept - segment->first_kept)
            return false;
    }
    const struct rt_tape_entry *tape = &view->tapes[segment->tape];
    return segment->first_slot >= tape->first_slot &&
           segment->first_slot - tape->first_slot <= tape->n_slots &&
           rt_segment_stored(view, segment) <=
               tape->n_slots - (segment->first_slot - tape->first_slot);
}

/* Tapes inside the file, one behind the other; segments inside their tapes, likewise. */
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
    end = 0;
    for (uint32_t i = 0; i < view->shape.n_segments; i++) {
        const struct rt_segment_entry *segment = &view->segments[i];
        if (!lies_in_tape(view, segment) || segment->first_slot < end ||
            segment->number > UINT32_MAX || (i > 0 && segment->number <= segment[-1].number) ||
            segment->born > view->shape.generation ||
            (segment->first_row == RT_NO_ROW) != view->shape.has_vectors)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: segment %u does not lie in a tape", path, i);
        end = segment->first_slot + rt_segment_stored(view, segment);
    }
done:
    return st;
}

/* ---- by id ---- */

/* In slots [begin, end), whose used ones ascend; ids that rise evenly, as rows numbered from
 * anywhere, are found where they would lie. RT_NO_ROW: all before *end_of_less are less, those from
 * there on are not. */
static uint64_t find_ascending(const struct rt_vectors_view *view, uint64_t begin, uint64_t end,
                               uint64_t id, uint64_t *end_of_less)
{
    const uint64_t *ids = view->ids;
    if (begin < end && ids[begin] < id && id < ids[end - 1]) {
        double share = (double)(id - ids[begin]) / (double)(ids[end - 1] - ids[begin]);
        uint64_t guess = begin + (uint64_t)(share * (double)(end - 1 - begin) + 0.5);
        if (guess < end && ids[guess] == id)
            return guess;
    }
    while (begin < end) {
        uint64_t middle = begin + (end - begin) / 2;
        uint64_t used = middle;
        while (used < end && view->ids[used] == RT_NO_ID)
            used++;
        if (used == end || view->ids[used] > id)
            end = middle;
        else if (view->ids[used] == id)
            return used;
        else
            begin = used + 1;
    }
    *end_of_less = begin;
    return RT_NO_ROW;
}

/* A tape may end in thousands of unused slots, of which searching by halves would try many: they
 * are found once. Threads that find them at the same time find the same. */
static uint64_t used_end(const struct rt_vectors_view *view, uint32_t tape)
{
    uint64_t begin = view->tapes[tape].first_slot;
    uint64_t end = atomic_load_explicit(&view->used_ends[tape], memory_order_relaxed);
    if (end != RT_NO_ROW)
        return end;
    end = begin + view->tapes[tape].n_slots;
    while (end > begin && view->ids[end - 1] == RT_NO_ID)
        end--;
    atomic_store_explicit(&view->used_ends[tape], end, memory_order_relaxed);
    return end;
}

static enum rt_status find_sorted(const struct rt_vectors_view *view, uint64_t id, uint64_t *slot,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = view->shape.n_sorted;
    uint64_t at = n ? rt_find_first(&view->sorted->id, sizeof *view->sorted, n, id) : 0;
    *slot = RT_NO_ROW;
    RT_TRY(rt_h5_map_check_around(view->map, (uint32_t)view->datasets.sorted, at, err));
    if (at < n && view->sorted[at].id == id) {
        *slot = view->sorted[at].slot;
        if (*slot >= view->shape.n_slots || view->ids[*slot] != id)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: its sorted ids do not find row %llu",
                    rt_h5_map_path(view->map), (unsigned long long)id);
    }
done:
    return st;
}

/* The id is not in this tape if it is not between the used slots on both sides of `at`. */
static enum rt_status check_gap(const struct rt_vectors_view *view,
                                const struct rt_tape_entry *tape, uint64_t used_end, uint64_t at,
                                struct rt_error *err)
{
    uint64_t end = tape->first_slot + tape->n_slots;
    uint64_t begin = at > tape->first_slot ? at - 1 : at;
    while (at < used_end && view->ids[at] == RT_NO_ID)
        at++;
    end = at < used_end ? at + 1 : end;
    return rt_h5_map_check_rows(view->map, (uint32_t)view->datasets.ids, begin, end - begin, err);
}

static enum rt_status find_in_tape(const struct rt_vectors_view *view, uint32_t tape, uint64_t id,
                                   uint64_t *slot, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t end = used_end(view, tape);
    uint64_t end_of_less = end;
    if (end > view->tapes[tape].first_slot && view->ids[end - 1] >= id)
        *slot = find_ascending(view, view->tapes[tape].first_slot, end, id, &end_of_less);
    if (*slot == RT_NO_ROW)
        RT_TRY(check_gap(view, &view->tapes[tape], end, end_of_less, err));
done:
    return st;
}

enum rt_status rt_vectors_find(const struct rt_vectors_view *view, uint64_t id, uint64_t *slot,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *slot = RT_NO_ROW;
    if (!view->shape.ids_ascend)
        RT_TRY(find_sorted(view, id, slot, err));
    for (uint32_t i = 0; view->shape.ids_ascend && i < view->shape.n_tapes && *slot == RT_NO_ROW;
         i++)
        RT_TRY(find_in_tape(view, i, id, slot, err));
    if (*slot == RT_NO_ROW)
        goto done;
    RT_TRY(rt_h5_map_check_rows(view->map, (uint32_t)view->datasets.ids, *slot, 1, err));
    RT_TRY(rt_h5_map_check_rows(view->map, (uint32_t)view->datasets.lists, *slot, 1, err));
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
    opened.datasets = datasets;
    opened.ids = rt_h5_map_rows(opened.map, (uint32_t)datasets.ids);
    opened.lists = rt_h5_map_rows(opened.map, (uint32_t)datasets.lists);
    opened.tapes = rt_h5_map_rows(opened.map, (uint32_t)datasets.tapes);
    opened.segments = rt_h5_map_rows(opened.map, (uint32_t)datasets.segments);
    if (datasets.sorted >= 0)
        opened.sorted = rt_h5_map_rows(opened.map, (uint32_t)datasets.sorted);
    if (datasets.kept >= 0)
        opened.kept = rt_h5_map_rows(opened.map, (uint32_t)datasets.kept);
    RT_TRY(check_directory(path, &opened, err));
    RT_TRY(rt_array_new(opened.shape.n_tapes, sizeof *opened.used_ends, &opened.used_ends, err));
    for (uint32_t i = 0; i < opened.shape.n_tapes; i++)
        atomic_init(&opened.used_ends[i], RT_NO_ROW);
    *view = opened;
    opened.map = NULL;
done:
    rt_h5_map_close(opened.map);
    return st;
}

void rt_vectors_close(struct rt_vectors_view *view)
{
    rt_h5_map_close(view->map);
    rt_array_free(view->used_ends);
    memset(view, 0, sizeof *view);
}
