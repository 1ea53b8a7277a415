#include "jobs/html_chart.h"

#include "jobs/html.h"

#include <math.h>
#include <string.h>

#define MOST_TICKS 6
#define TOO_MANY 40 /* ticks: the scale is none */
#define ABOVE 8     /* pixels over the plot, for letters */
#define BELOW 40    /* and under it */

char *rt_chart_number(double value, char text[RT_CHART_LABEL])
{
    static const char *const suffixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t s = 0;
    value = value == 0 ? 0 : value; /* no -0 */
    while (fabs(value) >= 999.5 && s + 1 < sizeof suffixes / sizeof *suffixes) {
        value /= 1000;
        s++;
    }
    (void)snprintf(text, RT_CHART_LABEL, "%.3g%s", value, suffixes[s]);
    return text;
}

static double share_of(const struct rt_scale *scale, double value)
{
    double share = scale->is_log ? log(value > scale->from ? value / scale->from : 1) /
                                       log(scale->to / scale->from)
                                 : (value - scale->from) / (scale->to - scale->from);
    return share > 0 ? (share < 1 ? share : 1) : 0; /* what is no number is 0 */
}

double rt_chart_x(const struct rt_chart *chart, double value)
{
    return 100 * share_of(&chart->x, value);
}

double rt_chart_y(const struct rt_chart *chart, double value)
{
    return ABOVE + chart->height * (1 - share_of(&chart->y, value));
}

/* The next tick after `value`, or the first where it is NAN: steps of 1, 2 or 5 in a power of ten,
 * or on a logarithmic scale these numbers themselves, only the powers where they would be many. */
static double next_tick(const struct rt_scale *scale, double value)
{
    if (!scale->is_log) {
        double raw = (scale->to - scale->from) / MOST_TICKS;
        double power = pow(10, floor(log10(raw)));
        double step = raw <= power       ? power
                      : raw <= 2 * power ? 2 * power
                      : raw <= 5 * power ? 5 * power
                                         : 10 * power;
        return isnan(value) ? ceil(scale->from / step - 1e-9) * step
                            : (floor(value / step + 0.5) + 1) * step;
    }
    double decades = log10(scale->to / scale->from);
    double ratio = decades > 2 * MOST_TICKS ? pow(10, ceil(decades / MOST_TICKS)) : 10;
    if (isnan(value)) {
        double first = pow(10, floor(log10(scale->from) + 1e-9));
        while (first < scale->from * (1 - 1e-9))
            first = next_tick(scale, first);
        return first;
    }
    double power = pow(10, floor(log10(value) + 1e-9));
    double digit = value / power;
    if (decades > 2.5)
        return value * ratio;
    return digit < 1.5 ? 2 * power : digit < 3 ? 5 * power : 10 * power;
}

static void draw_x_ticks(const struct rt_chart *c)
{
    char text[RT_CHART_LABEL];
    double end = c->x.to + 1e-9 * fabs(c->x.to - c->x.from);
    double t = next_tick(&c->x, (double)NAN);
    for (int i = 0; i < TOO_MANY && t <= end; i++, t = next_tick(&c->x, t)) {
        double x = rt_chart_x(c, t);
        rt_html_put(c->out,
                    "<line class=\"grid\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>"
                    "<text x=\"%.2f%%\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                    x, x, ABOVE, ABOVE + c->height, x, ABOVE + c->height + 16,
                    rt_chart_number(t, text));
    }
}

static void draw_y_ticks(const struct rt_chart *c)
{
    char text[RT_CHART_LABEL];
    double end = c->y.to + 1e-9 * fabs(c->y.to - c->y.from);
    double t = next_tick(&c->y, (double)NAN);
    for (int i = 0; i < TOO_MANY && t <= end; i++, t = next_tick(&c->y, t)) {
        double y = rt_chart_y(c, t);
        rt_html_put(c->out,
                    "<line class=\"grid\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>"
                    "<text x=\"-8\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                    y, y, y + 4, rt_chart_number(t, text));
    }
}

void rt_chart_begin(const struct rt_chart *chart, const char *title, const char *description)
{
    const struct rt_chart *c = chart;
    rt_html_put(c->out,
                "<figure><svg class=\"chart\" height=\"%d\" role=\"img\" aria-labelledby=\"%s-t "
                "%s-d\"><title id=\"%s-t\">",
                ABOVE + c->height + BELOW, c->id, c->id, c->id);
    rt_html_text(c->out, title);
    rt_html_put(c->out, "</title><desc id=\"%s-d\">", c->id);
    rt_html_text(c->out, description);
    rt_html_put(c->out, "</desc>\n");
    draw_x_ticks(c);
    if (c->has_y)
        draw_y_ticks(c);
    rt_html_put(c->out,
                "<line class=\"axis\" x1=\"0\" x2=\"100%%\" y1=\"%d\" y2=\"%d\"/>"
                "<text x=\"50%%\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                ABOVE + c->height, ABOVE + c->height, ABOVE + c->height + 34, c->x_title);
}

void rt_chart_end(const struct rt_chart *chart)
{
    rt_html_put(chart->out, "</svg>\n");
}
