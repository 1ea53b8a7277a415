#include "jobs/phases/import_phase.h"

#include "core/block.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/recode.h"
#include "io/index_dir.h"
#include "io/list_file.h"
#include "io/vectors_file.h"
#include "jobs/phases/sorted_ids.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <string.h>

#define PIECE_BLOCKS 128u
#define PIECE_ROWS 4096u
#define WRITE_BUFFER_BYTES ((size_t)8 << 20)
#define RECODED_ROWS 2000u /* about */

static enum rt_status make_file(struct rt_phase_context *context, enum rt_file_kind kind,
                                struct rt_h5_layout *layout, struct rt_h5_file **file,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_LOCAL(rt_index_path(context->dir, kind, context->generation, true, path, err));
    RT_AGREE(context->job->comm);
    RT_TRY(rt_phase_create_file(context, path, layout, file, err));
done:
    return st;
}

/* ---- lists ---- */

struct importer {
    struct rt_phase_context *context;
    const struct rt_export_hdf5_view *file;
    uint64_t *first_blocks; /* n_lists + 1 */
    uint64_t *rows;         /* of each list */
    struct rt_h5_file *out;
    struct rt_unit_writer *writer;
    struct rt_recoder *recoder;
    struct rt_hash128 hash;
    /* the piece being gathered */
    uint64_t n_blocks;
    uint8_t *codes;
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
};

static enum rt_status allocate(struct importer *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_export_hdf5_view *file = im->file;
    const struct rt_tree *tree = &file->shape.tree;
    size_t n = PIECE_BLOCKS;
    RT_TRY(
        rt_array_new((size_t)file->n_lists + 1, sizeof *im->first_blocks, &im->first_blocks, err));
    RT_TRY(rt_array_new(file->n_lists, sizeof *im->rows, &im->rows, err));
    RT_TRY(rt_array_new(n, rt_block_code_bytes(tree->dim), &im->codes, err));
    RT_TRY(rt_array_new(n, (size_t)file->n_factors * RT_BLOCK_ROWS * sizeof *im->factors,
                        &im->factors, err));
    RT_TRY(rt_array_new(n, RT_BLOCK_ROWS * sizeof *im->ids, &im->ids, err));
    RT_TRY(rt_array_new(n, RT_BLOCK_ROWS * sizeof *im->places, &im->places, err));
    RT_TRY(rt_recoder_new(tree, file->shape.element, &im->recoder, err));
done:
    return st;
}

static void make_directory(struct importer *im)
{
    const uint64_t *offsets = im->file->leaves.offsets;
    uint64_t n = 0;
    for (uint32_t list = 0; list < im->file->n_lists; list++) {
        im->rows[list] = offsets[list + 1] - offsets[list];
        im->first_blocks[list] = n;
        n += rt_block_count(im->rows[list]);
    }
    im->first_blocks[im->file->n_lists] = n;
}

static void clear_piece(struct importer *im)
{
    size_t n = PIECE_BLOCKS;
    memset(im->codes, 0, n * rt_block_code_bytes(im->file->shape.tree.dim));
    memset(im->factors, 0, n * im->file->n_factors * RT_BLOCK_ROWS * sizeof *im->factors);
    memset(im->ids, 0xff, n * RT_BLOCK_ROWS * sizeof *im->ids);
    memset(im->places, 0, n * RT_BLOCK_ROWS * sizeof *im->places);
    im->n_blocks = 0;
}

static enum rt_status write_piece(struct importer *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_blocks blocks = {.n_blocks = im->n_blocks,
                                    .codes = im->codes,
                                    .factors = im->factors,
                                    .ids = im->ids,
                                    .places = im->places};
    uint64_t block_bytes = rt_block_code_bytes(im->file->shape.tree.dim) +
                           RT_BLOCK_ROWS * (UINT64_C(4) * im->file->n_factors + 16);
    RT_TRY(rt_list_append(im->writer, &blocks, err));
    rt_progress_add(im->context->progress, RT_COUNT_BYTES_WRITTEN, im->n_blocks * block_bytes);
    clear_piece(im);
    RT_TRY(rt_phase_check(im->context, err));
done:
    return st;
}

static struct rt_place place_of(uint64_t row)
{
    return (struct rt_place){(uint32_t)(row / RT_SEGMENT_SLOTS),
                             (uint32_t)(row % RT_SEGMENT_SLOTS)};
}

