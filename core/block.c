#include "core/block.h"

/* Byte of a row in each group; its nibble is the low one for rows 0..15, the high one above. The
 * order lets one byte shuffle look up 16 rows, with rows w and w + 8 in one 16-bit word (rabitq.md
 * 5). */
static unsigned byte_of(uint32_t place)
{
    return 2 * (place % 8) + place % 16 / 8;
}

void rt_block_put(uint8_t *block, uint32_t dim, uint32_t place, const uint8_t *code)
{
    uint8_t *byte = block + byte_of(place);
    unsigned shift = place / 16 * 4;
    for (uint32_t g = 0; g < rt_block_groups(dim); g++) {
        unsigned nibble = (unsigned)code[g / 2] >> g % 2 * 4 & 15;
        byte[(size_t)g * 16] = (uint8_t)(byte[(size_t)g * 16] | nibble << shift);
    }
}

void rt_block_pack(uint8_t *block, uint32_t dim, const uint8_t *const codes[RT_BLOCK_ROWS])
{
    uint32_t n_groups = rt_block_groups(dim);
    for (uint32_t g = 0; g < n_groups; g += 2, block += 32) {
        uint8_t low[16], high[16]; /* the byte of two groups, of rows 0..15 and 16..31 */
        for (uint32_t place = 0; place < 16; place++) {
            low[byte_of(place)] = codes[place][g / 2];
            high[byte_of(place)] = codes[place + 16][g / 2];
        }
        for (uint32_t i = 0; i < 16; i++)
            block[i] = (uint8_t)((low[i] & 15) | high[i] << 4);
        for (uint32_t i = 0; i < 16 && g + 1 < n_groups; i++)
            block[16 + i] = (uint8_t)(low[i] >> 4 | (high[i] & 0xf0));
    }
}

void rt_block_get(const uint8_t *block, uint32_t dim, uint32_t place, uint8_t *code)
{
    const uint8_t *byte = block + byte_of(place);
    unsigned shift = place / 16 * 4;
    for (uint32_t g = 0; g < rt_block_groups(dim); g++) {
        unsigned nibble = (unsigned)byte[(size_t)g * 16] >> shift & 15;
        code[g / 2] = (uint8_t)(g % 2 ? code[g / 2] | nibble << 4 : nibble);
    }
}
