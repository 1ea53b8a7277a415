/* What the fuzz targets share. A target gives LLVMFuzzerTestOneInput, which libFuzzer calls with
 * bytes of its own making, or replay.c with those that are kept. It may refuse them, in one line;
 * what it must not do, libFuzzer and the sanitizers see: crash, hang, ask for much memory. Readers
 * want files: they lie in the folder RT_FUZZ_FOLDER, where targets work. */
#ifndef RT_TESTS_FUZZ_H
#define RT_TESTS_FUZZ_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Something is not so that must be: libFuzzer keeps the input. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Did it succeed? A failure must be told in one line, and small bytes are no reason to run out of
 * memory. */
static inline bool fuzz_ok(enum rt_status st, const struct rt_error *err)
{
    if (st == RT_OK)
        return true;
    FUZZ_CHECK(st == err->status && st != RT_NOMEM);
    FUZZ_CHECK(memchr(err->text, 0, sizeof err->text) && err->text[0]);
    for (const char *c = err->text; *c; c++)
        if ((unsigned char)*c < ' ') {
            (void)fprintf(stderr, "more than a line: %s\n", err->text);
            abort();
        }
    return false;
}

/* The next n bytes of the input as a number, little-endian; 0 behind the end. */
static inline uint64_t fuzz_take(const uint8_t **data, size_t *size, unsigned n)
{
    uint64_t value = 0;
    for (unsigned i = 0; i<n && * size> 0; i++, ++*data, --*size)
        value |= (uint64_t) * *data << 8 * i;
    return value;
}

static inline void fuzz_write(const char *path, const void *data, size_t n_bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, n_bytes, file) != n_bytes || fclose(file) != 0) {
        perror(path);
        exit(99);
    }
}

#endif
