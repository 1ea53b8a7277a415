#include "io/hdf5_map.h"

#include "core/memory.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rt_h5_map {
    struct rt_fs_map bytes;
    struct rt_h5_layout layout;
    char path[RT_PATH_MAX];
    void *rows_copy[RT_H5_MAX_DATASETS], *sums_copy[RT_H5_MAX_DATASETS]; /* NULL: in the map */
    atomic_uchar *is_checked[RT_H5_MAX_DATASETS];                        /* by unit */
};

/* HDF5 aligns only large datasets; small ones are copied so that everybody may read them as an
 * array. */
static enum rt_status copy_unaligned(const struct rt_h5_map *map, const char *name, uint64_t offset,
                                     uint64_t n_bytes, void **copy, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n_bytes == 0 || offset % 8 == 0)
        return RT_OK;
    if (n_bytes >= RT_PAGE_BYTES)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: '%s' begins at byte %llu, no multiple of 8",
                map->path, name, (unsigned long long)offset);
    RT_TRY(rt_array_new((size_t)n_bytes, 1, copy, err));
    memcpy(*copy, map->bytes.data + offset, (size_t)n_bytes);
done:
    return st;
}

enum rt_status rt_h5_map_open(const char *path, const struct rt_h5_layout *layout,
                              struct rt_h5_map **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_map *map = NULL;
    RT_TRY(rt_array_zero(1, sizeof *map, &map, err));
    if (strlen(path) >= sizeof map->path)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", path);
    strcpy(map->path, path);
    if (layout)
        map->layout = *layout;
    else
        RT_TRY(rt_h5_read_layout(path, &map->layout, err));
    RT_TRY(rt_fs_map(path, &map->bytes, err));
    if (map->bytes.size != map->layout.size)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: %llu bytes, expected %llu", path,
                (unsigned long long)map->bytes.size, (unsigned long long)map->layout.size);
    for (uint32_t i = 0; i < map->layout.n_datasets; i++) {
        const struct rt_h5_dataset *dataset = &map->layout.datasets[i];
        RT_TRY(copy_unaligned(map, dataset->name, dataset->offset, rt_h5_dataset_bytes(dataset),
                              &map->rows_copy[i], err));
        RT_TRY(copy_unaligned(map, dataset->name, dataset->sums_offset, 8 * rt_h5_n_units(dataset),
                              &map->sums_copy[i], err));
        RT_TRY(rt_array_zero((size_t)rt_h5_n_units(dataset), 1, &map->is_checked[i], err));
    }
    *out = map;
    map = NULL;
done:
    rt_h5_map_close(map);
    return st;
}

void rt_h5_map_close(struct rt_h5_map *map)
{
    if (!map)
        return;
    for (uint32_t i = 0; i < RT_H5_MAX_DATASETS; i++) {
        rt_array_free(map->rows_copy[i]);
        rt_array_free(map->sums_copy[i]);
        rt_array_free(map->is_checked[i]);
    }
    rt_fs_unmap(&map->bytes);
    rt_array_free(map);
}

const struct rt_h5_layout *rt_h5_map_layout(const struct rt_h5_map *map)
{
    return &map->layout;
}

const char *rt_h5_map_path(const struct rt_h5_map *map)
{
    return map->path;
}

const void *rt_h5_map_rows(const struct rt_h5_map *map, uint32_t dataset)
{
    const struct rt_h5_dataset *shape = &map->layout.datasets[dataset];
    if (map->rows_copy[dataset])
        return map->rows_copy[dataset];
    return rt_h5_dataset_bytes(shape) ? map->bytes.data + shape->offset : NULL;
}

const uint64_t *rt_h5_map_sums(const struct rt_h5_map *map, uint32_t dataset)
{
    const struct rt_h5_dataset *shape = &map->layout.datasets[dataset];
    if (map->sums_copy[dataset])
        return map->sums_copy[dataset];
    return rt_h5_n_units(shape) ? (const void *)(map->bytes.data + shape->sums_offset) : NULL;
}

enum rt_status rt_h5_map_check_unit(const struct rt_h5_map *map, uint32_t dataset, uint64_t unit,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_dataset *shape = &map->layout.datasets[dataset];
    uint64_t first = unit * shape->unit_rows;
    uint64_t n =
        shape->dims[0] - first < shape->unit_rows ? shape->dims[0] - first : shape->unit_rows;
    uint64_t row_bytes = rt_h5_row_bytes(shape);
    const unsigned char *rows = rt_h5_map_rows(map, dataset);
    if (rt_hash64(rows + first * row_bytes, (size_t)(n * row_bytes)) !=
        rt_h5_map_sums(map, dataset)[unit])
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: '%s' rows %llu to %llu do not match their checksum",
                map->path, shape->name, (unsigned long long)first,
                (unsigned long long)(first + n - 1));
done:
    return st;
}

