/* --format faiss: an index that FAISS opens. Where everything lies follows from the sizes of the
 * lists (io/faiss_file.h), so every rank makes the lists it owns and writes them in their place;
 * nothing is exchanged. Proof makes bytes again and compares. */
#include "jobs/export.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/rotation.h"
#include "io/faiss_file.h"
#include "io/input_file.h"
#include "jobs/phases/faiss_rows.h"
#include "jobs/phases/live_rows.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES ((uint64_t)2 << 20) /* of rows, before they are written */
#define SAMPLED_LISTS 64u               /* of a rank, read again without --verify-writes */

struct faiss {
    struct rt_export *e;
    const char *path;
    bool is_proof; /* what is made is compared, not written; nothing else differs */
    int fd;
    struct rt_live_rows live;
    struct rt_faiss_shape shape;
    struct rt_faiss_layout layout;
    struct rt_faiss_rows *maker;
    struct rt_rotation *rotation;
    uint8_t *found; /* PIECE_BYTES: for comparing */
    /* rows of one list that follow one another, being made */
    uint32_t most; /* whole blocks */
    uint32_t row_bytes;
    uint32_t list;
    uint32_t n;
    uint64_t first;   /* in the list */
    uint64_t next_at; /* where the list after it begins */
    uint32_t next_list;
    struct rt_faiss_list place; /* of list */
    uint8_t *codes, *code;
    uint64_t *in_list, *ids;
    float *vectors;
};

static bool refines(const struct rt_options *options)
{
    return options->origin[RT_OPT_refine] == RT_FROM_AUTO ? options->faiss >= RT_FAISS_RABITQ
                                                          : options->refine;
}

static struct rt_faiss_shape shape_of(const struct rt_export *e)
{
    const struct rt_options *options = e->context.job->options;
    const struct rt_manifest *m = e->view->manifest;
    struct rt_faiss_shape shape = {.kind = (enum rt_faiss_kind)options->faiss,
                                   .metric = m->metric,
                                   .dim = m->dim,
                                   .n_lists = e->view->n_lists,
                                   .n_rows = m->n_rows,
                                   .n_probes = 1,
                                   .refine = refines(options)};
    while (shape.n_probes * shape.n_probes < shape.n_lists) /* our search's default */
        shape.n_probes++;
    return shape;
}

static enum rt_status check_call(struct rt_export *e, uint64_t *n_bytes, bool *needs_vectors,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_options *options = e->context.job->options;
    const struct rt_manifest *m = e->view->manifest;
    options->refine = refines(options);
    const struct rt_faiss_shape shape = shape_of(e);
    if (shape.kind == RT_FAISS_U8 && m->element != RT_U8)
        RT_FAIL(RT_USAGE, "--faiss u8 is for u8 rows, these are %s; fp16 or flat hold them",
                rt_element_name(m->element));
    if (shape.kind == RT_FAISS_U8 && m->metric == RT_COSINE)
        RT_FAIL(RT_USAGE, "--faiss u8 cannot hold rows scaled to length 1, as cosine needs them; "
                          "fp16 or flat hold them");
    double row = shape.dim * (shape.kind == RT_FAISS_FLAT   ? 4.0
                              : shape.kind == RT_FAISS_FP16 ? 2.0
                              : shape.kind == RT_FAISS_U8   ? 1.0
                                                            : 0.125) +
                 16 + (shape.refine ? shape.dim * 4.0 + 8 : 0);
    double bytes = row * (double)m->n_rows + 4.0 * shape.dim * shape.n_lists;
    *n_bytes = bytes < 9e18 ? (uint64_t)bytes : (uint64_t)9e18;
    *needs_vectors = rt_faiss_rows_needs_vectors(e->view, shape.kind, shape.refine);
done:
    return st;
}

/* ---- bytes, to the file or against it ---- */

