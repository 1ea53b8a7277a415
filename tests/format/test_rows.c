/* Row files: every format, read back as written; and every way in which a file can lie. */
#include "core/memory.h"
#include "io/row_writer.h"
#include "io/rows.h"
#include "row_files.h"

#include <fcntl.h>

#define N 3
#define D 5

static const struct rt_rows_options plain = {.dataset = "/train"};

struct target {
    const char *name;
    enum rt_element type;
};
static const struct target targets[] = {
    {"a.fbin", RT_F32},   {"a.u8bin", RT_U8},          {"a.i8bin", RT_I8},
    {"a.f16bin", RT_F16}, {"a.fvecs", RT_F32},         {"a.bvecs", RT_U8},
    {"f4.npy", RT_F32},   {"f2.npy", RT_F16},          {"u1.npy", RT_U8},
    {"i1.npy", RT_I8},    {"f4.h5", RT_F32},           {"f2.hdf5", RT_F16},
    {"u1.h5", RT_U8},     {"i1.h5:/deep/down", RT_I8}, {"a.fbin.crop_nb_3", RT_F32},
};
#define N_TARGETS (sizeof targets / sizeof targets[0])

/* The same small whole numbers in every type. */
static void make_values(enum rt_element type, size_t n, void *out)
{
    float values[64];
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(i + 1);
    rt_element_from_f32(type, values, out, n);
}

/* Row by row, the last first, by two writers. */
static enum rt_status write_rows(const char *path, enum rt_element type, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char values[N * D * 4];
    struct rt_row_target target;
    struct rt_row_writer *writers[2] = {NULL, NULL};
    const struct rt_row_target_options options = {type, N, D, "/train", "l2"};
    const size_t row_bytes = D * rt_element_size(type);
    make_values(type, (size_t)N * D, values);
    RT_TRY(rt_row_target_create(path, &options, &target, err));
    for (int i = 0; i < 2; i++)
        RT_TRY(rt_row_writer_open(path, &target, &writers[i], err));
    for (size_t i = N; i-- > 0;)
        RT_TRY(rt_row_writer_write(writers[i % 2], i, 1, values + i * row_bytes, err));
    for (int i = 0; i < 2; i++) {
        struct rt_row_writer *writer = writers[i];
        writers[i] = NULL;
        RT_TRY(rt_row_writer_close(writer, err));
    }
    RT_TRY(rt_row_target_publish(path, err));
done:
    return st;
}

/* Opens and reads all of it: the status of the first that fails. */
static enum rt_status read_all(const char *path, const struct rt_rows_options *options,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *rows = NULL;
    unsigned char buffer[N * D * 4];
    RT_TRY(rt_rows_open(path, options, &rows, err));
    for (uint64_t i = 0; i < rt_rows_info(rows)->n_rows && i < N; i++)
        RT_TRY(rt_rows_read(rows, i, 1, buffer, err));
done:
    rt_rows_close(rows);
    return st;
}

static bool says(const struct rt_error *err, const char *a, const char *b)
{
    bool both = strstr(err->text, a) && strstr(err->text, b);
    if (!both)
        (void)fprintf(stderr, "  message: %s\n", err->text);
    return both;
}

RT_TEST("rows written in any format by two writers are read back")
{
    struct rt_error err;
    for (size_t t = 0; t < N_TARGETS; t++) {
        const char *path = in_folder(targets[t].name);
        unsigned char expected[N * D * 4], found[N * D * 4];
        struct rt_rows *rows = NULL;
        size_t row_bytes = D * rt_element_size(targets[t].type);
        make_values(targets[t].type, (size_t)N * D, expected);
        CHECK_OK(write_rows(path, targets[t].type, &err));
        CHECK_OK(rt_rows_open(path, &plain, &rows, &err));
        REQUIRE(rows);
        const struct rt_rows_info *info = rt_rows_info(rows);
        CHECK(info->n_rows == N && info->dim == D && info->type == targets[t].type);
        CHECK(info->n_files == 1 && !info->is_converted && !info->needs_hdf5);
        CHECK_OK(rt_rows_read(rows, 0, N, found, &err));
        CHECK(memcmp(found, expected, N * row_bytes) == 0);
        CHECK_OK(rt_rows_read(rows, 2, 1, found, &err));
        CHECK(memcmp(found, expected + 2 * row_bytes, row_bytes) == 0);
        CHECK_OK(rt_rows_check_unchanged(rows, &err));
        rt_rows_close(rows);
    }
}

