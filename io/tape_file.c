#include "io/tape_file.h"

#include "core/code.h"
#include "core/element.h"
#include "core/memory.h"

#include <string.h>

const uint8_t rt_tape_fill[RT_TAPE_COLUMNS] = {0xff, 0xff, 0, 0, 0};

static const uint32_t columns[RT_TAPE_COLUMNS] = {RT_TAPE_LISTS, RT_TAPE_IDS, RT_TAPE_CODES,
                                                  RT_TAPE_FACTORS, RT_TAPE_PLACES};

static void column_bytes(const struct rt_tape_shape *shape, uint64_t bytes[RT_TAPE_COLUMNS])
{
    bytes[RT_TAPE_LISTS] = 4;
    bytes[RT_TAPE_IDS] = 8;
    bytes[RT_TAPE_CODES] = shape->code_bytes;
    bytes[RT_TAPE_FACTORS] = UINT64_C(4) * shape->n_factors;
    bytes[RT_TAPE_PLACES] = 8;
}

enum rt_status rt_tape_layout(const struct rt_tape_shape *shape, struct rt_h5_layout *layout,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = shape->n_records;
    uint64_t bytes[RT_TAPE_COLUMNS];
    uint64_t unit[RT_TAPE_COLUMNS];
    column_bytes(shape, bytes);
    for (uint32_t i = 0; i < RT_TAPE_COLUMNS; i++)
        unit[i] = rt_unit_rows(bytes[i], shape->chunk_rows);
    rt_h5_layout_begin(layout, RT_FILE_APPENDABLE, shape->generation, shape->fingerprint);
    rt_h5_layout_number(layout, "dimension", shape->dim);
    rt_h5_layout_number(layout, "code_bytes", shape->code_bytes);
    rt_h5_layout_number(layout, "factors", shape->n_factors);
    rt_h5_layout_number(layout, "records", shape->n_records);
    rt_h5_layout_number(layout, "chunks", shape->n_chunks);
    rt_h5_layout_number(layout, "chunk_rows", shape->chunk_rows);
    RT_TRY(rt_h5_layout_add(layout, "lists", RT_H5_U32, n, 0, 0, unit[RT_TAPE_LISTS], err));
    RT_TRY(rt_h5_layout_add(layout, "ids", RT_H5_U64, n, 0, 0, unit[RT_TAPE_IDS], err));
    RT_TRY(rt_h5_layout_add(layout, "codes", RT_H5_U8, n, 0, shape->code_bytes, unit[RT_TAPE_CODES],
                            err));
    RT_TRY(rt_h5_layout_add(layout, "factors", RT_H5_F32, n, 0, shape->n_factors,
                            unit[RT_TAPE_FACTORS], err));
    RT_TRY(rt_h5_layout_add(layout, "places", RT_H5_U32, n, 0, 2, unit[RT_TAPE_PLACES], err));
    RT_TRY(rt_h5_layout_add(layout, "chunks", RT_H5_U64, shape->n_chunks, 0, 2, rt_unit_rows(16, 0),
                            err));
done:
    return st;
}

enum rt_status rt_tape_check(const char *path, const struct rt_h5_layout *found,
                             struct rt_tape_shape *shape, struct rt_h5_layout *layout,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tape_shape read;
    memset(&read, 0, sizeof read);
    RT_TRY(
        rt_h5_get_head(found, path, RT_FILE_APPENDABLE, &read.generation, &read.fingerprint, err));
    RT_TRY(rt_h5_get_u32(found, path, "dimension", 1, RT_MAX_DIM, &read.dim, err));
    RT_TRY(rt_h5_get_u32(found, path, "factors", 3, RT_MAX_FACTORS, &read.n_factors, err));
    uint32_t code_bytes = rt_code_bytes(read.dim);
    RT_TRY(rt_h5_get_u32(found, path, "code_bytes", code_bytes, code_bytes, &read.code_bytes, err));
    RT_TRY(rt_h5_get_number(found, path, "records", &read.n_records, err));
    RT_TRY(rt_h5_get_number(found, path, "chunks", &read.n_chunks, err));
    RT_TRY(rt_h5_get_number(found, path, "chunk_rows", &read.chunk_rows, err));
    if (read.chunk_rows == 0 || (read.chunk_rows & (read.chunk_rows - 1)) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: chunks of %llu rows", path,
                (unsigned long long)read.chunk_rows);
    if (rt_tape_layout(&read, layout, err) != RT_OK)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it holds %llu records", path,
                (unsigned long long)read.n_records);
    RT_TRY(rt_h5_adopt(path, found, layout, err));
    *shape = read;
done:
    return st;
}

uint64_t rt_tape_share_records(const struct rt_tape_shape *shape)
{
    uint64_t bytes[RT_TAPE_COLUMNS];
    column_bytes(shape, bytes);
    return rt_share_rows(bytes, RT_TAPE_COLUMNS, shape->chunk_rows);
}

