#include "io/hdf5.h"

#include "core/crash_note.h"
#include "core/memory.h"

#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUMS_SUFFIX ".xxh3"
#define MOST_ENTRIES ((size_t)2 * RT_H5_MAX_DATASETS)
#define MOST_NAME (sizeof((struct rt_h5_dataset *)0)->name + sizeof SUMS_SUFFIX)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* How HDF5 prints its errors otherwise: the process may have other users of it. */
static H5E_auto2_t printing;
static void *printing_context;
static bool has_printing;

void rt_h5_enter(const char *path)
{
    pthread_mutex_lock(&mutex);
    rt_crash_note_set(path);
    has_printing = H5Eget_auto2(H5E_DEFAULT, &printing, &printing_context) >= 0;
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void rt_h5_leave(void)
{
    (void)H5Eclear2(H5E_DEFAULT);
    if (has_printing)
        (void)H5Eset_auto2(H5E_DEFAULT, printing, printing_context);
    rt_crash_note_set(NULL);
    pthread_mutex_unlock(&mutex);
}

void rt_h5_version(char text[RT_H5_VERSION_TEXT])
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;
    rt_h5_enter(NULL);
    (void)H5get_libversion(&major, &minor, &release);
    rt_h5_leave();
    (void)snprintf(text, RT_H5_VERSION_TEXT, "%u.%u.%u", major, minor, release);
}

struct reason {
    char *text;
    size_t size;
};

static herr_t first_reason(unsigned n, const H5E_error2_t *error, void *context)
{
    struct reason *reason = context;
    static const char before[] = "error message = '";
    if (n != 0 || !error->desc)
        return 0;
    const char *system = strstr(error->desc, before); /* its words, among times and addresses */
    const char *text = system ? system + sizeof before - 1 : error->desc;
    (void)snprintf(reason->text, reason->size, "%.*s",
                   system ? (int)strcspn(text, "'") : (int)strlen(text), text);
    return 0;
}

void rt_h5_reason(char *text, size_t text_size)
{
    struct reason reason = {text, text_size};
    (void)snprintf(text, text_size, "HDF5 gives no reason");
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_reason, &reason);
}

/* What HDF5 refuses becomes `status`, with its innermost message. */
#define FAIL_HDF5(status, ...)                                                                     \
    do {                                                                                           \
        char reason_text[200];                                                                     \
        char what_text[240];                                                                       \
        rt_h5_reason(reason_text, sizeof reason_text);                                             \
        (void)snprintf(what_text, sizeof what_text, __VA_ARGS__);                                  \
        RT_FAIL(status, "%s: %s", what_text, reason_text);                                         \
    } while (0)

/* ---- layouts ---- */

enum rt_h5_type rt_h5_type_of(enum rt_element element)
{
    static const enum rt_h5_type types[] = {RT_H5_F32, RT_H5_F16, RT_H5_U8,
                                            RT_H5_I8}; /* RT_F32, RT_F16, RT_U8, RT_I8 */
    return types[element];
}

size_t rt_h5_type_size(enum rt_h5_type type)
{
    static const size_t sizes[] = {1, 1, 4, 8, 2, 4, 8};
    return sizes[type];
}

uint64_t rt_h5_row_bytes(const struct rt_h5_dataset *dataset)
{
    return dataset->dims[1] * dataset->dims[2] * rt_h5_type_size(dataset->type);
}

uint64_t rt_h5_dataset_bytes(const struct rt_h5_dataset *dataset)
{
    return dataset->dims[0] * rt_h5_row_bytes(dataset);
}

uint64_t rt_h5_n_units(const struct rt_h5_dataset *dataset)
{
    if (dataset->unit_rows == 0)
        return 0;
    return dataset->dims[0] / dataset->unit_rows + (dataset->dims[0] % dataset->unit_rows != 0);
}

const char *rt_file_kind_name(enum rt_file_kind kind)
{
    static const char *const names[RT_N_FILE_KINDS] = {"tree", "frozen", "appendable", "vectors",
                                                       "tombstones"};
    return names[kind];
}

