#include "io/heap_vectors.h"

#include "core/find.h"
#include "core/memory.h"
#include "core/units.h"
#include "io/input_file.h"
#include "io/rows.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define FEW_FILES 64u  /* are opened, and so checked, before any work */
#define LEAST_OPEN 16u /* of those that come and go */

struct rt_heap_vectors {
    const struct rt_manifest *manifest;
    const struct rt_texts *moved;
    size_t n_files;
    struct rt_rows **files; /* NULL where closed */
    size_t *comers;         /* round: those of them that come and go, plus 1; 0: none yet */
    size_t next_comer, most_comers;
    pthread_mutex_t reading;
};

/* "N=PATH": the file it is about, and where that lies. */
static enum rt_status read_move(const char *text, size_t n_files, size_t *number, const char **path,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *end = NULL;
    unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end != '=' || n >= n_files)
        RT_FAIL(RT_USAGE, "--heap '%s': expected N=PATH with N from 0 to %zu", text, n_files - 1);
    *number = (size_t)n;
    *path = end + 1;
done:
    return st;
}

/* Path that --heap gives file `number`, or NULL; the last word counts. */
static enum rt_status moved_path(const struct rt_texts *moved, size_t number, size_t n_files,
                                 const char **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *out = NULL;
    for (uint32_t i = 0; i < moved->n; i++) {
        size_t n = 0;
        const char *path = NULL;
        RT_TRY(read_move(moved->text[i], n_files, &n, &path, err));
        if (n == number)
            *out = path;
    }
done:
    return st;
}

/* Of a file that was written to since, behind its rows as was agreed: are they what they were? */
static enum rt_status check_grown(const struct rt_manifest *manifest,
                                  const struct rt_manifest_heap *heap, const char *name,
                                  struct rt_rows *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_sample then = {.n_blocks = 0}; /* of this file, in its own numbers; of the heap's
                                                    last rows there is one */
    struct rt_row_sample now;
    for (size_t i = 0; i < manifest->sample.n_blocks; i++) {
        struct rt_sampled_block block = manifest->sample.blocks[i];
        if (block.begin < heap->first_row || block.end - heap->first_row > heap->n_rows)
            continue;
        block.begin -= heap->first_row;
        block.end -= heap->first_row;
        then.blocks[then.n_blocks++] = block;
    }
    RT_TRY(rt_rows_sample_again(rows, &then, heap->n_rows, &now, err));
    struct rt_row_change change = rt_row_sample_compare(&now, &then);
    if (change.is_found)
        RT_FAIL(RT_INPUT,
                "rows %s to %s of '%s' have changed since they were indexed: --concurrent takes a "
                "heap that grows behind its rows",
                RT_GROUPED(change.begin), RT_GROUPED(change.end - 1), name);
done:
    return st;
}

static enum rt_status check_file(const struct rt_manifest *manifest, size_t number,
                                 const char *name, bool is_moved, struct rt_rows *rows,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest_heap *heap = &manifest->heaps[number];
    const struct rt_rows_info *info = rt_rows_info(rows);
    const struct rt_heap_file *file = &info->files[0];
    if (info->n_rows != heap->n_rows || (heap->n_rows > 0 && info->dim != manifest->dim) ||
        info->type != manifest->element)
        RT_FAIL(RT_INPUT,
                "'%s' is not the heap file that was indexed: %llu rows x %u, expected %llu x %u",
                name, (unsigned long long)info->n_rows, info->dim, (unsigned long long)heap->n_rows,
                manifest->dim);
    bool is_same =
        file->size_bytes == heap->size_bytes && (is_moved || file->mtime_ns == heap->mtime_ns);
    if (!is_same && !heap->may_grow)
        RT_FAIL(RT_INPUT,
                "'%s' has changed since it was indexed; --heap %zu=PATH names an unchanged copy",
                name, number);
    if (!is_same)
        RT_TRY(check_grown(manifest, heap, name, rows, err));
done:
    return st;
}

