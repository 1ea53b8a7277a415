#include "io/index_reader.h"

#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/index_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- one file against what the manifest says of it ---- */

static enum rt_status check_file(const struct rt_index_view *view,
                                 const struct rt_manifest_file *file, char path[RT_PATH_MAX],
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat info;
    struct rt_hash128 hash;
    RT_TRY(rt_index_path(view->dir, file->kind, file->number, false, path, err));
    if (stat(path, &info) != 0 && errno == ENOENT)
        RT_FAIL(RT_DAMAGED, "'%s' is missing", path);
    uint64_t size = 0;
    RT_TRY(rt_fs_size(path, &size, err));
    if (size != file->size)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: %" PRIu64 " bytes, expected %" PRIu64, path, size,
                file->size);
    /* before HDF5 sees a byte of it */
    RT_TRY(rt_h5_hash_structure(path, size, file->ranges, file->n_ranges, &hash, err));
    if (hash.low != file->hashes.structure.low || hash.high != file->hashes.structure.high)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its structure does not match the manifest", path);
done:
    return st;
}

/* What is in the file belongs to this index, and its bulk lies where the manifest leaves bytes out.
 */
static enum rt_status check_origin(const struct rt_index_view *view,
                                   const struct rt_manifest_file *file, const struct rt_h5_map *map,
                                   uint64_t generation, struct rt_hash128 fingerprint,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_range ranges[2 * RT_H5_MAX_DATASETS];
    const struct rt_manifest *manifest = view->manifest;
    const char *path = rt_h5_map_path(map);
    uint32_t n = rt_h5_ranges(rt_h5_map_layout(map), false, ranges);
    if (generation != file->number)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it is of generation %" PRIu64, path,
                generation);
    if (fingerprint.low != manifest->fingerprint.low ||
        fingerprint.high != manifest->fingerprint.high)
        RT_FAIL(RT_DAMAGED, "'%s' belongs to another index (its fingerprint differs)", path);
    if (n != file->n_ranges || memcmp(ranges, file->ranges, n * sizeof *ranges) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its datasets do not lie where the manifest says",
                path);
done:
    return st;
}

static enum rt_status mismatch(const char *path, struct rt_error *err)
{
    return rt_error_set(err, RT_DAMAGED, __FILE__, __LINE__,
                        "'%s' is damaged: it does not fit the manifest", path);
}

static enum rt_status open_tree(struct rt_index_view *view, const struct rt_manifest_file *file,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    const struct rt_manifest *m = view->manifest;
    const struct rt_tree *tree = &view->tree.tree;
    if (view->tree.map)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its manifest names two trees", view->dir);
    RT_TRY(check_file(view, file, path, err));
    RT_TRY(rt_tree_file_open(path, &view->tree, err));
    RT_TRY(check_origin(view, file, view->tree.map, view->tree.generation, view->tree.fingerprint,
                        err));
    bool same = tree->dim == m->dim && tree->metric == m->metric &&
                view->tree.element == m->element && tree->residual == m->residual &&
                tree->spherical == m->spherical && tree->rotation_seed == m->rotation_seed &&
                tree->n_levels == m->n_levels && view->tree.tree_hash.low == m->tree_hash.low &&
                view->tree.tree_hash.high == m->tree_hash.high;
    for (uint32_t l = 0; l < m->n_levels && same; l++)
        same = tree->levels[l].n == m->levels[l];
    if (!same)
        RT_TRY(mismatch(path, err));
    view->n_lists = rt_tree_leaves(tree)->n;
    view->n_factors = rt_code_n_factors(tree->metric);
    view->code_bytes = rt_code_bytes(tree->dim);
done:
    return st;
}

