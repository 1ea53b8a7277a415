#include "core/units.h"
#include "tests/rt_test.h"

#define CHECK_BYTES(text, expected)                                                                \
    do {                                                                                           \
        uint64_t got = 7;                                                                          \
        CHECK(rt_units_parse_bytes(text, &got) == 0);                                              \
        CHECK(got == (expected));                                                                  \
    } while (0)
#define CHECK_SECONDS(text, expected)                                                              \
    do {                                                                                           \
        double got = 7;                                                                            \
        CHECK(rt_units_parse_seconds(text, &got) == 0);                                            \
        CHECK(got == (expected));                                                                  \
    } while (0)
#define CHECK_TEXT(call, expected)                                                                 \
    do {                                                                                           \
        char buffer[RT_UNITS_TEXT];                                                                \
        memset(buffer, 'x', sizeof buffer);                                                        \
        const char *got = (call);                                                                  \
        if (strcmp(got, expected) != 0)                                                            \
            RT_TEST_FAILED("%s gave '%s', not '%s'", #call, got, expected);                        \
    } while (0)

RT_TEST("sizes are read in powers of 1024")
{
    CHECK_BYTES("0", 0u);
    CHECK_BYTES("4096", 4096u);
    CHECK_BYTES("512M", UINT64_C(512) << 20);
    CHECK_BYTES("4G", UINT64_C(4) << 30);
    CHECK_BYTES("1.5T", UINT64_C(3) << 39);
    CHECK_BYTES("1k", 1024u);
    CHECK_BYTES("64MiB", UINT64_C(64) << 20);
    CHECK_BYTES("0.1K", 102u);
    CHECK_BYTES("18446744073709551615", UINT64_MAX);
    CHECK_BYTES("16383P", UINT64_C(16383) << 50);
    CHECK_BYTES("0.3333333333333333333333333333333333G", UINT64_C(357913941));
}

RT_TEST("what is no size is refused and changes nothing")
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "-1",
                                      "+1",
                                      "1X",
                                      "1 M",
                                      "M",
                                      "1.5",
                                      "1.",
                                      ".5M",
                                      "1e9",
                                      "1MB",
                                      "1Mi",
                                      "1MiBx",
                                      "0x10",
                                      "1,000",
                                      "16384P",
                                      "18446744073709551616",
                                      "99999999999999999999999G",
                                      "nan",
                                      "inf"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t got = 7;
        if (rt_units_parse_bytes(bad[i], &got) != -1 || got != 7)
            RT_TEST_FAILED("'%s' was read as %llu", bad[i], (unsigned long long)got);
    }
}

RT_TEST("durations are read in seconds, minutes, hours or as a clock")
{
    CHECK_SECONDS("5.911111111111111112", 5.911111111111111112);
    CHECK_SECONDS("90", 90.0);
    CHECK_SECONDS("0.5", 0.5);
    CHECK_SECONDS("90s", 90.0);
    CHECK_SECONDS("5m", 300.0);
    CHECK_SECONDS("1.5h", 5400.0);
    CHECK_SECONDS("2h", 7200.0);
    CHECK_SECONDS("1:02:03", 3723.0);
    CHECK_SECONDS("100:00:00", 360000.0);
    CHECK_SECONDS("0", 0.0);
}

RT_TEST("what is no duration is refused and changes nothing")
{
    static const char *const bad[] = {
        "",           "-1",       "5 m",       "5d",
        "m",          "1:2:3",    "1:60:00",   "1:00",
        "1:00:60",    "1:00:00s", "1.5:00:00", "5mm",
        "inf",        "1e3",      "1:00:000",  "9999999999999999999999",
        "99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double got = 7;
        if (rt_units_parse_seconds(bad[i], &got) != -1 || got != 7)
            RT_TEST_FAILED("'%s' was read as %g", bad[i], got);
    }
}

