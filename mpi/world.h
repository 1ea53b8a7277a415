/* Start and end of MPI: the communicators everybody uses, what the launcher may have done wrong,
 * and this process's own memory. Needs no mpirun (one rank then) and no extension of one MPI
 * library. */
#ifndef RT_MPI_WORLD_H
#define RT_MPI_WORLD_H

#include "core/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#define RT_MAX_HOST 64

struct rt_world {
    MPI_Comm all; /* duplicate of the world; rank numbers of messages and reports are of this one */
    int rank, n_ranks;
    MPI_Comm node; /* the ranks that share this host's memory */
    int node_rank, node_size;
    int max_node_size; /* the most ranks any node has */
    MPI_Comm leaders;  /* rank 0 of every node, in order of node_index; MPI_COMM_NULL on the other
                          ranks */
    int node_index, n_nodes;
    bool is_threaded; /* MPI_THREAD_MULTIPLE was granted */
    bool speaks; /* the one process that prints: rank 0, or the launcher's first of many lone rank
                    0s */
    char host[RT_MAX_HOST];
};

/* Calls MPI_Init_thread, raises the soft limit of open files, fills *world, and makes rt_die end
 * the whole job. Collective over the world. uses_mpio: sets OMPI_MCA_fcoll=^vulcan before MPI
 * starts unless the user has set it (this component is known to corrupt parallel writes). Fails
 * with RT_USAGE: the launcher meant several ranks but each is alone
 * ('MPI was not started by this launcher'), or the hard limit of open files is below n_ranks + 256.
 * After a failure, too, *world is filled and rt_world_end must be called. */
enum rt_status rt_world_begin(int *argc, char ***argv, bool uses_mpio, struct rt_world *world,
                              struct rt_error *err) RT_MUST_CHECK;
/* Frees the communicators and calls MPI_Finalize. Collective over the world. */
void rt_world_end(struct rt_world *world);

/* The host of a rank, for the one line that tells a failure (err->rank is the same everywhere after
 * an agreement). Collective over world->all, same rank on all. */
void rt_world_host_of(const struct rt_world *world, int rank, char host[RT_MAX_HOST]);

/* What the kernel says this process holds, in bytes (J1). */
struct rt_rss {
    uint64_t anonymous; /* RssAnon: private, what a budget counts */
    uint64_t resident;  /* VmRSS: with shared and file pages */
    uint64_t peak;      /* VmHWM: the most resident so far; shared pages count in every rank */
};
/* All zero where /proc does not tell. The base of J1 is `anonymous` after MPI_Init, HDF5's first
 * call and one sgemm. */
struct rt_rss rt_rss_read(void);

#endif
