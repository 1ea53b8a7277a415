#include "kmeans/hierarchical.h"

#include "core/memory.h"
#include "core/random.h"
#include "kmeans/kept_cells.h"
#include "kmeans/line.h"
#include "kmeans/seats.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <math.h>
#include <string.h>

#define MOST_DEPTH 8u /* of cells in cells; deeper, a cell is trained flat */

/* A training problem: k leaves over this rank's rows [begin, begin + n) and those of the other
 * ranks of comm. */
struct problem {
    MPI_Comm comm;
    int rank, n_ranks;
    const struct rt_lloyd_setting *setting;
    struct rt_sample *sample;
    size_t begin, n;
    uint64_t level; /* of its cells' random numbers */
    uint64_t first_leaf;
    uint32_t k;
    uint32_t depth;
    struct rt_node_copy *copy; /* where the leaves of the whole go; NULL: each rank has them */
    const struct rt_hierarchical_progress *progress;
    uint64_t *rows_done, rows_all;
    uint32_t **wants_leaf;      /* where the leaf of each row goes; NULL: nowhere */
    uint32_t *leaf;             /* of each local row, once they lie still */
    const struct rt_keep *keep; /* of whole cells; NULL inside one */
};

/* The rows of a problem by cell, and the leaves of each cell. */
struct line {
    struct rt_line rows;
    uint64_t *seats;      /* n_cells */
    uint64_t *first_seat; /* n_cells + 1 */
};

static void line_free(struct line *line)
{
    rt_line_free(&line->rows);
    rt_array_free(line->seats);
    rt_array_free(line->first_seat);
}

static enum rt_status line_new(struct line *line, uint32_t n_cells, int n_ranks,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_line_new(n_cells, n_ranks, &line->rows, err));
    RT_TRY(rt_array_zero(n_cells, sizeof(uint64_t), &line->seats, err));
    RT_TRY(rt_array_zero((size_t)n_cells + 1, sizeof(uint64_t), &line->first_seat, err));
done:
    return st;
}

static void count_seats(struct line *line)
{
    for (uint32_t c = 0; c < line->rows.n_cells; c++)
        line->first_seat[c + 1] = line->first_seat[c] + line->seats[c];
}

/* Each rank's part of the line: equal parts where the whole sample travels; inside a cell, as many
 * rows as it has. */
static void set_borders(const struct problem *p, struct rt_line *line)
{
    if (p->depth == 0) {
        rt_line_share(line, p->n_ranks);
        return;
    }
    uint64_t own = p->n;
    line->borders[0] = 0;
    MPI_Allgather(&own, 1, MPI_UINT64_T, line->borders + 1, 1, MPI_UINT64_T, p->comm);
    for (int r = 0; r < p->n_ranks; r++)
        line->borders[r + 1] += line->borders[r];
}

/* --- coarse cells --- */

/* Which rows train k centroids: about rows_each for each of them by a keyed hash; all where there
 * are not more than twice as many. */
struct thinning {
    uint64_t limit; /* rows whose key is no greater */
    size_t n_local;
};

static bool is_kept(const struct problem *p, const struct thinning *thinning, size_t i)
{
    return thinning->limit == UINT64_MAX ||
           rt_random(p->setting->seed, RT_RANDOM_COARSE_ROW, p->level, p->first_leaf,
                     rt_sample_number(p->sample, p->begin + i)) <= thinning->limit;
}

/* Collective. */
static struct thinning thin(const struct problem *p, uint32_t rows_each, uint32_t k)
{
    struct thinning thinning = {.limit = UINT64_MAX};
    uint64_t wanted = (uint64_t)rows_each * k;
    uint64_t n_all = p->n;
    rt_sum_u64(p->comm, &n_all, 1);
    if (n_all > 2 * wanted)
        thinning.limit = (uint64_t)((double)wanted / (double)n_all * 0x1p63) * 2;
    for (size_t i = 0; i < p->n; i++)
        thinning.n_local += is_kept(p, &thinning, i);
    uint64_t found = thinning.n_local;
    rt_sum_u64(p->comm, &found, 1);
    if (found < k) /* will not happen; but then all rows are enough */
        thinning = (struct thinning){UINT64_MAX, p->n};
    return thinning;
}

static enum rt_status gather_kept(const struct problem *p, const struct thinning *thinning,
                                  float **rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t dim = p->sample->dim;
    float *buffer = NULL;
    size_t at = 0;
    RT_TRY(rt_array_new(thinning->n_local, dim * sizeof **rows, rows, err));
    RT_TRY(rt_array_new(rt_sample_buffer_floats(p->sample, 1), sizeof *buffer, &buffer, err));
    for (size_t i = 0; i < p->n; i++)
        if (is_kept(p, thinning, i))
            memcpy(*rows + dim * at++, rt_sample_get(p->sample, p->begin + i, 1, buffer),
                   dim * sizeof **rows);
done:
    rt_array_free(buffer);
    return st;
}

