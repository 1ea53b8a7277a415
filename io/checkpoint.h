/* INDEX/checkpoint/: what a job has done so far, for one that goes on with it. Each state is a file
 * of its own, with its length and checksum in front; what is in it is its writer's business. A
 * state is there whole or not at all, and the one before it is kept until the next is there.
 * Private to the job: gone when it has published. No MPI. */
#ifndef RT_IO_CHECKPOINT_H
#define RT_IO_CHECKPOINT_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_CHECKPOINT_NAME 40 /* bytes of a state's name, NUL included */

/* A state being written; one thread. */
struct rt_checkpoint;
/* Begins checkpoint/NAME beside the state of that name that is there; makes the folder. dir is
 * INDEX, lent. Fails with RT_IO, RT_NOMEM. */
enum rt_status rt_checkpoint_begin(const char *dir, const char *name, struct rt_checkpoint **out,
                                   struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_checkpoint_put(struct rt_checkpoint *checkpoint, const void *bytes,
                                 size_t n_bytes, struct rt_error *err) RT_MUST_CHECK;
/* Makes it durable under its name (G3) and frees the handle, in every case. */
enum rt_status rt_checkpoint_commit(struct rt_checkpoint *checkpoint,
                                    struct rt_error *err) RT_MUST_CHECK;
void rt_checkpoint_drop(struct rt_checkpoint *checkpoint); /* forgets it; NULL is fine */

/* Begin, put, commit. */
enum rt_status rt_checkpoint_write(const char *dir, const char *name, const void *bytes,
                                   size_t n_bytes, struct rt_error *err) RT_MUST_CHECK;
/* The newest state of that name that is whole; *bytes NULL where there is none. The caller frees
 * *bytes with rt_array_free. Fails with RT_USAGE (written by another version), RT_IO, RT_NOMEM. */
enum rt_status rt_checkpoint_read(const char *dir, const char *name, unsigned char **bytes,
                                  size_t *n_bytes, struct rt_error *err) RT_MUST_CHECK;

/* Calls visit for the name of every state in the folder that begins with `prefix`; none where there
 * is no folder. Names may come twice. */
enum rt_status rt_checkpoint_names(const char *dir, const char *prefix,
                                   void (*visit)(void *context, const char *name), void *context,
                                   struct rt_error *err) RT_MUST_CHECK;
/* Removes a state and the one before it; none is fine. */
enum rt_status rt_checkpoint_remove(const char *dir, const char *name,
                                    struct rt_error *err) RT_MUST_CHECK;

#endif
