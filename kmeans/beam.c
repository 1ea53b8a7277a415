#include "kmeans/beam.h"

#include "core/assign.h"
#include "core/memory.h"
#include "kmeans/levels.h"
#include "kmeans/refine.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#define BEAM_SAMPLE 4096u

struct work {
    const struct rt_lloyd_setting *setting;
    const struct rt_tree *tree;
    const struct rt_sample *sample;
    struct rt_centroid_set *sets[RT_MAX_LEVELS];
    struct rt_node_copy *store; /* of the leaves' */
    struct rt_assigner *assigner;
    uint32_t *index; /* local rows measured */
    size_t n_rows;
    float *rows;     /* a batch */
    uint32_t *found; /* a batch */
    uint32_t *exact; /* n_rows: nearest of all leaves */
    size_t batch;
};

static enum rt_status work_new(struct work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = w->tree;
    RT_TRY(rt_sample_draw(w->sample, w->setting->seed, RT_RANDOM_BEAM_SAMPLE, BEAM_SAMPLE,
                          &w->index, &w->n_rows, err));
    w->batch = rt_lloyd_batch_rows(tree->dim);
    RT_TRY(rt_array_new(w->batch, tree->dim * sizeof *w->rows, &w->rows, err));
    RT_TRY(rt_array_new(w->batch, sizeof *w->found, &w->found, err));
    RT_TRY(rt_array_new(w->n_rows, sizeof *w->exact, &w->exact, err));
    for (uint32_t l = 0; l + 1 < tree->n_levels; l++)
        RT_TRY(rt_level_set_new(tree, l, w->setting->distance, false, NULL, &w->sets[l], err));
    RT_TRY(rt_assigner_new(w->batch, tree->dim, tree->levels[tree->n_levels - 2].n,
                           w->setting->proposer, &w->assigner, err));
done:
    return st;
}

/* The ranks of a node make it together. Collective. */
static enum rt_status leaf_set_new(MPI_Comm comm, MPI_Comm node, struct work *w,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = w->tree;
    uint32_t last = tree->n_levels - 1;
    enum rt_metric distance = w->setting->distance;
    RT_TRY(rt_node_copy_new(comm, node, rt_level_set_bytes(tree, last, true), &w->store, err));
    struct rt_range own = rt_node_copy_part(w->store, tree->levels[last].n);
    RT_LOCAL(rt_level_set_make(tree, last, distance, true, rt_node_copy_data(w->store),
                               (uint32_t)own.begin, (uint32_t)own.end, err));
    rt_node_copy_meet(w->store);
    RT_AGREE(comm);
    RT_LOCAL(
        rt_level_set_view(tree, last, distance, rt_node_copy_data(w->store), &w->sets[last], err));
    RT_AGREE(comm);
done:
    return st;
}

static void work_free(struct work *w)
{
    rt_array_free(w->index);
    rt_array_free(w->rows);
    rt_array_free(w->found);
    rt_array_free(w->exact);
    rt_assigner_free(w->assigner);
    for (uint32_t l = 0; l < RT_MAX_LEVELS; l++)
        rt_centroid_set_free(w->sets[l]);
    rt_node_copy_free(w->store);
}

static size_t gather_batch(struct work *w, size_t at)
{
    size_t n = w->n_rows - at < w->batch ? w->n_rows - at : w->batch;
    rt_sample_gather(w->sample, w->index + at, n, w->rows);
    return n;
}

static void find_exact(struct work *w)
{
    for (size_t at = 0; at < w->n_rows; at += w->batch) {
        size_t n = gather_batch(w, at);
        rt_assign_nearest(w->assigner, w->sets[w->tree->n_levels - 1], w->rows, n, w->exact + at,
                          NULL);
    }
}

static uint64_t count_agreed(struct work *w, uint32_t beam)
{
    uint64_t agreed = 0;
    for (size_t at = 0; at < w->n_rows; at += w->batch) {
        size_t n = gather_batch(w, at);
        rt_assign_tree(w->assigner, w->tree, w->sets, beam, w->rows, n, w->found, NULL);
        for (size_t i = 0; i < n; i++)
            agreed += w->found[i] == w->exact[at + i];
    }
    return agreed;
}

/* 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96 ..: then all cells. */
static uint32_t next_beam(uint32_t beam, uint32_t n_cells)
{
    uint32_t next = beam < 8 ? 2 * beam : (beam & (beam - 1)) == 0 ? beam + beam / 2 : beam / 3 * 4;
    return next < n_cells ? next : n_cells;
}

enum rt_status rt_beam_measure(MPI_Comm comm, MPI_Comm node, const struct rt_lloyd_setting *setting,
                               const struct rt_tree *tree, const struct rt_sample *sample,
                               void (*progress)(void *ctx, uint32_t beam, uint32_t n_cells),
                               struct rt_beam *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct work w = {.setting = setting, .tree = tree, .sample = sample};
    uint64_t sums[2] = {0, 0}; /* rows, agreed */
    uint32_t beam = 1;
    if (tree->n_levels > 1 && sample->n_total > 0) {
        uint32_t n_cells = tree->levels[tree->n_levels - 2].n;
        RT_LOCAL(work_new(&w, err));
        RT_AGREE(comm);
        RT_TRY(leaf_set_new(comm, node, &w, err));
        find_exact(&w);
        for (;; beam = next_beam(beam, n_cells)) {
            sums[0] = w.n_rows;
            sums[1] = count_agreed(&w, beam);
            rt_sum_u64(comm, sums, 2);
            progress(setting->ctx, beam, n_cells);
            if (sums[1] * 1000 >= sums[0] * RT_AGREEMENT_PER_MILLE || beam >= n_cells)
                break;
        }
    }
    *out = (struct rt_beam){beam, (uint32_t)sums[0], (uint32_t)sums[1]};
done:
    work_free(&w);
    return st;
}

uint64_t rt_beam_bytes(uint32_t n_cells, uint32_t k, uint32_t dim, uint32_t n_sharing)
{
    size_t batch = rt_lloyd_batch_rows(dim);
    if (n_cells == 0)
        return 0;
    return (uint64_t)n_cells * dim * sizeof(float) + rt_centroid_set_bytes(n_cells, dim) +
           rt_node_copy_bytes(rt_leaf_set_bytes(k, dim, n_cells), n_sharing) +
           rt_assigner_bytes(batch, dim, n_cells) + batch * (dim + 1) * sizeof(float) +
           4 * sizeof(uint32_t) * BEAM_SAMPLE;
}
