#include "jobs/plan_table.h"

#include "core/units.h"

#include <stdio.h>
#include <string.h>

#define CELL 12

/* "4.1 T": powers of 1000. */
static void flops_text(double flops, char *text, size_t text_size)
{
    static const char units[] = " kMGTPE";
    int unit = 0;
    while (flops >= 1000 && unit < 6) {
        flops /= 1000;
        unit++;
    }
    (void)snprintf(text, text_size, flops == 0 ? "-" : "%.1f %c", flops, units[unit]);
}

const char *rt_plan_table_bytes(uint64_t bytes, char *text)
{
    return bytes ? rt_units_bytes(bytes, text) : strcpy(text, "-");
}

void rt_plan_table_phases(const struct rt_job *job, const char *const *names,
                          const struct rt_plan_cost *costs, int n, uint32_t ranks)
{
    bool has_times = costs[0].seconds >= 0;
    int last = has_times ? CELL : 0; /* no blanks at the end of a line */
    int name = 9;
    for (int i = 0; i < n; i++)
        name = (int)strlen(names[i]) > name ? (int)strlen(names[i]) : name;
    rt_job_print(job, "  %-*s %-*s %-*s %-*s whole job", name, "", CELL, "per rank", CELL, "", CELL,
                 "");
    rt_job_print(job, "  %-*s %-*s %-*s %-*s %-*s %-*s %-*s%s", name, "phase", CELL, "memory", CELL,
                 "flops", CELL, "read", CELL, "read", CELL, "write", last, "exchange",
                 has_times ? " time" : "");
    for (int i = 0; i < n; i++) {
        const struct rt_plan_cost *cost = &costs[i];
        char memory[RT_UNITS_TEXT];
        char flops[RT_UNITS_TEXT];
        char mine[RT_UNITS_TEXT];
        char read[RT_UNITS_TEXT];
        char written[RT_UNITS_TEXT];
        char exchanged[RT_UNITS_TEXT];
        char seconds[RT_UNITS_TEXT + 1] = " ";
        flops_text(cost->flops / ranks, flops, sizeof flops);
        if (has_times)
            (void)rt_units_seconds(cost->seconds, seconds + 1);
        else
            seconds[0] = '\0';
        rt_job_print(job, "  %-*s %-*s %-*s %-*s %-*s %-*s %-*s%s", name, names[i], CELL,
                     rt_units_bytes(cost->memory_bytes, memory), CELL, flops, CELL,
                     rt_plan_table_bytes(cost->bytes_read / ranks, mine), CELL,
                     rt_plan_table_bytes(cost->bytes_read, read), CELL,
                     rt_plan_table_bytes(cost->bytes_written, written), last,
                     rt_plan_table_bytes(cost->bytes_exchanged, exchanged), seconds);
    }
}

void rt_plan_table_budget(const struct rt_options *options, const struct rt_plan_input *input,
                          char *text, size_t text_size)
{
    char share[RT_UNITS_TEXT];
    uint64_t node_part = input->node_bytes / input->ranks_per_node;
    if (options->origin[RT_OPT_memory] == RT_FROM_AUTO)
        (void)snprintf(text, text_size, "80 %% of %s", rt_units_bytes(node_part, share));
    else
        (void)snprintf(text, text_size, "--memory");
}

void rt_plan_table_time(const struct rt_job *job, const struct rt_plan_rates *r,
                        const struct rt_plan_cost *costs, int n)
{
    char total[RT_UNITS_TEXT];
    char read[RT_UNITS_TEXT];
    char written[RT_UNITS_TEXT];
    char exchanged[RT_UNITS_TEXT];
    double seconds = 0;
    if (costs[0].seconds < 0) {
        rt_job_row(job, "time", "run with --calibrate on the nodes that will do the work");
        return;
    }
    for (int i = 0; i < n; i++)
        seconds += costs[i].seconds;
    rt_job_row(job, "machine",
               "a rank: sgemm %.0f GFLOP/s, assignment as %.0f, read %s, write %s, exchange %s",
               r->sgemm_flops / 1e9, r->assign_flops / 1e9, rt_units_byte_rate(r->read_bytes, read),
               rt_units_byte_rate(r->write_bytes, written),
               rt_units_byte_rate(r->exchange_bytes, exchanged));
    rt_job_row(job, "time", "%s", rt_units_seconds(seconds, total));
}

json_t *rt_plan_table_number(uint64_t bytes)
{
    return json_integer((json_int_t)(bytes > INT64_MAX ? INT64_MAX : bytes));
}

json_t *rt_plan_table_json(const char *const *names, const struct rt_plan_cost *costs, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        const struct rt_plan_cost *cost = &costs[i];
        json_t *phase = json_pack("{s:s, s:o, s:f, s:o, s:o, s:o}", "name", names[i],
                                  "memory_bytes", rt_plan_table_number(cost->memory_bytes), "flops",
                                  cost->flops, "bytes_read", rt_plan_table_number(cost->bytes_read),
                                  "bytes_written", rt_plan_table_number(cost->bytes_written),
                                  "bytes_exchanged", rt_plan_table_number(cost->bytes_exchanged));
        (void)json_object_set_new(phase, "seconds",
                                  cost->seconds < 0 ? json_null() : json_real(cost->seconds));
        (void)json_array_append_new(array, phase);
    }
    return array;
}
