#include "io/unit_writer.h"

#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

static uint64_t power_of_two_below(uint64_t n) /* n >= 1 */
{
    return UINT64_C(1) << (63 - __builtin_clzll(n));
}

uint64_t rt_unit_rows(uint64_t row_bytes, uint64_t cap_rows)
{
    uint64_t rows = row_bytes < RT_UNIT_BYTES ? power_of_two_below(RT_UNIT_BYTES / row_bytes) : 1;
    return cap_rows > 0 && rows > cap_rows ? cap_rows : rows;
}

/* Rows that fill whole pages: 4096 / gcd(row bytes, 4096), a power of two. */
static uint64_t page_rows(uint64_t row_bytes)
{
    uint64_t power = row_bytes & (~row_bytes + 1);
    return power >= RT_PAGE_BYTES ? 1 : RT_PAGE_BYTES / power;
}

uint64_t rt_share_rows(const uint64_t *row_bytes, uint32_t n, uint64_t cap_rows)
{
    uint64_t share = 1;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t unit = rt_unit_rows(row_bytes[i], cap_rows);
        uint64_t pages = page_rows(row_bytes[i]);
        uint64_t own = unit > pages ? unit : pages; /* E4: both are powers of two */
        share = own > share ? own : share;
    }
    return share;
}

/* Rows of a column lie in its buffer until that is full; the buffer holds whole units and begins at
 * a unit border. */
struct column {
    uint32_t dataset;
    uint64_t row_bytes, unit_rows;
    uint64_t capacity; /* rows of the buffer, whole units */
    uint64_t begin;    /* row of the buffer's first byte, a unit border */
    uint64_t written;  /* rows of the buffer that are in the file already */
    unsigned char *buffer;
    uint64_t *sums;       /* of the units begun since writer->begin */
    uint64_t sums_before; /* of them, those that are in the file, or were before this writer */
};

struct rt_unit_writer {
    struct rt_h5_file *file;
    uint64_t begin, end, row;
    uint32_t n_columns;
    struct column columns[RT_UNIT_COLUMNS];
};

static uint64_t units_of(uint64_t n_rows, uint64_t unit_rows)
{
    return n_rows / unit_rows + (n_rows % unit_rows != 0);
}

/* Bytes of a row over all columns decide how the buffer is shared, so that columns fill up
 * together. */
static uint64_t capacity_rows(uint64_t all_bytes, uint64_t unit_rows, uint64_t n_rows,
                              size_t buffer_bytes)
{
    uint64_t rows = buffer_bytes / all_bytes / unit_rows * unit_rows;
    uint64_t most = units_of(n_rows, unit_rows) * unit_rows;
    rows = rows > most ? most : rows;
    return rows < unit_rows ? unit_rows : rows;
}

uint64_t rt_unit_writer_bytes(const uint64_t *row_bytes, uint32_t n, uint64_t cap_rows,
                              uint64_t n_rows, size_t buffer_bytes)
{
    uint64_t bytes = sizeof(struct rt_unit_writer);
    uint64_t all_bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        all_bytes += row_bytes[i];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t unit = rt_unit_rows(row_bytes[i], cap_rows);
        bytes += capacity_rows(all_bytes, unit, n_rows, buffer_bytes) * row_bytes[i];
        bytes += 8 * units_of(n_rows, unit);
    }
    return bytes;
}

enum rt_status rt_unit_writer_new(struct rt_h5_file *file, const uint32_t *datasets,
                                  uint32_t n_datasets, uint64_t begin, uint64_t end,
                                  size_t buffer_bytes, struct rt_unit_writer **out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_unit_writer *writer = NULL;
    const struct rt_h5_layout *layout = rt_h5_file_layout(file);
    uint64_t all_bytes = 0;
    for (uint32_t i = 0; i < n_datasets; i++)
        all_bytes += rt_h5_row_bytes(&layout->datasets[datasets[i]]);
    RT_TRY(rt_array_zero(1, sizeof *writer, &writer, err));
    *writer = (struct rt_unit_writer){.file = file, .begin = begin, .end = end, .row = begin};
    if (n_datasets > RT_UNIT_COLUMNS)
        rt_die("a writer of %u columns", n_datasets);
    for (uint32_t i = 0; i < n_datasets; i++) {
        const struct rt_h5_dataset *dataset = &layout->datasets[datasets[i]];
        struct column *column = &writer->columns[writer->n_columns++];
        uint64_t unit = dataset->unit_rows;
        if (begin > end || end > dataset->dims[0] || unit == 0 || begin % unit != 0 ||
            (end % unit != 0 && end != dataset->dims[0]))
            rt_die("a writer of '%s' rows %llu to %llu, units of %llu", dataset->name,
                   (unsigned long long)begin, (unsigned long long)end, (unsigned long long)unit);
        *column = (struct column){
            .dataset = datasets[i], .row_bytes = rt_h5_row_bytes(dataset), .unit_rows = unit};
        column->capacity = capacity_rows(all_bytes, unit, end - begin, buffer_bytes);
        column->begin = begin;
        RT_TRY(rt_array_new((size_t)column->capacity, (size_t)column->row_bytes, &column->buffer,
                            err));
        RT_TRY(rt_array_new((size_t)units_of(end - begin, unit), sizeof *column->sums,
                            &column->sums, err));
    }
    *out = writer;
    writer = NULL;
done:
    rt_unit_writer_free(writer);
    return st;
}

