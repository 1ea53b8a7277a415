#include "kmeans/fill_empty.h"

#include "core/memory.h"
#include "core/random.h"

#include <math.h>

#define SPLIT_STEP 0x1p-4 /* D5 */

struct split {
    uint32_t *heap;    /* lists with rows to give, the largest first, ties to the smaller number */
    int64_t *rows;     /* of each list, as far as the next choice is concerned */
    double *deviation; /* of each list: sqrt(J/(rows d)) */
    size_t n;
};

static bool gives_before(const struct split *s, uint32_t a, uint32_t b)
{
    double size_a = (double)s->rows[a] * s->deviation[a];
    double size_b = (double)s->rows[b] * s->deviation[b];
    return size_a != size_b ? size_a > size_b : a < b;
}

static void sift(struct split *s, size_t at)
{
    uint32_t list = s->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->n)
            break;
        if (child + 1 < s->n && gives_before(s, s->heap[child + 1], s->heap[child]))
            child++;
        if (gives_before(s, list, s->heap[child]))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = list;
}

static double deviation_of(const struct rt_lists *lists, uint32_t list)
{
    if (lists->setting->spherical)
        return 1 / sqrt((double)lists->dim);
    double sum = rt_objective_value(
        &lists->setting->scale,
        rt_objective_join((struct rt_objective){lists->high[list], lists->low[list]}));
    return sum > 0 ? sqrt(sum / ((double)lists->counts[list] * (double)lists->dim)) : 0;
}

/* Moves the donor to c + delta and the empty list to c - delta. */
static void split_one(const struct rt_lists *lists, uint32_t iteration, uint32_t donor,
                      uint32_t empty, double deviation)
{
    float *keeps = lists->centroids + (size_t)donor * lists->dim;
    float *takes = lists->centroids + (size_t)empty * lists->dim;
    double step = SPLIT_STEP * deviation;
    for (uint32_t i = 0; i < lists->dim; i++) {
        uint64_t bits = rt_random(lists->setting->seed, RT_RANDOM_EMPTY_SPLIT, iteration, donor, i);
        double delta = bits >> 63 ? step : -step;
        double center = keeps[i];
        keeps[i] = (float)(center + delta);
        takes[i] = (float)(center - delta);
    }
    if (lists->setting->spherical) {
        (void)rt_means_normalise(keeps, lists->dim);
        (void)rt_means_normalise(takes, lists->dim);
    }
}

static enum rt_status split_new(const struct rt_lists *lists, struct split *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new(lists->k, sizeof *s->heap, &s->heap, err));
    RT_TRY(rt_array_new(lists->k, sizeof *s->rows, &s->rows, err));
    RT_TRY(rt_array_new(lists->k, sizeof *s->deviation, &s->deviation, err));
    for (uint32_t c = 0; c < lists->k; c++) {
        if (lists->counts[c] < lists->few)
            continue;
        s->rows[c] = lists->counts[c];
        s->deviation[c] = deviation_of(lists, c);
        /* identical rows have nothing to give: the next largest does */
        if (s->rows[c] >= 2 && s->deviation[c] > 0)
            s->heap[s->n++] = c;
    }
    for (size_t at = s->n / 2; at-- > 0;)
        sift(s, at);
done:
    return st;
}

enum rt_status rt_fill_empty(const struct rt_lists *lists, uint32_t iteration, bool *acted,
                             struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct split s = {0};
    uint32_t n_empty = 0;
    *acted = false;
    for (uint32_t c = 0; c < lists->k; c++)
        n_empty += lists->counts[c] < lists->few;
    if (n_empty == 0)
        goto done;
    RT_TRY(split_new(lists, &s, err));
    for (uint32_t empty = 0; empty < lists->k && s.n > 0; empty++) {
        if (lists->counts[empty] >= lists->few)
            continue;
        uint32_t donor = s.heap[0];
        split_one(lists, iteration, donor, empty, s.deviation[donor]);
        *acted = true;
        s.rows[empty] = s.rows[donor] / 2;
        s.rows[donor] -= s.rows[empty];
        s.deviation[empty] = s.deviation[donor];
        if (s.rows[donor] < 2)
            s.heap[0] = s.heap[--s.n];
        if (s.n > 0)
            sift(&s, 0);
        if (s.rows[empty] >= 2) {
            size_t at = s.n++;
            for (; at > 0 && gives_before(&s, empty, s.heap[(at - 1) / 2]); at = (at - 1) / 2)
                s.heap[at] = s.heap[(at - 1) / 2];
            s.heap[at] = empty;
        }
    }
done:
    rt_array_free(s.heap);
    rt_array_free(s.rows);
    rt_array_free(s.deviation);
    return st;
}
