/* Rows of a .npy file: 2 axes of f32, f16, u8, i8, or f64 by conversion. */
#include "io/npy.h"
#include "io/row_format.h"

/* -1: no row type. */
static int element_of(const struct rt_npy *npy)
{
    if (npy->kind == 'f')
        return npy->item_bytes == 2 ? RT_F16 : RT_F32;
    if (npy->item_bytes == 1)
        return npy->kind == 'u' ? RT_U8 : RT_I8;
    return -1;
}

enum rt_status rt_rows_npy_header(const struct rt_input_file *file,
                                  const struct rt_row_request *request, struct rt_row_layout *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_npy npy;
    RT_TRY(rt_npy_read_header(file, &npy, err));
    int type = element_of(&npy);
    if (type < 0)
        RT_FAIL(RT_INPUT,
                "'%s' holds %s integers of %u bytes; rows are f32, f16, u8 or i8 (f64 by "
                "conversion)",
                file->path, npy.kind == 'u' ? "unsigned" : "signed", npy.item_bytes);
    if (npy.n_axes != 2)
        RT_FAIL(RT_INPUT, "'%s' has one axis of %s; rows have 2 (rows, dimension)", file->path,
                RT_GROUPED(npy.shape[0]));
    if (npy.shape[1] < 1 || npy.shape[1] > RT_MAX_DIM)
        RT_FAIL(RT_INPUT, "'%s' has %s rows of dimension %s, which must be 1 to %s", file->path,
                RT_GROUPED(npy.shape[0]), RT_GROUPED(npy.shape[1]), RT_GROUPED(RT_MAX_DIM));
    RT_TRY(rt_row_check_type(file->path, (enum rt_element)type, request->type, err));
    *out = (struct rt_row_layout){.n_rows = npy.shape[0],
                                  .data_offset = npy.data_offset,
                                  .stride_bytes = npy.shape[1] * npy.item_bytes,
                                  .dim = (uint32_t)npy.shape[1],
                                  .format = RT_ROW_NPY,
                                  .type = (uint32_t)type,
                                  .is_converted = npy.item_bytes == 8,
                                  .is_plain = 1};
done:
    return st;
}
