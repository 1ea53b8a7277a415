#include "jobs/html.h"

#include <stdarg.h>
#include <string.h>

static const char style[] =
    ":root{--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--grid:#e6eaee;--wait:#d5d9de;"
    "--mark:#1b1f24;--good:#116329;--bad:#a40e26;"
    "--c0:#3b6fd4;--c1:#e08a00;--c2:#1a9a7a;--c3:#9355b5;--c4:#c2476b;--c5:#6b7683;color-scheme:"
    "light dark}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6edf3;--soft:#9aa5b1;"
    "--line:#3a424c;--grid:#262d35;--wait:#454d57;--mark:#fff;--good:#56d364;--bad:#ff8a80;"
    "--c0:#6b9cff;--c1:#f2a93b;--c2:#3fc6a0;--c3:#bd8be0;--c4:#ef7f9d;--c5:#97a3b0}}\n"
    "@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--grid:#e6e6e6;--wait:"
    "#d5d9de;--mark:#000;--good:#116329;--bad:#a40e26;--c0:#3b6fd4;--c1:#e08a00;--c2:#1a9a7a;"
    "--c3:#9355b5;--c4:#c2476b;--c5:#6b7683}main{max-width:none!important;padding:0!important}"
    "body{font-size:10pt}figure,tr,h2,.lead{break-inside:avoid}h2,caption{break-after:avoid}"
    "details>*{display:block}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"
    "'Segoe UI',Roboto,'Noto Sans','Liberation Sans',sans-serif}\n"
    "main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem}\n"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}\n"
    "h2{font-size:1.1rem;margin:2.25rem 0 .25rem;border-top:1px solid var(--line);padding-top:1rem}"
    "\n"
    "p{margin:.25rem 0 .75rem}.lead{font-size:1.1rem}.note{color:var(--soft);font-size:.9rem}\n"
    ".good{color:var(--good)}.bad{color:var(--bad)}\n"
    "code{font-family:ui-monospace,'DejaVu Sans Mono','Liberation Mono',monospace;font-size:.92em;"
    "overflow-wrap:anywhere}\n"
    "figure{margin:.75rem 0 1rem}figcaption{color:var(--soft);font-size:.9rem}\n"
    "svg.chart{display:block;width:100%;padding:0 .75rem 0 4.2rem;overflow:visible;font-size:12px}"
    "\n"
    "svg text{fill:var(--soft)}svg text.ink{fill:var(--ink)}\n"
    "svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--line)}\n"
    "svg .mark{stroke:var(--mark);stroke-width:2;fill:none}svg .dash{stroke-dasharray:5 4}\n"
    "svg .line{stroke-width:2}svg .ring{stroke:var(--mark);stroke-width:1.5}\n"
    "svg .slowest{fill:var(--mark);font-size:10px}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;margin:.35rem 0;padding:0;"
    "list-style:none;font-size:.9rem}\n"
    ".legend svg{width:22px;height:12px;margin-right:.4rem;vertical-align:-1px}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;width:100%;font-size:.9rem;margin:.25rem 0 1rem}\n"
    "caption{text-align:left;color:var(--soft);padding:.25rem 0}\n"
    "th,td{text-align:left;padding:.22rem .6rem .22rem 0;border-bottom:1px solid var(--grid);"
    "vertical-align:top}\n"
    "td.any{overflow-wrap:anywhere}tr.group th{padding-top:.9rem;font-weight:600}\n"
    "td.bar{width:34%}\n"
    "thead th{border-bottom:1px solid var(--line);color:var(--soft);font-weight:600}\n"
    "th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}th.n{"
    "white-space:normal}\n"
    "th[scope=row]{font-weight:400}tr.front>*{font-weight:700}\n"
    "td svg.share{display:block;width:100%;min-width:3rem;height:.8rem;margin-top:.35rem}\n"
    "svg.share .of{fill:var(--grid)}svg.share .is{fill:var(--c0)}svg.share "
    ".over{fill:url(#fill1)}\n"
    "summary{cursor:pointer;color:var(--soft);font-size:.9rem}\n"
    "@media (max-width:32rem){body{font-size:14px}th,td{padding-right:.4rem}"
    "table{font-size:.82rem}svg.chart{padding-left:3.4rem;font-size:11px}}\n";