void rt_h5_layout_begin(struct rt_h5_layout *layout, enum rt_file_kind kind, uint64_t generation,
                        struct rt_hash128 fingerprint)
{
    char hex[33];
    memset(layout, 0,
           sizeof *layout); /* padding too: a layout is broadcast and compared as bytes */
    rt_hash128_hex(fingerprint, hex);
    rt_h5_layout_text(layout, "format", RT_FORMAT_NAME);
    rt_h5_layout_number(layout, "format_version", RT_FORMAT_VERSION);
    rt_h5_layout_text(layout, "kind", rt_file_kind_name(kind));
    rt_h5_layout_number(layout, "generation", generation);
    rt_h5_layout_text(layout, "fingerprint", hex);
}

static struct rt_h5_attribute *new_attribute(struct rt_h5_layout *layout, const char *name)
{
    if (layout->n_attributes == RT_H5_MAX_ATTRIBUTES)
        rt_die("too many attributes at '%s'", name);
    struct rt_h5_attribute *attribute = &layout->attributes[layout->n_attributes++];
    (void)snprintf(attribute->name, sizeof attribute->name, "%s", name);
    return attribute;
}

void rt_h5_layout_number(struct rt_h5_layout *layout, const char *name, uint64_t value)
{
    new_attribute(layout, name)->number = value;
}

void rt_h5_layout_text(struct rt_h5_layout *layout, const char *name, const char *value)
{
    struct rt_h5_attribute *attribute = new_attribute(layout, name);
    attribute->is_text = true;
    (void)snprintf(attribute->text, sizeof attribute->text, "%s", value);
}

/* Sizes that cannot wrap, wherever the numbers came from. */
static bool sizes_fit(const struct rt_h5_dataset *dataset)
{
    uint64_t bytes = rt_h5_type_size(dataset->type);
    for (uint32_t i = RT_H5_MAX_RANK;
         i-- > 0;) /* rows come last: a row of 0 rows must fit as well */
        if (!rt_mul_u64(bytes, dataset->dims[i], &bytes) || bytes > INT64_MAX / 2)
            return false;
    return dataset->dims[0] <= INT64_MAX / 16 && dataset->unit_rows <= INT64_MAX / 16;
}

enum rt_status rt_h5_layout_add(struct rt_h5_layout *layout, const char *name, enum rt_h5_type type,
                                uint64_t n_rows, uint64_t planes, uint64_t columns,
                                uint64_t unit_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (layout->n_datasets == RT_H5_MAX_DATASETS)
        rt_die("too many datasets at '%s'", name);
    struct rt_h5_dataset dataset;
    memset(&dataset, 0, sizeof dataset);
    (void)snprintf(dataset.name, sizeof dataset.name, "%s", name);
    dataset.type = type;
    dataset.rank = planes ? 3 : columns ? 2 : 1;
    dataset.dims[0] = n_rows;
    dataset.dims[1] = planes ? planes : columns ? columns : 1;
    dataset.dims[2] = planes ? columns : 1;
    dataset.unit_rows = unit_rows;
    if (!sizes_fit(&dataset))
        RT_FAIL(RT_USAGE, "a dataset '%s' of %llu rows is larger than any file", name,
                (unsigned long long)n_rows);
    layout->datasets[layout->n_datasets++] = dataset;
done:
    return st;
}

int rt_h5_find(const struct rt_h5_layout *layout, const char *name)
{
    for (uint32_t i = 0; i < layout->n_datasets; i++)
        if (strcmp(layout->datasets[i].name, name) == 0)
            return (int)i;
    return -1;
}

static const struct rt_h5_attribute *find_attribute(const struct rt_h5_layout *layout,
                                                    const char *name)
{
    for (uint32_t i = 0; i < layout->n_attributes; i++)
        if (strcmp(layout->attributes[i].name, name) == 0)
            return &layout->attributes[i];
    return NULL;
}

enum rt_status rt_h5_get_number(const struct rt_h5_layout *layout, const char *path,
                                const char *name, uint64_t *value, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_attribute *attribute = find_attribute(layout, name);
    if (!attribute || attribute->is_text)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: no number '%s' in it", path, name);
    *value = attribute->number;
done:
    return st;
}

enum rt_status rt_h5_get_text(const struct rt_h5_layout *layout, const char *path, const char *name,
                              char text[40], struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_attribute *attribute = find_attribute(layout, name);
    if (!attribute || !attribute->is_text)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: no text '%s' in it", path, name);
    memcpy(text, attribute->text, sizeof attribute->text);
done:
    return st;
}

