#include "jobs/plan_edit_model.h"

#include "core/assign.h"
#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "jobs/delete.h"
#include "jobs/insert.h"
#include "jobs/phases/carry.h"
#include "jobs/phases/fold_phase.h"
#include "jobs/phases/good_ids.h"
#include "jobs/phases/heap_carry.h"
#include "jobs/phases/insert_phase.h"
#include "jobs/phases/new_ids.h"
#include "jobs/phases/publish_phase.h"
#include "jobs/phases/slot_layout.h"
#include "jobs/phases/sorted_ids.h"
#include "jobs/phases/tidy_phase.h"
#include "jobs/phases/tombstone_phase.h"
#include "jobs/phases/vacuum_survey.h"
#include "jobs/phases/vectors_phase.h"
#include "mpi/partition.h"

#include <math.h>
#include <string.h>

#define LARGE_DATASETS 6u /* of the files that a job writes: vectors, codes, factors, ids.. */
#define SCATTER_BYTES ((uint64_t)16 << 20) /* pieces under way to a rank */

struct model {
    const struct rt_edit_plan_input *in;
    const struct rt_options *options;
    const struct rt_index_view *view;
    const struct rt_manifest *m;
    struct rt_edit_plan *plan;
    int ranks;
    uint64_t budget;
    uint64_t base;       /* what a rank holds all the while: the view too */
    uint64_t slot_bytes; /* of a vectors file, without its sorted ids */
    uint64_t record_bytes;
    uint64_t n_written; /* bytes of new files */
    uint64_t n_dropped; /* bytes of files that the manifest names no longer */
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void begin(const struct rt_edit_plan_input *input, const struct rt_options *options,
                  struct rt_edit_plan *plan, struct model *m)
{
    const struct rt_manifest *manifest = input->view->manifest;
    uint64_t vector_bytes = (uint64_t)manifest->dim * rt_element_size(manifest->element);
    *plan = (struct rt_edit_plan){.base_bytes = rt_plan_base(&input->machine),
                                  .budget_bytes = options->memory};
    *m = (struct model){.in = input,
                        .options = options,
                        .view = input->view,
                        .m = manifest,
                        .plan = plan,
                        .ranks = (int)input->machine.ranks,
                        .budget = options->memory,
                        .base = plan->base_bytes + input->view_bytes,
                        .slot_bytes = sizeof(uint64_t) + sizeof(uint32_t) +
                                      (manifest->rerank_in_heap ? 0 : vector_bytes),
                        .record_bytes =
                            rt_tape_record_bytes(input->view->code_bytes, input->view->n_factors)};
}

/* The next phase; own: private bytes of a rank beside the base. */
static struct rt_plan_cost *add_phase(struct model *m, const char *name, uint64_t own)
{
    struct rt_edit_plan *plan = m->plan;
    struct rt_plan_cost *cost = &plan->costs[plan->n_phases];
    plan->names[plan->n_phases++] = name;
    *cost = (struct rt_plan_cost){.memory_bytes = m->base + own, .seconds = -1};
    return cost;
}

/* Bytes that n numbers of every rank send while they are summed. */
static uint64_t sum_bytes(const struct model *m, uint64_t n)
{
    return 2 * (uint64_t)(m->ranks - 1) * n * sizeof(uint64_t);
}

/* What other ranks get of records sorted over all of them. */
static uint64_t sorted_elsewhere(const struct model *m, uint64_t n)
{
    return n / (uint64_t)m->ranks * (uint64_t)(m->ranks - 1) * sizeof(struct rt_pair);
}

static void add_publish(struct model *m, uint64_t held)
{
    struct rt_plan_cost *cost = add_phase(m, "publish", held + rt_publish_phase_bytes());
    cost->bytes_read = rt_plan_read_back(m->options, m->n_written, LARGE_DATASETS);
    cost->bytes_written = (uint64_t)1 << 20;
}

static void finish(struct model *m)
{
    struct rt_edit_plan *plan = m->plan;
    for (int p = 0; p < plan->n_phases; p++)
        if (plan->costs[p].memory_bytes > plan->peak_bytes) {
            plan->peak_bytes = plan->costs[p].memory_bytes;
            plan->peak_phase = p;
        }
    plan->fits = plan->budget_bytes == 0 || plan->peak_bytes <= plan->budget_bytes;
    plan->disk_now = rt_manifest_bytes(m->m);
    plan->disk_more = m->n_written;
    plan->disk_after = plan->disk_now - least(m->n_dropped, plan->disk_now) + m->n_written;
}

/* ---- what vacuum finds ---- */

struct findings {
    uint64_t n_tombstones, n_records; /* stored ones */
    uint64_t n_lists;                 /* to be written anew, in all rounds */
    uint64_t n_rows;                  /* live rows in them */
    uint64_t n_blocks;                /* of a round */
    bool *rewrites;                   /* vectors files */
    bool rewrites_any, keeps_any;     /* some of them; some not */
    struct rt_vectors_shape vectors;  /* of the file they become */
    uint64_t n_left;                  /* records of other lists */
    uint64_t n_needed;                /* tombstones that are still */
};

/* Dead rows that a vectors file holds at most: the entries of younger tombstones. */
static uint64_t most_dead(const struct rt_index_view *view, const struct rt_vectors_view *file,
                          uint64_t used)
{
    uint64_t n = 0;
    for (size_t i = 0; i < view->n_tombstones; i++)
        if (view->tombstones[i].shape.generation > file->shape.generation)
            n += view->tombstones[i].shape.n;
    return least(n, used);
}

/* Lists that random dead rows hit, and those that gain enough records. */
static void find_lists(const struct model *m, struct findings *f)
{
    double lists = m->view->n_lists;
    double frozen = (double)m->m->n_rows_frozen;
    double hit = lists * (1 - exp(-(double)f->n_tombstones / lists));
    double grown = frozen > 0 ? 64.0 * (double)m->m->n_rows_appendable / frozen : 1;
    double n = fmin(lists, hit + fmin(1, grown) * lists);
    bool is_changed = f->n_tombstones || f->n_records || m->view->n_frozen > 1;
    if (m->options->full)
        n = is_changed ? lists : 0;
    f->n_lists = (uint64_t)ceil(n);
    double share = n / lists;
    f->n_rows = (uint64_t)(share * (double)m->m->n_rows);
    f->n_left = (uint64_t)((1 - share) * (double)m->m->n_rows_appendable);
    uint64_t of_round = rt_survey_round_rows(m->view, m->budget, m->ranks);
    m->plan->n_rounds = of_round ? f->n_rows / of_round + 1 : 1;
    uint64_t rows = of_round ? least(f->n_rows, of_round) : f->n_rows;
    uint64_t partly = least(f->n_lists / 2 / m->plan->n_rounds, rows);
    f->n_blocks = rows / RT_BLOCK_ROWS + partly + (rows > 0);
}

/* Ids of a tape from its first used slot to its last; false: none is used. */
static bool ends_of_tape(const struct rt_vectors_view *file, uint32_t tape, uint64_t ends[2])
{
    uint64_t begin = file->tapes[tape].first_slot;
    uint64_t end = begin + file->tapes[tape].n_slots;
    while (begin < end && file->ids[begin] == RT_NO_ID)
        begin++;
    while (begin < end && file->ids[end - 1] == RT_NO_ID)
        end--;
    if (begin == end)
        return false;
    ends[0] = file->ids[begin];
    ends[1] = file->ids[end - 1];
    return true;
}

/* Do ids ascend through the files that become one? By the ends of tapes in which they do. */
static bool ids_ascend(const struct rt_index_view *view, const bool *is_chosen)
{
    uint64_t last = 0;
    bool is_first = true;
    for (size_t i = 0; i < view->n_vectors; i++) {
        const struct rt_vectors_view *file = &view->vectors[i];
        uint64_t ends[2];
        if (!is_chosen[i])
            continue;
        if (!file->shape.ids_ascend)
            return false;
        for (uint32_t tape = 0; tape < file->shape.n_tapes; tape++) {
            if (!ends_of_tape(file, tape, ends))
                continue;
            if (!is_first && ends[0] <= last)
                return false;
            last = ends[1];
            is_first = false;
        }
    }
    return true;
}

/* Files chosen if so many slots of each are dead; added to those that are chosen already. */
static enum rt_status choose_more(const struct model *m, const uint64_t *dead, bool *is_chosen,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool *more = NULL;
    RT_TRY(rt_array_zero(m->view->n_vectors, sizeof *more, &more, err));
    RT_TRY(
        rt_vectors_choose(m->view, dead, m->options->full, m->options->dead_fraction, more, err));
    for (size_t i = 0; i < m->view->n_vectors; i++)
        is_chosen[i] = is_chosen[i] || more[i];
done:
    rt_array_free(more);
    return st;
}

/* How many slots are dead is known, not where: they may be spread evenly, or all in one file. */
static enum rt_status choose_vectors(const struct model *m, uint64_t n_used, bool *is_chosen,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = m->view;
    uint64_t n_dead = n_used - least(n_used, m->m->n_rows);
    double share = n_used ? (double)n_dead / (double)n_used : 0;
    uint64_t *even = NULL;
    uint64_t *most = NULL;
    RT_TRY(rt_array_new(view->n_vectors, sizeof *even, &even, err));
    RT_TRY(rt_array_new(view->n_vectors, sizeof *most, &most, err));
    for (size_t i = 0; i < view->n_vectors; i++) {
        const struct rt_vectors_view *file = &view->vectors[i];
        uint64_t used = rt_manifest_rows(m->m, RT_FILE_VECTORS, file->shape.generation);
        most[i] = least(most_dead(view, file, used), n_dead);
        even[i] = least(most[i], (uint64_t)(share * (double)used));
    }
    RT_TRY(choose_more(m, even, is_chosen, err));
    RT_TRY(choose_more(m, most, is_chosen, err));
done:
    rt_array_free(even);
    rt_array_free(most);
    return st;
}

static enum rt_status find_vectors(struct model *m, struct findings *f, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = m->view;
    uint64_t n_used = 0;
    uint64_t n_taken = 0;
    RT_TRY(rt_array_zero(view->n_vectors, sizeof *f->rewrites, &f->rewrites, err));
    for (size_t i = 0; i < view->n_vectors; i++)
        n_used += rt_manifest_rows(m->m, RT_FILE_VECTORS, view->vectors[i].shape.generation);
    RT_TRY(choose_vectors(m, n_used, f->rewrites, err));
    for (size_t i = 0; i < view->n_vectors; i++) {
        uint64_t number = view->vectors[i].shape.generation;
        f->keeps_any = f->keeps_any || !f->rewrites[i];
        if (!f->rewrites[i])
            continue;
        n_taken += rt_manifest_rows(m->m, RT_FILE_VECTORS, number);
        m->n_dropped += rt_manifest_find(m->m, RT_FILE_VECTORS, number)->size;
        f->rewrites_any = true;
    }
    double live = n_used ? (double)m->m->n_rows / (double)n_used : 0;
    f->vectors = (struct rt_vectors_shape){.n_slots = (uint64_t)(live * (double)n_taken),
                                           .dim = m->m->dim,
                                           .element = m->m->element,
                                           .has_vectors = !m->m->rerank_in_heap,
                                           .ids_ascend = ids_ascend(view, f->rewrites)};
    f->n_needed = f->keeps_any ? f->n_tombstones : 0;
done:
    return st;
}

static enum rt_status find(struct model *m, struct findings *f, struct rt_error *err)
{
    const struct rt_index_view *view = m->view;
    for (size_t i = 0; i < view->n_tombstones; i++)
        f->n_tombstones += view->tombstones[i].shape.n;
    for (size_t i = 0; i < view->n_appendable; i++)
        f->n_records += view->appendable[i].records.n_records;
    find_lists(m, f);
    return find_vectors(m, f, err);
}

/* ---- vacuum ---- */

static uint64_t block_bytes(const struct model *m)
{
    return rt_block_code_bytes(m->m->dim) +
           RT_BLOCK_ROWS *
               (m->view->n_factors * sizeof(float) + sizeof(uint64_t) + sizeof(struct rt_place));
}

static uint64_t size_of_kind(const struct model *m, enum rt_file_kind kind)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->m->n_files; i++)
        bytes += m->m->files[i].kind == kind ? m->m->files[i].size : 0;
    return bytes;
}

