/* A code record: what an index keeps for one row. Here its hash, the part of the digest that rows
 * make (K1), and the bytes that are hashed. */
#ifndef RT_CORE_RECORD_H
#define RT_CORE_RECORD_H

#include "core/checksum.h"

#include <stddef.h>
#include <stdint.h>

/* XXH3-128 over list (u32), id (u64), code bytes and factor bits, little-endian and packed. The
 * digest adds these up with rt_hash128_add: no order, a list may be cut between ranks. code_bytes
 * <= 8192, n_factors <= RT_MAX_FACTORS. */
struct rt_hash128 rt_record_hash(uint32_t list, uint64_t id, const uint8_t *code,
                                 uint32_t code_bytes, const float *factors, uint32_t n_factors);

/* The bytes that are hashed, packed: list, id, code, factors; from their columns and back. */
size_t rt_record_packed_bytes(uint32_t code_bytes, uint32_t n_factors);
void rt_record_pack(uint32_t list, uint64_t id, const uint8_t *code, uint32_t code_bytes,
                    const float *factors, uint32_t n_factors, unsigned char *out);
struct rt_record_view {
    uint32_t list;
    uint64_t id;
    const uint8_t *code;          /* these two point into the packed bytes */
    const unsigned char *factors; /* f32, not aligned */
};
void rt_record_unpack(const unsigned char *packed, uint32_t code_bytes, struct rt_record_view *out);

#endif
