#include "io/index_verify.h"

#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/damage_cost.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct verifying {
    const struct rt_index_view *view;
    rt_index_report report;
    void *context;
    struct rt_index_verified counts;
};

static void report(struct verifying *run, const char *text)
{
    run->counts.n_errors++;
    if (run->report)
        run->report(run->context, text);
}

static void report_unit(struct verifying *run, const struct rt_h5_map *map, uint32_t dataset,
                        uint64_t first, uint64_t n_rows, const char *what)
{
    char cost[120];
    char text[640];
    rt_damage_cost(run->view, map, dataset, first, n_rows, cost, sizeof cost);
    (void)snprintf(text, sizeof text, "%s%s", what, cost);
    report(run, text);
}

/* Units [begin, end) of those counted through all files, this one's beginning at *at. */
static void verify_units(struct verifying *run, const struct rt_h5_map *map, uint64_t begin,
                         uint64_t end, uint64_t *at)
{
    const struct rt_h5_layout *layout = rt_h5_map_layout(map);
    for (uint32_t d = 0; d < layout->n_datasets; d++) {
        const struct rt_h5_dataset *dataset = &layout->datasets[d];
        uint64_t n = rt_h5_n_units(dataset);
        uint64_t unit = begin > *at ? begin - *at : 0;
        for (; unit < n && *at + unit < end; unit++) {
            struct rt_error err;
            uint64_t rows = dataset->dims[0] - unit * dataset->unit_rows;
            rows = rows < dataset->unit_rows ? rows : dataset->unit_rows;
            if (rt_h5_map_check_unit(map, d, unit, &err) != RT_OK)
                report_unit(run, map, d, unit * dataset->unit_rows, rows, err.text);
            run->counts.n_units++;
            run->counts.n_bytes += rows * rt_h5_row_bytes(dataset);
        }
        *at += n;
    }
}

static uint64_t units_of(const struct rt_h5_map *map)
{
    const struct rt_h5_layout *layout = rt_h5_map_layout(map);
    uint64_t n = 0;
    for (uint32_t d = 0; d < layout->n_datasets; d++)
        n += rt_h5_n_units(&layout->datasets[d]);
    return n;
}

/* The n-th map of the view, NULL behind the last. */
static const struct rt_h5_map *map_of(const struct rt_index_view *view, size_t n)
{
    if (n == 0)
        return view->tree.map;
    n -= 1;
    if (n < view->n_frozen)
        return view->frozen[n].map;
    n -= view->n_frozen;
    if (n < view->n_appendable)
        return view->appendable[n].map;
    n -= view->n_appendable;
    if (n < view->n_vectors)
        return view->vectors[n].map;
    n -= view->n_vectors;
    return n < view->n_tombstones ? view->tombstones[n].map : NULL;
}

/* The hashes of checksums that the manifest keeps. */
static void verify_sums(struct verifying *run, const struct rt_h5_map *map)
{
    struct rt_hash128 hash;
    struct rt_error err;
    char text[RT_PATH_MAX + 80];
    const char *path = rt_h5_map_path(map);
    const char *name = strrchr(path, '/');
    const struct rt_manifest *manifest = run->view->manifest;
    if (rt_h5_hash_sums(path, rt_h5_map_layout(map), &hash, &err) != RT_OK) {
        report(run, err.text);
        return;
    }
    for (size_t i = 0; i < manifest->n_files; i++) {
        char expected[64];
        const struct rt_manifest_file *file = &manifest->files[i];
        (void)snprintf(expected, sizeof expected, "/%s-%" PRIu64 ".h5",
                       rt_file_kind_name(file->kind), file->number);
        if (!name || strcmp(name, expected) != 0)
            continue;
        if (hash.low != file->hashes.sums.low || hash.high != file->hashes.sums.high) {
            (void)snprintf(text, sizeof text,
                           "'%s' is damaged: its checksums do not match the manifest", path);
            report(run, text);
        }
    }
}

