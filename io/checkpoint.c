#include "io/checkpoint.h"

#include "core/checksum.h"
#include "core/memory.h"
#include "io/fs.h"
#include "io/index_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1
#define PARTIAL ".partial"
#define BEFORE ".before"

/* In front of every state. */
struct head {
    char magic[8];
    uint32_t version;
    uint32_t unused; /* zero */
    uint64_t n_bytes;
    struct rt_hash128 hash; /* of what follows */
    char name[RT_CHECKPOINT_NAME];
};
static const char magic[8] = {'r', 't', 'c', 'h', 'e', 'c', 'k', '\n'};

struct rt_checkpoint {
    char dir[RT_PATH_MAX]; /* INDEX/checkpoint */
    char path[RT_PATH_MAX], partial[RT_PATH_MAX];
    int fd;
    struct head head;
    struct rt_hasher *hasher;
};

static enum rt_status join(const char *dir, const char *name, const char *suffix,
                           char path[RT_PATH_MAX], struct rt_error *err)
{
    char file[RT_CHECKPOINT_NAME + sizeof PARTIAL];
    if (strlen(name) >= RT_CHECKPOINT_NAME)
        rt_die("a checkpoint named %s", name);
    (void)snprintf(file, sizeof file, "%s%s", name, suffix);
    return rt_fs_join(dir, file, path, err);
}

enum rt_status rt_checkpoint_begin(const char *dir, const char *name, struct rt_checkpoint **out,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_checkpoint *c = NULL;
    rt_assert(rt_index_state_is_ours(name)); /* else nobody would ever remove it */
    RT_TRY(rt_array_zero(1, sizeof *c, &c, err));
    c->fd = -1;
    c->hasher = rt_hasher_new();
    if (!c->hasher)
        RT_FAIL(RT_NOMEM, "out of memory: a checkpoint");
    memcpy(c->head.magic, magic, sizeof magic);
    c->head.version = VERSION;
    RT_TRY(rt_index_checkpoint_dir(dir, c->dir, err));
    RT_TRY(join(c->dir, name, "", c->path, err));
    RT_TRY(join(c->dir, name, PARTIAL, c->partial, err));
    strcpy(c->head.name, name);
    RT_TRY(rt_fs_open(c->partial, O_WRONLY | O_CREAT | O_TRUNC, &c->fd, err));
    *out = c;
    c = NULL;
done:
    rt_checkpoint_drop(c);
    return st;
}

void rt_checkpoint_drop(struct rt_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    if (checkpoint->fd >= 0) {
        (void)close(checkpoint->fd);
        (void)unlink(checkpoint->partial);
    }
    rt_hasher_free(checkpoint->hasher);
    rt_array_free(checkpoint);
}

enum rt_status rt_checkpoint_put(struct rt_checkpoint *checkpoint, const void *bytes,
                                 size_t n_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct head *head = &checkpoint->head;
    RT_TRY(rt_fs_write_at(checkpoint->fd, checkpoint->partial, bytes, n_bytes,
                          sizeof *head + head->n_bytes, err));
    rt_hasher_add(checkpoint->hasher, bytes, n_bytes);
    head->n_bytes += n_bytes;
done:
    return st;
}

/* Between the two renames only the one before is there, which is as good. */
enum rt_status rt_checkpoint_commit(struct rt_checkpoint *checkpoint, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_checkpoint *c = checkpoint;
    char before[RT_PATH_MAX];
    c->head.hash = rt_hasher_end128(c->hasher);
    RT_TRY(rt_fs_write_at(c->fd, c->partial, &c->head, sizeof c->head, 0, err));
    RT_TRY(rt_fs_sync(c->fd, c->partial, err));
    RT_TRY(join(c->dir, c->head.name, BEFORE, before, err));
    if (access(c->path, F_OK) == 0)
        RT_TRY(rt_fs_rename(c->path, before, err));
    RT_TRY(rt_fs_rename(c->partial, c->path, err));
    (void)close(c->fd);
    c->fd = -1;
    RT_TRY(rt_fs_sync_dir(c->dir, err));
done:
    rt_checkpoint_drop(c);
    return st;
}

