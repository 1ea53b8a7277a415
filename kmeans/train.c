#include "kmeans/train.h"

#include "core/memory.h"
#include "kmeans/beam.h"
#include "kmeans/hierarchical.h"
#include "kmeans/levels.h"
#include "kmeans/lloyd.h"
#include "kmeans/refine.h"
#include "kmeans/split.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <math.h>
#include <string.h>

#define HIERARCHICAL_ABOVE 1024u /* leaves, with RT_TRAINING_AUTO */

/* What passes through the training. */
struct training {
    MPI_Comm comm;
    const struct rt_train_options *options;
    struct rt_sample *sample;
    struct rt_lloyd_setting setting;
    const char *stage;
    struct rt_trained *out;
    struct rt_levels levels;
    struct rt_node_copy *leaves; /* n_leaves x sample->dim */
    uint32_t n_leaves;
    uint32_t *leaf; /* of each local row, in the last assignment */
};

static void log_step(struct training *t, uint32_t number, uint32_t n_neighbours, uint64_t n_moved,
                     double objective)
{
    struct rt_train_step step = {
        .number = number, .n_neighbours = n_neighbours, .n_moved = n_moved, .objective = objective};
    (void)strncpy(step.stage, t->stage, sizeof step.stage - 1);
    t->out->log[t->out->n_log++] = step;
    t->out->objective = objective;
}

static void tell(const struct training *t, uint64_t done, uint64_t total, double moved,
                 double objective)
{
    if (t->options->progress)
        t->options->progress(t->options->ctx, t->stage, done, total, moved, objective);
}

static void lloyd_progress(void *ctx, uint32_t iteration, uint64_t n_moved, double objective)
{
    struct training *t = ctx;
    log_step(t, iteration, 0, n_moved, objective);
    tell(t, iteration, t->options->n_iterations, (double)n_moved / (double)t->sample->n_total,
         objective);
}

static uint32_t refinements_of(const struct rt_train_options *options)
{
    return options->n_refinements == RT_TRAIN_AUTO ? RT_TRAIN_AUTO_REFINEMENTS
                                                   : options->n_refinements;
}

/* --- leaves --- */

static bool trains_in_cells(const struct rt_train_options *options, uint32_t k)
{
    return options->training == RT_TRAINING_HIERARCHICAL ||
           (options->training == RT_TRAINING_AUTO && k > HIERARCHICAL_ABOVE);
}

static bool is_hierarchical(const struct training *t)
{
    return trains_in_cells(t->options, t->n_leaves);
}

static float *values_of(const struct rt_node_copy *leaves)
{
    return rt_node_copy_data(leaves);
}

/* Other leaves than before, of this rank alone or, on MPI_Comm node, of those that share memory. */
static enum rt_status leaves_new(struct training *t, MPI_Comm node, uint32_t n, uint32_t dim,
                                 struct rt_node_copy **out, struct rt_error *err)
{
    return rt_node_copy_new(t->comm, node, (size_t)n * dim * sizeof(float), out, err);
}

/* Leaves that are trained flat are not shared: all ranks write all means in each iteration. */
static enum rt_status begin_leaves(struct training *t, uint32_t dim, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t steps = (size_t)t->options->n_iterations + refinements_of(t->options);
    MPI_Comm node = is_hierarchical(t) ? t->options->node : MPI_COMM_NULL;
    RT_LOCAL(rt_array_new(steps, sizeof *t->out->log, &t->out->log, err));
    RT_AGREE(t->comm);
    RT_TRY(leaves_new(t, node, t->n_leaves, dim, &t->leaves, err));
    struct rt_range own = rt_node_copy_part(t->leaves, (uint64_t)t->n_leaves * dim);
    memset(values_of(t->leaves) + own.begin, 0, (size_t)rt_range_count(own) * sizeof(float));
    rt_node_copy_meet(t->leaves);
done:
    return st;
}

