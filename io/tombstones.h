/* tombstones-G.h5: rows that are dead although their records still lie in files (H4). A tombstone
 * (id, g) says that the rows of that id in files of a generation before g are dead, so that an id
 * can come back in a later one. Table in docs/format.md, "tombstones". */
#ifndef RT_IO_TOMBSTONES_H
#define RT_IO_TOMBSTONES_H

#include "core/error.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

#include <stdbool.h>
#include <stdint.h>

struct rt_tombstone { /* ascending by id, an id once a file */
    uint64_t id, generation;
};
struct rt_tombstones_shape {
    uint64_t generation;
    struct rt_hash128 fingerprint;
    uint64_t n;
};
enum { RT_TOMBSTONES_ENTRIES = 0 }; /* the one dataset */

enum rt_status rt_tombstones_layout(const struct rt_tombstones_shape *shape,
                                    struct rt_h5_layout *layout,
                                    struct rt_error *err) RT_MUST_CHECK;

/* A mapped file. */
struct rt_tombstones_view {
    struct rt_h5_map *map;
    struct rt_tombstones_shape shape;
    const struct rt_tombstone *entries;
};
/* Fails with RT_DAMAGED. Order and generations of entries are verify's to check. */
enum rt_status rt_tombstones_open(const char *path, struct rt_tombstones_view *view,
                                  struct rt_error *err) RT_MUST_CHECK;
void rt_tombstones_close(struct rt_tombstones_view *view);

/* g of an id; 0: it has no tombstone here. */
uint64_t rt_tombstones_find(const struct rt_tombstones_view *view, uint64_t id);
/* The same, held to the checksum of what it rests upon. Fails with RT_DAMAGED. */
enum rt_status rt_tombstones_look_up(const struct rt_tombstones_view *view, uint64_t id,
                                     uint64_t *generation, struct rt_error *err) RT_MUST_CHECK;

#endif
