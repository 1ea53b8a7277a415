/* The header of a .npy file (versions 1 to 3), checked against the size of the file. */
#ifndef RT_IO_NPY_H
#define RT_IO_NPY_H

#include "io/input_file.h"

#include <stdbool.h>

struct rt_npy {
    char kind;           /* 'f' 'u' 'i' */
    uint32_t item_bytes; /* 1 2 4 8 */
    uint32_t n_axes;     /* 1 or 2 */
    uint64_t shape[2];   /* one axis: shape[1] is 1 */
    uint64_t data_offset;
};

/* Reads and judges the header. What comes out is little-endian, row-major (or one axis is at most
 * 1), of 1 or 2 axes, its size exactly the file's. Fails with RT_INPUT saying what is wrong and
 * what to do, RT_IO. */
enum rt_status rt_npy_read_header(const struct rt_input_file *file, struct rt_npy *out,
                                  struct rt_error *err) RT_MUST_CHECK;

#endif
