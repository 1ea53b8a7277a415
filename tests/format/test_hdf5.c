/* io/hdf5, hdf5_file, hdf5_map, unit_writer, fs: files of a layout, one process. */
#include "tests/rt_test.h"

#include "core/fault.h"
#include "core/memory.h"
#include "core/random.h"
#include "io/hdf5_map.h"
#include "io/unit_writer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct rt_error err;
static const struct rt_hash128 fingerprint = {1, 2};

/* Rows of 12 bytes and of 1 byte that go together, and a small table. */
static enum rt_status make_layout(uint64_t n, uint64_t cap, struct rt_h5_layout *layout)
{
    enum rt_status st = RT_OK;
    struct rt_error *own = &err;
    rt_h5_layout_begin(layout, RT_FILE_VECTORS, 3, fingerprint);
    rt_h5_layout_number(layout, "wide", UINT64_MAX);
    rt_h5_layout_text(layout, "word", "l2");
    st = rt_h5_layout_add(layout, "wide_rows", RT_H5_F32, n, 0, 3, rt_unit_rows(12, cap), own);
    if (st == RT_OK)
        st = rt_h5_layout_add(layout, "bytes", RT_H5_U8, n, 0, 0, rt_unit_rows(1, cap), own);
    if (st == RT_OK)
        st = rt_h5_layout_add(layout, "small", RT_H5_U64, 5, 2, 3, 0, own);
    if (st == RT_OK)
        st = rt_h5_layout_add(layout, "half", RT_H5_F16, 7, 0, 2, 0, own);
    return st;
}

static unsigned char *read_whole(const char *path, size_t *n)
{
    char *text = NULL;
    if (rt_fs_read_small(path, 1 << 28, &text, n, &err) != RT_OK)
        return NULL;
    return (unsigned char *)text;
}

static bool same_bytes(const char *a, const char *b)
{
    size_t n = 0;
    size_t m = 0;
    unsigned char *x = read_whole(a, &n);
    unsigned char *y = read_whole(b, &m);
    bool same = x && y && n == m && memcmp(x, y, n) == 0;
    rt_array_free(x);
    rt_array_free(y);
    return same;
}

RT_TEST("the same layout gives the same bytes, at another second too")
{
    struct rt_h5_layout a, b;
    CHECK_OK(make_layout(1000, 256, &a));
    CHECK_OK(make_layout(1000, 256, &b));
    CHECK_OK(rt_h5_create("a.h5", &a, &err));
    struct timespec pause = {1, 100000000};
    (void)nanosleep(&pause, NULL);
    CHECK_OK(rt_h5_create("b.h5", &b, &err));
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    CHECK(same_bytes("a.h5", "b.h5"));
}

RT_TEST("large datasets begin at pages, nothing is filled, and what was made is read back")
{
    static struct rt_h5_layout made, found, expected;
    struct stat info;
    CHECK_OK(make_layout(UINT64_C(100) << 20, 0, &made));
    CHECK_OK(rt_h5_create("large.h5", &made, &err));
    CHECK(made.datasets[0].offset % 4096 == 0 && made.datasets[0].offset > 0);
    CHECK(made.datasets[1].offset % 4096 == 0 && made.datasets[1].offset > 0);
    CHECK(stat("large.h5", &info) == 0 && (uint64_t)info.st_size == made.size);
    CHECK(made.size > UINT64_C(1300) << 20 && info.st_blocks * 512 < 1 << 20);
    CHECK_OK(rt_h5_read_layout("large.h5", &found, &err));
    CHECK_OK(make_layout(UINT64_C(100) << 20, 0, &expected));
    CHECK_OK(rt_h5_adopt("large.h5", &found, &expected, &err));
    CHECK(memcmp(&made, &expected, sizeof made) == 0);
    CHECK(unlink("large.h5") == 0);
}

