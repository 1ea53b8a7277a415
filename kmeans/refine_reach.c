#include "kmeans/refine_work.h"

#include "core/memory.h"
#include "mpi/agree.h"

#include <math.h>
#include <string.h>

/* Whose leaves are reached from those of one, about: on 320,000 x 96 rows and 9,500 leaves. */
#define CELLS_REACHED 20

/* Leaves [first, first + count), all at home on one rank, and who wants them or has them. */
struct span {
    int rank;
    uint32_t first, count;
};

/* One fetching: what this rank wants, and what is wanted of it. */
struct fetch {
    struct rt_refine_work *w;
    struct span *wants, *gives;
    size_t n_wants, n_gives, gives_room;
};

/* --- what is wanted --- */

/* Notes the leaves [first, end) but for those at home in this place, by home; wants NULL: counts
 * only. */
static void want(struct fetch *f, uint32_t first, uint32_t end, int *home)
{
    const struct rt_refine_work *w = f->w;
    while (first < end) {
        while (w->first_leaf[*home + 1] <= first)
            ++*home;
        uint32_t stop = w->first_leaf[*home + 1] < end ? w->first_leaf[*home + 1] : end;
        bool is_here = rt_node_copy_is_here(w->leaves, *home);
        if (!is_here && f->wants)
            f->wants[f->n_wants] = (struct span){*home, first, stop - first};
        f->n_wants += !is_here;
        first = stop;
    }
}

/* Leaves whose rows are here: their own places say where to look for their neighbours. */
static void want_own_leaves(struct fetch *f)
{
    const struct rt_refine_work *w = f->w;
    int home = 0;
    f->n_wants = 0;
    for (uint32_t l = 0; l < w->k; l++)
        if (w->starts[l] < w->starts[l + 1])
            want(f, l, l + 1, &home);
}

/* Each rank of the place fetches some of its cells. */
static void want_reached_cells(struct fetch *f)
{
    const struct rt_refine_work *w = f->w;
    const uint32_t *first_child = w->cells.first_child[0];
    int home = 0;
    uint64_t n_reached = 0;
    f->n_wants = 0;
    for (uint32_t c = 0; c < w->cells.n[0]; c++)
        n_reached += w->is_reached[c];
    struct rt_range own = rt_node_copy_part(w->leaves, n_reached);
    for (uint32_t c = 0; c < w->cells.n[0]; c++) {
        n_reached -= w->is_reached[c]; /* those behind it */
        if (w->is_reached[c] && n_reached >= own.begin && n_reached < own.end)
            want(f, first_child[c], first_child[c + 1], &home);
    }
}

/* --- asking and answering --- */

/* Wants of one rank follow one another; cursor is the next of them. */
static enum rt_status give_wants(void *context, int to, void *buffer, size_t capacity,
                                 size_t *n_bytes, bool *more, struct rt_error *err)
{
    (void)err;
    struct fetch *f = context;
    size_t n = 0;
    uint32_t *next = &f->w->cursor[to];
    while (*next < f->n_wants && f->wants[*next].rank == to &&
           (n + 1) * sizeof *f->wants <= capacity)
        memcpy((struct span *)buffer + n++, &f->wants[(*next)++], sizeof *f->wants);
    *n_bytes = n * sizeof *f->wants;
    *more = *next < f->n_wants && f->wants[*next].rank == to;
    return RT_OK;
}

static enum rt_status take_wants(void *context, int from, const void *bytes, size_t n_bytes,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct fetch *f = context;
    size_t n = n_bytes / sizeof *f->gives;
    if (f->n_gives + n > f->gives_room) {
        f->gives_room = 2 * (f->n_gives + n);
        RT_TRY(rt_array_resize(f->gives_room, sizeof *f->gives, &f->gives, err));
    }
    for (size_t i = 0; i < n; i++) {
        struct span *span = &f->gives[f->n_gives++];
        memcpy(span, (const struct span *)bytes + i, sizeof *span);
        span->rank = from;
    }
done:
    return st;
}