RT_TEST("the bytes of a file do not depend on who wrote them, nor on when")
{
    struct rt_error err;
    static unsigned char a[65536], b[65536];
    for (size_t t = 0; t < N_TARGETS; t++) {
        if (strchr(targets[t].name, ':'))
            continue;
        const char *path = in_folder(targets[t].name);
        CHECK_OK(write_rows(path, targets[t].type, &err));
        size_t n = read_whole(path, a, sizeof a);
        unsigned char values[N * D * 4];
        struct rt_row_target target;
        struct rt_row_writer *writer = NULL;
        const struct rt_row_target_options options = {targets[t].type, N, D, "/train", "l2"};
        make_values(targets[t].type, (size_t)N * D, values);
        CHECK_OK(rt_row_target_create(path, &options, &target, &err));
        CHECK_OK(rt_row_writer_open(path, &target, &writer, &err));
        CHECK_OK(rt_row_writer_write(writer, 0, N, values, &err));
        CHECK_OK(rt_row_writer_close(writer, &err));
        CHECK_OK(rt_row_target_publish(path, &err));
        CHECK(n > 0 && read_whole(path, b, sizeof b) == n && memcmp(a, b, n) == 0);
    }
}

RT_TEST("a file cut at any byte is refused with its name, and never crashes the reader")
{
    struct rt_error err;
    static unsigned char whole[65536];
    for (size_t t = 0; t < N_TARGETS; t++) {
        if (strchr(targets[t].name, ':'))
            continue;
        char name[64];
        CHECK_OK(write_rows(in_folder(targets[t].name), targets[t].type, &err));
        size_t n = read_whole(in_folder(targets[t].name), whole, sizeof whole);
        (void)snprintf(name, sizeof name, "cut-%s", targets[t].name);
        bool is_vecs = strstr(name, "vecs") != NULL;
        size_t record = 4 + D * rt_element_size(targets[t].type);
        for (size_t cut = 0; cut < n; cut++) {
            const char *path = write_file(name, whole, cut);
            err.text[0] = 0;
            if (is_vecs && cut % record == 0) { /* whole records are a whole file */
                CHECK_OK(read_all(path, &plain, &err));
                continue;
            }
            enum rt_status st = read_all(path, &plain, &err);
            if (st != RT_INPUT || !strstr(err.text, name))
                RT_TEST_FAILED("%s at %zu of %zu: status %d, '%s'", name, cut, n, (int)st,
                               err.text);
        }
    }
}

RT_TEST("a file with a byte too many is refused")
{
    struct rt_error err;
    static unsigned char whole[65536];
    for (size_t t = 0; t < N_TARGETS; t++) {
        if (strstr(targets[t].name, ".h")) /* HDF5 knows its own end */
            continue;
        CHECK_OK(write_rows(in_folder(targets[t].name), targets[t].type, &err));
        size_t n = read_whole(in_folder(targets[t].name), whole, sizeof whole);
        whole[n] = 0;
        const char *path = write_file(targets[t].name, whole, n + 1);
        CHECK_STATUS(RT_INPUT, read_all(path, &plain, &err));
        CHECK(strstr(err.text, "longer") || strstr(err.text, "no multiple"));
    }
}

