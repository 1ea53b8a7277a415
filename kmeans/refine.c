#include "kmeans/refine.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/random.h"
#include "kmeans/levels.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NARROW_NEIGHBOURS 96u /* of every round but the wide one */
#define WIDE_ROUND 1u         /* from 0; the only round where there is one */
#define N_CANDIDATES 5u
#define GROUP 256u        /* leaves whose neighbours are sought at once */
#define CELLS_SEARCHED 8u /* D8: above RT_REFINE_FLAT_LEAVES */

#define N_MOST 512u /* the last of them */

static const uint32_t candidates[N_CANDIDATES] = {32, 64, 128, 256, N_MOST};

/* What a rank holds while it refines. Rows lie by leaf in `order`; `was` and `order_was` are those
 * of the round before. */
struct work {
    MPI_Comm comm;
    int rank, n_ranks;
    const struct rt_lloyd_setting *setting;
    const struct rt_sample *sample;
    uint32_t k, dim;
    float *centroids;              /* k x dim */
    uint32_t *leaf, *was;          /* n_local */
    uint32_t *order, *order_was;   /* n_local */
    uint32_t *starts, *starts_was; /* k + 1 */
    struct rt_range own;           /* leaves whose sums this rank keeps (D9) */
    int64_t *sums;                 /* own x dim */
    int64_t *counts;               /* own */
    float *before;                 /* own x dim: centroids before a round */
    int64_t *delta;                /* dim */
    uint32_t *cursor;              /* n_ranks: next leaf to tell each rank of */
    uint64_t *bytes; /* n_ranks: of centroids of each rank; then what has something for it */
    size_t batch;
    float *rows;     /* batch x row_dim */
    float *row;      /* row_dim */
    uint32_t *found; /* batch */
    /* Rows as codes about a point near their leaf: where it was at the start, itself known by a
     * code about the middle of all leaves. Made when a row comes to a leaf. */
    size_t code_bytes;
    unsigned char *codes;      /* n_local x code_bytes */
    unsigned char *references; /* k x code_bytes */
    float *middle, *reference; /* dim */
    struct rt_centroid_set *near;
    float *group;         /* GROUP x dim centroids, */
    uint32_t *group_leaf; /* their numbers, */
    uint32_t *neighbours; /* and GROUP x most neighbours */
    uint32_t most;        /* neighbours a leaf may have */
    uint32_t *lists; /* up to RT_REFINE_FLAT_LEAVES: k x stride, the neighbours of all leaves */
    uint32_t stride;
    struct rt_assigner *of_rows, *of_leaves;
    /* search for neighbours: all leaves, or through cells */
    struct rt_levels cells; /* n_levels 0: all leaves */
    struct rt_tree tree;
    struct rt_centroid_set *sets[2]; /* cells, leaves; without cells only [1] */
    void *store;
    struct rt_exchange *exchange;
};

static void work_free(struct work *w)
{
    rt_array_free(w->was);
    rt_array_free(w->order);
    rt_array_free(w->order_was);
    rt_array_free(w->starts);
    rt_array_free(w->starts_was);
    rt_array_free(w->sums);
    rt_array_free(w->counts);
    rt_array_free(w->before);
    rt_array_free(w->delta);
    rt_array_free(w->cursor);
    rt_array_free(w->bytes);
    rt_array_free(w->rows);
    rt_array_free(w->row);
    rt_array_free(w->found);
    rt_array_free(w->codes);
    rt_array_free(w->references);
    rt_array_free(w->middle);
    rt_array_free(w->reference);
    rt_centroid_set_free(w->near);
    rt_array_free(w->group);
    rt_array_free(w->group_leaf);
    rt_array_free(w->neighbours);
    rt_array_free(w->lists);
    rt_assigner_free(w->of_rows);
    rt_assigner_free(w->of_leaves);
    rt_levels_free(&w->cells);
    rt_centroid_set_free(w->sets[0]);
    rt_centroid_set_free(w->sets[1]);
    rt_array_free(w->store);
}

static uint32_t n_cells_of(uint32_t k)
{
    return k > RT_REFINE_FLAT_LEAVES ? (uint32_t)sqrt((double)k) : 0;
}

static size_t store_bytes(uint32_t k, uint32_t dim)
{
    return n_cells_of(k) > 0 ? rt_centroid_set_bytes_in_cells(k, dim, n_cells_of(k))
                             : rt_centroid_set_bytes(k, dim);
}

