#include "core/record.h"

#include <string.h>

#define MOST_CODE_BYTES 8192
#define MOST_FACTORS 4

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and hashes are little-endian");

struct rt_hash128 rt_record_hash(uint32_t list, uint64_t id, const uint8_t *code,
                                 uint32_t code_bytes, const float *factors, uint32_t n_factors)
{
    unsigned char bytes[4 + 8 + MOST_CODE_BYTES + 4 * MOST_FACTORS];
    size_t at = 0;
    memcpy(bytes + at, &list, 4);
    at += 4;
    memcpy(bytes + at, &id, 8);
    at += 8;
    memcpy(bytes + at, code, code_bytes);
    at += code_bytes;
    memcpy(bytes + at, factors, (size_t)n_factors * 4);
    at += (size_t)n_factors * 4;
    return rt_hash128(bytes, at);
}
