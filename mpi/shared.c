#include "mpi/shared.h"

#include "core/memory.h"
#include "core/units.h"
#include "mpi/agree.h"
#include "mpi/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ALIGNMENT 64
#define RESERVE_BYTES ((uint64_t)16 << 20) /* of /dev/shm, for others on this host */
#define RESERVE_RANK_BYTES                                                                         \
    ((uint64_t)4 << 20) /* MPI's own segment of a rank, sparse until it is used */

struct rt_shared {
    MPI_Comm comm; /* duplicate of the node's; returns errors instead of ending the job */
    int rank, n_ranks;
    enum rt_shared_kind kind;
    size_t n_bytes;
    char *data;
    char *mapping; /* what munmap gets */
    size_t mapping_bytes;
    MPI_Win window;
    char reason[160];
};

/* ---- the window ---- */

/* Of the window, what this rank's budget (J1) bears. */
static uint64_t rank_bytes(const struct rt_shared *s)
{
    return rt_range_count(rt_share(s->n_bytes, s->rank, s->n_ranks, 1));
}

static bool has_room(struct rt_shared *s)
{
    struct statvfs fs;
    char is_free[RT_UNITS_TEXT];
    char wanted[RT_UNITS_TEXT];
    if (statvfs("/dev/shm", &fs) != 0) {
        (void)snprintf(s->reason, sizeof s->reason, "no /dev/shm: %s", strerror(errno));
        return false;
    }
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t reserve = RESERVE_BYTES + RESERVE_RANK_BYTES * (unsigned)s->n_ranks;
    if (room >= reserve && room - reserve >= s->n_bytes)
        return true;
    (void)snprintf(s->reason, sizeof s->reason,
                   "/dev/shm has %s free, %s wanted (and %llu MiB reserve)",
                   rt_units_bytes(room, is_free), rt_units_bytes(s->n_bytes, wanted),
                   (unsigned long long)(reserve >> 20));
    return false;
}

/* Whether all ranks of the node have the window. Its room is taken at once: statvfs would promise
 * it to the next as well, and whoever came last would die of SIGBUS. */
static bool take_window(struct rt_shared *s)
{
    int is_fine = s->rank != 0 || has_room(s);
    MPI_Bcast(&is_fine, 1, MPI_INT, 0, s->comm);
    if (!is_fine)
        return false;
    void *base = NULL;
    MPI_Aint bytes = s->rank == 0 ? (MPI_Aint)(s->n_bytes + ALIGNMENT) : 0;
    int rc = MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, s->comm, &base, &s->window);
    is_fine = rc == MPI_SUCCESS;
    MPI_Allreduce(MPI_IN_PLACE, &is_fine, 1, MPI_INT, MPI_MIN, s->comm);
    if (!is_fine) { /* a window that only some ranks have cannot be freed */
        (void)snprintf(s->reason, sizeof s->reason,
                       "MPI could not make a window of node-shared memory");
        return false;
    }
    MPI_Aint size = 0;
    int unit = 0;
    MPI_Win_shared_query(s->window, 0, &size, &unit, &base);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, s->window);
    uint64_t skip = (ALIGNMENT - (uintptr_t)base % ALIGNMENT) % ALIGNMENT;
    MPI_Bcast(&skip, 1, MPI_UINT64_T, 0, s->comm); /* mappings are pages, but do not rely on it */
    s->data = (char *)base + skip;
    s->kind = RT_SHARED_WINDOW;
    rt_memory_add(rank_bytes(s));
    rt_signals_guard(s->data, s->n_bytes, "node-shared memory in /dev/shm");
    struct rt_range own = rt_share(s->n_bytes, s->rank, s->n_ranks, 4096);
    memset(s->data + own.begin, 0, rt_range_count(own));
    rt_shared_filled(s);
    return true;
}

/* ---- mapped files ---- */

/* Maps n_bytes at offset of an open file; 0 or errno. */
static int map_file(struct rt_shared *s, int fd, uint64_t offset, int protection)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t skip = offset % page;
    void *at = mmap(NULL, s->n_bytes + skip, protection, MAP_SHARED, fd, (off_t)(offset - skip));
    if (at == MAP_FAILED)
        return errno;
    s->mapping = at;
    s->mapping_bytes = s->n_bytes + skip;
    s->data = s->mapping + skip;
    return 0;
}

