/* --format hdf5: the live rows of an index by (list, id) into one file, each rank an equal range of
 * them; `import` makes it an index again. */
#include "jobs/export.h"

#include "core/code.h"
#include "core/memory.h"
#include "io/export_hdf5.h"
#include "jobs/phases/live_rows.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ROWS 512u
#define PROOF_ROWS 4096u
#define WRITE_BUFFER_BYTES ((size_t)8 << 20)

/* ---- the record ---- */

/* Jobs that changed rows, without the generations that they made: a vacuum changes nothing that is
 * exported. */
static json_t *history_of(const struct rt_manifest *m)
{
    json_t *history = json_array();
    size_t i = 0;
    const json_t *line = NULL;
    json_array_foreach(m->history, i, line)
    {
        const char *job = json_string_value(json_object_get(line, "job"));
        if (job && strcmp(job, "vacuum") == 0)
            continue;
        json_t *copy = json_deep_copy(line);
        (void)json_object_del(copy, "generation");
        if (json_array_append_new(history, copy) != 0) {
            json_decref(history);
            return NULL;
        }
    }
    return history;
}

/* The caller frees *text with free. */
static enum rt_status print_record(const char *dir, const struct rt_manifest *m, char **text,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *record = json_pack("{s:O, s:O, s:o}", "options", m->options, "build", m->build,
                               "history", history_of(m));
    *text = record ? json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (!*text)
        RT_FAIL(RT_NOMEM, "out of memory for the record of the index");
    if (strlen(*text) > RT_EXPORT_MOST_RECORD)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: the record of its jobs is over %" PRIu64 " bytes",
                dir, RT_EXPORT_MOST_RECORD);
done:
    json_decref(record);
    return st;
}

/* ---- rows ---- */

struct exporter {
    struct rt_phase_context *context;
    const struct rt_index_view *view;
    struct rt_heap_vectors *heap;
    struct rt_live_rows rows;
    struct rt_export_hdf5_shape shape;
    struct rt_h5_file *file;
    struct rt_unit_writer *writer;
    /* rows that wait to be written */
    size_t n, vector_bytes;
    uint64_t *ids;
    uint32_t *lists;
    uint8_t *codes;
    float *factors;
    unsigned char *vectors;
};

static void set_shape(struct exporter *e)
{
    const struct rt_manifest *m = e->view->manifest;
    e->shape = (struct rt_export_hdf5_shape){.tree = e->view->tree.tree,
                                             .element = m->element,
                                             .beam = m->beam,
                                             .fingerprint = m->fingerprint,
                                             .tree_hash = m->tree_hash,
                                             .rows_hash = m->rows_hash,
                                             .n_rows = m->n_rows,
                                             .n_skipped = m->n_rows_skipped,
                                             .largest_id = m->largest_id,
                                             .next_row = m->next_row};
    e->vector_bytes = rt_element_size(m->element) * m->dim;
}

static enum rt_status allocate(struct exporter *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new(PIECE_ROWS, sizeof *e->ids, &e->ids, err));
    RT_TRY(rt_array_new(PIECE_ROWS, sizeof *e->lists, &e->lists, err));
    RT_TRY(rt_array_new(PIECE_ROWS, e->view->code_bytes, &e->codes, err));
    RT_TRY(rt_array_new(PIECE_ROWS, e->view->n_factors * sizeof *e->factors, &e->factors, err));
    RT_TRY(rt_array_new(PIECE_ROWS, e->vector_bytes, &e->vectors, err));
done:
    return st;
}

static enum rt_status write_rows(struct exporter *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const void *const columns[RT_EXPORT_N_COLUMNS] = {e->ids, e->lists, e->codes, e->factors,
                                                      e->vectors};
    uint64_t row_bytes = 12 + e->view->code_bytes + 4 * e->view->n_factors + e->vector_bytes;
    RT_TRY(rt_unit_writer_append(e->writer, columns, e->n, err));
    rt_progress_add(e->context->progress, RT_COUNT_DONE, e->n);
    rt_progress_add(e->context->progress, RT_COUNT_BYTES_WRITTEN, e->n * row_bytes);
    e->n = 0;
    RT_TRY(rt_phase_check(e->context, err));
done:
    return st;
}

static enum rt_status get_vector(struct exporter *e, const struct rt_live_row *row, void *vector,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_place_view place;
    RT_TRY(rt_index_place(e->view, row->place.segment, row->place.slot, &place, err));
    RT_TRY(rt_index_check_place(&place, err));
    if (*place.id != row->id || *place.list != row->list)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: the vector of id %" PRIu64 " in list %" PRIu32
                " is that of id %" PRIu64 " in list %" PRIu32,
                e->view->dir, row->id, row->list, *place.id, *place.list);
    if (place.vector)
        memcpy(vector, place.vector, e->vector_bytes);
    else
        RT_TRY(rt_heap_vectors_read(e->heap, place.heap_row, vector, err));
done:
    return st;
}

static enum rt_status take_row(void *context, const struct rt_live_row *row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct exporter *e = context;
    uint32_t code_bytes = e->view->code_bytes;
    uint32_t n_factors = e->view->n_factors;
    e->ids[e->n] = row->id;
    e->lists[e->n] = row->list;
    memcpy(e->codes + e->n * code_bytes, row->code, code_bytes);
    memcpy(e->factors + e->n * n_factors, row->factors, n_factors * sizeof *e->factors);
    RT_TRY(get_vector(e, row, e->vectors + e->n * e->vector_bytes, err));
    if (++e->n == PIECE_ROWS)
        RT_TRY(write_rows(e, err));
done:
    return st;
}

