#include "jobs/plan_model.h"

#include "core/assign.h"
#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/metric.h"
#include "core/units.h"
#include "jobs/phases/compact_phase.h"
#include "jobs/phases/insert_phase.h"
#include "jobs/phases/pair_sort.h"
#include "kmeans/hierarchical.h"
#include "kmeans/refine.h"
#include "kmeans/sample.h"
#include "kmeans/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Estimates of what only the data decide. */
#define GUESSED_NEIGHBOURS 120 /* of a leaf, mean over the rounds of refinement */
#define GUESSED_MOVES 0.7      /* of a sample row to a leaf of another home, in all rounds */
#define GUESSED_BEAM 12
#define ROTATION_ROUNDS 4

#define LEAST_BASE ((uint64_t)8 << 20)  /* private bytes of a rank that has done nothing (J1) */
#define PEER_BYTES ((uint64_t)64 << 10) /* and for each peer */
#define PUBLISH_BYTES ((uint64_t)4 << 20)
#define SCATTER_BYTES ((uint64_t)16 << 20) /* pieces under way to a rank */
#define MOST_AUTO_TAPES 256u
#define READ_BACK_BYTES ((uint64_t)64 << 20) /* of a dataset, at most, before publishing */

const char *const rt_phase_names[RT_N_PHASES] = {"train", "insert", "compact", "publish"};

/* ---- lists ---- */

/* Largest r with r * r <= x; exact, where the root of a double is not (A8). */
static uint64_t root(uint64_t x)
{
    uint64_t r = (uint64_t)sqrt((double)x);
    while (r > 0 && r > x / r)
        r--;
    while ((r + 1) <= x / (r + 1))
        r++;
    return r;
}

void rt_plan_auto_lists(uint64_t n_rows, struct rt_numbers *out)
{
    uint64_t wide = root(n_rows * 256); /* 16 sqrt n */
    uint64_t leaves = wide < n_rows / 256 ? wide : n_rows / 256;
    *out = (struct rt_numbers){0};
    if (leaves < 1)
        leaves = 1;
    if (leaves > 1024)
        out->value[out->n++] = root(leaves);
    out->value[out->n++] = leaves;
}

static enum rt_status take_lists(const struct rt_plan_input *input, struct rt_options *options,
                                 struct rt_plan *plan, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_numbers *lists = &options->lists;
    if (options->origin[RT_OPT_lists] == RT_FROM_AUTO)
        rt_plan_auto_lists(input->n_rows, lists);
    if (input->n_given_levels) { /* the file's tree, whatever the rows are */
        if (options->origin[RT_OPT_lists] == RT_FROM_AUTO)
            lists->n = 0;
        for (uint32_t l = 0; l < input->n_given_levels; l++)
            plan->lists[l] = input->given_levels[l];
        plan->n_levels = input->n_given_levels;
        plan->leaves = plan->lists[plan->n_levels - 1];
        goto done;
    }
    for (uint32_t l = 1; l < lists->n; l++)
        if (lists->value[l] <= lists->value[l - 1])
            RT_FAIL(RT_USAGE, "--lists must grow from coarse to leaf: %llu is followed by %llu",
                    (unsigned long long)lists->value[l - 1], (unsigned long long)lists->value[l]);
    uint64_t leaves = lists->value[lists->n - 1];
    plan->lists_cut = leaves > input->n_rows;
    leaves = plan->lists_cut ? input->n_rows : leaves;
    for (uint32_t l = 0; l + 1 < lists->n; l++) /* a level as large as the leaves is none */
        if (lists->value[l] < leaves)
            plan->lists[plan->n_levels++] = (uint32_t)lists->value[l];
    plan->lists[plan->n_levels++] = (uint32_t)leaves;
    plan->leaves = (uint32_t)leaves;
done:
    return st;
}

/* ---- options ---- */

static bool is_auto(const struct rt_options *options, enum rt_option_index index)
{
    return options->origin[index] == RT_FROM_AUTO;
}

static uint64_t row_bytes(const struct rt_plan_input *input)
{
    return (uint64_t)input->dim * rt_element_size(input->type);
}

