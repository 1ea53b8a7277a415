#include "jobs/phases/train_phase.h"

#include "core/fingerprint.h"
#include "core/memory.h"
#include "core/units.h"
#include "io/centroids_file.h"
#include "io/index_dir.h"
#include "io/tree_file.h"
#include "jobs/phases/first_bad_row.h"
#include "jobs/phases/train_keep.h"
#include "jobs/phases/trained_state.h"
#include "kmeans/means.h"
#include "mpi/agree.h"
#include "mpi/partition.h"
#include "mpi/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct trainer {
    struct rt_phase_context *context;
    const struct rt_train_input *input;
    struct rt_train_output *out;
    struct rt_sample *sample;
    uint64_t bad_row;     /* met in the sample, or RT_NO_BAD_ROW */
    struct rt_tree given; /* --centroids, rotated; private on every rank while training */
    void *given_arrays[3 * RT_MAX_LEVELS];
};

static enum rt_status check(void *ctx, struct rt_error *err)
{
    struct trainer *t = ctx;
    return rt_phase_check(t->context, err);
}

static enum rt_status read_rows(void *ctx, uint64_t begin, size_t n_rows, void *rows,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct trainer *t = ctx;
    const struct rt_rows_info *info = rt_rows_info(t->input->rows);
    RT_TRY(rt_phase_check(t->context, err));
    RT_TRY(rt_row_source_read(t->input->source, begin, n_rows, rows, err));
    rt_progress_add(t->context->progress, RT_COUNT_BYTES_READ,
                    n_rows * info->dim * rt_element_size(info->type));
done:
    return st;
}

static void have_read(void *ctx, bool has_failed)
{
    struct trainer *t = ctx;
    rt_progress_meet(t->context->progress, has_failed);
}

static void name_row(void *ctx, uint64_t row, char *text, size_t text_size)
{
    struct trainer *t = ctx;
    t->bad_row = row;
    rt_rows_name_row(t->input->rows, row, text, text_size);
}

static void sample_progress(void *ctx, uint64_t rows_done, uint64_t rows_all)
{
    struct trainer *t = ctx;
    rt_progress_set_note(t->context->progress, "reading the sample, %.0f %%",
                         rows_all ? 100.0 * (double)rows_done / (double)rows_all : 100.0);
    (void)rt_progress_tick(t->context->progress);
}

static void train_progress(void *ctx, const char *stage, uint64_t done, uint64_t total,
                           double moved, double objective)
{
    struct trainer *t = ctx;
    (void)objective;
    if (moved >= 0)
        rt_progress_set_note(t->context->progress, "%s %llu/%llu, moved %.1f %%", stage,
                             (unsigned long long)done, (unsigned long long)total, 100 * moved);
    else
        rt_progress_set_note(t->context->progress, "%s %llu/%llu", stage, (unsigned long long)done,
                             (unsigned long long)total);
    (void)rt_progress_tick(t->context->progress);
}

/* Says on which nodes the tree is not shared, and why on the first of them. Collective. */
static void warn_of_copies(const struct rt_job *job, const struct rt_shared *shared)
{
    char reason[200];
    char host[RT_MAX_HOST];
    bool is_copied = rt_shared_kind(shared) != RT_SHARED_WINDOW && rt_shared_reason(shared)[0];
    uint64_t first = is_copied ? (uint64_t)job->rank : UINT64_MAX;
    uint64_t n_nodes = is_copied && job->world->node_rank == 0;
    rt_min_u64(job->comm, &first, 1);
    if (first == UINT64_MAX)
        return;
    rt_sum_u64(job->comm, &n_nodes, 1);
    (void)snprintf(reason, sizeof reason, "%s", rt_shared_reason(shared));
    rt_bcast_bytes(job->comm, reason, sizeof reason, (int)first);
    rt_world_host_of(job->world, (int)first, host);
    rt_job_warn(job, "the tree is kept once a rank on %" PRIu64 " of %d nodes (%s: %s)", n_nodes,
                job->world->n_nodes, host, reason);
}