RT_TEST("rows or dimension of a bin header set to extremes: refused, with both sizes")
{
    static const uint32_t extremes[] = {0, 1, 4, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    struct rt_error err;
    for (size_t i = 0; i < sizeof extremes / sizeof extremes[0]; i++)
        for (size_t j = 0; j < sizeof extremes / sizeof extremes[0]; j++) {
            unsigned char bytes[8 + 60] = {0};
            put32(put32(bytes, extremes[i]), extremes[j]);
            const char *path = write_file("extreme.fbin", bytes, sizeof bytes);
            CHECK_STATUS(RT_INPUT, read_all(path, &plain, &err));
            CHECK(strstr(err.text, "extreme.fbin") && strstr(err.text, "68 bytes"));
        }
}

RT_TEST("a bin file without rows is valid and empty")
{
    struct rt_error err;
    unsigned char bytes[8];
    struct rt_rows *rows = NULL;
    put32(put32(bytes, 0), 7);
    CHECK_OK(rt_rows_open(write_file("empty.fbin", bytes, 8), &plain, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->n_rows == 0 && rt_rows_info(rows)->dim == 7);
    rt_rows_close(rows);
    CHECK_OK(rt_rows_open(write_file("empty.fvecs", bytes, 0), &plain, &rows, &err));
    CHECK(rt_rows_info(rows)->n_rows == 0);
    rt_rows_close(rows);
}

RT_TEST("a truncated bin file is told with sizes, whole rows and what may be wrong")
{
    struct rt_error err;
    unsigned char bytes[2000] = {0};
    put32(put32(bytes, 1000), 16);
    CHECK_STATUS(RT_INPUT, read_all(write_file("short.u8bin", bytes, 1608), &plain, &err));
    CHECK(says(&err, "is 1,608 bytes, its header says 16,008 (1,000 x 16 u8)",
               "truncated after 100 whole rows"));
    put32(put32(bytes, 100), 4);
    CHECK_STATUS(RT_INPUT, read_all(write_file("half.fbin", bytes, 808), &plain, &err));
    CHECK(says(&err, "half.fbin", "fits f16"));
    put32(put32(bytes, 1000000), 4);
    CHECK_STATUS(RT_INPUT, read_all(write_file("x.u8bin.crop_nb_100", bytes, 408), &plain, &err));
    CHECK(says(&err, "1,000,000 x 4 u8", "the 100 rows of its name"));
}

RT_TEST("the type comes from the suffix, else from --type, and may not contradict it")
{
    struct rt_error err;
    unsigned char bytes[8 + 20] = {0};
    struct rt_rows_options f32 = {.type = "f32", .dataset = "/train"},
                           u8 = {.type = "u8", .dataset = "/train"};
    struct rt_rows_options odd = {.type = "f64", .dataset = "/train"};
    put32(put32(bytes, 1), 5);
    const char *path = write_file("vectors.bin", bytes, sizeof bytes);
    CHECK_STATUS(RT_INPUT, read_all(path, &plain, &err));
    CHECK(says(&err, "vectors.bin", "--type"));
    CHECK_OK(read_all(path, &f32, &err));
    CHECK_STATUS(RT_INPUT, read_all(path, &u8, &err));
    CHECK_STATUS(RT_USAGE, read_all(path, &odd, &err));
    path = write_file("data_1_5", bytes, sizeof bytes);
    CHECK_OK(read_all(path, &f32, &err));
    path = write_file("v.fbin", bytes, sizeof bytes);
    CHECK_OK(read_all(path, &f32, &err));
    CHECK_STATUS(RT_INPUT, read_all(path, &u8, &err));
    CHECK(says(&err, "holds f32", "--type says u8"));
}

RT_TEST("a file that is not there, or no file, is told")
{
    struct rt_error err;
    CHECK_STATUS(RT_INPUT, read_all(in_folder("nowhere.fbin"), &plain, &err));
    CHECK(says(&err, "nowhere.fbin", "No such file"));
    const char *pipe = in_folder("pipe.fbin");
    CHECK(mkfifo(pipe, 0600) == 0);
    CHECK_STATUS(RT_INPUT, read_all(pipe, &plain, &err));
    CHECK(says(&err, "pipe.fbin", "regular file"));
}

/* ---- vecs ---- */

static size_t make_vecs(unsigned char *bytes, uint32_t n, uint32_t dim)
{
    unsigned char *at = bytes;
    for (uint32_t i = 0; i < n; i++) {
        at = put32(at, dim);
        for (uint32_t j = 0; j < dim; j++) {
            float value = (float)(i * dim + j);
            memcpy(at, &value, 4);
            at += 4;
        }
    }
    return (size_t)(at - bytes);
}

RT_TEST("a vecs row of another dimension in the middle is told with file and row")
{
    struct rt_error err;
    static unsigned char bytes[2000 * 20];
    static float buffer[2000 * 4];
    struct rt_rows *rows = NULL;
    size_t n = make_vecs(bytes, 2000, 4);
    put32(bytes + (size_t)1234 * 20, 3);
    CHECK_OK(rt_rows_open(write_file("torn.fvecs", bytes, n), &plain, &rows, &err));
    REQUIRE(rows);
    CHECK_OK(rt_rows_read(rows, 0, 1234, buffer, &err));
    CHECK(buffer[1233 * 4 + 3] == 1233 * 4 + 3);
    CHECK_STATUS(RT_INPUT, rt_rows_read(rows, 0, 2000, buffer, &err));
    CHECK(says(&err, "torn.fvecs' row 1,234: dimension 3, but 4 in row 0", "--bad-rows"));
    rt_rows_close(rows);
}

RT_TEST("first dimensions of a vecs file that are absurd are refused, big-endian ones by name")
{
    static const uint32_t bad[] = {0, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    struct rt_error err;
    unsigned char bytes[24] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put32(bytes, bad[i]);
        CHECK_STATUS(RT_INPUT, read_all(write_file("x.fvecs", bytes, 24), &plain, &err));
        CHECK(says(&err, "x.fvecs' row 0: dimension", "1 to 65,535"));
    }
    put32(bytes, 128u << 24);
    CHECK_STATUS(RT_INPUT, read_all(write_file("x.fvecs", bytes, 24), &plain, &err));
    CHECK(says(&err, "row 0", "big-endian"));
}

RT_TEST("with --concurrent a vecs file may end in half a row and grow; a bin file may not")
{
    struct rt_error err;
    unsigned char bytes[400];
    struct rt_rows *rows = NULL;
    float buffer[16];
    const struct rt_rows_options growing = {.dataset = "/train", .is_growing = true};
    size_t n = make_vecs(bytes, 4, 4);
    const char *path = write_file("grow.fvecs", bytes, n - 7);
    CHECK_STATUS(RT_INPUT, read_all(path, &plain, &err));
    CHECK_OK(rt_rows_open(path, &growing, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->n_rows == 3);
    path = write_file("grow.fvecs", bytes, n);
    CHECK_OK(rt_rows_read(rows, 0, 3, buffer, &err));
    CHECK_OK(rt_rows_check_unchanged(rows, &err));
    path = write_file("grow.fvecs", bytes, 20);
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(rows, &err));
    rt_rows_close(rows);
    put32(put32(bytes, 1), 1);
    CHECK_STATUS(RT_USAGE, read_all(write_file("x.fbin", bytes, 12), &growing, &err));
    CHECK(says(&err, "x.fbin", "cannot grow"));
}

/* ---- npy ---- */

static const char *write_npy(const char *header, int version, size_t data_bytes)
{
    static unsigned char bytes[4096];
    size_t n = strlen(header);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (unsigned char)version;
    size_t at = version == 1 ? 10 : 12;
    bytes[8] = (unsigned char)(n & 255);
    bytes[9] = (unsigned char)(n >> 8);
    memcpy(bytes + at, header, n);
    return write_file("x.npy", bytes, at + n + data_bytes);
}

RT_TEST("npy headers as numpy, old numpy and Python 2 write them are read")
{
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }   \n",
        "{'shape':(3L,5L),'fortran_order':False,\"descr\":\"<f4\"}",
        "{ 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 3 , 5 , ) , }\n",
    };
    struct rt_error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        for (int version = 1; version <= 3; version++)
            CHECK_OK(read_all(write_npy(good[i], version, 60), &plain, &err));
    CHECK_OK(read_all(write_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (15, 1)}", 1, 60),
                      &plain, &err));
    CHECK_OK(read_all(write_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5)}", 1, 0),
                      &plain, &err));
}

