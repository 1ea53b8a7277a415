/* What ranktape asks of a file system: whole reads and writes at an offset, syncing, renaming,
 * mapping. Every error becomes one line with the file's name; fault points of test builds sit here.
 * No MPI, no HDF5. */
#ifndef RT_IO_FS_H
#define RT_IO_FS_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RT_PATH_MAX 4096

/* DIR/NAME into path; fails with RT_USAGE where that is too long. */
enum rt_status rt_fs_join(const char *dir, const char *name, char path[RT_PATH_MAX],
                          struct rt_error *err) RT_MUST_CHECK;

/* Before work whose result goes to a file of this name: its directory is there and may be written,
 * and it is none itself. Fails with RT_USAGE, RT_IO. */
enum rt_status rt_fs_check_target(const char *path, struct rt_error *err) RT_MUST_CHECK;

/* open(2) with O_CLOEXEC; a file it makes gets mode 0666 less the umask, and the group of its
 * directory. The caller closes *fd. Fails with RT_IO. */
enum rt_status rt_fs_open(const char *path, int flags, int *fd, struct rt_error *err) RT_MUST_CHECK;
/* All n_bytes or an error, whatever write(2) does; calls of at most 1 GiB. Fail with RT_IO; a read
 * beyond the end of the file fails with RT_DAMAGED (cut short). */
enum rt_status rt_fs_write_at(int fd, const char *path, const void *data, size_t n_bytes,
                              uint64_t offset, struct rt_error *err) RT_MUST_CHECK;
/* One pwrite(2), again after a signal; -1 with errno. */
ssize_t rt_fs_write_some(int fd, const void *data, size_t n_bytes, uint64_t offset);
enum rt_status rt_fs_read_at(int fd, const char *path, void *data, size_t n_bytes, uint64_t offset,
                             struct rt_error *err) RT_MUST_CHECK;
/* fdatasync; fsync of a directory by path. */
enum rt_status rt_fs_sync(int fd, const char *path, struct rt_error *err) RT_MUST_CHECK;
/* The bytes, written before, begin their way to the disk, so that the sync to come finds them
 * there; nothing is durable before that. A hint: where the file system knows no such call it does
 * nothing. Fails with RT_IO where the disk has refused them. */
enum rt_status rt_fs_begin_sync(int fd, const char *path, uint64_t offset, uint64_t n_bytes,
                                struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_fs_sync_path(const char *path, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_fs_sync_dir(const char *dir, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_fs_rename(const char *from, const char *to, struct rt_error *err) RT_MUST_CHECK;
/* Removes a file; one that is not there is fine. */
enum rt_status rt_fs_remove(const char *path, struct rt_error *err) RT_MUST_CHECK;
/* Size of a regular file; RT_IO where it is missing, or no regular file. */
enum rt_status rt_fs_size(const char *path, uint64_t *size, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_fs_free_bytes(const char *path, uint64_t *free_bytes,
                                struct rt_error *err) RT_MUST_CHECK;

/* The whole of a small file, with a NUL behind it. Fails with RT_DAMAGED where it is larger than
 * max_bytes. The caller frees *text with rt_array_free. */
enum rt_status rt_fs_read_small(const char *path, size_t max_bytes, char **text, size_t *n_bytes,
                                struct rt_error *err) RT_MUST_CHECK;
/* DIR/NAME appears with these contents or is left as it was: temporary name, write, fsync, rename,
 * fsync of DIR. */
enum rt_status rt_fs_replace(const char *dir, const char *name, const void *data, size_t n_bytes,
                             struct rt_error *err) RT_MUST_CHECK;

struct rt_fs_text {
    const char *name;
    const void *data;
    size_t n_bytes;
};
/* The same with two, the second of which speaks of the first and of what else has got its name in
 * DIR before: nothing of that is lost where the second is there. Both are on their way to the disk
 * before the first is waited for. may_go_on (NULL: nobody is asked) is asked at the last moment
 * before the second gets its name. */
enum rt_status
rt_fs_replace_both(const char *dir, const struct rt_fs_text *first, const struct rt_fs_text *second,
                   enum rt_status (*may_go_on)(const void *context, struct rt_error *err),
                   const void *context, struct rt_error *err) RT_MUST_CHECK;

/* The whole file mapped read-only (an empty one: size 0, data NULL). The file must not shrink
 * afterwards. */
struct rt_fs_map {
    const unsigned char *data;
    uint64_t size;
};
enum rt_status rt_fs_map(const char *path, struct rt_fs_map *map,
                         struct rt_error *err) RT_MUST_CHECK;
void rt_fs_unmap(struct rt_fs_map *map);

#endif
