#include "core/decide.h"

#include "core/keys.h"
#include "core/memory.h"
#include "core/propose.h"

#include <math.h>
#include <string.h>

/* Offers centroids [begin, end), or those of members. */
static void offer_range(const struct rt_assigner *a, const struct rt_target *t, size_t row,
                        const uint32_t *members, uint32_t begin, uint32_t end,
                        struct rt_least *least)
{
    uint32_t numbers[RT_TILE];
    float distances[RT_TILE];
    for (uint32_t at = begin; at < end;) {
        uint32_t n = end - at < RT_TILE ? end - at : RT_TILE;
        for (uint32_t i = 0; i < n; i++)
            numbers[i] = members ? members[at + i] : at + i;
        rt_target_measure(a, t, row, numbers, n, distances);
        for (uint32_t i = 0; i < n; i++)
            rt_keys_offer(least, rt_key_of(distances[i], numbers[i]));
        at += n;
    }
}

/* B2 itself: the best of T by E alone, sorted, in keys (room for t->best). Returns how many, and
 * how many were measured. */
static size_t best_of_all(const struct rt_assigner *a, const struct rt_target *t, size_t row,
                          uint64_t *keys, uint64_t *n_measured)
{
    struct rt_least least = {keys, 0, t->best};
    if (t->first_child) {
        for (uint32_t i = 0; i < t->n_kept; i++) {
            uint32_t cell = t->kept[row * t->n_kept + i];
            if (cell == UINT32_MAX)
                break;
            offer_range(a, t, row, NULL, t->first_child[cell], t->first_child[cell + 1], &least);
            *n_measured += t->first_child[cell + 1] - t->first_child[cell];
        }
    } else {
        offer_range(a, t, row, t->set->members, 0, t->set->n, &least);
        *n_measured += t->set->n;
    }
    rt_keys_sort(keys, least.n);
    return least.n;
}

static float just_below(float value)
{
    return value - (fabsf(value) * 0x1p-22f + 0x1p-140f);
}

/* Sorts the open ones of part_list by their own bounds, not the widest. sure: a + b < low, out: a -
 * b > high. */
static void part_open(struct rt_assigner *a, const struct rt_target *t, size_t row, size_t begin,
                      uint64_t open, float low, float high, size_t *n_sure, size_t *n_open)
{
    const float *values = t->list_a + row * t->room + begin;
    const uint32_t *ids = t->list_id + row * t->room + begin;
    uint32_t *last = a->numbers + rt_assigner_most_measured(a->max_beam);
    for (; open; open &= open - 1) {
        int i = __builtin_ctzll(open);
        uint32_t slot = t->set->slot_of[ids[i]];
        float b = rt_bound(t->set, &a->bound[row], t->set->p[slot], t->set->w[slot]);
        if (!(values[i] - b <= high))
            continue;
        if (values[i] + b < low) {
            a->distances[*n_sure] = values[i];
            a->numbers[(*n_sure)++] = ids[i];
        } else {
            *(last - ++*n_open) = ids[i];
        }
    }
}

/* The candidates on the list of a row, A > 1, with more than A of them: sure ones (a in
 * `distances`) to `numbers` from the front, those that E must decide behind them. Returns the
 * number of sure ones; *n_open of the others. */
static size_t part_list(struct rt_assigner *a, const struct rt_target *t, size_t row,
                        size_t *n_open)
{
    const float *values = t->list_a + row * t->room;
    const uint32_t *ids = t->list_id + row * t->room;
    size_t n = a->n_listed[row];
    float at;
    float next;
    float most = rt_bound(t->set, &a->bound[row], t->set->most_p, t->set->most_w);
    a->kernels->find_rank(values, n, t->best, &at, &next);
    size_t n_sure = 0;
    size_t open = 0;
    for (size_t begin = 0; begin < n; begin += RT_TILE) {
        size_t some = n - begin < RT_TILE ? n - begin : RT_TILE;
        uint64_t all = UINT64_MAX >> (RT_TILE - some);
        some = (some + 15) / 16 * 16;
        uint64_t maybe = a->kernels->at_most(values + begin, some, at + 2 * most) & all;
        uint64_t sure =
            a->kernels->at_most(values + begin, some, just_below(next - 2 * most)) & all;
        n_sure += a->kernels->pick(values + begin, ids + begin, sure, a->distances + n_sure,
                                   a->numbers + n_sure);
        part_open(a, t, row, begin, maybe & ~sure, next - most, at + most, &n_sure, &open);
    }
    memmove(a->numbers + n_sure, a->numbers + rt_assigner_most_measured(a->max_beam) - open,
            open * sizeof *a->numbers);
    *n_open = open;
    return n_sure;
}

