/* Down a tree, a batch of rows at a time, cell by cell. */
#include "core/assign.h"

#include "core/decide.h"
#include "core/memory.h"
#include "core/propose.h"

#include <math.h>
#include <string.h>

#define FEW_CELLS 1024
#define LEAST_BATCH 2048 /* rows whose codes fit the second cache */
#define ROWS_A_CELL 128  /* reading a cell's codes then takes less than multiplying them */
#define SOME_ROWS 8      /* of a batch, where only a part of the leaves is to be seen */

struct descent {
    const struct rt_tree *tree;
    struct rt_centroid_set *const *sets;
    uint32_t beams[RT_MAX_LEVELS]; /* capped; of the leaves: count */
    bool by_codes;                 /* cells are kept by coded distance (B11) */
    bool is_sorted;                /* leaves by (E, number), else in any order */
    const float *reference;        /* of the batch's codes; NULL: none are made */
    uint32_t *kept[2];
    struct rt_pair *pairs[2];
    float *lows;  /* of pairs */
    float *highs; /* of rows: count each */
    char *lists;
};

/* Pairs in order of cell, stable, by bytes of the cell's number. Returns where they end up. */
static struct rt_pair *sort_pairs(struct rt_pair *pairs, struct rt_pair *other, size_t n,
                                  uint32_t n_cells)
{
    for (unsigned shift = 0; shift < 32 && (n_cells - 1) >> shift; shift += 8) {
        uint32_t start[257] = {0};
        for (size_t i = 0; i < n; i++)
            start[(pairs[i].cell >> shift & 255) + 1]++;
        for (size_t b = 0; b < 256; b++)
            start[b + 1] += start[b];
        for (size_t i = 0; i < n; i++)
            other[start[pairs[i].cell >> shift & 255]++] = pairs[i];
        struct rt_pair *swap = pairs;
        pairs = other;
        other = swap;
    }
    return pairs;
}

static void source_of_cell(const struct rt_target *t, uint32_t n_cells, uint32_t cell,
                           struct rt_source *out)
{
    const struct rt_centroid_set *set = t->set;
    memset(out, 0, sizeof *out);
    if (set->n_cells == n_cells) {
        out->first_group = set->first_slot[cell] / 16;
        out->n_groups = set->first_slot[cell + 1] / 16 - out->first_group;
    } else {
        out->is_gathered = true;
        out->begin = t->first_child[cell];
        out->n = t->first_child[cell + 1] - out->begin;
    }
}

/* Each row with its kept cells begin..end, in order of cell. */
static size_t pair_up(const struct descent *d, const struct rt_target *t, uint32_t n_cells,
                      size_t begin, size_t end, struct rt_pair **out)
{
    size_t n = 0;
    for (size_t row = 0; row < t->n_rows; row++)
        for (size_t i = begin; i < end; i++) {
            d->pairs[0][n] = (struct rt_pair){t->kept[row * t->n_kept + i], (uint32_t)row};
            n += d->pairs[0][n].cell != UINT32_MAX;
        }
    *out = sort_pairs(d->pairs[0], d->pairs[1], n, n_cells);
    return n;
}

/* What lows tell of the pairs' cells: those that may hold a row's nearest stay. Returns how many.
 */
static size_t keep_pairs(const struct rt_assigner *a, struct rt_pair *pairs, size_t n,
                         const float *lows)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_kept = lows[i] <= a->threshold[pairs[i].row];
        pairs[kept] = pairs[i];
        kept += is_kept;
    }
    return kept;
}

/* Shows each row the children of its cells, cell by cell: all that may be among the best, or, where
 * lows are wanted, only how low they are. */
static void propose_pairs(struct rt_assigner *a, const struct rt_target *t, uint32_t n_cells,
                          const struct rt_pair *pairs, size_t n, float *lows)
{
    uint32_t rows[RT_BATCH];
    for (size_t i = 0; i < n;) {
        struct rt_source source;
        uint32_t cell = pairs[i].cell;
        size_t n_here = 0;
        for (; i < n && pairs[i].cell == cell; i++)
            rows[n_here++] = pairs[i].row;
        source_of_cell(t, n_cells, cell, &source);
        if (lows)
            rt_propose_lows(a, t, &source, rows, n_here, lows + i - n_here);
        else
            rt_propose(a, t, &source, rows, n_here);
    }
}

