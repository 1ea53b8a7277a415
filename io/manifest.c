#include "io/manifest.h"

#include "core/memory.h"
#include "core/rotation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_MANIFEST_BYTES ((size_t)1 << 30)

enum rt_status rt_manifest_new(struct rt_manifest **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *manifest = NULL;
    RT_TRY(rt_array_zero(1, sizeof *manifest, &manifest, err));
    manifest->version = RT_FORMAT_VERSION;
    manifest->options = json_object();
    manifest->build = json_object();
    manifest->history = json_array();
    if (!manifest->options || !manifest->build || !manifest->history)
        RT_FAIL(RT_NOMEM, "out of memory: a manifest");
    *out = manifest;
    manifest = NULL;
done:
    rt_manifest_free(manifest);
    return st;
}

static void drop_heaps(struct rt_manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_heaps; i++) {
        free(manifest->heaps[i].path);
        free(manifest->heaps[i].dataset);
    }
    rt_array_free(manifest->heaps);
    manifest->heaps = NULL;
    manifest->n_heaps = 0;
}

void rt_manifest_free(struct rt_manifest *manifest)
{
    if (!manifest)
        return;
    drop_heaps(manifest);
    rt_array_free(manifest->files);
    json_decref(manifest->options);
    json_decref(manifest->build);
    json_decref(manifest->history);
    rt_array_free(manifest);
}

void rt_manifest_take_tree(struct rt_manifest *manifest, const struct rt_tree *tree,
                           enum rt_element element)
{
    manifest->dim = tree->dim;
    manifest->metric = tree->metric;
    manifest->element = element;
    manifest->residual = tree->residual;
    manifest->spherical = tree->spherical;
    manifest->rotation_seed = tree->rotation_seed;
    manifest->rotation_version = RT_ROTATION_VERSION;
    manifest->n_levels = tree->n_levels;
    for (uint32_t l = 0; l < tree->n_levels; l++)
        manifest->levels[l] = tree->levels[l].n;
}

int rt_manifest_order_files(const void *a, const void *b)
{
    const struct rt_manifest_file *x = a;
    const struct rt_manifest_file *y = b;
    if (x->kind != y->kind)
        return (x->kind > y->kind) - (x->kind < y->kind);
    return (x->number > y->number) - (x->number < y->number);
}

static enum rt_status push_file(struct rt_manifest *manifest, const struct rt_manifest_file *file,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_resize(manifest->n_files + 1, sizeof *manifest->files, &manifest->files, err));
    manifest->files[manifest->n_files++] = *file;
    qsort(manifest->files, manifest->n_files, sizeof *manifest->files, rt_manifest_order_files);
done:
    return st;
}

enum rt_status rt_manifest_add_file(struct rt_manifest *manifest, enum rt_file_kind kind,
                                    uint64_t number, const char *path,
                                    const struct rt_h5_layout *layout, uint64_t rows,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest_file file;
    memset(&file, 0, sizeof file);
    file.kind = kind;
    file.number = number;
    file.size = layout->size;
    file.rows = rows;
    file.n_ranges = rt_h5_ranges(layout, false, file.ranges);
    RT_TRY(rt_h5_hash_file(path, layout, &file.hashes, err));
    RT_TRY(push_file(manifest, &file, err));
done:
    return st;
}

enum rt_status rt_manifest_add_heap(struct rt_manifest *manifest,
                                    const struct rt_manifest_heap *heap, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *path = strdup(heap->path);
    char *dataset = heap->dataset ? strdup(heap->dataset) : NULL;
    if (!path || (heap->dataset && !dataset))
        RT_FAIL(RT_NOMEM, "out of memory: the name of a heap file");
    /* by doubling: a heap may have a million files */
    size_t n = manifest->n_heaps;
    if ((n & (n - 1)) == 0)
        RT_TRY(rt_array_resize(n ? 2 * n : 1, sizeof *manifest->heaps, &manifest->heaps, err));
    manifest->heaps[n] = *heap;
    manifest->heaps[n].path = path;
    manifest->heaps[n].dataset = dataset;
    manifest->n_heaps++;
    path = dataset = NULL;
done:
    free(path);
    free(dataset);
    return st;
}