static enum rt_status train_flat(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lloyd_place place = {0, 0};
    struct rt_lloyd_result result;
    t->stage = "lloyd";
    t->setting.ctx = t;
    t->setting.progress = lloyd_progress;
    t->setting.keep = t->options->keep;
    RT_LOCAL(rt_array_new(t->sample->n_local, sizeof *t->leaf, &t->leaf, err));
    RT_AGREE(t->comm);
    RT_TRY(rt_lloyd_train(t->comm, &t->setting, place, t->sample, 0, t->sample->n_local,
                          t->n_leaves, values_of(t->leaves), t->leaf, &result, err));
done:
    t->setting.progress = NULL;
    t->setting.keep = NULL;
    return st;
}

/* What a run before this one has come to in refinement: *bytes, and the leaf of each row; NULL:
 * nothing. */
static enum rt_status find_stand(struct training *t, unsigned char **bytes, size_t *n_bytes,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_keep *keep = t->options->keep;
    if (!keep)
        return RT_OK;
    RT_LOCAL(rt_array_new(t->sample->n_local, sizeof *t->leaf, &t->leaf, err));
    RT_AGREE(t->comm);
    RT_TRY(keep->load(keep->ctx, RT_REFINE_STAGE, t->sample, t->leaf, bytes, n_bytes, err));
done:
    if (!*bytes) {
        rt_array_free(t->leaf);
        t->leaf = NULL;
    }
    return st;
}

static void cell_progress(void *ctx, uint64_t rows_done, uint64_t rows_all)
{
    tell(ctx, rows_done, rows_all, -1, (double)NAN);
}

static void refine_progress(void *ctx, uint32_t round, uint32_t n_rounds, uint32_t n_neighbours,
                            uint64_t n_moved)
{
    struct training *t = ctx;
    log_step(t, round, n_neighbours, n_moved, (double)NAN);
    tell(t, round, n_rounds, (double)n_moved / (double)t->sample->n_total, (double)NAN);
}

static enum rt_status train_in_cells(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hierarchical_progress progress = {t, cell_progress};
    struct rt_refine_options options = {.n_rounds = refinements_of(t->options),
                                        .may_stop = t->options->n_refinements == RT_TRAIN_AUTO,
                                        .keep = t->options->keep,
                                        .ctx = t,
                                        .progress = refine_progress};
    unsigned char *stand = NULL;
    t->stage = "cells";
    RT_TRY(find_stand(t, &stand, &options.stand_bytes, err));
    options.stand = stand;
    if (!stand)
        RT_TRY(rt_hierarchical_train(t->comm, &t->setting, t->sample, t->n_leaves, t->leaves,
                                     &t->leaf, t->options->keep, &progress, err));
    if (options.n_rounds == 0)
        goto done;
    struct rt_refine_result result;
    t->stage = "refine";
    RT_TRY(rt_refine(t->comm, &t->setting, &options, t->sample, t->n_leaves, t->leaves, &t->leaf,
                     &result, err));
    t->out->objective = t->out->log[t->out->n_log - 1].objective = result.objective;
    t->out->n_refinements = result.n_rounds;
    t->out->n_neighbours = result.n_neighbours;
done:
    rt_array_free(stand);
    return st;
}

static void take_leaves(struct training *t, struct rt_node_copy *leaves)
{
    rt_node_copy_free(t->leaves);
    t->leaves = leaves;
}

/* Whole rows' means for leaves trained on their first values. */
static enum rt_status widen_leaves(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_node_copy *whole = NULL;
    RT_TRY(leaves_new(t, MPI_COMM_NULL, t->n_leaves, t->sample->row_dim, &whole, err));
    RT_TRY(rt_lloyd_widen(t->comm, &t->setting, t->sample, t->n_leaves, values_of(t->leaves),
                          values_of(whole), err));
    take_leaves(t, whole);
    whole = NULL;
done:
    rt_node_copy_free(whole);
    return st;
}