void rt_unit_writer_free(struct rt_unit_writer *writer)
{
    if (!writer)
        return;
    for (uint32_t i = 0; i < writer->n_columns; i++) {
        rt_array_free(writer->columns[i].buffer);
        rt_array_free(writer->columns[i].sums);
    }
    rt_array_free(writer);
}

#define DIRECT_BYTES (UINT64_C(1) << 20)  /* from here on copying costs more than another call */
#define LARGE_BYTES (UINT64_C(256) << 10) /* from here on it is worth telling the disk */

/* Rows that lie together go into the file; what is large is on its way to the disk from now on,
 * while the next rows are computed. */
static enum rt_status write_rows(struct rt_unit_writer *writer, const struct column *column,
                                 uint64_t first, uint64_t n, const void *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_h5_write(writer->file, column->dataset, first, n, rows, err));
    if (n * column->row_bytes >= LARGE_BYTES)
        RT_TRY(rt_h5_begin_sync(writer->file, column->dataset, first, n, err));
done:
    return st;
}

/* The rows up to `row` go into the file; what has become a whole unit (at the datasets' end: the
 * short one too) is hashed and leaves the buffer, an open unit stays. */
static enum rt_status write_out(struct rt_unit_writer *writer, struct column *column, uint64_t row,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t held = row - column->begin;
    uint64_t whole = row == writer->end ? held : held / column->unit_rows * column->unit_rows;
    if (held > column->written)
        RT_TRY(write_rows(writer, column, column->begin + column->written, held - column->written,
                          column->buffer + column->written * column->row_bytes, err));
    column->written = held;
    for (uint64_t first = 0; first < whole; first += column->unit_rows) {
        uint64_t n = whole - first < column->unit_rows ? whole - first : column->unit_rows;
        column->sums[(column->begin + first - writer->begin) / column->unit_rows] =
            rt_hash64(column->buffer + first * column->row_bytes, (size_t)(n * column->row_bytes));
    }
    if (whole > 0) {
        memmove(column->buffer, column->buffer + whole * column->row_bytes,
                (size_t)((held - whole) * column->row_bytes));
        column->begin += whole;
        column->written = held - whole;
    }
done:
    return st;
}

/* Whole units straight from the caller's rows, past the empty buffer. */
static enum rt_status write_through(struct rt_unit_writer *writer, struct column *column,
                                    const unsigned char *rows, uint64_t n_rows,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t unit = (column->begin - writer->begin) / column->unit_rows;
    for (uint64_t first = 0; first < n_rows; first += column->unit_rows, unit++)
        column->sums[unit] = rt_hash64(rows + first * column->row_bytes,
                                       (size_t)(column->unit_rows * column->row_bytes));
    RT_TRY(write_rows(writer, column, column->begin, n_rows, rows, err));
    column->begin += n_rows;
done:
    return st;
}

/* rows NULL: the byte `fill`, over and over. */
static enum rt_status append_column(struct rt_unit_writer *writer, struct column *column,
                                    const unsigned char *rows, uint8_t fill, uint64_t n_rows,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t row = writer->row;
    while (n_rows > 0) {
        uint64_t held = row - column->begin;
        uint64_t units = n_rows / column->unit_rows * column->unit_rows;
        if (rows && held == 0 && units * column->row_bytes >= DIRECT_BYTES) {
            RT_TRY(write_through(writer, column, rows, units, err));
            rows += units * column->row_bytes;
            row += units;
            n_rows -= units;
            continue;
        }
        uint64_t n = column->capacity - held < n_rows ? column->capacity - held : n_rows;
        unsigned char *to = column->buffer + held * column->row_bytes;
        size_t bytes = (size_t)(n * column->row_bytes);
        if (rows) {
            memcpy(to, rows, bytes);
            rows += bytes;
        } else {
            memset(to, fill, bytes);
        }
        row += n;
        n_rows -= n;
        if (held + n == column->capacity)
            RT_TRY(write_out(writer, column, row, err));
    }
done:
    return st;
}

static enum rt_status append(struct rt_unit_writer *writer, const void *const *columns,
                             const uint8_t *fill, uint64_t n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n_rows > writer->end - writer->row)
        RT_FAIL(RT_USAGE, "'%s': %llu rows more, but room for %llu", rt_h5_file_path(writer->file),
                (unsigned long long)n_rows, (unsigned long long)(writer->end - writer->row));
    for (uint32_t i = 0; i < writer->n_columns; i++)
        RT_TRY(append_column(writer, &writer->columns[i], columns ? columns[i] : NULL,
                             fill ? fill[i] : 0, n_rows, err));
    writer->row += n_rows;
