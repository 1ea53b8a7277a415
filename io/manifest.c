#include "io/manifest.h"

#include "core/memory.h"
#include "core/rotation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_MANIFEST_BYTES ((size_t)1 << 30)
#define MOST_FILES 65536
#define MOST_HEAPS 16777216

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

void rt_manifest_drop_heaps(struct rt_manifest *manifest)
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
    rt_manifest_drop_heaps(manifest);
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

static int by_kind_and_number(const void *a, const void *b)
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
    qsort(manifest->files, manifest->n_files, sizeof *manifest->files, by_kind_and_number);
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

/* ---- to text ---- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value); /* counts and offsets: below 2^63 */
}

static json_t *hash(struct rt_hash128 value)
{
    char hex[33];
    rt_hash128_hex(value, hex);
    return json_string(hex);
}

/* A file's name is bytes, JSON is UTF-8: what is not goes as {"bytes": hex}. */
static json_t *name_to_json(const char *name)
{
    json_t *text = json_string(name);
    if (text)
        return text;
    size_t n = strlen(name);
    char *hex = malloc(2 * n + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < n; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", (unsigned char)name[i]);
    text = json_pack("{s:s}", "bytes", hex);
    free(hex);
    return text;
}

/* The array with one more value, or the object with one more member; both are taken. NULL, and so
 * no manifest at all, where memory ran out. */
static json_t *append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) == 0)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *add(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *file_to_json(const struct rt_manifest_file *file)
{
    char name[64];
    json_t *ranges = json_array();
    for (uint32_t i = 0; i < file->n_ranges; i++)
        ranges = append(ranges, json_pack("[o, o]", number(file->ranges[i].offset),
                                          number(file->ranges[i].bytes)));
    (void)snprintf(name, sizeof name, "%s-%llu.h5", rt_file_kind_name(file->kind),
                   (unsigned long long)file->number);
    json_t *object = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", name, "kind",
                               rt_file_kind_name(file->kind), "number", number(file->number),
                               "size", number(file->size), "rows", number(file->rows), "structure",
                               hash(file->hashes.structure), "checksums", hash(file->hashes.sums),
                               "outside", ranges);
    return file->kind == RT_FILE_APPENDABLE ? add(object, "pair", json_boolean(file->is_pair))
                                            : object;
}

static json_t *heap_to_json(const struct rt_manifest_heap *heap)
{
    json_t *object = json_pack("{s:o}", "path", name_to_json(heap->path));
    if (heap->dataset)
        object = add(object, "dataset", name_to_json(heap->dataset));
    object = add(object, "first_row", number(heap->first_row));
    object = add(object, "rows", number(heap->n_rows));
    object = add(object, "size", number(heap->size_bytes));
    return add(object, "mtime_ns", json_integer((json_int_t)heap->mtime_ns));
}

static json_t *lists_to_json(const struct rt_manifest *manifest, json_t *root)
{
    json_t *levels = json_array();
    json_t *files = json_array();
    json_t *heaps = json_array();
    for (uint32_t l = 0; l < manifest->n_levels; l++)
        levels = append(levels, number(manifest->levels[l]));
    for (size_t i = 0; i < manifest->n_files; i++)
        files = append(files, file_to_json(&manifest->files[i]));
    for (size_t i = 0; i < manifest->n_heaps; i++)
        heaps = append(heaps, heap_to_json(&manifest->heaps[i]));
    root = add(root, "levels", levels);
    root = add(root, "files", files);
    root = add(root, "heaps", heaps);
    if (manifest->options)
        root = add(root, "options", json_incref(manifest->options));
    if (manifest->build)
        root = add(root, "build", json_incref(manifest->build));
    if (manifest->history)
        root = add(root, "history", json_incref(manifest->history));
    return root;
}

