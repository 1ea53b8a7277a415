#include "kmeans/line.h"

#include "core/find.h"
#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"

#include <string.h>

#define TRAVEL_HEAD                                                                                \
    (sizeof(uint32_t) + sizeof(uint64_t)) /* of a record: place, number; then the row */

enum rt_status rt_line_new(uint32_t n_cells, int n_ranks, struct rt_line *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    out->n_cells = n_cells;
    RT_TRY(rt_array_zero(n_cells, sizeof(uint64_t), &out->totals, err));
    RT_TRY(rt_array_new((size_t)n_cells + 1, sizeof(uint64_t), &out->begins, err));
    RT_TRY(rt_array_new(n_cells, sizeof(uint64_t), &out->before, err));
    RT_TRY(rt_array_new((size_t)n_ranks + 1, sizeof(uint64_t), &out->borders, err));
done:
    return st;
}

void rt_line_free(struct rt_line *line)
{
    rt_array_free(line->totals);
    rt_array_free(line->begins);
    rt_array_free(line->before);
    rt_array_free(line->borders);
}

void rt_line_count(MPI_Comm comm, const uint32_t *cell, size_t n, struct rt_line *line)
{
    for (size_t i = 0; i < n; i++)
        line->totals[cell[i]]++;
    rt_exscan_u64(comm, line->totals, line->before, line->n_cells);
    rt_sum_u64(comm, line->totals, line->n_cells);
    line->begins[0] = 0;
    for (uint32_t c = 0; c < line->n_cells; c++)
        line->begins[c + 1] = line->begins[c] + line->totals[c];
}

void rt_line_share(struct rt_line *line, int n_ranks)
{
    line->borders[0] = 0;
    for (int r = 0; r < n_ranks; r++)
        line->borders[r + 1] = rt_share(line->begins[line->n_cells], r, n_ranks, 1).end;
}

struct rt_range rt_line_part(const uint64_t *begins, const uint64_t *borders, uint32_t cell,
                             int rank)
{
    struct rt_range part = {begins[cell], begins[cell + 1]};
    if (part.begin < borders[rank])
        part.begin = borders[rank];
    if (part.end > borders[rank + 1])
        part.end = borders[rank + 1];
    if (part.end < part.begin)
        part.end = part.begin;
    return part;
}

int rt_line_rank(const uint64_t *borders, int n_ranks, uint64_t row)
{
    return (int)rt_find_last(borders, sizeof *borders, (size_t)n_ranks, row);
}

/* --- travel --- */

struct travel {
    const struct rt_line_rows *of;
    const struct rt_line *line;
    int rank, n_ranks;
    uint32_t *order;    /* of->n local rows in the order of the line */
    uint64_t *position; /* of->n: of each in that order, on the line */
    size_t *next; /* n_ranks: what goes to each rank, as ranges of order: [next, end) is left */
    size_t *end;
    uint64_t *bytes;     /* n_ranks: of what goes to each other rank */
    unsigned char *rows; /* what arrives */
    uint64_t *numbers;
    size_t n_arriving;
    uint64_t own_begin; /* of this rank's part of the line */
};

static void travel_free(struct travel *t)
{
    rt_array_free(t->order);
    rt_array_free(t->position);
    rt_array_free(t->next);
    rt_array_free(t->end);
    rt_array_free(t->bytes);
    rt_array_free(t->rows);
    rt_array_free(t->numbers);
}

static enum rt_status travel_new(struct travel *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_line_rows *of = t->of;
    const uint64_t *borders = t->line->borders;
    uint64_t n_own = borders[t->rank + 1] - borders[t->rank];
    t->own_begin = borders[t->rank];
    if (n_own > UINT32_MAX)
        RT_FAIL(RT_USAGE, "more than 2^32-1 sample rows on one rank: use more ranks");
    t->n_arriving = (size_t)n_own;
    RT_TRY(rt_array_new(of->n, sizeof *t->order, &t->order, err));
    RT_TRY(rt_array_new(of->n, sizeof *t->position, &t->position, err));
    RT_TRY(rt_array_new((size_t)t->n_ranks, sizeof *t->next, &t->next, err));
    RT_TRY(rt_array_new((size_t)t->n_ranks, sizeof *t->end, &t->end, err));
    RT_TRY(rt_array_new((size_t)t->n_ranks, sizeof *t->bytes, &t->bytes, err));
    size_t room = t->n_arriving + of->spare;
    RT_TRY(rt_array_new(room, of->sample->row_bytes, &t->rows, err));
    RT_TRY(rt_array_new(room, sizeof *t->numbers, &t->numbers, err));
done:
    return st;
}