RT_TEST("a file with no rows has no bytes to write and is read back")
{
    static struct rt_h5_layout made, found, expected;
    struct rt_h5_map *map = NULL;
    CHECK_OK(make_layout(0, 256, &made));
    CHECK_OK(rt_h5_create("none.h5", &made, &err));
    CHECK_OK(rt_h5_read_layout("none.h5", &found, &err));
    CHECK_OK(make_layout(0, 256, &expected));
    CHECK_OK(rt_h5_adopt("none.h5", &found, &expected, &err));
    CHECK_OK(rt_h5_map_open("none.h5", &expected, &map, &err));
    REQUIRE(map);
    CHECK(rt_h5_map_rows(map, 0) == NULL && rt_h5_map_sums(map, 0) == NULL);
    CHECK(rt_h5_map_rows(map, 2) != NULL);
    rt_h5_map_close(map);
}

RT_TEST("another shape, unit, attribute or dataset than expected is damage")
{
    static struct rt_h5_layout made, found, expected;
    CHECK_OK(make_layout(1000, 256, &made));
    CHECK_OK(rt_h5_create("c.h5", &made, &err));
    CHECK_OK(rt_h5_read_layout("c.h5", &found, &err));
    CHECK_OK(make_layout(1001, 256, &expected));
    CHECK_STATUS(RT_DAMAGED, rt_h5_adopt("c.h5", &found, &expected, &err));
    CHECK_OK(make_layout(1000, 128, &expected));
    CHECK_STATUS(RT_DAMAGED, rt_h5_adopt("c.h5", &found, &expected, &err));
    CHECK_OK(make_layout(1000, 256, &expected));
    expected.attributes[6].number--;
    CHECK_STATUS(RT_DAMAGED, rt_h5_adopt("c.h5", &found, &expected, &err));
    CHECK_OK(make_layout(1000, 256, &expected));
    expected.n_datasets--;
    CHECK_STATUS(RT_DAMAGED, rt_h5_adopt("c.h5", &found, &expected, &err));
    CHECK_OK(make_layout(1000, 256, &expected));
    CHECK_OK(rt_h5_layout_add(&expected, "more", RT_H5_U8, 1, 0, 0, 0, &err));
    CHECK_STATUS(RT_DAMAGED, rt_h5_adopt("c.h5", &found, &expected, &err));
    CHECK_STATUS(RT_USAGE,
                 rt_h5_layout_add(&expected, "huge", RT_H5_U64, UINT64_MAX / 8, 0, 9, 0, &err));
    uint64_t generation = 0;
    struct rt_hash128 hash;
    CHECK_OK(rt_h5_get_head(&found, "c.h5", RT_FILE_VECTORS, &generation, &hash, &err));
    CHECK(generation == 3 && hash.low == 1 && hash.high == 2);
    CHECK_STATUS(RT_DAMAGED,
                 rt_h5_get_head(&found, "c.h5", RT_FILE_TREE, &generation, &hash, &err));
}

/* Writes n rows in pieces of random size with a writer for each share, and reads everything back.
 */
