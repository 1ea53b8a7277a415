/* int8_tile by AMX: 16 rows x 16 centroids x 64 dimensions an instruction, eight times what VNNI
 * does. The products are the same integers. */
#include "core/kernels/avx512_finish.h"

#include <stdbool.h>
#include <string.h>

#define LEAST_ROWS 8u  /* fewer go to VNNI */
#define MOST_PIECES 32 /* of 64 dimensions; longer rows go to VNNI */

#define ALWAYS static inline __attribute__((always_inline))

/* The compiler does not know that tiles are loaded from memory. */
#define MEMORY_IS_READ() __asm__ volatile("" ::: "memory")

struct shape { /* of LDTILECFG */
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static const struct shape all_whole = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16}};

/* Up to 16 rows' codes by pieces of 64 dimensions, zeros beyond the last. */
ALWAYS void pack_rows(const uint8_t *const *rows, size_t n_rows, size_t n_bytes, uint8_t *out)
{
    for (size_t at = 0; at < n_bytes; at += 64, out += 16 * 64) {
        __mmask64 some = n_bytes - at < 64 ? UINT64_MAX >> (64 - (n_bytes - at)) : UINT64_MAX;
        for (size_t r = 0; r < n_rows; r++)
            _mm512_store_si512((void *)(out + r * 64), _mm512_maskz_loadu_epi8(some, rows[r] + at));
    }
}

#define STEP(g)                                                                                    \
    if (n_groups > (g)) {                                                                          \
        _tile_loadd(5, piece + (g)*group_bytes, 64);                                               \
        _tile_dpbusd(g, 4, 5);                                                                     \
    }
#define STORE(g)                                                                                   \
    if (n_groups > (g))                                                                            \
        _tile_stored(g, sums + 16 * (g), 64 * sizeof *sums);

#define START_FROM(g)                                                                              \
    if (n_groups > (g))                                                                            \
        _tile_loadd(g, offsets + 16 * (g), 0); /* one line for all rows */

/* Adds to the sums in the tiles. 16 rows, packed; tail: the last piece of each group where it is
 * not whole, else NULL. */
ALWAYS void products(const struct rt_int8_tile *tile, const uint8_t *rows, const int8_t *tail,
                     size_t n_groups, int32_t *sums)
{
    size_t n_pieces = (tile->n_steps + 15) / 16;
    for (size_t k = 0; k < n_pieces; k++) {
        bool is_tail = tail && k + 1 == n_pieces;
        const int8_t *piece = is_tail ? tail : tile->codes + k * 1024;
        size_t group_bytes = is_tail ? 1024 : tile->n_steps * 64;
        _tile_loadd(4, rows + k * 1024, 64);
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
    }
    STORE(0)
    STORE(1)
    STORE(2)
    STORE(3)
}

static void copy_tails(const struct rt_int8_tile *tile, int8_t *out)
{
    size_t n_left = tile->n_steps % 16;
    memset(out, 0, tile->n_groups * 1024);
    for (size_t g = 0; g < tile->n_groups; g++)
        memcpy(out + g * 1024, tile->codes + ((g + 1) * tile->n_steps - n_left) * 64, n_left * 64);
}

ALWAYS void all_rows(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                     size_t n_groups, const float *row_scale, const float *threshold, float *a,
                     uint64_t *mask, float *least)
{
    _Alignas(64) uint8_t packed[MOST_PIECES * 1024];
    _Alignas(64) int8_t tails[4 * 1024];
    _Alignas(64) int32_t sums[16 * 64];
    bool has_tail = tile->n_steps % 16 != 0;
    if (has_tail)
        copy_tails(tile, tails);
    if (n_rows < 16)
        memset(packed, 0, (tile->n_steps + 15) / 16 * 1024);
    _tile_loadconfig(&all_whole);
    for (size_t at = 0; at < n_rows; at += 16) {
        size_t n = n_rows - at < 16 ? n_rows - at : 16;
        pack_rows(rows + at, n, 4 * tile->n_steps, packed);
        MEMORY_IS_READ();
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        products(tile, packed, has_tail ? tails : NULL, n_groups, sums);
        for (size_t r = at; r < at + n; r++)
            finish_row(tile, sums + (r - at) * 64, n_groups, row_scale[r],
                       least ? 0.0f : threshold[r], a + 64 * r, least ? NULL : mask + r,
                       least ? least + r : NULL);
    }
    _tile_release();
}

ALWAYS void by_groups(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least)
{
    switch (tile->n_groups) {
    case 1:
        all_rows(tile, rows, n_rows, 1, row_scale, threshold, a, mask, least);
        break;
    case 2:
        all_rows(tile, rows, n_rows, 2, row_scale, threshold, a, mask, least);
        break;
    case 3:
        all_rows(tile, rows, n_rows, 3, row_scale, threshold, a, mask, least);
        break;
    default:
        all_rows(tile, rows, n_rows, 4, row_scale, threshold, a, mask, least);
    }
}

static void int8_tile(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least)
{
    if (n_rows < LEAST_ROWS || tile->n_steps > MOST_PIECES * 16)
        rt_int8_tile_vnni(tile, rows, n_rows, row_scale, threshold, a, mask, least);
    else if (least)
        by_groups(tile, rows, n_rows, row_scale, NULL, a, NULL, least);
    else
        by_groups(tile, rows, n_rows, row_scale, threshold, a, mask, NULL);
}

/* ---- the least of each row ---- */

#define LEAST_BLOCK 16u /* rows */

/* What a part's sums become distances by, in registers. */
struct constants {
    __m512 scale[4], norm[4];
};