enum rt_status rt_h5_get_u32(const struct rt_h5_layout *layout, const char *path, const char *name,
                             uint32_t least, uint32_t most, uint32_t *value, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t number = 0;
    RT_TRY(rt_h5_get_number(layout, path, name, &number, err));
    if (number < least || number > most)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: '%s' is %llu, not within %u to %u", path, name,
                (unsigned long long)number, least, most);
    *value = (uint32_t)number;
done:
    return st;
}

enum rt_status rt_h5_get_hash(const struct rt_h5_layout *layout, const char *path, const char *name,
                              struct rt_hash128 *hash, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[40];
    RT_TRY(rt_h5_get_text(layout, path, name, text, err));
    if (rt_hash128_parse(text, hash) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: '%s' is no hash", path, name);
done:
    return st;
}

enum rt_status rt_h5_get_head(const struct rt_h5_layout *layout, const char *path,
                              enum rt_file_kind kind, uint64_t *generation,
                              struct rt_hash128 *fingerprint, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char text[40];
    uint64_t version = 0;
    RT_TRY(rt_h5_get_text(layout, path, "format", text, err));
    if (strcmp(text, RT_FORMAT_NAME) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is no file of a " RT_FORMAT_NAME, path);
    RT_TRY(rt_h5_get_number(layout, path, "format_version", &version, err));
    if (version > RT_FORMAT_VERSION)
        RT_FAIL(RT_USAGE, "'%s' has format version %llu, this ranktape reads up to %u", path,
                (unsigned long long)version, RT_FORMAT_VERSION);
    RT_TRY(rt_h5_get_text(layout, path, "kind", text, err));
    if (strcmp(text, rt_file_kind_name(kind)) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it is of kind '%s', not '%s'", path, text,
                rt_file_kind_name(kind));
    RT_TRY(rt_h5_get_number(layout, path, "generation", generation, err));
    RT_TRY(rt_h5_get_hash(layout, path, "fingerprint", fingerprint, err));
done:
    return st;
}

/* ---- HDF5's names of things ---- */

/* IEEE binary16, which HDF5 1.10 has no name for. The caller closes it. */
static hid_t new_half(void)
{
    hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    if (half >= 0 && (H5Tset_fields(half, 15, 10, 5, 0, 10) < 0 || H5Tset_size(half, 2) < 0 ||
                      H5Tset_ebias(half, 15) < 0)) {
        (void)H5Tclose(half);
        return -1;
    }
    return half;
}

static hid_t new_type(enum rt_h5_type type)
{
    const hid_t known[] = {H5T_STD_U8LE, H5T_STD_I8LE,   H5T_STD_U32LE, H5T_STD_U64LE,
                           -1,           H5T_IEEE_F32LE, H5T_IEEE_F64LE};
    return type == RT_H5_F16 ? new_half() : H5Tcopy(known[type]);
}

/* Closes what is open; ids below 0 are skipped. The library itself knows what an id is. Why a call
 * before has failed can still be asked for. */
static void close_ids(const hid_t *ids, size_t n)
{
    hid_t reasons = H5Eget_current_stack();
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= 0)
            (void)H5Idec_ref(ids[i]);
    if (reasons >= 0)
        (void)H5Eset_current_stack(reasons); /* which closes it */
}

/* Old enough for every reader of today, new enough for checksums on all of HDF5's own structures.
 */
static hid_t new_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0)
        return access;
    bool good = H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
                H5Pset_alignment(access, RT_PAGE_BYTES, RT_PAGE_BYTES) >= 0 &&
                H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0;
#if H5_VERSION_GE(1, 10, 7)
    good = good && H5Pset_file_locking(access, false, true) >=
                       0; /* our own LOCK guards; NFS may have no others */
#endif
    if (!good) {
        (void)H5Pclose(access);
        return -1;
    }
    return access;
}

/* ---- creation ---- */

/* All attributes and links stay in the root's own header, so that a reader needs no heap or tree of
 * HDF5. */
static hid_t create_file(const char *path)
{
    hid_t file = -1;
    hid_t access = new_access();
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    if (access >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0 &&
        H5Pset_attr_phase_change(creation, 4 * RT_H5_MAX_ATTRIBUTES, 0) >= 0 &&
        H5Pset_link_phase_change(creation, 4 * RT_H5_MAX_DATASETS, 0) >= 0)
        file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    close_ids((const hid_t[]){access, creation}, 2);
    return file;
}

/* A dataset with its space assigned and not filled; its offset, 0 where it has no bytes. -1: HDF5
 * refused. */