/* k centroids over the rows that are kept. Collective. */
static enum rt_status train_thinned(const struct problem *p, const struct rt_lloyd_setting *setting,
                                    const struct thinning *thinning, uint32_t k, float *centroids,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    float *rows = NULL;
    struct rt_sample *kept = NULL;
    RT_LOCAL(gather_kept(p, thinning, &rows, err));
    RT_AGREE(p->comm);
    RT_TRY(rt_sample_over(p->comm, p->sample->metric, p->sample->dim, rows, thinning->n_local,
                          &kept, err));
    struct rt_lloyd_place place = {p->level, p->first_leaf};
    struct rt_lloyd_result result;
    RT_TRY(rt_lloyd_train(p->comm, setting, place, kept, 0, kept->n_local, k, centroids, NULL,
                          &result, err));
done:
    rt_sample_free(kept);
    rt_array_free(rows);
    return st;
}

/* The nearest of k centroids for each of this rank's rows. */
static enum rt_status assign_rows(const struct problem *p, const float *centroids, uint32_t k,
                                  uint32_t *nearest, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t dim = p->sample->dim;
    struct rt_centroid_set *set = NULL;
    struct rt_assigner *assigner = NULL;
    float *buffer = NULL;
    size_t batch = rt_lloyd_batch_rows(dim);
    RT_TRY(rt_centroid_set_new(centroids, k, dim, p->setting->distance, NULL, &set, err));
    RT_TRY(rt_assigner_new(batch, dim, 1, p->setting->proposer, &assigner, err));
    RT_TRY(rt_array_new(rt_sample_buffer_floats(p->sample, batch), sizeof *buffer, &buffer, err));
    for (size_t at = 0; at < p->n; at += batch) {
        size_t n = p->n - at < batch ? p->n - at : batch;
        const float *rows = rt_sample_get(p->sample, p->begin + at, n, buffer);
        rt_assign_nearest(assigner, set, rows, n, nearest + at, NULL);
    }
done:
    rt_centroid_set_free(set);
    rt_assigner_free(assigner);
    rt_array_free(buffer);
    return st;
}

static enum rt_status train_coarse(const struct problem *p, uint32_t n_cells, float *cells,
                                   uint32_t *cell, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lloyd_setting setting = *p->setting;
    struct thinning thinning = thin(p, RT_COARSE_ROWS_PER_CELL, n_cells);
    setting.progress = NULL;
    RT_TRY(train_thinned(p, &setting, &thinning, n_cells, cells, err));
    RT_LOCAL(assign_rows(p, cells, n_cells, cell, err));
    RT_AGREE(p->comm);
done:
    return st;
}

/* --- cells --- */

static struct rt_range own_part(const struct problem *p, const struct line *line, uint32_t c)
{
    return rt_line_part(line->rows.begins, line->rows.borders, c, p->rank);
}

static enum rt_status solve(const struct problem *p, float *leaves, struct rt_error *err);

/* The leaves of a cell that has no cells in it, and where the leaf of each row is asked for, that.
 * Leaves that all rows refine afterwards begin with part of them: on 1,000,000 x 128 clustered rows
 * and 4,096 leaves that takes 0.7 of the time, and the objective at the end is better. */
static enum rt_status train_leaves(const struct problem *p, float *leaves, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lloyd_setting setting = *p->setting;
    struct rt_lloyd_place place = {p->level, p->first_leaf};
    struct rt_lloyd_result result;
    struct thinning thinning = {.limit = UINT64_MAX};
    uint32_t *leaf = p->leaf ? p->leaf + p->begin : NULL;
    setting.progress = NULL;
    setting.stops_by_moves = setting.distance == RT_L2; /* under ip the gain ends it sooner */
    setting.reseeds = leaf && setting.distance == RT_L2;
    if (leaf)
        thinning = thin(p, RT_ROWS_PER_LEAF, p->k);
    if (thinning.limit == UINT64_MAX) {
        RT_TRY(rt_lloyd_train(p->comm, &setting, place, p->sample, p->begin, p->n, p->k, leaves,
                              leaf, &result, err));
    } else {
        setting.overshoots = true;
        RT_TRY(train_thinned(p, &setting, &thinning, p->k, leaves, err));
        RT_LOCAL(assign_rows(p, leaves, p->k, leaf, err));
        RT_AGREE(p->comm);
    }
    for (size_t i = 0; leaf && i < p->n; i++)
        leaf[i] += (uint32_t)p->first_leaf;
done:
    return st;
}