static enum rt_status work_new(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = w->sample->n_local;
    size_t k = w->k;
    size_t n_own = (size_t)rt_range_count(w->own);
    w->batch = rt_lloyd_batch_rows(w->dim);
    w->most = w->k < candidates[N_CANDIDATES - 1] ? w->k : candidates[N_CANDIDATES - 1];
    RT_TRY(rt_array_new(n, sizeof *w->was, &w->was, err));
    RT_TRY(rt_array_new(n, sizeof *w->order, &w->order, err));
    RT_TRY(rt_array_new(n, sizeof *w->order_was, &w->order_was, err));
    RT_TRY(rt_array_new(k + 1, sizeof *w->starts, &w->starts, err));
    RT_TRY(rt_array_new(k + 1, sizeof *w->starts_was, &w->starts_was, err));
    RT_TRY(rt_array_zero(n_own, w->dim * sizeof *w->sums, &w->sums, err));
    RT_TRY(rt_array_zero(n_own, sizeof *w->counts, &w->counts, err));
    RT_TRY(rt_array_new(n_own, w->dim * sizeof *w->before, &w->before, err));
    RT_TRY(rt_array_new(w->dim, sizeof *w->delta, &w->delta, err));
    RT_TRY(rt_array_new((size_t)w->n_ranks, sizeof *w->cursor, &w->cursor, err));
    RT_TRY(rt_array_new((size_t)w->n_ranks, sizeof *w->bytes, &w->bytes, err));
    RT_TRY(
        rt_array_new(rt_sample_buffer_floats(w->sample, w->batch), sizeof *w->rows, &w->rows, err));
    RT_TRY(rt_array_new(rt_sample_buffer_floats(w->sample, 1), sizeof *w->row, &w->row, err));
    RT_TRY(rt_array_new(w->batch, sizeof *w->found, &w->found, err));
    w->code_bytes = rt_row_code_bytes(w->dim);
    RT_TRY(rt_array_new(n, w->code_bytes, &w->codes, err));
    RT_TRY(rt_array_new(k, w->code_bytes, &w->references, err));
    RT_TRY(rt_array_new(w->dim, sizeof *w->middle, &w->middle, err));
    RT_TRY(rt_array_new(w->dim, sizeof *w->reference, &w->reference, err));
    RT_TRY(rt_small_set_new(w->most, w->dim, w->setting->distance, &w->near, err));
    RT_TRY(rt_array_new(GROUP, w->dim * sizeof *w->group, &w->group, err));
    RT_TRY(rt_array_new(GROUP, sizeof *w->group_leaf, &w->group_leaf, err));
    RT_TRY(rt_array_new(GROUP, w->most * sizeof *w->neighbours, &w->neighbours, err));
    if (n_cells_of(w->k) == 0)
        RT_TRY(rt_array_new(k, w->most * sizeof *w->lists, &w->lists, err));
    RT_TRY(rt_assigner_new(w->batch, w->dim, 1, w->setting->proposer, &w->of_rows, err));
    RT_TRY(rt_assigner_new(GROUP, w->dim, w->most, w->setting->proposer, &w->of_leaves, err));
    RT_TRY(rt_array_new(store_bytes(w->k, w->dim), 1, &w->store, err));
done:
    return st;
}

uint64_t rt_refine_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint32_t n_ranks)
{
    uint64_t batch = rt_lloyd_batch_rows(dim);
    uint64_t most = candidates[N_CANDIDATES - 1];
    uint64_t own = k / n_ranks + 1;
    /* while leaves are renumbered; or the neighbours of all */
    uint64_t tree = (uint64_t)k * (n_cells_of(k) > 0 ? dim : most) * sizeof(float);
    return n_local * (4 * sizeof(uint32_t) + rt_row_code_bytes(dim)) +
           (uint64_t)k * rt_row_code_bytes(dim) + rt_small_set_bytes((uint32_t)most, dim) +
           ((uint64_t)k + 1) * 2 * sizeof(uint32_t) +
           own * ((dim + 1) * sizeof(int64_t) + dim * sizeof(float)) +
           n_ranks * (sizeof(uint32_t) + sizeof(uint64_t)) + batch * (dim + 1) * sizeof(float) +
           GROUP * (dim + most + 1) * sizeof(float) + rt_assigner_bytes((size_t)batch, dim, 1) +
           rt_assigner_bytes(GROUP, dim, (uint32_t)most) + store_bytes(k, dim) + tree +
           rt_exchange_bytes((int)n_ranks, 0);
}

/* --- rows by leaf --- */

static void order_rows(struct work *w)
{
    size_t n = w->sample->n_local;
    memset(w->starts, 0, ((size_t)w->k + 1) * sizeof *w->starts);
    for (size_t i = 0; i < n; i++)
        w->starts[w->leaf[i]]++;
    uint32_t end = 0;
    for (size_t l = 0; l <= w->k; l++) {
        end += w->starts[l];
        w->starts[l] = end;
    }
    for (size_t i = n; i-- > 0;)
        w->order[--w->starts[w->leaf[i]]] = (uint32_t)i;
}

