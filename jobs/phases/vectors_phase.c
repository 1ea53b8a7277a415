#include "jobs/phases/vectors_phase.h"

#include "core/memory.h"
#include "io/index_dir.h"
#include "jobs/phases/pace.h"
#include "jobs/phases/sorted_ids.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <stdlib.h>
#include <string.h>

#define WRITE_BUFFER_BYTES ((size_t)8 << 20)
#define PIECE_SLOTS 4096u /* looked at between two ticks */

struct segment { /* of a file that is written anew; those without a live row are gone */
    const struct rt_vectors_view *file;
    const struct rt_segment_entry *entry;
    uint64_t n_live;
    uint64_t first_slot; /* in the new file */
    uint64_t first_word; /* of its bitmap there, or RT_ALL_KEPT */
};

struct rewriter {
    struct rt_phase_context *context;
    const struct rt_index_view *view;
    struct rt_vectors_output *out;
    struct segment *segments;
    size_t n_segments;
    struct rt_range mine; /* segments whose rows this rank counts */
    uint64_t n_words;
    bool ids_ascend;
    struct rt_h5_file *file;
    struct rt_unit_writer *writer;
};

uint64_t rt_vectors_phase_bytes(const struct rt_vectors_shape *shape, size_t n_segments,
                                uint64_t budget_bytes, int n_ranks)
{
    struct rt_vectors_shape whole = *shape;
    whole.cap_rows = UINT64_C(1) << rt_chunks_of(shape->n_slots).shift;
    uint64_t share = rt_share_most(shape->n_slots, n_ranks, rt_vectors_share_slots(&whole));
    uint64_t words = RT_SEGMENT_SLOTS / 64 * sizeof(struct rt_kept_word); /* of one at a time */
    uint64_t ids =
        shape->ids_ascend ? 0 : rt_sorted_ids_bytes(budget_bytes, shape->n_slots, n_ranks);
    return n_segments * sizeof(struct segment) +
           rt_vectors_writer_bytes(&whole, share, WRITE_BUFFER_BYTES) + (words > ids ? words : ids);
}

/* ---- choosing ---- */

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* Small files go together with those written anew: from the smallest, each of at most twice what is
 * held so far. */
static void join_small(const struct rt_index_view *view, const uint64_t *n_dead_slots,
                       uint64_t (*sizes)[2], bool *is_chosen)
{
    uint64_t held = 0;
    size_t n = 0;
    for (size_t i = 0; i < view->n_vectors; i++) {
        uint64_t used =
            rt_manifest_rows(view->manifest, RT_FILE_VECTORS, view->vectors[i].shape.generation);
        sizes[i][0] = used > n_dead_slots[i] ? used - n_dead_slots[i] : 0; /* what it will be: a
                                                                second vacuum finds the same */
        sizes[i][1] = i;
    }
    if (view->n_vectors)
        qsort(sizes, view->n_vectors, sizeof *sizes, by_size);
    while (n < view->n_vectors && (n == 0 || sizes[n][0] / 2 <= held))
        held += sizes[n++][0];
    for (size_t i = 0; i < n && n > 1; i++)
        is_chosen[sizes[i][1]] = true;
}

enum rt_status rt_vectors_choose(const struct rt_index_view *view, const uint64_t *n_dead_slots,
                                 bool full, double dead_fraction, bool *is_chosen,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t(*sizes)[2] = NULL;
    RT_TRY(rt_array_new(view->n_vectors, sizeof *sizes, &sizes, err));
    for (size_t i = 0; i < view->n_vectors; i++) {
        uint64_t dead = n_dead_slots[i];
        uint64_t used =
            rt_manifest_rows(view->manifest, RT_FILE_VECTORS, view->vectors[i].shape.generation);
        is_chosen[i] =
            dead > 0 && (full || dead >= used || (double)dead > dead_fraction * (double)used);
    }
    join_small(view, n_dead_slots, sizes, is_chosen);
done:
    rt_array_free(sizes);
    return st;
}

/* ---- writing ---- */

static uint64_t words_of(uint64_t n_slots)
{
    return n_slots / 64 + (n_slots % 64 != 0);
}

/* What tells which of its slots hold live rows. */
static enum rt_status check_segment(const struct segment *segment, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_vectors_view *file = segment->file;
    const struct rt_segment_entry *entry = segment->entry;
    if (entry->first_kept != RT_ALL_KEPT)
        RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)file->datasets.kept, entry->first_kept,
                                    words_of(entry->n_slots), err));
    RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)file->datasets.ids, entry->first_slot,
                                rt_segment_stored(file, entry), err));
