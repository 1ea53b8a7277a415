#include "io/rows.h"

#include "core/find.h"
#include "core/memory.h"
#include "io/hdf5_matrix.h"
#include "io/heap.h"
#include "io/row_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_OPEN 64
#define SCRATCH_BYTES ((size_t)1 << 20) /* more than any row of a file: 4 + 65,535 x 8 */
#define MOST_AHEAD ((uint64_t)32 << 20)
#define AHEAD_BYTES                                                                                \
    ((uint64_t)256 << 10) /* of a call: the kernel cuts larger ones to its own limit */

struct open_file {
    size_t number; /* of the file in the heap */
    uint64_t used; /* clock of the last use; 0: slot is free */
    struct rt_input_file input;
    struct rt_hdf5_matrix *matrix; /* NULL where rows are read by offset */
};

struct rt_rows {
    struct rt_rows_info info;
    struct rt_heap_file *files;
    struct rt_row_layout *layouts; /* one for each file */
    struct open_file open[MOST_OPEN];
    struct rt_row_sample sample;
    bool is_rereading; /* the sample, of files that may have changed */
    uint64_t clock;
    uint64_t next_row; /* after the last read: a read that begins here is sequential */
    unsigned char *scratch;
};

/* ---- opening ---- */

static enum rt_status rows_new(size_t n_files, struct rt_rows **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *rows = calloc(1, sizeof *rows);
    if (!rows)
        RT_FAIL(RT_NOMEM, "out of memory: a reader of rows");
    for (size_t i = 0; i < MOST_OPEN; i++)
        rows->open[i].input.fd = -1;
    RT_TRY(rt_array_zero(n_files, sizeof *rows->files, &rows->files, err));
    RT_TRY(rt_array_zero(n_files, sizeof *rows->layouts, &rows->layouts, err));
    rows->info.n_files = n_files;
    rows->info.files = rows->files;
    rows->info.sample = &rows->sample;
    *out = rows;
    rows = NULL;
done:
    rt_rows_close(rows);
    return st;
}

static void close_files(struct rt_rows *rows)
{
    for (size_t i = 0; i < MOST_OPEN; i++) {
        rt_hdf5_matrix_close(rows->open[i].matrix);
        rt_input_close(&rows->open[i].input);
        rows->open[i] = (struct open_file){.input = RT_INPUT_CLOSED};
    }
}

void rt_rows_close(struct rt_rows *rows)
{
    if (!rows)
        return;
    close_files(rows);
    for (size_t i = 0; rows->files && i < rows->info.n_files; i++) {
        free(rows->files[i].path);
        free(rows->files[i].dataset);
    }
    rt_array_free(rows->files);
    rt_array_free(rows->layouts);
    rt_array_free(rows->scratch);
    free(rows);
}

const struct rt_rows_info *rt_rows_info(const struct rt_rows *rows)
{
    return &rows->info;
}

static enum rt_status read_header(const struct rt_input_file *file, const char *dataset,
                                  int asked_type, bool is_growing, bool is_many,
                                  struct rt_row_layout *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_row_suffix *suffix = dataset ? NULL : rt_row_suffix_find(file->path);
    enum rt_row_format format = dataset ? RT_ROW_HDF5 : suffix ? suffix->format : RT_ROW_BIN;
    struct rt_row_request request = {.type = asked_type, .dataset = dataset};
    /* in a directory or list new files are what grows; only vecs files may themselves */
    request.may_grow = is_growing && (format == RT_ROW_VECS || (format == RT_ROW_HDF5 && !is_many));
    if (is_growing && !is_many && !request.may_grow)
        RT_FAIL(RT_USAGE,
                "'%s' cannot grow: --concurrent is for vecs files, HDF5 written with SWMR, "
                "directories and lists",
                file->path);
    if (suffix && suffix->type >= 0) {
        RT_TRY(rt_row_check_type(file->path, (enum rt_element)suffix->type, asked_type, err));
        request.type = suffix->type;
    }
    static enum rt_status (*const headers[])(const struct rt_input_file *,
                                             const struct rt_row_request *, struct rt_row_layout *,
                                             struct rt_error *) = {
        rt_rows_bin_header, rt_rows_vecs_header, rt_rows_npy_header, rt_rows_hdf5_header};
    RT_TRY(headers[format](file, &request, out, err));
done:
    return st;
}