/* A span, less what is in front of it already, and its centroids. */
static enum rt_status give_leaves(void *context, int to, void *buffer, size_t capacity,
                                  size_t *n_bytes, bool *more, struct rt_error *err)
{
    (void)err;
    struct fetch *f = context;
    const struct rt_refine_work *w = f->w;
    size_t leaf_bytes = w->dim * sizeof *w->centroids;
    unsigned char *at = buffer;
    uint32_t *next = &f->w->cursor[to];
    *more = false;
    for (; *next < f->n_gives; (*next)++) {
        struct span *span = &f->gives[*next];
        size_t left = capacity - (size_t)(at - (unsigned char *)buffer);
        if (span->rank != to)
            continue;
        size_t most = left > sizeof *span ? (left - sizeof *span) / leaf_bytes : 0;
        struct span now = {0, span->first, span->count < most ? span->count : (uint32_t)most};
        span->first += now.count;
        span->count -= now.count;
        *more = span->count > 0;
        if (now.count > 0) {
            memcpy(at, &now, sizeof now);
            memcpy(at + sizeof now, w->centroids + (size_t)now.first * w->dim,
                   now.count * leaf_bytes);
            at += sizeof now + now.count * leaf_bytes;
        }
        if (*more)
            break;
    }
    *n_bytes = (size_t)(at - (unsigned char *)buffer);
    return RT_OK;
}

static enum rt_status take_leaves(void *context, int from, const void *bytes, size_t n_bytes,
                                  struct rt_error *err)
{
    (void)err;
    (void)from;
    struct fetch *f = context;
    struct rt_refine_work *w = f->w;
    const unsigned char *at = bytes;
    const unsigned char *end = at + n_bytes;
    while (at < end) {
        struct span span;
        memcpy(&span, at, sizeof span);
        size_t span_bytes = (size_t)span.count * w->dim * sizeof *w->centroids;
        memcpy(w->centroids + (size_t)span.first * w->dim, at + sizeof span, span_bytes);
        at += sizeof span + span_bytes;
    }
    return RT_OK;
}

/* Gets the leaves that find_wants notes from their homes. Collective. */
static enum rt_status fetch(struct rt_refine_work *w, void (*find_wants)(struct fetch *f),
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct fetch f = {.w = w};
    find_wants(&f);
    RT_LOCAL(rt_array_new(f.n_wants, sizeof *f.wants, &f.wants, err));
    RT_AGREE(w->comm);
    find_wants(&f);
    memset(w->bytes, 0, (size_t)w->n_ranks * sizeof *w->bytes);
    for (size_t i = f.n_wants; i-- > 0;) {
        w->cursor[f.wants[i].rank] = (uint32_t)i;
        w->bytes[f.wants[i].rank] = 1;
    }
    RT_TRY(rt_exchange_round(w->exchange, w->bytes, give_wants, take_wants, &f, err));
    memset(w->bytes, 0, (size_t)w->n_ranks * sizeof *w->bytes);
    memset(w->cursor, 0, (size_t)w->n_ranks * sizeof *w->cursor);
    for (size_t i = 0; i < f.n_gives; i++)
        w->bytes[f.gives[i].rank] = 1;
    RT_TRY(rt_exchange_round(w->exchange, w->bytes, give_leaves, take_leaves, &f, err));
done:
    rt_array_free(f.wants);
    rt_array_free(f.gives);
    return st;
}

enum rt_status rt_refine_reach(struct rt_refine_work *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    rt_node_copy_meet(w->leaves); /* homes of the place have written theirs */
    RT_TRY(fetch(w, want_own_leaves, err));
    rt_refine_mark_reached(w);
    RT_TRY(fetch(w, want_reached_cells, err));
    rt_node_copy_meet(w->leaves);
done:
    return st;
}

double rt_refine_reached(uint32_t k, uint32_t n_places)
{
    double reached = CELLS_REACHED * (k / (double)n_places + sqrt(k));
    return k > RT_REFINE_FLAT_LEAVES && reached < k ? reached : k;
}

void rt_refine_gather(struct rt_refine_work *w)
{
    for (int r = 0; r < w->n_ranks; r++)
        w->bytes[r] =
            (uint64_t)(w->first_leaf[r + 1] - w->first_leaf[r]) * w->dim * sizeof *w->centroids;
    rt_node_copy_gather(w->leaves, w->bytes);
    if (w->is_reached)
        memset(w->is_reached, true, w->cells.n[0] * sizeof *w->is_reached);
}
