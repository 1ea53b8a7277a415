/* Rows of an HDF5 dataset of 2 axes. A contiguous little-endian one is read by offset like a bin
 * file. */
#include "core/memory.h"
#include "io/hdf5_matrix.h"
#include "io/row_format.h"

/* -1: no row type. */
static int element_of(const struct rt_matrix_info *info)
{
    if (info->kind == 'f')
        return info->item_bytes == 2 ? RT_F16 : RT_F32;
    if (info->kind && info->item_bytes == 1)
        return info->kind == 'u' ? RT_U8 : RT_I8;
    return -1;
}

/* An extent no file can hold would overflow what is computed from it; rows read by offset must lie
 * in the file. */
static enum rt_status check_size(const struct rt_input_file *file, const char *dataset,
                                 const struct rt_matrix_info *info, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_bytes = 0, end = 0;
    if (!rt_mul_u64(info->n_rows, info->n_columns * info->item_bytes, &n_bytes) ||
        n_bytes > INT64_MAX || !rt_add_u64(n_bytes, info->data_offset, &end))
        RT_FAIL(RT_INPUT, "'%s:%s' says it has %s x %s rows: more than any file holds", file->path,
                dataset, RT_GROUPED(info->n_rows), RT_GROUPED(info->n_columns));
    if (info->is_plain && end > file->size)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes, its dataset '%s' ends at byte %s: truncated",
                file->path, RT_GROUPED(file->size), dataset, RT_GROUPED(end));
done:
    return st;
}

enum rt_status rt_rows_hdf5_header(const struct rt_input_file *file,
                                   const struct rt_row_request *request, struct rt_row_layout *out,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hdf5_matrix *matrix = NULL;
    const char *dataset = request->dataset;
    RT_TRY(rt_hdf5_matrix_open(file->path, dataset, request->may_grow, &matrix, err));
    const struct rt_matrix_info *info = rt_hdf5_matrix_info(matrix);
    int type = element_of(info);
    if (type < 0)
        RT_FAIL(RT_INPUT, "'%s:%s' holds %s; rows are f32, f16, u8 or i8 (f64 by conversion)",
                file->path, dataset, info->text);
    if (info->n_axes != 2)
        RT_FAIL(RT_INPUT, "'%s:%s' has one axis of %s; rows have 2 (rows, dimension)", file->path,
                dataset, RT_GROUPED(info->n_rows));
    if (info->n_columns < 1 || info->n_columns > RT_MAX_DIM)
        RT_FAIL(RT_INPUT, "'%s:%s' has %s rows of dimension %s, which must be 1 to %s", file->path,
                dataset, RT_GROUPED(info->n_rows), RT_GROUPED(info->n_columns),
                RT_GROUPED(RT_MAX_DIM));
    RT_TRY(check_size(file, dataset, info, err));
    RT_TRY(rt_row_check_type(file->path, (enum rt_element)type, request->type, err));
    *out = (struct rt_row_layout){.n_rows = info->n_rows,
                                  .data_offset = info->data_offset,
                                  .stride_bytes = info->n_columns * info->item_bytes,
                                  .dim = (uint32_t)info->n_columns,
                                  .format = RT_ROW_HDF5,
                                  .type = (uint32_t)type,
                                  .is_converted = info->item_bytes == 8,
                                  .is_plain = info->is_plain,
                                  .may_grow = request->may_grow};
done:
    rt_hdf5_matrix_close(matrix);
    return st;
}
