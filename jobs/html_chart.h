/* Axes, grid and places of a chart in inline SVG. Across, places are shares of the width, so that
 * letters keep their size on a narrow screen; down they are pixels. */
#ifndef RT_JOBS_HTML_CHART_H
#define RT_JOBS_HTML_CHART_H

#include <stdbool.h>
#include <stdio.h>

#define RT_CHART_LABEL 24 /* bytes of a number on an axis */

struct rt_scale {
    double from, to; /* to > from; both above 0 where is_log */
    bool is_log;
};
struct rt_chart {
    FILE *out;
    const char *id; /* of the page's other charts it differs */
    struct rt_scale x, y;
    bool has_y;          /* grid and numbers at the left */
    int height;          /* of the plot, in pixels */
    const char *x_title; /* markup; below the axis */
};

/* '12', '2.5k', '1M': short, for axes. Below 1 as plain decimals. */
char *rt_chart_number(double value, char text[RT_CHART_LABEL]);
/* Opens figure and svg and draws grid and axes. title and description are plain text of ours. */
void rt_chart_begin(const struct rt_chart *chart, const char *title, const char *description);
void rt_chart_end(const struct rt_chart *chart); /* the svg; the caller closes <figure> */
/* Place of a value: percent of the width; pixels from above. What lies outside is moved to the
 * border. */
double rt_chart_x(const struct rt_chart *chart, double value);
double rt_chart_y(const struct rt_chart *chart, double value);

#endif
