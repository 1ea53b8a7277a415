#define _GNU_SOURCE /* sync_file_range */
#include "io/fs.h"

#include "core/fault.h"
#include "core/memory.h"
#include "io/file_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MOST_AT_ONCE ((size_t)1 << 30) /* a single transfer stays at or below 1 GiB */

enum rt_status rt_fs_join(const char *dir, const char *name, char path[RT_PATH_MAX],
                          struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (strlen(dir) + strlen(name) + 2 > RT_PATH_MAX)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name (at most %d bytes with '%.60s')", dir,
                RT_PATH_MAX - 1, name);
    char *end = stpcpy(path, dir);
    *end = '/';
    strcpy(end + 1, name);
done:
    return st;
}

/* A new file belongs to the group of its directory, as the index does; where that is not allowed it
 * stays ours. */
static void take_group(int fd, const char *path)
{
    char copy[RT_PATH_MAX];
    struct stat file, dir;
    if (strlen(path) >= sizeof copy || fstat(fd, &file) != 0)
        return;
    strcpy(copy, path);
    if (stat(dirname(copy), &dir) == 0 && dir.st_gid != file.st_gid &&
        fchown(fd, (uid_t)-1, dir.st_gid) != 0)
        errno = 0;
}

enum rt_status rt_fs_check_target(const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char copy[RT_PATH_MAX];
    struct stat info;
    if (strlen(path) >= sizeof copy)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", path);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        RT_FAIL(RT_USAGE, "'%s' is a directory, not a file to write", path);
    (void)strcpy(copy, path);
    const char *parent = dirname(copy); /* cuts our copy */
    if (stat(parent, &info) != 0 || !S_ISDIR(info.st_mode))
        RT_FAIL(RT_USAGE, "there is no directory '%s' to write '%s' in", parent, path);
    if (access(parent, W_OK | X_OK) != 0)
        RT_FAIL(RT_IO, "cannot write '%s': %s", path, strerror(errno));
done:
    return st;
}

enum rt_status rt_fs_open(const char *path, int flags, int *fd, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int opened = -1;
    if (RT_FAULT("open"))
        errno = EIO;
    else
        do
            opened = open(path, flags | O_CLOEXEC, 0666);
        while (opened < 0 && errno == EINTR);
    if (opened < 0)
        RT_FAIL(RT_IO, "cannot open '%s': %s", path, strerror(errno));
    if (flags & O_CREAT)
        take_group(opened, path);
    *fd = opened;
done:
    return st;
}

ssize_t rt_fs_write_some(int fd, const void *data, size_t n_bytes, uint64_t offset)
{
    ssize_t written = -1;
    do {
        if (RT_FAULT("write"))
            errno = ENOSPC;
        else
            written =
                pwrite(fd, data, n_bytes < MOST_AT_ONCE ? n_bytes : MOST_AT_ONCE, (off_t)offset);
    } while (written < 0 && errno == EINTR);
    return written;
}

enum rt_status rt_fs_write_at(int fd, const char *path, const void *data, size_t n_bytes,
                              uint64_t offset, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *at = data;
    double began = rt_file_clock_begin();
    if (offset > INT64_MAX || n_bytes > INT64_MAX - offset)
        RT_FAIL(RT_IO, "write to '%s': beyond what a file can hold", path);
    while (n_bytes > 0) {
        ssize_t written = rt_fs_write_some(fd, at, n_bytes, offset);
        if (written <= 0)
            RT_FAIL(RT_IO, "write to '%s': %s", path,
                    written < 0 ? strerror(errno) : "nothing written");
        at += written;
        offset += (uint64_t)written;
        n_bytes -= (size_t)written;
    }
done:
    rt_file_clock_end(began);
    return st;
}

