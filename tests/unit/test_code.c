#include "core/code.h"
#include "core/kernels/kernels.h"
#include "core/random.h"
#include "tests/rt_test.h"

#include <math.h>

static const uint32_t dims[] = {1,  2,  3,   7,   8,   9,   15,  16,  17,
                                31, 33, 100, 127, 128, 129, 768, 4097};
#define N_DIMS (sizeof dims / sizeof *dims)
#define MOST 4097

/* -1..1, with zeros of both signs among them */
static void draw(uint64_t seed, uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        uint64_t bits = rt_random(seed, RT_RANDOM_TEST, i, 0, 0);
        out[i] = (float)(int64_t)bits * 0x1p-63f;
        if (bits % 17 == 0)
            out[i] = bits & 1024 ? 0.0f : -0.0f;
    }
}

static int same_bits(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

RT_TEST("a bit is set where the sign bit is not, minus zero included, and padding bits are 0")
{
    static float u[MOST];
    uint8_t code[MOST];
    float factors[3];
    for (size_t d = 0; d < N_DIMS; d++) {
        draw(d, dims[d], u);
        memset(code, 0xff, sizeof code);
        rt_code_encode(RT_L2, u, NULL, dims[d], code, factors);
        for (uint32_t i = 0; i < 8 * rt_code_bytes(dims[d]); i++)
            CHECK((code[i / 8] >> i % 8 & 1) == (i < dims[d] && !signbit(u[i])));
        CHECK(code[rt_code_bytes(dims[d])] == 0xff);
    }
}

RT_TEST("factors are those of the formulas, from the residual where there is a centroid")
{
    static float x[MOST];
    static float c[MOST];
    uint8_t code[MOST];
    for (size_t d = 0; d < N_DIMS; d++)
        for (int residual = 0; residual < 2; residual++) {
            uint32_t dim = dims[d];
            double square = 0;
            double absolute = 0;
            double dot = 0;
            float f[4];
            draw(d, dim, x);
            draw(d + 100, dim, c);
            for (uint32_t i = 0; i < dim; i++) {
                double u = residual ? (double)(x[i] - c[i]) : (double)x[i];
                square += u * u;
                absolute += fabs(u);
                dot += residual ? u * (double)c[i] : 0;
            }
            rt_code_encode(RT_IP, x, residual ? c : NULL, dim, code, f);
            double x0 = absolute / sqrt(square) / sqrt(dim);
            double error = dim > 1 ? sqrt(square * fabs(1 / (x0 * x0) - 1) / (dim - 1)) : 0;
            if (square == 0)
                continue;
            CHECK(fabs((double)f[0] - square) <= 1e-6 * square);
            CHECK(fabs((double)f[1] - square / absolute) <= 1e-6 * square / absolute);
            CHECK(fabs((double)f[2] - error) <= 1e-6 * error + 1e-6);
            CHECK(fabs((double)f[3] + dot) <= 1e-6 * fabs(dot) + 1e-6);
            float l2[3];
            rt_code_encode(RT_L2, x, residual ? c : NULL, dim, code, l2);
            CHECK(same_bits(l2, f, sizeof l2));
            rt_code_encode(RT_COSINE, x, residual ? c : NULL, dim, code, l2);
            CHECK(same_bits(l2, f, sizeof l2));
        }
}

RT_TEST("a centroid of zero codes as none")
{
    static float x[MOST];
    static float zero[MOST];
    uint8_t a[MOST];
    uint8_t b[MOST];
    float fa[4];
    float fb[4];
    for (size_t d = 0; d < N_DIMS; d++) {
        draw(d, dims[d], x);
        for (uint32_t i = 0; i < dims[d]; i++) /* -0 - 0 is -0, but let it be the rows alone */
            x[i] += 0.0f;
        rt_code_encode(RT_IP, x, NULL, dims[d], a, fa);
        rt_code_encode(RT_IP, x, zero, dims[d], b, fb);
        CHECK(same_bits(a, b, rt_code_bytes(dims[d])));
        CHECK(same_bits(fa, fb, sizeof fa));
    }
}

RT_TEST("flipping all signs flips all bits and leaves the factors; powers of two scale through")
{
    static float u[MOST];
    static float v[MOST];
    uint8_t a[MOST];
    uint8_t b[MOST];
    float fa[4];
    float fb[4];
    for (size_t d = 0; d < N_DIMS; d++) {
        uint32_t dim = dims[d];
        draw(d, dim, u);
        rt_code_encode(RT_L2, u, NULL, dim, a, fa);
        for (uint32_t i = 0; i < dim; i++)
            v[i] = -u[i];
        rt_code_encode(RT_L2, v, NULL, dim, b, fb);
        CHECK(same_bits(fa, fb, 12));
        for (uint32_t i = 0; i < dim; i++)
            CHECK((a[i / 8] >> i % 8 & 1) != (b[i / 8] >> i % 8 & 1));
        for (uint32_t i = 0; i < dim; i++)
            v[i] = u[i] * 32;
        rt_code_encode(RT_L2, v, NULL, dim, b, fb);
        CHECK(same_bits(a, b, rt_code_bytes(dim)));
        CHECK(fb[0] == fa[0] * 1024 && fb[1] == fa[1] * 32 && fb[2] == fa[2] * 32);
    }
}

RT_TEST("a row that equals its centroid has factors 0, all of them +0")
{
    static float x[MOST];
    static const float zero[4];
    uint8_t code[MOST];
    float f[4];
    for (size_t d = 0; d < N_DIMS; d++) {
        draw(d, dims[d], x);
        rt_code_encode(RT_IP, x, x, dims[d], code, f);
        CHECK(same_bits(f, zero, sizeof f));
        memset(x, 0, sizeof x);
        rt_code_encode(RT_IP, x, NULL, dims[d], code, f);
        CHECK(same_bits(f, zero, sizeof f));
    }
}

RT_TEST("one dimension is coded exactly, its error is 0")
{
    const float values[] = {3.25f, -7.0f, 1e-40f, 1e17f};
    uint8_t code[1];
    float f[4];
    for (size_t i = 0; i < 4; i++) {
        rt_code_encode(RT_IP, &values[i], NULL, 1, code, f);
        CHECK(f[1] == fabsf(values[i]));
        CHECK(f[2] == 0);
        CHECK(code[0] == (values[i] > 0));
    }
}

RT_TEST("a row of equal magnitudes has factor_ip = its magnitude and an error of 0 up to rounding, "
        "never NaN")
{
    static float u[MOST];
    uint8_t code[MOST];
    float f[4];
    for (uint32_t dim = 2; dim <= 960; dim++) {
        float magnitude = 0.1f + (float)dim * 0.013f;
        for (uint32_t i = 0; i < dim; i++)
            u[i] = rt_random(5, RT_RANDOM_TEST, dim, i, 0) >> 63 ? magnitude : -magnitude;
        rt_code_encode(RT_L2, u, NULL, dim, code, f);
        CHECK(fabsf(f[1] - magnitude) <= 2e-7f * magnitude);
        CHECK(f[2] >= 0 && f[2] <= 1e-3f * magnitude);
    }
}

RT_TEST("values at the ends of what is allowed give finite factors")
{
    uint8_t code[2];
    float f[4];
    float big[9];
    float tiny[9];
    float c[9];
    for (int i = 0; i < 9; i++) {
        big[i] = i == 4 ? 0x1p60f : 1;
        c[i] = i == 4 ? -0x1p60f : 2;
        tiny[i] = 0x1p-149f;
    }
    rt_code_encode(RT_IP, big, c, 9, code, f);
    for (int i = 0; i < 4; i++)
        CHECK(isfinite(f[i]));
    rt_code_encode(RT_IP, tiny, NULL, 9, code, f);
    for (int i = 0; i < 4; i++)
        CHECK(isfinite(f[i]) && !signbit(f[i]));
}

RT_TEST("every instruction set gives the bits and sums of the portable one")
{
    static float u[MOST + 1];
    static float c[MOST + 1];
    struct rt_kernels portable;
    rt_kernels_of(RT_ISA_PORTABLE, &portable);
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels other;
        if (!rt_isa_is_here((enum rt_isa)isa))
            continue;
        rt_kernels_of((enum rt_isa)isa, &other);
        for (uint32_t dim = 1; dim < MOST + 1; dim = dim < 140 ? dim + 1 : dim * 3) {
            uint8_t a[MOST];
            uint8_t b[MOST];
            struct rt_code_sums sa;
            struct rt_code_sums sb;
            draw(dim, dim, u + 1); /* unaligned on purpose */
            draw(dim + 7777, dim, c + 1);
            for (int with = 0; with < 3; with++) { /* a centroid, and its product */
                memset(a, 0xee, sizeof a);
                memset(b, 0xee, sizeof b);
                portable.scan.encode(u + 1, with ? c + 1 : NULL, with == 2, dim, a, &sa);
                other.scan.encode(u + 1, with ? c + 1 : NULL, with == 2, dim, b, &sb);
                CHECK(same_bits(a, b, sizeof a));
                CHECK(same_bits(&sa, &sb, sizeof sa));
            }
        }
    }
}