static void add_survey(struct model *m, const struct findings *f)
{
    struct rt_plan_cost *cost =
        add_phase(m, "survey", rt_survey_bytes(m->view->n_lists, m->view->n_vectors));
    uint64_t entries = f->n_tombstones * sizeof(struct rt_tombstone) +
                       f->n_records * (sizeof(uint64_t) + sizeof(uint32_t));
    cost->bytes_read = m->plan->n_rounds * entries;
    cost->bytes_exchanged = m->plan->n_rounds * sum_bytes(m, 3 * (uint64_t)m->view->n_lists);
}

static void add_fold(struct model *m, const struct findings *f, uint64_t held)
{
    struct rt_plan_cost *cost =
        add_phase(m, "fold",
                  held + rt_fold_phase_bytes(m->m->dim, m->m->metric, m->view->n_lists, f->n_blocks,
                                             m->ranks));
    uint64_t directory = 3 * sizeof(uint64_t) * (uint64_t)m->view->n_lists;
    double share = (double)f->n_lists / m->view->n_lists;
    cost->bytes_read =
        (uint64_t)(share * (double)m->m->n_rows_frozen) / RT_BLOCK_ROWS * block_bytes(m) +
        (m->m->n_rows_appendable - f->n_left) * m->record_bytes;
    cost->bytes_written = m->plan->n_rounds * (f->n_blocks * block_bytes(m) + directory);
    cost->bytes_exchanged = m->plan->n_rounds * sum_bytes(m, m->view->n_lists);
    m->n_written += cost->bytes_written;
    if (f->n_lists == m->view->n_lists)
        m->n_dropped += size_of_kind(m, RT_FILE_FROZEN);
}