/* One cell, on the ranks of comm, which all hold rows of it. */
static enum rt_status train_cell(const struct problem *p, const struct line *line, MPI_Comm comm,
                                 uint32_t c, float *leaves, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_range part = own_part(p, line, c);
    struct problem cell = *p;
    cell.comm = comm;
    MPI_Comm_rank(comm, &cell.rank);
    MPI_Comm_size(comm, &cell.n_ranks);
    cell.begin = p->begin + (size_t)(part.begin - line->rows.borders[p->rank]);
    cell.n = (size_t)rt_range_count(part);
    cell.k = (uint32_t)line->seats[c];
    cell.first_leaf = p->first_leaf + line->first_seat[c];
    cell.level = p->level + 1;
    cell.depth = p->depth + 1;
    cell.keep = NULL;
    cell.copy = NULL;
    float *own = leaves + line->first_seat[c] * p->sample->dim;
    float *apart = NULL; /* in a node's copy a cell has one writer, the first of its ranks */
    if (p->copy && cell.rank > 0) {
        RT_LOCAL(rt_array_new(cell.k, p->sample->dim * sizeof *apart, &apart, err));
        own = apart;
    }
    RT_AGREE(comm);
    uint64_t flat_most = 4 * (uint64_t)sqrt((double)p->k); /* D6 */
    if (cell.k > flat_most && cell.k > 4 && cell.k < p->k && cell.depth < MOST_DEPTH) {
        RT_TRY(solve(&cell, own, err));
    } else if (cell.k > 0) {
        RT_TRY(train_leaves(&cell, own, err));
        *p->rows_done += cell.n;
        if (p->progress && p->progress->cell_done)
            p->progress->cell_done(p->progress->ctx, *p->rows_done, p->rows_all);
    }
done:
    rt_array_free(apart);
    return st;
}

/* The cells of this rank's part: which it shares with others, two at most (D7). */
struct shared_cell {
    uint32_t c;
    bool is_there;
    MPI_Comm comm;
};

/* Communicators of the shared cells of even number among the shared, then of odd number: a rank has
 * at most one of each, so all even ones are trained side by side, and then all odd ones.
 * Collective. */
static void split_shared(const struct problem *p, const struct line *line,
                         struct shared_cell shared[2])
{
    uint32_t n_shared = 0;
    for (int parity = 0; parity < 2; parity++)
        shared[parity] = (struct shared_cell){0, false, MPI_COMM_NULL};
    for (uint32_t c = 0; c < line->rows.n_cells && p->n_ranks > 1; c++) {
        const uint64_t *borders = line->rows.borders;
        if (line->rows.totals[c] == 0 ||
            rt_line_rank(borders, p->n_ranks, line->rows.begins[c]) ==
                rt_line_rank(borders, p->n_ranks, line->rows.begins[c + 1] - 1))
            continue;
        if (rt_range_count(own_part(p, line, c)) > 0) {
            shared[n_shared % 2].c = c;
            shared[n_shared % 2].is_there = true;
        }
        n_shared++;
    }
    for (uint32_t parity = 0; parity < 2 && parity < n_shared; parity++)
        MPI_Comm_split(p->comm, shared[parity].is_there ? (int)shared[parity].c : MPI_UNDEFINED,
                       p->rank, &shared[parity].comm);
}

/* A rank that has failed tells the others of its shared cell before they train: nobody waits for it
 * in vain. */
static enum rt_status train_shared(const struct problem *p, const struct line *line,
                                   struct shared_cell *shared, float *leaves,
                                   struct rt_kept_cells *kept, enum rt_status so_far,
                                   struct rt_error *err)
{
    enum rt_status st = so_far;
    if (!shared->is_there)
        return st;
    RT_AGREE(shared->comm);
    if (rt_kept_cells_has(kept, shared->c))
        goto done;
    RT_TRY(train_cell(p, line, shared->comm, shared->c, leaves, err));
    RT_TRY(rt_kept_cells_add(kept, shared->c, err)); /* the next to ask for agreement is told */
done:
    MPI_Comm_free(&shared->comm);
    return st;
}

