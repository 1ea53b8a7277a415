#include "jobs/report_html.h"

#include "core/units.h"
#include "jobs/html.h"
#include "jobs/html_chart.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static uint64_t count(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static uint64_t whole(double value)
{
    return value > 0 ? (value < 1e18 ? (uint64_t)value : UINT64_C(1000000000000000000)) : 0;
}

static int integer(const json_t *object, const char *key)
{
    uint64_t value = count(object, key);
    return value < INT_MAX ? (int)value : INT_MAX;
}

static bool is_build(const json_t *record)
{
    return strcmp(text_of(record, "job"), "build") == 0;
}

/* ---- one sentence ---- */

static void begin_page(FILE *out, const json_t *record)
{
    char title[4200];
    const json_t *words = json_object_get(record, "arguments");
    const char *index = json_string_value(json_array_get(words, is_build(record) ? 1 : 0));
    (void)snprintf(title, sizeof title, "ranktape %s%s%s", text_of(record, "job"),
                   index ? ": " : "", index ? index : "");
    rt_html_begin(out, title);
}

static void say_failure(FILE *out, const json_t *record)
{
    rt_html_put(out, "<p class=\"lead bad\">");
    rt_html_text(out, text_of(record, "status"));
    rt_html_put(out, " (exit status %d): ", integer(record, "exit_status"));
    rt_html_text(out, text_of(record, "error"));
    rt_html_put(out, "</p>\n");
}

static void say_build(FILE *out, const json_t *record)
{
    char text[4][RT_UNITS_TEXT];
    double seconds = number(record, "seconds");
    uint64_t rows = count(record, "rows");
    int ranks = integer(record, "ranks");
    rt_html_put(out, "<p class=\"lead\">%s rows of %d ", rt_units_count(rows, text[0]),
                integer(record, "dimension"));
    rt_html_text(out, text_of(record, "element"));
    rt_html_put(out, " went into %s lists on %d rank%s in %s: %s rows a second.",
                rt_units_count(count(record, "lists"), text[1]), ranks, ranks == 1 ? "" : "s",
                rt_units_seconds(seconds, text[2]),
                rt_units_rate(seconds > 0 ? (double)rows / seconds : 0, text[3]));
    if (json_object_get(record, "recall"))
        rt_html_put(out, " Recall of the gate: %.4f.", number(record, "recall"));
    rt_html_put(out, "</p>\n<p>Generation %llu, %s on disk, digest <code>",
                (unsigned long long)count(record, "generation"),
                rt_units_bytes(count(record, "bytes"), text[0]));
    rt_html_text(out, text_of(record, "digest"));
    rt_html_put(out, "</code>");
    if (count(record, "rows_skipped"))
        rt_html_put(out, "; %s bad rows were left out",
                    rt_units_count(count(record, "rows_skipped"), text[0]));
    rt_html_put(out, "</p>\n");
}

/* What another job tells: its numbers and words by name. */
static void say_edit(FILE *out, const json_t *record)
{
    char text[RT_UNITS_TEXT];
    const char *key = NULL;
    json_t *value = NULL;
    rt_html_put(out, "<p class=\"lead\">");
    rt_html_text(out, text_of(record, "status"));
    rt_html_put(out, " in %s.</p>\n", rt_units_seconds(number(record, "seconds"), text));
    rt_html_table(out, NULL, "what|>how much");
    json_object_foreach((json_t *)record, key, value)
    {
        bool is_told =
            strcmp(key, "job") == 0 || strcmp(key, "status") == 0 || strcmp(key, "seconds") == 0;
        if (is_told || !(json_is_number(value) || json_is_string(value)))
            continue;
        rt_html_put(out, "<tr><th scope=\"row\">");
        for (const char *c = key; *c; c++)
            rt_html_put(out, "%c", *c == '_' ? ' ' : *c); /* our own names */
        rt_html_put(out, "</th><td class=\"n\">");
        if (json_is_string(value))
            rt_html_text(out, json_string_value(value));
        else if (json_is_real(value))
            rt_html_put(out, "%.4g", json_real_value(value));
        else if (strncmp(key, "bytes", 5) == 0 && json_integer_value(value) >= 0)
            rt_html_put(out, "%s", rt_units_bytes((uint64_t)json_integer_value(value), text));
        else if (json_integer_value(value) >= 0)
            rt_html_put(out, "%s", rt_units_count((uint64_t)json_integer_value(value), text));
        else
            rt_html_put(out, "%lld", (long long)json_integer_value(value));
        rt_html_put(out, "</td></tr>\n");
    }
    rt_html_end_table(out);
}

