/* What goes past the page cache and what goes through it make one file, wherever pieces begin and
 * end, and a full disk is told either way. */
#include "tests/rt_test.h"

#include "core/fault.h"
#include "core/memory.h"
#include "core/random.h"
#include "io/fs.h"
#include "io/past_cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 1 << 20, PIECES = 400, PAGE = 4096 };

static const char path[] = "past_cache.bytes";
static unsigned char *wanted; /* page aligned, as what is written from is */

static void set_fault(const char *fault)
{
    (void)setenv("RANKTAPE_FAULT", fault, 1);
    rt_fault_set_rank(0);
}

static void begin(int *fd, struct rt_past_cache *file)
{
    struct rt_error err;
    CHECK_OK(rt_fs_open(path, O_RDWR | O_CREAT | O_TRUNC, fd, &err));
    CHECK(ftruncate(*fd, FILE_BYTES) == 0);
    rt_past_cache_open(file, path, FILE_BYTES);
}

static void end(int fd, struct rt_past_cache *file)
{
    rt_past_cache_close(file);
    CHECK(close(fd) == 0 && unlink(path) == 0);
}

static uint64_t draw(uint32_t piece, uint32_t what, uint64_t below)
{
    return rt_random_below(rt_random(1, RT_RANDOM_TEST, piece, what, 0), below);
}

static void make_wanted(void)
{
    struct rt_error err;
    CHECK_OK(rt_array_zero(FILE_BYTES, 1, &wanted, &err));
    CHECK((uintptr_t)wanted % PAGE == 0); /* large arrays suit */
}

RT_TEST("pieces that begin at pages and such that do not, all over each other, make one file")
{
    struct rt_error err;
    struct rt_past_cache file;
    int fd = -1;
    size_t n_past = 0;
    unsigned char *read = NULL;
    set_fault("past_cache:all");
    begin(&fd, &file);
    make_wanted();
    CHECK_OK(rt_array_new(FILE_BYTES, 1, &read, &err));
    for (uint32_t i = 0; i < PIECES; i++) {
        uint64_t at = draw(i, 0, FILE_BYTES);
        uint64_t n = draw(i, 1, UINT64_C(64) * PAGE);
        at = i % 2 ? at : at / PAGE * PAGE;
        n = n > FILE_BYTES - at ? FILE_BYTES - at : n;
        for (uint64_t byte = at; byte < at + n; byte++)
            wanted[byte] = (unsigned char)(byte * 7 + i);
        size_t written = 0;
        CHECK_OK(rt_past_cache_write(&file, path, wanted + at, n, at, &written, &err));
        CHECK(written <= n);
        CHECK(at % PAGE == 0 || written == 0);
        CHECK_OK(rt_fs_write_at(fd, path, wanted + at + written, n - written, at + written, &err));
        n_past += written;
    }
    CHECK_OK(rt_fs_read_at(fd, path, read, FILE_BYTES, 0, &err));
    CHECK(memcmp(read, wanted, FILE_BYTES) == 0);
    CHECK(rt_past_cache_is_open(&file) == (n_past > 0));
    if (!n_past)
        (void)printf("# this file system takes nothing past the page cache\n");
    rt_array_free(read);
    rt_array_free(wanted);
    end(fd, &file);
}

RT_TEST("small files go through the cache")
{
    struct rt_error err;
    struct rt_past_cache file;
    int fd = -1;
    size_t written = 1;
    set_fault("");
    begin(&fd, &file);
    make_wanted();
    CHECK(!rt_past_cache_is_open(&file));
    CHECK_OK(rt_past_cache_write(&file, path, wanted, FILE_BYTES, 0, &written, &err));
    CHECK(written == 0);
    rt_array_free(wanted);
    end(fd, &file);
}

RT_TEST("a full disk is told")
{
    struct rt_error err;
    struct rt_past_cache file;
    int fd = -1;
    size_t written = 0;
    set_fault("past_cache:all,write:0:2");
    begin(&fd, &file);
    make_wanted();
    bool is_open = rt_past_cache_is_open(&file);
    CHECK_OK(rt_past_cache_write(&file, path, wanted, FILE_BYTES, 0, &written, &err));
    CHECK(written == (is_open ? FILE_BYTES : 0));
    if (is_open) {
        CHECK_STATUS(RT_IO,
                     rt_past_cache_write(&file, path, wanted, FILE_BYTES, 0, &written, &err));
        CHECK(strstr(err.text, path) && strstr(err.text, "No space"));
    }
    rt_array_free(wanted);
    end(fd, &file);
}

RT_TEST_MAIN()