/* Fills differ in pattern as well as in colour. */
static const char patterns[] =
    "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\"><defs>"
    "<pattern id=\"fill0\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"8\" height=\"8\" style=\"fill:var(--c0)\"/></pattern>"
    "<pattern id=\"fill1\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
    "patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" style=\"fill:var(--c1)\"/>"
    "<rect width=\"2\" height=\"7\" style=\"fill:var(--paper)\" opacity=\".55\"/></pattern>"
    "<pattern id=\"fill2\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"6\" height=\"6\" style=\"fill:var(--c2)\"/>"
    "<circle cx=\"3\" cy=\"3\" r=\"1.3\" style=\"fill:var(--paper)\" opacity=\".7\"/></pattern>"
    "<pattern id=\"fill3\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
    "patternTransform=\"rotate(-45)\"><rect width=\"7\" height=\"7\" style=\"fill:var(--c3)\"/>"
    "<rect width=\"2\" height=\"7\" style=\"fill:var(--paper)\" opacity=\".55\"/></pattern>"
    "<pattern id=\"fill4\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"5\" height=\"5\" style=\"fill:var(--c4)\"/>"
    "<rect width=\"5\" height=\"1.5\" style=\"fill:var(--paper)\" opacity=\".6\"/></pattern>"
    "<pattern id=\"fill5\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"5\" height=\"5\" style=\"fill:var(--c5)\"/>"
    "<rect width=\"1.5\" height=\"5\" style=\"fill:var(--paper)\" opacity=\".6\"/></pattern>"
    "<pattern id=\"waiting\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"8\" height=\"8\" style=\"fill:var(--wait)\"/></pattern>"
    "</defs></svg>\n";

void rt_html_put(FILE *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(out, format, args);
    va_end(args);
}

void rt_html_text(FILE *out, const char *text)
{
    for (; text && *text; text++) {
        unsigned char c = (unsigned char)*text;
        const char *entity = c == '&'                                        ? "&amp;"
                             : c == '<'                                      ? "&lt;"
                             : c == '>'                                      ? "&gt;"
                             : c == '"'                                      ? "&quot;"
                             : c == '\''                                     ? "&#39;"
                             : (c < 0x20 && !strchr("\t\n", c)) || c == 0x7f ? "\xef\xbf\xbd"
                                                                             : NULL;
        if (entity)
            (void)fputs(entity, out);
        else
            (void)fputc(c, out);
    }
}

void rt_html_begin(FILE *out, const char *title)
{
    rt_html_put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n"
                     "<title>");
    rt_html_text(out, title);
    rt_html_put(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n%s<main>\n<h1>", style,
                patterns);
    rt_html_text(out, title);
    rt_html_put(out, "</h1>\n");
}

void rt_html_end(FILE *out)
{
    rt_html_put(out, "</main>\n</body>\n</html>\n");
}

void rt_html_section(FILE *out, const char *heading, const char *note)
{
    rt_html_put(out, "<section>\n<h2>%s</h2>\n", heading);
    if (note)
        rt_html_put(out, "<p class=\"note\">%s</p>\n", note);
}

void rt_html_end_section(FILE *out)
{
    rt_html_put(out, "</section>\n");
}

void rt_html_table(FILE *out, const char *caption, const char *columns)
{
    rt_html_put(out, "<table>\n");
    if (caption)
        rt_html_put(out, "<caption>%s</caption>\n", caption);
    rt_html_put(out, "<thead><tr>");
    while (*columns) {
        int n = (int)strcspn(columns, "|");
        bool is_number = *columns == '>';
        rt_html_put(out, "<th scope=\"col\"%s>%.*s</th>", is_number ? " class=\"n\"" : "",
                    n - is_number, columns + is_number);
        columns += n;
        columns += *columns == '|';
    }
    rt_html_put(out, "</tr></thead>\n<tbody>\n");
}

void rt_html_group(FILE *out, const char *text, int n_columns)
{
    rt_html_put(out, "<tr class=\"group\"><th scope=\"colgroup\" colspan=\"%d\">", n_columns);
    rt_html_text(out, text);
    rt_html_put(out, "</th></tr>\n");
}

void rt_html_end_table(FILE *out)
{
    rt_html_put(out, "</tbody>\n</table>\n");
}

void rt_html_share(FILE *out, double share)
{
    double percent = share > 1 ? 100 : share > 0 ? 100 * share : 0;
    rt_html_put(out,
                "<svg class=\"share\" role=\"img\" aria-label=\"%.0f %%\"><rect class=\"of\" "
                "width=\"100%%\" height=\"100%%\"/><rect class=\"%s\" width=\"%.2f%%\" "
                "height=\"100%%\"/></svg>",
                100 * share, share > 1.005 ? "over" : "is", percent);
}

void rt_html_swatch(FILE *out, const char *fill, const char *text)
{
    rt_html_put(out,
                "<li><svg aria-hidden=\"true\"><rect width=\"100%%\" height=\"100%%\" "
                "fill=\"url(#%s)\"/></svg>",
                fill);
    rt_html_text(out, text);
    rt_html_put(out, "</li>");
}
