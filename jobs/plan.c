/* plan: what a build will need, told before any work; from the rows' headers, or from their shape
 * alone. */
#include "core/element.h"
#include "core/metric.h"
#include "core/units.h"
#include "jobs/calibrate.h"
#include "jobs/job.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/plan_edit.h"
#include "jobs/plan_table.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <stdio.h>
#include <string.h>

struct planner {
    struct rt_job *job;
    struct rt_rows *rows; /* on rank 0, where they exist */
    struct rt_plan_input input;
    struct rt_plan plan;
    struct rt_plan_rates rates;
};

/* ---- what is planned for ---- */

static enum rt_status take_shape(struct planner *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = p->job->options;
    bool has_rows = options->n_arguments > 0;
    if (has_rows && (options->rows || options->dim))
        RT_FAIL(RT_USAGE,
                "ROWS say how many they are: --rows and --dim are for rows that are not there yet");
    if (!has_rows && (!options->rows || !options->dim))
        RT_FAIL(RT_USAGE, "ROWS, or --rows and --dim, are needed (ranktape plan --help)");
    if (has_rows) {
        RT_TRY(rt_plan_phase_open(p->job, options->argument[0], &p->rows, &p->input, err));
        goto done;
    }
    p->input.n_rows = options->rows;
    p->input.dim = (uint32_t)options->dim;
    p->input.type =
        options->origin[RT_OPT_type] == RT_FROM_GIVEN ? (enum rt_element)options->type : RT_F32;
    p->input.heap_bytes = options->rows * options->dim * rt_element_size(p->input.type);
    if (options->centroids[0])
        RT_FAIL(RT_USAGE, "--centroids needs ROWS to be planned for");
done:
    return st;
}

static enum rt_status make_plan(struct planner *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    rt_plan_take_ranks(p->job->options, &p->input);
    RT_TRY(take_shape(p, err));
    RT_TRY(rt_plan_make(&p->input, p->job->options, &p->plan, err));
done:
    return st;
}

/* ---- for people ---- */

static const char *auto_mark(const struct rt_options *options, enum rt_option_index index)
{
    return options->origin[index] == RT_FROM_AUTO ? " (auto)" : "";
}

static void show_rows(const struct planner *p)
{
    const struct rt_options *options = p->job->options;
    const struct rt_plan *plan = &p->plan;
    char count[RT_UNITS_TEXT];
    char bytes[RT_UNITS_TEXT];
    char files[RT_UNITS_TEXT + 16] = "not there yet";
    char lists[RT_MAX_LEVELS * 12] = "";
    if (p->rows)
        (void)snprintf(files, sizeof files, "%llu file%s   ", (unsigned long long)p->input.n_files,
                       p->input.n_files == 1 ? "" : "s");
    rt_job_row(p->job, "rows", "%s x %u %s, %s, %s%s", rt_units_count(p->input.n_rows, count),
               p->input.dim, rt_element_name(p->input.type),
               rt_units_bytes(p->input.heap_bytes, bytes), files, options->argument[0]);
    for (uint32_t l = 0; l < plan->n_levels; l++)
        (void)snprintf(lists + strlen(lists), sizeof lists - strlen(lists), "%s%u", l ? "," : "",
                       plan->lists[l]);
    rt_job_row(p->job, "index", "%s, lists %s%s, residual %s, tapes %u%s, 1-bit codes, vectors %s",
               rt_metric_name((enum rt_metric)options->metric), lists,
               auto_mark(options, RT_OPT_lists), options->residual ? "on" : "off", plan->tapes,
               auto_mark(options, RT_OPT_tapes), options->rerank_in_heap ? "in the heap" : "kept");
    rt_job_row(p->job, "sample", "%s rows, %.1f %% (%llu for each list), %s read",
               rt_units_count(plan->sample_rows, count),
               100.0 * (double)plan->sample_rows / (double)p->input.n_rows,
               (unsigned long long)options->sample_per_list,
               rt_units_bytes(plan->phase[RT_PHASE_TRAIN].bytes_read, bytes));
}