static enum rt_status emit(struct faiss *f, const void *bytes, uint64_t n_bytes, uint64_t at,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint8_t *from = bytes;
    struct rt_progress *progress = f->e->context.progress;
    if (!f->is_proof) {
        RT_TRY(rt_fs_write_at(f->fd, f->path, bytes, (size_t)n_bytes, at, err));
        rt_progress_add(progress, RT_COUNT_BYTES_WRITTEN, n_bytes);
    }
    for (uint64_t done_bytes = 0; f->is_proof && done_bytes < n_bytes;) {
        uint64_t left = n_bytes - done_bytes;
        size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        RT_TRY(rt_fs_read_at(f->fd, f->path, f->found, n, at + done_bytes, err));
        if (memcmp(f->found, from + done_bytes, n) != 0)
            RT_FAIL(RT_IO, "'%s' does not hold what was written from byte %s on", f->path,
                    RT_GROUPED(at + done_bytes));
        rt_progress_add(progress, RT_COUNT_BYTES_READ, n);
        done_bytes += n;
    }
    RT_TRY(rt_phase_check(&f->e->context, err));
done:
    return st;
}

/* ---- what is not rows ---- */

/* Rows of the rotation, or centroids in the space of the lists, [begin, begin + n). */
static void make_vectors(const struct faiss *f, bool is_matrix, uint64_t begin, uint64_t n,
                         float *to)
{
    const uint32_t dim = f->shape.dim;
    if (is_matrix) { /* row i of an orthogonal matrix is what its inverse makes of unit vector i */
        memset(to, 0, n * dim * sizeof *to);
        for (uint64_t i = 0; i < n; i++)
            to[i * dim + begin + i] = 1;
    } else {
        memcpy(to, rt_tree_leaves(&f->e->view->tree.tree)->centroids + begin * dim,
               n * dim * sizeof *to);
    }
    if (is_matrix || !f->layout.matrix_at)
        rt_rotation_invert(f->rotation, to, n);
}

static enum rt_status emit_vectors(struct faiss *f, bool is_matrix, uint64_t n, uint64_t at,
                                   struct rt_range mine, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t vector_bytes = f->shape.dim * sizeof(float);
    const uint64_t most = PIECE_BYTES / vector_bytes; /* a row has at most 256 KiB */
    float *block = NULL;
    rt_assert(mine.end <= n);
    RT_TRY(rt_array_new(most, vector_bytes, &block, err));
    for (uint64_t begin = mine.begin; begin < mine.end; begin += most) {
        uint64_t left = mine.end - begin;
        uint64_t some = left < most ? left : most;
        make_vectors(f, is_matrix, begin, some, block);
        RT_TRY(emit(f, block, some * vector_bytes, at + begin * vector_bytes, err));
    }
done:
    rt_array_free(block);
    return st;
}

static uint64_t rows_of(const struct faiss *f, uint32_t list)
{
    return f->live.offsets[list + 1] - f->live.offsets[list];
}

/* The sizes of the lists, as the layout says. */
static enum rt_status emit_sizes(struct faiss *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *words = NULL;
    size_t n = 0;
    if (f->layout.is_blocked)
        return RT_OK;
    RT_TRY(rt_array_new(f->shape.n_lists, 2 * sizeof *words, &words, err));
    for (uint32_t list = 0; list < f->shape.n_lists; list++) {
        if (f->layout.sizes_are_sparse && rows_of(f, list) == 0)
            continue;
        if (f->layout.sizes_are_sparse)
            words[n++] = list;
        words[n++] = rows_of(f, list);
    }
    RT_TRY(emit(f, words, n * sizeof *words, f->layout.sizes_at, err));
done:
    rt_array_free(words);
    return st;
}

static enum rt_status emit_frame(struct faiss *f, int part, int n_parts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_faiss_layout *l = &f->layout;
    uint64_t n_matrix = l->matrix_at ? f->shape.dim : 0;
    RT_TRY(
        emit_vectors(f, true, n_matrix, l->matrix_at, rt_share(n_matrix, part, n_parts, 1), err));
    RT_TRY(emit_vectors(f, false, f->shape.n_lists, l->centroids_at,
                        rt_share(f->shape.n_lists, part, n_parts, 1), err));
    for (uint32_t i = 0; i < l->n_pieces && part == 0; i++)
        RT_TRY(emit(f, l->small + l->pieces[i].first, l->pieces[i].n, l->pieces[i].at, err));
    if (part == 0)
        RT_TRY(emit_sizes(f, err));
done:
    return st;
}

/* ---- rows ---- */

