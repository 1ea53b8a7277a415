/* Rows and queries in every format that is not HDF5. The first byte is the format, the second where
 * reading is cut in two, the rest the file. */
#include "core/memory.h"
#include "io/rows.h"
#include "tests/fuzz/fuzz.h"

static const struct {
    const char *name;
    struct rt_rows_options options;
} formats[] = {{"rows.fbin", {.type = NULL}},       {"rows.u8bin", {.type = NULL}},
               {"rows.i8bin", {.type = NULL}},      {"rows.f16bin", {.type = NULL}},
               {"rows.bin", {.type = "f32"}},       {"rows.fbin.crop_nb_3", {.type = NULL}},
               {"rows.fvecs", {.type = NULL}},      {"rows.bvecs", {.type = NULL}},
               {"rows.npy", {.type = NULL}},        {"rows.npy", {.type = "u8"}},
               {"rows.fbin", {.is_growing = true}}, {"rows.fvecs", {.is_growing = true}}};

/* The same header on another rank. */
static struct rt_rows *unpacked(const struct rt_rows *rows)
{
    struct rt_error err;
    struct rt_rows *copy = NULL;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    FUZZ_CHECK(rt_rows_pack(rows, &bytes, &n_bytes, &err) == RT_OK);
    FUZZ_CHECK(rt_rows_unpack(bytes, n_bytes, &copy, &err) == RT_OK);
    rt_array_free(bytes);
    return copy;
}

/* All rows at once, and in two steps by another handle: the same bytes or the same refusal. */
static void read_rows(struct rt_rows *rows, uint64_t cut)
{
    struct rt_error err;
    const struct rt_rows_info *info = rt_rows_info(rows);
    size_t row_bytes = info->dim * rt_element_size(info->type);
    size_t n = (size_t)info->n_rows;
    size_t n_first = n ? (size_t)(cut % (n + 1)) : 0;
    unsigned char *whole = NULL;
    unsigned char *halves = NULL;
    struct rt_rows *copy = unpacked(rows);
    FUZZ_CHECK(info->dim <= RT_MAX_DIM && (info->dim > 0 || n == 0));
    FUZZ_CHECK(rt_array_new(n, row_bytes, &whole, &err) == RT_OK);
    FUZZ_CHECK(rt_array_new(n, row_bytes, &halves, &err) == RT_OK);
    bool is_read = fuzz_ok(rt_rows_read(rows, 0, n, whole, &err), &err);
    bool is_same =
        fuzz_ok(rt_rows_read(copy, 0, n_first, halves, &err), &err) &&
        fuzz_ok(rt_rows_read(copy, n_first, n - n_first, halves + n_first * row_bytes, &err), &err);
    FUZZ_CHECK(is_read == is_same);
    FUZZ_CHECK(!is_read || memcmp(whole, halves, n * row_bytes) == 0);
    FUZZ_CHECK(fuzz_ok(rt_rows_check_unchanged(rows, &err), &err));
    rt_array_free(whole);
    rt_array_free(halves);
    rt_rows_close(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_rows *rows = NULL;
    size_t format = fuzz_take(&data, &size, 1) % (sizeof formats / sizeof *formats);
    uint64_t cut = fuzz_take(&data, &size, 1);
    char name[200];
    fuzz_write(formats[format].name, data, size);
    if (!fuzz_ok(rt_rows_open(formats[format].name, &formats[format].options, &rows, &err), &err))
        return 0;
    rt_rows_name_row(rows, cut, name, sizeof name);
    read_rows(rows, cut);
    rt_rows_close(rows);
    return 0;
}
