#include "io/export_hdf5.h"

#include "core/code.h"
#include "core/find.h"
#include "core/fingerprint.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/record.h"
#include "io/input_file.h"
#include "io/tree_head.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const column_names[RT_EXPORT_N_COLUMNS] = {"ids", "lists", "codes", "factors",
                                                              "vectors"};

/* ---- layout ---- */

static void column_bytes(const struct rt_export_hdf5_shape *shape,
                         uint64_t bytes[RT_EXPORT_N_COLUMNS])
{
    bytes[RT_EXPORT_IDS] = 8;
    bytes[RT_EXPORT_LISTS] = 4;
    bytes[RT_EXPORT_CODES] = rt_code_bytes(shape->tree.dim);
    bytes[RT_EXPORT_FACTORS] = UINT64_C(4) * rt_code_n_factors(shape->tree.metric);
    bytes[RT_EXPORT_VECTORS] = rt_element_size(shape->element) * shape->tree.dim;
}

/* As chunks of rows are (E1): a small file has shares for many ranks, a large one few checksums. */
static uint64_t cap_rows(uint64_t n_rows)
{
    uint64_t cap = 256;
    while (cap < 65536 && cap * 2 <= n_rows / 4096)
        cap *= 2;
    return cap;
}

uint64_t rt_export_hdf5_share_rows(const struct rt_export_hdf5_shape *shape)
{
    uint64_t bytes[RT_EXPORT_N_COLUMNS];
    column_bytes(shape, bytes);
    return rt_share_rows(bytes, RT_EXPORT_N_COLUMNS, cap_rows(shape->n_rows));
}

static void set_hash(struct rt_h5_layout *layout, const char *name, struct rt_hash128 hash)
{
    char hex[33];
    rt_hash128_hex(hash, hex);
    rt_h5_layout_text(layout, name, hex);
}

static void set_attributes(const struct rt_export_hdf5_shape *shape, struct rt_h5_layout *layout)
{
    const struct rt_tree *tree = &shape->tree;
    rt_h5_layout_text(layout, "format", RT_EXPORT_NAME);
    rt_h5_layout_number(layout, "format_version", RT_EXPORT_VERSION);
    set_hash(layout, "fingerprint", shape->fingerprint);
    set_hash(layout, "tree_hash", shape->tree_hash);
    set_hash(layout, "rows_hash", shape->rows_hash);
    set_hash(layout, "digest", rt_digest(shape->tree_hash, shape->rows_hash));
    rt_tree_head_put(layout, tree, shape->element);
    rt_h5_layout_number(layout, "beam", shape->beam);
    rt_tree_head_put_levels(layout, tree);
    rt_h5_layout_number(layout, "rows", shape->n_rows);
    rt_h5_layout_number(layout, "rows_skipped", shape->n_skipped);
    rt_h5_layout_number(layout, "largest_id", shape->largest_id);
    rt_h5_layout_number(layout, "next_row", shape->next_row);
    rt_h5_layout_number(layout, "record_bytes", shape->record_bytes);
}

/* A dataset that one rank writes. */
static enum rt_status add_small(struct rt_h5_layout *layout, const char *name, enum rt_h5_type type,
                                uint64_t n, uint64_t columns, struct rt_error *err)
{
    uint64_t row_bytes = rt_h5_type_size(type) * (columns ? columns : 1);
    return rt_h5_layout_add(layout, name, type, n, 0, columns, rt_unit_rows(row_bytes, 0), err);
}

static enum rt_status add_columns(const struct rt_export_hdf5_shape *shape,
                                  struct rt_h5_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const enum rt_h5_type types[] = {RT_H5_U64, RT_H5_U32, RT_H5_U8, RT_H5_F32,
                                     rt_h5_type_of(shape->element)};
    uint64_t bytes[RT_EXPORT_N_COLUMNS];
    column_bytes(shape, bytes);
    for (uint32_t i = 0; i < RT_EXPORT_N_COLUMNS; i++) {
        uint64_t columns = i < RT_EXPORT_CODES ? 0 : bytes[i] / rt_h5_type_size(types[i]);
        RT_TRY(rt_h5_layout_add(layout, column_names[i], types[i], shape->n_rows, 0, columns,
                                rt_unit_rows(bytes[i], cap_rows(shape->n_rows)), err));
    }
done:
    return st;
}