static json_t *manifest_to_json(const struct rt_manifest *m)
{
    char seed[24];
    char largest[24];
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)m->rotation_seed);
    (void)snprintf(largest, sizeof largest, "%llu", (unsigned long long)m->largest_id);
    json_t *root = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:b, s:b, s:b, s:s, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o, "
        "s:s, s:o, s:o}",
        "format", RT_FORMAT_NAME, "version", number(m->version), "generation",
        number(m->generation), "fingerprint", hash(m->fingerprint), "tree_hash", hash(m->tree_hash),
        "rows_hash", hash(m->rows_hash), "digest", hash(m->digest), "dimension", number(m->dim),
        "metric", rt_metric_name(m->metric), "element", rt_element_name(m->element), "residual",
        m->residual, "spherical", m->spherical, "rerank_in_heap", m->rerank_in_heap,
        "rotation_seed", seed, "rotation_version", number(m->rotation_version), "beam",
        number(m->beam), "rows", number(m->n_rows), "rows_frozen", number(m->n_rows_frozen),
        "rows_appendable", number(m->n_rows_appendable), "rows_skipped", number(m->n_rows_skipped),
        "tombstones", number(m->n_tombstones), "largest_id", largest, "next_row",
        number(m->next_row), "segments", number(m->n_segments));
    return lists_to_json(m, root);
}

/* json_dumps of jansson 2.14 goes on where memory runs out in the middle of a key: the text is
 * measured first, then written where nothing has to grow. */
enum rt_status rt_manifest_print(const struct rt_manifest *manifest, char **text, size_t *n_bytes,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *out = NULL;
    json_t *root = manifest_to_json(manifest);
    size_t n = root ? json_dumpb(root, NULL, 0, JSON_INDENT(1)) : 0;
    if (n == 0)
        RT_FAIL(RT_NOMEM, "out of memory: the text of a manifest");
    RT_TRY(rt_array_new(n + 2, 1, &out, err));
    if (json_dumpb(root, out, n, JSON_INDENT(1)) != n)
        RT_FAIL(RT_NOMEM, "out of memory: the text of a manifest");
    out[n] = '\n';
    out[n + 1] = '\0';
    *text = out;
    *n_bytes = n + 1;
    out = NULL;
done:
    rt_array_free(out);
    json_decref(root);
    return st;
}

/* ---- from text: what is not as docs/format.md says is damage ---- */

struct reading {
    const char *name; /* of the file */
    struct rt_error *err;
};

static enum rt_status strange(const struct reading *from, const char *key)
{
    (void)rt_error_set(from->err, RT_DAMAGED, __FILE__, __LINE__,
                       "'%s' is damaged: '%.60s' is missing or strange", from->name, key);
    return RT_DAMAGED;
}

static enum rt_status get_number(const struct reading *from, const json_t *object, const char *key,
                                 uint64_t most, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > most)
        return strange(from, key);
    *out = (uint64_t)json_integer_value(value);
    return RT_OK;
}

static enum rt_status get_u32(const struct reading *from, const json_t *object, const char *key,
                              uint32_t most, uint32_t *out)
{
    uint64_t value = 0;
    enum rt_status st = get_number(from, object, key, most, &value);
    if (st == RT_OK)
        *out = (uint32_t)value;
    return st;
}

static enum rt_status get_flag(const struct reading *from, const json_t *object, const char *key,
                               bool *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value))
        return strange(from, key);
    *out = json_is_true(value);
    return RT_OK;
}

static enum rt_status get_text(const struct reading *from, const json_t *object, const char *key,
                               const char **out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return strange(from, key);
    *out = json_string_value(value);
    return RT_OK;
}

static enum rt_status get_hash(const struct reading *from, const json_t *object, const char *key,
                               struct rt_hash128 *out)
{
    const char *text = NULL;
    enum rt_status st = get_text(from, object, key, &text);
    if (st == RT_OK && rt_hash128_parse(text, out) != 0)
        st = strange(from, key);
    return st;
}

