#include "jobs/job.h"

#include "io/fs.h"
#include "jobs/report_html.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LABEL_COLUMNS 11

static bool prints(const struct rt_job *job)
{
    return job->rank == 0 && !job->options->json;
}

void rt_job_row(const struct rt_job *job, const char *label, const char *format, ...)
{
    va_list args;
    if (!prints(job))
        return;
    va_start(args, format);
    (void)printf("%-*s ", LABEL_COLUMNS, label);
    (void)vprintf(format, args);
    (void)putchar('\n');
    va_end(args);
}

void rt_job_print(const struct rt_job *job, const char *format, ...)
{
    va_list args;
    if (!prints(job))
        return;
    va_start(args, format);
    (void)vprintf(format, args);
    (void)putchar('\n');
    va_end(args);
}

/* One write for a line, so that ranks and launcher do not cut it up. */
static void message(const struct rt_job *job, const char *level, const char *format, va_list args)
{
    char line[1024];
    size_t n = (size_t)snprintf(line, sizeof line, "ranktape: %s: %s", job->name, level);
    (void)vsnprintf(line + n, sizeof line - n - 1, format, args);
    (void)strcat(line, "\n");
    (void)fputs(line, stderr);
}

bool rt_job_says_info(const struct rt_job *job)
{
    return job->rank == 0 && !job->options->quiet;
}

void rt_job_warn(const struct rt_job *job, const char *format, ...)
{
    va_list args;
    if (job->rank != 0)
        return;
    va_start(args, format);
    message(job, "warning: ", format, args);
    va_end(args);
}

void rt_job_info(const struct rt_job *job, const char *format, ...)
{
    va_list args;
    if (!rt_job_says_info(job))
        return;
    va_start(args, format);
    message(job, "", format, args);
    va_end(args);
}

void rt_job_debug(const struct rt_job *job, const char *format, ...)
{
    va_list args;
    if (job->rank != 0 || job->options->verbose == 0)
        return;
    va_start(args, format);
    message(job, "", format, args);
    va_end(args);
}

void rt_job_set(const struct rt_job *job, const char *key, json_t *value)
{
    if (job->json)
        (void)json_object_set_new(job->json, key, value);
    else
        json_decref(value);
}