/* Lanes of the least so far of up to 16 rows, from the sums of one tile. */
ALWAYS void lower(const struct constants *c, const int32_t *sums, size_t n_rows, size_t n_groups,
                  const float *row_scale, float *low)
{
    for (size_t r = 0; r < n_rows; r++) {
        __m512 lanes = _mm512_load_ps(low + 16 * r);
        __m512 factor = _mm512_set1_ps(row_scale[r]);
        for (size_t g = 0; g < n_groups; g++) {
            __m512 p =
                _mm512_cvtepi32_ps(_mm512_load_si512((const void *)(sums + 64 * r + 16 * g)));
            lanes = _mm512_min_ps(
                lanes, _mm512_fmadd_ps(factor, _mm512_mul_ps(c->scale[g], p), c->norm[g]));
        }
        _mm512_store_ps(low + 16 * r, lanes);
    }
}

/* A part of 1..4 groups for all rows. The sums of one block are looked at while the tiles of the
 * next are multiplied. */
ALWAYS void least_of_part(const struct rt_int8_tile *part, const uint8_t *packed,
                          size_t block_bytes, size_t n_rows, size_t n_groups,
                          const float *row_scale, float *low)
{
    _Alignas(64) int8_t tails[4 * 1024];
    _Alignas(64) int32_t sums[2][16 * 64];
    _Alignas(64) int32_t offsets[64]; /* what all rows' sums begin with */
    struct constants c;
    bool has_tail = part->n_steps % 16 != 0;
    size_t n_blocks = (n_rows + LEAST_BLOCK - 1) / LEAST_BLOCK;
    if (has_tail)
        copy_tails(part, tails);
    for (size_t g = 0; g < n_groups; g++) {
        c.scale[g] = _mm512_loadu_ps(part->scale + 16 * g);
        c.norm[g] = _mm512_loadu_ps(part->norm + 16 * g);
        __m512i offset = _mm512_loadu_si512((const void *)(part->sums + 16 * g));
        _mm512_store_si512((void *)(offsets + 16 * g),
                           _mm512_sub_epi32(_mm512_setzero_si512(), offset));
    }
    MEMORY_IS_READ();
    for (size_t block = 0; block <= n_blocks; block++) {
        if (block < n_blocks) {
            START_FROM(0)
            START_FROM(1)
            START_FROM(2)
            START_FROM(3)
            products(part, packed + block * block_bytes, has_tail ? tails : NULL, n_groups,
                     sums[block % 2]);
        }
        if (block > 0) {
            size_t at = (block - 1) * LEAST_BLOCK;
            size_t n = n_rows - at < LEAST_BLOCK ? n_rows - at : LEAST_BLOCK;
            lower(&c, sums[(block - 1) % 2], n, n_groups, row_scale + at, low + 16 * at);
        }
    }
}

ALWAYS void least_by_parts(const struct rt_int8_tile *cell, const uint8_t *packed,
                           size_t block_bytes, size_t n_rows, const float *row_scale, float *low)
{
    size_t n_parts = (cell->n_groups + 3) / 4; /* of about the same size */
    for (size_t i = 0, group = 0; i < n_parts; i++) {
        size_t n_here = cell->n_groups * (i + 1) / n_parts - group;
        struct rt_int8_tile part = rt_int8_tile_part(cell, group, n_here);
        switch (n_here) {
        case 1:
            least_of_part(&part, packed, block_bytes, n_rows, 1, row_scale, low);
            break;
        case 2:
            least_of_part(&part, packed, block_bytes, n_rows, 2, row_scale, low);
            break;
        case 3:
            least_of_part(&part, packed, block_bytes, n_rows, 3, row_scale, low);
            break;
        default:
            least_of_part(&part, packed, block_bytes, n_rows, 4, row_scale, low);
        }
        group += n_here;
    }
}

static void int8_least(const struct rt_int8_tile *cell, const uint8_t *const *rows, size_t n_rows,
                       const float *row_scale, float *least)
{
    enum { AT_ONCE = 64, ROOM = 4 * MOST_PIECES * 1024 };
    _Alignas(64) uint8_t packed[ROOM];
    _Alignas(64) float low[AT_ONCE * 16];
    size_t block_bytes = (cell->n_steps + 15) / 16 * 1024;
    if (n_rows < LEAST_ROWS || cell->n_steps > MOST_PIECES * 16) {
        rt_int8_least_vnni(cell, rows, n_rows, row_scale, least);
        return;
    }
    _tile_loadconfig(&all_whole);
    for (size_t at = 0; at < n_rows; at += AT_ONCE) {
        size_t n = n_rows - at < AT_ONCE ? n_rows - at : AT_ONCE;
        if (n % LEAST_BLOCK)
            memset(packed + n / LEAST_BLOCK * block_bytes, 0, block_bytes);
        for (size_t r = 0; r < n; r += LEAST_BLOCK)
            pack_rows(rows + at + r, n - r < LEAST_BLOCK ? n - r : LEAST_BLOCK, 4 * cell->n_steps,
                      packed + r / LEAST_BLOCK * block_bytes);
        for (size_t r = 0; r < n; r++)
            _mm512_store_ps(low + 16 * r, _mm512_set1_ps(INFINITY));
        least_by_parts(cell, packed, block_bytes, n, row_scale + at, low);
        for (size_t r = 0; r < n; r++)
            least[at + r] = _mm512_reduce_min_ps(_mm512_load_ps(low + 16 * r));
    }
    _tile_release();
}

void rt_kernels_avx512_amx(struct rt_kernels *table)
{
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
}