done:
    return st;
}

/* Slot in its file of a segment's slot `at` where a live row lies; else RT_NO_ROW. */
static uint64_t live_slot(const struct rewriter *r, const struct segment *segment, uint64_t at)
{
    const struct rt_vectors_view *file = segment->file;
    uint64_t slot = rt_segment_slot(file, segment->entry, (uint32_t)at);
    bool lives = slot != RT_NO_ROW && file->ids[slot] != RT_NO_ID &&
                 rt_index_is_live(r->view, file->ids[slot], file->shape.generation);
    return lives ? slot : RT_NO_ROW;
}

static enum rt_status gather_segments(struct rewriter *r, const bool *is_chosen,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = r->view;
    RT_TRY(rt_array_zero(view->n_segments, sizeof *r->segments, &r->segments, err));
    for (size_t i = 0; i < view->n_segments; i++)
        if (is_chosen[view->segments[i].file - view->vectors])
            r->segments[r->n_segments++] =
                (struct segment){.file = view->segments[i].file, .entry = view->segments[i].entry};
done:
    return st;
}

/* Segments whose first slot, all counted through, falls into this rank's share. */
static void share_segments(struct rewriter *r)
{
    const struct rt_job *job = r->context->job;
    uint64_t total = 0;
    uint64_t before = 0;
    for (size_t i = 0; i < r->n_segments; i++)
        total += r->segments[i].entry->n_slots;
    struct rt_range slots = rt_share(total, job->rank, job->n_ranks, 1);
    r->mine = (struct rt_range){r->n_segments, r->n_segments};
    for (size_t i = 0; i < r->n_segments; i++) {
        if (before >= slots.begin && i < r->mine.begin)
            r->mine.begin = i;
        if (before >= slots.end) {
            r->mine.end = i;
            break;
        }
        before += r->segments[i].entry->n_slots;
    }
    if (r->mine.begin > r->mine.end)
        r->mine.begin = r->mine.end;
}

struct id_run {           /* of this rank's live rows */
    uint64_t first, last; /* last: one more than it, 0 where there is none: no id is 2^64-1 */
    uint64_t falls;
};

static enum rt_status count_segment(const struct rewriter *r, const struct segment *segment,
                                    struct id_run *ids, uint64_t *n_live, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_phase_check(r->context, err));
    RT_TRY(check_segment(segment, err));
    for (uint64_t at = 0; at < segment->entry->n_slots; at++) {
        uint64_t slot = live_slot(r, segment, at);
        if (slot == RT_NO_ROW)
            continue;
        uint64_t id = segment->file->ids[slot];
        ids->falls |= id + 1 <= ids->last;
        ids->first = ids->last == 0 ? id : ids->first;
        ids->last = id + 1;
        ++*n_live;
    }
done:
    return st;
}

/* Live rows of each segment; do ids ascend through all of them? */
static enum rt_status count_rows(struct rewriter *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = r->context->job->comm;
    uint64_t *counts = NULL;
    struct id_run ids = {.first = UINT64_MAX};
    uint64_t before = 0;
    RT_LOCAL(rt_array_zero(r->n_segments, sizeof *counts, &counts, err));
    RT_AGREE(comm);
    for (uint64_t i = r->mine.begin; i < r->mine.end && st == RT_OK; i++)
        RT_LOCAL(count_segment(r, &r->segments[i], &ids, &counts[i], err));
    RT_AGREE(comm);
    MPI_Exscan(&ids.last, &before, 1, MPI_UINT64_T, MPI_MAX, comm);
    if (r->context->job->rank == 0)
        before = 0;
    ids.falls |= ids.last > 0 && before > ids.first;
    rt_max_u64(comm, &ids.falls, 1);
    rt_sum_u64(comm, counts, r->n_segments);
    r->ids_ascend = !ids.falls;
    for (size_t i = 0; i < r->n_segments; i++)
        r->segments[i].n_live = counts[i];
done:
    rt_array_free(counts);
    return st;
}