/* All files of a heap are of one type and dimension; dimension 0 (empty vecs) goes with any. */
static enum rt_status check_same(const struct rt_rows *rows, size_t number, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t model = 0;
    while (model < number && rows->layouts[model].dim == 0)
        model++;
    const struct rt_row_layout *a = &rows->layouts[model], *b = &rows->layouts[number];
    if (a->type != b->type || (a->dim != b->dim && b->dim != 0))
        RT_FAIL(RT_INPUT,
                "'%s' has rows of %u %s, '%s' of %u %s; a heap is of one dimension and type",
                rows->files[model].path, a->dim, rt_element_name((enum rt_element)a->type),
                rows->files[number].path, b->dim, rt_element_name((enum rt_element)b->type));
done:
    return st;
}

/* Numbers the rows and fills in info from files and layouts. */
static enum rt_status sum_up(struct rt_rows *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows_info *info = &rows->info;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < info->n_files; i++) {
        const struct rt_row_layout *layout = &rows->layouts[i];
        RT_TRY(check_same(rows, i, err));
        rows->files[i].first_row = info->n_rows;
        info->type = (enum rt_element)layout->type;
        info->dim = layout->dim ? layout->dim : info->dim;
        info->is_converted = info->is_converted || layout->is_converted;
        info->needs_hdf5 = info->needs_hdf5 || !layout->is_plain;
        if (!rt_add_u64(info->n_rows, layout->n_rows, &info->n_rows) ||
            !rt_add_u64(info->n_bytes, rows->files[i].size_bytes, &info->n_bytes))
            RT_FAIL(RT_INPUT, "with '%s' the heap has more than 2^64 rows", rows->files[i].path);
    }
    if (!rt_mul_u64(info->n_rows, (uint64_t)info->dim * rt_element_size(info->type), &n_bytes))
        RT_FAIL(RT_INPUT, "the heap's %s rows of dimension %u are more than 2^64 bytes",
                RT_GROUPED(info->n_rows), info->dim);
done:
    return st;
}

static enum rt_status look_at(struct rt_rows *rows, size_t number, int asked_type, bool is_growing,
                              bool is_many, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_heap_file *file = &rows->files[number];
    struct rt_row_layout *layout = &rows->layouts[number];
    struct rt_input_file input = RT_INPUT_CLOSED;
    RT_TRY(rt_input_open(file->path, &input, err));
    RT_TRY(read_header(&input, file->dataset, asked_type, is_growing, is_many, layout, err));
    file->n_rows = layout->n_rows;
    file->size_bytes = input.size;
    file->mtime_ns = input.mtime_ns;
    file->header_bytes = layout->data_offset;
    file->may_grow = layout->may_grow;
done:
    rt_input_close(&input);
    return st;
}

/* What differs from the snapshot otherwise stays as it is, for the caller to see. */
static void cut(struct rt_rows *rows, const uint64_t *snapshot, size_t n_files)
{
    while (rows->info.n_files > n_files) {
        struct rt_heap_file *file = &rows->files[--rows->info.n_files];
        free(file->path);
        free(file->dataset);
    }
    size_t last = n_files - 1;
    if (rows->info.n_files == n_files && rows->layouts[last].may_grow &&
        rows->layouts[last].n_rows > snapshot[last])
        rows->files[last].n_rows = rows->layouts[last].n_rows = snapshot[last];
}