/* Sorts the local rows by cell, which is by position; line->before is used up. */
static enum rt_status order_rows(struct travel *t, const uint32_t *cell, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_line_rows *of = t->of;
    const struct rt_line *line = t->line;
    size_t *starts = NULL;
    RT_TRY(rt_array_zero((size_t)line->n_cells + 1, sizeof *starts, &starts, err));
    for (size_t i = 0; i < of->n; i++)
        starts[cell[i] + 1]++;
    for (uint32_t c = 0; c < line->n_cells; c++)
        starts[c + 1] += starts[c];
    for (size_t i = 0; i < of->n; i++) {
        size_t at = starts[cell[i]]++;
        t->order[at] = (uint32_t)(of->begin + i);
        t->position[at] = line->begins[cell[i]] + line->before[cell[i]]++;
    }
    size_t at = 0;
    for (int r = 0; r < t->n_ranks; r++) {
        t->next[r] = at;
        while (at < of->n && t->position[at] < line->borders[r + 1])
            at++;
        t->end[r] = at;
        t->bytes[r] = r == t->rank ? 0 : (at - t->next[r]) * (TRAVEL_HEAD + of->sample->row_bytes);
    }
done:
    rt_array_free(starts);
    return st;
}

static void arrive(struct travel *t, size_t place, uint64_t number, const void *row)
{
    size_t row_bytes = t->of->sample->row_bytes;
    t->numbers[place] = number;
    memcpy(t->rows + place * row_bytes, row, row_bytes);
}

static enum rt_status give_rows(void *context, int to, void *buffer, size_t capacity,
                                size_t *n_bytes, bool *more, struct rt_error *err)
{
    (void)err;
    struct travel *t = context;
    const struct rt_sample *sample = t->of->sample;
    size_t record = TRAVEL_HEAD + sample->row_bytes;
    unsigned char *at = buffer;
    uint64_t begin = t->line->borders[to];
    size_t end = t->end[to];
    size_t *next = &t->next[to];
    while (*next < end && (size_t)(at - (unsigned char *)buffer) + record <= capacity) {
        uint32_t place = (uint32_t)(t->position[*next] - begin);
        uint64_t number = rt_sample_number(sample, t->order[*next]);
        memcpy(at, &place, sizeof place);
        memcpy(at + sizeof place, &number, sizeof number);
        memcpy(at + TRAVEL_HEAD, sample->rows + t->order[*next] * sample->row_bytes,
               sample->row_bytes);
        at += record;
        (*next)++;
    }
    *n_bytes = (size_t)(at - (unsigned char *)buffer);
    *more = *next < end;
    return RT_OK;
}

static enum rt_status take_rows(void *context, int from, const void *bytes, size_t n_bytes,
                                struct rt_error *err)
{
    (void)err;
    (void)from;
    struct travel *t = context;
    size_t record = TRAVEL_HEAD + t->of->sample->row_bytes;
    const unsigned char *end = (const unsigned char *)bytes + n_bytes;
    for (const unsigned char *at = bytes; at < end; at += record) {
        uint32_t place = 0;
        uint64_t number = 0;
        memcpy(&place, at, sizeof place);
        memcpy(&number, at + sizeof place, sizeof number);
        arrive(t, place, number, at + TRAVEL_HEAD);
    }
    return RT_OK;
}

/* Rows that stay on this rank. */
static void move_own(struct travel *t)
{
    const struct rt_sample *sample = t->of->sample;
    int rank = t->rank;
    for (size_t at = t->next[rank]; at < t->end[rank]; at++)
        arrive(t, (size_t)(t->position[at] - t->own_begin), rt_sample_number(sample, t->order[at]),
               sample->rows + t->order[at] * sample->row_bytes);
}

/* What has arrived takes the place of what was: of the whole sample, or of this part of it. */
static enum rt_status settle(struct travel *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_line_rows *of = t->of;
    struct rt_sample *sample = of->sample;
    if (of->is_whole) {
        if (sample->owns_rows)
            rt_array_free(sample->rows);
        rt_array_free(sample->number);
        sample->rows = t->rows;
        sample->number = t->numbers;
        sample->n_local = t->n_arriving;
        sample->owns_rows = true;
        t->rows = NULL;
        t->numbers = NULL;
        goto done;
    }
    if (t->n_arriving != of->n)
        RT_FAIL(RT_DAMAGED, "a cell's rows came back as %zu, not %zu", t->n_arriving, of->n);
    memcpy(sample->rows + of->begin * sample->row_bytes, t->rows, of->n * sample->row_bytes);
    memcpy(sample->number + of->begin, t->numbers, of->n * sizeof *t->numbers);
done:
    return st;
}

enum rt_status rt_line_move(const struct rt_line_rows *rows, struct rt_line *line,
                            const uint32_t *cell, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct travel travel = {.of = rows, .line = line};
    struct rt_exchange *exchange = NULL;
    MPI_Comm_rank(rows->comm, &travel.rank);
    MPI_Comm_size(rows->comm, &travel.n_ranks);
    RT_LOCAL(travel_new(&travel, err));
    RT_LOCAL(order_rows(&travel, cell, err));
    RT_AGREE(rows->comm);
    if (travel.n_ranks > 1) {
        RT_TRY(rt_exchange_new(rows->comm, 0, &exchange, err));
        RT_TRY(rt_exchange_round(exchange, travel.bytes, give_rows, take_rows, &travel, err));
    }
    move_own(&travel);
    RT_LOCAL(settle(&travel, err));
    RT_AGREE(rows->comm);
done:
    rt_exchange_free(exchange);
    travel_free(&travel);
    return st;
}
