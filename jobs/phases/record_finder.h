/* Compaction's look into the appendable tape (F4): which records of some chunks belong into a
 * window of frozen blocks, and into which slots. They are put into the window from where they lie,
 * or packed for their way to a rank that has none of this host's memory. */
#ifndef RT_JOBS_PHASES_RECORD_FINDER_H
#define RT_JOBS_PHASES_RECORD_FINDER_H

#include "core/error.h"
#include "io/tape_file.h"
#include "jobs/phases/block_places.h"
#include "jobs/phases/block_window.h"

struct rt_record_finder;

struct rt_record_finder_input {
    const struct rt_tape_view *tape;
    uint32_t n_lists;
    uint32_t most_lists;                  /* of one aim */
    const uint64_t *first_blocks;         /* n_lists + 1: where lists begin (F1) */
    const struct rt_block_places *places; /* these three live as long as the finder */
};

/* Private memory of a finder. */
uint64_t rt_record_finder_bytes(uint32_t most_lists);
/* The caller frees *out. Fails with RT_NOMEM. */
enum rt_status rt_record_finder_new(const struct rt_record_finder_input *input,
                                    struct rt_record_finder **out,
                                    struct rt_error *err) RT_MUST_CHECK;
void rt_record_finder_free(struct rt_record_finder *finder); /* NULL is fine */

/* Lists that touch a window of places: [begin, end); none for an empty window. */
struct rt_range rt_record_finder_lists(const struct rt_record_finder *finder,
                                       struct rt_range window);

struct rt_record_aim {
    struct rt_range window; /* places */
    struct rt_range lists;  /* of those that touch it, at most most_lists */
    struct rt_range chunks; /* of one rank */
    const uint64_t *before; /* by list from lists.begin on: rows on ranks before that one */
};
/* From here on these records. Fails with RT_DAMAGED where the tape has fewer chunks. */
enum rt_status rt_record_finder_aim(struct rt_record_finder *finder,
                                    const struct rt_record_aim *aim,
                                    struct rt_error *err) RT_MUST_CHECK;
/* The next of them into buffer, as many whole ones as it holds; each as rt_block_window_take reads
 * them. *more: there may be more. Fails with RT_DAMAGED where the tape is not what insert wrote. */
enum rt_status rt_record_finder_fill(struct rt_record_finder *finder, void *buffer, size_t capacity,
                                     size_t *n_bytes, bool *more,
                                     struct rt_error *err) RT_MUST_CHECK;
/* The next of them, at most `most`, into slots of the window aimed at; *n_records of them, fewer
 * than `most` when there are no more. Fails as rt_record_finder_fill does. */
enum rt_status rt_record_finder_put(struct rt_record_finder *finder,
                                    const struct rt_window_slots *window, uint64_t most,
                                    uint64_t *n_records, struct rt_error *err) RT_MUST_CHECK;

#endif
