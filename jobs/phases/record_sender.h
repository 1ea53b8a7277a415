/* The sending half of compaction (F4): which of this rank's records belong into a range of frozen
 * blocks, found in its chunks of the appendable tape, and their bytes on the way there. */
#ifndef RT_JOBS_PHASES_RECORD_SENDER_H
#define RT_JOBS_PHASES_RECORD_SENDER_H

#include "core/error.h"
#include "jobs/phases/block_places.h"

struct rt_record_sender;

struct rt_record_sender_input {
    const char *path; /* of the tape; lent for the call */
    uint64_t first_chunk, n_chunks;
    uint32_t n_lists;
    const uint64_t *first_blocks;         /* n_lists + 1: where lists begin (F1) */
    const uint64_t *before;               /* n_lists: rows of the list on ranks before this one */
    const struct rt_block_places *places; /* these three live as long as the sender */
};

/* Private memory of a sender. */
uint64_t rt_record_sender_bytes(uint32_t n_lists);
/* Opens the tape. The caller frees *out. Fails with RT_IO, RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_record_sender_new(const struct rt_record_sender_input *input,
                                    struct rt_record_sender **out,
                                    struct rt_error *err) RT_MUST_CHECK;
void rt_record_sender_free(struct rt_record_sender *sender); /* NULL is fine */

/* From here on the records for these places. */
void rt_record_sender_aim(struct rt_record_sender *sender, struct rt_range window);
/* The next of them into buffer, as many whole ones as it holds; each as rt_block_window_take reads
 * them. *more: there may be more. Fails with RT_DAMAGED where the tape is not what insert wrote. */
enum rt_status rt_record_sender_fill(struct rt_record_sender *sender, void *buffer, size_t capacity,
                                     size_t *n_bytes, bool *more,
                                     struct rt_error *err) RT_MUST_CHECK;

#endif
