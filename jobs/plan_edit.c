#include "jobs/plan_edit.h"

#include "core/memory.h"
#include "core/metric.h"
#include "core/units.h"
#include "io/ids.h"
#include "jobs/calibrate.h"
#include "jobs/delete.h"
#include "jobs/insert.h"
#include "jobs/phases/plan_phase.h"
#include "jobs/plan_edit_model.h"
#include "jobs/plan_table.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <stdio.h>

struct planner {
    struct rt_job *job;
    /* on rank 0 */
    struct rt_index_view *view;
    struct rt_rows *rows;
    struct rt_ids *ids;
    struct rt_edit_plan_input input;
    struct rt_edit_plan plan;
    struct rt_plan_rates rates;
};

/* ---- what is planned for ---- */

static enum rt_status take_rows(struct planner *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_options *options = p->job->options;
    const struct rt_manifest *m = p->view->manifest;
    RT_TRY(rt_plan_phase_open(p->job, options->argument[1], &p->rows, &p->input.machine, err));
    RT_TRY(rt_insert_check_rows(m, rt_rows_info(p->rows), options, err));
    if (options->ids[0])
        RT_TRY(rt_ids_open(options->ids, p->input.machine.n_rows, &p->ids, err));
    rt_insert_complete(m, p->input.machine.n_rows, &p->input.machine, options);
done:
    return st;
}

static enum rt_status make_plan(struct planner *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_options *options = p->job->options;
    size_t before = rt_memory_now();
    rt_plan_take_ranks(options, &p->input.machine);
    RT_TRY(rt_index_open(options->argument[0], RT_CHECK_STRUCTURE, &p->view, err));
    p->input.view = p->view;
    p->input.view_bytes = rt_memory_now() - before;
    if (options->origin[RT_OPT_memory] == RT_FROM_AUTO)
        options->memory = rt_plan_auto_memory(&p->input.machine);
    if (options->origin[RT_OPT_ranks] == RT_FROM_AUTO)
        options->ranks = p->input.machine.ranks;
    if (options->origin[RT_OPT_ranks_per_node] == RT_FROM_AUTO)
        options->ranks_per_node = p->input.machine.ranks_per_node;
    if (options->planned == RT_JOB_INSERT)
        RT_TRY(take_rows(p, err));
    if (options->planned == RT_JOB_DELETE) {
        RT_TRY(rt_delete_open(options, &p->ids, err));
        p->input.n_ids = rt_ids_count(p->ids);
    }
    RT_TRY(rt_edit_plan_make(&p->input, options, &p->plan, err));
done:
    return st;
}

/* ---- for people ---- */

static void show_index(const struct planner *p)
{
    const struct rt_manifest *m = p->view->manifest;
    char rows[RT_UNITS_TEXT];
    char added[RT_UNITS_TEXT];
    char dead[RT_UNITS_TEXT];
    rt_job_row(p->job, "index",
               "%s x %" PRIu32 " %s, %s, %" PRIu32 " lists, %s rows not in them yet, %s tombstones",
               rt_units_count(m->n_rows, rows), m->dim, rt_element_name(m->element),
               rt_metric_name(m->metric), p->view->n_lists,
               rt_units_count(m->n_rows_appendable, added), rt_units_count(m->n_tombstones, dead));
}

static void show_work(const struct planner *p)
{
    const struct rt_options *options = p->job->options;
    uint64_t n_new = p->input.machine.n_rows - options->from_row;
    char count[RT_UNITS_TEXT];
    char carried[RT_UNITS_TEXT];
    switch (options->planned) {
    case RT_JOB_INSERT:
        rt_job_row(p->job, "insert", "%s rows, %s of earlier inserts go along",
                   rt_units_count(n_new, count), rt_units_count(p->plan.n_carried, carried));
        break;
    case RT_JOB_DELETE:
        rt_job_row(p->job, "delete", "%s ids %s", rt_units_count(p->input.n_ids, count),
                   options->keep[0] ? "stay" : "die");
        break;
    default:
        rt_job_row(p->job, "vacuum", "%s%s round%s", options->full ? "--full, " : "",
                   rt_units_count(p->plan.n_rounds, count), p->plan.n_rounds == 1 ? "" : "s");
    }
}

