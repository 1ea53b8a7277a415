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
    unsigned char *records; /* by slot; those with id RT_NO_ID are none */
    uint8_t *no_code;       /* of these: zeros */
    uint8_t *codes;         /* a batch of blocks, as they lie in the file */
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
};

size_t rt_block_window_record_bytes(uint32_t dim, uint32_t n_factors)
{
    return sizeof(struct rt_place) + rt_record_packed_bytes(rt_code_bytes(dim), n_factors);
}

uint64_t rt_block_window_bytes(uint32_t dim, uint32_t n_factors, uint64_t n_blocks)
{
    uint64_t block =
        rt_block_code_bytes(dim) +
        RT_BLOCK_ROWS * (n_factors * sizeof(float) + sizeof(uint64_t) + sizeof(struct rt_place));
    return n_blocks * RT_BLOCK_ROWS * rt_block_window_record_bytes(dim, n_factors) +
           RT_WINDOW_BATCH * block;
}

enum rt_status rt_block_window_new(uint32_t dim, uint32_t n_factors, uint64_t n_blocks,
                                   struct rt_block_window **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_block_window *w = NULL;
    const size_t rows = (size_t)RT_WINDOW_BATCH * RT_BLOCK_ROWS;
    RT_TRY(rt_array_zero(1, sizeof *w, &w, err));
    w->dim = dim;
    w->code_bytes = rt_code_bytes(dim);
    w->n_factors = n_factors;
    w->packed_bytes = rt_record_packed_bytes(w->code_bytes, n_factors);
    RT_TRY(rt_array_new((size_t)n_blocks,
                        RT_BLOCK_ROWS * rt_block_window_record_bytes(dim, n_factors), &w->records,
                        err));
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
    rt_array_free(window->no_code);
    rt_array_free(window->codes);
    rt_array_free(window->factors);
    rt_array_free(window->ids);
    rt_array_free(window->places);
    rt_array_free(window);
}

static unsigned char *record_at(const struct rt_block_window *w, uint64_t slot)
{
    return w->records + slot * (sizeof(struct rt_place) + w->packed_bytes);
}

void rt_block_window_clear(struct rt_block_window *window, uint64_t n_blocks)
{
    memset(window->records, 0xff, /* every id among it */
           (size_t)n_blocks * RT_BLOCK_ROWS * (sizeof(struct rt_place) + window->packed_bytes));
}

void rt_block_window_put(struct rt_block_window *window, uint64_t slot, const void *record)
{
    memcpy(record_at(window, slot), record, sizeof(struct rt_place) + window->packed_bytes);
}

/* Row `row` of block `at` of the batch, all but its code, which is returned. */
static const uint8_t *pack_row(struct rt_block_window *w, uint64_t at, uint32_t row,
                               const unsigned char *record, struct rt_hash128 *hash)
{
    struct rt_record_view view;
    const unsigned char *packed = record + sizeof(struct rt_place);
    rt_record_unpack(packed, w->code_bytes, &view);
    if (view.id == RT_NO_ID)
        return w->no_code;
    w->ids[at * RT_BLOCK_ROWS + row] = view.id;
    memcpy(&w->places[at * RT_BLOCK_ROWS + row], record, sizeof(struct rt_place));
    float *factors = w->factors + at * w->n_factors * RT_BLOCK_ROWS + row;
    for (uint32_t f = 0; f < w->n_factors; f++)
        memcpy(factors + (size_t)f * RT_BLOCK_ROWS, view.factors + f * sizeof(float),
               sizeof(float));
    *hash = rt_hash128_add(*hash, rt_hash128(packed, w->packed_bytes));
    return view.code;
}

static void pack_block(struct rt_block_window *w, uint64_t at, uint64_t block,
                       struct rt_hash128 *hash)
{
    const uint8_t *codes[RT_BLOCK_ROWS];
    for (uint32_t row = 0; row < RT_BLOCK_ROWS; row++)
        codes[row] = pack_row(w, at, row, record_at(w, block * RT_BLOCK_ROWS + row), hash);
    rt_block_pack(w->codes + at * rt_block_code_bytes(w->dim), w->dim, codes);
}

void rt_block_window_pack(struct rt_block_window *window, uint64_t first, uint64_t n,
                          struct rt_list_blocks *blocks, struct rt_hash128 *hash)
{
    struct rt_block_window *w = window;
    rt_assert(n <= RT_WINDOW_BATCH);
    size_t rows = (size_t)n * RT_BLOCK_ROWS;
    memset(w->factors, 0, rows * w->n_factors * sizeof *w->factors);
    memset(w->ids, 0xff, rows * sizeof *w->ids);
    memset(w->places, 0, rows * sizeof *w->places);
    for (uint64_t at = 0; at < n; at++)
        pack_block(w, at, first + at, hash);
    *blocks = (struct rt_list_blocks){.n_blocks = n,
                                      .codes = w->codes,
                                      .factors = w->factors,
                                      .ids = w->ids,
                                      .places = w->places};
}