/* Node-shared memory for one array of the tree or one store. Collective. */
static enum rt_status share(struct trainer *t, size_t n_bytes, void **out, struct rt_range *own,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_output *o = t->out;
    struct rt_shared_options options = {.use_window = t->context->job->options->pin};
    struct rt_shared *shared = NULL;
    RT_LOCAL(rt_shared_new(t->context->job->world->node, n_bytes, &options, &shared, err));
    RT_AGREE(t->context->job->comm); /* nodes differ in what they have free */
    o->shares[o->n_shares++] = shared;
    o->shared_kind = rt_shared_kind(shared);
    warn_of_copies(t->context->job, shared);
    *out = rt_shared_target(shared);
    *own = rt_shared_fill(shared, n_bytes);
done:
    return st;
}

static enum rt_status share_for_training(void *ctx, size_t n_bytes, void **out,
                                         struct rt_range *own, struct rt_error *err)
{
    return share(ctx, n_bytes, out, own, err);
}

static enum rt_status sharing_done(void *ctx, struct rt_error *err)
{
    (void)err;
    struct trainer *t = ctx;
    for (uint32_t i = 0; i < t->out->n_shares; i++)
        rt_shared_filled(t->out->shares[i]);
    return RT_OK;
}

static enum rt_status read_sample(struct trainer *t, struct rt_error *err)
{
    const struct rt_rows_info *info = rt_rows_info(t->input->rows);
    const struct rt_options *options = t->context->job->options;
    const struct rt_plan *plan = t->input->plan;
    struct rt_chunks chunks = rt_chunks_of(info->n_rows);
    struct rt_range mine = rt_chunks_rows(&chunks, t->context->job->rank, t->context->job->n_ranks);
    struct rt_sample_options sample = {.n_rows = info->n_rows,
                                       .n_wanted = plan->sample_rows,
                                       .dim = info->dim,
                                       .type = info->type,
                                       .metric = (enum rt_metric)options->metric,
                                       .seed = options->seed,
                                       .rotation = t->out->rotation,
                                       .native = plan->sample_native,
                                       .skip_bad_rows = options->bad_rows == RT_BAD_ROWS_SKIP,
                                       .begin = mine.begin,
                                       .end = mine.end,
                                       .ctx = t,
                                       .read = read_rows,
                                       .name_row = name_row,
                                       .progress = sample_progress,
                                       .have_read = have_read};
    return rt_sample_read(t->context->job->comm, &sample, &t->sample, err);
}

/* --centroids: rank 0 reads, all get a private rotated copy, which training turns into the tree. */
static enum rt_status take_level(struct trainer *t, const struct rt_centroids *file, uint32_t l,
                                 void **arrays, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = t->context->job->comm;
    struct rt_level *level = &t->given.levels[l];
    uint32_t n = level->n;
    uint32_t n_below = l + 1 < t->given.n_levels ? t->given.levels[l + 1].n : 0;
    float *centroids = NULL;
    uint32_t *parent = NULL;
    uint32_t *first_child = NULL;
    RT_LOCAL(rt_array_new(n, t->given.dim * sizeof(float), &centroids, err));
    arrays[0] = centroids;
    if (l > 0) {
        RT_LOCAL(rt_array_new(n, sizeof *parent, &parent, err));
        arrays[1] = parent;
    }
    if (n_below) {
        RT_LOCAL(rt_array_zero((size_t)n + 1, sizeof *first_child, &first_child, err));
        arrays[2] = first_child;
    }
    RT_AGREE(comm);
    if (file->n_levels) {
        memcpy(centroids, file->levels[l].vectors, (size_t)n * t->given.dim * sizeof(float));
        if (l > 0)
            memcpy(parent, file->levels[l].parent, n * sizeof *parent);
        if (n_below) {
            for (uint32_t c = 0; c < n_below; c++)
                first_child[file->levels[l + 1].parent[c] + 1]++;
            for (uint32_t p = 0; p < n; p++)
                first_child[p + 1] += first_child[p];
        }
        rt_rotation_apply(t->out->rotation, centroids, n);
    }
    rt_bcast_bytes(comm, centroids, (uint64_t)n * t->given.dim * sizeof(float), 0);
    if (l > 0)
        rt_bcast_bytes(comm, parent, n * sizeof *parent, 0);
    if (n_below)
        rt_bcast_bytes(comm, first_child, ((uint64_t)n + 1) * sizeof *first_child, 0);
    level->centroids = centroids;
    level->parent = parent;
    level->first_child = first_child;
done:
    return st;
}