enum rt_status rt_rows_open(const char *name, const struct rt_rows_options *options,
                            struct rt_rows **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_heap_names names = {0, NULL, false};
    struct rt_rows *rows = NULL;
    enum rt_element type = RT_F32;
    if (options->type && rt_element_parse(options->type, &type) != 0)
        RT_FAIL(RT_USAGE, "--type '%s' is none of f32, f16, u8, i8", options->type);
    const int asked = options->type ? (int)type : -1;
    RT_TRY(rt_heap_expand(name, options->dataset ? options->dataset : "/train", asked >= 0, &names,
                          err));
    RT_TRY(rows_new(names.n, &rows, err));
    for (size_t i = 0; i < names.n; i++) { /* the reader takes over the names */
        rows->files[i].path = names.names[i].path;
        rows->files[i].dataset = names.names[i].dataset;
        names.names[i] = (struct rt_heap_name){NULL, NULL};
    }
    size_t last = (options->n_snapshot ? options->n_snapshot : names.n) - 1;
    for (size_t i = 0; i < names.n; i++) /* rows that came to one before would renumber others */
        RT_TRY(look_at(rows, i, asked, options->is_growing && i >= last, names.is_many, err));
    if (options->n_snapshot)
        cut(rows, options->snapshot, options->n_snapshot);
    RT_TRY(sum_up(rows, err));
    *out = rows;
    rows = NULL;
done:
    rt_heap_names_free(&names);
    rt_rows_close(rows);
    return st;
}

/* ---- files that change ---- */

/* The file of a row: the last one that begins at or before it (empty files begin where the next one
 * does). */
static size_t file_of(const struct rt_rows *rows, uint64_t row)
{
    return rt_find_last(&rows->files->first_row, sizeof *rows->files, rows->info.n_files, row);
}

static enum rt_status hash_block(struct rt_rows *rows, const struct rt_sampled_block *block,
                                 void *buffer, struct rt_hash128 *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = (size_t)(block->end - block->begin);
    RT_TRY(rt_rows_read(rows, block->begin, n, buffer, err));
    *out = rt_hash128(buffer, n * rows->info.dim * rt_element_size(rows->info.type));
done:
    return st;
}

/* A buffer for the largest block of a sample. */
static enum rt_status new_buffer(const struct rt_rows *rows, unsigned char **buffer,
                                 struct rt_error *err)
{
    size_t row_bytes = rows->info.dim * rt_element_size(rows->info.type);
    return rt_array_new(RT_SAMPLED_BYTES + row_bytes, 1, buffer, err);
}

static enum rt_status hash_sample(struct rt_rows *rows, struct rt_row_sample *sample,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *buffer = NULL;
    RT_TRY(new_buffer(rows, &buffer, err));
    for (size_t i = 0; i < sample->n_blocks; i++)
        RT_TRY(hash_block(rows, &sample->blocks[i], buffer, &sample->blocks[i].hash, err));
done:
    rt_array_free(buffer);
    return st;
}

enum rt_status rt_rows_sample_before(struct rt_rows *rows, uint64_t first_row, uint64_t n_rows,
                                     struct rt_row_sample *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_sample sample;
    rt_row_sample_lay(&sample, first_row, n_rows,
                      rows->info.dim * rt_element_size(rows->info.type));
    for (size_t i = 0; i < sample.n_blocks; i++) {
        struct rt_sampled_block *block = &sample.blocks[i];
        uint64_t first = rows->files[file_of(rows, block->end - 1)].first_row;
        block->begin = block->begin > first ? block->begin : first; /* in one file */
    }
    RT_TRY(hash_sample(rows, &sample, err));
    *out = sample;
done:
    return st;
}

enum rt_status rt_rows_sample_again(struct rt_rows *rows, const struct rt_row_sample *sample,
                                    uint64_t end, struct rt_row_sample *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *out = *sample;
    while (out->n_blocks && out->blocks[out->n_blocks - 1].end > end)
        out->n_blocks--;
    RT_TRY(hash_sample(rows, out, err));
done:
    return st;
}

enum rt_status rt_rows_sample(struct rt_rows *rows, uint64_t first_row, struct rt_error *err)
{
    return rt_rows_sample_before(rows, first_row, rows->info.n_rows, &rows->sample, err);
}

