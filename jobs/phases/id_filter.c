#include "jobs/phases/id_filter.h"

#include "core/memory.h"
#include "io/ids.h"
#include "mpi/agree.h"
#include "mpi/shared.h"
#include "mpi/world.h"

#include <inttypes.h>
#include <stdlib.h>

struct rt_id_filter {
    struct rt_shared *share;
    const uint64_t *ids; /* ascending */
    size_t n_ids;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static enum rt_status count(const char *path, uint64_t *n_ids, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_ids *ids = NULL;
    RT_TRY(rt_ids_open(path, RT_IDS_ANY, &ids, err));
    *n_ids = rt_ids_count(ids);
    if (*n_ids > SIZE_MAX / 2 / sizeof(uint64_t))
        RT_FAIL(RT_NOMEM, "'%s' says it holds %" PRIu64 " ids", path, *n_ids);
done:
    rt_ids_close(ids);
    return st;
}

static enum rt_status fill(const char *path, uint64_t *out, size_t n_ids, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_ids *ids = NULL;
    RT_TRY(rt_ids_open(path, n_ids, &ids, err));
    RT_TRY(rt_ids_read(ids, 0, n_ids, out, err));
    if (n_ids)
        qsort(out, n_ids, sizeof *out, by_value);
done:
    rt_ids_close(ids);
    return st;
}

enum rt_status rt_id_filter_read(const struct rt_job *job, const char *path,
                                 struct rt_id_filter **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_id_filter *filter = NULL;
    const struct rt_shared_options options = {.use_window = true};
    uint64_t n_ids = 0;
    RT_LOCAL(rt_array_zero(1, sizeof *filter, &filter, err));
    if (job->rank == 0)
        RT_LOCAL(count(path, &n_ids, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &n_ids, sizeof n_ids, 0);
    filter->n_ids = (size_t)n_ids;
    RT_LOCAL(rt_shared_new(job->world->node, filter->n_ids * sizeof *filter->ids, &options,
                           &filter->share, err));
    RT_AGREE(job->comm); /* nodes differ in what they have free */
    if (rt_range_count(rt_shared_fill(filter->share, 1)) > 0)
        RT_LOCAL(fill(path, rt_shared_target(filter->share), filter->n_ids, err));
    rt_shared_filled(filter->share);
    RT_AGREE(job->comm);
    filter->ids = rt_shared_data(filter->share);
    *out = filter;
    filter = NULL;
done:
    rt_id_filter_free(filter);
    return st;
}

void rt_id_filter_free(struct rt_id_filter *filter)
{
    if (!filter)
        return;
    rt_shared_free(filter->share);
    rt_array_free(filter);
}

bool rt_id_filter_has(const struct rt_id_filter *filter, uint64_t id)
{
    return filter->n_ids && bsearch(&id, filter->ids, filter->n_ids, sizeof id, by_value) != NULL;
}