/* ---- the file ---- */

static enum rt_status make_file(struct exporter *e, const char *path, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree_view *tree = &e->view->tree;
    struct rt_export_hdf5_leaves leaves = {.rows = tree->leaf_rows,
                                           .radius = tree->leaf_radius,
                                           .spread = tree->leaf_spread,
                                           .offsets = e->rows.offsets};
    struct rt_h5_layout layout;
    char *record = NULL;
    memset(&layout, 0, sizeof layout);
    if (e->context->job->rank == 0) {
        RT_LOCAL(rt_index_check_tree(e->view, err));
        RT_LOCAL(print_record(e->view->dir, e->view->manifest, &record, err));
        e->shape.record_bytes = st == RT_OK ? strlen(record) : 0;
        RT_LOCAL(rt_export_hdf5_layout(&e->shape, &layout, err));
    }
    RT_AGREE(e->context->job->comm);
    RT_TRY(rt_phase_create_file(e->context, path, &layout, &e->file, err));
    if (e->context->job->rank == 0)
        RT_LOCAL(rt_export_hdf5_write_head(e->file, &e->shape, &leaves, record, err));
    RT_AGREE(e->context->job->comm);
done:
    free(record);
    return st;
}

static enum rt_status write_share(struct exporter *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const uint8_t none[RT_EXPORT_N_COLUMNS] = {0};
    const struct rt_job *job = e->context->job;
    struct rt_range share =
        rt_share(e->shape.n_rows, job->rank, job->n_ranks, rt_export_hdf5_share_rows(&e->shape));
    RT_TRY(allocate(e, err));
    RT_TRY(rt_export_hdf5_writer_new(e->file, share.begin, share.end, WRITE_BUFFER_BYTES,
                                     &e->writer, err));
    RT_TRY(rt_live_rows_walk(&e->rows, share.begin, share.end, take_row, e, err));
    RT_TRY(write_rows(e, err));
    RT_TRY(rt_unit_writer_end(e->writer, none, err));
done:
    return st;
}

static enum rt_status write_file(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct exporter x = {.context = &e->context, .view = e->view, .heap = e->heap};
    set_shape(&x);
    rt_progress_set_total(e->context.progress, x.shape.n_rows);
    RT_TRY(rt_live_rows_count(&e->context, e->view, &x.rows, err));
    RT_TRY(make_file(&x, e->partial[0], err));
    RT_LOCAL(write_share(&x, err));
done:
    st = rt_phase_close_file(&e->context, x.file, st, err);
    rt_unit_writer_free(x.writer);
    rt_live_rows_free(&x.rows);
    rt_array_free(x.ids);
    rt_array_free(x.lists);
    rt_array_free(x.codes);
    rt_array_free(x.factors);
    rt_array_free(x.vectors);
    return st;
}

/* ---- the proof ---- */

/* Of what its neighbour has written. */
static enum rt_status check_share(struct rt_phase_context *context,
                                  const struct rt_export_hdf5_view *file, struct rt_hash128 *hash,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    struct rt_range share =
        rt_share(file->shape.n_rows, (job->rank + 1) % job->n_ranks, job->n_ranks, 1);
    for (uint64_t at = share.begin; at < share.end; at += PROOF_ROWS) {
        uint64_t end = share.end - at < PROOF_ROWS ? share.end : at + PROOF_ROWS;
        RT_TRY(rt_export_hdf5_check_rows(file, at, end, hash, err));
        rt_progress_add(context->progress, RT_COUNT_DONE, end - at);
        RT_TRY(rt_phase_check(context, err));
    }
done:
    return st;
}

/* Reads the file as import does: all checksums and rules, and the digest against the index's. */
static enum rt_status prove_file(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = e->context.job;
    const struct rt_manifest *m = e->view->manifest;
    struct rt_export_hdf5_view file;
    struct rt_hash128 hash = {0, 0};
    memset(&file, 0, sizeof file);
    rt_progress_set_total(e->context.progress, m->n_rows);
    RT_LOCAL(rt_export_hdf5_open(e->partial[0], &file, err));
    RT_AGREE(job->comm);
    RT_LOCAL(job->rank == 0 ? rt_export_hdf5_check_head(&file, err)
                            : rt_export_hdf5_check_offsets(&file, err));
    RT_LOCAL(check_share(&e->context, &file, &hash, err));
    RT_AGREE(job->comm);
    hash = rt_sum_hash128(job->comm, hash);
    if (memcmp(&hash, &m->rows_hash, sizeof hash) != 0 ||
        memcmp(&file.shape.tree_hash, &m->tree_hash, sizeof hash) != 0)
        RT_FAIL(RT_IO, "'%s': what was read back has not the digest of '%s'", e->partial[0],
                e->view->dir);
done:
    rt_export_hdf5_close(&file);
    return st;
}

static enum rt_status check_call(struct rt_export *e, uint64_t *n_bytes, bool *needs_vectors,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct exporter x = {.context = &e->context, .view = e->view};
    struct rt_h5_layout layout;
    set_shape(&x);
    RT_TRY(rt_export_hdf5_layout(&x.shape, &layout, err));
    *n_bytes = 0;
    for (uint32_t i = 0; i < layout.n_datasets; i++)
        *n_bytes += rt_h5_dataset_bytes(&layout.datasets[i]);
    *needs_vectors = true;
done:
    return st;
}

const struct rt_export_format rt_export_hdf5 = {.name = "hdf5",
                                                .unit = "rows",
                                                .endings = {""},
                                                .check = check_call,
                                                .write = write_file,
                                                .prove = prove_file};
