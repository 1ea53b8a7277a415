/* LOCK: one writer of an index at a time, on any host of the cluster. Made by link(2), so that it
 * holds on NFS. Taken over without force only where its process, on this very boot, is gone, or
 * where the same batch job has come back with a larger restart count. Table in docs/format.md,
 * "LOCK". */
#ifndef RT_IO_LOCK_H
#define RT_IO_LOCK_H

#include "core/error.h"

#include <stdbool.h>
#include <stdint.h>

struct rt_lock_owner { /* what LOCK holds; texts are empty where unknown */
    char host[72];
    char boot_id[40];
    char pid_space[40];       /* of the process number: containers share a boot */
    uint64_t pid, start_time; /* ticks since boot */
    char job_id[72];          /* SLURM_JOB_ID */
    uint64_t restart_count;   /* SLURM_RESTART_COUNT */
    int64_t since;            /* seconds since the epoch, for people */
    char nonce[40];           /* 32 hex digits: this taking of the lock */
};
struct rt_lock;
struct rt_lock_options {
    bool break_lock;     /* take it whoever holds it */
    double wait_seconds; /* after taking one over; 5 (tests: 0) */
};
/* Fills in this process as owner. */
void rt_lock_self(struct rt_lock_owner *owner);
/* One rank takes DIR/LOCK. Fails with RT_USAGE where it is held, naming holder and remedy; RT_IO.
 */
enum rt_status rt_lock_take(const char *dir, const struct rt_lock_options *options,
                            struct rt_lock **out, struct rt_error *err) RT_MUST_CHECK;
/* Still ours? To be asked before publishing. Fails with RT_USAGE where another has taken it over.
 */
enum rt_status rt_lock_check(const struct rt_lock *lock, struct rt_error *err) RT_MUST_CHECK;
/* 32 hex digits of this taking of the lock; lent as long as the handle lives. */
const char *rt_lock_nonce(const struct rt_lock *lock);
/* Removes LOCK if it is still ours, frees the handle; NULL is fine. */
void rt_lock_release(struct rt_lock *lock);
/* Who holds it: *is_held false where there is no LOCK. A LOCK that cannot be understood is held,
 * texts empty. */
enum rt_status rt_lock_read(const char *dir, bool *is_held, struct rt_lock_owner *owner,
                            struct rt_error *err) RT_MUST_CHECK;
/* RT_USAGE, naming the owner, where a lock is held that rt_lock_take would not take over. Also
 * fails with RT_IO. */
enum rt_status rt_lock_require_free(const char *dir, struct rt_error *err) RT_MUST_CHECK;
/* May `self` take over from `owner`? Pure but for asking whether the process lives. */
bool rt_lock_is_stale(const struct rt_lock_owner *owner, const struct rt_lock_owner *self);
/* Whether `path`, which a taker links LOCK from, was left by one that is gone, as far as can be
 * told here. */
bool rt_lock_is_left(const char *path);

#endif
