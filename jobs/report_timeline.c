#include "jobs/report_html.h"

#include "core/units.h"
#include "jobs/html.h"
#include "jobs/html_chart.h"

#include <limits.h>
#include <string.h>

#define FILLS 6

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static int rank_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 && value < INT_MAX ? (int)value : 0;
}

/* The same fill wherever a phase comes again (the rounds of a vacuum). */
static int fill_of(const json_t *phases, size_t phase)
{
    int n_names = 0;
    const char *name = json_string_value(json_object_get(json_array_get(phases, phase), "name"));
    for (size_t i = 0; i <= phase; i++) {
        const char *other = json_string_value(json_object_get(json_array_get(phases, i), "name"));
        bool is_first = other != NULL;
        for (size_t j = 0; j < i && is_first; j++) {
            const char *before =
                json_string_value(json_object_get(json_array_get(phases, j), "name"));
            is_first = !before || strcmp(before, other) != 0;
        }
        if (other && name && strcmp(other, name) == 0)
            return n_names % FILLS;
        n_names += is_first;
    }
    return 0;
}

/* One line of the picture: a rank, or a place among very many. */
struct row {
    char label[24];
    int rank;  /* -1: not one rank */
    int place; /* of very many: 0 the slowest .. 4 the fastest */
};

static double work_of(const json_t *phase, const struct row *row)
{
    if (row->rank >= 0)
        return json_number_value(
            json_array_get(json_object_get(phase, "busy_seconds_ranks"), (size_t)row->rank));
    if (row->place == 0)
        return number(phase, "busy_seconds_slowest");
    if (row->place == 4)
        return number(phase, "busy_seconds_fastest");
    return json_number_value(
        json_array_get(json_object_get(phase, "busy_seconds_quartiles"), (size_t)(3 - row->place)));
}

static void draw_bar(const struct rt_chart *c, const json_t *phase, int fill, const struct row *row,
                     double y, double height)
{
    char worked[RT_UNITS_TEXT];
    char waited[RT_UNITS_TEXT];
    double begin = number(phase, "start_seconds");
    double seconds = number(phase, "seconds");
    double work = work_of(phase, row);
    work = work < seconds ? work : seconds;
    double x0 = rt_chart_x(c, begin);
    double x1 = rt_chart_x(c, begin + work);
    double x2 = rt_chart_x(c, begin + seconds);
    rt_html_put(c->out, "<g><title>");
    rt_html_text(c->out, row->label);
    rt_html_text(c->out, ", ");
    rt_html_text(c->out, json_string_value(json_object_get(phase, "name")));
    rt_html_put(c->out, ": worked %s, waited %s</title>", rt_units_seconds(work, worked),
                rt_units_seconds(seconds - work, waited));
    rt_html_put(c->out,
                "<rect x=\"%.3f%%\" width=\"%.3f%%\" y=\"%.1f\" height=\"%.1f\" "
                "fill=\"url(#fill%d)\"/><rect x=\"%.3f%%\" width=\"%.3f%%\" y=\"%.1f\" "
                "height=\"%.1f\" fill=\"url(#waiting)\"/></g>\n",
                x0, x1 - x0, y, height, fill, x1, x2 - x1, y, height);
    bool is_slowest =
        row->rank >= 0 ? row->rank == rank_of(phase, "slowest_rank") : row->place == 0;
    if (is_slowest) /* a flag at the end of its work */
        rt_html_put(c->out,
                    "<line class=\"mark\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
                    x1, x1, y - 2, y + height + 2);
}

static size_t make_rows(const json_t *phases, struct row rows[64])
{
    static const char *const places[] = {"slowest", "slower quarter", "middle", "faster quarter",
                                         "fastest"};
    size_t n = json_array_size(json_object_get(json_array_get(phases, 0), "busy_seconds_ranks"));
    bool are_few = n > 0 && n <= 64;
    n = are_few ? n : 5;
    for (size_t i = 0; i < n; i++) {
        rows[i] = (struct row){.rank = are_few ? (int)i : -1, .place = (int)i};
        if (are_few)
            (void)snprintf(rows[i].label, sizeof rows[i].label, "rank %zu", i);
        else
            (void)snprintf(rows[i].label, sizeof rows[i].label, "%s", places[i]);
    }
    return n;
}

