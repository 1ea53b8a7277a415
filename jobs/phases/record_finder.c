#include "jobs/phases/record_finder.h"

#include "core/block.h"
#include "core/find.h"
#include "core/memory.h"
#include "core/record.h"

#include <string.h>

#define BATCH 64u
#define OUTSIDE UINT32_MAX /* of the window */

struct rt_record_finder {
    struct rt_record_finder_input in;
    struct rt_range window; /* places */
    uint32_t first_list, end_list;
    double height;               /* share of all blocks that lie before these lists */
    uint64_t *next;              /* most_lists: slot in the file of a list's next record, by list
                                    from first_list on */
    uint64_t chunk, end_chunk;   /* to be looked into next */
    uint64_t record, record_end; /* of the chunk at work */
};

uint64_t rt_record_finder_bytes(uint32_t most_lists)
{
    return sizeof(struct rt_record_finder) + most_lists * sizeof(uint64_t);
}

enum rt_status rt_record_finder_new(const struct rt_record_finder_input *input,
                                    struct rt_record_finder **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_record_finder *f = NULL;
    RT_TRY(rt_array_zero(1, sizeof *f, &f, err));
    f->in = *input;
    RT_TRY(rt_array_new(input->most_lists, sizeof *f->next, &f->next, err));
    *out = f;
    f = NULL;
done:
    rt_record_finder_free(f);
    return st;
}

void rt_record_finder_free(struct rt_record_finder *finder)
{
    if (!finder)
        return;
    rt_array_free(finder->next);
    rt_array_free(finder);
}

/* The list that holds a block: the last one that begins at or before it and is not empty. */
static uint32_t list_of_block(const struct rt_record_finder *f, uint64_t block)
{
    return (uint32_t)rt_find_last(f->in.first_blocks, sizeof *f->in.first_blocks, f->in.n_lists,
                                  block);
}

struct rt_range rt_record_finder_lists(const struct rt_record_finder *finder,
                                       struct rt_range window)
{
    const struct rt_block_places *places = finder->in.places;
    if (window.begin == window.end)
        return (struct rt_range){0, 0};
    return (struct rt_range){
        list_of_block(finder, rt_block_at_place(places, window.begin)),
        (uint64_t)list_of_block(finder, rt_block_at_place(places, window.end - 1)) + 1};
}

enum rt_status rt_record_finder_aim(struct rt_record_finder *finder,
                                    const struct rt_record_aim *aim, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_record_finder *f = finder;
    const struct rt_tape_view *tape = f->in.tape;
    if (aim->chunks.begin > aim->chunks.end || aim->chunks.end > tape->shape.n_chunks)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it has only %llu chunks", rt_h5_map_path(tape->map),
                (unsigned long long)tape->shape.n_chunks);
    rt_assert(aim->lists.end <= f->in.n_lists && rt_range_count(aim->lists) <= f->in.most_lists);
    f->window = aim->window;
    f->first_list = (uint32_t)aim->lists.begin;
    f->end_list = (uint32_t)aim->lists.end;
    f->record = f->record_end = 0;
    f->chunk = aim->chunks.begin;
    f->end_chunk = f->first_list < f->end_list ? aim->chunks.end : f->chunk;
    f->height = (double)f->in.first_blocks[f->first_list] / (double)f->in.places->n_blocks;
    for (uint32_t l = f->first_list; l < f->end_list; l++)
        f->next[l - f->first_list] =
            f->in.first_blocks[l] * RT_BLOCK_ROWS + aim->before[l - f->first_list];
done:
    return st;
}

/* The first record at or after `list` of the sorted ones [begin, end), looked for from `guess` on
 * in growing steps: a window's records lie together, at about the same height of every chunk. */
static uint64_t first_of_list(const struct rt_record_finder *f, uint64_t begin, uint64_t end,
                              uint64_t guess, uint32_t list)
{
    const uint32_t *lists = f->in.tape->records.lists;
    uint64_t low = guess;
    uint64_t high = guess;
    for (uint64_t step = 4; low > begin && lists[low - 1] >= list; step *= 2) {
        high = low - 1;
        low = low - begin > step ? low - step : begin;
    }
    for (uint64_t step = 4; high < end && lists[high] < list; step *= 2) {
        low = high + 1;
        high = end - high > step ? high + step : end;
    }
    return rt_tape_first_of_list(f->in.tape, low, high, list);
}

/* The records of the next chunk that has some of these lists; false: there is none. */
static bool next_chunk(struct rt_record_finder *f)
{
    while (f->record == f->record_end && f->chunk < f->end_chunk) {
        const uint64_t *entry = f->in.tape->chunks + 2 * f->chunk++;
        uint64_t end = entry[0] + entry[1];
        uint64_t guess = entry[0] + (uint64_t)((double)entry[1] * f->height);
        f->record = first_of_list(f, entry[0], end, guess, f->first_list);
        f->record_end = first_of_list(f, f->record, end, f->record, f->end_list);
    }
    return f->record < f->record_end;
}

