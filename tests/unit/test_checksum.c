#include "core/checksum.h"
#include "tests/rt_test.h"

RT_TEST("hashes are XXH3's own")
{
    struct rt_hash128 empty = rt_hash128("", 0);
    char text[33];
    rt_hash128_hex(empty, text);
    CHECK(strcmp(text, "99aa06d3014798d86001c324468d497f") == 0); /* of the empty text, seed 0 */
    CHECK(rt_hash64("", 0) == UINT64_C(0x2d06800538d394c2));
}

RT_TEST("pieces hash as the whole, and the hasher can go on and begin anew")
{
    unsigned char data[3000];
    struct rt_hasher *hasher = rt_hasher_new();
    REQUIRE(hasher);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i >> 3);
    for (size_t n = 0; n < sizeof data; n = n * 3 + 1) {
        rt_hasher_reset(hasher);
        for (size_t at = 0; at < n; at += 7)
            rt_hasher_add(hasher, data + at, n - at < 7 ? n - at : 7);
        struct rt_hash128 whole = rt_hash128(data, n);
        struct rt_hash128 pieces = rt_hasher_end128(hasher);
        CHECK(whole.low == pieces.low && whole.high == pieces.high);
        CHECK(rt_hasher_end64(hasher) == rt_hash64(data, n));
    }
    rt_hasher_free(hasher);
    rt_hasher_free(NULL);
}

RT_TEST("sums carry, and order does not matter")
{
    struct rt_hash128 a = {UINT64_MAX, 5};
    struct rt_hash128 b = {2, UINT64_MAX};
    struct rt_hash128 ab = rt_hash128_add(a, b);
    struct rt_hash128 ba = rt_hash128_add(b, a);
    CHECK(ab.low == 1 && ab.high == 5 && ba.low == 1 && ba.high == 5);
}

RT_TEST("a difference borrows, and undoes a sum")
{
    const struct rt_hash128 numbers[] = {
        {0, 0}, {1, 0}, {0, 1}, {UINT64_MAX, 0}, {UINT64_MAX, UINT64_MAX}, rt_hash128("x", 1)};
    const size_t n = sizeof numbers / sizeof *numbers;
    struct rt_hash128 borrowed = rt_hash128_subtract(numbers[2], numbers[1]);
    CHECK(borrowed.low == UINT64_MAX && borrowed.high == 0);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            struct rt_hash128 sum = rt_hash128_add(numbers[i], numbers[j]);
            struct rt_hash128 back = rt_hash128_subtract(sum, numbers[j]);
            CHECK(back.low == numbers[i].low && back.high == numbers[i].high);
        }
}

RT_TEST("a sum by limbs is the sum, whatever carries")
{
    struct rt_hash128 sum = {0, 0};
    uint64_t limbs[RT_HASH128_LIMBS] = {0};
    for (unsigned char i = 0; i < 200; i++) {
        struct rt_hash128 hash = i % 3 ? rt_hash128(&i, 1) : (struct rt_hash128){UINT64_MAX, i};
        sum = rt_hash128_add(sum, hash);
        rt_hash128_add_limbs(hash, limbs);
    }
    struct rt_hash128 joined = rt_hash128_of_limbs(limbs);
    CHECK(joined.low == sum.low && joined.high == sum.high);
}

RT_TEST("digits there and back; anything else is refused")
{
    struct rt_hash128 hash = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};
    struct rt_hash128 back = {1, 1};
    char text[33];
    rt_hash128_hex(hash, text);
    CHECK(strcmp(text, "fedcba98765432100123456789abcdef") == 0);
    CHECK(rt_hash128_parse(text, &back) == 0 && back.low == hash.low && back.high == hash.high);
    CHECK(rt_hash128_parse("", &back) == -1);
    CHECK(rt_hash128_parse("fedcba98765432100123456789abcde", &back) == -1);
    CHECK(rt_hash128_parse("fedcba98765432100123456789abcdef0", &back) == -1);
    CHECK(rt_hash128_parse("fedcba98765432100123456789abcdeg", &back) == -1);
    CHECK(rt_hash128_parse("FEDCBA98765432100123456789abcdef", &back) == -1);
    CHECK(back.low == hash.low);
}

RT_TEST_MAIN()
