#include "kmeans/lloyd.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "kmeans/fill_empty.h"
#include "kmeans/first_rows.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/traffic.h"
#include "mpi/waiting.h"

#include <string.h>

#define SUMS_BYTES ((size_t)32 << 20)    /* most that sums of a slice take on a rank */
#define BATCH_FLOATS ((size_t)512 << 10) /* of the rows assigned at once, about */
#define CODES_BYTES ((size_t)64 << 20)   /* most that the codes of one problem's rows take */
#define GAIN_PER 10000                   /* D4: stop below 1/10^4 */
#define MOVED_PER 1000                   /* or, in cells, when fewer than one row in 1,000 moves */
#define RESEED_IN 2u                     /* D5: the iteration, from 0, in which small lists */
#define FEW_PER_MEAN 4u                  /* of less than a quarter of the mean go elsewhere */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t rt_lloyd_batch_rows(uint32_t dim)
{
    size_t rows = BATCH_FLOATS / dim;
    return rows < 256 ? 256 : rows > 2048 ? 2048 : rows;
}

static size_t slice_of(uint32_t k, uint32_t dim)
{
    size_t slice = SUMS_BYTES / sizeof(int64_t) / dim;
    return slice < 1 ? 1 : least(slice, k);
}

/* What a rank holds while it trains. */
struct work {
    MPI_Comm comm;
    int rank, n_ranks;
    const struct rt_lloyd_setting *setting;
    const struct rt_sample *sample;
    size_t begin, n_local;
    uint32_t k, dim;
    float *centroids;   /* k x dim, of the caller */
    size_t batch;       /* rows */
    float *rows;        /* batch x row_dim */
    float *distance;    /* batch */
    uint32_t *list;     /* n_local: present centroid of each row */
    uint32_t *own_list; /* the same, where the caller wants none */
    int64_t *
        tally; /* k counts, k high, k low halves of objectives, rows moved: all summed over ranks */
    size_t slice;    /* centroids whose sums are held at a time */
    bool is_direct;  /* all sums fit, and are made while rows are assigned */
    int64_t *sums;   /* slice x dim */
    int *shares;     /* n_ranks: sums of each rank's part; n_ranks: where they begin */
    uint32_t *order; /* n_local rows by centroid, and where each centroid's begin; only with several
                        slices */
    size_t *starts;
    float *before; /* slice x dim: centroids before an iteration; NULL: no overshooting */
    bool is_last;  /* of the iterations */
    bool reseeds;  /* in this one */
    void *store;   /* of the centroid set */
    struct rt_assigner *assigner;
    /* One rank alone with so few rows that their codes about one reference are kept, NULL else:
     * then the sums stay from one iteration to the next, too, and follow the rows that move. */
    unsigned char *codes; /* n_local x code_bytes */
    size_t code_bytes;
    float *reference; /* dim */
    float *row;       /* row_dim */
    size_t at;        /* first row of the batch at work */
    struct rt_centroid_set *near;
};

static int64_t *counts_of(const struct work *w)
{
    return w->tally;
}

static struct rt_objective objective_of(const struct work *w, uint32_t list)
{
    struct rt_objective sum = {w->tally[w->k + (size_t)list], w->tally[2 * (size_t)w->k + list]};
    return sum;
}

static void work_free(struct work *w)
{
    rt_array_free(w->rows);
    rt_array_free(w->distance);
    rt_array_free(w->own_list);
    rt_array_free(w->tally);
    rt_array_free(w->sums);
    rt_array_free(w->before);
    rt_array_free(w->shares);
    rt_array_free(w->order);
    rt_array_free(w->starts);
    rt_array_free(w->store);
    rt_assigner_free(w->assigner);
    rt_array_free(w->codes);
    rt_array_free(w->reference);
    rt_array_free(w->row);
    rt_centroid_set_free(w->near);
}

static bool keeps_codes(uint32_t n_ranks, bool is_direct, uint64_t n_local, size_t code_bytes)
{
    return n_ranks == 1 && is_direct && n_local <= CODES_BYTES / code_bytes;
}

