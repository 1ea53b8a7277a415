/* What people see of a running job: a bar on a terminal, one line every 10 s elsewhere, and a JSON
 * file for `watch`. */
#ifndef RT_JOBS_PROGRESS_VIEW_H
#define RT_JOBS_PROGRESS_VIEW_H

#include "core/error.h"
#include "io/lock.h"
#include "jobs/job.h"
#include "mpi/progress.h"

#include <stdio.h>

enum rt_progress_mode { RT_PROGRESS_AUTO = 0, RT_PROGRESS_ALWAYS, RT_PROGRESS_NEVER };

struct rt_progress_view_options {
    enum rt_progress_mode mode; /* auto: bar on a terminal, lines elsewhere; always: bar or lines
                                   with --quiet too; never: neither */
    bool is_quiet;              /* with auto: neither */
    FILE *stream;               /* stderr; lent */
    const char *job;            /* "build" */
    const char *file;           /* --progress-file, or NULL; lent */
};

struct rt_progress_view;
enum rt_status rt_progress_view_new(const struct rt_progress_view_options *options,
                                    struct rt_progress_view **out,
                                    struct rt_error *err) RT_MUST_CHECK;
/* The view of a job as its options ask for it (NULL but on rank 0), and the progress it shows.
 * Collective; both are freed by the caller, the progress first. */
enum rt_status rt_progress_view_start(const struct rt_job *job, struct rt_progress_view **view,
                                      struct rt_progress **progress,
                                      struct rt_error *err) RT_MUST_CHECK;
/* Clears the bar. NULL is fine. */
void rt_progress_view_free(struct rt_progress_view *view);
/* An rt_progress_show; context is the view. */
void rt_progress_view_show(void *view, const struct rt_progress_state *state);
/* Takes the bar away before another line is printed to the same terminal. NULL is fine. */
void rt_progress_view_clear(struct rt_progress_view *view);
/* The job writes index dir and holds its lock (both lent): progress is kept there too, in
 * checkpoint/progress.json, for `watch`. NULL for view is fine. */
void rt_progress_view_set_index(struct rt_progress_view *view, const char *dir,
                                const struct rt_lock *lock);
/* The job's last word in the files: state is "done", "failed" or "stopped"; text may be NULL, and
 * so may view. */
void rt_progress_view_end(struct rt_progress_view *view, const char *state, const char *text);

#endif
