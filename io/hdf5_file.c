#include "io/hdf5_file.h"

#include "core/memory.h"
#include "io/past_cache.h"
#ifdef RT_MPIO
#include "io/hdf5_mpio.h"
#endif

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct rt_h5_file {
    int fd; /* in both ways: mpio reads and syncs through it */
    struct rt_past_cache past_cache;
    bool must_abort;
    struct rt_h5_mpio *mpio; /* NULL: direct */
    struct rt_h5_layout layout;
    char path[RT_PATH_MAX];
};

bool rt_h5_has_mpio(void)
{
#ifdef RT_MPIO
    return true;
#else
    return false;
#endif
}

static enum rt_status open_file(const char *path, const struct rt_h5_layout *layout, int flags,
                                struct rt_h5_file **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_file *file = NULL;
    if (strlen(path) >= RT_PATH_MAX)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", path);
    RT_TRY(rt_array_zero(1, sizeof *file, &file, err));
    file->fd = file->past_cache.fd = -1;
    strcpy(file->path, path);
    if (layout)
        file->layout = *layout;
    else
        RT_TRY(rt_h5_read_layout(path, &file->layout, err));
    RT_TRY(rt_fs_open(path, flags, &file->fd, err));
    *out = file;
    file = NULL;
done:
    rt_h5_drop(file);
    return st;
}

enum rt_status rt_h5_open_write(const void *comm, const char *path,
                                const struct rt_h5_layout *layout, enum rt_io_way way,
                                struct rt_h5_file **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_file *file = NULL;
#ifdef RT_MPIO
    struct rt_h5_mpio *mpio = NULL;
    struct rt_error local = {.status = RT_OK};
    if (way == RT_IO_MPIO) { /* collective before anything local can fail; MPI_Comm is an int or a
                                pointer */
        MPI_Comm over;
        memcpy(&over, comm, sizeof over);
        RT_TRY(rt_h5_mpio_open(over, path, layout, &mpio, err));
        if (open_file(path, layout, O_RDWR, &file, &local) != RT_OK) {
            *err = local;
            st = local.status; /* the MPI-IO handle stays open: closing is collective */
            goto done;
        }
        file->mpio = mpio;
        *out = file;
        goto done;
    }
#else
    if (way == RT_IO_MPIO)
        RT_FAIL(RT_USAGE, "this ranktape was built without MPI-IO (--io mpio); use --io direct");
#endif
    (void)comm;
    RT_TRY(open_file(path, layout, O_RDWR, &file, err));
    *out = file;
done:
    return st;
}

void rt_h5_write_past_cache(struct rt_h5_file *file, bool past_cache)
{
    rt_past_cache_close(&file->past_cache);
    if (past_cache && !file->mpio)
        rt_past_cache_open(&file->past_cache, file->path, file->layout.size);
}

enum rt_status rt_h5_open_read(const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_file **out, struct rt_error *err)
{
    return open_file(path, layout, O_RDONLY, out, err);
}

const struct rt_h5_layout *rt_h5_file_layout(const struct rt_h5_file *file)
{
    return &file->layout;
}

const char *rt_h5_file_path(const struct rt_h5_file *file)
{
    return file->path;
}

/* Where rows of a dataset, or of its checksums, lie; asking for others is our own bug. */
static uint64_t offset_of(const struct rt_h5_file *file, uint32_t dataset, bool is_sums,
                          uint64_t first, uint64_t n)
{
    if (dataset >= file->layout.n_datasets)
        rt_die("'%s' has no dataset %u", file->path, dataset);
    const struct rt_h5_dataset *shape = &file->layout.datasets[dataset];
    uint64_t count = is_sums ? rt_h5_n_units(shape) : shape->dims[0];
    if (first > count || n > count - first)
        rt_die("'%s': rows %llu + %llu of '%s', which has %llu", file->path,
               (unsigned long long)first, (unsigned long long)n, shape->name,
               (unsigned long long)count);
    return is_sums ? shape->sums_offset + 8 * first
                   : shape->offset + rt_h5_row_bytes(shape) * first;
}

