#include "io/list_file.h"

#include "core/code.h"
#include "core/element.h"
#include "core/memory.h"

#include <string.h>

const uint8_t rt_list_fill[RT_LIST_COLUMNS] = {0, 0, 0xff, 0};

static const uint32_t columns[RT_LIST_COLUMNS] = {RT_LIST_CODES, RT_LIST_FACTORS, RT_LIST_IDS,
                                                  RT_LIST_PLACES};

static void column_bytes(const struct rt_list_shape *shape, uint64_t bytes[RT_LIST_COLUMNS])
{
    bytes[RT_LIST_CODES] = rt_block_code_bytes(shape->dim);
    bytes[RT_LIST_FACTORS] = UINT64_C(4) * shape->n_factors * RT_BLOCK_ROWS;
    bytes[RT_LIST_IDS] = UINT64_C(8) * RT_BLOCK_ROWS;
    bytes[RT_LIST_PLACES] = UINT64_C(8) * RT_BLOCK_ROWS;
}

/* As chunks are for rows (E1), so that a small file has shares for many ranks and a large one few
 * checksums: about n/4096 blocks, at least the 16 that fill pages. Of n_blocks alone: frozen files
 * are the same on any number of ranks. */
static uint64_t cap_blocks(uint64_t n_blocks)
{
    uint64_t cap = 16;
    while (cap < 4096 && cap * 2 <= n_blocks / 4096)
        cap *= 2;
    return cap;
}

enum rt_status rt_list_layout(const struct rt_list_shape *shape, struct rt_h5_layout *layout,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = shape->n_blocks;
    uint64_t bytes[RT_LIST_COLUMNS];
    uint64_t unit[RT_LIST_COLUMNS];
    column_bytes(shape, bytes);
    for (uint32_t i = 0; i < RT_LIST_COLUMNS; i++)
        unit[i] = rt_unit_rows(bytes[i], cap_blocks(n));
    rt_h5_layout_begin(layout, RT_FILE_FROZEN, shape->generation, shape->fingerprint);
    rt_h5_layout_number(layout, "dimension", shape->dim);
    rt_h5_layout_number(layout, "factors", shape->n_factors);
    rt_h5_layout_number(layout, "lists", shape->n_lists);
    rt_h5_layout_number(layout, "blocks", shape->n_blocks);
    RT_TRY(rt_h5_layout_add(layout, "codes", RT_H5_U8, n, rt_block_groups(shape->dim), 16,
                            unit[RT_LIST_CODES], err));
    RT_TRY(rt_h5_layout_add(layout, "factors", RT_H5_F32, n, shape->n_factors, RT_BLOCK_ROWS,
                            unit[RT_LIST_FACTORS], err));
    RT_TRY(rt_h5_layout_add(layout, "ids", RT_H5_U64, n, 0, RT_BLOCK_ROWS, unit[RT_LIST_IDS], err));
    RT_TRY(rt_h5_layout_add(layout, "places", RT_H5_U32, n, RT_BLOCK_ROWS, 2, unit[RT_LIST_PLACES],
                            err));
    RT_TRY(rt_h5_layout_add(layout, "list_file", RT_H5_U64, shape->n_lists, 0, 0,
                            rt_unit_rows(8, 0), err));
    RT_TRY(rt_h5_layout_add(layout, "list_first_block", RT_H5_U64, shape->n_lists, 0, 0,
                            rt_unit_rows(8, 0), err));
    RT_TRY(rt_h5_layout_add(layout, "list_rows", RT_H5_U64, shape->n_lists, 0, 0,
                            rt_unit_rows(8, 0), err));
done:
    return st;
}

enum rt_status rt_list_check(const char *path, const struct rt_h5_layout *found,
                             struct rt_list_shape *shape, struct rt_h5_layout *layout,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_shape read;
    memset(&read, 0, sizeof read);
    RT_TRY(rt_h5_get_head(found, path, RT_FILE_FROZEN, &read.generation, &read.fingerprint, err));
    RT_TRY(rt_h5_get_u32(found, path, "dimension", 1, RT_MAX_DIM, &read.dim, err));
    RT_TRY(rt_h5_get_u32(found, path, "factors", 3, RT_MAX_FACTORS, &read.n_factors, err));
    RT_TRY(rt_h5_get_u32(found, path, "lists", 1, RT_NO_LIST - 1, &read.n_lists, err));
    RT_TRY(rt_h5_get_number(found, path, "blocks", &read.n_blocks, err));
    if (rt_list_layout(&read, layout, err) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it holds %llu blocks", path,
                (unsigned long long)read.n_blocks);
    RT_TRY(rt_h5_adopt(path, found, layout, err));
    *shape = read;
done:
    return st;
}