uint64_t rt_plan_auto_memory(const struct rt_plan_input *input)
{
    return input->node_bytes / input->ranks_per_node / 5 * 4;
}

void rt_plan_take_ranks(const struct rt_options *options, struct rt_plan_input *input)
{
    if (options->origin[RT_OPT_ranks] == RT_FROM_GIVEN)
        input->ranks = (uint32_t)options->ranks;
    if (options->origin[RT_OPT_ranks_per_node] == RT_FROM_GIVEN)
        input->ranks_per_node = (uint32_t)options->ranks_per_node;
    if (input->ranks_per_node > input->ranks)
        input->ranks_per_node = input->ranks;
}

uint64_t rt_plan_base(const struct rt_plan_input *input)
{
    uint64_t own = input->base_bytes > LEAST_BASE ? input->base_bytes : LEAST_BASE;
    return own + input->ranks * PEER_BYTES;
}

static void complete(const struct rt_plan_input *input, struct rt_options *options,
                     const struct rt_plan *plan)
{
    if (is_auto(options, RT_OPT_type))
        options->type = (int)input->type;
    if (is_auto(options, RT_OPT_training))
        options->training = plan->leaves > 1024 ? RT_TRAIN_HIERARCHICAL : RT_TRAIN_LLOYD;
    if (is_auto(options, RT_OPT_spherical))
        options->spherical = options->metric != RT_L2;
    if (is_auto(options, RT_OPT_tapes))
        options->tapes = input->ranks < MOST_AUTO_TAPES ? input->ranks : MOST_AUTO_TAPES;
    if (is_auto(options, RT_OPT_chooser))
        options->chooser = input->ranks == 1 ? RT_CHOOSER_ZERO : RT_CHOOSER_ID;
    if (options->rerank_in_heap && options->chooser == RT_CHOOSER_RNG)
        options->chooser = RT_CHOOSER_ID; /* runs of heap rows */
    if (is_auto(options, RT_OPT_block_rows))
        options->block_rows = rt_insert_block_rows(
            row_bytes(input), (uint64_t)plan->leaves * input->dim * sizeof(float));
    if (is_auto(options, RT_OPT_memory))
        options->memory = rt_plan_auto_memory(input);
    if (is_auto(options, RT_OPT_ranks))
        options->ranks = input->ranks;
    if (is_auto(options, RT_OPT_ranks_per_node))
        options->ranks_per_node = input->ranks_per_node;
}

static enum rt_status check(const struct rt_plan_input *input, const struct rt_options *options,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (input->n_rows == 0)
        RT_FAIL(RT_INPUT, "there are no rows");
    if (options->kmeans_dimension > input->dim)
        RT_FAIL(RT_USAGE, "--kmeans-dimension is %llu, rows have %u dimensions",
                (unsigned long long)options->kmeans_dimension, input->dim);
done:
    return st;
}

/* ---- costs ---- */

struct model { /* what the phases' figures share */
    const struct rt_plan_input *in;
    const struct rt_options *options;
    struct rt_plan *plan;
    uint64_t n, ranks, nodes;
    uint64_t rows_local; /* of the rank that has most */
    double travels;      /* part of what is exchanged that changes rank */
    uint64_t base;
    uint64_t tree_bytes;   /* of a node: centroids and what proposals need beside them */
    uint64_t train_bytes;  /* of a node: most that its ranks share in training */
    uint64_t record_bytes; /* of a code record on a tape */
    uint64_t n_blocks;     /* frozen */
    uint64_t frozen_bytes; /* of all frozen blocks */
    uint64_t vector_bytes; /* of all vectors tapes */
};

static uint64_t up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static double times(double share, uint64_t bytes)
{
    return share * (double)bytes;
}

/* The leaves there may be after --max-list-rows has split some. */
static uint32_t most_leaves(const struct model *m)
{
    uint64_t most = m->plan->leaves;
    if (m->options->max_list_rows)
        most += up(m->n, m->options->max_list_rows);
    return most > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)most;
}

