#include "io/row_writer.h"

#include "core/memory.h"
#include "io/fs.h"
#include "io/hdf5_matrix.h"
#include "io/row_format.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH_BYTES ((size_t)1 << 20)
#define PARTIAL ".partial"
#define NPY_START 10 /* magic, version 1.0, u16 length */

/* PATH of 'PATH', or of 'FILE.h5:/dataset', with an ending; what it holds by its name. */
static enum rt_status take_apart(const char *name, const char *ending, char path[RT_PATH_MAX],
                                 const char **dataset, const struct rt_row_suffix **suffix,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const struct rt_row_suffix hdf5 = {".h5", RT_ROW_HDF5, -1};
    size_t split = rt_row_dataset_split(name);
    size_t n = split ? split : strlen(name);
    if (strlen(name) + strlen(ending) >= RT_PATH_MAX)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name (at most %d bytes)", name,
                RT_PATH_MAX - 1 - (int)strlen(ending));
    strcpy(path, name);
    strcpy(path + n, ending);
    *dataset = split ? name + split + 1 : NULL;
    *suffix = split ? &hdf5 : rt_row_suffix_find(name);
    if (!*suffix || ((*suffix)->type < 0 && (*suffix)->format == RT_ROW_BIN))
        RT_FAIL(RT_USAGE, "'%s' has no suffix of rows that can be written (" RT_ROW_SUFFIXES ")",
                name);
done:
    return st;
}

enum rt_status rt_row_target_type(const char *path, const char *type, enum rt_element *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char file[RT_PATH_MAX];
    const char *dataset = NULL;
    const struct rt_row_suffix *suffix = NULL;
    enum rt_element asked = RT_F32;
    RT_TRY(take_apart(path, "", file, &dataset, &suffix, err));
    if (type && rt_element_parse(type, &asked) != 0)
        RT_FAIL(RT_USAGE, "--type '%s' is none of f32, f16, u8, i8", type);
    if (type && suffix->type >= 0 && suffix->type != (int)asked)
        RT_FAIL(RT_USAGE, "'%s' holds %s by its name, --type says %s", path,
                rt_element_name((enum rt_element)suffix->type), type);
    *out = suffix->type >= 0 ? (enum rt_element)suffix->type : asked;
done:
    return st;
}

/* ---- the header ---- */

static void put_le32(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(value >> 8 * i);
}

/* As numpy pads it: the data begins at a multiple of 64. Returns the bytes of the whole header. */
static size_t make_npy_header(const struct rt_row_target *t, unsigned char header[256])
{
    static const unsigned char magic[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    static const char *const descr[] = {"<f4", "<f2", "|u1", "|i1"}; /* RT_F32 .. RT_I8 */
    memset(header, ' ', 256);
    memcpy(header, magic, sizeof magic);
    char text[200];
    int n = snprintf(text, sizeof text,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %u), }",
                     descr[t->type], (unsigned long long)t->n_rows, t->dim);
    size_t whole = (NPY_START + (size_t)n + 1 + 63) / 64 * 64;
    memcpy(header + NPY_START, text, (size_t)n);
    header[whole - 1] = '\n';
    header[8] = (unsigned char)((whole - NPY_START) & 255);
    header[9] = (unsigned char)((whole - NPY_START) >> 8);
    return whole;
}

