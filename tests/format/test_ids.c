/* Ids of rows from a file. */
#include "io/hdf5_matrix.h"
#include "io/ids.h"
#include "row_files.h"

#include <fcntl.h>

static const char *write_npy(const char *name, const char *descr, const char *shape,
                             const void *data, size_t data_bytes)
{
    unsigned char bytes[512] = "\x93NUMPY\1";
    char header[128];
    int n = snprintf(header, sizeof header,
                     "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", descr, shape);
    bytes[8] = (unsigned char)n;
    memcpy(bytes + 10, header, (size_t)n);
    memcpy(bytes + 10 + n, data, data_bytes);
    return write_file(name, bytes, 10 + (size_t)n + data_bytes);
}

/* Opens, reads all (at most 8) and closes. */
static enum rt_status read_ids(const char *name, uint64_t n_rows, uint64_t *out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_ids *ids = NULL;
    RT_TRY(rt_ids_open(name, n_rows, &ids, err));
    RT_TRY(rt_ids_read(ids, 0, (size_t)rt_ids_count(ids), out, err));
done:
    rt_ids_close(ids);
    return st;
}

static bool says(const struct rt_error *err, const char *a, const char *b)
{
    bool both = strstr(err->text, a) && strstr(err->text, b);
    if (!both)
        (void)fprintf(stderr, "  message: %s\n", err->text);
    return both;
}

RT_TEST("raw ids are u64, one for each row, by range")
{
    struct rt_error err;
    const uint64_t values[3] = {7, UINT64_C(1) << 63, UINT64_MAX - 1};
    uint64_t found[8];
    struct rt_ids *ids = NULL;
    const char *path = write_file("a.ids", values, sizeof values);
    CHECK_OK(rt_ids_open(path, 3, &ids, &err));
    REQUIRE(ids);
    CHECK(rt_ids_count(ids) == 3 && !rt_ids_needs_hdf5(ids));
    CHECK_OK(rt_ids_read(ids, 1, 2, found, &err));
    CHECK(memcmp(found, values + 1, 16) == 0);
    rt_ids_close(ids);
    CHECK_OK(read_ids(path, RT_IDS_ANY, found, &err));
    CHECK_STATUS(RT_INPUT, read_ids(path, 1234, found, &err));
    CHECK(says(&err, "a.ids' holds 3 ids", "1,234 rows"));
    for (size_t cut = 0; cut < 24; cut++) {
        path = write_file("cut.ids", values, cut);
        CHECK_STATUS(RT_INPUT, read_ids(path, 3, found, &err));
        CHECK(strstr(err.text, "cut.ids") != NULL);
    }
    CHECK_STATUS(RT_INPUT, read_ids(in_folder("none.ids"), 3, found, &err));
}

RT_TEST("2^64-1 is no id, and is told with its row")
{
    struct rt_error err;
    const uint64_t values[3] = {7, 8, UINT64_MAX};
    uint64_t found[8];
    CHECK_STATUS(RT_INPUT, read_ids(write_file("b.ids", values, sizeof values), 3, found, &err));
    CHECK(says(&err, "b.ids' row 2", "2^64-1"));
}