RT_TEST("npy headers that lie, or hold what is not read, are refused with the reason")
{
    static const struct {
        const char *header, *reason;
    } bad[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (3, 5)}", "big-endian"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3, 5)}", "pickled"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 5)}", "fields"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 5)}", "Fortran"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3, 5)}", "no type"},
        {"{'descr': '=f4', 'fortran_order': False, 'shape': (3, 5)}", "no type"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (3, 5)}", "signed integers of 4"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (15,)}", "one axis"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "0 axes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5, 1)}", "3 axes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0)}", "longer"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5)}", "3 whole rows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5)}", "longer"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2147483648, 5)}", "2,147,483,648"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 5)}", "2^64"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616, 5)}", "dict"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "2^64"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 5)}", "dict"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 5)}", "dict"},
        {"{'descr': '<f4', 'fortran_order': False}", "dict"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)}", "dict"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)} x", "dict"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3 5)}", "dict"},
        {"{'descr': '<f4, 'fortran_order': False, 'shape': (3, 5", "dict"},
        {"{", "dict"},
        {"", "dict"},
    };
    struct rt_error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *path = write_npy(bad[i].header, 1, 60);
        CHECK_STATUS(RT_INPUT, read_all(path, &plain, &err));
        if (!says(&err, "x.npy", bad[i].reason))
            RT_TEST_FAILED("header %zu does not give '%s'", i, bad[i].reason);
    }
    CHECK_STATUS(RT_INPUT, read_all(write_npy(bad[0].header, 4, 60), &plain, &err));
    CHECK(says(&err, "x.npy", "version 4.0"));
    unsigned char huge[64] = "\x93NUMPY\2\0\xff\xff\xff\xff{";
    CHECK_STATUS(RT_INPUT, read_all(write_file("x.npy", huge, sizeof huge), &plain, &err));
    CHECK(says(&err, "4,294,967,295 bytes long", "65,536"));
}

