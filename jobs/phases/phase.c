#include "jobs/phases/phase.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/memory.h"
#include "io/file_clock.h"
#include "io/unit_writer.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/signals.h"
#include "mpi/waiting.h"
#include "mpi/watchdog.h"

#include <errno.h>
#include <unistd.h>

#define HASHED_UNITS UINT64_C(64) /* between two looks at the others */

static enum rt_status stopped(const struct rt_phase_context *context, struct rt_error *err)
{
    return rt_error_set(err, RT_STOPPED, __FILE__, __LINE__, "stopped %s; %s",
                        rt_signals_stop_reason(),
                        context->checkpoint   ? "run again with --resume to go on"
                        : context->if_stopped ? context->if_stopped
                                              : "nothing is published");
}

void rt_phase_begin(struct rt_phase_context *context, const char *name, const char *unit,
                    uint64_t total, struct rt_phase_clock *clock)
{
    rt_watchdog_set_phase(name);
    (void)RT_FAULT(name);
    rt_memory_reset_peak();
    *clock = (struct rt_phase_clock){.name = name,
                                     .unit = unit,
                                     .began = rt_clock_seconds(),
                                     .waited = rt_waiting_seconds(),
                                     .in_files = rt_file_clock_seconds()};
    rt_progress_begin(context->progress, name, unit, total);
}

static void measure(struct rt_phase_context *context, const struct rt_phase_clock *clock,
                    double busy, struct rt_phase_record *record)
{
    MPI_Comm comm = context->job->comm;
    uint64_t memory = context->base_bytes + rt_memory_peak();
    rt_max_u64(comm, &memory, 1);
    double seconds[2] = {rt_clock_seconds() - clock->began,
                         rt_file_clock_seconds() - clock->in_files};
    double began = clock->began;
    MPI_Allreduce(MPI_IN_PLACE, seconds, 2, MPI_DOUBLE, MPI_MAX, comm);
    MPI_Bcast(&began, 1, MPI_DOUBLE, 0, comm);
    const struct rt_progress *progress = context->progress;
    *record = (struct rt_phase_record){
        .began = began,
        .seconds = seconds[0],
        .file_seconds = seconds[1],
        .units =
            rt_progress_total_of(progress, RT_COUNT_DONE) - rt_progress_total_resumed(progress),
        .bytes_read = rt_progress_total_of(progress, RT_COUNT_BYTES_READ),
        .bytes_written = rt_progress_total_of(progress, RT_COUNT_BYTES_WRITTEN),
        .bytes_exchanged = rt_progress_total_of(progress, RT_COUNT_BYTES_SENT),
        .memory_bytes = memory,
    };
    rt_spread_measure(comm, busy > 0 ? busy : 0, RT_SPREAD_TOLD, &record->busy);
}

static void add_to_log(struct rt_phase_log *log, const struct rt_phase_clock *clock,
                       const struct rt_phase_record *record)
{
    if (log->n == RT_PHASE_LOG) {
        log->n_left_out++;
        return;
    }
    log->phase[log->n].name = clock->name;
    log->phase[log->n].unit = clock->unit;
    log->phase[log->n++].record = *record;
}

enum rt_status rt_phase_check(struct rt_phase_context *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (!rt_progress_tick(context->progress) || rt_signals_stop_asked())
        RT_TRY(stopped(context, err));
done:
    return st;
}

enum rt_status rt_phase_end(struct rt_phase_context *context, const struct rt_phase_clock *clock,
                            enum rt_status st, struct rt_phase_record *record, struct rt_error *err)
{
    double busy = rt_clock_seconds() - clock->began - (rt_waiting_seconds() - clock->waited);
    RT_TRY(rt_progress_end(context->progress, st, err));
    measure(context, clock, busy, record);
    add_to_log(&context->log, clock, record);
    if (rt_progress_is_stopped(context->progress))
        RT_TRY(stopped(context, err));
done:
    return st;
}

enum rt_status rt_phase_check_lock(const struct rt_phase_context *context, struct rt_error *err)
{
    return context->lock ? rt_lock_check(context->lock, err) : RT_OK;
}

enum rt_status rt_phase_require_file(const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        RT_FAIL(RT_DAMAGED, "'%s', of which the checkpoint tells, is gone", path);
done:
    return st;
}