/* Leaves of too many rows become several (D11). */
static enum rt_status split_leaves(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_leaves = t->n_leaves;
    RT_TRY(rt_split_leaves(t->comm, &t->setting, t->sample, t->leaf, t->options->max_list_rows,
                           t->options->n_rows, &t->leaves, &t->n_leaves, err));
    t->out->n_split = t->n_leaves - n_leaves;
done:
    return st;
}

static enum rt_status train_leaves(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_train_options *options = t->options;
    bool is_narrow = options->kmeans_dimension > 0 &&
                     options->kmeans_dimension < t->sample->row_dim && t->sample->n_total > 0;
    uint32_t wanted = options->lists[options->n_levels - 1];
    uint64_t most = t->sample->n_total > 0 ? t->sample->n_total : 1;
    t->n_leaves = wanted < most ? wanted : (uint32_t)most;
    if (is_narrow)
        rt_sample_narrow(t->sample, options->kmeans_dimension);
    RT_TRY(begin_leaves(t, t->sample->dim, err));
    if (t->sample->n_total == 0)
        goto done; /* one list for what may come: the zero row's */
    if (is_hierarchical(t))
        RT_TRY(train_in_cells(t, err));
    else
        RT_TRY(train_flat(t, err));
    if (is_narrow)
        RT_TRY(widen_leaves(t, err));
    if (options->max_list_rows > 0)
        RT_TRY(split_leaves(t, err));
done:
    return st;
}

/* --- given centroids --- */

static enum rt_status copy_given(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *given = t->options->given;
    size_t dim = t->sample->row_dim;
    if (given->dim != dim)
        RT_FAIL(RT_INPUT, "given centroids have %u dimensions, the rows %zu", given->dim, dim);
    t->levels.dim = given->dim;
    t->levels.n_levels = given->n_levels;
    for (uint32_t l = 0; l < given->n_levels; l++) {
        const struct rt_level *level = &given->levels[l];
        t->levels.n[l] = level->n;
        RT_TRY(rt_array_new(level->n, dim * sizeof(float), &t->levels.centroids[l], err));
        memcpy(t->levels.centroids[l], level->centroids, level->n * dim * sizeof(float));
        if (l > 0) {
            RT_TRY(rt_array_new(level->n, sizeof(uint32_t), &t->levels.parent[l], err));
            memcpy(t->levels.parent[l], level->parent, level->n * sizeof(uint32_t));
        }
    }
done:
    return st;
}

static enum rt_status take_given(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_LOCAL(copy_given(t, err));
    if (st == RT_OK && t->levels.n_levels > 1)
        RT_LOCAL(rt_levels_number(&t->levels, err));
    RT_AGREE(t->comm);
    if (t->levels.n_levels > 1)
        goto done; /* a whole tree */
    t->n_leaves = t->levels.n[0];
    RT_TRY(leaves_new(t, MPI_COMM_NULL, t->n_leaves, t->levels.dim, &t->leaves, err));
    memcpy(values_of(t->leaves), t->levels.centroids[0],
           (size_t)t->n_leaves * t->levels.dim * sizeof(float));
    rt_levels_free(&t->levels);
done:
    return st;
}

/* --- levels and view --- */

static void count_levels_progress(void *ctx, uint32_t iteration, uint64_t n_moved, double objective)
{
    const struct training *t = ctx;
    (void)n_moved;
    (void)objective;
    tell(t, iteration, t->options->n_iterations, -1, (double)NAN);
}

static enum rt_status train_levels(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    t->stage = "levels";
    t->setting.ctx = t;
    t->setting.progress = count_levels_progress;
    RT_TRY(rt_levels_train(t->comm, &t->setting, t->options->n_levels, t->options->lists,
                           t->sample->row_dim, t->leaves, t->n_leaves, &t->levels, err));
done:
    t->setting.progress = NULL;
    return st;
}

