/* manifest-G.json: refused, or a manifest whose text gives it back. */
#include "core/memory.h"
#include "io/manifest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_manifest *manifest = NULL;
    struct rt_manifest *again = NULL;
    char *text = NULL;
    char *same = NULL;
    size_t n_bytes = 0;
    size_t n_same = 0;
    if (!fuzz_ok(rt_manifest_parse("manifest-1.json", (const char *)data, size, &manifest, &err),
                 &err))
        return 0;
    FUZZ_CHECK(fuzz_ok(rt_manifest_print(manifest, &text, &n_bytes, &err), &err));
    FUZZ_CHECK(fuzz_ok(rt_manifest_parse("again", text, n_bytes, &again, &err), &err));
    FUZZ_CHECK(fuzz_ok(rt_manifest_print(again, &same, &n_same, &err), &err));
    FUZZ_CHECK(n_bytes == n_same && memcmp(text, same, n_bytes) == 0);
    rt_manifest_free(manifest);
    rt_manifest_free(again);
    rt_array_free(text);
    rt_array_free(same);
    return 0;
}
