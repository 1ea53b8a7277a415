#include "io/npy.h"

#include "core/memory.h"

#include <string.h>

#define LONGEST_HEADER 65536u /* numpy itself refuses more than 10,000 by default */
#define LONGEST_DESCR 16
#define MOST_AXES 32 /* numpy's own limit */

struct header {
    char descr[LONGEST_DESCR];
    bool is_structured, is_fortran;
    bool has_descr, has_order, has_shape;
    uint32_t n_axes;
    uint64_t shape[MOST_AXES];
};

/* The dict literal, read from left to right; every step stops at end. */
struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool take(struct cursor *c, const char *word)
{
    skip_space(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0)
        return false;
    c->at += n;
    return true;
}

/* A quoted string without escapes; longer ones than text are cut. */
static bool take_string(struct cursor *c, char *text, size_t text_size)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    char quote = *c->at++;
    const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (!close || memchr(c->at, '\\', (size_t)(close - c->at)))
        return false;
    size_t n = (size_t)(close - c->at) < text_size - 1 ? (size_t)(close - c->at) : text_size - 1;
    memcpy(text, c->at, n);
    text[n] = 0;
    c->at = close + 1;
    return true;
}

/* An unsigned integer, with Python 2's L. */
static bool take_number(struct cursor *c, uint64_t *out)
{
    skip_space(c);
    if (c->at == c->end || *c->at < '0' || *c->at > '9')
        return false;
    uint64_t value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (!rt_mul_u64(value, 10, &value) || !rt_add_u64(value, (uint64_t)(*c->at - '0'), &value))
            return false;
    if (c->at < c->end && *c->at == 'L')
        c->at++;
    *out = value;
    return true;
}

static bool take_shape(struct cursor *c, struct header *h)
{
    if (!take(c, "("))
        return false;
    h->n_axes = 0;
    while (!take(c, ")")) {
        if (h->n_axes == MOST_AXES || !take_number(c, &h->shape[h->n_axes]))
            return false;
        h->n_axes++;
        if (!take(c, ",")) /* only before ')' may it be missing */
            return take(c, ")");
    }
    return true;
}

static bool take_pair(struct cursor *c, struct header *h)
{
    char key[LONGEST_DESCR];
    if (!take_string(c, key, sizeof key) || !take(c, ":"))
        return false;
    if (!strcmp(key, "descr") && !h->has_descr) {
        h->has_descr = true;
        h->is_structured = take(c, "[");
        return h->is_structured || take_string(c, h->descr, sizeof h->descr);
    }
    if (!strcmp(key, "fortran_order") && !h->has_order) {
        h->has_order = true;
        h->is_fortran = take(c, "True");
        return h->is_fortran || take(c, "False");
    }
    if (!strcmp(key, "shape") && !h->has_shape) {
        h->has_shape = true;
        return take_shape(c, h);
    }
    return false;
}

/* False where it is not the dict that numpy writes. A structured type ends the reading: it is
 * refused anyway. */
static bool parse(const char *text, size_t n_bytes, struct header *h)
{
    struct cursor c = {text, text + n_bytes};
    if (!take(&c, "{"))
        return false;
    while (!take(&c, "}")) {
        if (!take_pair(&c, h))
            return false;
        if (h->is_structured)
            return true;
        if (!take(&c, ",")) {
            if (!take(&c, "}"))
                return false;
            break;
        }
    }
    skip_space(&c);
    return c.at == c.end && h->has_descr && h->has_order && h->has_shape;
}

static enum rt_status judge_type(const char *path, const struct header *h, struct rt_npy *npy,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *d = h->descr;
    if (h->is_structured)
        RT_FAIL(RT_INPUT, "'%s' holds records of several fields; save one plain array", path);
    if (d[0] == '>')
        RT_FAIL(RT_INPUT, "'%s' is big-endian ('%s'); save it little-endian: a.astype('<%s')", path,
                d, d + 1);
    if (strchr(d, 'O'))
        RT_FAIL(RT_INPUT, "'%s' holds pickled objects, which are never read; save plain numbers",
                path);
    bool is_known = (d[0] == '<' || d[0] == '|') && d[1] && strchr("fui", d[1]) && d[2] &&
                    strchr("1248", d[2]) && !d[3] && (d[1] != 'f' || d[2] != '1') &&
                    (d[0] == '<' || d[2] == '1');
    if (!is_known)
        RT_FAIL(RT_INPUT,
                "'%s' holds '%s', no type that is read here (<f4 <f2 <f8 |u1 |i1, ids "
                "<u8 <i8 <u4 <i4)",
                path, d);
    npy->kind = d[1];
    npy->item_bytes = (uint32_t)(d[2] - '0');
done:
    return st;
}

