/* int8_tile by AMX: 16 rows x 16 centroids x 64 dimensions an instruction, eight times what VNNI
 * does. The products are the same integers. */
#include "core/kernels/avx512_finish.h"

#include <stdbool.h>
#include <string.h>

#define LEAST_ROWS 8u            /* fewer go to VNNI */
#define MOST_PIECES ((size_t)32) /* of 64 dimensions; longer rows go to VNNI */
#define BLOCK 16u                /* rows */

#define ALWAYS static inline __attribute__((always_inline))

/* The compiler does not know that tiles are loaded from memory. */
#define MEMORY_IS_READ() __asm__ volatile("" ::: "memory")

struct shape { /* of LDTILECFG */
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static const struct shape all_whole = {.palette = 1,
                                       .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                       .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

/* Up to 16 rows by pieces of 64 dimensions, as signed codes, so that sums need no offset. What lies
 * beyond a row's end meets zeros, and of rows that are not there the sums are not looked at. */
ALWAYS void pack_rows(const uint8_t *const *rows, size_t n, size_t n_bytes, uint8_t *out)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    size_t n_pieces = (n_bytes + 63) / 64;
    for (size_t r = 0; r < n; r++, out += 64)
        for (size_t k = 0; k < n_pieces; k++) {
            size_t left = n_bytes - 64 * k;
            __mmask64 some = left < 64 ? UINT64_MAX >> (64 - left) : UINT64_MAX;
            __m512i codes = _mm512_maskz_loadu_epi8(some, rows[r] + 64 * k);
            _mm512_store_si512((void *)(out + k * 1024), _mm512_xor_si512(codes, flip));
        }
}

static void copy_tails(const struct rt_int8_tile *tile, int8_t *out)
{
    size_t n_left = tile->n_steps % 16;
    memset(out, 0, tile->n_groups * 1024);
    for (size_t g = 0; g < tile->n_groups; g++)
        memcpy(out + g * 1024, tile->codes + ((g + 1) * tile->n_steps - n_left) * 64, n_left * 64);
}

/* What a tile holds goes to sums, and the products of another block begin. */
#define TAKE(g)                                                                                    \
    if (n_groups > (g))                                                                            \
        _tile_stored(g, sums + (size_t)256 * (g), 64);
#define MULTIPLY(g, codes)                                                                         \
    if (n_groups > (g)) {                                                                          \
        _tile_loadd(codes, piece + (g)*group_bytes, 64);                                           \
        _tile_dpbssd(g, 6, codes);                                                                 \
    }
#define TURN(g, codes)                                                                             \
    TAKE(g)                                                                                        \
    if (n_groups > (g))                                                                            \
        _tile_zero(g);                                                                             \
    MULTIPLY(g, codes)

/* 16 rows, packed. tails: the last piece of each group where it is not whole, else NULL. */
ALWAYS void turn(const struct rt_int8_tile *part, const uint8_t *rows, const int8_t *tails,
                 size_t n_groups, int32_t *sums)
{
    size_t n_pieces = (part->n_steps + 15) / 16;
    const int8_t *piece = tails && n_pieces == 1 ? tails : part->codes;
    size_t group_bytes = tails && n_pieces == 1 ? 1024 : part->n_steps * 64;
    _tile_loadd(6, rows, 64);
    TURN(0, 7)
    TURN(1, 7)
    TURN(2, 7)
    TURN(3, 7)
    TURN(4, 7)
    TURN(5, 7)
    for (size_t k = 1; k < n_pieces; k++) {
        bool is_tail = tails && k + 1 == n_pieces;
        piece = is_tail ? tails : part->codes + k * 1024;
        group_bytes = is_tail ? 1024 : part->n_steps * 64;
        _tile_loadd(6, rows + k * 1024, 64);
        MULTIPLY(0, 7)
        MULTIPLY(1, 7)
        MULTIPLY(2, 7)
        MULTIPLY(3, 7)
        MULTIPLY(4, 7)
        MULTIPLY(5, 7)
    }
}

ALWAYS void take(size_t n_groups, int32_t *sums){TAKE(0) TAKE(1) TAKE(2) TAKE(3) TAKE(4) TAKE(5)}

/* ---- distances and thresholds ---- */

/* While the tiles of one block are multiplied, the sums of the one before become distances. */
ALWAYS void all_rows(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                     size_t n_groups, const float *row_scale, const float *threshold, float *a,
                     uint64_t *mask, float *least)
{
    _Alignas(64) uint8_t packed[MOST_PIECES * 1024];
    _Alignas(64) int8_t tails[4 * 1024];
    _Alignas(64) int32_t sums[4 * 256];
    const int8_t *has_tails = tile->n_steps % 16 ? tails : NULL;
    if (has_tails)
        copy_tails(tile, tails);
    _tile_loadconfig(&all_whole);
    for (size_t at = 0; at < n_rows + BLOCK; at += BLOCK) {
        if (at < n_rows) {
            pack_rows(rows + at, n_rows - at < BLOCK ? n_rows - at : BLOCK, 4 * tile->n_steps,
                      packed);
            MEMORY_IS_READ();
            turn(tile, packed, has_tails, n_groups, sums);
        } else {
            take(n_groups, sums);
        }
        MEMORY_IS_READ();
        for (size_t r = at - BLOCK; at >= BLOCK && r < at && r < n_rows; r++)
            finish_row(tile, sums + 16 * (r % BLOCK), 256, NULL, n_groups, row_scale[r],
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

#define PART_BYTES 32768    /* of a part of a cell: it stays in the first cache */
#define PACKED_BYTES 131072 /* of rows at once: they stay in the second */
#define MOST_BLOCKS ((size_t)12)

/* Rows that pass by a cell together, in blocks. */
struct passing {
    const struct rt_int8_rows *rows; /* numbers[first..first + n) of them */
    size_t first, n;
    size_t n_bytes, n_blocks, n_pieces;
    uint8_t *packed; /* each block as pack_rows leaves it */
    float *scale;    /* of each row, and 0 for what fills the last block */
};

ALWAYS void pack_block(const struct passing *p, size_t block)
{
    const uint8_t *codes[BLOCK];
    size_t at = BLOCK * block;
    size_t n = p->n - at < BLOCK ? p->n - at : BLOCK;
    _mm512_store_ps(p->scale + at, _mm512_setzero_ps());
    rt_int8_rows_find(p->rows, p->first + at, n, codes, p->scale + at);
    pack_rows(codes, n, p->n_bytes, p->packed + block * p->n_pieces * 1024);
}

#define HALVES(x, y) _mm512_min_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y))
#define QUARTERS(x, y)                                                                             \
    _mm512_min_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd))

/* Lane r: the least of lanes[r]. */
ALWAYS __m512 least_of_rows(const __m512 *lanes)
{
    __m512 four[4];
    for (size_t i = 0; i < 4; i++) {
        const __m512 *of = lanes + 4 * i;
        four[i] = HALVES(HALVES(of[0], of[2]), HALVES(of[1], of[3]));
    }
    return QUARTERS(QUARTERS(four[0], four[1]), QUARTERS(four[2], four[3]));
}

/* Sums become distances; brings down the least of a block's rows. */
ALWAYS void lower(const struct rt_int8_tile *part, size_t n_groups, const int32_t *sums,
                  const float *row_scale, float *least)
{
    __m512 lanes[BLOCK];
#pragma GCC unroll 6
    for (size_t g = 0; g < n_groups; g++) {
        const __m512 scale = _mm512_loadu_ps(part->scale + 16 * g);
        const __m512 norm = _mm512_loadu_ps(part->norm + 16 * g);
#pragma GCC unroll 16
        for (size_t r = 0; r < BLOCK; r++) {
            const int32_t *sum = sums + 256 * g + 16 * r;
            __m512 a = _mm512_cvtepi32_ps(_mm512_load_si512((const void *)sum));
            a = _mm512_fmadd_ps(_mm512_set1_ps(row_scale[r]), _mm512_mul_ps(scale, a), norm);
            lanes[r] = g == 0 ? a : _mm512_min_ps(lanes[r], a);
        }
    }
    _mm512_store_ps(least, _mm512_min_ps(_mm512_load_ps(least), least_of_rows(lanes)));
}

/* Parts of n_groups each, which may overlap: a group looked at twice is as near. Each sees all
 * blocks; while the tiles of one are multiplied, the sums of the last become distances. */
ALWAYS void pass(const struct rt_int8_tile *cell, const struct passing *p, size_t n_groups,
                 float *least)
{
    _Alignas(64) int8_t tails[6 * 1024];
    _Alignas(64) int32_t sums[6 * 256];
    const int8_t *has_tails = cell->n_steps % 16 ? tails : NULL;
    size_t n_parts = (cell->n_groups + n_groups - 1) / n_groups;
    struct rt_int8_tile before = *cell;
    size_t last = p->n_blocks; /* there is none */
    pack_block(p, 0);
    for (size_t index = 0; index < n_parts; index++) {
        size_t group = index + 1 < n_parts ? index * n_groups : cell->n_groups - n_groups;
        struct rt_int8_tile part = rt_int8_tile_part(cell, group, n_groups);
        if (has_tails)
            copy_tails(&part, tails);
        for (size_t block = 0; block < p->n_blocks; block++) {
            MEMORY_IS_READ();
            turn(&part, p->packed + block * p->n_pieces * 1024, has_tails, n_groups, sums);
            MEMORY_IS_READ();
            if (index == 0 && block + 1 < p->n_blocks)
                pack_block(p, block + 1);
            if (last < p->n_blocks)
                lower(&before, n_groups, sums, p->scale + BLOCK * last, least + BLOCK * last);
            before = part;
            last = block;
        }
    }
    take(n_groups, sums);
    MEMORY_IS_READ();
    lower(&before, n_groups, sums, p->scale + BLOCK * last, least + BLOCK * last);
}

ALWAYS size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void int8_least(const struct rt_int8_tile *cell, const struct rt_int8_rows *rows,
                       float *least)
{
    _Alignas(64) uint8_t packed[PACKED_BYTES];
    _Alignas(64) float scale[MOST_BLOCKS * BLOCK];
    _Alignas(64) float low[MOST_BLOCKS * BLOCK];
    size_t n_pieces = (cell->n_steps + 15) / 16;
    size_t n_blocks = smaller(MOST_BLOCKS, PACKED_BYTES / 1024 / n_pieces);
    size_t at_once = n_blocks * BLOCK;
    size_t most_groups = smaller(6, PART_BYTES / 1024 / n_pieces);
    size_t n_parts = (cell->n_groups + most_groups - 1) / most_groups; /* of about the same size */
    size_t n_groups = n_parts ? (cell->n_groups + n_parts - 1) / n_parts : 0;
    if (rows->n < LEAST_ROWS || cell->n_steps > MOST_PIECES * 16) {
        rt_int8_least_vnni(cell, rows, least);
        return;
    }
    _tile_loadconfig(&all_whole);
    for (size_t at = 0; at < rows->n; at += at_once) {
        size_t n = rows->n - at < at_once ? rows->n - at : at_once;
        struct passing p = {rows,     at,     n,    4 * cell->n_steps, (n + BLOCK - 1) / BLOCK,
                            n_pieces, packed, scale};
        for (size_t r = 0; r < n; r += BLOCK)
            _mm512_store_ps(low + r, _mm512_set1_ps(INFINITY));
        switch (n_groups) {
        case 0:
            break;
        case 1:
            pass(cell, &p, 1, low);
            break;
        case 2:
            pass(cell, &p, 2, low);
            break;
        case 3:
            pass(cell, &p, 3, low);
            break;
        case 4:
            pass(cell, &p, 4, low);
            break;
        case 5:
            pass(cell, &p, 5, low);
            break;
        default:
            pass(cell, &p, 6, low);
        }
        memcpy(least + at, low, n * sizeof *low);
    }
    _tile_release();
}

/* ---- the greatest sum of each row ---- */

/* Sums begin with those of the centroids, the same for each of 16 rows: a stride of 0. */
#define BEGIN(g)                                                                                   \
    TAKE(g)                                                                                        \
    if (n_groups > (g)) {                                                                          \
        _tile_loadd(g, starts + (size_t)16 * (g), 0);                                              \
        _tile_loadd(7, codes + (size_t)1024 * (g), 64);                                            \
        _tile_dpbssd(g, 6, 7);                                                                     \
    }

ALWAYS void begin(const int8_t *codes, const int32_t *starts, const uint8_t *rows, size_t n_groups,
                  int32_t *sums)
{
    _tile_loadd(6, rows, 64);
    BEGIN(0)
    BEGIN(1)
    BEGIN(2)
    BEGIN(3)
    BEGIN(4)
    BEGIN(5)
}

#define HALVES_INT(x, y) _mm512_max_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y))
#define QUARTERS_INT(x, y)                                                                         \
    _mm512_max_epi32(_mm512_shuffle_i32x4(x, y, 0x88), _mm512_shuffle_i32x4(x, y, 0xdd))

/* Brings up the greatest of a block's rows. */
ALWAYS void raise(size_t n_groups, const int32_t *sums, int32_t *most)
{
    __m512i lanes[BLOCK];
    __m512i four[4];
#pragma GCC unroll 16
    for (size_t r = 0; r < BLOCK; r++) {
        lanes[r] = _mm512_load_si512((const void *)(sums + 16 * r));
#pragma GCC unroll 5
        for (size_t g = 1; g < n_groups; g++)
            lanes[r] = _mm512_max_epi32(lanes[r],
                                        _mm512_load_si512((const void *)(sums + 256 * g + 16 * r)));
    }
    for (size_t i = 0; i < 4; i++) {
        const __m512i *of = lanes + 4 * i;
        four[i] = HALVES_INT(HALVES_INT(of[0], of[2]), HALVES_INT(of[1], of[3]));
    }
    __m512i found = QUARTERS_INT(QUARTERS_INT(four[0], four[1]), QUARTERS_INT(four[2], four[3]));
    _mm512_store_si512((void *)most,
                       _mm512_max_epi32(_mm512_load_si512((const void *)most), found));
}

/* As pass, of rows no longer than a tile. */
ALWAYS void pass_sums(const struct rt_int8_cell *cell, const struct passing *p, size_t n_groups,
                      int32_t *most)
{
    _Alignas(64) int8_t tails[6 * 1024];
    _Alignas(64) int32_t sums[6 * 256];
    size_t n_parts = (cell->n_groups + n_groups - 1) / n_groups;
    size_t last = p->n_blocks; /* there is none */
    for (size_t index = 0; index < n_parts; index++) {
        size_t group = index + 1 < n_parts ? index * n_groups : cell->n_groups - n_groups;
        const int8_t *codes = cell->codes + group * cell->n_steps * 64;
        struct rt_int8_tile part = {.codes = codes, .n_groups = n_groups, .n_steps = cell->n_steps};
        if (cell->n_steps % 16) {
            copy_tails(&part, tails);
            codes = tails;
        }
        for (size_t block = 0; block < p->n_blocks; block++) {
            MEMORY_IS_READ();
            begin(codes, cell->starts + 16 * group, p->packed + block * 1024, n_groups, sums);
            MEMORY_IS_READ();
            if (last < p->n_blocks)
                raise(n_groups, sums, most + BLOCK * last);
            last = block;
        }
    }
    take(n_groups, sums);
    MEMORY_IS_READ();
    raise(n_groups, sums, most + BLOCK * last);
}

/* Those numbered first.. of rows, packed in blocks. */
ALWAYS void pack_passing(const struct passing *p)
{
    for (size_t at = 0; at < p->n; at += BLOCK) {
        const uint8_t *codes[BLOCK];
        size_t n = smaller(BLOCK, p->n - at);
        for (size_t r = 0; r < n; r++)
            codes[r] = rt_int8_row(p->rows, p->first + at + r);
        pack_rows(codes, n, p->n_bytes, p->packed + at / BLOCK * 1024);
    }
}

static void int8_most(const struct rt_int8_cell *cell, const struct rt_int8_rows *rows,
                      int32_t *most)
{
    _Alignas(64) uint8_t packed[MOST_BLOCKS * 1024];
    _Alignas(64) int32_t found[MOST_BLOCKS * BLOCK];
    size_t n_parts = (cell->n_groups + 5) / 6; /* of about the same size */
    size_t n_groups = n_parts ? (cell->n_groups + n_parts - 1) / n_parts : 0;
    if (rows->n < LEAST_ROWS || cell->n_steps > 16 || n_groups == 0) {
        rt_int8_most_vnni(cell, rows, most);
        return;
    }
    _tile_loadconfig(&all_whole);
    for (size_t at = 0; at < rows->n; at += MOST_BLOCKS * BLOCK) {
        size_t n = smaller(MOST_BLOCKS * BLOCK, rows->n - at);
        struct passing p = {rows, at,     n,   4 * cell->n_steps, (n + BLOCK - 1) / BLOCK,
                            1,    packed, NULL};
        pack_passing(&p);
        for (size_t r = 0; r < n; r += BLOCK)
            _mm512_store_si512((void *)(found + r), _mm512_set1_epi32(INT32_MIN));
        switch (n_groups) {
        case 1:
            pass_sums(cell, &p, 1, found);
            break;
        case 2:
            pass_sums(cell, &p, 2, found);
            break;
        case 3:
            pass_sums(cell, &p, 3, found);
            break;
        case 4:
            pass_sums(cell, &p, 4, found);
            break;
        case 5:
            pass_sums(cell, &p, 5, found);
            break;
        default:
            pass_sums(cell, &p, 6, found);
        }
        memcpy(most + at, found, n * sizeof *most);
    }
    _tile_release();
}

void rt_kernels_avx512_amx(struct rt_kernels *table)
{
    table->int8_tile = int8_tile;
    table->int8_least = int8_least;
    table->int8_most = int8_most;
}
