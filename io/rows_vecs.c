/* Records of i32 d and d elements; no count, so the size tells it, and every record's d is checked
 * as it is read. */
#include "io/row_format.h"

#include <string.h>

static const char *if_swapped(uint32_t dim)
{
    uint32_t swapped = __builtin_bswap32(dim);
    return swapped >= 1 && swapped <= RT_MAX_DIM ? " (a big-endian file?)" : "";
}

enum rt_status rt_rows_vecs_header(const struct rt_input_file *file,
                                   const struct rt_row_request *request, struct rt_row_layout *out,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char prefix[4];
    enum rt_element type = (enum rt_element)request->type;
    uint32_t dim = 0;
    uint64_t stride = 0;
    if (file->size == 0 || (request->may_grow && file->size < sizeof prefix)) {
        stride = sizeof prefix; /* no row, so any dimension */
    } else {
        if (file->size < sizeof prefix)
            RT_FAIL(RT_INPUT, "'%s' is %s bytes: not a vecs file (a row begins with 4)", file->path,
                    RT_GROUPED(file->size));
        RT_TRY(rt_input_read(file, prefix, sizeof prefix, 0, err));
        dim = rt_le32(prefix);
        if (dim < 1 || dim > RT_MAX_DIM)
            RT_FAIL(RT_INPUT, "'%s' row 0: dimension %d, which must be 1 to %s%s", file->path,
                    (int32_t)dim, RT_GROUPED(RT_MAX_DIM), if_swapped(dim));
        stride = sizeof prefix + dim * rt_element_size(type);
    }
    uint64_t n_rows = file->size / stride;
    if (file->size % stride != 0 && !request->may_grow)
        RT_FAIL(RT_INPUT,
                "'%s' is %s bytes, no multiple of the %s of a row (dimension %s): truncated after "
                "%s whole rows, or the suffix is wrong",
                file->path, RT_GROUPED(file->size), RT_GROUPED(stride), RT_GROUPED(dim),
                RT_GROUPED(n_rows));
    *out = (struct rt_row_layout){.n_rows = n_rows,
                                  .stride_bytes = stride,
                                  .dim = dim,
                                  .format = RT_ROW_VECS,
                                  .type = type,
                                  .is_plain = 1,
                                  .may_grow = request->may_grow};
done:
    return st;
}

enum rt_status rt_rows_vecs_read(const struct rt_input_file *file,
                                 const struct rt_row_layout *layout, uint64_t begin, size_t n_rows,
                                 void *buffer, unsigned char *scratch, size_t scratch_bytes,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const size_t stride = (size_t)layout->stride_bytes;
    const size_t row_bytes = stride - 4;
    const size_t most = scratch_bytes / stride;
    unsigned char *to = buffer;
    while (n_rows > 0) {
        size_t n = n_rows < most ? n_rows : most;
        RT_TRY(rt_input_read(file, scratch, n * stride, begin * stride, err));
        for (size_t i = 0; i < n; i++, to += row_bytes) {
            uint32_t dim = rt_le32(scratch + i * stride);
            if (dim != layout->dim)
                RT_FAIL(RT_INPUT,
                        "'%s' row %s: dimension %d, but %u in row 0 (file torn or mixed; "
                        "--bad-rows does not cover this)",
                        file->path, RT_GROUPED(begin + i), (int32_t)dim, layout->dim);
            memcpy(to, scratch + i * stride + 4, row_bytes);
        }
        begin += n;
        n_rows -= n;
    }
done:
    return st;
}
