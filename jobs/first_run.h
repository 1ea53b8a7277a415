/* What a job must agree with to go on where another run of it was interrupted: the record of the
 * first run in checkpoint/, with the options that decide the result, the stamps of the files it
 * read and the sample of its rows. Rank 0's business. */
#ifndef RT_JOBS_FIRST_RUN_H
#define RT_JOBS_FIRST_RUN_H

#include "core/checksum.h"
#include "core/options.h"
#include "io/rows.h"

#include <jansson.h>

struct rt_first_run {    /* what the first run has fixed */
    uint64_t generation; /* that it writes */
    uint64_t base;       /* that it changes; 0: a build makes the first */
    int ranks;           /* its layout (E2) */
    uint64_t tapes;
    int chooser;
};

/* With --concurrent and --resume: rows of each file of the snapshot that the first run has seen, or
 * the published build. *rows NULL: there is none, what is there now is the snapshot. The caller
 * frees *rows with rt_array_free. Fails with RT_IO, RT_NOMEM, RT_DAMAGED. */
enum rt_status rt_first_run_snapshot(const struct rt_options *options, uint64_t **rows,
                                     size_t *n_files, struct rt_error *err) RT_MUST_CHECK;

/* Writes the record of a first run of this job into checkpoint/ of dir. Fails with RT_IO, RT_NOMEM.
 */
enum rt_status rt_first_run_write(const char *dir, const struct rt_options *options,
                                  const struct rt_rows_info *rows,
                                  const struct rt_first_run *record,
                                  struct rt_error *err) RT_MUST_CHECK;
/* Reads the record that is there; *json NULL: there is none. The caller owns it. */
enum rt_status rt_first_run_read(const char *dir, json_t **json,
                                 struct rt_error *err) RT_MUST_CHECK;
bool rt_first_run_is_of(const json_t *json, enum rt_job_id job);
enum rt_job_id rt_first_run_job(const json_t *json);  /* whose record it is: build or insert */
uint64_t rt_first_run_generation(const json_t *json); /* 0 where there is no record */
/* Whether a job was interrupted that wrote a generation after `current`, of whatever job: what it
 * has left is still of use. */
enum rt_status rt_first_run_is_pending(const char *dir, uint64_t current, bool *is_pending,
                                       struct rt_error *err) RT_MUST_CHECK;

/* What the first run has fixed, if options and files are those of this run. Fails with RT_USAGE
 * naming the first option that differs, RT_INPUT naming the file that has changed, RT_DAMAGED. */
enum rt_status rt_first_run_take(const char *dir, const struct rt_options *options,
                                 const struct rt_rows_info *rows, const json_t *json,
                                 struct rt_first_run *out, struct rt_error *err) RT_MUST_CHECK;

/* The parts of that, against what an index says of its build. then: {name: {value, source}}; files:
 * stamps as rt_first_run_stamp makes them, with a sample of their rows; is_published: how the
 * message speaks of it. What was left to the program both times follows from the other options and
 * the rows. */
enum rt_status rt_first_run_compare_options(const char *dir, const struct rt_options *options,
                                            const json_t *then, bool is_published,
                                            struct rt_error *err) RT_MUST_CHECK;
/* The files beside the rows (--ids, --centroids), as an index keeps them with its options, and
 * whether those of this call are the same. */
void rt_first_run_stamp_options(const struct rt_options *options, json_t *out);
enum rt_status rt_first_run_compare_beside(const char *dir, const struct rt_options *options,
                                           const json_t *then, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_first_run_compare_rows(const char *dir, const struct rt_options *options,
                                         const struct rt_rows_info *rows, const json_t *files,
                                         const struct rt_row_sample *sample,
                                         struct rt_error *err) RT_MUST_CHECK;
json_t *rt_first_run_stamp(const struct rt_heap_file *file);

/* Tells inserts apart by what they put in: options that decide the result, number and sample
 * of the rows, stamps of the files beside them. The same call has the same input, from a copy of
 * its rows too. Fails with RT_NOMEM. */
enum rt_status rt_first_run_input(const struct rt_options *options, const struct rt_rows_info *rows,
                                  struct rt_hash128 *out, struct rt_error *err) RT_MUST_CHECK;

#endif
