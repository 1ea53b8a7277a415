#include "jobs/phases/behind.h"

#include "core/memory.h"
#include "core/thread.h"
#include "io/file_clock.h"

#include <pthread.h>
#include <stdbool.h>

struct rt_behind {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_running; /* the thread; not in a simulation, where pieces are done at once */
    bool is_ending;
    rt_behind_work work; /* NULL: none under way */
    void *context;
    enum rt_status status; /* of the last piece */
    struct rt_error error;
};

static void *run(void *context)
{
    struct rt_behind *b = context;
    (void)pthread_mutex_lock(&b->mutex);
    while (true) {
        while (!b->work && !b->is_ending)
            (void)pthread_cond_wait(&b->changed, &b->mutex);
        if (!b->work)
            break;
        (void)pthread_mutex_unlock(&b->mutex);
        b->status = b->work(b->context, &b->error);
        (void)pthread_mutex_lock(&b->mutex);
        b->work = NULL;
        (void)pthread_cond_broadcast(&b->changed);
    }
    (void)pthread_mutex_unlock(&b->mutex);
    return NULL;
}

enum rt_status rt_behind_new(struct rt_behind **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_behind *b = NULL;
    RT_TRY(rt_array_zero(1, sizeof *b, &b, err));
    (void)pthread_mutex_init(&b->mutex, NULL);
    (void)pthread_cond_init(&b->changed, NULL);
#ifdef RT_WITHOUT_THREADS
    (void)run;
#else
    RT_TRY(rt_thread_start(&b->thread, run, b, err));
    b->is_running = true;
#endif
    *out = b;
    b = NULL;
done:
    rt_behind_free(b);
    return st;
}

void rt_behind_free(struct rt_behind *behind)
{
    if (!behind)
        return;
    if (behind->is_running) {
        (void)pthread_mutex_lock(&behind->mutex);
        behind->is_ending = true;
        (void)pthread_cond_broadcast(&behind->changed);
        (void)pthread_mutex_unlock(&behind->mutex);
        (void)pthread_join(behind->thread, NULL);
    }
    (void)pthread_cond_destroy(&behind->changed);
    (void)pthread_mutex_destroy(&behind->mutex);
    rt_array_free(behind);
}

void rt_behind_start(struct rt_behind *behind, rt_behind_work work, void *context)
{
    if (!behind->is_running) {
        behind->status = work(context, &behind->error);
        return;
    }
    (void)pthread_mutex_lock(&behind->mutex);
    rt_assert(!behind->work);
    behind->work = work;
    behind->context = context;
    (void)pthread_cond_broadcast(&behind->changed);
    (void)pthread_mutex_unlock(&behind->mutex);
}

enum rt_status rt_behind_wait(struct rt_behind *behind, struct rt_error *err)
{
    if (!behind)
        return RT_OK;
    double began = rt_file_clock_begin();
    (void)pthread_mutex_lock(&behind->mutex);
    while (behind->work)
        (void)pthread_cond_wait(&behind->changed, &behind->mutex);
    (void)pthread_mutex_unlock(&behind->mutex);
    rt_file_clock_end(began);
    enum rt_status st = behind->status;
    if (st != RT_OK)
        *err = behind->error;
    behind->status = RT_OK;
    return st;
}
