/* vectors-G.h5: original vectors by tape, in the rows' own element type, with id and list of each
 * slot (E6), and what finds a slot by id (H5). Under --rerank-in-heap without the vectors. A file
 * rewritten without its dead rows keeps all places (E5). Table in docs/format.md, "vectors". */
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
    bool ids_ascend;   /* over the used slots of every tape */
    uint64_t n_sorted; /* entries of (id, slot) where ids do not ascend; else 0 */
    uint64_t n_kept;   /* words of the bitmap of kept slots; 0: every slot is there */
};
struct rt_tape_entry { /* slots of a tape, unused ones included */
    uint64_t first_slot, n_slots;
};
#define RT_ALL_KEPT UINT64_MAX
struct rt_segment_entry {
    uint64_t number; /* in places; ascending in a file, and in one file of an index only */
    uint64_t tape;
    uint64_t first_slot; /* in the file */
    uint64_t n_slots;    /* that places name: at most RT_SEGMENT_SLOTS */
    uint64_t first_row;  /* heap row of its first slot under rerank-in-heap, else RT_NO_ROW */
    uint64_t first_kept; /* its first word of the bitmap, or RT_ALL_KEPT: all slots are there */
    uint64_t born;       /* generation that gave its places */
};
struct rt_kept_word {  /* 64 slots of a segment */
    uint64_t bits;     /* bit i: slot i is there */
    uint64_t n_before; /* slots of the segment that are there before these */
};
struct rt_id_slot { /* ascending by id; behind the last used slot: RT_NO_ID, RT_NO_ROW */
    uint64_t id, slot;
};
struct rt_vectors_datasets { /* numbers in the layout; -1 for what is not there */
    int vectors, ids, lists, tapes, segments, sorted, kept;
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
/* One rank: tapes and segments cut from them, numbered from first_number on, first_row as given by
 * row_of_tape (NULL: RT_NO_ROW), born in the file's own generation. */
enum rt_status rt_vectors_write_directory(struct rt_h5_file *file,
                                          const struct rt_tape_entry *tapes, uint32_t n_tapes,
                                          uint32_t first_number, const uint64_t *row_of_tape,
                                          struct rt_error *err) RT_MUST_CHECK;

/* Private memory of a writer over so many slots; of the shape dim, element, has_vectors and
 * cap_rows count. */
uint64_t rt_vectors_writer_bytes(const struct rt_vectors_shape *shape, uint64_t n_slots,
                                 size_t buffer_bytes);
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
    struct rt_vectors_datasets datasets; /* of the map */
    const void *vectors;                 /* NULL where they stay in the heap */
    const uint64_t *ids;
    const uint32_t *lists;
    const struct rt_tape_entry *tapes;
    const struct rt_segment_entry
        *segments;                   /* checked: inside their tapes, tapes inside the file */
    const struct rt_id_slot *sorted; /* NULL where ids ascend */
    const struct rt_kept_word *kept; /* NULL where every slot is there */
    _Atomic uint64_t *used_ends; /* by tape: behind its last used slot, once a look-up has asked */
};
enum rt_status rt_vectors_open(const char *path, struct rt_vectors_view *view,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_vectors_close(struct rt_vectors_view *view);

/* Slots of a segment that are there: n_slots, or what the bitmap says. */
uint64_t rt_segment_stored(const struct rt_vectors_view *view,
                           const struct rt_segment_entry *segment);
/* Slot in the file of a place's slot; RT_NO_ROW where there is none (any longer). */
uint64_t rt_segment_slot(const struct rt_vectors_view *view, const struct rt_segment_entry *segment,
                         uint32_t slot);
/* The slot that holds an id, RT_NO_ROW where none does: a logarithm of the file's slots, but for
 * runs of unused ones (H5). What the answer rests upon is held to its checksums, and the list of
 * the slot with it. Fails with RT_DAMAGED, there too where the sorted ids name no slot. */
enum rt_status rt_vectors_find(const struct rt_vectors_view *view, uint64_t id, uint64_t *slot,
                               struct rt_error *err) RT_MUST_CHECK;
/* The segment that holds a slot of the file; NULL where none does. */
const struct rt_segment_entry *rt_vectors_segment_of(const struct rt_vectors_view *view,
                                                     uint64_t slot);
/* Heap row of a slot of the file, under rerank-in-heap; RT_NO_ROW where it has none. */
uint64_t rt_vectors_heap_row(const struct rt_vectors_view *view, uint64_t slot);

#endif
