#include "io/lock.h"

#include "core/memory.h"
#include "io/fs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_LOCK_BYTES 65536

struct rt_lock {
    struct rt_lock_owner self;
    char path[RT_PATH_MAX];
};

/* ---- who we are ---- */

/* First line of a small file of the system, without its end; "" where it cannot be read. */
static void read_line(const char *path, char *text, int size)
{
    FILE *file = fopen(path, "re");
    if (!file || !fgets(text, size, file))
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (file)
        (void)fclose(file);
}

/* Ticks since boot at which a process began, 0 where that cannot be told; *is_dead where it only
 * waits to be reaped. Its name may hold anything, so fields are counted from the last ')'. */
static uint64_t start_of(uint64_t pid, bool *is_dead)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    read_line(path, text, sizeof text);
    const char *at = strrchr(text, ')');
    *is_dead = at && (strncmp(at, ") Z", 3) == 0 || strncmp(at, ") X", 3) == 0);
    for (int field = 2; at && field < 22; field++) /* field 22 of proc(5) */
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void new_nonce(char nonce[40])
{
    unsigned char bytes[16] = {0};
    FILE *file = fopen("/dev/urandom", "re");
    if (!file || fread(bytes, 1, sizeof bytes, file) != sizeof bytes) {
        struct timespec now; /* no such device: time and process will differ as well */
        uint64_t words[2];
        (void)clock_gettime(CLOCK_REALTIME, &now);
        words[0] = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        words[1] = (uint64_t)getpid();
        memcpy(bytes, words, sizeof bytes);
    }
    if (file)
        (void)fclose(file);
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
}

void rt_lock_self(struct rt_lock_owner *owner)
{
    const char *job = getenv("SLURM_JOB_ID");
    const char *restarts = getenv("SLURM_RESTART_COUNT");
    bool is_dead = false;
    memset(owner, 0, sizeof *owner);
    if (gethostname(owner->host, sizeof owner->host - 1) != 0)
        owner->host[0] = '\0';
    read_line("/proc/sys/kernel/random/boot_id", owner->boot_id, sizeof owner->boot_id);
    ssize_t n = readlink("/proc/self/ns/pid", owner->pid_space, sizeof owner->pid_space - 1);
    owner->pid_space[n > 0 ? n : 0] = '\0';
    owner->pid = (uint64_t)getpid();
    owner->start_time = start_of(owner->pid, &is_dead);
    (void)snprintf(owner->job_id, sizeof owner->job_id, "%s", job ? job : "");
    owner->restart_count = restarts ? strtoull(restarts, NULL, 10) : 0;
    owner->since = (int64_t)time(NULL);
    new_nonce(owner->nonce);
}

/* ---- the file ---- */

static json_t *owner_to_json(const struct rt_lock_owner *owner)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:s}", "host", owner->host,
                     "boot_id", owner->boot_id, "pid_space", owner->pid_space, "pid",
                     (json_int_t)owner->pid, "start_time", (json_int_t)owner->start_time, "job_id",
                     owner->job_id, "restart_count", (json_int_t)owner->restart_count, "since",
                     (json_int_t)owner->since, "nonce", owner->nonce);
}

static void take_text(const json_t *object, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(object, key));
    (void)snprintf(text, size, "%s", value ? value : "");
    for (char *c = text; *c; c++)
        if (!isprint((unsigned char)*c)) /* it goes into messages */
            *c = '?';
}

static uint64_t take_number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void owner_from_json(const json_t *object, struct rt_lock_owner *owner)
{
    take_text(object, "host", owner->host, sizeof owner->host);
    take_text(object, "boot_id", owner->boot_id, sizeof owner->boot_id);
    take_text(object, "pid_space", owner->pid_space, sizeof owner->pid_space);
    take_text(object, "job_id", owner->job_id, sizeof owner->job_id);
    take_text(object, "nonce", owner->nonce, sizeof owner->nonce);
    owner->pid = take_number(object, "pid");
    owner->start_time = take_number(object, "start_time");
    owner->restart_count = take_number(object, "restart_count");
    owner->since = (int64_t)take_number(object, "since");
}

