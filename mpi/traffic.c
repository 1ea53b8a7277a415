#include "mpi/traffic.h"

#include <stdatomic.h>

static atomic_uint_fast64_t n_bytes_in_all;

void rt_traffic_add(uint64_t n_bytes)
{
    atomic_fetch_add_explicit(&n_bytes_in_all, n_bytes, memory_order_relaxed);
}

uint64_t rt_traffic_bytes(void)
{
    return atomic_load_explicit(&n_bytes_in_all, memory_order_relaxed);
}