/* Empty segments go; the others get their slots and words in the new file. */
static void place_segments(struct rewriter *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_segments; i++) {
        struct segment segment = r->segments[i];
        bool is_whole = segment.n_live == segment.entry->n_slots;
        if (segment.n_live == 0)
            continue;
        segment.first_slot = r->out->n_rows;
        segment.first_word = is_whole ? RT_ALL_KEPT : r->n_words;
        r->out->n_rows += segment.n_live;
        r->n_words += is_whole ? 0 : words_of(segment.entry->n_slots);
        r->segments[n++] = segment;
    }
    r->n_segments = n;
}

static enum rt_status write_directory(struct rewriter *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_vectors_datasets datasets = rt_vectors_datasets(&r->out->layout);
    struct rt_segment_entry *entries = NULL;
    struct rt_tape_entry tape = {.first_slot = 0, .n_slots = r->out->n_rows};
    RT_TRY(rt_array_new(r->n_segments, sizeof *entries, &entries, err));
    for (size_t i = 0; i < r->n_segments; i++) {
        entries[i] = *r->segments[i].entry;
        entries[i].tape = 0;
        entries[i].first_slot = r->segments[i].first_slot;
        entries[i].first_kept = r->segments[i].first_word;
    }
    RT_TRY(rt_h5_write(r->file, (uint32_t)datasets.tapes, 0, 1, &tape, err));
    RT_TRY(rt_h5_write(r->file, (uint32_t)datasets.segments, 0, r->n_segments, entries, err));
done:
    rt_array_free(entries);
    return st;
}

static enum rt_status make_file(struct rewriter *r, struct rt_range *share, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = r->context->job;
    const struct rt_manifest *m = r->view->manifest;
    char path[RT_PATH_MAX];
    struct rt_vectors_shape shape = {.generation = r->context->generation,
                                     .fingerprint = m->fingerprint,
                                     .n_slots = r->out->n_rows,
                                     .dim = m->dim,
                                     .element = m->element,
                                     .has_vectors = !m->rerank_in_heap,
                                     .cap_rows = UINT64_C(1) << rt_chunks_of(r->out->n_rows).shift,
                                     .n_tapes = 1,
                                     .n_segments = (uint32_t)r->n_segments,
                                     .ids_ascend = r->ids_ascend,
                                     .n_sorted = r->ids_ascend ? 0 : r->out->n_rows,
                                     .n_kept = r->n_words};
    RT_LOCAL(rt_vectors_layout(&shape, &r->out->layout, err));
    RT_LOCAL(
        rt_index_path(r->context->dir, RT_FILE_VECTORS, r->context->generation, true, path, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_phase_create_file(r->context, path, &r->out->layout, &r->file, err));
    *share = rt_share(shape.n_slots, job->rank, job->n_ranks, rt_vectors_share_slots(&shape));
    if (job->rank == 0)
        RT_LOCAL(write_directory(r, err));
    RT_LOCAL(rt_vectors_writer_new(r->file, share->begin, share->end, WRITE_BUFFER_BYTES,
                                   &r->writer, err));
    RT_AGREE(job->comm);
done:
    return st;
}

/* A run of slots of one file, one behind the other. */
static enum rt_status copy_run(struct rewriter *r, const struct rt_vectors_view *file,
                               uint64_t first, uint64_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_vectors_datasets datasets = file->datasets;
    const unsigned char *vectors = file->vectors;
    size_t row_bytes = vectors ? rt_element_size(file->shape.element) * file->shape.dim : 0;
    if (n == 0)
        return RT_OK;
    if (vectors)
        RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)datasets.vectors, first, n, err));
    RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)datasets.ids, first, n, err));
    RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)datasets.lists, first, n, err));
    RT_TRY(rt_vectors_append(r->writer, vectors ? vectors + first * row_bytes : NULL,
                             file->ids + first, file->lists + first, n, err));
    rt_progress_add(r->context->progress, RT_COUNT_DONE, n);
    rt_progress_add(r->context->progress, RT_COUNT_BYTES_WRITTEN, n * (row_bytes + 12));
    RT_TRY(rt_pace_spend(r->context, n * (row_bytes + 12), err));
done:
    return st;
}

