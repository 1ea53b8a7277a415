/* vectors-G.h5: original vectors by tape, in the rows' own element type, with id and list of each
 * slot (E6). Under
 * --rerank-in-heap without the vectors. Table in docs/format.md, "vectors". */
#ifndef RT_IO_VECTORS_FILE_H
#define RT_IO_VECTORS_FILE_H

#include "core/element.h"
#include "core/error.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

struct rt_vectors_shape {
    uint64_t generation;
    struct rt_hash128 fingerprint;
    uint64_t n_slots; /* unused ones included */
    uint32_t dim;
    enum rt_element element;
    bool has_vectors;  /* false: they stay in the heap */
    uint64_t cap_rows; /* of checksum units: the chunk, a power of two */
    uint32_t n_tapes;
    uint32_t n_segments;
    uint32_t
        first_segment; /* numbers of its segments: [first_segment, first_segment + n_segments) */
};
struct rt_tape_entry { /* slots of a tape, unused ones included */
    uint64_t first_slot, n_slots;
};
struct rt_segment_entry {
    uint64_t tape;
    uint64_t first_slot, n_slots; /* at most RT_SEGMENT_SLOTS, inside the tape */
    uint64_t first_row; /* heap row of its first slot under rerank-in-heap, else RT_NO_ROW */
};
struct rt_vectors_datasets { /* numbers in the layout; vectors is -1 without them */
    int vectors, ids, lists, tapes, segments;
};
struct rt_vectors_datasets rt_vectors_datasets(const struct rt_h5_layout *layout);

enum rt_status rt_vectors_layout(const struct rt_vectors_shape *shape, struct rt_h5_layout *layout,
                                 struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_vectors_check(const char *path, const struct rt_h5_layout *found,
                                struct rt_vectors_shape *shape, struct rt_h5_layout *layout,
                                struct rt_error *err) RT_MUST_CHECK;
/* Parts of ranks in a tape, and tapes, begin at multiples of this many slots. */
uint64_t rt_vectors_share_slots(const struct rt_vectors_shape *shape);
/* Segments that tapes of these sizes need (each tape's last one may be short). */
uint64_t rt_vectors_n_segments(const struct rt_tape_entry *tapes, uint32_t n_tapes);
/* One rank: tapes and segments cut from them, first_row as given by row_of_tape (NULL: RT_NO_ROW).
 */
enum rt_status rt_vectors_write_directory(struct rt_h5_file *file,
                                          const struct rt_tape_entry *tapes, uint32_t n_tapes,
                                          const uint64_t *row_of_tape,
                                          struct rt_error *err) RT_MUST_CHECK;

/* A writer over slots [begin, end): vectors (where they are), ids, lists. */
enum rt_status rt_vectors_writer_new(struct rt_h5_file *file, uint64_t begin, uint64_t end,
                                     size_t buffer_bytes, struct rt_unit_writer **out,
                                     struct rt_error *err) RT_MUST_CHECK;
/* vectors: n x dim elements (ignored where the file has none). An unused slot has id RT_NO_ID, list
 * RT_NO_LIST. */
enum rt_status rt_vectors_append(struct rt_unit_writer *writer, const void *vectors,
                                 const uint64_t *ids, const uint32_t *lists, uint64_t n_slots,
                                 struct rt_error *err) RT_MUST_CHECK;
/* Unused slots up to the writer's end, checksums: instead of rt_unit_writer_end. */
enum rt_status rt_vectors_writer_end(struct rt_unit_writer *writer,
                                     struct rt_error *err) RT_MUST_CHECK;

/* A mapped vectors file. */
struct rt_vectors_view {
    struct rt_h5_map *map;
    struct rt_vectors_shape shape;
    const void *vectors; /* NULL where they stay in the heap */
    const uint64_t *ids;
    const uint32_t *lists;
    const struct rt_tape_entry *tapes;
    const struct rt_segment_entry
        *segments; /* checked: inside their tapes, tapes inside the file */
};
enum rt_status rt_vectors_open(const char *path, struct rt_vectors_view *view,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_vectors_close(struct rt_vectors_view *view);

#endif
