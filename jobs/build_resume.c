#include "jobs/build_resume.h"

#include "core/memory.h"
#include "io/checkpoint.h"
#include "io/index_dir.h"
#include "jobs/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD "job"

/* ---- the record ---- */

static json_t *file_json(const struct rt_heap_file *file)
{
    return json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)file->n_rows, "size",
                     (json_int_t)file->size_bytes, "mtime", (json_int_t)file->mtime_ns);
}

/* Files beside the rows that decide the result: a changed one is as bad as a changed row file. */
static json_t *stamp_json(const char *path)
{
    struct stat info;
    if (!path[0] || stat(path, &info) != 0) /* FILE.h5:/dataset: its name must do */
        return json_null();
    return json_pack("[I, I]", (json_int_t)info.st_size,
                     (json_int_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec);
}

static json_t *record_json(const struct rt_options *options, const struct rt_rows_info *rows,
                           uint64_t generation, int ranks)
{
    json_t *files = json_array();
    for (size_t i = 0; files && i < rows->n_files; i++)
        (void)json_array_append_new(files, file_json(&rows->files[i]));
    return json_pack("{s:I, s:i, s:I, s:i, s:o, s:o, s:o, s:o}", "generation",
                     (json_int_t)generation, "ranks", ranks, "tapes", (json_int_t)options->tapes,
                     "chooser", options->chooser, "options",
                     rt_options_json(options, RT_CLASS_RESULT), "files", files, "ids",
                     stamp_json(options->ids), "centroids", stamp_json(options->centroids));
}

enum rt_status rt_build_resume_begin(const struct rt_options *options,
                                     const struct rt_rows_info *rows, uint64_t generation,
                                     int ranks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *record = record_json(options, rows, generation, ranks);
    char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;
    if (!text)
        RT_FAIL(RT_NOMEM, "out of memory: a checkpoint");
    RT_TRY(rt_checkpoint_write(options->argument[1], RECORD, text, strlen(text), err));
done:
    free(text);
    json_decref(record);
    return st;
}

static enum rt_status read_record(const char *dir, json_t **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    *out = NULL;
    RT_TRY(rt_checkpoint_read(dir, RECORD, &bytes, &n_bytes, err));
    if (bytes)
        *out = json_loadb((const char *)bytes, n_bytes, 0, NULL);
done:
    rt_array_free(bytes);
    return st;
}

/* ---- does it agree? ---- */

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

static bool is_auto(const json_t *option)
{
    const char *source = json_string_value(json_object_get(option, "source"));
    return source && strcmp(source, rt_origin_name(RT_FROM_AUTO)) == 0;
}

/* then: {name: {value, source}} of the build that is there. What was left to the program both times
 * follows from the other options and the rows. */
static enum rt_status compare_options(const struct rt_options *options, const json_t *then,
                                      bool is_published, struct rt_error *err)
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
        char texts[2][200];
        if ((is_auto(option) && is_auto(other)) ||
            (other &&
             json_equal(json_object_get(option, "value"), json_object_get(other, "value"))))
            continue;
        value_text(json_object_get(other, "value"), texts[0], sizeof texts[0]);
        value_text(json_object_get(option, "value"), texts[1], sizeof texts[1]);
        if (is_published)
            RT_FAIL(RT_USAGE,
                    "'%.100s' is an index built with --%s %s, not %s; --force replaces it",
                    options->argument[1], name, texts[0], texts[1]);
        RT_FAIL(RT_USAGE,
                "the build in '%.100s' was begun with --%s %s, not %s: --resume needs the same "
                "options, --force starts anew",
                options->argument[1], name, texts[0], texts[1]);
    }
done:
    json_decref(now);
    return st;
}

static enum rt_status compare_files(const struct rt_options *options,
                                    const struct rt_rows_info *rows, const json_t *then,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dir = options->argument[1];
    json_t *now = NULL;
    if (json_array_size(then) != rows->n_files)
        RT_FAIL(RT_INPUT,
                "the build in '%.100s' was of %zu row files, now there are %zu: --force builds "
                "anew",
                dir, json_array_size(then), rows->n_files);
    for (size_t i = 0; i < rows->n_files; i++) {
        json_decref(now);
        now = file_json(&rows->files[i]);
        if (!json_equal(now, json_array_get(then, i)))
            RT_FAIL(
                RT_INPUT,
                "'%.200s' has changed since the build in '%.100s' began (size or time): --force "
                "builds anew",
                rows->files[i].path, dir);
    }
done:
    json_decref(now);
    return st;
}