/* ---- planned against actual ---- */

enum unit { BYTES, SECONDS };

static void put_amount(FILE *out, enum unit unit, double amount)
{
    char text[RT_UNITS_TEXT];
    rt_html_put(out, "<td class=\"n\">%s</td>",
                unit == BYTES ? rt_units_bytes(whole(amount), text)
                              : rt_units_seconds(amount, text));
}

static void compare(FILE *out, const char *phase, const json_t *planned, const json_t *actual,
                    enum unit unit)
{
    if (!json_is_number(planned) || !json_is_number(actual))
        return;
    double plan = json_number_value(planned);
    double is = json_number_value(actual);
    if (plan <= 0 && is <= 0)
        return;
    rt_html_put(out, "<tr><th scope=\"row\">");
    rt_html_text(out, phase);
    rt_html_put(out, "</th>");
    put_amount(out, unit, plan);
    put_amount(out, unit, is);
    if (plan > 0)
        rt_html_put(out, "<td class=\"n\">%.0f %%</td><td>", 100 * is / plan);
    else
        rt_html_put(out, "<td class=\"n\"></td><td class=\"bar\">");
    if (plan > 0)
        rt_html_share(out, is / plan);
    rt_html_put(out, "</td></tr>\n");
}

static void compare_measure(FILE *out, const json_t *phases, const char *caption, const char *key,
                            enum unit unit)
{
    bool is_known = false;
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        is_known = is_known ||
                   (json_is_number(json_object_get(json_object_get(phase, "planned"), key)) &&
                    (number(json_object_get(phase, "planned"), key) > 0 || number(phase, key) > 0));
    }
    if (!is_known)
        return;
    rt_html_group(out, caption, 5);
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        compare(out, text_of(phase, "name"),
                json_object_get(json_object_get(phase, "planned"), key),
                json_object_get(phase, key), unit);
    }
}

static void compare_plan(FILE *out, const json_t *record)
{
    const json_t *phases = json_object_get(record, "phases");
    if (!json_object_get(json_array_get(phases, 0), "planned"))
        return;
    rt_html_section(out, "Planned and actual",
                    "A bar is what was needed, of what the plan said; a hatched one is full: "
                    "it was more.");
    rt_html_table(out, NULL, "phase|>planned|>actual|>of plan|");
    compare_measure(out, phases, "Memory of the rank that held most", "memory_bytes", BYTES);
    compare_measure(out, phases, "Read, by all ranks", "bytes_read", BYTES);
    compare_measure(out, phases, "Written, by all ranks", "bytes_written", BYTES);
    compare_measure(out, phases, "Exchanged between ranks", "bytes_exchanged", BYTES);
    compare_measure(out, phases,
                    "Time; planned from the limits below, as if disks and network were never "
                    "faster",
                    "seconds", SECONDS);
    rt_html_end_table(out);
    rt_html_end_section(out);
}

/* ---- throughput ---- */

static void put_rate(FILE *out, const char *what, double amount, double seconds, double limit,
                     bool is_flops)
{
    char rate[RT_UNITS_TEXT];
    char most[RT_UNITS_TEXT];
    double is = seconds > 0 ? amount / seconds : 0;
    if (is <= 0)
        return;
    rt_html_put(out, "<tr><th scope=\"row\">%s</th>", what);
    if (is_flops) {
        (void)snprintf(rate, sizeof rate, "%.1f GFLOP/s", is / 1e9);
        (void)snprintf(most, sizeof most, "%.1f GFLOP/s", limit / 1e9);
    } else {
        (void)rt_units_byte_rate(is, rate);
        (void)rt_units_byte_rate(limit, most);
    }
    if (limit > 0)
        rt_html_put(out,
                    "<td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%.0f %%</td><td "
                    "class=\"bar\">",
                    rate, most, 100 * is / limit);
    else
        rt_html_put(
            out,
            "<td class=\"n\">%s</td><td class=\"n\"></td><td class=\"n\"></td><td class=\"bar\">",
            rate);
    if (limit > 0)
        rt_html_share(out, is / limit);
    rt_html_put(out, "</td></tr>\n");
}

