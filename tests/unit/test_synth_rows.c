#include "jobs/synth_rows.h"

#include "core/checksum.h"
#include "tests/rt_test.h"

#include <math.h>

#define N 500
#define MOST_DIM 200

static struct rt_error err;
static float all[N * MOST_DIM];
static float part[N * MOST_DIM];

static struct rt_synth *make(uint32_t dim, uint32_t clusters, double skew, enum rt_element type)
{
    struct rt_synth_shape shape = {dim, clusters, skew, type, 42};
    struct rt_synth *synth = NULL;
    if (rt_synth_new(&shape, &synth, &err) != RT_OK)
        RT_TEST_FAILED("%s", err.text);
    return synth;
}

RT_TEST("a row is the same whichever rows are made with it")
{
    static const uint32_t dims[] = {1, 2, 3, 7, 8, 31, 127, 128, 200};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        struct rt_synth *synth = make(dims[d], 17, 1.0, RT_F32);
        rt_synth_rows(synth, RT_SYNTH_ROW, 1000, N, all);
        for (size_t begin = 0, n = 1; begin < N; begin += n, n = n % 37 + 1) {
            n = begin + n > N ? N - begin : n;
            rt_synth_rows(synth, RT_SYNTH_ROW, 1000 + begin, n, part);
            CHECK(memcmp(part, all + begin * dims[d], n * dims[d] * sizeof(float)) == 0);
        }
        rt_synth_free(synth);
    }
}

RT_TEST("clusters too many to be kept give the rows that kept ones would")
{
    /* 2^24 bytes of centres are kept: 600,000 of 8 numbers are more. Rows of a cluster lie around
     * its centre either way. */
    struct rt_synth *many = make(8, 600000, 0.0, RT_F32);
    double sum = 0;
    rt_synth_rows(many, RT_SYNTH_ROW, 0, N, all);
    for (size_t i = 0; i < N * 8; i++)
        sum += (double)all[i] * (double)all[i];
    CHECK(sum / (N * 8) > 0.5 && sum / (N * 8) < 3.0);
    rt_synth_free(many);
}

RT_TEST("values fill the range of their type and are held by it exactly")
{
    for (int type = RT_F32; type <= RT_I8; type++) {
        struct rt_synth *synth = make(64, 5, 1.0, (enum rt_element)type);
        float least = INFINITY;
        float most = -INFINITY;
        rt_synth_rows(synth, RT_SYNTH_ROW, 0, N, all);
        for (size_t i = 0; i < N * 64; i++) {
            unsigned char packed[4];
            float again;
            rt_element_from_f32((enum rt_element)type, &all[i], packed, 1);
            rt_element_to_f32((enum rt_element)type, packed, &again, 1);
            CHECK(again == all[i]);
            least = all[i] < least ? all[i] : least;
            most = all[i] > most ? all[i] : most;
        }
        if (type == RT_U8)
            CHECK(least >= 0 && least < 40 && most > 215 && most <= 255);
        if (type == RT_I8)
            CHECK(least >= -128 && least < -88 && most > 88 && most <= 127);
        rt_synth_free(synth);
    }
}

RT_TEST("queries are drawn as rows are, but are none of them")
{
    struct rt_synth *synth = make(32, 5, 1.0, RT_F32);
    rt_synth_rows(synth, RT_SYNTH_ROW, 0, N, all);
    rt_synth_rows(synth, RT_SYNTH_QUERY, 0, N, part);
    for (size_t q = 0; q < N; q++)
        for (size_t r = 0; r < N; r++)
            CHECK(memcmp(part + q * 32, all + r * 32, 32 * sizeof(float)) != 0);
    rt_synth_free(synth);
}

/* Rows nearest to row 0 among N, within a distance that only its own cluster has. */
static size_t companions(double skew)
{
    struct rt_synth *synth = make(64, 50, skew, RT_F32);
    size_t most = 0;
    rt_synth_rows(synth, RT_SYNTH_ROW, 0, N, all);
    for (size_t a = 0; a < N; a++) {
        size_t n = 0;
        for (size_t b = 0; b < N; b++) {
            double sum = 0;
            for (size_t i = 0; i < 64; i++) {
                double d = (double)all[a * 64 + i] - (double)all[b * 64 + i];
                sum += d * d;
            }
            n += sum < 40.0;
        }
        most = n > most ? n : most;
    }
    rt_synth_free(synth);
    return most;
}

RT_TEST("skew makes the largest cluster larger")
{
    size_t even = companions(0.0);
    size_t skewed = companions(2.0);
    CHECK(even >= 5 && even < 40);
    if (skewed < 2 * even)
        RT_TEST_FAILED("largest group %zu without skew, %zu with", even, skewed);
}

RT_TEST("the bits are those of every other machine and compiler")
{
    static const struct {
        uint32_t dim;
        double skew;
        enum rt_element type;
        const char *hash;
    } cases[] = {
        {127, 1.0, RT_F32, "d033693fb813a2ca"},
        {64, 0.7, RT_F16, "887e4d680f29dc35"},
        {33, 2.3, RT_U8, "1b077c90f244d950"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_synth *synth = make(cases[i].dim, 1000, cases[i].skew, cases[i].type);
        rt_synth_rows(synth, RT_SYNTH_ROW, 0, N, all);
        uint64_t hash = rt_hash64(all, N * cases[i].dim * sizeof(float));
        char text[20];
        (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
        if (strcmp(text, cases[i].hash) != 0)
            RT_TEST_FAILED("dim %u: %s", cases[i].dim, text);
        rt_synth_free(synth);
    }
}

RT_TEST_MAIN()