enum rt_status rt_export_hdf5_layout(const struct rt_export_hdf5_shape *shape,
                                     struct rt_h5_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = &shape->tree;
    char name[RT_LEVEL_NAME];
    uint64_t n_lists = rt_tree_leaves(tree)->n;
    memset(layout, 0, sizeof *layout); /* padding too: it is broadcast as bytes */
    set_attributes(shape, layout);
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        uint64_t n = tree->levels[l].n;
        RT_TRY(
            add_small(layout, rt_level_name("centroids", l, name), RT_H5_F32, n, tree->dim, err));
        if (l > 0)
            RT_TRY(add_small(layout, rt_level_name("parents", l, name), RT_H5_U32, n, 0, err));
    }
    RT_TRY(add_small(layout, "leaf_rows", RT_H5_U64, n_lists, 0, err));
    RT_TRY(add_small(layout, "leaf_radius", RT_H5_F32, n_lists, 0, err));
    RT_TRY(add_small(layout, "leaf_spread", RT_H5_F64, n_lists, 0, err));
    RT_TRY(add_small(layout, "list_offsets", RT_H5_U64, n_lists + 1, 0, err));
    RT_TRY(add_columns(shape, layout, err));
    RT_TRY(add_small(layout, "record", RT_H5_U8, shape->record_bytes, 0, err));
done:
    return st;
}

/* ---- writing ---- */

enum rt_status rt_export_hdf5_write_head(struct rt_h5_file *file,
                                         const struct rt_export_hdf5_shape *shape,
                                         const struct rt_export_hdf5_leaves *leaves,
                                         const char *record, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_layout *layout = rt_h5_file_layout(file);
    for (uint32_t l = 0; l < shape->tree.n_levels; l++) {
        const struct rt_level *level = &shape->tree.levels[l];
        RT_TRY(rt_unit_write_all(file, rt_level_dataset(layout, "centroids", l), level->centroids,
                                 err));
        if (l > 0)
            RT_TRY(rt_unit_write_all(file, rt_level_dataset(layout, "parents", l), level->parent,
                                     err));
    }
    RT_TRY(rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "leaf_rows"), leaves->rows, err));
    RT_TRY(
        rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "leaf_radius"), leaves->radius, err));
    RT_TRY(
        rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "leaf_spread"), leaves->spread, err));
    RT_TRY(rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "list_offsets"), leaves->offsets,
                             err));
    RT_TRY(rt_unit_write_all(file, (uint32_t)rt_h5_find(layout, "record"), record, err));
done:
    return st;
}

enum rt_status rt_export_hdf5_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                         size_t buffer_bytes, struct rt_unit_writer **out,
                                         struct rt_error *err)
{
    uint32_t columns[RT_EXPORT_N_COLUMNS];
    for (uint32_t i = 0; i < RT_EXPORT_N_COLUMNS; i++)
        columns[i] = (uint32_t)rt_h5_find(rt_h5_file_layout(file), column_names[i]);
    return rt_unit_writer_new(file, columns, RT_EXPORT_N_COLUMNS, begin, end, buffer_bytes, out,
                              err);
}

/* ---- opening ---- */

static enum rt_status get_count(const struct rt_h5_layout *found, const char *path,
                                const char *name, uint64_t most, uint64_t *value,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_h5_get_number(found, path, name, value, err));
    if (*value > most)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: '%s' is %" PRIu64 ", at most %" PRIu64 " can be",
                path, name, *value, most);
done:
    return st;
}

/* A file that somebody names is a wrong argument where it is missing or of another kind, as rows
 * are; damaged is only what begins as it should. */
