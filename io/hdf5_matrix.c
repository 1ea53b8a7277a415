#include "io/hdf5_matrix.h"

#include "core/fault.h"
#include "io/fs.h"
#include "io/hdf5.h"
#include "io/input_file.h"

#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_AT_ONCE ((uint64_t)32 << 20)
#define LARGEST_CACHE ((size_t)32 << 20)
#define SMALLEST_CACHE ((size_t)1 << 20)

struct rt_hdf5_matrix {
    const char *path, *dataset;
    hid_t file, set;
    struct rt_matrix_info info;
};

size_t rt_matrix_type_size(enum rt_matrix_type type)
{
    static const size_t sizes[] = {2, 4, 8, 1, 1, 8, 8};
    return sizes[type];
}

/* IEEE half: HDF5 1.10 has no name for it. */
static hid_t new_half(void)
{
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (type >= 0 && (H5Tset_fields(type, 15, 10, 5, 0, 10) < 0 || H5Tset_size(type, 2) < 0 ||
                      H5Tset_ebias(type, 15) < 0)) {
        (void)H5Tclose(type);
        type = -1;
    }
    return type;
}

static hid_t new_type(enum rt_matrix_type type)
{
    switch (type) {
    case RT_MATRIX_F16:
        return new_half();
    case RT_MATRIX_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case RT_MATRIX_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case RT_MATRIX_U8:
        return H5Tcopy(H5T_STD_U8LE);
    case RT_MATRIX_I8:
        return H5Tcopy(H5T_STD_I8LE);
    case RT_MATRIX_U64:
        return H5Tcopy(H5T_STD_U64LE);
    case RT_MATRIX_I64:
        return H5Tcopy(H5T_STD_I64LE);
    }
    return -1;
}

static hid_t new_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool good = access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0;
#if H5_VERSION_GE(1, 10, 7)
    /* many file systems of clusters have no locks; a change is noticed by the file's stamp */
    good = good && H5Pset_file_locking(access, false, true) >= 0;
#endif
    if (!good && access >= 0) {
        (void)H5Pclose(access);
        access = -1;
    }
    return access;
}

/* "what: HDF5's innermost message" */
static enum rt_status refused(enum rt_status status, int line, const char *what,
                              struct rt_error *err)
{
    char reason[200];
    rt_h5_reason(reason, sizeof reason);
    return rt_error_set(err, status, __FILE__, line, "%s: %s", what, reason);
}
#define FAIL_HDF5(status, ...)                                                                     \
    do {                                                                                           \
        char what_text[300];                                                                       \
        (void)snprintf(what_text, sizeof what_text, __VA_ARGS__);                                  \
        st = refused((status), __LINE__, what_text, err);                                          \
        goto done;                                                                                 \
    } while (0)

/* ---- attributes ---- */

static bool read_text(hid_t attribute, hid_t type, char *text, size_t text_size)
{
    bool good = false;
    if (H5Tis_variable_str(type) > 0) {
        char *value = NULL;
        hid_t memory = H5Tcopy(H5T_C_S1);
        if (memory >= 0 && H5Tset_size(memory, H5T_VARIABLE) >= 0 &&
            H5Tset_cset(memory, H5Tget_cset(type)) >= 0 &&
            H5Aread(attribute, memory, &value) >= 0 && value) {
            (void)snprintf(text, text_size, "%s", value);
            good = true;
            (void)H5free_memory(value);
        }
        if (memory >= 0)
            (void)H5Tclose(memory);
        return good;
    }
    size_t size = H5Tget_size(type);
    char value[256];
    if (size >= sizeof value || H5Aread(attribute, type, value) < 0)
        return false;
    value[size] = 0;
    (void)snprintf(text, text_size, "%s", value);
    return true;
}