static void swap_orders(struct work *w)
{
    uint32_t *order = w->order;
    uint32_t *starts = w->starts;
    w->order = w->order_was;
    w->starts = w->starts_was;
    w->order_was = order;
    w->starts_was = starts;
}

/* --- neighbours (D8) --- */

/* Sets over the present centroids. */
static enum rt_status renew_sets(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    rt_centroid_set_free(w->sets[1]);
    w->sets[1] = NULL;
    if (w->cells.n_levels == 0)
        return rt_centroid_set_new(w->centroids, w->k, w->dim, w->setting->distance, w->store,
                                   &w->sets[1], err);
    if (!w->sets[0])
        RT_TRY(rt_centroid_set_new(w->cells.centroids[0], w->cells.n[0], w->dim,
                                   w->setting->distance, NULL, &w->sets[0], err));
    RT_TRY(rt_centroid_set_new_in_cells(w->centroids, w->k, w->dim, w->setting->distance,
                                        w->cells.first_child[0], w->cells.n[0], w->store,
                                        &w->sets[1], err));
done:
    return st;
}

/* The m neighbours of n leaves (group_leaf) into neighbours, n x m; where there are fewer, the rest
 * is UINT32_MAX. Each comes first among its own, even where twins of smaller numbers fill the list.
 */
static void find_neighbours(struct work *w, size_t n, uint32_t m)
{
    for (size_t i = 0; i < n; i++)
        memcpy(w->group + i * w->dim, w->centroids + (size_t)w->group_leaf[i] * w->dim,
               w->dim * sizeof *w->group);
    if (w->cells.n_levels == 0) {
        rt_assign_best_unsorted(w->of_leaves, w->sets[1], w->group, n, m, w->neighbours);
    } else {
        uint32_t beam = CELLS_SEARCHED;
        rt_assign_tree_best(w->of_leaves, &w->tree, w->sets, &beam, w->group, n, m, w->neighbours,
                            NULL);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t *list = w->neighbours + i * m;
        uint32_t at = 0;
        while (at + 1 < m && list[at] != w->group_leaf[i] && list[at] != UINT32_MAX)
            at++;
        memmove(list + 1, list, at * sizeof *list);
        list[0] = w->group_leaf[i];
    }
}

/* The m neighbours of every leaf, each found by its owner, to all ranks. Collective. */
static void remake_lists(struct work *w, uint32_t m)
{
    w->stride = m;
    for (uint64_t first = w->own.begin; first < w->own.end; first += GROUP) {
        size_t n = w->own.end - first < GROUP ? (size_t)(w->own.end - first) : GROUP;
        for (size_t i = 0; i < n; i++)
            w->group_leaf[i] = (uint32_t)(first + i);
        find_neighbours(w, n, m);
        memcpy(w->lists + first * m, w->neighbours, n * m * sizeof *w->lists);
    }
    for (int r = 0; r < w->n_ranks; r++)
        w->bytes[r] = rt_range_count(rt_share(w->k, r, w->n_ranks, 1)) * m * sizeof *w->lists;
    rt_allgatherv_bytes(w->comm, w->lists + w->own.begin * m, w->lists, w->bytes);
}

static uint32_t count_neighbours(const uint32_t *list, uint32_t m)
{
    uint32_t n = 0;
    while (n < m && list[n] != UINT32_MAX)
        n++;
    return n;
}

/* --- where it stands --- */

/* Before a round; centroids follow it and, where there are cells, these, the leaves' parents and
 * the cells' first children. */
struct stand {
    uint64_t k, dim, n_cells, round, n_neighbours;
};

static void view_cells(struct work *w)
{
    w->tree.dim = w->dim;
    w->tree.n_levels = 2;
    w->tree.levels[0] =
        (struct rt_level){w->cells.n[0], w->cells.centroids[0], NULL, w->cells.first_child[0]};
    w->tree.levels[1] = (struct rt_level){w->k, w->centroids, w->cells.parent[1], NULL};
}

static enum rt_status save_stand(const struct work *w, const struct rt_keep *keep, uint32_t round,
                                 uint32_t n_neighbours, struct rt_error *err)
{
    uint32_t n_cells = w->cells.n_levels ? w->cells.n[0] : 0;
    struct stand stand = {w->k, w->dim, n_cells, round, n_neighbours};
    size_t row = w->dim * sizeof *w->centroids;
    const struct rt_keep_piece pieces[] = {
        {&stand, sizeof stand},
        {w->centroids, w->k * row},
        {w->cells.centroids[0], n_cells * row},
        {w->cells.parent[1], w->k * sizeof(uint32_t)},
        {w->cells.first_child[0], ((size_t)n_cells + 1) * sizeof(uint32_t)}};
    return keep->save(keep->ctx, RT_REFINE_STAGE, pieces, n_cells ? 5 : 2, w->sample, w->leaf, err);
}