/* The same for few cells: the rows of cell c to rows[start[c]..start[c + 1]), ascending. */
static void list_rows(const struct rt_target *t, uint32_t n_cells, uint32_t *start, uint32_t *rows)
{
    uint32_t next[FEW_CELLS + 1] = {0}; /* the last is of cells that are none */
    for (size_t i = 0; i < t->n_rows * t->n_kept; i++)
        next[t->kept[i] < n_cells ? t->kept[i] : n_cells]++;
    start[0] = 0;
    for (uint32_t c = 0; c <= n_cells; c++) {
        start[c + 1] = start[c] + next[c];
        next[c] = start[c];
    }
    for (size_t row = 0, i = 0; row < t->n_rows; row++)
        for (size_t end = i + t->n_kept; i < end; i++)
            rows[next[t->kept[i] < n_cells ? t->kept[i] : n_cells]++] = (uint32_t)row;
}

/* The same for few cells: lows and what they leave, without pairs. */
static void propose_few(struct rt_assigner *a, const struct descent *d, const struct rt_target *t,
                        uint32_t n_cells)
{
    uint32_t start[FEW_CELLS + 2];
    uint32_t *rows = (uint32_t *)(void *)d->pairs[0];
    struct rt_source source;
    list_rows(t, n_cells, start, rows);
    for (uint32_t c = 0; c < n_cells; c++) {
        source_of_cell(t, n_cells, c, &source);
        if (start[c + 1] > start[c])
            rt_propose_lows(a, t, &source, rows + start[c], start[c + 1] - start[c],
                            d->lows + start[c]);
    }
    if (t->is_fine)
        rt_propose_prepare_fine(a, t);
    for (uint32_t c = 0; c < n_cells; c++) {
        uint32_t *of_cell = rows + start[c];
        const float *lows = d->lows + start[c];
        size_t n = 0;
        for (size_t i = 0; i < start[c + 1] - start[c]; i++) {
            uint32_t row = of_cell[i];
            of_cell[n] = row;
            n += lows[i] <= a->threshold[row];
        }
        source_of_cell(t, n_cells, c, &source);
        rt_propose(a, t, &source, of_cell, n);
    }
}

static bool is_proposed_by_codes(const struct rt_assigner *a, const struct rt_target *t)
{
    return !t->by_codes && a->proposer == RT_PROPOSE_INT8 && t->set->can_propose;
}

/* Whether the least of each cell comes first, since few cells then are worth a look at each of
 * their leaves: a leaf of each of so many cells bounds as many best. A few rows take as long for
 * the one as for the other. */
static bool asks_lows(const struct rt_assigner *a, const struct rt_target *t, uint32_t n_cells)
{
    bool pays = t->best == 1 || (t->n_rows >= SOME_ROWS && t->best <= t->n_kept);
    return pays && is_proposed_by_codes(a, t) && t->set->n_cells == n_cells;
}

/* First the lows of all pairs, then the leaves of cells that are left. For several best directions
 * bound too little: T would be higher than B5's codes make it. */
static void propose_by_lows(struct rt_assigner *a, const struct descent *d, struct rt_target t,
                            uint32_t n_cells)
{
    t.is_fine = t.best == 1 && t.set->low.codes != NULL;
    t.is_along = t.best == 1 && t.set->along.n > 0;
    for (size_t i = 0; i < t.n_rows * t.best; i++)
        t.highs[i] = INFINITY;
    if (t.is_along)
        rt_propose_prepare_along(a, &t);
    if (n_cells <= FEW_CELLS) {
        propose_few(a, d, &t, n_cells);
        return;
    }
    struct rt_pair *pairs;
    size_t n = pair_up(d, &t, n_cells, 0, t.n_kept, &pairs);
    propose_pairs(a, &t, n_cells, pairs, n, d->lows);
    if (t.is_fine)
        rt_propose_prepare_fine(a, &t);
    propose_pairs(a, &t, n_cells, pairs, keep_pairs(a, pairs, n, d->lows), NULL);
}

/* The children of the kept cells. */
static void propose_children(struct rt_assigner *a, const struct descent *d,
                             const struct rt_target *t, uint32_t n_cells)
{
    struct rt_pair *pairs;
    size_t n;
    if (asks_lows(a, t, n_cells)) {
        propose_by_lows(a, d, *t, n_cells);
        return;
    }
    n = pair_up(d, t, n_cells, 0, 1, &pairs);
    propose_pairs(a, t, n_cells, pairs, n, NULL);
    for (size_t row = 0; row < t->n_rows; row++) /* a first T, so that few of the others pass */
        if (t->best > 1 && !a->wants_all[row])
            rt_propose_prune(a, t, row);
    n = pair_up(d, t, n_cells, 1, t->n_kept, &pairs);
    propose_pairs(a, t, n_cells, pairs, n, NULL);
}