static bool read_attribute(hid_t attribute, char *text, size_t text_size)
{
    hid_t type = H5Aget_type(attribute);
    hid_t space = H5Aget_space(attribute);
    int64_t number = 0;
    bool good = type >= 0 && space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    H5T_class_t class = good ? H5Tget_class(type) : H5T_NO_CLASS;
    if (class == H5T_STRING) {
        good = read_text(attribute, type, text, text_size);
    } else if (class == H5T_INTEGER) {
        good = H5Aread(attribute, H5T_NATIVE_INT64, &number) >= 0;
        if (good)
            (void)snprintf(text, text_size, "%" PRId64, number);
    } else if (class == H5T_ENUM) { /* h5py's bool: an enumeration of one byte */
        signed char value = 0;
        good = H5Tget_size(type) == 1 && H5Aread(attribute, type, &value) >= 0;
        if (good)
            (void)snprintf(text, text_size, "%d", value != 0);
    } else {
        good = false;
    }
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    return good;
}

static bool find_attribute(hid_t file, const char *name, char *text, size_t text_size)
{
    hid_t attribute = -1;
    if (H5Aexists_by_name(file, "/", name, H5P_DEFAULT) > 0)
        attribute = H5Aopen_by_name(file, "/", name, H5P_DEFAULT, H5P_DEFAULT);
    bool found = attribute >= 0 && read_attribute(attribute, text, text_size);
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    return found;
}

bool rt_hdf5_matrix_attribute(struct rt_hdf5_matrix *matrix, const char *name, char *text,
                              size_t text_size)
{
    rt_h5_enter(matrix->path);
    bool found = find_attribute(matrix->file, name, text, text_size);
    rt_h5_leave();
    return found;
}

/* ---- what a dataset is ---- */

static bool is_ieee(hid_t type, size_t size)
{
    hid_t half = size == 2 ? new_half() : -1;
    hid_t copy = H5Tcopy(type);
    bool is = false;
    if (copy >= 0 && H5Tset_order(copy, H5T_ORDER_LE) >= 0)
        is = (size == 2 && half >= 0 && H5Tequal(copy, half) > 0) ||
             (size == 4 && H5Tequal(copy, H5T_IEEE_F32LE) > 0) ||
             (size == 8 && H5Tequal(copy, H5T_IEEE_F64LE) > 0);
    if (half >= 0)
        (void)H5Tclose(half);
    if (copy >= 0)
        (void)H5Tclose(copy);
    return is;
}

/* Every bit counts: an integer of 12 bits in 16 is none of ours. */
static bool is_whole_integer(hid_t type, size_t size)
{
    return (size == 1 || size == 2 || size == 4 || size == 8) && H5Tget_precision(type) == 8 * size;
}

static void describe_type(hid_t type, struct rt_matrix_info *info, bool *is_little)
{
    size_t size = H5Tget_size(type);
    H5T_class_t class = H5Tget_class(type);
    info->kind = 0;
    info->item_bytes = size <= 16 ? (uint32_t)size : 0;
    *is_little = size == 1 || H5Tget_order(type) == H5T_ORDER_LE;
    if (class == H5T_FLOAT && is_ieee(type, size))
        info->kind = 'f';
    else if (class == H5T_INTEGER && is_whole_integer(type, size))
        info->kind = H5Tget_sign(type) == H5T_SGN_NONE ? 'u' : 'i';
    if (info->kind)
        (void)snprintf(info->text, sizeof info->text, "%c%u%s", info->kind, 8 * info->item_bytes,
                       *is_little ? "" : ", big-endian");
    else
        (void)snprintf(info->text, sizeof info->text, "%s",
                       class == H5T_STRING     ? "strings"
                       : class == H5T_COMPOUND ? "records"
                       : class == H5T_ENUM     ? "an enumeration (bool?)"
                       : class == H5T_FLOAT    ? "floats not of IEEE"
                                               : "no plain numbers");
}

static enum rt_status look_at_type(struct rt_hdf5_matrix *m, bool *is_little, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t type = H5Dget_type(m->set);
    if (type < 0)
        FAIL_HDF5(RT_INPUT, "cannot read the type of '%s:%s'", m->path, m->dataset);
    describe_type(type, &m->info, is_little);
done:
    if (type >= 0)
        (void)H5Tclose(type);
    return st;
}

/* ann-benchmarks keeps sparse sets as one flat array beside the sizes of the rows. Dense ones are
 * not asked: the fewer attributes are read, the less a damaged file can do to HDF5. */
