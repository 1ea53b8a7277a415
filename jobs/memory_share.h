/* How much memory this job may take on this node. */
#ifndef RT_JOBS_MEMORY_SHARE_H
#define RT_JOBS_MEMORY_SHARE_H

#include <stdint.h>

/* The least of physical memory, the limits of this process's cgroup and those above it (v1 and v2),
 * and the batch system's (SLURM_MEM_PER_NODE, SLURM_MEM_PER_CPU). Files are looked up below root
 * ("" for the real ones). 0: not known. Local. */
uint64_t rt_memory_share_of_node(const char *root);
/* Bytes free in /dev/shm; UINT64_MAX: not known. */
uint64_t rt_memory_share_shm(void);

#endif