/* A number of 64 bits as text, since JSON's end at 2^63. */
static enum rt_status get_wide(const struct reading *from, const json_t *object, const char *key,
                               uint64_t *out)
{
    const char *text = NULL;
    uint64_t value = 0;
    enum rt_status st = get_text(from, object, key, &text);
    if (st != RT_OK)
        return st;
    for (const char *c = text; *c; c++)
        if (*c < '0' || *c > '9' || !rt_mul_u64(value, 10, &value) ||
            !rt_add_u64(value, (uint64_t)(*c - '0'), &value))
            return strange(from, key);
    if (!*text)
        return strange(from, key);
    *out = value;
    return RT_OK;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* The caller frees *out. */
static enum rt_status get_name(const struct reading *from, const json_t *object, const char *key,
                               char **out)
{
    const json_t *value = json_object_get(object, key);
    const char *hex =
        json_is_object(value) ? json_string_value(json_object_get(value, "bytes")) : NULL;
    const char *text = NULL;
    if (!hex) {
        enum rt_status st = get_text(from, object, key, &text);
        if (st != RT_OK)
            return st;
    }
    size_t n = hex ? strlen(hex) : 2 * strlen(text);
    char *name = n % 2 == 0 && n > 0 ? malloc(n / 2 + 1) : NULL;
    if (!name)
        return strange(from, key);
    for (size_t i = 0; i < n / 2; i++) {
        int high = hex ? hex_digit(hex[2 * i]) : 0;
        int low = hex ? hex_digit(hex[2 * i + 1]) : 0;
        unsigned char byte = hex ? (unsigned char)(16 * high + low) : (unsigned char)text[i];
        memcpy(name + i, &byte, 1);
        if (high < 0 || low < 0 || byte == 0) {
            free(name);
            return strange(from, key);
        }
    }
    name[n / 2] = '\0';
    *out = name;
    return RT_OK;
}

#define MOST_NUMBER ((uint64_t)INT64_MAX)

/* Two numbers [a, b] whose sum stays within `most`. */
static enum rt_status get_pair(const struct reading *from, const json_t *value, const char *key,
                               uint64_t most, uint64_t *a, uint64_t *b)
{
    const json_t *first = json_array_get(value, 0);
    const json_t *second = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(second) ||
        json_integer_value(first) < 0 || json_integer_value(second) < 0 ||
        (uint64_t)json_integer_value(first) > most ||
        (uint64_t)json_integer_value(second) > most - (uint64_t)json_integer_value(first))
        return strange(from, key);
    *a = (uint64_t)json_integer_value(first);
    *b = (uint64_t)json_integer_value(second);
    return RT_OK;
}

/* Ascending, apart, inside the file. */
static enum rt_status get_ranges(const struct reading *from, const json_t *object,
                                 struct rt_manifest_file *file)
{
    enum rt_status st = RT_OK;
    const json_t *list = json_object_get(object, "outside");
    uint64_t end = 0;
    if (!json_is_array(list) || json_array_size(list) > sizeof file->ranges / sizeof *file->ranges)
        return strange(from, "outside");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct rt_h5_range *range = &file->ranges[file->n_ranges++];
        RT_TRY(get_pair(from, json_array_get(list, i), "outside", file->size, &range->offset,
                        &range->bytes));
        if (range->offset < end) {
            st = strange(from, "outside");
            goto done;
        }
        end = range->offset + range->bytes;
    }
done:
    return st;
}

static enum rt_status parse_file(const struct reading *from, const json_t *object,
                                 struct rt_manifest_file *file)
{
    enum rt_status st = RT_OK;
    char expected[64];
    const char *kind = NULL;
    const char *name = NULL;
    memset(file, 0, sizeof *file);
    RT_TRY(get_text(from, object, "kind", &kind));
    RT_TRY(get_number(from, object, "number", MOST_NUMBER, &file->number));
    int k = 0;
    while (k < RT_N_FILE_KINDS && strcmp(kind, rt_file_kind_name((enum rt_file_kind)k)) != 0)
        k++;
    if (k == RT_N_FILE_KINDS) {
        st = strange(from, "kind");
        goto done;
    }
    file->kind = (enum rt_file_kind)k;
    RT_TRY(get_text(from, object, "name", &name));
    (void)snprintf(expected, sizeof expected, "%s-%llu.h5", kind, (unsigned long long)file->number);
    if (strcmp(name, expected) != 0) {
        st = strange(from, "name");
        goto done;
    }
    RT_TRY(get_number(from, object, "size", MOST_NUMBER, &file->size));
    RT_TRY(get_number(from, object, "rows", MOST_NUMBER, &file->rows));
    RT_TRY(get_hash(from, object, "structure", &file->hashes.structure));
    RT_TRY(get_hash(from, object, "checksums", &file->hashes.sums));
    RT_TRY(get_ranges(from, object, file));
    if (file->kind == RT_FILE_APPENDABLE)
        RT_TRY(get_flag(from, object, "pair", &file->is_pair));
done:
    return st;
}

