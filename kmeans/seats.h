/* How many leaves each cell gets (D6). */
#ifndef RT_KMEANS_SEATS_H
#define RT_KMEANS_SEATS_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

/* Sainte-Lague: shares n_seats among n cells by their rows; each cell that has rows gets one seat,
 * so that all its rows come to lie in a leaf; then the next seat goes to the greatest
 * rows/(2 seats + 1), ties to the smaller cell, and no cell gets more seats than rows. Where there
 * are fewer rows than seats, every row is one. seats: n. Returns the seats given, min(n_seats, sum
 * of rows). Fails with RT_NOMEM. */
enum rt_status rt_seats_share(const uint64_t *rows, size_t n, uint64_t n_seats, uint64_t *seats,
                              uint64_t *n_given, struct rt_error *err) RT_MUST_CHECK;

#endif
