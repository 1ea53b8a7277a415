#include "jobs/phases/insert_before.h"

#include "core/memory.h"
#include "io/index_dir.h"

#include <inttypes.h>
#include <string.h>

enum rt_status rt_insert_before_look(struct rt_inserter *in, const struct rt_vectors_shape *shape,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_slot_layout *slots = in->out->slots;
    struct rt_durable_options durable = {.name = RT_DURABLE_INSERT,
                                         .n_units = slots->chunks.n_chunks,
                                         .n_sums = in->n_sums,
                                         .n_most = in->n_counted};
    RT_TRY(rt_durable_new(in->context, &durable, &in->durable, err));
    struct rt_tape_shape tape = {
        .chunk_rows = shape->cap_rows, .code_bytes = in->code_bytes, .n_factors = in->n_factors};
    uint64_t share = rt_tape_share_records(&tape);
    uint64_t share_slots = rt_vectors_share_slots(shape);
    share = share > share_slots ? share : share_slots;
    in->work = (struct rt_chunk_work){.chunks = slots->chunks,
                                      .layout_ranks = slots->n_ranks,
                                      .done = rt_durable_before(in->durable)};
    if (slots->chooser != RT_CHOOSER_RNG) /* both are powers of two */
        in->work.group = share > shape->cap_rows ? share / shape->cap_rows : 1;
done:
    return st;
}

static bool is_done(const struct rt_inserter *in, uint64_t chunk)
{
    return in->work.done && rt_bit_get(in->work.done, chunk);
}

/* The recall gate must see every row: those that a run before has inserted are read once more. */
static enum rt_status show_rows(struct rt_inserter *in, struct rt_range rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(in->input->rows);
    float *values = NULL;
    RT_TRY(rt_array_new(in->dim, sizeof *values, &values, err));
    for (uint64_t row = rows.begin; row < rows.end;) {
        uint64_t left = rows.end - row;
        size_t n = left < in->block_rows ? (size_t)left : in->block_rows;
        RT_TRY(rt_row_source_read(in->input->source, row, n, in->native, err));
        RT_TRY(rt_row_source_read_ids(in->input->source, row, n, in->rows.ids, err));
        for (size_t i = 0; i < n; i++) {
            rt_element_to_f32(info->type, in->native + i * in->row_bytes, values, in->dim);
            if (rt_metric_prepare_row(in->input->tree->metric, values, in->dim) == RT_ROW_GOOD)
                rt_recall_gate_pass(in->input->gate, in->native + i * in->row_bytes,
                                    in->rows.ids[i]);
        }
        row += n;
        if (!rt_progress_tick(in->context->progress))
            break;
    }
done:
    rt_array_free(values);
    return st;
}

enum rt_status rt_insert_before_count(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = in->context->job;
    struct rt_range mine = rt_chunks_share(&in->work.chunks, job->rank, job->n_ranks);
    for (uint64_t chunk = mine.begin; chunk < mine.end; chunk++) {
        struct rt_range rows = rt_chunk_rows(&in->work.chunks, chunk);
        if (!is_done(in, chunk))
            continue;
        rt_progress_add(in->context->progress, RT_COUNT_DONE, rt_range_count(rows));
        rt_progress_add_resumed(in->context->progress, rt_range_count(rows));
        if (in->input->gate)
            RT_TRY(show_rows(in, rows, err));
    }
done:
    return st;
}

enum rt_status rt_insert_before_recount(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = in->context->job;
    struct rt_range mine = rt_chunks_share(&in->work.chunks, job->rank, job->n_ranks);
    struct rt_tape_view tape = {0};
    char path[RT_PATH_MAX];
    memset(in->out->list_rows, 0, in->n_lists * sizeof *in->out->list_rows);
    RT_TRY(rt_index_path(in->context->dir, RT_FILE_APPENDABLE, in->context->generation, true, path,
                         err));
    RT_TRY(rt_tape_open(path, &tape, err));
    for (uint64_t chunk = mine.begin; chunk < mine.end; chunk++) {
        const uint64_t *entry = tape.chunks + 2 * chunk;
        for (uint64_t record = entry[0]; record < entry[0] + entry[1]; record++) {
            uint32_t list = tape.records.lists[record];
            if (list >= in->n_lists)
                RT_FAIL(RT_DAMAGED, "'%s' is damaged: record %" PRIu64 " is of list %" PRIu32, path,
                        record, list);
            in->out->list_rows[list]++;
        }
    }
done:
    rt_tape_close(&tape);
    return st;
}