/* The hash says that nothing got lost, this that codes and vectors belong together. */
static enum rt_status recode(struct importer *im, uint32_t list, uint64_t row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_export_hdf5_view *file = im->file;
    size_t vector_bytes = rt_element_size(file->shape.element) * file->shape.tree.dim;
    uint64_t draw = rt_random(0, RT_RANDOM_VERIFY, 0, row, 0);
    if (rt_random_below(draw, file->shape.n_rows) >= RECODED_ROWS)
        return RT_OK;
    if (rt_recode(im->recoder, (const char *)file->vectors + row * vector_bytes, list,
                  file->codes + row * file->code_bytes,
                  file->factors + row * file->n_factors) != RT_RECODE_SAME)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: row %" PRIu64 " (id %" PRIu64
                "): code and factors are not those of its vector",
                rt_h5_map_path(file->map), row, file->ids[row]);
done:
    return st;
}

/* Rows [first, end), of one block. */
static enum rt_status put_block(struct importer *im, uint32_t list, uint64_t first, uint64_t end,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_export_hdf5_view *file = im->file;
    uint32_t dim = file->shape.tree.dim;
    uint64_t block = im->n_blocks++;
    RT_TRY(rt_export_hdf5_check_rows(file, first, end, &im->hash, err));
    for (uint64_t row = first; row < end; row++) {
        uint32_t at = (uint32_t)(row - first);
        RT_TRY(recode(im, list, row, err));
        rt_block_put(im->codes + block * rt_block_code_bytes(dim), dim, at,
                     file->codes + row * file->code_bytes);
        for (uint32_t f = 0; f < file->n_factors; f++)
            im->factors[(block * file->n_factors + f) * RT_BLOCK_ROWS + at] =
                file->factors[row * file->n_factors + f];
        im->ids[block * RT_BLOCK_ROWS + at] = file->ids[row];
        im->places[block * RT_BLOCK_ROWS + at] = place_of(row);
    }
    rt_progress_add(im->context->progress, RT_COUNT_DONE, end - first);
    if (im->n_blocks == PIECE_BLOCKS)
        RT_TRY(write_piece(im, err));
done:
    return st;
}

static enum rt_status write_blocks(struct importer *im, struct rt_range share, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t *offsets = im->file->leaves.offsets;
    uint32_t list = 0;
    RT_TRY(
        rt_list_writer_new(im->out, share.begin, share.end, WRITE_BUFFER_BYTES, &im->writer, err));
    clear_piece(im);
    for (uint64_t block = share.begin; block < share.end; block++) {
        while (block >= im->first_blocks[list + 1])
            list++;
        uint64_t first = offsets[list] + (block - im->first_blocks[list]) * RT_BLOCK_ROWS;
        uint64_t left = offsets[list + 1] - first;
        RT_TRY(
            put_block(im, list, first, first + (left < RT_BLOCK_ROWS ? left : RT_BLOCK_ROWS), err));
    }
    RT_TRY(write_piece(im, err));
    RT_TRY(rt_unit_writer_end(im->writer, rt_list_fill, err));
done:
    return st;
}

static enum rt_status compare_hash(struct importer *im, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hash128 hash = rt_sum_hash128(im->context->job->comm, im->hash);
    if (memcmp(&hash, &im->file->shape.rows_hash, sizeof hash) != 0)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: its rows do not add up to the digest it names",
                rt_h5_map_path(im->file->map));
done:
    return st;
}

