/* page.c - HTML that is XML as well; see page.h. Colours by the style sheet, for light and dark. */
#include "base/page.h"

#include <string.h>

#include "base/text.h"

static const char HEAD[] =
    "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>";

static const char STYLE[] =
    ":root { --ink: #1d2330; --soft: #667085; --grid: #e4e7ec; --page: #ffffff; --c0: #667085; --c1: #2563eb; --c2: "
    "#c2410c; "
    "--c3: #15803d; --c4: #9333ea; --c5: #b45309; color-scheme: light dark; }\n"
    "@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --grid: #2d3442; --page: #141820; "
    "--c0: #98a2b3; --c1: #6ea8fe; --c2: #fb923c; --c3: #4ade80; --c4: #c084fc; --c5: #fbbf24; } }\n"
    "body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; "
    "margin: 2rem "
    "auto; padding: 0 1rem; }\n"
    "h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }\n"
    "figure { margin: 1.5rem 0; } figcaption, .note { color: var(--soft); font-size: .9rem; }\n"
    "svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }\n"
    "div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: "
    "tabular-nums; }\n"
    "th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--grid); white-space: nowrap; }\n"
    "th:first-child, td:first-child { text-align: left; } tr.weak td { color: var(--soft); }\n"
    ".grid { stroke: var(--grid); } .half { stroke: var(--soft); stroke-dasharray: 4 3; } .bar { stroke-width: 2; } "
    ".thin { stroke-width: 1; opacity: .5; }\n"
    "polyline { fill: none; stroke-width: 1.8; }\n"
    ".c0 { stroke: var(--c0); fill: var(--c0); } .c1 { stroke: var(--c1); fill: var(--c1); } .c2 { stroke: var(--c2); "
    "fill: "
    "var(--c2); }\n"
    ".c3 { stroke: var(--c3); fill: var(--c3); } .c4 { stroke: var(--c4); fill: var(--c4); } .c5 { stroke: var(--c5); "
    "fill: "
    "var(--c5); }\n"
    ".weak { stroke: var(--soft); fill: var(--soft); opacity: .7; }\n";

void html_text(buf *out, const char *s) {
    for (size_t n = strlen(s); n > 0;) {
        size_t k = utf8_next(s, n, NULL);
        unsigned char c = (unsigned char)*s;
        if (k == 0)
            buf_puts(out, "\xEF\xBF\xBD");
        else if (c == '<')
            buf_puts(out, "&lt;");
        else if (c == '>')
            buf_puts(out, "&gt;");
        else if (c == '&')
            buf_puts(out, "&amp;");
        else if (c == '"')
            buf_puts(out, "&quot;");
        else if (c < 0x20 || c == 0x7F)
            buf_putc(out, ' '); /* XML has no place for most of them */
        else
            buf_add(out, s, k);
        s += k ? k : 1;
        n -= k ? k : 1;
    }
}

void page_begin(buf *out, const char *title) {
    buf_puts(out, HEAD);
    html_text(out, title);
    buf_puts(out, "</title>\n<style>\n");
    buf_puts(out, STYLE);
    buf_puts(out, "</style>\n</head>\n<body>\n<h1>");
    html_text(out, title);
    buf_puts(out, "</h1>\n");
}

void page_end(buf *out) {
    buf_puts(out, "</body>\n</html>\n");
}

void picture_begin(buf *out, const char *title, double w, double h) {
    buf_puts(out, "<figure><figcaption>");
    html_text(out, title);
    buf_printf(out, "</figcaption><svg viewBox=\"0 0 %g %g\" role=\"img\">\n<title>", w, h);
    html_text(out, title);
    buf_puts(out, "</title>\n");
}

void picture_end(buf *out) {
    buf_puts(out, "</svg></figure>\n");
}

void picture_line(buf *out, const char *style, double x1, double y1, double x2, double y2) {
    buf_printf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", style, x1, y1, x2, y2);
}

void picture_label(buf *out, double x, double y, const char *anchor, double value, int digits) {
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%.*f</text>\n", x, y, anchor, digits, value);
}
