#include "core/memory.h"

#include "core/fault.h"

#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 64 /* keeps the array aligned; its first 8 bytes hold the size */

static atomic_size_t bytes_now;
static atomic_size_t bytes_peak;

static void count_up(size_t bytes)
{
    size_t now = atomic_fetch_add(&bytes_now, bytes) + bytes;
    size_t peak = atomic_load(&bytes_peak);
    while (now > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, now))
        ;
}

enum rt_status rt_array_new(size_t count, size_t size, void *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        RT_FAIL(RT_NOMEM, "an array of %zu x %zu bytes is beyond the address space", count, size);
    size_t whole = rt_whole_lines(bytes + HEADER);
    char *block = RT_FAULT("malloc") ? NULL : aligned_alloc(64, whole);
    if (!block)
        RT_FAIL(RT_NOMEM, "out of memory: %zu bytes wanted, %zu held", bytes, rt_memory_now());
    memcpy(block, &bytes, sizeof bytes);
    char *array = block + HEADER;
    memcpy(out, &array, sizeof array);
    count_up(bytes);
done:
    return st;
}

enum rt_status rt_array_zero(size_t count, size_t size, void *out, struct rt_error *err)
{
    enum rt_status st = rt_array_new(count, size, out, err);
    if (st == RT_OK) {
        void *array = NULL;
        memcpy(&array, out, sizeof array);
        memset(array, 0, count * size);
    }
    return st;
}

static size_t size_of(const void *array)
{
    size_t bytes = 0;
    memcpy(&bytes, (const char *)array - HEADER, sizeof bytes);
    return bytes;
}

enum rt_status rt_array_resize(size_t count, size_t size, void *array, struct rt_error *err)
{
    void *old = NULL;
    void *grown = NULL;
    memcpy(&old, array, sizeof old);
    enum rt_status st = rt_array_new(count, size, &grown, err);
    if (st == RT_OK) {
        if (old) {
            size_t keep = size_of(old) < count * size ? size_of(old) : count * size;
            memcpy(grown, old, keep);
            rt_array_free(old);
        }
        memcpy(array, &grown, sizeof grown);
    }
    return st;
}

void rt_array_free(void *array)
{
    if (!array)
        return;
    atomic_fetch_sub(&bytes_now, size_of(array));
    free((char *)array - HEADER);
}

void rt_memory_add(size_t bytes)
{
    count_up(bytes);
}

void rt_memory_remove(size_t bytes)
{
    atomic_fetch_sub(&bytes_now, bytes);
}

size_t rt_memory_now(void)
{
    return atomic_load(&bytes_now);
}

size_t rt_memory_peak(void)
{
    return atomic_load(&bytes_peak);
}

void rt_memory_reset_peak(void)
{
    atomic_store(&bytes_peak, atomic_load(&bytes_now));
}

enum rt_status rt_to_int(uint64_t value, int *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (value > INT_MAX)
        RT_FAIL(RT_USAGE, "%" PRIu64 " is too large here (at most %d)", value, INT_MAX);
    *out = (int)value;
done:
    return st;
}