static enum rt_status load_cells(struct work *w, uint32_t n_cells, const unsigned char *at,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n_centroids = (size_t)n_cells * w->dim;
    size_t n_children = (size_t)n_cells + 1;
    w->cells.dim = w->dim;
    w->cells.n_levels = 2;
    w->cells.n[0] = n_cells;
    w->cells.n[1] = w->k;
    RT_TRY(rt_array_new(n_centroids, sizeof(float), &w->cells.centroids[0], err));
    RT_TRY(rt_array_new(w->k, sizeof(uint32_t), &w->cells.parent[1], err));
    RT_TRY(rt_array_new(n_children, sizeof(uint32_t), &w->cells.first_child[0], err));
    memcpy(w->cells.centroids[0], at, n_centroids * sizeof(float));
    at += n_centroids * sizeof(float);
    memcpy(w->cells.parent[1], at, w->k * sizeof(uint32_t));
    at += w->k * sizeof(uint32_t);
    memcpy(w->cells.first_child[0], at, n_children * sizeof(uint32_t));
    view_cells(w);
done:
    return st;
}

/* The bytes are as save_stand has made them: their checksum was right. */
static enum rt_status load_stand(struct work *w, const struct rt_refine_options *options,
                                 uint32_t *round, uint32_t *n_neighbours, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stand stand = {0};
    size_t n_bytes = (size_t)w->k * w->dim * sizeof *w->centroids;
    if (options->stand_bytes >= sizeof stand)
        memcpy(&stand, options->stand, sizeof stand);
    size_t of_cells = stand.n_cells ? (size_t)(stand.n_cells * w->dim + w->k + stand.n_cells + 1) *
                                          sizeof(uint32_t)
                                    : 0;
    if (stand.k != w->k || stand.dim != w->dim || stand.n_cells > w->k ||
        options->stand_bytes != sizeof stand + n_bytes + of_cells)
        RT_FAIL(RT_DAMAGED, "the checkpoint of refinement is not of this training: --force starts "
                            "anew");
    memcpy(w->centroids, options->stand + sizeof stand, n_bytes);
    if (stand.n_cells)
        RT_TRY(
            load_cells(w, (uint32_t)stand.n_cells, options->stand + sizeof stand + n_bytes, err));
    *round = (uint32_t)stand.round;
    *n_neighbours = (uint32_t)stand.n_neighbours;
done:
    return st;
}

/* Above RT_REFINE_FLAT_LEAVES: cells over the leaves, which are renumbered so that a cell's leaves
 * are contiguous. The cells stay as they are while the leaves move: they only say where to look. */
static enum rt_status make_cells(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t lists[2] = {n_cells_of(w->k), w->k};
    float *leaves = NULL;
    uint32_t *now = NULL;
    if (lists[0] == 0)
        return RT_OK;
    size_t n_bytes = (size_t)w->k * w->dim * sizeof *leaves;
    RT_LOCAL(rt_array_new(n_bytes, 1, &leaves, err));
    RT_LOCAL(rt_array_new(w->k, sizeof *now, &now, err));
    RT_AGREE(w->comm);
    memcpy(leaves, w->centroids, n_bytes);
    float *given = leaves;
    leaves = NULL;
    RT_TRY(rt_levels_train(w->comm, w->setting, 2, lists, w->dim, given, w->k, &w->cells, err));
    memcpy(w->centroids, w->cells.centroids[1], n_bytes);
    rt_array_free(w->cells.centroids[1]);
    w->cells.centroids[1] = NULL;
    for (uint32_t l = 0; l < w->k; l++)
        now[w->cells.was[l]] = l;
    for (size_t i = 0; i < w->sample->n_local; i++)
        w->leaf[i] = now[w->leaf[i]];
    view_cells(w);
done:
    rt_array_free(leaves);
    rt_array_free(now);
    return st;
}

/* --- a round: rows to their nearest neighbour --- */

static void make_references(struct work *w)
{
    for (uint32_t i = 0; i < w->dim; i++)
        w->middle[i] = 0;
    for (size_t l = 0; l < w->k; l++)
        for (uint32_t i = 0; i < w->dim; i++)
            w->middle[i] += w->centroids[l * w->dim + i] / (float)w->k;
    for (size_t l = 0; l < w->k; l++)
        rt_row_code(RT_L2, w->centroids + l * w->dim, w->middle, w->dim,
                    w->references + l * w->code_bytes);
}

