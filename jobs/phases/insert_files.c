#include "jobs/phases/insert_files.h"

#include "core/memory.h"
#include "io/index_dir.h"
#include "jobs/phases/sorted_ids.h"
#include "mpi/agree.h"

#define SEGMENTS_AT_ONCE 64u

enum rt_status rt_insert_files_place(struct rt_inserter *in, struct rt_vectors_shape *shape,
                                     struct rt_error *err)
{
    const struct rt_options *options = in->context->job->options;
    const struct rt_rows_info *info = rt_rows_info(in->input->rows);
    const struct rt_chunks chunks = in->chunks;
    *shape = (struct rt_vectors_shape){.generation = in->context->generation,
                                       .fingerprint = in->input->fingerprint,
                                       .dim = in->dim,
                                       .element = info->type,
                                       .has_vectors = !options->rerank_in_heap,
                                       .cap_rows = UINT64_C(1) << chunks.shift,
                                       .n_tapes = (uint32_t)options->tapes,
                                       .ids_ascend = in->input->ids_ascend,
                                       .n_sorted = in->input->ids_ascend ? 0 : chunks.n_rows};
    const struct rt_checkpointing *checkpoint = in->context->checkpoint;
    struct rt_slot_layout_options slots = {.chunks = chunks,
                                           .n_ranks = checkpoint ? checkpoint->layout_ranks
                                                                 : in->context->job->n_ranks,
                                           .chooser = (enum rt_chooser_kind)options->chooser,
                                           .n_tapes = (uint32_t)options->tapes,
                                           .seed = options->seed,
                                           .share_slots = rt_vectors_share_slots(shape),
                                           .heap_runs = in->heap_runs,
                                           .n_heap_runs = in->n_heap_runs,
                                           .first_segment = in->input->first_segment};
    enum rt_status st = rt_slot_layout_new(in->context->job->comm, &slots, &in->out->slots, err);
    if (st == RT_OK) {
        shape->n_slots = in->out->slots->n_slots;
        shape->n_segments = in->out->slots->n_segments;
    }
    return st;
}

/* A layout rank's records lie where its rows would, moved up so that each part begins at a share
 * border. */
struct rt_range rt_insert_files_records(const struct rt_inserter *in, int layout_rank)
{
    const struct rt_slot_layout *slots = in->out->slots;
    uint64_t share = rt_tape_share_records(&in->out->tape_shape);
    struct rt_range records = {0, 0};
    for (int r = 0; r <= layout_rank; r++) {
        uint64_t own = rt_range_count(rt_slot_layout_rows(slots, r));
        records.begin = records.end;
        records.end += (own + share - 1) / share * share;
    }
    return records;
}

