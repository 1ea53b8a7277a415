#include "kmeans/kept_cells.h"

#include "core/find.h"
#include "core/memory.h"
#include "kmeans/line.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <string.h>

enum { LEAVES = 0, CENTROIDS }; /* what the words of a run are */
struct run {                    /* in front of its words, which have 32 bits each */
    uint64_t first;             /* leaves: place on the line; centroids: number among all values */
    uint64_t n, kind;
};
#define NOTHING UINT32_MAX /* no leaf, and no finite float */

struct part { /* as one rank has kept it, or a piece on its way: runs with their words */
    unsigned char *bytes;
    size_t n_bytes;
};

struct rt_kept_cells {
    const struct rt_keep *keep;
    struct rt_cell_line line;
    bool *is_done;
    uint32_t *waiting; /* cells that are finished and not kept yet */
    uint32_t n_waiting;
    /* while they are found */
    struct part *parts;
    size_t n_parts;
    size_t part, at; /* what goes to a rank next: part, and its byte where a run begins, */
    uint64_t n_sent; /* and words of that run that have gone */
};

/* ---- cells and ranks ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* This rank's rows of a cell. */
static struct rt_range own_rows(const struct rt_cell_line *line, uint32_t cell)
{
    return rt_line_part(line->begins, line->borders, cell, line->rank);
}

static bool is_first(const struct rt_cell_line *line, uint32_t cell)
{
    struct rt_range own = own_rows(line, cell);
    return own.begin < own.end && own.begin == line->begins[cell];
}

static uint32_t cell_of_seat(const struct rt_cell_line *line, uint64_t seat)
{
    return (uint32_t)rt_find_last(line->first_seat, sizeof *line->first_seat, line->n_cells, seat);
}

/* ---- finding ---- */

/* Takes the bytes of one part, and looks whether its runs are inside their bounds. */
static enum rt_status take_part(void *context, unsigned char *bytes, size_t n_bytes,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_kept_cells *k = context;
    const struct rt_cell_line *line = &k->line;
    uint64_t ends[2] = {line->begins[line->n_cells], line->first_seat[line->n_cells] * line->dim};
    size_t at = 0;
    while (n_bytes - at >= sizeof(struct run)) {
        struct run run;
        memcpy(&run, bytes + at, sizeof run);
        if (run.kind > CENTROIDS || run.first > ends[run.kind] ||
            run.n > ends[run.kind] - run.first ||
            run.n > (n_bytes - at - sizeof run) / sizeof(uint32_t))
            break;
        at += sizeof run + run.n * sizeof(uint32_t);
    }
    if (at == n_bytes) { /* else of another training: its cells are trained again */
        RT_TRY(rt_array_resize(k->n_parts + 1, sizeof *k->parts, &k->parts, err));
        k->parts[k->n_parts++] = (struct part){bytes, n_bytes};
        bytes = NULL;
    }
done:
    rt_array_free(bytes);
    return st;
}

/* How many of the run's words from its word `at` on go to one rank, and to which. */
static uint64_t words_together(const struct rt_cell_line *line, const struct run *run, uint64_t at,
                               int *to)
{
    uint64_t first = run->first + at;
    uint64_t end = run->first + run->n;
    if (run->kind == LEAVES) {
        *to = rt_line_rank(line->borders, line->n_ranks, first);
        end = smaller(end, line->borders[*to + 1]);
    } else {
        uint32_t cell = cell_of_seat(line, first / line->dim);
        *to = rt_line_rank(line->borders, line->n_ranks, line->begins[cell]);
        end = smaller(end, line->first_seat[cell + 1] * line->dim);
    }
    return end - first;
}

static void next_run(struct rt_kept_cells *k, const struct run *run)
{
    k->n_sent = 0;
    k->at += sizeof *run + run->n * sizeof(uint32_t);
    if (k->at == k->parts[k->part].n_bytes) {
        k->part++;
        k->at = 0;
    }
}