static const float *reference_of(struct work *w, size_t leaf)
{
    rt_row_decode(w->references + leaf * w->code_bytes, w->middle, w->dim, w->reference);
    return w->reference;
}

static const float *row_of(void *ctx, uint32_t index)
{
    struct work *w = ctx;
    return rt_sample_get(w->sample, index, 1, w->row);
}

/* Returns how many rows leave. */
static int64_t assign_leaf(struct work *w, uint32_t leaf, const uint32_t *list, uint32_t m)
{
    int64_t n_moved = 0;
    rt_small_set_fill(w->near, w->centroids, list, m, reference_of(w, leaf));
    for (size_t at = w->starts[leaf]; at < w->starts[leaf + 1]; at += w->batch) {
        size_t left = w->starts[leaf + 1] - at;
        size_t n = left < w->batch ? left : w->batch;
        struct rt_coded rows = {w->codes, w->order + at, row_of, w};
        rt_assign_coded(w->of_rows, w->near, &rows, n, w->found, NULL);
        for (size_t i = 0; i < n; i++) {
            n_moved += w->found[i] != leaf;
            w->leaf[rows.index[i]] = w->found[i];
        }
    }
    return n_moved;
}

/* Next leaves of this rank's rows, from *next on. */
static size_t next_group(struct work *w, uint32_t *next)
{
    size_t n = 0;
    for (; *next < w->k && n < GROUP; (*next)++)
        if (w->starts[*next] < w->starts[*next + 1])
            w->group_leaf[n++] = *next;
    return n;
}

/* Returns how many rows move. */
static int64_t assign_rows(struct work *w, uint32_t m)
{
    int64_t n_moved = 0;
    uint32_t next = 0;
    for (uint32_t leaf = 0; w->lists && leaf < w->k; leaf++)
        if (w->starts[leaf] < w->starts[leaf + 1]) {
            const uint32_t *list = w->lists + (size_t)leaf * w->stride;
            n_moved += assign_leaf(w, leaf, list, count_neighbours(list, m));
        }
    if (w->lists)
        return n_moved;
    for (size_t n = next_group(w, &next); n > 0; n = next_group(w, &next)) {
        find_neighbours(w, n, m);
        for (size_t i = 0; i < n; i++) {
            const uint32_t *list = w->neighbours + i * m;
            n_moved += assign_leaf(w, w->group_leaf[i], list, count_neighbours(list, m));
        }
    }
    return n_moved;
}

/* --- a round: sums follow the rows that moved (D9) --- */

/* Adds to sum and count what leaf has won and lost, and codes the rows it has won; false where that
 * is nothing. */
static bool add_moved(struct work *w, uint32_t leaf, int64_t *sum, int64_t *count)
{
    int64_t n_lost = 0;
    int64_t n_won = 0;
    for (size_t at = w->starts_was[leaf]; at < w->starts_was[leaf + 1]; at++) {
        uint32_t index = w->order_was[at];
        if (w->leaf[index] == leaf)
            continue;
        rt_means_subtract(&w->setting->scale, sum, row_of(w, index), w->dim);
        n_lost++;
    }
    for (size_t at = w->starts[leaf]; at < w->starts[leaf + 1]; at++) {
        uint32_t index = w->order[at];
        if (w->was[index] == leaf)
            continue;
        if (n_won++ == 0)
            (void)reference_of(w, leaf);
        const float *row = row_of(w, index);
        rt_means_add(&w->setting->scale, sum, row, w->dim);
        rt_row_code(w->setting->distance, row, w->reference, w->dim,
                    w->codes + index * w->code_bytes);
    }
    *count += n_won - n_lost;
    return n_won + n_lost > 0;
}

/* Whether a row of this rank came to the leaf or left it. */
static bool has_moved(const struct work *w, uint32_t leaf)
{
    for (size_t at = w->starts_was[leaf]; at < w->starts_was[leaf + 1]; at++)
        if (w->leaf[w->order_was[at]] != leaf)
            return true;
    for (size_t at = w->starts[leaf]; at < w->starts[leaf + 1]; at++)
        if (w->was[w->order[at]] != leaf)
            return true;
    return false;
}

static uint32_t next_moved(const struct work *w, uint32_t leaf, int owner)
{
    uint32_t end = (uint32_t)rt_share(w->k, owner, w->n_ranks, 1).end;
    while (leaf < end && !has_moved(w, leaf))
        leaf++;
    return leaf;
}

