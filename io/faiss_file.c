#include "io/faiss_file.h"

#include "core/memory.h"
#include "core/units.h"
#include "io/fs.h"
#include "io/input_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define UNUSED_FIELD UINT64_C(1048576) /* two of every header: readers take anything */
#define K_FACTOR 8.0f                  /* rows measured again for each one wanted */
#define QUERY_BITS 8u
#define FP16_TYPE 4u /* of ScalarQuantizer */
#define U8_TYPE 5u
#define METRIC_IP 0u
#define METRIC_L2 1u

/* ---- the order of fields ---- */

/* Small fields are kept, large arrays leave a gap that ranks fill. */
struct writer {
    struct rt_faiss_layout *layout;
    uint64_t at;
    bool overflows;
};

static void put(struct writer *w, const void *bytes, size_t n)
{
    struct rt_faiss_layout *l = w->layout;
    struct rt_faiss_piece *last = l->n_pieces ? &l->pieces[l->n_pieces - 1] : NULL;
    if (!last || last->at + last->n != w->at) {
        rt_assert(l->n_pieces < RT_FAISS_PIECES);
        last = &l->pieces[l->n_pieces++];
        *last = (struct rt_faiss_piece){.at = w->at, .first = l->n_small};
    }
    rt_assert(l->n_small + n <= RT_FAISS_SMALL_BYTES);
    memcpy(l->small + l->n_small, bytes, n);
    l->n_small += (uint32_t)n;
    last->n += (uint32_t)n;
    w->at += n;
}

static void put_u64(struct writer *w, uint64_t value)
{
    put(w, &value, sizeof value);
}

static void put_u32(struct writer *w, uint32_t value)
{
    put(w, &value, sizeof value);
}

static void put_u8(struct writer *w, uint8_t value)
{
    put(w, &value, 1);
}

static void put_f32(struct writer *w, float value)
{
    put(w, &value, sizeof value);
}

/* n items of so many bytes; returns where they begin. */
static uint64_t leave(struct writer *w, uint64_t n, uint64_t item_bytes)
{
    uint64_t begin = w->at;
    uint64_t n_bytes = 0;
    w->overflows = w->overflows || !rt_mul_u64(n, item_bytes, &n_bytes) ||
                   !rt_add_u64(w->at, n_bytes, &w->at) || w->at > INT64_MAX;
    return begin;
}

static uint32_t metric_of(const struct rt_faiss_shape *shape)
{
    return shape->metric == RT_L2 ? METRIC_L2 : METRIC_IP;
}

static void put_header(struct writer *w, const char *fourcc, uint32_t dim, uint64_t n,
                       uint32_t metric)
{
    put(w, fourcc, 4);
    put_u32(w, dim);
    put_u64(w, n);
    put_u64(w, UNUSED_FIELD);
    put_u64(w, UNUSED_FIELD);
    put_u8(w, 1); /* trained */
    put_u32(w, metric);
}

static void put_tail(struct writer *w, uint32_t dim)
{
    put_u32(w, dim);
    put_u32(w, dim);
    put_u8(w, 1);
}

/* Vectors as they are; returns where they begin. */
static uint64_t put_flat(struct writer *w, uint32_t dim, uint64_t n, uint32_t metric)
{
    uint64_t values = 0;
    w->overflows = w->overflows || !rt_mul_u64(n, dim, &values);
    put_header(w, metric == METRIC_L2 ? "IxF2" : "IxFI", dim, n, metric);
    put_u64(w, values);
    return leave(w, values, sizeof(float));
}

static bool is_rabitq(enum rt_faiss_kind kind)
{
    return kind == RT_FAISS_RABITQ || kind == RT_FAISS_RABITQ_FASTSCAN;
}

static void put_normalization(struct writer *w, uint32_t dim)
{
    put(w, "VNrm", 4);
    put_f32(w, 2.0f);
    put_tail(w, dim);
}