static bool is_sparse(struct rt_hdf5_matrix *m)
{
    char text[16];
    if (m->info.n_axes != 1)
        return false;
    if (find_attribute(m->file, "type", text, sizeof text) && !strcmp(text, "sparse"))
        return true;
    char sizes[80];
    (void)snprintf(sizes, sizeof sizes, "size_%.60s", m->dataset + (m->dataset[0] == '/'));
    return H5Lexists(m->file, sizes, H5P_DEFAULT) > 0;
}

static enum rt_status look_at_extent(struct rt_hdf5_matrix *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hsize_t extent[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(m->set);
    int n_axes = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (n_axes < 0 || H5Sget_simple_extent_dims(space, extent, NULL) < 0)
        FAIL_HDF5(RT_INPUT, "cannot read the extent of '%s:%s'", m->path, m->dataset);
    m->info.n_axes = (uint32_t)n_axes;
    m->info.n_rows = n_axes > 0 ? extent[0] : 0;
    m->info.n_columns = n_axes == 2 ? extent[1] : 1;
    if (is_sparse(m))
        RT_FAIL(RT_INPUT, "'%s' is a sparse set; only dense rows are read", m->path);
    if (n_axes < 1 || n_axes > 2)
        RT_FAIL(RT_INPUT, "'%s:%s' has %d axes; rows have 2 (rows, dimension), ids 1", m->path,
                m->dataset, n_axes);
done:
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

/* Others than those of every HDF5 are plugins, or lossy. */
static enum rt_status check_filters(const struct rt_hdf5_matrix *m, hid_t list,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int n_filters = H5Pget_nfilters(list);
    for (int i = 0; i < n_filters; i++) {
        char name[64] = "";
        unsigned flags = 0;
        size_t n_values = 0;
        H5Z_filter_t filter =
            H5Pget_filter2(list, (unsigned)i, &flags, &n_values, NULL, sizeof name - 1, name, NULL);
        if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
            filter != H5Z_FILTER_FLETCHER32 && filter != H5Z_FILTER_SZIP)
            RT_FAIL(RT_INPUT,
                    "'%s:%s' is packed by filter %d (%s); deflate, shuffle, fletcher32 and szip "
                    "are read (h5repack changes it)",
                    m->path, m->dataset, (int)filter, name[0] ? name : "no name");
    }
done:
    return st;
}

/* A chunk is no larger than its set may grow. HDF5 does not look: it would read what lies behind
 * the unpacked chunk in memory. */
static enum rt_status check_chunks(const struct rt_hdf5_matrix *m, hid_t list, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hsize_t extent[H5S_MAX_RANK] = {0};
    hsize_t most[H5S_MAX_RANK] = {0};
    hsize_t chunk[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(m->set);
    int n_axes = space < 0 ? -1 : H5Sget_simple_extent_dims(space, extent, most);
    if (n_axes < 0 || H5Pget_chunk(list, H5S_MAX_RANK, chunk) != n_axes)
        FAIL_HDF5(RT_INPUT, "cannot read the chunks of '%s:%s'", m->path, m->dataset);
    for (int i = 0; i < n_axes; i++)
        if (chunk[i] == 0 || chunk[i] > most[i]) /* H5S_UNLIMITED is the largest number */
            RT_FAIL(RT_INPUT, "'%s:%s' is damaged: chunks of %s along axis %d, which ends at %s",
                    m->path, m->dataset, RT_GROUPED(chunk[i]), i, RT_GROUPED(most[i]));
done:
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

static enum rt_status look_at_layout(struct rt_hdf5_matrix *m, bool is_little, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t list = H5Dget_create_plist(m->set);
    H5D_layout_t layout = list < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(list);
    if (layout == H5D_LAYOUT_ERROR)
        FAIL_HDF5(RT_INPUT, "cannot read the layout of '%s:%s'", m->path, m->dataset);
    /* their bytes lie where no stamp of ours would notice a change */
    if (layout == H5D_VIRTUAL || H5Pget_external_count(list) > 0)
        RT_FAIL(RT_INPUT, "'%s:%s' keeps its rows in other files: name those (or a @LIST of them)",
                m->path, m->dataset);
    RT_TRY(check_filters(m, list, err));
    if (layout == H5D_CHUNKED)
        RT_TRY(check_chunks(m, list, err));
    haddr_t offset = H5Dget_offset(m->set);
    m->info.is_plain = layout == H5D_CONTIGUOUS && is_little && m->info.kind &&
                       offset != HADDR_UNDEF && H5Pget_nfilters(list) == 0;
    m->info.data_offset = m->info.is_plain ? offset : 0;
done:
    if (list >= 0)
        (void)H5Pclose(list);
    return st;
}

/* ---- opening ---- */

struct names {
    char *text;
    size_t size, used;
};

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
    (void)group;
    (void)info;
    struct names *names = context;
    int n = snprintf(names->text + names->used, names->size - names->used, "%s/%s",
                     names->used ? ", " : "", name);
    if (n < 0 || (size_t)n >= names->size - names->used) {
        names->text[names->used] = 0;
        return 1;
    }
    names->used += (size_t)n;
    return 0;
}

static enum rt_status no_dataset(struct rt_hdf5_matrix *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[160] = "";
    struct names names = {text, sizeof text, 0};
    (void)H5Literate(m->file, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, &names);
    RT_FAIL(RT_INPUT, "'%s' has no dataset '%s'; it has %s (FILE.h5:/dataset names one)", m->path,
            m->dataset, names.used ? text : "none");
done:
    return st;
}

static enum rt_status open_file(struct rt_hdf5_matrix *m, bool is_growing, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t access = new_access();
    unsigned flags = H5F_ACC_RDONLY | (is_growing ? H5F_ACC_SWMR_READ : 0u);
    m->file = access < 0 ? -1 : H5Fopen(m->path, flags, access);
    if (m->file < 0)
        FAIL_HDF5(RT_INPUT, "cannot open '%s'%s", m->path,
                  is_growing ? " as HDF5 being written with SWMR, which --concurrent needs"
                             : " as HDF5");
done:
    if (access >= 0)
        (void)H5Pclose(access);
    return st;
}

/* A chunk must fit into the cache of chunks, or each step would unpack it again. */
static hid_t new_dataset_access(hid_t set)
{
    hsize_t chunk[H5S_MAX_RANK] = {0};
    hid_t list = H5Dget_create_plist(set);
    hid_t type = H5Dget_type(set);
    hid_t access = -1;
    if (list >= 0 && type >= 0 && H5Pget_layout(list) == H5D_CHUNKED) {
        int n_axes = H5Pget_chunk(list, H5S_MAX_RANK, chunk);
        uint64_t bytes = H5Tget_size(type);
        for (int i = 0; i < n_axes; i++)
            if (__builtin_mul_overflow(bytes, chunk[i], &bytes))
                bytes = UINT64_MAX;
        size_t cache = bytes > LARGEST_CACHE    ? LARGEST_CACHE
                       : bytes < SMALLEST_CACHE ? SMALLEST_CACHE
                                                : (size_t)bytes;
        access = H5Pcreate(H5P_DATASET_ACCESS);
        if (access >= 0 && H5Pset_chunk_cache(access, 521, cache, 1.0) < 0) {
            (void)H5Pclose(access);
            access = -1;
        }
    }
    if (list >= 0)
        (void)H5Pclose(list);
    if (type >= 0)
        (void)H5Tclose(type);
    return access;
}

static enum rt_status open_set(struct rt_hdf5_matrix *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t access = -1;
    m->set = H5Dopen2(m->file, m->dataset, H5P_DEFAULT);
    if (m->set < 0)
        RT_TRY(no_dataset(m, err));
    access = new_dataset_access(m->set);
    if (access >= 0) {
        (void)H5Dclose(m->set);
        m->set = H5Dopen2(m->file, m->dataset, access);
        if (m->set < 0)
            FAIL_HDF5(RT_INPUT, "cannot open '%s:%s'", m->path, m->dataset);
    }
done:
    if (access >= 0)
        (void)H5Pclose(access);
    return st;
}

static enum rt_status open_locked(struct rt_hdf5_matrix *m, bool is_growing, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_little = false;
    RT_TRY(open_file(m, is_growing, err));
    RT_TRY(open_set(m, err));
    RT_TRY(look_at_type(m, &is_little, err));
    RT_TRY(look_at_extent(m, err));
    RT_TRY(look_at_layout(m, is_little, err));
done:
    return st;
}

enum rt_status rt_hdf5_matrix_open(const char *path, const char *dataset, bool is_growing,
                                   struct rt_hdf5_matrix **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hdf5_matrix *m = calloc(1, sizeof *m);
    if (!m)
        RT_FAIL(RT_NOMEM, "out of memory opening '%s'", path);
    *m = (struct rt_hdf5_matrix){.path = path, .dataset = dataset, .file = -1, .set = -1};
    rt_h5_enter(path);
    st = open_locked(m, is_growing, err);
    rt_h5_leave();
    if (st == RT_OK) {
        *out = m;
        m = NULL;
    }
done:
    rt_hdf5_matrix_close(m);
    return st;
}

void rt_hdf5_matrix_close(struct rt_hdf5_matrix *matrix)
{
    if (!matrix)
        return;
    rt_h5_enter(matrix->path);
    if (matrix->set >= 0)
        (void)H5Dclose(matrix->set);
    if (matrix->file >= 0)
        (void)H5Fclose(matrix->file);
    rt_h5_leave();
    free(matrix);
}

const struct rt_matrix_info *rt_hdf5_matrix_info(const struct rt_hdf5_matrix *matrix)
{
    return &matrix->info;
}

/* ---- reading ---- */

static herr_t read_slab(const struct rt_hdf5_matrix *m, hid_t file_space, hid_t type,
                        uint64_t begin, uint64_t n_rows, void *buffer)
{
    const bool is_flat = m->info.n_axes == 1;
    hsize_t start[2] = {begin, 0};
    hsize_t count[2] = {n_rows, m->info.n_columns};
    hid_t memory_space = H5Screate_simple(is_flat ? 1 : 2, count, NULL);
    herr_t result = -1;
    if (memory_space >= 0 &&
        H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
        result = H5Dread(m->set, type, memory_space, file_space, H5P_DEFAULT, buffer);
    if (memory_space >= 0)
        (void)H5Sclose(memory_space);
    return result;
}

static enum rt_status read_locked(struct rt_hdf5_matrix *m, uint64_t begin, size_t n_rows,
                                  enum rt_matrix_type as, unsigned char *to, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t row_bytes = m->info.n_columns * rt_matrix_type_size(as);
    const uint64_t most = row_bytes < MOST_AT_ONCE ? MOST_AT_ONCE / (row_bytes ? row_bytes : 1) : 1;
    hid_t type = new_type(as);
    hid_t space = H5Dget_space(m->set);
    if (type < 0 || space < 0)
        FAIL_HDF5(RT_IO, "cannot read '%s:%s'", m->path, m->dataset);
    while (n_rows > 0 && row_bytes > 0) {
        size_t n = n_rows < most ? n_rows : (size_t)most;
        if (RT_FAULT("read"))
            RT_FAIL(RT_IO, "cannot read '%s': Input/output error", m->path);
        if (read_slab(m, space, type, begin, n, to) < 0)
            FAIL_HDF5(RT_INPUT, "cannot read rows %s to %s of '%s:%s' (damaged or cut short?)",
                      RT_GROUPED(begin), RT_GROUPED(begin + n - 1), m->path, m->dataset);
        to += n * row_bytes;
        begin += n;
        n_rows -= n;
    }
done:
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

enum rt_status rt_hdf5_matrix_read(struct rt_hdf5_matrix *matrix, uint64_t begin, size_t n_rows,
                                   enum rt_matrix_type type, void *buffer, struct rt_error *err)
{
    rt_h5_enter(matrix->path);
    enum rt_status st = read_locked(matrix, begin, n_rows, type, buffer, err);
    rt_h5_leave();
    return st;
}

/* ---- creating ---- */

#define REASON_BYTES 200

static hid_t create_file(const char *path, char *reason)
{
    hid_t access = new_access();
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    hid_t file = -1;
    if (access >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0 &&
        H5Pset_alignment(access, 1 << 20, 4096) >= 0)
        file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    if (file < 0)
        rt_h5_reason(reason, REASON_BYTES); /* the next call of HDF5 would forget it */
    if (access >= 0)
        (void)H5Pclose(access);
    if (creation >= 0)
        (void)H5Pclose(creation);
    return file;
}

static bool create_column(hid_t file, struct rt_matrix_column *column, char *reason)
{
    hsize_t extent[2] = {column->n_rows, column->n_columns};
    hid_t type = new_type(column->type);
    hid_t space = H5Screate_simple((int)column->n_axes, extent, NULL);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    hid_t link = H5Pcreate(H5P_LINK_CREATE);
    hid_t set = -1;
    if (type >= 0 && space >= 0 && creation >= 0 && link >= 0 &&
        H5Pset_create_intermediate_group(link, 1) >= 0 &&
        H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0 &&
        H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0 &&
        H5Pset_obj_track_times(creation, false) >= 0)
        set = H5Dcreate2(file, column->name, type, space, link, creation, H5P_DEFAULT);
    if (set < 0)
        rt_h5_reason(reason, REASON_BYTES);
    haddr_t offset = set < 0 ? HADDR_UNDEF : H5Dget_offset(set);
    bool is_empty = column->n_rows == 0 || column->n_columns == 0;
    bool good = set >= 0 && (offset != HADDR_UNDEF || is_empty);
    column->data_offset = offset == HADDR_UNDEF ? 0 : offset;
    if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    if (creation >= 0)
        (void)H5Pclose(creation);
    if (link >= 0)
        (void)H5Pclose(link);
    return good;
}

static hid_t new_string_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        (void)H5Tclose(type);
        type = -1;
    }
    return type;
}

static bool create_attribute(hid_t file, const struct rt_matrix_attribute *attribute, char *reason)
{
    hid_t type = attribute->text ? new_string_type() : H5Tcopy(H5T_STD_I64LE);
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t id = -1;
    if (type >= 0 && space >= 0)
        id = H5Acreate2(file, attribute->name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = id >= 0;
    if (good && attribute->text)
        good = H5Awrite(id, type, &attribute->text) >= 0;
    else if (good)
        good = H5Awrite(id, H5T_NATIVE_INT64, &attribute->number) >= 0;
    if (!good)
        rt_h5_reason(reason, REASON_BYTES);
    if (id >= 0)
        good = H5Aclose(id) >= 0 && good;
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    return good;
}

static enum rt_status create_locked(const char *path, struct rt_matrix_column *columns,
                                    size_t n_columns, const struct rt_matrix_attribute *attributes,
                                    size_t n_attributes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char reason[REASON_BYTES] = "HDF5 gives no reason";
    hid_t file = create_file(path, reason);
    if (file < 0)
        RT_FAIL(RT_IO, "cannot create '%s': %s", path, reason);
    for (size_t i = 0; i < n_columns; i++)
        if (!create_column(file, &columns[i], reason))
            RT_FAIL(RT_IO, "cannot create dataset '%s' in '%s': %s", columns[i].name, path, reason);
    for (size_t i = 0; i < n_attributes; i++)
        if (!create_attribute(file, &attributes[i], reason))
            RT_FAIL(RT_IO, "cannot create attribute '%s' in '%s': %s", attributes[i].name, path,
                    reason);
done:
    if (file >= 0 && H5Fclose(file) < 0 && st == RT_OK)
        st = refused(RT_IO, __LINE__, path, err);
    return st;
}

enum rt_status rt_hdf5_matrix_create(const char *path, struct rt_matrix_column *columns,
                                     size_t n_columns, const struct rt_matrix_attribute *attributes,
                                     size_t n_attributes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    /* made by us first: the system's reason is clearer than HDF5's */
    RT_TRY(rt_fs_open(path, O_RDWR | O_CREAT | O_TRUNC, &fd, err));
    rt_h5_enter(path);
    st = create_locked(path, columns, n_columns, attributes, n_attributes, err);
    rt_h5_leave();
    (void)close(fd);
done:
    return st;
}