static enum rt_status map_data(struct rt_shared *s, const char *name, uint64_t offset,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat info;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        RT_FAIL(RT_IO, "cannot open '%s': %s", name, strerror(errno));
    uint64_t size = (uint64_t)info.st_size;
    if (offset > size || size - offset < s->n_bytes)
        RT_FAIL(RT_DAMAGED, "'%s' is %llu bytes, %zu at offset %llu expected", name,
                (unsigned long long)size, s->n_bytes, (unsigned long long)offset);
    int failure = map_file(s, fd, offset, PROT_READ);
    if (failure)
        RT_FAIL(RT_IO, "cannot map '%s': %s", name, strerror(failure));
    s->kind = RT_SHARED_MAPPED;
    rt_signals_guard(s->mapping, s->mapping_bytes, name);
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

/* 0 or errno. Blocks are taken at once, so that a full file system shows here and not as SIGBUS. */
static int open_scratch(const struct rt_shared *s, const char *name, int *fd)
{
    *fd = open(name, O_RDWR | O_CLOEXEC | (s->rank == 0 ? O_CREAT | O_EXCL : 0), 0600);
    if (*fd < 0)
        return errno;
    return s->rank == 0 ? posix_fallocate(*fd, 0, (off_t)s->n_bytes) : 0;
}

/* Whether all ranks of the node have it. */
static bool take_scratch(struct rt_shared *s, const char *name)
{
    int fd = -1;
    int failure = s->rank == 0 ? open_scratch(s, name, &fd) : 0;
    bool is_made = s->rank == 0 && fd >= 0;
    MPI_Bcast(&failure, 1, MPI_INT, 0, s->comm);
    if (!failure && s->rank != 0)
        failure = open_scratch(s, name, &fd);
    if (!failure)
        failure = map_file(s, fd, 0, PROT_READ | PROT_WRITE);
    if (fd >= 0)
        (void)close(fd);
    MPI_Allreduce(MPI_IN_PLACE, &failure, 1, MPI_INT, MPI_MAX, s->comm);
    if (is_made)
        (void)unlink(name);
    if (!failure) {
        s->kind = RT_SHARED_SCRATCH;
        rt_signals_guard(s->mapping, s->mapping_bytes, "scratch file of node-shared data");
        return true;
    }
    if (s->mapping)
        (void)munmap(s->mapping, s->mapping_bytes);
    s->mapping = NULL;
    size_t used = strlen(s->reason);
    (void)snprintf(s->reason + used, sizeof s->reason - used, "%scannot make '%.60s': %s",
                   used ? "; " : "", name, strerror(failure));
    return false;
}

/* ---- all kinds ---- */

enum rt_status rt_shared_new(MPI_Comm node, size_t n_bytes, const struct rt_shared_options *options,
                             struct rt_shared **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_shared *s = NULL;
    RT_TRY(rt_same(node, &n_bytes, sizeof n_bytes, "n_bytes of shared memory", err));
    RT_LOCAL(rt_array_zero(1, sizeof *s, &s, err));
    if (st == RT_OK) { /* ready to be freed where another rank has no memory */
        s->comm = MPI_COMM_NULL;
        s->window = MPI_WIN_NULL;
        s->kind = RT_SHARED_PRIVATE;
    }
    RT_AGREE(node);
    MPI_Comm_dup(node, &s->comm);
    MPI_Comm_set_errhandler(s->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(s->comm, &s->rank);
    MPI_Comm_size(s->comm, &s->n_ranks);
    s->n_bytes = n_bytes;
    bool can_share =
        n_bytes > 0 && s->n_ranks > 1; /* a rank alone on its node shares with nobody */
    bool is_there = can_share && options->use_window && take_window(s);
    if (!is_there && n_bytes > 0 && options->data_file) {
        RT_LOCAL(map_data(s, options->data_file, options->data_offset, err));
        RT_AGREE(s->comm);
        is_there = true;
    }
    if (!is_there && can_share && options->scratch_file)
        is_there = take_scratch(s, options->scratch_file);
    if (!is_there) {
        RT_LOCAL(rt_array_new(n_bytes, 1, &s->data, err));
        RT_AGREE(s->comm);
    }
    MPI_Bcast(s->reason, (int)sizeof s->reason, MPI_CHAR, 0, s->comm);
    *out = s;
    s = NULL;
done:
    rt_shared_free(s);
    return st;
}

void rt_shared_free(struct rt_shared *shared)
{
    struct rt_shared *s = shared;
    if (!s)
        return;
    switch (s->kind) {
    case RT_SHARED_WINDOW:
        rt_memory_remove(rank_bytes(s));
        rt_signals_unguard(s->data);
        MPI_Win_unlock_all(s->window);
        MPI_Win_free(&s->window);
        break;
    case RT_SHARED_MAPPED:
    case RT_SHARED_SCRATCH:
        rt_signals_unguard(s->mapping);
        (void)munmap(s->mapping, s->mapping_bytes);
        break;
    case RT_SHARED_PRIVATE:
        rt_array_free(s->data);
        break;
    }
    if (s->comm != MPI_COMM_NULL)
        MPI_Comm_free(&s->comm);
    rt_array_free(s);
}

enum rt_shared_kind rt_shared_kind(const struct rt_shared *shared)
{
    return shared->kind;
}

const char *rt_shared_kind_text(enum rt_shared_kind kind)
{
    switch (kind) {
    case RT_SHARED_WINDOW:
        return "node-shared memory";
    case RT_SHARED_MAPPED:
        return "mapped file";
    case RT_SHARED_SCRATCH:
        return "mapped scratch file";
    case RT_SHARED_PRIVATE:
        return "private copy";
    }
    return "?";
}

const char *rt_shared_reason(const struct rt_shared *shared)
{
    return shared->reason;
}

const void *rt_shared_data(const struct rt_shared *shared)
{
    return shared->data;
}

void *rt_shared_target(struct rt_shared *shared)
{
    return shared->kind == RT_SHARED_MAPPED ? NULL : shared->data;
}

struct rt_range rt_shared_fill(const struct rt_shared *shared, uint64_t count)
{
    switch (shared->kind) {
    case RT_SHARED_WINDOW:
    case RT_SHARED_SCRATCH:
        return rt_share(count, shared->rank, shared->n_ranks, 1);
    case RT_SHARED_MAPPED:
        return (struct rt_range){0, 0};
    case RT_SHARED_PRIVATE:
        break;
    }
    return (struct rt_range){0, count};
}

static void meet(const struct rt_shared *s)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (s->kind == RT_SHARED_WINDOW)
        MPI_Win_sync(s->window);
    MPI_Barrier(s->comm);
    if (s->kind == RT_SHARED_WINDOW)
        MPI_Win_sync(s->window);
    atomic_thread_fence(memory_order_seq_cst);
}

void rt_shared_filled(struct rt_shared *shared)
{
    meet(shared);
}

void rt_shared_free_to_fill(struct rt_shared *shared)
{
    meet(shared);
}