/* All of a set without cells, for one nearest of each row, by directions: parts are like cells. */
static void propose_parts(struct rt_assigner *a, struct rt_target t, const uint32_t *numbers)
{
    uint32_t rows[RT_BATCH];
    struct rt_source parts[RT_PARTS];
    t.is_along = true;
    rt_propose_prepare_along(a, &t);
    for (uint32_t i = 0; i < RT_PARTS; i++) {
        uint32_t begin = (uint32_t)((uint64_t)t.set->n_groups * i / RT_PARTS);
        uint32_t end = (uint32_t)((uint64_t)t.set->n_groups * (i + 1) / RT_PARTS);
        parts[i] = (struct rt_source){.first_group = begin, .n_groups = end - begin};
        rt_propose_lows(a, &t, &parts[i], numbers, t.n_rows, a->along->of_parts + i * t.n_rows);
    }
    for (uint32_t i = 0; i < RT_PARTS; i++) {
        const float *lows = a->along->of_parts + i * t.n_rows;
        size_t n = 0;
        for (uint32_t row = 0; row < t.n_rows; row++) {
            rows[n] = row;
            n += lows[row] <= a->threshold[row];
        }
        rt_propose(a, &t, &parts[i], rows, n);
    }
}

static struct rt_target target_of(const struct descent *d, uint32_t l, const float *rows,
                                  size_t n_rows, const struct rt_target *above)
{
    struct rt_target t = {.set = d->sets[l], .rows = rows, .n_rows = n_rows, .best = d->beams[l]};
    if (above) {
        t.first_child = d->tree->levels[l - 1].first_child;
        t.kept = d->kept[(l - 1) % 2];
        t.n_kept = above->best;
    }
    t.by_codes = d->by_codes && l + 1 < d->tree->n_levels;
    t.highs = d->highs;
    t.has_codes = d->reference && (t.set->is_ip || memcmp(d->reference, t.set->mean,
                                                          t.set->dim * sizeof *t.set->mean) == 0);
    return t;
}

static void put_first(uint32_t *kept, size_t n, uint32_t id)
{
    for (size_t i = 1; i < n; i++)
        if (kept[i] == id) {
            kept[i] = kept[0];
            kept[0] = id;
        }
}

/* The nearest of n_rows rows' kept cells to the front. */
static void put_nearest_first(struct rt_assigner *a, const struct rt_target *t, const float *values,
                              size_t n_rows, uint32_t *kept)
{
    uint32_t nearest[RT_ROW_BLOCK + RT_SPARE];
    a->kernels->pick_least(values, n_rows, (size_t)16 * t->set->n_groups, 1, t->set->id_of,
                           nearest);
    for (size_t i = 0; i < n_rows; i++)
        put_first(kept + i * t->best, t->best, nearest[i]);
}

/* Cells of the top level by coded distance, straight from the tiles: `values` has room for those of
 * a block of rows to all slots. */
static void keep_top(struct rt_assigner *a, const struct rt_target *t, bool nearest_first,
                     float *values, uint32_t *kept)
{
    const struct rt_centroid_set *set = t->set;
    size_t n_slots = (size_t)16 * set->n_groups;
    for (size_t at = 0; at < t->n_rows; at += RT_ROW_BLOCK) {
        size_t n = t->n_rows - at < RT_ROW_BLOCK ? t->n_rows - at : RT_ROW_BLOCK;
        rt_propose_values(a, t, at, n, values);
        a->kernels->pick_least(values, n, n_slots, t->best, set->id_of, kept + at * t->best);
        if (nearest_first)
            put_nearest_first(a, t, values, n, kept + at * t->best);
    }
}

/* Level l of the descent: the kept cells of each row, or at the leaves the answer. */
static void descend(struct rt_assigner *a, struct descent *d, struct rt_target *t, uint32_t l,
                    uint32_t *out_list, float *out_distance)
{
    bool is_leaf = l + 1 == d->tree->n_levels;
    uint32_t *kept = d->kept[l % 2];
    uint32_t n = d->tree->levels[l].n;
    if (l == 0 && !is_leaf && t->best == n) { /* a beam as wide as the level keeps all */
        for (size_t row = 0; row < t->n_rows; row++)
            for (uint32_t i = 0; i < n; i++)
                kept[row * n + i] = i;
        return;
    }
    char *lists = d->lists;
    rt_assigner_carve_lists(t, t->n_rows, &lists);
    rt_propose_prepare(a, t, 0, t->n_rows);
    if (t->by_codes)
        d->reference = t->set->mean;
    if (t->by_codes && l == 0 && t->set->n_groups <= RT_TOP_SLOTS / 16) {
        keep_top(a, t, !d->is_sorted, a->top_values, kept);
        return;
    }
    if (t->first_child) {
        propose_children(a, d, t, d->tree->levels[l - 1].n);
    } else {
        uint32_t numbers[RT_BATCH];
        struct rt_source source = {.n_groups = t->set->n_groups};
        for (uint32_t i = 0; i < t->n_rows; i++)
            numbers[i] = i;
        if (t->best == 1 && t->set->along.n > 0 && is_proposed_by_codes(a, t))
            propose_parts(a, *t, numbers);
        else
            rt_propose(a, t, &source, numbers, t->n_rows);
    }
    if (is_leaf && d->is_sorted) {
        rt_decide_rows(a, t, out_list, out_distance);
        return;
    }
    /* filled up where there are fewer children than the beam is wide */
    rt_decide_sets(a, t, is_leaf ? out_list : kept);
}

