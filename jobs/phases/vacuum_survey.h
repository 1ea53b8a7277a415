/* What a vacuum finds: dead rows and appendable records by list, dead slots by vectors file; and
 * which lists are worth writing anew (H1, H2). Reads tombstones and appendable records, not lists:
 * its cost follows what has changed. */
#ifndef RT_JOBS_PHASES_VACUUM_SURVEY_H
#define RT_JOBS_PHASES_VACUUM_SURVEY_H

#include "io/index_rows.h"
#include "jobs/phases/phase.h"

#include <stdbool.h>

struct rt_survey { /* the same on all ranks */
    uint32_t n_lists;
    uint64_t *rows;   /* of each frozen list, dead ones included */
    uint64_t *n_dead; /* tombstones that hit it, or did before its file was written: 0 is exact */
    uint64_t *n_records;    /* appendable records that count, dead ones included */
    uint64_t *n_live;       /* the live ones of those */
    uint64_t *n_dead_slots; /* by vectors file of the view */
    bool *is_chosen;        /* lists to be written anew */
    uint64_t n_chosen;
    bool is_whole; /* all that is worth it is chosen: nothing is left for another round */
};

/* Within a phase, or as one. Collective over the job's communicator. The caller frees with
 * rt_survey_free. Fails with RT_DAMAGED, RT_NOMEM, and as rt_phase_check. */
enum rt_status rt_survey_make(struct rt_phase_context *context, const struct rt_index_view *view,
                              struct rt_survey *out, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_survey_phase(struct rt_phase_context *context, const struct rt_index_view *view,
                               struct rt_survey *out, struct rt_error *err) RT_MUST_CHECK;
void rt_survey_free(struct rt_survey *survey);

/* Private bytes of a rank that holds a survey. */
uint64_t rt_survey_bytes(uint32_t n_lists, size_t n_vectors);

/* rows[list]: live rows in the frozen file of every chosen list, exactly; 0 of the others. Lists
 * are dealt out by their rows; those without dead rows need no look. Within a phase. Collective
 * over the job's communicator. Fails with RT_DAMAGED, and as rt_phase_check. */
enum rt_status rt_survey_count_frozen(struct rt_phase_context *context,
                                      const struct rt_index_view *view,
                                      const struct rt_survey *survey, uint64_t *rows,
                                      struct rt_error *err) RT_MUST_CHECK;

struct rt_survey_choice {
    bool full;            /* every list that is not as a build leaves it */
    double dead_fraction; /* of a frozen file's blocks that no list uses */
    uint64_t since;       /* lists in files of this generation and later are new: full and
                             dead_fraction leave them alone */
    uint64_t round_rows;  /* that a round reads, about: full leaves alone what fills half of one */
    uint64_t most_rows;   /* to read in this one: round_rows, or 0: all */
};
/* round_rows: what ranks of this budget write within a quarter of it. */
uint64_t rt_survey_round_rows(const struct rt_index_view *view, uint64_t budget_bytes, int n_ranks);
/* Chooses; local, and the same on all ranks. */
void rt_survey_choose(const struct rt_index_view *view, const struct rt_survey_choice *choice,
                      struct rt_survey *survey);

#endif