static enum rt_status open_file(const struct rt_manifest *manifest, size_t number,
                                const struct rt_texts *moved, struct rt_rows **out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *rows = NULL;
    const struct rt_manifest_heap *heap = &manifest->heaps[number];
    const char *path = NULL;
    char name[RT_PATH_MAX];
    RT_TRY(moved_path(moved, number, manifest->n_heaps, &path, err));
    int n =
        snprintf(name, sizeof name, "%s%s%s", path ? path : heap->path,
                 heap->dataset && !path ? ":" : "", heap->dataset && !path ? heap->dataset : "");
    if (n < 0 || (size_t)n >= sizeof name)
        RT_FAIL(RT_USAGE, "the name of heap file %zu is too long", number);
    if (!path && access(heap->path, F_OK) != 0 && errno == ENOENT)
        RT_FAIL(
            RT_INPUT,
            "'%s' is not there, heap file %zu of the index; --heap %zu=PATH names where it lies "
            "now",
            heap->path, number, number);
    struct rt_rows_options options = {.type = rt_element_name(manifest->element),
                                      .dataset = heap->dataset,
                                      .is_growing = heap->may_grow,
                                      .snapshot = &heap->n_rows,
                                      .n_snapshot = heap->may_grow};
    RT_TRY(rt_rows_open(name, &options, &rows, err));
    RT_TRY(check_file(manifest, number, name, path != NULL, rows, err));
    *out = rows;
    rows = NULL;
done:
    rt_rows_close(rows);
    return st;
}

/* Half of what the process may open: mapped index files and sockets want some, too. */
static size_t most_open(void)
{
    struct rlimit limit;
    bool is_known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    rlim_t most = is_known ? limit.rlim_cur / 2 : 1024;
    return most > LEAST_OPEN ? (size_t)most : LEAST_OPEN;
}

static enum rt_status number_files(struct rt_heap_vectors *heap, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = heap->manifest;
    size_t most = most_open();
    const char *ignored = NULL;
    heap->n_files = m->n_heaps;
    heap->most_comers = most < m->n_heaps ? most : m->n_heaps;
    RT_TRY(rt_array_zero(m->n_heaps, sizeof(struct rt_rows *), &heap->files, err));
    RT_TRY(rt_array_zero(heap->most_comers, sizeof *heap->comers, &heap->comers, err));
    RT_TRY(moved_path(heap->moved, 0, heap->n_files, &ignored, err)); /* all of them are N=PATH */
done:
    return st;
}

enum rt_status rt_heap_vectors_open(const struct rt_manifest *manifest,
                                    const struct rt_texts *moved, struct rt_heap_vectors **out,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_heap_vectors *heap = NULL;
    if (!manifest->rerank_in_heap && moved->n)
        RT_FAIL(RT_USAGE, "--heap '%s': this index keeps its vectors itself and reads no heap",
                moved->text[0]);
    if (!manifest->rerank_in_heap) {
        *out = NULL;
        goto done;
    }
    RT_TRY(rt_array_zero(1, sizeof *heap, &heap, err));
    heap->manifest = manifest;
    heap->moved = moved;
    (void)pthread_mutex_init(&heap->reading, NULL);
    RT_TRY(number_files(heap, err));
    for (size_t i = 0; i < heap->n_files; i++)
        if (heap->n_files <= FEW_FILES || manifest->heaps[i].dataset)
            RT_TRY(open_file(manifest, i, moved, &heap->files[i], err));
    *out = heap;
    heap = NULL;
done:
    rt_heap_vectors_close(heap);
    return st;
}

/* A file that is not open yet, or not any more; the one that has been open longest makes room. */
static enum rt_status come(struct rt_heap_vectors *heap, size_t file, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t *comer = &heap->comers[heap->next_comer];
    if (*comer) {
        rt_rows_close(heap->files[*comer - 1]);
        heap->files[*comer - 1] = NULL;
        *comer = 0;
    }
    RT_TRY(open_file(heap->manifest, file, heap->moved, &heap->files[file], err));
    *comer = file + 1;
    heap->next_comer = (heap->next_comer + 1) % heap->most_comers;
done:
    return st;
}

void rt_heap_vectors_close(struct rt_heap_vectors *heap)
{
    if (!heap)
        return;
    for (size_t i = 0; i < heap->n_files; i++)
        rt_rows_close(heap->files[i]);
    rt_array_free(heap->files);
    rt_array_free(heap->comers);
    (void)pthread_mutex_destroy(&heap->reading);
    rt_array_free(heap);
}

enum rt_status rt_heap_vectors_read(struct rt_heap_vectors *heap, uint64_t row, void *vector,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest_heap *files = heap->manifest->heaps;
    size_t file =
        heap->n_files ? rt_find_last(&files->first_row, sizeof *files, heap->n_files, row) : 0;
    if (!heap->n_files || row < files[file].first_row ||
        row - files[file].first_row >= files[file].n_rows) /* they may lie apart */
        RT_FAIL(RT_DAMAGED, "the index names row %llu, which its heap does not have",
                (unsigned long long)row);
    (void)pthread_mutex_lock(&heap->reading);
    if (!heap->files[file])
        st = come(heap, file, err);
    if (st == RT_OK)
        st = rt_rows_read(heap->files[file], row - files[file].first_row, 1, vector, err);
    (void)pthread_mutex_unlock(&heap->reading);
done:
    return st;
}