static void describe_training(const struct model *m, struct rt_train_options *train)
{
    const struct rt_options *o = m->options;
    *train = (struct rt_train_options){
        .n_levels = m->plan->n_levels,
        .metric = (enum rt_metric)o->metric,
        .spherical = o->spherical,
        .training = m->plan->cells ? RT_TRAINING_HIERARCHICAL : RT_TRAINING_LLOYD,
        .n_iterations = (uint32_t)o->iterations,
        .n_refinements = is_auto(o, RT_OPT_refinements) ? RT_TRAIN_AUTO : (uint32_t)o->refinements,
        .kmeans_dimension = (uint32_t)o->kmeans_dimension,
        .max_list_rows = o->max_list_rows,
        .n_rows = m->n,
        .beam = RT_TRAIN_AUTO};
    memcpy(train->lists, m->plan->lists, sizeof train->lists);
}

/* While a build trains, the node holds the leaves beside what will be the tree. */
static void measure_training(struct model *m)
{
    struct rt_train_options train;
    describe_training(m, &train);
    uint64_t training = rt_train_shared_bytes(&train, m->in->dim);
    uint64_t leaves = training ? (uint64_t)m->plan->leaves * m->in->dim * sizeof(float) : 0;
    m->train_bytes = m->tree_bytes + leaves;
    m->train_bytes = m->train_bytes > training ? m->train_bytes : training;
}

static void measure_tree(struct model *m)
{
    uint32_t dim = m->in->dim;
    for (uint32_t l = 0; l < m->plan->n_levels; l++) {
        bool is_leaf = l + 1 == m->plan->n_levels;
        uint32_t n = is_leaf ? most_leaves(m) : m->plan->lists[l];
        m->tree_bytes += (uint64_t)n * (dim * sizeof(float) + 2 * sizeof(uint32_t));
        uint32_t n_cells = l == 0 ? 0 : m->plan->lists[l - 1];
        m->tree_bytes += is_leaf ? rt_leaf_set_bytes(n, dim, n_cells)
                                 : rt_centroid_set_bytes_in_cells(n, dim, n_cells);
    }
    measure_training(m);
    m->plan->tree_is_private = !m->options->pin || m->in->shm_bytes < m->train_bytes;
}

static void measure_files(struct model *m)
{
    uint32_t dim = m->in->dim;
    uint64_t n_factors = rt_code_n_factors((enum rt_metric)m->options->metric);
    uint64_t fixed = sizeof(uint64_t) + 2 * sizeof(uint32_t); /* id and place */
    uint64_t block = rt_block_code_bytes(dim) + RT_BLOCK_ROWS * (n_factors * sizeof(float) + fixed);
    m->record_bytes = sizeof(uint32_t) + fixed + rt_code_bytes(dim) + n_factors * sizeof(float);
    m->n_blocks = m->n / RT_BLOCK_ROWS + m->plan->leaves / 2 + 1;
    m->frozen_bytes = m->n_blocks * block;
    m->vector_bytes = m->n * (sizeof(uint64_t) + sizeof(uint32_t));
    if (!m->options->rerank_in_heap)
        m->vector_bytes += m->n * row_bytes(m->in);
}

static void begin_model(const struct rt_plan_input *input, const struct rt_options *options,
                        struct rt_plan *plan, struct model *m)
{
    *m = (struct model){.in = input, .options = options, .plan = plan, .n = input->n_rows};
    m->ranks = input->ranks;
    m->nodes = up(m->ranks, input->ranks_per_node);
    m->rows_local = up(m->n, m->ranks);
    m->travels = (double)(m->ranks - 1) / (double)m->ranks;
    m->base = rt_plan_base(input);
    measure_tree(m);
    measure_files(m);
}

/* Of a rank: its part of the node's tree, or all of it. */
static uint64_t tree_of_rank(const struct model *m)
{
    return m->plan->tree_is_private ? m->tree_bytes : up(m->tree_bytes, m->in->ranks_per_node);
}

static double train_iterations(const struct model *m)
{
    return (double)m->options->iterations + 1;
}

static double train_rounds(const struct model *m)
{
    return is_auto(m->options, RT_OPT_refinements) ? RT_TRAIN_AUTO_REFINEMENTS
                                                   : (double)m->options->refinements;
}

