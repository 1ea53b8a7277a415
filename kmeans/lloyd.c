#include "kmeans/lloyd.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/random.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/traffic.h"
#include "mpi/waiting.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SUMS_BYTES                                                                                 \
    ((size_t)32 << 20)                 /* most that sums of one slice of centroids take on a rank  \
                                        */
#define UNITE_FLOATS ((size_t)4 << 20) /* of one piece of rt_lloyd_unite */
#define BATCH_FLOATS ((size_t)512 << 10) /* of the rows assigned at once, about */
#define CODES_BYTES ((size_t)64 << 20)   /* most that the codes of one problem's rows take */
#define SPLIT_STEP 0x1p-4                /* D5 */
#define GAIN_PER 10000                   /* D4: stop below 1/10^4 */
#define MOVED_PER 1000                   /* or, in cells, when fewer than one row in 1,000 moves */

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

/* --- first centroids (D3) --- */

struct candidate {
    uint64_t key, number;
};

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left;
    const struct candidate *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

struct first_rows {
    MPI_Comm comm;
    const struct rt_lloyd_setting *setting;
    struct rt_lloyd_place place;
    const struct rt_sample *sample;
    size_t begin, n_local;
    uint32_t k;
    uint64_t n_total;
    uint64_t limit;  /* keys up to this one are candidates */
    uint32_t *index; /* local rows that are */
    int n_index;
    struct candidate *all; /* those of all ranks, */
    int n_all;
    int first_own; /* where this rank's begin among them */
    int *shares;
};

static uint64_t key_of(const struct first_rows *f, size_t i)
{
    return rt_random(f->setting->seed, RT_RANDOM_FIRST_CENTROID, f->place.level, f->place.cell,
                     rt_sample_number(f->sample, f->begin + i));
}

/* Keys are uniform, so a limit a little above k/n of their range holds k rows; where it does not,
 * it is doubled. */
static enum rt_status find_candidates(struct first_rows *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_found = 0;
    double part = ((double)f->k + 8 * sqrt((double)f->k) + 16) / (double)f->n_total;
    f->limit = part < 1 ? (uint64_t)(part * 0x1p63) << 1 : UINT64_MAX;
    for (;;) {
        uint64_t n_here = 0;
        for (size_t i = 0; i < f->n_local; i++)
            n_here += key_of(f, i) <= f->limit;
        MPI_Allreduce(&n_here, &n_found, 1, MPI_UINT64_T, MPI_SUM, f->comm);
        f->n_index = (int)n_here;
        if (n_found >= f->k)
            break;
        f->limit = f->limit > UINT64_MAX / 2 ? UINT64_MAX : 2 * f->limit + 1;
    }
    if (n_found >
        INT32_MAX / (int)sizeof(struct candidate)) /* agreed: n_found is the sum over ranks */
        RT_FAIL(RT_USAGE, "%u lists are too many", f->k);
    f->n_all = (int)n_found;
done:
    return st;
}

static enum rt_status candidates_new(struct first_rows *f, int n_ranks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new((size_t)f->n_index, sizeof *f->index, &f->index, err));
    RT_TRY(rt_array_new((size_t)f->n_all, sizeof *f->all, &f->all, err));
    RT_TRY(rt_array_new(2 * (size_t)n_ranks, sizeof *f->shares, &f->shares, err));
done:
    return st;
}

/* Candidates of all ranks to all, and the k least of them marked as rows of centroids. Collective.
 */
static void gather_candidates(struct first_rows *f, int rank, int n_ranks)
{
    int bytes = f->n_index * (int)sizeof *f->all;
    int *shares = f->shares;
    int *starts = f->shares + n_ranks;
    MPI_Allgather(&bytes, 1, MPI_INT, shares, 1, MPI_INT, f->comm);
    starts[0] = 0;
    for (int r = 1; r < n_ranks; r++)
        starts[r] = starts[r - 1] + shares[r - 1];
    f->first_own = starts[rank] / (int)sizeof *f->all;
    int n = 0;
    for (size_t i = 0; i < f->n_local; i++) {
        uint64_t key = key_of(f, i);
        if (key > f->limit)
            continue;
        f->index[n] = (uint32_t)(f->begin + i);
        f->all[f->first_own + n].key = key;
        f->all[f->first_own + n].number = rt_sample_number(f->sample, f->begin + i);
        n++;
    }
    rt_traffic_add((uint64_t)bytes * (uint64_t)(n_ranks - 1));
    double waiting = rt_waiting_begin();
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_BYTE, f->all, shares, starts, MPI_BYTE, f->comm);
    rt_waiting_end(waiting);
}

