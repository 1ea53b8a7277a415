/* LD_PRELOAD: a system that is as bad as POSIX allows, or worse. BAD_CALLS is one of
 *     short          every read and write of a file below BAD_ROOT transfers a part, of varying
 * length eintr          every second open, read, write and sync of such a file is interrupted
 * before it begins CALL:RANK:N    the N-th CALL of that rank fails: read write space (a write,
 * ENOSPC) fsync rename open malloc mmap CALL:RANK:N+   that one and all later ones Memory fails for
 * the program and for jansson: HDF5 1.10 crashes without, and MPI ends the process. HDF5 does not
 * go on after an open that was interrupted, either, and is spared that. Each process that ends by
 * itself leaves how often it made each call in BAD_COUNTS.RANK. */
#undef _FILE_OFFSET_BITS /* pread and pread64 are two names here, of one function */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call { READ, WRITE, FSYNC, RENAME, OPEN, MALLOC, MMAP, N_CALLS };
static const char *const names[N_CALLS] = {"read", "write",  "fsync", "rename",
                                           "open", "malloc", "mmap"};

static atomic_ulong counts[N_CALLS];
static atomic_ulong turns;
static bool is_ready, is_short, is_interrupted, is_lasting;
static int failing = -1; /* the call that fails, where one does */
static unsigned long failing_at;
static int cause;
static long rank;
static char root[PATH_MAX];

#define MOST_RANGES 32
static struct {
    uintptr_t begin, end;
} ours[MOST_RANGES];
static int n_ours;

/* ---- what is asked for ---- */

static int add_range(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (info->dlpi_name[0] && !strstr(info->dlpi_name, "libjansson"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum && n_ours < MOST_RANGES; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            ours[n_ours].begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ours[n_ours].end = ours[n_ours].begin + info->dlpi_phdr[i].p_memsz;
            n_ours++;
        }
    return 0;
}

static long own_rank(void)
{
    const char *value = getenv("OMPI_COMM_WORLD_RANK");
    return value ? strtol(value, NULL, 10) : 0;
}

static void parse(const char *asked)
{
    char name[16] = "";
    char plus = 0;
    long its_rank = 0;
    is_short = strcmp(asked, "short") == 0;
    is_interrupted = strcmp(asked, "eintr") == 0;
    if (sscanf(asked, "%15[a-z]:%ld:%lu%c", name, &its_rank, &failing_at, &plus) < 3 ||
        its_rank != rank)
        return;
    is_lasting = plus == '+';
    cause = strcmp(name, "space") == 0 ? ENOSPC : EIO;
    for (int call = 0; call < N_CALLS; call++)
        if (strcmp(name, strcmp(name, "space") == 0 ? "space" : names[call]) == 0 &&
            (cause == EIO || call == WRITE))
            failing = call;
}

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("BAD_ROOT");
    const char *asked = getenv("BAD_CALLS");
    rank = own_rank();
    (void)dl_iterate_phdr(add_range, NULL);
    (void)snprintf(root, sizeof root, "%s", folder ? folder : "");
    if (asked)
        parse(asked);
    is_ready =
        folder && strcmp(program_invocation_short_name, "ranktape") == 0; /* mpirun is spared */
}

__attribute__((destructor)) static void end(void)
{
    char path[PATH_MAX];
    char text[512];
    int n = 0;
    if (!is_ready)
        return;
    is_ready = false;
    (void)snprintf(path, sizeof path, "%s.%ld",
                   getenv("BAD_COUNTS") ? getenv("BAD_COUNTS") : "/dev/null", rank);
    for (int call = 0; call < N_CALLS; call++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s %lu\n", names[call],
                      atomic_load(&counts[call]));
    int fd = getenv("BAD_COUNTS")
                 ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666)
                 : -1;
    if (fd >= 0 && syscall(SYS_write, fd, text, n) == n)
        (void)close(fd);
}

/* ---- who asks, and for what ---- */

static bool is_ours(const void *caller)
{
    for (int i = 0; i < n_ours; i++)
        if ((uintptr_t)caller >= ours[i].begin && (uintptr_t)caller < ours[i].end)
            return true;
    return false;
}

static bool is_below(const char *path)
{
    size_t n = strlen(root);
    return strncmp(path, root, n) == 0 && (path[n] == '/' || !path[n]);
}