static enum rt_status codes_new(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new(w->n_local, w->code_bytes, &w->codes, err));
    RT_TRY(rt_array_new(w->dim, sizeof *w->reference, &w->reference, err));
    RT_TRY(rt_array_new(rt_sample_buffer_floats(w->sample, 1), sizeof *w->row, &w->row, err));
    RT_TRY(rt_small_set_new(w->k, w->dim, w->setting->distance, &w->near, err));
done:
    return st;
}

static enum rt_status work_new(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t k = w->k;
    w->batch = rt_lloyd_batch_rows(w->dim);
    RT_TRY(
        rt_array_new(rt_sample_buffer_floats(w->sample, w->batch), sizeof *w->rows, &w->rows, err));
    RT_TRY(rt_array_new(w->batch, sizeof *w->distance, &w->distance, err));
    if (!w->list) {
        RT_TRY(rt_array_new(w->n_local, sizeof *w->own_list, &w->own_list, err));
        w->list = w->own_list;
    }
    RT_TRY(rt_array_new(3 * k + 1, sizeof *w->tally, &w->tally, err));
    RT_TRY(rt_array_new(w->slice, w->sample->row_dim * sizeof *w->sums, &w->sums, err));
    if (w->setting->overshoots)
        RT_TRY(rt_array_new(w->slice, w->dim * sizeof *w->before, &w->before, err));
    RT_TRY(rt_array_new(2 * (size_t)w->n_ranks, sizeof *w->shares, &w->shares, err));
    if (!w->is_direct) {
        RT_TRY(rt_array_new(w->n_local, sizeof *w->order, &w->order, err));
        RT_TRY(rt_array_new(k + 1, sizeof *w->starts, &w->starts, err));
    }
    RT_TRY(rt_array_new(rt_centroid_set_bytes(w->k, w->dim), 1, &w->store, err));
    RT_TRY(rt_assigner_new(w->batch, w->dim, 1, w->setting->proposer, &w->assigner, err));
    w->code_bytes = rt_row_code_bytes(w->dim);
    if (keeps_codes((uint32_t)w->n_ranks, w->is_direct, w->n_local, w->code_bytes))
        RT_TRY(codes_new(w, err));
    memset(w->list, 0xff,
           w->n_local * sizeof *w->list); /* nowhere yet: all move in the first iteration */
done:
    return st;
}

uint64_t rt_lloyd_bytes(uint64_t n_local, uint32_t k, uint32_t dim, uint32_t row_dim,
                        uint32_t n_ranks)
{
    uint64_t batch = rt_lloyd_batch_rows(dim);
    uint64_t slice = slice_of(k, dim);
    size_t code = rt_row_code_bytes(dim);
    uint64_t bytes = batch * row_dim * sizeof(float) + batch * sizeof(float) +
                     n_local * sizeof(uint32_t) + (3 * (uint64_t)k + 1) * sizeof(int64_t) +
                     slice * dim * (sizeof(int64_t) + sizeof(float)) +
                     rt_centroid_set_bytes(k, dim) + rt_assigner_bytes((size_t)batch, dim, 1);
    if (slice < k)
        bytes += n_local * sizeof(uint32_t) + (uint64_t)k * sizeof(size_t);
    if (keeps_codes(n_ranks, slice == k, n_local, code))
        bytes += n_local * code + rt_small_set_bytes(k, dim);
    return bytes;
}

/* --- an iteration (D4) --- */

static void tally_row(struct work *w, size_t i, uint32_t to, float distance)
{
    size_t k = w->k;
    int64_t grains = rt_objective_grains(&w->setting->scale, distance); /* C4 */
    w->tally[to]++;
    w->tally[k + to] += grains >> 30;
    w->tally[2 * k + to] += grains & ((INT64_C(1) << 30) - 1);
    w->tally[3 * k] += w->list[i] != to;
    w->list[i] = to;
}

static const float *row_of(void *ctx, uint32_t index)
{
    struct work *w = ctx;
    return rt_sample_get(w->sample, w->begin + w->at + index, 1, w->row);
}

/* D5 asks for the objective of each list, but only where it acts: else the distance of most
 * rows is left to the bounds (B3). */
static bool needs_distances(const struct work *w)
{
    return !w->codes || !w->setting->stops_by_moves;
}