static void write_and_compare(uint64_t n, uint64_t cap, uint32_t n_shares, size_t buffer_bytes,
                              uint64_t seed)
{
    const uint32_t datasets[] = {0, 1};
    const uint64_t row_bytes[] = {12, 1};
    const uint8_t fill[] = {0, 0xff};
    static struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    struct rt_h5_map *map = NULL;
    char *wide = malloc(n * 12 + 1);
    char *bytes = malloc(n + 1);
    for (uint64_t i = 0; i < n * 12; i++)
        wide[i] = (char)rt_random(seed, RT_RANDOM_TEST, i, 0, 0);
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = (char)rt_random(seed, RT_RANDOM_TEST, i, 1, 0);
    CHECK_OK(make_layout(n, cap, &layout));
    CHECK_OK(rt_h5_create("w.h5", &layout, &err));
    CHECK_OK(rt_h5_open_write(NULL, "w.h5", &layout, RT_IO_DIRECT, &file, &err));
    REQUIRE(file);
    uint64_t share = rt_share_rows(row_bytes, 2, cap);
    CHECK(share % 4096 == 0 && share % layout.datasets[0].unit_rows == 0);
    uint64_t step = (n / n_shares + share) / share * share;
    for (uint64_t begin = 0; begin < n; begin += step) {
        struct rt_unit_writer *writer = NULL;
        uint64_t end = n - begin < step ? n : begin + step;
        uint64_t unused = (end - begin) / 7;
        CHECK_OK(rt_unit_writer_new(file, datasets, 2, begin, end, buffer_bytes, &writer, &err));
        REQUIRE(writer);
        while (rt_unit_writer_row(writer) < end - unused) {
            uint64_t row = rt_unit_writer_row(writer);
            uint64_t most = end - unused - row;
            uint64_t k = 1 + rt_random_below(rt_random(seed, RT_RANDOM_TEST, row, 2, 0),
                                             most < 3000 ? most : 3000);
            const void *columns[] = {wide + row * 12, bytes + row};
            CHECK_OK(rt_unit_writer_append(writer, columns, k, &err));
            if (k % 3 == 0)
                CHECK_OK(rt_unit_writer_flush(writer, &err));
        }
        const void *columns[] = {wide, bytes};
        CHECK_STATUS(RT_USAGE, rt_unit_writer_append(writer, columns, unused + 1, &err));
        CHECK_OK(rt_unit_writer_end(writer, fill, &err));
        memset(wide + (end - unused) * 12, 0, unused * 12);
        memset(bytes + end - unused, 0xff, unused);
        rt_unit_writer_free(writer);
    }
    CHECK_OK(rt_h5_sync(file, &err));
    CHECK_OK(rt_h5_close(file, &err));
    CHECK_OK(rt_h5_map_open("w.h5", NULL, &map, &err));
    REQUIRE(map);
    const struct rt_h5_layout *found = rt_h5_map_layout(map);
    uint32_t d_wide = (uint32_t)rt_h5_find(found, "wide_rows");
    uint32_t d_bytes = (uint32_t)rt_h5_find(found, "bytes");
    CHECK(memcmp(rt_h5_map_rows(map, d_wide), wide, n * 12) == 0);
    CHECK(memcmp(rt_h5_map_rows(map, d_bytes), bytes, n) == 0);
    for (uint64_t unit = 0; unit < rt_h5_n_units(&found->datasets[d_wide]); unit++)
        CHECK_OK(rt_h5_map_check_unit(map, d_wide, unit, &err));
    for (uint64_t unit = 0; unit < rt_h5_n_units(&found->datasets[d_bytes]); unit++)
        CHECK_OK(rt_h5_map_check_unit(map, d_bytes, unit, &err));
    rt_h5_map_close(map);
    free(wide);
    free(bytes);
}

RT_TEST("rows appended in any pieces and shares lie where they belong, with their checksums")
{
    write_and_compare(1, 256, 1, 0, 1);
    write_and_compare(4096, 256, 1, 0, 2);
    write_and_compare(30000, 256, 3, 1000, 3);
    write_and_compare(30000, 65536, 2, 0, 4);
    write_and_compare(200001, 0, 2, 1 << 20, 5);
    write_and_compare(200000, 4096, 5, 1 << 26, 6);
}

RT_TEST("units are the largest power of two of rows within 1 MiB, and shares whole units and pages")
{
    CHECK(rt_unit_rows(1, 0) == 1 << 20);
    CHECK(rt_unit_rows(3, 0) == 262144);
    CHECK(rt_unit_rows(512, 0) == 2048);
    CHECK(rt_unit_rows(513, 0) == 1024);
    CHECK(rt_unit_rows(513, 256) == 256);
    CHECK(rt_unit_rows(1 << 20, 0) == 1);
    CHECK(rt_unit_rows((1 << 20) + 1, 256) == 1);
    const uint64_t three[] = {512, 8, 4};
    CHECK(rt_share_rows(three, 1, 256) == 256);
    CHECK(rt_share_rows(three, 3, 256) == 1024);
    CHECK(rt_share_rows(three, 3, 65536) == 65536);
    const uint64_t odd[] = {13};
    CHECK(rt_share_rows(odd, 1, 256) == 4096);
}

