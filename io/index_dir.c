#include "io/index_dir.h"

#include "core/memory.h"
#include "io/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A taker links LOCK from a name of its own and removes that at once: older ones were left by jobs
 * that were killed then. */
#define LOCK_SECONDS 60

/* ---- names ---- */

/* The number behind `stem-` if the name goes on with a suffix of ours: *partial tells whether
 * ".partial" follows. */
static bool parse_numbered(const char *name, const char *stem, const char *suffix, uint64_t *number,
                           bool *partial)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0 || name[n] != '-')
        return false;
    const char *digits = name + n + 1;
    size_t n_digits = strspn(digits, "0123456789");
    if (n_digits == 0 || n_digits > 19 || (digits[0] == '0' && n_digits > 1))
        return false;
    *number = strtoull(digits, NULL, 10);
    const char *rest = digits + n_digits;
    if (strncmp(rest, suffix, strlen(suffix)) != 0)
        return false;
    rest += strlen(suffix);
    *partial = strcmp(rest, ".partial") == 0;
    return *partial || !*rest;
}

static bool parse_data_file(const char *name, enum rt_file_kind *kind, uint64_t *number,
                            bool *partial)
{
    for (int k = 0; k < RT_N_FILE_KINDS; k++) {
        *kind = (enum rt_file_kind)k;
        if (parse_numbered(name, rt_file_kind_name(*kind), ".h5", number, partial))
            return true;
    }
    return false;
}

static bool is_lock_name(const char *name) /* LOCK, and what a taker links it from */
{
    if (strncmp(name, "LOCK", 4) != 0)
        return false;
    return !name[4] ||
           (name[4] == '.' && strlen(name + 5) == 32 && strspn(name + 5, "0123456789abcdef") == 32);
}

bool rt_index_state_is_ours(const char *name)
{
    static const char *const stems[] = {"progress.json",  "job",   "trained", "training",
                                        "training-lists", "cells", "insert",  "compact"};
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        size_t n = strlen(stems[i]);
        if (strncmp(name, stems[i], n) != 0)
            continue;
        const char *rest = name + n + strspn(name + n, "-0123456789");
        if (!*rest || strcmp(rest, ".partial") == 0 || strcmp(rest, ".before") == 0)
            return true;
    }
    return false;
}

bool rt_index_name_is_ours(const char *name)
{
    enum rt_file_kind kind;
    uint64_t number = 0;
    bool partial = false;
    return strcmp(name, "CURRENT") == 0 || strcmp(name, "CURRENT.partial") == 0 ||
           strcmp(name, "checkpoint") == 0 || is_lock_name(name) ||
           parse_numbered(name, "manifest", ".json", &number, &partial) ||
           parse_data_file(name, &kind, &number, &partial);
}

enum rt_status rt_index_path(const char *dir, enum rt_file_kind kind, uint64_t number, bool partial,
                             char path[RT_PATH_MAX], struct rt_error *err)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s-%llu.h5%s", rt_file_kind_name(kind),
                   (unsigned long long)number, partial ? ".partial" : "");
    return rt_fs_join(dir, name, path, err);
}

enum rt_status rt_index_finish_file(const char *dir, enum rt_file_kind kind, uint64_t number,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char from[RT_PATH_MAX];
    char to[RT_PATH_MAX];
    RT_TRY(rt_index_path(dir, kind, number, true, from, err));
    RT_TRY(rt_index_path(dir, kind, number, false, to, err));
    RT_TRY(rt_fs_rename(from, to, err));
done:
    return st;
}

enum rt_status rt_index_unfinish_files(const char *dir, uint64_t number, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char partial[RT_PATH_MAX];
    char final[RT_PATH_MAX];
    for (int k = 0; k < RT_N_FILE_KINDS; k++) {
        RT_TRY(rt_index_path(dir, (enum rt_file_kind)k, number, true, partial, err));
        RT_TRY(rt_index_path(dir, (enum rt_file_kind)k, number, false, final, err));
        if (access(final, F_OK) == 0)
            RT_TRY(rt_fs_rename(final, partial, err));
    }
done:
    return st;
}

/* ---- states ---- */