static void show_throughput(FILE *out, const json_t *record)
{
    const json_t *phases = json_object_get(record, "phases");
    const json_t *limits = json_object_get(record, "limits");
    char rate[RT_UNITS_TEXT];
    if (json_array_size(phases) == 0)
        return;
    rt_html_section(out, limits ? "Throughput beside the machine's limit" : "Throughput",
                    limits ? "The limits were measured for about a second after the job, with all "
                             "ranks at work at once: rows assigned in memory, a small file written "
                             "and synced and read back, messages between ranks. A disk's cache can "
                             "be faster than that. Arithmetic is what the plan counts."
                           : "Amounts over the whole time of a phase, waiting included.");
    rt_html_table(out, NULL, limits ? "what|>rate|>limit|>of it|" : "what|>rate|||");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        double seconds = number(phase, "seconds");
        char caption[256];
        (void)snprintf(caption, sizeof caption, "%.40s: %s %.40s a second", text_of(phase, "name"),
                       rt_units_rate(number(phase, "units_per_second"), rate),
                       json_object_get(phase, "unit") ? text_of(phase, "unit") : "units");
        rt_html_group(out, caption, 5);
        put_rate(out, "arithmetic", number(json_object_get(phase, "planned"), "flops"), seconds,
                 number(limits, "flops_per_second"), true);
        put_rate(out, "read", number(phase, "bytes_read"), seconds,
                 number(limits, "read_bytes_per_second"), false);
        put_rate(out, "written", number(phase, "bytes_written"), seconds,
                 number(limits, "write_bytes_per_second"), false);
        put_rate(out, "exchanged", number(phase, "bytes_exchanged"), seconds,
                 number(limits, "exchange_bytes_per_second"), false);
    }
    rt_html_end_table(out);
    rt_html_end_section(out);
}

/* ---- lists ---- */

static void mark_size(const struct rt_chart *c, double rows, double y, const char *name)
{
    char text[RT_UNITS_TEXT];
    double x = rt_chart_x(c, rows);
    rt_html_put(
        c->out,
        "<line class=\"mark dash\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"8\" y2=\"%d\"/>"
        "<text class=\"ink\" x=\"%.2f%%\" dx=\"%d\" y=\"%.0f\" text-anchor=\"%s\">%s %s</text>\n",
        x, x, 8 + c->height, x, x > 70 ? -5 : 5, y, x > 70 ? "end" : "start", name,
        rt_units_count(whole(rows), text));
}

static void draw_sizes(FILE *out, const json_t *sizes, const json_t *histogram)
{
    double most = 0;
    size_t n = json_array_size(histogram);
    for (size_t i = 0; i < n; i++)
        most = fmax(most, number(json_array_get(histogram, i), "lists"));
    double first = number(json_array_get(histogram, 0), "from");
    double last = number(json_array_get(histogram, n - 1), "to") + 1;
    struct rt_chart c = {.out = out,
                         .id = "lists",
                         .x = {.from = first > 1 ? first : 0.5, .to = last, .is_log = true},
                         .y = {.from = 0, .to = most * 1.25},
                         .has_y = true,
                         .height = 200,
                         .x_title = "rows of a list (logarithmic)"};
    c.x.to = last > 2 * c.x.from ? last : 2 * c.x.from;
    rt_chart_begin(&c, "Histogram of list sizes",
                   "How many lists hold how many rows; four bars to a doubling.");
    for (size_t i = 0; i < n; i++) {
        const json_t *bin = json_array_get(histogram, i);
        double from = number(bin, "from");
        double x0 = rt_chart_x(&c, from > 0 ? from : 0.5);
        double x1 = rt_chart_x(&c, number(bin, "to") + 1);
        double y = rt_chart_y(&c, number(bin, "lists"));
        rt_html_put(out,
                    "<rect x=\"%.3f%%\" width=\"%.3f%%\" y=\"%.1f\" height=\"%.1f\" "
                    "style=\"fill:var(--c0);stroke:var(--paper)\"><title>%.0f to %.0f rows: %.0f "
                    "lists</title></rect>\n",
                    x0, x1 - x0, y, 8 + c.height - y, from, number(bin, "to"),
                    number(bin, "lists"));
    }
    mark_size(&c, number(sizes, "median"), 18, "median");
    mark_size(&c, number(sizes, "p99"), 32, "p99");
    mark_size(&c, number(sizes, "largest"), 46, "largest");
    rt_chart_end(&c);
    rt_html_put(out, "</figure>\n");
}