RT_TEST("checksums made again from the file are the ones the writer made")
{
    static struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    uint64_t before[40], after[40];
    const uint64_t zeros[40] = {0};
    write_and_compare(10000, 256, 2, 0, 9);
    CHECK_OK(rt_h5_read_layout("w.h5", &layout, &err));
    uint32_t d = (uint32_t)rt_h5_find(&layout, "wide_rows");
    CHECK_OK(rt_h5_open_write(NULL, "w.h5", &layout, RT_IO_DIRECT, &file, &err));
    REQUIRE(file);
    CHECK(rt_h5_n_units(&layout.datasets[d]) == 40);
    CHECK_OK(rt_h5_read_sums(file, d, 0, 40, before, &err));
    CHECK_OK(rt_h5_write_sums(file, d, 10, 30, zeros, &err));
    CHECK_OK(rt_unit_rehash(file, d, 2560, 10000, &err));
    CHECK_OK(rt_h5_read_sums(file, d, 0, 40, after, &err));
    CHECK(memcmp(before, after, sizeof before) == 0);
    CHECK_OK(rt_h5_close(file, &err));
}

static void flip(const char *path, uint64_t at, unsigned char mask)
{
    int fd = open(path, O_RDWR);
    unsigned char byte = 0;
    CHECK(fd >= 0 && pread(fd, &byte, 1, (off_t)at) == 1);
    byte ^= mask;
    CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
    (void)close(fd);
}

RT_TEST("each byte of a file counts in one of its hashes or in a unit")
{
    static struct rt_h5_layout layout;
    struct rt_h5_hashes good, bad;
    struct rt_h5_map *map = NULL;
    write_and_compare(5000, 4096, 1, 0, 11);
    CHECK_OK(rt_h5_read_layout("w.h5", &layout, &err));
    CHECK_OK(rt_h5_hash_file("w.h5", &layout, &good, &err));
    for (uint64_t at = 0; at < layout.size; at += 97) {
        flip("w.h5", at, 0x10);
        CHECK_OK(rt_h5_hash_file("w.h5", &layout, &bad, &err));
        bool seen = memcmp(&good, &bad, sizeof good) != 0;
        if (!seen && rt_h5_map_open("w.h5", &layout, &map, &err) == RT_OK) {
            for (uint32_t d = 0; d < layout.n_datasets; d++)
                for (uint64_t unit = 0; unit < rt_h5_n_units(&layout.datasets[d]); unit++)
                    seen = seen || rt_h5_map_check_unit(map, d, unit, &err) == RT_DAMAGED;
            rt_h5_map_close(map);
        }
        if (!seen)
            RT_TEST_FAILED("byte %llu of %llu can change unseen", (unsigned long long)at,
                           (unsigned long long)layout.size);
        flip("w.h5", at, 0x10);
    }
}

static void read_damaged(void)
{
    static struct rt_h5_layout layout, found, expected;
    CHECK_OK(make_layout(100, 256, &layout));
    CHECK_OK(rt_h5_create("d.h5", &layout, &err));
    uint32_t n_read = 0;
    for (uint64_t at = 0; at < layout.size; at++) {
        flip("d.h5", at, 0xff);
        enum rt_status st = rt_h5_read_layout("d.h5", &found, &err);
        if (st == RT_OK && make_layout(100, 256, &expected) == RT_OK)
            n_read += rt_h5_adopt("d.h5", &found, &expected, &err) == RT_OK;
        else
            CHECK(st == RT_DAMAGED);
        flip("d.h5", at, 0xff);
    }
    CHECK(n_read > 1000); /* bytes of rows */
    CHECK(n_read < layout.size - 200);
    for (uint64_t size = 0; size < layout.size; size += 61) {
        CHECK_OK(rt_h5_create("d.h5", &layout, &err));
        CHECK(truncate("d.h5", (off_t)size) == 0);
        CHECK_STATUS(RT_DAMAGED, rt_h5_read_layout("d.h5", &found, &err));
    }
    CHECK(mkdir("dir", 0777) == 0);
    CHECK_STATUS(RT_IO, rt_h5_read_layout("dir", &found, &err));
    CHECK_STATUS(RT_IO, rt_h5_read_layout("missing.h5", &found, &err));
    CHECK(rmdir("dir") == 0);
}