static void put_rotation(struct writer *w, uint32_t dim)
{
    put(w, "LTra", 4);
    put_u8(w, 0); /* no bias */
    put_u64(w, (uint64_t)dim * dim);
    w->layout->matrix_at = leave(w, (uint64_t)dim * dim, sizeof(float));
    put_u64(w, 0);
    put_tail(w, dim);
}

/* ---- lists ---- */

static void put_sizes(struct writer *w, const struct rt_faiss_shape *shape)
{
    uint32_t n_used = 0;
    for (uint32_t list = 0; list < shape->n_lists; list++)
        n_used += shape->offsets[list + 1] > shape->offsets[list];
    w->layout->sizes_are_sparse = n_used <= shape->n_lists / 2; /* as FAISS chooses */
    uint64_t n = w->layout->sizes_are_sparse ? 2 * (uint64_t)n_used : shape->n_lists;
    put(w, w->layout->sizes_are_sparse ? "sprs" : "full", 4);
    put_u64(w, n);
    w->layout->sizes_at = leave(w, n, sizeof(uint64_t));
}

static void put_lists(struct writer *w, const struct rt_faiss_shape *shape)
{
    put(w, "ilar", 4);
    put_u64(w, shape->n_lists);
    put_u64(w, w->layout->code_bytes);
    put_sizes(w, shape);
    w->layout->lists_at = leave(w, shape->n_rows, w->layout->code_bytes + sizeof(uint64_t));
}

static void put_blocked_lists(struct writer *w, const struct rt_faiss_shape *shape)
{
    put(w, "ilbl", 4);
    put_u64(w, shape->n_lists);
    put_u64(w, UINT64_MAX); /* code_size: none */
    put_u64(w, RT_FAISS_BLOCK_ROWS);
    put_u64(w, w->layout->code_bytes);
    w->layout->lists_at = leave(w, shape->n_rows, sizeof(uint64_t));
    (void)leave(w, shape->n_lists, 2 * sizeof(uint64_t));
    for (uint32_t list = 0; list < shape->n_lists; list++) {
        uint64_t n = shape->offsets[list + 1] - shape->offsets[list];
        (void)leave(w, n / RT_FAISS_BLOCK_ROWS + (n % RT_FAISS_BLOCK_ROWS != 0),
                    w->layout->code_bytes);
    }
}

static uint32_t row_code_bytes(const struct rt_faiss_shape *shape)
{
    switch (shape->kind) {
    case RT_FAISS_FLAT:
        return 4 * shape->dim;
    case RT_FAISS_FP16:
        return 2 * shape->dim;
    case RT_FAISS_U8:
        return shape->dim;
    case RT_FAISS_RABITQ:
    case RT_FAISS_RABITQ_FASTSCAN:
        break;
    }
    return (shape->dim + 7) / 8 + 8; /* bits, and two factors */
}

static void put_ivf_header(struct writer *w, const struct rt_faiss_shape *shape, const char *fourcc)
{
    put_header(w, fourcc, shape->dim, shape->n_rows, metric_of(shape));
    put_u64(w, shape->n_lists);
    put_u64(w, shape->n_probes);
    /* leaves are ranked as our search ranks them: unit rows by l2 */
    w->layout->centroids_at =
        put_flat(w, shape->dim, shape->n_lists, shape->metric == RT_IP ? METRIC_IP : METRIC_L2);
    put_u8(w, 0); /* no direct map */
    put_u64(w, 0);
}

static void put_quantizer(struct writer *w, const struct rt_faiss_shape *shape)
{
    put_u32(w, shape->kind == RT_FAISS_U8 ? U8_TYPE : FP16_TYPE);
    put_u32(w, 0); /* range statistics: none */
    put_f32(w, 0);
    put_u64(w, shape->dim);
    put_u64(w, w->layout->code_bytes);
    put_u64(w, 0); /* nothing trained */
    put_u64(w, w->layout->code_bytes);
    put_u8(w, 0); /* by_residual */
}

