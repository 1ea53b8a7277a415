#include "core/checksum.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct rt_hasher {
    XXH3_state_t *state;
};

uint64_t rt_hash64(const void *data, size_t n_bytes)
{
    return XXH3_64bits(data, n_bytes);
}

static struct rt_hash128 from_xxh(XXH128_hash_t hash)
{
    return (struct rt_hash128){hash.low64, hash.high64};
}

struct rt_hash128 rt_hash128(const void *data, size_t n_bytes)
{
    return from_xxh(XXH3_128bits(data, n_bytes));
}

struct rt_hash128 rt_hash128_add(struct rt_hash128 a, struct rt_hash128 b)
{
    struct rt_hash128 sum = {a.low + b.low, a.high + b.high};
    sum.high += sum.low < a.low;
    return sum;
}

struct rt_hash128 rt_hash128_subtract(struct rt_hash128 a, struct rt_hash128 b)
{
    return (struct rt_hash128){.low = a.low - b.low, .high = a.high - b.high - (a.low < b.low)};
}

void rt_hash128_add_limbs(struct rt_hash128 hash, uint64_t limbs[RT_HASH128_LIMBS])
{
    limbs[0] += hash.low & UINT32_MAX;
    limbs[1] += hash.low >> 32;
    limbs[2] += hash.high & UINT32_MAX;
    limbs[3] += hash.high >> 32;
}

struct rt_hash128 rt_hash128_of_limbs(const uint64_t limbs[RT_HASH128_LIMBS])
{
    struct rt_hash128 sum = {limbs[0], 0};
    sum = rt_hash128_add(sum, (struct rt_hash128){limbs[1] << 32, limbs[1] >> 32});
    sum = rt_hash128_add(sum, (struct rt_hash128){0, limbs[2]});
    return rt_hash128_add(sum, (struct rt_hash128){0, limbs[3] << 32});
}

void rt_hash128_hex(struct rt_hash128 hash, char text[33])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        text[i] = digits[hash.high >> (60 - 4 * i) & 15];
        text[16 + i] = digits[hash.low >> (60 - 4 * i) & 15];
    }
    text[32] = '\0';
}

static int parse64(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return -1; /* the NUL of a shorter text too */
        value = value << 4 | digit;
    }
    *out = value;
    return 0;
}

int rt_hash128_parse(const char *text, struct rt_hash128 *out)
{
    struct rt_hash128 hash;
    if (parse64(text, &hash.high) || parse64(text + 16, &hash.low) || text[32] != '\0')
        return -1;
    *out = hash;
    return 0;
}

struct rt_hasher *rt_hasher_new(void)
{
    struct rt_hasher *hasher = malloc(sizeof *hasher);
    if (!hasher)
        return NULL;
    hasher->state = XXH3_createState(); /* aligned as XXH3 wants */
    if (!hasher->state) {
        free(hasher);
        return NULL;
    }
    rt_hasher_reset(hasher);
    return hasher;
}

void rt_hasher_free(struct rt_hasher *hasher)
{
    if (!hasher)
        return;
    (void)XXH3_freeState(hasher->state);
    free(hasher);
}

void rt_hasher_reset(struct rt_hasher *hasher)
{
    (void)XXH3_128bits_reset(hasher->state); /* the same as for 64 bits */
}

void rt_hasher_add(struct rt_hasher *hasher, const void *data, size_t n_bytes)
{
    (void)XXH3_128bits_update(hasher->state, data, n_bytes);
}

uint64_t rt_hasher_end64(const struct rt_hasher *hasher)
{
    return XXH3_64bits_digest(hasher->state);
}

struct rt_hash128 rt_hasher_end128(const struct rt_hasher *hasher)
{
    return from_xxh(XXH3_128bits_digest(hasher->state));
}