static enum rt_status open_frozen(struct rt_index_view *view, const struct rt_manifest_file *file,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct rt_list_view *opened = &view->frozen[view->n_frozen];
    RT_TRY(check_file(view, file, path, err));
    RT_TRY(rt_list_open(path, opened, err));
    view->n_frozen++;
    RT_TRY(check_origin(view, file, opened->map, opened->shape.generation,
                        opened->shape.fingerprint, err));
    if (opened->shape.n_lists != view->n_lists || opened->shape.dim != view->manifest->dim ||
        opened->shape.n_factors != view->n_factors)
        RT_TRY(mismatch(path, err));
done:
    return st;
}

static enum rt_status open_appendable(struct rt_index_view *view,
                                      const struct rt_manifest_file *file, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct rt_tape_view *opened = &view->appendable[view->n_appendable];
    RT_TRY(check_file(view, file, path, err));
    RT_TRY(rt_tape_open(path, opened, err));
    view->n_appendable++;
    RT_TRY(check_origin(view, file, opened->map, opened->shape.generation,
                        opened->shape.fingerprint, err));
    if (opened->shape.dim != view->manifest->dim || opened->shape.n_factors != view->n_factors)
        RT_TRY(mismatch(path, err));
done:
    return st;
}

static enum rt_status open_vectors(struct rt_index_view *view, const struct rt_manifest_file *file,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    const struct rt_manifest *m = view->manifest;
    struct rt_vectors_view *opened = &view->vectors[view->n_vectors];
    RT_TRY(check_file(view, file, path, err));
    RT_TRY(rt_vectors_open(path, opened, err));
    view->n_vectors++;
    RT_TRY(check_origin(view, file, opened->map, opened->shape.generation,
                        opened->shape.fingerprint, err));
    if (opened->shape.dim != m->dim || opened->shape.element != m->element ||
        opened->shape.has_vectors == m->rerank_in_heap ||
        opened->shape.first_segment != file->first_segment ||
        opened->shape.n_segments != file->n_segments)
        RT_TRY(mismatch(path, err));
done:
    return st;
}

/* ---- the whole ---- */

static int by_first_segment(const void *a, const void *b)
{
    uint32_t x = ((const struct rt_vectors_view *)a)->shape.first_segment;
    uint32_t y = ((const struct rt_vectors_view *)b)->shape.first_segment;
    return (x > y) - (x < y);
}

static enum rt_status sort_segments(struct rt_index_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    qsort(view->vectors, view->n_vectors, sizeof *view->vectors, by_first_segment);
    for (size_t i = 1; i < view->n_vectors; i++) {
        const struct rt_vectors_shape *before = &view->vectors[i - 1].shape;
        if (view->vectors[i].shape.first_segment < before->first_segment + before->n_segments)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: segment %" PRIu32 " is in two files", view->dir,
                    view->vectors[i].shape.first_segment);
    }
done:
    return st;
}