static void show_peak(const struct planner *p)
{
    const struct rt_options *options = p->job->options;
    const struct rt_plan *plan = &p->plan;
    char peak[RT_UNITS_TEXT];
    char budget[RT_UNITS_TEXT] = "?";
    char share[RT_UNITS_TEXT];
    char shared[RT_UNITS_TEXT];
    char why[128] = "--memory";
    char refusal[400];
    uint64_t node_part = p->input.node_bytes / p->input.ranks_per_node;
    if (options->origin[RT_OPT_memory] == RT_FROM_AUTO)
        (void)snprintf(why, sizeof why, "80 %% of %s", rt_units_bytes(node_part, share));
    if (plan->budget_bytes)
        (void)rt_units_bytes(plan->budget_bytes, budget);
    rt_job_row(
        p->job, "peak", "%s of %s a rank (%s), %s %s", rt_units_bytes(plan->peak_bytes, peak),
        budget, why, rt_plan_table_bytes(plan->phase[plan->peak_phase].shared_bytes, shared),
        plan->tree_is_private ? "shared: the tree is kept once a rank" : "a node in shared memory");
    if (!plan->fits) {
        rt_plan_refusal(options, plan, refusal, sizeof refusal);
        rt_job_row(p->job, "fits", "no: %s", refusal);
    }
}

/* ---- for programs ---- */

static void answer_json(const struct planner *p)
{
    const struct rt_plan *plan = &p->plan;
    json_t *levels = json_array();
    for (uint32_t l = 0; l < plan->n_levels; l++)
        (void)json_array_append_new(levels, json_integer(plan->lists[l]));
    rt_job_set(p->job, "rows", rt_plan_table_number(p->input.n_rows));
    rt_job_set(p->job, "dimension", json_integer(p->input.dim));
    rt_job_set(p->job, "element", json_string(rt_element_name(p->input.type)));
    rt_job_set(p->job, "lists", json_integer(plan->leaves));
    rt_job_set(p->job, "levels", levels);
    rt_job_set(p->job, "sample_rows", rt_plan_table_number(plan->sample_rows));
    rt_job_set(p->job, "fits", json_boolean(plan->fits));
    rt_job_set(p->job, "memory_bytes", rt_plan_table_number(plan->peak_bytes));
    rt_job_set(p->job, "budget_bytes",
               plan->budget_bytes ? rt_plan_table_number(plan->budget_bytes) : json_null());
    rt_job_set(p->job, "shared_bytes",
               rt_plan_table_number(plan->phase[plan->peak_phase].shared_bytes));
    rt_job_set(p->job, "phases", rt_plan_table_json(rt_phase_names, plan->phase, RT_N_PHASES));
    rt_job_set(p->job, "options", rt_options_json(p->job->options, RT_CLASS_NONE));
}

static void answer(const struct planner *p)
{
    if (p->job->json) {
        answer_json(p);
        return;
    }
    show_rows(p);
    rt_plan_table_phases(p->job, rt_phase_names, p->plan.phase, RT_N_PHASES, p->input.ranks);
    show_peak(p);
    rt_plan_table_time(p->job, &p->rates, p->plan.phase, RT_N_PHASES);
}

enum rt_status rt_plan_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct planner p = {.job = job};
    if (job->options->planned != RT_JOB_BUILD)
        return rt_plan_edit_run(job, err);
    rt_plan_phase_machine(job, &p.input);
    if (job->rank == 0)
        RT_LOCAL(make_plan(&p, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &p.plan, sizeof p.plan, 0);
    if (job->options->calibrate) {
        RT_TRY(rt_calibrate(job->comm, p.plan.input.dim, ".", 3, &p.rates, err));
        rt_plan_add_times(&p.rates, &p.plan);
    }
    if (job->rank == 0) {
        rt_plan_phase_warn(job, &p.plan);
        answer(&p);
    }
done:
    rt_rows_close(p.rows);
    return st;
}
