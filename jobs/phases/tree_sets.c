#include "jobs/phases/tree_sets.h"

#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/world.h"

#include <string.h>

static enum rt_status make_level(const struct rt_tree *tree, uint32_t l, enum rt_metric distance,
                                 void *memory, bool is_writer, struct rt_centroid_set **out,
                                 struct rt_error *err)
{
    const struct rt_level *level = &tree->levels[l];
    uint32_t n_cells = l > 0 ? tree->levels[l - 1].n : 0;
    if (!is_writer)
        return rt_centroid_set_view(level->centroids, level->n, tree->dim, distance, n_cells,
                                    memory, out, err);
    if (l == 0)
        return rt_centroid_set_new(level->centroids, level->n, tree->dim, distance, memory, out,
                                   err);
    return rt_centroid_set_new_in_cells(level->centroids, level->n, tree->dim, distance,
                                        tree->levels[l - 1].first_child, n_cells, memory, out, err);
}

static size_t level_bytes(const struct rt_tree *tree, uint32_t l)
{
    if (l == 0)
        return rt_centroid_set_bytes(tree->levels[l].n, tree->dim);
    return rt_centroid_set_bytes_in_cells(tree->levels[l].n, tree->dim, tree->levels[l - 1].n);
}

enum rt_status rt_tree_sets_new(const struct rt_job *job, const struct rt_tree *tree,
                                enum rt_metric distance, bool pin, struct rt_tree_sets *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tree_sets sets = {.n_levels = tree->n_levels};
    struct rt_shared_options options = {.use_window = pin};
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        struct rt_shared *share = NULL;
        RT_LOCAL(rt_shared_new(job->world->node, level_bytes(tree, l), &options, &share, err));
        sets.shares[l] = share;
        RT_AGREE(job->comm); /* nodes differ in what they have free */
        bool is_writer = rt_range_count(rt_shared_fill(share, 1)) > 0;
        if (is_writer)
            RT_LOCAL(
                make_level(tree, l, distance, rt_shared_target(share), true, &sets.sets[l], err));
        rt_shared_filled(share);
        RT_AGREE(job->comm);
        if (!is_writer)
            RT_LOCAL(
                make_level(tree, l, distance, rt_shared_target(share), false, &sets.sets[l], err));
        RT_AGREE(job->comm); /* nobody goes on to the next level alone */
        sets.rank_bytes += rt_shared_rank_bytes(share);
    }
    *out = sets;
    memset(&sets, 0, sizeof sets);
done:
    rt_tree_sets_free(&sets);
    return st;
}

void rt_tree_sets_free(struct rt_tree_sets *sets)
{
    for (uint32_t l = 0; l < sets->n_levels; l++) {
        rt_centroid_set_free(sets->sets[l]);
        rt_shared_free(sets->shares[l]);
    }
    memset(sets, 0, sizeof *sets);
}