static enum rt_status emit_piece(struct faiss *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_faiss_layout *l = &f->layout;
    const uint64_t row = f->live.offsets[f->list] + f->first;
    const uint64_t vector_bytes = f->shape.dim * sizeof(float);
    const uint64_t n_codes = l->is_blocked ? rt_block_count(f->n) : f->n;
    const uint64_t first_code = l->is_blocked ? f->first / RT_FAISS_BLOCK_ROWS : f->first;
    if (f->n == 0)
        return RT_OK;
    RT_TRY(emit(f, f->codes, n_codes * l->code_bytes,
                f->place.codes_at + first_code * l->code_bytes, err));
    RT_TRY(emit(f, f->in_list, (uint64_t)f->n * 8, f->place.ids_at + f->first * 8, err));
    if (l->refine_at) {
        RT_TRY(emit(f, f->vectors, f->n * vector_bytes, l->refine_at + row * vector_bytes, err));
        RT_TRY(emit(f, f->ids, (uint64_t)f->n * 8, l->ids_at + row * 8, err));
    }
    rt_progress_add(f->e->context.progress, RT_COUNT_DONE, f->n);
    f->first += f->n;
    f->n = 0;
    if (l->is_blocked)
        memset(f->codes, 0, (size_t)(n_codes * l->code_bytes));
done:
    return st;
}

/* Goes to a list, which is not before the present one. */
static void go_to_list(struct faiss *f, uint32_t list)
{
    while (f->next_list <= list)
        rt_faiss_list_next(&f->layout, rows_of(f, f->next_list++), &f->next_at, &f->place);
    f->list = list;
    f->first = 0;
}

static void put_code(struct faiss *f, uint32_t at, const uint8_t *code)
{
    const uint32_t dim = f->shape.dim;
    if (!f->layout.is_blocked) {
        memcpy(f->codes + (size_t)at * f->row_bytes, code, f->row_bytes);
        return;
    }
    uint8_t *block = f->codes + (size_t)(at / RT_FAISS_BLOCK_ROWS) * f->layout.code_bytes;
    uint32_t row = at % RT_FAISS_BLOCK_ROWS;
    uint8_t *factors = block + (size_t)RT_FAISS_BLOCK_ROWS * rt_code_bytes(dim);
    rt_block_put(block, dim, row, code);
    memcpy(factors + (size_t)row * 8, code + rt_code_bytes(dim), 8);
}

static enum rt_status take_row(void *context, const struct rt_live_row *row, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct faiss *f = context;
    if (f->n == f->most || row->list != f->list)
        RT_TRY(emit_piece(f, err));
    if (row->list != f->list || f->next_list == 0)
        go_to_list(f, row->list);
    float *vector = f->vectors ? f->vectors + (size_t)f->n * f->shape.dim : NULL;
    RT_TRY(rt_faiss_rows_take(f->maker, row, f->code, vector, err));
    put_code(f, f->n, f->code);
    f->ids[f->n] = row->id;
    f->in_list[f->n] = f->shape.refine ? f->live.offsets[row->list] + f->first + f->n : row->id;
    f->n++;
done:
    return st;
}

/* Lists of one part, so that parts have about as many rows. */
static struct rt_range lists_of(const struct faiss *f, int part, int n_parts)
{
    struct rt_range rows = rt_share(f->shape.n_rows, part, n_parts, 1);
    struct rt_range lists = {0, f->shape.n_lists};
    while (part > 0 && lists.begin < lists.end && f->live.offsets[lists.begin] < rows.begin)
        lists.begin++;
    if (part + 1 < n_parts)
        for (lists.end = lists.begin;
             lists.end < f->shape.n_lists && f->live.offsets[lists.end] < rows.end;)
            lists.end++;
    return lists;
}

static enum rt_status emit_lists(struct faiss *f, struct rt_range lists, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_live_rows_walk(&f->live, f->live.offsets[lists.begin], f->live.offsets[lists.end],
                             take_row, f, err));
    RT_TRY(emit_piece(f, err));
done:
    return st;
}

