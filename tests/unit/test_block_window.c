/* Records come in any order and leave as packed blocks: the same that are packed one by one, with
 * the sum of their hashes. */
#include "tests/rt_test.h"

#include "core/block.h"
#include "core/code.h"
#include "core/random.h"
#include "core/record.h"
#include "io/format.h"
#include "jobs/phases/block_window.h"

#include <string.h>

enum { N_BLOCKS = 150, N_FACTORS = 3, N_SLOTS = N_BLOCKS * 32, DIM_MOST = 129, CODE_MOST = 17 };

static unsigned char record[256];

/* Slot `slot`'s record, where it has one. */
static struct rt_hash128 make(uint32_t dim, uint64_t slot, struct rt_place *place, uint8_t *code,
                              float *factors)
{
    *place = (struct rt_place){(uint32_t)(slot % 7), (uint32_t)slot};
    memset(code, 0, CODE_MOST);
    for (uint32_t i = 0; i < dim; i++)
        if (rt_random(2, RT_RANDOM_TEST, slot, i, dim) >> 63)
            code[i / 8] = (uint8_t)(code[i / 8] | 1u << i % 8);
    for (uint32_t f = 0; f < N_FACTORS; f++)
        factors[f] = (float)slot + (float)f / 8;
    uint32_t at = (uint32_t)slot;
    memcpy(record, &at, sizeof at);
    memcpy(record + sizeof at, place, sizeof *place);
    rt_record_pack((uint32_t)slot / 100, slot * 3, code, rt_code_bytes(dim), factors, N_FACTORS,
                   record + sizeof at + sizeof *place);
    return rt_record_hash((uint32_t)slot / 100, slot * 3, code, rt_code_bytes(dim), factors,
                          N_FACTORS);
}

static bool is_there(uint64_t slot)
{
    return slot % 100 < 93 && slot / 32 != 64; /* lists end within blocks; one block is empty */
}

static void check_block(const struct rt_list_blocks *blocks, uint64_t at, uint64_t block,
                        uint32_t dim)
{
    uint8_t expected[16 * ((DIM_MOST + 3) / 4)] = {0};
    size_t n_bytes = rt_block_code_bytes(dim);
    for (uint32_t row = 0; row < 32; row++) {
        struct rt_place place = {0, 0};
        uint8_t code[CODE_MOST];
        float factors[N_FACTORS] = {0};
        uint64_t slot = block * 32 + row;
        if (is_there(slot)) {
            (void)make(dim, slot, &place, code, factors);
            rt_block_put(expected, dim, row, code);
        }
        CHECK(blocks->ids[at * 32 + row] == (is_there(slot) ? slot * 3 : RT_NO_ID));
        CHECK(memcmp(&blocks->places[at * 32 + row], &place, sizeof place) == 0);
        for (uint32_t f = 0; f < N_FACTORS; f++)
            CHECK(blocks->factors[(at * N_FACTORS + f) * 32 + row] == factors[f]);
    }
    CHECK(memcmp(blocks->codes + at * n_bytes, expected, n_bytes) == 0);
}

RT_TEST("blocks packed from a window are those packed record by record")
{
    static const uint32_t dims[] = {1, 5, 8, 100, 128, DIM_MOST};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        struct rt_error err;
        struct rt_block_window *window = NULL;
        struct rt_hash128 sum = {0, 0};
        struct rt_hash128 found = {0, 0};
        REQUIRE(rt_block_window_wire_bytes(dims[d], N_FACTORS) <= sizeof record);
        CHECK_OK(rt_block_window_new(dims[d], N_FACTORS, N_BLOCKS, &window, &err));
        for (int turn = 0; turn < 2; turn++) { /* a window is filled again and again */
            sum = found = (struct rt_hash128){0, 0};
            rt_block_window_clear(window, N_BLOCKS);
            for (uint64_t i = 0; i < N_SLOTS; i++) {
                uint64_t slot = i * 1237 % N_SLOTS; /* prime to it */
                struct rt_place place;
                uint8_t code[CODE_MOST];
                float factors[N_FACTORS];
                if (!is_there(slot))
                    continue;
                sum = rt_hash128_add(sum, make(dims[d], slot, &place, code, factors));
                CHECK(rt_block_window_take(window, record, 1));
            }
            struct rt_list_blocks blocks;
            for (uint64_t first = 0; first < N_BLOCKS; first += blocks.n_blocks) {
                uint64_t n =
                    N_BLOCKS - first < RT_WINDOW_BATCH ? N_BLOCKS - first : RT_WINDOW_BATCH;
                rt_block_window_pack(window, first, n, &blocks, &found);
                for (uint64_t at = 0; at < n; at++)
                    check_block(&blocks, at, first + at, dims[d]);
            }
            CHECK(memcmp(&sum, &found, sizeof sum) == 0);
        }
        struct rt_place place;
        uint8_t code[CODE_MOST];
        float factors[N_FACTORS];
        (void)make(dims[d], N_SLOTS - 1, &place, code, factors);
        rt_block_window_clear(window, N_BLOCKS - 1);
        CHECK(!rt_block_window_take(window, record, 1)); /* one block too far */
        rt_block_window_free(window);
    }
}

RT_TEST_MAIN()