static void add_vectors(struct model *m, const struct findings *f, uint64_t held)
{
    uint64_t own = rt_vectors_phase_bytes(&f->vectors, m->view->n_segments, m->budget, m->ranks);
    struct rt_plan_cost *cost = add_phase(m, "vectors", held + own);
    uint64_t ids = f->vectors.ids_ascend ? 0 : f->vectors.n_slots;
    cost->bytes_read = f->vectors.n_slots * m->slot_bytes;
    cost->bytes_written = cost->bytes_read + ids * sizeof(struct rt_id_slot);
    cost->bytes_exchanged = sorted_elsewhere(m, ids);
    m->n_written += cost->bytes_written;
}

static void add_records(struct model *m, const struct findings *f, uint64_t held)
{
    uint64_t own = rt_tidy_records_bytes(f->n_records, f->n_left, m->m->dim, m->m->metric,
                                         m->budget, m->ranks);
    struct rt_plan_cost *cost = add_phase(m, "records", held + own);
    cost->bytes_read = cost->bytes_written = f->n_left * m->record_bytes;
    cost->bytes_exchanged = sorted_elsewhere(m, f->n_left);
    m->n_written += cost->bytes_written;
    m->n_dropped += size_of_kind(m, RT_FILE_APPENDABLE);
}

