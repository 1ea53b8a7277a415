#include "io/neighbours.h"

#include "core/memory.h"
#include "io/fs.h"
#include "io/hdf5_matrix.h"
#include "io/ids.h"
#include "io/row_format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH_BYTES ((size_t)1 << 20)

enum rt_status rt_neighbours_new(uint64_t n_queries, uint32_t k, bool with_distances,
                                 struct rt_neighbours *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_neighbours n = {n_queries, k, NULL, NULL};
    uint64_t count = 0;
    if (!rt_mul_u64(n_queries, k, &count) || count > SIZE_MAX / 8)
        RT_FAIL(RT_INPUT, "%s queries with %s neighbours each are more than memory can hold",
                RT_GROUPED(n_queries), RT_GROUPED(k));
    RT_TRY(rt_array_new((size_t)count, sizeof *n.ids, &n.ids, err));
    if (with_distances)
        RT_TRY(rt_array_new((size_t)count, sizeof *n.distances, &n.distances, err));
    for (size_t i = 0; i < count; i++)
        n.ids[i] = RT_NO_ID;
    for (size_t i = 0; with_distances && i < count; i++)
        n.distances[i] = INFINITY;
    *out = n;
    n = (struct rt_neighbours){0, 0, NULL, NULL};
done:
    rt_neighbours_free(&n);
    return st;
}

void rt_neighbours_free(struct rt_neighbours *neighbours)
{
    rt_array_free(neighbours->ids);
    rt_array_free(neighbours->distances);
    *neighbours = (struct rt_neighbours){0, 0, NULL, NULL};
}

/* ---- reading ---- */

/* Four-byte ids of whole queries at `from`, the first of them query `begin`. */
static enum rt_status widen(const char *path, uint64_t begin, uint32_t k, size_t n_queries,
                            const unsigned char *from, uint64_t *to, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < n_queries * k; i++) {
        uint32_t id = rt_le32(from + 4 * i);
        if (id > INT32_MAX && id != UINT32_MAX)
            RT_FAIL(RT_INPUT,
                    "'%s' query %s: id %" PRId32 " is negative (ids over 2^31-1 need HDF5)", path,
                    RT_GROUPED(begin + i / k), (int32_t)id);
        to[i] = id == UINT32_MAX ? RT_NO_ID : id;
    }
done:
    return st;
}

/* Rows of four-byte ids of a plain or a vecs layout, a block at a time. */
static enum rt_status read_blocks(const struct rt_input_file *file,
                                  const struct rt_row_layout *layout, struct rt_neighbours *n,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *scratch = NULL, *ids = NULL;
    if (n->n_queries == 0) /* then no byte of the file stands behind k */
        return RT_OK;
    const size_t row_bytes = (size_t)n->k * 4;
    const size_t most = row_bytes < SCRATCH_BYTES ? SCRATCH_BYTES / (row_bytes + 4) + 1 : 1;
    const size_t scratch_bytes = most * (row_bytes + 4);
    RT_TRY(rt_array_new(scratch_bytes, 1, &scratch, err));
    RT_TRY(rt_array_new(most, row_bytes, &ids, err));
    for (uint64_t begin = 0; begin < n->n_queries;) {
        size_t m = n->n_queries - begin < most ? (size_t)(n->n_queries - begin) : most;
        if (layout->format == RT_ROW_VECS)
            RT_TRY(rt_rows_vecs_read(file, layout, begin, m, ids, scratch, scratch_bytes, err));
        else
            RT_TRY(rt_input_read(file, ids, m * row_bytes, layout->data_offset + begin * row_bytes,
                                 err));
        RT_TRY(widen(file->path, begin, n->k, m, ids, n->ids + begin * n->k, err));
        begin += m;
    }
done:
    rt_array_free(scratch);
    rt_array_free(ids);
    return st;
}