/* One record a leaf: number, rows won less rows lost, sums. */
static enum rt_status give_sums(void *context, int to, void *buffer, size_t capacity,
                                size_t *n_bytes, bool *more, struct rt_error *err)
{
    (void)err;
    struct work *w = context;
    size_t sum_bytes = w->dim * sizeof *w->delta;
    size_t record = 2 * sizeof(int64_t) + sum_bytes;
    uint32_t end = (uint32_t)rt_share(w->k, to, w->n_ranks, 1).end;
    unsigned char *at = buffer;
    uint32_t leaf = w->cursor[to];
    while (leaf < end && (size_t)(at - (unsigned char *)buffer) + record <= capacity) {
        int64_t head[2] = {leaf, 0};
        memset(w->delta, 0, sum_bytes);
        (void)add_moved(w, leaf, w->delta, &head[1]);
        memcpy(at, head, sizeof head);
        memcpy(at + sizeof head, w->delta, sum_bytes);
        at += record;
        leaf = next_moved(w, leaf + 1, to);
    }
    w->cursor[to] = leaf;
    *n_bytes = (size_t)(at - (unsigned char *)buffer);
    *more = leaf < end;
    return RT_OK;
}

static enum rt_status take_sums(void *context, int from, const void *bytes, size_t n_bytes,
                                struct rt_error *err)
{
    (void)err;
    (void)from;
    struct work *w = context;
    size_t record = 2 * sizeof(int64_t) + w->dim * sizeof *w->sums;
    const unsigned char *end = (const unsigned char *)bytes + n_bytes;
    for (const unsigned char *at = bytes; at < end; at += record) {
        int64_t head[2];
        memcpy(head, at, sizeof head);
        size_t own = (size_t)((uint64_t)head[0] - w->own.begin);
        int64_t *sum = w->sums + own * w->dim;
        w->counts[own] += head[1];
        for (size_t i = 0; i < w->dim; i++) {
            int64_t add = 0;
            memcpy(&add, at + sizeof head + i * sizeof add, sizeof add);
            sum[i] += add;
        }
    }
    return RT_OK;
}

/* Brings the sums up to leaf and order. Collective. */
static enum rt_status update_sums(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (int r = 0; r < w->n_ranks && w->n_ranks > 1; r++) {
        struct rt_range range = rt_share(w->k, r, w->n_ranks, 1);
        w->cursor[r] = r == w->rank ? (uint32_t)range.end : next_moved(w, (uint32_t)range.begin, r);
        w->bytes[r] = w->cursor[r] < range.end;
    }
    for (uint64_t l = w->own.begin; l < w->own.end; l++)
        (void)add_moved(w, (uint32_t)l, w->sums + (l - w->own.begin) * w->dim,
                        &w->counts[l - w->own.begin]);
    if (w->n_ranks > 1)
        RT_TRY(rt_exchange_round(w->exchange, w->bytes, give_sums, take_sums, w, err));
done:
    return st;
}

/* Every owner divides its sums, all get all. Collective. */
static void renew_centroids(struct work *w, bool overshoots)
{
    float *own = w->centroids + w->own.begin * w->dim;
    size_t n_own = (size_t)rt_range_count(w->own);
    memcpy(w->before, own, n_own * w->dim * sizeof *own);
    rt_means_divide(&w->setting->scale, w->sums, w->counts, n_own, w->dim, w->setting->spherical,
                    own);
    if (overshoots)
        rt_means_overshoot(w->before, n_own, w->dim, w->setting->spherical, own);
    for (int r = 0; r < w->n_ranks; r++)
        w->bytes[r] = rt_range_count(rt_share(w->k, r, w->n_ranks, 1)) * w->dim * sizeof *own;
    rt_allgatherv_bytes(w->comm, own, w->centroids, w->bytes);
}

/* --- how many neighbours (A8) --- */

/* Rows by which the neighbours are chosen: local indexes in the order of leaves, and the nearest of
 * all leaves. */
struct drawn {
    uint32_t *index;
    uint32_t *nearest;
    size_t n;
};

static int compare_keys(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static enum rt_status sort_by_leaf(const struct work *w, uint32_t *index, size_t n,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *keys = NULL;
    RT_TRY(rt_array_new(n, sizeof *keys, &keys, err));
    for (size_t i = 0; i < n; i++)
        keys[i] = (uint64_t)w->leaf[index[i]] << 32 | index[i];
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++)
        index[i] = (uint32_t)keys[i];
done:
    rt_array_free(keys);
    return st;
}