/* Where none of them goes, one file of them stays as it is. */
static void add_tombstones(struct model *m, const struct findings *f, uint64_t held)
{
    bool stays = m->view->n_tombstones == 1 && !f->rewrites_any;
    uint64_t n = stays ? 0 : f->n_needed;
    uint64_t own = rt_tidy_tombstones_bytes(f->n_tombstones, n, m->budget, m->ranks);
    struct rt_plan_cost *cost = add_phase(m, "tombstones", held + own);
    cost->bytes_read = f->n_tombstones * sizeof(struct rt_tombstone);
    cost->bytes_written = n * sizeof(struct rt_tombstone);
    cost->bytes_exchanged = sorted_elsewhere(m, n);
    m->n_written += cost->bytes_written;
    m->n_dropped += stays ? 0 : size_of_kind(m, RT_FILE_TOMBSTONES);
}

static enum rt_status plan_vacuum(struct model *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct findings f = {.rewrites = NULL};
    RT_TRY(find(m, &f, err));
    add_survey(m, &f);
    uint64_t held = rt_survey_bytes(m->view->n_lists, m->view->n_vectors);
    if (f.n_lists) {
        add_fold(m, &f, held);
        held += rt_fold_output_bytes(m->view->n_lists);
    }
    if (f.rewrites_any)
        add_vectors(m, &f, held);
    if (f.n_records)
        add_records(m, &f, held);
    if (f.n_tombstones)
        add_tombstones(m, &f, held);
    add_publish(m, held);
done:
    rt_array_free(f.rewrites);
    return st;
}