/* Slots in the window of records from *first on, all of one chunk: at most `most` and BATCH of
 * them. *n 0: there are no more. Fails where one has a list that cannot be there. */
static enum rt_status find_slots(struct rt_record_finder *f, uint64_t most, uint64_t *first,
                                 uint32_t slots[BATCH], uint32_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_block_places places = *f->in.places;
    const uint64_t n_places = rt_range_count(f->window);
    *n = 0;
    if (most == 0 || !next_chunk(f))
        goto done;
    uint64_t left = f->record_end - f->record;
    left = left < most ? left : most;
    *first = f->record;
    *n = (uint32_t)(left < BATCH ? left : BATCH);
    const uint32_t *lists = f->in.tape->records.lists + f->record;
    for (uint32_t i = 0; i < *n; i++) {
        uint32_t list = lists[i] - f->first_list;
        if (list >= f->end_list - f->first_list)
            RT_FAIL(RT_DAMAGED, "'%s' is damaged: chunk %llu is not in the order of its lists",
                    rt_h5_map_path(f->in.tape->map), (unsigned long long)f->chunk - 1);
        uint64_t slot = f->next[list]++;
        uint64_t block = slot / RT_BLOCK_ROWS;
        slots[i] = OUTSIDE;
        if (block >= places.n_blocks || !rt_block_is_missing(&places, block))
            continue;
        uint64_t place = rt_block_place(&places, block) - f->window.begin;
        if (place < n_places) /* one before the window is beyond all */
            slots[i] = (uint32_t)(place * RT_BLOCK_ROWS + slot % RT_BLOCK_ROWS);
    }
    f->record += *n;
done:
    return st;
}

/* A record as it lies in the window: its place, then packed. */
static inline void put_record(const struct rt_tape_records *from, uint64_t r, uint32_t code_bytes,
                              uint32_t n_factors, unsigned char *out)
{
    memcpy(out, &from->places[r], sizeof *from->places);
    rt_record_pack(from->lists[r], from->ids[r], from->codes + r * code_bytes, code_bytes,
                   from->factors + r * n_factors, n_factors, out + sizeof *from->places);
}

enum rt_status rt_record_finder_fill(struct rt_record_finder *finder, void *buffer, size_t capacity,
                                     size_t *n_bytes, bool *more, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tape_records from = finder->in.tape->records;
    const struct rt_tape_shape *shape = &finder->in.tape->shape;
    const uint32_t code_bytes = shape->code_bytes;
    const uint32_t n_factors = shape->n_factors;
    const size_t wire_bytes = rt_block_window_wire_bytes(shape->dim, n_factors);
    unsigned char *out = buffer;
    uint64_t room = capacity / wire_bytes;
    uint32_t n = 0;
    do {
        uint64_t first = 0;
        uint32_t slots[BATCH];
        RT_TRY(find_slots(finder, room, &first, slots, &n, err));
        for (uint32_t i = 0; i < n; i++) {
            if (slots[i] == OUTSIDE)
                continue;
            memcpy(out, &slots[i], sizeof *slots);
            put_record(&from, first + i, code_bytes, n_factors, out + sizeof *slots);
            out += wire_bytes;
            room--;
        }
    } while (n > 0);
    *more = room == 0;
    *n_bytes = (size_t)(out - (unsigned char *)buffer);
done:
    return st;
}

enum rt_status rt_record_finder_put(struct rt_record_finder *finder,
                                    const struct rt_window_slots *window, uint64_t most,
                                    uint64_t *n_records, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tape_records from = finder->in.tape->records;
    const uint32_t code_bytes = finder->in.tape->shape.code_bytes;
    const uint32_t n_factors = finder->in.tape->shape.n_factors;
    const struct rt_window_slots to = *window;
    uint64_t left = most;
    uint32_t n = 0;
    rt_assert(rt_range_count(finder->window) <= to.n_blocks);
    do {
        uint64_t first = 0;
        uint32_t slots[BATCH];
        RT_TRY(find_slots(finder, left, &first, slots, &n, err));
        for (uint32_t i = 0; i < n; i++) {
            if (slots[i] == OUTSIDE)
                continue;
            to.present[slots[i] / RT_BLOCK_ROWS] |= UINT32_C(1) << slots[i] % RT_BLOCK_ROWS;
            put_record(&from, first + i, code_bytes, n_factors,
                       to.records + slots[i] * to.record_bytes);
            left--;
        }
    } while (n > 0);
    *n_records = most - left;
done:
    return st;
}
