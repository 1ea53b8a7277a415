#include "jobs/phases/new_ids.h"

#include "core/memory.h"
#include "core/units.h"
#include "jobs/phases/pair_sort.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>

#define PIECE_IDS 65536u
#define LOOKED_UP 256u /* ids, between two looks at the other ranks */
#define NONE UINT64_MAX

struct looking {
    struct rt_phase_context *phase;
    struct rt_row_source *source;
    const struct rt_index_view *view; /* NULL: nothing to look up */
    struct rt_range mine;
    uint64_t *ids; /* PIECE_IDS */
    uint64_t next_row;
    uint64_t id;         /* the least that cannot be, or NONE */
    uint64_t row, other; /* its rows here; other NONE: it is in the index already */
};

uint64_t rt_new_ids_bytes(uint64_t n_rows, bool sorts, uint64_t budget_bytes, int n_ranks)
{
    return PIECE_IDS * sizeof(uint64_t) +
           (sorts ? rt_pair_sort_bytes(budget_bytes, n_rows, n_ranks) : 0);
}

/* One pass over this rank's ids: do they ascend, where do they begin and end? */
static enum rt_status scan_ids(struct looking *l, uint64_t ends[2], uint64_t *falls,
                               uint64_t *least, uint64_t *largest, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t last = 0;
    for (uint64_t row = l->mine.begin; row < l->mine.end;) {
        size_t n = l->mine.end - row < PIECE_IDS ? (size_t)(l->mine.end - row) : PIECE_IDS;
        RT_TRY(rt_phase_check(l->phase, err));
        RT_TRY(rt_row_source_read_ids(l->source, row, n, l->ids, err));
        for (size_t i = 0; i < n; i++) {
            *falls |= row + i > l->mine.begin && l->ids[i] <= last;
            last = l->ids[i];
            *largest = last > *largest ? last : *largest;
            *least = last < *least ? last : *least;
        }
        if (row == l->mine.begin)
            ends[0] = l->ids[0];
        row += n;
    }
    ends[1] = last;
done:
    return st;
}

static enum rt_status judge(MPI_Comm comm, struct looking *l, struct rt_new_ids *out,
                            uint64_t *least, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t ends[2] = {UINT64_MAX, 0};
    uint64_t falls = 0;
    uint64_t largest = 0;
    int rank = 0;
    *least = UINT64_MAX;
    RT_LOCAL(scan_ids(l, ends, &falls, least, &largest, err));
    RT_AGREE(comm);
    /* The largest last id before this rank: parts ascend among themselves, so the maximum is the
     * neighbour's. */
    uint64_t before = 0;
    uint64_t has = l->mine.end > l->mine.begin;
    uint64_t last_here = has ? ends[1] + 1 : 0; /* no id is 2^64-1 */
    MPI_Comm_rank(comm, &rank);
    MPI_Exscan(&last_here, &before, 1, MPI_UINT64_T, MPI_MAX, comm);
    if (rank == 0)
        before = 0;
    falls |= has && before > ends[0];
    rt_max_u64(comm, &falls, 1);
    rt_max_u64(comm, &largest, 1);
    rt_min_u64(comm, least, 1);
    *out = (struct rt_new_ids){.ascend = !falls, .largest = largest};
done:
    return st;
}

static enum rt_status next_ids(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                               size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct looking *l = context;
    if (rewind)
        l->next_row = l->mine.begin;
    uint64_t left = l->mine.end - l->next_row;
    most = most < PIECE_IDS ? most : PIECE_IDS;
    *n = left < most ? (size_t)left : most;
    RT_TRY(rt_row_source_read_ids(l->source, l->next_row, *n, l->ids, err));
    for (size_t i = 0; i < *n; i++)
        pairs[i] = (struct rt_pair){l->ids[i], l->next_row + i};
    l->next_row += *n;
done:
    return st;
}

/* Runs ascend: the first id found is this rank's least. */
static enum rt_status look(void *context, uint64_t first, const struct rt_pair *pairs, size_t n,
                           struct rt_error *err)
{
    (void)first;
    enum rt_status st = RT_OK;
    struct looking *l = context;
    for (size_t i = 0; i < n && l->id == NONE; i++) {
        struct rt_found_row there;
        bool is_there = false;
        if (i % LOOKED_UP == 0)
            RT_TRY(rt_phase_check(l->phase, err));
        if (i > 0 && pairs[i].key == pairs[i - 1].key) {
            l->id = pairs[i].key;
            l->row = pairs[i - 1].value;
            l->other = pairs[i].value;
        } else if (l->view) {
            RT_TRY(rt_index_find(l->view, pairs[i].key, &there, &is_there, err));
            if (is_there) {
                l->id = pairs[i].key;
                l->row = pairs[i].value;
                l->other = NONE;
            }
        }
    }
done:
    return st;
}

static enum rt_status refuse(const struct looking *l, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char row[RT_UNITS_TEXT];
    char other[RT_UNITS_TEXT];
    rt_units_count(rt_row_source_heap_row(l->source, l->row), row);
    if (l->other == NONE)
        RT_FAIL(RT_INPUT,
                "id %" PRIu64 " of row %s is in the index already; --replace replaces its row",
                l->id, row);
    RT_FAIL(RT_INPUT,
            "id %" PRIu64 " is given to row %s and to row %s; an id may stand once in an index",
            l->id, row, rt_units_count(rt_row_source_heap_row(l->source, l->other), other));
done:
    return st;
}

enum rt_status rt_new_ids_check(struct rt_phase_context *context, uint64_t n_rows,
                                struct rt_row_source *source, const struct rt_index_view *view,
                                bool may_replace, struct rt_new_ids *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = context->job;
    struct rt_chunks chunks = rt_chunks_of(n_rows);
    struct looking l = {.phase = context,
                        .source = source,
                        .view = may_replace ? NULL : view,
                        .mine = rt_chunks_rows(&chunks, job->rank, job->n_ranks),
                        .id = NONE};
    struct rt_pair_sort sort = {.source = next_ids,
                                .sink = look,
                                .context = &l,
                                .n_mine = rt_range_count(l.mine),
                                .most_per_key = 2};
    uint64_t least = 0;
    RT_LOCAL(rt_array_new(PIECE_IDS, sizeof *l.ids, &l.ids, err));
    RT_AGREE(job->comm);
    RT_TRY(judge(job->comm, &l, out, &least, err));
    bool is_above =
        !l.view || l.view->manifest->n_rows == 0 || least > l.view->manifest->largest_id;
    if (out->ascend && is_above)
        goto done;
    if (is_above)
        l.view = NULL;
    RT_TRY(rt_pair_sort(context, &sort, err));
    uint64_t worst = l.id;
    rt_min_u64(job->comm, &worst, 1);
    if (worst != NONE && worst == l.id) /* an id is held by one rank only */
        RT_LOCAL(refuse(&l, err));
    RT_AGREE(job->comm);
done:
    rt_array_free(l.ids);
    return st;
}