static enum rt_status make_tape_file(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = in->context->job;
    struct rt_insert_output *out = in->out;
    char path[RT_PATH_MAX];
    const struct rt_chunks *chunks = &out->slots->chunks;
    out->tape_shape = (struct rt_tape_shape){.generation = in->context->generation,
                                             .fingerprint = in->input->fingerprint,
                                             .n_records = chunks->n_rows,
                                             .n_chunks = chunks->n_chunks,
                                             .chunk_rows = UINT64_C(1) << chunks->shift,
                                             .dim = in->dim,
                                             .code_bytes = in->code_bytes,
                                             .n_factors = in->n_factors};
    for (int r = 0; r < out->slots->n_ranks; r++) { /* the last part ends as it does */
        uint64_t own = rt_range_count(rt_slot_layout_rows(out->slots, r));
        if (own)
            out->tape_shape.n_records = rt_insert_files_records(in, r).begin + own;
    }
    RT_LOCAL(rt_tape_layout(&out->tape_shape, &out->tape_layout, err));
    RT_LOCAL(rt_index_path(in->context->dir, RT_FILE_APPENDABLE, in->context->generation, true,
                           path, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_phase_open_file(in->context, path, rt_durable_before(in->durable) != NULL,
                              &out->tape_layout, &in->tape_file, err));
    if (!in->input->carry) /* compaction reads it next */
        rt_h5_write_past_cache(in->tape_file, false);
done:
    return st;
}

/* Vectors that stay in the heap: each rank writes its share of the segments of consecutive heap
 * rows (E5). */
static enum rt_status write_heap_segments(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = in->context->job;
    const struct rt_slot_layout *slots = in->out->slots;
    struct rt_vectors_datasets datasets = rt_vectors_datasets(&in->out->vectors_layout);
    struct rt_range mine = rt_share(slots->n_segments, job->rank, job->n_ranks, 1);
    struct rt_segment_entry entries[SEGMENTS_AT_ONCE];
    uint32_t n = 0; /* of them: those with numbers one behind the other */
    int of_rank = 0;
    for (uint64_t i = mine.begin; i < mine.end; i++) {
        const struct rt_heap_segment *segment = &slots->heap_segments[i];
        uint64_t row = segment->run.first_row;
        uint32_t tape = rt_slot_layout_tape_of_segment(slots, segment, &of_rank);
        entries[n++] =
            (struct rt_segment_entry){.number = segment->number,
                                      .tape = tape,
                                      .first_slot = rt_slot_layout_slot(slots, of_rank, tape, row),
                                      .n_slots = segment->n_rows,
                                      .first_row = segment->run.heap_row,
                                      .first_kept = RT_ALL_KEPT,
                                      .born = in->context->generation};
        if (n < SEGMENTS_AT_ONCE && i + 1 < mine.end && segment[1].number == segment->number + 1)
            continue;
        RT_TRY(rt_h5_write(in->vectors_file, (uint32_t)datasets.segments,
                           entries[0].number - slots->first_segment, n, entries, err));
        n = 0;
    }
done:
    return st;
}

static enum rt_status write_directory(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_first = in->context->job->rank == 0;
    const struct rt_slot_layout *slots = in->out->slots;
    struct rt_vectors_datasets datasets = rt_vectors_datasets(&in->out->vectors_layout);
    if (!slots->heap_segments && is_first)
        return rt_vectors_write_directory(in->vectors_file, slots->tapes, slots->n_tapes,
                                          slots->first_segment, NULL, err);
    if (!slots->heap_segments)
        return RT_OK;
    if (is_first)
        RT_TRY(rt_h5_write(in->vectors_file, (uint32_t)datasets.tapes, 0, slots->n_tapes,
                           slots->tapes, err));
    RT_TRY(write_heap_segments(in, err));
done:
    return st;
}

static enum rt_status make_vectors_file(struct rt_inserter *in,
                                        const struct rt_vectors_shape *shape, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_insert_output *out = in->out;
    char path[RT_PATH_MAX];
    RT_LOCAL(rt_vectors_layout(shape, &out->vectors_layout, err));
    RT_LOCAL(
        rt_index_path(in->context->dir, RT_FILE_VECTORS, in->context->generation, true, path, err));
    RT_AGREE(in->context->job->comm);
    RT_TRY(rt_phase_open_file(in->context, path, rt_durable_before(in->durable) != NULL,
                              &out->vectors_layout, &in->vectors_file, err));
    RT_LOCAL(write_directory(in, err));
    RT_AGREE(in->context->job->comm);
done:
    return st;
}

enum rt_status rt_insert_files_make(struct rt_inserter *in, const struct rt_vectors_shape *shape,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(make_tape_file(in, err));
    RT_TRY(make_vectors_file(in, shape, err));
done:
    return st;
}

/* ---- once all rows are written ---- */

/* This rank tells of an equal number of the layout's parts, whoever has filled them. */
static enum rt_status list_parts(const struct rt_inserter *in, struct rt_range **parts,
                                 uint32_t *n_parts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_slot_layout *slots = in->out->slots;
    const struct rt_job *job = in->context->job;
    struct rt_range mine = rt_share((uint64_t)slots->n_ranks, job->rank, job->n_ranks, 1);
    size_t first = (size_t)mine.begin * slots->tapes_of_rank;
    *n_parts = (uint32_t)rt_range_count(mine) * slots->tapes_of_rank;
    RT_TRY(rt_array_new(*n_parts, sizeof **parts, parts, err));
    for (uint32_t i = 0; i < *n_parts; i++)
        (*parts)[i] = (struct rt_range){slots->parts[first + i].begin, slots->parts[first + i].end};
done:
    return st;
}

static enum rt_status sort_ids(struct rt_inserter *in, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_range *parts = NULL;
    struct rt_sorted_ids_input input = {.file = in->vectors_file};
    RT_LOCAL(list_parts(in, &parts, &input.n_parts, err));
    RT_AGREE(in->context->job->comm);
    input.parts = parts;
    RT_TRY(rt_sorted_ids_write(in->context, &input, err));
done:
    rt_array_free(parts);
    return st;
}

enum rt_status rt_insert_files_complete(struct rt_inserter *in, enum rt_status st,
                                        struct rt_error *err)
{
    MPI_Comm comm = in->context->job->comm;
    uint64_t stops = !rt_progress_tick(in->context->progress);
    RT_AGREE(comm);
    rt_max_u64(comm, &stops, 1);
    if (stops)
        goto done;
    if (!in->input->ids_ascend)
        RT_TRY(sort_ids(in, err));
    if (in->input->carry) /* else compaction reads the tape and removes it */
        RT_TRY(rt_phase_hash_datasets(in->context, in->tape_file, RT_TAPE_CHUNKS, 1, st, err));
done:
    return st;
}
