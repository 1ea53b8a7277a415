/* A manifest as the text of docs/format.md. */
#include "io/manifest.h"

#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

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
    object = add(object, "mtime_ns", json_integer((json_int_t)heap->mtime_ns));
    return heap->may_grow ? add(object, "may_grow", json_true()) : object;
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
    root = add(root, "own_heaps", number(manifest->n_own_heaps));
    root = add(root, "sample", rt_row_sample_print(&manifest->sample));
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
