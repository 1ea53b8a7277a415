/* Where the ranks of a node hand in what they have done (durable.h): a bit for each unit, sums and
 * greatest values over all units that have one, in the node's shared memory; where there is none,
 * of one rank alone. Beside it lie the questions of its leader, who syncs. */
#ifndef RT_JOBS_PHASES_DURABLE_BOARD_H
#define RT_JOBS_PHASES_DURABLE_BOARD_H

#include "jobs/phases/durable.h"
#include "mpi/shared.h"
#include "mpi/world.h"

#include <pthread.h>
#include <stdatomic.h>

struct rt_board_head {
    pthread_mutex_t mutex; /* of all processes: over what follows, bits, sums and most */
    uint64_t n_units;      /* handed in */
    uint64_t largest;
    atomic_uint_fast64_t question; /* number of the last one */
};

struct rt_durable_board {
    struct rt_durable_options options;
    struct rt_shared *shared;
    bool is_leader;
    int place, n_ranks; /* of this rank among those of the board */
    struct rt_board_head *head;
    atomic_uint_fast64_t *answers; /* n_ranks: the last question that each has answered */
    uint64_t *bits, *sums;
    float *most;
};

uint64_t rt_durable_board_bytes(const struct rt_durable_options *options, int n_ranks);
/* Nothing handed in. Collective over the ranks of the node. The caller frees *board's memory with
 * rt_durable_board_free, after a failure too. Fails with RT_NOMEM. */
enum rt_status rt_durable_board_new(struct rt_world *world,
                                    const struct rt_durable_options *options,
                                    struct rt_durable_board *board,
                                    struct rt_error *err) RT_MUST_CHECK;
void rt_durable_board_free(struct rt_durable_board *board);

/* Units [begin, end) are done, which add sums; most and largest as rt_durable_keep has them. Any
 * rank of the board. */
void rt_durable_board_add(struct rt_durable_board *board, uint64_t begin, uint64_t end,
                          const uint64_t *sums, const float *most, uint64_t largest);
uint64_t rt_durable_board_n_units(struct rt_durable_board *board);
/* Adds what is on the board; when no rank hands in any more. */
void rt_durable_board_take(const struct rt_durable_board *board, uint64_t *sums, float *most,
                           uint64_t *largest);

/* The leader asks; all have answered a question, or never will. */
uint64_t rt_durable_board_ask(struct rt_durable_board *board);
bool rt_durable_board_answered(const struct rt_durable_board *board, uint64_t question);
/* This rank: whether there is a question that it has not answered; what to answer next, and that it
 * is. */
bool rt_durable_board_is_asked(const struct rt_durable_board *board);
uint64_t rt_durable_board_question(const struct rt_durable_board *board);
#define RT_BOARD_LEFT UINT64_MAX /* answers every question to come */
void rt_durable_board_answer(struct rt_durable_board *board, uint64_t question);

#endif
