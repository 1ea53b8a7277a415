/* Index files and io/index_reader on a small index: what is written is found again, and every kind
 * of damage is told. */
#include "tests/rt_test.h"

#include "core/fingerprint.h"
#include "core/memory.h"
#include "io/index_dir.h"
#include "io/index_verify.h"
#include "tests/format/tiny_index.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct rt_error err;
static const struct tiny_options small = {.metric = RT_L2,
                                          .element = RT_F32,
                                          .dim = 7,
                                          .n_lists = 5,
                                          .n_rows = 700,
                                          .n_appendable = 60,
                                          .n_tapes = 3,
                                          .residual = true,
                                          .seed = 1};

static void remove_dir(const char *dir)
{
    char path[RT_PATH_MAX];
    DIR *entries = opendir(dir);
    if (!entries)
        return;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries))
        if (rt_fs_join(dir, entry->d_name, path, &err) == RT_OK)
            (void)unlink(path);
    (void)closedir(entries);
    CHECK(rmdir(dir) == 0);
}

static void first_error(void *context, const char *text)
{
    char *first = context;
    if (!*first)
        (void)snprintf(first, 200, "%s", text);
}

/* Everything that verify does, in n_parts; the errors' number, and the rows' hash as the manifest
 * has it. */
static uint64_t verify(const struct rt_index_view *view, uint32_t n_parts, char first[200])
{
    struct rt_hash128 sum = {0, 0};
    uint64_t n_rows = 0;
    uint64_t n_errors = 0;
    uint64_t n_units = 0;
    first[0] = '\0';
    for (uint32_t part = 0; part < n_parts; part++) {
        struct rt_index_verified sums, lists;
        struct rt_hash128 hash = {0, 0};
        uint64_t rows = 0;
        CHECK_OK(rt_index_verify_checksums(view, part, n_parts, first_error, first, &sums, &err));
        CHECK_OK(rt_index_verify_lists(view, part, n_parts, first_error, first, &lists, &rows,
                                       &hash, &err));
        sum = rt_hash128_add(sum, hash);
        n_rows += rows;
        n_units += sums.n_units;
        n_errors += sums.n_errors + lists.n_errors;
    }
    CHECK(n_units > 10);
    bool adds_up = n_rows == view->manifest->n_rows && sum.low == view->manifest->rows_hash.low &&
                   sum.high == view->manifest->rows_hash.high;
    return n_errors + !adds_up;
}

static void check_index(const struct tiny_options *options)
{
    struct rt_index_view *view = NULL;
    char first[200];
    struct rt_hash128 fingerprint, tree_hash;
    CHECK_OK(tiny_index_write("t", options, &err));
    CHECK_OK(rt_index_open("t", RT_CHECK_ALL, &view, &err));
    REQUIRE(view);
    CHECK(view->n_lists == options->n_lists && view->tree.tree.dim == options->dim);
    CHECK(view->n_appendable == (options->n_appendable > 0) && view->n_frozen == 1 &&
          view->n_vectors == 1);
    CHECK_OK(rt_fingerprint(&view->tree.tree, options->element, &fingerprint, &err));
    CHECK_OK(rt_tree_hash(&view->tree.tree, &tree_hash, &err));
    CHECK(fingerprint.low == view->manifest->fingerprint.low &&
          tree_hash.high == view->manifest->tree_hash.high);
    if (verify(view, 1, first) || verify(view, 3, first))
        RT_TEST_FAILED("%s", first);
    rt_index_close(view);
    remove_dir("t");
}

RT_TEST("an index of any metric, element, level and size is found as it was written")
{
    struct tiny_options o = small;
    check_index(&o);
    o.metric = RT_IP;
    o.element = RT_F16;
    o.dim = 33;
    check_index(&o);
    o.metric = RT_COSINE;
    o.element = RT_I8;
    o.n_lists = 3; /* one level */
    o.n_appendable = 0;
    check_index(&o);
    o.element = RT_U8;
    o.metric = RT_L2;
    o.dim = 1;
    o.n_lists = 1;
    o.residual = false;
    check_index(&o);
    o.n_rows = 1;
    o.n_tapes = 1;
    check_index(&o);
    o.n_rows = 3000;
    o.dim = 130;
    o.n_lists = 40;
    o.in_heap = true;
    check_index(&o);
}

