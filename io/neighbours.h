/* Truth and results: k ids (and distances) for each query. Reads .ivecs, the bin forms (ids only,
 * or big-ann's knn with distances: told apart by size, whatever the suffix) and HDF5; writes
 * .ivecs, .ibin and HDF5 with the names of ann-benchmarks. Small enough to be held whole by one
 * rank. */
#ifndef RT_IO_NEIGHBOURS_H
#define RT_IO_NEIGHBOURS_H

#include "core/error.h"
#include "core/metric.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_neighbours {
    uint64_t n_queries;
    uint32_t k;
    uint64_t *ids;    /* n_queries x k, nearest first; UINT64_MAX (RT_NO_ID) where there is none */
    float *distances; /* n_queries x k as shown to users (rt_metric_shown), infinity where there is
                         none; or NULL */
};

/* Allocates ids, and distances if asked; ids are all RT_NO_ID, distances infinity. Fails with
 * RT_NOMEM, RT_INPUT where the product overflows. */
enum rt_status rt_neighbours_new(uint64_t n_queries, uint32_t k, bool with_distances,
                                 struct rt_neighbours *out, struct rt_error *err) RT_MUST_CHECK;
void rt_neighbours_free(struct rt_neighbours *neighbours); /* its arrays; zeroes it */

/* Reads ids (distances are left out: NULL). HDF5: FILE.h5 means /neighbors, or FILE.h5:/dataset. -1
 * becomes RT_NO_ID. The caller frees *out. Fails with RT_INPUT (format, size, an id below -1: file
 * and query named), RT_IO, RT_NOMEM. */
enum rt_status rt_neighbours_read(const char *name, struct rt_neighbours *out,
                                  struct rt_error *err) RT_MUST_CHECK;

/* To be called before any work: can name hold ids up to largest_id, k neighbours of n_queries
 * queries? RT_USAGE: unknown suffix, id over 2^31-1 in .ivecs or .ibin, too many queries for .ibin.
 */
enum rt_status rt_neighbours_check_name(const char *name, uint64_t largest_id, uint64_t n_queries,
                                        uint32_t k, struct rt_error *err) RT_MUST_CHECK;
/* Writes by suffix, whole or not at all (NAME.partial, then a rename). HDF5: neighbors i64 (u64
 * where an id is over 2^63-1), distances f64 (for l2 the root of the squared distances given),
 * attributes distance, dimension, type, point_type. RT_USAGE as above, RT_IO, RT_NOMEM. */
enum rt_status rt_neighbours_write(const char *name, const struct rt_neighbours *neighbours,
                                   enum rt_metric metric, uint32_t dim,
                                   struct rt_error *err) RT_MUST_CHECK;

#endif