static void make_keys(struct rt_assigner *a, const struct rt_target *t, size_t row,
                      const uint32_t *numbers, size_t n)
{
    rt_target_measure(a, t, row, numbers, n, a->distances);
    a->candidates += n;
    for (size_t i = 0; i < n; i++)
        a->keys[i] = rt_key_of(a->distances[i], numbers[i]);
}

/* The best of the row's list by E, as sorted keys in a->keys. */
static size_t best_by_e(struct rt_assigner *a, const struct rt_target *t, size_t row,
                        const uint32_t *numbers, size_t n)
{
    make_keys(a, t, row, numbers, n);
    rt_keys_sort(a->keys, n);
    return n < t->best ? n : t->best;
}

static void write_nearest(struct rt_assigner *a, const struct rt_target *t, size_t row,
                          uint32_t *out_list, float *out_distance)
{
    uint32_t *ids = t->list_id + row * t->room;
    if (!a->wants_all[row])
        rt_propose_prune(a, t, row);
    size_t n = a->n_listed[row];
    uint64_t key = a->settled[row];
    if (n == 1 && key == UINT64_MAX && !out_distance) { /* B3 */
        *out_list = ids[0];
        a->candidates++;
        return;
    }
    if (a->wants_all[row] || (n == 0 && key == UINT64_MAX)) {
        if (best_of_all(a, t, row, a->keys, &a->candidates))
            key = a->keys[0];
    } else {
        make_keys(a, t, row, ids, n);
        for (size_t i = 0; i < n; i++)
            key = a->keys[i] < key ? a->keys[i] : key;
    }
    bool is_found = key != UINT64_MAX;
    *out_list = is_found ? (uint32_t)key : UINT32_MAX;
    if (out_distance)
        *out_distance = is_found ? rt_key_distance(key) : INFINITY;
}

/* A row that sees the children of its nearest cell first has a low T for all others. */
static void put_nearest_first(uint32_t *kept, const float *values, size_t n)
{
    size_t least = 0;
    for (size_t i = 1; i < n; i++)
        least = values[i] < values[least] ? i : least;
    if (n > 0) {
        uint32_t first = kept[0];
        kept[0] = kept[least];
        kept[least] = first;
    }
}

/* The set of the best of one row, in any order and without E where the bounds tell: out has room
 * for t->best. Returns how many. */
static size_t keep_best(struct rt_assigner *a, const struct rt_target *t, size_t row, uint32_t *out)
{
    size_t n = a->n_listed[row];
    if (t->best == 1) {
        write_nearest(a, t, row, out, NULL);
        return 1;
    }
    if (a->wants_all[row] || n == 0) {
        n = best_of_all(a, t, row, a->keys, &a->candidates);
        for (size_t i = 0; i < n; i++)
            out[i] = (uint32_t)a->keys[i];
        return n;
    }
    if (n <= t->best) {
        memcpy(out, t->list_id + row * t->room, n * sizeof *out);
        put_nearest_first(out, t->list_a + row * t->room, n);
        return n;
    }
    size_t n_open;
    size_t n_sure = part_list(a, t, row, &n_open);
    rt_assert(n_sure <= t->best && n_sure + n_open >= t->best);
    memcpy(out, a->numbers, n_sure * sizeof *out);
    put_nearest_first(out, a->distances, n_sure);
    size_t wanted = t->best - n_sure;
    if (n_open > wanted) {
        make_keys(a, t, row, a->numbers + n_sure, n_open);
        rt_keys_select(a->keys, n_open, wanted);
        for (size_t i = 0; i < wanted; i++)
            out[n_sure + i] = (uint32_t)a->keys[i];
    } else {
        memcpy(out + n_sure, a->numbers + n_sure, n_open * sizeof *out);
        wanted = n_open;
    }
    return n_sure + wanted;
}

