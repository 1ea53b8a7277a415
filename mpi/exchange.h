/* Records to their owners, in rounds of bounded memory (F4): callbacks give and take pieces,
 * whatever their meaning. Pieces travel against credit: a rank holds at most two on the way out and
 * two on the way in. A callback that fails on one rank ends the round everywhere with one agreed
 * status; nobody hangs. */
#ifndef RT_MPI_EXCHANGE_H
#define RT_MPI_EXCHANGE_H

#include "core/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_EXCHANGE_PIECE ((size_t)1 << 20)

/* Fills buffer with the next bytes for rank `to`: at most capacity, whole records as the caller
 * defines them. *more: there is another piece for this rank. Called for one rank until *more is
 * false, then for the next; after a failure not again. */
typedef enum rt_status (*rt_exchange_source)(void *context, int to, void *buffer, size_t capacity,
                                             size_t *n_bytes, bool *more, struct rt_error *err);
/* Takes one piece of rank `from` (n_bytes > 0, as its source made it, 16-byte aligned), lent for
 * the call. Pieces of one rank come in order. After a failure not called again. */
typedef enum rt_status (*rt_exchange_sink)(void *context, int from, const void *bytes,
                                           size_t n_bytes, struct rt_error *err);

struct rt_exchange;
/* Private memory of an exchange: four pieces and 16 bytes a rank. */
size_t rt_exchange_bytes(int n_ranks, size_t piece_bytes);
/* Collective over comm, which is duplicated. piece_bytes (the same on all, at most
 * RT_EXCHANGE_PIECE; 0: that) is the capacity sources see. Fails with RT_NOMEM on all ranks. */
enum rt_status rt_exchange_new(MPI_Comm comm, size_t piece_bytes, struct rt_exchange **out,
                               struct rt_error *err) RT_MUST_CHECK;
void rt_exchange_free(struct rt_exchange *exchange); /* collective; NULL (on all ranks) is fine */

/* One round. Collective over the exchange's communicator. has_bytes_for: n_ranks entries, 0 where
 * this rank has nothing for that rank (its source is then not asked), anything else (a count of
 * bytes, say) where it has; NULL: maybe something for each. Own pieces go from source to sink
 * without MPI. Returns the agreed status of all callbacks. */
enum rt_status rt_exchange_round(struct rt_exchange *exchange, const uint64_t *has_bytes_for,
                                 rt_exchange_source source, rt_exchange_sink sink, void *context,
                                 struct rt_error *err) RT_MUST_CHECK;

#endif
