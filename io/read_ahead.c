#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "io/read_ahead.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define ASKS 4096u   /* after a wait: some 10 ms where all is in memory already */
#define SELDOM 64u   /* steps between two looks while all is in memory */
#define WATCHED 256u /* steps after the last ask, or the first of all, that are all looked at */

#define WINDOW ((uintptr_t)2 << 20)
#define LOOKS 4u /* at a window */
#define MOST_WAITS 16

#ifndef RUSAGE_THREAD
#define RUSAGE_THREAD RUSAGE_SELF
#endif

static long waits(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
}

bool rt_read_ahead_begin(struct rt_read_ahead *ahead)
{
    if (ahead->n_asks > 0)
        return true;
    if (ahead->n_steps++ >= WATCHED && ahead->n_steps % SELDOM != 0)
        return false;
    long n_waits = waits();
    if (n_waits != ahead->n_waits) {
        ahead->n_waits = n_waits;
        ahead->n_steps = 0;
        ahead->n_asks = ASKS;
    }
    return ahead->n_asks > 0;
}

/* The whole pages that hold the bytes. */
static void advise(const void *bytes, size_t n, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)bytes / page * page;
    if (n > 0) /* a hint: where it is refused, reading waits */
        (void)madvise((void *)begin, n + ((uintptr_t)bytes - begin), advice);
}

void rt_read_ahead_ask(struct rt_read_ahead *ahead, const void *bytes, size_t n)
{
    ahead->n_asks -= ahead->n_asks > 0;
    advise(bytes, n, MADV_WILLNEED);
}

/* Some pages of a window stand for all. Where the system does not tell they seem to be there. */
static bool is_in_memory(uintptr_t begin, uintptr_t end, uintptr_t page)
{
    for (uintptr_t at = begin; at < end; at += WINDOW / LOOKS) {
        unsigned char there = 0;
        if (mincore((void *)at, page, &there) != 0 || !(there & 1))
            return false;
    }
    return true;
}

void rt_read_ahead_map(const void *bytes, size_t n)
{
#ifdef MADV_POPULATE_READ
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t end = (uintptr_t)bytes + n;
    const long n_waits = waits();
    for (uintptr_t at = (uintptr_t)bytes / page * page;
         bytes && at < end && waits() - n_waits < MOST_WAITS;) {
        uintptr_t next = (at / WINDOW + 1) * WINDOW;
        next = next < end ? next : end;
        if (is_in_memory(at, next, page) && madvise((void *)at, next - at, MADV_POPULATE_READ) != 0)
            return;
        at = next;
    }
#else
    (void)bytes, (void)n;
#endif
}

void rt_read_ahead_at_random(const void *bytes, size_t n)
{
    advise(bytes, n, MADV_RANDOM);
}