RT_TEST("a place gives vector, id and list, or the heap's row")
{
    struct rt_index_view *view = NULL;
    struct rt_place_view place;
    struct tiny_options o = small;
    CHECK_OK(tiny_index_write("t", &o, &err));
    CHECK_OK(rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    REQUIRE(view);
    CHECK_OK(rt_index_place(view, 1, 5, &place, &err)); /* tape 1 holds rows 1, 4, 7 .. */
    CHECK(*place.id == 1000 + 3 * 16 && place.vector != NULL && place.heap_row == RT_NO_ROW);
    CHECK_STATUS(RT_DAMAGED, rt_index_place(view, 3, 0, &place, &err));
    CHECK_STATUS(RT_DAMAGED, rt_index_place(view, 2, 100000, &place, &err));
    CHECK_STATUS(RT_DAMAGED, rt_index_place(view, UINT32_MAX, UINT32_MAX, &place, &err));
    rt_index_close(view);
    o.in_heap = true;
    CHECK_OK(tiny_index_write("t", &o, &err)); /* replaces: generation 2 */
    CHECK_OK(rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    CHECK(view->manifest->generation == 2);
    CHECK_OK(rt_index_place(view, 0, 16, &place, &err));
    CHECK(*place.id == 1000 + 3 * 16 && place.vector == NULL && place.heap_row == 16);
    rt_index_close(view);
    remove_dir("t");
}

RT_TEST("the blocks of a list can be shared out")
{
    struct rt_index_view *view = NULL;
    struct rt_list_blocks all, part;
    uint64_t n_rows = 0;
    CHECK_OK(tiny_index_write("t", &small, &err));
    CHECK_OK(rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    REQUIRE(view);
    uint32_t list = 0;
    do
        CHECK_OK(rt_index_list(view, list++, &all, &n_rows, &err));
    while (all.n_blocks < 2 && list < view->n_lists);
    REQUIRE(all.n_blocks >= 2);
    rt_list_blocks_part(view, &all, 1, 1, &part);
    CHECK(part.ids == all.ids + 32 && part.factors == all.factors + 96 &&
          part.codes == all.codes + 32);
    CHECK_STATUS(RT_DAMAGED, rt_index_list(view, 5, &all, &n_rows, &err));
    rt_index_close(view);
    remove_dir("t");
}

static void change(const char *path, uint64_t at, unsigned char mask)
{
    int fd = open(path, O_RDWR);
    unsigned char byte = 0;
    CHECK(fd >= 0 && pread(fd, &byte, 1, (off_t)at) == 1);
    byte ^= mask;
    CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
    (void)close(fd);
}

RT_TEST("whatever byte of whatever file is changed, it is told, and the file is named")
{
    const char *files[] = {"t/tree-1.h5", "t/frozen-1.h5", "t/appendable-1.h5", "t/vectors-1.h5"};
    char first[200];
    CHECK_OK(tiny_index_write("t", &small, &err));
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        uint64_t size = 0;
        CHECK_OK(rt_fs_size(files[f], &size, &err));
        for (uint64_t at = 0; at < size; at += 211) {
            struct rt_index_view *view = NULL;
            change(files[f], at, 0x41);
            enum rt_status st = rt_index_open("t", RT_CHECK_ALL, &view, &err);
            bool told = st == RT_DAMAGED;
            bool named = strstr(err.text, files[f]) != NULL;
            if (st == RT_OK) {
                told = verify(view, 1, first) > 0;
                named = strstr(first, files[f]) != NULL;
                rt_index_close(view);
            }
            if (!told || !named)
                RT_TEST_FAILED("byte %llu of %s: %s", (unsigned long long)at, files[f],
                               told ? "not named" : "not told");
            change(files[f], at, 0x41);
        }
    }
    remove_dir("t");
}

RT_TEST("a missing, short, foreign or swapped file is damage")
{
    struct rt_index_view *view = NULL;
    struct tiny_options o = small;
    CHECK_OK(tiny_index_write("t", &small, &err));
    CHECK(rename("t/frozen-1.h5", "kept") == 0);
    CHECK_STATUS(RT_DAMAGED, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    CHECK(strstr(err.text, "frozen-1.h5' is missing") != NULL);
    CHECK(mkdir("t/frozen-1.h5", 0777) == 0);
    CHECK_STATUS(RT_IO, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    CHECK(rmdir("t/frozen-1.h5") == 0 && rename("kept", "t/frozen-1.h5") == 0);
    o.seed = 2; /* the same shapes, other values */
    CHECK_OK(tiny_index_write("u", &o, &err));
    CHECK(rename("t/vectors-1.h5", "kept") == 0 && rename("u/vectors-1.h5", "t/vectors-1.h5") == 0);
    CHECK_STATUS(RT_DAMAGED, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    CHECK(rename("kept", "t/vectors-1.h5") == 0);
    CHECK(truncate("t/vectors-1.h5", 5000) == 0);
    CHECK_STATUS(RT_DAMAGED, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    CHECK(unlink("t/CURRENT") == 0);
    CHECK_STATUS(RT_USAGE, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    remove_dir("t");
    remove_dir("u");
    CHECK_STATUS(RT_USAGE, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
}

/* Writes 8 bytes into the first row of a dataset and makes checksums, hashes, manifest and CURRENT
 * fit again: what a hostile hand could do. */
static void forge(enum rt_file_kind kind, const char *dataset, uint64_t row, const void *bytes,
                  size_t n)
{
    struct rt_manifest *m = NULL;
    static struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    char path[RT_PATH_MAX];
    CHECK_OK(rt_index_path("t", kind, 1, false, path, &err));
    CHECK_OK(rt_h5_read_layout(path, &layout, &err));
    int d = rt_h5_find(&layout, dataset);
    REQUIRE(d >= 0);
    int fd = open(path, O_RDWR);
    uint64_t at = layout.datasets[d].offset + row * rt_h5_row_bytes(&layout.datasets[d]);
    CHECK(fd >= 0 && pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n);
    (void)close(fd);
    CHECK_OK(rt_h5_open_write(NULL, path, &layout, RT_IO_DIRECT, &file, &err));
    if (layout.datasets[d].unit_rows)
        CHECK_OK(rt_unit_rehash(file, (uint32_t)d, 0, layout.datasets[d].dims[0], &err));
    CHECK_OK(rt_h5_close(file, &err));
    CHECK_OK(rt_manifest_read_current("t", &m, &err));
    REQUIRE(m);
    for (size_t i = 0; i < m->n_files; i++)
        if (m->files[i].kind == kind)
            m->files[i].number = 0; /* not found twice */
    CHECK_OK(rt_manifest_add_file(m, kind, 1, path, &layout, 0, &err));
    for (size_t i = 0; i < m->n_files; i++)
        if (m->files[i].number == 0)
            m->files[i] = m->files[--m->n_files];
    CHECK_OK(rt_manifest_publish("t", m, NULL, &err));
    rt_manifest_free(m);
}

static void forged(enum rt_file_kind kind, const char *dataset, uint64_t row, uint64_t value,
                   size_t n)
{
    struct rt_index_view *view = NULL;
    char first[200] = "";
    CHECK_OK(tiny_index_write("t", &small, &err));
    forge(kind, dataset, row, &value, n);
    enum rt_status st = rt_index_open("t", RT_CHECK_ALL, &view, &err);
    if (st == RT_OK && verify(view, 1, first) == 0)
        RT_TEST_FAILED("a forged %s is not told", dataset);
    if (st == RT_OK)
        rt_index_close(view);
    else if (st != RT_DAMAGED)
        RT_TEST_FAILED("a forged %s gives status %d: %s", dataset, (int)st, err.text);
    remove_dir("t");
}

RT_TEST("values that lead astray are told though every checksum fits them")
{
    forged(RT_FILE_FROZEN, "list_rows", 0, UINT64_MAX, 8);
    forged(RT_FILE_FROZEN, "list_rows", 1, 1, 8);
    forged(RT_FILE_FROZEN, "list_first_block", 1, 0, 8);
    forged(RT_FILE_FROZEN, "list_first_block", 1, UINT64_MAX, 8);
    forged(RT_FILE_FROZEN, "list_file", 1, 7, 8);
    forged(RT_FILE_FROZEN, "places", 0, UINT64_MAX, 8);
    forged(RT_FILE_FROZEN, "ids", 0, 4, 8);
    forged(RT_FILE_FROZEN, "ids", 0, UINT64_MAX, 8);
    forged(RT_FILE_VECTORS, "tapes", 1, UINT64_MAX, 8);
    forged(RT_FILE_VECTORS, "segments", 1, UINT64_MAX, 8);
    forged(RT_FILE_VECTORS, "segments", 0, 1, 8);
    forged(RT_FILE_VECTORS, "ids", 0, 3, 8);
    forged(RT_FILE_VECTORS, "lists", 0, 77, 4);
    forged(RT_FILE_APPENDABLE, "lists", 0, 5, 4);
    forged(RT_FILE_APPENDABLE, "chunks", 0, UINT64_MAX, 8);
    forged(RT_FILE_APPENDABLE, "codes", 0, 0x55, 1);
    forged(RT_FILE_TREE, "first_child_0", 1, 6, 4);
    forged(RT_FILE_TREE, "parents_1", 0, 2, 4);
    forged(RT_FILE_TREE, "centroids_1", 0, 0x7fc00000, 4); /* NaN */
}

RT_TEST("chunks that share records are refused before anybody reads them again and again")
{
    struct rt_index_view *view = NULL;
    struct tiny_options o = small;
    const uint64_t all_of_the_first[] = {0, 256};
    o.n_appendable = 600;
    CHECK_OK(tiny_index_write("t", &o, &err));
    forge(RT_FILE_APPENDABLE, "chunks", 2, all_of_the_first, sizeof all_of_the_first);
    CHECK_STATUS(RT_DAMAGED, rt_index_open("t", RT_CHECK_STRUCTURE, &view, &err));
    CHECK(strstr(err.text, "chunk 2 reaches beyond its records"));
    rt_index_close(view);
    remove_dir("t");
}

RT_TEST_MAIN()
