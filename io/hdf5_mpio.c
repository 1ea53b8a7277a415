#include "io/hdf5_mpio.h"

#include "core/fault.h"
#include "core/memory.h"
#include "core/units.h"
#include "io/fs.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>

#define MOST_AT_ONCE                                                                               \
    (UINT64_C(32) << 20) /* an independent write of 2 GiB fails, large ones are slow */

struct rt_h5_mpio {
    hid_t file, transfer;
    hid_t datasets[RT_H5_MAX_DATASETS], sums[RT_H5_MAX_DATASETS]; /* -1: not there */
    struct rt_h5_layout layout;
    char path[RT_PATH_MAX];
};

static enum rt_status fail(const struct rt_h5_mpio *mpio, const char *what, struct rt_error *err)
{
    char reason[200];
    rt_h5_reason(reason, sizeof reason);
    return rt_error_set(err, RT_IO, __FILE__, __LINE__, "%s '%s' by MPI-IO: %s", what, mpio->path,
                        reason);
}

static enum rt_status open_datasets(struct rt_h5_mpio *mpio, struct rt_error *err)
{
    for (uint32_t i = 0; i < mpio->layout.n_datasets; i++) {
        char name[64];
        const struct rt_h5_dataset *dataset = &mpio->layout.datasets[i];
        mpio->datasets[i] = H5Dopen2(mpio->file, dataset->name, H5P_DEFAULT);
        if (mpio->datasets[i] < 0)
            return fail(mpio, "cannot open a dataset of", err);
        if (dataset->unit_rows == 0)
            continue;
        (void)snprintf(name, sizeof name, "%s.xxh3", dataset->name);
        mpio->sums[i] = H5Dopen2(mpio->file, name, H5P_DEFAULT);
        if (mpio->sums[i] < 0)
            return fail(mpio, "cannot open checksums of", err);
    }
    return RT_OK;
}

static enum rt_status open_locked(MPI_Comm comm, struct rt_h5_mpio *mpio, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    mpio->transfer = H5Pcreate(H5P_DATASET_XFER);
    if (access < 0 || mpio->transfer < 0 || H5Pset_fapl_mpio(access, comm, MPI_INFO_NULL) < 0 ||
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) < 0 ||
        H5Pset_dxpl_mpio(mpio->transfer, H5FD_MPIO_INDEPENDENT) < 0)
        st = fail(mpio, "cannot prepare", err);
    if (st == RT_OK) {
        mpio->file = H5Fopen(mpio->path, H5F_ACC_RDWR, access);
        st = mpio->file < 0 ? fail(mpio, "cannot open", err) : open_datasets(mpio, err);
    }
    if (access >= 0)
        (void)H5Pclose(access);
    return st;
}

enum rt_status rt_h5_mpio_open(MPI_Comm comm, const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_mpio **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_h5_mpio *mpio = NULL;
    RT_TRY(rt_array_new(1, sizeof *mpio, &mpio, err));
    mpio->layout = *layout;
    mpio->file = mpio->transfer = -1;
    for (uint32_t i = 0; i < RT_H5_MAX_DATASETS; i++)
        mpio->datasets[i] = mpio->sums[i] = -1;
    (void)snprintf(mpio->path, sizeof mpio->path, "%s", path);
    rt_h5_enter(NULL);
    st = open_locked(comm, mpio, err);
    rt_h5_leave();
    if (st != RT_OK)
        goto done; /* whatever is open stays open: closing is collective */
    *out = mpio;
    mpio = NULL;
done:
    rt_array_free(mpio);
    return st;
}

