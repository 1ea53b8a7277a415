#include "io/centroids_file.h"

#include "core/checksum.h"
#include "core/memory.h"
#include "core/metric.h"
#include "io/hdf5_matrix.h"
#include "io/row_format.h"
#include "io/rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)1 << 20)
#define NO_PARENT INT64_C(-1)
#define NONE UINT32_MAX

void rt_centroids_free(struct rt_centroids *centroids)
{
    for (size_t i = 0; i < RT_MAX_LEVELS; i++) {
        rt_array_free(centroids->levels[i].vectors);
        rt_array_free(centroids->levels[i].parent);
    }
    *centroids = (struct rt_centroids){.dim = 0};
}

uint64_t rt_centroids_hash(const struct rt_centroids *centroids)
{
    uint64_t words[2 * RT_MAX_LEVELS + 1] = {centroids->n_levels};
    for (uint32_t l = 0; l < centroids->n_levels; l++) {
        const struct rt_centroids_level *level = &centroids->levels[l];
        words[2 * l + 1] = rt_hash64(level->vectors, sizeof(float) * level->n * centroids->dim);
        words[2 * l + 2] =
            level->parent ? rt_hash64(level->parent, level->n * sizeof(uint32_t)) : 0;
    }
    return rt_hash64(words, sizeof words);
}

static enum rt_status check_dim(const char *path, uint64_t found, uint32_t dim,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (dim != 0 && found != dim)
        RT_FAIL(RT_INPUT, "'%s' has centroids of dimension %s, the rows %u", path,
                RT_GROUPED(found), dim);
done:
    return st;
}

/* A6; what cosine and spherical need is the business of who uses them. */
static enum rt_status check_vector(const char *path, const char *what, int64_t number,
                                   float *vector, uint32_t dim, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum rt_row_verdict verdict = rt_metric_prepare_row(RT_L2, vector, dim);
    if (verdict != RT_ROW_GOOD)
        RT_FAIL(RT_INPUT, "'%s' %s %" PRId64 ": the centroid %s", path, what, number,
                rt_row_verdict_text(verdict));
done:
    return st;
}

/* ---- leaves only: any row file ---- */

static enum rt_status read_leaves(struct rt_rows *rows, const char *name, float *vectors,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(rows);
    const size_t row_bytes = info->dim * rt_element_size(info->type);
    const size_t most = BLOCK_BYTES / row_bytes; /* a row has at most 256 KiB */
    unsigned char *block = NULL;
    RT_TRY(rt_array_new(most, row_bytes, &block, err));
    for (uint64_t begin = 0; begin < info->n_rows;) {
        size_t n = info->n_rows - begin < most ? (size_t)(info->n_rows - begin) : most;
        float *to = vectors + begin * info->dim;
        RT_TRY(rt_rows_read(rows, begin, n, block, err));
        rt_element_to_f32(info->type, block, to, n * info->dim);
        for (size_t i = 0; i < n; i++)
            RT_TRY(check_vector(name, "row", (int64_t)(begin + i), to + i * info->dim, info->dim,
                                err));
        begin += n;
    }
done:
    rt_array_free(block);
    return st;
}

static enum rt_status read_flat(const char *name, uint32_t dim, struct rt_centroids *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *rows = NULL;
    const struct rt_rows_options options = {.type = NULL};
    RT_TRY(rt_rows_open(name, &options, &rows, err));
    const struct rt_rows_info *info = rt_rows_info(rows);
    if (info->n_rows < 1 || info->n_rows > INT32_MAX)
        RT_FAIL(RT_INPUT, "'%s' has %s centroids; 1 to 2^31-1 are possible", name,
                RT_GROUPED(info->n_rows));
    RT_TRY(check_dim(name, info->dim, dim, err));
    out->dim = info->dim;
    out->n_levels = 1;
    out->levels[0].n = (uint32_t)info->n_rows;
    RT_TRY(rt_array_new((size_t)info->n_rows, info->dim * sizeof(float), &out->levels[0].vectors,
                        err));
    RT_TRY(read_leaves(rows, name, out->levels[0].vectors, err));
done:
    rt_rows_close(rows);
    return st;
}

/* ---- a table of nodes ---- */

struct table {
    const char *path;
    uint32_t n;
    struct rt_hdf5_matrix *vectors;
    int64_t *id, *parent; /* as in the file */
    uint32_t *by_id;      /* rows in ascending order of id */
    uint32_t *up;         /* row of the parent; NONE: a root */
    uint32_t *depth;      /* 0: root */
    uint32_t *place;      /* number within its level */
    uint8_t *has_child;
    uint32_t leaf_depth; /* 0: flat */
};