done:
    return st;
}

enum rt_status rt_unit_writer_append(struct rt_unit_writer *writer, const void *const *columns,
                                     uint64_t n_rows, struct rt_error *err)
{
    return append(writer, columns, NULL, n_rows, err);
}

enum rt_status rt_unit_writer_fill(struct rt_unit_writer *writer, const uint8_t *fill,
                                   uint64_t n_rows, struct rt_error *err)
{
    return append(writer, NULL, fill, n_rows, err);
}

uint32_t rt_unit_writer_columns(const struct rt_unit_writer *writer)
{
    return writer->n_columns;
}

uint64_t rt_unit_writer_row(const struct rt_unit_writer *writer)
{
    return writer->row;
}

/* Checksums of the units that are complete. */
static enum rt_status write_sums(struct rt_unit_writer *writer, struct column *column,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = units_of(column->begin - writer->begin, column->unit_rows);
    if (n > column->sums_before)
        RT_TRY(rt_h5_write_sums(writer->file, column->dataset,
                                writer->begin / column->unit_rows + column->sums_before,
                                n - column->sums_before, column->sums + column->sums_before, err));
    column->sums_before = n;
done:
    return st;
}

enum rt_status rt_unit_writer_flush(struct rt_unit_writer *writer, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t i = 0; i < writer->n_columns; i++) {
        RT_TRY(write_out(writer, &writer->columns[i], writer->row, err));
        RT_TRY(write_sums(writer, &writer->columns[i], err));
    }
done:
    return st;
}

enum rt_status rt_unit_writer_go_on(struct rt_unit_writer *writer, uint64_t row,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (row < writer->begin || row > writer->end || writer->row != writer->begin)
        rt_die("a writer of '%s' that goes on at row %llu", rt_h5_file_path(writer->file),
               (unsigned long long)row);
    for (uint32_t i = 0; i < writer->n_columns; i++) {
        struct column *column = &writer->columns[i];
        column->begin = row / column->unit_rows * column->unit_rows;
        column->written = row - column->begin;
        column->sums_before = (column->begin - writer->begin) / column->unit_rows;
        RT_TRY(rt_h5_read(writer->file, column->dataset, column->begin, column->written,
                          column->buffer, err));
    }
    writer->row = row;
done:
    return st;
}

enum rt_status rt_unit_writer_end(struct rt_unit_writer *writer, const uint8_t *fill,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_unit_writer_fill(writer, fill, writer->end - writer->row, err));
    RT_TRY(rt_unit_writer_flush(writer, err));
done:
    return st;
}

enum rt_status rt_unit_write_all(struct rt_h5_file *file, uint32_t dataset, const void *rows,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *sums = NULL;
    const struct rt_h5_dataset *shape = &rt_h5_file_layout(file)->datasets[dataset];
    uint64_t n_rows = shape->dims[0];
    uint64_t row_bytes = rt_h5_row_bytes(shape);
    uint64_t n_units = rt_h5_n_units(shape);
    RT_TRY(rt_array_new((size_t)n_units, sizeof *sums, &sums, err));
    for (uint64_t unit = 0; unit < n_units; unit++) {
        uint64_t first = unit * shape->unit_rows;
        uint64_t n = n_rows - first < shape->unit_rows ? n_rows - first : shape->unit_rows;
        sums[unit] = rt_hash64((const char *)rows + first * row_bytes, (size_t)(n * row_bytes));
    }
    RT_TRY(rt_h5_write(file, dataset, 0, n_rows, rows, err));
    if (n_units > 0)
        RT_TRY(rt_h5_write_sums(file, dataset, 0, n_units, sums, err));
done:
    rt_array_free(sums);
    return st;
}

enum rt_status rt_unit_rehash(struct rt_h5_file *file, uint32_t dataset, uint64_t begin,
                              uint64_t end, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_h5_dataset *shape = &rt_h5_file_layout(file)->datasets[dataset];
    uint64_t unit_rows = shape->unit_rows;
    uint64_t row_bytes = rt_h5_row_bytes(shape);
    unsigned char *rows = NULL;
    RT_TRY(rt_array_new((size_t)unit_rows, (size_t)row_bytes, &rows, err));
    for (uint64_t unit = units_of(begin, unit_rows);
         unit < rt_h5_n_units(shape) && unit * unit_rows < end; unit++) {
        uint64_t left = shape->dims[0] - unit * unit_rows;
        uint64_t n = left < unit_rows ? left : unit_rows;
        RT_TRY(rt_h5_read(file, dataset, unit * unit_rows, n, rows, err));
        uint64_t sum = rt_hash64(rows, (size_t)(n * row_bytes));
        RT_TRY(rt_h5_write_sums(file, dataset, unit, 1, &sum, err));
    }
done:
    rt_array_free(rows);
    return st;
}