/* Read again rather than kept since the plan: until now its memory was free for others. */
static enum rt_status read_file(const struct trainer *t, uint32_t dim, struct rt_centroids *file,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *name = t->context->job->options->centroids;
    RT_TRY(rt_centroids_read(name, dim, file, err));
    if (rt_centroids_hash(file) != t->input->plan->input.given_hash)
        RT_FAIL(RT_INPUT, "'%s' changed after the build was planned with it; run again", name);
done:
    return st;
}

static enum rt_status read_centroids(struct trainer *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = t->context->job;
    struct rt_centroids file = {0};
    uint32_t counts[RT_MAX_LEVELS + 1] = {0};
    uint32_t dim = rt_rows_info(t->input->rows)->dim;
    if (job->rank == 0)
        RT_LOCAL(read_file(t, dim, &file, err));
    RT_AGREE(job->comm);
    counts[0] = file.n_levels;
    for (uint32_t l = 0; l < file.n_levels; l++)
        counts[l + 1] = file.levels[l].n;
    rt_bcast_bytes(job->comm, counts, sizeof counts, 0);
    t->given = (struct rt_tree){
        .dim = dim, .metric = (enum rt_metric)job->options->metric, .n_levels = counts[0]};
    for (uint32_t l = 0; l < counts[0]; l++)
        t->given.levels[l].n = counts[l + 1];
    for (uint32_t l = 0; l < counts[0]; l++)
        RT_TRY(take_level(t, &file, l, t->given_arrays + (size_t)3 * l, err));
done:
    rt_centroids_free(&file);
    return st;
}

static enum rt_status train(struct trainer *t, struct rt_error *err)
{
    struct rt_options *options = t->context->job->options;
    const struct rt_plan *plan = t->input->plan;
    struct rt_train_keep keep;
    struct rt_keep callbacks = rt_train_keep_over(t->context, &keep);
    struct rt_train_options train = {
        .n_levels = plan->n_levels,
        .metric = (enum rt_metric)options->metric,
        .spherical = options->spherical,
        .residual = options->residual,
        .rotation_seed = options->seed,
        .seed = options->seed,
        .training =
            options->training == RT_TRAIN_LLOYD ? RT_TRAINING_LLOYD : RT_TRAINING_HIERARCHICAL,
        .n_iterations = (uint32_t)options->iterations,
        .n_refinements = options->origin[RT_OPT_refinements] == RT_FROM_AUTO
                             ? RT_TRAIN_AUTO
                             : (uint32_t)options->refinements,
        .kmeans_dimension = (uint32_t)options->kmeans_dimension,
        .max_list_rows = options->max_list_rows,
        .n_rows = rt_rows_info(t->input->rows)->n_rows,
        .beam =
            options->origin[RT_OPT_beam] == RT_FROM_AUTO ? RT_TRAIN_AUTO : (uint32_t)options->beam,
        .proposer = RT_PROPOSE_AUTO,
        .given = t->given.n_levels ? &t->given : NULL,
        .node = options->pin ? t->context->job->world->node : MPI_COMM_NULL,
        .ctx = t,
        .progress = train_progress,
        .check = check,
        .keep = t->context->checkpoint ? &callbacks : NULL,
        .shared_new = share_for_training,
        .shared_done = sharing_done,
    };
    memcpy(train.lists, plan->lists, sizeof train.lists);
    enum rt_status st = rt_train(t->context->job->comm, &train, t->sample, &t->out->trained, err);
    if (st == RT_OK) {
        options->beam = t->out->trained.beam;
        options->refinements = t->out->trained.n_refinements;
    }
    return st;
}

