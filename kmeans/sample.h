/* The training rows: which rows of the heap are drawn, reading them, judging them, and handing them
 * out as rotated f32. A row is kept either rotated, or in its own element type and then converted
 * and rotated whenever it is used; the two give the same bits. Which rows are drawn, and their
 * numbers, depend on heap, options and seed alone (D1, D2, C2). */
#ifndef RT_KMEANS_SAMPLE_H
#define RT_KMEANS_SAMPLE_H

#include "core/element.h"
#include "core/error.h"
#include "core/metric.h"
#include "core/random.h"
#include "core/rotation.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_sample_options {
    uint64_t n_rows;   /* of the heap */
    uint64_t n_wanted; /* S; whole blocks of rows are drawn until they hold at least this many */
    uint32_t dim;
    enum rt_element type;
    enum rt_metric metric;
    uint64_t seed;
    const struct rt_rotation
        *rotation;       /* NULL: rows are used as they are. Lent for the sample's life */
    bool native;         /* keep rows in their element type; else as rotated f32 */
    bool skip_bad_rows;  /* count bad rows; else the first of all ranks ends the job (A6) */
    uint64_t begin, end; /* this rank's partition of the heap */
    void *ctx;
    /* Rows [begin, begin + n_rows) in their element type, densely packed. Local. */
    enum rt_status (*read)(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                           struct rt_error *err);
    /* File and row for messages; NULL: "row 17". */
    void (*name_row)(void *ctx, uint64_t row, char *text, size_t text_size);
    /* After each piece read, on every rank, local; may be NULL. */
    void (*progress)(void *ctx, uint64_t rows_done, uint64_t rows_all);
    /* Every rank has read its rows or failed; collective. A place to wait in for the others, as the
     * next call is collective. May be NULL. */
    void (*have_read)(void *ctx, bool has_failed);
};

/* This rank's part of the sample. Open to kmeans/ only in the sense that its fields may be read;
 * the functions below change it. */
struct rt_sample {
    uint32_t dim; /* floats of a row as handed out: the first dim of row_dim (rt_sample_narrow) */
    uint32_t row_dim; /* elements of a row as kept */
    enum rt_metric metric;
    enum rt_element type;               /* as kept */
    const struct rt_rotation *rotation; /* applied when a row is used; NULL: kept rotated */
    bool prepare; /* cosine in its own type: scaled to unit length when used */
    bool owns_rows;
    size_t row_bytes;
    size_t n_local;
    uint64_t n_total;     /* S of C1 */
    uint64_t first;       /* number of local row 0, while the rows are in row order */
    uint64_t *number;     /* n_local numbers (D2), or NULL: first + i */
    unsigned char *rows;  /* n_local x row_bytes */
    int exponent;         /* C1: every |x_i| <= 2^exponent, over all ranks */
    uint64_t n_bad_total; /* left out: bad (A6) */
    uint64_t n_far_total; /* left out: did not vote (C2) */
};

/* Rows of a block (D1), and how many blocks make up a sample of n_wanted rows. */
static inline uint64_t rt_sample_block_rows(uint32_t dim)
{
    return dim < 4096 ? 4096 / dim : 1;
}
/* Bytes a rank holds for n_local sample rows, and while it reads them. */
uint64_t rt_sample_bytes(uint64_t n_local, uint32_t dim, enum rt_element type, bool native);
uint64_t rt_sample_read_bytes(uint64_t n_local, uint32_t dim, enum rt_element type, bool native);

/* Draws, reads and judges the sample. Collective over comm; options agree but for begin, end, ctx
 * and native. The caller frees *out with rt_sample_free. Fails with RT_INPUT (a bad row, named),
 * RT_USAGE (more than 2^32-1 rows on a rank), RT_NOMEM and what read gives. A heap without good
 * rows gives a sample of 0 rows. */
enum rt_status rt_sample_read(MPI_Comm comm, const struct rt_sample_options *options,
                              struct rt_sample **out, struct rt_error *err) RT_MUST_CHECK;
/* A sample over n_local rows of dim floats in memory, lent, numbered from first; exponent is
 * measured. For upper levels, and tests. Collective over comm. */
enum rt_status rt_sample_over(MPI_Comm comm, enum rt_metric metric, uint32_t dim, const float *rows,
                              size_t n_local, struct rt_sample **out,
                              struct rt_error *err) RT_MUST_CHECK;
void rt_sample_free(struct rt_sample *sample);

/* From now on only the first dim of a row's rotated values are handed out (--kmeans-dimension); dim
 * == row_dim takes it back. */
void rt_sample_narrow(struct rt_sample *sample, uint32_t dim);

/* Local rows [begin, begin + n), rotated, n x dim floats: either in place or in buffer
 * (rt_sample_buffer_floats). */
const float *rt_sample_get(const struct rt_sample *sample, size_t begin, size_t n, float *buffer);
/* The rows of these local indexes, copied into buffer. */
void rt_sample_gather(const struct rt_sample *sample, const uint32_t *index, size_t n,
                      float *buffer);
/* Floats a buffer for n rows needs (rows are rotated whole before they are narrowed). */
static inline size_t rt_sample_buffer_floats(const struct rt_sample *sample, size_t n)
{
    return n * sample->row_dim;
}
/* Local indexes, ascending, of those of this rank's rows that are among n rows drawn from all
 * ranks' (all rows where there are fewer); the caller frees *index. Pure: by seed, purpose and
 * numbers. */
enum rt_status rt_sample_draw(const struct rt_sample *sample, uint64_t seed,
                              enum rt_purpose purpose, uint32_t n, uint32_t **index,
                              size_t *n_index, struct rt_error *err) RT_MUST_CHECK;
static inline uint64_t rt_sample_number(const struct rt_sample *sample, size_t i)
{
    return sample->number ? sample->number[i] : sample->first + i;
}

#endif
