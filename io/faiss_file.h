/* FAISS's index files: where everything lies in one, from the shape alone, so that any rank writes
 * its part at its offset; and a walk through a finished file that trusts nothing but FAISS's own
 * order of fields. Table in docs/exports.md. No MPI; little-endian throughout. */
#ifndef RT_IO_FAISS_FILE_H
#define RT_IO_FAISS_FILE_H

#include "core/error.h"
#include "core/metric.h"
#include "core/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_faiss_shape {
    enum rt_faiss_kind kind;
    enum rt_metric metric;
    uint32_t dim;
    uint32_t n_lists;
    uint64_t n_rows;
    uint64_t n_probes;       /* what a reader searches by default */
    const uint64_t *offsets; /* n_lists + 1: the rows of list l are [offsets[l], offsets[l + 1]) */
    bool refine;             /* with f32 rows behind, which a search measures again */
};

/* Of 32 rows of an Iwrn file: codes packed, then two factors a row. */
#define RT_FAISS_BLOCK_ROWS 32u

/* A row lies at its number: rows of list l are offsets[l] ..; in the lists, behind them and in the
 * map of ids alike. */
#define RT_FAISS_SMALL_BYTES 1024
#define RT_FAISS_PIECES 12
struct rt_faiss_layout {
    uint32_t code_bytes;   /* of a row; Iwrn: of a block */
    bool is_blocked;       /* Iwrn */
    uint64_t matrix_at;    /* f32 dim x dim, the rotation by rows; 0: none */
    uint64_t centroids_at; /* f32 n_lists x dim; rotated where there is a matrix */
    uint64_t sizes_at;     /* u64: of every list, or list and rows of those that have any */
    bool sizes_are_sparse;
    uint64_t lists_at;
    uint64_t refine_at; /* f32 n_rows x dim; 0: none */
    uint64_t ids_at;    /* i64 n_rows; 0: ids are in the lists, else positions */
    uint64_t n_bytes;   /* of the file */
    /* everything small between them */
    uint32_t n_pieces;
    struct rt_faiss_piece {
        uint64_t at;
        uint32_t first, n; /* of small */
    } pieces[RT_FAISS_PIECES];
    uint32_t n_small;
    uint8_t small[RT_FAISS_SMALL_BYTES];
};
/* Fails with RT_USAGE where such a file cannot be (its size overflows). */
enum rt_status rt_faiss_layout_make(const struct rt_faiss_shape *shape,
                                    struct rt_faiss_layout *layout,
                                    struct rt_error *err) RT_MUST_CHECK;

struct rt_faiss_list { /* where a list lies */
    uint64_t n_rows;
    uint64_t ids_at, codes_at;
    uint64_t counts_at[2]; /* Iwrn: u64 before ids and before codes; else 0 */
    uint64_t n_code_bytes;
};
/* Every list in turn: *at begins with layout->lists_at. */
void rt_faiss_list_next(const struct rt_faiss_layout *layout, uint64_t n_rows, uint64_t *at,
                        struct rt_faiss_list *out);

/* Walks through the file at path as FAISS reads it, to its last byte, and finds the layout again:
 * *found and its list sizes (n_lists of *shape, which the caller frees with rt_array_free as
 * *list_rows) come from the file alone; of *shape everything is filled in but offsets. Fails with
 * RT_IO: it is no such file, counts contradict each other, or it ends elsewhere. */
enum rt_status rt_faiss_walk(const char *path, struct rt_faiss_shape *shape,
                             struct rt_faiss_layout *found, uint64_t **list_rows,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