static hid_t create_dataset(hid_t file, const char *name, enum rt_h5_type type, uint32_t rank,
                            const uint64_t *dims, uint64_t *offset)
{
    hsize_t extent[RT_H5_MAX_RANK] = {dims[0], rank > 1 ? dims[1] : 0, rank > 2 ? dims[2] : 0};
    hid_t ids[] = {new_type(type), H5Screate_simple((int)rank, extent, NULL),
                   H5Pcreate(H5P_DATASET_CREATE)};
    hid_t dataset = -1;
    if (ids[0] >= 0 && ids[1] >= 0 && ids[2] >= 0 &&
        H5Pset_alloc_time(ids[2], H5D_ALLOC_TIME_EARLY) >= 0 &&
        H5Pset_fill_time(ids[2], H5D_FILL_TIME_NEVER) >= 0 &&
        H5Pset_obj_track_times(ids[2], false) >= 0)
        dataset = H5Dcreate2(file, name, ids[0], ids[1], H5P_DEFAULT, ids[2], H5P_DEFAULT);
    if (dataset >= 0) {
        haddr_t address = H5Dget_offset(dataset);
        *offset = address == HADDR_UNDEF ? 0 : address;
    }
    close_ids(ids, 3);
    return dataset;
}

static bool create_attribute(hid_t object, const struct rt_h5_attribute *attribute)
{
    size_t length = strlen(attribute->text);
    hid_t ids[] = {attribute->is_text ? H5Tcopy(H5T_C_S1) : H5Tcopy(H5T_STD_U64LE),
                   H5Screate(H5S_SCALAR), -1};
    bool good = ids[0] >= 0 && ids[1] >= 0;
    if (good && attribute->is_text)
        good = H5Tset_size(ids[0], length ? length : 1) >= 0 &&
               H5Tset_strpad(ids[0], H5T_STR_NULLPAD) >= 0;
    if (good)
        ids[2] = H5Acreate2(object, attribute->name, ids[0], ids[1], H5P_DEFAULT, H5P_DEFAULT);
    good = ids[2] >= 0 &&
           H5Awrite(ids[2], ids[0],
                    attribute->is_text ? (const void *)attribute->text : &attribute->number) >= 0;
    close_ids(ids, 3);
    return good;
}

static enum rt_status create_with_sums(hid_t file, const char *path, struct rt_h5_dataset *dataset,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t ids[] = {-1, -1};
    ids[0] = create_dataset(file, dataset->name, dataset->type, dataset->rank, dataset->dims,
                            &dataset->offset);
    if (ids[0] < 0)
        FAIL_HDF5(RT_IO, "cannot create '%s' in '%s'", dataset->name, path);
    if (rt_h5_dataset_bytes(dataset) > 0 && dataset->offset == 0)
        RT_FAIL(RT_IO, "HDF5 assigned no space to '%s' in '%s'", dataset->name, path);
    if (dataset->unit_rows > 0) {
        char name[MOST_NAME];
        uint64_t n_units = rt_h5_n_units(dataset);
        struct rt_h5_attribute unit = {.name = "unit_rows", .number = dataset->unit_rows};
        (void)snprintf(name, sizeof name, "%s" SUMS_SUFFIX, dataset->name);
        ids[1] = create_dataset(file, name, RT_H5_U64, 1, &n_units, &dataset->sums_offset);
        if (ids[1] < 0 || !create_attribute(ids[1], &unit))
            FAIL_HDF5(RT_IO, "cannot create '%s' in '%s'", name, path);
    }
done:
    close_ids(ids, 2);
    return st;
}

static enum rt_status create_locked(const char *path, struct rt_h5_layout *layout,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t file = create_file(path);
    if (file < 0)
        FAIL_HDF5(RT_IO, "cannot create '%s'", path);
    for (uint32_t i = 0; i < layout->n_attributes; i++)
        if (!create_attribute(file, &layout->attributes[i]))
            FAIL_HDF5(RT_IO, "cannot write '%s' of '%s'", layout->attributes[i].name, path);
    for (uint32_t i = 0; i < layout->n_datasets; i++)
        RT_TRY(create_with_sums(file, path, &layout->datasets[i], err));
    hid_t closing = file;
    file = -1;
    if (H5Fclose(closing) < 0)
        FAIL_HDF5(RT_IO, "cannot close '%s'", path);
done:
    close_ids(&file, 1);
    return st;
}

