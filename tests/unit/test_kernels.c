#include "core/kernels/kernels.h"
#include "core/random.h"
#include "tests/rt_test.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 4200

static struct rt_error err;
static float a_values[MOST + 3], b_values[MOST * 9 + 3];

static void draw(uint64_t seed, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = rt_random(seed, RT_RANDOM_TEST, i, 0, 0);
        out[i] = ldexpf((float)(int32_t)bits, (int)(bits >> 32 & 15) - 38);
        if (bits >> 60 == 0)
            out[i] = bits & 1 ? -0.0f : 0x1p-140f;
    }
}

/* Every instruction set of this machine but the portable one. */
#define EACH_OTHER(name)                                                                           \
    for (int isa_##name = 1; isa_##name < RT_N_ISAS; isa_##name++)                                 \
        for (struct rt_kernels name = pick(isa_##name); name.l2; name.l2 = NULL)

static struct rt_kernels pick(int isa)
{
    struct rt_kernels table;
    memset(&table, 0, sizeof table);
    if (rt_isa_is_here((enum rt_isa)isa))
        rt_kernels_of((enum rt_isa)isa, &table);
    return table;
}

static int same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static int same_f64(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* A4 as it stands in the rules. */
static float sum_in_lanes(const float *terms, size_t n)
{
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % 16] += terms[i];
    for (int step = 8; step > 0; step /= 2)
        for (int l = 0; l < step; l++)
            lane[l] += lane[l + step];
    return lane[0];
}

RT_TEST("distances are the sum of A4, in every instruction set, at every length and alignment")
{
    static float terms[MOST];
    struct rt_kernels portable = pick(RT_ISA_PORTABLE);
    for (size_t dim = 1; dim < MOST; dim = dim < 150 ? dim + 1 : dim * 2 + 1) {
        draw(dim, MOST + 3, a_values);
        draw(dim + 9999, MOST + 3, b_values);
        for (size_t offset = 0; offset < 3; offset++) {
            const float *a = a_values + offset;
            const float *b = b_values + 2 - offset;
            for (size_t i = 0; i < dim; i++) {
                float difference = a[i] - b[i];
                terms[i] = difference * difference;
            }
            float l2 = sum_in_lanes(terms, dim);
            for (size_t i = 0; i < dim; i++)
                terms[i] = a[i] * b[i];
            float ip = 0.0f - sum_in_lanes(terms, dim);
            CHECK(same(portable.l2(a, b, dim), l2) && same(portable.ip(a, b, dim), ip));
            EACH_OTHER(kernels)
            {
                if (!same(kernels.l2(a, b, dim), l2) || !same(kernels.ip(a, b, dim), ip))
                    RT_TEST_FAILED("%s differs at dim %zu", rt_isa_name(kernels.isa), dim);
                CHECK(same_f64(kernels.norm2(a, dim), portable.norm2(a, dim)));
                CHECK(same_f64(kernels.dot(a, b, dim), portable.dot(a, b, dim)));
                CHECK(same_f64(kernels.sum(a, dim), portable.sum(a, dim)));
                CHECK(same_f64(kernels.sum_abs(a, dim), portable.sum_abs(a, dim)));
            }
        }
    }
}

RT_TEST("distances to several centroids at once are those to each")
{
    static const size_t dims[] = {1, 15, 16, 17, 128, 300, 465};
    static const uint32_t list[] = {7, 0, 3, 3, 8, 1, 2};
    float out[9];
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        if (!kernels.l2)
            continue;
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            draw(d, dims[d], a_values);
            draw(d + 50, dims[d] * 9, b_values);
            for (size_t n = 0; n <= 9; n++) {
                kernels.l2_among(a_values, b_values, dims[d], NULL, n, out);
                for (size_t i = 0; i < n; i++)
                    CHECK(same(out[i], kernels.l2(a_values, b_values + i * dims[d], dims[d])));
                kernels.ip_among(a_values, b_values, dims[d], NULL, n, out);
                for (size_t i = 0; i < n; i++)
                    CHECK(same(out[i], kernels.ip(a_values, b_values + i * dims[d], dims[d])));
            }
            for (size_t n = 0; n <= 7; n++) {
                kernels.l2_among(a_values, b_values, dims[d], list, n, out);
                for (size_t i = 0; i < n; i++)
                    CHECK(
                        same(out[i], kernels.l2(a_values, b_values + list[i] * dims[d], dims[d])));
                kernels.ip_among(a_values, b_values, dims[d], list, n, out);
                for (size_t i = 0; i < n; i++)
                    CHECK(
                        same(out[i], kernels.ip(a_values, b_values + list[i] * dims[d], dims[d])));
            }
        }
    }
}

RT_TEST("minus a product of zero is plus zero")
{
    static const float zeros[] = {0.0f, -0.0f, 0.0f};
    static const float ones[] = {-1, 1, 1};
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        CHECK(!kernels.l2 || !signbit(kernels.ip(zeros, ones, 3)));
    }
}