/* The same, sorted by (E, number), with distances (may be NULL), filled up with UINT32_MAX. */
static void write_best(struct rt_assigner *a, const struct rt_target *t, size_t row,
                       uint32_t *out_list, float *out_distance)
{
    size_t n = a->n_listed[row];
    if (a->wants_all[row] || n == 0) {
        n = best_of_all(a, t, row, a->keys, &a->candidates);
    } else {
        const uint32_t *numbers = t->list_id + row * t->room;
        if (n > t->best) {
            size_t n_open;
            n = part_list(a, t, row, &n_open);
            n += n_open;
            numbers = a->numbers;
        }
        n = best_by_e(a, t, row, numbers, n);
    }
    for (size_t i = 0; i < t->best; i++) {
        out_list[i] = i < n ? (uint32_t)a->keys[i] : UINT32_MAX;
        if (out_distance)
            out_distance[i] = i < n ? rt_key_distance(a->keys[i]) : INFINITY;
    }
}

/* By coded distances the list itself is the answer. */
static void keep_listed(struct rt_assigner *a, const struct rt_target *t, size_t row, uint32_t *out)
{
    if (a->n_listed[row] > t->best)
        rt_propose_prune(a, t, row);
    size_t n = a->n_listed[row];
    memcpy(out, t->list_id + row * t->room, n * sizeof *out);
    for (; n < t->best; n++)
        out[n] = UINT32_MAX;
}

#ifdef RT_CHECKS
/* B10: every 1,000th row again, by E over all of T; sorted tells whether list is. */
static void check_row(struct rt_assigner *a, const struct rt_target *t, size_t row,
                      const uint32_t *list, bool is_sorted)
{
    uint64_t n_measured = 0;
    if ((a->rows + row) % 1000)
        return;
    size_t n = best_of_all(a, t, row, a->keys, &n_measured);
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        if (!is_sorted)
            for (j = 0; j + 1 < n && list[j] != (uint32_t)a->keys[i];)
                j++;
        rt_assert(list[j] == (uint32_t)a->keys[i]);
    }
}
#else
static void check_row(struct rt_assigner *a, const struct rt_target *t, size_t row,
                      const uint32_t *list, bool is_sorted)
{
    (void)a, (void)t, (void)row, (void)list, (void)is_sorted;
}
#endif

void rt_decide_sets(struct rt_assigner *a, const struct rt_target *t, uint32_t *out)
{
    for (size_t row = 0; row < t->n_rows; row++, out += t->best) {
        if (t->by_codes) {
            keep_listed(a, t, row, out);
            continue;
        }
        for (size_t n = keep_best(a, t, row, out); n < t->best; n++)
            out[n] = UINT32_MAX;
        check_row(a, t, row, out, false);
    }
}

/* Centroids lie anywhere: the lines of a row's first candidate are asked for some rows ahead. */
static void prefetch_candidate(const struct rt_assigner *a, const struct rt_target *t, size_t row)
{
    if (row >= t->n_rows || a->n_listed[row] == 0)
        return;
    const float *centroid = t->set->centroids + (size_t)t->list_id[row * t->room] * a->dim;
    for (size_t i = 0; i < a->dim; i += 16)
        __builtin_prefetch(centroid + i);
}

void rt_decide_rows(struct rt_assigner *a, const struct rt_target *t, uint32_t *out_list,
                    float *out_distance)
{
    for (size_t row = 0; row < t->n_rows; row++) {
        size_t at = row * t->best;
        prefetch_candidate(a, t, row + 4);
        (t->best == 1 ? write_nearest : write_best)(a, t, row, out_list + at,
                                                    out_distance ? out_distance + at : NULL);
        check_row(a, t, row, out_list + at, true);
    }
}
