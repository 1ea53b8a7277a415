#include "jobs/build_resume.h"

#include "io/index_dir.h"

static enum rt_status take_published(const struct rt_options *options,
                                     const struct rt_rows_info *rows,
                                     const struct rt_manifest *manifest,
                                     struct rt_build_resume *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dir = options->argument[1];
    struct rt_error why;
    json_t *files = json_array();
    size_t n_files = manifest->n_own_heaps;
    for (size_t i = 0; files && i < n_files; i++) {
        struct rt_heap_file file = {.n_rows = manifest->heaps[i].n_rows,
                                    .size_bytes = manifest->heaps[i].size_bytes,
                                    .mtime_ns = manifest->heaps[i].mtime_ns};
        (void)json_array_append_new(files, rt_first_run_stamp(&file));
    }
    enum rt_status agrees =
        rt_first_run_compare_options(dir, options, manifest->options, true, &why);
    if (agrees == RT_OK && !manifest->n_own_heaps)
        agrees = rt_error_set(&why, RT_INPUT, __FILE__, __LINE__,
                              "'%s' was imported, and of which rows it was built is not known: "
                              "--force replaces it",
                              dir);
    if (agrees == RT_OK)
        agrees = rt_first_run_compare_beside(dir, options, manifest->options, &why);
    if (agrees == RT_OK)
        agrees = rt_first_run_compare_rows(dir, options, rows, files, &manifest->sample, &why);
    if (agrees == RT_OK) {
        out->found = RT_BUILD_PUBLISHED;
        out->first.generation = manifest->generation;
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
    const char *dir = options->argument[1];
    struct rt_build_resume found = {.found = RT_BUILD_NOTHING};
    struct rt_manifest *current = NULL;
    json_t *record = NULL;
    enum rt_index_state state;
    RT_TRY(rt_index_dir_state(dir, &state, err));
    if (state == RT_INDEX_PUBLISHED && rt_manifest_read_current(dir, &current, err) != RT_OK) {
        current = NULL;
        if (!options->force)
            RT_TRY(err->status);
    }
    RT_TRY(rt_first_run_read(dir, &record, err));
    uint64_t generation = rt_first_run_generation(record);
    /* one that was published meanwhile, or by another, leaves nothing to go on with */
    if (rt_first_run_is_of(record, RT_JOB_BUILD) && generation > 0 &&
        (!current || generation > current->generation)) {
        RT_TRY(rt_first_run_take(dir, options, rows, record, &found.first, err));
        found.found = RT_BUILD_INTERRUPTED;
    } else if (current) {
        RT_TRY(take_published(options, rows, current, &found, err));
    }
    *out = found;
done:
    json_decref(record);
    rt_manifest_free(current);
    return st;
}