static bool is_file(int fd)
{
    char name[64];
    char path[PATH_MAX];
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = is_ready ? readlink(name, path, sizeof path - 1) : 0;
    path[n < 0 ? 0 : n] = '\0';
    return n > 0 && is_below(path);
}

static bool is_name(const char *name)
{
    char folder[PATH_MAX];
    char path[PATH_MAX];
    if (!is_ready)
        return false;
    (void)snprintf(folder, sizeof folder, "%s", name);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    return realpath(slash ? folder : ".", path) && is_below(path);
}

static bool is_interrupted_in(enum call call)
{
    return is_interrupted && (call == READ || call == WRITE || call == FSYNC || call == OPEN) &&
           atomic_fetch_add(&turns, 1) % 2 == 0;
}

/* One call more: whether it fails, with errno. */
static bool fails(enum call call)
{
    unsigned long number = atomic_fetch_add(&counts[call], 1) + 1;
    if (is_interrupted_in(call)) {
        errno = EINTR;
        return true;
    }
    if (failing != (int)call || (is_lasting ? number < failing_at : number != failing_at))
        return false;
    errno = call == MALLOC || call == MMAP ? ENOMEM : cause;
    return true;
}

/* How much of so many bytes is transferred. */
static size_t part(size_t n_bytes)
{
    if (!is_short || n_bytes < 2)
        return n_bytes;
    unsigned long turn = atomic_fetch_add(&turns, 1);
    size_t share[4] = {1, n_bytes / 2, n_bytes - 1, n_bytes};
    return share[turn % 4];
}

/* ---- files ---- */

#define TRANSFER(call, fd, n_bytes, system_call)                                                   \
    do {                                                                                           \
        if (is_file(fd)) {                                                                         \
            if (fails(call))                                                                       \
                return -1;                                                                         \
            n_bytes = part(n_bytes);                                                               \
        }                                                                                          \
        return system_call;                                                                        \
    } while (0)

ssize_t read(int fd, void *to, size_t n)
{
    TRANSFER(READ, fd, n, syscall(SYS_read, fd, to, n));
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    TRANSFER(READ, fd, n, syscall(SYS_pread64, fd, to, n, at));
}

ssize_t pread64(int fd, void *to, size_t n, off_t at)
{
    TRANSFER(READ, fd, n, syscall(SYS_pread64, fd, to, n, at));
}

ssize_t write(int fd, const void *from, size_t n)
{
    TRANSFER(WRITE, fd, n, syscall(SYS_write, fd, from, n));
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
    TRANSFER(WRITE, fd, n, syscall(SYS_pwrite64, fd, from, n, at));
}

ssize_t pwrite64(int fd, const void *from, size_t n, off_t at)
{
    TRANSFER(WRITE, fd, n, syscall(SYS_pwrite64, fd, from, n, at));
}

int fsync(int fd)
{
    return is_file(fd) && fails(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return is_file(fd) && fails(FSYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
    return is_name(to) && fails(RENAME) ? -1
                                        : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

static int open_by(const void *caller, const char *name, int flags, va_list more)
{
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    bool is_counted = is_name(name) && (!is_interrupted || is_ours(caller));
    return is_counted && fails(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int fd = open_by(__builtin_return_address(0), name, flags, more);
    va_end(more);
    return fd;
}

int open64(const char *name, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int fd = open_by(__builtin_return_address(0), name, flags, more);
    va_end(more);
    return fd;
}

/* ---- memory ---- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

#define DENIED (is_ready && is_ours(__builtin_return_address(0)) && fails(MALLOC))

void *malloc(size_t n)
{
    return DENIED ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return DENIED ? NULL : __libc_calloc(n, size);
}

void *realloc(void *block, size_t n)
{
    return DENIED ? NULL : __libc_realloc(block, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return DENIED ? NULL : __libc_memalign(alignment, n);
}

static void *map_by(const void *caller, void *at, size_t n, int protection, int flags, int fd,
                    off_t offset)
{
    if (is_ready && is_ours(caller) && fails(MMAP))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd,
                           offset); // NOLINT: what the kernel returns
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return map_by(__builtin_return_address(0), at, n, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return map_by(__builtin_return_address(0), at, n, protection, flags, fd, offset);
}
