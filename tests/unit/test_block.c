#include "core/block.h"
#include "core/code.h"
#include "core/random.h"
#include "tests/rt_test.h"

static const uint32_t dims[] = {1, 2, 3, 4, 5, 7, 8, 13, 31, 64, 100, 127, 128, 129, 768, 4097};
#define N_DIMS (sizeof dims / sizeof *dims)

static void draw_code(uint32_t dim, uint64_t row, uint8_t *code)
{
    memset(code, 0, rt_code_bytes(dim));
    for (uint32_t i = 0; i < dim; i++)
        if (rt_random(1, RT_RANDOM_TEST, row, i, dim) >> 63)
            code[i / 8] = (uint8_t)(code[i / 8] | 1u << i % 8);
}

RT_TEST("32 codes put into a block come out again, at any dimension")
{
    for (size_t d = 0; d < N_DIMS; d++) {
        uint32_t dim = dims[d];
        uint8_t *block = calloc(1, rt_block_code_bytes(dim));
        uint8_t code[1024];
        uint8_t back[1024];
        for (uint32_t row = 0; row < RT_BLOCK_ROWS; row++) {
            draw_code(dim, row, code);
            rt_block_put(block, dim, row, code);
        }
        for (uint32_t row = 0; row < RT_BLOCK_ROWS; row++) {
            draw_code(dim, row, code);
            memset(back, 0xaa, sizeof back);
            rt_block_get(block, dim, row, back);
            CHECK(memcmp(code, back, rt_code_bytes(dim)) == 0);
        }
        free(block);
    }
}

RT_TEST("a group's bytes hold rows 0|16, 8|24, 1|17, .. 15|31, the lower row in the low nibble")
{
    enum { DIM = 11, GROUPS = 3 };
    static const unsigned low[16] = {0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15};
    uint8_t codes[32][2];
    uint8_t block[GROUPS * 16] = {0};
    for (uint32_t row = 0; row < 32; row++) {
        draw_code(DIM, row, codes[row]);
        rt_block_put(block, DIM, row, codes[row]);
    }
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned j = 0; j < 16; j++) {
            unsigned first = codes[low[j]][g / 2] >> g % 2 * 4 & 15;
            unsigned second = codes[low[j] + 16][g / 2] >> g % 2 * 4 & 15;
            CHECK(block[g * 16 + j] == (first | second << 4));
        }
}

RT_TEST("32 codes packed at once are the block that 32 put one by one give")
{
    for (size_t d = 0; d < N_DIMS; d++) {
        uint32_t dim = dims[d];
        size_t n_bytes = rt_block_code_bytes(dim);
        uint8_t *block = calloc(1, n_bytes);
        uint8_t *packed = malloc(n_bytes);
        uint8_t codes[32][1024];
        const uint8_t *rows[32];
        memset(packed, 0x5a, n_bytes);
        for (uint32_t row = 0; row < 32; row++) {
            draw_code(dim, row, codes[row]);
            rt_block_put(block, dim, row, codes[row]);
            rows[row] = codes[row];
        }
        rt_block_pack(packed, dim, rows);
        CHECK(memcmp(block, packed, n_bytes) == 0);
        free(block);
        free(packed);
    }
}

RT_TEST("places that no row fills stay zero")
{
    uint8_t block[32] = {0};
    uint8_t code[1] = {0xff};
    uint8_t back[1];
    rt_block_put(block, 8, 5, code);
    for (uint32_t row = 0; row < 32; row++) {
        rt_block_get(block, 8, row, back);
        CHECK(back[0] == (row == 5 ? 0xff : 0));
    }
}

RT_TEST_MAIN()