static enum rt_status give(void *context, int to, void *buffer, size_t capacity, size_t *n_bytes,
                           bool *more, struct rt_error *err)
{
    (void)err;
    struct rt_kept_cells *k = context;
    unsigned char *out = buffer;
    size_t n_out = 0;
    while (k->part < k->n_parts && n_out + sizeof(struct run) + sizeof(uint32_t) <= capacity) {
        const unsigned char *at = k->parts[k->part].bytes + k->at;
        struct run run;
        memcpy(&run, at, sizeof run);
        if (k->n_sent == run.n) {
            next_run(k, &run);
            continue;
        }
        int owner = 0;
        uint64_t n = words_together(&k->line, &run, k->n_sent, &owner);
        if (owner == to) {
            size_t room = (capacity - n_out - sizeof run) / sizeof(uint32_t);
            n = smaller(n, room);
            struct run piece = {run.first + k->n_sent, n, run.kind};
            memcpy(out + n_out, &piece, sizeof piece);
            memcpy(out + n_out + sizeof piece, at + sizeof run + k->n_sent * sizeof(uint32_t),
                   n * sizeof(uint32_t));
            n_out += sizeof piece + n * sizeof(uint32_t);
        }
        k->n_sent += n;
    }
    *n_bytes = n_out;
    *more = k->part < k->n_parts;
    if (!*more)
        k->part = k->at = 0; /* for the next rank */
    return RT_OK;
}

static enum rt_status take(void *context, int from, const void *bytes, size_t n_bytes,
                           struct rt_error *err)
{
    (void)err;
    (void)from;
    struct rt_kept_cells *k = context;
    const unsigned char *at = bytes;
    const unsigned char *end = at + n_bytes;
    while (at < end) {
        struct run run;
        memcpy(&run, at, sizeof run);
        at += sizeof run;
        if (run.kind == CENTROIDS)
            memcpy(k->line.centroids + run.first, at, run.n * sizeof(uint32_t));
        else if (k->line.leaf)
            memcpy(k->line.leaf + (run.first - k->line.borders[k->line.rank]), at,
                   run.n * sizeof(uint32_t));
        at += run.n * sizeof(uint32_t);
    }
    return RT_OK;
}

static bool is_whole(const void *words, uint64_t n)
{
    const unsigned char *at = words;
    for (uint64_t i = 0; i < n; i++, at += sizeof(uint32_t)) {
        uint32_t word = 0;
        memcpy(&word, at, sizeof word);
        if (word == NOTHING)
            return false;
    }
    return true;
}

/* Whether all that this rank holds of the cell has come. */
static bool has_come(const struct rt_cell_line *line, uint32_t cell)
{
    struct rt_range own = own_rows(line, cell);
    uint64_t seat = line->first_seat[cell];
    if (is_first(line, cell) && !is_whole(line->centroids + seat * line->dim,
                                          (line->first_seat[cell + 1] - seat) * line->dim))
        return false;
    return !line->leaf ||
           is_whole(line->leaf + (own.begin - line->borders[line->rank]), rt_range_count(own));
}

static enum rt_status judge(struct rt_kept_cells *k, MPI_Comm comm, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_cell_line *line = &k->line;
    uint64_t *lacks = NULL;
    RT_LOCAL(rt_array_zero(line->n_cells, sizeof *lacks, &lacks, err));
    RT_AGREE(comm);
    for (uint32_t c = 0; c < line->n_cells; c++)
        lacks[c] = rt_range_count(own_rows(line, c)) > 0 && !has_come(line, c);
    rt_max_u64(comm, lacks, line->n_cells);
    for (uint32_t c = 0; c < line->n_cells; c++)
        k->is_done[c] = !lacks[c];
done:
    rt_array_free(lacks);
    return st;
}

static void forget_parts(struct rt_kept_cells *k)
{
    for (size_t i = 0; i < k->n_parts; i++)
        rt_array_free(k->parts[i].bytes);
    rt_array_free(k->parts);
    k->parts = NULL;
    k->n_parts = 0;
}

/* Of centroids only those are this rank's whose cells begin here: others may write theirs already.
 */
static void expect_nothing(const struct rt_cell_line *line)
{
    for (uint32_t c = 0; c < line->n_cells; c++)
        if (is_first(line, c))
            memset(line->centroids + line->first_seat[c] * line->dim, 0xff,
                   (size_t)(line->first_seat[c + 1] - line->first_seat[c]) * line->dim *
                       sizeof *line->centroids);
    if (line->leaf)
        memset(line->leaf, 0xff,
               (size_t)(line->borders[line->rank + 1] - line->borders[line->rank]) *
                   sizeof *line->leaf);
}