static enum rt_status fail_to_look(const char *dir, struct rt_error *err)
{
    return rt_error_set(err, RT_IO, __FILE__, __LINE__, "cannot look into '%s': %s", dir,
                        strerror(errno));
}

/* The directory that holds DIR. */
static enum rt_status parent_of(const char *dir, char parent[RT_PATH_MAX], struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = strlen(dir);
    if (n + 2 > RT_PATH_MAX || n == 0)
        RT_FAIL(RT_USAGE, "'%.60s' cannot be the name of an index", dir);
    strcpy(parent, dir);
    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = '\0';
    char *slash = strrchr(parent, '/');
    if (!slash)
        strcpy(parent, ".");
    else
        slash[slash == parent] = '\0';
done:
    return st;
}

/* Something is not there: its parent must be, for a job to make it. */
static enum rt_status check_parent(const char *dir, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char parent[RT_PATH_MAX];
    struct stat info;
    RT_TRY(parent_of(dir, parent, err));
    if (stat(parent, &info) != 0 || !S_ISDIR(info.st_mode))
        RT_FAIL(RT_USAGE, "there is no directory '%s' to make '%s' in", parent, dir);
done:
    return st;
}

/* DIR/checkpoint may be another program's: it is ours only with nothing of others in it. */
static bool is_checkpoint_ours(const char *dir)
{
    char path[RT_PATH_MAX];
    struct rt_error ignored;
    bool ours = true;
    DIR *entries = rt_fs_join(dir, "checkpoint", path, &ignored) == RT_OK ? opendir(path) : NULL;
    for (struct dirent *entry = entries ? readdir(entries) : NULL; entry; entry = readdir(entries))
        ours = ours && (entry->d_name[0] == '.' || rt_index_state_is_ours(entry->d_name));
    if (entries)
        (void)closedir(entries);
    return ours;
}

enum rt_status rt_index_dir_state(const char *dir, enum rt_index_state *state, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool any = false;
    bool foreign = false;
    bool current = false;
    struct stat info;
    DIR *entries = NULL;
    if (stat(dir, &info) != 0) {
        if (errno == ENAMETOOLONG)
            RT_FAIL(RT_USAGE, "'%.60s...' is too long a name for an index", dir);
        if (errno != ENOENT && errno != ENOTDIR)
            return fail_to_look(dir, err);
        RT_TRY(check_parent(dir, err));
        *state = RT_INDEX_MISSING;
        return RT_OK;
    }
    if (!S_ISDIR(info.st_mode)) {
        *state = RT_INDEX_FOREIGN;
        return RT_OK;
    }
    entries = opendir(dir);
    if (!entries)
        return fail_to_look(dir, err);
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        any = true;
        current = current || strcmp(entry->d_name, "CURRENT") == 0;
        foreign = foreign || !rt_index_name_is_ours(entry->d_name) ||
                  (strcmp(entry->d_name, "checkpoint") == 0 && !is_checkpoint_ours(dir));
    }
    *state = current   ? RT_INDEX_PUBLISHED
             : foreign ? RT_INDEX_FOREIGN
             : any     ? RT_INDEX_UNFINISHED
                       : RT_INDEX_EMPTY;
done:
    if (entries)
        (void)closedir(entries);
    return st;
}

enum rt_status rt_index_dir_require(const char *dir, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum rt_index_state state = RT_INDEX_MISSING;
    struct stat info;
    if (stat(dir, &info) == 0 || (errno != ENOENT && errno != ENOTDIR))
        RT_TRY(rt_index_dir_state(dir, &state, err));
    if (state == RT_INDEX_MISSING || state == RT_INDEX_EMPTY)
        RT_FAIL(RT_USAGE, "there is no index '%s'", dir);
    if (state == RT_INDEX_UNFINISHED)
        RT_FAIL(RT_USAGE, "'%s' is an unfinished build: --resume or --force", dir);
    if (state == RT_INDEX_FOREIGN)
        RT_FAIL(RT_USAGE, "'%s' is no index", dir);
done:
    return st;
}