/* The name of a file from the root on, into room of RT_PATH_MAX; `path` itself where it is one. */
static enum rt_status full_path(const char *path, char *room, const char **out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char folder[RT_PATH_MAX];
    *out = path;
    if (path[0] == '/')
        goto done;
    if (!getcwd(folder, sizeof folder))
        RT_FAIL(RT_IO, "cannot tell the working folder: %s", strerror(errno));
    RT_TRY(rt_fs_join(folder, path, room, err));
    *out = room;
done:
    return st;
}

enum rt_status rt_manifest_add_heaps(struct rt_manifest *manifest, const struct rt_heap_file *files,
                                     size_t n, uint64_t first_row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char room[RT_PATH_MAX];
    for (size_t i = 0; i < n; i++) {
        struct rt_manifest_heap heap = {.path = files[i].path,
                                        .dataset = files[i].dataset,
                                        .first_row = first_row + files[i].first_row,
                                        .n_rows = files[i].n_rows,
                                        .size_bytes = files[i].size_bytes,
                                        .mtime_ns = files[i].mtime_ns};
        const char *path = NULL;
        if (manifest->rerank_in_heap) {
            RT_TRY(full_path(files[i].path, room, &path, err));
            heap.path = (char *)path; /* copied */
        }
        RT_TRY(rt_manifest_add_heap(manifest, &heap, err));
    }
done:
    return st;
}

enum rt_status rt_manifest_take_heap(struct rt_manifest *manifest, const struct rt_heap_file *files,
                                     size_t n, const struct rt_row_sample *sample,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    drop_heaps(manifest);
    RT_TRY(rt_manifest_add_heaps(manifest, files, n, 0, err));
    manifest->n_own_heaps = n;
    manifest->sample = *sample;
    for (size_t i = 0; i < n; i++)
        manifest->heaps[i].may_grow = files[i].may_grow;
done:
    return st;
}

uint64_t rt_manifest_own_rows(const struct rt_manifest *manifest)
{
    size_t n = manifest->sample.n_blocks;
    return n ? manifest->sample.blocks[n - 1].end : 0;
}

void rt_manifest_drop_file(struct rt_manifest *manifest, enum rt_file_kind kind, uint64_t number)
{
    struct rt_manifest_file *file = rt_manifest_find(manifest, kind, number);
    if (!file)
        return;
    size_t behind = (size_t)(manifest->files + manifest->n_files - file) - 1;
    memmove(file, file + 1, behind * sizeof *file);
    manifest->n_files--;
}

#define MOST_HISTORY 100u /* jobs that the manifest tells of (H7) */

enum rt_status rt_manifest_add_history(struct rt_manifest *manifest, json_t *line,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (!line || json_array_append(manifest->history, line) != 0)
        RT_FAIL(RT_NOMEM, "out of memory: the history of an index");
    while (json_array_size(manifest->history) > MOST_HISTORY)
        (void)json_array_remove(manifest->history, 0);
done:
    json_decref(line);
    return st;
}

struct rt_manifest_file *rt_manifest_find(const struct rt_manifest *manifest,
                                          enum rt_file_kind kind, uint64_t number)
{
    for (size_t i = 0; i < manifest->n_files; i++)
        if (manifest->files[i].kind == kind && manifest->files[i].number == number)
            return &manifest->files[i];
    return NULL;
}

uint64_t rt_manifest_rows(const struct rt_manifest *manifest, enum rt_file_kind kind,
                          uint64_t number)
{
    const struct rt_manifest_file *file = rt_manifest_find(manifest, kind, number);
    return file ? file->rows : 0;
}

uint64_t rt_manifest_bytes(const struct rt_manifest *manifest)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < manifest->n_files; i++)
        bytes += manifest->files[i].size;
    return bytes;
}

/* ---- manifest-G.json and CURRENT ---- */

static void manifest_name(uint64_t generation, char name[48])
{
    (void)snprintf(name, 48, "manifest-%llu.json", (unsigned long long)generation);
}

#define CURRENT_BYTES 96

/* Bytes of the line. */
static size_t current_line(uint64_t generation, struct rt_hash128 hash, char line[CURRENT_BYTES])
{
    char name[48];
    char hex[33];
    manifest_name(generation, name);
    rt_hash128_hex(hash, hex);
    return (size_t)snprintf(line, CURRENT_BYTES, "%s %s\n", name, hex);
}