/* ---- insert ---- */

static bool have_ids(const struct model *m)
{
    return m->options->ids[0] != '\0';
}

static void add_ids(struct model *m, uint64_t n_new)
{
    struct rt_plan_cost *cost =
        add_phase(m, "ids", rt_new_ids_bytes(n_new, have_ids(m), m->budget, m->ranks));
    if (!have_ids(m))
        return;
    cost->bytes_read = 4 * n_new * sizeof(uint64_t); /* judged, and sorted in three passes */
    cost->bytes_exchanged = sorted_elsewhere(m, n_new);
}

/* Rows that die, by ids that are given or kept. Those that die are spread over the ranks like the
 * ids given; where ids are kept, all of them may be one rank's. */
static enum rt_status add_delete(struct model *m, uint64_t n_ids, uint64_t n_dead, uint64_t beside,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = m->view;
    uint64_t *numbers = NULL;
    size_t n_absorbed = 0;
    uint64_t n_slots = 0;
    RT_TRY(rt_array_new(view->n_tombstones, sizeof *numbers, &numbers, err));
    uint64_t n_old = rt_tombstones_absorbed(view, n_ids, numbers, &n_absorbed);
    for (size_t i = 0; m->options->keep[0] && i < view->n_vectors; i++)
        n_slots += view->vectors[i].shape.n_slots;
    uint64_t n_pairs = n_ids + n_old + n_slots;
    uint64_t dead_of_rank = m->options->keep[0] ? n_dead : n_dead / (uint64_t)m->ranks + 1;
    struct rt_plan_cost *cost = add_phase(
        m, "delete", beside + rt_tombstone_phase_bytes(n_pairs, dead_of_rank, m->budget, m->ranks));
    cost->bytes_read = 6 * n_pairs * sizeof(uint64_t); /* three passes, twice */
    cost->bytes_written = (n_dead + n_old) * sizeof(struct rt_tombstone);
    cost->bytes_exchanged = 2 * sorted_elsewhere(m, n_pairs) + sorted_elsewhere(m, n_dead);
    m->n_written += cost->bytes_written;
    m->n_dropped += n_old * sizeof(struct rt_tombstone);
done:
    rt_array_free(numbers);
    return st;
}

static uint64_t set_bytes(const struct model *m)
{
    uint64_t bytes = 0;
    for (uint32_t l = 0; l < m->view->tree.tree.n_levels; l++)
        bytes += rt_level_set_bytes(&m->view->tree.tree, l, true);
    return bytes;
}

