/* What every job gets from main, and how it talks: the table for people and the JSON object on
 * stdout, messages on stderr, from rank 0 only. Below jobs/ nothing prints. */
#ifndef RT_JOBS_JOB_H
#define RT_JOBS_JOB_H

#include "core/error.h"
#include "core/options.h"

#include <jansson.h>
#include <mpi.h>
#include <stdbool.h>

struct rt_world; /* mpi/world.h */

struct rt_job {
    struct rt_world *world;
    MPI_Comm comm; /* world->all */
    int rank;
    int n_ranks;
    struct rt_options *options; /* the same on every rank; plan completes them */
    const char *name;           /* "build" */
    uint64_t base_bytes;        /* private bytes of this process before any work (J1) */
    json_t *json;    /* with --json, on rank 0: the object that main prints when the job is
                        done; else NULL */
    bool must_abort; /* a collective file is in an unknown state: main ends the job without closing
                        it (conventions: after a failed MPI-IO write) */
};

/* A job of the table in main.c. Collective over job->comm; returns the same status on every rank.
 */
enum rt_status rt_synth_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_plan_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_build_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_search_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_info_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_verify_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_insert_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_vacuum_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_delete_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_export_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_import_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_watch_run(struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;

/* A line of the table for people: label padded to one column, then the text. Rank 0 without --json;
 * else nothing. */
void rt_job_row(const struct rt_job *job, const char *label, const char *format, ...)
    RT_PRINTF(3, 4);
/* Free text on stdout (a newline is added). Rank 0 without --json; else nothing. */
void rt_job_print(const struct rt_job *job, const char *format, ...) RT_PRINTF(2, 3);

/* Messages, on stderr of rank 0: "ranktape: build: warning: ...". info is left out by --quiet,
 * debug needs -v. */
void rt_job_warn(const struct rt_job *job, const char *format, ...) RT_PRINTF(2, 3);
void rt_job_info(const struct rt_job *job, const char *format, ...) RT_PRINTF(2, 3);
void rt_job_debug(const struct rt_job *job, const char *format, ...) RT_PRINTF(2, 3);
/* Whether info goes out on this rank, for what draws its own lines (progress). */
bool rt_job_says_info(const struct rt_job *job);

/* A string of JSON, whose strings are UTF-8: of other text (file names may be anything) only what
 * is ASCII stays, the rest becomes '?'. NULL where memory ran out. */
json_t *rt_job_text_json(const char *text);

/* Puts value under key into the JSON answer (reference stolen; freed where there is no answer to
 * fill). */
void rt_job_set(const struct rt_job *job, const char *key, json_t *value);

/* --report: names are checked before any work: they end in .json or .html, and rank 0 can write
 * files of these names. Local. Fails with RT_USAGE, RT_IO. */
enum rt_status rt_job_check_reports(const struct rt_job *job, struct rt_error *err) RT_MUST_CHECK;
/* Writes record to every --report. Rank 0. Fails with RT_IO, naming the first that cannot be
 * written. */
enum rt_status rt_job_write_reports(const struct rt_job *job, const json_t *record,
                                    struct rt_error *err) RT_MUST_CHECK;
/* A page for people is asked for. */
bool rt_job_reports_html(const struct rt_job *job);
/* The record of a job that failed or stopped: for those whose launcher changes exit codes. The
 * caller owns it; NULL where memory ran out. */
json_t *rt_job_failure(const struct rt_job *job, enum rt_status st, const struct rt_error *err);

/* A line of the index's history: job, the generation it publishes, the rows alive then, and the
 * batch job it runs in, so that a script that starts again knows what it has done. The caller owns
 * it; NULL where memory ran out. */
json_t *rt_job_history(const struct rt_job *job, uint64_t generation, uint64_t n_rows);

/* {name: {"value": .., "source": "given"}} of the job's options; every class, or only one where
 * class is not RT_CLASS_NONE. NULL where memory ran out. Values: numbers, booleans, strings,
 * arrays; null while auto is not decided and where no text was given. Integers over 2^63-1 are
 * strings. */
json_t *rt_options_json(const struct rt_options *options, enum rt_option_class class);

#endif