/* Live rows [begin, end) of a segment. */
static enum rt_status copy_segment(struct rewriter *r, const struct segment *segment,
                                   uint64_t begin, uint64_t end, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_before = 0; /* live rows met */
    uint64_t first = 0;
    uint64_t n = 0; /* of the run at hand */
    RT_TRY(check_segment(segment, err));
    for (uint64_t at = 0; at < segment->entry->n_slots && n_before < end; at++) {
        uint64_t slot = live_slot(r, segment, at);
        if (slot == RT_NO_ROW || n_before++ < begin)
            continue;
        if (n > 0 && (slot != first + n || n == PIECE_SLOTS)) {
            RT_TRY(copy_run(r, segment->file, first, n, err));
            n = 0;
        }
        first = n ? first : slot;
        n++;
    }
    RT_TRY(copy_run(r, segment->file, first, n, err));
done:
    return st;
}

static enum rt_status copy_share(struct rewriter *r, struct rt_range share, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < r->n_segments; i++) {
        const struct segment *segment = &r->segments[i];
        uint64_t segment_end = segment->first_slot + segment->n_live;
        if (segment_end <= share.begin || segment->first_slot >= share.end)
            continue;
        uint64_t begin = share.begin > segment->first_slot ? share.begin - segment->first_slot : 0;
        uint64_t end = (share.end < segment_end ? share.end : segment_end) - segment->first_slot;
        RT_TRY(copy_segment(r, segment, begin, end, err));
    }
    RT_TRY(rt_vectors_writer_end(r->writer, err));
done:
    return st;
}

static enum rt_status write_bitmap(struct rewriter *r, const struct segment *segment,
                                   struct rt_kept_word *words, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_vectors_datasets datasets = rt_vectors_datasets(&r->out->layout);
    uint64_t n = words_of(segment->entry->n_slots);
    uint64_t n_before = 0;
    RT_TRY(check_segment(segment, err));
    memset(words, 0, n * sizeof *words);
    for (uint64_t at = 0; at < segment->entry->n_slots; at++) {
        if (at % 64 == 0)
            words[at / 64].n_before = n_before;
        if (live_slot(r, segment, at) == RT_NO_ROW)
            continue;
        words[at / 64].bits |= UINT64_C(1) << at % 64;
        n_before++;
    }
    RT_TRY(rt_h5_write(r->file, (uint32_t)datasets.kept, segment->first_word, n, words, err));
done:
    return st;
}

/* Segments are dealt out by turns; their words end anywhere, so checksums come afterwards. */
static enum rt_status write_bitmaps(struct rewriter *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = r->context->job;
    struct rt_kept_word *words = NULL;
    if (r->n_words == 0)
        return RT_OK;
    RT_LOCAL(rt_array_new(RT_SEGMENT_SLOTS / 64, sizeof *words, &words, err));
    for (size_t i = (size_t)job->rank; i < r->n_segments; i += (size_t)job->n_ranks)
        if (r->segments[i].first_word != RT_ALL_KEPT)
            RT_LOCAL(write_bitmap(r, &r->segments[i], words, err));
    rt_array_free(words);
    uint32_t kept = (uint32_t)rt_vectors_datasets(&r->out->layout).kept;
    return rt_phase_hash_datasets(r->context, r->file, kept, 1, st, err);
}

enum rt_status rt_vectors_phase(struct rt_phase_context *context, const struct rt_index_view *view,
                                const bool *is_chosen, struct rt_vectors_output *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_phase_clock clock;
    struct rt_range share = {0, 0};
    uint64_t total = 0;
    memset(out, 0, sizeof *out);
    struct rewriter r = {.context = context, .view = view, .out = out};
    for (size_t i = 0; i < view->n_vectors; i++)
        total += is_chosen[i] ? view->vectors[i].shape.n_slots : 0;
    rt_phase_begin(context, "vectors", "rows", total, &clock);
    RT_LOCAL(gather_segments(&r, is_chosen, err));
    RT_AGREE(comm);
    share_segments(&r);
    RT_TRY(count_rows(&r, err));
    place_segments(&r);
    if (out->n_rows > 0) {
        RT_TRY(make_file(&r, &share, err));
        RT_LOCAL(copy_share(&r, share, err));
        RT_AGREE(comm);
        RT_TRY(write_bitmaps(&r, err));
        struct rt_sorted_ids_input ids = {.file = r.file, .parts = &share, .n_parts = 1};
        if (!r.ids_ascend)
            RT_TRY(rt_sorted_ids_write(context, &ids, err));
    }
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
done:
    st = rt_phase_close_file(context, r.file, st, err);
    rt_unit_writer_free(r.writer);
    rt_array_free(r.segments);
    return st;
}
