/* Finished files: mapped read-only, hashed for the manifest, units checked. No HDF5 once the layout
 * is known. */
#ifndef RT_IO_HDF5_MAP_H
#define RT_IO_HDF5_MAP_H

#include "io/hdf5.h"

/* The two hashes of a finished file that its manifest keeps: `structure` over all bytes outside the
 * datasets that have checksums and outside those checksums; `sums` over the checksum datasets; both
 * in file order. */
struct rt_h5_hashes {
    struct rt_hash128 structure, sums;
};
enum rt_status rt_h5_hash_file(const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_hashes *out, struct rt_error *err) RT_MUST_CHECK;

/* The two alone; ranges as rt_h5_ranges gives them (ascending, apart, inside size). */
enum rt_status rt_h5_hash_structure(const char *path, uint64_t size,
                                    const struct rt_h5_range *ranges, uint32_t n_ranges,
                                    struct rt_hash128 *out, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_hash_sums(const char *path, const struct rt_h5_layout *layout,
                               struct rt_hash128 *out, struct rt_error *err) RT_MUST_CHECK;

/* A file mapped read-only. rt_h5_map_rows gives all rows of a dataset: inside the map where they
 * lie 8-byte aligned, else (below 4096 bytes) a copy the map owns. NULL for a dataset without
 * bytes. */
struct rt_h5_map;
/* layout NULL: read from the file. */
enum rt_status rt_h5_map_open(const char *path, const struct rt_h5_layout *layout,
                              struct rt_h5_map **out, struct rt_error *err) RT_MUST_CHECK;
void rt_h5_map_close(struct rt_h5_map *map);
const struct rt_h5_layout *rt_h5_map_layout(const struct rt_h5_map *map);
const char *rt_h5_map_path(const struct rt_h5_map *map);
const void *rt_h5_map_rows(const struct rt_h5_map *map, uint32_t dataset);
const uint64_t *rt_h5_map_sums(const struct rt_h5_map *map,
                               uint32_t dataset); /* NULL where there are none */
/* Unit `unit` of a dataset against its checksum. Fails with RT_DAMAGED, naming file, dataset and
 * rows. */
enum rt_status rt_h5_map_check_unit(const struct rt_h5_map *map, uint32_t dataset, uint64_t unit,
                                    struct rt_error *err) RT_MUST_CHECK;
/* All units that hold rows [first, first + n_rows), each of them hashed once in the map's life, by
 * whichever thread comes first (H7). A dataset without checksums is fine. */
enum rt_status rt_h5_map_check_rows(const struct rt_h5_map *map, uint32_t dataset, uint64_t first,
                                    uint64_t n_rows, struct rt_error *err) RT_MUST_CHECK;
/* The same for a search by halves that has ended at row `at` of rows that ascend, perhaps behind
 * the last: it is right if the rows on both sides of that place are, whichever it has met before.
 */
enum rt_status rt_h5_map_check_around(const struct rt_h5_map *map, uint32_t dataset, uint64_t at,
                                      struct rt_error *err) RT_MUST_CHECK;

#endif