static enum rt_status make_sets(struct trainer *t, struct rt_error *err)
{
    const struct rt_tree *tree = &t->out->trained.tree;
    const struct rt_job *job = t->context->job;
    enum rt_metric distance = rt_means_distance(tree->metric, tree->spherical);
    return rt_tree_sets_new(job, tree, distance, true, job->options->pin, &t->out->sets, err);
}

static enum rt_status write_tree(struct trainer *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_output *out = t->out;
    struct rt_job *job = t->context->job;
    const struct rt_tree *tree = &out->trained.tree;
    enum rt_element element = rt_rows_info(t->input->rows)->type;
    char path[RT_PATH_MAX];
    RT_LOCAL(rt_fingerprint(tree, element, &out->fingerprint, err));
    RT_LOCAL(rt_tree_hash(tree, &out->tree_hash, err));
    RT_LOCAL(rt_index_path(t->context->dir, RT_FILE_TREE, t->context->generation, true, path, err));
    if (job->rank == 0) {
        RT_LOCAL(rt_phase_check_lock(t->context, err));
        RT_LOCAL(rt_tree_file_write(path, tree, element, t->context->generation, out->fingerprint,
                                    out->tree_hash, &out->layout, err));
    }
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, &out->layout, sizeof out->layout, 0);
done:
    return st;
}

/* An array of a tree file that a run before has written, into the node's memory. */
static enum rt_status adopt_array(struct trainer *t, const void *from, size_t n_bytes,
                                  const void **to, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    void *memory = NULL;
    struct rt_range own = {0, 0};
    *to = NULL;
    if (!from)
        return RT_OK;
    RT_TRY(share(t, n_bytes, &memory, &own, err));
    rt_assert(memory);
    memcpy((char *)memory + own.begin, (const char *)from + own.begin, (size_t)rt_range_count(own));
    *to = memory;
done:
    return st;
}

static enum rt_status adopt_levels(struct trainer *t, const struct rt_tree *from,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_tree *tree = &t->out->trained.tree;
    *tree = *from;
    for (uint32_t l = 0; l < from->n_levels; l++) {
        const struct rt_level *level = &from->levels[l];
        const void *arrays[3] = {NULL};
        size_t n = level->n;
        RT_TRY(adopt_array(t, level->centroids, n * from->dim * sizeof(float), &arrays[0], err));
        RT_TRY(adopt_array(t, level->parent, n * sizeof(uint32_t), &arrays[1], err));
        RT_TRY(adopt_array(t, level->first_child, (n + 1) * sizeof(uint32_t), &arrays[2], err));
        tree->levels[l].centroids = arrays[0];
        tree->levels[l].parent = arrays[1];
        tree->levels[l].first_child = arrays[2];
    }
    RT_TRY(sharing_done(t, err));
done:
    return st;
}