/* reason: why not, of REASON_BYTES; asked at once, since closing forgets it. */
#define REASON_BYTES 200
static bool write_piece(const struct rt_h5_mpio *mpio, hid_t dataset, enum rt_h5_type type,
                        const hsize_t *extent, int rank, uint64_t first_row, const void *rows,
                        char *reason)
{
    static const hsize_t zero[RT_H5_MAX_RANK];
    hsize_t start[RT_H5_MAX_RANK] = {first_row, 0, 0};
    const hid_t memory_types[] = {
        H5T_NATIVE_UINT8, H5T_NATIVE_INT8,  H5T_NATIVE_UINT32, H5T_NATIVE_UINT64, -1,
        H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE};
    hid_t memory = H5Screate_simple(rank, extent, NULL);
    hid_t space = H5Dget_space(dataset);
    hid_t own = type == RT_H5_F16 ? H5Dget_type(dataset) : -1;
    bool good = memory >= 0 && space >= 0 &&
                H5Sselect_hyperslab(memory, H5S_SELECT_SET, zero, NULL, extent, NULL) >= 0 &&
                H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, extent, NULL) >= 0 &&
                H5Dwrite(dataset, own >= 0 ? own : memory_types[type], memory, space,
                         mpio->transfer, rows) >= 0;
    if (!good)
        rt_h5_reason(reason, REASON_BYTES);
    if (memory >= 0)
        (void)H5Sclose(memory);
    if (space >= 0)
        (void)H5Sclose(space);
    if (own >= 0)
        (void)H5Tclose(own);
    return good;
}

/* MPI-IO seldom says that a disk is full. */
static enum rt_status fail_to_write(const struct rt_h5_mpio *mpio, const char *reason,
                                    struct rt_error *err)
{
    struct rt_error ignored;
    uint64_t free_bytes = 0;
    char text[RT_UNITS_TEXT] = "an unknown amount";
    if (rt_fs_free_bytes(mpio->path, &free_bytes, &ignored) == RT_OK)
        rt_units_bytes(free_bytes, text);
    return rt_error_set(err, RT_IO, __FILE__, __LINE__,
                        "write to '%s' by MPI-IO: %s (%s free there)", mpio->path, reason, text);
}

enum rt_status rt_h5_mpio_write(struct rt_h5_mpio *mpio, uint32_t dataset, bool is_sums,
                                uint64_t first_row, uint64_t n_rows, const void *rows,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_dataset *shape = &mpio->layout.datasets[dataset];
    hid_t id = is_sums ? mpio->sums[dataset] : mpio->datasets[dataset];
    uint64_t row_bytes = is_sums ? 8 : rt_h5_row_bytes(shape);
    uint64_t step = row_bytes < MOST_AT_ONCE ? MOST_AT_ONCE / row_bytes : 1;
    for (uint64_t done_rows = 0; done_rows < n_rows && st == RT_OK;) {
        uint64_t n = n_rows - done_rows < step ? n_rows - done_rows : step;
        hsize_t extent[RT_H5_MAX_RANK] = {n, is_sums ? 1 : shape->dims[1],
                                          is_sums ? 1 : shape->dims[2]};
        char reason[REASON_BYTES] = "No space left on device";
        bool good = false;
        rt_h5_enter(NULL);
        if (!RT_FAULT("write"))
            good = write_piece(mpio, id, is_sums ? RT_H5_U64 : shape->type, extent,
                               is_sums ? 1 : (int)shape->rank, first_row + done_rows,
                               (const char *)rows + done_rows * row_bytes, reason);
        rt_h5_leave();
        if (!good)
            RT_TRY(fail_to_write(mpio, reason, err));
        done_rows += n;
    }
done:
    return st;
}

enum rt_status rt_h5_mpio_close(struct rt_h5_mpio *mpio, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool good = true;
    rt_h5_enter(NULL);
    for (uint32_t i = 0; i < RT_H5_MAX_DATASETS; i++) {
        good = good && (mpio->datasets[i] < 0 || H5Dclose(mpio->datasets[i]) >= 0);
        good = good && (mpio->sums[i] < 0 || H5Dclose(mpio->sums[i]) >= 0);
    }
    good = good && H5Fclose(mpio->file) >= 0;
    if (!good)
        st = fail(mpio, "cannot close", err);
    (void)H5Pclose(mpio->transfer);
    rt_h5_leave();
    rt_array_free(mpio);
    return st;
}
