/* Empty lists (D5): each takes half of the rows of a large one. */
#ifndef RT_KMEANS_FILL_EMPTY_H
#define RT_KMEANS_FILL_EMPTY_H

#include "kmeans/lloyd.h"

/* k lists as the last assignment left them, of all ranks' rows. Lent. */
struct rt_lists {
    const struct rt_lloyd_setting *setting;
    uint32_t k, dim;
    const int64_t *counts;     /* k: rows */
    const int64_t *high, *low; /* k: halves of their objectives (C4) */
    float *centroids;          /* k x dim */
};

/* Moves the centroids of empty lists beside those of the lists with the most rows, which move as
 * far the other way. acted: whether there was any. The same on every rank, from what all have;
 * local. iteration keys the random directions. Fails with RT_NOMEM. */
enum rt_status rt_fill_empty(const struct rt_lists *lists, uint32_t iteration, bool *acted,
                             struct rt_error *err) RT_MUST_CHECK;

#endif
