/* Sample rows of all ranks on one line, cell after cell (or leaf after leaf), in row order inside a
 * cell (D7): ranks hold consecutive parts of it, so a cell's rows lie on few ranks that follow one
 * another. */
#ifndef RT_KMEANS_LINE_H
#define RT_KMEANS_LINE_H

#include "kmeans/sample.h"
#include "mpi/partition.h"

struct rt_line {
    uint32_t n_cells;
    uint64_t *totals;  /* n_cells: rows of each cell */
    uint64_t *begins;  /* n_cells + 1: where each begins */
    uint64_t *before;  /* n_cells: rows of each cell on the ranks before this one; used up by
                          rt_line_move */
    uint64_t *borders; /* n_ranks + 1: where each rank's part begins */
};

/* Fails with RT_NOMEM; rt_line_free takes what came of it. */
enum rt_status rt_line_new(uint32_t n_cells, int n_ranks, struct rt_line *out,
                           struct rt_error *err) RT_MUST_CHECK;
void rt_line_free(struct rt_line *line);
/* Sets all but the borders from the cell of each of n local rows. Collective over comm. */
void rt_line_count(MPI_Comm comm, const uint32_t *cell, size_t n, struct rt_line *line);
/* Borders that give every rank an equal part. */
void rt_line_share(struct rt_line *line, int n_ranks);

/* Of a line by begins and borders: the rows of a cell in a rank's part (none: begin == end), */
struct rt_range rt_line_part(const uint64_t *begins, const uint64_t *borders, uint32_t cell,
                             int rank);
/* and the rank whose part holds a row of the line. */
int rt_line_rank(const uint64_t *borders, int n_ranks, uint64_t row);

/* Rows [begin, begin + n) of a sample on each rank of comm. */
struct rt_line_rows {
    MPI_Comm comm;
    struct rt_sample *sample;
    size_t begin, n;
    /* They are all rows there are, and what arrives takes their place with room for `spare` more;
     * else each rank gets as many as it gives. */
    bool is_whole;
    size_t spare;
};
/* Rows go to their places on the line. cell: of each of the n rows. Collective over rows->comm.
 * Fails with RT_NOMEM; RT_USAGE (2^32 rows or more on a rank). */
enum rt_status rt_line_move(const struct rt_line_rows *rows, struct rt_line *line,
                            const uint32_t *cell, struct rt_error *err) RT_MUST_CHECK;

#endif
