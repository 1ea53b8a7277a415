#include "kmeans/split.h"

#include "core/memory.h"
#include "kmeans/hierarchical.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

struct split {
    uint64_t *rows;  /* of the sample, of each leaf */
    uint64_t *seats; /* of each leaf that is split; 0: it stays */
    float *parts;    /* the centroids of all seats, leaf by leaf */
    float *leaves;   /* those that stay and the parts of the others */
    uint64_t n_seats, n_leaves;
};

/* Leaves whose share of the heap is over the limit, and into how many parts they go. */
static enum rt_status count_seats(const struct rt_sample *sample, uint64_t limit, uint64_t n_rows,
                                  uint32_t n_leaves, struct split *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    s->n_leaves = n_leaves;
    for (uint32_t l = 0; l < n_leaves; l++) {
        uint64_t estimate = (uint64_t)((rt_uint128)s->rows[l] * n_rows / sample->n_total);
        if (estimate <= limit || s->rows[l] < 2)
            continue;
        uint64_t seats = estimate / limit + (estimate % limit != 0);
        s->seats[l] = seats < s->rows[l] ? seats : s->rows[l];
        s->n_seats += s->seats[l];
        s->n_leaves += s->seats[l] - 1;
    }
    if (s->n_leaves > UINT32_MAX)
        RT_FAIL(RT_USAGE,
                "lists of at most %" PRIu64 " rows would be %" PRIu64 ", more than 2^32-1", limit,
                s->n_leaves);
    RT_TRY(rt_array_new((size_t)s->n_seats, sample->dim * sizeof(float), &s->parts, err));
    RT_TRY(rt_array_new((size_t)s->n_leaves, sample->dim * sizeof(float), &s->leaves, err));
done:
    return st;
}

static void merge_parts(struct split *s, size_t dim, float **leaves, uint32_t *n_leaves)
{
    float *to = s->leaves;
    const float *part = s->parts;
    for (uint32_t l = 0; l < *n_leaves; l++) {
        uint64_t n = s->seats[l] > 0 ? s->seats[l] : 1;
        memcpy(to, s->seats[l] > 0 ? part : *leaves + l * dim, n * dim * sizeof *to);
        to += n * dim;
        part += s->seats[l] * dim;
    }
    rt_array_free(*leaves);
    *leaves = s->leaves;
    s->leaves = NULL;
    *n_leaves = (uint32_t)s->n_leaves;
}

enum rt_status rt_split_leaves(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                               struct rt_sample *sample, const uint32_t *leaf, uint64_t limit,
                               uint64_t n_rows, float **leaves, uint32_t *n_leaves,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct split s = {0};
    RT_LOCAL(rt_array_zero(*n_leaves, sizeof *s.rows, &s.rows, err));
    RT_LOCAL(rt_array_zero(*n_leaves, sizeof *s.seats, &s.seats, err));
    RT_AGREE(comm);
    for (size_t i = 0; i < sample->n_local; i++)
        s.rows[leaf[i]]++;
    rt_sum_u64(comm, s.rows, *n_leaves);
    RT_LOCAL(count_seats(sample, limit, n_rows, *n_leaves, &s, err));
    RT_AGREE(comm);
    if (s.n_seats == 0)
        goto done;
    RT_TRY(rt_hierarchical_train_cells(comm, setting, RT_PLACE_SPLIT, sample, leaf, *n_leaves,
                                       s.seats, s.parts, NULL, err));
    merge_parts(&s, sample->dim, leaves, n_leaves);
done:
    rt_array_free(s.rows);
    rt_array_free(s.seats);
    rt_array_free(s.parts);
    rt_array_free(s.leaves);
    return st;
}