RT_TEST("f64 of npy is given as f32, and the reader says so")
{
    struct rt_error err;
    static unsigned char bytes[300];
    const char *header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}";
    double values[6] = {0.5, -1.25, 1e30, 1e300, 3.0000000001, 0};
    float found[6];
    struct rt_rows *rows = NULL;
    size_t n = strlen(header);
    memcpy(bytes, "\x93NUMPY\1\0", 8);
    bytes[8] = (unsigned char)n;
    memcpy(bytes + 10, header, n);
    memcpy(bytes + 10 + n, values, sizeof values);
    CHECK_OK(rt_rows_open(write_file("d.npy", bytes, 10 + n + 48), &plain, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->is_converted && rt_rows_info(rows)->type == RT_F32);
    CHECK_OK(rt_rows_read(rows, 0, 2, found, &err));
    for (int i = 0; i < 6; i++)
        CHECK(found[i] == (float)values[i]);
    rt_rows_close(rows);
}

/* ---- large counts ---- */

RT_TEST("the last of 2^31 rows of a bin file is read")
{
    struct rt_error err;
    unsigned char header[8], last = 0;
    struct rt_rows *rows = NULL;
    const uint64_t n = UINT64_C(1) << 31;
    put32(put32(header, (uint32_t)n), 1);
    const char *path = write_file("large.u8bin", header, 8);
    int fd = open(path, O_RDWR);
    CHECK(ftruncate(fd, (off_t)(8 + n)) == 0);
    CHECK(pwrite(fd, "M", 1, (off_t)(8 + n - 1)) == 1);
    close(fd);
    CHECK_OK(rt_rows_open(path, &plain, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->n_rows == n);
    CHECK_OK(rt_rows_read(rows, n - 1, 1, &last, &err));
    CHECK(last == 'M');
    char name[64];
    rt_rows_name_row(rows, n - 1, name, sizeof name);
    CHECK(strstr(name, "row 2,147,483,647"));
    rt_rows_close(rows);
    CHECK(unlink(path) == 0);
}

/* ---- heaps ---- */

static void write_fbin(const char *name, uint32_t n, uint32_t dim, float first)
{
    static unsigned char bytes[65536];
    unsigned char *at = put32(put32(bytes, n), dim);
    for (uint32_t i = 0; i < n * dim; i++, at += 4) {
        float value = first + (float)i;
        memcpy(at, &value, 4);
    }
    write_file(name, bytes, (size_t)(at - bytes));
}

/* Rows whose values are 0, 1, 2 .. throughout the heap. */
static void check_counting(const char *name, uint64_t n_rows, uint32_t dim)
{
    struct rt_error err;
    struct rt_rows *rows = NULL;
    static float buffer[65536];
    CHECK_OK(rt_rows_open(name, &plain, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->n_rows == n_rows && rt_rows_info(rows)->dim == dim);
    for (size_t step = 1; step <= n_rows; step = 2 * step + 1)
        for (uint64_t begin = 0; begin < n_rows; begin += step) {
            size_t n = n_rows - begin < step ? (size_t)(n_rows - begin) : step;
            CHECK_OK(rt_rows_read(rows, begin, n, buffer, &err));
            for (size_t i = 0; i < n * dim; i++)
                if (buffer[i] != (float)(begin * dim + i)) {
                    RT_TEST_FAILED("row %llu", (unsigned long long)(begin + i / dim));
                    break;
                }
        }
    rt_rows_close(rows);
}

RT_TEST("a directory is one heap: row suffixes, byte order, no dot files, more files than are open")
{
    struct rt_error err;
    CHECK(mkdir(in_folder("heap"), 0700) == 0 && mkdir(in_folder("heap/sub.npy"), 0700) == 0);
    uint32_t n_rows = 0;
    for (uint32_t i = 0; i < 150; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "heap/part-%03u.%s", i, "fbin");
        write_fbin(name, i % 4, 3, (float)(n_rows * 3));
        n_rows += i % 4;
    }
    write_fbin("heap/.hidden.fbin", 5, 3, 0);
    write_file("heap/README", "text", 4);
    write_file("heap/truth.ivecs", "text", 4);
    write_file("heap/part-000.fbin.partial", "text", 4);
    write_file("heap/none.fvecs", "", 0);
    check_counting(in_folder("heap"), n_rows, 3);
    struct rt_rows *rows = NULL;
    CHECK_OK(rt_rows_open(in_folder("heap"), &plain, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->n_files == 151);
    char name[128];
    rt_rows_name_row(rows, n_rows - 1, name, sizeof name); /* file 149 has one row */
    CHECK(strstr(name, "part-149.fbin' row 0"));
    rt_rows_close(rows);

    unsigned char bytes[64] = {0};
    put32(put32(bytes, 1), 3);
    write_file("heap/z.u8bin", bytes, 11);
    CHECK_STATUS(RT_INPUT, read_all(in_folder("heap"), &plain, &err));
    CHECK(says(&err, "z.u8bin", "part-"));
    CHECK(unlink(in_folder("heap/z.u8bin")) == 0);
    write_fbin("heap/z.fbin", 1, 4, 0);
    CHECK_STATUS(RT_INPUT, read_all(in_folder("heap"), &plain, &err));
    CHECK(says(&err, "z.fbin' of 4 f32", "part-"));
}

RT_TEST("a list names files relative to its own folder; comments and blank lines are nothing")
{
    struct rt_error err;
    char text[2000], name[600];
    CHECK(mkdir(in_folder("list"), 0700) == 0 && mkdir(in_folder("list/b"), 0700) == 0);
    write_fbin("list/z.fbin", 2, 3, 0);
    write_fbin("list/b/a file.fbin", 3, 3, 6);
    unsigned char bytes[200];
    size_t n = make_vecs(bytes, 2, 3);
    for (size_t i = 0; i < 6; i++) {
        float value = (float)(15 + i);
        memcpy(bytes + 4 + i * 4 + i / 3 * 4, &value, 4);
    }
    write_file("list/c.fvecs", bytes, n);
    (void)snprintf(text, sizeof text, "# first\n\nz.fbin\r\n  b/a file.fbin \n\n#end\n%s",
                   in_folder("list/c.fvecs"));
    (void)snprintf(name, sizeof name, "@%s", write_file("list/all.txt", text, strlen(text)));
    check_counting(name, 7, 3);
    write_file("list/all.txt", "# none\n", 7);
    CHECK_STATUS(RT_INPUT, read_all(name, &plain, &err));
    CHECK(says(&err, "all.txt", "names no file"));
    write_file("list/all.txt", "b\n", 2);
    CHECK_STATUS(RT_INPUT, read_all(name, &plain, &err));
    CHECK(says(&err, "list/b'", "directory"));
    write_file("list/all.txt", "gone.fbin\n", 10);
    CHECK_STATUS(RT_INPUT, read_all(name, &plain, &err));
    CHECK(says(&err, "list/gone.fbin", "No such file"));
    write_file("list/all.txt", "a\0b", 3);
    CHECK_STATUS(RT_INPUT, read_all(name, &plain, &err));
    CHECK(says(&err, "all.txt", "zero byte"));
}

RT_TEST("a directory without rows says which suffixes there are")
{
    struct rt_error err;
    unsigned char bytes[12] = {0};
    const struct rt_rows_options f32 = {.type = "f32", .dataset = "/train"};
    CHECK(mkdir(in_folder("none"), 0700) == 0);
    CHECK_STATUS(RT_INPUT, read_all(in_folder("none"), &plain, &err));
    CHECK(says(&err, "holds no file with a row suffix", ".fbin"));
    put32(put32(bytes, 1), 1);
    write_file("none/a.bin", bytes, 12);
    CHECK_STATUS(RT_INPUT, read_all(in_folder("none"), &plain, &err));
    CHECK(says(&err, "--type", ".bin"));
    CHECK_OK(read_all(in_folder("none"), &f32, &err));
}

/* ---- files that change ---- */

RT_TEST("a file that shrinks or changes while it is read is noticed")
{
    struct rt_error err;
    struct rt_rows *rows = NULL;
    static float buffer[4000];
    write_fbin("live.fbin", 1000, 4, 0);
    const char *path = in_folder("live.fbin");
    CHECK_OK(rt_rows_open(path, &plain, &rows, &err));
    REQUIRE(rows);
    CHECK_OK(rt_rows_read(rows, 0, 10, buffer, &err));
    CHECK(truncate(path, 8000) == 0);
    CHECK_STATUS(RT_INPUT, rt_rows_read(rows, 10, 990, buffer, &err));
    CHECK(says(&err, "live.fbin", "shrank while it was read"));
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(rows, &err));
    CHECK(says(&err, "had 16,008 bytes, now 8,000", "shrank"));
    CHECK(truncate(path, 16009) == 0);
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(rows, &err));
    CHECK(says(&err, "live.fbin", "changed"));
    CHECK(truncate(path, 16008) == 0);
    const struct timespec times[2] = {{1000, 0}, {1000, 5}};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(rows, &err));
    CHECK(says(&err, "live.fbin", "written to again"));
    CHECK(unlink(path) == 0);
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(rows, &err));
    rt_rows_close(rows);
}