enum rt_status rt_index_verify_checksums(const struct rt_index_view *view, uint32_t part,
                                         uint32_t n_parts, rt_index_report say, void *context,
                                         struct rt_index_verified *out, struct rt_error *err)
{
    struct verifying run = {.view = view, .report = say, .context = context};
    uint64_t total = 0;
    uint64_t at = 0;
    (void)err;
    for (size_t i = 0; map_of(view, i); i++)
        total += units_of(map_of(view, i));
    __extension__ typedef unsigned __int128 wide;
    uint64_t begin = (uint64_t)((wide)total * part / n_parts);
    uint64_t end = (uint64_t)((wide)total * (part + 1) / n_parts);
    for (size_t i = 0; map_of(view, i); i++) {
        verify_units(&run, map_of(view, i), begin, end, &at);
        if (part == 0)
            verify_sums(&run, map_of(view, i));
    }
    *out = run.counts;
    return RT_OK;
}

/* A record's place holds this id and list. */
static void verify_place(struct verifying *run, uint32_t list, uint64_t id, struct rt_place place)
{
    struct rt_place_view there;
    struct rt_error err;
    char text[240];
    if (rt_index_place(run->view, place.segment, place.slot, &there, &err) != RT_OK) {
        report(run, err.text);
    } else if (*there.id != id || *there.list != list) {
        (void)snprintf(text, sizeof text,
                       "list %" PRIu32 ": row %" PRIu64 " has its vector at segment %" PRIu32
                       " slot %" PRIu32 ", but there lies row %" PRIu64 " of list %" PRIu32,
                       list, id, place.segment, place.slot, *there.id, *there.list);
        report(run, text);
    }
}

static bool is_padding(const struct rt_list_blocks *block, uint32_t dim, uint32_t n_factors,
                       uint32_t row, uint8_t *code)
{
    bool good = block->ids[row] == RT_NO_ID && block->places[row].segment == 0 &&
                block->places[row].slot == 0;
    rt_block_get(block->codes, dim, row, code);
    for (uint32_t i = 0; i < rt_code_bytes(dim); i++)
        good = good && code[i] == 0;
    for (uint32_t f = 0; f < n_factors; f++)
        good = good && block->factors[f * RT_BLOCK_ROWS + row] == 0.0f;
    return good;
}

/* Live rows counted, and the sum of their hashes. */
struct tally {
    uint64_t n_rows;
    struct rt_hash128 hash;
};

/* Rows [0, n_rows) of a block, the rest padding. code: rt_code_bytes. */
static void verify_block(struct verifying *run, uint32_t list, const struct rt_list_blocks *block,
                         uint32_t n_rows, uint8_t *code, struct tally *live)
{
    const struct rt_index_view *view = run->view;
    uint32_t dim = view->manifest->dim;
    char text[120];
    for (uint32_t row = 0; row < RT_BLOCK_ROWS; row++) {
        float factors[RT_MAX_FACTORS];
        if (row >= n_rows) {
            if (!is_padding(block, dim, view->n_factors, row, code)) {
                (void)snprintf(text, sizeof text,
                               "list %" PRIu32 ": its last block is not padded as it must be",
                               list);
                report(run, text);
                return;
            }
            continue;
        }
        rt_block_get(block->codes, dim, row, code);
        for (uint32_t f = 0; f < view->n_factors; f++)
            factors[f] = block->factors[f * RT_BLOCK_ROWS + row];
        if (block->ids[row] != RT_NO_ID && block->ids[row] > view->manifest->largest_id) {
            (void)snprintf(text, sizeof text,
                           "list %" PRIu32 ": row %" PRIu64
                           " has a larger id than the manifest says",
                           list, block->ids[row]);
            report(run, text);
        }
        if (block->ids[row] == RT_NO_ID) {
            (void)snprintf(text, sizeof text, "list %" PRIu32 ": a row without id", list);
            report(run, text);
        }
        if (!rt_index_is_live(view, block->ids[row], rt_index_list_generation(view, list)))
            continue;
        live->n_rows++;
        live->hash =
            rt_hash128_add(live->hash, rt_record_hash(list, block->ids[row], code, view->code_bytes,
                                                      factors, view->n_factors));
        verify_place(run, list, block->ids[row], block->places[row]);
    }
}

static void verify_list(struct verifying *run, uint32_t list, uint8_t *code, struct tally *live)
{
    struct rt_list_blocks blocks;
    struct rt_list_blocks block;
    struct rt_error err;
    uint64_t rows = 0;
    if (rt_index_list(run->view, list, &blocks, &rows, &err) != RT_OK) {
        report(run, err.text);
        return;
    }
    for (uint64_t b = 0; b < blocks.n_blocks; b++) {
        uint64_t left = rows - b * RT_BLOCK_ROWS;
        rt_list_blocks_part(run->view, &blocks, b, 1, &block);
        verify_block(run, list, &block, left < RT_BLOCK_ROWS ? (uint32_t)left : RT_BLOCK_ROWS, code,
                     live);
    }
}

