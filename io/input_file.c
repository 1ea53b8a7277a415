#include "io/input_file.h"

#include "io/file_clock.h"

#include "core/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_AT_ONCE ((size_t)1 << 30)

enum rt_status rt_input_open(const char *path, struct rt_input_file *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat s;
    int fd = -1;
    if (RT_FAULT("open"))
        errno = EIO;
    else
        do /* O_NONBLOCK: a pipe that nobody writes must not hang us before we can refuse it */
            fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        while (fd < 0 && errno == EINTR);
    if (fd < 0)
        RT_FAIL(errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP
                    ? RT_INPUT
                    : RT_IO,
                "cannot open '%s': %s", path, strerror(errno));
    if (fstat(fd, &s) != 0)
        RT_FAIL(RT_IO, "cannot examine '%s': %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        RT_FAIL(RT_INPUT, "'%s' is %s, a regular file is needed", path,
                S_ISDIR(s.st_mode) ? "a directory" : "no file (pipe, device or socket)");
    out->path = path;
    out->fd = fd;
    out->size = (uint64_t)s.st_size;
    out->mtime_ns = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
    fd = -1;
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

void rt_input_close(struct rt_input_file *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    file->fd = -1;
}

enum rt_status rt_input_read(const struct rt_input_file *file, void *buffer, size_t n_bytes,
                             uint64_t offset, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *at = buffer;
    double began = rt_file_clock_begin();
    if (offset > INT64_MAX || n_bytes > INT64_MAX - offset)
        RT_FAIL(RT_INPUT, "'%s': byte %s is beyond what a file can hold", file->path,
                RT_GROUPED(offset));
    while (n_bytes > 0) {
        ssize_t got = -1;
        if (RT_FAULT("read"))
            errno = EIO;
        else
            got =
                pread(file->fd, at, n_bytes < MOST_AT_ONCE ? n_bytes : MOST_AT_ONCE, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            RT_FAIL(RT_IO, "cannot read '%s' at byte %s: %s", file->path, RT_GROUPED(offset),
                    strerror(errno));
        if (got == 0)
            RT_FAIL(RT_INPUT, "'%s' shrank while it was read: it had %s bytes, now ends at %s",
                    file->path, RT_GROUPED(file->size), RT_GROUPED(offset));
        at += got;
        offset += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
done:
    rt_file_clock_end(began);
    return st;
}