enum rt_status rt_h5_create(const char *path, struct rt_h5_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    /* made by us first, so that errors are the system's own words, and group and mode are right */
    RT_TRY(rt_fs_open(path, O_RDWR | O_CREAT | O_TRUNC, &fd, err));
    rt_h5_enter(path);
    st = create_locked(path, layout, err);
    rt_h5_leave();
    if (st == RT_OK)
        st = rt_fs_size(path, &layout->size, err);
    if (st == RT_OK)
        st = rt_fs_sync(fd, path, err);
done:
    if (fd >= 0) {
        (void)close(fd);
        if (st != RT_OK)
            (void)unlink(path);
    }
    return st;
}

/* ---- reading what is there ---- */

struct entry { /* a dataset as found, checksums not yet told apart */
    char name[MOST_NAME];
    struct rt_h5_dataset dataset;
};

static bool find_type(hid_t dataset, enum rt_h5_type *out)
{
    bool found = false;
    hid_t type = H5Dget_type(dataset);
    for (int t = RT_H5_U8; t <= RT_H5_F64 && type >= 0 && !found; t++) {
        hid_t known = new_type((enum rt_h5_type)t);
        if (known >= 0 && H5Tequal(type, known) > 0) {
            *out = (enum rt_h5_type)t;
            found = true;
        }
        close_ids(&known, 1);
    }
    close_ids(&type, 1);
    return found;
}

static bool find_extent(hid_t dataset, struct rt_h5_dataset *out)
{
    hsize_t extent[RT_H5_MAX_RANK] = {1, 1, 1};
    hid_t space = H5Dget_space(dataset);
    int rank = space < 0 || H5Sis_simple(space) <= 0 ? -1 : H5Sget_simple_extent_ndims(space);
    bool good = rank >= 1 && rank <= RT_H5_MAX_RANK &&
                H5Sget_simple_extent_dims(space, extent, NULL) == rank;
    if (good)
        out->rank = (uint32_t)rank;
    for (int i = 0; i < RT_H5_MAX_RANK && good; i++)
        out->dims[i] = i < rank ? extent[i] : 1;
    close_ids(&space, 1);
    return good;
}

static bool is_contiguous(hid_t dataset)
{
    hid_t creation = H5Dget_create_plist(dataset);
    bool good = creation >= 0 && H5Pget_layout(creation) == H5D_CONTIGUOUS &&
                H5Pget_external_count(creation) == 0;
    close_ids(&creation, 1);
    return good;
}

static bool read_attribute(hid_t attribute, struct rt_h5_attribute *out)
{
    char text[sizeof out->text] = "";
    bool good = false;
    ssize_t length = H5Aget_name(attribute, sizeof out->name, out->name);
    hid_t ids[] = {H5Aget_type(attribute), H5Aget_space(attribute), -1};
    if (length <= 0 || (size_t)length >= sizeof out->name || ids[0] < 0 || ids[1] < 0 ||
        H5Sget_simple_extent_npoints(ids[1]) != 1)
        goto done;
    if (H5Tequal(ids[0], H5T_STD_U64LE) > 0) {
        good = H5Aread(attribute, H5T_STD_U64LE, &out->number) >= 0;
    } else if (H5Tget_class(ids[0]) == H5T_STRING && H5Tis_variable_str(ids[0]) == 0 &&
               H5Tget_size(ids[0]) < sizeof text) {
        good = H5Aread(attribute, ids[0], text) >= 0;
        out->is_text = true;
        memcpy(out->text, text, sizeof text);
    }
done:
    close_ids(ids, 3);
    return good;
}

static bool read_unit_rows(hid_t dataset, uint64_t *unit_rows)
{
    struct rt_h5_attribute attribute = {.name = ""};
    if (H5Aexists(dataset, "unit_rows") <= 0)
        return true;
    hid_t id = H5Aopen(dataset, "unit_rows", H5P_DEFAULT);
    bool good =
        id >= 0 && read_attribute(id, &attribute) && !attribute.is_text && attribute.number > 0;
    *unit_rows = attribute.number;
    close_ids(&id, 1);
    return good;
}