uint64_t rt_list_share_blocks(const struct rt_list_shape *shape)
{
    uint64_t bytes[RT_LIST_COLUMNS];
    column_bytes(shape, bytes);
    return rt_share_rows(bytes, RT_LIST_COLUMNS, cap_blocks(shape->n_blocks));
}

uint64_t rt_list_writer_bytes(const struct rt_list_shape *shape, uint64_t n_blocks,
                              size_t buffer_bytes)
{
    uint64_t bytes[RT_LIST_COLUMNS];
    column_bytes(shape, bytes);
    return rt_unit_writer_bytes(bytes, RT_LIST_COLUMNS, cap_blocks(shape->n_blocks), n_blocks,
                                buffer_bytes);
}

enum rt_status rt_list_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                  size_t buffer_bytes, struct rt_unit_writer **out,
                                  struct rt_error *err)
{
    return rt_unit_writer_new(file, columns, RT_LIST_COLUMNS, begin, end, buffer_bytes, out, err);
}

enum rt_status rt_list_append(struct rt_unit_writer *writer, const struct rt_list_blocks *blocks,
                              struct rt_error *err)
{
    const void *const parts[RT_LIST_COLUMNS] = {blocks->codes, blocks->factors, blocks->ids,
                                                blocks->places};
    return rt_unit_writer_append(writer, parts, blocks->n_blocks, err);
}

enum rt_status rt_list_write_directory(struct rt_h5_file *file, const uint64_t *files,
                                       const uint64_t *first_blocks, const uint64_t *rows,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *same = NULL;
    const struct rt_h5_layout *layout = rt_h5_file_layout(file);
    uint64_t n_lists = layout->datasets[RT_LIST_FILES].dims[0];
    if (!files) {
        uint64_t generation = 0;
        RT_TRY(rt_h5_get_number(layout, rt_h5_file_path(file), "generation", &generation, err));
        RT_TRY(rt_array_new((size_t)n_lists, sizeof *same, &same, err));
        for (uint64_t list = 0; list < n_lists; list++)
            same[list] = generation;
    }
    RT_TRY(rt_unit_write_all(file, RT_LIST_FILES, files ? files : same, err));
    RT_TRY(rt_unit_write_all(file, RT_LIST_FIRST_BLOCKS, first_blocks, err));
    RT_TRY(rt_unit_write_all(file, RT_LIST_ROWS, rows, err));
done:
    rt_array_free(same);
    return st;
}

enum rt_status rt_list_open(const char *path, struct rt_list_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found, layout;
    struct rt_list_view opened;
    memset(&opened, 0, sizeof opened);
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(rt_list_check(path, &found, &opened.shape, &layout, err));
    RT_TRY(rt_h5_map_open(path, &layout, &opened.map, err));
    opened.blocks.n_blocks = opened.shape.n_blocks;
    opened.blocks.codes = rt_h5_map_rows(opened.map, RT_LIST_CODES);
    opened.blocks.factors = rt_h5_map_rows(opened.map, RT_LIST_FACTORS);
    opened.blocks.ids = rt_h5_map_rows(opened.map, RT_LIST_IDS);
    opened.blocks.places = rt_h5_map_rows(opened.map, RT_LIST_PLACES);
    opened.files = rt_h5_map_rows(opened.map, RT_LIST_FILES);
    opened.first_blocks = rt_h5_map_rows(opened.map, RT_LIST_FIRST_BLOCKS);
    opened.rows = rt_h5_map_rows(opened.map, RT_LIST_ROWS);
    *view = opened;
done:
    return st;
}

void rt_list_close(struct rt_list_view *view)
{
    rt_h5_map_close(view->map);
    memset(view, 0, sizeof *view);
}
