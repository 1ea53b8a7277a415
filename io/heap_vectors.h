/* Original vectors that stay in the row files (--rerank-in-heap): the heap that the manifest names,
 * opened and found unchanged: a few files at once, many when one of their rows is first asked for.
 */
#ifndef RT_IO_HEAP_VECTORS_H
#define RT_IO_HEAP_VECTORS_H

#include "core/error.h"
#include "core/options.h"
#include "io/manifest.h"

#include <stddef.h>
#include <stdint.h>

struct rt_heap_vectors;
/* moved: --heap N=PATH, heap file N (from 0) lies at PATH now; it and the manifest are lent until
 * the heap is closed. *out is NULL where the index keeps
 * its vectors itself. Fails with RT_USAGE (no such N; moved files that the index does not read),
 * RT_INPUT (file gone, changed in size or time, other shape), RT_IO, RT_NOMEM. Local. */
enum rt_status rt_heap_vectors_open(const struct rt_manifest *manifest,
                                    const struct rt_texts *moved, struct rt_heap_vectors **out,
                                    struct rt_error *err) RT_MUST_CHECK;
void rt_heap_vectors_close(struct rt_heap_vectors *heap); /* NULL is fine */
/* One row into vector (dim elements). Any thread; one at a time inside. Fails as
 * rt_heap_vectors_open does, and with RT_DAMAGED. */
enum rt_status rt_heap_vectors_read(struct rt_heap_vectors *heap, uint64_t row, void *vector,
                                    struct rt_error *err) RT_MUST_CHECK;

#endif
