/* The rows of an opened index: those of a list, in frozen blocks and appendable records; where a
 * vector lies; which rows are dead. No MPI, no HDF5; any number of threads. */
#ifndef RT_IO_INDEX_ROWS_H
#define RT_IO_INDEX_ROWS_H

#include "io/index_reader.h"

/* The blocks of a list, checked to lie inside their file: an empty list has none. rows in them:
 * *n_rows. */
enum rt_status rt_index_list(const struct rt_index_view *view, uint32_t list,
                             struct rt_list_blocks *blocks, uint64_t *n_rows,
                             struct rt_error *err) RT_MUST_CHECK;
/* The same for blocks [first, first + n_blocks) of the list, to share it out. */
void rt_list_blocks_part(const struct rt_index_view *view, const struct rt_list_blocks *blocks,
                         uint64_t first, uint64_t n_blocks, struct rt_list_blocks *part);

struct rt_place_view { /* what a place names */
    const void
        *vector; /* dim elements, possibly unaligned only for one-byte types; NULL: in the heap */
    uint64_t heap_row; /* row in the heap where vector is NULL, else RT_NO_ROW */
    /* as the vectors file says; pointers, since search does not ask and would wait for memory */
    const uint64_t *id;
    const uint32_t *list;
    const struct rt_vectors_view *file;
    uint64_t slot; /* in it */
};
/* Fails with RT_DAMAGED where there is no such segment or slot. */
enum rt_status rt_index_place(const struct rt_index_view *view, uint32_t segment, uint32_t slot,
                              struct rt_place_view *out, struct rt_error *err) RT_MUST_CHECK;

/* What the place names against its checksums, each unit once: for those who copy it. Fails with
 * RT_DAMAGED. */
enum rt_status rt_index_check_place(const struct rt_place_view *place,
                                    struct rt_error *err) RT_MUST_CHECK;

/* Generation of the frozen file that holds a list's rows. A record of an appendable file counts
 * unless its list's is younger: vacuum folds all records of the lists it writes. */
uint64_t rt_index_list_generation(const struct rt_index_view *view, uint32_t list);
/* Records [*begin, *end) of the tape that are the list's in one of its chunks; none where they are
 * folded. */
void rt_index_records(const struct rt_index_view *view, const struct rt_tape_view *tape,
                      uint64_t chunk, uint32_t list, uint64_t *begin, uint64_t *end);
/* Records of a list over all chunks of the tape. */
uint64_t rt_index_n_records(const struct rt_index_view *view, const struct rt_tape_view *tape,
                            uint32_t list);

/* The bytes of frozen blocks [first, first + n_blocks) of a list, and of records [begin, end) of a
 * tape, against their checksums, each unit once: for those who copy them. Fail with RT_DAMAGED. */
enum rt_status rt_index_check_blocks(const struct rt_index_view *view, uint32_t list,
                                     uint64_t first, uint64_t n_blocks,
                                     struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_index_check_records(const struct rt_tape_view *tape, uint64_t begin, uint64_t end,
                                      struct rt_error *err) RT_MUST_CHECK;

/* Is a row of this id in a file of this generation alive (H4)? */
bool rt_index_is_live(const struct rt_index_view *view, uint64_t id, uint64_t generation);
/* The same, held to the checksums of what it rests upon: for those who act on it for good. Fails
 * with RT_DAMAGED. */
enum rt_status rt_index_judge(const struct rt_index_view *view, uint64_t id, uint64_t generation,
                              bool *is_live, struct rt_error *err) RT_MUST_CHECK;

struct rt_found_row { /* where the live row of an id is */
    const struct rt_vectors_view *file;
    uint64_t slot; /* in it */
    uint32_t list;
};
/* *found: false where no live row has the id; held to checksums as rt_vectors_find and
 * rt_index_judge. Fails with RT_DAMAGED. */
enum rt_status rt_index_find(const struct rt_index_view *view, uint64_t id,
                             struct rt_found_row *row, bool *found,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