static void show_lists(FILE *out, const json_t *record)
{
    static const char *const names[][2] = {{"smallest", "smallest"},
                                           {"median", "median"},
                                           {"p99", "99 % have at most"},
                                           {"largest", "largest"}};
    const json_t *sizes = json_object_get(record, "list_rows");
    const json_t *histogram = json_object_get(sizes, "histogram");
    char text[RT_UNITS_TEXT];
    if (json_array_size(histogram) == 0)
        return;
    rt_html_section(out, "Sizes of the lists", NULL);
    draw_sizes(out, sizes, histogram);
    rt_html_table(out, NULL, "list|>rows");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        rt_html_put(out, "<tr><th scope=\"row\">%s</th><td class=\"n\">%s</td></tr>\n", names[i][1],
                    rt_units_count(count(sizes, names[i][0]), text));
    rt_html_put(out, "<tr><th scope=\"row\">empty lists</th><td class=\"n\">%s</td></tr>\n",
                rt_units_count(count(sizes, "empty"), text));
    rt_html_end_table(out);
    rt_html_put(out, "<details><summary>All bars as a table</summary>\n");
    rt_html_table(out, NULL, ">from|>to|>lists");
    for (size_t i = 0; i < json_array_size(histogram); i++) {
        const json_t *bin = json_array_get(histogram, i);
        rt_html_put(
            out,
            "<tr><td class=\"n\">%.0f</td><td class=\"n\">%.0f</td><td class=\"n\">%s</td></tr>\n",
            number(bin, "from"), number(bin, "to"), rt_units_count(count(bin, "lists"), text));
    }
    rt_html_end_table(out);
    rt_html_put(out, "</details>\n");
    rt_html_end_section(out);
}

/* ---- training ---- */

/* One figure of the steps that have it: points joined by lines. */
static void draw_steps(FILE *out, const json_t *log, const char *key, const char *id,
                       const char *title, bool is_log)
{
    double least = INFINITY;
    double most = 0;
    size_t n = json_array_size(log);
    size_t n_known = 0;
    for (size_t i = 0; i < n; i++) {
        double value = number(json_array_get(log, i), key);
        if (!json_is_number(json_object_get(json_array_get(log, i), key)) || value <= 0)
            continue;
        n_known++;
        least = fmin(least, value);
        most = fmax(most, value);
    }
    if (n_known < 2)
        return;
    struct rt_chart c = {.out = out,
                         .id = id,
                         .x = {.from = 1, .to = (double)n},
                         .y = {.from = is_log ? least / 1.5 : least - 0.1 * (most - least),
                               .to = is_log ? most * 1.5 : most + 0.1 * (most - least) + 1e-300,
                               .is_log = is_log},
                         .has_y = true,
                         .height = 160,
                         .x_title = "iteration"};
    if (!(c.y.to > c.y.from)) /* all the same */
        c.y = (struct rt_scale){.from = 0, .to = 2 * most, .is_log = false};
    rt_html_put(out, "<h3 class=\"note\">%s</h3>\n", title);
    rt_chart_begin(&c, title, "By iteration; the table below has the numbers.");
    double x0 = -1;
    double y0 = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(json_array_get(log, i), key);
        if (!json_is_number(value) || json_number_value(value) <= 0)
            continue;
        double x = rt_chart_x(&c, (double)(i + 1));
        double y = rt_chart_y(&c, json_number_value(value));
        if (x0 >= 0)
            rt_html_put(out,
                        "<line class=\"line\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%.1f\" y2=\"%.1f\" "
                        "style=\"stroke:var(--c0)\"/>\n",
                        x0, x, y0, y);
        rt_html_put(out, "<circle cx=\"%.2f%%\" cy=\"%.1f\" r=\"3.5\" style=\"fill:var(--c0)\"/>\n",
                    x, y);
        x0 = x;
        y0 = y;
    }
    rt_chart_end(&c);
    rt_html_put(out, "</figure>\n");
}