enum rt_status rt_import_lists(struct rt_phase_context *context,
                               const struct rt_export_hdf5_view *file, struct rt_h5_layout *layout,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    struct rt_phase_clock clock;
    struct rt_phase_record record;
    struct importer im = {.context = context, .file = file};
    rt_phase_begin(context, "lists", "rows", file->shape.n_rows, &clock);
    RT_LOCAL(allocate(&im, err));
    RT_AGREE(job->comm);
    make_directory(&im);
    struct rt_list_shape shape = {.generation = context->generation,
                                  .fingerprint = file->shape.fingerprint,
                                  .n_lists = file->n_lists,
                                  .n_blocks = im.first_blocks[file->n_lists],
                                  .dim = file->shape.tree.dim,
                                  .n_factors = file->n_factors};
    RT_LOCAL(rt_list_layout(&shape, layout, err));
    RT_AGREE(job->comm);
    RT_TRY(make_file(context, RT_FILE_FROZEN, layout, &im.out, err));
    if (job->rank == 0)
        RT_LOCAL(rt_list_write_directory(im.out, NULL, im.first_blocks, im.rows, err));
    RT_LOCAL(write_blocks(
        &im, rt_share(shape.n_blocks, job->rank, job->n_ranks, rt_list_share_blocks(&shape)), err));
    RT_TRY(rt_phase_end(context, &clock, st, &record, err));
    RT_TRY(compare_hash(&im, err));
done:
    st = rt_phase_close_file(context, im.out, st, err);
    rt_unit_writer_free(im.writer);
    rt_recoder_free(im.recoder);
    rt_array_free(im.first_blocks);
    rt_array_free(im.rows);
    rt_array_free(im.codes);
    rt_array_free(im.factors);
    rt_array_free(im.ids);
    rt_array_free(im.places);
    return st;
}

/* ---- vectors ---- */

static enum rt_status copy_vectors(struct rt_phase_context *context,
                                   const struct rt_export_hdf5_view *file,
                                   struct rt_unit_writer *writer, struct rt_range share,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t bytes = rt_element_size(file->shape.element) * file->shape.tree.dim;
    for (uint64_t at = share.begin; at < share.end; at += PIECE_ROWS) {
        uint64_t n = share.end - at < PIECE_ROWS ? share.end - at : PIECE_ROWS;
        RT_TRY(rt_export_hdf5_check_sums(file, at, at + n, err));
        RT_TRY(rt_vectors_append(writer, (const char *)file->vectors + at * bytes, file->ids + at,
                                 file->lists + at, n, err));
        rt_progress_add(context->progress, RT_COUNT_DONE, n);
        rt_progress_add(context->progress, RT_COUNT_BYTES_WRITTEN, n * (bytes + 12));
        RT_TRY(rt_phase_check(context, err));
    }
    RT_TRY(rt_vectors_writer_end(writer, err));
done:
    return st;
}

enum rt_status rt_import_vectors(struct rt_phase_context *context,
                                 const struct rt_export_hdf5_view *file,
                                 struct rt_h5_layout *layout, uint64_t *n_segments,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    uint64_t n = file->shape.n_rows;
    struct rt_phase_clock clock;
    struct rt_phase_record record;
    struct rt_h5_file *out = NULL;
    struct rt_unit_writer *writer = NULL;
    struct rt_tape_entry tape = {0, n};
    *n_segments = rt_vectors_n_segments(&tape, 1);
    if (n == 0)
        return RT_OK;
    struct rt_vectors_shape shape = {.generation = context->generation,
                                     .fingerprint = file->shape.fingerprint,
                                     .n_slots = n,
                                     .dim = file->shape.tree.dim,
                                     .element = file->shape.element,
                                     .has_vectors = true,
                                     .cap_rows = UINT64_C(1) << rt_chunks_of(n).shift,
                                     .n_tapes = 1,
                                     .n_segments = (uint32_t)*n_segments,
                                     .n_sorted = n};
    struct rt_range share = rt_share(n, job->rank, job->n_ranks, rt_vectors_share_slots(&shape));
    struct rt_sorted_ids_input ids = {
        .parts = &share, .n_parts = 1, .source = rt_h5_map_path(file->map)};
    rt_phase_begin(context, "vectors", "rows", n, &clock);
    RT_LOCAL(rt_vectors_layout(&shape, layout, err));
    RT_AGREE(job->comm);
    RT_TRY(make_file(context, RT_FILE_VECTORS, layout, &out, err));
    if (job->rank == 0)
        RT_LOCAL(rt_vectors_write_directory(out, &tape, 1, 0, NULL, err));
    RT_LOCAL(rt_vectors_writer_new(out, share.begin, share.end, WRITE_BUFFER_BYTES, &writer, err));
    RT_LOCAL(copy_vectors(context, file, writer, share, err));
    RT_AGREE(job->comm);
    ids.file = out;
    RT_TRY(rt_sorted_ids_write(context, &ids, err));
    RT_TRY(rt_phase_end(context, &clock, st, &record, err));
done:
    st = rt_phase_close_file(context, out, st, err);
    rt_unit_writer_free(writer);
    return st;
}
