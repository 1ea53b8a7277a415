/* LD_PRELOAD: what a power loss would leave. Below POWER_ROOT nothing is synced; POWER_STATE keeps
 * instead what was: `data-KEY`, a file's bytes at its last sync, and `names-KEY`, a directory's
 * entries at its last. KEY is inode and time of birth, since a freed inode comes back. Syncs and
 * changes of names are counted over all processes; at number POWER_AT the power goes: the process
 * is killed, and each other at its next one. power_keep and power_key are for the test, which makes
 * the disk of afterwards from what is kept. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEY_MAX 64

void power_key(int fd, char key[KEY_MAX]);
int power_keep(int fd, const char *state);

static void fail(const char *what)
{
    (void)dprintf(STDERR_FILENO, "power_loss: %s: %s\n", what, strerror(errno));
    (void)raise(SIGKILL);
}

void power_key(int fd, char key[KEY_MAX])
{
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &info) != 0)
        fail("statx");
    (void)snprintf(key, KEY_MAX, "%llu-%lld.%u", (unsigned long long)info.stx_ino,
                   (long long)info.stx_btime.tv_sec, info.stx_btime.tv_nsec);
}

/* ---- keeping ---- */

static void keep_bytes(int from, int to)
{
    char buffer[65536];
    off_t at = 0;
    for (ssize_t n; (n = pread(from, buffer, sizeof buffer, at)) != 0; at += n)
        if (n < 0 || pwrite(to, buffer, (size_t)n, at) != n)
            fail("a file's bytes");
}

/* A line for each entry: kind, key, name. */
static void keep_names(int from, int to)
{
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries)
        fail("a directory");
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        char key[KEY_MAX];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int one = openat(fd, entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (one < 0) {
            if (errno == ENOENT)
                continue; /* gone meanwhile */
            fail(entry->d_name);
        }
        power_key(one, key);
        if (fstat(one, &info) != 0 ||
            dprintf(to, "%c %s %s\n", S_ISDIR(info.st_mode) ? 'd' : 'f', key, entry->d_name) < 0)
            fail("a directory's names");
        (void)close(one);
    }
    (void)closedir(entries);
}

int power_keep(int fd, const char *state)
{
    char key[KEY_MAX];
    char path[PATH_MAX];
    char coming[PATH_MAX];
    struct stat info;
    power_key(fd, key);
    if (fstat(fd, &info) != 0)
        fail("fstat");
    (void)snprintf(path, sizeof path, "%s/%s-%s", state, S_ISDIR(info.st_mode) ? "names" : "data",
                   key);
    (void)snprintf(coming, sizeof coming, "%s/coming", state);
    /* what was opened for writing alone is read by its name in /proc */
    char name[64];
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int from = open(name, O_RDONLY | O_CLOEXEC);
    int to = open(coming, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (from < 0 || to < 0)
        fail(path);
    if (S_ISDIR(info.st_mode))
        keep_names(from, to);
    else
        keep_bytes(from, to);
    (void)close(from);
    (void)close(to);
    return (int)syscall(SYS_renameat, AT_FDCWD, coming, AT_FDCWD, path);
}

/* ---- counting ---- */

static const char *root(void)
{
    const char *value = getenv("POWER_ROOT");
    return value && *value ? value : NULL;
}

static int is_below(const char *path)
{
    size_t n = strlen(root());
    return strncmp(path, root(), n) == 0 && (path[n] == '/' || !path[n]);
}

static int concerns_name(const char *name)
{
    char path[PATH_MAX];
    char folder[PATH_MAX];
    if (!root())
        return 0;
    (void)snprintf(folder, sizeof folder, "%s", name);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    return realpath(slash ? folder : ".", path) && is_below(path);
}

static int concerns_fd(int fd)
{
    char name[64];
    char path[PATH_MAX];
    if (!root())
        return 0;
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = '\0';
    return is_below(path);
}

/* One event: the caller alone acts until it closes what is returned. */
static int enter(void)
{
    char path[PATH_MAX];
    char text[32] = "";
    (void)snprintf(path, sizeof path, "%s/events", getenv("POWER_STATE"));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || flock(fd, LOCK_EX) != 0 || pread(fd, text, sizeof text - 1, 0) < 0)
        fail(path);
    long number = strtol(text, NULL, 10) + 1;
    const char *at = getenv("POWER_AT");
    if (at && number >= strtol(at, NULL, 10))
        (void)raise(SIGKILL);
    int n = snprintf(text, sizeof text, "%ld\n", number);
    if (pwrite(fd, text, (size_t)n, 0) != n)
        fail(path);
    return fd;
}

static int sync_one(int fd)
{
    int turn = enter();
    int result = power_keep(fd, getenv("POWER_STATE"));
    (void)close(turn);
    return result;
}

int fsync(int fd)
{
    return concerns_fd(fd) ? sync_one(fd) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return concerns_fd(fd) ? sync_one(fd) : (int)syscall(SYS_fdatasync, fd);
}

#define NAME_CALL(concerned, call)                                                                 \
    do {                                                                                           \
        if (!(concerned))                                                                          \
            return (int)call;                                                                      \
        int turn = enter();                                                                        \
        int result = (int)call;                                                                    \
        int cause = errno;                                                                         \
        (void)close(turn);                                                                         \
        errno = cause;                                                                             \
        return result;                                                                             \
    } while (0)

int rename(const char *from, const char *to)
{
    NAME_CALL(concerns_name(to), syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}

int link(const char *from, const char *to)
{
    NAME_CALL(concerns_name(to), syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int unlink(const char *name)
{
    NAME_CALL(concerns_name(name), syscall(SYS_unlinkat, AT_FDCWD, name, 0));
}

int mkdir(const char *name, mode_t mode)
{
    NAME_CALL(concerns_name(name), syscall(SYS_mkdirat, AT_FDCWD, name, mode));
}

int rmdir(const char *name)
{
    NAME_CALL(concerns_name(name), syscall(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR));
}

/* A promise that this model does not know would look like a loss. */
static int unknown(const char *name)
{
    errno = ENOSYS;
    fail(name);
    return -1;
}

int msync(void *address, size_t length, int flags)
{
    (void)address, (void)length, (void)flags;
    return unknown("msync");
}

int syncfs(int fd)
{
    (void)fd;
    return unknown("syncfs");
}

/* It may begin what it likes: without a wait it promises nothing. */
int sync_file_range(int fd, off_t offset, off_t n_bytes, unsigned flags)
{
    (void)fd, (void)offset, (void)n_bytes;
    return flags == SYNC_FILE_RANGE_WRITE ? 0 : unknown("sync_file_range that waits");
}
