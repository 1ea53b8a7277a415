/* u32 n, u32 d, then n x d elements and nothing else. */
#include "io/row_format.h"

#include <stdio.h>
#include <string.h>

/* What a wrong size may mean: the first element type that fits it, or a cropped download whose
 * header was not patched. */
static void guess(const struct rt_input_file *file, uint64_t n_rows, uint64_t dim,
                  enum rt_element type, char *text, size_t text_size)
{
    static const enum rt_element types[] = {RT_F32, RT_F16, RT_U8};
    uint64_t cropped = 0;
    text[0] = 0;
    if (rt_row_suffix_crop(file->path, &cropped) && cropped < n_rows &&
        file->size - 8 == cropped * dim * rt_element_size(type)) {
        (void)snprintf(text, text_size,
                       "; it fits the %s rows of its name: the header was never patched",
                       RT_GROUPED(cropped));
        return;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (rt_element_size(types[i]) != rt_element_size(type) &&
            file->size - 8 == n_rows * dim * rt_element_size(types[i]))
            (void)snprintf(text, text_size, "; the size fits %s, wrong suffix or --type?",
                           types[i] == RT_U8 ? "u8 or i8" : rt_element_name(types[i]));
}

static enum rt_status check_size(const struct rt_input_file *file, uint64_t n_rows, uint64_t dim,
                                 enum rt_element type, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    /* n < 2^32, d < 2^16, size <= 4: no overflow in 64 bits */
    uint64_t row_bytes = dim * rt_element_size(type);
    uint64_t expected = 8 + n_rows * row_bytes;
    char hint[120];
    if (file->size == expected)
        return st;
    guess(file, n_rows, dim, type, hint, sizeof hint);
    if (file->size < expected)
        RT_FAIL(RT_INPUT,
                "'%s' is %s bytes, its header says %s (%s x %s %s): truncated after %s whole "
                "rows%s",
                file->path, RT_GROUPED(file->size), RT_GROUPED(expected), RT_GROUPED(n_rows),
                RT_GROUPED(dim), rt_element_name(type), RT_GROUPED((file->size - 8) / row_bytes),
                hint);
    RT_FAIL(RT_INPUT,
            "'%s' is %s bytes, its header says %s (%s x %s %s): longer, and a bin file has no rows "
            "after its count%s",
            file->path, RT_GROUPED(file->size), RT_GROUPED(expected), RT_GROUPED(n_rows),
            RT_GROUPED(dim), rt_element_name(type), hint);
done:
    return st;
}

enum rt_status rt_rows_bin_header(const struct rt_input_file *file,
                                  const struct rt_row_request *request, struct rt_row_layout *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char header[8];
    if (file->size < sizeof header)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes: not a bin file (rows and dimension alone take 8)",
                file->path, RT_GROUPED(file->size));
    RT_TRY(rt_input_read(file, header, sizeof header, 0, err));
    uint64_t n_rows = rt_le32(header);
    uint64_t dim = rt_le32(header + 4);
    if (request->type < 0)
        RT_FAIL(RT_INPUT,
                "'%s' does not say what it holds: rename it (" RT_ROW_SUFFIXES
                ") or give --type (%s bytes for %s x %s)",
                file->path, RT_GROUPED(file->size - 8), RT_GROUPED(n_rows), RT_GROUPED(dim));
    if (dim < 1 || dim > RT_MAX_DIM)
        RT_FAIL(RT_INPUT,
                "'%s' (%s bytes) is not a bin file: its header says %s rows of dimension %s, which "
                "must be 1 to %s",
                file->path, RT_GROUPED(file->size), RT_GROUPED(n_rows), RT_GROUPED(dim),
                RT_GROUPED(RT_MAX_DIM));
    enum rt_element type = (enum rt_element)request->type;
    RT_TRY(check_size(file, n_rows, dim, type, err));
    *out = (struct rt_row_layout){.n_rows = n_rows,
                                  .data_offset = sizeof header,
                                  .stride_bytes = dim * rt_element_size(type),
                                  .dim = (uint32_t)dim,
                                  .format = RT_ROW_BIN,
                                  .type = type,
                                  .is_plain = 1};
done:
    return st;
}
