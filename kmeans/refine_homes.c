#include "kmeans/refine_work.h"

#include "core/memory.h"
#include "kmeans/line.h"
#include "mpi/agree.h"
#include "mpi/waiting.h"

#include <string.h>

#define ROOM_PER 8u /* a rank has room for 1/8 more rows than it begins with */
#define LEAST_ROOM 64u

/* A record of an exchange: what a leaf has won and lost, or a row that goes home. */
struct record {
    uint32_t leaf;
    enum { SUMS, ROW_WON, ROW_COUNTED } kind; /* the last: the home's sums have it already */
    int64_t number; /* of the row; else rows won less rows lost. The row's bytes, or sums, follow */
};

size_t rt_refine_room(uint64_t n_rows, int n_ranks)
{
    return n_ranks == 1 ? (size_t)n_rows : (size_t)(n_rows + n_rows / ROOM_PER + LEAST_ROOM);
}

/* --- homes --- */

/* A leaf is at home where its first row lies; one without rows where it would. */
static void find_homes(struct rt_refine_work *w, const struct rt_line *line)
{
    uint32_t leaf = 0;
    for (int r = 0; r < w->n_ranks; r++) {
        w->first_leaf[r] = leaf;
        while (leaf < w->k && (r + 1 == w->n_ranks || line->begins[leaf] < line->borders[r + 1]))
            leaf++;
    }
    w->first_leaf[w->n_ranks] = w->k;
    uint32_t first = w->first_leaf[w->rank];
    uint64_t border = line->borders[w->rank];
    w->spilled = UINT32_MAX;
    if (first > 0 && line->begins[first] > border && line->borders[w->rank + 1] > border)
        w->spilled = first - 1;
}

/* The leaves of the rows that have come: they lie in the order of leaves. */
static enum rt_status name_leaves(struct rt_refine_work *w, const struct rt_line *line,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t leaf = w->spilled != UINT32_MAX ? w->spilled : w->first_leaf[w->rank];
    rt_array_free(w->leaf);
    w->leaf = NULL;
    RT_TRY(rt_array_new(w->room, sizeof *w->leaf, &w->leaf, err));
    for (size_t i = 0; i < w->sample->n_local; i++) {
        while (line->begins[leaf + 1] <= line->borders[w->rank] + i)
            leaf++;
        w->leaf[i] = leaf;
    }
done:
    return st;
}

enum rt_status rt_refine_settle(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_line line = {0};
    struct rt_line_rows rows = {w->comm, w->sample, 0, w->sample->n_local, true, 0};
    w->first_leaf[0] = 0;
    w->first_leaf[w->n_ranks] = w->k;
    w->spilled = UINT32_MAX;
    w->room = w->sample->n_local;
    if (w->n_ranks == 1)
        return RT_OK;
    RT_LOCAL(rt_line_new(w->k, w->n_ranks, &line, err));
    RT_AGREE(w->comm);
    rt_line_count(w->comm, w->leaf, w->sample->n_local, &line);
    rt_line_share(&line, w->n_ranks);
    uint64_t n_here = line.borders[w->rank + 1] - line.borders[w->rank];
    w->room = rt_refine_room(n_here, w->n_ranks);
    rows.spare = w->room - (size_t)n_here;
    RT_TRY(rt_line_move(&rows, &line, w->leaf, err));
    find_homes(w, &line);
    RT_LOCAL(name_leaves(w, &line, err));
    RT_AGREE(w->comm);
done:
    rt_line_free(&line);
    return st;
}

/* --- who goes where --- */

/* Rows that would go to rank r are consecutive in order: those at leaves of its own, but for the
 * leaf whose rows are here as well. */
static void find_travellers(struct rt_refine_work *w)
{
    for (int r = 0; r < w->n_ranks; r++) {
        uint32_t end = w->first_leaf[r + 1];
        if (end > w->first_leaf[r] && w->spilled == end - 1)
            end--;
        w->next_row[r] = w->end_row[r] = w->starts[w->first_leaf[r]];
        w->wanted[r] = r == w->rank ? 0 : w->starts[end] - w->next_row[r];
    }
}