static void measure_rows(struct work *w)
{
    const struct rt_kernels *kernels = rt_kernels();
    size_t k = w->k;
    for (w->at = 0; w->at < w->n_local; w->at++) {
        size_t list = w->list[w->at];
        const float *row = row_of(w, 0);
        const float *centroid = w->centroids + list * w->dim;
        float distance =
            (w->setting->distance == RT_IP ? kernels->ip : kernels->l2)(row, centroid, w->dim);
        int64_t grains = rt_objective_grains(&w->setting->scale, distance);
        w->tally[k + list] += grains >> 30;
        w->tally[2 * k + list] += grains & ((INT64_C(1) << 30) - 1);
    }
}

static bool has_empty(const struct work *w)
{
    for (uint32_t c = 0; c < w->k; c++)
        if (counts_of(w)[c] == 0)
            return true;
    return false;
}

/* Before the first iteration: the reference is the middle of the first centroids. */
static void code_rows(struct work *w)
{
    for (uint32_t i = 0; i < w->dim; i++)
        w->reference[i] = 0;
    for (size_t c = 0; c < w->k; c++)
        for (uint32_t i = 0; i < w->dim; i++)
            w->reference[i] += w->centroids[c * w->dim + i] / (float)w->k;
    for (size_t at = 0; at < w->n_local; at += w->batch) {
        size_t n = least(w->batch, w->n_local - at);
        const float *rows = rt_sample_get(w->sample, w->begin + at, n, w->rows);
        for (size_t i = 0; i < n; i++)
            rt_row_code(w->setting->distance, rows + i * w->dim, w->reference, w->dim,
                        w->codes + (at + i) * w->code_bytes);
    }
    memset(w->sums, 0, (size_t)w->k * w->dim * sizeof *w->sums);
}

static void follow_row(struct work *w, uint32_t index, uint32_t to)
{
    const struct rt_scale *scale = &w->setting->scale;
    uint32_t from = w->list[w->at + index];
    if (from == to)
        return;
    const float *row = row_of(w, index);
    if (from != UINT32_MAX)
        rt_means_subtract(scale, w->sums + (size_t)from * w->dim, row, w->dim);
    rt_means_add(scale, w->sums + (size_t)to * w->dim, row, w->dim);
}

static void assign_coded(struct work *w, uint32_t *list)
{
    rt_small_set_fill(w->near, w->centroids, NULL, w->k, w->reference);
    for (w->at = 0; w->at < w->n_local; w->at += w->batch) {
        size_t n = least(w->batch, w->n_local - w->at);
        struct rt_coded rows = {w->codes + w->at * w->code_bytes, NULL, row_of, w};
        rt_assign_coded(w->assigner, w->near, &rows, n, list,
                        needs_distances(w) ? w->distance : NULL);
        for (size_t i = 0; i < n; i++) {
            follow_row(w, (uint32_t)i, list[i]);
            tally_row(w, w->at + i, list[i], needs_distances(w) ? w->distance[i] : 0);
        }
    }
    if (!needs_distances(w) && (w->reseeds || has_empty(w)))
        measure_rows(w);
}

/* Assigns this rank's rows; tallies them and, where all sums fit, adds them up. */
static enum rt_status assign_rows(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroid_set *set = NULL;
    const struct rt_scale *scale = &w->setting->scale;
    size_t k = w->k;
    uint32_t *list = NULL;
    memset(w->tally, 0, (3 * k + 1) * sizeof *w->tally);
    RT_TRY(rt_array_new(w->batch, sizeof *list, &list, err));
    if (w->codes) {
        assign_coded(w, list);
        goto done;
    }
    if (w->is_direct)
        memset(w->sums, 0, k * w->dim * sizeof *w->sums);
    RT_TRY(
        rt_centroid_set_new(w->centroids, w->k, w->dim, w->setting->distance, w->store, &set, err));
    for (size_t at = 0; at < w->n_local; at += w->batch) {
        size_t n = least(w->batch, w->n_local - at);
        const float *rows = rt_sample_get(w->sample, w->begin + at, n, w->rows);
        rt_assign_nearest(w->assigner, set, rows, n, list, w->distance);
        for (size_t i = 0; i < n; i++) {
            tally_row(w, at + i, list[i], w->distance[i]);
            if (w->is_direct)
                rt_means_add(scale, w->sums + list[i] * (size_t)w->dim, rows + i * w->dim, w->dim);
        }
    }
done:
    rt_centroid_set_free(set);
    rt_array_free(list);
    return st;
}