/* What stands before the arrays of a list. */
static enum rt_status emit_counts(struct faiss *f, struct rt_range lists, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t at = f->layout.lists_at;
    for (uint32_t list = 0; list < lists.end && f->layout.is_blocked; list++) {
        struct rt_faiss_list place;
        rt_faiss_list_next(&f->layout, rows_of(f, list), &at, &place);
        if (list < lists.begin)
            continue;
        RT_TRY(emit(f, &place.n_rows, 8, place.counts_at[0], err));
        RT_TRY(emit(f, &place.n_code_bytes, 8, place.counts_at[1], err));
    }
done:
    return st;
}

/* Vectors are read in the order of lists, from all over their files: they are checked in the order
 * of files before, by every rank a part. */
static enum rt_status check_vectors(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = e->context.job;
    for (size_t i = 0; i < e->view->n_vectors; i++) {
        const struct rt_vectors_view *file = &e->view->vectors[i];
        struct rt_vectors_datasets datasets = file->datasets;
        struct rt_range mine = rt_share(file->shape.n_slots, job->rank, job->n_ranks,
                                        rt_vectors_share_slots(&file->shape));
        uint64_t step = file->shape.cap_rows;
        for (uint64_t at = mine.begin; at < mine.end && datasets.vectors >= 0; at += step) {
            uint64_t n = mine.end - at < step ? mine.end - at : step;
            RT_TRY(rt_h5_map_check_rows(file->map, (uint32_t)datasets.vectors, at, n, err));
            RT_TRY(rt_phase_check(&e->context, err));
        }
    }
done:
    return st;
}

/* ---- begin and end ---- */

static enum rt_status allocate(struct faiss *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint32_t dim = f->shape.dim;
    bool is_rabitq = f->shape.kind >= RT_FAISS_RABITQ;
    f->row_bytes = is_rabitq ? rt_code_bytes(dim) + 8 : f->layout.code_bytes;
    uint64_t bytes = f->row_bytes + 16 + (f->shape.refine ? dim * sizeof(float) : 0);
    f->most = (uint32_t)(PIECE_BYTES / bytes / RT_FAISS_BLOCK_ROWS + 1) * RT_FAISS_BLOCK_ROWS;
    RT_TRY(rt_rotation_new(f->e->view->manifest->rotation_seed, dim, &f->rotation, err));
    RT_TRY(
        rt_faiss_rows_new(f->e->view, f->e->heap, f->shape.kind, f->shape.refine, &f->maker, err));
    RT_TRY(rt_array_new(f->row_bytes, 1, &f->code, err));
    RT_TRY(rt_array_zero(f->most, f->row_bytes, &f->codes, err));
    RT_TRY(rt_array_new(f->most, sizeof *f->in_list, &f->in_list, err));
    RT_TRY(rt_array_new(f->most, sizeof *f->ids, &f->ids, err));
    if (f->shape.refine)
        RT_TRY(rt_array_new(f->most, dim * sizeof(float), &f->vectors, err));
    if (f->is_proof)
        RT_TRY(rt_array_new(PIECE_BYTES, 1, &f->found, err));
done:
    return st;
}