/* One record of an appendable file. */
static void verify_record(struct verifying *run, const struct rt_tape_view *tape, uint64_t i,
                          struct tally *live)
{
    const struct rt_index_view *view = run->view;
    const struct rt_tape_records *records = &tape->records;
    uint32_t list = records->lists[i];
    char text[RT_PATH_MAX + 120];
    if (list >= view->n_lists || records->ids[i] > view->manifest->largest_id) {
        (void)snprintf(text, sizeof text,
                       "'%s' is damaged: record %" PRIu64 " is row %" PRIu64 " of list %" PRIu32
                       ", which cannot be",
                       rt_h5_map_path(tape->map), i, records->ids[i], list);
        report(run, text);
        return;
    }
    if (rt_index_list_generation(view, list) > tape->shape.generation || /* folded */
        !rt_index_is_live(view, records->ids[i], tape->shape.generation))
        return;
    live->n_rows++;
    live->hash = rt_hash128_add(
        live->hash,
        rt_record_hash(list, records->ids[i], records->codes + i * view->code_bytes,
                       view->code_bytes, records->factors + i * view->n_factors, view->n_factors));
    verify_place(run, list, records->ids[i], records->places[i]);
}

/* A chunk: its lists ascend, so that they are found by halving. */
static void verify_chunk(struct verifying *run, const struct rt_tape_view *tape, uint64_t chunk,
                         struct tally *live)
{
    const uint64_t *entry = tape->chunks + 2 * chunk;
    char text[RT_PATH_MAX + 120];
    for (uint64_t i = entry[0]; i < entry[0] + entry[1]; i++) {
        if (i > entry[0] && tape->records.lists[i] < tape->records.lists[i - 1]) {
            (void)snprintf(text, sizeof text,
                           "'%s' is damaged: record %" PRIu64 " is out of its list's order",
                           rt_h5_map_path(tape->map), i);
            report(run, text);
        }
        verify_record(run, tape, i, live);
    }
}

/* Entries [begin, end): ascending, and of generations up to the file's own. */
static void verify_tombstones(struct verifying *run, const struct rt_tombstones_view *file,
                              uint64_t begin, uint64_t end)
{
    char text[RT_PATH_MAX + 120];
    for (uint64_t i = begin; i < end; i++) {
        const struct rt_tombstone *entry = &file->entries[i];
        if (entry->id != RT_NO_ID && entry->generation > 0 &&
            entry->generation <= file->shape.generation && (i == 0 || entry[-1].id < entry->id))
            continue;
        (void)snprintf(text, sizeof text,
                       "'%s' is damaged: tombstone %" PRIu64 " is out of order or of a generation "
                       "that cannot be",
                       rt_h5_map_path(file->map), i);
        report(run, text);
    }
}

/* Slots that hold a live row: with as many of them as live records, and each record's place holding
 * its id, no slot is used twice and none holds a row that is in no list. */
static void verify_slots(struct verifying *run, const struct rt_vectors_view *vectors,
                         uint64_t begin, uint64_t end)
{
    char text[RT_PATH_MAX + 120];
    for (uint64_t slot = begin; slot < end; slot++) {
        bool is_used = vectors->ids[slot] != RT_NO_ID;
        uint32_t list = vectors->lists[slot];
        run->counts.n_slots +=
            is_used && rt_index_is_live(run->view, vectors->ids[slot], vectors->shape.generation);
        run->counts.n_unsorted += is_used && !vectors->shape.ids_ascend;
        if (is_used ? list < run->view->n_lists : list == RT_NO_LIST)
            continue;
        (void)snprintf(text, sizeof text,
                       "'%s' is damaged: slot %" PRIu64 " is %s, its list says %" PRIu32,
                       rt_h5_map_path(vectors->map), slot, is_used ? "used" : "unused", list);
        report(run, text);
    }
}

