#include "jobs/phases/block_window.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/format.h"

#include <string.h>

struct rt_block_window {
    uint32_t dim, code_bytes, n_factors;
    size_t packed_bytes;    /* of a record without its place */
    size_t record_bytes;    /* with it */
    uint64_t n_blocks;      /* of the window at hand */
    unsigned char *records; /* by slot */
    uint32_t *present;      /* by block: which of its slots have one */
    uint8_t *no_code;       /* of those that have none: zeros */
    uint8_t *codes;         /* a batch of blocks, as they lie in the file */
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
};

static size_t record_bytes(uint32_t dim, uint32_t n_factors)
{
    return sizeof(struct rt_place) + rt_record_packed_bytes(rt_code_bytes(dim), n_factors);
}

size_t rt_block_window_wire_bytes(uint32_t dim, uint32_t n_factors)
{
    return sizeof(uint32_t) + record_bytes(dim, n_factors);
}

uint64_t rt_block_window_bytes(uint32_t dim, uint32_t n_factors, uint64_t n_blocks)
{
    uint64_t block =
        rt_block_code_bytes(dim) +
        RT_BLOCK_ROWS * (n_factors * sizeof(float) + sizeof(uint64_t) + sizeof(struct rt_place));
    return n_blocks * (RT_BLOCK_ROWS * record_bytes(dim, n_factors) + sizeof(uint32_t)) +
           RT_WINDOW_BATCH * block;
}

enum rt_status rt_block_window_new(uint32_t dim, uint32_t n_factors, uint64_t n_blocks,
                                   struct rt_block_window **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_block_window *w = NULL;
    const size_t rows = (size_t)RT_WINDOW_BATCH * RT_BLOCK_ROWS;
    rt_assert(n_blocks <= UINT32_MAX / RT_BLOCK_ROWS);
    RT_TRY(rt_array_zero(1, sizeof *w, &w, err));
    w->dim = dim;
    w->code_bytes = rt_code_bytes(dim);
    w->n_factors = n_factors;
    w->packed_bytes = rt_record_packed_bytes(w->code_bytes, n_factors);
    w->record_bytes = record_bytes(dim, n_factors);
    RT_TRY(rt_array_new((size_t)n_blocks, RT_BLOCK_ROWS * w->record_bytes, &w->records, err));
    RT_TRY(rt_array_new((size_t)n_blocks, sizeof *w->present, &w->present, err));
    RT_TRY(rt_array_zero(w->code_bytes, 1, &w->no_code, err));
    RT_TRY(rt_array_new(RT_WINDOW_BATCH, rt_block_code_bytes(dim), &w->codes, err));
    RT_TRY(rt_array_new(rows, n_factors * sizeof *w->factors, &w->factors, err));
    RT_TRY(rt_array_new(rows, sizeof *w->ids, &w->ids, err));
    RT_TRY(rt_array_new(rows, sizeof *w->places, &w->places, err));
    *out = w;
    w = NULL;
done:
    rt_block_window_free(w);
    return st;
}

void rt_block_window_free(struct rt_block_window *window)
{
    if (!window)
        return;
    rt_array_free(window->records);
    rt_array_free(window->present);
    rt_array_free(window->no_code);
    rt_array_free(window->codes);
    rt_array_free(window->factors);
    rt_array_free(window->ids);
    rt_array_free(window->places);
    rt_array_free(window);
}

void rt_block_window_clear(struct rt_block_window *window, uint64_t n_blocks)
{
    window->n_blocks = n_blocks;
    memset(window->present, 0, (size_t)n_blocks * sizeof *window->present);
}

bool rt_block_window_take(struct rt_block_window *window, const void *records, size_t n_records)
{
    const unsigned char *in = records;
    unsigned char *const to = window->records;
    uint32_t *const present = window->present;
    const size_t n_bytes = window->record_bytes;
    const uint64_t n_blocks = window->n_blocks;
    for (size_t i = 0; i < n_records; i++, in += sizeof(uint32_t) + n_bytes) {
        uint32_t slot = 0;
        memcpy(&slot, in, sizeof slot);
        if (slot / RT_BLOCK_ROWS >= n_blocks)
            return false;
        present[slot / RT_BLOCK_ROWS] |= UINT32_C(1) << slot % RT_BLOCK_ROWS;
        rt_record_copy(to + slot * n_bytes, in + sizeof slot, n_bytes);
    }
    return true;
}

struct rt_window_slots rt_block_window_slots(const struct rt_block_window *window)
{
    return (struct rt_window_slots){.records = window->records,
                                    .present = window->present,
                                    .record_bytes = window->record_bytes,
                                    .n_blocks = window->n_blocks};
}

/* Row `row` of block `at` of the batch, all but its code, which is returned. */
static const uint8_t *pack_row(struct rt_block_window *w, uint64_t at, uint32_t row,
                               const unsigned char *record, struct rt_hash128 *hash)
{
    struct rt_record_view view;
    const unsigned char *packed = record + sizeof(struct rt_place);
    rt_record_unpack(packed, w->code_bytes, &view);
    w->ids[at * RT_BLOCK_ROWS + row] = view.id;
    memcpy(&w->places[at * RT_BLOCK_ROWS + row], record, sizeof(struct rt_place));
    float *factors = w->factors + at * w->n_factors * RT_BLOCK_ROWS + row;
    for (uint32_t f = 0; f < w->n_factors; f++)
        memcpy(factors + (size_t)f * RT_BLOCK_ROWS, view.factors + f * sizeof(float),
               sizeof(float));
    *hash = rt_hash128_add(*hash, rt_hash128(packed, w->packed_bytes));
    return view.code;
}

/* Places of a block that no row fills: no id, zeros for the rest. */
static void clear_columns(struct rt_block_window *w, uint64_t at)
{
    memset(w->factors + at * w->n_factors * RT_BLOCK_ROWS, 0,
           (size_t)w->n_factors * RT_BLOCK_ROWS * sizeof *w->factors);
    memset(w->ids + at * RT_BLOCK_ROWS, 0xff, RT_BLOCK_ROWS * sizeof *w->ids);
    memset(w->places + at * RT_BLOCK_ROWS, 0, RT_BLOCK_ROWS * sizeof *w->places);
}

static void pack_block(struct rt_block_window *w, uint64_t at, uint64_t block,
                       struct rt_hash128 *hash)
{
    const uint8_t *codes[RT_BLOCK_ROWS];
    const unsigned char *record = w->records + block * RT_BLOCK_ROWS * w->record_bytes;
    uint32_t present = w->present[block];
    if (present != UINT32_MAX)
        clear_columns(w, at);
    for (uint32_t row = 0; row < RT_BLOCK_ROWS; row++, record += w->record_bytes)
        codes[row] = present >> row & 1 ? pack_row(w, at, row, record, hash) : w->no_code;
    rt_block_pack(w->codes + at * rt_block_code_bytes(w->dim), w->dim, codes);
}

void rt_block_window_pack(struct rt_block_window *window, uint64_t first, uint64_t n,
                          struct rt_list_blocks *blocks, struct rt_hash128 *hash)
{
    struct rt_block_window *w = window;
    rt_assert(n <= RT_WINDOW_BATCH);
    for (uint64_t at = 0; at < n; at++)
        pack_block(w, at, first + at, hash);
    *blocks = (struct rt_list_blocks){.n_blocks = n,
                                      .codes = w->codes,
                                      .factors = w->factors,
                                      .ids = w->ids,
                                      .places = w->places};
}