RT_TEST("rows of a batch get the codes they get alone, and those without a list none")
{
    enum { N = 9, DIM = 33, LISTS = 4, BYTES = (DIM + 7) / 8 };
    static float rows[N * DIM];
    static float centroids[LISTS * DIM];
    static const uint32_t lists[N] = {3, 0, UINT32_MAX, 1, 3, UINT32_MAX, UINT32_MAX, 2, 0};
    draw(1, N * DIM, rows);
    draw(2, LISTS * DIM, centroids);
    for (int is_residual = 0; is_residual < 2; is_residual++)
        for (int metric = RT_L2; metric <= RT_COSINE; metric++) {
            uint8_t codes[N * BYTES];
            float factors[N * RT_MAX_FACTORS];
            uint8_t code[BYTES];
            float own[RT_MAX_FACTORS];
            size_t n_factors = rt_code_n_factors((enum rt_metric)metric);
            memset(codes, 0xee, sizeof codes);
            memset(factors, 0xee, sizeof factors);
            rt_code_encode_rows((enum rt_metric)metric, rows, lists, N,
                                is_residual ? centroids : NULL, DIM, codes, factors);
            for (size_t i = 0; i < N; i++) {
                memset(code, 0xee, sizeof code);
                memset(own, 0xee, sizeof own);
                if (lists[i] != UINT32_MAX)
                    rt_code_encode((enum rt_metric)metric, rows + i * DIM,
                                   is_residual ? centroids + (size_t)lists[i] * DIM : NULL, DIM,
                                   code, own);
                CHECK(same_bits(code, codes + i * BYTES, BYTES));
                CHECK(same_bits(own, factors + i * n_factors, n_factors * sizeof *own));
            }
        }
}

RT_TEST_MAIN()
