/* Clustered random rows as a pure function of (seed, row): centres and rows lie near a linear
 * manifold of few dimensions, clusters differ in size and width. The same bits on every machine
 * (A1, A7). Depends on core alone. */
#ifndef RT_JOBS_SYNTH_ROWS_H
#define RT_JOBS_SYNTH_ROWS_H

#include "core/element.h"
#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

struct rt_synth_shape {
    uint32_t dim;
    uint32_t n_clusters;
    double skew;          /* cluster c (from 1) has weight c^(-skew/2) */
    enum rt_element type; /* u8 and i8 rows are scaled to their range */
    uint64_t seed;
};

enum rt_synth_kind { RT_SYNTH_ROW, RT_SYNTH_QUERY };

struct rt_synth;
/* The caller frees *out with rt_synth_free. Fails with RT_NOMEM (8 bytes a cluster are kept). */
enum rt_status rt_synth_new(const struct rt_synth_shape *shape, struct rt_synth **out,
                            struct rt_error *err) RT_MUST_CHECK;
void rt_synth_free(struct rt_synth *synth); /* NULL is fine */

/* Rows (or queries) [begin, begin + n_rows), n_rows x dim floats, each a value its element type
 * holds exactly. */
void rt_synth_rows(const struct rt_synth *synth, enum rt_synth_kind kind, uint64_t begin,
                   size_t n_rows, float *out);

#endif