static void put_rabitq(struct writer *w, const struct rt_faiss_shape *shape)
{
    bool is_fast = shape->kind == RT_FAISS_RABITQ_FASTSCAN;
    uint32_t code_bytes = row_code_bytes(shape);
    uint32_t sub_quantizers = 2 * ((shape->dim + 7) / 8);
    put_u64(w, shape->dim);
    put_u64(w, code_bytes);
    put_u32(w, metric_of(shape));
    if (is_fast)
        put_u64(w, 1); /* bits a dimension */
    else
        put_u64(w, code_bytes);
    put_u8(w, 1); /* by_residual */
    if (is_fast) {
        put_u64(w, code_bytes);
        put_u32(w, RT_FAISS_BLOCK_ROWS);
        put_u64(w, 0);
        put_u64(w, sub_quantizers);
        put_u32(w, 0);
    }
    put_u8(w, QUERY_BITS);
    if (is_fast) {
        put_u8(w, 0); /* centered */
        w->layout->is_blocked = true;
        w->layout->code_bytes = RT_FAISS_BLOCK_ROWS * (sub_quantizers / 2 + 8);
    }
}

static void put_ivf(struct writer *w, const struct rt_faiss_shape *shape)
{
    static const char *const fourccs[] = {"IwFl", "IwSq", "IwSq", "Iwrq", "Iwrn"};
    w->layout->code_bytes = row_code_bytes(shape);
    put_ivf_header(w, shape, fourccs[shape->kind]);
    if (shape->kind == RT_FAISS_FP16 || shape->kind == RT_FAISS_U8)
        put_quantizer(w, shape);
    if (is_rabitq(shape->kind))
        put_rabitq(w, shape);
    if (w->layout->is_blocked)
        put_blocked_lists(w, shape);
    else
        put_lists(w, shape);
}

/* Queries are scaled first (cosine), then rotated for codes: transforms before an index. */
static void put_chain(struct writer *w, const struct rt_faiss_shape *shape, bool normalizes,
                      bool rotates)
{
    if (!normalizes && !rotates)
        return;
    put_header(w, "IxPT", shape->dim, shape->n_rows, metric_of(shape));
    put_u32(w, (uint32_t)normalizes + (uint32_t)rotates);
    if (normalizes)
        put_normalization(w, shape->dim);
    if (rotates)
        put_rotation(w, shape->dim);
}

enum rt_status rt_faiss_layout_make(const struct rt_faiss_shape *shape,
                                    struct rt_faiss_layout *layout, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct writer w = {.layout = layout};
    uint32_t metric = metric_of(shape);
    bool is_cosine = shape->metric == RT_COSINE;
    memset(layout, 0, sizeof *layout);
    if (shape->refine) { /* positions inside, ids around them */
        put_chain(&w, shape, is_cosine, false);
        put_header(&w, "IxM2", shape->dim, shape->n_rows, metric);
        put_header(&w, "IxRF", shape->dim, shape->n_rows, metric);
        put_chain(&w, shape, false, is_rabitq(shape->kind));
    } else {
        put_chain(&w, shape, is_cosine, is_rabitq(shape->kind));
    }
    put_ivf(&w, shape);
    if (shape->refine) {
        layout->refine_at = put_flat(&w, shape->dim, shape->n_rows, metric);
        put_f32(&w, K_FACTOR);
        put_u64(&w, shape->n_rows);
        layout->ids_at = leave(&w, shape->n_rows, sizeof(uint64_t));
    }
    layout->n_bytes = w.at;
    if (w.overflows)
        RT_FAIL(RT_USAGE, "%s rows of dimension %" PRIu32 " are more than a file can hold",
                RT_GROUPED(shape->n_rows), shape->dim);
done:
    return st;
}

