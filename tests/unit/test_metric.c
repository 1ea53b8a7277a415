#include "core/fpenv.h"
#include "core/metric.h"
#include "tests/rt_test.h"

#include <fenv.h>
#include <math.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

RT_TEST("a value that is not finite makes a row bad, wherever it stands")
{
    static const float wild[] = {NAN, INFINITY, -INFINITY};
    for (size_t dim = 1; dim < 40; dim++)
        for (size_t at = 0; at < dim; at++)
            for (size_t w = 0; w < 3; w++)
                for (int metric = 0; metric < 3; metric++) {
                    float row[40];
                    float before[40];
                    for (size_t i = 0; i < dim; i++)
                        row[i] = (float)i + 1;
                    row[at] = wild[w];
                    memcpy(before, row, sizeof row);
                    CHECK(rt_metric_prepare_row((enum rt_metric)metric, row, dim) ==
                          RT_ROW_NOT_FINITE);
                    CHECK(memcmp(before, row, dim * sizeof *row) == 0);
                }
}

RT_TEST("infinities of both signs do not cancel")
{
    float row[] = {INFINITY, -INFINITY};
    CHECK(rt_metric_prepare_row(RT_L2, row, 2) == RT_ROW_NOT_FINITE);
}

RT_TEST("a row may be 2^60 long and no longer")
{
    for (int metric = 0; metric < 3; metric++) {
        float longest[] = {0, -0x1p60f, 0};
        float longer[] = {0x1p60f, 0x1p40f};
        float huge[] = {3e38f, 3e38f, 3e38f};
        CHECK(rt_metric_prepare_row((enum rt_metric)metric, longest, 3) == RT_ROW_GOOD);
        CHECK(rt_metric_prepare_row((enum rt_metric)metric, longer, 2) == RT_ROW_TOO_LARGE);
        CHECK(rt_metric_prepare_row((enum rt_metric)metric, huge, 3) == RT_ROW_TOO_LARGE);
    }
}

RT_TEST("cosine brings rows to length 1, even denormal ones, and has no direction for zero")
{
    float row[] = {3, -4, 0};
    float tiny[] = {3e-45f, -4e-45f};
    float zero[] = {0.0f, -0.0f};
    CHECK(rt_metric_prepare_row(RT_COSINE, row, 3) == RT_ROW_GOOD);
    CHECK(row[0] == 0.6f && row[1] == -0.8f && row[2] == 0);
    CHECK(rt_metric_prepare_row(RT_COSINE, tiny, 2) == RT_ROW_GOOD);
    CHECK(fabs((double)tiny[0] * (double)tiny[0] + (double)tiny[1] * (double)tiny[1] - 1) < 1e-6);
    CHECK(rt_metric_prepare_row(RT_COSINE, zero, 2) == RT_ROW_ZERO);
    CHECK(signbit(zero[1]));
    CHECK(rt_metric_prepare_row(RT_L2, zero, 2) == RT_ROW_GOOD);
    CHECK(rt_metric_prepare_row(RT_IP, zero, 2) == RT_ROW_GOOD);
}

RT_TEST("l2 and ip leave rows as they are")
{
    float row[] = {1e-45f, 5, -0.0f};
    float before[3];
    memcpy(before, row, sizeof row);
    CHECK(rt_metric_prepare_row(RT_L2, row, 3) == RT_ROW_GOOD);
    CHECK(rt_metric_prepare_row(RT_IP, row, 3) == RT_ROW_GOOD);
    CHECK(memcmp(before, row, sizeof row) == 0);
}

RT_TEST("metrics have names, verdicts have words, cosine is shown as half")
{
    static const char *const names[] = {"l2", "ip", "cosine"};
    enum rt_metric metric = RT_IP;
    for (int i = 0; i < 3; i++) {
        CHECK(rt_metric_parse(names[i], &metric) == 0 && metric == (enum rt_metric)i);
        CHECK(strcmp(rt_metric_name(metric), names[i]) == 0);
    }
    CHECK(rt_metric_parse("L2", &metric) == -1 && metric == RT_COSINE);
    CHECK(rt_row_verdict_text(RT_ROW_GOOD) == NULL);
    CHECK(rt_row_verdict_text(RT_ROW_NOT_FINITE) && rt_row_verdict_text(RT_ROW_TOO_LARGE) &&
          rt_row_verdict_text(RT_ROW_ZERO));
    CHECK(rt_metric_shown(RT_L2, 3) == 3 && rt_metric_shown(RT_IP, -3) == -3 &&
          rt_metric_shown(RT_COSINE, 3) == 1.5f);
}

RT_TEST("a thread's rounding and denormals are set right and a wrong setting is noticed")
{
    rt_fpenv_set();
    CHECK(rt_fpenv_is_strict());
    CHECK(fesetround(FE_UPWARD) == 0);
    CHECK(!rt_fpenv_is_strict());
    rt_fpenv_set();
    CHECK(rt_fpenv_is_strict());
#if defined(__SSE2__)
    static const unsigned bits[] = {0x8000, 0x0040, 0x2000};
    for (int i = 0; i < 3; i++) {
        _mm_setcsr(_mm_getcsr() | bits[i]);
        CHECK(!rt_fpenv_is_strict());
        rt_fpenv_set();
        CHECK(rt_fpenv_is_strict());
    }
#endif
}

RT_TEST_MAIN()