/* The n-th link of the root, which must be a dataset of ours. */
static enum rt_status read_entry(hid_t file, const char *path, hsize_t n, struct entry *out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t dataset = -1;
    H5L_info_t link;
    ssize_t length = H5Lget_name_by_idx(file, ".", H5_INDEX_NAME, H5_ITER_INC, n, out->name,
                                        sizeof out->name, H5P_DEFAULT);
    if (length <= 0 || (size_t)length >= sizeof out->name)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: a strange name in it", path);
    if (H5Lget_info(file, out->name, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: '%s' is no dataset", path, out->name);
    dataset = H5Dopen2(file, out->name, H5P_DEFAULT);
    if (dataset < 0)
        FAIL_HDF5(RT_DAMAGED, "'%s' is damaged: dataset '%s'", path, out->name);
    struct rt_h5_dataset *found = &out->dataset;
    if (!find_type(dataset, &found->type) || !find_extent(dataset, found) ||
        !is_contiguous(dataset) || !read_unit_rows(dataset, &found->unit_rows) || !sizes_fit(found))
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: dataset '%s' has another type or shape", path,
                out->name);
    haddr_t address = H5Dget_offset(dataset);
    found->offset = address == HADDR_UNDEF ? 0 : address;
    if (rt_h5_dataset_bytes(found) > 0 && found->offset == 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: dataset '%s' has no bytes", path, out->name);
done:
    close_ids(&dataset, 1);
    return st;
}

/* NAME.xxh3 goes to its NAME; what is left must be a plain name. */
static enum rt_status join_sums(const char *path, struct entry *entries, uint32_t n,
                                struct rt_h5_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t i = 0; i < n; i++) {
        if (strstr(entries[i].name, SUMS_SUFFIX))
            continue;
        if (layout->n_datasets == RT_H5_MAX_DATASETS ||
            strlen(entries[i].name) >= sizeof layout->datasets[0].name)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: too many datasets", path);
        strcpy(entries[i].dataset.name, entries[i].name);
        layout->datasets[layout->n_datasets++] = entries[i].dataset;
    }
    for (uint32_t i = 0; i < n; i++) {
        char *suffix = strstr(entries[i].name, SUMS_SUFFIX);
        if (!suffix)
            continue;
        *suffix = '\0';
        int owner =
            suffix[sizeof SUMS_SUFFIX - 1] == '\0' ? rt_h5_find(layout, entries[i].name) : -1;
        if (owner < 0)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: checksums of '%s', which is not there", path,
                    entries[i].name);
        struct rt_h5_dataset *dataset = &layout->datasets[owner];
        const struct rt_h5_dataset *sums = &entries[i].dataset;
        dataset->unit_rows = sums->unit_rows;
        dataset->sums_offset = sums->offset;
        if (sums->unit_rows == 0 || sums->type != RT_H5_U64 || sums->rank != 1 ||
            sums->dims[0] != rt_h5_n_units(dataset))
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: checksums of '%s' do not fit it", path,
                    entries[i].name);
    }
done:
    return st;
}

static herr_t next_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context)
{
    struct rt_h5_layout *layout = context;
    (void)info;
    if (layout->n_attributes == RT_H5_MAX_ATTRIBUTES)
        return -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    bool good =
        attribute >= 0 && read_attribute(attribute, &layout->attributes[layout->n_attributes]);
    close_ids(&attribute, 1);
    layout->n_attributes += good;
    return good ? 0 : -1;
}

static enum rt_status read_locked(hid_t file, const char *path, struct rt_h5_layout *layout,
                                  struct entry *entries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    H5G_info_t group;
    hsize_t at = 0;
    if (H5Gget_info(file, &group) < 0)
        FAIL_HDF5(RT_DAMAGED, "'%s' is damaged", path);
    if (group.nlinks > MOST_ENTRIES)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: more in it than any file of an index has", path);
    if (H5Aiterate2(file, H5_INDEX_NAME, H5_ITER_INC, &at, next_attribute, layout) < 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its attributes are strange", path);
    for (uint32_t i = 0; i < group.nlinks; i++)
        RT_TRY(read_entry(file, path, i, &entries[i], err));
    RT_TRY(join_sums(path, entries, (uint32_t)group.nlinks, layout, err));
done:
    return st;
}

/* Every dataset and checksum dataset inside the file, no two sharing a byte. */
static enum rt_status check_offsets(const char *path, const struct rt_h5_layout *layout,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_range ranges[2 * RT_H5_MAX_DATASETS];
    uint32_t n = rt_h5_ranges(layout, true, ranges);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t next = i + 1 < n ? ranges[i + 1].offset : layout->size;
        if (ranges[i].offset > next || ranges[i].bytes > next - ranges[i].offset)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: a dataset at byte %llu reaches beyond byte %llu",
                    path, (unsigned long long)ranges[i].offset, (unsigned long long)next);
    }
