/* XXH3, the one hash of every checksum, fingerprint and digest. */
#ifndef RT_CORE_CHECKSUM_H
#define RT_CORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

struct rt_hash128 {
    uint64_t low, high;
};
uint64_t rt_hash64(const void *data, size_t n_bytes);
struct rt_hash128 rt_hash128(const void *data, size_t n_bytes);
/* Sum modulo 2^128: the digest's order-free sum of row hashes (K1). */
struct rt_hash128 rt_hash128_add(struct rt_hash128 a, struct rt_hash128 b);
/* A sum of hashes as numbers that may be added one by one in any order, up to 2^32 of them. */
#define RT_HASH128_LIMBS 4
void rt_hash128_add_limbs(struct rt_hash128 hash, uint64_t limbs[RT_HASH128_LIMBS]);
struct rt_hash128 rt_hash128_of_limbs(const uint64_t limbs[RT_HASH128_LIMBS]);
struct rt_hash128 rt_hash128_subtract(struct rt_hash128 a, struct rt_hash128 b);
/* 32 lower-case hex digits (high first) and a NUL. */
void rt_hash128_hex(struct rt_hash128 hash, char text[33]);
int rt_hash128_parse(const char *text,
                     struct rt_hash128 *out); /* 0, or -1 where it is not 32 hex digits */

/* A hash over several pieces. */
struct rt_hasher;
struct rt_hasher *rt_hasher_new(void); /* NULL: out of memory */
void rt_hasher_free(struct rt_hasher *hasher);
void rt_hasher_reset(struct rt_hasher *hasher);
void rt_hasher_add(struct rt_hasher *hasher, const void *data, size_t n_bytes);
uint64_t rt_hasher_end64(const struct rt_hasher *hasher);
struct rt_hash128 rt_hasher_end128(const struct rt_hasher *hasher);

#endif
