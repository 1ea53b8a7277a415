/* One copy of read-only data for all ranks of a node: an MPI shared window where /dev/shm has room
 * for it, else a file mapped by all, else private copies. Which one was taken is told, since it
 * decides what a rank's memory is. */
#ifndef RT_MPI_SHARED_H
#define RT_MPI_SHARED_H

#include "core/error.h"
#include "mpi/partition.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rt_shared_kind {
    RT_SHARED_WINDOW = 0, /* node-shared memory; ranks of the node fill it together */
    RT_SHARED_MAPPED,  /* a data file, mapped; holds its contents already; the page cache shares it
                        */
    RT_SHARED_SCRATCH, /* a file of our own without a name, mapped; ranks of the node fill it
                          together */
    RT_SHARED_PRIVATE  /* one copy a rank; each fills all of it */
};

struct rt_shared_options { /* the same on all ranks of the node; tried in this order, private last
                            */
    bool use_window;       /* --pin */
    const char *data_file; /* may be NULL: holds the n_bytes at data_offset */
    uint64_t data_offset;
    const char *scratch_file; /* may be NULL: name of a file to be made; it is unlinked at once */
};

struct rt_shared;
/* Collective over node (ranks of one host, rt_world.node), which must outlive it. n_bytes is the
 * same on all. The window is taken if /dev/shm has room for n_bytes and a reserve, and is touched
 * at once, so that its room is really taken before anybody else looks, and each rank's part of it
 * counts as memory of its own (J1). Fails with RT_NOMEM; with
 * RT_DAMAGED or RT_IO for a data file that is too short or cannot be read. */
enum rt_status rt_shared_new(MPI_Comm node, size_t n_bytes, const struct rt_shared_options *options,
                             struct rt_shared **out, struct rt_error *err) RT_MUST_CHECK;
void rt_shared_free(struct rt_shared *shared); /* collective; NULL on all ranks is fine */

enum rt_shared_kind rt_shared_kind(const struct rt_shared *shared);
const char *rt_shared_kind_text(enum rt_shared_kind kind); /* "node-shared memory" ... */
/* "" where nothing was refused, else why it was not taken: "/dev/shm has 60.0 MiB free, 2.6 GiB
 * wanted". Lent. */
const char *rt_shared_reason(const struct rt_shared *shared);

/* The bytes; at least 16-byte aligned, a mapped data file as its offset allows. */
const void *rt_shared_data(const struct rt_shared *shared);
/* For filling, before rt_shared_filled; NULL for a mapped data file. */
void *rt_shared_target(struct rt_shared *shared);
/* The part of [0, count) things that this rank must fill: its share, nothing (mapped), or all
 * (private). */
struct rt_range rt_shared_fill(const struct rt_shared *shared, uint64_t count);
/* Everybody has filled; from here on all may read. Collective over node. To be called again after
 * each refill, with rt_shared_free_to_fill before it. */
void rt_shared_filled(struct rt_shared *shared);
/* All have read; from here on it may be filled again. Collective over node. */
void rt_shared_free_to_fill(struct rt_shared *shared);

#endif
