/* One generation of an index, opened to be searched by many threads, and what one search needs
 * beside it. No MPI; HDF5 only while opening. */
#ifndef RT_API_SEARCHER_H
#define RT_API_SEARCHER_H

#include "core/assign.h"
#include "core/options.h"
#include "core/rotation.h"
#include "io/index_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_opened { /* read-only once it is open */
    struct rt_index_view *view;
    struct rt_heap_vectors *heap; /* NULL: the index keeps its vectors itself */
    struct rt_rotation *rotation;
    struct rt_centroid_set *sets[RT_MAX_LEVELS];
};
/* moved: heap files that lie elsewhere now. Fails as rt_index_open and rt_heap_vectors_open do. */
enum rt_status rt_opened_open(const char *dir, const struct rt_texts *moved, struct rt_opened *out,
                              struct rt_error *err) RT_MUST_CHECK;
void rt_opened_close(struct rt_opened *opened); /* all zero is fine */

struct rt_searcher_shape { /* what buffers depend on; searchers of one shape can stand in for each
                              other. Unused probes are 0 */
    uint32_t k;
    float epsilon;
    uint32_t batch;                 /* queries at once, at most */
    uint32_t probes[RT_MAX_LEVELS]; /* kept at each level: rt_index_probes */
    uint32_t has_filter;
};

struct rt_searcher_call { /* outputs: n_queries x k */
    const float *queries;
    size_t n_queries; /* any number */
    uint64_t *ids;
    float *distances;                          /* may be NULL */
    struct rt_scan_count *total;               /* added to */
    int (*filter)(void *context, uint64_t id); /* where the shape has one; may be NULL */
    void *filter_context;
    const uint64_t *wanted; /* ascending ids, n_wanted of them, where the shape has a filter; may
                               be NULL */
    size_t n_wanted;
};

/* The scratch of one thread. */
struct rt_searcher;
/* opened is lent for the life of the searcher. */
enum rt_status rt_searcher_new(const struct rt_opened *opened,
                               const struct rt_searcher_shape *shape, struct rt_searcher **out,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_searcher_free(struct rt_searcher *searcher); /* NULL is fine */
bool rt_searcher_has_shape(const struct rt_searcher *searcher,
                           const struct rt_searcher_shape *shape);
/* Fails with RT_INPUT (a query that is no row), RT_DAMAGED, and as rt_index_scanner says. */
enum rt_status rt_searcher_run(struct rt_searcher *searcher, const struct rt_searcher_call *call,
                               struct rt_error *err) RT_MUST_CHECK;

#endif
