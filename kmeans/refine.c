#include "kmeans/refine.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "kmeans/refine_work.h"
#include "mpi/agree.h"

#include <string.h>

#define NARROW_NEIGHBOURS 96u /* of every round but the wide one */
#define WIDE_ROUND 1u         /* from 0; the only round where there is one */

static void work_free(struct rt_refine_work *w)
{
    rt_array_free(w->was);
    rt_array_free(w->order);
    rt_array_free(w->order_was);
    rt_array_free(w->starts);
    rt_array_free(w->starts_was);
    rt_array_free(w->first_leaf);
    rt_array_free(w->sums);
    rt_array_free(w->counts);
    rt_array_free(w->before);
    rt_array_free(w->delta);
    rt_array_free(w->cursor);
    rt_array_free(w->next_row);
    rt_array_free(w->end_row);
    rt_array_free(w->pass_end);
    rt_array_free(w->wanted);
    rt_array_free(w->goes);
    rt_array_free(w->bytes);
    rt_array_free(w->rows);
    rt_array_free(w->row);
    rt_array_free(w->found);
    rt_array_free(w->codes);
    rt_array_free(w->reference);
    rt_centroid_set_free(w->near);
    rt_array_free(w->group);
    rt_array_free(w->group_leaf);
    rt_array_free(w->neighbours);
    rt_assigner_free(w->of_rows);
    rt_assigner_free(w->of_leaves);
    rt_levels_free(&w->cells);
    rt_array_free(w->is_reached);
    rt_centroid_set_free(w->sets[0]);
    rt_centroid_set_free(w->sets[1]);
    rt_node_copy_free(w->common);
}

/* What every rank has of every other. */
static enum rt_status peers_new(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = (size_t)w->n_ranks;
    RT_TRY(rt_array_new(n + 1, sizeof *w->first_leaf, &w->first_leaf, err));
    RT_TRY(rt_array_new(n, sizeof *w->cursor, &w->cursor, err));
    RT_TRY(rt_array_new(n, sizeof *w->next_row, &w->next_row, err));
    RT_TRY(rt_array_new(n, sizeof *w->end_row, &w->end_row, err));
    RT_TRY(rt_array_new(n, sizeof *w->pass_end, &w->pass_end, err));
    RT_TRY(rt_array_new(n, sizeof *w->wanted, &w->wanted, err));
    RT_TRY(rt_array_new(n, RT_REFINE_PASSES * sizeof *w->goes, &w->goes, err));
    RT_TRY(rt_array_new(n, sizeof *w->bytes, &w->bytes, err));
done:
    return st;
}

static enum rt_status search_new(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t most = RT_REFINE_MOST_NEIGHBOURS;
    w->most = w->k < most ? w->k : most;
    RT_TRY(rt_small_set_new(w->most, w->dim, w->setting->distance, &w->near, err));
    RT_TRY(rt_array_new(RT_REFINE_GROUP, w->dim * sizeof *w->group, &w->group, err));
    RT_TRY(rt_array_new(RT_REFINE_GROUP, sizeof *w->group_leaf, &w->group_leaf, err));
    RT_TRY(rt_array_new(RT_REFINE_GROUP, w->most * sizeof *w->neighbours, &w->neighbours, err));
    RT_TRY(rt_assigner_new(w->batch, w->dim, 1, w->setting->proposer, &w->of_rows, err));
    RT_TRY(rt_assigner_new(RT_REFINE_GROUP, w->dim, w->most, w->setting->proposer, &w->of_leaves,
                           err));
done:
    return st;
}

/* Once rows are where their leaves are at home. */
static enum rt_status rows_new(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t k = w->k;
    size_t n_own = rt_refine_n_home(w);
    w->batch = rt_lloyd_batch_rows(w->dim);
    RT_TRY(rt_array_new(w->room, sizeof *w->was, &w->was, err));
    RT_TRY(rt_array_new(w->room, sizeof *w->order, &w->order, err));
    RT_TRY(rt_array_new(w->room, sizeof *w->order_was, &w->order_was, err));
    RT_TRY(rt_array_new(k + 1, sizeof *w->starts, &w->starts, err));
    RT_TRY(rt_array_new(k + 1, sizeof *w->starts_was, &w->starts_was, err));
    RT_TRY(rt_array_zero(n_own, w->dim * sizeof *w->sums, &w->sums, err));
    RT_TRY(rt_array_zero(n_own, sizeof *w->counts, &w->counts, err));
    RT_TRY(rt_array_new(n_own, w->dim * sizeof *w->before, &w->before, err));
    RT_TRY(rt_array_new(w->dim, sizeof *w->delta, &w->delta, err));
    RT_TRY(
        rt_array_new(rt_sample_buffer_floats(w->sample, w->batch), sizeof *w->rows, &w->rows, err));
    RT_TRY(rt_array_new(rt_sample_buffer_floats(w->sample, 1), sizeof *w->row, &w->row, err));
    RT_TRY(rt_array_new(w->batch, sizeof *w->found, &w->found, err));
    RT_TRY(rt_array_new(w->room, w->code_bytes, &w->codes, err));
    RT_TRY(rt_array_new(w->dim, sizeof *w->reference, &w->reference, err));
    RT_TRY(search_new(w, err));
done:
    return st;
}

