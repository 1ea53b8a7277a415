/* Checksums of some blocks of rows, spread over a heap: whether its rows are what they were, and
 * about where not, without reading all of them again. */
#ifndef RT_IO_ROW_SAMPLE_H
#define RT_IO_ROW_SAMPLE_H

#include "core/checksum.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define RT_SAMPLED_BLOCKS 64u
#define RT_SAMPLED_BYTES ((size_t)64 << 10) /* of a block; a row at least */

struct rt_sampled_block {
    uint64_t begin, end; /* rows of the heap */
    struct rt_hash128 hash;
};

struct rt_row_sample {
    size_t n_blocks; /* 0: none was taken */
    struct rt_sampled_block blocks[RT_SAMPLED_BLOCKS];
};

/* The first and the last block of a sample that differ, as rows [begin, end). */
struct rt_row_change {
    uint64_t begin, end;
    bool is_found;
};

/* Lays out the blocks over rows [first_row, n_rows), each the end of a share of its own, so that
 * the last row is among them; hashes are left open. */
void rt_row_sample_lay(struct rt_row_sample *sample, uint64_t first_row, uint64_t n_rows,
                       size_t row_bytes);
/* Whether the blocks of a sample that came as bytes can be read from n_rows rows. */
bool rt_row_sample_is_sound(const struct rt_row_sample *sample, uint64_t n_rows, size_t row_bytes);
/* Widens the change by a block. */
void rt_row_change_add(struct rt_row_change *change, const struct rt_sampled_block *block);
/* The blocks of two samples, one by one, up to where one of them ends. */
struct rt_row_change rt_row_sample_compare(const struct rt_row_sample *a,
                                           const struct rt_row_sample *b);

/* A sample as text: [[begin, end, hash], ...]. The caller owns the result; NULL: out of memory. */
json_t *rt_row_sample_print(const struct rt_row_sample *sample);
/* false: no sample, and *out has no blocks. */
bool rt_row_sample_parse(const json_t *text, struct rt_row_sample *out);

#endif
