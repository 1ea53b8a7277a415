/* What the phases of a job share: who takes part, where the index lies, how files are written, and
 * the record of what a phase cost. Collective helpers around files of the index. */
#ifndef RT_JOBS_PHASES_PHASE_H
#define RT_JOBS_PHASES_PHASE_H

#include "core/error.h"
#include "io/hdf5_file.h"
#include "io/lock.h"
#include "jobs/job.h"
#include "mpi/progress.h"
#include "mpi/spread.h"

#include <mpi.h>
#include <stdint.h>

/* What one phase cost. Sums and extremes over ranks; the same on all of them. */
struct rt_phase_record {
    double began;          /* rt_clock_seconds of rank 0 */
    double seconds;        /* of the slowest rank, waiting included */
    struct rt_spread busy; /* seconds of work over the ranks, without what they waited for others */
    double file_seconds;   /* in reads and writes of files, of the rank with most */
    uint64_t units;        /* rows, records.. that this run has done */
    uint64_t bytes_read;
    uint64_t bytes_written;
    uint64_t bytes_exchanged;
    uint64_t memory_bytes; /* peak of a rank in this phase: private and its part of shared (J1) */
};

/* The phases that have ended, in order; of a vacuum in many rounds the first ones. */
#define RT_PHASE_LOG 32
struct rt_phase_log {
    size_t n;
    size_t n_left_out;
    struct {
        const char *name, *unit;
        struct rt_phase_record record;
    } phase[RT_PHASE_LOG];
};

/* Of a job that can go on where another was interrupted (G). */
struct rt_checkpointing {
    double interval_seconds;
    bool resumes;     /* it does: a run before it has left something */
    int layout_ranks; /* of the first run: whose parts the files are laid out for (E2) */
    /* Called on rank 0, by any thread but once, before a run keeps its first state: to write down
     * what --resume must know of the job. So a short job pays for no checkpoint. NULL: that is
     * written already. */
    enum rt_status (*begin)(void *begin_context, struct rt_error *err);
    void *begin_context;
};

struct rt_phase_context {
    struct rt_job *job; /* comm, rank, options, messages */
    struct rt_progress *progress;
    const char *if_stopped; /* what to say then, where there is no checkpoint; NULL: nothing is
                               published */
    const char *dir;        /* INDEX */
    uint64_t generation;
    enum rt_io_way way;
    uint64_t budget_bytes;                     /* of a rank; 0: not known */
    uint64_t base_bytes;                       /* private bytes before any work (J1) */
    const struct rt_lock *lock;                /* of dir; on rank 0, once it is taken, else NULL */
    const struct rt_checkpointing *checkpoint; /* NULL: none */
    uint64_t unpaced_bytes; /* that this rank moved since its last sleep (pace.h) */
    struct rt_phase_log log;
};

/* A phase begins: progress, memory peak and clock. */
struct rt_phase_clock {
    const char *name, *unit;
    double began;
    double waited;   /* rt_waiting_seconds then */
    double in_files; /* rt_file_clock_seconds then */
};
void rt_phase_begin(struct rt_phase_context *context, const char *name, const char *unit,
                    uint64_t total, struct rt_phase_clock *clock);
/* Ends it: as rt_progress_end, fills *record on every rank and adds it to the log. Collective over
 * the job's communicator. RT_STOPPED where a stop was asked for. */
enum rt_status rt_phase_end(struct rt_phase_context *context, const struct rt_phase_clock *clock,
                            enum rt_status st, struct rt_phase_record *record,
                            struct rt_error *err) RT_MUST_CHECK;

/* For loops without an end of their own: RT_STOPPED once a stop was asked for or another rank has
 * failed. Local; takes part as rt_progress_tick does. */
enum rt_status rt_phase_check(struct rt_phase_context *context, struct rt_error *err) RT_MUST_CHECK;

/* Is the file there of which a state tells? Fails with RT_DAMAGED where it is not. Local. */
enum rt_status rt_phase_require_file(const char *path, struct rt_error *err) RT_MUST_CHECK;
/* Rank 0 creates the file of *layout, all ranks open it for writing; *layout (offsets) is then the
 * same on all, and large pieces go past the page cache. With is_there a run before has created it:
 * it must be as *layout says. Collective
 * over the job's communicator; layout and is_there must agree. Fails with RT_USAGE (the lock was
 * taken over, and so perhaps the name), RT_IO, RT_DAMAGED. */
enum rt_status rt_phase_open_file(struct rt_phase_context *context, const char *path, bool is_there,
                                  struct rt_h5_layout *layout, struct rt_h5_file **out,
                                  struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_phase_create_file(struct rt_phase_context *context, const char *path,
                                    struct rt_h5_layout *layout, struct rt_h5_file **out,
                                    struct rt_error *err) RT_MUST_CHECK; /* is_there false */
/* Checksums of datasets [first, first + n) of the file, whose rows ranks have written in parts that
 * end anywhere: once all is written each hashes an equal share of the units. Collective, and safe
 * after a failure of some: st is this rank's status so far and the agreed one is returned. Fails
 * with RT_IO, RT_NOMEM. */
enum rt_status rt_phase_hash_datasets(struct rt_phase_context *context, struct rt_h5_file *file,
                                      uint32_t first, uint32_t n, enum rt_status st,
                                      struct rt_error *err) RT_MUST_CHECK;
/* Syncs and closes on every rank; collective, and safe after a failure of some: st is this rank's
 * status so far and the agreed one is returned. After a failed MPI-IO write nobody closes: the
 * job's must_abort is set and main ends the job so. file NULL on a rank is fine. */
enum rt_status rt_phase_close_file(struct rt_phase_context *context, struct rt_h5_file *file,
                                   enum rt_status st, struct rt_error *err) RT_MUST_CHECK;
/* Rank 0, before names in dir are written that a taker of its lock would use as well: RT_USAGE
 * where the lock is not ours any more. */
enum rt_status rt_phase_check_lock(const struct rt_phase_context *context,
                                   struct rt_error *err) RT_MUST_CHECK;
/* What a job is to tell that ends with st, agreed: where another has taken over its lock, that, and
 * not what it has met among files that are not its own any more. Collective over the job's
 * communicator. */
enum rt_status rt_phase_blame(const struct rt_phase_context *context, enum rt_status st,
                              struct rt_error *err) RT_MUST_CHECK;

#endif
