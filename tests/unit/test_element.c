#include "core/element.h"
#include "core/kernels/kernels.h"
#include "core/random.h"
#include "tests/rt_test.h"

#include <math.h>

static float value_of_half(unsigned half)
{
    int exponent = (int)(half >> 10 & 31);
    double fraction = half & 1023;
    double value = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return (float)(half & 0x8000 ? -value : value);
}

RT_TEST("every f16 becomes its value, in every instruction set, at any length and alignment")
{
    static unsigned char halves[65536 * 2 + 1];
    static float out[65536];
    for (unsigned h = 0; h < 65536; h++) {
        halves[1 + 2 * h] = (unsigned char)(h & 255);
        halves[2 + 2 * h] = (unsigned char)(h >> 8);
    }
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels;
        if (!rt_isa_is_here((enum rt_isa)isa))
            continue;
        rt_kernels_of((enum rt_isa)isa, &kernels);
        for (size_t n = 65536; n > 0; n /= 3) {
            memset(out, 0x55, sizeof out);
            kernels.f16_to_f32(halves + 1, out, n);
            for (unsigned h = 0; h < n; h++) {
                float expected = value_of_half(h);
                if (isnan(expected) ? !isnan(out[h])
                                    : memcmp(&expected, &out[h], sizeof expected) != 0)
                    RT_TEST_FAILED("%s: f16 %04x became %g, not %g", rt_isa_name((enum rt_isa)isa),
                                   h, (double)out[h], (double)expected);
            }
            uint32_t beyond;
            memcpy(&beyond, &out[n < 65536 ? n : 0], sizeof beyond);
            CHECK(n == 65536 || beyond == 0x55555555);
        }
    }
}

RT_TEST("bytes become their values")
{
    unsigned char bytes[256];
    float out[257];
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels;
        if (!rt_isa_is_here((enum rt_isa)isa))
            continue;
        rt_kernels_of((enum rt_isa)isa, &kernels);
        for (size_t n = 0; n <= 256; n++) {
            out[n] = -7;
            kernels.u8_to_f32(bytes, out, n);
            for (size_t i = 0; i < n; i++)
                CHECK(out[i] == (float)i);
            kernels.i8_to_f32(bytes, out, n);
            for (size_t i = 0; i < n; i++)
                CHECK(out[i] == (i < 128 ? (float)i : (float)i - 256));
            CHECK(out[n] == -7);
        }
    }
}

RT_TEST("there and back is the identity")
{
    for (unsigned h = 0; h < 65536; h++) {
        uint16_t half = (uint16_t)h;
        uint16_t back;
        float value;
        rt_element_to_f32(RT_F16, &half, &value, 1);
        rt_element_from_f32(RT_F16, &value, &back, 1);
        CHECK(back == half || isnan(value));
    }
    float wild[] = {-0.0f, 1e-45f, INFINITY, 3.25f};
    float back[4];
    rt_element_to_f32(RT_F32, wild, back, 4);
    CHECK(memcmp(wild, back, sizeof wild) == 0);
    rt_element_from_f32(RT_F32, wild, back, 4);
    CHECK(memcmp(wild, back, sizeof wild) == 0);
}

RT_TEST("f32 to f16 takes the nearest, on a tie the even one")
{
    for (unsigned h = 0; h < 0x7bff; h++) {
        float low = value_of_half(h);
        float high = value_of_half(h + 1);
        float middle = (float)(((double)low + (double)high) / 2); /* exact */
        float values[] = {middle, nextafterf(middle, low), nextafterf(middle, high)};
        uint16_t out[3];
        rt_element_from_f32(RT_F16, values, out, 3);
        CHECK(out[0] == h + (h & 1) && out[1] == h && out[2] == h + 1);
    }
    float edges[] = {65519.996f, 65520.0f, -65520.0f, 1e30f, NAN};
    uint16_t out[5];
    rt_element_from_f32(RT_F16, edges, out, 5);
    CHECK(out[0] == 0x7bff && out[1] == 0x7c00 && out[2] == 0xfc00 && out[3] == 0x7c00);
    CHECK(isnan(value_of_half(out[4])));
}

RT_TEST("f32 to bytes rounds to nearest even and clamps")
{
    static const float values[] = {-1e9f, -128.5f, -3.5f,  -0.5f,  0.5f,     1.5f,
                                   2.5f,  127.4f,  200.5f, 255.5f, INFINITY, NAN};
    static const uint8_t unsigned_ones[] = {0, 0, 0, 0, 0, 2, 2, 127, 200, 255, 255, 0};
    static const int8_t signed_ones[] = {-128, -128, -4, 0, 0, 2, 2, 127, 127, 127, 127, 0};
    uint8_t bytes[12];
    rt_element_from_f32(RT_U8, values, bytes, 12);
    CHECK(memcmp(bytes, unsigned_ones, 12) == 0);
    rt_element_from_f32(RT_I8, values, bytes, 12);
    CHECK(memcmp(bytes, signed_ones, 12) == 0);
}

RT_TEST("types have names and sizes")
{
    static const char *const names[] = {"f32", "f16", "u8", "i8"};
    static const size_t sizes[] = {4, 2, 1, 1};
    enum rt_element type = RT_I8;
    for (int i = 0; i < 4; i++) {
        CHECK(rt_element_parse(names[i], &type) == 0 && type == (enum rt_element)i);
        CHECK(strcmp(rt_element_name(type), names[i]) == 0);
        CHECK(rt_element_size(type) == sizes[i]);
    }
    CHECK(rt_element_parse("f64", &type) == -1 && type == RT_I8);
    CHECK(rt_element_parse("", &type) == -1);
}

RT_TEST_MAIN()
