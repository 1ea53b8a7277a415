#include "core/kernels/kernels.h"
#include "core/random.h"
#include "core/rotation.h"
#include "tests/rt_test.h"

#include <math.h>

static struct rt_error err;

static void draw(uint64_t seed, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = rt_random(seed, RT_RANDOM_TEST, i, 0, 0);
        int64_t total = (int64_t)(bits & 0xffff) + (int64_t)(bits >> 16 & 0xffff) +
                        (int64_t)(bits >> 32 & 0xffff) + (int64_t)(bits >> 48);
        out[i] = (float)((double)(total - 2 * 65535) / 37837.0); /* about a normal */
    }
}

static double norm(const float *x, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)x[i] * (double)x[i];
    return sqrt(total);
}

static struct rt_rotation *rotation_of(uint64_t seed, uint32_t dim)
{
    struct rt_rotation *rotation = NULL;
    CHECK_OK(rt_rotation_new(seed, dim, &rotation, &err));
    return rotation;
}

RT_TEST("the Walsh-Hadamard transform twice is p times the identity, exactly, in every kernel")
{
    static float x[1024];
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels;
        if (!rt_isa_is_here((enum rt_isa)isa))
            continue;
        rt_kernels_of((enum rt_isa)isa, &kernels);
        for (size_t p = 1; p <= 1024; p *= 2) {
            for (size_t i = 0; i < p; i++)
                x[i] = (float)(rt_random(1, RT_RANDOM_TEST, i, p, 0) % 17) - 8;
            kernels.fht(x, NULL, p, 1.0f);
            kernels.fht(x, NULL, p, 1.0f);
            for (size_t i = 0; i < p; i++)
                CHECK(x[i] == (float)p * ((float)(rt_random(1, RT_RANDOM_TEST, i, p, 0) % 17) - 8));
        }
    }
}

RT_TEST("it is the transform in natural order: entry (i, j) is +1 where i and j share an even "
        "count of bits")
{
    float x[64];
    for (size_t j = 0; j < 64; j++) {
        memset(x, 0, sizeof x);
        x[j] = 1;
        rt_kernels()->fht(x, NULL, 64, 1.0f);
        for (size_t i = 0; i < 64; i++)
            CHECK(x[i] == (__builtin_parityll(i & j) ? -1.0f : 1.0f));
    }
}

RT_TEST("length stays and the inverse brings the row back")
{
    static const uint32_t dims[] = {1,   2,   3,   5,   7,   16,   31,   96,
                                    100, 128, 384, 768, 960, 1024, 1536, 65535};
    static float x[65535];
    static float y[65535];
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        struct rt_rotation *rotation = rotation_of(3, dims[d]);
        draw(d, dims[d], x);
        memcpy(y, x, sizeof y);
        rt_rotation_apply(rotation, y, 1);
        CHECK(fabs(norm(y, dims[d]) / norm(x, dims[d]) - 1) < 1e-6);
        rt_rotation_invert(rotation, y, 1);
        for (size_t i = 0; i < dims[d]; i++)
            y[i] -= x[i];
        CHECK(norm(y, dims[d]) < 1e-6 * norm(x, dims[d]));
        rt_rotation_free(rotation);
    }
}

RT_TEST("every instruction set rotates to the same bits")
{
    static float x[8200];
    static float y[8200];
    static uint32_t signs[8200];
    for (size_t i = 0; i < 8200; i++)
        signs[i] = (uint32_t)rt_random(4, RT_RANDOM_TEST, i, 0, 0);
    struct rt_kernels portable;
    rt_kernels_of(RT_ISA_PORTABLE, &portable);
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels;
        if (!rt_isa_is_here((enum rt_isa)isa))
            continue;
        rt_kernels_of((enum rt_isa)isa, &kernels);
        for (size_t p = 1; p <= 8192; p *= 2)
            for (size_t offset = 0; offset < 3; offset++) {
                size_t n = p + offset < 8190 ? p + offset : p;
                draw(p, 8200, x);
                memcpy(y, x, sizeof y);
                portable.flip(x + offset, signs, n);
                kernels.flip(y + offset, signs, n);
                CHECK(memcmp(x, y, sizeof x) == 0);
                const uint32_t *flipped = offset % 2 ? signs : NULL;
                portable.fht(x + offset, flipped, p, 0.7f);
                kernels.fht(y + offset, flipped, p, 0.7f);
                CHECK(memcmp(x, y, sizeof x) == 0);
                portable.kac(x + offset, x + offset + n - n / 2, n / 2);
                kernels.kac(y + offset, y + offset + n - n / 2, n / 2);
                CHECK(memcmp(x, y, sizeof x) == 0);
            }
    }
}

