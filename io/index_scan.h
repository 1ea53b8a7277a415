/* An opened index as a scanner sees it (core/scan.h): the blocks of its lists, frozen and
 * appendable, its vectors, and which of its rows may be found. No MPI. */
#ifndef RT_IO_INDEX_SCAN_H
#define RT_IO_INDEX_SCAN_H

#include "core/scan.h"
#include "io/heap_vectors.h"
#include "io/index_rows.h"

#include <stdbool.h>
#include <stdint.h>

/* probes as they were asked for (n_given of them: none, one for the leaves, or one a level) to one
 * number a level: defaults and clipping as docs/algorithms.md has them. Fails with RT_USAGE. */
enum rt_status rt_index_probes(const struct rt_index_view *view, const uint64_t *given,
                               uint32_t n_given, uint32_t probes[RT_MAX_LEVELS],
                               struct rt_error *err) RT_MUST_CHECK;

struct rt_index_scan_source { /* all lent for the life of the scan */
    const struct rt_index_view *view;
    struct rt_heap_vectors *heap;                  /* where vectors stay in the heap, else NULL */
    bool (*is_wanted)(void *context, uint64_t id); /* ids that may be found; NULL: all */
    void *context;
};

/* Before that many queries with options->k and max_probes: maps what is in memory of the files that
 * they will touch nearly everywhere. */
void rt_index_scan_expect(const struct rt_index_scan_source *source,
                          const struct rt_scan_options *options, uint64_t n_queries);

/* What one thread scans an index with. */
struct rt_index_scan;
/* Fails with RT_NOMEM. */
enum rt_status rt_index_scan_new(const struct rt_index_scan_source *source,
                                 const struct rt_scan_options *options, struct rt_index_scan **out,
                                 struct rt_error *err) RT_MUST_CHECK;
void rt_index_scan_free(struct rt_index_scan *scan); /* NULL is fine */
/* Its scanner, lent. Searches fail with RT_DAMAGED and, from a heap, RT_INPUT and RT_IO; with
 * RT_NOMEM where a list has appendable records. */
struct rt_scanner *rt_index_scanner(struct rt_index_scan *scan);

#endif