/* Rows by centroid, for sums in slices. */
static void order_rows(struct work *w)
{
    memset(w->starts, 0, ((size_t)w->k + 1) * sizeof *w->starts);
    for (size_t i = 0; i < w->n_local; i++)
        w->starts[w->list[i]]++;
    size_t end = 0;
    for (size_t c = 0; c <= w->k; c++) {
        end += w->starts[c];
        w->starts[c] = end;
    }
    for (size_t i = w->n_local; i-- > 0;)
        w->order[--w->starts[w->list[i]]] = (uint32_t)(w->begin + i);
}

static void add_slice(struct work *w, size_t first, size_t n)
{
    memset(w->sums, 0, n * w->dim * sizeof *w->sums);
    for (size_t c = first; c < first + n; c++)
        for (size_t at = w->starts[c]; at < w->starts[c + 1]; at += w->batch) {
            size_t rows = least(w->batch, w->starts[c + 1] - at);
            rt_sample_gather(w->sample, w->order + at, rows, w->rows);
            for (size_t i = 0; i < rows; i++)
                rt_means_add(&w->setting->scale, w->sums + (c - first) * w->dim,
                             w->rows + i * w->dim, w->dim);
        }
}

/* New means of centroids [first, first + n) from their sums. */
static void divide(struct work *w, size_t first, size_t n)
{
    const struct rt_lloyd_setting *setting = w->setting;
    float *centroids = w->centroids + first * w->dim;
    if (w->before)
        memcpy(w->before, centroids, n * w->dim * sizeof *centroids);
    rt_means_divide(&setting->scale, w->sums, counts_of(w) + first, n, w->dim, setting->spherical,
                    centroids);
    if (w->before && !w->is_last)
        rt_means_overshoot(w->before, n, w->dim, setting->spherical, centroids);
}

/* New means of centroids [first, first + n) from the sums of all ranks: each rank divides its part.
 * Collective. */
static void share_slice(struct work *w, size_t first, size_t n)
{
    if (w->n_ranks == 1) {
        divide(w, first, n);
        return;
    }
    int *shares = w->shares;
    int *starts = w->shares + w->n_ranks;
    for (int r = 0; r < w->n_ranks; r++) {
        size_t from = n * (size_t)r / (size_t)w->n_ranks;
        size_t to = n * ((size_t)r + 1) / (size_t)w->n_ranks;
        starts[r] = (int)(from * w->dim);
        shares[r] = (int)((to - from) * w->dim);
    }
    size_t own_first = first + (size_t)starts[w->rank] / w->dim;
    size_t n_own = (size_t)shares[w->rank] / w->dim;
    rt_traffic_add((n - n_own) * w->dim * sizeof(int64_t) +
                   n_own * w->dim * sizeof(float) * (uint64_t)(w->n_ranks - 1));
    double waiting = rt_waiting_begin();
    MPI_Reduce_scatter(MPI_IN_PLACE, w->sums, shares, MPI_INT64_T, MPI_SUM, w->comm);
    rt_waiting_end(waiting);
    divide(w, own_first, n_own);
    waiting = rt_waiting_begin();
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, w->centroids + first * w->dim, shares, starts,
                   MPI_FLOAT, w->comm);
    rt_waiting_end(waiting);
}

static void new_means(struct work *w)
{
    if (w->is_direct) {
        share_slice(w, 0, w->k);
        return;
    }
    order_rows(w);
    for (size_t first = 0; first < w->k; first += w->slice) {
        size_t n = least(w->slice, w->k - first);
        add_slice(w, first, n);
        share_slice(w, first, n);
    }
}

/* --- the whole --- */

/* Of all ranks, once the tally is summed up. */
static uint64_t n_rows_of(const struct work *w)
{
    uint64_t n_rows = 0;
    for (uint32_t c = 0; c < w->k; c++)
        n_rows += (uint64_t)counts_of(w)[c];
    return n_rows;
}

