#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128; /* products of a 64-bit number and a unit */

/* ---- reading ---- */

/* A decimal number at *text: whole part, and fraction = digits behind the point over 10^k. Moves
 * *text behind it. */
static int parse_decimal(const char **text, uint64_t *whole, uint64_t *fraction, uint64_t *power)
{
    const char *c = *text;
    *whole = *fraction = 0;
    *power = 1;
    if (*c < '0' || *c > '9')
        return -1;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(*whole, UINT64_C(10), whole) ||
            __builtin_add_overflow(*whole, (uint64_t)(*c - '0'), whole))
            return -1;
    if (*c == '.') {
        c++;
        if (*c < '0' || *c > '9')
            return -1;
        for (; *c >= '0' && *c <= '9'; c++)
            if (*power < UINT64_C(1000000000000)) { /* digits beyond are less than a byte */
                *fraction = *fraction * 10 + (uint64_t)(*c - '0');
                *power *= 10;
            }
    }
    *text = c;
    return 0;
}

int rt_units_parse_bytes(const char *text, uint64_t *out)
{
    static const char letters[] = "KMGTP";
    uint64_t whole;
    uint64_t fraction;
    uint64_t power;
    unsigned shift = 0;
    if (parse_decimal(&text, &whole, &fraction, &power) != 0)
        return -1;
    if (*text) {
        char upper = (char)(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
        const char *letter = strchr(letters, upper);
        if (!letter)
            return -1;
        shift = 10 * (unsigned)(letter - letters + 1);
        text++;
        if (strcmp(text, "iB") == 0)
            text += 2;
    }
    if (*text || (power > 1 && shift == 0)) /* half a byte is none */
        return -1;
    u128 value = ((u128)whole << shift) + ((u128)fraction << shift) / power;
    if (value > UINT64_MAX)
        return -1;
    *out = (uint64_t)value;
    return 0;
}

/* ':MM' with 00..59. */
static int parse_sixtieth(const char **text, uint64_t *out)
{
    const char *c = *text;
    if (c[0] != ':' || c[1] < '0' || c[1] > '5' || c[2] < '0' || c[2] > '9')
        return -1;
    *out = (uint64_t)(c[1] - '0') * 10 + (uint64_t)(c[2] - '0');
    *text = c + 3;
    return 0;
}

int rt_units_parse_seconds(const char *text, double *out)
{
    uint64_t whole;
    uint64_t fraction;
    uint64_t power;
    double unit = 1;
    const char *number = text;
    if (parse_decimal(&text, &whole, &fraction, &power) != 0 || whole > UINT64_C(1000000000))
        return -1;
    if (*text == ':') {
        uint64_t minutes;
        uint64_t seconds;
        if (power > 1 || parse_sixtieth(&text, &minutes) || parse_sixtieth(&text, &seconds) ||
            *text)
            return -1;
        *out = (double)(whole * 3600 + minutes * 60 + seconds);
        return 0;
    }
    if (*text) {
        unit = *text == 's' ? 1 : *text == 'm' ? 60 : *text == 'h' ? 3600 : 0;
        text++;
        if (unit == 0 || *text)
            return -1;
    }
    *out = strtod(number, NULL) * unit; /* the nearest, so that printed digits give it again */
    return 0;
}

int rt_units_parse_count(const char *text, uint64_t *out)
{
    uint64_t whole;
    uint64_t fraction;
    uint64_t power;
    if (parse_decimal(&text, &whole, &fraction, &power) != 0 || power > 1 || *text)
        return -1;
    *out = whole;
    return 0;
}

/* ---- writing ---- */

char *rt_units_bytes(uint64_t n_bytes, char *text)
{
    static const char *const names[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (n_bytes < 1024) {
        (void)snprintf(text, RT_UNITS_TEXT, "%" PRIu64 " %s", n_bytes,
                       n_bytes == 1 ? "byte" : names[0]);
        return text;
    }
    unsigned unit = 0;
    uint64_t tenths = 0;
    do { /* rounding may carry into the next unit: 1023.96 KiB is 1.0 MiB */
        unit++;
        unsigned shift = 10 * unit;
        tenths = (uint64_t)(((u128)n_bytes * 10 + (UINT64_C(1) << (shift - 1))) >> shift);
    } while (tenths >= 10240 && unit < 6);
    (void)snprintf(text, RT_UNITS_TEXT, "%" PRIu64 ".%u %s", tenths / 10, (unsigned)(tenths % 10),
                   names[unit]);
    return text;
}

/* A rate that came from a division by next to nothing, as a count. */
static uint64_t as_count(double x)
{
    return x >= 1e18 ? UINT64_C(1000000000000000000) : x > 0 ? (uint64_t)(x + 0.5) : 0;
}

char *rt_units_byte_rate(double bytes_per_second, char *text)
{
    (void)rt_units_bytes(as_count(bytes_per_second), text);
    (void)strcat(text, "/s");
    return text;
}

char *rt_units_count(uint64_t n, char *text)
{
    char digits[24];
    int n_digits = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *to = text;
    for (int i = 0; i < n_digits; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

char *rt_units_rate(double per_second, char *text)
{
    uint64_t count = as_count(per_second);
    if (count >= 100) {
        uint64_t grain = 1;
        while (count / grain >= 1000)
            grain *= 10;
        return rt_units_count((count + grain / 2) / grain * grain, text);
    }
    double shown = per_second > 0 ? per_second : 0;
    (void)snprintf(text, RT_UNITS_TEXT, "%.*f", shown >= 9.995 ? 1 : 2, shown);
    return text;
}

static char *clock_text(uint64_t seconds, char *text)
{
    uint64_t minutes = seconds / 60;
    if (minutes < 60)
        (void)snprintf(text, RT_UNITS_TEXT, "%" PRIu64 ":%02u", minutes, (unsigned)(seconds % 60));
    else
        (void)snprintf(text, RT_UNITS_TEXT, "%" PRIu64 ":%02u:%02u", minutes / 60,
                       (unsigned)(minutes % 60), (unsigned)(seconds % 60));
    return text;
}

char *rt_units_seconds(double seconds, char *text)
{
    if (seconds >= 99.95)
        return clock_text(as_count(seconds), text);
    (void)snprintf(text, RT_UNITS_TEXT, "%.1f s", seconds > 0 ? seconds : 0.0);
    return text;
}

char *rt_units_left(double seconds, char *text)
{
    return clock_text(as_count(seconds), text);
}
