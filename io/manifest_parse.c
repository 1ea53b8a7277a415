/* A manifest from its text: what is not as docs/format.md says is damage. */
#include "io/manifest.h"

#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

#define MOST_FILES 65536
#define MOST_HEAPS 16777216

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
    qsort(manifest->files, n, sizeof *manifest->files, rt_manifest_order_files);
    for (size_t i = 1; i < n; i++)
        if (rt_manifest_order_files(&manifest->files[i - 1], &manifest->files[i]) == 0) {
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
    if (json_object_get(object, "may_grow"))
        RT_TRY(get_flag(from, object, "may_grow", &heap.may_grow));
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

/* Of the own heap. A reader of rows trusts the places of its blocks. */
static enum rt_status parse_sample(const struct reading *from, const json_t *root,
                                   struct rt_manifest *manifest)
{
    enum rt_status st = RT_OK;
    size_t row_bytes = manifest->dim * rt_element_size(manifest->element);
    uint64_t n_own = 0;
    RT_TRY(get_number(from, root, "own_heaps", manifest->n_heaps, &n_own));
    manifest->n_own_heaps = (size_t)n_own;
    if (!rt_row_sample_parse(json_object_get(root, "sample"), &manifest->sample) ||
        !rt_row_sample_is_sound(&manifest->sample, MOST_NUMBER, row_bytes))
        st = strange(from, "sample");
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
    RT_TRY(parse_sample(&from, root, manifest));
    RT_TRY(take_records(&from, root, manifest));
    *out = manifest;
    manifest = NULL;
done:
    rt_manifest_free(manifest);
    json_decref(root);
    return st;
}
