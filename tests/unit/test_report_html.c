#define _GNU_SOURCE
#include "tests/rt_test.h"

#include "jobs/html_chart.h"
#include "jobs/report_html.h"

#include <math.h>
#include <stdint.h>

/* The page of a record given as JSON text; the caller frees it. */
static char *page_of(const json_t *record)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    rt_report_html(out, record);
    (void)fclose(out);
    return text;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        n++;
    return n;
}

static const char *const whole =
    "{'job': 'build', 'status': 'done', 'rows': 1000, 'dimension': 8, 'element': 'f32', 'ranks': "
    "1000, 'lists': 4, 'seconds': 10.0, 'digest': 'd', 'generation': 1, 'bytes': 5, 'nodes': 100, "
    "'hosts': ['n1', 'n<2>'], 'arguments': ['a&b', 'c'], 'versions': {'mpi': 'x'}, 'options': "
    "{'seed': {'value': 0, 'source': 'default'}}, 'list_rows': {'smallest': 0, 'median': 9, 'p99': "
    "20, 'largest': 20, 'empty': 1, 'histogram': [{'from': 0, 'to': 0, 'lists': 1}, {'from': 8, "
    "'to': 22, 'lists': 3}]}, 'training': {'log': [{'stage': 'lloyd', 'number': 1, 'moved': 10, "
    "'objective': 5.0}, {'stage': 'lloyd', 'number': 2, 'moved': 0, 'objective': 4.0}]}, 'limits': "
    "{'flops_per_second': 0.0, 'read_bytes_per_second': 1e9, 'write_bytes_per_second': 0.0, "
    "'exchange_bytes_per_second': 1.0}, 'phases': [{'name': 'train', 'unit': 'rows', 'seconds': "
    "4.0, 'start_seconds': 1.0, 'busy_seconds_fastest': 1.0, 'busy_seconds_slowest': 3.0, "
    "'slowest_rank': 7, 'fastest_rank': 999, 'busy_seconds_quartiles': [1.5, 2.0, 2.5], "
    "'busy_seconds_ranks': null, 'units': 1000, 'units_per_second': 250.0, 'bytes_read': 100, "
    "'bytes_written': 0, 'bytes_exchanged': 3, 'memory_bytes': 9, 'planned': {'memory_bytes': 0, "
    "'flops': 1e9, 'bytes_read': 100, 'bytes_written': 0, 'bytes_exchanged': 1, 'seconds': "
    "null}}]}";

static json_t *parse(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *record = json_loads(copy, 0, NULL);
    free(copy);
    return record;
}

RT_TEST("of a thousand ranks the page shows five places")
{
    json_t *record = parse(whole);
    REQUIRE(record != NULL);
    char *page = page_of(record);
    REQUIRE(page != NULL);
    CHECK(count(page, "<g><title>") == 5);
    CHECK(strstr(page, "<g><title>slowest, train: worked 3.0 s, waited 1.0 s</title>") != NULL);
    CHECK(strstr(page, "<g><title>faster quarter, train: worked 1.5 s, waited 2.5 s</title>") !=
          NULL);
    CHECK(strstr(page, "rank 7") && strstr(page, "rank 999"));
    CHECK(strstr(page, "<code>n&lt;2&gt;</code> and 98 more") && strstr(page, "a&amp;b"));
    CHECK(!strstr(page, "nan") && !strstr(page, "inf"));
    free(page);
    json_decref(record);
}

/* Every value of the record, one after the other, becomes something else: whatever a page is made
 * of, it ends as one, and no number in it is none. */
static void vary(json_t *root, json_t *node, size_t *n)
{
    static const char *const others[] = {"null", "-1", "1e308", "'<x>'", "[]", "{}", "0", "[[1]]"};
    void *at = json_is_object(node) ? json_object_iter(node) : NULL;
    size_t size = json_is_array(node) ? json_array_size(node) : 0;
    for (size_t i = 0; i < size || at; i++) {
        const char *key = at ? json_object_iter_key(at) : NULL;
        json_t *old = json_incref(at ? json_object_iter_value(at) : json_array_get(node, i));
        for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
            char text[16];
            (void)snprintf(text, sizeof text, "%s", others[o]);
            for (char *c = text; *c; c++)
                *c = *c == '\'' ? '"' : *c;
            json_t *other = json_loads(text, JSON_DECODE_ANY, NULL);
            (void)(key ? json_object_set_new(node, key, other)
                       : json_array_set_new(node, i, other));
            char *page = page_of(root);
            REQUIRE(page != NULL);
            if (!strstr(page, "</html>") || strstr(page, "nan%") || strstr(page, "inf%") ||
                strstr(page, "<x>"))
                RT_TEST_FAILED("a page with %s as %s", text, key ? key : "an entry");
            free(page);
            ++*n;
        }
        (void)(key ? json_object_set(node, key, old) : json_array_set(node, i, old));
        vary(root, old, n);
        json_decref(old);
        at = at ? json_object_iter_next(node, json_object_iter_at(node, key)) : NULL;
    }
}

RT_TEST("whatever a record holds, its page ends and holds no markup of others")
{
    json_t *record = parse(whole);
    REQUIRE(record != NULL);
    size_t n = 0;
    vary(record, record, &n);
    CHECK(n > 500);
    json_decref(record);
}

RT_TEST("numbers on axes are short")
{
    char text[RT_CHART_LABEL];
    CHECK(strcmp(rt_chart_number(0, text), "0") == 0);
    CHECK(strcmp(rt_chart_number(0.25, text), "0.25") == 0);
    CHECK(strcmp(rt_chart_number(2500, text), "2.5k") == 0);
    CHECK(strcmp(rt_chart_number(999999, text), "1M") == 0);
    CHECK(strcmp(rt_chart_number(3e9, text), "3G") == 0);
}

RT_TEST_MAIN()