RT_TEST("a row's result does not depend on the rows beside it")
{
    static float together[50 * 100];
    static float alone[100];
    struct rt_rotation *rotation = rotation_of(5, 100);
    draw(9, 5000, together);
    memcpy(alone, together + 1700, sizeof alone);
    rt_rotation_apply(rotation, together, 50);
    rt_rotation_apply(rotation, alone, 1);
    CHECK(memcmp(together + 1700, alone, sizeof alone) == 0);
    rt_rotation_free(rotation);
}

RT_TEST("the same seed gives the same rotation, another seed another; these bits may never change")
{
    float first[37];
    float second[37];
    float third[37];
    struct rt_rotation *a = rotation_of(7, 37);
    struct rt_rotation *b = rotation_of(7, 37);
    struct rt_rotation *c = rotation_of(8, 37);
    draw(1, 37, first);
    draw(1, 37, second);
    draw(1, 37, third);
    rt_rotation_apply(a, first, 1);
    rt_rotation_apply(b, second, 1);
    rt_rotation_apply(c, third, 1);
    CHECK(memcmp(first, second, sizeof first) == 0);
    CHECK(memcmp(first, third, sizeof first) != 0);
    uint64_t together = 0;
    for (size_t i = 0; i < 37; i++) {
        uint32_t bits;
        memcpy(&bits, &first[i], sizeof bits);
        together = rt_mix64(together ^ bits);
    }
    if (together != UINT64_C(0xadc4c56270fd6e18)) /* RT_ROTATION_VERSION 1 */
        RT_TEST_FAILED("rotated bits changed: 0x%016llx", (unsigned long long)together);
    rt_rotation_free(a);
    rt_rotation_free(b);
    rt_rotation_free(c);
}

RT_TEST("one-hot rows spread over all dimensions (one round would not do it)")
{
    enum { DIM = 768 };
    static float x[DIM];
    double mean = 0;
    double least = 1;
    struct rt_rotation *rotation = rotation_of(11, DIM);
    for (size_t i = 0; i < DIM; i++) {
        memset(x, 0, sizeof x);
        x[i] = 1;
        rt_rotation_apply(rotation, x, 1);
        double total = 0;
        for (size_t j = 0; j < DIM; j++)
            total += fabs((double)x[j]);
        double x0 = total / sqrt((double)DIM); /* cosine of the row and its code */
        mean += x0 / DIM;
        least = x0 < least ? x0 : least;
    }
    CHECK(mean > 0.77 && mean < 0.82);
    CHECK(least > 0.68);
    rt_rotation_free(rotation);
}

RT_TEST("inner products stay")
{
    static float x[960];
    static float y[960];
    struct rt_rotation *rotation = rotation_of(12, 960);
    draw(1, 960, x);
    draw(2, 960, y);
    double before = 0;
    double after = 0;
    for (int i = 0; i < 960; i++)
        before += (double)x[i] * (double)y[i];
    rt_rotation_apply(rotation, x, 1);
    rt_rotation_apply(rotation, y, 1);
    for (int i = 0; i < 960; i++)
        after += (double)x[i] * (double)y[i];
    CHECK(fabs(before - after) < 1e-6 * norm(x, 960) * norm(y, 960));
    rt_rotation_free(rotation);
}

RT_TEST("a dimension that cannot be is refused")
{
    struct rt_rotation *rotation = NULL;
    CHECK_STATUS(RT_USAGE, rt_rotation_new(1, 0, &rotation, &err));
    CHECK_STATUS(RT_USAGE, rt_rotation_new(1, 65536, &rotation, &err));
    CHECK(rotation == NULL);
}

RT_TEST_MAIN()