uint64_t rt_refine_common_bytes(uint32_t k, uint32_t dim)
{
    return rt_whole_lines(dim * sizeof(float)) +
           rt_whole_lines((size_t)k * rt_row_code_bytes(dim)) + rt_refine_store_bytes(k, dim);
}

static enum rt_status common_new(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_node_copy_beside(w->leaves, rt_refine_common_bytes(w->k, w->dim), &w->common, err));
    w->code_bytes = rt_row_code_bytes(w->dim);
    unsigned char *at = rt_node_copy_data(w->common);
    w->middle = (float *)(void *)at;
    w->references = at + rt_whole_lines(w->dim * sizeof *w->middle);
    w->store = w->references + rt_whole_lines(w->k * w->code_bytes);
done:
    return st;
}

/* While rows go to the homes of their leaves: they come beside those that are here. */
static uint64_t settle_bytes(uint64_t n_local, uint32_t k, uint64_t row_bytes, uint32_t n_ranks)
{
    if (n_ranks == 1)
        return 0;
    return rt_refine_room(n_local, (int)n_ranks) * (row_bytes + sizeof(uint64_t)) +
           n_local * (sizeof(uint32_t) + sizeof(uint64_t)) + /* order, position */
           5 * sizeof(uint64_t) * ((uint64_t)k + n_ranks) + rt_exchange_bytes((int)n_ranks, 0);
}

/* While cells are made over the leaves, and those renumbered. */
static uint64_t cells_bytes(uint32_t k, uint32_t dim, uint32_t n_ranks, uint32_t n_sharing)
{
    uint32_t n_cells = rt_refine_n_cells(k);
    if (n_cells == 0)
        return 0;
    return (uint64_t)n_cells * dim * sizeof(float) + 5 * sizeof(uint32_t) * (uint64_t)k +
           rt_lloyd_bytes(k / n_ranks + 1, n_cells, dim, dim, n_ranks) +
           rt_node_copy_bytes((uint64_t)k * dim * sizeof(float), n_sharing);
}

uint64_t rt_refine_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint64_t row_bytes,
                         uint32_t n_ranks, uint32_t n_sharing)
{
    uint64_t batch = rt_lloyd_batch_rows(dim);
    uint64_t most = RT_REFINE_MOST_NEIGHBOURS;
    uint64_t room = rt_refine_room(n_local, (int)n_ranks);
    uint64_t own = k / n_ranks + 1;
    uint64_t n_cells = rt_refine_n_cells(k);
    uint64_t tree = n_cells > 0 ? n_cells * (dim * sizeof(float) + rt_centroid_set_bytes(1, dim)) +
                                      (uint64_t)k * 2 * sizeof(uint32_t)
                                : 0;
    uint64_t held =
        room * (4 * sizeof(uint32_t) + rt_row_code_bytes(dim)) + (room - n_local) * row_bytes +
        rt_node_copy_bytes(rt_refine_common_bytes(k, dim), n_sharing) +
        rt_small_set_bytes((uint32_t)most, dim) + ((uint64_t)k + 1) * 2 * sizeof(uint32_t) +
        own * ((dim + 1) * sizeof(int64_t) + dim * sizeof(float)) +
        n_ranks * ((6 + RT_REFINE_PASSES) * sizeof(uint32_t) + sizeof(uint64_t)) +
        batch * (dim + 1) * sizeof(float) + RT_REFINE_GROUP * (dim + most + 1) * sizeof(float) +
        rt_assigner_bytes((size_t)batch, dim, 1) +
        rt_assigner_bytes(RT_REFINE_GROUP, dim, (uint32_t)most) + tree +
        rt_exchange_bytes((int)n_ranks, 0);
    uint64_t settle = settle_bytes(n_local, k, row_bytes, n_ranks);
    uint64_t cells = cells_bytes(k, dim, n_ranks, n_sharing);
    held = held > settle ? held : settle;
    return held > cells ? held : cells;
}