static enum rt_status check_begin(const char *path, struct rt_error *err)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    enum rt_status st = RT_OK;
    struct rt_input_file file = RT_INPUT_CLOSED;
    unsigned char found[sizeof signature] = {0};
    RT_TRY(rt_input_open(path, &file, err));
    if (file.size >= sizeof found)
        RT_TRY(rt_input_read(&file, found, sizeof found, 0, err));
    if (memcmp(found, signature, sizeof found) != 0)
        RT_FAIL(RT_INPUT, "'%s' is no HDF5 file", path);
done:
    rt_input_close(&file);
    return st;
}

static enum rt_status check_format(const char *path, const struct rt_h5_layout *found,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_error ignored;
    char text[40];
    uint64_t version = 0;
    if (rt_h5_get_text(found, path, "format", text, &ignored) != RT_OK ||
        strcmp(text, RT_EXPORT_NAME) != 0)
        RT_FAIL(RT_INPUT, "'%s' is not what ranktape export --format hdf5 writes", path);
    RT_TRY(rt_h5_get_number(found, path, "format_version", &version, err));
    if (version > RT_EXPORT_VERSION)
        RT_FAIL(RT_USAGE, "'%s' has format version %" PRIu64 ", this ranktape reads up to %u", path,
                version, RT_EXPORT_VERSION);
done:
    return st;
}

static enum rt_status read_shape(const char *path, const struct rt_h5_layout *found,
                                 struct rt_export_hdf5_shape *shape, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(check_format(path, found, err));
    RT_TRY(rt_tree_head_get(found, path, &shape->tree, &shape->element, err));
    RT_TRY(rt_h5_get_hash(found, path, "fingerprint", &shape->fingerprint, err));
    RT_TRY(rt_h5_get_hash(found, path, "tree_hash", &shape->tree_hash, err));
    RT_TRY(rt_h5_get_hash(found, path, "rows_hash", &shape->rows_hash, err));
    RT_TRY(rt_h5_get_u32(found, path, "beam", 1, UINT32_MAX - 1, &shape->beam, err));
    RT_TRY(get_count(found, path, "rows", RT_MOST_ROWS, &shape->n_rows, err));
    RT_TRY(get_count(found, path, "rows_skipped", RT_MOST_ROWS, &shape->n_skipped, err));
    RT_TRY(get_count(found, path, "largest_id", UINT64_MAX - 1, &shape->largest_id, err));
    RT_TRY(get_count(found, path, "next_row", INT64_MAX, &shape->next_row, err));
    RT_TRY(
        get_count(found, path, "record_bytes", RT_EXPORT_MOST_RECORD, &shape->record_bytes, err));
done:
    return st;
}

static const void *rows_of(const struct rt_export_hdf5_view *view, const char *name)
{
    return rt_h5_map_rows(view->map, (uint32_t)rt_h5_find(rt_h5_map_layout(view->map), name));
}

static void lend_rows(struct rt_export_hdf5_view *view)
{
    struct rt_tree *tree = &view->shape.tree;
    char name[RT_LEVEL_NAME];
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        tree->levels[l].centroids = rows_of(view, rt_level_name("centroids", l, name));
        tree->levels[l].parent = l > 0 ? rows_of(view, rt_level_name("parents", l, name)) : NULL;
    }
    view->leaves.rows = rows_of(view, "leaf_rows");
    view->leaves.radius = rows_of(view, "leaf_radius");
    view->leaves.spread = rows_of(view, "leaf_spread");
    view->leaves.offsets = rows_of(view, "list_offsets");
    view->ids = rows_of(view, "ids");
    view->lists = rows_of(view, "lists");
    view->codes = rows_of(view, "codes");
    view->factors = rows_of(view, "factors");
    view->vectors = rows_of(view, "vectors");
    view->record = rows_of(view, "record");
    view->n_lists = rt_tree_leaves(tree)->n;
    view->code_bytes = rt_code_bytes(tree->dim);
    view->n_factors = rt_code_n_factors(tree->metric);
}

enum rt_status rt_export_hdf5_open(const char *path, struct rt_export_hdf5_view *view,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found, layout;
    struct rt_export_hdf5_view opened;
    memset(&opened, 0, sizeof opened);
    RT_TRY(check_begin(path, err));
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(read_shape(path, &found, &opened.shape, err));
    if (rt_export_hdf5_layout(&opened.shape, &layout, err) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it holds %" PRIu64 " rows", path,
                opened.shape.n_rows);
    RT_TRY(rt_h5_adopt(path, &found, &layout, err));
    RT_TRY(rt_h5_map_open(path, &layout, &opened.map, err));
    lend_rows(&opened);
    *view = opened;
done:
    return st;
}

