/* The live rows of an index by (list, id): the one order that does not depend on the files they lie
 * in. Any range of it can be walked by any rank, in bounded memory; rows are read in place and
 * nothing is exchanged, since all ranks see all files. */
#ifndef RT_JOBS_PHASES_LIVE_ROWS_H
#define RT_JOBS_PHASES_LIVE_ROWS_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"

struct rt_live_row {
    uint64_t id;
    struct rt_place place;
    uint32_t list;
    const uint8_t *code;  /* rt_code_bytes */
    const float *factors; /* the view's n_factors */
};

struct rt_live_rows {
    const struct rt_index_view *view; /* lent */
    uint64_t *offsets; /* n_lists + 1: the rows of list l are [offsets[l], offsets[l + 1]) */
    uint64_t room;     /* rows of a list that are sorted at once */
};

/* Counts them. Collective over the job's communicator; the caller frees with rt_live_rows_free.
 * Fails with RT_DAMAGED (not as many as the manifest says, or what is read does not match its
 * checksum), RT_NOMEM. */
enum rt_status rt_live_rows_count(struct rt_phase_context *context,
                                  const struct rt_index_view *view, struct rt_live_rows *out,
                                  struct rt_error *err) RT_MUST_CHECK;
void rt_live_rows_free(struct rt_live_rows *rows);

/* Takes the next row, lent for the call. */
typedef enum rt_status (*rt_live_row_sink)(void *context, const struct rt_live_row *row,
                                           struct rt_error *err);
/* Rows [begin, end) in order. Local. Fails with what the sink fails with, RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_live_rows_walk(const struct rt_live_rows *rows, uint64_t begin, uint64_t end,
                                 rt_live_row_sink sink, void *context,
                                 struct rt_error *err) RT_MUST_CHECK;

#endif