RT_TEST("rows become the same codes in every instruction set, with what they leave out")
{
    static uint8_t expected[MOST];
    static uint8_t codes[MOST];
    struct rt_kernels portable = pick(RT_ISA_PORTABLE);
    for (size_t dim = 1; dim < MOST - 4; dim = dim < 70 ? dim + 1 : dim * 2 + 1)
        for (int with_mean = 0; with_mean < 2; with_mean++) {
            struct rt_quantised p;
            struct rt_quantised q;
            double error2 = 0;
            int32_t sum = 0;
            draw(dim, dim, a_values);
            draw(dim + 1, dim, b_values);
            memset(expected, 7, sizeof expected);
            portable.quantise(a_values, with_mean ? b_values : NULL, dim, expected, &p);
            for (size_t i = 0; i < dim; i++) {
                float x = with_mean ? a_values[i] - b_values[i] : a_values[i];
                double error = (double)x - (double)p.scale * (expected[i] - 128);
                error2 += error * error;
                sum += expected[i] - 128;
                CHECK(expected[i] >= 1 && fabs(error) <= 0.5001 * (double)p.scale);
            }
            CHECK(fabs(sqrt(error2) - sqrt((double)p.error2)) <=
                  1e-3 * sqrt(error2) + 4 * 0x1p-24 * sqrt((double)p.norm2));
            for (size_t i = dim; i < (dim + 3) / 4 * 4; i++)
                CHECK(expected[i] == 128);
            CHECK(expected[(dim + 3) / 4 * 4] == 7);
            CHECK(p.sum == sum);
            EACH_OTHER(kernels)
            {
                memset(codes, 7, sizeof codes);
                kernels.quantise(a_values, with_mean ? b_values : NULL, dim, codes, &q);
                CHECK(memcmp(codes, expected, sizeof codes) == 0);
                CHECK(same(p.scale, q.scale) && same(p.error2, q.error2) && same(p.norm2, q.norm2));
                CHECK(q.sum == sum);
            }
        }
}

RT_TEST("numbers become codes by a given scale, those beyond it cut off")
{
    static const float scales[] = {1, 0.01f, 3e-7f, 1e6f};
    uint8_t expected[128];
    uint8_t codes[129];
    struct rt_kernels portable = pick(RT_ISA_PORTABLE);
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (size_t n = 16; kernels.l2 && n <= 128; n += 16)
            for (size_t i = 0; i < 4; i++) {
                float sums[4];
                draw(n, n, a_values);
                codes[n] = 3;
                portable.quantise_by(a_values, n, scales[i], expected, &sums[0], &sums[1]);
                kernels.quantise_by(a_values, n, scales[i], codes, &sums[2], &sums[3]);
                CHECK(memcmp(codes, expected, n) == 0 && codes[n] == 3);
                CHECK(same(sums[0], sums[2]) && same(sums[1], sums[3]));
                for (size_t k = 0; k < n; k++) {
                    float most = 127 * scales[i];
                    float x =
                        fabsf(a_values[k]) > most ? copysignf(most, a_values[k]) : a_values[k];
                    float error = fabsf(x - scales[i] * (float)(codes[k] - 128));
                    CHECK(error <= 0.5001f * scales[i]);
                }
            }
    }
}

