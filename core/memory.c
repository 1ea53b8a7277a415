#include "core/memory.h"

#include "core/fault.h"
#include "core/region.h"

#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LINE ((size_t)64)
#define PAGE ((size_t)4096)
#define LARGE ((size_t)256 << 10) /* from here on an array begins at a page */

#define KEPT ((size_t)1 << 20) /* and its pages are kept, where any are */
/* Pages of its own are nothing to a sanitizer: it would see no overflow there, and no leak. */
#ifdef __SANITIZE_ADDRESS__
#define CAN_KEEP false
#else
#define CAN_KEEP true
#endif

/* In the line before an array. */
struct header {
    size_t bytes, to_block; /* of the array; from the block's begin to the array's */
    bool is_region;
};

static atomic_size_t bytes_now;
static atomic_size_t bytes_peak;
static atomic_size_t bytes_most; /* before the last reset */
static atomic_bool keeps;

/* What may be kept: together with what is held no more than has been held at once. */
static size_t room_to_keep(void)
{
    size_t now = atomic_load(&bytes_now);
    size_t peak = atomic_load(&bytes_peak);
    return atomic_load(&keeps) && now < peak ? peak - now : 0;
}

static void count_up(size_t bytes)
{
    size_t now = atomic_fetch_add(&bytes_now, bytes) + bytes;
    size_t peak = atomic_load(&bytes_peak);
    while (now > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, now))
        ;
}

void rt_memory_keep(bool keep)
{
    atomic_store(&keeps, keep && CAN_KEEP);
    rt_region_keep(room_to_keep());
}

static struct header layout_of(size_t bytes)
{
    struct header header = {bytes, bytes >= LARGE ? PAGE : LINE,
                            bytes >= KEPT && atomic_load(&keeps)};
    return header;
}

/* From the begin of the block to the end of an array, and to where aligned_alloc wants it. */
static size_t block_bytes(const struct header *header)
{
    return (header->bytes + 2 * header->to_block - 1) / header->to_block * header->to_block;
}

/* Counted, so that what is kept makes room before pages are taken; NULL: there are none. */
static char *new_block(const struct header *header)
{
    char *block = NULL;
    count_up(header->bytes);
    if (header->is_region) {
        block = rt_region_take(block_bytes(header), room_to_keep());
    } else {
        if (atomic_load(&keeps))
            rt_region_keep(room_to_keep());
        block = aligned_alloc(header->to_block, block_bytes(header));
    }
    if (!block)
        atomic_fetch_sub(&bytes_now, header->bytes);
    return block;
}

enum rt_status rt_array_new(size_t count, size_t size, void *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        RT_FAIL(RT_NOMEM, "an array of %zu x %zu bytes is beyond the address space", count, size);
    struct header header = layout_of(bytes);
    char *block = RT_FAULT("malloc") ? NULL : new_block(&header);
    if (!block)
        RT_FAIL(RT_NOMEM, "out of memory: %zu bytes wanted, %zu held", bytes, rt_memory_now());
    char *array = block + header.to_block;
    memcpy(array - LINE, &header, sizeof header);
    memcpy(out, &array, sizeof array);
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

static struct header header_of(const void *array)
{
    struct header header;
    memcpy(&header, (const char *)array - LINE, sizeof header);
    return header;
}

enum rt_status rt_array_resize(size_t count, size_t size, void *array, struct rt_error *err)
{
    void *old = NULL;
    void *grown = NULL;
    memcpy(&old, array, sizeof old);
    enum rt_status st = rt_array_new(count, size, &grown, err);
    if (st == RT_OK) {
        if (old) {
            size_t bytes = header_of(old).bytes;
            memcpy(grown, old, bytes < count * size ? bytes : count * size);
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
    struct header header = header_of(array);
    atomic_fetch_sub(&bytes_now, header.bytes);
    char *block = (char *)array - header.to_block;
    if (header.is_region)
        rt_region_give(block, block_bytes(&header), room_to_keep());
    else
        free(block);
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

size_t rt_memory_most(void)
{
    size_t before = atomic_load(&bytes_most);
    size_t since = atomic_load(&bytes_peak);
    return since > before ? since : before;
}

void rt_memory_reset_peak(void)
{
    atomic_store(&bytes_most, rt_memory_most());
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
