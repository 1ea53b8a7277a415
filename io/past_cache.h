/* Large new files are written past the page cache (O_DIRECT), where a disk of this machine holds
 * them: bytes that nobody reads soon cost a copy, and push out of memory the rows that are still to
 * be read. Pieces that are whole pages in memory and in the file go that way; the rest, and all of
 * a file whose system refuses, through the cache, in other pages. No MPI, no HDF5. */
#ifndef RT_IO_PAST_CACHE_H
#define RT_IO_PAST_CACHE_H

#include "core/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_past_cache {
    int fd;                 /* -1: all goes through the cache */
    atomic_bool is_refused; /* by the file system, at the first write */
};

/* For a file of `size` bytes that is there. Files below 256 MiB, and those of file systems other
 * than ext and XFS, get no descriptor: networks' file systems choose for themselves. */
void rt_past_cache_open(struct rt_past_cache *file, const char *path, uint64_t size);
static inline bool rt_past_cache_is_open(const struct rt_past_cache *file)
{
    return file->fd >= 0;
}
/* Writes the first *n_written of n_bytes, 0 where they do not suit; the rest is the caller's to
 * write through the cache. Any thread. Fails with RT_IO. */
enum rt_status rt_past_cache_write(struct rt_past_cache *file, const char *path, const void *data,
                                   size_t n_bytes, uint64_t offset, size_t *n_written,
                                   struct rt_error *err) RT_MUST_CHECK;
/* All n_bytes: these, and the rest through the cache by the file's other descriptor, fd. */
enum rt_status rt_past_cache_write_all(struct rt_past_cache *file, int fd, const char *path,
                                       const void *data, size_t n_bytes, uint64_t offset,
                                       struct rt_error *err) RT_MUST_CHECK;
void rt_past_cache_close(struct rt_past_cache *file);

#endif
