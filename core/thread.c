#include "core/thread.h"

#include <signal.h>
#include <string.h>

enum rt_status rt_thread_start(pthread_t *thread, void *(*run)(void *), void *context,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(thread, NULL, run, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure)
        RT_FAIL(RT_NOMEM, "cannot start a thread: %s", strerror(failure));
done:
    return st;
}