RT_TEST("centroids of a group become codes that leave out no more than they say")
{
    enum { N = 16, DIM = 77, STEPS = (DIM + 3) / 4 };
    static float values[N][DIM];
    static float mean[DIM];
    static _Alignas(64) int8_t codes[STEPS * 64];
    const float *centroids[N];
    draw(5, DIM, mean);
    for (size_t c = 0; c < N; c++) {
        draw(6 + c, DIM, values[c]);
        centroids[c] = values[c];
    }
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (size_t n = 1; kernels.quantise_group && n <= N; n += 5) {
            struct rt_quantised q[N];
            memset(codes, 7, sizeof codes);
            kernels.quantise_group(centroids, n, mean, DIM, codes, q);
            for (size_t c = 0; c < N; c++) {
                double error2 = 0;
                double norm2 = 0;
                int32_t sum = 0;
                for (size_t i = 0; i < (size_t)4 * STEPS; i++) {
                    int code = codes[i / 4 * 64 + c * 4 + i % 4];
                    double x = i < DIM ? (double)(values[c][i] - mean[i]) : 0;
                    double error = c < n ? x - (double)q[c].scale * code : 0;
                    CHECK(code >= -127 && (c < n && i < DIM ? 1 : code == 0));
                    norm2 += x * x;
                    error2 += error * error;
                    sum += code;
                }
                if (c >= n)
                    continue;
                CHECK(q[c].sum == sum && fabs(norm2 - (double)q[c].norm2) <= 1e-5 * norm2);
                CHECK(sqrt(error2) <=
                      1.001 * sqrt((double)q[c].error2) + 4 * 0x1p-24 * sqrt((double)q[c].norm2));
                CHECK(error2 < 1e-3 * norm2);
            }
        }
    }
}

RT_TEST("rows without a direction, too small or not finite become codes of nothing")
{
    static const float tops[] = {0, 0x1p-130f, 0x1p101f, INFINITY, NAN};
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (size_t t = 0; kernels.l2 && t < 5; t++) {
            float row[20] = {0};
            uint8_t codes[20];
            struct rt_quantised q;
            row[3] = tops[t];
            kernels.quantise(row, NULL, 20, codes, &q);
            CHECK(q.scale == 0);
            for (int i = 0; i < 20 && t < 4; i++)
                CHECK(codes[i] == 128);
            CHECK(t != 4 || isnan(q.norm2));
        }
    }
}

/* Up to rounding, which may differ where a multiplication and an addition are one. */
static bool is_least(float found, const float *values, size_t n)
{
    float least = INFINITY;
    for (size_t i = 0; i < n; i++)
        least = values[i] < least ? values[i] : least;
    return found == least || fabsf(found - least) <= 1e-6f * (fabsf(least) + 200);
}