/* The same on every rank, from counts and objectives that all have. */
static enum rt_status fill_empty(const struct work *w, uint32_t iteration, bool *acted,
                                 struct rt_error *err)
{
    int64_t few = w->reseeds ? (int64_t)(n_rows_of(w) / (FEW_PER_MEAN * (uint64_t)w->k)) : 0;
    const struct rt_lists lists = {.setting = w->setting,
                                   .k = w->k,
                                   .dim = w->dim,
                                   .counts = counts_of(w),
                                   .high = w->tally + w->k,
                                   .low = w->tally + 2 * (size_t)w->k,
                                   .few = few > 1 ? few : 1,
                                   .centroids = w->centroids};
    return rt_fill_empty(&lists, iteration, acted, err);
}

static rt_int128 whole_objective(const struct work *w)
{
    rt_int128 sum = 0;
    for (uint32_t c = 0; c < w->k; c++)
        sum += rt_objective_join(objective_of(w, c));
    return sum;
}

/* D4: the gain is below 1/10^4 of the objective. */
static bool gain_is_small(rt_int128 before, rt_int128 now)
{
    rt_int128 size = before < 0 ? -before : before;
    return (before - now) * GAIN_PER < size;
}

static bool has_settled(const struct work *w, rt_int128 before, rt_int128 now, uint64_t n_moved)
{
    if (!w->setting->stops_by_moves)
        return gain_is_small(before, now);
    return n_moved < n_rows_of(w) / MOVED_PER;
}

/* Where the training stands before an iteration; the centroids follow it. */
struct stand {
    uint64_t k, dim, iteration, acted;
    rt_int128 joined;
};

static enum rt_status save_stand(const struct work *w, uint32_t iteration, bool acted,
                                 rt_int128 joined, struct rt_error *err)
{
    const struct rt_keep *keep = w->setting->keep;
    struct stand stand;
    memset(&stand, 0, sizeof stand);
    stand.k = w->k;
    stand.dim = w->dim;
    stand.iteration = iteration;
    stand.acted = acted;
    stand.joined = joined;
    const struct rt_keep_piece pieces[] = {
        {&stand, sizeof stand}, {w->centroids, (size_t)w->k * w->dim * sizeof *w->centroids}};
    return keep->save(keep->ctx, "lloyd", pieces, 2, w->sample, w->list, err);
}

/* The sums that coded rows keep up as they move: those of the lists they are in. */
static void sum_listed(struct work *w)
{
    for (w->at = 0; w->at < w->n_local; w->at++)
        rt_means_add(&w->setting->scale, w->sums + (size_t)w->list[w->at] * w->dim, row_of(w, 0),
                     w->dim);
}

/* Goes on where another run stood; from the first centroids where none did. */
static enum rt_status load_stand(struct work *w, uint32_t *iteration, bool *acted,
                                 rt_int128 *joined, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_keep *keep = w->setting->keep;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    struct stand stand;
    size_t n_centroids = (size_t)w->k * w->dim * sizeof *w->centroids;
    RT_TRY(keep->load(keep->ctx, "lloyd", w->sample, w->list, &bytes, &n_bytes, err));
    if (bytes && n_bytes == sizeof stand + n_centroids)
        memcpy(&stand, bytes, sizeof stand);
    if (!bytes || n_bytes != sizeof stand + n_centroids || stand.k != w->k || stand.dim != w->dim) {
        memset(w->list, 0xff, w->n_local * sizeof *w->list);
        goto done;
    }
    memcpy(w->centroids, bytes + sizeof stand, n_centroids);
    if (w->codes)
        sum_listed(w);
    *iteration = (uint32_t)stand.iteration;
    *acted = stand.acted != 0;
    *joined = stand.joined;
done:
    rt_array_free(bytes);
    return st;
}