enum rt_status rt_h5_map_check_rows(const struct rt_h5_map *map, uint32_t dataset, uint64_t first,
                                    uint64_t n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t unit_rows = map->layout.datasets[dataset].unit_rows;
    if (n_rows == 0 || unit_rows == 0)
        return RT_OK;
    for (uint64_t unit = first / unit_rows; unit <= (first + n_rows - 1) / unit_rows; unit++) {
        atomic_uchar *is_checked = &map->is_checked[dataset][unit];
        if (atomic_load_explicit(is_checked, memory_order_relaxed))
            continue; /* two threads may check it both: no harm */
        RT_TRY(rt_h5_map_check_unit(map, dataset, unit, err));
        atomic_store_explicit(is_checked, 1, memory_order_relaxed);
    }
done:
    return st;
}

enum rt_status rt_h5_map_check_around(const struct rt_h5_map *map, uint32_t dataset, uint64_t at,
                                      struct rt_error *err)
{
    uint64_t n_rows = map->layout.datasets[dataset].dims[0];
    uint64_t begin = at > 0 ? at - 1 : 0;
    uint64_t end = at < n_rows ? at + 1 : n_rows;
    return rt_h5_map_check_rows(map, dataset, begin, end - begin, err);
}

/* ---- hashes of a whole file ---- */

#define PIECE ((size_t)1 << 20)

/* Adds bytes [begin, end) of the file to the hash. buffer: PIECE bytes. */
static enum rt_status add_bytes(int fd, const char *path, uint64_t begin, uint64_t end,
                                unsigned char *buffer, struct rt_hasher *hasher,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    while (begin < end) {
        size_t n = end - begin < PIECE ? (size_t)(end - begin) : PIECE;
        RT_TRY(rt_fs_read_at(fd, path, buffer, n, begin, err));
        rt_hasher_add(hasher, buffer, n);
        begin += n;
    }
done:
    return st;
}

enum rt_status rt_h5_hash_structure(const char *path, uint64_t size,
                                    const struct rt_h5_range *ranges, uint32_t n_ranges,
                                    struct rt_hash128 *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    unsigned char *buffer = NULL;
    uint64_t at = 0;
    struct rt_hasher *hasher = rt_hasher_new();
    if (!hasher)
        RT_FAIL(RT_NOMEM, "out of memory: a hash state");
    RT_TRY(rt_array_new(PIECE, 1, &buffer, err));
    RT_TRY(rt_fs_open(path, O_RDONLY, &fd, err));
    for (uint32_t i = 0; i < n_ranges; i++) {
        RT_TRY(add_bytes(fd, path, at, ranges[i].offset, buffer, hasher, err));
        at = ranges[i].offset + ranges[i].bytes;
    }
    RT_TRY(add_bytes(fd, path, at, size, buffer, hasher, err));
    *out = rt_hasher_end128(hasher);
done:
    rt_hasher_free(hasher);
    rt_array_free(buffer);
    if (fd >= 0)
        (void)close(fd);
    return st;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct rt_h5_range *)a)->offset;
    uint64_t y = ((const struct rt_h5_range *)b)->offset;
    return (x > y) - (x < y);
}

enum rt_status rt_h5_hash_sums(const char *path, const struct rt_h5_layout *layout,
                               struct rt_hash128 *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    unsigned char *buffer = NULL;
    struct rt_h5_range sums[RT_H5_MAX_DATASETS];
    uint32_t n = 0;
    struct rt_hasher *hasher = rt_hasher_new();
    if (!hasher)
        RT_FAIL(RT_NOMEM, "out of memory: a hash state");
    for (uint32_t i = 0; i < layout->n_datasets; i++)
        if (rt_h5_n_units(&layout->datasets[i]) > 0)
            sums[n++] = (struct rt_h5_range){layout->datasets[i].sums_offset,
                                             8 * rt_h5_n_units(&layout->datasets[i])};
    qsort(sums, n, sizeof *sums, by_offset);
    RT_TRY(rt_array_new(PIECE, 1, &buffer, err));
    RT_TRY(rt_fs_open(path, O_RDONLY, &fd, err));
    for (uint32_t i = 0; i < n; i++)
        RT_TRY(add_bytes(fd, path, sums[i].offset, sums[i].offset + sums[i].bytes, buffer, hasher,
                         err));
    *out = rt_hasher_end128(hasher);
done:
    rt_hasher_free(hasher);
    rt_array_free(buffer);
    if (fd >= 0)
        (void)close(fd);
    return st;
}

enum rt_status rt_h5_hash_file(const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_hashes *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_range ranges[2 * RT_H5_MAX_DATASETS];
    struct rt_h5_hashes hashes;
    uint32_t n = rt_h5_ranges(layout, false, ranges);
    RT_TRY(rt_h5_hash_structure(path, layout->size, ranges, n, &hashes.structure, err));
    RT_TRY(rt_h5_hash_sums(path, layout, &hashes.sums, err));
    *out = hashes;
done:
    return st;
}