static double train_flops(const struct model *m)
{
    double d = m->options->kmeans_dimension ? (double)m->options->kmeans_dimension : m->in->dim;
    double s = (double)m->plan->sample_rows;
    double k = m->plan->leaves;
    double iterations = train_iterations(m);
    double pairs = s * k * iterations;
    if (m->plan->cells) {
        double cells = m->plan->cells;
        double coarse = fmin(s, RT_COARSE_ROWS_PER_CELL * cells);
        double searched = k <= RT_REFINE_FLAT_LEAVES ? k : cells + 8 * k / cells;
        double thinned = fmin(s, RT_ROWS_PER_LEAF * k); /* of cells that refinement follows */
        double trained = train_rounds(m) > 0 ? (iterations - 1) * thinned + s : iterations * s;
        pairs = (iterations * coarse + s) * cells + trained * k / cells;
        pairs += train_rounds(m) * (s * GUESSED_NEIGHBOURS + k * searched);
    }
    if (m->options->centroids[0])
        pairs = 0;
    for (uint32_t l = 0; l + 1 < m->plan->n_levels; l++)
        pairs += (double)m->plan->lists[l] * m->plan->lists[l + 1] * iterations;
    return 2 * d * pairs;
}

/* k centroids that all ranks train together: in each iteration their sums are reduced and
 * scattered, new means go to all, counts and objectives are summed on all. */
static double means_exchange(const struct model *m, double k)
{
    double d = m->in->dim;
    double ranks = (double)m->ranks;
    double iteration = (ranks - 1) * d * (sizeof(int64_t) + sizeof(float)) +
                       ranks * 3 * sizeof(int64_t); /* of a centroid */
    return k * (train_iterations(m) * iteration + ranks * d * sizeof(float));
}

/* Nodes, which get a leaf once; where memory is not shared, ranks. */
static double places(const struct model *m)
{
    return m->plan->tree_is_private ? (double)m->ranks : (double)m->nodes;
}

/* All leaves to all places before the wide round and at the end, and where leaves are few before
 * every round; else those that a place reaches. */
static double centroids_exchange(const struct model *m)
{
    double k = m->plan->leaves;
    double leaf = (double)m->in->dim * sizeof(float);
    double rounds = train_rounds(m);
    double reached = rt_refine_reached(m->plan->leaves, (uint32_t)places(m));
    double full = fmin(2, rounds);
    if (reached >= k)
        return leaf * k * rounds * (places(m) - 1);
    return leaf * (full * k + (rounds - full) * reached) * (places(m) - 1);
}

/* Rows go to the homes of their leaves, first and when they move (D9). */
static double refine_exchange(const struct model *m)
{
    double row = (double)row_bytes(m->in) + 2 * sizeof(uint64_t);
    double shared = fmin(1, (double)m->ranks / m->plan->cells); /* cells, among ranks */
    double first = m->plan->leaves <= RT_REFINE_FLAT_LEAVES ? shared / 2 : 1;
    if (train_rounds(m) <= 0)
        return 0;
    return centroids_exchange(m) +
           (GUESSED_MOVES + first) * m->travels * (double)m->plan->sample_rows * row;
}

static double train_exchange(const struct model *m)
{
    double leaves = m->plan->leaves;
    double row = (double)(row_bytes(m->in) + sizeof(uint32_t) + sizeof(uint64_t));
    double bytes = 0;
    if (m->ranks == 1 || m->options->centroids[0])
        return 0;
    for (uint32_t l = 0; l + 1 < m->plan->n_levels; l++)
        bytes += means_exchange(m, m->plan->lists[l]);
    if (!m->plan->cells)
        return bytes + means_exchange(m, leaves);
    bytes += (double)m->plan->sample_rows * row * m->travels;
    bytes += (places(m) - 1) * leaves * m->in->dim * sizeof(float); /* those of all cells */
    return bytes + means_exchange(m, m->plan->cells) + refine_exchange(m);
}