void rt_faiss_list_next(const struct rt_faiss_layout *layout, uint64_t n_rows, uint64_t *at,
                        struct rt_faiss_list *out)
{
    uint64_t n_codes = layout->is_blocked
                           ? n_rows / RT_FAISS_BLOCK_ROWS + (n_rows % RT_FAISS_BLOCK_ROWS != 0)
                           : n_rows;
    *out = (struct rt_faiss_list){.n_rows = n_rows, .n_code_bytes = n_codes * layout->code_bytes};
    if (layout->is_blocked) {
        out->counts_at[0] = *at;
        out->ids_at = *at + sizeof(uint64_t);
        out->counts_at[1] = out->ids_at + n_rows * sizeof(uint64_t);
        out->codes_at = out->counts_at[1] + sizeof(uint64_t);
        *at = out->codes_at + out->n_code_bytes;
    } else {
        out->codes_at = *at;
        out->ids_at = *at + out->n_code_bytes;
        *at = out->ids_at + n_rows * sizeof(uint64_t);
    }
}

/* ---- a finished file ---- */

#define MOST_NESTED 6

struct reader {
    const char *path;
    int fd;
    uint64_t at, size;
    struct rt_faiss_shape *shape;
    struct rt_faiss_layout *found;
    uint64_t *list_rows;
    bool has_header;
};

static enum rt_status take(struct reader *r, void *out, size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n > r->size - r->at)
        RT_FAIL(RT_IO, "'%s' ends at byte %s, where more must follow", r->path,
                RT_GROUPED(r->size));
    RT_TRY(rt_fs_read_at(r->fd, r->path, out, n, r->at, err));
    r->at += n;
done:
    return st;
}

/* An array: n items; where it begins. */
static enum rt_status pass(struct reader *r, uint64_t n, uint64_t item_bytes, uint64_t *begin,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_bytes = 0;
    if (!rt_mul_u64(n, item_bytes, &n_bytes) || n_bytes > r->size - r->at)
        RT_FAIL(RT_IO, "'%s': %s items of %s bytes at byte %s reach beyond its end", r->path,
                RT_GROUPED(n), RT_GROUPED(item_bytes), RT_GROUPED(r->at));
    if (begin)
        *begin = r->at;
    r->at += n_bytes;
done:
    return st;
}

/* A field whose value is known. */
static enum rt_status expect(struct reader *r, const char *what, uint64_t value, size_t n_bytes,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t found = 0;
    uint64_t at = r->at;
    RT_TRY(take(r, &found, n_bytes, err));
    if (found != value)
        RT_FAIL(RT_IO, "'%s': %s at byte %s is %s, expected %s", r->path, what, RT_GROUPED(at),
                RT_GROUPED(found), RT_GROUPED(value));
done:
    return st;
}

static enum rt_status take_fourcc(struct reader *r, char fourcc[5], struct rt_error *err)
{
    fourcc[4] = '\0';
    return take(r, fourcc, 4, err);
}

static enum rt_status unknown(const struct reader *r, const char *fourcc, struct rt_error *err)
{
    return rt_error_set(err, RT_IO, __FILE__, __LINE__, "'%s' has '%.4s' at byte %s", r->path,
                        fourcc, RT_GROUPED(r->at - 4));
}

/* All headers of a file say the same, but for the count of a quantizer. */
static enum rt_status take_header(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t metric = 0;
    if (!r->has_header) {
        RT_TRY(take(r, &r->shape->dim, 4, err));
        RT_TRY(take(r, &r->shape->n_rows, 8, err));
        RT_TRY(pass(r, 17, 1, NULL, err));
        RT_TRY(take(r, &metric, 4, err));
        r->shape->metric = metric == METRIC_L2 ? RT_L2 : RT_IP;
        r->has_header = true;
        goto done;
    }
    RT_TRY(expect(r, "the dimension", r->shape->dim, 4, err));
    RT_TRY(expect(r, "the count of rows", r->shape->n_rows, 8, err));
    RT_TRY(pass(r, 17, 1, NULL, err));
    RT_TRY(expect(r, "the metric", metric_of(r->shape), 4, err));
done:
    return st;
}

