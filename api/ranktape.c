#include "api/ranktape.h"

#include "api/searcher.h"
#include "core/fpenv.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MOST_K 1048576u
#define MOST_EPSILON 1e6f
#define BATCH_QUERIES 256u
#define BATCH_ENTRIES (UINT64_C(1) << 22) /* of lists, or of hits: 64 MiB or so a searcher */
#define MOST_IDLE 8u /* searchers kept of shapes that nobody asks for any more */

_Static_assert(RANKTAPE_MAX_LEVELS == RT_MAX_LEVELS, "levels");
_Static_assert(RANKTAPE_NO_ID == RT_NO_ID, "ids");
_Static_assert((int)RANKTAPE_COSINE == RT_COSINE && (int)RANKTAPE_I8 == RT_I8, "enumerations");

/* A searcher at rest. */
struct idle {
    struct rt_searcher *searcher;
    struct idle *next; /* it rests longer */
};

/* A generation, kept while it is the index's newest or a search uses it. All but `opened` is
 * guarded by the index's lock. */
struct generation {
    struct rt_opened opened;
    char current[RT_CURRENT_BYTES]; /* CURRENT as it was read before opening */
    uint64_t n_users;
    struct idle *idle; /* last used first */
    uint32_t n_idle;
};

struct ranktape_index {
    pthread_mutex_t lock;       /* held for moments */
    pthread_mutex_t refreshing; /* one refresh at a time */
    struct generation *newest;
    struct rt_texts *moved;
    char dir[]; /* as it was given */
};

/* ---- errors and floating point, as callers see them ---- */

static enum ranktape_status tell(enum rt_status st, const struct rt_error *err, char *error)
{
    static const enum ranktape_status told[] = {
        [RT_OK] = RANKTAPE_OK,       [RT_STOPPED] = RANKTAPE_USAGE,
        [RT_USAGE] = RANKTAPE_USAGE, [RT_INPUT] = RANKTAPE_INPUT,
        [RT_GATE] = RANKTAPE_USAGE,  [RT_DAMAGED] = RANKTAPE_DAMAGED,
        [RT_IO] = RANKTAPE_IO,       [RT_NOMEM] = RANKTAPE_NO_MEMORY};
    if (st != RT_OK && error)
        (void)snprintf(error, RANKTAPE_ERROR_BYTES, "%s", err->text);
    return told[st];
}

/* Distances are those of the program only in its floating-point modes (A3); the caller's own, its
 * traps and exception flags come back afterwards. */
static void enter(fenv_t *callers)
{
    (void)feholdexcept(callers);
    rt_fpenv_set();
}

static void leave(const fenv_t *callers)
{
    (void)fesetenv(callers);
}

/* ---- generations ---- */

static void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    for (struct idle *idle = generation->idle, *next; idle; idle = next) {
        next = idle->next;
        rt_searcher_free(idle->searcher);
        rt_array_free(idle);
    }
    rt_opened_close(&generation->opened);
    rt_array_free(generation);
}

static enum rt_status generation_open(const struct ranktape_index *index, struct generation **out,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct generation *generation = NULL;
    RT_TRY(rt_array_zero(1, sizeof *generation, &generation, err));
    rt_index_current(index->dir, generation->current);
    RT_TRY(rt_opened_open(index->dir, index->moved, &generation->opened, err));
    generation->n_users = 1; /* the index itself */
    *out = generation;
    generation = NULL;
done:
    generation_free(generation);
    return st;
}

static struct generation *generation_take(struct ranktape_index *index)
{
    (void)pthread_mutex_lock(&index->lock);
    struct generation *generation = index->newest;
    generation->n_users++;
    (void)pthread_mutex_unlock(&index->lock);
    return generation;
}

static void generation_give(struct ranktape_index *index, struct generation *generation)
{
    (void)pthread_mutex_lock(&index->lock);
    bool is_last = --generation->n_users == 0;
    (void)pthread_mutex_unlock(&index->lock);
    if (is_last)
        generation_free(generation);
}

/* ---- searchers ---- */

/* One of this shape at rest, or *out = NULL; beyond MOST_IDLE that which rests longest is let go
 * instead. */