enum rt_status rt_checkpoint_write(const char *dir, const char *name, const void *bytes,
                                   size_t n_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_checkpoint *checkpoint = NULL;
    RT_TRY(rt_checkpoint_begin(dir, name, &checkpoint, err));
    RT_TRY(rt_checkpoint_put(checkpoint, bytes, n_bytes, err));
    st = rt_checkpoint_commit(checkpoint, err);
    checkpoint = NULL;
done:
    rt_checkpoint_drop(checkpoint);
    return st;
}

/* A file that is not there, or not whole, is no state: *bytes stays NULL. */
static enum rt_status read_file(const char *path, const char *name, unsigned char **bytes,
                                size_t *n_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct head head = {.n_bytes = 0};
    char own[RT_CHECKPOINT_NAME] = "";
    unsigned char *read = NULL;
    uint64_t size = 0;
    int fd = -1;
    if (access(path, F_OK) != 0)
        return RT_OK;
    RT_TRY(rt_fs_size(path, &size, err));
    RT_TRY(rt_fs_open(path, O_RDONLY | O_NONBLOCK, &fd, err));
    if (size < sizeof head)
        goto done;
    RT_TRY(rt_fs_read_at(fd, path, &head, sizeof head, 0, err));
    if (memcmp(head.magic, magic, sizeof magic) != 0 || head.n_bytes != size - sizeof head ||
        memcmp(head.name, strcpy(own, name), sizeof own) != 0)
        goto done;
    if (head.version != VERSION)
        RT_FAIL(RT_USAGE,
                "'%s' is a checkpoint of another version of ranktape: build --force and insert "
                "without --resume start anew",
                path);
    RT_TRY(rt_array_new((size_t)head.n_bytes + 1, 1, &read, err));
    RT_TRY(rt_fs_read_at(fd, path, read, (size_t)head.n_bytes, sizeof head, err));
    read[head.n_bytes] = '\0';
    struct rt_hash128 hash = rt_hash128(read, (size_t)head.n_bytes);
    if (hash.low != head.hash.low || hash.high != head.hash.high)
        goto done;
    *bytes = read;
    *n_bytes = (size_t)head.n_bytes;
    read = NULL;
done:
    if (fd >= 0)
        (void)close(fd);
    rt_array_free(read);
    return st;
}

enum rt_status rt_checkpoint_read(const char *dir, const char *name, unsigned char **bytes,
                                  size_t *n_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char folder[RT_PATH_MAX];
    char path[RT_PATH_MAX];
    *bytes = NULL;
    *n_bytes = 0;
    RT_TRY(rt_fs_join(dir, "checkpoint", folder, err));
    RT_TRY(join(folder, name, "", path, err));
    RT_TRY(read_file(path, name, bytes, n_bytes, err));
    if (*bytes)
        goto done;
    RT_TRY(join(folder, name, BEFORE, path, err));
    RT_TRY(read_file(path, name, bytes, n_bytes, err));
done:
    return st;
}

static bool ends_in(char *name, const char *suffix)
{
    size_t n = strlen(name);
    size_t n_suffix = strlen(suffix);
    if (n <= n_suffix || strcmp(name + n - n_suffix, suffix) != 0)
        return false;
    name[n - n_suffix] = '\0';
    return true;
}

enum rt_status rt_checkpoint_names(const char *dir, const char *prefix,
                                   void (*visit)(void *context, const char *name), void *context,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    char name[256];
    DIR *entries = NULL;
    RT_TRY(rt_fs_join(dir, "checkpoint", path, err));
    entries = opendir(path);
    if (!entries && errno != ENOENT)
        RT_FAIL(RT_IO, "cannot look into '%s': %s", path, strerror(errno));
    if (!entries)
        goto done;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        (void)snprintf(name, sizeof name, "%s", entry->d_name);
        if (strncmp(name, prefix, strlen(prefix)) != 0 || ends_in(name, PARTIAL))
            continue;
        (void)ends_in(name, BEFORE);
        if (strlen(name) < RT_CHECKPOINT_NAME)
            visit(context, name);
    }
done:
    if (entries)
        (void)closedir(entries);
    return st;
}

enum rt_status rt_checkpoint_remove(const char *dir, const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const char *const suffixes[] = {"", BEFORE, PARTIAL};
    char folder[RT_PATH_MAX];
    char path[RT_PATH_MAX];
    RT_TRY(rt_fs_join(dir, "checkpoint", folder, err));
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        RT_TRY(join(folder, name, suffixes[i], path, err));
        RT_TRY(rt_fs_remove(path, err));
    }
done:
    return st;
}
