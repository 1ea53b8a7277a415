#include "kmeans/seats.h"

#include "core/memory.h"

#include <stdbool.h>

__extension__ typedef unsigned __int128 uint128;

/* Whether cell a gets a seat before cell b: one without a seat first; then rows_a/(2 s_a + 1) >
 * rows_b/(2 s_b + 1), ties to the smaller cell. */
static bool comes_before(const uint64_t *rows, const uint64_t *seats, size_t a, size_t b)
{
    if ((seats[a] == 0) != (seats[b] == 0))
        return seats[a] == 0;
    uint128 left = (uint128)rows[a] * (2 * seats[b] + 1);
    uint128 right = (uint128)rows[b] * (2 * seats[a] + 1);
    return left != right ? left > right : a < b;
}

static void sift_down(const uint64_t *rows, const uint64_t *seats, size_t *heap, size_t n,
                      size_t at)
{
    size_t cell = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && comes_before(rows, seats, heap[child + 1], heap[child]))
            child++;
        if (comes_before(rows, seats, cell, heap[child]))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = cell;
}

/* D6 */
enum rt_status rt_seats_share(const uint64_t *rows, size_t n, uint64_t n_seats, uint64_t *seats,
                              uint64_t *n_given, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t *heap = NULL; /* cells that may still get a seat */
    size_t n_heap = 0;
    uint64_t given = 0;
    RT_TRY(rt_array_new(n, sizeof *heap, &heap, err));
    for (size_t cell = 0; cell < n; cell++) {
        seats[cell] = 0;
        if (rows[cell] > 0)
            heap[n_heap++] = cell;
    }
    for (size_t at = n_heap / 2; at-- > 0;)
        sift_down(rows, seats, heap, n_heap, at);
    for (; given < n_seats && n_heap > 0; given++) {
        size_t cell = heap[0];
        seats[cell]++;
        if (seats[cell] == rows[cell]) /* no cell gets more seats than rows */
            heap[0] = heap[--n_heap];
        if (n_heap > 0)
            sift_down(rows, seats, heap, n_heap, 0);
    }
    *n_given = given;
done:
    rt_array_free(heap);
    return st;
}