static enum rt_status parse_files(const struct reading *from, const json_t *root,
                                  struct rt_manifest *manifest)
{
    enum rt_status st = RT_OK;
    const json_t *list = json_object_get(root, "files");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MOST_FILES)
        return strange(from, "files");
    RT_TRY(rt_array_new(n, sizeof *manifest->files, &manifest->files, from->err));
    for (size_t i = 0; i < n; i++) {
        RT_TRY(parse_file(from, json_array_get(list, i), &manifest->files[i]));
        manifest->n_files++;
    }
    qsort(manifest->files, n, sizeof *manifest->files, by_kind_and_number);
    for (size_t i = 1; i < n; i++)
        if (by_kind_and_number(&manifest->files[i - 1], &manifest->files[i]) == 0) {
            st = strange(from, "files");
            goto done;
        }
done:
    return st;
}

static enum rt_status parse_heap(const struct reading *from, const json_t *object,
                                 struct rt_manifest *manifest)
{
    enum rt_status st = RT_OK;
    struct rt_manifest_heap heap = {.path = NULL};
    const json_t *stamp = json_object_get(object, "mtime_ns");
    RT_TRY(get_name(from, object, "path", &heap.path));
    if (json_object_get(object, "dataset"))
        RT_TRY(get_name(from, object, "dataset", &heap.dataset));
    RT_TRY(get_number(from, object, "first_row", MOST_NUMBER, &heap.first_row));
    RT_TRY(get_number(from, object, "rows", MOST_NUMBER - heap.first_row, &heap.n_rows));
    RT_TRY(get_number(from, object, "size", MOST_NUMBER, &heap.size_bytes));
    if (!json_is_integer(stamp)) {
        st = strange(from, "mtime_ns");
        goto done;
    }
    heap.mtime_ns = json_integer_value(stamp);
    RT_TRY(rt_manifest_add_heap(manifest, &heap, from->err));
done:
    free(heap.path);
    free(heap.dataset);
    return st;
}

static enum rt_status parse_heaps(const struct reading *from, const json_t *root,
                                  struct rt_manifest *manifest)
{
    enum rt_status st = RT_OK;
    const json_t *list = json_object_get(root, "heaps");
    if (!json_is_array(list) || json_array_size(list) > MOST_HEAPS)
        return strange(from, "heaps");
    for (size_t i = 0; i < json_array_size(list); i++)
        RT_TRY(parse_heap(from, json_array_get(list, i), manifest));
done:
    return st;
}

static enum rt_status parse_levels(const struct reading *from, const json_t *root,
                                   struct rt_manifest *manifest)
{
    const json_t *list = json_object_get(root, "levels");
    size_t n = json_array_size(list);
    if (n < 1 || n > RT_MAX_LEVELS)
        return strange(from, "levels");
    for (size_t l = 0; l < n; l++) {
        const json_t *value = json_array_get(list, l);
        if (!json_is_integer(value) || json_integer_value(value) < 1 ||
            json_integer_value(value) >= RT_NO_LIST)
            return strange(from, "levels");
        manifest->levels[l] = (uint32_t)json_integer_value(value);
    }
    manifest->n_levels = (uint32_t)n;
    return RT_OK;
}

