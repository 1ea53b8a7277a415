#include "jobs/phases/record_sender.h"

#include "core/block.h"
#include "core/find.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/fs.h"
#include "io/tape_file.h"

#include <stdio.h>
#include <string.h>

struct rt_record_sender {
    struct rt_record_sender_input in;
    char path[RT_PATH_MAX];
    struct rt_tape_view tape;
    size_t wire_bytes;      /* of a record: its slot in the window, its place, its packed rest */
    struct rt_range window; /* places */
    uint32_t first_list;    /* lists that touch the window: [first_list, end_list) */
    uint32_t end_list;
    double height;               /* share of all blocks that lie before them */
    uint64_t *next;              /* n_lists: slot in the file of a list's next record, by list from
                                    first_list on */
    uint64_t chunk;              /* to be looked into next, from in.first_chunk on */
    uint64_t record, record_end; /* of the chunk at work */
};

uint64_t rt_record_sender_bytes(uint32_t n_lists)
{
    return sizeof(struct rt_record_sender) + n_lists * sizeof(uint64_t);
}

enum rt_status rt_record_sender_new(const struct rt_record_sender_input *input,
                                    struct rt_record_sender **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_record_sender *s = NULL;
    RT_TRY(rt_array_zero(1, sizeof *s, &s, err));
    s->in = *input;
    (void)snprintf(s->path, sizeof s->path, "%s", input->path);
    RT_TRY(rt_array_new(input->n_lists, sizeof *s->next, &s->next, err));
    RT_TRY(rt_tape_open(input->path, &s->tape, err));
    const struct rt_tape_shape *shape = &s->tape.shape;
    s->wire_bytes = sizeof(uint64_t) + sizeof(struct rt_place) +
                    rt_record_packed_bytes(shape->code_bytes, shape->n_factors);
    if (input->first_chunk > shape->n_chunks ||
        input->n_chunks > shape->n_chunks - input->first_chunk)
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: it has only %llu chunks", input->path,
                (unsigned long long)shape->n_chunks);
    *out = s;
    s = NULL;
done:
    rt_record_sender_free(s);
    return st;
}

void rt_record_sender_free(struct rt_record_sender *sender)
{
    if (!sender)
        return;
    rt_tape_close(&sender->tape);
    rt_array_free(sender->next);
    rt_array_free(sender);
}

/* The list that holds a block: the last one that begins at or before it and is not empty. */
static uint32_t list_of_block(const struct rt_record_sender *s, uint64_t block)
{
    return (uint32_t)rt_find_last(s->in.first_blocks, sizeof *s->in.first_blocks, s->in.n_lists,
                                  block);
}

void rt_record_sender_aim(struct rt_record_sender *sender, struct rt_range window)
{
    struct rt_record_sender *s = sender;
    s->window = window;
    s->record = s->record_end = 0;
    s->chunk = window.begin < window.end ? 0 : s->in.n_chunks;
    if (window.begin == window.end)
        return;
    s->first_list = list_of_block(s, rt_block_at_place(s->in.places, window.begin));
    s->end_list = list_of_block(s, rt_block_at_place(s->in.places, window.end - 1)) + 1;
    s->height = (double)s->in.first_blocks[s->first_list] / (double)s->in.places->n_blocks;
    for (uint32_t l = s->first_list; l < s->end_list; l++)
        s->next[l - s->first_list] = s->in.first_blocks[l] * RT_BLOCK_ROWS + s->in.before[l];
}

/* The first record at or after `list` of the sorted ones [begin, end), looked for from `guess` on
 * in growing steps: a window's records lie together, at about the same height of every chunk. */
static uint64_t first_of_list(const struct rt_record_sender *s, uint64_t begin, uint64_t end,
                              uint64_t guess, uint32_t list)
{
    const uint32_t *lists = s->tape.records.lists;
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
    return rt_tape_first_of_list(&s->tape, low, high, list);
}

/* The records of the next chunk that has some of these lists; false: there is none. */
static bool next_chunk(struct rt_record_sender *s)
{
    while (s->record == s->record_end && s->chunk < s->in.n_chunks) {
        const uint64_t *entry = s->tape.chunks + 2 * (s->in.first_chunk + s->chunk++);
        uint64_t end = entry[0] + entry[1];
        uint64_t guess = entry[0] + (uint64_t)((double)entry[1] * s->height);
        s->record = first_of_list(s, entry[0], end, guess, s->first_list);
        s->record_end = first_of_list(s, s->record, end, s->record, s->end_list);
    }
    return s->record < s->record_end;
}

/* The slot in the window of the next record of a list, which it takes; UINT64_MAX: it lies outside.
 */
static inline uint64_t take_slot(struct rt_record_sender *s, uint32_t list)
{
    const struct rt_block_places *places = s->in.places;
    uint64_t slot = s->next[list - s->first_list]++;
    uint64_t block = slot / RT_BLOCK_ROWS;
    if (block >= places->n_blocks || !rt_block_is_missing(places, block))
        return UINT64_MAX;
    uint64_t place = rt_block_place(places, block);
    if (place < s->window.begin || place >= s->window.end)
        return UINT64_MAX;
    return (place - s->window.begin) * RT_BLOCK_ROWS + slot % RT_BLOCK_ROWS;
}

static enum rt_status fail_unsorted(const struct rt_record_sender *s, struct rt_error *err)
{
    return rt_error_set(err, RT_DAMAGED, __FILE__, __LINE__,
                        "'%s' is damaged: chunk %llu is not in the order of its lists", s->path,
                        (unsigned long long)(s->in.first_chunk + s->chunk - 1));
}

enum rt_status rt_record_sender_fill(struct rt_record_sender *sender, void *buffer, size_t capacity,
                                     size_t *n_bytes, bool *more, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_record_sender *s = sender;
    const struct rt_tape_records *from = &s->tape.records;
    const uint32_t code_bytes = s->tape.shape.code_bytes;
    const uint32_t n_factors = s->tape.shape.n_factors;
    unsigned char *out = buffer;
    unsigned char *end = out + capacity / s->wire_bytes * s->wire_bytes;
    while (out < end && next_chunk(s))
        for (; out < end && s->record < s->record_end; s->record++) {
            uint64_t r = s->record;
            uint32_t list = from->lists[r];
            if (list < s->first_list || list >= s->end_list)
                RT_TRY(fail_unsorted(s, err));
            uint64_t slot = take_slot(s, list);
            if (slot == UINT64_MAX)
                continue;
            memcpy(out, &slot, sizeof slot);
            memcpy(out + sizeof slot, &from->places[r], sizeof *from->places);
            rt_record_pack(list, from->ids[r], from->codes + r * code_bytes, code_bytes,
                           from->factors + r * n_factors, n_factors,
                           out + sizeof slot + sizeof *from->places);
            out += s->wire_bytes;
        }
    *more = out == end;
    *n_bytes = (size_t)(out - (unsigned char *)buffer);
done:
    return st;
}
