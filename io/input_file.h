/* A file of somebody else, open for reading: whole reads at an offset, and the stamp that tells
 * whether it changed. Unlike io/fs.h its failures are the input's (RT_INPUT: not there, shrank),
 * not the index's. */
#ifndef RT_IO_INPUT_FILE_H
#define RT_IO_INPUT_FILE_H

#include "core/error.h"
#include "core/units.h"

#include <stddef.h>
#include <stdint.h>

struct rt_input_file {
    const char *path; /* lent by the caller for as long as the file is open */
    int fd;           /* -1: closed */
    uint64_t size;
    int64_t mtime_ns;
};
#define RT_INPUT_CLOSED                                                                            \
    {                                                                                              \
        NULL, -1, 0, 0                                                                             \
    }

/* Opens a regular file and stamps it. Fails with RT_INPUT (not there, a directory), RT_IO. */
enum rt_status rt_input_open(const char *path, struct rt_input_file *out,
                             struct rt_error *err) RT_MUST_CHECK;
void rt_input_close(struct rt_input_file *file); /* a closed one is fine */
/* Exactly n_bytes at offset. Fails with RT_INPUT where the file ends before ("shrank while it was
 * read"), RT_IO. */
enum rt_status rt_input_read(const struct rt_input_file *file, void *buffer, size_t n_bytes,
                             uint64_t offset, struct rt_error *err) RT_MUST_CHECK;

/* A count with thousands separators, for use inside one full expression: RT_GROUPED(n). */
struct rt_grouped {
    char text[RT_UNITS_TEXT];
};
static inline struct rt_grouped rt_grouped(uint64_t n)
{
    struct rt_grouped grouped;
    (void)rt_units_count(n, grouped.text);
    return grouped;
}
#define RT_GROUPED(n) (rt_grouped(n).text)

/* Little-endian fields at any alignment. */
static inline uint32_t rt_le32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t rt_le64(const unsigned char *p)
{
    return rt_le32(p) | (uint64_t)rt_le32(p + 4) << 32;
}

#endif
