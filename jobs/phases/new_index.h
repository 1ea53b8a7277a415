/* The directory of an index that is being made: taken with its lock, and taken back where nothing
 * comes of it. All of it on rank 0. */
#ifndef RT_JOBS_PHASES_NEW_INDEX_H
#define RT_JOBS_PHASES_NEW_INDEX_H

#include "core/options.h"
#include "io/index_dir.h"
#include "io/lock.h"

/* As rt_index_dir_begin by the job's --force and --resume, then takes the lock. Another job at work
 * has no CURRENT either: it is named, not taken for one that was left behind. Where it fails,
 * rt_new_index_undo is due all the same. */
enum rt_status rt_new_index_begin(const char *dir, const struct rt_options *options,
                                  struct rt_index_dir_begin *begin, struct rt_lock **lock,
                                  struct rt_error *err) RT_MUST_CHECK;
/* Nothing was published. is_ours: what lies there of this generation, the job has made. Without the
 * lock everything in the directory may be another job's: then only a directory that is empty again
 * goes. */
void rt_new_index_undo(const char *dir, const struct rt_index_dir_begin *begin,
                       const struct rt_lock *lock, bool is_ours);

#endif
