#include "core/record.h"

#include <string.h>

#define MOST_CODE_BYTES 8192
#define MOST_FACTORS 4

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and hashes are little-endian");

#define HEAD (sizeof(uint32_t) + sizeof(uint64_t)) /* list, id */

size_t rt_record_packed_bytes(uint32_t code_bytes, uint32_t n_factors)
{
    return HEAD + code_bytes + (size_t)n_factors * sizeof(float);
}

void rt_record_pack(uint32_t list, uint64_t id, const uint8_t *code, uint32_t code_bytes,
                    const float *factors, uint32_t n_factors, unsigned char *out)
{
    memcpy(out, &list, sizeof list);
    memcpy(out + sizeof list, &id, sizeof id);
    memcpy(out + HEAD, code, code_bytes);
    memcpy(out + HEAD + code_bytes, factors, (size_t)n_factors * sizeof *factors);
}

void rt_record_unpack(const unsigned char *packed, uint32_t code_bytes, struct rt_record_view *out)
{
    memcpy(&out->list, packed, sizeof out->list);
    memcpy(&out->id, packed + sizeof out->list, sizeof out->id);
    out->code = packed + HEAD;
    out->factors = packed + HEAD + code_bytes;
}

struct rt_hash128 rt_record_hash(uint32_t list, uint64_t id, const uint8_t *code,
                                 uint32_t code_bytes, const float *factors, uint32_t n_factors)
{
    unsigned char bytes[HEAD + MOST_CODE_BYTES + sizeof(float) * MOST_FACTORS];
    rt_record_pack(list, id, code, code_bytes, factors, n_factors, bytes);
    return rt_hash128(bytes, rt_record_packed_bytes(code_bytes, n_factors));
}
