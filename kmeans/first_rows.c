#include "kmeans/first_rows.h"

#include "core/memory.h"
#include "core/random.h"
#include "mpi/agree.h"
#include "mpi/traffic.h"
#include "mpi/waiting.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define UNITE_FLOATS ((size_t)4 << 20) /* of one piece of unite */

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

/* Every value is given by one rank, the others hold +0: now all hold all. Collective over comm. */
static void unite(MPI_Comm comm, float *values, size_t n)
{
    int n_ranks = 0;
    MPI_Comm_size(comm, &n_ranks);
    rt_traffic_add(n_ranks > 1 ? n * sizeof *values : 0);
    double waiting = rt_waiting_begin();
    for (size_t at = 0; n_ranks > 1 && at < n; at += UNITE_FLOATS)
        MPI_Allreduce(MPI_IN_PLACE, (void *)(values + at),
                      (int)(n - at < UNITE_FLOATS ? n - at : UNITE_FLOATS), MPI_UINT32_T, MPI_BOR,
                      comm); /* of their bits: others' are zero */
    rt_waiting_end(waiting);
}

enum rt_status rt_first_rows(MPI_Comm comm, const struct rt_lloyd_setting *setting,
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
    unite(comm, centroids, (size_t)k * sample->dim);
done:
    rt_array_free(f.index);
    rt_array_free(f.all);
    rt_array_free(f.shares);
    return st;
}