static void show_peak(const struct planner *p)
{
    const struct rt_edit_plan *plan = &p->plan;
    char peak[RT_UNITS_TEXT];
    char budget[RT_UNITS_TEXT] = "?";
    char why[128];
    char bytes[RT_UNITS_TEXT];
    char also[RT_UNITS_TEXT + 32] = "";
    rt_plan_table_budget(p->job->options, &p->input.machine, why, sizeof why);
    if (plan->budget_bytes)
        (void)rt_units_bytes(plan->budget_bytes, budget);
    uint64_t shared = plan->costs[plan->peak_phase].shared_bytes;
    if (shared)
        (void)snprintf(also, sizeof also, ", %s a node in shared memory",
                       rt_units_bytes(shared, bytes));
    rt_job_row(p->job, "peak", "%s of %s a rank (%s)%s", rt_units_bytes(plan->peak_bytes, peak),
               budget, why, also);
    if (!plan->fits)
        rt_job_row(p->job, "fits", "no: needs %s a rank in %s, has %s; try more --memory", peak,
                   plan->names[plan->peak_phase], budget);
}

static void show_disk(const struct planner *p)
{
    const struct rt_edit_plan *plan = &p->plan;
    char now[RT_UNITS_TEXT];
    char more[RT_UNITS_TEXT];
    char after[RT_UNITS_TEXT];
    rt_job_row(p->job, "disk",
               "%s now, at most %s more, %s once no older generation is kept "
               "(--keep-generations %" PRIu64 ")",
               rt_units_bytes(plan->disk_now, now), rt_units_bytes(plan->disk_more, more),
               rt_units_bytes(plan->disk_after, after), p->job->options->keep_generations);
}

/* ---- for programs ---- */

static void answer_json(const struct planner *p)
{
    const struct rt_job *job = p->job;
    const struct rt_edit_plan *plan = &p->plan;
    const struct rt_manifest *m = p->view->manifest;
    rt_job_set(job, "planned", json_string(rt_job_name(job->options->planned)));
    rt_job_set(job, "rows", rt_plan_table_number(m->n_rows));
    rt_job_set(job, "dimension", json_integer(m->dim));
    rt_job_set(job, "element", json_string(rt_element_name(m->element)));
    rt_job_set(job, "lists", json_integer(p->view->n_lists));
    rt_job_set(job, "fits", json_boolean(plan->fits));
    rt_job_set(job, "memory_bytes", rt_plan_table_number(plan->peak_bytes));
    rt_job_set(job, "base_bytes", rt_plan_table_number(plan->base_bytes));
    rt_job_set(job, "budget_bytes",
               plan->budget_bytes ? rt_plan_table_number(plan->budget_bytes) : json_null());
    rt_job_set(job, "shared_bytes",
               rt_plan_table_number(plan->costs[plan->peak_phase].shared_bytes));
    rt_job_set(job, "disk_bytes_now", rt_plan_table_number(plan->disk_now));
    rt_job_set(job, "disk_bytes_more", rt_plan_table_number(plan->disk_more));
    rt_job_set(job, "disk_bytes_after", rt_plan_table_number(plan->disk_after));
    rt_job_set(job, "phases", rt_plan_table_json(plan->names, plan->costs, plan->n_phases));
    rt_job_set(job, "options", rt_options_json(job->options, RT_CLASS_NONE));
}

static void answer(const struct planner *p)
{
    const struct rt_edit_plan *plan = &p->plan;
    if (p->job->json) {
        answer_json(p);
        return;
    }
    show_index(p);
    show_work(p);
    rt_plan_table_phases(p->job, plan->names, plan->costs, plan->n_phases, p->input.machine.ranks);
    show_peak(p);
    show_disk(p);
    rt_plan_table_time(p->job, &p->rates, plan->costs, plan->n_phases);
}

static void add_times(struct planner *p)
{
    for (int i = 0; i < p->plan.n_phases; i++)
        p->plan.costs[i].seconds = rt_plan_seconds(&p->rates, p->input.machine.ranks,
                                                   p->plan.costs[i].flops > 0, &p->plan.costs[i]);
}

enum rt_status rt_plan_edit_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct planner p = {.job = job};
    uint32_t dim = 0;
    rt_plan_phase_machine(job, &p.input.machine);
    if (job->rank == 0)
        RT_LOCAL(make_plan(&p, err));
    RT_AGREE(job->comm);
    if (job->options->calibrate) {
        dim = p.view ? p.view->manifest->dim : 0;
        rt_bcast_bytes(job->comm, &dim, sizeof dim, 0);
        RT_TRY(rt_calibrate(job->comm, dim, ".", 3, &p.rates, err));
        add_times(&p);
    }
    if (job->rank == 0)
        answer(&p);
done:
    rt_rows_close(p.rows);
    rt_ids_close(p.ids);
    rt_index_close(p.view);
    return st;
}