/* Rank 0: the file at its full size. */
static enum rt_status create(const struct faiss *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int fd = -1;
    RT_TRY(rt_fs_open(f->path, O_RDWR | O_CREAT | O_TRUNC, &fd, err));
    if (ftruncate(fd, (off_t)f->layout.n_bytes) != 0)
        RT_FAIL(RT_IO, "cannot make '%s' %s bytes long: %s", f->path, RT_GROUPED(f->layout.n_bytes),
                strerror(errno));
done:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

/* Collective. faiss_end is due in every case. */
static enum rt_status faiss_begin(struct rt_export *e, bool is_proof, struct faiss *f,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = e->context.job;
    *f = (struct faiss){.e = e, .path = e->partial[0], .is_proof = is_proof, .fd = -1};
    RT_TRY(rt_live_rows_count(&e->context, e->view, &f->live, err));
    f->shape = shape_of(e);
    f->shape.offsets = f->live.offsets;
    RT_LOCAL(rt_faiss_layout_make(&f->shape, &f->layout, err));
    RT_LOCAL(allocate(f, err));
    if (!is_proof && e->view->n_vectors &&
        rt_faiss_rows_needs_vectors(e->view, f->shape.kind, f->shape.refine))
        RT_LOCAL(check_vectors(e, err));
    if (!is_proof && job->rank == 0)
        RT_LOCAL(create(f, err));
    RT_AGREE(job->comm);
    f->next_at = f->layout.lists_at;
    RT_LOCAL(rt_fs_open(f->path, is_proof ? O_RDONLY : O_RDWR, &f->fd, err));
    RT_AGREE(job->comm);
done:
    return st;
}

static void faiss_end(struct faiss *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    rt_live_rows_free(&f->live);
    rt_faiss_rows_free(f->maker);
    rt_rotation_free(f->rotation);
    rt_array_free(f->found);
    rt_array_free(f->codes);
    rt_array_free(f->code);
    rt_array_free(f->in_list);
    rt_array_free(f->ids);
    rt_array_free(f->vectors);
}

static enum rt_status write_file(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = e->context.job;
    struct faiss f;
    RT_TRY(faiss_begin(e, false, &f, err));
    rt_progress_set_total(e->context.progress, f.shape.n_rows);
    struct rt_range lists = lists_of(&f, job->rank, job->n_ranks);
    RT_TRY(emit_frame(&f, job->rank, job->n_ranks, err));
    RT_TRY(emit_counts(&f, lists, err));
    RT_TRY(emit_lists(&f, lists, err));
    RT_TRY(rt_fs_sync(f.fd, f.path, err));
done:
    faiss_end(&f);
    return st;
}

/* ---- proof ---- */

/* What a walk through the file has found against what was meant. */
static enum rt_status compare(const struct faiss *f, const struct rt_faiss_shape *shape,
                              const struct rt_faiss_layout *found, const uint64_t *list_rows,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_faiss_layout *l = &f->layout;
    bool is_same = shape->dim == f->shape.dim && shape->n_rows == f->shape.n_rows &&
                   shape->n_lists == f->shape.n_lists && shape->kind == f->shape.kind &&
                   shape->metric == f->shape.metric && shape->n_probes == f->shape.n_probes &&
                   shape->refine == f->shape.refine && found->n_bytes == l->n_bytes &&
                   found->code_bytes == l->code_bytes && found->matrix_at == l->matrix_at &&
                   found->centroids_at == l->centroids_at && found->lists_at == l->lists_at &&
                   found->refine_at == l->refine_at && found->ids_at == l->ids_at;
    for (uint32_t list = 0; is_same && list < shape->n_lists; list++)
        is_same = list_rows[list] == rows_of(f, list);
    if (!is_same)
        RT_FAIL(RT_IO, "'%s' reads as another index than was written", f->path);
done:
    return st;
}

static enum rt_status prove_lists(struct faiss *f, struct rt_range lists, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = rt_range_count(lists);
    uint64_t step = f->e->context.job->options->verify_writes ? 1 : n / SAMPLED_LISTS + 1;
    if (step == 1)
        return emit_lists(f, lists, err);
    for (uint64_t list = lists.begin; list < lists.end; list += step)
        RT_TRY(emit_lists(f, (struct rt_range){list, list + 1}, err));
done:
    return st;
}

/* Another rank's part than was written. */
static enum rt_status prove_file(struct rt_export *e, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = e->context.job;
    struct faiss f;
    struct rt_faiss_shape shape;
    struct rt_faiss_layout found;
    uint64_t *list_rows = NULL;
    int part = (job->rank + 1) % job->n_ranks;
    RT_TRY(faiss_begin(e, true, &f, err));
    RT_TRY(rt_faiss_walk(f.path, &shape, &found, &list_rows, err));
    RT_TRY(compare(&f, &shape, &found, list_rows, err));
    struct rt_range lists = lists_of(&f, part, job->n_ranks);
    RT_TRY(emit_frame(&f, part, job->n_ranks, err));
    RT_TRY(emit_counts(&f, lists, err));
    RT_TRY(prove_lists(&f, lists, err));
done:
    rt_array_free(list_rows);
    faiss_end(&f);
    return st;
}

const struct rt_export_format rt_export_faiss = {.name = "faiss",
                                                 .unit = "rows",
                                                 .endings = {""},
                                                 .check = check_call,
                                                 .write = write_file,
                                                 .prove = prove_file};