static enum rt_status create_flat(const char *path, enum rt_row_format format,
                                  struct rt_row_target *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char header[256];
    int fd = -1;
    uint64_t n_bytes = 0;
    if (format == RT_ROW_BIN) {
        put_le32(header, (uint32_t)t->n_rows);
        put_le32(header + 4, t->dim);
        t->data_offset = 8;
    } else if (format == RT_ROW_NPY) {
        t->data_offset = make_npy_header(t, header);
    }
    if (!rt_mul_u64(t->n_rows, t->stride_bytes, &n_bytes) || n_bytes > INT64_MAX - t->data_offset)
        RT_FAIL(RT_USAGE, "%s rows of %s bytes are more than a file holds", RT_GROUPED(t->n_rows),
                RT_GROUPED(t->stride_bytes));
    RT_TRY(rt_fs_open(path, O_RDWR | O_CREAT | O_TRUNC, &fd, err));
    RT_TRY(rt_fs_write_at(fd, path, header, (size_t)t->data_offset, 0, err));
    if (ftruncate(fd, (off_t)(t->data_offset + n_bytes)) != 0)
        RT_FAIL(RT_IO, "cannot make '%s' %s bytes long: %s", path,
                RT_GROUPED(t->data_offset + n_bytes), strerror(errno));
done:
    if (fd >= 0 && close(fd) != 0 && st == RT_OK)
        st = rt_error_set(err, RT_IO, __FILE__, __LINE__, "cannot close '%s': %s", path,
                          strerror(errno));
    return st;
}

static enum rt_status create_hdf5(const char *path, const char *dataset, const char *metric,
                                  struct rt_row_target *t, struct rt_error *err)
{
    static const enum rt_matrix_type types[] = {RT_MATRIX_F32, RT_MATRIX_F16, RT_MATRIX_U8,
                                                RT_MATRIX_I8}; /* RT_F32 .. RT_I8 */
    struct rt_matrix_column column = {.name = dataset,
                                      .type = types[t->type],
                                      .n_axes = 2,
                                      .n_rows = t->n_rows,
                                      .n_columns = t->dim};
    const char *distance = metric && !strcmp(metric, "l2")       ? "euclidean"
                           : metric && !strcmp(metric, "cosine") ? "angular"
                                                                 : metric;
    const struct rt_matrix_attribute attributes[] = {{"dimension", NULL, t->dim},
                                                     {"distance", distance, 0},
                                                     {"point_type", "float", 0},
                                                     {"type", "dense", 0}};
    enum rt_status st = rt_hdf5_matrix_create(path, &column, 1, attributes, metric ? 4 : 0, err);
    t->data_offset = column.data_offset;
    return st;
}

static enum rt_status check_target(const char *name, const struct rt_row_suffix *suffix,
                                   const struct rt_row_target_options *o, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (o->dim < 1 || o->dim > RT_MAX_DIM)
        RT_FAIL(RT_USAGE, "'%s': dimension %u, which must be 1 to %s", name, o->dim,
                RT_GROUPED(RT_MAX_DIM));
    if (suffix->type >= 0 && suffix->type != (int)o->type)
        RT_FAIL(RT_USAGE, "'%s' cannot hold %s: %s is %s", name, rt_element_name(o->type),
                suffix->suffix, rt_element_name((enum rt_element)suffix->type));
    if (suffix->format == RT_ROW_BIN && o->n_rows > UINT32_MAX)
        RT_FAIL(RT_USAGE,
                "'%s': a bin file counts at most %s rows, not %s; write .npy, .h5 or a vecs file",
                name, RT_GROUPED(UINT32_MAX), RT_GROUPED(o->n_rows));
done:
    return st;
}

enum rt_status rt_row_target_create(const char *path, const struct rt_row_target_options *options,
                                    struct rt_row_target *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char file[RT_PATH_MAX];
    const char *dataset = NULL;
    const struct rt_row_suffix *suffix = NULL;
    bool is_ours = false;
    struct rt_row_target t = {
        .n_rows = options->n_rows, .dim = options->dim, .type = (uint32_t)options->type};
    RT_TRY(take_apart(path, PARTIAL, file, &dataset, &suffix, err));
    RT_TRY(check_target(path, suffix, options, err));
    t.has_dimension_prefix = suffix->format == RT_ROW_VECS;
    t.stride_bytes = t.dim * rt_element_size(options->type) + (t.has_dimension_prefix ? 4u : 0u);
    if (!dataset)
        dataset = options->dataset ? options->dataset : "/train";
    is_ours = true;
    if (suffix->format == RT_ROW_HDF5)
        RT_TRY(create_hdf5(file, dataset, options->metric, &t, err));
    else
        RT_TRY(create_flat(file, suffix->format, &t, err));
    *out = t;
done:
    if (st != RT_OK && is_ours)
        (void)unlink(file);
    return st;
}