static enum rt_status train_whole_cells(const struct problem *p, const struct line *line,
                                        float *leaves, struct rt_kept_cells *kept,
                                        struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t c = 0; c < line->rows.n_cells; c++)
        if (line->rows.totals[c] > 0 && line->rows.begins[c] >= line->rows.borders[p->rank] &&
            line->rows.begins[c + 1] <= line->rows.borders[p->rank + 1] &&
            !rt_kept_cells_has(kept, c)) {
            RT_TRY(train_cell(p, line, MPI_COMM_SELF, c, leaves, err));
            RT_TRY(rt_kept_cells_add(kept, c, err));
        }
done:
    return st;
}

/* Cells that runs before have finished are as good as trained. Collective. */
static enum rt_status find_kept(const struct problem *p, const struct line *line, float *leaves,
                                struct rt_kept_cells **kept, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_cell_line cells = {.rank = p->rank,
                                       .n_ranks = p->n_ranks,
                                       .n_cells = line->rows.n_cells,
                                       .dim = p->sample->dim,
                                       .begins = line->rows.begins,
                                       .borders = line->rows.borders,
                                       .first_seat = line->first_seat,
                                       .leaf = p->leaf,
                                       .centroids = leaves};
    RT_TRY(rt_kept_cells_new(p->comm, p->keep, &cells, kept, err));
    for (uint32_t c = 0; c < line->rows.n_cells; c++)
        if (rt_kept_cells_has(*kept, c))
            *p->rows_done += rt_range_count(own_part(p, line, c));
done:
    return st;
}

/* Leaves of each cell from the first rank that holds rows of it, to all places or ranks. As cells
 * follow each other on the line, so do the ranks' leaves. Collective. */
static enum rt_status gather_leaves(const struct problem *p, const struct line *line, float *leaves,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *counts = NULL;
    size_t leaf_bytes = p->sample->dim * sizeof *leaves;
    uint64_t first = 0; /* this rank's first leaf */
    RT_LOCAL(rt_array_zero((size_t)p->n_ranks, sizeof *counts, &counts, err));
    RT_AGREE(p->comm);
    int owner = 0;
    for (uint32_t c = 0; c < line->rows.n_cells; c++) {
        if (line->rows.totals[c] == 0)
            continue;
        while (line->rows.borders[owner + 1] <= line->rows.begins[c])
            owner++;
        if (owner < p->rank)
            first += line->seats[c];
        counts[owner] += line->seats[c] * leaf_bytes;
    }
    if (p->copy)
        rt_node_copy_gather(p->copy, counts);
    else
        rt_allgatherv_bytes(p->comm, leaves + first * p->sample->dim, leaves, counts);
done:
    rt_array_free(counts);
    return st;
}

/* Rows to their places on the line, then all cells. line has totals, seats and borders. Collective.
 */
static enum rt_status train_line(const struct problem *p, struct line *line, const uint32_t *cell,
                                 float *leaves, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct shared_cell shared[2];
    struct rt_kept_cells *kept = NULL;
    struct rt_line_rows rows = {p->comm, p->sample, p->begin, p->n, p->depth == 0, 0};
    RT_TRY(rt_line_move(&rows, &line->rows, cell, err));
    struct problem moved = *p;
    moved.n = (size_t)(line->rows.borders[p->rank + 1] - line->rows.borders[p->rank]);
    if (p->wants_leaf && !p->leaf) {
        RT_LOCAL(rt_array_new(moved.n, sizeof *moved.leaf, p->wants_leaf, err));
        RT_AGREE(p->comm);
        moved.leaf = *p->wants_leaf;
    }
    RT_TRY(find_kept(&moved, line, leaves, &kept, err));
    split_shared(&moved, line, shared);
    st = train_shared(&moved, line, &shared[0], leaves, kept, st, err);
    st = train_shared(&moved, line, &shared[1], leaves, kept, st, err);
    RT_LOCAL(train_whole_cells(&moved, line, leaves, kept, err));
    if (st == RT_STOPPED) {
        struct rt_error failed;
        enum rt_status saved = rt_kept_cells_save(kept, &failed);
        (void)saved; /* the last state counts, then */
    }
    RT_AGREE(p->comm);
    RT_TRY(gather_leaves(&moved, line, leaves, err));
done:
    rt_kept_cells_free(kept);
    return st;
}

