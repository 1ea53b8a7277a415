/* Truth and results. */
#include "io/hdf5_matrix.h"
#include "io/ids.h"
#include "io/neighbours.h"
#include "row_files.h"

#include <math.h>

static bool says(const struct rt_error *err, const char *a, const char *b)
{
    bool both = strstr(err->text, a) && strstr(err->text, b);
    if (!both)
        (void)fprintf(stderr, "  message: %s\n", err->text);
    return both;
}

RT_TEST("neighbours written in every format are read back, missing places too")
{
    static const char *const names[] = {"n.ivecs", "n.ibin", "n.h5", "n.hdf5"};
    struct rt_error err;
    struct rt_neighbours a = {0}, b = {0};
    CHECK_OK(rt_neighbours_new(400, 777, true, &a, &err)); /* more than a megabyte */
    REQUIRE(a.ids);
    for (size_t i = 0; i < 400 * 777; i++)
        if (i % 10) {
            a.ids[i] = i % 5 ? i * 6000 : INT32_MAX;
            a.distances[i] = (float)i;
        }
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(rt_neighbours_write(in_folder(names[i]), &a, RT_L2, 16, &err));
        CHECK_OK(rt_neighbours_read(in_folder(names[i]), &b, &err));
        CHECK(b.n_queries == 400 && b.k == 777 && b.ids && !b.distances);
        CHECK(b.ids && memcmp(a.ids, b.ids, 400 * 777 * 8) == 0);
        rt_neighbours_free(&b);
        char partial[32];
        (void)snprintf(partial, sizeof partial, "%s.partial", names[i]);
        CHECK(access(in_folder(partial), F_OK) != 0);
    }
    rt_neighbours_free(&a);
}

RT_TEST("HDF5 has the root of squared distances, and ids beyond 2^31")
{
    struct rt_error err;
    struct rt_neighbours a = {0}, b = {0};
    double found[3];
    char text[32];
    struct rt_hdf5_matrix *matrix = NULL;
    CHECK_OK(rt_neighbours_new(1, 3, true, &a, &err));
    a.ids[0] = INT64_MAX;
    a.ids[1] = UINT64_C(1) << 31;
    a.distances[0] = 0;
    a.distances[1] = 2;
    CHECK_OK(rt_neighbours_write(in_folder("n.h5"), &a, RT_L2, 16, &err));
    CHECK_OK(rt_neighbours_read(in_folder("n.h5"), &b, &err));
    CHECK(b.ids && b.ids[0] == INT64_MAX && b.ids[1] == UINT64_C(1) << 31 && b.ids[2] == RT_NO_ID);
    const char *path = in_folder("n.h5");
    CHECK_OK(rt_hdf5_matrix_open(path, "/distances", false, &matrix, &err));
    REQUIRE(matrix);
    CHECK_OK(rt_hdf5_matrix_read(matrix, 0, 1, RT_MATRIX_F64, found, &err));
    CHECK(found[0] == 0 && found[1] == sqrt(2.0) && isinf(found[2]));
    CHECK(rt_hdf5_matrix_attribute(matrix, "distance", text, sizeof text) &&
          !strcmp(text, "euclidean"));
    CHECK(rt_hdf5_matrix_attribute(matrix, "dimension", text, sizeof text) && !strcmp(text, "16"));
    CHECK(!rt_hdf5_matrix_attribute(matrix, "none", text, sizeof text));
    rt_hdf5_matrix_close(matrix);
    rt_neighbours_free(&a);
    rt_neighbours_free(&b);
}

RT_TEST("HDF5 has ids beyond 2^63 as well, and missing places beside them")
{
    struct rt_error err;
    struct rt_neighbours a = {0}, b = {0};
    CHECK_OK(rt_neighbours_new(2, 2, false, &a, &err));
    a.ids[0] = UINT64_MAX - 1;
    a.ids[1] = 7;
    a.ids[2] = UINT64_C(1) << 63;
    CHECK_OK(rt_neighbours_write(in_folder("wide.h5"), &a, RT_L2, 16, &err));
    CHECK_OK(rt_neighbours_read(in_folder("wide.h5"), &b, &err));
    CHECK(b.ids && b.ids[0] == UINT64_MAX - 1 && b.ids[1] == 7);
    CHECK(b.ids && b.ids[2] == UINT64_C(1) << 63 && b.ids[3] == RT_NO_ID);
    rt_neighbours_free(&a);
    rt_neighbours_free(&b);
}

