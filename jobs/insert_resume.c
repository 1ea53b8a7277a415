#include "jobs/insert_resume.h"

#include <string.h>

static bool is_job(const json_t *line, enum rt_job_id job)
{
    const char *name = json_string_value(json_object_get(line, "job"));
    return name && strcmp(name, rt_job_name(job)) == 0;
}

static uint64_t count_of(const json_t *line, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(line, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* What an insert of the first n_rows of ROWS is told by. */
struct input {
    uint64_t n_rows;
    char hash[33]; /* "": nothing yet */
};

static enum rt_status tell_by(const struct rt_options *options, struct rt_rows *rows, uint64_t n,
                              struct input *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows_info then = *rt_rows_info(rows);
    struct rt_row_sample sample;
    struct rt_hash128 hash;
    if (out->hash[0] && n == out->n_rows)
        return RT_OK;
    if (n < then.n_rows) {
        RT_TRY(rt_rows_sample_before(rows, options->from_row, n, &sample, err));
        then.n_rows = n;
        then.sample = &sample;
    }
    RT_TRY(rt_first_run_input(options, &then, &hash, err));
    rt_hash128_hex(hash, out->hash);
    out->n_rows = n;
done:
    return st;
}

/* Is this the insert of these rows, or of those that were there before the heap has grown? *input:
 * of the line before, and then of this one. */
static enum rt_status is_of(const json_t *line, const struct rt_options *options,
                            struct rt_rows *rows, struct input *input, bool *out,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_rows = rt_rows_info(rows)->n_rows;
    const char *other = json_string_value(json_object_get(line, "input"));
    uint64_t n = options->from_row + count_of(line, "inserted") + count_of(line, "skipped");
    bool may_be_grown =
        options->concurrent && n < n_rows && json_is_true(json_object_get(line, "concurrent"));
    *out = false;
    if (!other)
        return RT_OK;
    RT_TRY(tell_by(options, rows, may_be_grown ? n : n_rows, input, err));
    *out = strcmp(other, input->hash) == 0;
done:
    return st;
}

/* Rows that an insert has put in are there as long as no job after it has let any die. */
static enum rt_status find_published(const struct rt_options *options, struct rt_rows *rows,
                                     const struct rt_manifest *manifest,
                                     struct rt_insert_resume *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct input input = {.n_rows = 0};
    out->is_unsure = true;
    for (size_t i = json_array_size(manifest->history); i-- > 0;) {
        const json_t *line = json_array_get(manifest->history, i);
        bool is_this = false;
        if (is_job(line, RT_JOB_VACUUM))
            continue;
        out->is_unsure = is_job(line, RT_JOB_INSERT) && count_of(line, "replaced") == 0;
        if (!is_job(line, RT_JOB_INSERT))
            break;
        RT_TRY(is_of(line, options, rows, &input, &is_this, err));
        if (is_this) {
            *out = (struct rt_insert_resume){.found = RT_INSERT_PUBLISHED,
                                             .n_rows = input.n_rows,
                                             .generation = count_of(line, "generation"),
                                             .n_inserted = count_of(line, "inserted"),
                                             .n_skipped = count_of(line, "skipped"),
                                             .n_replaced = count_of(line, "replaced")};
            break;
        }
        if (count_of(line, "replaced") > 0)
            break;
    }
done:
    return st;
}

enum rt_status rt_insert_resume_look(const char *dir, const struct rt_options *options,
                                     struct rt_rows *rows, const struct rt_manifest *manifest,
                                     struct rt_insert_resume *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_insert_resume found = {.found = RT_INSERT_NOTHING};
    struct rt_error why;
    json_t *record = NULL;
    RT_TRY(rt_first_run_read(dir, &record, err));
    bool is_ours = rt_first_run_is_of(record, RT_JOB_INSERT);
    uint64_t base = count_of(record, "base");
    bool is_alive = is_ours && base == manifest->generation &&
                    rt_first_run_generation(record) > manifest->generation;
    enum rt_status agrees =
        is_alive ? rt_first_run_take(dir, options, rt_rows_info(rows), record, &found.first, &why)
                 : RT_OK;
    if (is_alive && agrees == RT_OK) {
        found.found = RT_INSERT_INTERRUPTED;
    } else {
        RT_TRY(find_published(options, rows, manifest, &found, err));
        if (found.found == RT_INSERT_NOTHING && agrees != RT_OK) {
            *err = why;
            RT_TRY(agrees);
        }
        if (found.found == RT_INSERT_NOTHING && is_ours && !is_alive) {
            found.found = RT_INSERT_VOID;
            found.first.base = base;
        }
    }
    *out = found;
done:
    json_decref(record);
    return st;
}

enum rt_status rt_insert_history_line(const struct rt_options *options,
                                      const struct rt_rows_info *rows, uint64_t n_inserted,
                                      uint64_t n_skipped, uint64_t n_replaced, json_t **line,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hash128 hash;
    char input[33];
    RT_TRY(rt_first_run_input(options, rows, &hash, err));
    rt_hash128_hex(hash, input);
    *line = json_pack("{s:I, s:I, s:I, s:s, s:b}", "inserted", (json_int_t)n_inserted, "skipped",
                      (json_int_t)n_skipped, "replaced", (json_int_t)n_replaced, "input", input,
                      "concurrent", options->concurrent);
    if (!*line)
        RT_FAIL(RT_NOMEM, "out of memory: the history of an index");
done:
    return st;
}
