/* The two ways to write give the same bytes, whatever the ranks; a failed write says that the job
 * must be aborted. */
#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "core/fault.h"
#include "core/memory.h"
#include "core/random.h"
#include "io/hdf5_file.h"
#include "io/unit_writer.h"

#include <unistd.h>

#define ROWS 300000
static struct rt_error err;

static void make_layout(struct rt_h5_layout *layout)
{
    const struct rt_hash128 fingerprint = {1, 2};
    rt_h5_layout_begin(layout, RT_FILE_APPENDABLE, 1, fingerprint);
    CHECK_OK(
        rt_h5_layout_add(layout, "wide", RT_H5_F32, ROWS, 0, 64, rt_unit_rows(256, 4096), &err));
    CHECK_OK(rt_h5_layout_add(layout, "half", RT_H5_F16, ROWS, 4, 3, rt_unit_rows(24, 4096), &err));
    CHECK_OK(rt_h5_layout_add(layout, "ids", RT_H5_U64, ROWS, 0, 0, rt_unit_rows(8, 4096), &err));
    CHECK_OK(rt_h5_layout_add(layout, "table", RT_H5_U32, 5, 0, 2, 0, &err));
}

/* Every rank writes its share of all rows; the last rank has the table. */
static void write_file(const char *path, enum rt_io_way way)
{
    static const uint32_t datasets[] = {0, 1, 2};
    static const uint64_t row_bytes[] = {256, 24, 8};
    const uint32_t table[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const uint8_t fill[3] = {0, 0, 0xff};
    MPI_Comm comm = MPI_COMM_WORLD;
    struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    struct rt_unit_writer *writer = NULL;
    unsigned char *rows = malloc(1000 * 288);
    int n_ranks = 0;
    MPI_Comm_size(comm, &n_ranks);
    make_layout(&layout);
    if (rt_test_rank == 0)
        CHECK_OK(rt_h5_create(path, &layout, &err));
    MPI_Bcast(&layout, (int)sizeof layout, MPI_BYTE, 0, comm);
    CHECK_OK(rt_h5_open_write(&comm, path, &layout, way, &file, &err));
    uint64_t share = rt_share_rows(row_bytes, 3, 4096);
    uint64_t shares = (ROWS + share - 1) / share;
    uint64_t begin = shares * (uint64_t)rt_test_rank / (uint64_t)n_ranks * share;
    uint64_t end = shares * (uint64_t)(rt_test_rank + 1) / (uint64_t)n_ranks * share;
    end = end < ROWS ? end : ROWS;
    begin = begin < end ? begin : end;
    CHECK_OK(rt_unit_writer_new(file, datasets, 3, begin, end, 4 << 20, &writer, &err));
    while (rt_unit_writer_row(writer) + 1000 <= end) {
        uint64_t row = rt_unit_writer_row(writer);
        for (size_t i = 0; i < 1000; i++) /* a function of the row alone */
            memset(rows + i * 288, (int)(rt_random(1, RT_RANDOM_TEST, row + i, 0, 0) & 0xff), 288);
        const void *columns[] = {rows, rows, rows};
        CHECK_OK(rt_unit_writer_append(writer, columns, 1000, &err));
    }
    CHECK_OK(rt_unit_writer_end(writer, fill, &err));
    if (rt_test_rank == n_ranks - 1)
        CHECK_OK(rt_h5_write(file, 3, 0, 5, table, &err));
    CHECK_OK(rt_h5_sync(file, &err));
    CHECK(!rt_h5_must_abort(file));
    rt_unit_writer_free(writer);
    CHECK_OK(rt_h5_close(file, &err));
    free(rows);
    MPI_Barrier(comm);
}

RT_TEST("direct and mpio write the same bytes")
{
    char direct[64], mpio[64];
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    if (!rt_h5_has_mpio())
        return;
    (void)snprintf(direct, sizeof direct, "direct.np%d.h5", n_ranks);
    (void)snprintf(mpio, sizeof mpio, "mpio.np%d.h5", n_ranks);
    write_file(direct, RT_IO_DIRECT);
    write_file(mpio, RT_IO_MPIO);
    if (rt_test_rank == 0) {
        char *a = NULL;
        char *b = NULL;
        size_t n = 0;
        size_t m = 0;
        CHECK_OK(rt_fs_read_small(direct, 1 << 28, &a, &n, &err));
        CHECK_OK(rt_fs_read_small(mpio, 1 << 28, &b, &m, &err));
        CHECK(n == m && n > ROWS * 288);
        size_t same = 0;
        while (a && b && same < n && same < m && a[same] == b[same])
            same++;
        if (same < n)
            RT_TEST_FAILED("byte %zu of %zu differs", same, n);
        rt_array_free(a);
        rt_array_free(b);
        (void)unlink(direct);
        (void)unlink(mpio);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

#ifdef RT_CHECKS
/* Rank 0 cannot write; every rank looks at its own result alone, nobody waits. */
static void write_with_fault(enum rt_io_way way)
{
    const uint32_t table[10] = {0};
    MPI_Comm comm = MPI_COMM_WORLD;
    struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    make_layout(&layout);
    if (rt_test_rank == 0)
        CHECK_OK(rt_h5_create("fault.h5", &layout, &err));
    MPI_Bcast(&layout, (int)sizeof layout, MPI_BYTE, 0, comm);
    CHECK_OK(rt_h5_open_write(&comm, "fault.h5", &layout, way, &file, &err));
    (void)setenv("RANKTAPE_FAULT", "write:0", 1);
    rt_fault_set_rank(rt_test_rank);
    CHECK_STATUS(rt_test_rank == 0 ? RT_IO : RT_OK, rt_h5_write(file, 3, 0, 5, table, &err));
    CHECK(rt_h5_must_abort(file) == (rt_test_rank == 0 && way == RT_IO_MPIO));
    (void)unsetenv("RANKTAPE_FAULT");
    rt_fault_set_rank(rt_test_rank);
    CHECK_OK(rt_h5_close(
        file, &err)); /* the fault never reached HDF5, so that closing cannot hang here */
    MPI_Barrier(comm);
}

RT_TEST("a rank that cannot write knows it alone, and under mpio that the job must be aborted")
{
    write_with_fault(RT_IO_DIRECT);
    if (rt_h5_has_mpio())
        write_with_fault(RT_IO_MPIO);
    if (rt_test_rank == 0)
        (void)unlink("fault.h5");
    MPI_Barrier(MPI_COMM_WORLD);
}
#endif

RT_TEST("without MPI-IO in the build, mpio is refused")
{
    struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    make_layout(&layout);
    if (!rt_h5_has_mpio())
        CHECK_STATUS(RT_USAGE, rt_h5_open_write(NULL, "x.h5", &layout, RT_IO_MPIO, &file, &err));
}

RT_TEST_MAIN()
