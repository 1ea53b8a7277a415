#include "io/index_rows.h"

#include "core/code.h"
#include "core/memory.h"
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
        opened->shape.has_vectors == m->rerank_in_heap)
        RT_TRY(mismatch(path, err));
done:
    return st;
}

static enum rt_status open_tombstones(struct rt_index_view *view,
                                      const struct rt_manifest_file *file, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct rt_tombstones_view *opened = &view->tombstones[view->n_tombstones];
    RT_TRY(check_file(view, file, path, err));
    RT_TRY(rt_tombstones_open(path, opened, err));
    view->n_tombstones++;
    RT_TRY(check_origin(view, file, opened->map, opened->shape.generation,
                        opened->shape.fingerprint, err));
done:
    return st;
}

/* ---- the whole ---- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct rt_segment_ref *)a)->entry->number;
    uint64_t y = ((const struct rt_segment_ref *)b)->entry->number;
    return (x > y) - (x < y);
}

/* Segments of all vectors files, by number; one for each 2^20 rows or each part of an insert. */
static enum rt_status sort_segments(struct rt_index_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t f = 0; f < view->n_vectors; f++)
        view->n_segments += view->vectors[f].shape.n_segments;
    RT_TRY(rt_array_new(view->n_segments, sizeof *view->segments, &view->segments, err));
    size_t n = 0;
    for (size_t f = 0; f < view->n_vectors; f++)
        for (uint32_t i = 0; i < view->vectors[f].shape.n_segments; i++)
            view->segments[n++] =
                (struct rt_segment_ref){&view->vectors[f], &view->vectors[f].segments[i]};
    if (n)
        qsort(view->segments, n, sizeof *view->segments, by_number);
    for (size_t i = 1; i < n; i++)
        if (view->segments[i].entry->number == view->segments[i - 1].entry->number)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: segment %" PRIu64 " is in two files", view->dir,
                    view->segments[i].entry->number);
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
    RT_TRY(rt_array_zero(n, sizeof *view->tombstones, &view->tombstones, err));
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
            RT_TRY(open_tombstones(view, file, err));
            break;
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

enum rt_status rt_index_check_tree(const struct rt_index_view *view, struct rt_error *err)
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
        RT_TRY(rt_index_check_tree(view, err));
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

void rt_index_current(const char *dir, char line[RT_CURRENT_BYTES])
{
    struct rt_error ignored;
    char path[RT_PATH_MAX];
    char *text = NULL;
    size_t n = 0;
    line[0] = '\0';
    if (rt_fs_join(dir, "CURRENT", path, &ignored) == RT_OK &&
        rt_fs_read_small(path, 4096, &text, &n, &ignored) == RT_OK)
        (void)snprintf(line, RT_CURRENT_BYTES, "%s", text);
    rt_array_free(text);
}

#define TRIES 5

enum rt_status rt_index_open(const char *dir, enum rt_index_check check, struct rt_index_view **out,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char before[RT_CURRENT_BYTES];
    char after[RT_CURRENT_BYTES];
    RT_TRY(rt_index_dir_require(dir, err));
    for (int i = 0; i < TRIES; i++) {
        rt_index_current(dir, before);
        st = open_once(dir, check, out, err);
        rt_index_current(dir, after);
        if (st == RT_OK || strcmp(before, after) == 0)
            break; /* else another generation was published meanwhile, and its files may be gone */
    }
done:
    return st;
}

enum rt_status rt_index_bury(struct rt_index_view *view, const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(
        rt_array_resize(view->n_tombstones + 1, sizeof *view->tombstones, &view->tombstones, err));
    RT_TRY(rt_tombstones_open(path, &view->tombstones[view->n_tombstones], err));
    view->n_tombstones++;
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
    for (size_t i = 0; i < view->n_tombstones; i++)
        rt_tombstones_close(&view->tombstones[i]);
    rt_tree_file_close(&view->tree);
    rt_array_free(view->frozen);
    rt_array_free(view->appendable);
    rt_array_free(view->vectors);
    rt_array_free(view->tombstones);
    rt_array_free(view->segments);
    rt_manifest_free(view->manifest);
    free(view->dir);
    rt_array_free(view);
}
