#define _GNU_SOURCE /* O_DIRECT */
#include "io/past_cache.h"

#include "core/fault.h"
#include "io/file_clock.h"
#include "io/format.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LEAST_FILE ((uint64_t)256 << 20)
#define LEAST_PIECE ((size_t)256 << 10) /* of a call: smaller ones are faster through the cache */

static bool is_on_disk(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 &&
           (system.f_type == EXT4_SUPER_MAGIC || system.f_type == XFS_SUPER_MAGIC);
}

void rt_past_cache_open(struct rt_past_cache *file, const char *path, uint64_t size)
{
    file->fd = -1;
    atomic_init(&file->is_refused, false);
    if (size < LEAST_FILE && !RT_FAULT("past_cache"))
        return;
    file->fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (file->fd >= 0 && !is_on_disk(file->fd))
        rt_past_cache_close(file);
}

/* Bytes at the begin of a piece that may go; none where it lies askew. */
static size_t suitable(const struct rt_past_cache *file, const void *data, size_t n_bytes,
                       uint64_t offset)
{
    size_t least = RT_FAULT("past_cache") ? RT_PAGE_BYTES : LEAST_PIECE;
    if (file->fd < 0 || atomic_load(&file->is_refused) || n_bytes < least ||
        offset % RT_PAGE_BYTES != 0 || (uintptr_t)data % RT_PAGE_BYTES != 0)
        return 0;
    return n_bytes / RT_PAGE_BYTES * RT_PAGE_BYTES;
}

enum rt_status rt_past_cache_write(struct rt_past_cache *file, const char *path, const void *data,
                                   size_t n_bytes, uint64_t offset, size_t *n_written,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double began = rt_file_clock_begin();
    size_t n = suitable(file, data, n_bytes, offset);
    size_t at = 0;
    while (at < n && at % RT_PAGE_BYTES == 0) { /* a torn page is the cache's to finish */
        ssize_t written = rt_fs_write_some(file->fd, (const char *)data + at, n - at, offset + at);
        if (written < 0 && errno == EINVAL) { /* pages of another size, encryption, .. */
            atomic_store(&file->is_refused, true);
            break;
        }
        if (written <= 0)
            RT_FAIL(RT_IO, "write to '%s': %s", path,
                    written < 0 ? strerror(errno) : "nothing written");
        at += (size_t)written;
    }
    *n_written = at;
done:
    rt_file_clock_end(began);
    return st;
}

enum rt_status rt_past_cache_write_all(struct rt_past_cache *file, int fd, const char *path,
                                       const void *data, size_t n_bytes, uint64_t offset,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t at = 0;
    RT_TRY(rt_past_cache_write(file, path, data, n_bytes, offset, &at, err));
    RT_TRY(rt_fs_write_at(fd, path, (const char *)data + at, n_bytes - at, offset + at, err));
done:
    return st;
}

void rt_past_cache_close(struct rt_past_cache *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    file->fd = -1;
}
