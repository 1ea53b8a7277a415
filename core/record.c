#include "core/record.h"

#define MOST_CODE_BYTES 8192
#define MOST_FACTORS 4

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and hashes are little-endian");

struct rt_hash128 rt_record_hash(uint32_t list, uint64_t id, const uint8_t *code,
                                 uint32_t code_bytes, const float *factors, uint32_t n_factors)
{
    unsigned char bytes[RT_RECORD_HEAD + MOST_CODE_BYTES + sizeof(float) * MOST_FACTORS];
    rt_record_pack(list, id, code, code_bytes, factors, n_factors, bytes);
    return rt_hash128(bytes, rt_record_packed_bytes(code_bytes, n_factors));
}