/* Row `row` of a file of 4 f32 behind 8 bytes becomes another; the file's time stays. */
static void change_row(const char *path, size_t row)
{
    const float other[4] = {-1, -2, -3, -4};
    struct stat info;
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0 && fstat(fd, &info) == 0);
    CHECK(pwrite(fd, other, sizeof other, (off_t)(8 + row * sizeof other)) == sizeof other);
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    CHECK(futimens(fd, times) == 0 && close(fd) == 0);
}

RT_TEST("rows that change behind a size and a time that do not are found, and told by number")
{
    struct rt_error err;
    struct rt_rows *rows = NULL;
    struct rt_rows *copy = NULL;
    unsigned char *pack = NULL;
    size_t n_bytes = 0;
    static float buffer[4];
    CHECK(mkdir(in_folder("sampled"), 0700) == 0);
    write_fbin("sampled/a.fbin", 100, 4, 0);
    write_fbin("sampled/b.fbin", 900, 4, 400);
    CHECK_OK(rt_rows_open(in_folder("sampled"), &plain, &rows, &err));
    REQUIRE(rows);
    CHECK(rt_rows_info(rows)->sample->n_blocks == 0);
    CHECK_OK(rt_rows_check_sample(rows, &err)); /* none was taken */
    CHECK_OK(rt_rows_sample(rows, 40, &err));
    CHECK(rt_rows_info(rows)->sample->n_blocks == RT_SAMPLED_BLOCKS);
    CHECK_OK(rt_rows_pack(rows, &pack, &n_bytes, &err));
    CHECK_OK(rt_rows_unpack(pack, n_bytes, &copy, &err));
    rt_array_free(pack);
    REQUIRE(copy);
    CHECK_OK(rt_rows_check_sample(copy, &err));
    change_row(in_folder("sampled/a.fbin"), 39); /* not asked for */
    CHECK_OK(rt_rows_check_sample(copy, &err));
    change_row(in_folder("sampled/b.fbin"), 0); /* blocks of 15 rows, 7 to 21 now */
    change_row(in_folder("sampled/b.fbin"), 899);
    CHECK_OK(rt_rows_check_unchanged(copy, &err));
    CHECK_STATUS(RT_INPUT, rt_rows_check_sample(copy, &err));
    CHECK(says(&err, "b.fbin' changed while it was read: rows 0 to 899 are others", ""));
    CHECK_OK(rt_rows_read(copy, 5, 1, buffer, &err)); /* its stamp is what it was */
    const struct timespec times[2] = {{1000, 0}, {1000, 5}};
    CHECK(utimensat(AT_FDCWD, in_folder("sampled/b.fbin"), times, 0) == 0);
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(copy, &err));
    CHECK(says(&err, "b.fbin", "written to again: rows 0 to 899 are others"));
    CHECK_STATUS(RT_INPUT, rt_rows_read(copy, 500, 1, buffer, &err));
    CHECK(says(&err, "b.fbin", "written to again: rows 0 to 899 are others"));
    write_fbin("sampled/b.fbin", 901, 4, 400); /* what was there is there again, and more */
    CHECK_STATUS(RT_INPUT, rt_rows_check_unchanged(copy, &err));
    CHECK(says(&err, "b.fbin", "now 14,424") && !strstr(err.text, "others"));
    rt_rows_close(copy);
    rt_rows_close(rows);
}

