/* ranktape info: what an index holds, from its manifest and directory. */
#include "jobs/build_report.h"
#include "jobs/job.h"

#include "core/memory.h"
#include "core/units.h"
#include "io/index_rows.h"
#include "mpi/agree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void levels_text(const struct rt_manifest *m, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t l = 0; l < m->n_levels && at < size; l++)
        at += (size_t)snprintf(text + at, size - at, "%s%" PRIu32, l ? "," : "", m->levels[l]);
}

static enum rt_status say_histogram(const struct rt_job *job, const struct rt_index_view *view,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t buckets[65] = {0}; /* bucket b: 2^(b-1) .. 2^b - 1 rows; 0: none */
    uint64_t *rows = NULL;
    struct rt_list_sizes sizes;
    uint64_t most = 0;
    RT_TRY(rt_array_new(view->n_lists, sizeof *rows, &rows, err));
    for (uint32_t l = 0; l < view->n_lists; l++) {
        struct rt_list_blocks blocks;
        RT_TRY(rt_index_list(view, l, &blocks, &rows[l], err));
        unsigned b = rows[l] ? 64 - (unsigned)__builtin_clzll(rows[l]) : 0;
        buckets[b]++;
        most = buckets[b] > most ? buckets[b] : most;
    }
    RT_TRY(rt_list_sizes_of(rows, view->n_lists, &sizes, err));
    rt_job_row(job, "list rows",
               "%" PRIu64 " / %" PRIu64 " / %" PRIu64 " / %" PRIu64
               " (smallest, median, p99, largest), %" PRIu32 " empty",
               sizes.least, sizes.median, sizes.p99, sizes.most, sizes.n_empty);
    rt_job_set(job, "list_rows",
               json_pack("{s:I, s:I, s:I, s:I, s:i}", "smallest", (json_int_t)sizes.least, "median",
                         (json_int_t)sizes.median, "p99", (json_int_t)sizes.p99, "largest",
                         (json_int_t)sizes.most, "empty", (int)sizes.n_empty));
    json_t *histogram = json_array();
    for (unsigned b = 0; b < 65; b++) {
        if (!buckets[b])
            continue;
        uint64_t low = b ? UINT64_C(1) << (b - 1) : 0;
        uint64_t high = b == 0 ? 0 : b == 64 ? UINT64_MAX : (UINT64_C(1) << b) - 1;
        char bar[51];
        size_t width = (size_t)(buckets[b] * 50 / most);
        memset(bar, '#', width);
        bar[width] = '\0';
        rt_job_print(job, "  %9" PRIu64 " .. %-9" PRIu64 " %9" PRIu64 " lists %s", low, high,
                     buckets[b], bar);
        json_t *line = json_pack("{s:I, s:I, s:I}", "from", (json_int_t)low, "to", (json_int_t)high,
                                 "lists", (json_int_t)buckets[b]);
        if (line && histogram && json_array_append_new(histogram, line) != 0)
            break;
    }
    rt_job_set(job, "histogram", histogram);
done:
    rt_array_free(rows);
    return st;
}

static void set_json(const struct rt_job *job, const struct rt_manifest *m, const char *digest)
{
    json_t *levels = json_array();
    for (uint32_t l = 0; l < m->n_levels && levels; l++)
        (void)json_array_append_new(levels, json_integer(m->levels[l]));
    json_t *files = json_array();
    for (size_t i = 0; i < m->n_files && files; i++)
        (void)json_array_append_new(
            files, json_pack("{s:s, s:I, s:I, s:I}", "kind", rt_file_kind_name(m->files[i].kind),
                             "number", (json_int_t)m->files[i].number, "bytes",
                             (json_int_t)m->files[i].size, "rows", (json_int_t)m->files[i].rows));
    rt_job_set(job, "format_version", json_integer(m->version));
    rt_job_set(job, "rows", json_integer((json_int_t)m->n_rows));
    rt_job_set(job, "dimension", json_integer(m->dim));
    rt_job_set(job, "metric", json_string(rt_metric_name(m->metric)));
    rt_job_set(job, "element", json_string(rt_element_name(m->element)));
    rt_job_set(job, "lists", json_integer(m->n_levels ? m->levels[m->n_levels - 1] : 0));
    rt_job_set(job, "levels", levels);
    rt_job_set(job, "generation", json_integer((json_int_t)m->generation));
    rt_job_set(job, "tombstones", json_integer((json_int_t)m->n_tombstones));
    rt_job_set(job, "digest", json_string(digest));
    rt_job_set(job, "residual", json_boolean(m->residual));
    rt_job_set(job, "spherical", json_boolean(m->spherical));
    rt_job_set(job, "rerank_in_heap", json_boolean(m->rerank_in_heap));
    rt_job_set(job, "rows_skipped", json_integer((json_int_t)m->n_rows_skipped));
    rt_job_set(job, "beam", json_integer(m->beam));
    rt_job_set(job, "files", files);
    rt_job_set(job, "options", json_incref(m->options));
    rt_job_set(job, "build", json_incref(m->build));
}

