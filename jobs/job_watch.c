#include "jobs/job_watch.h"

#include "core/checksum.h"
#include "core/memory.h"
#include "io/fs.h"
#include "io/index_dir.h"
#include "io/manifest.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define MOST_PROGRESS_BYTES 65536

double rt_watch_number(const json_t *object, const char *key)
{
    double value = json_number_value(json_object_get(object, key));
    return isfinite(value) ? value : 0;
}

char *rt_watch_text(const json_t *object, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(object, key));
    (void)snprintf(text, size, "%s", value ? value : "");
    for (char *c = text; *c; c++)
        if (*c < 0x20 || *c > 0x7e) /* it goes to a terminal */
            *c = '?';
    return text;
}

/* NULL where there is none, or none that can be read just now. */
static json_t *read_progress(const char *dir)
{
    struct rt_error ignored;
    char folder[RT_PATH_MAX];
    char path[RT_PATH_MAX];
    char *text = NULL;
    size_t n = 0;
    json_t *progress = NULL;
    if (rt_fs_join(dir, "checkpoint", folder, &ignored) == RT_OK &&
        rt_fs_join(folder, "progress.json", path, &ignored) == RT_OK &&
        rt_fs_read_small(path, MOST_PROGRESS_BYTES, &text, &n, &ignored) == RT_OK)
        progress = json_loadb(text, n, 0, NULL);
    rt_array_free(text);
    if (!json_is_object(progress)) {
        json_decref(progress);
        return NULL;
    }
    return progress;
}

static void read_published(const char *dir, struct rt_watch *w)
{
    struct rt_error ignored;
    struct rt_manifest *manifest = NULL;
    if (rt_manifest_read_current(dir, &manifest, &ignored) != RT_OK)
        return;
    w->generation = manifest->generation;
    w->n_rows = manifest->n_rows;
    rt_hash128_hex(manifest->digest, w->digest);
    rt_manifest_free(manifest);
}

static enum rt_watch_state judge(const struct rt_watch *w, bool is_held, bool is_stale,
                                 enum rt_index_state index)
{
    char text[48];
    if (is_held && is_stale)
        return RT_WATCH_DEAD;
    if (is_held)
        return w->progress ? RT_WATCH_RUNNING : RT_WATCH_BEGINNING;
    if (w->progress &&
        (strcmp(rt_watch_text(w->progress, "state", text, sizeof text), "stopped") == 0 ||
         strcmp(text, "failed") == 0))
        return RT_WATCH_ENDED;
    return index == RT_INDEX_PUBLISHED ? RT_WATCH_IDLE : RT_WATCH_UNFINISHED;
}

enum rt_status rt_watch_look(const char *dir, struct rt_watch *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_watch w = {.state = RT_WATCH_IDLE};
    struct rt_lock_owner self;
    enum rt_index_state index;
    char nonce[48];
    bool is_held = false;
    RT_TRY(rt_index_dir_state(dir, &index, err));
    if (index == RT_INDEX_MISSING || index == RT_INDEX_EMPTY)
        RT_FAIL(RT_USAGE, "there is no index '%s'", dir);
    if (index == RT_INDEX_FOREIGN)
        RT_FAIL(RT_USAGE, "'%s' is no index", dir);
    RT_TRY(rt_lock_read(dir, &is_held, &w.owner, err));
    rt_lock_self(&self);
    w.progress = read_progress(dir);
    rt_watch_text(w.progress, "lock", nonce, sizeof nonce);
    if (is_held && strcmp(nonce, w.owner.nonce) != 0) { /* of a job before */
        json_decref(w.progress);
        w.progress = NULL;
    }
    w.age = w.progress ? (double)time(NULL) - rt_watch_number(w.progress, "updated") : 0;
    read_published(dir, &w);
    w.state = judge(&w, is_held, is_held && rt_lock_is_stale(&w.owner, &self), index);
    *out = w;
done:
    return st;
}

void rt_watch_free(struct rt_watch *watch)
{
    json_decref(watch->progress);
    watch->progress = NULL;
}
