/* --format centroids: what `build --centroids` takes. .npy and .fbin hold the leaves, .h5 the whole
 * tree as a table by columns: /id, /parent (-1: none), /vector. Vectors are in the space of the
 * rows, not rotated. */
#include "jobs/export.h"

#include "core/memory.h"
#include "core/rotation.h"
#include "core/units.h"
#include "io/hdf5_matrix.h"
#include "io/row_format.h"
#include "io/row_writer.h"
#include "io/rows.h"
#include "jobs/phases/tree_nodes.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)1 << 20)
#define SHARE_NODES 64 /* shares of ranks begin at multiples */

enum { COLUMN_ID, COLUMN_PARENT, COLUMN_VECTOR, N_COLUMNS };

/* Nodes in the order of the file: leaves, then the level above, .., the root. */
struct nodes {
    struct rt_export *e;
    const struct rt_tree *tree;
    bool is_table;
    struct rt_tree_nodes of;
    uint64_t n;
    struct rt_rotation *rotation;
    struct rt_range mine;
    size_t block;   /* nodes of the arrays below */
    float *vectors; /* block x dim, original space */
    int64_t *ids, *parents;
    float *found; /* block x dim, of the file */
    int64_t *found_ids;
};

static bool holds_table(const char *name)
{
    const struct rt_row_suffix *suffix = rt_row_suffix_find(name);
    return suffix && suffix->format == RT_ROW_HDF5;
}

static enum rt_nodes_wanted wanted(const char *name)
{
    return holds_table(name) ? RT_NODES_TABLE : RT_NODES_LEAVES;
}

static enum rt_status check_call(struct rt_export *e, uint64_t *n_bytes, bool *needs_vectors,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = &e->view->tree.tree;
    const char *out = e->out[0];
    const struct rt_row_suffix *suffix = rt_row_suffix_find(out);
    bool is_flat = suffix && (suffix->format == RT_ROW_NPY ||
                              (suffix->format == RT_ROW_BIN && suffix->type == (int)RT_F32));
    if (rt_row_dataset_split(out) || (!is_flat && !holds_table(out)))
        RT_FAIL(RT_USAGE,
                "'%s': centroids go to a .npy or .fbin file (leaves), or to .h5 (all levels)", out);
    uint64_t n = rt_tree_nodes_most(tree, wanted(out));
    if (n > INT32_MAX)
        RT_FAIL(RT_USAGE, "%s centroids are more than the 2^31-1 that such a file may hold",
                RT_GROUPED(n));
    *n_bytes = n * (tree->dim * sizeof(float) + 2 * sizeof(int64_t));
    *needs_vectors = false;
done:
    return st;
}

/* ---- nodes ---- */

static enum rt_status nodes_begin(struct rt_export *e, struct nodes *nodes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = e->context.job;
    const struct rt_tree *tree = &e->view->tree.tree;
    *nodes = (struct nodes){.e = e, .tree = tree, .is_table = holds_table(e->out[0])};
    RT_TRY(rt_tree_nodes_new(tree, wanted(e->out[0]), &nodes->of, err));
    nodes->n = nodes->of.n;
    nodes->mine = rt_share(nodes->n, job->rank, job->n_ranks, SHARE_NODES);
    nodes->block = BLOCK_BYTES / (tree->dim * sizeof(float)); /* a row has at most 256 KiB */
    RT_TRY(rt_rotation_new(tree->rotation_seed, tree->dim, &nodes->rotation, err));
    RT_TRY(rt_array_new(nodes->block * tree->dim, sizeof(float), &nodes->vectors, err));
    RT_TRY(rt_array_new(nodes->block * tree->dim, sizeof(float), &nodes->found, err));
    RT_TRY(rt_array_new(nodes->block, sizeof(int64_t), &nodes->ids, err));
    RT_TRY(rt_array_new(nodes->block, sizeof(int64_t), &nodes->parents, err));
    RT_TRY(rt_array_new(nodes->block, sizeof(int64_t), &nodes->found_ids, err));
done:
    return st;
}

static void nodes_end(struct nodes *nodes)
{
    rt_tree_nodes_free(&nodes->of);
    rt_rotation_free(nodes->rotation);
    rt_array_free(nodes->vectors);
    rt_array_free(nodes->found);
    rt_array_free(nodes->ids);
    rt_array_free(nodes->parents);
    rt_array_free(nodes->found_ids);
}

static size_t take_block(const struct nodes *nodes, uint64_t begin)
{
    const uint32_t dim = nodes->tree->dim;
    uint64_t left = nodes->mine.end - begin;
    size_t n = left < nodes->block ? (size_t)left : nodes->block;
    for (size_t i = 0; i < n; i++) {
        nodes->ids[i] = (int64_t)(begin + i);
        rt_tree_nodes_take(&nodes->of, begin + i, nodes->vectors + i * dim, &nodes->parents[i]);
    }
    rt_rotation_invert(nodes->rotation, nodes->vectors, n);
    return n;
}