/* Fails where it is held and cannot be read, too. */
static enum rt_status read_known_owner(const char *path, bool *is_held, struct rt_lock_owner *owner,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *text = NULL;
    size_t n_bytes = 0;
    struct stat info;
    memset(owner, 0, sizeof *owner);
    *is_held = lstat(path, &info) == 0;
    if (!*is_held && errno != ENOENT)
        RT_FAIL(RT_IO, "cannot look at '%s': %s", path, strerror(errno));
    if (!*is_held)
        return RT_OK;
    st = rt_fs_read_small(path, MOST_LOCK_BYTES, &text, &n_bytes, err);
    if (st != RT_OK && lstat(path, &info) != 0 && errno == ENOENT) { /* given back meanwhile */
        *is_held = false;
        return RT_OK;
    }
    RT_TRY(st);
    json_t *object = json_loadb(text, n_bytes, 0, NULL);
    owner_from_json(object, owner);
    json_decref(object);
done:
    rt_array_free(text);
    return st;
}

/* What cannot be read is held by nobody known. */
static enum rt_status read_owner(const char *path, bool *is_held, struct rt_lock_owner *owner,
                                 struct rt_error *err)
{
    enum rt_status st = read_known_owner(path, is_held, owner, err);
    return *is_held ? RT_OK : st;
}

enum rt_status rt_lock_read(const char *dir, bool *is_held, struct rt_lock_owner *owner,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_TRY(rt_fs_join(dir, "LOCK", path, err));
    RT_TRY(read_owner(path, is_held, owner, err));
done:
    return st;
}

/* ---- taking it ---- */

bool rt_lock_is_stale(const struct rt_lock_owner *owner, const struct rt_lock_owner *self)
{
    if (self->job_id[0] && strcmp(owner->job_id, self->job_id) == 0 &&
        self->restart_count > owner->restart_count)
        return true;
    /* only here can we tell that a process is gone: on this boot, among the same process numbers */
    if (!owner->boot_id[0] || strcmp(owner->boot_id, self->boot_id) != 0 || !owner->pid_space[0] ||
        strcmp(owner->pid_space, self->pid_space) != 0 || strcmp(owner->host, self->host) != 0 ||
        owner->pid == 0 || owner->pid > INT32_MAX)
        return false;
    if (kill((pid_t)owner->pid, 0) != 0 && errno == ESRCH)
        return true;
    bool is_dead = false;
    uint64_t start = start_of(owner->pid, &is_dead);
    return is_dead || (start != 0 && owner->start_time != 0 &&
                       start != owner->start_time); /* its number lives on */
}

bool rt_lock_is_left(const char *path)
{
    struct rt_error ignored;
    struct rt_lock_owner owner;
    struct rt_lock_owner self;
    bool is_held = false;
    rt_lock_self(&self);
    return read_owner(path, &is_held, &owner, &ignored) == RT_OK && is_held &&
           rt_lock_is_stale(&owner, &self);
}

/* A new file with our name in it, synced. *exists: there was one already. */
static enum rt_status write_new(const char *path, const struct rt_lock_owner *self, bool *exists,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    json_t *object = owner_to_json(self);
    char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    if (!text)
        RT_FAIL(RT_NOMEM, "out of memory: a lock");
    errno = 0;
    st = rt_fs_open(path, O_WRONLY | O_CREAT | O_EXCL, &fd, err);
    *exists = st != RT_OK && errno == EEXIST;
    RT_TRY(st);
    RT_TRY(rt_fs_write_at(fd, path, text, strlen(text), 0, err));
    RT_TRY(rt_fs_sync(fd, path, err));
done:
    if (fd >= 0) {
        (void)close(fd);
        if (st != RT_OK)
            (void)unlink(path);
    }
    free(text);
    json_decref(object);
    return st;
}

/* `own`, written already, under the name LOCK, or *exists. The answer of link(2) may be lost on
 * NFS: two names tell that it worked. Where there are no links, O_EXCL has to do. */
static enum rt_status make_lock(const char *own, const struct rt_lock *lock, bool *exists,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct stat info;
    *exists = false;
    if (link(own, lock->path) == 0)
        return RT_OK;
    int cause = errno;
    if (stat(own, &info) == 0 && info.st_nlink == 2)
        return RT_OK;
    *exists = cause == EEXIST;
    if (*exists)
        return RT_OK;
    if (cause != EPERM && cause != EOPNOTSUPP && cause != ENOSYS)
        RT_FAIL(RT_IO, "cannot make '%s': %s", lock->path, strerror(cause));
    st = write_new(lock->path, &lock->self, exists, err);
    if (*exists)
        st = RT_OK;
done:
    return st;
}

