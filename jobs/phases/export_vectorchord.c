/* --format vectorchord: the tree as the table that VectorChord's [build.external] reads. OUT.copy
 * holds the nodes for COPY, in the space of the rows: leaves first, 0 and up in their order, then
 * the level above, .., the root last. OUT.sql makes the table, loads it and says how to build. */
#include "jobs/export.h"

#include "core/memory.h"
#include "core/rotation.h"
#include "core/units.h"
#include "jobs/phases/index_search.h"
#include "jobs/phases/tree_nodes.h"
#include "mpi/agree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_DIM 16000u           /* of pgvector's type vector */
#define NUMBER_BYTES ((size_t)20) /* of a value and its comma: -1.17549435e-38, */
#define HEAD_BYTES ((size_t)64)   /* of id, parent, brackets and line end */
#define BUFFER_BYTES ((size_t)1 << 20)

enum { FILE_SQL, FILE_COPY };

struct table {
    const struct rt_tree *tree;
    struct rt_tree_nodes nodes;
    struct rt_rotation *rotation;
    float *vector;
};

static enum rt_status check_call(struct rt_export *e, uint64_t *n_bytes, bool *needs_vectors,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = &e->view->tree.tree;
    uint64_t n_nodes = rt_tree_nodes_most(tree, RT_NODES_ROOTED);
    if (tree->dim > MOST_DIM)
        RT_FAIL(RT_USAGE, "rows of %" PRIu32 " dimensions: pgvector's vectors have at most %u",
                tree->dim, MOST_DIM);
    if (n_nodes > INT32_MAX)
        RT_FAIL(RT_USAGE,
                "%" PRIu64 " centroids: VectorChord's table has integer ids, at most 2147483647",
                n_nodes);
    for (const char *c = e->out[FILE_COPY]; *c; c++)
        if ((unsigned char)*c < ' ')
            RT_FAIL(RT_USAGE, "OUT has a character in its name that psql's \\copy cannot be told");
    *n_bytes = n_nodes * (HEAD_BYTES + NUMBER_BYTES * tree->dim);
    *needs_vectors = false;
done:
    return st;
}

/* ---- nodes ---- */

static void table_free(struct table *t)
{
    rt_tree_nodes_free(&t->nodes);
    rt_rotation_free(t->rotation);
    rt_array_free(t->vector);
}

static enum rt_status table_new(const struct rt_tree *tree, struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *t = (struct table){.tree = tree};
    RT_TRY(rt_tree_nodes_new(tree, RT_NODES_ROOTED, &t->nodes, err));
    RT_TRY(rt_rotation_new(tree->rotation_seed, tree->dim, &t->rotation, err));
    RT_TRY(rt_array_new(tree->dim, sizeof *t->vector, &t->vector, err));
done:
    return st;
}

struct node { /* vector is lent, in the space of the rows */
    uint64_t id;
    int64_t parent; /* -1: the root */
    const float *vector;
};
typedef enum rt_status (*visit_function)(void *context, const struct node *node,
                                         struct rt_error *err);

static enum rt_status visit_nodes(struct table *t, visit_function visit, void *context,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct node node = {.id = 0, .vector = t->vector};
    for (; node.id < t->nodes.n; node.id++) {
        rt_tree_nodes_take(&t->nodes, node.id, t->vector, &node.parent);
        rt_rotation_invert(t->rotation, t->vector, 1);
        RT_TRY(visit(context, &node, err));
    }
done:
    return st;
}

/* ---- OUT.copy ---- */

struct output {
    struct rt_export *e;
    uint32_t dim;
    int fd;
    const char *path;
    char *text; /* BUFFER_BYTES and a line */
    size_t n, line_bytes;
    uint64_t offset;
};

static enum rt_status flush(struct output *o, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_fs_write_at(o->fd, o->path, o->text, o->n, o->offset, err));
    rt_progress_add(o->e->context.progress, RT_COUNT_BYTES_WRITTEN, o->n);
    o->offset += o->n;
    o->n = 0;
    RT_TRY(rt_phase_check(&o->e->context, err));
done:
    return st;
}