/* --- rows --- */

const float *rt_refine_row(void *ctx, uint32_t index)
{
    struct rt_refine_work *w = ctx;
    return rt_sample_get(w->sample, index, 1, w->row);
}

void rt_refine_order(struct rt_refine_work *w)
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

/* Each rank of the place makes its part: of the middle some dimensions, then codes of some leaves.
 * Collective over the place. */
static void make_references(struct rt_refine_work *w)
{
    struct rt_range dims = rt_node_copy_part(w->common, w->dim);
    struct rt_range own = rt_node_copy_part(w->common, w->k);
    for (uint64_t i = dims.begin; i < dims.end; i++)
        w->middle[i] = 0;
    for (size_t l = 0; l < w->k; l++)
        for (uint64_t i = dims.begin; i < dims.end; i++)
            w->middle[i] += w->centroids[l * w->dim + i] / (float)w->k;
    rt_node_copy_meet(w->common);
    for (size_t l = own.begin; l < own.end; l++)
        rt_row_code(RT_L2, w->centroids + l * w->dim, w->middle, w->dim,
                    w->references + l * w->code_bytes);
    rt_node_copy_meet(w->common);
}

const float *rt_refine_reference(struct rt_refine_work *w, size_t leaf)
{
    rt_row_decode(w->references + leaf * w->code_bytes, w->middle, w->dim, w->reference);
    return w->reference;
}

/* Returns how many rows leave. */
static int64_t assign_leaf(struct rt_refine_work *w, uint32_t leaf, const uint32_t *list,
                           uint32_t m)
{
    int64_t n_moved = 0;
    rt_small_set_fill(w->near, w->centroids, list, m, rt_refine_reference(w, leaf));
    for (size_t at = w->starts[leaf]; at < w->starts[leaf + 1]; at += w->batch) {
        size_t left = w->starts[leaf + 1] - at;
        size_t n = left < w->batch ? left : w->batch;
        struct rt_coded rows = {w->codes, w->order + at, rt_refine_row, w};
        rt_assign_coded(w->of_rows, w->near, &rows, n, w->found, NULL);
        for (size_t i = 0; i < n; i++) {
            n_moved += w->found[i] != leaf;
            w->leaf[rows.index[i]] = w->found[i];
        }
    }
    return n_moved;
}

/* Returns how many rows move. */
static int64_t assign_rows(struct rt_refine_work *w, uint32_t m)
{
    int64_t n_moved = 0;
    uint32_t next = 0;
    for (size_t n = rt_refine_next_group(w, &next); n > 0; n = rt_refine_next_group(w, &next)) {
        rt_refine_find_neighbours(w, n, m);
        for (size_t i = 0; i < n; i++) {
            const uint32_t *list = w->neighbours + i * m;
            n_moved += assign_leaf(w, w->group_leaf[i], list, rt_refine_count_neighbours(list, m));
        }
    }
    return n_moved;
}

/* --- the whole --- */

/* Where no more than `still` rows move, or is_last, leaves become the means of their rows; else
 * they overshoot them. */
static enum rt_status refine_round(struct rt_refine_work *w, uint32_t m, uint64_t still,
                                   bool is_last, struct rt_refine_result *result,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    memcpy(w->was, w->leaf, w->sample->n_local * sizeof *w->leaf);
    int64_t n_moved = assign_rows(w, m);
    rt_sum_i64(w->comm, &n_moved, 1);
    RT_TRY(rt_refine_follow(w, err));
    result->n_moved = (uint64_t)n_moved;
    rt_refine_renew_centroids(w, !is_last && result->n_moved > still);
    result->n_neighbours = m;
done:
    return st;
}

/* C4, of the rows and the centroids as they are. Collective. */
static double measure_objective(struct rt_refine_work *w)
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

/* Sums of the rows as they lie at the start: all came from nowhere. Collective. */
static enum rt_status first_sums(struct rt_refine_work *w, struct rt_error *err)
{
    memset(w->was, 0xff, w->sample->n_local * sizeof *w->was);
    memset(w->starts, 0, ((size_t)w->k + 1) * sizeof *w->starts);
    return rt_refine_follow(w, err);
}

