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
done:
    return st;
}

/* Those that stay and the parts of the others, of each rank alone. Collective. */
static enum rt_status merge_parts(MPI_Comm comm, const struct split *s, size_t dim,
                                  struct rt_node_copy **leaves, uint32_t *n_leaves,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_node_copy *merged = NULL;
    size_t n_bytes = (size_t)s->n_leaves * dim * sizeof(float);
    const float *from = rt_node_copy_data(*leaves);
    const float *part = s->parts;
    RT_TRY(rt_node_copy_new(comm, MPI_COMM_NULL, n_bytes, &merged, err));
    float *to = rt_node_copy_data(merged);
    for (uint32_t l = 0; l < *n_leaves; l++) {
        uint64_t n = s->seats[l] > 0 ? s->seats[l] : 1;
        memcpy(to, s->seats[l] > 0 ? part : from + l * dim, n * dim * sizeof *to);
        to += n * dim;
        part += s->seats[l] * dim;
    }
    rt_node_copy_meet(*leaves); /* all have read */
    rt_node_copy_free(*leaves);
    *leaves = merged;
    *n_leaves = (uint32_t)s->n_leaves;
done:
    return st;
}

enum rt_status rt_split_leaves(MPI_Comm comm, const struct rt_lloyd_setting *setting,
                               struct rt_sample *sample, const uint32_t *leaf, uint64_t limit,
                               uint64_t n_rows, struct rt_node_copy **leaves, uint32_t *n_leaves,
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
    RT_TRY(merge_parts(comm, &s, sample->dim, leaves, n_leaves, err));
done:
    rt_array_free(s.rows);
    rt_array_free(s.seats);
    rt_array_free(s.parts);
    return st;
}
