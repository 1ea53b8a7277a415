/* Rows appended in order to datasets with checksums, from one rank whose share begins at a unit
 * border: buffered, written in large pieces, each unit hashed when it is complete (E4). */
#ifndef RT_IO_UNIT_WRITER_H
#define RT_IO_UNIT_WRITER_H

#include "core/error.h"
#include "io/hdf5_file.h"

/* Rows of a checksum unit: the largest power of two of rows within 1 MiB, at most cap_rows (a power
 * of two; 0: no cap), at least 1. */
uint64_t rt_unit_rows(uint64_t row_bytes, uint64_t cap_rows);
/* Shares of ranks must begin at multiples of this many rows, a power of two: for each of n columns,
 * of these bytes a row, whole units and whole 4096-byte pages (E4). */
uint64_t rt_share_rows(const uint64_t *row_bytes, uint32_t n, uint64_t cap_rows);

/* Writes several datasets of one layout (columns) whose rows go together. */
struct rt_unit_writer;
#define RT_UNIT_COLUMNS 8
/* Private memory of a writer over n_rows rows of n columns of so many bytes a row: its buffers and
 * their checksums. cap_rows as for rt_unit_rows. */
uint64_t rt_unit_writer_bytes(const uint64_t *row_bytes, uint32_t n, uint64_t cap_rows,
                              uint64_t n_rows, size_t buffer_bytes);
/* For rows [begin, end) of the datasets given. begin: a multiple of rt_share_rows; end too, or the
 * datasets' end. buffer_bytes over all columns; what is below one unit a column is raised to that.
 * `file` is lent for the writer's life. */
enum rt_status rt_unit_writer_new(struct rt_h5_file *file, const uint32_t *datasets,
                                  uint32_t n_datasets, uint64_t begin, uint64_t end,
                                  size_t buffer_bytes, struct rt_unit_writer **out,
                                  struct rt_error *err) RT_MUST_CHECK;
/* columns[i]: n_rows packed rows of datasets[i]. Rows beyond the end fail with RT_USAGE and nothing
 * is written. */
enum rt_status rt_unit_writer_append(struct rt_unit_writer *writer, const void *const *columns,
                                     uint64_t n_rows, struct rt_error *err) RT_MUST_CHECK;
/* n_rows rows, all bytes of column i being fill[i] (0 or 0xff). */
enum rt_status rt_unit_writer_fill(struct rt_unit_writer *writer, const uint8_t *fill,
                                   uint64_t n_rows, struct rt_error *err) RT_MUST_CHECK;
uint32_t rt_unit_writer_columns(const struct rt_unit_writer *writer);
/* Where the next row goes. */
uint64_t rt_unit_writer_row(const struct rt_unit_writer *writer);
/* Writes out all rows and the checksums of complete units, so that rt_h5_sync makes them durable;
 * the checksum of an open unit comes when it is complete. */
enum rt_status rt_unit_writer_flush(struct rt_unit_writer *writer,
                                    struct rt_error *err) RT_MUST_CHECK;
/* A new writer goes on at `row`, where another stood after a flush: the rows of the open units are
 * read back. */
enum rt_status rt_unit_writer_go_on(struct rt_unit_writer *writer, uint64_t row,
                                    struct rt_error *err) RT_MUST_CHECK;
/* Fills up to `end` of rt_unit_writer_new, flushes, writes the checksums. */
enum rt_status rt_unit_writer_end(struct rt_unit_writer *writer, const uint8_t *fill,
                                  struct rt_error *err) RT_MUST_CHECK;
void rt_unit_writer_free(struct rt_unit_writer *writer); /* NULL is fine; writes nothing */

/* A dataset written by one rank in one go, checksums too. rows: all of them. */
enum rt_status rt_unit_write_all(struct rt_h5_file *file, uint32_t dataset, const void *rows,
                                 struct rt_error *err) RT_MUST_CHECK;
/* Checksums of rows that are in the file already (a resumed job): units that begin in [begin, end)
 * are read, hashed and their checksums written. */
enum rt_status rt_unit_rehash(struct rt_h5_file *file, uint32_t dataset, uint64_t begin,
                              uint64_t end, struct rt_error *err) RT_MUST_CHECK;

#endif
