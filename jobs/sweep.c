#include "jobs/sweep.h"

#include "core/units.h"
#include "io/fs.h"
#include "jobs/html.h"
#include "jobs/html_chart.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define LEAST_GAIN 0.001 /* of recall, by twice the probes */

const float rt_sweep_epsilons[RT_SWEEP_EPSILONS] = {0, 1, 1.4F, 1.9F, 3};

bool rt_sweep_gains(const struct rt_sweep *sweep)
{
    size_t n = sweep->n;
    return n < (size_t)3 * RT_SWEEP_EPSILONS || /* the first steps are small ones */
           sweep->point[n - 1].recall - sweep->point[n - 1 - RT_SWEEP_EPSILONS].recall >=
               LEAST_GAIN;
}

void rt_sweep_mark_front(struct rt_sweep *sweep)
{
    for (size_t i = 0; i < sweep->n; i++) {
        struct rt_sweep_point *a = &sweep->point[i];
        a->is_front = true;
        for (size_t j = 0; j < sweep->n && a->is_front; j++) {
            const struct rt_sweep_point *b = &sweep->point[j];
            bool is_as_good =
                b->recall >= a->recall && b->queries_per_second >= a->queries_per_second;
            bool is_better = b->recall > a->recall || b->queries_per_second > a->queries_per_second;
            a->is_front = !(is_as_good && (is_better || j < i));
        }
    }
}

json_t *rt_sweep_json(const struct rt_sweep *sweep)
{
    json_t *points = json_array();
    for (size_t i = 0; points && i < sweep->n; i++) {
        const struct rt_sweep_point *p = &sweep->point[i];
        (void)json_array_append_new(
            points, json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b}", "probes",
                              (json_int_t)p->probes, "epsilon", (double)p->epsilon, "recall",
                              p->recall, "seconds", p->seconds, "queries_per_second",
                              p->queries_per_second, "lists_scanned", p->lists, "rows_scanned",
                              p->rows, "reranked", p->reranked, "front", p->is_front));
    }
    return points;
}

static void write_csv(FILE *out, const struct rt_sweep *sweep)
{
    rt_html_put(out, "probes,epsilon,recall,queries_per_second,seconds,lists_scanned,rows_scanned,"
                     "reranked,front\n");
    for (size_t i = 0; i < sweep->n; i++) {
        const struct rt_sweep_point *p = &sweep->point[i];
        rt_html_put(out, "%" PRIu32 ",%g,%.6f,%.6g,%.6g,%.3f,%.3f,%.3f,%d\n", p->probes,
                    (double)p->epsilon, p->recall, p->queries_per_second, p->seconds, p->lists,
                    p->rows, p->reranked, p->is_front);
    }
}

/* ---- the page ---- */

static int series_of(float epsilon)
{
    int e = 0;
    while (e + 1 < RT_SWEEP_EPSILONS && rt_sweep_epsilons[e] < epsilon)
        e++;
    return e;
}

/* Shapes differ as well as colours, around (0, 0). */
static const char *const shapes[RT_SWEEP_EPSILONS] = {
    "M-4,-4H4V4H-4Z", "M0,-5L5,4H-5Z", "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
    "M-4.5,0A4.5,4.5 0 1 0 4.5,0A4.5,4.5 0 1 0 -4.5,0Z", "M0,5L5,-4H-5Z"};

static void draw_front(const struct rt_chart *c, const struct rt_sweep *sweep)
{
    const struct rt_sweep_point *last = NULL;
    for (;;) { /* from the least recall on */
        const struct rt_sweep_point *next = NULL;
        for (size_t i = 0; i < sweep->n; i++) {
            const struct rt_sweep_point *p = &sweep->point[i];
            if (p->is_front && (!last || p->recall > last->recall) &&
                (!next || p->recall < next->recall))
                next = p;
        }
        if (!next)
            break;
        if (last)
            rt_html_put(c->out,
                        "<line class=\"mark\" x1=\"%.2f%%\" y1=\"%.1f\" x2=\"%.2f%%\" "
                        "y2=\"%.1f\"/>\n",
                        rt_chart_x(c, last->recall), rt_chart_y(c, last->queries_per_second),
                        rt_chart_x(c, next->recall), rt_chart_y(c, next->queries_per_second));
        last = next;
    }
}

static void draw_points(const struct rt_chart *c, const struct rt_sweep *sweep)
{
    char rate[RT_UNITS_TEXT];
    for (size_t i = 0; i < sweep->n; i++) {
        const struct rt_sweep_point *p = &sweep->point[i];
        int series = series_of(p->epsilon);
        rt_html_put(c->out,
                    "<svg x=\"%.2f%%\" y=\"%.1f\" style=\"overflow:visible\" "
                    "aria-hidden=\"true\"><path d=\"%s\" style=\"fill:var(--c%d)\"%s><title>probes "
                    "%" PRIu32 ", epsilon %g: recall %.4f, %s queries/s</title></path></svg>\n",
                    rt_chart_x(c, p->recall), rt_chart_y(c, p->queries_per_second), shapes[series],
                    series, p->is_front ? " class=\"ring\"" : "", p->probes, (double)p->epsilon,
                    p->recall, rt_units_rate(p->queries_per_second, rate));
        if (p->is_front)
            rt_html_put(c->out,
                        "<text class=\"ink\" x=\"%.2f%%\" y=\"%.1f\" dx=\"-9\" "
                        "text-anchor=\"end\">%" PRIu32 "</text>\n",
                        rt_chart_x(c, p->recall), rt_chart_y(c, p->queries_per_second) + 14,
                        p->probes);
    }
}