RT_TEST("counts are digits and nothing else")
{
    uint64_t got = 7;
    CHECK(rt_units_parse_count("1000000", &got) == 0 && got == 1000000);
    CHECK(rt_units_parse_count("18446744073709551615", &got) == 0 && got == UINT64_MAX);
    got = 7;
    CHECK(rt_units_parse_count("18446744073709551616", &got) == -1 && got == 7);
    CHECK(rt_units_parse_count("1,000", &got) == -1 && rt_units_parse_count("", &got) == -1);
    CHECK(rt_units_parse_count("1.0", &got) == -1 && rt_units_parse_count("-3", &got) == -1);
    CHECK(rt_units_parse_count("3 ", &got) == -1 && got == 7);
}

RT_TEST("bytes are shown with one decimal of the unit that fits")
{
    CHECK_TEXT(rt_units_bytes(0, buffer), "0 bytes");
    CHECK_TEXT(rt_units_bytes(1, buffer), "1 byte");
    CHECK_TEXT(rt_units_bytes(1023, buffer), "1023 bytes");
    CHECK_TEXT(rt_units_bytes(1024, buffer), "1.0 KiB");
    CHECK_TEXT(rt_units_bytes(1048575, buffer), "1.0 MiB");
    CHECK_TEXT(rt_units_bytes(67318579, buffer), "64.2 MiB");
    CHECK_TEXT(rt_units_bytes(UINT64_C(128000000008), buffer), "119.2 GiB");
    CHECK_TEXT(rt_units_bytes(UINT64_MAX, buffer), "16.0 EiB");
    CHECK_TEXT(rt_units_byte_rate(67318579.3, buffer), "64.2 MiB/s");
    CHECK_TEXT(rt_units_byte_rate(-1, buffer), "0 bytes/s");
    CHECK_TEXT(rt_units_byte_rate(1e300, buffer), "888.2 PiB/s");
}

RT_TEST("counts have separators, rates three digits")
{
    CHECK_TEXT(rt_units_count(0, buffer), "0");
    CHECK_TEXT(rt_units_count(999, buffer), "999");
    CHECK_TEXT(rt_units_count(1000, buffer), "1,000");
    CHECK_TEXT(rt_units_count(412000, buffer), "412,000");
    CHECK_TEXT(rt_units_count(UINT64_MAX, buffer), "18,446,744,073,709,551,615");
    CHECK_TEXT(rt_units_rate(526123.4, buffer), "526,000");
    CHECK_TEXT(rt_units_rate(6119.7, buffer), "6,120");
    CHECK_TEXT(rt_units_rate(999600, buffer), "1,000,000");
    CHECK_TEXT(rt_units_rate(12.34, buffer), "12.3");
    CHECK_TEXT(rt_units_rate(9.999, buffer), "10.0");
    CHECK_TEXT(rt_units_rate(0.05, buffer), "0.05");
    CHECK_TEXT(rt_units_rate(0, buffer), "0.00");
    CHECK_TEXT(rt_units_rate(99.7, buffer), "100");
}

RT_TEST("time is shown as seconds, then as a clock")
{
    CHECK_TEXT(rt_units_seconds(0.44, buffer), "0.4 s");
    CHECK_TEXT(rt_units_seconds(3.1, buffer), "3.1 s");
    CHECK_TEXT(rt_units_seconds(99.94, buffer), "99.9 s");
    CHECK_TEXT(rt_units_seconds(99.96, buffer), "1:40");
    CHECK_TEXT(rt_units_seconds(3723, buffer), "1:02:03");
    CHECK_TEXT(rt_units_seconds(-1, buffer), "0.0 s");
    CHECK_TEXT(rt_units_left(2.2, buffer), "0:02");
    CHECK_TEXT(rt_units_left(754, buffer), "12:34");
    CHECK_TEXT(rt_units_left(3723, buffer), "1:02:03");
}

RT_TEST_MAIN()