RT_TEST("a packed reader opens elsewhere without touching the files; a broken pack is refused")
{
    struct rt_error err;
    struct rt_rows *rows = NULL, *copy = NULL;
    unsigned char *pack = NULL;
    size_t n_bytes = 0;
    float a[6], b[6];
    CHECK(mkdir(in_folder("packed"), 0700) == 0);
    write_fbin("packed/a.fbin", 1, 3, 0);
    write_fbin("packed/b.fbin", 1, 3, 3);
    CHECK_OK(write_rows(in_folder("packed/deep.h5:/x/y"), RT_F32, &err)); /* not in the heap */
    CHECK(unlink(in_folder("packed/deep.h5")) == 0);
    CHECK_OK(rt_rows_open(in_folder("packed"), &plain, &rows, &err));
    REQUIRE(rows);
    CHECK_OK(rt_rows_sample(rows, 0, &err));
    CHECK_OK(rt_rows_pack(rows, &pack, &n_bytes, &err));
    CHECK(rename(in_folder("packed/a.fbin"), in_folder("away.fbin")) == 0);
    CHECK_OK(rt_rows_unpack(pack, n_bytes, &copy, &err));
    REQUIRE(copy);
    CHECK(rename(in_folder("away.fbin"), in_folder("packed/a.fbin")) == 0);
    const struct rt_rows_info *x = rt_rows_info(rows), *y = rt_rows_info(copy);
    CHECK(x->n_rows == y->n_rows && x->dim == y->dim && x->type == y->type);
    CHECK(x->n_bytes == y->n_bytes && x->n_files == y->n_files);
    CHECK(strcmp(x->files[1].path, y->files[1].path) == 0 && y->files[1].first_row == 1);
    CHECK(x->files[0].mtime_ns == y->files[0].mtime_ns);
    CHECK_OK(rt_rows_read(rows, 0, 2, a, &err));
    CHECK_OK(rt_rows_read(copy, 0, 2, b, &err));
    CHECK(memcmp(a, b, sizeof a) == 0);
    rt_rows_close(copy);
    rt_rows_close(rows);
    for (size_t cut = 0; cut < n_bytes; cut++)
        CHECK_STATUS(RT_INPUT, rt_rows_unpack(pack, cut, &copy, &err));
    uint64_t far = 3; /* rows of a sampled block that are not there: n_blocks, begin, end */
    memcpy(pack + 16 + 16, &far, sizeof far);
    CHECK_STATUS(RT_INPUT, rt_rows_unpack(pack, n_bytes, &copy, &err));
    CHECK(says(&err, "sample", "broken"));
    rt_array_free(pack);
}

