#include "jobs/phases/plan_phase.h"

#include "core/memory.h"
#include "core/units.h"
#include "io/centroids_file.h"
#include "jobs/first_run.h"
#include "jobs/memory_share.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/world.h"

void rt_plan_phase_machine(const struct rt_job *job, struct rt_plan_input *input)
{
    uint64_t least[2] = {rt_memory_share_of_node(""), rt_memory_share_shm()};
    uint64_t most = job->base_bytes;
    rt_min_u64(job->comm, least, 2);
    rt_max_u64(job->comm, &most, 1);
    input->ranks = (uint32_t)job->n_ranks;
    input->ranks_per_node = (uint32_t)job->world->max_node_size;
    input->node_bytes = least[0];
    input->shm_bytes = least[1];
    input->base_bytes = most;
}

void rt_plan_phase_memory(struct rt_job *job)
{
    struct rt_plan_input machine = {0};
    rt_plan_phase_machine(job, &machine);
    if (job->options->origin[RT_OPT_memory] == RT_FROM_AUTO)
        job->options->memory = rt_plan_auto_memory(&machine);
}

static enum rt_status count_centroids(const char *name, struct rt_plan_input *input,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroids centroids = {0};
    RT_TRY(rt_centroids_read(name, input->dim, &centroids, err));
    input->n_given_levels = centroids.n_levels;
    input->given_hash = rt_centroids_hash(&centroids);
    for (uint32_t l = 0; l < centroids.n_levels; l++)
        input->given_levels[l] = centroids.levels[l].n;
done:
    rt_centroids_free(&centroids);
    return st;
}

enum rt_status rt_plan_phase_open(const struct rt_job *job, const char *name, struct rt_rows **rows,
                                  struct rt_plan_input *input, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = job->options;
    struct rt_rows_options how = {.dataset = "/train", .is_growing = options->concurrent};
    uint64_t *snapshot = NULL;
    RT_TRY(rt_first_run_snapshot(options, &snapshot, &how.n_snapshot, err));
    how.snapshot = snapshot;
    if (options->origin[RT_OPT_type] == RT_FROM_GIVEN)
        how.type = rt_element_name((enum rt_element)options->type);
    RT_TRY(rt_rows_open(name, &how, rows, err));
    const struct rt_rows_info *info = rt_rows_info(*rows);
    if (info->n_rows == 0)
        RT_FAIL(RT_INPUT, "'%s' holds no rows", name);
    input->n_rows = info->n_rows;
    input->dim = info->dim;
    input->type = info->type;
    input->heap_bytes = info->n_bytes;
    input->n_files = info->n_files;
    if (info->is_converted)
        rt_job_warn(job, "f64 values are taken as f32");
    if (options->centroids[0])
        RT_TRY(count_centroids(options->centroids, input, err));
done:
    rt_array_free(snapshot);
    return st;
}

void rt_plan_phase_warn(const struct rt_job *job, const struct rt_plan *plan)
{
    char rows[RT_UNITS_TEXT];
    if (plan->lists_cut)
        rt_job_warn(job, "more lists than rows: cut to %s",
                    rt_units_count(plan->input.n_rows, rows));
}

enum rt_status rt_plan_phase_share(const struct rt_job *job, struct rt_rows **rows,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    if (job->rank == 0)
        RT_LOCAL(rt_rows_pack(*rows, &bytes, &n_bytes, err));
    RT_AGREE(job->comm);
    uint64_t size = n_bytes;
    rt_bcast_bytes(job->comm, &size, sizeof size, 0);
    if (job->rank != 0)
        RT_LOCAL(rt_array_new((size_t)size, 1, &bytes, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, bytes, size, 0);
    if (job->rank != 0)
        RT_LOCAL(rt_rows_unpack(bytes, (size_t)size, rows, err));
    RT_AGREE(job->comm);
done:
    rt_array_free(bytes);
    return st;
}

enum rt_status rt_plan_phase(struct rt_job *job, struct rt_rows **rows, struct rt_plan *plan,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *opened = NULL;
    struct rt_plan made = {0};
    struct rt_plan_input input = {0};
    rt_plan_phase_machine(job, &input);
    if (job->rank == 0) {
        RT_LOCAL(rt_plan_phase_open(job, job->options->argument[0], &opened, &input, err));
        RT_LOCAL(rt_plan_make(&input, job->options, &made, err));
        RT_LOCAL(rt_rows_sample(opened, 0, err));
    }
    RT_AGREE(job->comm);
    RT_TRY(rt_plan_phase_share(job, &opened, err));
    rt_bcast_bytes(job->comm, &made, sizeof made, 0);
    rt_bcast_bytes(job->comm, job->options, sizeof *job->options, 0);
    rt_plan_phase_warn(job, &made);
    *plan = made;
    *rows = opened;
    opened = NULL;
done:
    rt_rows_close(opened);
    return st;
}

enum rt_status rt_plan_phase_require(const struct rt_job *job, const struct rt_plan *plan,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[400];
    if (!plan->fits) {
        rt_plan_refusal(job->options, plan, text, sizeof text);
        RT_FAIL(RT_USAGE, "%s", text);
    }
done:
    return st;
}