static enum rt_status open_files(struct rt_index_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *manifest = view->manifest;
    size_t n = manifest->n_files;
    RT_TRY(rt_array_zero(n, sizeof *view->frozen, &view->frozen, err));
    RT_TRY(rt_array_zero(n, sizeof *view->appendable, &view->appendable, err));
    RT_TRY(rt_array_zero(n, sizeof *view->vectors, &view->vectors, err));
    for (size_t i = 0; i < n; i++) { /* sorted: the tree comes first */
        const struct rt_manifest_file *file = &manifest->files[i];
        if (file->kind != RT_FILE_TREE && !view->tree.map)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: its manifest names no tree", view->dir);
        switch (file->kind) {
        case RT_FILE_TREE:
            RT_TRY(open_tree(view, file, err));
            break;
        case RT_FILE_FROZEN:
            RT_TRY(open_frozen(view, file, err));
            break;
        case RT_FILE_APPENDABLE:
            RT_TRY(open_appendable(view, file, err));
            break;
        case RT_FILE_VECTORS:
            RT_TRY(open_vectors(view, file, err));
            break;
        case RT_FILE_TOMBSTONES:
            RT_FAIL(RT_USAGE, "'%s' has tombstones, which this ranktape does not read", view->dir);
        }
    }
    if (view->n_frozen == 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its manifest names no frozen lists", view->dir);
    RT_TRY(sort_segments(view, err));
done:
    return st;
}

static enum rt_status check_units(const struct rt_h5_map *map, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_layout *layout = rt_h5_map_layout(map);
    for (uint32_t d = 0; d < layout->n_datasets; d++)
        for (uint64_t unit = 0; unit < rt_h5_n_units(&layout->datasets[d]); unit++)
            RT_TRY(rt_h5_map_check_unit(map, d, unit, err));
done:
    return st;
}

struct extent { /* blocks of a list */
    uint64_t file, first, n;
};

static int by_place(const void *a, const void *b)
{
    const struct extent *x = a;
    const struct extent *y = b;
    if (x->file != y->file)
        return (x->file > y->file) - (x->file < y->file);
    return (x->first > y->first) - (x->first < y->first);
}

/* Every list inside its file, no two sharing a block, rows adding up. */
static enum rt_status check_directory(const struct rt_index_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_list_view *directory = &view->frozen[view->n_frozen - 1];
    struct extent *extents = NULL;
    uint64_t n = 0;
    uint64_t rows_total = 0;
    RT_TRY(rt_array_new(view->n_lists, sizeof *extents, &extents, err));
    for (uint32_t list = 0; list < view->n_lists; list++) {
        struct rt_list_blocks blocks;
        uint64_t n_rows = 0;
        RT_TRY(rt_index_list(view, list, &blocks, &n_rows, err));
        rows_total += n_rows; /* each at most 32 x blocks of a file: cannot wrap */
        if (blocks.n_blocks > 0)
            extents[n++] = (struct extent){directory->files[list], directory->first_blocks[list],
                                           blocks.n_blocks};
    }
    qsort(extents, (size_t)n, sizeof *extents, by_place);
    for (uint64_t i = 1; i < n; i++)
        if (extents[i].file == extents[i - 1].file &&
            extents[i].first < extents[i - 1].first + extents[i - 1].n)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: block %" PRIu64 " belongs to two lists",
                    rt_h5_map_path(directory->map), extents[i].first);
    if (rows_total != view->manifest->n_rows_frozen)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: its lists hold %" PRIu64 " rows, the manifest says %" PRIu64,
                rt_h5_map_path(directory->map), rows_total, view->manifest->n_rows_frozen);
done:
    rt_array_free(extents);
    return st;
}

