/* Pages of mapped files that are asked for before they are touched, so that the disk works on many
 * at once; as long as reading waits for the disk, and no longer: asking costs a system call. */
#ifndef RT_IO_READ_AHEAD_H
#define RT_IO_READ_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_read_ahead { /* of one thread; zero to begin with */
    long n_waits;      /* for the disk, so far */
    uint32_t n_asks;   /* left before it is looked again */
    uint32_t n_steps;
};

/* Before each step of some reads: are they to be asked for? Where the thread has lately waited for
 * pages of a mapped file, yes. */
bool rt_read_ahead_begin(struct rt_read_ahead *ahead);
/* Asks for n mapped bytes; returns at once. */
void rt_read_ahead_ask(struct rt_read_ahead *ahead, const void *bytes, size_t n);
/* Mapped bytes that will be touched nearly everywhere: where they are in memory their pages are
 * mapped now, 2 MiB at a time, since a fault for each place that is touched takes longer. Reads
 * nothing but what is missing between pages that are there, and gives up where that is waited for
 * again and again. bytes may be NULL. */
void rt_read_ahead_map(const void *bytes, size_t n);
/* Mapped bytes that will be read here and there: a page that is touched brings no others along. */
void rt_read_ahead_at_random(const void *bytes, size_t n);

#endif
