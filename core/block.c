#include "core/block.h"

#include <stdbool.h>
#include <string.h>

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

/* ---- all rows at once ---- */

enum { WORD = 8, SETS = RT_BLOCK_ROWS / WORD };
/* A word of each set of 8 rows. */
typedef uint64_t words __attribute__((vector_size(RT_BLOCK_ROWS)));
#define LOW_NIBBLES UINT64_C(0x0f0f0f0f0f0f0f0f)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte i of a word is bits 8 i and up");

/* Row i of set s, so that a set's bytes lie together in a group: sets 0 and 1 are the low nibbles
 * of its bytes 0..7 and 8..15, sets 2 and 3 the high ones. */
static inline uint32_t place_of(uint32_t s, uint32_t i)
{
    return s / 2 * 16 + s % 2 * 4 + i / 2 + i % 2 * 8;
}

/* Bytes [first, first + n) of every row's code. */
static inline void take_bytes(words rows[WORD], const uint8_t *const codes[RT_BLOCK_ROWS],
                              uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < WORD; i++) {
        uint64_t sets[SETS] = {0};
        for (uint32_t s = 0; s < SETS; s++)
            memcpy(&sets[s], codes[place_of(s, i)] + first, n);
        memcpy(&rows[i], sets, sizeof sets);
    }
}

/* One step of the transposition below: of rows that lie so far apart, the one's bytes that do not
 * stay and the other's that do change places. */
static inline void exchange(words rows[WORD], unsigned apart, uint64_t stays)
{
    for (unsigned i = 0; i < WORD; i += i % (2 * apart) == apart - 1 ? apart + 1 : 1) {
        words changed = (rows[i] >> 8 * apart ^ rows[i + apart]) & stays;
        rows[i + apart] ^= changed;
        rows[i] ^= changed << 8 * apart;
    }
}

/* Byte c of rows[i] and byte i of rows[c] change places, in every set. */
static inline void transpose(words rows[WORD])
{
    exchange(rows, 1, UINT64_C(0x00ff00ff00ff00ff));
    exchange(rows, 2, UINT64_C(0x0000ffff0000ffff));
    exchange(rows, 4, UINT64_C(0x00000000ffffffff));
}

/* Two groups from one byte of every row. */
static inline void put_groups(uint8_t *groups, const words *bytes, bool both)
{
    uint64_t s[SETS];
    memcpy(s, bytes, sizeof s);
    const uint64_t of_low[] = {(s[0] & LOW_NIBBLES) | (s[2] & LOW_NIBBLES) << 4,
                               (s[1] & LOW_NIBBLES) | (s[3] & LOW_NIBBLES) << 4};
    const uint64_t of_high[] = {(s[0] >> 4 & LOW_NIBBLES) | (s[2] & ~LOW_NIBBLES),
                                (s[1] >> 4 & LOW_NIBBLES) | (s[3] & ~LOW_NIBBLES)};
    memcpy(groups, of_low, sizeof of_low);
    if (both)
        memcpy(groups + sizeof of_low, of_high, sizeof of_high);
}

void rt_block_pack(uint8_t *block, uint32_t dim, const uint8_t *const codes[RT_BLOCK_ROWS])
{
    uint32_t n_groups = rt_block_groups(dim);
    uint32_t n_bytes = (n_groups + 1) / 2;
    for (uint32_t first = 0; first < n_bytes; first += WORD) {
        words rows[WORD];
        uint32_t n = n_bytes - first < WORD ? n_bytes - first : WORD;
        if (n == WORD) /* a size known when compiling: plain loads */
            take_bytes(rows, codes, first, WORD);
        else
            take_bytes(rows, codes, first, n);
        transpose(rows);
        for (uint32_t c = 0; c < n; c++, block += 32)
            put_groups(block, &rows[c], 2 * (first + c) + 1 < n_groups);
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
