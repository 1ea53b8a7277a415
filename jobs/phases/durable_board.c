#include "jobs/phases/durable_board.h"

#include "core/memory.h"

#include <string.h>

uint64_t rt_durable_board_bytes(const struct rt_durable_options *options, int n_ranks)
{
    return rt_whole_lines(sizeof(struct rt_board_head)) +
           ((uint64_t)n_ranks + rt_bit_words(options->n_units) + options->n_sums) *
               sizeof(uint64_t) +
           options->n_most * sizeof(float);
}

static void lay_out(struct rt_durable_board *b)
{
    unsigned char *at = rt_shared_target(b->shared);
    b->head = (struct rt_board_head *)at;
    b->answers = (atomic_uint_fast64_t *)(at + rt_whole_lines(sizeof *b->head));
    b->bits = (uint64_t *)(b->answers + b->n_ranks);
    b->sums = b->bits + rt_bit_words(b->options.n_units);
    b->most = (float *)(b->sums + b->options.n_sums);
}

static void begin(struct rt_durable_board *b)
{
    pthread_mutexattr_t of_processes;
    memset(b->head, 0, (size_t)rt_durable_board_bytes(&b->options, b->n_ranks));
    (void)pthread_mutexattr_init(&of_processes);
    (void)pthread_mutexattr_setpshared(&of_processes, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutex_init(&b->head->mutex, &of_processes);
    (void)pthread_mutexattr_destroy(&of_processes);
}

enum rt_status rt_durable_board_new(struct rt_world *world,
                                    const struct rt_durable_options *options,
                                    struct rt_durable_board *board, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_durable_board *b = board;
    struct rt_shared_options shared = {.use_window = true};
    size_t n_bytes = (size_t)rt_durable_board_bytes(options, world->node_size);
    *b = (struct rt_durable_board){.options = *options};
    RT_TRY(rt_shared_new(world->node, n_bytes, &shared, &b->shared, err));
    bool is_shared = rt_shared_kind(b->shared) == RT_SHARED_WINDOW;
    b->n_ranks = is_shared ? world->node_size : 1;
    b->place = is_shared ? world->node_rank : 0;
    b->is_leader = b->place == 0;
    lay_out(b);
    if (b->is_leader)
        begin(b);
    rt_shared_filled(b->shared);
done:
    return st;
}

void rt_durable_board_free(struct rt_durable_board *board)
{
    rt_shared_free(board->shared);
    board->shared = NULL;
}

void rt_durable_board_add(struct rt_durable_board *board, uint64_t begin, uint64_t end,
                          const uint64_t *sums, const float *most, uint64_t largest)
{
    struct rt_durable_board *b = board;
    (void)pthread_mutex_lock(&b->head->mutex);
    for (uint64_t unit = begin; unit < end; unit++)
        rt_bit_set(b->bits, unit);
    b->head->n_units += end - begin;
    for (size_t i = 0; i < b->options.n_sums; i++)
        b->sums[i] += sums[i];
    for (size_t i = 0; i < b->options.n_most; i++)
        b->most[i] = most[i] > b->most[i] ? most[i] : b->most[i];
    b->head->largest = largest > b->head->largest ? largest : b->head->largest;
    (void)pthread_mutex_unlock(&b->head->mutex);
}

uint64_t rt_durable_board_n_units(struct rt_durable_board *board)
{
    (void)pthread_mutex_lock(&board->head->mutex);
    uint64_t n = board->head->n_units;
    (void)pthread_mutex_unlock(&board->head->mutex);
    return n;
}

void rt_durable_board_take(const struct rt_durable_board *board, uint64_t *sums, float *most,
                           uint64_t *largest)
{
    const struct rt_durable_board *b = board;
    for (size_t i = 0; i < b->options.n_sums; i++)
        sums[i] += b->sums[i];
    for (size_t i = 0; i < b->options.n_most; i++)
        most[i] = b->most[i] > most[i] ? b->most[i] : most[i];
    if (largest)
        *largest = b->head->largest > *largest ? b->head->largest : *largest;
}

uint64_t rt_durable_board_ask(struct rt_durable_board *board)
{
    return atomic_fetch_add(&board->head->question, 1) + 1;
}

bool rt_durable_board_answered(const struct rt_durable_board *board, uint64_t question)
{
    for (int i = 0; i < board->n_ranks; i++)
        if (atomic_load(&board->answers[i]) < question)
            return false;
    return true;
}

bool rt_durable_board_is_asked(const struct rt_durable_board *board)
{
    return atomic_load_explicit(&board->head->question, memory_order_relaxed) >
           atomic_load(&board->answers[board->place]);
}

uint64_t rt_durable_board_question(const struct rt_durable_board *board)
{
    return atomic_load(&board->head->question);
}

void rt_durable_board_answer(struct rt_durable_board *board, uint64_t question)
{
    atomic_store(&board->answers[board->place], question);
}
