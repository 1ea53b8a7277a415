/* @LIST: many row files as one heap. Some that a list may name are there. */
#include "core/memory.h"
#include "io/rows.h"
#include "tests/fuzz/fuzz.h"

static void write_rows(void)
{
    static const uint32_t fbin[] = {3, 2, 0, 1, 2, 3, 4, 5};
    static const uint32_t fvecs[] = {2, 7, 8, 2, 9, 10};
    fuzz_write("a.fbin", fbin, sizeof fbin);
    fuzz_write("b.fvecs", fvecs, sizeof fvecs);
    fuzz_write("c.bin", fbin, sizeof fbin);
    fuzz_write("empty.fvecs", "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_rows *rows = NULL;
    static const struct rt_rows_options options = {.type = "f32"};
    static bool is_ready;
    if (!is_ready)
        write_rows();
    is_ready = true;
    fuzz_write("list", data, size);
    if (!fuzz_ok(rt_rows_open("@list", &options, &rows, &err), &err))
        return 0;
    const struct rt_rows_info *info = rt_rows_info(rows);
    float *values = NULL;
    char name[200];
    FUZZ_CHECK(rt_array_new((size_t)info->n_rows, info->dim * sizeof *values, &values, &err) ==
               RT_OK);
    FUZZ_CHECK(fuzz_ok(rt_rows_read(rows, 0, (size_t)info->n_rows, values, &err), &err));
    if (info->n_rows)
        rt_rows_name_row(rows, info->n_rows - 1, name, sizeof name);
    rt_array_free(values);
    rt_rows_close(rows);
    return 0;
}
