#include "core/assigner.h"

#include <string.h>

size_t rt_row_code_bytes(uint32_t dim)
{
    return rt_code_stride(dim) + sizeof(struct rt_row_sizes);
}

void rt_row_code(enum rt_metric distance, const float *row, const float *reference, uint32_t dim,
                 void *code)
{
    struct rt_quantised q;
    rt_kernels()->quantise(row, distance == RT_IP ? NULL : reference, dim, code, &q);
    struct rt_row_sizes sizes = rt_row_sizes(q.scale, q.norm2, q.error2);
    memcpy((uint8_t *)code + rt_code_stride(dim), &sizes, sizeof sizes);
}

void rt_row_decode(const void *code, const float *reference, uint32_t dim, float *out)
{
    const uint8_t *codes = code;
    struct rt_row_sizes sizes;
    memcpy(&sizes, codes + rt_code_stride(dim), sizeof sizes);
    for (uint32_t i = 0; i < dim; i++)
        out[i] = reference[i] + sizes.scale * (float)((int)codes[i] - 128);
}
