#include "jobs/phases/drift.h"

#include "core/memory.h"
#include "core/metric.h"
#include "core/random.h"
#include "core/rotation.h"
#include "kmeans/means.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLED_ROWS 2048u /* a mean to some 2 %, where a quarter is MUCH; each maps pages */
#define MUCH 0.25 /* of the mean at build: rows lie so much further out that lists fit badly */

static int by_count(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* E of B1, in f64: only for people. */
static double distance(enum rt_metric metric, const float *row, const float *centroid, uint32_t dim)
{
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++) {
        double d = (double)row[i] - (double)centroid[i];
        sum += metric == RT_IP ? -(double)row[i] * (double)centroid[i] : d * d;
    }
    return sum;
}

/* Rows of slots drawn evenly from this rank's share of all vectors files. */
static enum rt_status sample(struct rt_phase_context *context, const struct rt_index_view *view,
                             double *sum, uint64_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    const struct rt_tree *tree = &view->tree.tree;
    const struct rt_manifest *m = view->manifest;
    enum rt_metric metric = rt_means_distance(m->metric, m->spherical);
    struct rt_rotation *rotation = NULL;
    float *row = NULL;
    uint64_t step = m->n_rows / SAMPLED_ROWS + 1;
    size_t row_bytes = m->dim * rt_element_size(m->element);
    RT_TRY(rt_rotation_new(tree->rotation_seed, m->dim, &rotation, err));
    RT_TRY(rt_array_new(m->dim, sizeof *row, &row, err));
    for (size_t f = 0; f < view->n_vectors; f++) {
        const struct rt_vectors_view *file = &view->vectors[f];
        struct rt_range mine = rt_share(file->shape.n_slots, job->rank, job->n_ranks, 1);
        for (uint64_t slot = mine.begin; slot < mine.end && file->vectors; slot += step) {
            uint64_t id = file->ids[slot];
            uint32_t list = file->lists[slot];
            if (id == RT_NO_ID || list >= view->n_lists ||
                !rt_index_is_live(view, id, file->shape.generation))
                continue;
            rt_element_to_f32(m->element, (const char *)file->vectors + slot * row_bytes, row,
                              m->dim);
            if (rt_metric_prepare_row(m->metric, row, m->dim) != RT_ROW_GOOD)
                continue;
            rt_rotation_apply(rotation, row, 1);
            *sum += distance(metric, row, rt_tree_leaves(tree)->centroids + (size_t)list * m->dim,
                             m->dim);
            ++*n;
        }
    }
done:
    rt_rotation_free(rotation);
    rt_array_free(row);
    return st;
}

/* Sizes of lists now against those at build. */
static enum rt_status compare_sizes(const struct rt_index_view *view, const uint64_t *sizes,
                                    struct rt_drift *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n = view->n_lists;
    uint64_t *sorted = NULL;
    double sum = 0;
    double squares = 0;
    double spread = 0;
    uint64_t rows = 0;
    RT_TRY(rt_array_new(n, sizeof *sorted, &sorted, err));
    memcpy(sorted, view->tree.leaf_rows, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_count);
    uint64_t p99 = sorted[(uint64_t)n * 99 / 100];
    for (uint32_t list = 0; list < n; list++) {
        double size = (double)sizes[list];
        sum += size;
        squares += size * size;
        spread += view->tree.leaf_spread[list];
        rows += view->tree.leaf_rows[list];
        out->n_large += sizes[list] > 2 * p99;
    }
    out->n_lists = n;
    out->imbalance = sum > 0 ? n * squares / (sum * sum) : 1;
    out->mean_at_build = rows ? spread / (double)rows : 0;
done:
    rt_array_free(sorted);
    return st;
}

enum rt_status rt_drift_measure(struct rt_phase_context *context, const struct rt_index_view *view,
                                const uint64_t *sizes, struct rt_drift *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    double sum = 0;
    memset(out, 0, sizeof *out);
    RT_LOCAL(compare_sizes(view, sizes, out, err));
    RT_LOCAL(sample(context, view, &sum, &out->n_sampled, err));
    RT_AGREE(comm);
    /* a sum of floats over ranks: into a report only (A9) */
    MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, comm);
    rt_sum_u64(comm, &out->n_sampled, 1);
    out->mean_now = out->n_sampled ? sum / (double)out->n_sampled : out->mean_at_build;
done:
    return st;
}

static bool has_moved_out(const struct rt_drift *d)
{
    return d->mean_now - d->mean_at_build > MUCH * fabs(d->mean_at_build);
}

const char *rt_drift_word(const struct rt_drift *d)
{
    if (has_moved_out(d) || d->n_large > d->n_lists / 20 + 1)
        return "rebuild";
    return d->n_large ? "split" : "fine";
}

const char *rt_drift_advice(const struct rt_drift *d)
{
    if (has_moved_out(d))
        return "rebuild: rows lie far from the centroids they were given to";
    if (d->n_large > d->n_lists / 20 + 1)
        return "rebuild: too many lists have grown too long";
    return d->n_large ? "split the lists that have grown too long: build again when it suits"
                      : "fine";
}

json_t *rt_drift_json(const struct rt_drift *d)
{
    return json_pack("{s:f, s:f, s:f, s:I, s:I}", "mean_now", d->mean_now, "mean_at_build",
                     d->mean_at_build, "imbalance", d->imbalance, "large_lists",
                     (json_int_t)d->n_large, "rows_sampled", (json_int_t)d->n_sampled);
}