/* Rows that descend together: more of them where few come to a cell, since all cells' codes are
 * read for each batch. */
static size_t batch_of(const struct rt_assigner *a, const struct descent *d, uint32_t most)
{
    size_t fits = rt_assigner_batch(a, most);
    size_t wanted = LEAST_BATCH;
    if (d->tree->n_levels > 1) {
        uint32_t above = d->tree->n_levels - 2;
        wanted = (size_t)ROWS_A_CELL * d->tree->levels[above].n / d->beams[above];
    }
    wanted = wanted < LEAST_BATCH ? LEAST_BATCH : wanted;
    return wanted < fits ? wanted : fits;
}

static void descend_all(struct rt_assigner *assigner, struct descent d, const uint32_t *beams,
                        const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                        float *out_distance)
{
    const struct rt_tree *tree = d.tree;
    uint32_t most = count;
    if (count == 0)
        return;
    for (uint32_t l = 0; l + 1 < tree->n_levels; l++) {
        uint32_t n = tree->levels[l].n;
        d.beams[l] = beams[l] < n ? beams[l] : n;
        d.beams[l] = d.beams[l] ? d.beams[l] : 1;
        most = d.beams[l] > most ? d.beams[l] : most;
        rt_assert(!d.by_codes || d.sets[l]->is_coded);
    }
    d.beams[tree->n_levels - 1] = count;
    rt_assigner_check(assigner, tree->dim, n_rows, most);
    size_t n_batch = batch_of(assigner, &d, most);
    for (size_t at = 0; at < n_rows; at += n_batch) {
        size_t n = n_rows - at < n_batch ? n_rows - at : n_batch;
        char *arena = assigner->arena;
        struct rt_target above;
        for (int i = 0; i < 2; i++) {
            d.kept[i] = rt_assigner_carve(&arena, (n * most + RT_SPARE) * sizeof *d.kept[i]);
            d.pairs[i] = rt_assigner_carve(&arena, n * most * sizeof *d.pairs[i]);
        }
        d.lows = rt_assigner_carve(&arena, n * most * sizeof *d.lows);
        d.highs = rt_assigner_carve(&arena, n * count * sizeof *d.highs);
        d.lists = arena;
        d.reference = NULL;
        for (uint32_t l = 0; l < tree->n_levels; l++) {
            struct rt_target t = target_of(&d, l, rows + at * tree->dim, n, l ? &above : NULL);
            descend(assigner, &d, &t, l, out_list + at * count,
                    out_distance ? out_distance + at * count : NULL);
            above = t;
        }
        assigner->rows += n;
    }
}

void rt_assign_tree_best(struct rt_assigner *assigner, const struct rt_tree *tree,
                         struct rt_centroid_set *const *sets, const uint32_t *beams,
                         const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list,
                         float *out_distance)
{
    struct descent d = {.tree = tree, .sets = sets, .is_sorted = true};
    descend_all(assigner, d, beams, rows, n_rows, count, out_list, out_distance);
}

void rt_assign_tree_lists(struct rt_assigner *assigner, const struct rt_tree *tree,
                          struct rt_centroid_set *const *sets, const uint32_t *beams,
                          const float *rows, size_t n_rows, uint32_t count, uint32_t *out_list)
{
    struct descent d = {.tree = tree, .sets = sets, .by_codes = true};
    descend_all(assigner, d, beams, rows, n_rows, count, out_list, NULL);
}

void rt_assign_tree(struct rt_assigner *assigner, const struct rt_tree *tree,
                    struct rt_centroid_set *const *sets, uint32_t beam, const float *rows,
                    size_t n_rows, uint32_t *out_list, float *out_distance)
{
    struct descent d = {.tree = tree, .sets = sets, .by_codes = true, .is_sorted = true};
    uint32_t beams[RT_MAX_LEVELS];
    for (int l = 0; l < RT_MAX_LEVELS; l++)
        beams[l] = beam;
    descend_all(assigner, d, beams, rows, n_rows, 1, out_list, out_distance);
}
