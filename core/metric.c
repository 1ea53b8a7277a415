#include "core/metric.h"

#include "core/kernels/kernels.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"l2", "ip", "cosine"};

const char *rt_metric_name(enum rt_metric metric)
{
    return names[metric];
}

int rt_metric_parse(const char *name, enum rt_metric *out)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum rt_metric)i;
            return 0;
        }
    return -1;
}

enum rt_row_verdict rt_metric_prepare_row(enum rt_metric metric, float *row, size_t dim)
{
    /* Squares of finite f32 cannot overflow f64, so the sum is finite where all values are. */
    double norm2 = rt_kernels()->norm2(row, dim);
    if (!isfinite(norm2))
        return RT_ROW_NOT_FINITE;
    if (norm2 > 0x1p120)
        return RT_ROW_TOO_LARGE;
    if (metric != RT_COSINE)
        return RT_ROW_GOOD;
    if (norm2 == 0)
        return RT_ROW_ZERO;
    double norm = sqrt(norm2);
    for (size_t i = 0; i < dim; i++)
        row[i] = (float)((double)row[i] / norm);
    return RT_ROW_GOOD;
}

const char *rt_row_verdict_text(enum rt_row_verdict verdict)
{
    switch (verdict) {
    case RT_ROW_NOT_FINITE:
        return "holds a value that is not finite";
    case RT_ROW_TOO_LARGE:
        return "is longer than 2^60";
    case RT_ROW_ZERO:
        return "is all zero (cosine has no direction for it)";
    case RT_ROW_GOOD:
        break;
    }
    return NULL;
}

float rt_metric_shown(enum rt_metric metric, float distance)
{
    return metric == RT_COSINE ? distance * 0.5f : distance;
}
