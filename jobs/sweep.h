/* What a sweep of a search over probes and epsilon has found: points of recall and rate, the front
 * of those that none beats in both, a table for programs and a page for people. No MPI. */
#ifndef RT_JOBS_SWEEP_H
#define RT_JOBS_SWEEP_H

#include "core/error.h"
#include "core/tree.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_SWEEP_EPSILONS 5
#define RT_SWEEP_POINTS (33 * RT_SWEEP_EPSILONS) /* probes double from 1 to at most 2^32 */

extern const float rt_sweep_epsilons[RT_SWEEP_EPSILONS]; /* ascending */

struct rt_sweep_point {
    uint32_t probes; /* leaves */
    float epsilon;
    double recall;  /* 0..1 */
    double seconds; /* of all queries */
    double queries_per_second;
    double lists, rows, reranked; /* of a query, in the mean */
    bool is_front; /* no other is at least as good in recall and rate, and better in one */
};
struct rt_sweep {
    const char *index; /* lent */
    uint32_t k;
    uint64_t n_queries;
    int n_ranks;
    size_t n;
    struct rt_sweep_point point[RT_SWEEP_POINTS]; /* by probes, then epsilon */
};

/* Whether twice the probes of the last row are worth a look: recall at the largest epsilon still
 * gains. The same on any number of ranks, as recall is. */
bool rt_sweep_gains(const struct rt_sweep *sweep);
/* Marks the front. */
void rt_sweep_mark_front(struct rt_sweep *sweep);
/* BASE.csv and BASE.html can be written. Fails with RT_USAGE, RT_IO. */
enum rt_status rt_sweep_check_base(const char *base, struct rt_error *err) RT_MUST_CHECK;
/* Writes both. Fails with RT_IO. */
enum rt_status rt_sweep_write(const struct rt_sweep *sweep, const char *base,
                              struct rt_error *err) RT_MUST_CHECK;
/* One object a point; NULL where memory ran out. */
json_t *rt_sweep_json(const struct rt_sweep *sweep);

#endif