struct carried {         /* older pairs that go along */
    uint64_t n_rows;     /* of the insert phase */
    uint64_t n_segments; /* where vectors stay in the heap */
};

/* Where vectors stay in the heap dead rows among them go along (heap_carry.h): at most all slots.
 */
static struct carried find_carried(const struct model *m, const uint64_t *files, size_t n_files)
{
    struct carried carried = {.n_rows = m->plan->n_carried};
    if (!m->m->rerank_in_heap)
        return carried;
    carried.n_rows = 0;
    for (size_t i = 0; i < m->view->n_vectors; i++)
        for (size_t f = 0; f < n_files; f++)
            if (m->view->vectors[i].shape.generation == files[f]) {
                carried.n_rows += m->view->vectors[i].shape.n_slots;
                carried.n_segments += m->view->vectors[i].shape.n_segments;
            }
    return carried;
}

/* Where rows and segments of vectors that stay in the heap lie: private bytes of a rank. */
static uint64_t heap_bytes(const struct model *m, uint64_t n_all, struct carried carried,
                           uint32_t tapes)
{
    uint64_t n_runs = 1 + rt_heap_carry_most_runs(carried.n_rows, carried.n_segments);
    uint64_t n_segments = n_runs + n_all / RT_SEGMENT_SLOTS + (uint64_t)m->ranks;
    if (!m->m->rerank_in_heap)
        return rt_slot_layout_bytes(m->ranks, tapes, 0);
    return rt_slot_layout_bytes(m->ranks, tapes, n_segments) + n_runs * sizeof(struct rt_heap_run);
}

/* Private bytes of a rank that puts the rows in. */
static uint64_t inserting_bytes(const struct model *m, uint64_t n_all, struct carried carried,
                                bool is_few, bool ascend)
{
    const struct rt_options *o = m->options;
    uint32_t tapes = o->chooser == RT_CHOOSER_RNG ? (uint32_t)o->tapes : 1;
    struct rt_insert_sizes sizes = {.dim = m->m->dim,
                                    .element = m->m->element,
                                    .metric = m->m->metric,
                                    .in_heap = m->m->rerank_in_heap,
                                    .n_rows = n_all,
                                    .n_ranks = (uint32_t)m->ranks,
                                    .block_rows = o->block_rows,
                                    .beam =
                                        is_few ? 0 : rt_tree_beam(&m->view->tree.tree, m->m->beam),
                                    .tapes_of_rank = tapes};
    uint64_t rows = rt_insert_phase_bytes(&sizes);
    uint64_t ids = ascend ? 0 : rt_sorted_ids_bytes(m->budget, n_all, m->ranks);
    uint64_t kept =
        is_few ? 0 : rt_insert_phase_kept_bytes(n_all, 0, (int)m->in->machine.ranks_per_node);
    uint64_t most = rows > ids ? rows : ids;
    most = most > RT_UNIT_BYTES ? most
                                : RT_UNIT_BYTES; /* the end: what is written in pieces is hashed */
    return most + kept + (o->scatter ? SCATTER_BYTES : 0) + heap_bytes(m, n_all, carried, tapes);
}

/* Slots that parts of ranks in tapes leave unused, where rows are drawn: half a share each. */
static uint64_t unused_slots(const struct model *m, uint64_t n_all)
{
    const struct rt_options *o = m->options;
    struct rt_vectors_shape shape = {.dim = m->m->dim,
                                     .element = m->m->element,
                                     .has_vectors = !m->m->rerank_in_heap,
                                     .cap_rows = UINT64_C(1) << rt_chunks_large(n_all).shift};
    if (o->chooser != RT_CHOOSER_RNG || o->tapes == 1)
        return 0;
    return o->tapes * (uint64_t)m->ranks * rt_vectors_share_slots(&shape) / 2;
}

