#include "jobs/phases/new_index.h"

#include <unistd.h>

static enum rt_status refuse_locked(const char *dir, const struct rt_options *options,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum rt_index_state state;
    RT_TRY(rt_index_dir_state(dir, &state, err));
    if ((state == RT_INDEX_UNFINISHED || options->resume) && state != RT_INDEX_MISSING &&
        !options->break_lock)
        RT_TRY(rt_lock_require_free(dir, err));
done:
    return st;
}

enum rt_status rt_new_index_begin(const char *dir, const struct rt_options *options,
                                  struct rt_index_dir_begin *begin, struct rt_lock **lock,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lock_options how = {.break_lock = options->break_lock, .wait_seconds = 5};
    RT_TRY(refuse_locked(dir, options, err));
    RT_TRY(rt_index_dir_begin(dir, options->force, options->resume, begin, err));
    RT_TRY(rt_lock_take(dir, &how, lock, err));
    if (begin->generation > 1) /* others may have published before the lock was ours */
        RT_TRY(rt_index_dir_next(dir, &begin->generation, err));
done:
    return st;
}

void rt_new_index_undo(const char *dir, const struct rt_index_dir_begin *begin,
                       const struct rt_lock *lock, bool is_ours)
{
    struct rt_error ignored;
    if (lock && is_ours && rt_lock_check(lock, &ignored) == RT_OK)
        rt_index_dir_undo(dir, begin);
    else if (begin->made)
        (void)rmdir(dir);
}