static enum rt_status take_flat(struct reader *r, uint64_t n, uint64_t *begin, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char fourcc[5];
    uint64_t values = 0;
    RT_TRY(take_fourcc(r, fourcc, err));
    bool is_l2 = strcmp(fourcc, "IxF2") == 0;
    if (!is_l2 && strcmp(fourcc, "IxFI") != 0)
        RT_TRY(unknown(r, fourcc, err));
    RT_TRY(expect(r, "the dimension of vectors", r->shape->dim, 4, err));
    RT_TRY(expect(r, "the count of vectors", n, 8, err));
    RT_TRY(pass(r, 17, 1, NULL, err));
    RT_TRY(expect(r, "the metric of vectors", is_l2 ? METRIC_L2 : METRIC_IP, 4, err));
    if (!rt_mul_u64(n, r->shape->dim, &values))
        RT_TRY(unknown(r, fourcc, err));
    RT_TRY(expect(r, "the count of values", values, 8, err));
    RT_TRY(pass(r, values, sizeof(float), begin, err));
done:
    return st;
}

static enum rt_status take_transforms(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n = 0;
    uint64_t square = (uint64_t)r->shape->dim * r->shape->dim;
    RT_TRY(take(r, &n, 4, err));
    for (uint32_t i = 0; i < n; i++) {
        char fourcc[5];
        RT_TRY(take_fourcc(r, fourcc, err));
        if (strcmp(fourcc, "VNrm") == 0) {
            RT_TRY(pass(r, 1, sizeof(float), NULL, err));
            r->shape->metric = RT_COSINE;
        } else if (strcmp(fourcc, "LTra") == 0) {
            RT_TRY(expect(r, "the bias", 0, 1, err));
            RT_TRY(expect(r, "the size of the rotation", square, 8, err));
            RT_TRY(pass(r, square, sizeof(float), &r->found->matrix_at, err));
            RT_TRY(expect(r, "the size of the bias", 0, 8, err));
        } else {
            RT_TRY(unknown(r, fourcc, err));
        }
        RT_TRY(expect(r, "the dimension", r->shape->dim, 4, err));
        RT_TRY(expect(r, "the dimension", r->shape->dim, 4, err));
        RT_TRY(expect(r, "the mark of what is trained", 1, 1, err));
    }
done:
    return st;
}

static enum rt_status take_sizes(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char fourcc[5];
    uint64_t n = 0;
    uint64_t pair[2] = {0, 0};
    RT_TRY(take_fourcc(r, fourcc, err));
    bool is_sparse = strcmp(fourcc, "sprs") == 0;
    if (!is_sparse && strcmp(fourcc, "full") != 0)
        RT_TRY(unknown(r, fourcc, err));
    r->found->sizes_are_sparse = is_sparse;
    RT_TRY(take(r, &n, 8, err));
    r->found->sizes_at = r->at;
    for (uint64_t i = 0; i < n; i += 1 + is_sparse) {
        pair[0] = i;
        RT_TRY(take(r, is_sparse ? pair : pair + 1, is_sparse ? 16 : 8, err));
        if (pair[0] >= r->shape->n_lists)
            RT_FAIL(RT_IO, "'%s' has the size of list %s", r->path, RT_GROUPED(pair[0]));
        r->list_rows[pair[0]] = pair[1];
    }
done:
    return st;
}

static enum rt_status take_blocked_lists(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(expect(r, "the size of codes", UINT64_MAX, 8, err));
    RT_TRY(expect(r, "the rows of a block", RT_FAISS_BLOCK_ROWS, 8, err));
    RT_TRY(expect(r, "the bytes of a block", r->found->code_bytes, 8, err));
    r->found->lists_at = r->at;
    for (uint32_t list = 0; list < r->shape->n_lists; list++) {
        uint64_t n = 0;
        RT_TRY(take(r, &n, 8, err));
        r->list_rows[list] = n;
        RT_TRY(pass(r, n, sizeof(uint64_t), NULL, err));
        n = (n / RT_FAISS_BLOCK_ROWS + (n % RT_FAISS_BLOCK_ROWS != 0)) * r->found->code_bytes;
        RT_TRY(expect(r, "the bytes of a list", n, 8, err));
        RT_TRY(pass(r, n, 1, NULL, err));
    }
done:
    return st;
}