static struct idle *idle_take(struct ranktape_index *index, struct generation *generation,
                              const struct rt_searcher_shape *shape)
{
    struct idle *found = NULL;
    struct idle *old = NULL;
    (void)pthread_mutex_lock(&index->lock);
    for (struct idle **at = &generation->idle; *at && !found && !old;) {
        bool is_same = rt_searcher_has_shape((*at)->searcher, shape);
        if (is_same || (!(*at)->next && generation->n_idle > MOST_IDLE)) {
            *(is_same ? &found : &old) = *at;
            *at = (*at)->next;
            generation->n_idle--;
        } else {
            at = &(*at)->next;
        }
    }
    (void)pthread_mutex_unlock(&index->lock);
    if (old) {
        rt_searcher_free(old->searcher);
        rt_array_free(old);
    }
    return found;
}

static enum rt_status searcher_take(struct ranktape_index *index, struct generation *generation,
                                    const struct rt_searcher_shape *shape, struct idle **out,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct idle *idle = idle_take(index, generation, shape);
    if (!idle) {
        RT_TRY(rt_array_zero(1, sizeof *idle, &idle, err));
        RT_TRY(rt_searcher_new(&generation->opened, shape, &idle->searcher, err));
    }
    *out = idle;
    idle = NULL;
done:
    rt_array_free(idle);
    return st;
}

static void searcher_give(struct ranktape_index *index, struct generation *generation,
                          struct idle *idle)
{
    (void)pthread_mutex_lock(&index->lock);
    idle->next = generation->idle;
    generation->idle = idle;
    generation->n_idle++;
    (void)pthread_mutex_unlock(&index->lock);
}

/* ---- open, close, refresh ---- */

const char *ranktape_version(void)
{
    return RT_VERSION;
}

static enum rt_status take_heaps(struct ranktape_index *index,
                                 const struct ranktape_open_options *options, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct ranktape_open_options given = {0};
    if (options)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    RT_TRY(rt_array_zero(1, sizeof *index->moved, &index->moved, err));
    if (given.n_heaps > RT_MOST_TEXTS)
        RT_FAIL(RT_USAGE, "%zu heap files are named, at most %d can be", given.n_heaps,
                RT_MOST_TEXTS);
    for (; index->moved->n < given.n_heaps; index->moved->n++) {
        int n = snprintf(index->moved->text[index->moved->n], RT_TEXT_BYTES, "%s",
                         given.heaps[index->moved->n]);
        if (n < 0 || n >= RT_TEXT_BYTES)
            RT_FAIL(RT_USAGE, "the name of heap file %u is too long", index->moved->n);
    }
done:
    return st;
}

enum ranktape_status ranktape_open(const char *path, const struct ranktape_open_options *options,
                                   struct ranktape_index **out, char *error)
{
    enum rt_status st = RT_OK;
    struct rt_error told;
    struct rt_error *err = &told;
    struct ranktape_index *index = NULL;
    fenv_t callers;
    rt_kernels_ask_nothing();
    enter(&callers);
    RT_TRY(rt_array_zero(1, sizeof *index + strlen(path) + 1, &index, err));
    strcpy(index->dir, path);
    (void)pthread_mutex_init(&index->lock, NULL);
    (void)pthread_mutex_init(&index->refreshing, NULL);
    RT_TRY(take_heaps(index, options, err));
    RT_TRY(generation_open(index, &index->newest, err));
    *out = index;
    index = NULL;
done:
    ranktape_close(index);
    leave(&callers);
    return tell(st, err, error);
}

void ranktape_close(struct ranktape_index *index)
{
    if (!index)
        return;
    generation_free(index->newest);
    (void)pthread_mutex_destroy(&index->lock);
    (void)pthread_mutex_destroy(&index->refreshing);
    rt_array_free(index->moved);
    rt_array_free(index);
}

/* The lock `refreshing` is held: nobody else changes `newest`. */
static enum rt_status refresh(struct ranktape_index *index, bool *is_new, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct generation *fresh = NULL;
    char current[RT_CURRENT_BYTES];
    rt_index_current(index->dir, current);
    *is_new = false;
    if (strcmp(current, index->newest->current) == 0)
        goto done;
    RT_TRY(generation_open(index, &fresh, err));
    (void)pthread_mutex_lock(&index->lock);
    struct generation *old = index->newest;
    index->newest = fresh;
    (void)pthread_mutex_unlock(&index->lock);
    generation_give(index, old);
    *is_new = true;
done:
    return st;
}

enum ranktape_status ranktape_refresh(struct ranktape_index *index, int *is_new, char *error)
{
    struct rt_error err;
    bool has_new = false;
    fenv_t callers;
    enter(&callers);
    (void)pthread_mutex_lock(&index->refreshing);
    enum rt_status st = refresh(index, &has_new, &err);
    (void)pthread_mutex_unlock(&index->refreshing);
    leave(&callers);
    if (is_new)
        *is_new = has_new;
    return tell(st, &err, error);
}