/* Puts the rows of this rank that are among the k least at their places; the rest stays as it is.
 */
static enum rt_status place_first_rows(struct first_rows *f, float *centroids, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t dim = f->sample->dim;
    struct candidate *own = NULL;
    float *buffer = NULL;
    RT_TRY(rt_array_new((size_t)f->n_index, sizeof *own, &own, err));
    RT_TRY(rt_array_new(rt_sample_buffer_floats(f->sample, 1), sizeof *buffer, &buffer, err));
    memcpy(own, f->all + f->first_own, (size_t)f->n_index * sizeof *own);
    qsort(f->all, (size_t)f->n_all, sizeof *f->all, compare_candidates);
    for (int i = 0; i < f->n_index; i++) {
        const struct candidate *found =
            bsearch(&own[i], f->all, (size_t)f->n_all, sizeof *f->all, compare_candidates);
        size_t at = (size_t)(found - f->all);
        if (at >= f->k)
            continue;
        rt_sample_gather(f->sample, &f->index[i], 1, buffer);
        if (f->setting->spherical)
            (void)rt_means_normalise(buffer, dim); /* a row of zeros stays one */
        memcpy(centroids + at * dim, buffer, dim * sizeof *centroids);
    }
done:
    rt_array_free(own);
    rt_array_free(buffer);
    return st;
}

void rt_lloyd_unite(MPI_Comm comm, float *values, size_t n)
{
    int n_ranks = 0;
    MPI_Comm_size(comm, &n_ranks);
    rt_traffic_add(n_ranks > 1 ? n * sizeof *values : 0);
    double waiting = rt_waiting_begin();
    for (size_t at = 0; n_ranks > 1 && at < n; at += UNITE_FLOATS)
        MPI_Allreduce(MPI_IN_PLACE, (void *)(values + at), (int)least(n - at, UNITE_FLOATS),
                      MPI_UINT32_T, MPI_BOR, comm); /* of their bits: others' are zero */
    rt_waiting_end(waiting);
}

enum rt_status rt_lloyd_first(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                              struct rt_lloyd_place place, const struct rt_sample *sample,
                              size_t begin, size_t n_local, uint32_t k, float *centroids,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int rank = 0;
    int n_ranks = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    struct first_rows f = {.comm = comm,
                           .setting = setting,
                           .place = place,
                           .sample = sample,
                           .begin = begin,
                           .n_local = n_local,
                           .k = k,
                           .n_total = n_local};
    MPI_Allreduce(MPI_IN_PLACE, &f.n_total, 1, MPI_UINT64_T, MPI_SUM, comm);
    rt_assert(k >= 1 && k <= f.n_total);
    RT_TRY(find_candidates(&f, err));
    RT_LOCAL(candidates_new(&f, n_ranks, err));
    RT_AGREE(comm);
    gather_candidates(&f, rank, n_ranks);
    memset(centroids, 0, (size_t)k * sample->dim * sizeof *centroids);
    RT_LOCAL(place_first_rows(&f, centroids, err));
    RT_AGREE(comm);
    rt_lloyd_unite(comm, centroids, (size_t)k * sample->dim);
done:
    rt_array_free(f.index);
    rt_array_free(f.all);
    rt_array_free(f.shares);
    return st;
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

/* D5 asks for the objective of each list, but only where one is empty: else the distance of most
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
    if (!needs_distances(w) && has_empty(w))
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

/* --- empty leaves (D5) --- */

struct split {
    uint32_t *heap;    /* lists with rows to give, the most first, ties to the smaller number */
    int64_t *rows;     /* of each list, as far as the next choice is concerned */
    double *deviation; /* of each list: sqrt(J/(rows d)) */
    size_t n;
};

static bool gives_before(const struct split *s, uint32_t a, uint32_t b)
{
    return s->rows[a] != s->rows[b] ? s->rows[a] > s->rows[b] : a < b;
}

static void sift(struct split *s, size_t at)
{
    uint32_t list = s->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->n)
            break;
        if (child + 1 < s->n && gives_before(s, s->heap[child + 1], s->heap[child]))
            child++;
        if (gives_before(s, list, s->heap[child]))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = list;
}