static enum rt_status take_lists(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char fourcc[5];
    uint64_t n_rows = 0;
    RT_TRY(take_fourcc(r, fourcc, err));
    if (strcmp(fourcc, r->found->is_blocked ? "ilbl" : "ilar") != 0)
        RT_TRY(unknown(r, fourcc, err));
    RT_TRY(expect(r, "the count of lists", r->shape->n_lists, 8, err));
    if (r->found->is_blocked) {
        RT_TRY(take_blocked_lists(r, err));
    } else {
        RT_TRY(expect(r, "the size of codes", r->found->code_bytes, 8, err));
        RT_TRY(take_sizes(r, err));
        r->found->lists_at = r->at;
    }
    for (uint32_t list = 0; list < r->shape->n_lists; list++)
        if (!rt_add_u64(n_rows, r->list_rows[list], &n_rows))
            n_rows = UINT64_MAX;
    if (n_rows != r->shape->n_rows)
        RT_FAIL(RT_IO, "'%s' has %s rows in its lists, %s by its header", r->path,
                RT_GROUPED(n_rows), RT_GROUPED(r->shape->n_rows));
    if (!r->found->is_blocked)
        RT_TRY(pass(r, n_rows, r->found->code_bytes + sizeof(uint64_t), NULL, err));
done:
    return st;
}

static enum rt_status take_quantizer(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t type = 0;
    RT_TRY(take(r, &type, 4, err));
    r->shape->kind = type == U8_TYPE ? RT_FAISS_U8 : RT_FAISS_FP16;
    r->found->code_bytes = row_code_bytes(r->shape);
    RT_TRY(pass(r, 8, 1, NULL, err)); /* range statistics */
    RT_TRY(expect(r, "the dimension", r->shape->dim, 8, err));
    RT_TRY(expect(r, "the size of codes", r->found->code_bytes, 8, err));
    RT_TRY(expect(r, "the size of what is trained", 0, 8, err));
    RT_TRY(expect(r, "the size of codes", r->found->code_bytes, 8, err));
    RT_TRY(expect(r, "by_residual", 0, 1, err));
done:
    return st;
}

static enum rt_status take_rabitq(struct reader *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool is_fast = r->shape->kind == RT_FAISS_RABITQ_FASTSCAN;
    uint32_t code_bytes = row_code_bytes(r->shape);
    uint32_t pairs = (r->shape->dim + 7) / 8;
    RT_TRY(expect(r, "the dimension", r->shape->dim, 8, err));
    RT_TRY(expect(r, "the size of codes", code_bytes, 8, err));
    RT_TRY(expect(r, "the metric", metric_of(r->shape), 4, err));
    RT_TRY(expect(r, is_fast ? "bits" : "the size of codes", is_fast ? 1 : code_bytes, 8, err));
    RT_TRY(expect(r, "by_residual", 1, 1, err));
    if (is_fast) {
        RT_TRY(expect(r, "the size of codes", code_bytes, 8, err));
        RT_TRY(expect(r, "the rows of a block", RT_FAISS_BLOCK_ROWS, 4, err));
        RT_TRY(expect(r, "qbs2", 0, 8, err));
        RT_TRY(expect(r, "the count of nibbles", UINT64_C(2) * pairs, 8, err));
        RT_TRY(expect(r, "implem", 0, 4, err));
    }
    RT_TRY(expect(r, "the bits of a query", QUERY_BITS, 1, err));
    if (is_fast)
        RT_TRY(expect(r, "centered", 0, 1, err));
    r->found->is_blocked = is_fast;
    r->found->code_bytes = is_fast ? RT_FAISS_BLOCK_ROWS * (pairs + 8) : code_bytes;
done:
    return st;
}