void ranktape_get_info(struct ranktape_index *index, struct ranktape_info *info)
{
    struct generation *generation = generation_take(index);
    const struct rt_manifest *m = generation->opened.view->manifest;
    struct ranktape_info full = {.size = info->size,
                                 .rows = m->n_rows,
                                 .generation = m->generation,
                                 .largest_id = m->largest_id,
                                 .dim = m->dim,
                                 .lists = generation->opened.view->n_lists,
                                 .metric = m->metric,
                                 .element = m->element,
                                 .n_levels = m->n_levels};
    memcpy(full.levels, m->levels, sizeof full.levels);
    rt_hash128_hex(m->digest, full.digest);
    memcpy(info, &full, info->size < sizeof full ? info->size : sizeof full);
    generation_give(index, generation);
}

/* ---- search ---- */

/* Queries searched together: powers of two, so that few shapes are in use. */
static uint32_t batch_of(size_t n_queries, uint64_t entries_of_query)
{
    uint64_t most = BATCH_ENTRIES / entries_of_query;
    most = most < BATCH_QUERIES ? most : BATCH_QUERIES;
    uint32_t batch = 1;
    while (batch < n_queries && batch <= most / 2)
        batch *= 2;
    return batch;
}

static enum rt_status shape_of(const struct rt_index_view *view,
                               const struct ranktape_search_options *options, size_t n_queries,
                               struct rt_searcher_shape *shape, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (options->k < 1 || options->k > MOST_K)
        RT_FAIL(RT_USAGE, "k is %u, not within 1 to %u", options->k, MOST_K);
    if (!(options->epsilon >= 0 && options->epsilon <= MOST_EPSILON))
        RT_FAIL(RT_USAGE, "epsilon is %g, not within 0 to 1e6", (double)options->epsilon);
    if (options->n_probes > RT_MAX_LEVELS || (options->n_probes && !options->probes))
        RT_FAIL(RT_USAGE, "%zu numbers of probes, at most %d are possible", options->n_probes,
                RT_MAX_LEVELS);
    for (size_t i = 0; i < options->n_probes; i++)
        if (options->probes[i] < 1)
            RT_FAIL(RT_USAGE, "0 probes: a search visits at least one list");
    memset(shape, 0, sizeof *shape);
    RT_TRY(rt_index_probes(view, options->probes, (uint32_t)options->n_probes, shape->probes, err));
    uint32_t n_lists = shape->probes[view->tree.tree.n_levels - 1];
    shape->k = options->k;
    shape->epsilon = options->epsilon;
    shape->batch = batch_of(n_queries, n_lists > options->k ? n_lists : options->k);
    shape->has_filter = options->filter || options->wanted;
done:
    return st;
}

static enum rt_status search(struct ranktape_index *index, struct generation *generation,
                             const struct ranktape_search_options *options,
                             const struct rt_searcher_call *call, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_searcher_shape shape;
    struct idle *idle = NULL;
    RT_TRY(shape_of(generation->opened.view, options, call->n_queries, &shape, err));
    RT_TRY(searcher_take(index, generation, &shape, &idle, err));
    st = rt_searcher_run(idle->searcher, call, err);
    searcher_give(index, generation, idle);
done:
    return st;
}

enum ranktape_status ranktape_search(struct ranktape_index *index,
                                     const struct ranktape_search_options *options,
                                     const float *queries, size_t n_queries, uint64_t *ids,
                                     float *distances, struct ranktape_cost *cost, char *error)
{
    struct rt_error err;
    struct ranktape_search_options given = RANKTAPE_SEARCH_DEFAULTS;
    struct rt_scan_count total = {0};
    fenv_t callers;
    if (options)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    struct rt_searcher_call call = {.queries = queries,
                                    .n_queries = n_queries,
                                    .ids = ids,
                                    .distances = distances,
                                    .total = &total,
                                    .filter = given.filter,
                                    .filter_context = given.filter_context,
                                    .wanted = given.wanted,
                                    .n_wanted = given.n_wanted};
    enter(&callers);
    struct generation *generation = generation_take(index);
    enum rt_status st = search(index, generation, &given, &call, &err);
    generation_give(index, generation);
    leave(&callers);
    if (cost)
        *cost = (struct ranktape_cost){total.lists, total.rows, total.reranked};
    return tell(st, &err, error);
}
