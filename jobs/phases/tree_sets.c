#include "jobs/phases/tree_sets.h"

#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/world.h"

#include <string.h>

enum rt_status rt_tree_sets_new(const struct rt_job *job, const struct rt_tree *tree,
                                enum rt_metric distance, bool for_rows, bool pin,
                                struct rt_tree_sets *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tree_sets sets = {.n_levels = tree->n_levels};
    struct rt_shared_options options = {.use_window = pin};
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        struct rt_shared *share = NULL;
        RT_LOCAL(rt_shared_new(job->world->node, rt_level_set_bytes(tree, l, for_rows), &options,
                               &share, err));
        sets.shares[l] = share;
        RT_AGREE(job->comm); /* nodes differ in what they have free */
        struct rt_range part = rt_shared_fill(share, tree->levels[l].n);
        RT_LOCAL(rt_level_set_make(tree, l, distance, for_rows, rt_shared_target(share),
                                   (uint32_t)part.begin, (uint32_t)part.end, err));
        rt_shared_filled(share);
        RT_AGREE(job->comm);
        RT_LOCAL(rt_level_set_view(tree, l, distance, rt_shared_target(share), &sets.sets[l], err));
        RT_AGREE(job->comm); /* nobody goes on to the next level alone */
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