/* Cells, homes, codes and sums before the first round, or the one that another run came to. */
static enum rt_status begin(struct rt_refine_work *w, const struct rt_refine_options *options,
                            uint32_t *first, uint32_t *n_neighbours, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (options->stand)
        RT_LOCAL(rt_refine_load(w, options, first, n_neighbours, err));
    RT_LOCAL(peers_new(w, err));
    RT_AGREE(w->comm);
    rt_node_copy_meet(w->leaves); /* what was loaded */
    if (!options->stand)
        RT_TRY(rt_refine_make_cells(w, err));
    RT_TRY(rt_refine_settle(w, err));
    RT_TRY(common_new(w, err));
    RT_LOCAL(rows_new(w, err));
    RT_AGREE(w->comm);
    RT_TRY(rt_exchange_new(w->comm, 0, &w->exchange, err));
    make_references(w);
    RT_TRY(first_sums(w, err));
done:
    return st;
}

/* The schedule (A8): the second round looks as far as the agreement asks for, once leaves have left
 * their cells; all others look at NARROW_NEIGHBOURS, remade in each round. On 1,000,000 x 128
 * clustered rows and 4,096 leaves ten such rounds gave a better objective than four rounds of 32
 * and four of 512, at less time, since one far look brings a row near its place and the rest is
 * settled among the nearest. */
static enum rt_status refine(struct rt_refine_work *w, const struct rt_refine_options *options,
                             struct rt_refine_result *result, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t wide_round = options->n_rounds > WIDE_ROUND ? WIDE_ROUND : 0;
    uint32_t first = 0;
    const struct rt_keep *keep = options->keep;
    RT_TRY(begin(w, options, &first, &result->n_neighbours, err));
    uint32_t narrow = NARROW_NEIGHBOURS < w->most ? NARROW_NEIGHBOURS : w->most;
    result->n_rounds = first;
    bool has_all = true; /* leaves, as they are now */
    uint32_t n_places = (uint32_t)rt_node_copy_n_places(w->leaves);
    bool reaches_all = rt_refine_reached(w->k, n_places) >= w->k;
    for (uint32_t round = first; round < options->n_rounds; round++) {
        bool is_due = keep && !(options->stand && round == first) && keep->is_due(keep->ctx);
        if (!has_all && (is_due || round == wide_round || reaches_all))
            rt_refine_gather(w);
        else if (!has_all)
            RT_TRY(rt_refine_reach(w, err));
        has_all = false;
        if (is_due)
            RT_TRY(rt_refine_save(w, keep, round, result->n_neighbours, err));
        if (w->setting->check)
            RT_LOCAL(w->setting->check(w->setting->check_ctx, err));
        RT_AGREE(w->comm);
        RT_TRY(rt_refine_renew_sets(w, err));
        uint32_t m = narrow;
        if (round == wide_round)
            RT_TRY(rt_refine_choose_neighbours(w, &m, err));
        m = m > narrow ? m : narrow;
        uint64_t still = options->may_stop ? w->sample->n_total / RT_REFINE_STILL_PER : 0;
        bool is_last = round + 1 == options->n_rounds;
        RT_TRY(refine_round(w, m, still, is_last, result, err));
        result->n_rounds = round + 1;
        if (options->progress)
            options->progress(options->ctx, round + 1, options->n_rounds, m, result->n_moved);
        if (result->n_moved <= still && round > wide_round)
            break;
    }
    if (!has_all)
        rt_refine_gather(w);
    result->objective = measure_objective(w);
done:
    return st;
}

enum rt_status rt_refine(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                         const struct rt_refine_options *options, struct rt_sample *sample,
                         uint32_t k, struct rt_node_copy *leaves, uint32_t **leaf,
                         struct rt_refine_result *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_refine_result result = {0};
    struct rt_refine_work w = {.comm = comm,
                               .setting = setting,
                               .sample = sample,
                               .k = k,
                               .dim = sample->dim,
                               .leaves = leaves,
                               .centroids = rt_node_copy_data(leaves),
                               .leaf = *leaf};
    MPI_Comm_rank(comm, &w.rank);
    MPI_Comm_size(comm, &w.n_ranks);
    st = refine(&w, options, &result, err);
    *leaf = w.leaf;
    *out = result;
    rt_exchange_free(w.exchange);
    work_free(&w);
    return st;
}