static enum rt_status say_held(const char *dir, const struct rt_lock_owner *owner,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char when[32] = "an unknown time";
    time_t since = (time_t)owner->since;
    struct tm local;
    if (!owner->host[0])
        RT_FAIL(RT_USAGE,
                "'%s' is locked by something that cannot be read ('%s/LOCK'); --break-lock if it "
                "is gone",
                dir, dir);
    if (localtime_r(&since, &local))
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M", &local);
    RT_FAIL(RT_USAGE,
            "'%s' is being written by %s%s%sprocess %llu on host %s since %s; --break-lock if that "
            "is gone",
            dir, owner->job_id[0] ? "job " : "", owner->job_id, owner->job_id[0] ? ", " : "",
            (unsigned long long)owner->pid, owner->host, when);
done:
    return st;
}

enum rt_status rt_lock_require_free(const char *dir, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_held = false;
    struct rt_lock_owner owner;
    struct rt_lock_owner self;
    RT_TRY(rt_lock_read(dir, &is_held, &owner, err));
    rt_lock_self(&self);
    if (is_held && !rt_lock_is_stale(&owner, &self))
        RT_TRY(say_held(dir, &owner, err));
done:
    return st;
}

static void wait_for(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* Ours over theirs by rename, if theirs is still the one that was judged; whoever's name is there
 * after the wait has it. A process that was only slow finds out when it asks rt_lock_check before
 * publishing. */
static enum rt_status take_over(const char *dir, const char *own, struct rt_lock *lock,
                                const struct rt_lock_owner *judged, double wait_seconds,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_held = false;
    struct rt_lock_owner now;
    RT_TRY(read_owner(lock->path, &is_held, &now, err));
    if (is_held && strcmp(now.nonce, judged->nonce) != 0) {
        RT_TRY(say_held(dir, &now, err));
    }
    RT_TRY(rt_fs_rename(own, lock->path, err));
    RT_TRY(rt_fs_sync_dir(dir, err));
    wait_for(wait_seconds);
    RT_TRY(rt_lock_check(lock, err));
done:
    return st;
}

#define TRIES 10 /* a lock that is gone when we look at it: try again */

enum rt_status rt_lock_take(const char *dir, const struct rt_lock_options *options,
                            struct rt_lock **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lock *lock = NULL;
    struct rt_lock_owner owner;
    char name[48];
    char own[RT_PATH_MAX] = "";
    bool exists = true;
    bool is_held = false;
    RT_TRY(rt_array_zero(1, sizeof *lock, &lock, err));
    rt_lock_self(&lock->self);
    (void)snprintf(name, sizeof name, "LOCK.%s", lock->self.nonce);
    RT_TRY(rt_fs_join(dir, "LOCK", lock->path, err));
    RT_TRY(rt_fs_join(dir, name, own, err));
    RT_TRY(write_new(own, &lock->self, &exists, err));
    exists = true;
    for (int i = 0; i < TRIES && exists && !is_held; i++) {
        RT_TRY(make_lock(own, lock, &exists, err));
        if (exists)
            RT_TRY(read_owner(lock->path, &is_held, &owner, err));
    }
    if (exists) {
        if (!options->break_lock && !rt_lock_is_stale(&owner, &lock->self))
            RT_TRY(say_held(dir, &owner, err));
        RT_TRY(take_over(dir, own, lock, &owner, options->wait_seconds, err));
    }
    *out = lock;
    lock = NULL;
done:
    if (own[0])
        (void)unlink(own);
    rt_array_free(lock);
    return st;
}

enum rt_status rt_lock_check(const struct rt_lock *lock, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_held = false;
    struct rt_lock_owner owner;
    RT_TRY(read_known_owner(lock->path, &is_held, &owner, err));
    if (!is_held)
        RT_FAIL(RT_USAGE, "'%s' is gone: somebody has removed it, nothing is published",
                lock->path);
    if (!owner.nonce[0]) /* no memory to read it with, say */
        RT_FAIL(RT_IO, "cannot make out whose '%s' is: nothing is published", lock->path);
    if (strcmp(owner.nonce, lock->self.nonce) != 0)
        RT_FAIL(RT_USAGE, "'%s' was taken over by process %llu on host %s, nothing is published",
                lock->path, (unsigned long long)owner.pid,
                owner.host[0] ? owner.host : "(unknown)");
done:
    return st;
}

const char *rt_lock_nonce(const struct rt_lock *lock)
{
    return lock->self.nonce;
}

void rt_lock_release(struct rt_lock *lock)
{
    struct rt_error ignored;
    if (!lock)
        return;
    if (rt_lock_check(lock, &ignored) == RT_OK)
        (void)unlink(lock->path);
    rt_array_free(lock);
}