/* By the names, not by CURRENT: a damaged one must not stop --force. */
enum rt_status rt_index_dir_next(const char *dir, uint64_t *generation, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t most = 0;
    DIR *entries = opendir(dir);
    if (!entries)
        return fail_to_look(dir, err);
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        enum rt_file_kind kind;
        uint64_t number = 0;
        bool partial = false;
        if ((parse_numbered(entry->d_name, "manifest", ".json", &number, &partial) ||
             parse_data_file(entry->d_name, &kind, &number, &partial)) &&
            number > most)
            most = number;
    }
    (void)closedir(entries);
    if (most >= INT64_MAX - 1)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: there is a file of generation %llu", dir,
                (unsigned long long)most);
    *generation = most + 1;
done:
    return st;
}

/* Of a claim: what the manifest of that generation is written as. */
static enum rt_status claim_path(const char *dir, uint64_t generation, char path[RT_PATH_MAX],
                                 struct rt_error *err)
{
    char name[64];
    (void)snprintf(name, sizeof name, "manifest-%llu.json.partial", (unsigned long long)generation);
    return rt_fs_join(dir, name, path, err);
}

enum rt_status rt_index_dir_claim(const char *dir, uint64_t *generation, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    uint64_t claimed = 0;
    int fd = -1;
    bool is_taken = false;
    do {
        RT_TRY(rt_index_dir_next(dir, &claimed, err));
        RT_TRY(claim_path(dir, claimed, path, err));
        st = rt_fs_open(path, O_WRONLY | O_CREAT | O_EXCL, &fd, err);
        is_taken = st != RT_OK && errno == EEXIST; /* since we looked */
    } while (is_taken);
    RT_TRY(st);
    *generation = claimed;
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

void rt_index_dir_disclaim(const char *dir, uint64_t generation)
{
    char path[RT_PATH_MAX];
    struct rt_error ignored;
    if (claim_path(dir, generation, path, &ignored) == RT_OK)
        (void)unlink(path);
}

enum rt_status rt_index_dir_admit(const char *dir, enum rt_index_state state, bool force,
                                  bool resume, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (state == RT_INDEX_FOREIGN)
        RT_FAIL(RT_USAGE, "'%s' is there and no index: ranktape replaces only its own", dir);
    if (state == RT_INDEX_PUBLISHED && !force && !resume)
        RT_FAIL(RT_USAGE, "there is an index in '%s' already; --force replaces it", dir);
    if (state == RT_INDEX_UNFINISHED && !force && !resume)
        RT_FAIL(RT_USAGE,
                "'%s' is an unfinished build: --resume goes on with it, --force starts anew", dir);
done:
    return st;
}

enum rt_status rt_index_dir_begin(const char *dir, bool force, bool resume,
                                  struct rt_index_dir_begin *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char parent[RT_PATH_MAX];
    struct rt_index_dir_begin begin = {.generation = 1};
    RT_TRY(rt_index_dir_state(dir, &begin.state, err));
    RT_TRY(rt_index_dir_admit(dir, begin.state, force, resume, err));
    if (begin.state == RT_INDEX_MISSING) {
        if (mkdir(dir, 0777) != 0)
            RT_FAIL(errno == EEXIST ? RT_USAGE : RT_IO, "cannot make '%s': %s", dir,
                    strerror(errno));
        begin.made = true;
    }
    if (begin.state == RT_INDEX_PUBLISHED || (begin.state == RT_INDEX_UNFINISHED && !resume))
        RT_TRY(rt_index_dir_next(dir, &begin.generation, err));
    /* Whoever made it, and however long ago: with its name all of it would be lost. */
    RT_TRY(parent_of(dir, parent, err));
    RT_TRY(rt_fs_sync_dir(parent, err));
    *out = begin;
done:
    if (st != RT_OK && begin.made)
        (void)rmdir(dir);
    return st;
}

/* ---- taking away ---- */

static void remove_name(const char *dir, const char *name)
{
    char path[RT_PATH_MAX];
    struct rt_error ignored;
    if (rt_fs_join(dir, name, path, &ignored) == RT_OK)
        (void)unlink(path);
}

void rt_index_dir_undo(const char *dir, const struct rt_index_dir_begin *begin)
{
    char name[64];
    struct rt_error ignored;
    if (begin->state == RT_INDEX_UNFINISHED)
        return; /* what another run has saved stays */
    /* first what says that there is something to go on with, then that itself */
    bool is_clear = begin->keeps_checkpoint || rt_index_remove_checkpoint(dir, &ignored) == RT_OK;
    for (int k = 0; k < RT_N_FILE_KINDS; k++) {
        (void)snprintf(name, sizeof name, "%s-%llu.h5.partial",
                       rt_file_kind_name((enum rt_file_kind)k),
                       (unsigned long long)begin->generation);
        remove_name(dir, name);
        name[strlen(name) - strlen(".partial")] = '\0';
        remove_name(dir, name);
    }
    (void)snprintf(name, sizeof name, "manifest-%llu.json", (unsigned long long)begin->generation);
    remove_name(dir, name);
    rt_index_dir_disclaim(dir, begin->generation);
    remove_name(dir, "CURRENT.partial");
    if (is_clear && begin->made) {
        remove_name(dir, "LOCK");
        (void)rmdir(dir);
    }
}

static bool is_kept(const char *name, const struct rt_manifest *const *keep, size_t n_keep)
{
    enum rt_file_kind kind;
    uint64_t number = 0;
    bool partial = false;
    bool is_manifest = parse_numbered(name, "manifest", ".json", &number, &partial);
    if (!is_manifest && !parse_data_file(name, &kind, &number, &partial))
        return strcmp(name, "CURRENT.partial") != 0 &&
               !(is_lock_name(name) && name[4]); /* CURRENT, LOCK, what is not ours */
    if (partial)
        return false;
    for (size_t i = 0; i < n_keep; i++)
        if (keep[i] && (is_manifest ? keep[i]->generation == number
                                    : rt_manifest_find(keep[i], kind, number) != NULL))
            return true;
    return false;
}

/* A name of LOCK whose taker may still be at it. Its stamp is of another host's clock, or of the
 * file system's: one that lies as far ahead of ours as others behind is as old. */
static bool may_be_taking(const char *name, const char *path, const struct stat *info)
{
    time_t age = time(NULL) - info->st_mtime;
    return is_lock_name(name) && age < LOCK_SECONDS && age > -LOCK_SECONDS &&
           !(name[4] && rt_lock_is_left(path));
}

enum sweep { COUNT, REMOVE, REMOVE_STATES };

/* Counts, or removes too, the plain files of INDEX for which is_kept says no; of its checkpoint/
 * all of ours. */
static enum rt_status sweep_files(const char *dir, enum sweep how,
                                  const struct rt_manifest *const *keep, size_t n_keep,
                                  uint64_t *n_swept, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    DIR *entries = opendir(dir);
    if (!entries)
        return fail_to_look(dir, err);
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        struct stat info;
        if (how == REMOVE_STATES ? !rt_index_state_is_ours(entry->d_name)
                                 : is_kept(entry->d_name, keep, n_keep))
            continue;
        RT_TRY(rt_fs_join(dir, entry->d_name, path, err));
        if (lstat(path, &info) != 0 || S_ISDIR(info.st_mode) ||
            may_be_taking(entry->d_name, path, &info))
            continue;
        if (how != COUNT)
            RT_TRY(rt_fs_remove(path, err));
        ++*n_swept;
    }
done:
    (void)closedir(entries);
    return st;
}