/* ---- leaves, as rows ---- */

static enum rt_status write_leaves(struct nodes *nodes, const struct rt_row_target *target,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_writer *writer = NULL;
    struct rt_error ignored;
    struct rt_phase_context *context = &nodes->e->context;
    RT_TRY(rt_row_writer_open(nodes->e->partial[0], target, &writer, err));
    for (uint64_t at = nodes->mine.begin; at < nodes->mine.end;) {
        size_t n = take_block(nodes, at);
        RT_TRY(rt_row_writer_write(writer, at, n, nodes->vectors, err));
        rt_progress_add(context->progress, RT_COUNT_DONE, n);
        rt_progress_add(context->progress, RT_COUNT_BYTES_WRITTEN, n * target->stride_bytes);
        RT_TRY(rt_phase_check(context, err));
        at += n;
    }
done:
    if (rt_row_writer_close(writer, st == RT_OK ? err : &ignored) != RT_OK && st == RT_OK)
        st = err->status;
    return st;
}

/* Collective. */
static enum rt_status write_flat(struct nodes *nodes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = nodes->e->context.job;
    const char *path = nodes->e->partial[0];
    struct rt_row_target target = {0};
    struct rt_row_target_options how = {
        .type = RT_F32, .n_rows = nodes->n, .dim = nodes->tree->dim};
    if (job->rank == 0)
        RT_LOCAL(rt_row_target_create(path, &how, &target, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &target, sizeof target, 0);
    RT_LOCAL(write_leaves(nodes, &target, err));
    RT_AGREE(job->comm);
    if (job->rank == 0)
        RT_LOCAL(rt_row_target_publish(path, err));
done:
    if (st != RT_OK && job->rank == 0)
        rt_row_target_discard(path);
    return st;
}

static enum rt_status different(const struct nodes *nodes, uint64_t node, struct rt_error *err)
{
    return rt_error_set(err, RT_IO, __FILE__, __LINE__,
                        "'%s' does not hold what was written: centroid %" PRIu64 " reads otherwise",
                        nodes->e->partial[0], node);
}

static enum rt_status prove_flat(struct nodes *nodes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t dim = nodes->tree->dim;
    struct rt_rows *rows = NULL;
    const struct rt_rows_options how = {.type = NULL};
    RT_TRY(rt_rows_open(nodes->e->partial[0], &how, &rows, err));
    const struct rt_rows_info *info = rt_rows_info(rows);
    if (info->n_rows != nodes->n || info->dim != dim || info->type != RT_F32)
        RT_FAIL(RT_IO, "'%s' holds %s rows x %" PRIu32 ", not the centroids written",
                nodes->e->partial[0], RT_GROUPED(info->n_rows), info->dim);
    for (uint64_t at = nodes->mine.begin; at < nodes->mine.end;) {
        size_t n = take_block(nodes, at);
        RT_TRY(rt_rows_read(rows, at, n, nodes->found, err));
        if (memcmp(nodes->found, nodes->vectors, n * dim * sizeof(float)) != 0)
            RT_TRY(different(nodes, at, err));
        rt_progress_add(nodes->e->context.progress, RT_COUNT_DONE, n);
        RT_TRY(rt_phase_check(&nodes->e->context, err));
        at += n;
    }
done:
    rt_rows_close(rows);
    return st;
}

/* ---- the tree, as a table ---- */

static enum rt_status create_table(const struct nodes *nodes, uint64_t offsets[N_COLUMNS],
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = nodes->tree;
    struct rt_matrix_column columns[N_COLUMNS] = {
        [COLUMN_ID] = {"/id", RT_MATRIX_I64, 1, nodes->n, 1, 0},
        [COLUMN_PARENT] = {"/parent", RT_MATRIX_I64, 1, nodes->n, 1, 0},
        [COLUMN_VECTOR] = {"/vector", RT_MATRIX_F32, 2, nodes->n, tree->dim, 0}};
    const struct rt_matrix_attribute attributes[] = {{"metric", rt_metric_name(tree->metric), 0},
                                                     {"spherical", NULL, tree->spherical},
                                                     {"space", "original", 0}};
    RT_TRY(rt_hdf5_matrix_create(nodes->e->partial[0], columns, N_COLUMNS, attributes, 3, err));
    for (int i = 0; i < N_COLUMNS; i++)
        offsets[i] = columns[i].data_offset;
done:
    return st;
}

static enum rt_status write_nodes(struct nodes *nodes, const uint64_t offsets[N_COLUMNS],
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    const char *path = nodes->e->partial[0];
    const uint64_t vector_bytes = nodes->tree->dim * sizeof(float);
    struct rt_phase_context *context = &nodes->e->context;
    RT_TRY(rt_fs_open(path, O_RDWR, &fd, err));
    for (uint64_t at = nodes->mine.begin; at < nodes->mine.end;) {
        size_t n = take_block(nodes, at);
        RT_TRY(rt_fs_write_at(fd, path, nodes->ids, n * 8, offsets[COLUMN_ID] + at * 8, err));
        RT_TRY(
            rt_fs_write_at(fd, path, nodes->parents, n * 8, offsets[COLUMN_PARENT] + at * 8, err));
        RT_TRY(rt_fs_write_at(fd, path, nodes->vectors, n * (size_t)vector_bytes,
                              offsets[COLUMN_VECTOR] + at * vector_bytes, err));
        rt_progress_add(context->progress, RT_COUNT_DONE, n);
        rt_progress_add(context->progress, RT_COUNT_BYTES_WRITTEN, n * (vector_bytes + 16));
        RT_TRY(rt_phase_check(context, err));
        at += n;
    }
    RT_TRY(rt_fs_sync(fd, path, err));
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

/* Collective. */
static enum rt_status write_table(struct nodes *nodes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = nodes->e->context.job;
    uint64_t offsets[N_COLUMNS] = {0};
    if (job->rank == 0)
        RT_LOCAL(create_table(nodes, offsets, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, offsets, sizeof offsets, 0);
    RT_LOCAL(write_nodes(nodes, offsets, err));
done:
    return st;
}

struct columns {
    struct rt_hdf5_matrix *of[N_COLUMNS];
};

static enum rt_status open_columns(const struct nodes *nodes, struct columns *columns,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const char *const names[N_COLUMNS] = {"/id", "/parent", "/vector"};
    const char *path = nodes->e->partial[0];
    for (int i = 0; i < N_COLUMNS; i++) {
        RT_TRY(rt_hdf5_matrix_open(path, names[i], false, &columns->of[i], err));
        const struct rt_matrix_info *info = rt_hdf5_matrix_info(columns->of[i]);
        if (info->n_rows != nodes->n ||
            info->n_columns != (i == COLUMN_VECTOR ? nodes->tree->dim : 1))
            RT_FAIL(RT_IO, "'%s:%s' is %s x %s, not what was written", path, names[i],
                    RT_GROUPED(info->n_rows), RT_GROUPED(info->n_columns));
    }
done:
    return st;
}

static enum rt_status prove_table(struct nodes *nodes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct columns columns = {{NULL}};
    const size_t vector_bytes = nodes->tree->dim * sizeof(float);
    RT_TRY(open_columns(nodes, &columns, err));
    for (uint64_t at = nodes->mine.begin; at < nodes->mine.end;) {
        size_t n = take_block(nodes, at);
        const int64_t *expected[] = {nodes->ids, nodes->parents};
        for (int i = COLUMN_ID; i <= COLUMN_PARENT; i++) {
            RT_TRY(rt_hdf5_matrix_read(columns.of[i], at, n, RT_MATRIX_I64, nodes->found_ids, err));
            if (memcmp(nodes->found_ids, expected[i], n * sizeof(int64_t)) != 0)
                RT_TRY(different(nodes, at, err));
        }
        RT_TRY(rt_hdf5_matrix_read(columns.of[COLUMN_VECTOR], at, n, RT_MATRIX_F32, nodes->found,
                                   err));
        if (memcmp(nodes->found, nodes->vectors, n * vector_bytes) != 0)
            RT_TRY(different(nodes, at, err));
        rt_progress_add(nodes->e->context.progress, RT_COUNT_DONE, n);
        RT_TRY(rt_phase_check(&nodes->e->context, err));
        at += n;
    }
done:
    for (int i = 0; i < N_COLUMNS; i++)
        rt_hdf5_matrix_close(columns.of[i]);
    return st;
}

static enum rt_status write_file(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct nodes nodes;
    RT_LOCAL(nodes_begin(e, &nodes, err));
    RT_AGREE(e->context.job->comm);
    rt_progress_set_total(e->context.progress, nodes.n);
    RT_TRY(nodes.is_table ? write_table(&nodes, err) : write_flat(&nodes, err));
done:
    nodes_end(&nodes);
    return st;
}

static enum rt_status prove_file(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct nodes nodes;
    RT_TRY(nodes_begin(e, &nodes, err));
    rt_progress_set_total(e->context.progress, nodes.n);
    RT_TRY(nodes.is_table ? prove_table(&nodes, err) : prove_flat(&nodes, err));
done:
    nodes_end(&nodes);
    return st;
}

const struct rt_export_format rt_export_centroids = {.name = "centroids",
                                                     .unit = "centroids",
                                                     .endings = {""},
                                                     .check = check_call,
                                                     .write = write_file,
                                                     .prove = prove_file};
