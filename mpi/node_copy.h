/* One copy a node of what all ranks of a job make together: each writes its part, and what other
 * nodes have made comes once to a node, each of its ranks fetching a part of it. Where ranks cannot
 * share memory each of them is a place of its own; else a place is a node. */
#ifndef RT_MPI_NODE_COPY_H
#define RT_MPI_NODE_COPY_H

#include "core/error.h"
#include "mpi/partition.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_node_copy;

/* Collective over comm, which must outlive it. node: the ranks of comm that share memory with this
 * one (rt_world.node); MPI_COMM_NULL: none, as where /dev/shm is too small. n_bytes is the same on
 * all ranks; contents are undefined. Fails with RT_NOMEM on all ranks. */
enum rt_status rt_node_copy_new(MPI_Comm comm, MPI_Comm node, size_t n_bytes,
                                struct rt_node_copy **out, struct rt_error *err) RT_MUST_CHECK;
/* Another over the same places; where there is no room for it every rank has it alone. */
enum rt_status rt_node_copy_beside(const struct rt_node_copy *copy, size_t n_bytes,
                                   struct rt_node_copy **out, struct rt_error *err) RT_MUST_CHECK;
void rt_node_copy_free(struct rt_node_copy *copy); /* collective; NULL on all ranks is fine */
/* Bytes of it that one rank bears where n_ranks share it. */
uint64_t rt_node_copy_bytes(uint64_t n_bytes, uint32_t n_ranks);

void *rt_node_copy_data(const struct rt_node_copy *copy); /* 64-byte aligned */
int rt_node_copy_n_places(const struct rt_node_copy *copy);
/* Whether that rank of comm is of this rank's place. */
bool rt_node_copy_is_here(const struct rt_node_copy *copy, int rank);
/* What falls to this rank where those of its place do [0, count) together. */
struct rt_range rt_node_copy_part(const struct rt_node_copy *copy, uint64_t count);
/* Ends a time in which ranks of the place write, or one in which they read what will be written
 * then: nobody goes on before all are here. Collective over the place. */
void rt_node_copy_meet(const struct rt_node_copy *copy);
/* Sets each of n flags where a rank of the place has set it. Collective over the place. */
void rt_node_copy_unite(const struct rt_node_copy *copy, bool *flags, size_t n);
/* counts[r] bytes of each rank r, in rank order, are the copy's first: each rank has written its
 * own, and afterwards has all. Each byte goes once to each other place. Collective over comm;
 * counts agree. */
void rt_node_copy_gather(struct rt_node_copy *copy, const uint64_t *counts);

#endif
