/* A job that changes a published index: lock, the generation as found, the one to come, and what
 * people see meanwhile. Between begin and end a job writes files of the new generation; publishing
 * makes them the index. */
#ifndef RT_JOBS_PHASES_EDIT_H
#define RT_JOBS_PHASES_EDIT_H

#include "io/index_reader.h"
#include "io/lock.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/publish_phase.h"
#include "jobs/phases/tombstone_phase.h"
#include "jobs/progress_view.h"

struct rt_edit {
    struct rt_job *job;
    struct rt_phase_context context; /* generation: to be written */
    struct rt_progress_view *watch;  /* rank 0 */
    struct rt_lock *lock;            /* rank 0 */
    enum rt_index_check check;
    struct rt_index_view *view;   /* the generation as found, on all ranks */
    struct rt_manifest *manifest; /* rank 0: of the one to come, at first a copy of the view's */
    uint64_t published;           /* the last generation this job has published; 0: none yet */
    json_t *record;               /* rank 0: what --json and --report tell */
    bool is_told;                 /* the work is done, and reports were begun */
    uint64_t view_bytes;          /* private ones that the view takes */
    uint64_t memory_planned;      /* of a rank; rank 0; 0: not known */
    double began;
    bool goes_on;   /* it has found what a run before has left */
    bool has_begun; /* rank 0: what it has done so far can be gone on with */
};

/* Takes the lock of INDEX `dir` and opens it, checked so far. Collective over the job's
 * communicator. Fails with RT_USAGE (no index, locked), RT_DAMAGED, RT_IO. rt_edit_end is due in
 * every case. */
enum rt_status rt_edit_begin(struct rt_job *job, const char *dir, enum rt_index_check check,
                             struct rt_edit *edit, struct rt_error *err) RT_MUST_CHECK;
/* Completes --memory and, all other options being complete, plans the job, so that its report can
 * set planned beside actual. n_rows, n_ids: of an insert's ROWS, of a delete's file. Collective.
 * Fails with RT_NOMEM. */
enum rt_status rt_edit_foresee(struct rt_edit *edit, uint64_t n_rows, uint64_t n_ids,
                               struct rt_error *err) RT_MUST_CHECK;
/* The job goes on with this generation, which a run before it has begun to write. Collective. */
enum rt_status rt_edit_go_on(struct rt_edit *edit, uint64_t generation,
                             struct rt_error *err) RT_MUST_CHECK;
/* The new generation counts these rows no longer; tombstones-G names them, and the files it has
 * absorbed go. Rank 0. */
void rt_edit_bury(struct rt_edit *edit, const struct rt_tombstone_output *dead);
/* Publishes the new generation with these files beside those the manifest names, and removes what
 * no generation that is kept names. rows (NULL: none were read) are found unchanged first. `what`
 * goes into the history, beside job and generation; the reference is stolen; rank 0. Collective. */
enum rt_status rt_edit_publish(struct rt_edit *edit, const struct rt_new_file *files,
                               uint32_t n_files, struct rt_rows *rows, json_t *what,
                               struct rt_error *err) RT_MUST_CHECK;
/* Rank 0: a warning where another job than this has left something to go on with, since the index
 * moves on or that makes room. */
void rt_edit_tell_void(const struct rt_edit *edit);
/* After publishing: the new generation is opened, and the next one begun. Collective. */
enum rt_status rt_edit_again(struct rt_edit *edit, struct rt_error *err) RT_MUST_CHECK;
/* Puts value under key into the record (reference stolen); nothing on other ranks. */
void rt_edit_set(struct rt_edit *edit, const char *key, json_t *value);
/* After everything else of a job that has done its work: --report and --json. Collective. Fails
 * with RT_IO where a report cannot be written. */
enum rt_status rt_edit_tell(struct rt_edit *edit, struct rt_error *err) RT_MUST_CHECK;
/* Whatever has become of the job (st, err): files of a generation that was not published go, unless
 * it can be gone on with; so does the lock; a failure is reported. Collective. */
void rt_edit_end(struct rt_edit *edit, enum rt_status st, const struct rt_error *err);

#endif