static enum rt_status judge_shape(const char *path, const struct header *h, struct rt_npy *npy,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (h->n_axes < 1 || h->n_axes > 2)
        RT_FAIL(RT_INPUT, "'%s' has %u axes; rows have 2 (rows, dimension), ids 1", path,
                h->n_axes);
    npy->n_axes = h->n_axes;
    npy->shape[0] = h->shape[0];
    npy->shape[1] = h->n_axes == 2 ? h->shape[1] : 1;
    if (h->is_fortran && npy->shape[0] > 1 && npy->shape[1] > 1)
        RT_FAIL(RT_INPUT,
                "'%s' is in Fortran order (column by column); save numpy.ascontiguousarray(a)",
                path);
done:
    return st;
}

static enum rt_status judge_size(const struct rt_input_file *file, const struct rt_npy *npy,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t row_bytes = 0, n_bytes = 0, expected = 0;
    const char *path = file->path;
    if (!rt_mul_u64(npy->shape[1], npy->item_bytes, &row_bytes) ||
        !rt_mul_u64(npy->shape[0], row_bytes, &n_bytes) ||
        !rt_add_u64(n_bytes, npy->data_offset, &expected))
        RT_FAIL(RT_INPUT, "'%s' is %s bytes, its header says %s x %s of %u bytes: more than 2^64",
                path, RT_GROUPED(file->size), RT_GROUPED(npy->shape[0]), RT_GROUPED(npy->shape[1]),
                npy->item_bytes);
    uint64_t there = file->size - npy->data_offset;
    if (file->size < expected)
        RT_FAIL(RT_INPUT,
                "'%s' is %s bytes, its header says %s (%s x %s of %u bytes): truncated, %s whole "
                "rows are there",
                path, RT_GROUPED(file->size), RT_GROUPED(expected), RT_GROUPED(npy->shape[0]),
                RT_GROUPED(npy->shape[1]), npy->item_bytes, RT_GROUPED(there / row_bytes));
    if (file->size > expected)
        RT_FAIL(RT_INPUT,
                "'%s' is %s bytes, its header says %s (%s x %s of %u bytes): longer; two arrays "
                "saved into one file?",
                path, RT_GROUPED(file->size), RT_GROUPED(expected), RT_GROUPED(npy->shape[0]),
                RT_GROUPED(npy->shape[1]), npy->item_bytes);
done:
    return st;
}

/* Magic, version and length of the text. */
static enum rt_status read_start(const struct rt_input_file *file, uint64_t *text_at,
                                 uint32_t *text_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char start[12];
    if (file->size < 10)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes: not an npy file (its start takes 10)", file->path,
                RT_GROUPED(file->size));
    RT_TRY(rt_input_read(file, start, file->size < 12 ? 10 : 12, 0, err));
    if (memcmp(start, "\x93NUMPY", 6) != 0)
        RT_FAIL(RT_INPUT, "'%s' does not begin like an npy file; wrong suffix?", file->path);
    if (start[6] < 1 || start[6] > 3 || start[7] != 0)
        RT_FAIL(RT_INPUT, "'%s' is npy version %d.%d; 1.0, 2.0 and 3.0 are read", file->path,
                start[6], start[7]);
    *text_at = start[6] == 1 ? 10 : 12;
    if (file->size < *text_at)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes: truncated inside its npy header", file->path,
                RT_GROUPED(file->size));
    *text_bytes = start[6] == 1 ? start[8] | (uint32_t)start[9] << 8 : rt_le32(start + 8);
    if (*text_bytes > LONGEST_HEADER)
        RT_FAIL(RT_INPUT, "'%s': its npy header says it is %s bytes long; at most %s are read",
                file->path, RT_GROUPED(*text_bytes), RT_GROUPED(LONGEST_HEADER));
    if (*text_bytes > file->size - *text_at)
        RT_FAIL(RT_INPUT, "'%s' is %s bytes, its npy header alone %s: truncated", file->path,
                RT_GROUPED(file->size), RT_GROUPED(*text_at + *text_bytes));
done:
    return st;
}

enum rt_status rt_npy_read_header(const struct rt_input_file *file, struct rt_npy *out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char *text = NULL;
    uint64_t text_at = 0;
    uint32_t text_bytes = 0;
    struct header header = {.n_axes = 0};
    struct rt_npy npy = {.kind = 0};
    RT_TRY(read_start(file, &text_at, &text_bytes, err));
    RT_TRY(rt_array_new(text_bytes, 1, &text, err));
    RT_TRY(rt_input_read(file, text, text_bytes, text_at, err));
    if (!parse(text, text_bytes, &header))
        RT_FAIL(RT_INPUT,
                "'%s': its npy header is not the dict of descr, fortran_order and shape that numpy "
                "writes: '%.*s'",
                file->path, text_bytes < 120 ? (int)text_bytes : 120, text);
    npy.data_offset = text_at + text_bytes;
    RT_TRY(judge_type(file->path, &header, &npy, err));
    RT_TRY(judge_shape(file->path, &header, &npy, err));
    RT_TRY(judge_size(file, &npy, err));
    *out = npy;
done:
    rt_array_free(text);
    return st;
}