/* u32 q, u32 k, ids, and perhaps distances: only the size tells. */
static enum rt_status look_at_bin(const struct rt_input_file *file, struct rt_row_layout *layout,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char header[8];
    if (file->size < sizeof header)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes: no truth (queries and neighbours alone take 8)",
                file->path, RT_GROUPED(file->size));
    RT_TRY(rt_input_read(file, header, sizeof header, 0, err));
    const uint64_t q = rt_le32(header), k = rt_le32(header + 4), body = file->size - 8;
    const uint64_t count = q * k; /* below 2^64 */
    if (k == 0)
        RT_FAIL(RT_INPUT, "'%s' (%s bytes): its header says %s queries with 0 neighbours each",
                file->path, RT_GROUPED(file->size), RT_GROUPED(q));
    const bool fits_ids = body % 4 == 0 && body / 4 == count;
    const bool fits_knn = body % 8 == 0 && body / 8 == count;
    if (!fits_ids && !fits_knn && body == 4 * q + 8 * k)
        RT_FAIL(RT_INPUT,
                "'%s' has the size of a truth for range search (%s queries, %s hits); "
                "k nearest neighbours are needed",
                file->path, RT_GROUPED(q), RT_GROUPED(k));
    if (!fits_ids && !fits_knn)
        RT_FAIL(RT_INPUT,
                "'%s' is %s bytes, but %s queries x %s neighbours take 8 + 4 each (ids) or 8 + 8 "
                "each (ids and distances): truncated, or no truth",
                file->path, RT_GROUPED(file->size), RT_GROUPED(q), RT_GROUPED(k));
    *layout = (struct rt_row_layout){.n_rows = q,
                                     .data_offset = 8,
                                     .stride_bytes = 4 * k,
                                     .dim = (uint32_t)k,
                                     .format = RT_ROW_BIN};
done:
    return st;
}

static bool ends_in(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && memcmp(name + n - m, ending, m) == 0;
}

static enum rt_status read_flat(const char *path, struct rt_neighbours *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_input_file file = RT_INPUT_CLOSED;
    struct rt_row_layout layout;
    const struct rt_row_request four_bytes = {.type = RT_F32};
    RT_TRY(rt_input_open(path, &file, err));
    if (ends_in(path, ".ivecs"))
        RT_TRY(rt_rows_vecs_header(&file, &four_bytes, &layout, err));
    else
        RT_TRY(look_at_bin(&file, &layout, err));
    RT_TRY(rt_neighbours_new(layout.n_rows, layout.dim, false, n, err));
    RT_TRY(read_blocks(&file, &layout, n, err));
done:
    rt_input_close(&file);
    return st;
}

static enum rt_status check_signed(const char *path, const struct rt_neighbours *n,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < n->n_queries * n->k; i++)
        if (n->ids[i] > INT64_MAX && n->ids[i] != RT_NO_ID)
            RT_FAIL(RT_INPUT, "'%s' query %s: id %" PRId64 " is negative", path,
                    RT_GROUPED(i / n->k), (int64_t)n->ids[i]);
done:
    return st;
}

static enum rt_status read_hdf5(const char *path, const char *dataset, struct rt_neighbours *n,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hdf5_matrix *matrix = NULL;
    RT_TRY(rt_hdf5_matrix_open(path, dataset, false, &matrix, err));
    const struct rt_matrix_info *info = rt_hdf5_matrix_info(matrix);
    if (info->kind != 'i' && info->kind != 'u')
        RT_FAIL(RT_INPUT, "'%s:%s' holds %s; ids are integers", path, dataset, info->text);
    if (info->n_axes != 2 || info->n_columns < 1 || info->n_columns > UINT32_MAX)
        RT_FAIL(RT_INPUT, "'%s:%s' is %s x %s on %u axes; queries x neighbours are needed", path,
                dataset, RT_GROUPED(info->n_rows), RT_GROUPED(info->n_columns), info->n_axes);
    RT_TRY(rt_neighbours_new(info->n_rows, (uint32_t)info->n_columns, false, n, err));
    RT_TRY(rt_hdf5_matrix_read(matrix, 0, (size_t)info->n_rows,
                               info->kind == 'i' ? RT_MATRIX_I64 : RT_MATRIX_U64, n->ids, err));
    if (info->kind == 'i')
        RT_TRY(check_signed(path, n, err));
done:
    rt_hdf5_matrix_close(matrix);
    return st;
}