/* What differs in the sampled blocks of rows [begin, end), read from files opened anew. */
static enum rt_status compare_blocks(struct rt_rows *rows, uint64_t begin, uint64_t end,
                                     struct rt_row_change *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *buffer = NULL;
    struct rt_row_change change = {0};
    close_files(rows);
    rows->is_rereading = true;
    RT_TRY(new_buffer(rows, &buffer, err));
    for (size_t i = 0; i < rows->sample.n_blocks; i++) {
        const struct rt_sampled_block *block = &rows->sample.blocks[i];
        struct rt_hash128 now;
        if (block->end <= begin || block->begin >= end)
            continue;
        RT_TRY(hash_block(rows, block, buffer, &now, err));
        if (now.low != block->hash.low || now.high != block->hash.high)
            rt_row_change_add(&change, block);
    }
    *out = change;
done:
    rows->is_rereading = false;
    close_files(rows); /* their stamps were not looked at */
    rt_array_free(buffer);
    return st;
}

struct change_text {
    char text[120];
};

/* ": rows 128 to 255 are others", as far as the sample tells, numbered within the file. */
static struct change_text tell_change(struct rt_rows *rows, size_t number)
{
    struct change_text where = {""};
    struct rt_row_change change;
    struct rt_error ignored;
    const struct rt_heap_file *file = &rows->files[number];
    uint64_t end = file->first_row + file->n_rows;
    if (compare_blocks(rows, file->first_row, end, &change, &ignored) == RT_OK && change.is_found) {
        uint64_t first = change.begin > file->first_row ? change.begin - file->first_row : 0;
        uint64_t last = (change.end < end ? change.end : end) - file->first_row - 1;
        (void)snprintf(where.text, sizeof where.text, ": rows %s to %s are others",
                       RT_GROUPED(first), RT_GROUPED(last));
    }
    return where;
}

static enum rt_status check_stamp(struct rt_rows *rows, size_t number, uint64_t size,
                                  int64_t mtime_ns, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_heap_file *file = &rows->files[number];
    if (rows->is_rereading)
        return st;
    if (size < file->size_bytes)
        RT_FAIL(RT_INPUT, "'%s' shrank while it was read: it had %s bytes, now %s", file->path,
                RT_GROUPED(file->size_bytes), RT_GROUPED(size));
    if (rows->layouts[number].may_grow)
        return st;
    if (size != file->size_bytes)
        RT_FAIL(RT_INPUT, "'%s' changed while it was read: it had %s bytes, now %s%s", file->path,
                RT_GROUPED(file->size_bytes), RT_GROUPED(size), tell_change(rows, number).text);
    if (mtime_ns != file->mtime_ns)
        RT_FAIL(RT_INPUT, "'%s' changed while it was read: it was written to again%s", file->path,
                tell_change(rows, number).text);
done:
    return st;
}

enum rt_status rt_rows_check_unchanged(struct rt_rows *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t i = 0; i < rows->info.n_files; i++) {
        struct stat s;
        if (stat(rows->files[i].path, &s) != 0)
            RT_FAIL(errno == ENOENT ? RT_INPUT : RT_IO, "'%s' changed while it was read: %s",
                    rows->files[i].path, strerror(errno));
        RT_TRY(check_stamp(rows, i, (uint64_t)s.st_size,
                           (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec, err));
    }
done:
    return st;
}

enum rt_status rt_rows_check_sample(struct rt_rows *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_change change;
    RT_TRY(compare_blocks(rows, 0, rows->info.n_rows, &change, err));
    if (change.is_found) {
        size_t number = file_of(rows, change.begin);
        RT_FAIL(RT_INPUT, "'%s' changed while it was read%s", rows->files[number].path,
                tell_change(rows, number).text);
    }
done:
    return st;
}

/* ---- reading ---- */

static struct open_file *find_slot(struct rt_rows *rows, size_t number)
{
    for (size_t i = 0; i < MOST_OPEN; i++)
        if (rows->open[i].used && rows->open[i].number == number)
            return &rows->open[i];
    return NULL;
}