enum rt_status rt_fs_read_at(int fd, const char *path, void *data, size_t n_bytes, uint64_t offset,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *at = data;
    double began = rt_file_clock_begin();
    if (offset > INT64_MAX || n_bytes > INT64_MAX - offset)
        RT_FAIL(RT_DAMAGED, "'%s' is cut short: no byte %llu", path, (unsigned long long)offset);
    while (n_bytes > 0) {
        ssize_t got = -1;
        if (RT_FAULT("read"))
            errno = EIO;
        else
            got = pread(fd, at, n_bytes < MOST_AT_ONCE ? n_bytes : MOST_AT_ONCE, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            RT_FAIL(RT_IO, "read of '%s': %s", path, strerror(errno));
        if (got == 0)
            RT_FAIL(RT_DAMAGED, "'%s' is cut short: it ends at byte %llu, %zu more are wanted",
                    path, (unsigned long long)offset, n_bytes);
        at += got;
        offset += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
done:
    rt_file_clock_end(began);
    return st;
}

enum rt_status rt_fs_sync(int fd, const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int result = -1;
    double began = rt_file_clock_begin();
    if (RT_FAULT("fsync"))
        errno = EIO;
    else
        do
            result = fdatasync(fd);
        while (result != 0 && errno == EINTR);
    if (result != 0)
        RT_FAIL(RT_IO, "sync of '%s': %s", path, strerror(errno));
done:
    rt_file_clock_end(began);
    return st;
}

enum rt_status rt_fs_begin_sync(int fd, const char *path, uint64_t offset, uint64_t n_bytes,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    double began = rt_file_clock_begin();
    int result = sync_file_range(fd, (off_t)offset, (off_t)n_bytes, SYNC_FILE_RANGE_WRITE);
    /* where the file system cannot, the sync to come does all of it */
    if (result != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
        RT_FAIL(RT_IO, "write to '%s': %s", path, strerror(errno));
done:
    rt_file_clock_end(began);
    return st;
}

enum rt_status rt_fs_sync_path(const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    RT_TRY(rt_fs_open(path, O_RDONLY, &fd, err));
    RT_TRY(rt_fs_sync(fd, path, err));
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

enum rt_status rt_fs_sync_dir(const char *dir, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    RT_TRY(rt_fs_open(dir, O_RDONLY | O_DIRECTORY, &fd, err));
    int result = -1;
    if (RT_FAULT("fsync"))
        errno = EIO;
    else
        do
            result = fsync(fd);
        while (result != 0 && errno == EINTR);
    if (result != 0 && errno != EINVAL) /* some file systems know no fsync of a directory */
        RT_FAIL(RT_IO, "sync of '%s': %s", dir, strerror(errno));
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

enum rt_status rt_fs_rename(const char *from, const char *to, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int result = -1;
    if (RT_FAULT("rename"))
        errno = EIO;
    else
        result = rename(from, to);
    if (result != 0)
        RT_FAIL(RT_IO, "cannot rename '%s' to '%s': %s", from, to, strerror(errno));
done:
    return st;
}

enum rt_status rt_fs_remove(const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int result = -1;
    if (RT_FAULT("remove"))
        errno = EIO;
    else
        result = unlink(path);
    if (result != 0 && errno != ENOENT)
        RT_FAIL(RT_IO, "cannot remove '%s': %s", path, strerror(errno));
done:
    return st;
}

static enum rt_status size_of(int fd, const char *path, uint64_t *size, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat info;
    if (fstat(fd, &info) != 0)
        RT_FAIL(RT_IO, "cannot look at '%s': %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        RT_FAIL(RT_IO, "'%s' is no regular file", path);
    *size = (uint64_t)info.st_size;
done:
    return st;
}

enum rt_status rt_fs_size(const char *path, uint64_t *size, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    RT_TRY(rt_fs_open(path, O_RDONLY | O_NONBLOCK, &fd,
                      err)); /* a pipe in its place must not hold us */
    RT_TRY(size_of(fd, path, size, err));
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

enum rt_status rt_fs_free_bytes(const char *path, uint64_t *free_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        RT_FAIL(RT_IO, "cannot look at '%s': %s", path, strerror(errno));
    *free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
done:
    return st;
}

enum rt_status rt_fs_read_small(const char *path, size_t max_bytes, char **text, size_t *n_bytes,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    char *buffer = NULL;
    uint64_t size = 0;
    RT_TRY(rt_fs_open(path, O_RDONLY | O_NONBLOCK, &fd, err));
    RT_TRY(size_of(fd, path, &size, err));
    if (size > max_bytes)
        RT_FAIL(RT_DAMAGED, "'%s' is %llu bytes, at most %zu are expected", path,
                (unsigned long long)size, max_bytes);
    RT_TRY(rt_array_new((size_t)size + 1, 1, &buffer, err));
    RT_TRY(rt_fs_read_at(fd, path, buffer, (size_t)size, 0, err));
    buffer[size] = '\0';
    *text = buffer;
    *n_bytes = (size_t)size;
    buffer = NULL;
done:
    rt_array_free(buffer);
    if (fd >= 0)
        (void)close(fd);
    return st;
}

/* A file on its way to its name. */
struct partial {
    char final[RT_PATH_MAX], name[RT_PATH_MAX];
    int fd; /* -1: not open */
};

static enum rt_status name_partial(const char *dir, const char *name, struct partial *p,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_fs_join(dir, name, p->final, err));
    if (strlen(p->final) + sizeof ".partial" > RT_PATH_MAX)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", p->final);
    strcpy(p->name, p->final);
    strcat(p->name, ".partial");
done:
    return st;
}

/* Into a file of its own: of a job that stood still meanwhile there may be an older one of the
 * same name, which it may still write into. */
static enum rt_status write_partial(const char *dir, const struct rt_fs_text *text,
                                    struct partial *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(name_partial(dir, text->name, p, err));
    RT_TRY(rt_fs_remove(p->name, err));
    RT_TRY(rt_fs_open(p->name, O_WRONLY | O_CREAT | O_EXCL, &p->fd, err));
    RT_TRY(rt_fs_write_at(p->fd, p->name, text->data, text->n_bytes, 0, err));
    RT_TRY(rt_fs_begin_sync(p->fd, p->name, 0, text->n_bytes, err));
done:
    return st;
}

static enum rt_status settle(const char *dir, const struct partial *p, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_fs_rename(p->name, p->final, err));
    RT_TRY(rt_fs_sync_dir(dir, err));
done:
    return st;
}

/* Is this still the name of the file that is open? */
static bool is_name_of(const char *path, int fd)
{
    struct stat named, open;
    return stat(path, &named) == 0 && fstat(fd, &open) == 0 && named.st_ino == open.st_ino &&
           named.st_dev == open.st_dev;
}

static void close_partial(const struct partial *p, enum rt_status st)
{
    if (p->fd < 0)
        return;
    if (st != RT_OK && is_name_of(p->name, p->fd))
        (void)unlink(p->name);
    (void)close(p->fd);
}

enum rt_status
rt_fs_replace_both(const char *dir, const struct rt_fs_text *first, const struct rt_fs_text *second,
                   enum rt_status (*may_go_on)(const void *context, struct rt_error *err),
                   const void *context, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct partial one = {.fd = -1};
    struct partial two = {.fd = -1};
    RT_TRY(write_partial(dir, first, &one, err));
    RT_TRY(write_partial(dir, second, &two, err));
    RT_TRY(rt_fs_sync(one.fd, one.name, err));
    RT_TRY(settle(dir, &one, err));
    RT_TRY(rt_fs_sync(two.fd, two.name, err));
    if (may_go_on)
        RT_TRY(may_go_on(context, err));
    RT_TRY(settle(dir, &two, err));
done:
    close_partial(&one, st);
    close_partial(&two, st);
    return st;
}

enum rt_status rt_fs_replace(const char *dir, const char *name, const void *data, size_t n_bytes,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct partial p = {.fd = -1};
    struct rt_fs_text text = {name, data, n_bytes};
    RT_TRY(write_partial(dir, &text, &p, err));
    RT_TRY(rt_fs_sync(p.fd, p.name, err));
    RT_TRY(settle(dir, &p, err));
done:
    close_partial(&p, st);
    return st;
}

enum rt_status rt_fs_map(const char *path, struct rt_fs_map *map, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    uint64_t size = 0;
    void *data = NULL;
    RT_TRY(rt_fs_open(path, O_RDONLY | O_NONBLOCK, &fd, err));
    RT_TRY(size_of(fd, path, &size, err));
    if (size > SIZE_MAX / 2)
        RT_FAIL(RT_IO, "'%s' is too large for this machine's address space", path);
    if (size > 0) {
        if (RT_FAULT("map")) {
            data = MAP_FAILED;
            errno = ENOMEM;
        } else {
            data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
        }
        if (data == MAP_FAILED)
            RT_FAIL(RT_IO, "cannot map '%s': %s", path, strerror(errno));
    }
    map->data = data;
    map->size = size;
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

void rt_fs_unmap(struct rt_fs_map *map)
{
    if (map->data)
        (void)munmap((void *)(uintptr_t)map->data, (size_t)map->size);
    map->data = NULL;
    map->size = 0;
}