static void view_levels(const struct training *t, struct rt_tree *tree)
{
    const struct rt_train_options *options = t->options;
    memset(tree, 0, sizeof *tree);
    tree->dim = t->levels.dim;
    tree->metric = options->metric;
    tree->spherical = options->spherical;
    tree->residual = options->residual;
    tree->rotation_seed = options->rotation_seed;
    tree->n_levels = t->levels.n_levels;
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        tree->levels[l].n = t->levels.n[l];
        tree->levels[l].centroids = t->levels.centroids[l];
        tree->levels[l].parent = t->levels.parent[l];
        tree->levels[l].first_child = t->levels.first_child[l];
    }
    if (t->leaves)
        tree->levels[tree->n_levels - 1].centroids = values_of(t->leaves);
}

static void beam_progress(void *ctx, uint32_t beam, uint32_t n_cells)
{
    tell(ctx, beam, n_cells, -1, (double)NAN);
}

static enum rt_status measure_beam(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tree tree;
    struct rt_beam beam;
    view_levels(t, &tree);
    t->stage = "beam";
    t->setting.ctx = t;
    RT_TRY(rt_beam_measure(t->comm, t->options->node, &t->setting, &tree, t->sample, beam_progress,
                           &beam, err));
    t->out->beam = beam.width;
    t->out->beam_sampled = beam.n_sampled;
    t->out->beam_agreed = beam.n_agreed;
done:
    return st;
}

/* --- handing over --- */

static size_t tree_bytes(const struct rt_levels *levels)
{
    size_t bytes = 0;
    for (uint32_t l = 0; l < levels->n_levels; l++)
        bytes += rt_whole_lines((size_t)levels->n[l] * levels->dim * sizeof(float)) +
                 rt_whole_lines((size_t)levels->n[l] * sizeof(uint32_t)) +
                 rt_whole_lines(((size_t)levels->n[l] + 1) * sizeof(uint32_t));
    return bytes;
}

/* Memory that the ranks of a node fill together. */
struct filling {
    unsigned char *memory;
    size_t at;           /* what comes next */
    struct rt_range own; /* bytes this rank fills */
};

/* Puts n_bytes, of which this rank copies those that are its, and moves on. */
static const void *put(struct filling *f, const void *bytes, size_t n_bytes)
{
    size_t begin = f->at;
    size_t end = begin + n_bytes;
    size_t from = begin > f->own.begin ? begin : (size_t)f->own.begin;
    size_t to = end < f->own.end ? end : (size_t)f->own.end;
    f->at += rt_whole_lines(n_bytes);
    if (!bytes)
        return NULL;
    if (from < to)
        memcpy(f->memory + from, (const unsigned char *)bytes + (from - begin), to - from);
    return f->memory + begin;
}

static enum rt_status hand_over_shared(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_train_options *options = t->options;
    struct filling f = {NULL, 0, {0, 0}};
    RT_TRY(
        options->shared_new(options->ctx, tree_bytes(&t->levels), (void **)&f.memory, &f.own, err));
    for (uint32_t l = 0; l < t->levels.n_levels; l++) {
        struct rt_level *level = &t->out->tree.levels[l];
        size_t n = level->n;
        level->centroids = put(&f, level->centroids, n * t->levels.dim * sizeof(float));
        level->parent = put(&f, level->parent, n * sizeof(uint32_t));
        level->first_child = put(&f, level->first_child, (n + 1) * sizeof(uint32_t));
    }
    if (options->shared_done)
        RT_LOCAL(options->shared_done(options->ctx, err));
    RT_AGREE(t->comm);
    rt_levels_free(&t->levels);
done:
    return st;
}

static enum rt_status hand_over(struct training *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    view_levels(t, &t->out->tree);
    if (t->options->shared_new) {
        RT_TRY(hand_over_shared(t, err));
    } else {
        RT_LOCAL(rt_array_new(1, sizeof *t->out->owned, &t->out->owned, err));
        RT_AGREE(t->comm);
        *t->out->owned = t->levels;
        memset(&t->levels, 0, sizeof t->levels);
        t->out->leaves = t->leaves;
        t->leaves = NULL;
    }
done:
    return st;
}