static enum rt_status check_lock(const void *lock, struct rt_error *err)
{
    return rt_lock_check(lock, err);
}

enum rt_status rt_manifest_publish(const char *dir, const struct rt_manifest *manifest,
                                   const struct rt_lock *lock, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_fs_text text = {.n_bytes = 0};
    char *printed = NULL;
    char name[48];
    char line[CURRENT_BYTES];
    manifest_name(manifest->generation, name);
    RT_TRY(rt_manifest_print(manifest, &printed, &text.n_bytes, err));
    text.name = name;
    text.data = printed;
    struct rt_fs_text current = {.name = "CURRENT", .data = line};
    current.n_bytes = current_line(manifest->generation, rt_hash128(printed, text.n_bytes), line);
    st = rt_fs_replace_both(dir, &text, &current, lock ? check_lock : NULL, lock, err);
    if (st != RT_OK && rt_manifest_is_current(dir, manifest->generation)) {
        struct rt_error why = *err;
        RT_FAIL(st,
                "generation %llu of '%.200s' is published, but a loss of power may take it away: "
                "%.200s",
                (unsigned long long)manifest->generation, dir, why.text);
    }
done:
    rt_array_free(printed);
    return st;
}

/* hash NULL: not known. */
static enum rt_status read_generation(const char *path, uint64_t generation,
                                      const struct rt_hash128 *hash, struct rt_manifest **out,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *text = NULL;
    size_t n_bytes = 0;
    struct rt_manifest *manifest = NULL;
    RT_TRY(rt_fs_read_small(path, MOST_MANIFEST_BYTES, &text, &n_bytes, err));
    struct rt_hash128 found = rt_hash128(text, n_bytes);
    if (hash && (found.low != hash->low || found.high != hash->high))
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it does not match its hash in CURRENT", path);
    RT_TRY(rt_manifest_parse(path, text, n_bytes, &manifest, err));
    if (manifest->generation != generation)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it is generation %llu", path,
                (unsigned long long)manifest->generation);
    *out = manifest;
    manifest = NULL;
done:
    rt_manifest_free(manifest);
    rt_array_free(text);
    return st;
}

enum rt_status rt_manifest_read(const char *dir, uint64_t generation, struct rt_manifest **out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    char name[48];
    manifest_name(generation, name);
    RT_TRY(rt_fs_join(dir, name, path, err));
    RT_TRY(read_generation(path, generation, NULL, out, err));
done:
    return st;
}

/* What CURRENT says, in the one way that it is written. */
static enum rt_status read_current(const char *dir, uint64_t *generation, struct rt_hash128 *hash,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    char line[CURRENT_BYTES];
    char *text = NULL;
    size_t n_bytes = 0;
    unsigned long long number = 0;
    char hex[33] = "";
    RT_TRY(rt_fs_join(dir, "CURRENT", path, err));
    RT_TRY(rt_fs_read_small(path, 4096, &text, &n_bytes, err));
    bool is_one = sscanf(text, "manifest-%19llu.json %32[0-9a-f]", &number, hex) == 2 &&
                  rt_hash128_parse(hex, hash) == 0;
    if (!is_one || current_line(number, *hash, line) != n_bytes || memcmp(line, text, n_bytes) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it names no manifest", path);
    *generation = number;
done:
    rt_array_free(text);
    return st;
}

enum rt_status rt_manifest_read_current(const char *dir, struct rt_manifest **out,
                                        struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    char name[48];
    uint64_t generation = 0;
    struct rt_hash128 hash = {0, 0};
    RT_TRY(read_current(dir, &generation, &hash, err));
    manifest_name(generation, name);
    RT_TRY(rt_fs_join(dir, name, path, err));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        RT_FAIL(RT_DAMAGED, "'%s' is missing", path);
    RT_TRY(read_generation(path, generation, &hash, out, err));
done:
    return st;
}

bool rt_manifest_is_current(const char *dir, uint64_t generation)
{
    struct rt_manifest *current = NULL;
    struct rt_error ignored;
    bool is_current = rt_manifest_read_current(dir, &current, &ignored) == RT_OK &&
                      current->generation == generation;
    rt_manifest_free(current);
    return is_current;
}