/* sqrt(k) cells, their rows together, their leaves. Collective over p->comm. */
static enum rt_status solve(const struct problem *p, float *leaves, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_cells = (uint32_t)sqrt((double)p->k);
    struct line line = {0};
    uint32_t *cell = NULL;
    float *cells = NULL;
    uint64_t given = 0;
    RT_LOCAL(line_new(&line, n_cells, p->n_ranks, err));
    RT_LOCAL(rt_array_new(n_cells, p->sample->dim * sizeof *cells, &cells, err));
    RT_LOCAL(rt_array_new(p->n, sizeof *cell, &cell, err));
    RT_AGREE(p->comm);
    RT_TRY(train_coarse(p, n_cells, cells, cell, err));
    rt_line_count(p->comm, cell, p->n, &line.rows);
    set_borders(p, &line.rows);
    RT_LOCAL(rt_seats_share(line.rows.totals, n_cells, p->k, line.seats, &given, err));
    RT_AGREE(p->comm);
    rt_assert(given == p->k);
    count_seats(&line);
    RT_TRY(train_line(p, &line, cell, leaves, err));
done:
    line_free(&line);
    rt_array_free(cell);
    rt_array_free(cells);
    return st;
}

static struct problem whole_problem(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                                    struct rt_sample *sample,
                                    const struct rt_hierarchical_progress *progress,
                                    uint64_t *rows_done)
{
    struct problem p = {.comm = comm,
                        .setting = setting,
                        .sample = sample,
                        .n = sample->n_local,
                        .progress = progress,
                        .rows_done = rows_done,
                        .rows_all = sample->n_total};
    MPI_Comm_rank(comm, &p.rank);
    MPI_Comm_size(comm, &p.n_ranks);
    return p;
}

enum rt_status rt_hierarchical_train(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                                     struct rt_sample *sample, uint32_t k,
                                     struct rt_node_copy *centroids, uint32_t **leaf,
                                     const struct rt_keep *keep,
                                     const struct rt_hierarchical_progress *progress,
                                     struct rt_error *err)
{
    uint64_t rows_done = 0;
    struct problem p = whole_problem(comm, setting, sample, progress, &rows_done);
    p.k = k;
    p.wants_leaf = leaf;
    p.keep = keep;
    p.copy = centroids;
    enum rt_status st = solve(&p, rt_node_copy_data(centroids), err);
    if (st != RT_OK && leaf) {
        rt_array_free(*leaf);
        *leaf = NULL;
    }
    return st;
}

enum rt_status rt_hierarchical_train_cells(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                                           uint64_t level, struct rt_sample *sample,
                                           const uint32_t *cell, uint32_t n_cells,
                                           const uint64_t *seats, float *centroids,
                                           const struct rt_hierarchical_progress *progress,
                                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t rows_done = 0;
    struct line line = {0};
    struct problem p = whole_problem(comm, setting, sample, progress, &rows_done);
    p.level = level;
    RT_LOCAL(line_new(&line, n_cells, p.n_ranks, err));
    RT_AGREE(comm);
    memcpy(line.seats, seats, n_cells * sizeof *seats);
    rt_line_count(comm, cell, p.n, &line.rows);
    set_borders(&p, &line.rows);
    count_seats(&line);
    p.k = (uint32_t)line.first_seat[n_cells];
    RT_TRY(train_line(&p, &line, cell, centroids, err));
done:
    line_free(&line);
    return st;
}

uint64_t rt_hierarchical_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint64_t row_bytes,
                               uint32_t n_ranks)
{
    uint64_t n_cells = (uint64_t)sqrt((double)k);
    uint64_t travel =
        n_local * (row_bytes /* of the rows that arrive; their numbers are the sample's */
                   + 2 * sizeof(uint32_t) + sizeof(uint64_t)) + /* cell, order, position */
        rt_exchange_bytes((int)n_ranks, 0) +
        4 * sizeof(uint64_t) * n_ranks;
    uint64_t coarse_rows = RT_COARSE_ROWS_PER_CELL * n_cells / n_ranks;
    coarse_rows += coarse_rows / 16 + 1; /* they are drawn */
    if (n_local <= UINT64_C(2) * RT_COARSE_ROWS_PER_CELL * n_cells / n_ranks)
        coarse_rows = n_local;
    uint64_t coarse = coarse_rows * dim * sizeof(float) +
                      rt_lloyd_bytes(coarse_rows, (uint32_t)n_cells, dim, dim, n_ranks);
    /* where the codes of a cell's rows are kept they are fewer than those of refinement */
    uint64_t of_cell = 4 * n_cells; /* leaves, at most */
    uint64_t thinned =
        of_cell * RT_ROWS_PER_LEAF < n_local / 2 ? of_cell * RT_ROWS_PER_LEAF : n_local / 2;
    uint64_t cells = rt_lloyd_bytes(n_local, (uint32_t)of_cell, dim, dim, 1) +
                     (thinned + (n_ranks > 1 ? of_cell : 0)) * dim * sizeof(float);
    uint64_t most = travel > coarse ? travel : coarse;
    return (most > cells ? most : cells) + n_cells * (dim * sizeof(float) + 6 * sizeof(uint64_t));
}
