/* gbnf_reader.c - see gbnf_reader.h. */
#include "infer/gbnf_reader.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void gbnf_skip_blank(gbnf_reader *ps, bool lines) {
    for (; !gbnf_at_end(ps); ps->p++) {
        if (*ps->p == '#')
            while (ps->p + 1 < ps->end && ps->p[1] != '\n') ps->p++;
        else if (*ps->p == '\n' && lines)
            ps->line++;
        else if (*ps->p != ' ' && *ps->p != '\t' && *ps->p != '\r')
            return;
    }
}

pgr_status gbnf_unexpected(const gbnf_reader *ps, const char *expected) {
    char what[16];
    size_t n = gbnf_at_end(ps) ? 0 : utf8_next(ps->p, (size_t)(ps->end - ps->p), NULL);
    if (gbnf_at_end(ps))
        snprintf(what, sizeof what, "the end");
    else if (*ps->p == '\n' || *ps->p == '\r')
        snprintf(what, sizeof what, "a line end");
    else if (n == 0 || (unsigned char)*ps->p < 0x20)
        snprintf(what, sizeof what, "byte 0x%02X", (unsigned char)*ps->p);
    else
        snprintf(what, sizeof what, "'%.*s'", (int)n, ps->p);
    return fail(ps->err, PGR_E_FORMAT, "%s:%d: found %s, expected %s", ps->g->origin, ps->line, what, expected);
}

pgr_status gbnf_add_node(gbnf_reader *ps, gbnf_kind kind, gbnf_node **out) {
    gbnf_node *node = arena_alloc(&ps->g->arena, sizeof *node);
    if (!node) return fail_mem(ps->err);
    node->kind = kind;
    node->line = ps->line;
    *out = node;
    return PGR_OK;
}

pgr_status gbnf_keep(gbnf_reader *ps, const char *s, size_t n, const char **out) {
    char *copy = arena_alloc(&ps->g->arena, n + 1);
    if (!copy) return fail_mem(ps->err);
    if (n) memcpy(copy, s, n);
    *out = copy;
    return PGR_OK;
}

pgr_status gbnf_parse_name(gbnf_reader *ps, const char *expected, const char **out) {
    if (gbnf_at_end(ps) || !gbnf_in_name(*ps->p)) return gbnf_unexpected(ps, expected);
    const char *from = ps->p;
    while (!gbnf_at_end(ps) && gbnf_in_name(*ps->p)) ps->p++;
    return gbnf_keep(ps, from, (size_t)(ps->p - from), out);
}