RT_TEST("products of codes are the same numbers everywhere, up to the most extreme row")
{
    enum { ROWS = 37, STEPS = 300, GROUPS = 13, SLOTS = 16 * GROUPS };
    static uint8_t rows[ROWS][4 * STEPS];
    static _Alignas(64) int8_t codes[GROUPS * STEPS * 64];
    static float scale[SLOTS];
    static float norm[SLOTS];
    static int32_t sums[SLOTS];
    static int32_t starts[SLOTS];
    int32_t expected_most[ROWS];
    static float a[ROWS * 64];
    static float expected[ROWS * SLOTS];
    float row_scale[ROWS];
    uint32_t numbers[ROWS];
    float threshold[ROWS];
    const uint8_t *pointers[ROWS];
    for (size_t steps = 1; steps <= STEPS; steps = steps * 2 + 3)
        for (size_t groups = 1; groups <= GROUPS; groups += groups < 7 ? 1 : 3)
            for (size_t n = 1; n <= ROWS; n += n < 4 ? 1 : 11) {
                struct rt_int8_tile tile = {codes, scale, norm, sums, groups, steps};
                memset(sums, 0, sizeof sums);
                for (size_t r = 0; r < ROWS; r++) {
                    pointers[r] = rows[r];
                    numbers[r] = (uint32_t)(n - 1 - r); /* those up to n */
                    row_scale[r] = -0.37f * (float)(r + 1);
                    threshold[r] = (float)r * 1000 - 5000;
                    for (size_t i = 0; i < 4 * steps; i++)
                        rows[r][i] =
                            r == 0 ? (i % 3 ? 255 : 1)
                                   : (uint8_t)(1 + rt_random(r, RT_RANDOM_TEST, i, 0, 0) % 255);
                }
                for (size_t i = 0; i < groups * steps * 64; i++) {
                    size_t slot = i / (64 * steps) * 16 + i % 64 / 4;
                    codes[i] =
                        (int8_t)(slot == 1
                                     ? (i % 3 ? 127 : -127)
                                     : (int)(rt_random(3, RT_RANDOM_TEST, i, 0, 0) % 255) - 127);
                    sums[slot] += 128 * codes[i];
                }
                for (size_t c = 0; c < SLOTS; c++) {
                    scale[c] = 0.013f * (float)(c + 1);
                    norm[c] = c % 5 ? 1.7f * (float)c : INFINITY;
                    starts[c] = c % 5 ? (int32_t)(c * 7919 % 100000) - 60000 : -(1 << 30);
                }
                for (size_t r = 0; r < n; r++)
                    for (size_t c = 0; c < 16 * groups; c++) {
                        int32_t sum = 0;
                        for (size_t i = 0; i < 4 * steps; i++)
                            sum += (rows[r][i] - 128) *
                                   codes[c / 16 * steps * 64 + i / 4 * 64 + c % 16 * 4 + i % 4];
                        if (c == 0 || starts[c] + sum > expected_most[r])
                            expected_most[r] = starts[c] + sum;
                        float scaled = scale[c] * (float)sum;
                        expected[SLOTS * r + c] = norm[c] + row_scale[r] * scaled;
                    }
                for (int isa = 0; isa < RT_N_ISAS; isa++) {
                    uint64_t mask[ROWS];
                    float least[ROWS];
                    struct rt_kernels kernels = pick(isa);
                    if (!kernels.l2)
                        continue;
                    struct rt_int8_rows meant = {rows[0], sizeof rows[0], row_scale, numbers, n};
                    struct rt_int8_cell cell = {codes, starts, sums, groups, steps};
                    int32_t most[ROWS];
                    kernels.int8_most(&cell, &meant, most);
                    for (size_t r = 0; r < n; r++)
                        CHECK(most[r] == expected_most[numbers[r]]);
                    kernels.int8_least(&tile, &meant, least);
                    for (size_t r = 0; r < n; r++)
                        CHECK(is_least(least[r], expected + SLOTS * numbers[r], 16 * groups));
                    for (int with_least = 0; groups <= 4 && with_least < 2; with_least++) {
                        memset(a, 0, sizeof a);
                        kernels.int8_tile(&tile, pointers, n, row_scale, threshold, a, mask,
                                          with_least ? least : NULL);
                        for (size_t r = 0; r < n; r++) {
                            uint64_t bits = 0;
                            float smallest = INFINITY;
                            for (size_t c = 0; c < 16 * groups; c++) {
                                float e = expected[SLOTS * r + c];
                                CHECK(same(a[64 * r + c], e));
                                bits |= (uint64_t)(e <= threshold[r]) << c;
                                smallest = e < smallest ? e : smallest;
                            }
                            CHECK(with_least ? same(least[r], smallest) : mask[r] == bits);
                            CHECK(kernels.at_most(expected + SLOTS * r, 16 * groups,
                                                  threshold[r]) == bits);
                        }
                    }
                }
            }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

RT_TEST("up to 64 keys are sorted in every instruction set, and no others are touched")
{
    uint64_t keys[65];
    uint64_t expected[65];
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (size_t n = 0; kernels.l2 && n <= 64; n++)
            for (uint64_t seed = 0; seed < 3; seed++) {
                for (size_t i = 0; i < 65; i++) { /* half of them of few values */
                    uint64_t bits = rt_random(seed, RT_RANDOM_TEST, i, n, 0);
                    keys[i] = (bits % 2 ? bits >> 32 : bits % 5) << 32 | (i * 37 + 11) % 101;
                }
                memcpy(expected, keys, sizeof keys);
                qsort(expected, n, sizeof *expected, by_value);
                kernels.sort_few(keys, n);
                CHECK(memcmp(keys, expected, sizeof keys) == 0);
            }
    }
}

