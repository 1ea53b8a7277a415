/* Every large allocation of the program: overflow-checked, 64-byte aligned (from 256 KiB on at a
 * page, so that files can be written from it past the page cache), counted, so that a rank can hold
 * its budget and report its peak: private bytes, and its part of node-shared memory. */
#ifndef RT_CORE_MEMORY_H
#define RT_CORE_MEMORY_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stores in *(T **)out a new array of count elements of size bytes, contents undefined; count 0
 * gives a valid pointer. Free with rt_array_free. Fails with RT_NOMEM, naming the size. */
enum rt_status rt_array_new(size_t count, size_t size, void *out,
                            struct rt_error *err) RT_MUST_CHECK;
/* The same, filled with zero bytes. */
enum rt_status rt_array_zero(size_t count, size_t size, void *out,
                             struct rt_error *err) RT_MUST_CHECK;
/* Grows or shrinks *(T **)array (NULL: new), keeping the contents; *array is untouched on failure.
 */
enum rt_status rt_array_resize(size_t count, size_t size, void *array,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_array_free(void *array); /* NULL is fine */
/* From now on pages of large arrays that are freed are kept for the next ones, as far as more has
 * been held since the last rt_memory_reset_peak; or no longer, and all go back. For jobs that make
 * and free many. */
void rt_memory_keep(bool keep);
/* Bytes of the whole cache lines that so many take: parts of one array begin lines of their own. */
static inline size_t rt_whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Counts bytes that this rank bears and that no array above holds: its part of node-shared memory.
 */
void rt_memory_add(size_t bytes);
void rt_memory_remove(size_t bytes);

/* Bytes held now, the most held since the last rt_memory_reset_peak, and the most ever, over all
 * threads. */
size_t rt_memory_now(void);
size_t rt_memory_peak(void);
size_t rt_memory_most(void);
void rt_memory_reset_peak(void);

/* *out = a * b or a + b; false on overflow. */
static inline bool rt_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool rt_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
/* Narrowing that can fail (RT_USAGE, "... is too large"). */
enum rt_status rt_to_int(uint64_t value, int *out, struct rt_error *err) RT_MUST_CHECK;

#endif