static void free_table(struct table *t)
{
    rt_hdf5_matrix_close(t->vectors);
    rt_array_free(t->id);
    rt_array_free(t->parent);
    rt_array_free(t->by_id);
    rt_array_free(t->up);
    rt_array_free(t->depth);
    rt_array_free(t->place);
    rt_array_free(t->has_child);
}

/* /id or /parent: n integers. */
static enum rt_status read_column(const char *path, const char *name, uint64_t n, int64_t *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hdf5_matrix *matrix = NULL;
    RT_TRY(rt_hdf5_matrix_open(path, name, false, &matrix, err));
    const struct rt_matrix_info *info = rt_hdf5_matrix_info(matrix);
    if (info->kind != 'i' && info->kind != 'u')
        RT_FAIL(RT_INPUT, "'%s:%s' holds %s; i32 or i64 are needed", path, name, info->text);
    if (info->n_columns != 1 || info->n_rows != n)
        RT_FAIL(RT_INPUT, "'%s:%s' is %s x %s, but '/vector' has %s rows", path, name,
                RT_GROUPED(info->n_rows), RT_GROUPED(info->n_columns), RT_GROUPED(n));
    RT_TRY(rt_hdf5_matrix_read(matrix, 0, (size_t)n, RT_MATRIX_I64, out, err));
done:
    rt_hdf5_matrix_close(matrix);
    return st;
}

static enum rt_status read_table(struct table *t, uint32_t dim, struct rt_centroids *out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_hdf5_matrix_open(t->path, "/vector", false, &t->vectors, err));
    const struct rt_matrix_info *info = rt_hdf5_matrix_info(t->vectors);
    if (info->kind != 'f' || info->n_axes != 2)
        RT_FAIL(RT_INPUT, "'%s:/vector' holds %s on %u axes; n x dimension floats are needed",
                t->path, info->text, info->n_axes);
    if (info->n_columns < 1 || info->n_columns > RT_MAX_DIM)
        RT_FAIL(RT_INPUT, "'%s:/vector' has dimension %s, which must be 1 to %s", t->path,
                RT_GROUPED(info->n_columns), RT_GROUPED(RT_MAX_DIM));
    RT_TRY(check_dim(t->path, info->n_columns, dim, err));
    if (info->n_rows < 1 || info->n_rows > INT32_MAX)
        RT_FAIL(RT_INPUT, "'%s' has %s nodes; 1 to 2^31-1 are possible", t->path,
                RT_GROUPED(info->n_rows));
    out->dim = (uint32_t)info->n_columns;
    t->n = (uint32_t)info->n_rows;
    RT_TRY(rt_array_new(t->n, sizeof *t->id, &t->id, err));
    RT_TRY(rt_array_new(t->n, sizeof *t->parent, &t->parent, err));
    RT_TRY(rt_array_new(t->n, sizeof *t->by_id, &t->by_id, err));
    RT_TRY(rt_array_new(t->n, sizeof *t->up, &t->up, err));
    RT_TRY(rt_array_new(t->n, sizeof *t->depth, &t->depth, err));
    RT_TRY(rt_array_new(t->n, sizeof *t->place, &t->place, err));
    RT_TRY(rt_array_zero(t->n, sizeof *t->has_child, &t->has_child, err));
    RT_TRY(read_column(t->path, "/id", t->n, t->id, err));
    RT_TRY(read_column(t->path, "/parent", t->n, t->parent, err));
done:
    return st;
}

struct key {
    int64_t id;
    uint32_t row;
};

static int by_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : (x->row > y->row) - (x->row < y->row);
}

static enum rt_status sort_ids(struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct key *keys = NULL;
    RT_TRY(rt_array_new(t->n, sizeof *keys, &keys, err));
    for (uint32_t i = 0; i < t->n; i++)
        keys[i] = (struct key){t->id[i], i};
    qsort(keys, t->n, sizeof *keys, by_key);
    for (uint32_t i = 0; i < t->n; i++) {
        t->by_id[i] = keys[i].row;
        if (keys[i].id == NO_PARENT)
            RT_FAIL(RT_INPUT, "'%s' row %s: id -1 is no id (as a parent it means none)", t->path,
                    RT_GROUPED(keys[i].row));
        if (i > 0 && keys[i].id == keys[i - 1].id)
            RT_FAIL(RT_INPUT, "'%s': id %" PRId64 " is there twice, in rows %s and %s", t->path,
                    keys[i].id, RT_GROUPED(keys[i - 1].row), RT_GROUPED(keys[i].row));
    }
done:
    rt_array_free(keys);
    return st;
}

