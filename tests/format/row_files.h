/* Files for tests, in an empty folder of their own that is gone at the end. */
#ifndef RT_TESTS_ROW_FILES_H
#define RT_TESTS_ROW_FILES_H

#include "tests/rt_test.h"

#include <ftw.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

static char test_folder[64];

static inline int test_folder_remove(const char *path, const struct stat *s, int kind,
                                     struct FTW *place)
{
    (void)s;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void test_folder_end(void)
{
    (void)nftw(test_folder, test_folder_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* FOLDER/name; eight results live at a time. */
static inline const char *in_folder(const char *name)
{
    static char paths[8][512];
    static unsigned turn;
    if (!test_folder[0]) {
        /* in memory where possible: writers sync what they write, and disks of test machines are
         * busy */
        (void)snprintf(test_folder, sizeof test_folder, "%s/rt-format-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(test_folder))
            exit(99);
        (void)atexit(test_folder_end);
    }
    char *path = paths[turn++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static inline const char *write_file(const char *name, const void *data, size_t n_bytes)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, n_bytes, file) != n_bytes || fclose(file) != 0)
        exit(99);
    return path;
}

static inline size_t read_whole(const char *path, unsigned char *data, size_t most)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    size_t n = fread(data, 1, most, file);
    (void)fclose(file);
    return n;
}

static inline unsigned char *put32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *at++ = (unsigned char)(value >> 8 * i);
    return at;
}

#endif