RT_TEST("rows centred for BLAS and products scaled are right in every instruction set")
{
    float expected[100];
    float out[101];
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (size_t dim = 1; kernels.l2 && dim <= 100; dim++) {
            double norm2 = 0;
            draw(dim, dim, a_values);
            draw(dim + 5, dim, b_values);
            out[dim] = 5;
            for (size_t i = 0; i < dim; i++) {
                expected[i] = a_values[i] - b_values[i];
                norm2 += (double)expected[i] * (double)expected[i];
            }
            double got = (double)kernels.centre(a_values, b_values, dim, out);
            CHECK(memcmp(expected, out, dim * sizeof *out) == 0 && out[dim] == 5);
            CHECK(fabs(got - norm2) <= 1e-5 * norm2);
            (void)kernels.centre(a_values, NULL, dim, out);
            CHECK(memcmp(a_values, out, dim * sizeof *out) == 0);
        }
        for (size_t n = 16; kernels.l2 && n <= 64; n += 16) {
            float least = INFINITY;
            draw(n, n, a_values);
            draw(n + 5, n, b_values);
            memcpy(out, a_values, n * sizeof *out);
            float got = kernels.scale_products(out, b_values, -2.0f, n);
            for (size_t i = 0; i < n; i++) {
                CHECK(same(out[i], b_values[i] - 2 * a_values[i]));
                least = out[i] < least ? out[i] : least;
            }
            CHECK(least == got);
        }
    }
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

RT_TEST("a rank is found between its neighbours, with ties too")
{
    float values[150];
    float sorted[151];
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (size_t n = 1; kernels.l2 && n <= 150; n = n < 40 ? n + 1 : n + 11)
            for (int ties = 0; ties < 3; ties++) {
                draw(n, n, values);
                for (size_t i = 0; i < n && ties; i++)
                    values[i] = ties == 1 ? (float)(i * 7 % 5) : -3;
                memcpy(sorted, values, n * sizeof *values);
                qsort(sorted, n, sizeof *sorted, compare);
                sorted[n] = INFINITY;
                for (size_t rank = 1; rank <= n; rank++) {
                    float at;
                    float next;
                    kernels.find_rank(values, n, rank, &at, &next);
                    CHECK(at >= sorted[rank - 1] && next <= sorted[rank]);
                    /* As near as can be where no tie stands in the way. */
                    CHECK(sorted[rank - 1] == sorted[rank] ||
                          (at < sorted[rank] && next == sorted[rank]));
                }
            }
    }
}

/* Row r of those that pick_least is shown; kinds: of values. Every fifth row has few finite ones.
 */
static void draw_row(size_t r, size_t rank, size_t kinds, size_t n, float *values)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t drawn = rt_random(rank, RT_RANDOM_TEST, i, kinds, n + 1000 * r);
        bool is_none = drawn % (r % 5 == 4 ? 2 : 7) == 0;
        values[i] = is_none ? INFINITY : (float)(drawn % kinds) * 1.37f - 300;
    }
}

static void expect_least(const float *values, size_t n, size_t rank, uint32_t *ids)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        size_t before = 0;
        for (size_t j = 0; j < n; j++)
            before += values[j] < values[i] || (values[j] <= values[i] && j < i);
        if (before < rank && isfinite(values[i]))
            ids[found++] = (uint32_t)(3 * i + 7);
    }
    while (found < rank)
        ids[found++] = UINT32_MAX;
}