static enum rt_status compare_stamp(const char *dir, const char *option, const char *path,
                                    const json_t *then, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *now = stamp_json(path);
    if (!json_equal(now, then))
        RT_FAIL(RT_INPUT,
                "'%.200s' of --%s has changed since the build in '%.100s' began: --force builds "
                "anew",
                path, option, dir);
done:
    json_decref(now);
    return st;
}

static enum rt_status take_record(const struct rt_options *options, const struct rt_rows_info *rows,
                                  const json_t *record, struct rt_build_resume *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dir = options->argument[1];
    RT_TRY(compare_options(options, json_object_get(record, "options"), false, err));
    RT_TRY(compare_files(options, rows, json_object_get(record, "files"), err));
    RT_TRY(compare_stamp(dir, "ids", options->ids, json_object_get(record, "ids"), err));
    RT_TRY(compare_stamp(dir, "centroids", options->centroids, json_object_get(record, "centroids"),
                         err));
    json_int_t ranks = json_integer_value(json_object_get(record, "ranks"));
    out->tapes = (uint64_t)json_integer_value(json_object_get(record, "tapes"));
    out->chooser = (int)json_integer_value(json_object_get(record, "chooser"));
    if (ranks < 1 || ranks > INT32_MAX || out->tapes < 1 ||
        out->tapes > rt_option_table[RT_OPT_tapes].most)
        RT_FAIL(RT_DAMAGED, "the checkpoint in '%.200s' is damaged: --force starts anew", dir);
    out->ranks = (int)ranks;
    out->found = RT_BUILD_INTERRUPTED;
done:
    return st;
}

static enum rt_status take_published(const struct rt_options *options,
                                     const struct rt_rows_info *rows,
                                     const struct rt_manifest *manifest,
                                     struct rt_build_resume *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_error why;
    json_t *files = json_array();
    for (size_t i = 0; files && i < manifest->n_heaps; i++) {
        struct rt_heap_file file = {.n_rows = manifest->heaps[i].n_rows,
                                    .size_bytes = manifest->heaps[i].size_bytes,
                                    .mtime_ns = manifest->heaps[i].mtime_ns};
        (void)json_array_append_new(files, file_json(&file));
    }
    enum rt_status agrees = compare_options(options, manifest->options, true, &why);
    if (agrees == RT_OK)
        agrees = compare_files(options, rows, files, &why);
    if (agrees == RT_OK) {
        out->found = RT_BUILD_PUBLISHED;
        out->generation = manifest->generation;
        out->n_rows = manifest->n_rows;
        out->digest = manifest->digest;
    } else if (!options->force) {
        *err = why;
        st = agrees;
    }
    json_decref(files);
    return st;
}

enum rt_status rt_build_resume_look(const struct rt_options *options,
                                    const struct rt_rows_info *rows, struct rt_build_resume *out,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_build_resume found = {.found = RT_BUILD_NOTHING};
    struct rt_manifest *current = NULL;
    json_t *record = NULL;
    enum rt_index_state state;
    RT_TRY(rt_index_dir_state(options->argument[1], &state, err));
    if (state == RT_INDEX_PUBLISHED &&
        rt_manifest_read_current(options->argument[1], &current, err) != RT_OK) {
        current = NULL;
        if (!options->force)
            RT_TRY(err->status);
    }
    RT_TRY(read_record(options->argument[1], &record, err));
    json_int_t generation = json_integer_value(json_object_get(record, "generation"));
    /* one that was published meanwhile, or by another, leaves nothing to go on with */
    if (generation > 0 && (!current || (uint64_t)generation > current->generation)) {
        found.generation = (uint64_t)generation;
        RT_TRY(take_record(options, rows, record, &found, err));
    } else if (current) {
        RT_TRY(take_published(options, rows, current, &found, err));
    }
    *out = found;
done:
    json_decref(record);
    rt_manifest_free(current);
    return st;
}