static void print(struct output *o, const char *format, ...) RT_PRINTF(2, 3);
static void print(struct output *o, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(o->text + o->n, BUFFER_BYTES + o->line_bytes - o->n, format, arguments);
    va_end(arguments);
    o->n += n > 0 ? (size_t)n : 0;
}

/* How a line begins: id and parent; the root has none. */
static void print_head(const struct node *node, char head[HEAD_BYTES])
{
    if (node->parent < 0)
        (void)snprintf(head, HEAD_BYTES, "%" PRIu64 "\t\\N\t", node->id);
    else
        (void)snprintf(head, HEAD_BYTES, "%" PRIu64 "\t%" PRId64 "\t", node->id, node->parent);
}

/* Nine digits give an f32 back exactly. */
static enum rt_status write_node(void *context, const struct node *node, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct output *o = context;
    char head[HEAD_BYTES];
    print_head(node, head);
    print(o, "%s", head);
    for (uint32_t i = 0; i < o->dim; i++)
        print(o, "%c%.9g", i ? ',' : '[', (double)node->vector[i]);
    print(o, "]\n");
    rt_progress_add(o->e->context.progress, RT_COUNT_DONE, 1);
    if (o->n >= BUFFER_BYTES)
        RT_TRY(flush(o, err));
done:
    return st;
}

/* ---- OUT.sql ---- */

/* A name inside quotes, for \copy: quotes are doubled. */
static void print_name(struct output *o, const char *path)
{
    const char *slash = strrchr(path, '/');
    for (const char *c = slash ? slash + 1 : path; *c; c++)
        print(o, *c == '\'' ? "''" : "%c", *c);
}

static enum rt_status print_sql(struct output *o, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = o->e->view->manifest;
    uint32_t probes[RT_MAX_LEVELS];
    char digest[33];
    rt_hash128_hex(m->digest, digest);
    RT_TRY(rt_index_probes(o->e->view, NULL, 0, probes, err));
    print(o, "-- Centroids of a ranktape index, digest %s, for VectorChord's [build.external].\n",
          digest);
    print(o, "-- In this directory: psql -v ON_ERROR_STOP=1 -f FILE.sql\n");
    print(
        o,
        "CREATE TABLE rt_centroids (id integer PRIMARY KEY, parent integer, vector vector(%" PRIu32
        "));\n\\copy rt_centroids FROM '",
        m->dim);
    print_name(o, o->e->out[FILE_COPY]);
    print(o,
          "'\n\n-- Then the index, on your own table and column (halfvec_%s_ops for a halfvec):\n",
          rt_metric_name(m->metric));
    print(o,
          "-- CREATE INDEX ON items USING vchordrq (embedding vector_%s_ops) WITH (options = $$\n",
          rt_metric_name(m->metric));
    print(o, "-- residual_quantization = %s\n", m->residual ? "true" : "false");
    print(o, "-- [build.external]\n-- table = 'public.rt_centroids'\n-- $$);\n");
    print(o, "-- SET vchordrq.probes = '");
    for (uint32_t l = 0; l < m->n_levels; l++)
        print(o, "%s%" PRIu32, l ? "," : "", probes[l]);
    print(o, "';\n");
done:
    return st;
}

/* ---- writing ---- */

static enum rt_status output_begin(struct rt_export *e, uint32_t file, struct output *o,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t dim = e->view->manifest->dim;
    *o = (struct output){.e = e,
                         .dim = dim,
                         .fd = -1,
                         .path = e->partial[file],
                         .line_bytes = (size_t)2 * RT_PATH_MAX + HEAD_BYTES + NUMBER_BYTES * dim};
    RT_TRY(rt_array_new(BUFFER_BYTES + o->line_bytes, 1, &o->text, err));
    RT_TRY(rt_fs_open(o->path, O_WRONLY | O_CREAT | O_TRUNC, &o->fd, err));
done:
    return st;
}

static enum rt_status output_end(struct output *o, enum rt_status st, struct rt_error *err)
{
    RT_LOCAL(flush(o, err));
    RT_LOCAL(rt_fs_sync(o->fd, o->path, err));
    if (o->fd >= 0)
        (void)close(o->fd);
    rt_array_free(o->text);
    return st;
}

static enum rt_status write_copy(struct rt_export *e, struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct output o;
    RT_LOCAL(output_begin(e, FILE_COPY, &o, err));
    RT_LOCAL(visit_nodes(t, write_node, &o, err));
    return output_end(&o, st, err);
}

