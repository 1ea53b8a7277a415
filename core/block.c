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

void rt_block_get(const uint8_t *block, uint32_t dim, uint32_t place, uint8_t *code)
{
    const uint8_t *byte = block + byte_of(place);
    unsigned shift = place / 16 * 4;
    for (uint32_t g = 0; g < rt_block_groups(dim); g++) {
        unsigned nibble = (unsigned)byte[(size_t)g * 16] >> shift & 15;
        code[g / 2] = (uint8_t)(g % 2 ? code[g / 2] | nibble << 4 : nibble);
    }
}
