/* The arithmetic of plan for jobs that change an index: from what the headers of its files say to
 * the phases of the job, the memory of a rank in each (J1), what it reads, writes and sends, and
 * the disk it needs. What only the data tell is guessed so that memory and disk are enough: dead
 * rows lie as badly as they can, ids given in a file do not ascend, rows replace others. No MPI, no
 * clock. */
#ifndef RT_JOBS_PLAN_EDIT_MODEL_H
#define RT_JOBS_PLAN_EDIT_MODEL_H

#include "io/index_reader.h"
#include "jobs/plan_model.h"

struct rt_edit_plan_input {
    struct rt_plan_input machine; /* and, of an insert, the rows */
    const struct rt_index_view *view;
    uint64_t view_bytes; /* private ones that it takes */
    uint64_t n_ids;      /* of a delete */
};

#define RT_EDIT_PHASES 6
struct rt_edit_plan {
    int n_phases;
    const char *names[RT_EDIT_PHASES];
    struct rt_plan_cost costs[RT_EDIT_PHASES];
    uint64_t n_rounds;     /* of a vacuum */
    uint64_t n_carried;    /* of an insert: rows of older ones that go along, dead ones included */
    uint64_t base_bytes;   /* of a rank before any work, in all phases */
    uint64_t budget_bytes; /* of --memory; 0: not known */
    uint64_t peak_bytes;
    int peak_phase;
    bool fits;
    /* of the files that the manifest names now; of those that the job writes beside them, at most;
     * of those that it will name */
    uint64_t disk_now, disk_more, disk_after;
};

/* The job is options->planned; options are completed as the job completes them. Fails with
 * RT_NOMEM. */
enum rt_status rt_edit_plan_make(const struct rt_edit_plan_input *input,
                                 const struct rt_options *options, struct rt_edit_plan *out,
                                 struct rt_error *err) RT_MUST_CHECK;

#endif
