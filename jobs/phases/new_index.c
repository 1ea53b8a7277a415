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

/* With the lock held: others may have built or published something before it was ours. */
static enum rt_status look_again(const char *dir, const struct rt_options *options,
                                 struct rt_index_dir_begin *begin, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool was_empty = begin->state == RT_INDEX_MISSING || begin->state == RT_INDEX_EMPTY;
    enum rt_index_state now;
    uint64_t next = 0;
    RT_TRY(rt_index_dir_state(dir, &now, err));
    RT_TRY(rt_index_dir_next(dir, &next, err));
    if (was_empty && next > 1) {
        RT_TRY(rt_index_dir_admit(dir, now, options->force, options->resume, err));
        begin->made = false;
    }
    if (now == RT_INDEX_PUBLISHED || !options->resume)
        begin->generation = next;
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
    RT_TRY(look_again(dir, options, begin, err));
done:
    if (st != RT_OK && *lock) { /* what is there is not this job's to undo */
        rt_lock_release(*lock);
        *lock = NULL;
    }
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
