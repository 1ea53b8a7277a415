/* Empty lists, and those of few rows where that is asked for (D5): each takes half of the rows of
 * a large one. */
#ifndef RT_KMEANS_FILL_EMPTY_H
#define RT_KMEANS_FILL_EMPTY_H

#include "kmeans/lloyd.h"

/* k lists as the last assignment left them, of all ranks' rows. Lent. */
struct rt_lists {
    const struct rt_lloyd_setting *setting;
    uint32_t k, dim;
    const int64_t *counts;     /* k: rows */
    const int64_t *high, *low; /* k: halves of their objectives (C4) */
    int64_t few;      /* a list with fewer rows is as good as empty; 1: only those without */
    float *centroids; /* k x dim */
};

/* Moves the centroids of empty lists beside those of the largest, which move as far the other way.
 * The size of a list is rows x deviation: by rows alone sizes would come out even, but far lists
 * stay coarse; by their objectives, rows x deviation^2, the other way round. acted: whether there
 * was any. The same on every rank, from what all have; local. iteration keys the random directions.
 * Fails with RT_NOMEM. */
enum rt_status rt_fill_empty(const struct rt_lists *lists, uint32_t iteration, bool *acted,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
