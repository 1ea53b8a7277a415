/* Files of ids: raw and .npy. The first byte says which, the second where reading is cut in two. */
#include "core/memory.h"
#include "io/ids.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_ids *ids = NULL;
    const char *name = fuzz_take(&data, &size, 1) % 2 ? "ids.npy" : "ids.u64";
    uint64_t cut = fuzz_take(&data, &size, 1);
    fuzz_write(name, data, size);
    if (!fuzz_ok(rt_ids_open(name, RT_IDS_ANY, &ids, &err), &err))
        return 0;
    size_t n = (size_t)rt_ids_count(ids);
    size_t n_first = (size_t)(cut % (n + 1));
    uint64_t *read = NULL;
    FUZZ_CHECK(n <= size && rt_array_new(n, sizeof *read, &read, &err) == RT_OK);
    if (fuzz_ok(rt_ids_read(ids, 0, n_first, read, &err), &err) &&
        fuzz_ok(rt_ids_read(ids, n_first, n - n_first, read + n_first, &err), &err))
        for (size_t i = 0; i < n; i++)
            FUZZ_CHECK(read[i] != RT_NO_ID);
    rt_array_free(read);
    rt_ids_close(ids);
    ids = NULL;
    FUZZ_CHECK(!fuzz_ok(rt_ids_open(name, n + 1, &ids, &err), &err));
    return 0;
}