/* The tree that a run before has finished: its file, which must be the one its state tells of. */
static enum rt_status adopt_tree(struct trainer *t, struct rt_hash128 fingerprint,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_output *out = t->out;
    struct rt_options *options = t->context->job->options;
    struct rt_tree_view view = {0};
    char path[RT_PATH_MAX];
    RT_LOCAL(rt_index_path(t->context->dir, RT_FILE_TREE, t->context->generation, true, path, err));
    if (st == RT_OK)
        RT_LOCAL(rt_phase_require_file(path, err));
    if (st == RT_OK)
        RT_LOCAL(rt_h5_read_layout(path, &out->layout, err));
    if (st == RT_OK)
        RT_LOCAL(rt_tree_file_open(path, &view, err));
    RT_AGREE(t->context->job->comm);
    RT_TRY(adopt_levels(t, &view.tree, err));
    RT_LOCAL(rt_fingerprint(&out->trained.tree, view.element, &out->fingerprint, err));
    RT_LOCAL(rt_tree_hash(&out->trained.tree, &out->tree_hash, err));
    if (st == RT_OK &&
        (out->fingerprint.low != fingerprint.low || out->fingerprint.high != fingerprint.high))
        st = rt_error_set(err, RT_DAMAGED, __FILE__, __LINE__,
                          "'%s' is not the tree that the checkpoint tells of", path);
    RT_AGREE(t->context->job->comm);
    options->beam = out->trained.beam;
    options->refinements = out->trained.n_refinements;
    RT_TRY(make_sets(t, err));
done:
    rt_tree_file_close(&view);
    return st;
}

static void report_sample(const struct trainer *t)
{
    const struct rt_train_output *out = t->out;
    char count[RT_UNITS_TEXT];
    if (out->n_far)
        rt_job_warn(t->context->job,
                    "%s sample rows are over 65,536 times the usual magnitude: they take no part "
                    "in training",
                    rt_units_count(out->n_far, count));
}

enum rt_status rt_train_phase(struct rt_phase_context *context, const struct rt_train_input *input,
                              struct rt_train_output *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = context->job;
    struct rt_phase_clock clock;
    struct trainer t = {.context = context, .input = input, .out = out, .bad_row = RT_NO_BAD_ROW};
    const struct rt_rows_info *info = rt_rows_info(input->rows);
    bool is_trained = false;
    struct rt_hash128 fingerprint;
    memset(out, 0, sizeof *out);
    rt_phase_begin(context, "train", "rows", 0, &clock);
    rt_memory_keep(true);
    RT_LOCAL(rt_rotation_new(job->options->seed, info->dim, &out->rotation, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_trained_state_read(context, &is_trained, out, &fingerprint, err));
    if (is_trained) {
        st = adopt_tree(&t, fingerprint, err);
        rt_trained_state_distrust(context, st);
        if (st != RT_OK)
            goto done;
        RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
        goto done;
    }
    if (job->options->centroids[0] != '\0')
        RT_TRY(read_centroids(&t, err));
    st = read_sample(&t, err);
    st = rt_first_bad_row(context, input->rows, input->source, t.bad_row, st, err);
    if (st != RT_OK)
        goto done;
    out->exponent = t.sample->exponent;
    out->n_sampled = t.sample->n_total;
    out->n_bad = t.sample->n_bad_total;
    out->n_far = t.sample->n_far_total;
    rt_progress_add(context->progress, RT_COUNT_DONE, t.sample->n_local);
    report_sample(&t);
    RT_TRY(train(&t, err));
    RT_TRY(make_sets(&t, err));
    RT_TRY(write_tree(&t, err));
    if (job->rank == 0 && context->checkpoint)
        RT_LOCAL(rt_trained_state_write(context, out, err));
    RT_AGREE(job->comm);
    if (job->rank == 0)
        rt_progress_add(context->progress, RT_COUNT_BYTES_WRITTEN, out->layout.size);
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
done:
    rt_sample_free(t.sample);
    for (size_t i = 0; i < sizeof t.given_arrays / sizeof *t.given_arrays; i++)
        rt_array_free(t.given_arrays[i]);
    rt_memory_keep(false);
    return st;
}

void rt_train_output_free(struct rt_train_output *output)
{
    rt_tree_sets_free(&output->sets);
    rt_trained_free(&output->trained);
    for (uint32_t i = 0; i < output->n_shares; i++)
        rt_shared_free(output->shares[i]);
    rt_rotation_free(output->rotation);
    memset(output, 0, sizeof *output);
}