static enum rt_status write_sql(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct output o;
    RT_LOCAL(output_begin(e, FILE_SQL, &o, err));
    RT_LOCAL(print_sql(&o, err));
    return output_end(&o, st, err);
}

/* Rank 0 alone: a tree is small beside its rows, and text has no offsets to share out. */
static enum rt_status
on_rank_0(struct rt_export *e,
          enum rt_status (*of_copy)(struct rt_export *e, struct table *t, struct rt_error *err),
          enum rt_status (*of_sql)(struct rt_export *e, struct rt_error *err), struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct table t = {.tree = NULL};
    if (e->context.job->rank != 0)
        goto done;
    RT_TRY(table_new(&e->view->tree.tree, &t, err));
    rt_progress_set_total(e->context.progress, t.nodes.n);
    RT_TRY(of_copy(e, &t, err));
    RT_TRY(of_sql(e, err));
done:
    table_free(&t);
    return st;
}

static enum rt_status write_files(struct rt_export *e, struct rt_error *err)
{
    return on_rank_0(e, write_copy, write_sql, err);
}

/* ---- proof ---- */

struct input {
    struct rt_export *e;
    FILE *file;
    char *line; /* getline's */
    size_t room;
    uint32_t dim;
};

/* Parses [v,v,..] and compares bit by bit; false where it is anything else. */
static bool holds_vector(const char *text, const float *vector, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++) {
        char *end = NULL;
        if (*text++ != (i ? ',' : '['))
            return false;
        float value = strtof(text, &end);
        if (end == text || memcmp((const void *)&value, (const void *)&vector[i], 4) != 0)
            return false;
        text = end;
    }
    return strcmp(text, "]\n") == 0;
}

static enum rt_status read_node(void *context, const struct node *node, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct input *in = context;
    char head[HEAD_BYTES];
    print_head(node, head);
    size_t n = strlen(head);
    if (getline(&in->line, &in->room, in->file) < 0 || strncmp(in->line, head, n) != 0 ||
        !holds_vector(in->line + n, node->vector, in->dim))
        RT_FAIL(RT_IO, "'%s': what was read back is not what was written, at node %" PRIu64,
                in->e->partial[FILE_COPY], node->id);
    rt_progress_add(in->e->context.progress, RT_COUNT_DONE, 1);
    RT_TRY(rt_phase_check(&in->e->context, err));
done:
    return st;
}

static enum rt_status prove_copy(struct rt_export *e, struct table *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *path = e->partial[FILE_COPY];
    struct input in = {.e = e, .dim = t->tree->dim, .file = fopen(path, "re")};
    if (!in.file)
        RT_FAIL(RT_IO, "cannot open '%s' again", path);
    RT_TRY(visit_nodes(t, read_node, &in, err));
    if (fgetc(in.file) != EOF)
        RT_FAIL(RT_IO, "'%s' is longer than what was written", path);
done:
    if (in.file)
        (void)fclose(in.file);
    free(in.line);
    return st;
}

static enum rt_status prove_sql(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *found = NULL;
    size_t n = 0;
    struct output o = {.e = e, .line_bytes = (size_t)2 * RT_PATH_MAX};
    RT_TRY(rt_array_new(BUFFER_BYTES + o.line_bytes, 1, &o.text, err));
    RT_TRY(print_sql(&o, err));
    RT_TRY(rt_fs_read_small(e->partial[FILE_SQL], BUFFER_BYTES, &found, &n, err));
    if (n != o.n || memcmp(found, o.text, n) != 0)
        RT_FAIL(RT_IO, "'%s': what was read back is not what was written", e->partial[FILE_SQL]);
done:
    rt_array_free(found);
    rt_array_free(o.text);
    return st;
}

static enum rt_status prove_files(struct rt_export *e, struct rt_error *err)
{
    return on_rank_0(e, prove_copy, prove_sql, err);
}

const struct rt_export_format rt_export_vectorchord = {.name = "vectorchord",
                                                       .unit = "centroids",
                                                       .endings = {".sql", ".copy"},
                                                       .check = check_call,
                                                       .write = write_files,
                                                       .prove = prove_files};
