/* What can be told of the job that writes an index, from its directory alone: who holds the lock,
 * whether that process lives, and the progress it keeps. Only reads; needs no index to be there
 * yet. */
#ifndef RT_JOBS_JOB_WATCH_H
#define RT_JOBS_JOB_WATCH_H

#include "core/error.h"
#include "io/lock.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum rt_watch_state {
    RT_WATCH_IDLE = 0,   /* no job; a generation is published */
    RT_WATCH_UNFINISHED, /* no job, nothing published: an interrupted build */
    RT_WATCH_BEGINNING,  /* a job holds the lock and has told nothing yet */
    RT_WATCH_RUNNING,
    RT_WATCH_DEAD, /* the lock's process is gone */
    RT_WATCH_ENDED /* stopped or failed, as it has told itself */
};

struct rt_watch {
    enum rt_watch_state state;
    struct rt_lock_owner owner; /* BEGINNING, RUNNING, DEAD */
    json_t *progress;           /* as progress_view.c writes it, but from outside: any field may be
                                   anything. NULL: none */
    double age;                 /* seconds since the progress was written, by this host's clock */
    uint64_t generation;        /* published last; 0: none */
    uint64_t n_rows;
    char digest[33];
};

/* Looks now. Fails with RT_USAGE where dir is no index nor becoming one, RT_IO. A damaged manifest
 * is no failure: its generation stays 0. out->progress is freed by rt_watch_free. */
enum rt_status rt_watch_look(const char *dir, struct rt_watch *out,
                             struct rt_error *err) RT_MUST_CHECK;
void rt_watch_free(struct rt_watch *watch);

/* A number or text of the progress, whatever it is: 0 and "" where it is none. Text is printable
 * ASCII, cut to size. */
double rt_watch_number(const json_t *object, const char *key);
char *rt_watch_text(const json_t *object, const char *key, char *text, size_t size);

#endif
