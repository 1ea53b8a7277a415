/* Metrics, and what a row must be before it is used. */
#ifndef RT_CORE_METRIC_H
#define RT_CORE_METRIC_H

#include <stddef.h>
#include <stdint.h>

enum rt_metric { RT_L2 = 0, RT_IP = 1, RT_COSINE = 2 };

enum rt_row_verdict { RT_ROW_GOOD = 0, RT_ROW_NOT_FINITE, RT_ROW_TOO_LARGE, RT_ROW_ZERO };

const char *rt_metric_name(enum rt_metric metric); /* "l2" "ip" "cosine" */
int rt_metric_parse(const char *name, enum rt_metric *out);

/* A6: judges one f32 row of dim values and, under cosine, scales it in place to unit length. Row is
 * untouched where it is bad. */
enum rt_row_verdict rt_metric_prepare_row(enum rt_metric metric, float *row, size_t dim);
/* "holds a value that is not finite", "is all zero (cosine has no direction for it)" ...; NULL for
 * RT_ROW_GOOD. */
const char *rt_row_verdict_text(enum rt_row_verdict verdict);
/* What the user sees for a key distance of this library: l2 as it is (squared), ip as it is
 * (negated product), cosine 1 - cos = half the squared distance of unit rows. */
float rt_metric_shown(enum rt_metric metric, float distance);

#endif