/* One line for each option that was not left at its default. */
static void say_options(const struct rt_job *job, const struct rt_manifest *m)
{
    const char *name = NULL;
    json_t *option = NULL;
    json_object_foreach(m->options, name, option)
    {
        const char *source = json_string_value(json_object_get(option, "source"));
        if (!source || strcmp(source, "default") == 0)
            continue;
        char *value = json_dumps(json_object_get(option, "value"), JSON_ENCODE_ANY | JSON_COMPACT);
        rt_job_print(job, "  --%-20s %s (%s)", name, value ? value : "?", source);
        free(value);
    }
}

static void say(const struct rt_job *job, const struct rt_manifest *m, const char *digest)
{
    char text[RT_UNITS_TEXT];
    char more[RT_UNITS_TEXT];
    char levels[128];
    levels_text(m, levels, sizeof levels);
    rt_job_row(job, "rows", "%s x %" PRIu32 " %s, %s", rt_units_count(m->n_rows, text), m->dim,
               rt_element_name(m->element), rt_metric_name(m->metric));
    if (m->n_rows_skipped)
        rt_job_row(job, "", "%s bad rows were left out", rt_units_count(m->n_rows_skipped, text));
    rt_job_row(job, "lists", "%s, residual %s, spherical %s, beam %" PRIu32, levels,
               m->residual ? "on" : "off", m->spherical ? "on" : "off", m->beam);
    rt_job_row(job, "generation", "%" PRIu64 ", %s tombstones", m->generation,
               rt_units_count(m->n_tombstones, text));
    rt_job_row(job, "digest", "%s", digest);
    for (size_t i = 0; i < m->n_files; i++)
        rt_job_row(job, i ? "" : "files", "%s-%" PRIu64 ".h5   %s, %s rows",
                   rt_file_kind_name(m->files[i].kind), m->files[i].number,
                   rt_units_bytes(m->files[i].size, text), rt_units_count(m->files[i].rows, more));
    for (size_t i = 0; i < m->n_heaps && i < 8; i++)
        rt_job_row(job, i ? "" : "heap", "%s%s%s, %s rows", m->heaps[i].path,
                   m->heaps[i].dataset ? ":" : "", m->heaps[i].dataset ? m->heaps[i].dataset : "",
                   rt_units_count(m->heaps[i].n_rows, text));
    if (m->n_heaps > 8)
        rt_job_row(job, "", "and %zu more files", m->n_heaps - 8);
    rt_job_row(job, "built", "%.1f s on %lld ranks",
               json_number_value(json_object_get(m->build, "seconds")),
               (long long)json_integer_value(json_object_get(m->build, "ranks")));
    say_options(job, m);
}

static void say_history(const struct rt_job *job, const struct rt_manifest *m)
{
    for (size_t i = 0; i < json_array_size(m->history); i++) {
        char *line = json_dumps(json_array_get(m->history, i), JSON_COMPACT);
        rt_job_row(job, i ? "" : "history", "%s", line ? line : "?");
        free(line);
    }
    rt_job_set(job, "history", json_incref(m->history));
}

static enum rt_status inform(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_view *view = NULL;
    char digest[33];
    RT_TRY(rt_index_open(job->options->argument[0], RT_CHECK_STRUCTURE, &view, err));
    rt_hash128_hex(view->manifest->digest, digest);
    if (job->options->digest && !job->options->json) {
        rt_job_print(job, "%s", digest);
        goto done;
    }
    set_json(job, view->manifest, digest);
    say(job, view->manifest, digest);
    if (job->options->show_lists)
        RT_TRY(say_histogram(job, view, err));
    if (job->options->history)
        say_history(job, view->manifest);
done:
    rt_index_close(view);
    return st;
}

enum rt_status rt_info_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (job->rank == 0)
        RT_LOCAL(inform(job, err));
    RT_AGREE(job->comm);
done:
    return st;
}
