/* States in checkpoint/: whole or not there, and the one before where the last is damaged. */
#include "tests/rt_test.h"

#include "core/memory.h"
#include "io/checkpoint.h"
#include "io/index_dir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_NAME "checkpoint_index"

static void expect(const char *name, const char *text)
{
    struct rt_error err;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    CHECK_OK(rt_checkpoint_read(DIR_NAME, name, &bytes, &n_bytes, &err));
    CHECK(text ? bytes && n_bytes == strlen(text) && memcmp(bytes, text, n_bytes) == 0 : !bytes);
    rt_array_free(bytes);
}

static void write_text(const char *name, const char *text)
{
    struct rt_error err;
    CHECK_OK(rt_checkpoint_write(DIR_NAME, name, text, strlen(text), &err));
}

static void flip(const char *path, off_t at)
{
    unsigned char byte = 0;
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 4;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
    (void)close(fd);
}

static void begin(void)
{
    struct rt_error err;
    (void)mkdir(DIR_NAME, 0777);
    CHECK_OK(rt_index_remove_checkpoint(DIR_NAME, &err));
}

RT_TEST("a state is read as it was written, and the last one counts")
{
    begin();
    expect("job", NULL);
    write_text("job", "one");
    expect("job", "one");
    write_text("job", "two, which is longer");
    expect("job", "two, which is longer");
    write_text("trained", "");
    expect("trained", "");
    expect("job", "two, which is longer");
}

RT_TEST("wherever a byte is wrong, the state before it counts; where both are, there is none")
{
    struct stat info;
    begin();
    write_text("job", "one");
    write_text("job", "two");
    CHECK(stat(DIR_NAME "/checkpoint/job", &info) == 0);
    for (off_t at = 0; at < info.st_size; at++) {
        if (at >= 8 && at < 16) /* the version is told apart; what is unused is not looked at */
            continue;
        flip(DIR_NAME "/checkpoint/job", at);
        expect("job", "one");
        flip(DIR_NAME "/checkpoint/job", at);
    }
    expect("job", "two");
    CHECK(truncate(DIR_NAME "/checkpoint/job", info.st_size - 1) == 0);
    expect("job", "one");
    CHECK(unlink(DIR_NAME "/checkpoint/job") == 0);
    expect("job", "one");
    flip(DIR_NAME "/checkpoint/job.before", info.st_size - 1);
    expect("job", NULL);
}

RT_TEST("a state of another version is refused, and one under another name is none")
{
    struct rt_error err;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    begin();
    write_text("job", "one");
    CHECK(link(DIR_NAME "/checkpoint/job", DIR_NAME "/checkpoint/training") == 0);
    expect("training", NULL);
    flip(DIR_NAME "/checkpoint/job", 8);
    CHECK_STATUS(RT_USAGE, rt_checkpoint_read(DIR_NAME, "job", &bytes, &n_bytes, &err));
    CHECK(strstr(err.text, "version") != NULL);
}

static void count(void *context, const char *name)
{
    int *n = context;
    *n += strcmp(name, "insert-1") == 0 || strcmp(name, "insert-2") == 0 ? 1 : 100;
}

RT_TEST("states are found by the begin of their names, and removed with the one before")
{
    struct rt_error err;
    int n = 0;
    begin();
    CHECK_OK(rt_checkpoint_names(DIR_NAME, "insert", count, &n, &err));
    CHECK(n == 0);
    write_text("insert-1", "x");
    write_text("insert-1", "y");
    write_text("insert-2", "x");
    write_text("compact-1", "x");
    CHECK_OK(rt_checkpoint_names(DIR_NAME, "insert", count, &n, &err));
    CHECK(n == 3); /* insert-1 twice */
    CHECK_OK(rt_checkpoint_remove(DIR_NAME, "insert-1", &err));
    expect("insert-1", NULL);
    expect("insert-2", "x");
    begin();
}

RT_TEST_MAIN()