/* Closed; what was unused for longest makes room. */
static struct open_file *free_slot(struct rt_rows *rows)
{
    struct open_file *slot = &rows->open[0];
    for (size_t i = 1; i < MOST_OPEN; i++)
        if (rows->open[i].used < slot->used)
            slot = &rows->open[i];
    rt_hdf5_matrix_close(slot->matrix);
    rt_input_close(&slot->input);
    *slot = (struct open_file){.input = RT_INPUT_CLOSED};
    return slot;
}

/* The file's slot, opened if it is not. */
static enum rt_status open_slot(struct rt_rows *rows, size_t number, struct open_file **out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_heap_file *file = &rows->files[number];
    struct rt_input_file input = RT_INPUT_CLOSED;
    struct open_file *slot = find_slot(rows, number);
    if (!slot) {
        RT_TRY(rt_input_open(file->path, &input, err));
        RT_TRY(check_stamp(rows, number, input.size, input.mtime_ns, err));
        slot = free_slot(rows);
        if (!rows->layouts[number].is_plain)
            RT_TRY(rt_hdf5_matrix_open(file->path, file->dataset, rows->layouts[number].may_grow,
                                       &slot->matrix, err));
        (void)posix_fadvise(input.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        slot->number = number;
        slot->input = input;
        input = (struct rt_input_file)RT_INPUT_CLOSED;
    }
    slot->used = ++rows->clock;
    *out = slot;
done:
    rt_input_close(&input);
    return st;
}

static enum rt_status read_converted(struct rt_rows *rows, const struct open_file *file,
                                     uint64_t begin, size_t n_rows, void *buffer,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_row_layout *layout = &rows->layouts[file->number];
    const size_t most = SCRATCH_BYTES / (size_t)layout->stride_bytes;
    float *to = buffer;
    while (n_rows > 0) {
        size_t n = n_rows < most ? n_rows : most;
        size_t n_values = n * layout->dim;
        RT_TRY(rt_input_read(&file->input, rows->scratch, n_values * sizeof(double),
                             layout->data_offset + begin * layout->stride_bytes, err));
        for (size_t i = 0; i < n_values; i++) {
            double value;
            memcpy(&value, rows->scratch + i * sizeof value, sizeof value);
            to[i] = (float)value;
        }
        to += n_values;
        begin += n;
        n_rows -= n;
    }
done:
    return st;
}

/* Rows of one file, numbered within it. */
static enum rt_status read_file(struct rt_rows *rows, const struct open_file *file, uint64_t begin,
                                size_t n_rows, void *buffer, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const enum rt_matrix_type types[] = {RT_MATRIX_F32, RT_MATRIX_F16, RT_MATRIX_U8,
                                                RT_MATRIX_I8}; /* RT_F32, RT_F16, RT_U8, RT_I8 */
    const struct rt_row_layout *layout = &rows->layouts[file->number];
    if ((layout->format == RT_ROW_VECS || layout->is_converted) && !rows->scratch)
        RT_TRY(rt_array_new(SCRATCH_BYTES, 1, &rows->scratch, err));
    if (!layout->is_plain)
        RT_TRY(rt_hdf5_matrix_read(file->matrix, begin, n_rows, types[layout->type], buffer, err));
    else if (layout->format == RT_ROW_VECS)
        RT_TRY(rt_rows_vecs_read(&file->input, layout, begin, n_rows, buffer, rows->scratch,
                                 SCRATCH_BYTES, err));
    else if (layout->is_converted)
        RT_TRY(read_converted(rows, file, begin, n_rows, buffer, err));
    else
        RT_TRY(rt_input_read(&file->input, buffer, n_rows * (size_t)layout->stride_bytes,
                             layout->data_offset + begin * layout->stride_bytes, err));
done:
    return st;
}

/* Rows are mostly read in order, so the kernel fetches the next block while this one is worked on.
 */
static void read_ahead(const struct rt_rows *rows, const struct open_file *file, uint64_t next,
                       size_t n_rows)
{
    const struct rt_row_layout *layout = &rows->layouts[file->number];
    if (!layout->is_plain || next >= layout->n_rows)
        return;
    uint64_t n = n_rows < layout->n_rows - next ? n_rows : layout->n_rows - next;
    uint64_t begin = layout->data_offset + next * layout->stride_bytes;
    uint64_t n_bytes = n * layout->stride_bytes;
    n_bytes = n_bytes < MOST_AHEAD ? n_bytes : MOST_AHEAD;
    for (uint64_t at = 0; at < n_bytes; at += AHEAD_BYTES)
        (void)posix_fadvise(file->input.fd, (off_t)(begin + at), (off_t)AHEAD_BYTES,
                            POSIX_FADV_WILLNEED);
}

enum rt_status rt_rows_read(struct rt_rows *rows, uint64_t begin, size_t n_rows, void *buffer,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const bool is_sequential = begin == rows->next_row;
    const size_t n_asked = n_rows;
    const size_t row_bytes = rows->info.dim * rt_element_size(rows->info.type);
    char *to = buffer;
    rt_assert(begin <= rows->info.n_rows && n_rows <= rows->info.n_rows - begin);
    while (n_rows > 0) {
        size_t number = file_of(rows, begin);
        uint64_t within = begin - rows->files[number].first_row;
        uint64_t left = rows->files[number].n_rows - within;
        size_t n = n_rows < left ? n_rows : (size_t)left;
        struct open_file *file = NULL;
        RT_TRY(open_slot(rows, number, &file, err));
        RT_TRY(read_file(rows, file, within, n, to, err));
        to += n * row_bytes;
        begin += n;
        n_rows -= n;
        if (n_rows == 0 && is_sequential)
            read_ahead(rows, file, within + n, n_asked);
    }
    rows->next_row = begin;
done:
    return st;
}

void rt_rows_name_row(const struct rt_rows *rows, uint64_t row, char *text, size_t text_size)
{
    const struct rt_heap_file *file = &rows->files[file_of(rows, row)];
    (void)snprintf(text, text_size, "'%s%s%s' row %s", file->path, file->dataset ? ":" : "",
                   file->dataset ? file->dataset : "", RT_GROUPED(row - file->first_row));
}

/* ---- as bytes ---- */

/* A pack: PACK_MAGIC and n_files as u64, the sample; for each file a struct packed_file, its path
 * and its dataset, each with a NUL. */
#define PACK_MAGIC UINT64_C(0x524f57532d322d00)

struct packed_file {
    struct rt_row_layout layout;
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint32_t path_bytes;    /* with its NUL */
    uint32_t dataset_bytes; /* with its NUL; 0: none */
};

static struct packed_file describe(const struct rt_rows *rows, size_t number)
{
    const struct rt_heap_file *file = &rows->files[number];
    return (struct packed_file){
        .layout = rows->layouts[number],
        .size_bytes = file->size_bytes,
        .mtime_ns = file->mtime_ns,
        .path_bytes = (uint32_t)strlen(file->path) + 1,
        .dataset_bytes = file->dataset ? (uint32_t)strlen(file->dataset) + 1 : 0,
    };
}

static unsigned char *put(unsigned char *at, const void *data, size_t n_bytes)
{
    if (n_bytes > 0)
        memcpy(at, data, n_bytes);
    return at + n_bytes;
}

enum rt_status rt_rows_pack(const struct rt_rows *rows, unsigned char **bytes, size_t *n_bytes,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t head[2] = {PACK_MAGIC, rows->info.n_files};
    size_t size = sizeof head + sizeof rows->sample;
    unsigned char *pack = NULL;
    for (size_t i = 0; i < rows->info.n_files; i++) {
        struct packed_file p = describe(rows, i);
        size += sizeof p + p.path_bytes + p.dataset_bytes;
    }
    RT_TRY(rt_array_new(size, 1, &pack, err));
    unsigned char *at = put(pack, head, sizeof head);
    at = put(at, &rows->sample, sizeof rows->sample);
    for (size_t i = 0; i < rows->info.n_files; i++) {
        struct packed_file p = describe(rows, i);
        at = put(at, &p, sizeof p);
        at = put(at, rows->files[i].path, p.path_bytes);
        at = put(at, rows->files[i].dataset, p.dataset_bytes);
    }
    *bytes = pack;
    *n_bytes = size;
done:
    return st;
}

/* The next n_bytes of the pack, or NULL where it ends before. */
static const unsigned char *get(const unsigned char **at, const unsigned char *end, size_t n_bytes)
{
    const unsigned char *here = *at;
    if ((size_t)(end - here) < n_bytes)
        return NULL;
    *at = here + n_bytes;
    return here;
}

/* A string of the pack, copied; false where it does not end in its one NUL, or memory is out. */
static bool get_string(const unsigned char **at, const unsigned char *end, size_t n_bytes,
                       char **out)
{
    const unsigned char *text = get(at, end, n_bytes);
    if (!text || n_bytes == 0 || memchr(text, 0, n_bytes) != text + n_bytes - 1)
        return false;
    *out = malloc(n_bytes);
    if (*out)
        memcpy(*out, text, n_bytes);
    return *out != NULL;
}

static bool is_sound(const struct rt_row_layout *layout)
{
    return layout->format <= RT_ROW_HDF5 && layout->type <= RT_I8 && layout->dim <= RT_MAX_DIM &&
           layout->stride_bytes > 0 && layout->stride_bytes <= 4 + (uint64_t)RT_MAX_DIM * 8;
}

static bool unpack_file(struct rt_rows *rows, size_t number, const unsigned char **at,
                        const unsigned char *end)
{
    struct packed_file p;
    struct rt_heap_file *file = &rows->files[number];
    const unsigned char *bytes = get(at, end, sizeof p);
    if (!bytes)
        return false;
    memcpy(&p, bytes, sizeof p);
    rows->layouts[number] = p.layout;
    file->n_rows = p.layout.n_rows;
    file->header_bytes = p.layout.data_offset;
    file->may_grow = p.layout.may_grow;
    file->size_bytes = p.size_bytes;
    file->mtime_ns = p.mtime_ns;
    return is_sound(&p.layout) && get_string(at, end, p.path_bytes, &file->path) &&
           (p.dataset_bytes == 0 || get_string(at, end, p.dataset_bytes, &file->dataset));
}

enum rt_status rt_rows_unpack(const void *bytes, size_t n_bytes, struct rt_rows **out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *rows = NULL;
    uint64_t head[2] = {0, 0};
    const unsigned char *at = bytes, *end = at + n_bytes;
    const unsigned char *start = get(&at, end, sizeof head);
    if (start)
        memcpy(head, start, sizeof head);
    const unsigned char *sample = get(&at, end, sizeof rows->sample);
    if (head[0] != PACK_MAGIC || !sample || head[1] == 0 ||
        head[1] > n_bytes / sizeof(struct packed_file))
        RT_FAIL(RT_INPUT, "%zu bytes are no description of rows", n_bytes);
    RT_TRY(rows_new((size_t)head[1], &rows, err));
    for (size_t i = 0; i < rows->info.n_files; i++)
        if (!unpack_file(rows, i, &at, end))
            RT_FAIL(RT_INPUT, "file %zu in a description of rows of %zu bytes is broken", i,
                    n_bytes);
    RT_TRY(sum_up(rows, err));
    memcpy(&rows->sample, sample, sizeof rows->sample);
    if (!rt_row_sample_is_sound(&rows->sample, rows->info.n_rows,
                                rows->info.dim * rt_element_size(rows->info.type)))
        RT_FAIL(RT_INPUT, "the sample in a description of rows of %zu bytes is broken", n_bytes);
    *out = rows;
    rows = NULL;
done:
    rt_rows_close(rows);
    return st;
}