static enum rt_status draw_rows(struct work *w, struct drawn *drawn, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_sample_draw(w->sample, w->setting->seed, RT_RANDOM_NEIGHBOUR_SAMPLE, RT_REFINE_SAMPLE,
                          &drawn->index, &drawn->n, err));
    RT_TRY(sort_by_leaf(w, drawn->index, drawn->n, err));
    RT_TRY(rt_array_new(drawn->n, sizeof *drawn->nearest, &drawn->nearest, err));
    for (size_t at = 0; at < drawn->n; at += w->batch) {
        size_t left = drawn->n - at;
        size_t rows = left < w->batch ? left : w->batch;
        rt_sample_gather(w->sample, drawn->index + at, rows, w->rows);
        rt_assign_nearest(w->of_rows, w->sets[1], w->rows, rows, drawn->nearest + at, NULL);
    }
done:
    return st;
}

/* How many of the leaf's neighbours, itself first, come before `other` in order of (E, number);
 * w->most where it is not among them. */
static uint32_t place_among(struct work *w, uint32_t leaf, const uint32_t *list, uint32_t other)
{
    const struct rt_kernels *kernels = rt_kernels();
    const float *from = w->centroids + (size_t)leaf * w->dim;
    uint32_t n = count_neighbours(list, w->most);
    uint32_t at = 0;
    uint32_t before = 1;
    float distance[N_MOST];
    while (at < n && list[at] != other)
        at++;
    if (other == leaf || at == n)
        return other == leaf ? 0 : w->most;
    (w->setting->distance == RT_IP ? kernels->ip_among : kernels->l2_among)(
        from, w->centroids, w->dim, list, n, distance);
    for (uint32_t i = 1; i < n; i++)
        before += distance[i] < distance[at] || (distance[i] == distance[at] && list[i] < other);
    return before;
}

/* Counts for each drawn row the candidates that would have its nearest leaf among the neighbours of
 * its leaf. within: rows for each candidate, then all rows. */
static void count_within(struct work *w, const struct drawn *drawn, uint64_t *within)
{
    for (size_t first = 0, end = 0; first < drawn->n; first = end) {
        size_t n = 0; /* leaves of this group, from row first to row end */
        for (end = first; end < drawn->n; end++) {
            uint32_t leaf = w->leaf[drawn->index[end]];
            if (n > 0 && w->group_leaf[n - 1] == leaf)
                continue;
            if (n == GROUP)
                break;
            w->group_leaf[n++] = leaf;
        }
        if (!w->lists)
            find_neighbours(w, n, w->most);
        size_t at = 0;
        for (size_t i = first; i < end; i++) {
            uint32_t leaf = w->leaf[drawn->index[i]];
            at += w->group_leaf[at] != leaf;
            const uint32_t *list =
                w->lists ? w->lists + (size_t)leaf * w->stride : w->neighbours + at * w->most;
            uint32_t place = place_among(w, leaf, list, drawn->nearest[i]);
            for (uint32_t c = 0; c < N_CANDIDATES; c++)
                within[c] += place < candidates[c] && place < w->most;
        }
    }
    within[N_CANDIDATES] = drawn->n;
}

static enum rt_status choose_neighbours(struct work *w, uint32_t *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t within[N_CANDIDATES + 1] = {0};
    struct drawn drawn = {0};
    RT_LOCAL(draw_rows(w, &drawn, err));
    RT_AGREE(w->comm);
    count_within(w, &drawn, within);
    rt_sum_u64(w->comm, within, N_CANDIDATES + 1);
    uint32_t c = 0;
    while (c + 1 < N_CANDIDATES && within[c] * 1000 < within[N_CANDIDATES] * RT_AGREEMENT_PER_MILLE)
        c++;
    *m = candidates[c] < w->most ? candidates[c] : w->most;
done:
    rt_array_free(drawn.index);
    rt_array_free(drawn.nearest);
    return st;
}

/* --- the whole --- */

/* Where no more than `still` rows move, or is_last, leaves become the means of their rows; else
 * they overshoot them. */
static enum rt_status refine_round(struct work *w, uint32_t m, uint64_t still, bool is_last,
                                   struct rt_refine_result *result, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    memcpy(w->was, w->leaf, w->sample->n_local * sizeof *w->leaf);
    int64_t n_moved = assign_rows(w, m);
    rt_sum_i64(w->comm, &n_moved, 1);
    swap_orders(w);
    order_rows(w);
    RT_TRY(update_sums(w, err));
    result->n_moved = (uint64_t)n_moved;
    renew_centroids(w, !is_last && result->n_moved > still);
    result->n_neighbours = m;
done:
    return st;
}