/* Row of an id, or NONE. */
static uint32_t find_row(const struct table *t, int64_t id)
{
    uint32_t low = 0, high = t->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->id[t->by_id[middle]] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->n && t->id[t->by_id[low]] == id ? t->by_id[low] : NONE;
}

static enum rt_status find_parents(struct table *t, uint32_t *n_roots, uint32_t roots[2],
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *n_roots = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        t->depth[i] = NONE;
        t->up[i] = NONE;
        if (t->parent[i] == NO_PARENT) {
            t->depth[i] = 0;
            if (*n_roots < 2)
                roots[*n_roots] = i;
            ++*n_roots;
            continue;
        }
        t->up[i] = find_row(t, t->parent[i]);
        if (t->up[i] == NONE)
            RT_FAIL(RT_INPUT, "'%s': parent %" PRId64 " of id %" PRId64 " is not there", t->path,
                    t->parent[i], t->id[i]);
        t->has_child[t->up[i]] = 1;
    }
done:
    return st;
}

/* From each node up to one whose depth is known, then down again. */
static enum rt_status find_depths(struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t steps = 0;
        uint32_t node = i;
        for (; t->depth[node] == NONE; node = t->up[node])
            if (++steps > t->n)
                RT_FAIL(RT_INPUT, "'%s': the parents of id %" PRId64 " form a cycle", t->path,
                        t->id[i]);
        uint32_t depth = t->depth[node] + steps;
        for (node = i; t->depth[node] == NONE; node = t->up[node])
            t->depth[node] = depth--;
    }
done:
    return st;
}

static enum rt_status check_leaves(struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t first = NONE;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->has_child[i])
            continue;
        if (first == NONE)
            first = i;
        if (t->depth[i] != t->depth[first])
            RT_FAIL(RT_INPUT,
                    "'%s': ids %" PRId64 " and %" PRId64 " have no children, but lie %u and %u "
                    "below the root; leaves must lie at one depth (prune empty nodes)",
                    t->path, t->id[first], t->id[i], t->depth[first], t->depth[i]);
    }
    t->leaf_depth = t->depth[first]; /* a tree without a cycle has a leaf */
    if (t->leaf_depth == 0)
        RT_FAIL(RT_INPUT, "'%s' is one row alone; a single list is a root row and one child row",
                t->path);
    if (t->leaf_depth > RT_MAX_LEVELS)
        RT_FAIL(RT_INPUT, "'%s' has %u levels below the root; at most %d are possible", t->path,
                t->leaf_depth, RT_MAX_LEVELS);
done:
    return st;
}

/* Flat (all are roots), or one tree: the rules of VectorChord. */
static enum rt_status check_tree(struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_roots = 0, roots[2] = {0, 0};
    RT_TRY(sort_ids(t, err));
    RT_TRY(find_parents(t, &n_roots, roots, err));
    if (n_roots == t->n && t->n > 1)
        return st;
    if (n_roots == 0)
        RT_FAIL(RT_INPUT, "'%s' has no root (a row whose parent is -1)", t->path);
    if (n_roots > 1)
        RT_FAIL(RT_INPUT,
                "'%s' has two roots, ids %" PRId64 " and %" PRId64
                " (parent -1: either one row, or all in a flat table)",
                t->path, t->id[roots[0]], t->id[roots[1]]);
    RT_TRY(find_depths(t, err));
    RT_TRY(check_leaves(t, err));
done:
    return st;
}

/* Numbers the nodes of one depth by (number of the parent, id): a counting sort over those in order
 * of id. */
static enum rt_status number_level(struct table *t, uint32_t depth, uint32_t n_above,
                                   struct rt_centroids_level *level, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t *next = NULL;
    RT_TRY(rt_array_zero((size_t)n_above + 1, sizeof *next, &next, err));
    for (uint32_t i = 0; i < t->n; i++)
        if (t->depth[i] == depth) {
            level->n++;
            next[t->up[i] == NONE ? 1 : t->place[t->up[i]] + 1]++;
        }
    for (uint32_t i = 0; i < n_above; i++)
        next[i + 1] += next[i];
    if (depth > 1)
        RT_TRY(rt_array_new(level->n, sizeof *level->parent, &level->parent, err));
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t row = t->by_id[i];
        if (t->depth[row] != depth)
            continue;
        uint32_t above = t->up[row] == NONE ? 0 : t->place[t->up[row]];
        t->place[row] = next[above]++;
        if (level->parent)
            level->parent[t->place[row]] = above;
    }