static enum rt_status take_ivf(struct reader *r, enum rt_faiss_kind kind, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_lists = 0;
    r->shape->kind = kind;
    RT_TRY(take_header(r, err));
    r->found->code_bytes = row_code_bytes(r->shape);
    RT_TRY(take(r, &n_lists, 8, err));
    if (n_lists == 0 || n_lists > r->size / sizeof(float))
        RT_FAIL(RT_IO, "'%s' says it has %s lists", r->path, RT_GROUPED(n_lists));
    r->shape->n_lists = (uint32_t)n_lists;
    RT_TRY(take(r, &r->shape->n_probes, 8, err));
    RT_TRY(take_flat(r, n_lists, &r->found->centroids_at, err));
    RT_TRY(expect(r, "the direct map", 0, 1, err));
    RT_TRY(expect(r, "the size of the direct map", 0, 8, err));
    RT_TRY(rt_array_zero((size_t)n_lists, sizeof *r->list_rows, &r->list_rows, err));
    if (kind == RT_FAISS_FP16)
        RT_TRY(take_quantizer(r, err));
    if (is_rabitq(kind))
        RT_TRY(take_rabitq(r, err));
    RT_TRY(take_lists(r, err));
done:
    return st;
}

/* One index, from its fourcc to its last byte; what it wraps comes first in its fields. */
static enum rt_status take_index(struct reader *r, uint32_t depth, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char fourcc[5];
    static const struct {
        const char *fourcc;
        enum rt_faiss_kind kind;
    } kinds[] = {{"IwFl", RT_FAISS_FLAT},
                 {"IwSq", RT_FAISS_FP16},
                 {"Iwrq", RT_FAISS_RABITQ},
                 {"Iwrn", RT_FAISS_RABITQ_FASTSCAN}};
    RT_TRY(take_fourcc(r, fourcc, err));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(fourcc, kinds[i].fourcc) == 0)
            return take_ivf(r, kinds[i].kind, err);
    bool is_map = strcmp(fourcc, "IxM2") == 0;
    bool is_refined = strcmp(fourcc, "IxRF") == 0;
    bool is_chain = strcmp(fourcc, "IxPT") == 0;
    if ((!is_map && !is_refined && !is_chain) || depth == MOST_NESTED)
        RT_TRY(unknown(r, fourcc, err));
    RT_TRY(take_header(r, err));
    if (is_chain)
        RT_TRY(take_transforms(r, err));
    RT_TRY(take_index(r, depth + 1, err));
    if (is_refined) {
        RT_TRY(take_flat(r, r->shape->n_rows, &r->found->refine_at, err));
        RT_TRY(pass(r, 1, sizeof(float), NULL, err));
        r->shape->refine = true;
    }
    if (is_map) {
        RT_TRY(expect(r, "the count of ids", r->shape->n_rows, 8, err));
        RT_TRY(pass(r, r->shape->n_rows, sizeof(uint64_t), &r->found->ids_at, err));
    }
done:
    return st;
}

enum rt_status rt_faiss_walk(const char *path, struct rt_faiss_shape *shape,
                             struct rt_faiss_layout *found, uint64_t **list_rows,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct reader r = {.path = path, .fd = -1, .shape = shape, .found = found};
    memset(shape, 0, sizeof *shape);
    memset(found, 0, sizeof *found);
    RT_TRY(rt_fs_size(path, &r.size, err));
    RT_TRY(rt_fs_open(path, O_RDONLY, &r.fd, err));
    RT_TRY(take_index(&r, 0, err));
    if (r.at != r.size)
        RT_FAIL(RT_IO, "'%s' has %s bytes behind its index", path, RT_GROUPED(r.size - r.at));
    found->n_bytes = r.size;
    *list_rows = r.list_rows;
    r.list_rows = NULL;
done:
    if (r.fd >= 0)
        (void)close(r.fd);
    rt_array_free(r.list_rows);
    return st;
}
