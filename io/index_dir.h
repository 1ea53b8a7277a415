/* The directory INDEX: what state it is in, how it is made, what may be removed from it. ranktape
 * never deletes a name it would not have made itself. */
#ifndef RT_IO_INDEX_DIR_H
#define RT_IO_INDEX_DIR_H

#include "core/error.h"
#include "io/format.h"
#include "io/fs.h"
#include "io/manifest.h"

enum rt_index_state {
    RT_INDEX_MISSING = 0, /* no such name; its parent exists */
    RT_INDEX_EMPTY,       /* an empty directory */
    RT_INDEX_PUBLISHED,   /* CURRENT is there */
    RT_INDEX_UNFINISHED,  /* only names of ours, no CURRENT */
    RT_INDEX_FOREIGN      /* a file, or a directory with names that are not ours and no CURRENT */
};
/* Fails with RT_USAGE where the parent is missing, RT_IO where it cannot be read. */
enum rt_status rt_index_dir_state(const char *dir, enum rt_index_state *state,
                                  struct rt_error *err) RT_MUST_CHECK;

/* For jobs that need a published index: RT_USAGE 'no index', 'unfinished build: --resume or
 * --force', 'is no index'. */
enum rt_status rt_index_dir_require(const char *dir, struct rt_error *err) RT_MUST_CHECK;

struct rt_index_dir_begin {
    enum rt_index_state state; /* as found */
    bool made;                 /* this call made the directory */
    uint64_t generation;       /* to write: 1, or as rt_index_dir_next says */
    bool keeps_checkpoint;     /* what lies in checkpoint/ is another job's */
};
/* RT_USAGE where a build may not begin in a directory of this state. */
enum rt_status rt_index_dir_admit(const char *dir, enum rt_index_state state, bool force,
                                  bool resume, struct rt_error *err) RT_MUST_CHECK;
/* For build: makes a missing directory. A published one needs force, and stays readable until the
 * new generation is published; an unfinished one needs force or resume; a foreign one is refused
 * always (RT_USAGE). */
enum rt_status rt_index_dir_begin(const char *dir, bool force, bool resume,
                                  struct rt_index_dir_begin *out,
                                  struct rt_error *err) RT_MUST_CHECK;
/* The generation a job may write in a directory: greater than that of every file there, whoever
 * left it. */
enum rt_status rt_index_dir_next(const char *dir, uint64_t *generation,
                                 struct rt_error *err) RT_MUST_CHECK;
/* The same, and an empty manifest-G.json.partial says from now on that it is taken: a job whose
 * lock was broken and its taker share no name, however little the first has written. Publishing
 * that generation makes it the manifest; rt_index_dir_undo or rt_index_dir_disclaim takes it away.
 * Fails with RT_IO, RT_DAMAGED, RT_USAGE where the name is too long. */
enum rt_status rt_index_dir_claim(const char *dir, uint64_t *generation,
                                  struct rt_error *err) RT_MUST_CHECK;
void rt_index_dir_disclaim(const char *dir, uint64_t generation);
/* After exit 2: takes away what a job has made (its generation's files, LOCK, its checkpoint/) and,
 * where `made`, the directory. Failures are not told: the message of the job stands. */
void rt_index_dir_undo(const char *dir, const struct rt_index_dir_begin *begin);
/* With the lock held: removes files of ours that no manifest to be kept names: other generations'
 * leftovers, .partial names, checkpoint/. keep: manifests to keep (the one published first); NULL
 * entries are skipped. *n_removed may be NULL. */
enum rt_status rt_index_dir_clean(const char *dir, const struct rt_manifest *const *keep,
                                  size_t n_keep, uint64_t *n_removed,
                                  struct rt_error *err) RT_MUST_CHECK;

/* The same, keeping the published generation and those before it that were published and whose
 * manifests can be read, n_generations in all (H6). Nothing goes where the lock is not ours any
 * more (RT_USAGE): what its taker writes is named nowhere yet. */
enum rt_status rt_index_dir_keep(const char *dir, const struct rt_lock *lock,
                                 uint64_t n_generations, uint64_t *n_removed,
                                 struct rt_error *err) RT_MUST_CHECK;

/* How many files that would remove; needs no lock, but a writer's files count as well. */
enum rt_status rt_index_dir_orphans(const char *dir, uint64_t n_generations, uint64_t *n,
                                    struct rt_error *err) RT_MUST_CHECK;

/* "tree-7.h5" with partial "tree-7.h5.partial"; with dir in front. */
enum rt_status rt_index_path(const char *dir, enum rt_file_kind kind, uint64_t number, bool partial,
                             char path[RT_PATH_MAX], struct rt_error *err) RT_MUST_CHECK;
/* Renames NAME.partial to NAME (not yet durable: rt_fs_sync_dir). */
enum rt_status rt_index_finish_file(const char *dir, enum rt_file_kind kind, uint64_t number,
                                    struct rt_error *err) RT_MUST_CHECK;
/* For a job that goes on where one was interrupted while it published: files of this generation
 * that have their names already are .partial again. */
enum rt_status rt_index_unfinish_files(const char *dir, uint64_t number,
                                       struct rt_error *err) RT_MUST_CHECK;
/* DIR/checkpoint, made where it is missing. */
enum rt_status rt_index_checkpoint_dir(const char *dir, char path[RT_PATH_MAX],
                                       struct rt_error *err) RT_MUST_CHECK;
/* Removes what is ours in checkpoint/, and the folder unless others have put something there. */
enum rt_status rt_index_remove_checkpoint(const char *dir, struct rt_error *err) RT_MUST_CHECK;
/* Is this a name that ranktape makes in INDEX? */
bool rt_index_name_is_ours(const char *name);
/* In INDEX/checkpoint? */
bool rt_index_state_is_ours(const char *name);

#endif
