#include "jobs/first_run.h"

#include "core/memory.h"
#include "io/checkpoint.h"
#include "io/index_dir.h"
#include "io/input_file.h"
#include "io/row_format.h"
#include "jobs/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD "job"

/* ---- the record ---- */

json_t *rt_first_run_stamp(const struct rt_heap_file *file)
{
    return json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)file->n_rows, "size",
                     (json_int_t)file->size_bytes, "mtime", (json_int_t)file->mtime_ns);
}

static json_t *stamps_json(const struct rt_rows_info *rows)
{
    json_t *files = json_array();
    for (size_t i = 0; files && i < rows->n_files; i++)
        (void)json_array_append_new(files, rt_first_run_stamp(&rows->files[i]));
    return files;
}

/* Files beside the rows that decide the result: a changed one is as bad as a changed row file. */
static json_t *stamp_json(const char *path)
{
    struct stat info;
    struct rt_error ignored;
    char *file = NULL; /* without ":/dataset" */
    char *set = NULL;
    bool is_there = path[0] && rt_row_name_split(path, NULL, &file, &set, &ignored) == RT_OK &&
                    stat(file, &info) == 0;
    free(file);
    free(set);
    if (!is_there)
        return json_null();
    return json_pack("[I, I]", (json_int_t)info.st_size,
                     (json_int_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec);
}

enum rt_status rt_first_run_write(const char *dir, const struct rt_options *options,
                                  const struct rt_rows_info *rows,
                                  const struct rt_first_run *record, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *json = json_pack(
        "{s:s, s:I, s:I, s:i, s:I, s:i, s:o, s:o, s:o, s:o, s:o}", "job", rt_job_name(options->job),
        "generation", (json_int_t)record->generation, "base", (json_int_t)record->base, "ranks",
        record->ranks, "tapes", (json_int_t)record->tapes, "chooser", record->chooser, "options",
        rt_options_json(options, RT_CLASS_RESULT), "files", stamps_json(rows), "ids",
        stamp_json(options->ids), "centroids", stamp_json(options->centroids), "sample",
        rt_row_sample_print(rows->sample));
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (!text)
        RT_FAIL(RT_NOMEM, "out of memory: a checkpoint");
    RT_TRY(rt_checkpoint_write(dir, RECORD, text, strlen(text), err));
done:
    free(text);
    json_decref(json);
    return st;
}

enum rt_status rt_first_run_read(const char *dir, json_t **json, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    *json = NULL;
    RT_TRY(rt_checkpoint_read(dir, RECORD, &bytes, &n_bytes, err));
    if (bytes)
        *json = json_loadb((const char *)bytes, n_bytes, 0, NULL);
done:
    rt_array_free(bytes);
    return st;
}

bool rt_first_run_is_of(const json_t *json, enum rt_job_id job)
{
    const char *name = json_string_value(json_object_get(json, "job"));
    return name && strcmp(name, rt_job_name(job)) == 0;
}

enum rt_job_id rt_first_run_job(const json_t *json)
{
    return rt_first_run_is_of(json, RT_JOB_INSERT) ? RT_JOB_INSERT : RT_JOB_BUILD;
}

uint64_t rt_first_run_generation(const json_t *json)
{
    json_int_t generation = json_integer_value(json_object_get(json, "generation"));
    return generation > 0 ? (uint64_t)generation : 0;
}

enum rt_status rt_first_run_is_pending(const char *dir, uint64_t current, bool *is_pending,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *json = NULL;
    RT_TRY(rt_first_run_read(dir, &json, err));
    *is_pending = rt_first_run_generation(json) > current;
done:
    json_decref(json);
    return st;
}

/* ---- a heap that grows ---- */

static enum rt_status copy_counts(const json_t *files, const struct rt_manifest *manifest,
                                  uint64_t **rows, size_t *n_files, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = files ? json_array_size(files) : manifest->n_own_heaps;
    RT_TRY(rt_array_new(n, sizeof **rows, rows, err));
    for (size_t i = 0; i < n; i++)
        (*rows)[i] =
            files ? (uint64_t)json_integer_value(json_object_get(json_array_get(files, i), "rows"))
                  : manifest->heaps[i].n_rows;
    *n_files = n;
done:
    return st;
}

enum rt_status rt_first_run_snapshot(const struct rt_options *options, uint64_t **rows,
                                     size_t *n_files, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_build = options->job == RT_JOB_BUILD;
    const char *dir = options->argument[is_build ? 1 : 0];
    struct rt_manifest *current = NULL;
    json_t *record = NULL;
    enum rt_index_state state;
    *rows = NULL;
    *n_files = 0;
    if (!options->concurrent || !options->resume)
        return RT_OK;
    RT_TRY(rt_index_dir_state(dir, &state, err));
    if (state != RT_INDEX_PUBLISHED && state != RT_INDEX_UNFINISHED)
        goto done;
    if (state == RT_INDEX_PUBLISHED)
        RT_TRY(rt_manifest_read_current(dir, &current, err));
    RT_TRY(rt_first_run_read(dir, &record, err));
    uint64_t base = (uint64_t)json_integer_value(json_object_get(record, "base"));
    bool is_alive = rt_first_run_is_of(record, options->job) &&
                    rt_first_run_generation(record) > (current ? current->generation : 0) &&
                    (is_build || (current && base == current->generation));
    if (is_alive)
        RT_TRY(copy_counts(json_object_get(record, "files"), NULL, rows, n_files, err));
    else if (is_build && current && !options->force)
        RT_TRY(copy_counts(NULL, current, rows, n_files, err));
done:
    json_decref(record);
    rt_manifest_free(current);
    return st;
}

/* ---- does it agree? ---- */

/* How a message names the work, and the way to begin it again. */
static const char *work_of(const struct rt_options *options)
{
    return options->job == RT_JOB_BUILD ? "build in" : "insert into";
}

static const char *way_out(const struct rt_options *options)
{
    return options->job == RT_JOB_BUILD ? "--force starts anew" : "without --resume it starts anew";
}

static void value_text(const json_t *value, char *text, size_t text_size)
{
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const char *given = json_is_string(value)  ? json_string_value(value)
                        : json_is_null(value)  ? "auto"
                        : json_is_true(value)  ? "on"
                        : json_is_false(value) ? "off"
                        : dump                 ? dump
                                               : "?";
    bool is_list = given == dump && dump && dump[0] == '[';
    (void)snprintf(text, text_size, "%s", given + is_list);
    size_t n = strlen(text);
    if (is_list && n && text[n - 1] == ']')
        text[n - 1] = '\0';
    free(dump);
}

static bool is_from(const json_t *option, enum rt_origin origin)
{
    const char *source = json_string_value(json_object_get(option, "source"));
    return source && strcmp(source, rt_origin_name(origin)) == 0;
}

static bool is_auto(const json_t *option)
{
    return is_from(option, RT_FROM_AUTO);
}

/* What an option comes to. Not to say --from-row is no row 0: ids and heap rows are others. */
static json_t *value_of(const char *name, const json_t *option)
{
    if (strcmp(name, rt_option_table[RT_OPT_from_row].name) == 0 && !is_from(option, RT_FROM_GIVEN))
        return json_null();
    return json_object_get(option, "value");
}

enum rt_status rt_first_run_compare_options(const char *dir, const struct rt_options *options,
                                            const json_t *then, bool is_published,
                                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *now = rt_options_json(options, RT_CLASS_RESULT);
    const char *name = NULL;
    json_t *option = NULL;
    if (!now)
        RT_FAIL(RT_NOMEM, "out of memory: options");
    json_object_foreach(now, name, option)
    {
        const json_t *other = json_object_get(then, name);
        if (options->job == RT_JOB_INSERT && strcmp(name, rt_option_table[RT_OPT_type].name) == 0)
            continue; /* the index tells it */
        char texts[2][200];
        if ((is_auto(option) && is_auto(other)) ||
            (other && json_equal(value_of(name, option), value_of(name, other))))
            continue;
        value_text(value_of(name, other), texts[0], sizeof texts[0]);
        value_text(value_of(name, option), texts[1], sizeof texts[1]);
        if (is_published)
            RT_FAIL(RT_USAGE,
                    "'%.100s' is an index built with --%s %s, not %s; --force replaces it", dir,
                    name, texts[0], texts[1]);
        RT_FAIL(RT_USAGE,
                "the %s '%.100s' was begun with --%s %s, not %s: --resume needs the same options, "
                "%s",
                work_of(options), dir, name, texts[0], texts[1], way_out(options));
    }
done:
    json_decref(now);
    return st;
}

/* A file that is written to behind the rows of the snapshot, which are looked at apart. Its size
 * need not grow: HDF5 has room in its last chunk, and half a row may be taken back. */
static bool may_have_grown(const struct rt_options *options, const struct rt_heap_file *file,
                           const json_t *then)
{
    return options->concurrent && file->may_grow &&
           json_integer_value(json_object_get(then, "rows")) == (json_int_t)file->n_rows;
}

/* As many rows in each file as then. */
static bool has_counts(const struct rt_rows_info *rows, const json_t *files)
{
    bool is_same = json_array_size(files) == rows->n_files;
    for (size_t i = 0; is_same && i < rows->n_files; i++) {
        const json_t *n = json_object_get(json_array_get(files, i), "rows");
        is_same = json_integer_value(n) == (json_int_t)rows->files[i].n_rows;
    }
    return is_same;
}

static enum rt_status compare_sample(const char *dir, const struct rt_options *options,
                                     const struct rt_row_sample *now,
                                     const struct rt_row_sample *then, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_change change = rt_row_sample_compare(now, then);
    if (change.is_found)
        RT_FAIL(RT_INPUT, "rows %s to %s of '%.200s' have changed since the %s '%.100s' began: %s",
                RT_GROUPED(change.begin), RT_GROUPED(change.end - 1),
                options->argument[options->job == RT_JOB_BUILD ? 0 : 1], work_of(options), dir,
                way_out(options));
done:
    return st;
}

static enum rt_status compare_stamps(const char *dir, const struct rt_options *options,
                                     const struct rt_rows_info *rows, const json_t *then,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *now = NULL;
    if (json_array_size(then) != rows->n_files)
        RT_FAIL(RT_INPUT, "the %s '%.100s' was of %zu row files, now there are %zu: %s",
                work_of(options), dir, json_array_size(then), rows->n_files, way_out(options));
    for (size_t i = 0; i < rows->n_files; i++) {
        json_decref(now);
        now = rt_first_run_stamp(&rows->files[i]);
        if (!json_equal(now, json_array_get(then, i)) &&
            !may_have_grown(options, &rows->files[i], json_array_get(then, i)))
            RT_FAIL(RT_INPUT,
                    "'%.200s' is not what the %s '%.100s' was of, or has changed (size or time): "
                    "%s",
                    rows->files[i].path, work_of(options), dir, way_out(options));
    }
done:
    json_decref(now);
    return st;
}

enum rt_status rt_first_run_compare_rows(const char *dir, const struct rt_options *options,
                                         const struct rt_rows_info *rows, const json_t *files,
                                         const struct rt_row_sample *sample, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (has_counts(rows, files)) /* else the file that differs says more than the rows that do */
        RT_TRY(compare_sample(dir, options, rows->sample, sample, err));
    RT_TRY(compare_stamps(dir, options, rows, files, err));
done:
    return st;
}

static enum rt_status compare_stamp(const char *dir, const struct rt_options *options,
                                    const char *option, const char *path, const json_t *then,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *now = stamp_json(path);
    if (!json_equal(now, then))
        RT_FAIL(RT_INPUT, "'%.200s' of --%s has changed since the %s '%.100s' began: %s", path,
                option, work_of(options), dir, way_out(options));
done:
    json_decref(now);
    return st;
}

static const char *const beside[] = {"ids", "centroids"};

static const char *path_beside(const struct rt_options *options, size_t i)
{
    return i == 0 ? options->ids : options->centroids;
}

void rt_first_run_stamp_options(const struct rt_options *options, json_t *out)
{
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (path_beside(options, i)[0])
            (void)json_object_set_new(json_object_get(out, beside[i]), "stamp",
                                      stamp_json(path_beside(options, i)));
}

enum rt_status rt_first_run_compare_beside(const char *dir, const struct rt_options *options,
                                           const json_t *then, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (path_beside(options, i)[0])
            RT_TRY(compare_stamp(dir, options, beside[i], path_beside(options, i),
                                 json_object_get(json_object_get(then, beside[i]), "stamp"), err));
done:
    return st;
}

enum rt_status rt_first_run_take(const char *dir, const struct rt_options *options,
                                 const struct rt_rows_info *rows, const json_t *json,
                                 struct rt_first_run *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(
        rt_first_run_compare_options(dir, options, json_object_get(json, "options"), false, err));
    struct rt_row_sample sample;
    bool is_sound = rt_row_sample_parse(json_object_get(json, "sample"), &sample);
    RT_TRY(rt_first_run_compare_rows(dir, options, rows, json_object_get(json, "files"), &sample,
                                     err));
    RT_TRY(compare_stamp(dir, options, "ids", options->ids, json_object_get(json, "ids"), err));
    RT_TRY(compare_stamp(dir, options, "centroids", options->centroids,
                         json_object_get(json, "centroids"), err));
    json_int_t base = json_integer_value(json_object_get(json, "base"));
    json_int_t ranks = json_integer_value(json_object_get(json, "ranks"));
    json_int_t chooser = json_integer_value(json_object_get(json, "chooser"));
    uint64_t tapes = (uint64_t)json_integer_value(json_object_get(json, "tapes"));
    if (!is_sound || base < 0 || ranks < 1 || ranks > INT32_MAX || tapes < 1 ||
        tapes > rt_option_table[RT_OPT_tapes].most || chooser < 0 || chooser > RT_CHOOSER_ZERO ||
        (options->rerank_in_heap && chooser == RT_CHOOSER_RNG))
        RT_FAIL(RT_DAMAGED, "the checkpoint in '%.200s' is damaged: %s", dir, way_out(options));
    *out = (struct rt_first_run){.generation = rt_first_run_generation(json),
                                 .base = (uint64_t)base,
                                 .ranks = (int)ranks,
                                 .tapes = tapes,
                                 .chooser = (int)chooser};
done:
    return st;
}

enum rt_status rt_first_run_input(const struct rt_options *options, const struct rt_rows_info *rows,
                                  struct rt_hash128 *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *values = json_object();
    json_t *all = rt_options_json(options, RT_CLASS_RESULT);
    json_t *input = NULL;
    char *text = NULL;
    const char *name = NULL;
    json_t *option = NULL;
    (void)json_object_del(all, rt_option_table[RT_OPT_type].name); /* the index tells it */
    json_object_foreach(all, name, option) if (!is_auto(option))(void)
        json_object_set(values, name, value_of(name, option));
    input = json_pack("{s:O, s:I, s:o, s:o}", "options", values, "rows", (json_int_t)rows->n_rows,
                      "ids", stamp_json(options->ids), "sample", rt_row_sample_print(rows->sample));
    text = input ? json_dumps(input, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (!text)
        RT_FAIL(RT_NOMEM, "out of memory: the record of a job");
    *out = rt_hash128(text, strlen(text));
done:
    free(text);
    json_decref(input);
    json_decref(all);
    json_decref(values);
    return st;
}