enum rt_status rt_row_target_publish(const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char from[RT_PATH_MAX], to[RT_PATH_MAX];
    const char *dataset = NULL;
    const struct rt_row_suffix *suffix = NULL;
    RT_TRY(take_apart(path, PARTIAL, from, &dataset, &suffix, err));
    RT_TRY(take_apart(path, "", to, &dataset, &suffix, err));
    RT_TRY(rt_fs_sync_path(from, err)); /* the header, where no writer wrote a row */
    RT_TRY(rt_fs_rename(from, to, err));
    RT_TRY(rt_fs_sync_dir(dirname(from), err));
done:
    return st;
}

void rt_row_target_discard(const char *path)
{
    char file[RT_PATH_MAX];
    const char *dataset = NULL;
    const struct rt_row_suffix *suffix = NULL;
    struct rt_error ignored;
    if (take_apart(path, PARTIAL, file, &dataset, &suffix, &ignored) == RT_OK)
        (void)unlink(file);
}

/* ---- rows ---- */

struct rt_row_writer {
    struct rt_row_target target;
    int fd;
    unsigned char *scratch; /* vecs: records before they are written */
    char path[RT_PATH_MAX];
};

enum rt_status rt_row_writer_open(const char *path, const struct rt_row_target *target,
                                  struct rt_row_writer **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dataset = NULL;
    const struct rt_row_suffix *suffix = NULL;
    struct rt_row_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        RT_FAIL(RT_NOMEM, "out of memory opening '%s'", path);
    writer->fd = -1;
    writer->target = *target;
    RT_TRY(take_apart(path, PARTIAL, writer->path, &dataset, &suffix, err));
    if (target->has_dimension_prefix)
        RT_TRY(rt_array_new(SCRATCH_BYTES, 1, &writer->scratch, err));
    RT_TRY(rt_fs_open(writer->path, O_RDWR, &writer->fd, err));
    *out = writer;
    writer = NULL;
done:
    if (writer) {
        rt_array_free(writer->scratch);
        free(writer);
    }
    return st;
}

static enum rt_status write_records(struct rt_row_writer *w, uint64_t begin, size_t n_rows,
                                    const unsigned char *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const size_t stride = (size_t)w->target.stride_bytes;
    const size_t most = SCRATCH_BYTES / stride;
    while (n_rows > 0) {
        size_t n = n_rows < most ? n_rows : most;
        for (size_t i = 0; i < n; i++, rows += stride - 4) {
            put_le32(w->scratch + i * stride, w->target.dim);
            memcpy(w->scratch + i * stride + 4, rows, stride - 4);
        }
        RT_TRY(rt_fs_write_at(w->fd, w->path, w->scratch, n * stride, begin * stride, err));
        begin += n;
        n_rows -= n;
    }
done:
    return st;
}

enum rt_status rt_row_writer_write(struct rt_row_writer *writer, uint64_t begin, size_t n_rows,
                                   const void *rows, struct rt_error *err)
{
    const struct rt_row_target *t = &writer->target;
    rt_assert(begin <= t->n_rows && n_rows <= t->n_rows - begin);
    if (t->has_dimension_prefix)
        return write_records(writer, begin, n_rows, rows, err);
    return rt_fs_write_at(writer->fd, writer->path, rows, n_rows * (size_t)t->stride_bytes,
                          t->data_offset + begin * t->stride_bytes, err);
}

enum rt_status rt_row_writer_close(struct rt_row_writer *writer, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (!writer)
        return st;
    RT_TRY(rt_fs_sync(writer->fd, writer->path, err));
done:
    if (close(writer->fd) != 0 && st == RT_OK)
        st = rt_error_set(err, RT_IO, __FILE__, __LINE__, "cannot close '%s': %s", writer->path,
                          strerror(errno));
    rt_array_free(writer->scratch);
    free(writer);
    return st;
}
