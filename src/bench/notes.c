/* notes.c - see notes.h. */
#include "bench/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

pgr_status notes_add(bench_notes *notes, arena *a, pgr_error *err, const char *format, ...) {
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (size_t i = 0; i < notes->n; i++)
        if (strcmp(notes->list[i], text) == 0) return PGR_OK;
    const char **list = arena_array(a, notes->n + 1, sizeof *list);
    char *copy = arena_strdup(a, text);
    if (!list || !copy) return fail_mem(err);
    if (notes->n) memcpy(list, notes->list, notes->n * sizeof *list);
    list[notes->n++] = copy;
    notes->list = list;
    return PGR_OK;
}
