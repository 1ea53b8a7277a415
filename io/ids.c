#include "io/ids.h"

#include "core/memory.h"
#include "io/hdf5_matrix.h"
#include "io/npy.h"
#include "io/row_format.h"

#include <inttypes.h>
#include <stdlib.h>

#define SCRATCH_IDS ((size_t)65536)

struct rt_ids {
    char *path;
    char *dataset;
    uint64_t n;
    bool is_signed;
    uint32_t item_bytes; /* in the file, 4 or 8; of plain ones */
    uint64_t data_offset;
    struct rt_input_file input;    /* open where ids are plain */
    struct rt_hdf5_matrix *matrix; /* or this */
    unsigned char *scratch;        /* SCRATCH_IDS of item_bytes */
};

static enum rt_status check_count(const struct rt_ids *ids, uint64_t n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n_rows != RT_IDS_ANY && ids->n != n_rows)
        RT_FAIL(RT_INPUT, "'%s' holds %s ids for %s rows; one for each row is needed", ids->path,
                RT_GROUPED(ids->n), RT_GROUPED(n_rows));
done:
    return st;
}

static enum rt_status open_hdf5(struct rt_ids *ids, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_hdf5_matrix_open(ids->path, ids->dataset, false, &ids->matrix, err));
    const struct rt_matrix_info *info = rt_hdf5_matrix_info(ids->matrix);
    if (info->kind != 'u' && info->kind != 'i')
        RT_FAIL(RT_INPUT, "'%s:%s' holds %s; ids are integers", ids->path, ids->dataset,
                info->text);
    if (info->n_columns != 1)
        RT_FAIL(RT_INPUT, "'%s:%s' is %s x %s; ids have one axis, or n x 1", ids->path,
                ids->dataset, RT_GROUPED(info->n_rows), RT_GROUPED(info->n_columns));
    ids->n = info->n_rows;
    ids->is_signed = info->kind == 'i';
done:
    return st;
}

static enum rt_status open_npy(struct rt_ids *ids, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_npy npy;
    RT_TRY(rt_npy_read_header(&ids->input, &npy, err));
    if (npy.kind == 'f' || npy.item_bytes < 4)
        RT_FAIL(RT_INPUT, "'%s' holds %c%u; ids are <u8 <i8 <u4 <i4", ids->path, npy.kind,
                8 * npy.item_bytes);
    if (npy.shape[1] != 1)
        RT_FAIL(RT_INPUT, "'%s' is %s x %s; ids have one axis, or n x 1", ids->path,
                RT_GROUPED(npy.shape[0]), RT_GROUPED(npy.shape[1]));
    ids->n = npy.shape[0];
    ids->is_signed = npy.kind == 'i';
    ids->item_bytes = npy.item_bytes;
    ids->data_offset = npy.data_offset;
done:
    return st;
}

static enum rt_status open_raw(struct rt_ids *ids, uint64_t n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t size = ids->input.size;
    if (size % 8 != 0 && n_rows == RT_IDS_ANY)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes, no multiple of 8: no raw file of u64 ids", ids->path,
                RT_GROUPED(size));
    if (size % 8 != 0)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes, but %s rows take %s (8 for each id, nothing else)",
                ids->path, RT_GROUPED(size), RT_GROUPED(n_rows), RT_GROUPED(8 * n_rows));
    ids->n = size / 8;
    ids->item_bytes = 8;
done:
    return st;
}

enum rt_status rt_ids_open(const char *name, uint64_t n_rows, struct rt_ids **out,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_row_suffix *suffix = rt_row_suffix_find(name);
    struct rt_ids *ids = calloc(1, sizeof *ids);
    if (!ids)
        RT_FAIL(RT_NOMEM, "out of memory opening '%s'", name);
    ids->input.fd = -1;
    RT_TRY(rt_row_name_split(name, NULL, &ids->path, &ids->dataset, err));
    if (!ids->dataset && suffix && suffix->format == RT_ROW_HDF5)
        RT_FAIL(RT_INPUT, "'%s': name the dataset of the ids, as %s:/ids", name, name);
    RT_TRY(rt_input_open(ids->path, &ids->input, err)); /* HDF5 too: it tells why it cannot be */
    if (ids->dataset)
        RT_TRY(open_hdf5(ids, err));
    else if (suffix && suffix->format == RT_ROW_NPY)
        RT_TRY(open_npy(ids, err));
    else
        RT_TRY(open_raw(ids, n_rows, err));
    RT_TRY(check_count(ids, n_rows, err));
    *out = ids;
    ids = NULL;
done:
    rt_ids_close(ids);
    return st;
}

void rt_ids_close(struct rt_ids *ids)
{
    if (!ids)
        return;
    rt_hdf5_matrix_close(ids->matrix);
    rt_input_close(&ids->input);
    rt_array_free(ids->scratch);
    free(ids->path);
    free(ids->dataset);
    free(ids);
}

uint64_t rt_ids_count(const struct rt_ids *ids)
{
    return ids->n;
}

bool rt_ids_needs_hdf5(const struct rt_ids *ids)
{
    return ids->matrix != NULL;
}

/* Four-byte ids, widened. */
static enum rt_status read_narrow(struct rt_ids *ids, uint64_t begin, size_t n, uint64_t *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (!ids->scratch)
        RT_TRY(rt_array_new(SCRATCH_IDS, 4, &ids->scratch, err));
    while (n > 0) {
        size_t m = n < SCRATCH_IDS ? n : SCRATCH_IDS;
        RT_TRY(rt_input_read(&ids->input, ids->scratch, m * 4, ids->data_offset + begin * 4, err));
        for (size_t i = 0; i < m; i++) {
            uint32_t value = rt_le32(ids->scratch + 4 * i);
            out[i] = ids->is_signed ? (uint64_t)(int64_t)(int32_t)value : value;
        }
        out += m;
        begin += m;
        n -= m;
    }
done:
    return st;
}

/* Both a negative id and 2^64-1 have their top bit set. */
static enum rt_status check_ids(const struct rt_ids *ids, uint64_t begin, size_t n,
                                const uint64_t *values, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < n; i++) {
        if (values[i] >> 63 == 0)
            continue;
        if (ids->is_signed)
            RT_FAIL(RT_INPUT, "'%s' row %s: id %" PRId64 " is negative", ids->path,
                    RT_GROUPED(begin + i), (int64_t)values[i]);
        if (values[i] == RT_NO_ID)
            RT_FAIL(RT_INPUT, "'%s' row %s: 2^64-1 is no id", ids->path, RT_GROUPED(begin + i));
    }
done:
    return st;
}

enum rt_status rt_ids_read(struct rt_ids *ids, uint64_t begin, size_t n, uint64_t *out,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    rt_assert(begin <= ids->n && n <= ids->n - begin);
    if (ids->matrix)
        RT_TRY(rt_hdf5_matrix_read(ids->matrix, begin, n,
                                   ids->is_signed ? RT_MATRIX_I64 : RT_MATRIX_U64, out, err));
    else if (ids->item_bytes == 4)
        RT_TRY(read_narrow(ids, begin, n, out, err));
    else
        RT_TRY(rt_input_read(&ids->input, out, n * 8, ids->data_offset + begin * 8, err));
    RT_TRY(check_ids(ids, begin, n, out, err));
done:
    return st;
}