static enum rt_status parse_kind_of_index(const struct reading *from, const json_t *root,
                                          struct rt_manifest *m)
{
    enum rt_status st = RT_OK;
    const char *text = NULL;
    RT_TRY(get_u32(from, root, "dimension", RT_MAX_DIM, &m->dim));
    RT_TRY(get_text(from, root, "metric", &text));
    if (m->dim == 0 || rt_metric_parse(text, &m->metric) != 0) {
        st = strange(from, "metric");
        goto done;
    }
    RT_TRY(get_text(from, root, "element", &text));
    if (rt_element_parse(text, &m->element) != 0) {
        st = strange(from, "element");
        goto done;
    }
    RT_TRY(get_flag(from, root, "residual", &m->residual));
    RT_TRY(get_flag(from, root, "spherical", &m->spherical));
    RT_TRY(get_flag(from, root, "rerank_in_heap", &m->rerank_in_heap));
    RT_TRY(get_wide(from, root, "rotation_seed", &m->rotation_seed));
    RT_TRY(get_u32(from, root, "rotation_version", UINT32_MAX, &m->rotation_version));
    RT_TRY(get_u32(from, root, "beam", UINT32_MAX, &m->beam));
    RT_TRY(parse_levels(from, root, m));
done:
    return st;
}

static enum rt_status parse_counts(const struct reading *from, const json_t *root,
                                   struct rt_manifest *m)
{
    enum rt_status st = RT_OK;
    RT_TRY(get_number(from, root, "generation", MOST_NUMBER - 1, &m->generation));
    RT_TRY(get_hash(from, root, "fingerprint", &m->fingerprint));
    RT_TRY(get_hash(from, root, "tree_hash", &m->tree_hash));
    RT_TRY(get_hash(from, root, "rows_hash", &m->rows_hash));
    RT_TRY(get_hash(from, root, "digest", &m->digest));
    RT_TRY(get_number(from, root, "rows", MOST_NUMBER, &m->n_rows));
    RT_TRY(get_number(from, root, "rows_frozen", MOST_NUMBER, &m->n_rows_frozen));
    RT_TRY(get_number(from, root, "rows_appendable", MOST_NUMBER, &m->n_rows_appendable));
    RT_TRY(get_number(from, root, "rows_skipped", MOST_NUMBER, &m->n_rows_skipped));
    RT_TRY(get_number(from, root, "tombstones", MOST_NUMBER, &m->n_tombstones));
    RT_TRY(get_wide(from, root, "largest_id", &m->largest_id));
    RT_TRY(get_number(from, root, "next_row", MOST_NUMBER, &m->next_row));
    RT_TRY(get_u32(from, root, "segments", UINT32_MAX, &m->n_segments));
done:
    return st;
}

/* Parts that only people and jobs read: kept as they are. */
static enum rt_status take_records(const struct reading *from, const json_t *root,
                                   struct rt_manifest *manifest)
{
    json_t *options = json_object_get(root, "options");
    json_t *build = json_object_get(root, "build");
    json_t *history = json_object_get(root, "history");
    if (!json_is_object(options) || !json_is_object(build) || !json_is_array(history))
        return strange(from, "options, build or history");
    json_decref(manifest->options);
    json_decref(manifest->build);
    json_decref(manifest->history);
    manifest->options = json_incref(options);
    manifest->build = json_incref(build);
    manifest->history = json_incref(history);
    return RT_OK;
}

enum rt_status rt_manifest_parse(const char *name, const char *text, size_t n_bytes,
                                 struct rt_manifest **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct reading from = {name, err};
    struct rt_manifest *manifest = NULL;
    const char *format = NULL;
    json_error_t at;
    json_t *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &at);
    if (!root && (!at.text[0] || json_error_code(&at) == json_error_out_of_memory))
        RT_FAIL(RT_NOMEM, "out of memory: '%s' of %zu bytes cannot be read", name, n_bytes);
    if (!json_is_object(root))
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: %s", name, root ? "no JSON object" : at.text);
    RT_TRY(rt_manifest_new(&manifest, err));
    RT_TRY(get_text(&from, root, "format", &format));
    if (strcmp(format, RT_FORMAT_NAME) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is no manifest of a " RT_FORMAT_NAME, name);
    RT_TRY(get_u32(&from, root, "version", UINT32_MAX, &manifest->version));
    if (manifest->version > RT_FORMAT_VERSION)
        RT_FAIL(RT_USAGE, "'%s' has format version %u, this ranktape reads up to %u", name,
                manifest->version, RT_FORMAT_VERSION);
    RT_TRY(parse_counts(&from, root, manifest));
    RT_TRY(parse_kind_of_index(&from, root, manifest));
    RT_TRY(parse_files(&from, root, manifest));
    RT_TRY(parse_heaps(&from, root, manifest));
    RT_TRY(take_records(&from, root, manifest));
    *out = manifest;
    manifest = NULL;
done:
    rt_manifest_free(manifest);
    json_decref(root);
    return st;
}