/* ---- writing ---- */

RT_TEST("names and counts that cannot be written are refused before any work")
{
    struct rt_error err;
    enum rt_element type;
    struct rt_row_target target;
    CHECK_OK(rt_row_target_type("a.npy", NULL, &type, &err));
    CHECK(type == RT_F32);
    CHECK_OK(rt_row_target_type("a.h5:/x", "i8", &type, &err));
    CHECK(type == RT_I8);
    CHECK_OK(rt_row_target_type("a.u8bin", NULL, &type, &err));
    CHECK(type == RT_U8);
    CHECK_STATUS(RT_USAGE, rt_row_target_type("a.u8bin", "f32", &type, &err));
    CHECK_STATUS(RT_USAGE, rt_row_target_type("a.bin", "f32", &type, &err));
    CHECK_STATUS(RT_USAGE, rt_row_target_type("a.txt", NULL, &type, &err));
    CHECK(says(&err, "a.txt", ".fvecs"));
    struct rt_row_target_options options = {RT_U8, UINT64_C(1) << 32, 1, NULL, NULL};
    CHECK_STATUS(RT_USAGE, rt_row_target_create(in_folder("w.u8bin"), &options, &target, &err));
    CHECK(says(&err, "4,294,967,295", "4,294,967,296"));
    options.n_rows = UINT64_MAX;
    CHECK_STATUS(RT_USAGE, rt_row_target_create(in_folder("w.bvecs"), &options, &target, &err));
    options = (struct rt_row_target_options){RT_F16, 1, 1, NULL, NULL};
    CHECK_STATUS(RT_USAGE, rt_row_target_create(in_folder("w.fvecs"), &options, &target, &err));
    options.dim = 65536;
    CHECK_STATUS(RT_USAGE, rt_row_target_create(in_folder("w.npy"), &options, &target, &err));
    options.dim = 1;
    CHECK_STATUS(RT_IO, rt_row_target_create(in_folder("no/w.npy"), &options, &target, &err));
    CHECK_STATUS(RT_IO, rt_row_target_create(in_folder("no/w.h5"), &options, &target, &err));
    CHECK(says(&err, "no/w.h5", "No such file"));
    CHECK_OK(rt_row_target_create(in_folder("w.npy"), &options, &target, &err));
    rt_row_target_discard(in_folder("w.npy"));
    CHECK(access(in_folder("w.npy.partial"), F_OK) != 0);
}

RT_TEST_MAIN()
