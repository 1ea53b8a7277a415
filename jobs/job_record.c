#include "jobs/job_record.h"

#include "jobs/version.h"
#include "mpi/world.h"

#include <stdio.h>
#include <string.h>

#define MOST_HOSTS 64
#define TAG_HOST 1

json_t *rt_record_phase(const char *name, const struct rt_phase_record *record,
                        const struct rt_plan_cost *planned)
{
    const struct rt_phase_record *r = record;
    json_t *phase = json_pack(
        "{s:s, s:f, s:f, s:f, s:i, s:f, s:I, s:f, s:I, s:I, s:I, s:I}", "name", name, "seconds",
        r->seconds, "busy_seconds_fastest", r->busy.least, "busy_seconds_slowest", r->busy.most,
        "slowest_rank", r->busy.most_rank, "file_seconds", r->file_seconds, "units",
        (json_int_t)r->units, "units_per_second",
        r->seconds > 0 ? (double)r->units / r->seconds : 0.0, "bytes_read",
        (json_int_t)r->bytes_read, "bytes_written", (json_int_t)r->bytes_written, "bytes_exchanged",
        (json_int_t)r->bytes_exchanged, "memory_bytes", (json_int_t)r->memory_bytes);
    if (phase && planned)
        (void)json_object_set_new(
            phase, "planned",
            json_pack("{s:I, s:f, s:I, s:I, s:I, s:o}", "memory_bytes",
                      (json_int_t)planned->memory_bytes, "flops", planned->flops, "bytes_read",
                      (json_int_t)planned->bytes_read, "bytes_written",
                      (json_int_t)planned->bytes_written, "bytes_exchanged",
                      (json_int_t)planned->bytes_exchanged, "seconds",
                      planned->seconds >= 0 ? json_real(planned->seconds) : json_null()));
    return phase;
}

void rt_record_add_times(json_t *phase, const char *unit, const struct rt_phase_record *record,
                         double began)
{
    const struct rt_spread *busy = &record->busy;
    json_t *ranks = busy->n_told ? json_array() : json_null();
    for (int i = 0; ranks && i < busy->n_told; i++)
        (void)json_array_append_new(ranks, json_real(busy->told[i]));
    json_t *times = json_pack("{s:s, s:f, s:i, s:[f,f,f], s:o}", "unit", unit, "start_seconds",
                              record->began > began ? record->began - began : 0.0, "fastest_rank",
                              busy->least_rank, "busy_seconds_quartiles", busy->quartiles[0],
                              busy->quartiles[1], busy->quartiles[2], "busy_seconds_ranks", ranks);
    if (times)
        (void)json_object_update(phase, times);
    json_decref(times);
}

json_t *rt_record_phases(const struct rt_phase_log *log, double began)
{
    json_t *phases = json_array();
    for (size_t i = 0; phases && i < log->n; i++) {
        json_t *phase = rt_record_phase(log->phase[i].name, &log->phase[i].record, NULL);
        if (!phase)
            break;
        rt_record_add_times(phase, log->phase[i].unit, &log->phase[i].record, began);
        (void)json_array_append_new(phases, phase);
    }
    return phases;
}

/* Names of the first nodes, in order, on rank 0. */
static json_t *gather_hosts(const struct rt_world *world)
{
    char host[RT_MAX_HOST];
    if (world->leaders == MPI_COMM_NULL)
        return NULL;
    if (world->node_index > 0 && world->node_index < MOST_HOSTS)
        MPI_Send(world->host, RT_MAX_HOST, MPI_CHAR, 0, TAG_HOST, world->leaders);
    if (world->node_index > 0)
        return NULL;
    json_t *hosts = json_array();
    for (int node = 0; node < world->n_nodes && node < MOST_HOSTS; node++) {
        memcpy(host, world->host, sizeof host);
        if (node > 0)
            MPI_Recv(host, RT_MAX_HOST, MPI_CHAR, node, TAG_HOST, world->leaders,
                     MPI_STATUS_IGNORE);
        host[sizeof host - 1] = '\0';
        (void)json_array_append_new(hosts, rt_job_text_json(host));
    }
    return hosts;
}

void rt_record_add_run(const struct rt_job *job, json_t *record)
{
    json_t *hosts = gather_hosts(job->world);
    json_t *words = record ? json_array() : NULL;
    for (uint32_t i = 0; words && i < job->options->n_arguments; i++)
        (void)json_array_append_new(words, rt_job_text_json(job->options->argument[i]));
    if (record) {
        (void)json_object_set(record, "hosts", hosts);
        (void)json_object_set_new(record, "nodes", json_integer(job->world->n_nodes));
        (void)json_object_set_new(record, "ranks", json_integer(job->n_ranks));
        (void)json_object_set_new(record, "arguments", words);
        (void)json_object_set_new(record, "versions", rt_version_json());
        (void)json_object_set_new(record, "options", rt_options_json(job->options, RT_CLASS_NONE));
    }
    json_decref(hosts);
}
