#include "jobs/phases/first_bad_row.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/metric.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/watchdog.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define MOST_SECONDS 3.0

enum rt_status rt_refuse_bad_row(const struct rt_rows *rows, uint64_t row,
                                 enum rt_row_verdict verdict, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char name[256];
    rt_rows_name_row(rows, row, name, sizeof name);
    RT_FAIL(RT_INPUT, "%s %s; mend it, or leave such rows out with --bad-rows skip", name,
            rt_row_verdict_text(verdict));
done:
    return st;
}

/* The first bad row of [begin, end), or RT_NO_BAD_ROW: none, or no time for more. */
static enum rt_status seek(const struct rt_phase_context *context, const struct rt_rows *rows,
                           struct rt_row_source *source, struct rt_range range, uint64_t *found,
                           enum rt_row_verdict *verdict, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(rows);
    enum rt_metric metric = (enum rt_metric)context->job->options->metric;
    size_t row_bytes = info->dim * rt_element_size(info->type);
    size_t most = PIECE_BYTES / row_bytes + 1;
    double began = rt_clock_seconds();
    unsigned char *native = NULL;
    float *values = NULL;
    RT_TRY(rt_array_new(most, row_bytes, &native, err));
    RT_TRY(rt_array_new(most, info->dim * sizeof *values, &values, err));
    for (uint64_t row = range.begin;
         row < range.end && *found == RT_NO_BAD_ROW && rt_clock_seconds() - began < MOST_SECONDS;) {
        size_t n = range.end - row < most ? (size_t)(range.end - row) : most;
        RT_TRY(rt_row_source_read(source, row, n, native, err));
        rt_element_to_f32(info->type, native, values, n * info->dim);
        for (size_t i = 0; i < n && *found == RT_NO_BAD_ROW; i++) {
            *verdict = rt_metric_prepare_row(metric, values + i * info->dim, info->dim);
            if (*verdict != RT_ROW_GOOD)
                *found = row + i;
        }
        row += n;
        rt_watchdog_beat();
    }
done:
    rt_array_free(native);
    rt_array_free(values);
    return st;
}

enum rt_status rt_first_bad_row(const struct rt_phase_context *context, const struct rt_rows *rows,
                                struct rt_row_source *source, uint64_t row, enum rt_status st,
                                struct rt_error *err)
{
    MPI_Comm comm = context->job->comm;
    struct rt_chunks chunks = rt_chunks_of(rt_row_source_n_rows(source));
    struct rt_range range = rt_chunks_rows(&chunks, context->job->rank, context->job->n_ranks);
    enum rt_row_verdict verdict = RT_ROW_GOOD;
    struct rt_error own = {.rank = -1};
    uint64_t known = row;
    uint64_t found = RT_NO_BAD_ROW;
    rt_min_u64(comm, &known, 1);
    if (st != RT_INPUT || known == RT_NO_BAD_ROW)
        return st;
    range.end = range.end < known + 1 ? range.end : known + 1;
    enum rt_status sought = seek(context, rows, source, range, &found, &verdict, &own);
    if (sought == RT_OK && found != RT_NO_BAD_ROW)
        sought = rt_refuse_bad_row(rows, rt_row_source_heap_row(source, found), verdict, &own);
    else
        sought = RT_OK; /* what is known already is good enough */
    /* partitions ascend with ranks, so that the first rank with a name has the first row's */
    if (rt_agree(comm, sought, &own) != RT_OK)
        *err = own;
    return st;
}