enum rt_status rt_neighbours_read(const char *name, struct rt_neighbours *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *path = NULL, *dataset = NULL;
    struct rt_neighbours n = {0, 0, NULL, NULL};
    RT_TRY(rt_row_name_split(name, "/neighbors", &path, &dataset, err));
    if (dataset)
        RT_TRY(read_hdf5(path, dataset, &n, err));
    else
        RT_TRY(read_flat(path, &n, err));
    *out = n;
    n = (struct rt_neighbours){0, 0, NULL, NULL};
done:
    rt_neighbours_free(&n);
    free(path);
    free(dataset);
    return st;
}

/* ---- writing ---- */

enum kind { KIND_IVECS, KIND_IBIN, KIND_HDF5 };

static enum rt_status find_kind(const char *name, enum kind *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (ends_in(name, ".ivecs"))
        *out = KIND_IVECS;
    else if (ends_in(name, ".ibin"))
        *out = KIND_IBIN;
    else if ((ends_in(name, ".h5") || ends_in(name, ".hdf5")) && !rt_row_dataset_split(name))
        *out = KIND_HDF5;
    else
        RT_FAIL(RT_USAGE, "'%s': neighbours are written to .ivecs, .ibin, .h5 or .hdf5", name);
done:
    return st;
}

enum rt_status rt_neighbours_check_name(const char *name, uint64_t largest_id, uint64_t n_queries,
                                        uint32_t k, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum kind kind = KIND_HDF5;
    RT_TRY(find_kind(name, &kind, err));
    RT_TRY(rt_fs_check_target(name, err));
    if (kind != KIND_HDF5 && largest_id > INT32_MAX)
        RT_FAIL(RT_USAGE, "'%s' cannot hold id %s (at most 2^31-1); write .h5", name,
                RT_GROUPED(largest_id));
    if (kind == KIND_IBIN && n_queries > UINT32_MAX)
        RT_FAIL(RT_USAGE, "'%s' cannot hold %s queries (at most 2^32-1); write .h5", name,
                RT_GROUPED(n_queries));
    if (kind == KIND_IVECS && k > RT_MAX_DIM)
        RT_FAIL(RT_USAGE, "'%s' cannot hold %s neighbours of a query (at most %s); write .h5", name,
                RT_GROUPED(k), RT_GROUPED(RT_MAX_DIM));
done:
    return st;
}

static unsigned char *put_le32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *at++ = (unsigned char)(value >> 8 * i);
    return at;
}

/* .ivecs and .ibin: four-byte words in file order, k in front of each query of .ivecs. */
static enum rt_status write_words(int fd, const char *path, bool is_ivecs,
                                  const struct rt_neighbours *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *scratch = NULL;
    uint64_t offset = 0;
    RT_TRY(rt_array_new(SCRATCH_BYTES, 1, &scratch, err));
    unsigned char *at = scratch;
    if (!is_ivecs)
        at = put_le32(put_le32(at, (uint32_t)n->n_queries), n->k);
    for (size_t i = 0; i < n->n_queries * n->k; i++) {
        if (SCRATCH_BYTES - (size_t)(at - scratch) < 8) {
            RT_TRY(rt_fs_write_at(fd, path, scratch, (size_t)(at - scratch), offset, err));
            offset += (uint64_t)(at - scratch);
            at = scratch;
        }
        if (is_ivecs && i % n->k == 0)
            at = put_le32(at, n->k);
        at = put_le32(at, (uint32_t)n->ids[i]); /* RT_NO_ID becomes -1 */
    }
    RT_TRY(rt_fs_write_at(fd, path, scratch, (size_t)(at - scratch), offset, err));
done:
    rt_array_free(scratch);
    return st;
}