static void plan_train(const struct model *m, struct rt_plan_cost *cost)
{
    struct rt_train_options train;
    const struct rt_plan *plan = m->plan;
    uint64_t sampled = plan->sample_blocks * rt_sample_block_rows(m->in->dim);
    sampled = sampled < m->n ? sampled : m->n;
    describe_training(m, &train);
    uint64_t reading =
        rt_sample_read_bytes(up(sampled, m->ranks), m->in->dim, m->in->type, plan->sample_native);
    uint32_t sharing = plan->tree_is_private ? 1 : m->in->ranks_per_node;
    uint64_t training =
        rt_train_bytes(&train, sampled, m->in->dim, m->in->type, plan->sample_native,
                       (uint32_t)m->ranks, sharing, tree_of_rank(m));
    cost->memory_bytes = m->base + (reading > training ? reading : training);
    cost->flops = train_flops(m);
    cost->bytes_read = sampled * row_bytes(m->in);
    cost->bytes_written = m->tree_bytes;
    cost->bytes_exchanged = (uint64_t)train_exchange(m);
}

double rt_plan_descent_flops(uint64_t n_rows, uint32_t dim, const uint32_t *lists,
                             uint32_t n_levels, double beam)
{
    double pairs = lists[0];
    for (uint32_t l = 1; l < n_levels; l++) {
        double kept = beam < lists[l - 1] ? beam : lists[l - 1];
        pairs += kept * lists[l] / lists[l - 1];
    }
    double steps = 1; /* of a Walsh-Hadamard transform, and the signs */
    for (uint32_t p = 1; p < dim; p *= 2)
        steps++;
    return (double)n_rows * dim * (2 * pairs + ROTATION_ROUNDS * steps + 8);
}

static double insert_flops(const struct model *m)
{
    double beam = is_auto(m->options, RT_OPT_beam) ? GUESSED_BEAM : (double)m->options->beam;
    return rt_plan_descent_flops(m->n, m->in->dim, m->plan->lists, m->plan->n_levels, beam);
}

static void plan_insert(const struct model *m, struct rt_plan_cost *cost)
{
    const struct rt_options *o = m->options;
    uint32_t beam = is_auto(o, RT_OPT_beam) ? GUESSED_BEAM : (uint32_t)o->beam;
    uint32_t cells = m->plan->n_levels > 1 ? m->plan->lists[m->plan->n_levels - 2] : 1;
    uint32_t tapes = o->chooser == RT_CHOOSER_RNG ? (uint32_t)o->tapes : 1;
    uint64_t input = m->n * (row_bytes(m->in) + (o->ids[0] ? sizeof(uint64_t) : 0));
    beam = beam < cells ? beam : cells;
    struct rt_insert_sizes sizes = {.dim = m->in->dim,
                                    .element = m->in->type,
                                    .metric = (enum rt_metric)o->metric,
                                    .in_heap = o->rerank_in_heap,
                                    .n_rows = m->n,
                                    .n_ranks = m->in->ranks,
                                    .block_rows = o->block_rows,
                                    .n_lists = most_leaves(m),
                                    .beam = beam,
                                    .tapes_of_rank = tapes};
    uint64_t rows = rt_insert_phase_bytes(&sizes);
    uint64_t sorting = /* afterwards, where ids do not ascend */
        o->ids[0] ? rt_pair_sort_bytes(m->plan->budget_bytes, m->n, (int)m->ranks) : 0;
    cost->memory_bytes =
        m->base + tree_of_rank(m) + (o->scatter ? SCATTER_BYTES : 0) +
        (rows > sorting ? rows : sorting) +
        rt_insert_phase_kept_bytes(m->n, most_leaves(m), (int)m->in->ranks_per_node);
    cost->flops = insert_flops(m);
    cost->bytes_read = input;
    cost->bytes_written = m->n * m->record_bytes + m->vector_bytes;
    cost->bytes_exchanged = o->scatter ? (uint64_t)times(m->travels, input) : 0;
}

