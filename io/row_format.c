#include "io/row_format.h"

#include "core/units.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct rt_row_suffix suffixes[] = {
    {".fbin", RT_ROW_BIN, RT_F32},   {".u8bin", RT_ROW_BIN, RT_U8},
    {".i8bin", RT_ROW_BIN, RT_I8},   {".f16bin", RT_ROW_BIN, RT_F16},
    {".fvecs", RT_ROW_VECS, RT_F32}, {".bvecs", RT_ROW_VECS, RT_U8},
    {".npy", RT_ROW_NPY, -1},        {".h5", RT_ROW_HDF5, -1},
    {".hdf5", RT_ROW_HDF5, -1},      {".bin", RT_ROW_BIN, -1},
};

/* Where '.crop_nb_N' begins, or NULL. */
static const char *find_crop(const char *path)
{
    static const char mark[] = ".crop_nb_";
    const char *crop = NULL;
    for (const char *at = path; (at = strstr(at, mark)) != NULL; at++)
        crop = at;
    if (!crop)
        return NULL;
    const char *digits = crop + sizeof mark - 1;
    return *digits && strspn(digits, "0123456789") == strlen(digits) ? crop : NULL;
}

const struct rt_row_suffix *rt_row_suffix_find(const char *path)
{
    const char *crop = find_crop(path);
    size_t n = crop ? (size_t)(crop - path) : strlen(path);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t m = strlen(suffixes[i].suffix);
        if (n > m && memcmp(path + n - m, suffixes[i].suffix, m) == 0 && path[n - m - 1] != '/')
            return &suffixes[i];
    }
    return NULL;
}

bool rt_row_suffix_crop(const char *path, uint64_t *n_rows)
{
    const char *crop = find_crop(path);
    return crop && rt_units_parse_count(crop + strlen(".crop_nb_"), n_rows) == 0;
}

size_t rt_row_dataset_split(const char *name)
{
    const char *first = strstr(name, ":/");
    for (const char *at = first; at; at = strstr(at + 1, ":/"))
        if ((at - name > 3 && memcmp(at - 3, ".h5", 3) == 0) ||
            (at - name > 5 && memcmp(at - 5, ".hdf5", 5) == 0))
            return (size_t)(at - name);
    return first ? (size_t)(first - name) : 0; /* an HDF5 file of another name */
}

enum rt_status rt_row_name_split(const char *name, const char *dataset, char **path, char **set,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat s;
    const struct rt_row_suffix *suffix = rt_row_suffix_find(name);
    size_t split = stat(name, &s) == 0 ? 0 : rt_row_dataset_split(name);
    const char *named = split                                     ? name + split + 1
                        : suffix && suffix->format == RT_ROW_HDF5 ? dataset
                                                                  : NULL;
    char *file = strndup(name, split ? split : strlen(name));
    char *copy = named ? strdup(named) : NULL;
    if (!file || (named && !copy))
        RT_FAIL(RT_NOMEM, "out of memory opening '%s'", name);
    *path = file;
    *set = copy;
    file = copy = NULL;
done:
    free(file);
    free(copy);
    return st;
}

enum rt_status rt_row_check_type(const char *path, enum rt_element found, int asked,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (asked >= 0 && (enum rt_element)asked != found)
        RT_FAIL(RT_INPUT, "'%s' holds %s, --type says %s", path, rt_element_name(found),
                rt_element_name((enum rt_element)asked));
done:
    return st;
}