/* ann-benchmarks has euclidean distances, not their squares. */
static enum rt_status write_distances(int fd, const char *path, const struct rt_neighbours *n,
                                      bool is_squared, uint64_t offset, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double *scratch = NULL;
    const size_t most = SCRATCH_BYTES / sizeof *scratch;
    const size_t count = n->n_queries * n->k;
    RT_TRY(rt_array_new(most, sizeof *scratch, &scratch, err));
    for (size_t begin = 0; begin < count; begin += most) {
        size_t m = count - begin < most ? count - begin : most;
        for (size_t i = 0; i < m; i++) {
            double d = (double)n->distances[begin + i];
            scratch[i] = is_squared ? sqrt(d > 0 ? d : 0) : d;
        }
        RT_TRY(rt_fs_write_at(fd, path, scratch, m * sizeof *scratch,
                              offset + begin * sizeof *scratch, err));
    }
done:
    rt_array_free(scratch);
    return st;
}

static uint64_t largest_id(const struct rt_neighbours *n)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < n->n_queries * n->k; i++)
        if (n->ids[i] != RT_NO_ID && n->ids[i] > largest)
            largest = n->ids[i];
    return largest;
}

static enum rt_status write_hdf5(const char *path, const struct rt_neighbours *n,
                                 enum rt_metric metric, uint32_t dim, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const char *const names[] = {"euclidean", "ip", "angular"}; /* RT_L2 .. RT_COSINE */
    int fd = -1;
    /* RT_NO_ID is -1 as i64, which all readers expect; an id beyond takes u64 */
    enum rt_matrix_type type = largest_id(n) > INT64_MAX ? RT_MATRIX_U64 : RT_MATRIX_I64;
    struct rt_matrix_column columns[] = {
        {"/neighbors", type, 2, n->n_queries, n->k, 0},
        {"/distances", RT_MATRIX_F64, 2, n->n_queries, n->k, 0},
    };
    const struct rt_matrix_attribute attributes[] = {{"dimension", NULL, dim},
                                                     {"distance", names[metric], 0},
                                                     {"point_type", "float", 0},
                                                     {"type", "dense", 0}};
    RT_TRY(rt_hdf5_matrix_create(path, columns, n->distances ? 2 : 1, attributes, 4, err));
    RT_TRY(rt_fs_open(path, O_RDWR, &fd, err));
    RT_TRY(rt_fs_write_at(fd, path, n->ids, (size_t)(n->n_queries * n->k) * 8,
                          columns[0].data_offset, err));
    if (n->distances)
        RT_TRY(write_distances(fd, path, n, metric == RT_L2, columns[1].data_offset, err));
done:
    if (fd >= 0 && close(fd) != 0 && st == RT_OK)
        st = rt_error_set(err, RT_IO, __FILE__, __LINE__, "cannot close '%s': %s", path,
                          strerror(errno));
    return st;
}

static enum rt_status write_flat(const char *path, bool is_ivecs, const struct rt_neighbours *n,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    RT_TRY(rt_fs_open(path, O_RDWR | O_CREAT | O_TRUNC, &fd, err));
    RT_TRY(write_words(fd, path, is_ivecs, n, err));
done:
    if (fd >= 0 && close(fd) != 0 && st == RT_OK)
        st = rt_error_set(err, RT_IO, __FILE__, __LINE__, "cannot close '%s': %s", path,
                          strerror(errno));
    return st;
}

enum rt_status rt_neighbours_write(const char *name, const struct rt_neighbours *neighbours,
                                   enum rt_metric metric, uint32_t dim, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum kind kind = KIND_HDF5;
    char partial[RT_PATH_MAX] = "";
    RT_TRY(rt_neighbours_check_name(name, largest_id(neighbours), neighbours->n_queries,
                                    neighbours->k, err));
    RT_TRY(find_kind(name, &kind, err));
    if (strlen(name) + sizeof ".partial" > sizeof partial)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", name);
    (void)snprintf(partial, sizeof partial, "%s.partial", name);
    if (kind == KIND_HDF5)
        RT_TRY(write_hdf5(partial, neighbours, metric, dim, err));
    else
        RT_TRY(write_flat(partial, kind == KIND_IVECS, neighbours, err));
    RT_TRY(rt_fs_sync_path(partial, err));
    RT_TRY(rt_fs_rename(partial, name, err));
    RT_TRY(rt_fs_sync_dir(dirname(partial), err)); /* dirname cuts our copy */
    partial[0] = 0;
done:
    if (st != RT_OK && partial[0])
        (void)unlink(partial);
    return st;
}
