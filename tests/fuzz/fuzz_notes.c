/* The small files of an index that no manifest names: CURRENT, LOCK, a job's checkpoint. The first
 * byte says which. */
#include "core/checksum.h"
#include "core/memory.h"
#include "io/checkpoint.h"
#include "io/fs.h"
#include "io/lock.h"
#include "io/manifest.h"
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>
#include <unistd.h>

#define DIR "notes"

static void read_current(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_manifest *manifest = NULL;
    fuzz_write(DIR "/CURRENT", data, size);
    if (fuzz_ok(rt_manifest_read_current(DIR, &manifest, &err), &err))
        rt_manifest_free(manifest);
}

static void read_lock(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_lock_owner owner;
    struct rt_lock *lock = NULL;
    const struct rt_lock_options options = {false, 0};
    bool is_held = false;
    fuzz_write(DIR "/LOCK", data, size);
    FUZZ_CHECK(fuzz_ok(rt_lock_read(DIR, &is_held, &owner, &err), &err) && is_held);
    bool is_free = fuzz_ok(rt_lock_require_free(DIR, &err), &err);
    FUZZ_CHECK(fuzz_ok(rt_lock_take(DIR, &options, &lock, &err), &err) == is_free);
    rt_lock_release(lock);
    (void)unlink(DIR "/LOCK");
}

/* The rest is what a job finds in its checkpoint once the checksum fits, or a whole file. */
static void read_checkpoint(const uint8_t *data, size_t size, bool is_whole)
{
    struct rt_error err;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    if (is_whole)
        fuzz_write(DIR "/checkpoint/job", data, size);
    else
        FUZZ_CHECK(rt_checkpoint_write(DIR, "job", data, size, &err) == RT_OK);
    bool is_read = fuzz_ok(rt_checkpoint_read(DIR, "job", &bytes, &n_bytes, &err), &err);
    FUZZ_CHECK(is_whole || (is_read && n_bytes == size && memcmp(bytes, data, size) == 0));
    FUZZ_CHECK(!bytes || (n_bytes < size + 1 && bytes[n_bytes] == 0));
    rt_array_free(bytes);
    FUZZ_CHECK(rt_checkpoint_remove(DIR, "job", &err) == RT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t kind = fuzz_take(&data, &size, 1) % 4;
    (void)mkdir(DIR, 0777);
    (void)mkdir(DIR "/checkpoint", 0777);
    if (kind == 0)
        read_current(data, size);
    else if (kind == 1)
        read_lock(data, size);
    else
        read_checkpoint(data, size, kind == 2);
    return 0;
}
