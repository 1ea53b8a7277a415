#include "jobs/phases/index_view.h"

#include "mpi/agree.h"
#include "mpi/partition.h"

#define MOST_TRIES 10

/* Collective. */
static bool is_same_everywhere(MPI_Comm comm, uint64_t value)
{
    uint64_t ends[2] = {value, UINT64_MAX - value};
    rt_max_u64(comm, ends, 2);
    return ends[0] == UINT64_MAX - ends[1];
}

enum rt_status rt_index_view_open(const struct rt_job *job, const char *dir,
                                  enum rt_index_check check, struct rt_index_view **out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_view *view = NULL;
    bool is_same = false;
    for (int i = 0; i < MOST_TRIES && !is_same; i++) {
        rt_index_close(view);
        view = NULL;
        RT_LOCAL(rt_index_open(dir, check, &view, err));
        RT_AGREE(job->comm);
        is_same = is_same_everywhere(job->comm, view->manifest->generation);
    }
    if (!is_same)
        RT_FAIL(RT_IO, "'%s' was published anew while it was opened; run again", dir);
    *out = view;
    view = NULL;
done:
    rt_index_close(view);
    return st;
}