void rt_export_hdf5_close(struct rt_export_hdf5_view *view)
{
    for (uint32_t l = 0; l < RT_MAX_LEVELS; l++)
        rt_array_free(view->first_child[l]);
    rt_h5_map_close(view->map);
    memset(view, 0, sizeof *view);
}

/* ---- checking ---- */

static enum rt_status check_all_rows(const struct rt_export_hdf5_view *view, const char *name,
                                     struct rt_error *err)
{
    const struct rt_h5_layout *layout = rt_h5_map_layout(view->map);
    uint32_t dataset = (uint32_t)rt_h5_find(layout, name);
    return rt_h5_map_check_rows(view->map, dataset, 0, layout->datasets[dataset].dims[0], err);
}

enum rt_status rt_export_hdf5_check_offsets(const struct rt_export_hdf5_view *view,
                                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t *offsets = view->leaves.offsets;
    RT_TRY(check_all_rows(view, "list_offsets", err));
    bool good = offsets[0] == 0 && offsets[view->n_lists] == view->shape.n_rows;
    for (uint32_t list = 0; list < view->n_lists && good; list++)
        good = offsets[list] <= offsets[list + 1];
    if (!good)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its lists do not add up to %" PRIu64 " rows",
                rt_h5_map_path(view->map), view->shape.n_rows);
done:
    return st;
}

uint32_t rt_export_hdf5_list_of(const struct rt_export_hdf5_view *view, uint64_t row)
{
    const uint64_t *offsets = view->leaves.offsets; /* the last that begins there is not empty */
    return (uint32_t)rt_find_last(offsets, sizeof *offsets, view->n_lists, row);
}

/* Where the children of a level's cells begin, from their parents, which ascend. */
static enum rt_status find_children(struct rt_export_hdf5_view *view, uint32_t l,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_level *level = &view->shape.tree.levels[l];
    const struct rt_level *below = level + 1;
    uint32_t child = 0;
    rt_array_free(view->first_child[l]);
    view->first_child[l] = NULL;
    RT_TRY(rt_array_new((size_t)level->n + 1, sizeof *view->first_child[l], &view->first_child[l],
                        err));
    for (uint32_t cell = 0; cell <= level->n; cell++) {
        view->first_child[l][cell] = child;
        while (child < below->n && below->parent[child] == cell)
            child++;
    }
    if (child < below->n)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: the parents of level %" PRIu32 " do not ascend",
                rt_h5_map_path(view->map), l + 1);
    view->first_child[l][level->n] = child;
    level->first_child = view->first_child[l];
done:
    return st;
}

static enum rt_status check_leaves(const struct rt_export_hdf5_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t list = 0; list < view->n_lists; list++)
        if (!isfinite(view->leaves.radius[list]) || !isfinite(view->leaves.spread[list]))
            RT_FAIL(RT_DAMAGED,
                    "'%s' is damaged: the statistics of leaf %" PRIu32 " are no numbers",
                    rt_h5_map_path(view->map), list);
done:
    return st;
}

static enum rt_status check_hashes(const struct rt_export_hdf5_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hash128 fingerprint;
    struct rt_hash128 tree_hash;
    RT_TRY(rt_fingerprint(&view->shape.tree, view->shape.element, &fingerprint, err));
    RT_TRY(rt_tree_hash(&view->shape.tree, &tree_hash, err));
    if (memcmp(&fingerprint, &view->shape.fingerprint, sizeof fingerprint) != 0 ||
        memcmp(&tree_hash, &view->shape.tree_hash, sizeof tree_hash) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its fingerprint and tree_hash are not its tree's",
                rt_h5_map_path(view->map));
done:
    return st;
}