RT_TEST("names, ids and counts that do not fit are refused before any work")
{
    struct rt_error err;
    CHECK_OK(rt_neighbours_check_name("a.ivecs", INT32_MAX, 1, 10, &err));
    CHECK_OK(rt_neighbours_check_name("a.h5", INT64_MAX, 1, 10, &err));
    CHECK_STATUS(RT_USAGE, rt_neighbours_check_name("a.ivecs", 1u << 31, 1, 10, &err));
    CHECK(says(&err, "a.ivecs", "2,147,483,648"));
    CHECK_STATUS(RT_USAGE, rt_neighbours_check_name("a.ibin", 1u << 31, 1, 10, &err));
    CHECK_OK(rt_neighbours_check_name("a.h5", UINT64_MAX - 1, 1, 10, &err));
    CHECK_STATUS(RT_USAGE, rt_neighbours_check_name("a.ibin", 1, UINT64_C(1) << 32, 10, &err));
    CHECK_STATUS(RT_USAGE, rt_neighbours_check_name("a.txt", 1, 1, 10, &err));
    CHECK(says(&err, "a.txt", ".ivecs"));
}

RT_TEST("big-ann's truth with distances is told from ids alone by its size, whatever its name")
{
    static const char *const names[] = {"t.ibin", "t_gt100", "t.bin"};
    struct rt_error err;
    unsigned char bytes[8 + 2 * 3 * 8] = {0};
    unsigned char *at = put32(put32(bytes, 2), 3);
    for (uint32_t i = 0; i < 6; i++)
        at = put32(at, i == 4 ? UINT32_MAX : 10 + i);
    for (size_t i = 0; i < 3; i++)
        for (size_t size = 32; size <= 56; size += 24) {
            struct rt_neighbours n = {0};
            CHECK_OK(rt_neighbours_read(write_file(names[i], bytes, size), &n, &err));
            REQUIRE(n.ids);
            CHECK(n.n_queries == 2 && n.k == 3 && n.ids[0] == 10 && n.ids[5] == 15);
            CHECK(n.ids[4] == RT_NO_ID);
            rt_neighbours_free(&n);
        }
    for (size_t cut = 0; cut < sizeof bytes; cut++) {
        struct rt_neighbours n = {0};
        if (cut == 32)
            continue;
        CHECK_STATUS(RT_INPUT, rt_neighbours_read(write_file("c.ibin", bytes, cut), &n, &err));
        CHECK(strstr(err.text, "c.ibin") != NULL);
    }
}

RT_TEST("truth that lies is refused with its numbers")
{
    static const uint32_t extremes[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
    struct rt_error err;
    struct rt_neighbours n = {0};
    unsigned char bytes[56] = {0};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            put32(put32(bytes, extremes[i]), extremes[j]);
            const char *path = write_file("x.ibin", bytes, 32);
            CHECK_STATUS(RT_INPUT, rt_neighbours_read(path, &n, &err));
            CHECK(strstr(err.text, "x.ibin") != NULL);
        }
    put32(put32(put32(bytes, 2), 3), (uint32_t)-5);
    CHECK_STATUS(RT_INPUT, rt_neighbours_read(write_file("x.ibin", bytes, 32), &n, &err));
    CHECK(says(&err, "x.ibin' query 0", "-5 is negative"));
    put32(put32(bytes, 2), 5); /* range search: 2 counts, 5 ids, 5 distances */
    CHECK_STATUS(RT_INPUT, rt_neighbours_read(write_file("r.gt", bytes, 56), &n, &err));
    CHECK(says(&err, "r.gt", "range search"));
    CHECK_STATUS(RT_INPUT, rt_neighbours_read(in_folder("no.ibin"), &n, &err));
    unsigned char vecs[24] = {0};
    put32(vecs, 2);
    put32(vecs + 12, 3);
    CHECK_STATUS(RT_INPUT, rt_neighbours_read(write_file("x.ivecs", vecs, 24), &n, &err));
    CHECK(says(&err, "x.ivecs' row 1", "3"));
    CHECK_STATUS(RT_INPUT, rt_neighbours_read(write_file("x.ivecs", vecs, 23), &n, &err));
    CHECK(says(&err, "23 bytes", "12"));
}

RT_TEST_MAIN()