RT_TEST("npy ids of four types, on one axis or n x 1; negative ones are refused")
{
    struct rt_error err;
    uint64_t found[8];
    const int32_t small[3] = {1, INT32_MAX, 3}, below[3] = {1, 2, -3};
    const uint32_t wide[3] = {1, UINT32_MAX, 3};
    const int64_t large[3] = {1, INT64_MAX, 3}, no[3] = {-1, 2, 3};
    const uint64_t most[3] = {1, UINT64_MAX - 1, 3};
    CHECK_OK(read_ids(write_npy("a.npy", "<i4", "(3,)", small, 12), 3, found, &err));
    CHECK(found[1] == INT32_MAX && found[2] == 3);
    CHECK_OK(read_ids(write_npy("a.npy", "<u4", "(3, 1)", wide, 12), 3, found, &err));
    CHECK(found[1] == UINT32_MAX && found[2] == 3);
    CHECK_OK(read_ids(write_npy("a.npy", "<i8", "(3,)", large, 24), 3, found, &err));
    CHECK(found[1] == INT64_MAX && found[2] == 3);
    CHECK_OK(read_ids(write_npy("a.npy", "<u8", "(3,)", most, 24), 3, found, &err));
    CHECK(found[1] == UINT64_MAX - 1 && found[2] == 3);
    CHECK_STATUS(RT_INPUT, read_ids(write_npy("a.npy", "<i4", "(3,)", below, 12), 3, found, &err));
    CHECK(says(&err, "a.npy' row 2", "-3 is negative"));
    CHECK_STATUS(RT_INPUT, read_ids(write_npy("a.npy", "<i8", "(3,)", no, 24), 3, found, &err));
    CHECK(says(&err, "a.npy' row 0", "-1 is negative"));
    CHECK_STATUS(RT_INPUT, read_ids(write_npy("a.npy", "<f8", "(3,)", no, 24), 3, found, &err));
    CHECK_STATUS(RT_INPUT,
                 read_ids(write_npy("a.npy", "<i4", "(1, 3)", small, 12), 3, found, &err));
    CHECK(says(&err, "a.npy' is 1 x 3", "n x 1"));
    CHECK_STATUS(RT_INPUT, read_ids(write_npy("a.npy", "<i4", "(3,)", small, 12), 4, found, &err));
    CHECK(says(&err, "3 ids", "4 rows"));
    CHECK_STATUS(RT_INPUT, read_ids(write_npy("a.npy", "<i4", "(3,)", small, 11), 3, found, &err));
    CHECK(says(&err, "a.npy", "truncated"));
}

RT_TEST("HDF5 ids are named with their dataset")
{
    struct rt_error err;
    uint64_t found[8];
    const char *path = in_folder("ids.h5");
    const int64_t values[3] = {5, INT64_MAX, -2};
    struct rt_matrix_column columns[] = {{"/a/ids", RT_MATRIX_I64, 1, 3, 1, 0},
                                         {"/u", RT_MATRIX_U64, 2, 3, 1, 0},
                                         {"/wide", RT_MATRIX_U64, 2, 3, 2, 0},
                                         {"/f", RT_MATRIX_F32, 1, 3, 1, 0}};
    CHECK_OK(rt_hdf5_matrix_create(path, columns, 4, NULL, 0, &err));
    int fd = open(path, O_RDWR);
    CHECK(pwrite(fd, values, 24, (off_t)columns[0].data_offset) == 24);
    CHECK(pwrite(fd, values, 24, (off_t)columns[1].data_offset) == 24);
    close(fd);
    char name[600];
    (void)snprintf(name, sizeof name, "%s:/u", path);
    CHECK_OK(read_ids(name, 3, found, &err));
    CHECK(found[0] == 5 && found[1] == INT64_MAX && found[2] == UINT64_MAX - 1);
    (void)snprintf(name, sizeof name, "%s:/a/ids", path);
    CHECK_STATUS(RT_INPUT, read_ids(name, 3, found, &err));
    CHECK(says(&err, "row 2", "-2 is negative"));
    CHECK_STATUS(RT_INPUT, read_ids(name, 2, found, &err));
    (void)snprintf(name, sizeof name, "%s:/f", path);
    CHECK_STATUS(RT_INPUT, read_ids(name, 3, found, &err));
    CHECK(says(&err, "f32", "integers"));
    (void)snprintf(name, sizeof name, "%s:/wide", path);
    CHECK_STATUS(RT_INPUT, read_ids(name, 3, found, &err));
    (void)snprintf(name, sizeof name, "%s:/none", path);
    CHECK_STATUS(RT_INPUT, read_ids(name, 3, found, &err));
    CHECK(says(&err, "no dataset '/none'", "/u"));
    CHECK_STATUS(RT_INPUT, read_ids(path, 3, found, &err));
    CHECK(says(&err, "name the dataset", ":/ids"));
}

RT_TEST_MAIN()
