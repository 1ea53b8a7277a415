/* 32 codes packed for the fast scan (4 bits a dimension group, layout in docs/format.md), and back.
 */
#ifndef RT_CORE_BLOCK_H
#define RT_CORE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#define RT_BLOCK_ROWS 32u

static inline uint32_t rt_block_groups(uint32_t dim)
{
    return (dim + 3) / 4;
}
/* Blocks that so many rows of a list take. */
static inline uint64_t rt_block_count(uint64_t n_rows)
{
    return n_rows / RT_BLOCK_ROWS + (n_rows % RT_BLOCK_ROWS != 0);
}
/* Bytes of one packed block's codes: 16 a group. */
static inline size_t rt_block_code_bytes(uint32_t dim)
{
    return (size_t)rt_block_groups(dim) * 16;
}
/* Puts row `place` (0..31)'s code (rt_code_bytes) into a block whose bytes for that place are zero.
 */
void rt_block_put(uint8_t *block, uint32_t dim, uint32_t place, const uint8_t *code);
/* Takes it out again. */
void rt_block_get(const uint8_t *block, uint32_t dim, uint32_t place, uint8_t *code);
/* All 32 rows at once, over what the block held. */
void rt_block_pack(uint8_t *block, uint32_t dim, const uint8_t *const codes[RT_BLOCK_ROWS]);

#endif
