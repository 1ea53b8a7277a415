#include "jobs/phases/durable_states.h"

#include "core/memory.h"

#include <stdio.h>
#include <string.h>

struct head {
    uint64_t n_units, n_sums, n_most, largest;
};

static void state_name(const char *of, unsigned start, int rank, char name[RT_CHECKPOINT_NAME])
{
    (void)snprintf(name, RT_CHECKPOINT_NAME, "%s-%u-%d", of, start, rank);
}

static enum rt_status put_board(const struct rt_durable_board *b, struct rt_checkpoint *to,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_durable_options *o = &b->options;
    struct head head = {o->n_units, o->n_sums, o->n_most, b->head->largest};
    RT_TRY(rt_checkpoint_put(to, &head, sizeof head, err));
    RT_TRY(rt_checkpoint_put(to, b->bits, rt_bit_words(o->n_units) * sizeof *b->bits, err));
    RT_TRY(rt_checkpoint_put(to, b->sums, o->n_sums * sizeof *b->sums, err));
    RT_TRY(rt_checkpoint_put(to, b->most, o->n_most * sizeof *b->most, err));
done:
    return st;
}

enum rt_status rt_durable_state_begin(const char *dir, struct rt_durable_board *board,
                                      unsigned start, int rank, struct rt_checkpoint **out,
                                      uint64_t *n_units, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_checkpoint *state = NULL;
    char name[RT_CHECKPOINT_NAME];
    state_name(board->options.name, start, rank, name);
    RT_TRY(rt_checkpoint_begin(dir, name, &state, err));
    (void)pthread_mutex_lock(&board->head->mutex);
    *n_units = board->head->n_units;
    st = put_board(board, state, err);
    (void)pthread_mutex_unlock(&board->head->mutex);
    RT_TRY(st);
    *out = state;
    state = NULL;
done:
    rt_checkpoint_drop(state);
    return st;
}

static void find_state(void *context, const char *name)
{
    struct rt_found_states *found = context;
    struct rt_found_state state = {0, 0};
    char behind = 0;
    if (sscanf(name + strlen(found->name), "-%u-%d%c", &state.start, &state.rank, &behind) != 2 ||
        state.start == 0 || state.rank < 0)
        return;
    size_t n_taken = found->n < found->room ? found->n : found->room;
    for (size_t i = 0; i < n_taken; i++)
        if (found->states[i].start == state.start && found->states[i].rank == state.rank)
            return;
    if (found->n < found->room)
        found->states[found->n] = state;
    found->n++;
}

enum rt_status rt_durable_states_find(const char *dir, const char *name,
                                      struct rt_found_states *found, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *found = (struct rt_found_states){.name = name};
    do { /* once to count, once to take */
        found->room = found->n;
        rt_array_free(found->states);
        found->states = NULL;
        RT_TRY(rt_array_new(found->room, sizeof *found->states, &found->states, err));
        found->n = 0;
        RT_TRY(rt_checkpoint_names(dir, name, find_state, found, err));
    } while (found->n > found->room);
done:
    return st;
}

enum rt_status rt_durable_states_remove(const char *dir, const struct rt_found_states *found,
                                        struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char name[RT_CHECKPOINT_NAME];
    for (size_t i = 0; i < found->n; i++) {
        state_name(found->name, found->states[i].start, found->states[i].rank, name);
        RT_TRY(rt_checkpoint_remove(dir, name, err));
    }
done:
    return st;
}

static void add_bytes(struct rt_durable_board *b, const unsigned char *at)
{
    const struct rt_durable_options *o = &b->options;
    uint64_t n_words = rt_bit_words(o->n_units);
    for (uint64_t i = 0; i < n_words + o->n_sums; i++, at += 8) {
        uint64_t word = 0;
        memcpy(&word, at, 8);
        if (i < n_words)
            b->bits[i] |= word;
        else
            b->sums[i - n_words] += word;
    }
    for (size_t i = 0; i < o->n_most; i++, at += sizeof(float)) {
        float value = 0;
        memcpy(&value, at, sizeof value);
        b->most[i] = value > b->most[i] ? value : b->most[i];
    }
}

/* Adds a state to the board; one that is not whole or of other sizes adds nothing. */
static enum rt_status add_state(const char *dir, const struct rt_found_state *state,
                                struct rt_durable_board *b, bool *added, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_durable_options *o = &b->options;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    char name[RT_CHECKPOINT_NAME];
    struct head head;
    *added = false;
    state_name(o->name, state->start, state->rank, name);
    RT_TRY(rt_checkpoint_read(dir, name, &bytes, &n_bytes, err));
    if (!bytes || n_bytes != sizeof head + (rt_bit_words(o->n_units) + o->n_sums) * 8 +
                                 o->n_most * sizeof(float))
        goto done;
    memcpy(&head, bytes, sizeof head);
    if (head.n_units != o->n_units || head.n_sums != o->n_sums || head.n_most != o->n_most)
        goto done;
    add_bytes(b, bytes + sizeof head);
    b->head->largest = head.largest > b->head->largest ? head.largest : b->head->largest;
    *added = true;
done:
    rt_array_free(bytes);
    return st;
}

/* A run that goes on first puts all it has found into one state of its own, so the states of the
 * last run whose first state is there are all there is; those of other runs are in it, or came
 * after it has failed to be written. */
enum rt_status rt_durable_states_read(const char *dir, const struct rt_found_states *found,
                                      struct rt_durable_board *board, unsigned *last, bool *any,
                                      struct rt_error *err)
{
    enum rt_status st = RT_OK;
    *last = 0;
    *any = false;
    for (size_t i = 0; i < found->n; i++)
        *last = found->states[i].start > *last ? found->states[i].start : *last;
    for (unsigned start = *last; start > 0 && !*any; start--) {
        bool added = false;
        struct rt_found_state first = {start, 0};
        RT_TRY(add_state(dir, &first, board, &added, err));
        if (!added && start > 1)
            continue;
        *any = added;
        for (size_t i = 0; i < found->n; i++)
            if (found->states[i].start == start && found->states[i].rank != 0) {
                RT_TRY(add_state(dir, &found->states[i], board, &added, err));
                *any = *any || added;
            }
    }
done:
    return st;
}