static void plan_compact(const struct model *m, struct rt_plan_cost *cost)
{
    uint64_t share = up(m->frozen_bytes, m->ranks);
    uint64_t window = rt_compact_window_bytes(m->plan->budget_bytes, share, (int)m->ranks);
    uint64_t records = m->n * m->record_bytes;
    cost->memory_bytes = m->base + tree_of_rank(m) +
                         rt_compact_phase_bytes(m->in->dim, (enum rt_metric)m->options->metric,
                                                most_leaves(m), window, m->n_blocks, (int)m->ranks);
    uint64_t near = m->ranks < m->in->ranks_per_node ? m->ranks : m->in->ranks_per_node;
    double far = (double)(m->ranks - near) / (double)m->ranks; /* of a rank's records */
    cost->bytes_read = records;
    cost->bytes_written = m->frozen_bytes;
    if (m->ranks > 1) /* beside records: counts of lists, where near ones lie, the file's layout */
        cost->bytes_exchanged = (uint64_t)times(far, records) +
                                UINT64_C(8) * most_leaves(m) * (UINT64_C(2) * m->ranks + near - 1) +
                                sizeof(struct rt_h5_layout) * (m->ranks - 1);
}

uint64_t rt_plan_read_back(const struct rt_options *options, uint64_t bytes, uint64_t n_datasets)
{
    bool is_whole = options->verify_writes || bytes < n_datasets * READ_BACK_BYTES;
    return is_whole ? bytes : n_datasets * READ_BACK_BYTES;
}

static void plan_publish(const struct model *m, struct rt_plan_cost *cost)
{
    cost->memory_bytes = m->base + tree_of_rank(m) + PUBLISH_BYTES;
    cost->bytes_read = rt_plan_read_back(m->options, m->tree_bytes, 1) +
                       rt_plan_read_back(m->options, m->frozen_bytes, 4) +
                       rt_plan_read_back(m->options, m->vector_bytes, 3);
    cost->bytes_written = (uint64_t)1 << 20;
}

static void find_peak(struct rt_plan *plan)
{
    plan->peak_bytes = 0;
    for (int p = 0; p < RT_N_PHASES; p++)
        if (plan->phase[p].memory_bytes > plan->peak_bytes) {
            plan->peak_bytes = plan->phase[p].memory_bytes;
            plan->peak_phase = (enum rt_plan_phase_id)p;
        }
    plan->fits = plan->budget_bytes == 0 || plan->peak_bytes <= plan->budget_bytes;
}

static void add_up(const struct model *m)
{
    struct rt_plan *plan = m->plan;
    memset(plan->phase, 0, sizeof plan->phase);
    plan_train(m, &plan->phase[RT_PHASE_TRAIN]);
    plan_insert(m, &plan->phase[RT_PHASE_INSERT]);
    plan_compact(m, &plan->phase[RT_PHASE_COMPACT]);
    plan_publish(m, &plan->phase[RT_PHASE_PUBLISH]);
    for (int p = 0; p < RT_N_PHASES; p++) {
        plan->phase[p].seconds = -1;
        plan->phase[p].shared_bytes = plan->tree_is_private ? 0
                                      : p == RT_PHASE_TRAIN ? m->train_bytes
                                                            : m->tree_bytes;
    }
    find_peak(plan);
}

static void plan_sample(const struct rt_plan_input *input, const struct rt_options *options,
                        struct rt_plan *plan)
{
    uint64_t block = rt_sample_block_rows(input->dim);
    uint64_t wanted;
    if (!rt_mul_u64(plan->leaves, options->sample_per_list, &wanted) || wanted > input->n_rows)
        wanted = input->n_rows;
    plan->sample_rows = wanted;
    plan->sample_blocks = up(wanted, block);
}

enum rt_status rt_plan_make(const struct rt_plan_input *input, struct rt_options *options,
                            struct rt_plan *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_plan plan = {.input = *input};
    struct model model;
    RT_TRY(check(input, options, err));
    RT_TRY(take_lists(input, options, &plan, err));
    complete(input, options, &plan);
    plan_sample(input, options, &plan);
    if (options->training == RT_TRAIN_HIERARCHICAL)
        plan.cells = (uint32_t)root(plan.leaves);
    plan.block_rows = options->block_rows;
    plan.tapes = (uint32_t)options->tapes;
    plan.budget_bytes = options->memory;
    begin_model(input, options, &plan, &model);
    add_up(&model);
    if (!plan.fits && plan.peak_phase == RT_PHASE_TRAIN && input->type != RT_F32) {
        plan.sample_native = true; /* the same bits in less memory */
        add_up(&model);
    }
    if (!plan.fits && plan.peak_phase == RT_PHASE_INSERT && is_auto(options, RT_OPT_block_rows)) {
        options->block_rows = plan.block_rows = rt_insert_block_rows(row_bytes(input), 0);
        add_up(&model);
    }
    *out = plan;
done:
    return st;
}