done:
    rt_array_free(next);
    return st;
}

static enum rt_status number_levels(struct table *t, struct rt_centroids *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_above = 1;
    const bool is_flat = t->leaf_depth == 0;
    out->n_levels = is_flat ? 1 : t->leaf_depth;
    for (uint32_t i = 0; !is_flat && i < t->n; i++)
        if (t->depth[i] == 0)
            t->place[i] = 0;
    for (uint32_t l = 0; l < out->n_levels; l++) {
        RT_TRY(number_level(t, is_flat ? 0 : l + 1, n_above, &out->levels[l], err));
        n_above = out->levels[l].n;
        RT_TRY(rt_array_new(n_above, out->dim * sizeof(float), &out->levels[l].vectors, err));
    }
done:
    return st;
}

static enum rt_status read_vectors(struct table *t, struct rt_centroids *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const size_t dim = out->dim;
    const size_t most = BLOCK_BYTES / (dim * sizeof(float));
    float *block = NULL;
    RT_TRY(rt_array_new(most, dim * sizeof *block, &block, err));
    for (uint32_t begin = 0; begin < t->n;) {
        uint32_t n = t->n - begin < most ? t->n - begin : (uint32_t)most;
        RT_TRY(rt_hdf5_matrix_read(t->vectors, begin, n, RT_MATRIX_F32, block, err));
        for (uint32_t i = 0; i < n; i++) {
            uint32_t row = begin + i;
            RT_TRY(check_vector(t->path, "id", t->id[row], block + i * dim, out->dim, err));
            if (t->leaf_depth > 0 && t->depth[row] == 0)
                continue; /* the root */
            uint32_t l = t->leaf_depth > 0 ? t->depth[row] - 1 : 0;
            memcpy(out->levels[l].vectors + t->place[row] * dim, block + i * dim,
                   dim * sizeof *block);
        }
        begin += n;
    }
done:
    rt_array_free(block);
    return st;
}

static enum rt_status read_attributes(struct table *t, struct rt_centroids *out,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[40];
    enum rt_metric metric = RT_L2;
    if (rt_hdf5_matrix_attribute(t->vectors, "space", text, sizeof text) &&
        strcmp(text, "original") != 0)
        RT_FAIL(RT_INPUT, "'%s' has centroids of space '%s'; they must be in the original space",
                t->path, text);
    if (rt_hdf5_matrix_attribute(t->vectors, "metric", text, sizeof text)) {
        if (rt_metric_parse(text, &metric) != 0)
            RT_FAIL(RT_INPUT, "'%s' says its metric is '%s', which is none of l2, ip, cosine",
                    t->path, text);
        out->metric = (int)metric;
    }
    if (rt_hdf5_matrix_attribute(t->vectors, "spherical", text, sizeof text))
        out->spherical = strcmp(text, "0") != 0 && strcmp(text, "off") != 0;
done:
    return st;
}

static enum rt_status read_tree(const char *path, uint32_t dim, struct rt_centroids *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct table table = {.path = path};
    struct rt_input_file file = RT_INPUT_CLOSED;
    RT_TRY(rt_input_open(path, &file, err)); /* says more clearly than HDF5 why it cannot be */
    RT_TRY(read_table(&table, dim, out, err));
    RT_TRY(read_attributes(&table, out, err));
    RT_TRY(check_tree(&table, err));
    RT_TRY(number_levels(&table, out, err));
    RT_TRY(read_vectors(&table, out, err));
done:
    rt_input_close(&file);
    free_table(&table);
    return st;
}

enum rt_status rt_centroids_read(const char *name, uint32_t dim, struct rt_centroids *out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_row_suffix *suffix = rt_row_suffix_find(name);
    const bool is_table =
        suffix && suffix->format == RT_ROW_HDF5 && rt_row_dataset_split(name) == 0;
    struct rt_centroids centroids = {.metric = -1, .spherical = -1};
    if (is_table)
        RT_TRY(read_tree(name, dim, &centroids, err));
    else
        RT_TRY(read_flat(name, dim, &centroids, err));
    *out = centroids;
    centroids = (struct rt_centroids){.dim = 0};
done:
    rt_centroids_free(&centroids);
    return st;
}