/* Of a file whose ids ascend: do those of used slots [begin, end), tape by tape? (H5) */
static void verify_ascending(struct verifying *run, const struct rt_vectors_view *vectors,
                             uint64_t begin, uint64_t end)
{
    char text[RT_PATH_MAX + 120];
    for (uint32_t i = 0; i < vectors->shape.n_tapes; i++) {
        const struct rt_tape_entry *tape = &vectors->tapes[i];
        uint64_t slot = begin > tape->first_slot ? begin : tape->first_slot;
        uint64_t tape_end = tape->first_slot + tape->n_slots;
        uint64_t before = RT_NO_ID; /* id of the used slot before */
        for (uint64_t s = slot; s > tape->first_slot && before == RT_NO_ID; s--)
            before = vectors->ids[s - 1];
        for (; slot < end && slot < tape_end; slot++) {
            if (vectors->ids[slot] == RT_NO_ID)
                continue;
            if (before != RT_NO_ID && vectors->ids[slot] <= before) {
                (void)snprintf(text, sizeof text,
                               "'%s' is damaged: the id of slot %" PRIu64 " is out of order",
                               rt_h5_map_path(vectors->map), slot);
                report(run, text);
            }
            before = vectors->ids[slot];
        }
    }
}

/* Of a file with sorted ids: entries [begin, end) ascend and name slots that hold them. */
static void verify_sorted(struct verifying *run, const struct rt_vectors_view *vectors,
                          uint64_t begin, uint64_t end)
{
    char text[RT_PATH_MAX + 120];
    for (uint64_t i = begin; i < end; i++) {
        struct rt_id_slot entry = vectors->sorted[i];
        bool is_first = i == 0;
        bool good = entry.id == RT_NO_ID ? entry.slot == RT_NO_ROW
                                         : entry.slot < vectors->shape.n_slots &&
                                               vectors->ids[entry.slot] == entry.id &&
                                               (is_first || vectors->sorted[i - 1].id < entry.id);
        run->counts.n_unsorted -= entry.id != RT_NO_ID;
        if (good)
            continue;
        (void)snprintf(text, sizeof text,
                       "'%s' is damaged: entry %" PRIu64 " of its sorted ids is not as it must be",
                       rt_h5_map_path(vectors->map), i);
        report(run, text);
    }
}

/* A part of n. */
static void share_of(uint64_t n, uint32_t part, uint32_t n_parts, uint64_t *begin, uint64_t *end)
{
    uint64_t step = n / n_parts + 1;
    *begin = step * part < n ? step * part : n;
    *end = step * (part + 1) < n ? step * (part + 1) : n;
}

enum rt_status rt_index_verify_lists(const struct rt_index_view *view, uint32_t part,
                                     uint32_t n_parts, rt_index_report say, void *context,
                                     struct rt_index_verified *out, uint64_t *n_rows,
                                     struct rt_hash128 *rows_hash, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct verifying run = {.view = view, .report = say, .context = context};
    struct tally live = {0};
    uint64_t begin = 0;
    uint64_t end = 0;
    uint8_t *code = NULL;
    RT_TRY(rt_array_new(view->code_bytes, 1, &code, err));
    for (uint32_t list = part; list < view->n_lists; list += n_parts) {
        verify_list(&run, list, code, &live);
        if (UINT32_MAX - list < n_parts)
            break;
    }
    for (size_t i = 0; i < view->n_appendable; i++)
        for (uint64_t c = part; c < view->appendable[i].shape.n_chunks; c += n_parts)
            verify_chunk(&run, &view->appendable[i], c, &live);
    for (size_t i = 0; i < view->n_vectors; i++) {
        share_of(view->vectors[i].shape.n_slots, part, n_parts, &begin, &end);
        verify_slots(&run, &view->vectors[i], begin, end);
        if (view->vectors[i].shape.ids_ascend)
            verify_ascending(&run, &view->vectors[i], begin, end);
        share_of(view->vectors[i].shape.n_sorted, part, n_parts, &begin, &end);
        verify_sorted(&run, &view->vectors[i], begin, end);
    }
    for (size_t i = 0; i < view->n_tombstones; i++) {
        share_of(view->tombstones[i].shape.n, part, n_parts, &begin, &end);
        verify_tombstones(&run, &view->tombstones[i], begin, end);
    }
    *out = run.counts;
    *n_rows = live.n_rows;
    *rows_hash = live.hash;
done:
    rt_array_free(code);
    return st;
}
