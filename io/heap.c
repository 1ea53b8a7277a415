#include "io/heap.h"

#include "core/memory.h"
#include "io/row_format.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_LIST_BYTES (UINT64_C(256) << 20)

/* FILE or FILE.h5:/dataset; a bare HDF5 file gets `dataset`. */
static enum rt_status add(struct rt_heap_names *names, const char *name, const char *dataset,
                          struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_heap_name file = {NULL, NULL};
    RT_TRY(rt_row_name_split(name, dataset, &file.path, &file.dataset, err));
    if ((names->n & (names->n + 1)) == 0) /* 0, 1, 3, 7..: as many again */
        RT_TRY(rt_array_resize(2 * names->n + 1, sizeof *names->names, &names->names, err));
    names->names[names->n++] = file;
    file = (struct rt_heap_name){NULL, NULL};
done:
    free(file.path);
    free(file.dataset);
    return st;
}

/* FOLDER/NAME as an array of its own; an empty folder is left out. */
static enum rt_status join(const char *folder, size_t folder_length, const char *name,
                           size_t name_length, char **out, struct rt_error *err)
{
    char *path = NULL;
    enum rt_status st = rt_array_new(folder_length + name_length + 2, 1, &path, err);
    if (st != RT_OK)
        return st;
    char *at = path;
    if (folder_length > 0) {
        memcpy(at, folder, folder_length);
        at += folder_length;
        if (at[-1] != '/')
            *at++ = '/';
    }
    memcpy(at, name, name_length);
    at[name_length] = 0;
    *out = path;
    return st;
}

/* ---- a directory ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct rt_heap_name *)a)->path, ((const struct rt_heap_name *)b)->path);
}

static bool is_row_name(const char *name, bool has_type, bool *has_bin)
{
    const struct rt_row_suffix *suffix = name[0] == '.' ? NULL : rt_row_suffix_find(name);
    bool is_bin = suffix && suffix->type < 0 && suffix->format == RT_ROW_BIN;
    *has_bin = *has_bin || is_bin;
    return suffix && (!is_bin || has_type);
}

static enum rt_status add_entry(struct rt_heap_names *names, const char *folder, const char *name,
                                const char *dataset, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat s;
    char *path = NULL;
    RT_TRY(join(folder, strlen(folder), name, strlen(name), &path, err));
    if (stat(path, &s) != 0 ||
        !S_ISDIR(s.st_mode)) /* what cannot be examined is told when opened */
        RT_TRY(add(names, path, dataset, err));
done:
    rt_array_free(path);
    return st;
}

static enum rt_status add_directory(struct rt_heap_names *names, const char *name,
                                    const char *dataset, bool has_type, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool has_bin = false;
    struct dirent *entry = NULL;
    DIR *directory = opendir(name);
    if (!directory)
        RT_FAIL(RT_IO, "cannot open directory '%s': %s", name, strerror(errno));
    while (errno = 0, (entry = readdir(directory)) != NULL)
        if (is_row_name(entry->d_name, has_type, &has_bin))
            RT_TRY(add_entry(names, name, entry->d_name, dataset, err));
    if (errno != 0)
        RT_FAIL(RT_IO, "cannot read directory '%s': %s", name, strerror(errno));
    if (names->n == 0)
        RT_FAIL(RT_INPUT, "directory '%s' holds no file with a row suffix (" RT_ROW_SUFFIXES ")%s",
                name, has_bin ? "; its .bin files need --type" : "");
    qsort(names->names, names->n, sizeof *names->names, by_path);
done:
    if (directory)
        (void)closedir(directory);
    return st;
}

/* ---- a list ---- */

static enum rt_status add_line(struct rt_heap_names *names, const char *list, const char *line,
                               size_t length, const char *dataset, struct rt_error *err)
{
    while (length > 0 && strchr(" \t\r", line[length - 1]))
        length--;
    while (length > 0 && strchr(" \t", *line)) {
        line++;
        length--;
    }
    if (length == 0 || *line == '#')
        return RT_OK;
    enum rt_status st = RT_OK;
    char *path = NULL;
    const char *slash = strrchr(list, '/');
    size_t folder = *line == '/' || !slash ? 0 : (size_t)(slash - list) + 1;
    RT_TRY(join(list, folder, line, length, &path, err));
    RT_TRY(add(names, path, dataset, err));
done:
    rt_array_free(path);
    return st;
}

static enum rt_status add_list(struct rt_heap_names *names, const char *list, const char *dataset,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_input_file file = RT_INPUT_CLOSED;
    char *text = NULL;
    RT_TRY(rt_input_open(list, &file, err));
    if (file.size > MOST_LIST_BYTES) /* not to be held in memory before it is looked at */
        RT_FAIL(RT_INPUT,
                "'%s' is %s bytes, too many for a list of files; without @ it is read as rows",
                list, RT_GROUPED(file.size));
    size_t n_bytes = (size_t)file.size;
    RT_TRY(rt_array_new(n_bytes, 1, &text, err));
    RT_TRY(rt_input_read(&file, text, n_bytes, 0, err));
    if (memchr(text, 0, n_bytes))
        RT_FAIL(RT_INPUT,
                "'%s' is no list of files (it holds a zero byte); without @ it is read as "
                "rows",
                list);
    for (size_t at = 0; at < n_bytes;) {
        const char *end = memchr(text + at, '\n', n_bytes - at);
        size_t length = end ? (size_t)(end - (text + at)) : n_bytes - at;
        RT_TRY(add_line(names, list, text + at, length, dataset, err));
        at += length + 1;
    }
    if (names->n == 0)
        RT_FAIL(RT_INPUT, "list '%s' names no file", list);
done:
    rt_array_free(text);
    rt_input_close(&file);
    return st;
}

enum rt_status rt_heap_expand(const char *name, const char *dataset, bool has_type,
                              struct rt_heap_names *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_heap_names names = {0, NULL, false};
    struct stat s;
    if (name[0] == '@') {
        names.is_many = true;
        RT_TRY(add_list(&names, name + 1, dataset, err));
    } else if (stat(name, &s) == 0 && S_ISDIR(s.st_mode)) {
        names.is_many = true;
        RT_TRY(add_directory(&names, name, dataset, has_type, err));
    } else {
        RT_TRY(add(&names, name, dataset, err));
    }
    *out = names;
    names = (struct rt_heap_names){0, NULL, false};
done:
    rt_heap_names_free(&names);
    return st;
}

void rt_heap_names_free(struct rt_heap_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        free(names->names[i].path);
        free(names->names[i].dataset);
    }
    rt_array_free(names->names);
    *names = (struct rt_heap_names){0, NULL, false};
}