static void show_training(FILE *out, const json_t *record)
{
    const json_t *training = json_object_get(record, "training");
    const json_t *log = json_object_get(training, "log");
    char text[RT_UNITS_TEXT];
    if (json_array_size(log) == 0)
        return;
    rt_html_section(out, "Training, iteration by iteration", NULL);
    draw_steps(out, log, "moved", "moved", "Rows that moved to another list (logarithmic)", true);
    draw_steps(out, log, "objective", "objective",
               "Objective: sum of squared distances to the centroids", false);
    rt_html_table(out, NULL, "stage|>iteration|>rows moved|>objective");
    for (size_t i = 0; i < json_array_size(log); i++) {
        const json_t *step = json_array_get(log, i);
        rt_html_put(out, "<tr><th scope=\"row\">");
        rt_html_text(out, text_of(step, "stage"));
        rt_html_put(out, "</th><td class=\"n\">%d</td><td class=\"n\">%s</td><td class=\"n\">",
                    integer(step, "number"), rt_units_count(count(step, "moved"), text));
        if (json_is_number(json_object_get(step, "objective")))
            rt_html_put(out, "%.6g", number(step, "objective"));
        rt_html_put(out, "</td></tr>\n");
    }
    rt_html_end_table(out);
    rt_html_end_section(out);
}

/* ---- options, versions, hosts ---- */

static void put_value(FILE *out, const json_t *value)
{
    if (json_is_string(value)) {
        rt_html_text(out, json_string_value(value));
        return;
    }
    char *text = json_is_null(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    rt_html_text(out, json_is_true(value) ? "on" : json_is_false(value) ? "off" : text);
    free(text);
}

static void show_call(FILE *out, const json_t *record)
{
    const char *name = NULL;
    json_t *option = NULL;
    rt_html_section(out, "The call", NULL);
    rt_html_put(out, "<p><code>ranktape ");
    rt_html_text(out, text_of(record, "job"));
    for (size_t i = 0; i < json_array_size(json_object_get(record, "arguments")); i++) {
        rt_html_put(out, " ");
        rt_html_text(out,
                     json_string_value(json_array_get(json_object_get(record, "arguments"), i)));
    }
    rt_html_put(out, "</code></p>\n");
    rt_html_table(out, NULL, "option|value|where it came from");
    json_object_foreach(json_object_get(record, "options"), name, option)
    {
        rt_html_put(out, "<tr><th scope=\"row\"><code>--");
        rt_html_text(out, name);
        rt_html_put(out, "</code></th><td class=\"any\">");
        put_value(out, json_object_get(option, "value"));
        rt_html_put(out, "</td><td>");
        rt_html_text(out, text_of(option, "source"));
        rt_html_put(out, "</td></tr>\n");
    }
    rt_html_end_table(out);
    rt_html_end_section(out);
}

static void show_machine(FILE *out, const json_t *record)
{
    const char *name = NULL;
    json_t *version = NULL;
    const json_t *hosts = json_object_get(record, "hosts");
    size_t n_nodes = (size_t)count(record, "nodes");
    int ranks = integer(record, "ranks");
    rt_html_section(out, "The machine", NULL);
    rt_html_put(out, "<p>%d rank%s on %zu host%s: ", ranks, ranks == 1 ? "" : "s", n_nodes,
                n_nodes == 1 ? "" : "s");
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        rt_html_put(out, i ? ", <code>" : "<code>");
        rt_html_text(out, json_string_value(json_array_get(hosts, i)));
        rt_html_put(out, "</code>");
    }
    if (n_nodes > json_array_size(hosts))
        rt_html_put(out, " and %zu more", n_nodes - json_array_size(hosts));
    rt_html_put(out, "</p>\n");
    rt_html_table(out, NULL, "made of|version");
    json_object_foreach(json_object_get(record, "versions"), name, version)
    {
        rt_html_put(out, "<tr><th scope=\"row\">");
        rt_html_text(out, name);
        rt_html_put(out, "</th><td class=\"any\">");
        rt_html_text(out, json_string_value(version));
        rt_html_put(out, "</td></tr>\n");
    }
    rt_html_end_table(out);
    rt_html_end_section(out);
}

void rt_report_html(FILE *out, const json_t *record)
{
    begin_page(out, record);
    if (json_object_get(record, "error"))
        say_failure(out, record);
    else if (is_build(record) && json_object_get(record, "phases"))
        say_build(out, record);
    else
        say_edit(out, record);
    rt_report_timeline(out, record);
    compare_plan(out, record);
    show_throughput(out, record);
    show_lists(out, record);
    show_training(out, record);
    if (json_object_get(record, "options"))
        show_call(out, record);
    if (json_object_get(record, "versions"))
        show_machine(out, record);
    rt_html_end(out);
}