static enum rt_status check_tree(const struct rt_index_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_error found;
    RT_TRY(check_units(view->tree.map, err));
    if (rt_tree_check(&view->tree.tree, &found) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: %s", rt_h5_map_path(view->tree.map), found.text);
done:
    return st;
}

enum rt_status rt_index_open_manifest(const char *dir, struct rt_manifest *manifest,
                                      enum rt_index_check check, struct rt_index_view **out,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_view *view = NULL;
    RT_TRY(rt_array_zero(1, sizeof *view, &view, err));
    view->manifest = manifest;
    manifest = NULL;
    view->dir = strdup(dir);
    if (!view->dir)
        RT_FAIL(RT_NOMEM, "out of memory: the name of an index");
    RT_TRY(open_files(view, err));
    if (check >= RT_CHECK_TREE)
        RT_TRY(check_tree(view, err));
    if (check >= RT_CHECK_ALL)
        RT_TRY(check_directory(view, err));
    *out = view;
    view = NULL;
done:
    rt_manifest_free(manifest);
    rt_index_close(view);
    return st;
}

static enum rt_status open_once(const char *dir, enum rt_index_check check,
                                struct rt_index_view **out, struct rt_error *err)
{
    struct rt_manifest *manifest = NULL;
    enum rt_status st = rt_manifest_read_current(dir, &manifest, err);
    if (st == RT_OK)
        st = rt_index_open_manifest(dir, manifest, check, out, err);
    return st;
}

/* What CURRENT says, as bytes; "" where it cannot be read. */
static void current_line(const char *dir, char line[128])
{
    struct rt_error ignored;
    char path[RT_PATH_MAX];
    char *text = NULL;
    size_t n = 0;
    line[0] = '\0';
    if (rt_fs_join(dir, "CURRENT", path, &ignored) == RT_OK &&
        rt_fs_read_small(path, 4096, &text, &n, &ignored) == RT_OK)
        (void)snprintf(line, 128, "%s", text);
    rt_array_free(text);
}

#define TRIES 5

enum rt_status rt_index_open(const char *dir, enum rt_index_check check, struct rt_index_view **out,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char before[128];
    char after[128];
    RT_TRY(rt_index_dir_require(dir, err));
    for (int i = 0; i < TRIES; i++) {
        current_line(dir, before);
        st = open_once(dir, check, out, err);
        current_line(dir, after);
        if (st == RT_OK || strcmp(before, after) == 0)
            break; /* else another generation was published meanwhile, and its files may be gone */
    }
done:
    return st;
}

void rt_index_close(struct rt_index_view *view)
{
    if (!view)
        return;
    for (size_t i = 0; i < view->n_frozen; i++)
        rt_list_close(&view->frozen[i]);
    for (size_t i = 0; i < view->n_appendable; i++)
        rt_tape_close(&view->appendable[i]);
    for (size_t i = 0; i < view->n_vectors; i++)
        rt_vectors_close(&view->vectors[i]);
    rt_tree_file_close(&view->tree);
    rt_array_free(view->frozen);
    rt_array_free(view->appendable);
    rt_array_free(view->vectors);
    rt_manifest_free(view->manifest);
    free(view->dir);
    rt_array_free(view);
}

/* ---- lists and places ---- */

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
    uint64_t n = rows / RT_BLOCK_ROWS + (rows % RT_BLOCK_ROWS != 0);
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

static const struct rt_vectors_view *file_of_segment(const struct rt_index_view *view,
                                                     uint32_t segment)
{
    size_t begin = 0;
    size_t end = view->n_vectors;
    while (begin < end) { /* the last file that begins at or before it */
        size_t middle = begin + (end - begin) / 2;
        if (view->vectors[middle].shape.first_segment <= segment)
            begin = middle + 1;
        else
            end = middle;
    }
    const struct rt_vectors_view *file = begin > 0 ? &view->vectors[begin - 1] : NULL;
    return file && segment - file->shape.first_segment < file->shape.n_segments ? file : NULL;
}

enum rt_status rt_index_place(const struct rt_index_view *view, uint32_t segment, uint32_t slot,
                              struct rt_place_view *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_vectors_view *file = file_of_segment(view, segment);
    if (!file)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: there is no segment %" PRIu32, view->dir, segment);
    const struct rt_segment_entry *entry = &file->segments[segment - file->shape.first_segment];
    if (slot >= entry->n_slots)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: segment %" PRIu32 " has no slot %" PRIu32,
                rt_h5_map_path(file->map), segment, slot);
    uint64_t at = entry->first_slot + slot;
    uint64_t vector_bytes = rt_element_size(file->shape.element) * file->shape.dim;
    out->vector = file->vectors ? (const char *)file->vectors + at * vector_bytes : NULL;
    out->heap_row = entry->first_row == RT_NO_ROW ? RT_NO_ROW : entry->first_row + slot;
    out->id = file->ids[at];
    out->list = file->lists[at];
done:
    return st;
}