enum rt_status rt_index_dir_clean(const char *dir, const struct rt_manifest *const *keep,
                                  size_t n_keep, uint64_t *n_removed, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = 0;
    RT_TRY(rt_index_remove_checkpoint(dir, err)); /* speaks of files that go */
    RT_TRY(sweep_files(dir, REMOVE, keep, n_keep, &n, err));
    if (n_removed)
        *n_removed = n;
done:
    return st;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

/* Numbers of the manifests there, the greatest first. The caller frees *out. */
static enum rt_status list_manifests(const char *dir, uint64_t **out, size_t *n,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *numbers = NULL;
    DIR *entries = opendir(dir);
    *n = 0;
    if (!entries)
        return fail_to_look(dir, err);
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        uint64_t number = 0;
        bool partial = false;
        if (!parse_numbered(entry->d_name, "manifest", ".json", &number, &partial) || partial)
            continue;
        RT_TRY(rt_array_resize(*n + 1, sizeof *numbers, &numbers, err));
        numbers[(*n)++] = number;
    }
    if (*n)
        qsort(numbers, *n, sizeof *numbers, descending);
    *out = numbers;
    numbers = NULL;
done:
    (void)closedir(entries);
    rt_array_free(numbers);
    return st;
}

/* A job that was killed between its manifest and CURRENT has left one of a generation that never
 * was the index: the history tells of every one, as far as it goes back. */