static double deviation_of(const struct work *w, uint32_t list)
{
    if (w->setting->spherical)
        return 1 / sqrt((double)w->dim);
    double sum = rt_objective_value(&w->setting->scale, rt_objective_join(objective_of(w, list)));
    return sum > 0 ? sqrt(sum / ((double)counts_of(w)[list] * (double)w->dim)) : 0;
}

/* Moves the donor to c + delta and the empty list to c - delta. */
static void split_one(const struct work *w, uint32_t iteration, uint32_t donor, uint32_t empty,
                      double deviation)
{
    float *keeps = w->centroids + (size_t)donor * w->dim;
    float *takes = w->centroids + (size_t)empty * w->dim;
    double step = SPLIT_STEP * deviation;
    for (uint32_t i = 0; i < w->dim; i++) {
        uint64_t bits = rt_random(w->setting->seed, RT_RANDOM_EMPTY_SPLIT, iteration, donor, i);
        double delta = bits >> 63 ? step : -step;
        double center = keeps[i];
        keeps[i] = (float)(center + delta);
        takes[i] = (float)(center - delta);
    }
    if (w->setting->spherical) {
        (void)rt_means_normalise(keeps, w->dim);
        (void)rt_means_normalise(takes, w->dim);
    }
}

static enum rt_status split_new(const struct work *w, struct split *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new(w->k, sizeof *s->heap, &s->heap, err));
    RT_TRY(rt_array_new(w->k, sizeof *s->rows, &s->rows, err));
    RT_TRY(rt_array_new(w->k, sizeof *s->deviation, &s->deviation, err));
    for (uint32_t c = 0; c < w->k; c++) {
        s->rows[c] = counts_of(w)[c];
        s->deviation[c] = s->rows[c] > 0 ? deviation_of(w, c) : 0;
        /* identical rows have nothing to give: the next largest does */
        if (s->rows[c] >= 2 && s->deviation[c] > 0)
            s->heap[s->n++] = c;
    }
    for (size_t at = s->n / 2; at-- > 0;)
        sift(s, at);
done:
    return st;
}

/* The same on every rank, from counts and objectives that all have. */
static enum rt_status fill_empty(const struct work *w, uint32_t iteration, bool *acted,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct split s = {0};
    uint32_t n_empty = 0;
    *acted = false;
    for (uint32_t c = 0; c < w->k; c++)
        n_empty += counts_of(w)[c] == 0;
    if (n_empty == 0)
        goto done;
    RT_TRY(split_new(w, &s, err));
    for (uint32_t empty = 0; empty < w->k && s.n > 0; empty++) {
        if (counts_of(w)[empty] > 0)
            continue;
        uint32_t donor = s.heap[0];
        split_one(w, iteration, donor, empty, s.deviation[donor]);
        *acted = true;
        s.rows[empty] = s.rows[donor] / 2;
        s.rows[donor] -= s.rows[empty];
        s.deviation[empty] = s.deviation[donor];
        if (s.rows[donor] < 2)
            s.heap[0] = s.heap[--s.n];
        if (s.n > 0)
            sift(&s, 0);
        if (s.rows[empty] >= 2) {
            size_t at = s.n++;
            for (; at > 0 && gives_before(&s, empty, s.heap[(at - 1) / 2]); at = (at - 1) / 2)
                s.heap[at] = s.heap[(at - 1) / 2];
            s.heap[at] = empty;
        }
    }
done:
    rt_array_free(s.heap);
    rt_array_free(s.rows);
    rt_array_free(s.deviation);
    return st;
}

/* --- the whole --- */

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
    uint64_t n_rows = 0;
    if (!w->setting->stops_by_moves)
        return gain_is_small(before, now);
    for (uint32_t c = 0; c < w->k; c++)
        n_rows += (uint64_t)counts_of(w)[c];
    return n_moved < n_rows / MOVED_PER;
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
    RT_TRY(rt_lloyd_first(comm, setting, place, sample, begin, n_local, k, centroids, err));
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