/* ---- verify ---- */

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
            if (rt_h5_map_check_unit(map, d, unit, &err) != RT_OK)
                report(run, err.text);
            uint64_t rows = dataset->dims[0] - unit * dataset->unit_rows;
            run->counts.n_units++;
            run->counts.n_bytes +=
                (rows < dataset->unit_rows ? rows : dataset->unit_rows) * rt_h5_row_bytes(dataset);
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
    return n < view->n_vectors ? view->vectors[n].map : NULL;
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
    } else if (there.id != id || there.list != list) {
        (void)snprintf(text, sizeof text,
                       "list %" PRIu32 ": row %" PRIu64 " has its vector at segment %" PRIu32
                       " slot %" PRIu32 ", but there lies row %" PRIu64 " of list %" PRIu32,
                       list, id, place.segment, place.slot, there.id, there.list);
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

/* Rows [0, n_rows) of a block, the rest padding. code: rt_code_bytes. */
static void verify_block(struct verifying *run, uint32_t list, const struct rt_list_blocks *block,
                         uint32_t n_rows, uint8_t *code, struct rt_hash128 *sum)
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
        *sum = rt_hash128_add(*sum, rt_record_hash(list, block->ids[row], code, view->code_bytes,
                                                   factors, view->n_factors));
        verify_place(run, list, block->ids[row], block->places[row]);
    }
}

static void verify_list(struct verifying *run, uint32_t list, uint8_t *code, uint64_t *n_rows,
                        struct rt_hash128 *sum)
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
                     sum);
    }
    *n_rows += rows;
}

static void verify_records(struct verifying *run, const struct rt_tape_view *tape, uint64_t begin,
                           uint64_t end, uint64_t *n_rows, struct rt_hash128 *sum)
{
    const struct rt_index_view *view = run->view;
    const struct rt_tape_records *records = &tape->records;
    char text[120];
    for (uint64_t i = begin; i < end; i++) {
        if (records->ids[i] == RT_NO_ID)
            continue;
        if (records->lists[i] >= view->n_lists) {
            (void)snprintf(text, sizeof text,
                           "appendable row %" PRIu64 " belongs to list %" PRIu32
                           ", which is not there",
                           records->ids[i], records->lists[i]);
            report(run, text);
            continue;
        }
        *sum = rt_hash128_add(
            *sum, rt_record_hash(records->lists[i], records->ids[i],
                                 records->codes + i * view->code_bytes, view->code_bytes,
                                 records->factors + i * view->n_factors, view->n_factors));
        verify_place(run, records->lists[i], records->ids[i], records->places[i]);
        ++*n_rows;
    }
}

/* Slots that hold a row: with as many of them as records, and each record's place holding its id,
 * no slot is used twice and none holds a row that is in no list. */
static void verify_slots(struct verifying *run, const struct rt_vectors_view *vectors,
                         uint64_t begin, uint64_t end)
{
    char text[RT_PATH_MAX + 120];
    for (uint64_t slot = begin; slot < end; slot++) {
        bool is_used = vectors->ids[slot] != RT_NO_ID;
        uint32_t list = vectors->lists[slot];
        run->counts.n_slots += is_used;
        if (is_used ? list < run->view->n_lists : list == RT_NO_LIST)
            continue;
        (void)snprintf(text, sizeof text,
                       "'%s' is damaged: slot %" PRIu64 " is %s, its list says %" PRIu32,
                       rt_h5_map_path(vectors->map), slot, is_used ? "used" : "unused", list);
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
    struct rt_hash128 sum = {0, 0};
    uint64_t rows = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    uint8_t *code = NULL;
    RT_TRY(rt_array_new(view->code_bytes, 1, &code, err));
    for (uint32_t list = part; list < view->n_lists; list += n_parts) {
        verify_list(&run, list, code, &rows, &sum);
        if (UINT32_MAX - list < n_parts)
            break;
    }
    for (size_t i = 0; i < view->n_appendable; i++) {
        share_of(view->appendable[i].records.n_records, part, n_parts, &begin, &end);
        verify_records(&run, &view->appendable[i], begin, end, &rows, &sum);
    }
    for (size_t i = 0; i < view->n_vectors; i++) {
        share_of(view->vectors[i].shape.n_slots, part, n_parts, &begin, &end);
        verify_slots(&run, &view->vectors[i], begin, end);
    }
    *out = run.counts;
    *n_rows = rows;
    *rows_hash = sum;
done:
    rt_array_free(code);
    return st;
}