done:
    return st;
}

enum rt_status rt_h5_read_layout(const char *path, struct rt_h5_layout *layout,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t file = -1;
    struct entry *entries = NULL;
    struct rt_h5_layout found;
    memset(&found, 0, sizeof found);
    RT_TRY(rt_fs_size(path, &found.size, err));
    RT_TRY(rt_array_zero(MOST_ENTRIES, sizeof *entries, &entries, err));
    rt_h5_enter(path);
    hid_t access = new_access();
    file = access < 0 ? -1 : H5Fopen(path, H5F_ACC_RDONLY, access);
    if (file >= 0) {
        st = read_locked(file, path, &found, entries, err);
    } else {
        char reason[200];
        rt_h5_reason(reason, sizeof reason);
        st = rt_error_set(err, RT_DAMAGED, __FILE__, __LINE__,
                          "'%s' is damaged or no HDF5 file: %s", path, reason);
    }
    close_ids((const hid_t[]){access, file}, 2);
    rt_h5_leave();
    if (st == RT_OK)
        st = check_offsets(path, &found, err);
    if (st == RT_OK)
        *layout = found;
done:
    rt_array_free(entries);
    return st;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct rt_h5_range *)a)->offset;
    uint64_t y = ((const struct rt_h5_range *)b)->offset;
    return (x > y) - (x < y);
}

uint32_t rt_h5_ranges(const struct rt_h5_layout *layout, bool small_too, struct rt_h5_range *ranges)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < layout->n_datasets; i++) {
        const struct rt_h5_dataset *dataset = &layout->datasets[i];
        uint64_t bytes = rt_h5_dataset_bytes(dataset);
        if (bytes > 0 && (small_too || dataset->unit_rows > 0))
            ranges[n++] = (struct rt_h5_range){dataset->offset, bytes};
        if (bytes > 0 && dataset->unit_rows > 0)
            ranges[n++] = (struct rt_h5_range){dataset->sums_offset, 8 * rt_h5_n_units(dataset)};
    }
    qsort(ranges, n, sizeof *ranges, by_offset);
    return n;
}

/* ---- found against expected ---- */

static enum rt_status adopt_dataset(const char *path, const struct rt_h5_layout *found,
                                    struct rt_h5_dataset *expected, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int index = rt_h5_find(found, expected->name);
    if (index < 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: no dataset '%s'", path, expected->name);
    const struct rt_h5_dataset *dataset = &found->datasets[index];
    if (dataset->type != expected->type || dataset->rank != expected->rank ||
        dataset->unit_rows != expected->unit_rows ||
        memcmp(dataset->dims, expected->dims, sizeof dataset->dims) != 0)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: dataset '%s' is %llu x %llu x %llu in units of %llu, expected "
                "%llu x %llu x %llu in "
                "units of %llu",
                path, expected->name, (unsigned long long)dataset->dims[0],
                (unsigned long long)dataset->dims[1], (unsigned long long)dataset->dims[2],
                (unsigned long long)dataset->unit_rows, (unsigned long long)expected->dims[0],
                (unsigned long long)expected->dims[1], (unsigned long long)expected->dims[2],
                (unsigned long long)expected->unit_rows);
    expected->offset = dataset->offset;
    expected->sums_offset = dataset->sums_offset;
done:
    return st;
}

enum rt_status rt_h5_adopt(const char *path, const struct rt_h5_layout *found,
                           struct rt_h5_layout *expected, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t i = 0; i < expected->n_attributes; i++) {
        const struct rt_h5_attribute *want = &expected->attributes[i];
        const struct rt_h5_attribute *have = find_attribute(found, want->name);
        if (!have || have->is_text != want->is_text || have->number != want->number ||
            strcmp(have->text, want->text) != 0)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: attribute '%s' is missing or has another value",
                    path, want->name);
    }
    for (uint32_t i = 0; i < expected->n_datasets; i++)
        RT_TRY(adopt_dataset(path, found, &expected->datasets[i], err));
    if (found->n_datasets != expected->n_datasets || found->n_attributes != expected->n_attributes)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: there is more in it than belongs there", path);
    expected->size = found->size;
done:
    return st;
}