/* What ranks have read goes to those whose rows and cells it is. Collective. */
static enum rt_status find(struct rt_kept_cells *k, MPI_Comm comm, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_cell_line *line = &k->line;
    struct rt_exchange *exchange = NULL;
    RT_LOCAL(k->keep->load_parts(k->keep->ctx, take_part, k, err));
    RT_AGREE(comm);
    uint64_t any = k->n_parts > 0;
    rt_max_u64(comm, &any, 1);
    if (!any)
        goto done;
    expect_nothing(line);
    RT_TRY(rt_exchange_new(comm, 0, &exchange, err));
    RT_TRY(rt_exchange_round(exchange, NULL, give, take, k, err));
    RT_TRY(judge(k, comm, err));
done:
    rt_exchange_free(exchange);
    forget_parts(k);
    return st;
}

enum rt_status rt_kept_cells_new(MPI_Comm comm, const struct rt_keep *keep,
                                 const struct rt_cell_line *line, struct rt_kept_cells **out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_kept_cells *k = NULL;
    *out = NULL;
    if (!keep)
        return RT_OK;
    RT_LOCAL(rt_array_zero(1, sizeof *k, &k, err));
    if (st == RT_OK)
        *k = (struct rt_kept_cells){.keep = keep, .line = *line};
    RT_LOCAL(rt_array_zero(line->n_cells, sizeof *k->is_done, &k->is_done, err));
    RT_LOCAL(rt_array_new(line->n_cells, sizeof *k->waiting, &k->waiting, err));
    RT_AGREE(comm);
    RT_TRY(find(k, comm, err));
    *out = k;
    k = NULL;
done:
    rt_kept_cells_free(k);
    return st;
}

void rt_kept_cells_free(struct rt_kept_cells *kept)
{
    if (!kept)
        return;
    forget_parts(kept);
    rt_array_free(kept->is_done);
    rt_array_free(kept->waiting);
    rt_array_free(kept);
}

bool rt_kept_cells_has(const struct rt_kept_cells *kept, uint32_t cell)
{
    return kept && kept->is_done[cell];
}

/* ---- keeping ---- */

/* Run heads and words of the cell, up to four pieces. */
static uint32_t pieces_of(const struct rt_cell_line *line, uint32_t cell, struct run heads[2],
                          struct rt_keep_piece *pieces)
{
    struct rt_range own = own_rows(line, cell);
    uint64_t first = line->first_seat[cell] * line->dim;
    uint64_t end = line->first_seat[cell + 1] * line->dim;
    uint32_t n = 0;
    if (is_first(line, cell)) {
        heads[0] = (struct run){first, end - first, CENTROIDS};
        pieces[n++] = (struct rt_keep_piece){&heads[0], sizeof heads[0]};
        pieces[n++] =
            (struct rt_keep_piece){line->centroids + first, (size_t)(end - first) * sizeof(float)};
    }
    if (line->leaf) {
        heads[1] = (struct run){own.begin, rt_range_count(own), LEAVES};
        pieces[n++] = (struct rt_keep_piece){&heads[1], sizeof heads[1]};
        pieces[n++] = (struct rt_keep_piece){line->leaf + (own.begin - line->borders[line->rank]),
                                             (size_t)rt_range_count(own) * sizeof(uint32_t)};
    }
    return n;
}

enum rt_status rt_kept_cells_save(struct rt_kept_cells *kept, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_keep_piece *pieces = NULL;
    struct run *heads = NULL;
    uint32_t n = 0;
    if (!kept || kept->n_waiting == 0)
        return RT_OK;
    RT_TRY(rt_array_new(kept->n_waiting, 4 * sizeof *pieces, &pieces, err));
    RT_TRY(rt_array_new(kept->n_waiting, 2 * sizeof *heads, &heads, err));
    for (uint32_t i = 0; i < kept->n_waiting; i++)
        n += pieces_of(&kept->line, kept->waiting[i], heads + 2 * (size_t)i, pieces + n);
    RT_TRY(kept->keep->save_part(kept->keep->ctx, pieces, n, err));
    kept->n_waiting = 0;
done:
    rt_array_free(pieces);
    rt_array_free(heads);
    return st;
}

enum rt_status rt_kept_cells_add(struct rt_kept_cells *kept, uint32_t cell, struct rt_error *err)
{
    if (!kept)
        return RT_OK;
    kept->waiting[kept->n_waiting++] = cell;
    return kept->keep->part_is_due(kept->keep->ctx) ? rt_kept_cells_save(kept, err) : RT_OK;
}