/* Rows that go in one pass, as many as there is room for where they go: *room here, less those that
 * come, more those that go. Returns whether another pass pays: some go, and many more would.
 * Collective. */
static bool grant_pass(struct rt_refine_work *w, uint32_t *goes, size_t *room)
{
    uint64_t left[2] = {0, 0}; /* rows that go, and would */
    memcpy(goes, w->wanted, (size_t)w->n_ranks * sizeof *goes);
    MPI_Alltoall(MPI_IN_PLACE, 1, MPI_UINT32_T, goes, 1, MPI_UINT32_T, w->comm);
    for (int r = 0; r < w->n_ranks; r++) {
        goes[r] = goes[r] < *room ? goes[r] : (uint32_t)*room;
        *room -= goes[r];
    }
    MPI_Alltoall(MPI_IN_PLACE, 1, MPI_UINT32_T, goes, 1, MPI_UINT32_T, w->comm);
    for (int r = 0; r < w->n_ranks; r++) {
        w->wanted[r] -= goes[r];
        w->end_row[r] += goes[r];
        left[0] += goes[r];
        left[1] += w->wanted[r];
    }
    *room += left[0];
    rt_sum_u64(w->comm, left, 2);
    return left[0] > 0 && left[1] > w->sample->n_total / RT_REFINE_FEW_PER;
}

/* Returns the passes. Collective. */
static uint32_t grant_room(struct rt_refine_work *w)
{
    size_t room = w->room - w->sample->n_local;
    uint32_t n_passes = 0;
    double waiting = rt_waiting_begin();
    while (grant_pass(w, w->goes + (size_t)n_passes * (size_t)w->n_ranks, &room) &&
           n_passes + 1 < RT_REFINE_PASSES)
        n_passes++;
    rt_waiting_end(waiting);
    return n_passes + 1;
}

/* --- sums --- */

/* The end of the rows of a leaf of rank r that go to it: they are added there. */
static size_t stays_from(const struct rt_refine_work *w, uint32_t leaf, int r)
{
    size_t begin = w->starts[leaf];
    size_t end = w->end_row[r];
    end = end < w->starts[leaf + 1] ? end : w->starts[leaf + 1];
    return r == w->rank || end < begin ? begin : end;
}

static void code_row(struct rt_refine_work *w, uint32_t index, const float *row)
{
    rt_row_code(w->setting->distance, row, w->reference, w->dim, w->codes + index * w->code_bytes);
}

/* Adds to sum and count what a leaf of rank r has won and lost of the rows that stay here, and
 * codes those that it has won. */
static void add_moved(struct rt_refine_work *w, uint32_t leaf, int r, int64_t *sum, int64_t *count)
{
    bool has_reference = false;
    for (size_t at = w->starts_was[leaf]; at < w->starts_was[leaf + 1]; at++) {
        uint32_t index = w->order_was[at];
        if (w->leaf[index] == leaf)
            continue;
        rt_means_subtract(&w->setting->scale, sum, rt_refine_row(w, index), w->dim);
        --*count;
    }
    for (size_t at = stays_from(w, leaf, r); at < w->starts[leaf + 1]; at++) {
        uint32_t index = w->order[at];
        if (w->was[index] == leaf)
            continue;
        if (!has_reference)
            (void)rt_refine_reference(w, leaf);
        has_reference = true;
        const float *row = rt_refine_row(w, index);
        rt_means_add(&w->setting->scale, sum, row, w->dim);
        code_row(w, index, row);
        ++*count;
    }
}

/* Whether a row of this rank left the leaf of rank r, or came to it and stays here. */
static bool has_moved(const struct rt_refine_work *w, uint32_t leaf, int r)
{
    for (size_t at = w->starts_was[leaf]; at < w->starts_was[leaf + 1]; at++)
        if (w->leaf[w->order_was[at]] != leaf)
            return true;
    for (size_t at = stays_from(w, leaf, r); at < w->starts[leaf + 1]; at++)
        if (w->was[w->order[at]] != leaf)
            return true;
    return false;
}