static enum rt_status write_rows(struct rt_h5_file *file, uint32_t dataset, bool is_sums,
                                 uint64_t first, uint64_t n, const void *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t offset = offset_of(file, dataset, is_sums, first, n);
    uint64_t row_bytes = is_sums ? 8 : rt_h5_row_bytes(&file->layout.datasets[dataset]);
#ifdef RT_MPIO
    if (file->mpio && n > 0) {
        st = rt_h5_mpio_write(file->mpio, dataset, is_sums, first, n, rows, err);
        file->must_abort = file->must_abort || st != RT_OK;
        return st;
    }
#endif
    RT_TRY(rt_past_cache_write_all(&file->past_cache, file->fd, file->path, rows,
                                   (size_t)(n * row_bytes), offset, err));
done:
    return st;
}

enum rt_status rt_h5_write(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                           uint64_t n_rows, const void *rows, struct rt_error *err)
{
    return write_rows(file, dataset, false, first_row, n_rows, rows, err);
}

enum rt_status rt_h5_write_sums(struct rt_h5_file *file, uint32_t dataset, uint64_t first_unit,
                                uint64_t n_units, const uint64_t *sums, struct rt_error *err)
{
    return write_rows(file, dataset, true, first_unit, n_units, sums, err);
}

enum rt_status rt_h5_read(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                          uint64_t n_rows, void *rows, struct rt_error *err)
{
    uint64_t offset = offset_of(file, dataset, false, first_row, n_rows);
    uint64_t row_bytes = rt_h5_row_bytes(&file->layout.datasets[dataset]);
    return rt_fs_read_at(file->fd, file->path, rows, (size_t)(n_rows * row_bytes), offset, err);
}

enum rt_status rt_h5_read_sums(struct rt_h5_file *file, uint32_t dataset, uint64_t first_unit,
                               uint64_t n_units, uint64_t *sums, struct rt_error *err)
{
    return rt_fs_read_at(file->fd, file->path, sums, (size_t)(8 * n_units),
                         offset_of(file, dataset, true, first_unit, n_units), err);
}

enum rt_status rt_h5_begin_sync(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                                uint64_t n_rows, struct rt_error *err)
{
    uint64_t offset = offset_of(file, dataset, false, first_row, n_rows);
    uint64_t row_bytes = rt_h5_row_bytes(&file->layout.datasets[dataset]);
    if (file->mpio || rt_past_cache_is_open(&file->past_cache))
        return RT_OK;
    return rt_fs_begin_sync(file->fd, file->path, offset, n_rows * row_bytes, err);
}

enum rt_status rt_h5_begin_sync_all(struct rt_h5_file *file, struct rt_error *err)
{
    return file->mpio ? RT_OK : rt_fs_begin_sync(file->fd, file->path, 0, file->layout.size, err);
}

enum rt_status rt_h5_sync(struct rt_h5_file *file, struct rt_error *err)
{
    return rt_fs_sync(file->fd, file->path, err);
}

bool rt_h5_must_abort(const struct rt_h5_file *file)
{
    return file->must_abort;
}

enum rt_status rt_h5_close(struct rt_h5_file *file, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (!file)
        return RT_OK;
#ifdef RT_MPIO
    if (file->mpio)
        st = rt_h5_mpio_close(file->mpio, err);
#endif
    rt_past_cache_close(&file->past_cache);
    if (close(file->fd) != 0 && st == RT_OK) /* NFS may tell of a full disk only here */
        st = rt_error_set(err, RT_IO, __FILE__, __LINE__, "cannot close '%s'", file->path);
    rt_array_free(file);
    return st;
}

void rt_h5_drop(struct rt_h5_file *file)
{
    if (!file)
        return;
    rt_past_cache_close(&file->past_cache);
    if (file->fd >= 0)
        (void)close(file->fd);
    rt_array_free(file);
}