void rt_trained_free(struct rt_trained *trained)
{
    if (trained->owned)
        rt_levels_free(trained->owned);
    rt_array_free(trained->owned);
    rt_node_copy_free(trained->leaves);
    rt_array_free(trained->log);
    memset(trained, 0, sizeof *trained);
}

enum rt_status rt_train(MPI_Comm comm, const struct rt_train_options *options,
                        struct rt_sample *sample, struct rt_trained *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_trained trained = {.beam = options->beam};
    struct training t = {.comm = comm, .options = options, .sample = sample, .out = &trained};
    t.setting.distance = rt_means_distance(options->metric, options->spherical);
    t.setting.spherical = options->spherical;
    t.setting.seed = options->seed;
    t.setting.n_iterations = options->n_iterations;
    t.setting.proposer = options->proposer;
    t.setting.check = options->check;
    t.setting.check_ctx = options->ctx;
    t.setting.scale = rt_scale_new(sample->exponent, sample->n_total > 0 ? sample->n_total : 1,
                                   sample->row_dim, t.setting.distance, options->spherical);
    if (options->given)
        RT_TRY(take_given(&t, err));
    else
        RT_TRY(train_leaves(&t, err));
    if (t.leaves)
        RT_TRY(train_levels(&t, err));
    if (options->beam == RT_TRAIN_AUTO)
        RT_TRY(measure_beam(&t, err));
    RT_TRY(hand_over(&t, err));
    *out = trained;
    memset(&trained, 0, sizeof trained);
done:
    rt_node_copy_free(t.leaves);
    rt_array_free(t.leaf);
    rt_levels_free(&t.levels);
    rt_trained_free(&trained);
    return st;
}

/* Cells over the leaves. */
static uint32_t cells_of(const struct rt_train_options *options)
{
    return options->n_levels > 1 ? options->lists[options->n_levels - 2] : 0;
}

/* Whether leaves stay where hierarchical training has them once a node. */
static bool are_shared(const struct rt_train_options *options)
{
    uint32_t k = options->lists[options->n_levels - 1];
    return trains_in_cells(options, k) && options->kmeans_dimension == 0 &&
           options->max_list_rows == 0;
}

uint64_t rt_train_shared_bytes(const struct rt_train_options *options, uint32_t dim)
{
    uint32_t k = options->lists[options->n_levels - 1];
    if (!trains_in_cells(options, k))
        return 0;
    return (uint64_t)k * dim * sizeof(float) + rt_refine_common_bytes(k, dim);
}

/* The level over the leaves is trained, or the leaves are renumbered. */
static uint64_t level_bytes(const struct rt_train_options *options, uint32_t k, uint32_t dim,
                            uint32_t n_ranks, uint32_t n_sharing)
{
    uint32_t cells = cells_of(options);
    uint64_t lloyd = cells > 0 ? rt_lloyd_bytes(k / n_ranks + 1, cells, dim, dim, n_ranks) : 0;
    uint64_t copy = rt_node_copy_bytes((uint64_t)k * dim * sizeof(float), n_sharing) +
                    2 * sizeof(uint32_t) * (uint64_t)k;
    return (uint64_t)cells * dim * sizeof(float) + (uint64_t)k * sizeof(uint32_t) +
           (lloyd > copy ? lloyd : copy);
}

/* Whether leaves are trained on their first values only. */
static bool trains_narrow(const struct rt_train_options *options, uint32_t dim)
{
    return options->kmeans_dimension > 0 && options->kmeans_dimension < dim;
}

struct sizes { /* of a rank's training */
    const struct rt_train_options *options;
    uint64_t n_local;
    uint32_t k, dim;
    uint64_t row_bytes; /* of a sample row */
    uint32_t n_ranks, n_sharing;
    bool in_cells;
    uint64_t state; /* where rows are on their way, or kept */
};