RT_TEST("the least are picked by value and place, ties and infinities among them")
{
    enum { N = 160, ROWS = 19 };
    static float values[ROWS * N];
    static uint32_t expected[ROWS * N];
    static uint32_t out[ROWS * N + 16];
    uint32_t ids[N];
    for (size_t i = 0; i < N; i++)
        ids[i] = (uint32_t)(3 * i + 7);
    for (size_t n = 16; n <= N; n += 48)
        for (size_t kinds = 1; kinds <= 1000000; kinds *= 100) /* different values */
            for (size_t rank = 1; rank <= n; rank += 1 + n / 20) {
                for (size_t r = 0; r < ROWS; r++) {
                    draw_row(r, rank, kinds, n, values + r * n);
                    expect_least(values + r * n, n, rank, expected + r * rank);
                }
                for (int isa = 0; isa < RT_N_ISAS; isa++) {
                    struct rt_kernels kernels = pick(isa);
                    for (size_t n_rows = 1; kernels.l2 && n_rows <= ROWS; n_rows += 6) {
                        kernels.pick_least(values, n_rows, n, rank, ids, out);
                        CHECK(memcmp(out, expected, n_rows * rank * sizeof *out) == 0);
                    }
                }
            }
}

RT_TEST("picking keeps order and count")
{
    float values[64];
    uint32_t ids[64];
    for (uint32_t i = 0; i < 64; i++) {
        values[i] = (float)i * 0.5f;
        ids[i] = i * 3 + 1;
    }
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        struct rt_kernels kernels = pick(isa);
        for (uint64_t m = 0; kernels.l2 && m < 200; m++) {
            uint64_t mask = m == 199 ? UINT64_MAX : rt_random(1, RT_RANDOM_TEST, m, 0, 0) >> m % 64;
            float out_values[80];
            uint32_t out_ids[80];
            size_t n = kernels.pick(values, ids, mask, out_values, out_ids);
            size_t at = 0;
            CHECK(n == (size_t)__builtin_popcountll(mask));
            for (uint32_t i = 0; i < 64; i++)
                if (mask >> i & 1) {
                    CHECK(at < n && out_ids[at] == ids[i] && out_values[at] == values[i]);
                    at++;
                }
        }
    }
}

/* The table is chosen once in a process, so a child of ours looks at each setting. */
static int with_isa(const char *name, char *text, size_t text_size)
{
    char command[4200];
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return -1;
    self[n] = '\0';
    (void)snprintf(command, sizeof command, "RANKTAPE_ISA=%s '%s' --init", name, self);
    FILE *child = popen(command, "r");
    if (!child)
        return -1;
    size_t got = fread(text, 1, text_size - 1, child);
    text[got] = '\0';
    return pclose(child);
}

RT_TEST("RANKTAPE_ISA chooses, and a name this machine does not know is refused with the list")
{
    char text[600];
#if defined(__x86_64__)
    for (int isa = 0; isa < RT_N_ISAS; isa++) {
        CHECK(with_isa(rt_isa_name((enum rt_isa)isa), text, sizeof text) == 0);
        if (rt_isa_is_here((enum rt_isa)isa))
            CHECK(strcmp(text, rt_isa_name((enum rt_isa)isa)) == 0);
        else
            CHECK(strstr(text, "has only: portable"));
    }
    CHECK(with_isa("sse9", text, sizeof text) == 0 && strstr(text, "'sse9'") &&
          strstr(text, "has only: portable"));
#else
    (void)with_isa;
    (void)text;
#endif
    CHECK(rt_isa_is_here(RT_ISA_PORTABLE));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--init") == 0) {
        enum rt_status st = rt_kernels_init(&err);
        (void)fputs(st == RT_USAGE ? err.text
                    : st == RT_OK  ? rt_isa_name(rt_kernels()->isa)
                                   : "?",
                    stdout);
        return 0;
    }
    return rt_test_main(argc, argv);
}
