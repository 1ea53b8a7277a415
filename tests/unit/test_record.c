#include "core/random.h"
#include "core/record.h"
#include "tests/rt_test.h"

#include <stdbool.h>

#define MOST_CODE 120u
#define MOST_FACTORS 4u

struct record {
    uint32_t list;
    uint64_t id;
    uint32_t code_bytes, n_factors;
    uint8_t code[MOST_CODE];
    float factors[MOST_FACTORS];
};

static struct record any_record(uint64_t number)
{
    struct record r;
    r.list = (uint32_t)rt_random(1, RT_RANDOM_TEST, number, 0, 0);
    r.id = rt_random(1, RT_RANDOM_TEST, number, 1, 0);
    r.code_bytes =
        (uint32_t)rt_random_below(rt_random(1, RT_RANDOM_TEST, number, 2, 0), MOST_CODE + 1);
    r.n_factors =
        (uint32_t)rt_random_below(rt_random(1, RT_RANDOM_TEST, number, 3, 0), MOST_FACTORS + 1);
    for (uint32_t i = 0; i < MOST_CODE; i++)
        r.code[i] = (uint8_t)rt_random(1, RT_RANDOM_TEST, number, 4, i);
    for (uint32_t i = 0; i < MOST_FACTORS; i++)
        r.factors[i] = (float)i * 0.37f - (float)(number % 7);
    return r;
}

static struct rt_hash128 hash_of(const struct record *r)
{
    return rt_record_hash(r->list, r->id, r->code, r->code_bytes, r->factors, r->n_factors);
}

static bool equal(struct rt_hash128 a, struct rt_hash128 b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

RT_TEST("what is packed comes back, and nothing is written beyond it")
{
    for (uint64_t number = 0; number < 500; number++) {
        struct record r = any_record(number);
        unsigned char packed[RT_RECORD_HEAD + MOST_CODE + sizeof(float) * MOST_FACTORS + 1];
        size_t n = rt_record_packed_bytes(r.code_bytes, r.n_factors);
        memset(packed, 0xa5, sizeof packed);
        rt_record_pack(r.list, r.id, r.code, r.code_bytes, r.factors, r.n_factors, packed);
        for (size_t i = n; i < sizeof packed; i++)
            CHECK(packed[i] == 0xa5);
        struct rt_record_view view;
        rt_record_unpack(packed, r.code_bytes, &view);
        CHECK(view.list == r.list);
        CHECK(view.id == r.id);
        CHECK(memcmp(view.code, r.code, r.code_bytes) == 0);
        CHECK(memcmp(view.factors, r.factors, r.n_factors * sizeof(float)) == 0);
        CHECK(equal(hash_of(&r), rt_hash128(packed, n)));
    }
}

RT_TEST("the packed bytes are those of the format")
{
    const uint8_t code[3] = {1, 2, 3};
    const float factor = 1.0f; /* 0x3f800000 */
    const unsigned char expected[] = {4, 3, 2, 1, 8, 7, 6, 5,    4,   3,
                                      2, 1, 1, 2, 3, 0, 0, 0x80, 0x3f};
    unsigned char packed[sizeof expected];
    CHECK(rt_record_packed_bytes(3, 1) == sizeof expected);
    rt_record_pack(0x01020304, UINT64_C(0x0102030405060708), code, 3, &factor, 1, packed);
    CHECK(memcmp(packed, expected, sizeof expected) == 0);
}

RT_TEST("any one bit of a record changes its hash")
{
    struct record r = any_record(7);
    r.code_bytes = 16;
    r.n_factors = 3;
    struct rt_hash128 whole = hash_of(&r);
    for (uint32_t bit = 0; bit < 64; bit++) {
        struct record other = r;
        other.id ^= UINT64_C(1) << bit;
        CHECK(!equal(hash_of(&other), whole));
        other = r;
        other.list ^= UINT32_C(1) << bit % 32;
        CHECK(!equal(hash_of(&other), whole));
        other = r;
        other.code[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!equal(hash_of(&other), whole));
    }
    for (uint32_t i = 0; i < r.n_factors; i++) {
        struct record other = r;
        other.factors[i] += 1;
        CHECK(!equal(hash_of(&other), whole));
    }
}

RT_TEST("a set of records has one sum in any order, and taking one away undoes adding it")
{
    struct rt_hash128 up = {0}, down = {0}, without = {0};
    for (uint64_t i = 0; i < 100; i++) {
        struct record a = any_record(i), b = any_record(99 - i);
        up = rt_hash128_add(up, hash_of(&a));
        down = rt_hash128_add(down, hash_of(&b));
        if (i != 40)
            without = rt_hash128_add(without, hash_of(&a));
    }
    struct record gone = any_record(40);
    CHECK(equal(up, down));
    CHECK(equal(rt_hash128_subtract(up, hash_of(&gone)), without));
}

RT_TEST_MAIN()