/* ---- times ---- */

static double time_of(double amount, double rate)
{
    return amount > 0 && rate > 0 ? amount / rate : 0;
}

double rt_plan_seconds(const struct rt_plan_rates *rates, uint32_t ranks, bool overlaps,
                       const struct rt_plan_cost *cost)
{
    double compute = time_of(cost->flops, rates->assign_flops * ranks);
    double move = time_of((double)cost->bytes_read, rates->read_bytes * ranks) +
                  time_of((double)cost->bytes_written, rates->write_bytes * ranks);
    double exchange = time_of((double)cost->bytes_exchanged, rates->exchange_bytes * ranks);
    return exchange + (overlaps ? fmax(compute, move) : compute + move);
}

void rt_plan_add_times(const struct rt_plan_rates *rates, struct rt_plan *plan)
{
    for (int p = 0; p < RT_N_PHASES; p++)
        plan->phase[p].seconds =
            rt_plan_seconds(rates, plan->input.ranks, p == RT_PHASE_INSERT, &plan->phase[p]);
}

/* ---- refusal ---- */

/* Plans again with fewer sample rows, and with more ranks; 0 where that does not help. */
static uint64_t try_sample(const struct rt_plan_input *input, const struct rt_options *options,
                           struct rt_plan *plan)
{
    struct rt_error ignored;
    static struct rt_options trial; /* large */
    for (uint64_t n = options->sample_per_list / 2; n >= 32; n /= 2) {
        trial = *options;
        trial.sample_per_list = n;
        if (rt_plan_make(input, &trial, plan, &ignored) == RT_OK && plan->fits)
            return n;
    }
    return 0;
}

static uint64_t try_ranks(const struct rt_plan_input *input, const struct rt_options *options)
{
    struct rt_error ignored;
    struct rt_plan plan;
    static struct rt_options trial;
    struct rt_plan_input more = *input;
    for (uint64_t ranks = input->ranks; ranks <= 16384; ranks += ranks < 2 ? 1 : ranks / 2) {
        more.ranks = (uint32_t)ranks;
        trial = *options;
        if (rt_plan_make(&more, &trial, &plan, &ignored) == RT_OK && plan.fits)
            return ranks;
    }
    return 0;
}

void rt_plan_refusal(const struct rt_options *options, const struct rt_plan *plan, char *text,
                     size_t text_size)
{
    const struct rt_plan_input *input = &plan->input;
    char needs[RT_UNITS_TEXT];
    char has[RT_UNITS_TEXT];
    char smaller[RT_UNITS_TEXT];
    struct rt_plan other;
    size_t used = (size_t)snprintf(
        text, text_size, "needs %s a rank in %s, has %s", rt_units_bytes(plan->peak_bytes, needs),
        rt_phase_names[plan->peak_phase], rt_units_bytes(plan->budget_bytes, has));
    uint64_t sample = try_sample(input, options, &other);
    uint64_t ranks = try_ranks(input, options);
    if (sample && used < text_size)
        used +=
            (size_t)snprintf(text + used, text_size - used, "; try --sample-per-list %llu (%s)",
                             (unsigned long long)sample, rt_units_bytes(other.peak_bytes, smaller));
    if (ranks && used < text_size)
        used += (size_t)snprintf(text + used, text_size - used,
                                 "%s %llu ranks with as much memory each", sample ? " or" : "; try",
                                 (unsigned long long)ranks);
    if (!sample && !ranks && used < text_size)
        (void)snprintf(text + used, text_size - used, "; try fewer --lists or more --memory");
}