static double end_of(const json_t *record, const json_t *phases)
{
    double end = number(record, "seconds");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        double phase_end = number(phase, "start_seconds") + number(phase, "seconds");
        end = phase_end > end ? phase_end : end;
    }
    return end > 0 ? end : 1;
}

static void draw_legend(FILE *out, const json_t *phases)
{
    char fill[16];
    unsigned shown = 0;
    rt_html_put(out, "<ul class=\"legend\">");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        int f = fill_of(phases, i);
        if (shown & 1u << f)
            continue;
        shown |= 1u << f;
        (void)snprintf(fill, sizeof fill, "fill%d", f);
        rt_html_swatch(out, fill,
                       json_string_value(json_object_get(json_array_get(phases, i), "name")));
    }
    rt_html_swatch(out, "waiting", "waiting for other ranks");
    rt_html_put(out, "<li><svg aria-hidden=\"true\"><line class=\"mark\" x1=\"11\" x2=\"11\" "
                     "y1=\"0\" y2=\"12\"/></svg>the slowest rank of a phase</li></ul>\n");
}

static void write_times(FILE *out, const json_t *phases)
{
    char text[4][RT_UNITS_TEXT];
    rt_html_put(out, "<div class=\"wide\">\n");
    rt_html_table(out, NULL,
                  "phase|>begins at|>takes|>slowest rank works|>middle|>fastest|>waiting");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        double seconds = number(phase, "seconds");
        double middle =
            json_number_value(json_array_get(json_object_get(phase, "busy_seconds_quartiles"), 1));
        rt_html_put(out, "<tr><th scope=\"row\">");
        rt_html_text(out, json_string_value(json_object_get(phase, "name")));
        rt_html_put(out,
                    "</th><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%.3f s, "
                    "rank %d</td><td class=\"n\">%s</td><td class=\"n\">%.3f s, rank %d</td>"
                    "<td class=\"n\">%.0f %%</td></tr>\n",
                    rt_units_seconds(number(phase, "start_seconds"), text[0]),
                    rt_units_seconds(seconds, text[1]), number(phase, "busy_seconds_slowest"),
                    rank_of(phase, "slowest_rank"), rt_units_seconds(middle, text[2]),
                    number(phase, "busy_seconds_fastest"), rank_of(phase, "fastest_rank"),
                    seconds > 0 ? 100 * (1 - (middle < seconds ? middle : seconds) / seconds) : 0);
    }
    rt_html_end_table(out);
    rt_html_put(out, "</div>\n");
}

void rt_report_timeline(FILE *out, const json_t *record)
{
    const json_t *phases = json_object_get(record, "phases");
    struct row rows[64];
    if (json_array_size(phases) == 0 ||
        !json_object_get(json_array_get(phases, 0), "busy_seconds_quartiles"))
        return;
    size_t n_rows = make_rows(phases, rows);
    double height = n_rows > 24 ? 9 : 16;
    double step = height + (n_rows > 24 ? 3 : 8);
    struct rt_chart c = {.out = out,
                         .id = "timeline",
                         .x = {.from = 0, .to = end_of(record, phases)},
                         .height = (int)(step * (double)n_rows + 6),
                         .x_title = "seconds since the job began"};
    rt_html_section(out, "Where the time went",
                    rows[0].rank < 0
                        ? "One bar for the slowest and the fastest rank of each phase "
                          "and for the quartiles between them; waiting is a sum, drawn "
                          "at the end of a phase."
                        : "One bar a rank; waiting is a sum, drawn at the end of a "
                          "phase.");
    draw_legend(out, phases);
    rt_chart_begin(&c, "Timeline of the phases",
                   "Bars of work and waiting of each rank in each "
                   "phase; the table below has the numbers.");
    for (size_t r = 0; r < n_rows; r++) {
        double y = 8 + 4 + step * (double)r;
        if (n_rows <= 24 || r % 4 == 0)
            rt_html_put(out, "<text x=\"-8\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                        y + height / 2 + 4, rows[r].label);
        for (size_t i = 0; i < json_array_size(phases); i++)
            draw_bar(&c, json_array_get(phases, i), fill_of(phases, i), &rows[r], y, height);
    }
    rt_chart_end(&c);
    rt_html_put(out, "</figure>\n");
    write_times(out, phases);
    rt_html_end_section(out);
}