/* While leaves are trained: shared where that goes through cells. */
static uint64_t leaves_bytes(const struct sizes *s)
{
    uint32_t dim = trains_narrow(s->options, s->dim) ? s->options->kmeans_dimension : s->dim;
    uint64_t leaves = (uint64_t)s->k * dim * sizeof(float);
    if (!s->in_cells)
        return rt_node_copy_bytes(leaves, 1) +
               rt_lloyd_bytes(s->n_local, s->k, dim, s->dim, s->n_ranks) + s->state;
    uint64_t cells = rt_hierarchical_bytes(s->n_local, s->k, dim, s->row_bytes, s->n_ranks);
    uint64_t refine =
        rt_refine_bytes(s->n_local, s->k, dim, s->row_bytes, s->n_ranks, s->n_sharing) +
        s->n_local * sizeof(uint32_t) + s->state;
    return rt_node_copy_bytes(leaves, s->n_sharing) + (cells > refine ? cells : refine);
}

/* While they are made whole, or split, each rank for itself: the old leaves beside the new ones. */
static uint64_t remaking_bytes(const struct sizes *s)
{
    uint32_t dim = trains_narrow(s->options, s->dim) ? s->options->kmeans_dimension : s->dim;
    uint64_t whole = rt_node_copy_bytes((uint64_t)s->k * s->dim * sizeof(float), 1);
    uint64_t widen = 0;
    uint64_t split = 0;
    if (dim < s->dim)
        widen = rt_node_copy_bytes((uint64_t)s->k * dim * sizeof(float),
                                   s->in_cells ? s->n_sharing : 1) +
                whole + rt_lloyd_bytes(s->n_local, s->k, dim, s->dim, s->n_ranks);
    if (s->options->max_list_rows)
        split = whole + rt_hierarchical_bytes(s->n_local, s->k, s->dim, s->row_bytes, s->n_ranks);
    return widen > split ? widen : split;
}

/* While the finished leaves get their levels and their beam, and all go where the tree stays. */
static uint64_t levels_bytes(const struct sizes *s, uint64_t shared_bytes)
{
    const struct rt_train_options *options = s->options;
    uint32_t sharing = are_shared(options) ? s->n_sharing : 1;
    uint64_t work = level_bytes(options, s->k, s->dim, s->n_ranks, sharing);
    uint64_t beam = options->beam == RT_TRAIN_AUTO
                        ? rt_beam_bytes(cells_of(options), s->k, s->dim, s->n_sharing)
                        : 0;
    work = work > beam ? work : beam;
    work = work > shared_bytes ? work : shared_bytes; /* all of that is over then */
    return rt_node_copy_bytes((uint64_t)s->k * s->dim * sizeof(float), sharing) + work;
}

uint64_t rt_train_bytes(const struct rt_train_options *options, uint64_t sample_rows, uint32_t dim,
                        enum rt_element type, bool native, uint32_t n_ranks, uint32_t n_sharing,
                        uint64_t shared_bytes)
{
    struct sizes s = {.options = options,
                      .n_local = (sample_rows + n_ranks - 1) / n_ranks,
                      .k = options->lists[options->n_levels - 1],
                      .dim = dim,
                      .row_bytes = (uint64_t)dim * (native ? rt_element_size(type) : sizeof(float)),
                      .n_ranks = n_ranks,
                      .n_sharing = n_sharing};
    s.in_cells = trains_in_cells(options, s.k);
    s.state = s.n_local * 2 * sizeof(uint32_t) + rt_exchange_bytes((int)n_ranks, 0);
    uint64_t most = leaves_bytes(&s);
    uint64_t remaking = remaking_bytes(&s);
    uint64_t levels = levels_bytes(&s, shared_bytes);
    most = most > remaking ? most : remaking;
    most = most > levels ? most : levels;
    return rt_sample_bytes(s.n_local, dim, type, native) + most;
}