static uint32_t next_moved(const struct rt_refine_work *w, uint32_t leaf, int r)
{
    while (leaf < w->first_leaf[r + 1] && !has_moved(w, leaf, r))
        leaf++;
    return leaf;
}

/* --- travel --- */

static size_t sums_bytes(const struct rt_refine_work *w)
{
    return w->dim * sizeof *w->delta;
}

static unsigned char *give_sum(struct rt_refine_work *w, int to, unsigned char *at)
{
    struct record record = {w->cursor[to], SUMS, 0};
    memset(w->delta, 0, sums_bytes(w));
    add_moved(w, record.leaf, to, w->delta, &record.number);
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, w->delta, sums_bytes(w));
    w->cursor[to] = next_moved(w, record.leaf + 1, to);
    return at + sizeof record + sums_bytes(w);
}

static unsigned char *give_row(struct rt_refine_work *w, int to, unsigned char *at)
{
    const struct rt_sample *sample = w->sample;
    uint32_t index = w->order[w->next_row[to]++];
    uint32_t leaf = w->leaf[index];
    struct record record = {leaf, w->was[index] == leaf ? ROW_COUNTED : ROW_WON,
                            (int64_t)rt_sample_number(sample, index)};
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, sample->rows + index * sample->row_bytes, sample->row_bytes);
    return at + sizeof record + sample->row_bytes;
}

static enum rt_status give(void *context, int to, void *buffer, size_t capacity, size_t *n_bytes,
                           bool *more, struct rt_error *err)
{
    (void)err;
    struct rt_refine_work *w = context;
    unsigned char *at = buffer;
    unsigned char *end = at + capacity;
    size_t sum = sizeof(struct record) + sums_bytes(w);
    size_t row = sizeof(struct record) + w->sample->row_bytes;
    while (w->cursor[to] < w->first_leaf[to + 1] && (size_t)(end - at) >= sum)
        at = give_sum(w, to, at);
    bool has_sums = w->cursor[to] < w->first_leaf[to + 1];
    while (!has_sums && w->next_row[to] < w->pass_end[to] && (size_t)(end - at) >= row)
        at = give_row(w, to, at);
    *n_bytes = (size_t)(at - (unsigned char *)buffer);
    *more = has_sums || w->next_row[to] < w->pass_end[to];
    return RT_OK;
}

static void take_sum(struct rt_refine_work *w, const struct record *record,
                     const unsigned char *bytes)
{
    size_t own = record->leaf - w->first_leaf[w->rank];
    int64_t *sum = w->sums + own * w->dim;
    memcpy(w->delta, bytes, sums_bytes(w));
    for (size_t i = 0; i < w->dim; i++)
        sum[i] += w->delta[i];
    w->counts[own] += record->number;
}

/* Rows of earlier passes have left their places; else behind all. */
static uint32_t find_place(struct rt_refine_work *w)
{
    return w->n_free > 0 ? w->order_was[--w->n_free] : (uint32_t)w->sample->n_local++;
}

static void take_row(struct rt_refine_work *w, const struct record *record,
                     const unsigned char *bytes)
{
    struct rt_sample *sample = w->sample;
    size_t own = record->leaf - w->first_leaf[w->rank];
    uint32_t index = find_place(w);
    sample->number[index] = (uint64_t)record->number;
    memcpy(sample->rows + index * sample->row_bytes, bytes, sample->row_bytes);
    w->leaf[index] = record->leaf;
    const float *row = rt_refine_row(w, index);
    if (record->kind == ROW_WON) {
        rt_means_add(&w->setting->scale, w->sums + own * w->dim, row, w->dim);
        w->counts[own]++;
    }
    (void)rt_refine_reference(w, record->leaf);
    code_row(w, index, row);
}