/* JSON's integers end at 2^63-1; larger ones are strings. */
static json_t *number_json(uint64_t value)
{
    char text[24];
    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

static json_t *numbers_json(const struct rt_numbers *list)
{
    json_t *array = list->n ? json_array() : json_null();
    for (uint32_t i = 0; array && i < list->n; i++)
        (void)json_array_append_new(array, number_json(list->value[i]));
    return array;
}

static json_t *texts_json(const struct rt_texts *texts)
{
    json_t *array = texts->n ? json_array() : json_null();
    for (uint32_t i = 0; array && i < texts->n; i++)
        (void)json_array_append_new(array, rt_job_text_json(texts->text[i]));
    return array;
}

static json_t *gate_json(const struct rt_gate *gate)
{
    if (gate->k == 0)
        return json_null();
    return json_pack("[f, I]", gate->recall, (json_int_t)gate->k);
}

json_t *rt_job_text_json(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char *ascii = strdup(text);
    for (char *c = ascii; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    value = ascii ? json_string(ascii) : NULL;
    free(ascii);
    return value;
}

static json_t *value_json(const struct rt_options *options, enum rt_option_index index)
{
    const struct rt_option *option = &rt_option_table[index];
    const void *field = (const char *)options + option->offset;
    char text[64];
    switch (option->type) {
    case RT_TYPE_FLAG:
        return json_boolean(*(const bool *)field);
    case RT_TYPE_COUNT:
        return number_json(*(const uint64_t *)field);
    case RT_TYPE_NUMBER:
    case RT_TYPE_SIZE:
        rt_options_text(options, index, text, sizeof text); /* "auto", "off", "": not a number */
        if (text[0] < '0' || text[0] > '9')
            return json_null();
        return number_json(*(const uint64_t *)field);
    case RT_TYPE_DURATION:
        rt_options_text(options, index, text, sizeof text); /* "auto" */
        if (text[0] < '0' || text[0] > '9')
            return json_null();
        return json_real(*(const double *)field);
    case RT_TYPE_REAL:
        return json_real(*(const double *)field);
    case RT_TYPE_WORD:
        if (*(const int *)field < 0)
            return json_null();
        rt_options_text(options, index, text, sizeof text);
        return json_string(text);
    case RT_TYPE_TEXT:
        return *(const char *)field ? rt_job_text_json(field) : json_null();
    case RT_TYPE_NUMBERS:
        return numbers_json(field);
    case RT_TYPE_TEXTS:
        return texts_json(field);
    case RT_TYPE_GATE:
        return gate_json(field);
    }
    return json_null();
}

json_t *rt_options_json(const struct rt_options *options, enum rt_option_class class)
{
    json_t *object = json_object();
    for (int i = 0; object && i < RT_N_OPTIONS; i++) {
        const struct rt_option *option = &rt_option_table[i];
        if (!rt_options_take(options, option) || i == RT_OPT_help ||
            (class != RT_CLASS_NONE && option->class != class))
            continue;
        (void)json_object_set_new(object, option->name,
                                  json_pack("{s:o, s:s}", "value",
                                            value_json(options, (enum rt_option_index)i), "source",
                                            rt_origin_name((enum rt_origin)options->origin[i])));
    }
    return object;
}

static bool ends_in(const char *name, const char *suffix)
{
    const char *last = strrchr(name, '.');
    return last && strcmp(last, suffix) == 0;
}

bool rt_job_reports_html(const struct rt_job *job)
{
    for (uint32_t i = 0; i < job->options->report.n; i++)
        if (ends_in(job->options->report.text[i], ".html"))
            return true;
    return false;
}

/* That a file of this name can be written is known for sure only once it is made. */
static enum rt_status try_to_make(const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_there = access(name, F_OK) == 0;
    RT_TRY(rt_fs_check_target(name, err));
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        RT_FAIL(RT_USAGE, "--report '%s' cannot be written: %s", name, strerror(errno));
    (void)close(fd);
    if (!is_there)
        (void)unlink(name);
done:
    return st;
}

enum rt_status rt_job_check_reports(const struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t i = 0; i < job->options->report.n; i++) {
        const char *name = job->options->report.text[i];
        if (!ends_in(name, ".json") && !ends_in(name, ".html"))
            RT_FAIL(RT_USAGE,
                    "--report '%s': give a name that ends in .json or .html, which says what it "
                    "will be",
                    name);
        if (job->rank == 0)
            RT_TRY(try_to_make(name, err));
    }
done:
    return st;
}

static enum rt_status write_report(const char *name, const json_t *record, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    FILE *out = fopen(name, "we");
    bool is_whole = out != NULL;
    if (out && ends_in(name, ".html"))
        rt_report_html(out, record);
    else if (out)
        is_whole = json_dumpf(record, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
    is_whole = is_whole && !ferror(out);
    if (out && fclose(out) != 0)
        is_whole = false;
    if (!is_whole)
        RT_FAIL(RT_IO, "the job is done, but its report '%s' cannot be written", name);
done:
    return st;
}

enum rt_status rt_job_write_reports(const struct rt_job *job, const json_t *record,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_texts *reports = &job->options->report;
    for (uint32_t i = 0; i < reports->n; i++)
        RT_TRY(write_report(reports->text[i], record, err));
done:
    return st;
}

json_t *rt_job_history(const struct rt_job *job, uint64_t generation, uint64_t n_rows)
{
    const char *batch_job = getenv("SLURM_JOB_ID");
    json_t *line = json_pack("{s:s, s:I, s:I}", "job", job->name, "generation",
                             (json_int_t)generation, "rows", (json_int_t)n_rows);
    if (line && batch_job &&
        json_object_set_new(line, "batch_job", rt_job_text_json(batch_job)) != 0) {
        json_decref(line);
        line = NULL;
    }
    return line;
}

json_t *rt_job_failure(const struct rt_job *job, enum rt_status st, const struct rt_error *err)
{
    return json_pack("{s:s, s:s, s:i, s:o}", "job", job->name, "status", rt_status_name(st),
                     "exit_status", rt_exit_code(st), "error", rt_job_text_json(err->text));
}
