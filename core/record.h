/* A code record: what an index keeps for one row. Here its hash, the part of the digest that rows
 * make (K1), and the bytes that are hashed. */
#ifndef RT_CORE_RECORD_H
#define RT_CORE_RECORD_H

#include "core/checksum.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* XXH3-128 over list (u32), id (u64), code bytes and factor bits, little-endian and packed. The
 * digest adds these up with rt_hash128_add: no order, a list may be cut between ranks. code_bytes
 * <= 8192, n_factors <= RT_MAX_FACTORS. */
struct rt_hash128 rt_record_hash(uint32_t list, uint64_t id, const uint8_t *code,
                                 uint32_t code_bytes, const float *factors, uint32_t n_factors);

#define RT_RECORD_HEAD (sizeof(uint32_t) + sizeof(uint64_t)) /* list, id */

/* The bytes that are hashed, packed: list, id, code, factors; from their columns and back. In the
 * header, as they run once a row in loops that do little else. */
static inline size_t rt_record_packed_bytes(uint32_t code_bytes, uint32_t n_factors)
{
    return RT_RECORD_HEAD + code_bytes + (size_t)n_factors * sizeof(float);
}

/* Keeps a loop what it is: compilers put a call of memmove in its place. */
#define RT_RECORD_WORD_BY_WORD(n) __asm__("" : "+r"(n))

/* memcpy of a few bytes whose number is known only now: words, and no call. */
static inline void rt_record_copy(unsigned char *restrict to, const void *restrict bytes, size_t n)
{
    const unsigned char *from = (const unsigned char *)bytes;
    for (; n >= 16; n -= 16, to += 16, from += 16) {
        memcpy(to, from, 16);
        RT_RECORD_WORD_BY_WORD(n);
    }
    for (; n >= 4; n -= 4, to += 4, from += 4) {
        memcpy(to, from, 4);
        RT_RECORD_WORD_BY_WORD(n);
    }
    for (; n > 0; n--) {
        *to++ = *from++;
        RT_RECORD_WORD_BY_WORD(n);
    }
}

static inline void rt_record_pack(uint32_t list, uint64_t id, const uint8_t *code,
                                  uint32_t code_bytes, const float *factors, uint32_t n_factors,
                                  unsigned char *out)
{
    memcpy(out, &list, sizeof list);
    memcpy(out + sizeof list, &id, sizeof id);
    rt_record_copy(out + RT_RECORD_HEAD, code, code_bytes);
    rt_record_copy(out + RT_RECORD_HEAD + code_bytes, factors, (size_t)n_factors * sizeof *factors);
}

struct rt_record_view {
    uint32_t list;
    uint64_t id;
    const uint8_t *code;          /* these two point into the packed bytes */
    const unsigned char *factors; /* f32, not aligned */
};

static inline void rt_record_unpack(const unsigned char *packed, uint32_t code_bytes,
                                    struct rt_record_view *out)
{
    memcpy(&out->list, packed, sizeof out->list);
    memcpy(&out->id, packed + sizeof out->list, sizeof out->id);
    out->code = packed + RT_RECORD_HEAD;
    out->factors = packed + RT_RECORD_HEAD + code_bytes;
}

#endif
