#include "jobs/phases/sorted_ids.h"

#include "core/memory.h"
#include "jobs/phases/pair_sort.h"
#include "mpi/agree.h"

#include <inttypes.h>
#include <string.h>

#define PIECE 16384u /* ids read at once */

struct writing {
    const struct rt_sorted_ids_input *input;
    struct rt_vectors_datasets datasets;
    uint64_t *ids; /* PIECE */
    uint32_t part;
    uint64_t slot; /* next one */
    uint64_t end;  /* of entries written so far, by any rank's run that came here */
};

uint64_t rt_sorted_ids_bytes(uint64_t budget_bytes, uint64_t n_ids, int n_ranks)
{
    return PIECE * sizeof(uint64_t) + rt_pair_sort_bytes(budget_bytes, n_ids, n_ranks);
}

static enum rt_status next_ids(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                               size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct writing *w = context;
    const struct rt_sorted_ids_input *input = w->input;
    if (rewind) {
        w->part = 0;
        w->slot = input->n_parts ? input->parts[0].begin : 0;
    }
    *n = 0;
    while (*n == 0 && w->part < input->n_parts) {
        uint64_t left = input->parts[w->part].end - w->slot;
        if (left == 0) {
            if (++w->part < input->n_parts)
                w->slot = input->parts[w->part].begin;
            continue;
        }
        size_t most_here = most < PIECE ? most : PIECE;
        size_t n_slots = left < most_here ? (size_t)left : most_here;
        RT_TRY(rt_h5_read(input->file, (uint32_t)w->datasets.ids, w->slot, n_slots, w->ids, err));
        for (size_t i = 0; i < n_slots; i++)
            if (w->ids[i] != RT_NO_ID)
                pairs[(*n)++] = (struct rt_pair){w->ids[i], w->slot + i};
        w->slot += n_slots;
    }
done:
    return st;
}

static enum rt_status write_run(void *context, uint64_t first, const struct rt_pair *pairs,
                                size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct writing *w = context;
    for (size_t i = 1; i < n && w->input->source; i++) /* a key lies in one run */
        if (pairs[i].key == pairs[i - 1].key)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: id %" PRIu64 " is there twice", w->input->source,
                    pairs[i].key);
    if (n)
        RT_TRY(rt_h5_write(w->input->file, (uint32_t)w->datasets.sorted, first, n, pairs, err));
    w->end = first + n;
done:
    return st;
}

/* Unused entries at the end are few (skipped rows): the rank of the last run writes them. */
static enum rt_status write_tail(struct writing *w, uint64_t end, uint64_t n_sorted,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_id_slot *none = NULL;
    RT_TRY(rt_array_new(PIECE, sizeof *none, &none, err));
    memset(none, 0xff, PIECE * sizeof *none);
    while (end < n_sorted) {
        uint64_t n = n_sorted - end < PIECE ? n_sorted - end : PIECE;
        RT_TRY(rt_h5_write(w->input->file, (uint32_t)w->datasets.sorted, end, n, none, err));
        end += n;
    }
done:
    rt_array_free(none);
    return st;
}

enum rt_status rt_sorted_ids_write(struct rt_phase_context *context,
                                   const struct rt_sorted_ids_input *input, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    const struct rt_h5_layout *layout = rt_h5_file_layout(input->file);
    struct writing w = {.input = input, .datasets = rt_vectors_datasets(layout)};
    const struct rt_h5_dataset *sorted = &layout->datasets[w.datasets.sorted];
    struct rt_pair_sort sort = {.source = next_ids,
                                .sink = write_run,
                                .context = &w,
                                .most_per_key = input->source ? 2 : 0};
    for (uint32_t i = 0; i < input->n_parts; i++)
        sort.n_mine += rt_range_count(input->parts[i]);
    RT_LOCAL(rt_array_new(PIECE, sizeof *w.ids, &w.ids, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_pair_sort(context, &sort, err));
    rt_max_u64(job->comm, &w.end, 1);
    if (job->rank == job->n_ranks - 1)
        RT_LOCAL(write_tail(&w, w.end, sorted->dims[0], err));
    st = rt_phase_hash_datasets(context, input->file, (uint32_t)w.datasets.sorted, 1, st, err);
done:
    rt_array_free(w.ids);
    return st;
}