RT_TEST("a damaged, short or strange file is told as damaged and never ends the process")
{
    int status = 0;
    (void)fflush(NULL);
    pid_t child =
        fork(); /* HDF5 itself loses memory on such files, which is not what leak checks are for */
    if (child == 0) {
        read_damaged();
        _exit(rt_test_failures > 0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Runs the step in a process of its own with a fault; returns the status, 100 + signal where it was
 * killed. */
static int with_fault(const char *fault, enum rt_status (*step)(void))
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)setenv("RANKTAPE_FAULT", fault, 1);
        rt_fault_set_rank(1);
        _exit((int)step());
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        return -1;
    return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

#ifdef RT_CHECKS
static enum rt_status replace_step(void)
{
    return rt_fs_replace(".", "text", "new", 3, &err);
}

static bool text_is(const char *expected)
{
    size_t n = 0;
    unsigned char *text = read_whole("text", &n);
    bool same = text && n == strlen(expected) && memcmp(text, expected, n) == 0;
    rt_array_free(text);
    return same;
}
#endif

RT_TEST("a file is replaced whole or not at all, wherever it fails")
{
#ifdef RT_CHECKS
    CHECK_OK(rt_fs_replace(".", "text", "old", 3, &err));
    CHECK(with_fault("open:1", replace_step) == RT_IO && text_is("old"));
    CHECK(with_fault("write:1", replace_step) == RT_IO && text_is("old"));
    CHECK(with_fault("fsync:1", replace_step) == RT_IO && text_is("old"));
    CHECK(with_fault("rename:all", replace_step) == RT_IO && text_is("old"));
    CHECK(access("text.partial", F_OK) != 0);
    CHECK(with_fault("rename:1:1:kill", replace_step) == 100 + 9 && text_is("old"));
    CHECK(with_fault("write:0,write:1:2,nonsense,open:0", replace_step) == RT_OK && text_is("new"));
#endif
}

static enum rt_status create_step(void)
{
    static struct rt_h5_layout layout;
    enum rt_status st = make_layout(100, 256, &layout);
    return st == RT_OK ? rt_h5_create("f.h5", &layout, &err) : st;
}

RT_TEST("what the system says of a write of HDF5's own is told in its words alone")
{
    static const rlim_t sizes[] = {0, 48, 2000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int status = 0;
        pid_t child = fork(); /* HDF5 1.10 does not get over it: the file stays half open */
        if (child == 0) {
            struct rlimit small = {.rlim_cur = sizes[i], .rlim_max = sizes[i]};
            (void)signal(SIGXFSZ, SIG_IGN);
            bool fails = setrlimit(RLIMIT_FSIZE, &small) == 0 && create_step() == RT_IO;
            bool told = strstr(err.text, ": File too large") && !strstr(err.text, "buf = ");
            _exit(fails && told ? 0 : 1);
        }
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(status == 0);
    }
}

RT_TEST("a file that cannot be made leaves nothing behind")
{
    static struct rt_h5_layout layout;
    CHECK_OK(make_layout(100, 256, &layout));
    CHECK_STATUS(RT_IO, rt_h5_create("no/such/place.h5", &layout, &err));
    CHECK(strstr(err.text, "No such file") != NULL);
#ifdef RT_CHECKS
    CHECK(with_fault("fsync:1", create_step) == RT_IO);
    CHECK(access("f.h5", F_OK) != 0);
#else
    CHECK(create_step() == RT_OK && with_fault("", create_step) == RT_OK);
#endif
}

RT_TEST_MAIN()