enum rt_status rt_export_hdf5_check_head(struct rt_export_hdf5_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tree *tree = &view->shape.tree;
    char name[RT_LEVEL_NAME];
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        RT_TRY(check_all_rows(view, rt_level_name("centroids", l, name), err));
        if (l > 0)
            RT_TRY(check_all_rows(view, rt_level_name("parents", l, name), err));
    }
    for (uint32_t l = 0; l + 1 < tree->n_levels; l++)
        RT_TRY(find_children(view, l, err));
    if (rt_tree_check(tree, err) != RT_OK) {
        char what[sizeof err->text];
        memcpy(what, err->text, sizeof what);
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: %.300s", rt_h5_map_path(view->map), what);
    }
    RT_TRY(check_hashes(view, err));
    RT_TRY(check_all_rows(view, "leaf_rows", err));
    RT_TRY(check_all_rows(view, "leaf_radius", err));
    RT_TRY(check_all_rows(view, "leaf_spread", err));
    RT_TRY(check_leaves(view, err));
    RT_TRY(rt_export_hdf5_check_offsets(view, err));
    RT_TRY(check_all_rows(view, "record", err));
done:
    return st;
}

/* What is wrong with a row, or NULL. */
static const char *fault_of(const struct rt_export_hdf5_view *view, uint64_t row, uint32_t list,
                            float *vector)
{
    const struct rt_tree *tree = &view->shape.tree;
    size_t vector_bytes = rt_element_size(view->shape.element) * tree->dim;
    const uint8_t *code = view->codes + row * view->code_bytes;
    if (view->lists[row] != list)
        return "its list is not the one it lies in";
    if (view->ids[row] > view->shape.largest_id)
        return "its id is above largest_id";
    if (row > view->leaves.offsets[list] && view->ids[row] <= view->ids[row - 1])
        return "ids of a list do not ascend";
    if (tree->dim % 8 && code[view->code_bytes - 1] >> tree->dim % 8)
        return "its code has bits beyond its dimensions";
    for (uint32_t f = 0; f < view->n_factors; f++)
        if (!isfinite(view->factors[row * view->n_factors + f]))
            return "a factor is no number";
    rt_element_to_f32(view->shape.element, (const char *)view->vectors + row * vector_bytes, vector,
                      tree->dim);
    if (rt_metric_prepare_row(tree->metric, vector, tree->dim) != RT_ROW_GOOD)
        return "its vector is none that can be indexed";
    return NULL;
}

enum rt_status rt_export_hdf5_check_sums(const struct rt_export_hdf5_view *view, uint64_t begin,
                                         uint64_t end, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_layout *layout = rt_h5_map_layout(view->map);
    for (uint32_t i = 0; i < RT_EXPORT_N_COLUMNS && begin < end; i++)
        RT_TRY(rt_h5_map_check_rows(view->map, (uint32_t)rt_h5_find(layout, column_names[i]), begin,
                                    end - begin, err));
done:
    return st;
}

enum rt_status rt_export_hdf5_check_rows(const struct rt_export_hdf5_view *view, uint64_t begin,
                                         uint64_t end, struct rt_hash128 *rows_hash,
                                         struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t *offsets = view->leaves.offsets;
    float *vector = NULL;
    uint32_t list = 0;
    RT_TRY(rt_array_new(view->shape.tree.dim, sizeof *vector, &vector, err));
    RT_TRY(rt_export_hdf5_check_sums(view, begin ? begin - 1 : 0, end, err)); /* its id: order */
    list = begin < end ? rt_export_hdf5_list_of(view, begin) : 0;
    for (uint64_t row = begin; row < end; row++) {
        while (row >= offsets[list + 1])
            list++;
        const char *fault = fault_of(view, row, list, vector);
        if (fault)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: row %" PRIu64 " (id %" PRIu64 "): %s",
                    rt_h5_map_path(view->map), row, view->ids[row], fault);
        *rows_hash = rt_hash128_add(
            *rows_hash, rt_record_hash(list, view->ids[row], view->codes + row * view->code_bytes,
                                       view->code_bytes, view->factors + row * view->n_factors,
                                       view->n_factors));
    }
done:
    rt_array_free(vector);
    return st;
}