static void add_rows(struct model *m, uint64_t n_new, struct carried carried)
{
    const struct rt_options *o = m->options;
    const struct rt_tree *tree = &m->view->tree.tree;
    uint64_t n_all = n_new + carried.n_rows;
    bool is_few = rt_insert_is_few(n_new, m->view->n_lists);
    bool ascend = !have_ids(m) && carried.n_rows == 0;
    uint64_t sets = is_few ? 0 : set_bytes(m);
    bool shares = o->pin && m->in->machine.shm_bytes >= sets;
    uint32_t sharing = shares ? m->in->machine.ranks_per_node : 1;
    struct rt_plan_cost *cost =
        add_phase(m, "insert",
                  rt_carry_bytes(carried.n_rows, carried.n_segments) + sets / sharing +
                      inserting_bytes(m, n_all, carried, is_few, ascend));
    cost->shared_bytes = sharing > 1 ? sets : 0;
    cost->flops = rt_plan_descent_flops(n_new, m->m->dim, m->m->levels, tree->n_levels, m->m->beam);
    uint64_t row_bytes = (uint64_t)m->m->dim * rt_element_size(m->m->element);
    cost->bytes_read = n_new * (row_bytes + (have_ids(m) ? sizeof(uint64_t) : 0)) +
                       carried.n_rows * (m->record_bytes + m->slot_bytes);
    cost->bytes_written =
        n_all * (m->record_bytes + m->slot_bytes + (ascend ? 0 : sizeof(struct rt_id_slot))) +
        unused_slots(m, n_all) * m->slot_bytes;
    cost->bytes_exchanged = ascend ? 0 : sorted_elsewhere(m, n_all);
    if (o->scatter && m->ranks > 1)
        cost->bytes_exchanged += n_new / (uint64_t)m->ranks * (uint64_t)(m->ranks - 1) * row_bytes;
    m->n_written += cost->bytes_written;
}

static enum rt_status plan_insert(struct model *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n_new = m->in->machine.n_rows - m->options->from_row;
    uint64_t *files = NULL;
    size_t n_files = 0;
    RT_TRY(rt_array_new(m->m->n_files, sizeof *files, &files, err));
    m->plan->n_carried = rt_carry_choose(m->m, n_new, files, &n_files);
    for (size_t i = 0; i < n_files; i++)
        m->n_dropped += rt_manifest_find(m->m, RT_FILE_APPENDABLE, files[i])->size +
                        rt_manifest_find(m->m, RT_FILE_VECTORS, files[i])->size;
    add_ids(m, n_new);
    if (m->options->replace)
        RT_TRY(add_delete(m, n_new, least(n_new, m->m->n_rows),
                          rt_good_ids_bytes(m->m->dim, m->m->element), err));
    add_rows(m, n_new, find_carried(m, files, n_files));
    add_publish(m, 0);
done:
    rt_array_free(files);
    return st;
}

/* ---- delete ---- */

static enum rt_status plan_delete(struct model *m, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t n = m->in->n_ids;
    uint64_t stays = least(n, m->m->n_rows);
    uint64_t n_dead = m->options->keep[0] ? m->m->n_rows - stays : stays;
    RT_TRY(add_delete(m, n, n_dead, rt_delete_reading_bytes(), err));
    add_publish(m, 0);
done:
    return st;
}

enum rt_status rt_edit_plan_make(const struct rt_edit_plan_input *input,
                                 const struct rt_options *options, struct rt_edit_plan *out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_edit_plan plan;
    struct model m;
    begin(input, options, &plan, &m);
    if (options->planned == RT_JOB_VACUUM)
        RT_TRY(plan_vacuum(&m, err));
    else if (options->planned == RT_JOB_INSERT)
        RT_TRY(plan_insert(&m, err));
    else
        RT_TRY(plan_delete(&m, err));
    finish(&m);
    *out = plan;
done:
    return st;
}
