/* What an insert finds that was asked to go on: one that was interrupted, or the rows in the index
 * already. Rank 0's business. */
#ifndef RT_JOBS_INSERT_RESUME_H
#define RT_JOBS_INSERT_RESUME_H

#include "io/manifest.h"
#include "io/rows.h"
#include "jobs/first_run.h"

enum rt_insert_found {
    RT_INSERT_NOTHING = 0, /* an insert begins */
    RT_INSERT_VOID,        /* the same; one was interrupted, but the index has moved on since */
    RT_INSERT_INTERRUPTED, /* it goes on */
    RT_INSERT_PUBLISHED    /* it is done */
};
struct rt_insert_resume {
    enum rt_insert_found found;
    struct rt_first_run first; /* interrupted, or void */
    /* published, as the history tells */
    uint64_t generation, n_inserted, n_skipped, n_replaced;
    uint64_t n_rows; /* of the heap then, which may have grown since (--concurrent) */
    bool is_unsure;  /* nothing was found, in a history that has lost its beginning */
};

/* What lies in the index `dir` for an insert of these options and rows (--resume). The insert that
 * was interrupted must have had the same options and files; one that is published is known by its
 * input in the history, unless rows have died since. Fails with RT_USAGE naming the first option
 * that differs, RT_INPUT naming the file, RT_IO, RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_insert_resume_look(const char *dir, const struct rt_options *options,
                                     struct rt_rows *rows, const struct rt_manifest *manifest,
                                     struct rt_insert_resume *out,
                                     struct rt_error *err) RT_MUST_CHECK;
/* What a published insert leaves in the history. The caller owns *line. Fails with RT_NOMEM. */
enum rt_status rt_insert_history_line(const struct rt_options *options,
                                      const struct rt_rows_info *rows, uint64_t n_inserted,
                                      uint64_t n_skipped, uint64_t n_replaced, json_t **line,
                                      struct rt_error *err) RT_MUST_CHECK;

#endif