static enum rt_status adopt(const char *path, struct rt_h5_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_layout found;
    RT_TRY(rt_phase_require_file(path, err));
    RT_TRY(rt_h5_read_layout(path, &found, err));
    RT_TRY(rt_h5_adopt(path, &found, layout, err));
done:
    return st;
}

enum rt_status rt_phase_open_file(struct rt_phase_context *context, const char *path, bool is_there,
                                  struct rt_h5_layout *layout, struct rt_h5_file **out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_file *file = NULL;
    MPI_Comm comm = context->job->comm;
    if (context->job->rank == 0) {
        RT_LOCAL(rt_phase_check_lock(context, err));
        RT_LOCAL(is_there ? adopt(path, layout, err) : rt_h5_create(path, layout, err));
    }
    RT_AGREE(comm);
    rt_bcast_bytes(comm, layout, sizeof *layout, 0);
    RT_LOCAL(rt_h5_open_write(context->way == RT_IO_MPIO ? &comm : NULL, path, layout, context->way,
                              &file, err));
    st = rt_agree(comm, st, err);
    if (st == RT_OK)
        rt_h5_write_past_cache(file, true);
    if (st == RT_OK)
        *out = file;
    else /* on the ranks that could not open it too: closing is collective */
        st = rt_phase_close_file(context, file, st, err);
done:
    return st;
}

enum rt_status rt_phase_create_file(struct rt_phase_context *context, const char *path,
                                    struct rt_h5_layout *layout, struct rt_h5_file **out,
                                    struct rt_error *err)
{
    return rt_phase_open_file(context, path, false, layout, out, err);
}

static enum rt_status hash_rows(struct rt_phase_context *context, struct rt_h5_file *file,
                                uint32_t dataset, struct rt_range rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t piece = HASHED_UNITS * rt_h5_file_layout(file)->datasets[dataset].unit_rows;
    for (uint64_t at = rows.begin; at < rows.end; at += piece) {
        RT_TRY(rt_phase_check(context, err));
        uint64_t end = rows.end - at < piece ? rows.end : at + piece;
        RT_TRY(rt_unit_rehash(file, dataset, at, end, err));
    }
done:
    return st;
}

enum rt_status rt_phase_hash_datasets(struct rt_phase_context *context, struct rt_h5_file *file,
                                      uint32_t first, uint32_t n, enum rt_status st,
                                      struct rt_error *err)
{
    const struct rt_job *job = context->job;
    RT_LOCAL(rt_h5_sync(file, err)); /* mpio: others read it */
    RT_AGREE(job->comm);
    for (uint32_t i = first; i < first + n; i++) {
        const struct rt_h5_dataset *d = &rt_h5_file_layout(file)->datasets[i];
        if (d->unit_rows == 0)
            continue;
        struct rt_range mine = rt_share(d->dims[0], job->rank, job->n_ranks, d->unit_rows);
        RT_LOCAL(hash_rows(context, file, i, mine, err));
    }
    RT_AGREE(job->comm);
done:
    return st;
}

enum rt_status rt_phase_close_file(struct rt_phase_context *context, struct rt_h5_file *file,
                                   enum rt_status st, struct rt_error *err)
{
    MPI_Comm comm = context->job->comm;
    if (file)
        RT_LOCAL(rt_h5_sync(file, err));
    uint64_t must_abort = file && rt_h5_must_abort(file);
    rt_max_u64(comm, &must_abort, 1);
    if (must_abort) /* closing would hang: the file stays open until main has told why and ends the
                       job */
        context->job->must_abort = true;
    else { /* on failed ranks too: the close is collective, and the first error is the one to tell
            */
        struct rt_error ignored;
        enum rt_status closed = rt_h5_close(file, st == RT_OK ? err : &ignored);
        st = st == RT_OK ? closed : st;
    }
    return rt_agree(comm, st, err);
}

enum rt_status rt_phase_blame(const struct rt_phase_context *context, enum rt_status st,
                              struct rt_error *err)
{
    struct rt_error lost;
    enum rt_status own = RT_OK;
    if (st == RT_OK || st == RT_STOPPED)
        return st;
    if (context->job->rank == 0)
        own = rt_phase_check_lock(context, &lost);
    own = rt_agree(context->job->comm, own == RT_USAGE ? own : RT_OK, &lost);
    if (own == RT_OK)
        return st;
    *err = lost;
    return own;
}