uint64_t rt_tape_writer_bytes(const struct rt_tape_shape *shape, uint64_t n_records,
                              size_t buffer_bytes)
{
    uint64_t bytes[RT_TAPE_COLUMNS];
    column_bytes(shape, bytes);
    return rt_unit_writer_bytes(bytes, RT_TAPE_COLUMNS, shape->chunk_rows, n_records, buffer_bytes);
}

enum rt_status rt_tape_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                  size_t buffer_bytes, struct rt_unit_writer **out,
                                  struct rt_error *err)
{
    return rt_unit_writer_new(file, columns, RT_TAPE_COLUMNS, begin, end, buffer_bytes, out, err);
}

enum rt_status rt_tape_append(struct rt_unit_writer *writer, const struct rt_tape_records *records,
                              struct rt_error *err)
{
    const void *const parts[RT_TAPE_COLUMNS] = {records->lists, records->ids, records->codes,
                                                records->factors, records->places};
    return rt_unit_writer_append(writer, parts, records->n_records, err);
}

enum rt_status rt_tape_columns_new(size_t n_rows, uint32_t code_bytes, uint32_t n_factors,
                                   struct rt_tape_columns *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new(n_rows, sizeof *out->lists, &out->lists, err));
    RT_TRY(rt_array_new(n_rows, sizeof *out->ids, &out->ids, err));
    RT_TRY(rt_array_new(n_rows, code_bytes, &out->codes, err));
    RT_TRY(rt_array_new(n_rows, n_factors * sizeof *out->factors, &out->factors, err));
    RT_TRY(rt_array_new(n_rows, sizeof *out->places, &out->places, err));
done:
    return st;
}

void rt_tape_columns_free(struct rt_tape_columns *own)
{
    rt_array_free(own->lists);
    rt_array_free(own->ids);
    rt_array_free(own->codes);
    rt_array_free(own->factors);
    rt_array_free(own->places);
}

void rt_tape_take(const struct rt_tape_columns *to, size_t at, const struct rt_tape_records *from,
                  uint64_t record, uint32_t code_bytes, uint32_t n_factors)
{
    to->lists[at] = from->lists[record];
    to->ids[at] = from->ids[record];
    memcpy(to->codes + at * code_bytes, from->codes + record * code_bytes, code_bytes);
    memcpy(to->factors + at * n_factors, from->factors + record * n_factors,
           n_factors * sizeof *to->factors);
}

size_t rt_tape_record_bytes(uint32_t code_bytes, uint32_t n_factors)
{
    return sizeof(uint32_t) + sizeof(uint64_t) + code_bytes + n_factors * sizeof(float) +
           sizeof(struct rt_place);
}

enum rt_status rt_tape_open(const char *path, struct rt_tape_view *view, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found, layout;
    struct rt_tape_view opened;
    memset(&opened, 0, sizeof opened);
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(rt_tape_check(path, &found, &opened.shape, &layout, err));
    RT_TRY(rt_h5_map_open(path, &layout, &opened.map, err));
    opened.records.n_records = opened.shape.n_records;
    opened.records.lists = rt_h5_map_rows(opened.map, RT_TAPE_LISTS);
    opened.records.ids = rt_h5_map_rows(opened.map, RT_TAPE_IDS);
    opened.records.codes = rt_h5_map_rows(opened.map, RT_TAPE_CODES);
    opened.records.factors = rt_h5_map_rows(opened.map, RT_TAPE_FACTORS);
    opened.records.places = rt_h5_map_rows(opened.map, RT_TAPE_PLACES);
    opened.chunks = rt_h5_map_rows(opened.map, RT_TAPE_CHUNKS);
    uint64_t left = opened.shape.n_records; /* chunks share none, so that all are read once */
    for (uint64_t chunk = 0; chunk < opened.shape.n_chunks; chunk++) {
        uint64_t first = opened.chunks[2 * chunk];
        uint64_t n = opened.chunks[2 * chunk + 1];
        if (first > opened.shape.n_records || n > opened.shape.n_records - first || n > left)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: chunk %llu reaches beyond its records", path,
                    (unsigned long long)chunk);
        left -= n;
    }
    *view = opened;
    opened.map = NULL;
done:
    rt_h5_map_close(opened.map);
    return st;
}

void rt_tape_close(struct rt_tape_view *view)
{
    rt_h5_map_close(view->map);
    memset(view, 0, sizeof *view);
}

uint64_t rt_tape_first_of_list(const struct rt_tape_view *view, uint64_t begin, uint64_t end,
                               uint32_t list)
{
    const uint32_t *lists = view->records.lists;
    while (begin < end) {
        uint64_t middle = begin + (end - begin) / 2;
        if (lists[middle] < list)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}
