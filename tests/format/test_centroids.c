/* Centroids from outside: flat files, and trees by the rules of VectorChord's table. */
#include "io/centroids_file.h"
#include "io/hdf5_matrix.h"
#include "row_files.h"

#include <fcntl.h>
#include <math.h>

#define DIM 2

struct node {
    int64_t id, parent;
};

static bool says(const struct rt_error *err, const char *a, const char *b)
{
    bool both = strstr(err->text, a) && strstr(err->text, b);
    if (!both)
        (void)fprintf(stderr, "  message: %s\n", err->text);
    return both;
}

/* Node i's vector is (id, id / 2). */
static const char *write_table(const struct node *nodes, size_t n,
                               const struct rt_matrix_attribute *attributes, size_t n_attributes)
{
    struct rt_error err;
    const char *path = in_folder("tree.h5");
    struct rt_matrix_column columns[] = {{"/id", RT_MATRIX_I64, 1, n, 1, 0},
                                         {"/parent", RT_MATRIX_I64, 1, n, 1, 0},
                                         {"/vector", RT_MATRIX_F32, 2, n, DIM, 0}};
    CHECK_OK(rt_hdf5_matrix_create(path, columns, 3, attributes, n_attributes, &err));
    int fd = open(path, O_RDWR);
    for (size_t i = 0; i < n; i++) {
        float vector[DIM] = {(float)nodes[i].id, (float)nodes[i].id / 2};
        if (nodes[i].id == 666)
            vector[1] = NAN;
        CHECK(pwrite(fd, &nodes[i].id, 8, (off_t)(columns[0].data_offset + i * 8)) == 8);
        CHECK(pwrite(fd, &nodes[i].parent, 8, (off_t)(columns[1].data_offset + i * 8)) == 8);
        CHECK(pwrite(fd, vector, sizeof vector,
                     (off_t)(columns[2].data_offset + i * sizeof vector)) == sizeof vector);
    }
    close(fd);
    return path;
}
#define TABLE(nodes) write_table(nodes, sizeof(nodes) / sizeof(nodes)[0], NULL, 0)

static void check_refused(const char *path, uint32_t dim, const char *a, const char *b)
{
    struct rt_error err;
    struct rt_centroids c = {0};
    err.text[0] = 0;
    CHECK_STATUS(RT_INPUT, rt_centroids_read(path, dim, &c, &err));
    CHECK(says(&err, a, b));
    CHECK(strstr(err.text, "tree.h5") || strstr(err.text, "leaves"));
    rt_centroids_free(&c);
}

RT_TEST("leaves of npy, fbin or another row file are one level")
{
    struct rt_error err;
    struct rt_centroids c = {0};
    unsigned char bytes[8 + 24];
    const float values[6] = {1, 2, 3, 4, 5, NAN};
    put32(put32(bytes, 3), 2);
    memcpy(bytes + 8, values, 24);
    check_refused(write_file("leaves.fbin", bytes, 32), 2, "row 2", "not finite");
    put32(bytes, 2);
    const char *path = write_file("leaves.fbin", bytes, 24);
    CHECK_OK(rt_centroids_read(path, 2, &c, &err));
    CHECK(c.n_levels == 1 && c.dim == 2 && c.levels[0].n == 2 && !c.levels[0].parent);
    CHECK(c.levels[0].vectors && memcmp(c.levels[0].vectors, values, 16) == 0);
    CHECK(c.metric == -1 && c.spherical == -1);
    rt_centroids_free(&c);
    check_refused(path, 3, "dimension 2", "the rows 3");
    put32(bytes, 0);
    check_refused(write_file("leaves.fbin", bytes, 8), 2, "0 centroids", "leaves.fbin");
}

RT_TEST("a tree comes out coarse to leaf, the root dropped, by number of the parent and id")
{
    /* ids in no order; 20 stands before 10 in the file, but not in its level */
    const struct node nodes[] = {{3, 20},   {20, 100}, {10, 100}, {4, 10},
                                 {100, -1}, {1, 20},   {-7, 10},  {2, 20}};
    const struct rt_matrix_attribute attributes[] = {
        {"metric", "cosine", 0}, {"spherical", NULL, 1}, {"space", "original", 0}};
    struct rt_error err;
    struct rt_centroids c = {0};
    CHECK_OK(rt_centroids_read(write_table(nodes, 8, attributes, 3), 2, &c, &err));
    REQUIRE(c.n_levels == 2);
    CHECK(c.metric == RT_COSINE && c.spherical == 1);
    CHECK(c.levels[0].n == 2 && !c.levels[0].parent);
    CHECK(c.levels[0].vectors[0] == 10 && c.levels[0].vectors[2] == 20);
    static const float leaves[] = {-7, 4, 1, 2, 3};
    static const uint32_t parents[] = {0, 0, 1, 1, 1};
    CHECK(c.levels[1].n == 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK(c.levels[1].vectors[2 * i] == leaves[i]);
        CHECK(c.levels[1].vectors[2 * i + 1] == leaves[i] / 2);
        CHECK(c.levels[1].parent[i] == parents[i]);
    }
    rt_centroids_free(&c);
}