static enum rt_status iterate(struct work *w, struct rt_lloyd_result *result, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool acted = false;
    bool acted_before = false;
    uint32_t first = 0;
    const struct rt_keep *keep = w->setting->keep;
    if (keep)
        RT_TRY(load_stand(w, &first, &acted_before, &result->joined, err));
    for (uint32_t i = first; i < w->setting->n_iterations && !result->has_settled; i++) {
        rt_int128 before = result->joined;
        if (keep && i > first && keep->is_due(keep->ctx))
            RT_TRY(save_stand(w, i, acted_before, result->joined, err));
        if (w->setting->check)
            RT_LOCAL(w->setting->check(w->setting->check_ctx, err));
        w->reseeds = w->setting->reseeds && i == RESEED_IN && i + 1 < w->setting->n_iterations;
        RT_LOCAL(assign_rows(w, err));
        RT_AGREE(w->comm);
        rt_sum_i64(w->comm, w->tally, 3 * (size_t)w->k + 1);
        result->joined = whole_objective(w);
        result->n_moved = (uint64_t)w->tally[3 * (size_t)w->k];
        w->is_last = i + 1 == w->setting->n_iterations || result->n_moved == 0;
        new_means(w);
        RT_LOCAL(fill_empty(w, i, &acted, err));
        RT_AGREE(w->comm);
        result->has_settled =
            result->n_moved == 0 || (i > 0 && !acted && !acted_before &&
                                     has_settled(w, before, result->joined, result->n_moved));
        result->n_iterations = i + 1;
        result->objective = rt_objective_value(&w->setting->scale, result->joined);
        acted_before = acted;
        if (w->setting->progress)
            w->setting->progress(w->setting->ctx, i + 1, result->n_moved, result->objective);
    }
done:
    return st;
}

enum rt_status rt_lloyd_train(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                              struct rt_lloyd_place place, const struct rt_sample *sample,
                              size_t begin, size_t n_local, uint32_t k, float *centroids,
                              uint32_t *list, struct rt_lloyd_result *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lloyd_result result = {0};
    struct work w = {.comm = comm,
                     .setting = setting,
                     .sample = sample,
                     .begin = begin,
                     .n_local = n_local,
                     .k = k,
                     .dim = sample->dim,
                     .centroids = centroids,
                     .list = list,
                     .slice = slice_of(k, sample->dim)};
    w.is_direct = w.slice == k;
    MPI_Comm_rank(comm, &w.rank);
    MPI_Comm_size(comm, &w.n_ranks);
    RT_TRY(rt_same(comm, &k, sizeof k, "centroids to train", err));
    RT_LOCAL(work_new(&w, err));
    RT_AGREE(comm);
    RT_TRY(rt_first_rows(comm, setting, place, sample, begin, n_local, k, centroids, err));
    if (w.codes)
        code_rows(&w);
    RT_TRY(iterate(&w, &result, err));
    if (list && setting->n_iterations == 0)
        RT_LOCAL(assign_rows(&w, err));
    RT_AGREE(comm);
    *out = result;
done:
    work_free(&w);
    return st;
}

enum rt_status rt_lloyd_widen(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                              struct rt_sample *sample, uint32_t k, float *narrow, float *centroids,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool acted = false;
    size_t dim = sample->row_dim;
    struct work w = {.comm = comm,
                     .setting = setting,
                     .sample = sample,
                     .n_local = sample->n_local,
                     .k = k,
                     .dim = sample->dim,
                     .centroids = narrow,
                     .slice = slice_of(k, sample->row_dim)};
    MPI_Comm_rank(comm, &w.rank);
    MPI_Comm_size(comm, &w.n_ranks);
    RT_LOCAL(work_new(&w, err));
    RT_LOCAL(assign_rows(&w, err));
    RT_AGREE(comm);
    rt_sum_i64(comm, w.tally, 3 * (size_t)k + 1);
    /* what has no row, nor a donor, keeps its values and zeros behind them */
    memset(centroids, 0, k * dim * sizeof *centroids);
    for (size_t c = 0; c < k; c++)
        memcpy(centroids + c * dim, narrow + c * w.dim, w.dim * sizeof *centroids);
    rt_sample_narrow(sample, sample->row_dim);
    w.dim = sample->row_dim;
    w.centroids = centroids;
    new_means(&w);
    RT_LOCAL(fill_empty(&w, setting->n_iterations, &acted, err));
    RT_AGREE(comm);
done:
    work_free(&w);
    return st;
}