/* ---- manifest-G.json and CURRENT ---- */

static void manifest_name(uint64_t generation, char name[48])
{
    (void)snprintf(name, 48, "manifest-%llu.json", (unsigned long long)generation);
}

enum rt_status rt_manifest_write(const char *dir, const struct rt_manifest *manifest,
                                 struct rt_hash128 *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *text = NULL;
    size_t n_bytes = 0;
    char name[48];
    manifest_name(manifest->generation, name);
    RT_TRY(rt_manifest_print(manifest, &text, &n_bytes, err));
    RT_TRY(rt_fs_replace(dir, name, text, n_bytes, err));
    *out = rt_hash128(text, n_bytes);
done:
    rt_array_free(text);
    return st;
}

enum rt_status rt_manifest_publish(const char *dir, uint64_t generation, struct rt_hash128 value,
                                   struct rt_error *err)
{
    char name[48];
    char hex[33];
    char line[96];
    manifest_name(generation, name);
    rt_hash128_hex(value, hex);
    int n = snprintf(line, sizeof line, "%s %s\n", name, hex);
    return rt_fs_replace(dir, "CURRENT", line, (size_t)n, err);
}

enum rt_status rt_manifest_read(const char *dir, uint64_t generation, struct rt_manifest **out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    char name[48];
    char *text = NULL;
    size_t n_bytes = 0;
    struct rt_manifest *manifest = NULL;
    manifest_name(generation, name);
    RT_TRY(rt_fs_join(dir, name, path, err));
    RT_TRY(rt_fs_read_small(path, MOST_MANIFEST_BYTES, &text, &n_bytes, err));
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

enum rt_status rt_manifest_read_current(const char *dir, struct rt_manifest **out,
                                        struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    char expected[96];
    char *line = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    unsigned long long generation = 0;
    char hex[33] = "";
    struct rt_hash128 wanted;
    struct rt_manifest *manifest = NULL;
    RT_TRY(rt_fs_join(dir, "CURRENT", path, err));
    RT_TRY(rt_fs_read_small(path, 4096, &line, &n_bytes, err));
    if (sscanf(line, "manifest-%19llu.json %32[0-9a-f]", &generation, hex) != 2 ||
        rt_hash128_parse(hex, &wanted) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it names no manifest", path);
    (void)snprintf(expected, sizeof expected, "manifest-%llu.json %s\n", generation, hex);
    if (strlen(expected) != n_bytes || memcmp(expected, line, n_bytes) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it names no manifest", path);
    expected[strcspn(expected, " ")] = '\0';
    RT_TRY(rt_fs_join(dir, expected, path, err));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        RT_FAIL(RT_DAMAGED, "'%s' is missing", path);
    RT_TRY(rt_fs_read_small(path, MOST_MANIFEST_BYTES, &text, &n_bytes, err));
    struct rt_hash128 found = rt_hash128(text, n_bytes);
    if (found.low != wanted.low || found.high != wanted.high)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it does not match its hash in CURRENT", path);
    RT_TRY(rt_manifest_parse(path, text, n_bytes, &manifest, err));
    if (manifest->generation != generation)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it says it is generation %llu", path,
                (unsigned long long)manifest->generation);
    *out = manifest;
    manifest = NULL;
done:
    rt_manifest_free(manifest);
    rt_array_free(line);
    rt_array_free(text);
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