static bool was_published(const struct rt_manifest *current, uint64_t generation)
{
    bool is_older = true; /* than the history */
    size_t i = 0;
    json_t *line = NULL;
    json_array_foreach(current->history, i, line)
    {
        json_int_t told = json_integer_value(json_object_get(line, "generation"));
        if (told > 0 && (uint64_t)told == generation)
            return true;
        is_older = is_older && (told <= 0 || (uint64_t)told > generation);
    }
    return is_older;
}

/* What rt_index_dir_keep keeps, and what it then does with the rest. */
static enum rt_status keep_some(const char *dir, const struct rt_lock *lock, uint64_t n_generations,
                                enum sweep how, uint64_t *n_swept, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest **keep = NULL;
    uint64_t *numbers = NULL;
    size_t n = 0;
    size_t n_kept = 0;
    RT_TRY(list_manifests(dir, &numbers, &n, err));
    RT_TRY(rt_array_zero(n + 1, sizeof *keep, &keep, err));
    RT_TRY(rt_manifest_read_current(dir, &keep[n_kept], err));
    n_kept++;
    for (size_t i = 0; i < n && n_kept < n_generations; i++) {
        struct rt_error ignored; /* what cannot be read keeps nothing */
        if (numbers[i] < keep[0]->generation && was_published(keep[0], numbers[i]) &&
            rt_manifest_read(dir, numbers[i], &keep[n_kept], &ignored) == RT_OK)
            n_kept++;
    }
    const struct rt_manifest *const *kept = (const struct rt_manifest *const *)keep;
    if (how == COUNT) {
        RT_TRY(sweep_files(dir, how, kept, n_kept, n_swept, err));
    } else {
        RT_TRY(rt_lock_check(lock, err));
        RT_TRY(rt_index_dir_clean(dir, kept, n_kept, n_swept, err));
    }
done:
    for (size_t i = 0; keep && i < n_kept; i++)
        rt_manifest_free(keep[i]);
    rt_array_free(keep);
    rt_array_free(numbers);
    return st;
}

enum rt_status rt_index_dir_keep(const char *dir, const struct rt_lock *lock,
                                 uint64_t n_generations, uint64_t *n_removed, struct rt_error *err)
{
    return keep_some(dir, lock, n_generations, REMOVE, n_removed, err);
}

enum rt_status rt_index_dir_orphans(const char *dir, uint64_t n_generations, uint64_t *n,
                                    struct rt_error *err)
{
    *n = 0;
    return keep_some(dir, NULL, n_generations, COUNT, n, err);
}

enum rt_status rt_index_checkpoint_dir(const char *dir, char path[RT_PATH_MAX],
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_fs_join(dir, "checkpoint", path, err));
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        RT_FAIL(RT_IO, "cannot make '%s': %s", path, strerror(errno));
    RT_TRY(rt_fs_sync_dir(dir, err)); /* before anything in it counts as kept */
done:
    return st;
}

enum rt_status rt_index_remove_checkpoint(const char *dir, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct stat info;
    uint64_t n = 0;
    RT_TRY(rt_fs_join(dir, "checkpoint", path, err));
    if (lstat(path, &info) != 0 || !S_ISDIR(info.st_mode)) /* a link is not ours to follow */
        return RT_OK;
    RT_TRY(sweep_files(path, REMOVE_STATES, NULL, 0, &n, err));
    if (rmdir(path) != 0 && errno != ENOTEMPTY && errno != EEXIST) /* others' files stay */
        RT_FAIL(RT_IO, "cannot remove '%s': %s", path, strerror(errno));
done:
    return st;
}