static enum rt_status take(void *context, int from, const void *bytes, size_t n_bytes,
                           struct rt_error *err)
{
    (void)err;
    (void)from;
    struct rt_refine_work *w = context;
    const unsigned char *at = bytes;
    const unsigned char *end = at + n_bytes;
    while (at < end) {
        struct record record;
        memcpy(&record, at, sizeof record);
        at += sizeof record;
        if (record.kind == SUMS)
            take_sum(w, &record, at);
        else
            take_row(w, &record, at);
        at += record.kind == SUMS ? sums_bytes(w) : w->sample->row_bytes;
    }
    return RT_OK;
}

/* Their places are free from the next pass on. order_was is not needed any more. */
static void free_places(struct rt_refine_work *w, const uint32_t *goes)
{
    for (int r = 0; r < w->n_ranks; r++)
        for (uint32_t at = w->next_row[r] - goes[r]; at < w->next_row[r]; at++) {
            w->leaf[w->order[at]] = UINT32_MAX;
            w->order_was[w->n_free++] = w->order[at];
        }
}

/* The last rows take the places that are still free. */
static void close_gaps(struct rt_refine_work *w)
{
    struct rt_sample *sample = w->sample;
    size_t n = sample->n_local;
    for (size_t i = 0; i < n; i++) {
        if (w->leaf[i] != UINT32_MAX)
            continue;
        do
            n--;
        while (n > i && w->leaf[n] == UINT32_MAX);
        if (n == i)
            break;
        w->leaf[i] = w->leaf[n];
        sample->number[i] = sample->number[n];
        memcpy(sample->rows + i * sample->row_bytes, sample->rows + n * sample->row_bytes,
               sample->row_bytes);
        memcpy(w->codes + i * w->code_bytes, w->codes + n * w->code_bytes, w->code_bytes);
    }
    sample->n_local = n;
}

/* What rows have moved by is told with those that go in the first pass. Collective. */
static enum rt_status travel(struct rt_refine_work *w, uint32_t n_passes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    w->n_free = 0;
    for (int r = 0; r < w->n_ranks; r++) {
        w->cursor[r] = r == w->rank ? w->first_leaf[r + 1] : next_moved(w, w->first_leaf[r], r);
        w->pass_end[r] = w->next_row[r];
    }
    for (uint32_t pass = 0; pass < n_passes; pass++) {
        const uint32_t *goes = w->goes + (size_t)pass * (size_t)w->n_ranks;
        for (int r = 0; r < w->n_ranks; r++) {
            w->pass_end[r] += goes[r];
            w->bytes[r] = w->cursor[r] < w->first_leaf[r + 1] || goes[r] > 0;
        }
        RT_TRY(rt_exchange_round(w->exchange, w->bytes, give, take, w, err));
        free_places(w, goes);
    }
    close_gaps(w);
done:
    return st;
}

static void swap_orders(struct rt_refine_work *w)
{
    uint32_t *order = w->order;
    uint32_t *starts = w->starts;
    w->order = w->order_was;
    w->starts = w->starts_was;
    w->order_was = order;
    w->starts_was = starts;
}

enum rt_status rt_refine_follow(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    swap_orders(w);
    rt_refine_order(w);
    find_travellers(w);
    uint32_t n_passes = w->n_ranks > 1 ? grant_room(w) : 0;
    for (uint32_t l = w->first_leaf[w->rank]; l < w->first_leaf[w->rank + 1]; l++) {
        size_t own = l - w->first_leaf[w->rank];
        add_moved(w, l, w->rank, w->sums + own * w->dim, &w->counts[own]);
    }
    if (n_passes == 0)
        return RT_OK;
    RT_TRY(travel(w, n_passes, err));
    rt_refine_order(w);
done:
    return st;
}

void rt_refine_renew_centroids(struct rt_refine_work *w, bool overshoots)
{
    float *own = w->centroids + (size_t)w->first_leaf[w->rank] * w->dim;
    size_t n_own = rt_refine_n_home(w);
    memcpy(w->before, own, n_own * w->dim * sizeof *own);
    rt_means_divide(&w->setting->scale, w->sums, w->counts, n_own, w->dim, w->setting->spherical,
                    own);
    if (overshoots)
        rt_means_overshoot(w->before, n_own, w->dim, w->setting->spherical, own);
}
