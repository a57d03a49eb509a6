/* page.h - pages with plots: one well-formed file with inline SVG, no script, nothing from the net. What the pages say
 * is others' (the bench report, a training run's curves). All functions append; failure sticks to the buffer. */
#ifndef PGR_BASE_PAGE_H
#define PGR_BASE_PAGE_H

#include "base/buf.h"

void page_begin(buf *out, const char *title); /* up to the heading */
void page_end(buf *out);

void html_text(buf *out, const char *s); /* escaped; bytes that are not UTF-8 become U+FFFD */

/* A figure of w times h units with its caption. Classes of the style sheet: "grid", "half" (dashed), "thin", "bar" for
 * lines, "c0" to "c5" and "weak" for groups of one colour. */
void picture_begin(buf *out, const char *title, double w, double h);
void picture_end(buf *out);
void picture_line(buf *out, const char *style, double x1, double y1, double x2, double y2);
/* anchor: "start", "middle" or "end" */
void picture_label(buf *out, double x, double y, const char *anchor, double value, int digits);

#endif