static struct rt_chart make_chart(FILE *out, const struct rt_sweep *sweep)
{
    double least = 1;
    double slowest = INFINITY;
    double fastest = 0;
    for (size_t i = 0; i < sweep->n; i++) {
        const struct rt_sweep_point *p = &sweep->point[i];
        least = fmin(least, p->recall);
        slowest = fmin(slowest, p->queries_per_second);
        fastest = fmax(fastest, p->queries_per_second);
    }
    if (!(fastest > 0)) /* a clock that did not move */
        slowest = fastest = 1;
    return (struct rt_chart){.out = out,
                             .id = "front",
                             .x = {.from = fmin(0.9, floor(least * 10) / 10), .to = 1},
                             .y = {.from = slowest / 1.3, .to = fastest * 1.3, .is_log = true},
                             .has_y = true,
                             .height = 320,
                             .x_title = "recall"};
}

static void write_table(FILE *out, const struct rt_sweep *sweep)
{
    char text[2][RT_UNITS_TEXT];
    rt_html_put(out, "<div class=\"wide\">\n");
    rt_html_table(out, "Bold: on the front",
                  ">probes|>epsilon|>recall|>queries/s|>lists|>rows scanned|>reranked");
    for (size_t i = 0; i < sweep->n; i++) {
        const struct rt_sweep_point *p = &sweep->point[i];
        rt_html_put(out,
                    "<tr%s><td class=\"n\">%" PRIu32 "</td><td class=\"n\">%g</td><td "
                    "class=\"n\">%.4f</td><td class=\"n\">%s</td><td class=\"n\">%.1f</td><td "
                    "class=\"n\">%s</td><td class=\"n\">%.1f</td></tr>\n",
                    p->is_front ? " class=\"front\"" : "", p->probes, (double)p->epsilon, p->recall,
                    rt_units_rate(p->queries_per_second, text[0]), p->lists,
                    rt_units_count((uint64_t)(p->rows + 0.5), text[1]), p->reranked);
    }
    rt_html_end_table(out);
    rt_html_put(out, "</div>\n");
}

static void write_page(FILE *out, const struct rt_sweep *sweep)
{
    char title[4200];
    char count[RT_UNITS_TEXT];
    struct rt_chart chart = make_chart(out, sweep);
    (void)snprintf(title, sizeof title, "ranktape search --sweep: %s", sweep->index);
    rt_html_begin(out, title);
    rt_html_put(out,
                "<p class=\"lead\">%s queries, recall@%" PRIu32 ", on %d rank%s: the line joins "
                "what no other setting beats in both recall and rate, and bears its "
                "probes.</p>\n<ul class=\"legend\">",
                rt_units_count(sweep->n_queries, count), sweep->k, sweep->n_ranks,
                sweep->n_ranks == 1 ? "" : "s");
    for (int e = 0; e < RT_SWEEP_EPSILONS; e++)
        rt_html_put(out,
                    "<li><svg aria-hidden=\"true\" style=\"overflow:visible\"><g "
                    "transform=\"translate(11,6)\"><path d=\"%s\" "
                    "style=\"fill:var(--c%d)\"/></g></svg>epsilon %g</li>",
                    shapes[e], e, (double)rt_sweep_epsilons[e]);
    rt_html_put(out, "</ul>\n");
    rt_chart_begin(&chart, "Queries a second against recall",
                   "A point for each setting of probes and epsilon; the table has the numbers.");
    draw_front(&chart, sweep);
    draw_points(&chart, sweep);
    rt_chart_end(&chart);
    rt_html_put(out, "<figcaption>Queries a second (logarithmic) against recall, whole batches. "
                     "Recall is the same on any number of ranks; rates are this machine's."
                     "</figcaption></figure>\n");
    write_table(out, sweep);
    rt_html_end(out);
}

/* ---- files ---- */

static const struct {
    const char *suffix;
    void (*write)(FILE *out, const struct rt_sweep *sweep);
} files[] = {{".csv", write_csv}, {".html", write_page}};

static enum rt_status name_of(const char *base, const char *suffix, char path[RT_PATH_MAX],
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int n = snprintf(path, RT_PATH_MAX, "%s%s", base, suffix);
    if (n < 0 || n >= RT_PATH_MAX)
        RT_FAIL(RT_USAGE, "'%.60s...' is too long a name", base);
done:
    return st;
}

enum rt_status rt_sweep_check_base(const char *base, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        RT_TRY(name_of(base, files[i].suffix, path, err));
        RT_TRY(rt_fs_check_target(path, err));
    }
done:
    return st;
}

enum rt_status rt_sweep_write(const struct rt_sweep *sweep, const char *base, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        RT_TRY(name_of(base, files[i].suffix, path, err));
        FILE *out = fopen(path, "we");
        if (out)
            files[i].write(out, sweep);
        bool is_whole = out && !ferror(out);
        if ((out && fclose(out) != 0) || !is_whole)
            RT_FAIL(RT_IO, "the sweep is done, but '%s' cannot be written", path);
    }
done:
    return st;
}