RT_TEST("a table without parents is flat, in order of id; a root with one child is one list")
{
    const struct node flat[] = {{5, -1}, {2, -1}, {9, -1}}, one[] = {{5, 7}, {7, -1}};
    struct rt_error err;
    struct rt_centroids c = {0};
    CHECK_OK(rt_centroids_read(TABLE(flat), 0, &c, &err));
    REQUIRE(c.n_levels == 1 && c.levels[0].n == 3);
    CHECK(c.levels[0].vectors[0] == 2 && c.levels[0].vectors[2] == 5 &&
          c.levels[0].vectors[4] == 9 && !c.levels[0].parent);
    rt_centroids_free(&c);
    CHECK_OK(rt_centroids_read(TABLE(one), 0, &c, &err));
    REQUIRE(c.n_levels == 1 && c.levels[0].n == 1);
    CHECK(c.levels[0].vectors[0] == 5);
    rt_centroids_free(&c);
}

RT_TEST("eight levels below the root are possible, nine are not")
{
    struct node chain[10];
    struct rt_error err;
    struct rt_centroids c = {0};
    for (int64_t i = 0; i < 10; i++)
        chain[i] = (struct node){i, i - 1};
    CHECK_OK(rt_centroids_read(write_table(chain, 9, NULL, 0), 0, &c, &err));
    CHECK(c.n_levels == 8 && c.levels[7].n == 1);
    rt_centroids_free(&c);
    check_refused(write_table(chain, 10, NULL, 0), 0, "9 levels", "at most 8");
}

RT_TEST("each way in which a table is no tree is told")
{
    const struct node twice[] = {{1, 3}, {2, 3}, {1, 3}, {3, -1}};
    const struct node lost[] = {{1, 3}, {2, 4}, {3, -1}};
    const struct node roots[] = {{1, 3}, {2, -1}, {3, -1}};
    const struct node rootless[] = {{1, 2}, {2, 1}};
    const struct node cycle[] = {{1, 3}, {3, -1}, {5, 6}, {6, 7}, {7, 5}};
    const struct node self[] = {{1, 3}, {3, -1}, {5, 5}};
    const struct node depths[] = {{1, 3}, {3, -1}, {5, 3}, {6, 5}};
    const struct node alone[] = {{1, -1}};
    const struct node minus[] = {{-1, 3}, {3, -1}};
    const struct node nan_leaf[] = {{1, 3}, {3, -1}, {666, 3}};
    check_refused(TABLE(twice), 0, "id 1 is there twice", "rows 0 and 2");
    check_refused(TABLE(lost), 0, "parent 4 of id 2", "not there");
    check_refused(TABLE(roots), 0, "two roots", "2 and 3");
    check_refused(TABLE(rootless), 0, "no root", "-1");
    check_refused(TABLE(cycle), 0, "cycle", "id 5");
    check_refused(TABLE(self), 0, "cycle", "id 5");
    check_refused(TABLE(depths), 0, "ids 1 and 6", "one depth");
    check_refused(TABLE(alone), 0, "one row alone", "child");
    check_refused(TABLE(minus), 0, "id -1", "no id");
    check_refused(TABLE(nan_leaf), 0, "id 666", "not finite");
    check_refused(TABLE(lost), 3, "dimension 2", "the rows 3");
}

RT_TEST("attributes that do not suit, and columns that differ in length, are refused")
{
    const struct node flat[] = {{5, -1}, {2, -1}};
    const struct rt_matrix_attribute rotated[] = {{"space", "rotated", 0}};
    const struct rt_matrix_attribute odd[] = {{"metric", "jaccard", 0}};
    struct rt_error err;
    check_refused(write_table(flat, 2, rotated, 1), 0, "'rotated'", "original space");
    check_refused(write_table(flat, 2, odd, 1), 0, "'jaccard'", "cosine");
    struct rt_matrix_column columns[] = {{"/id", RT_MATRIX_I64, 1, 3, 1, 0},
                                         {"/parent", RT_MATRIX_I64, 1, 2, 1, 0},
                                         {"/vector", RT_MATRIX_F32, 2, 2, DIM, 0}};
    CHECK_OK(rt_hdf5_matrix_create(in_folder("tree.h5"), columns, 3, NULL, 0, &err));
    check_refused(in_folder("tree.h5"), 0, "/id' is 3 x 1", "2 rows");
    CHECK_OK(rt_hdf5_matrix_create(in_folder("tree.h5"), columns, 2, NULL, 0, &err));
    check_refused(in_folder("tree.h5"), 0, "no dataset '/vector'", "/parent");
}

RT_TEST_MAIN()
