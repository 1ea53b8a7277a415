/* Threads beside the one that works. */
#ifndef RT_CORE_THREAD_H
#define RT_CORE_THREAD_H

#include "core/error.h"

#include <pthread.h>

/* Starts a thread that takes no signals: they belong to the one that works. The caller joins it.
 * Fails with RT_NOMEM. */
enum rt_status rt_thread_start(pthread_t *thread, void *(*run)(void *), void *context,
                               struct rt_error *err) RT_MUST_CHECK;

#endif