/* C4, of the rows and the centroids as they are. Collective. */
static double measure_objective(struct work *w)
{
    const struct rt_kernels *kernels = rt_kernels();
    struct rt_objective sum = {0, 0};
    size_t n_local = w->sample->n_local;
    for (size_t at = 0; at < n_local; at += w->batch) {
        size_t n = n_local - at < w->batch ? n_local - at : w->batch;
        const float *rows = rt_sample_get(w->sample, at, n, w->rows);
        for (size_t i = 0; i < n; i++) {
            const float *centroid = w->centroids + (size_t)w->leaf[at + i] * w->dim;
            float distance = w->setting->distance == RT_IP
                                 ? kernels->ip(rows + i * w->dim, centroid, w->dim)
                                 : kernels->l2(rows + i * w->dim, centroid, w->dim);
            rt_objective_add(&sum, rt_objective_grains(&w->setting->scale, distance));
        }
    }
    int64_t totals[2] = {sum.high, sum.low};
    rt_sum_i64(w->comm, totals, 2);
    struct rt_objective objective = {totals[0], totals[1]};
    return rt_objective_value(&w->setting->scale, rt_objective_join(objective));
}

/* Sums of the rows as they lie at the start: all came from nowhere. */
static enum rt_status first_sums(struct work *w, struct rt_error *err)
{
    memset(w->was, 0xff, w->sample->n_local * sizeof *w->was);
    memset(w->starts_was, 0, ((size_t)w->k + 1) * sizeof *w->starts_was);
    order_rows(w);
    return update_sums(w, err);
}

/* The schedule (A8): the second round looks as far as the agreement asks for, once leaves have left
 * their cells; all others look at NARROW_NEIGHBOURS, remade in each round. On 1,000,000 x 128
 * clustered rows and 4,096 leaves ten such rounds gave a better objective than four rounds of 32
 * and four of 512, at less time, since one far look brings a row near its place and the rest is
 * settled among the nearest. */
static enum rt_status refine(struct work *w, const struct rt_refine_options *options,
                             struct rt_refine_result *result, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t narrow = NARROW_NEIGHBOURS < w->most ? NARROW_NEIGHBOURS : w->most;
    uint32_t wide_round = options->n_rounds > WIDE_ROUND ? WIDE_ROUND : 0;
    uint32_t first = 0;
    const struct rt_keep *keep = options->keep;
    if (options->stand)
        RT_LOCAL(load_stand(w, options, &first, &result->n_neighbours, err));
    RT_AGREE(w->comm);
    if (!options->stand)
        RT_TRY(make_cells(w, err));
    make_references(w);
    RT_TRY(first_sums(w, err));
    result->n_rounds = first;
    for (uint32_t round = first; round < options->n_rounds; round++) {
        if (keep && !(options->stand && round == first) && keep->is_due(keep->ctx))
            RT_TRY(save_stand(w, keep, round, result->n_neighbours, err));
        if (w->setting->check)
            RT_LOCAL(w->setting->check(w->setting->check_ctx, err));
        RT_LOCAL(renew_sets(w, err));
        RT_AGREE(w->comm);
        uint32_t m = narrow;
        if (w->lists)
            remake_lists(w, round == wide_round ? w->most : m);
        if (round == wide_round)
            RT_TRY(choose_neighbours(w, &m, err));
        m = m > narrow ? m : narrow;
        if (w->lists && m < w->stride)
            remake_lists(w, m);
        uint64_t still = options->may_stop ? w->sample->n_total / RT_REFINE_STILL_PER : 0;
        bool is_last = round + 1 == options->n_rounds;
        RT_TRY(refine_round(w, m, still, is_last, result, err));
        result->n_rounds = round + 1;
        if (options->progress)
            options->progress(options->ctx, round + 1, options->n_rounds, m, result->n_moved);
        if (result->n_moved <= still && round > wide_round)
            break;
    }
    result->objective = measure_objective(w);
done:
    return st;
}

enum rt_status rt_refine(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                         const struct rt_refine_options *options, const struct rt_sample *sample,
                         uint32_t k, float *centroids, uint32_t *leaf, struct rt_refine_result *out,
                         struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_refine_result result = {0};
    struct work w = {.comm = comm,
                     .setting = setting,
                     .sample = sample,
                     .k = k,
                     .dim = sample->dim,
                     .centroids = centroids,
                     .leaf = leaf};
    MPI_Comm_rank(comm, &w.rank);
    MPI_Comm_size(comm, &w.n_ranks);
    w.own = rt_share(k, w.rank, w.n_ranks, 1);
    RT_LOCAL(work_new(&w, err));
    RT_AGREE(comm);
    RT_TRY(rt_exchange_new(comm, 0, &w.exchange, err));
    RT_TRY(refine(&w, options, &result, err));
    *out = result;
done:
    rt_exchange_free(w.exchange);
    work_free(&w);
    return st;
}
