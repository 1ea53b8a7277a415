/* Pages of a mapped file that is not in memory: a wait for one is noticed, what is asked for comes,
 * and what is read at random brings no neighbours along. */
#define _GNU_SOURCE /* mincore */
#include "tests/rt_test.h"

#include "io/read_ahead.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PAGES = 256, MANY = 20000 };

static size_t page;

/* A file of PAGES pages in the working folder, on disk and mapped. */
static char *map_file(int *fd)
{
    char name[] = "read_ahead.XXXXXX";
    page = (size_t)sysconf(_SC_PAGESIZE);
    *fd = mkstemp(name);
    CHECK(*fd >= 0 && unlink(name) == 0);
    char bytes[1024];
    memset(bytes, 7, sizeof bytes);
    for (size_t i = 0; i < PAGES * page; i += sizeof bytes)
        CHECK(write(*fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    CHECK(fsync(*fd) == 0);
    char *mapped = mmap(NULL, PAGES * page, PROT_READ, MAP_SHARED, *fd, 0);
    if (mapped == MAP_FAILED)
        abort();
    return mapped;
}

static void unmap_file(char *mapped, int fd)
{
    CHECK(munmap(mapped, PAGES * page) == 0);
    CHECK(close(fd) == 0);
}

static bool is_there(char *mapped, size_t number)
{
    unsigned char there = 0;
    CHECK(mincore(mapped + number * page, page, &there) == 0);
    return there & 1;
}

/* False where the file system keeps all in memory anyway. */
static bool drop(char *mapped, int fd)
{
    CHECK(madvise(mapped, PAGES * page, MADV_DONTNEED) == 0);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    for (size_t i = 0; i < PAGES; i++)
        if (is_there(mapped, i))
            return false;
    return true;
}

static void touch(const char *mapped, size_t number)
{
    volatile const char *byte = mapped + number * page;
    CHECK(*byte == 7);
}

/* Uses up what earlier waits of this thread left to be asked. */
static void settle(struct rt_read_ahead *ahead)
{
    for (int i = 0; i < MANY; i++)
        if (rt_read_ahead_begin(ahead))
            rt_read_ahead_ask(ahead, NULL, 0);
}

RT_TEST("steps ask for nothing while all is in memory, for a while after a wait, then no more")
{
    int fd = -1;
    char *mapped = map_file(&fd);
    struct rt_read_ahead ahead = {0};
    int n_asked = 0;
    settle(&ahead);
    CHECK(!rt_read_ahead_begin(&ahead));
    if (drop(mapped, fd)) {
        touch(mapped, PAGES / 2);
        for (int i = 0; i < MANY; i++) /* all is in memory again */
            if (rt_read_ahead_begin(&ahead)) {
                n_asked++;
                rt_read_ahead_ask(&ahead, mapped + PAGES / 2 * page, 1);
            }
        CHECK(n_asked > 100 && n_asked < MANY - 100);
        CHECK(!rt_read_ahead_begin(&ahead));
    }
    unmap_file(mapped, fd);
}

RT_TEST("what is asked for comes, every page that holds a byte of it")
{
    int fd = -1;
    char *mapped = map_file(&fd);
    struct rt_read_ahead ahead = {0};
    rt_read_ahead_at_random(mapped, PAGES * page);
    if (drop(mapped, fd)) {
        rt_read_ahead_ask(&ahead, mapped + 101 * page - 1, 2);
        for (int i = 0; i < 2000 && !(is_there(mapped, 100) && is_there(mapped, 101)); i++)
            (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        CHECK(is_there(mapped, 100) && is_there(mapped, 101));
        CHECK(!is_there(mapped, 0) && !is_there(mapped, PAGES - 1));
    }
    unmap_file(mapped, fd);
}

RT_TEST("a page that is touched at random brings no others along")
{
    int fd = -1;
    char *mapped = map_file(&fd);
    if (drop(mapped, fd)) {
        rt_read_ahead_at_random(mapped + 1, PAGES * page - 1);
        touch(mapped, 100);
        size_t n = 0;
        for (size_t i = 0; i < PAGES; i++)
            n += is_there(mapped, i);
        CHECK(n == 1);
    }
    unmap_file(mapped, fd);
}

static long faults(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt + usage.ru_majflt;
}

RT_TEST("what is in memory is mapped before it is touched, what is not is not read")
{
    int fd = -1;
    char *mapped = map_file(&fd);
    rt_read_ahead_at_random(mapped, PAGES * page);
    rt_read_ahead_map(mapped + 1, PAGES * page - 1);
    rt_read_ahead_map(NULL, 0);
#ifdef MADV_POPULATE_READ
    for (size_t i = 0; i < PAGES; i++) /* what a sanitizer keeps for the addresses is there, then */
        touch(mapped, i);
    CHECK(madvise(mapped, PAGES * page, MADV_DONTNEED) == 0);
    rt_read_ahead_map(mapped + 1, PAGES * page - 1);
    long before = faults();
    for (size_t i = 0; i < PAGES; i++)
        touch(mapped, i);
    CHECK(faults() == before);
#endif
    if (drop(mapped, fd)) {
        rt_read_ahead_map(mapped, PAGES * page);
        for (size_t i = 0; i < PAGES; i++)
            CHECK(!is_there(mapped, i));
    }
    unmap_file(mapped, fd);
}

RT_TEST_MAIN()
