/* schema_writing.c - see schema_writing.h. */
#include "serve/schema_writing.h"

schema_place schema_place_of(const schema_writing *w) {
    return (schema_place){w->out->n, w->level};
}

bool schema_take_back(schema_writing *w, pgr_status *s, schema_place to) {
    if (*s != SCHEMA_TOO_DEEP) return false;
    if (w->out->data) w->out->data[to.n] = '\0';
    w->out->n = to.n;
    w->level = to.level;
    *s = PGR_OK;
    return true;
}

const char SCHEMA_RULES[] = "\nstring ::= \"\\\"\" char* \"\\\"\"\n"
                            "char ::= [^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
                            "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,14})\n"
                            "number ::= integer (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?\n"
                            "scalar ::= string | number | \"true\" | \"false\" | \"null\"\n"
                            "date ::= [0-9]{4} \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" (\"0\" [1-9] | [12] [0-9] | "
                            "\"3\" [01])\n"
                            "time ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] \"Z\"\n"
                            "uuid ::= hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}\n"
                            "hex ::= [0-9a-f]\n";

void schema_put_text(buf *out, const char *s, size_t n) {
    buf_putc(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            buf_printf(out, "\\x%02X", c);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, '"');
}

void schema_put_value(buf *out, const json_t *v) {
    buf text = {0};
    json_put(&text, v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_PRESERVE_ORDER);
    schema_put_text(out, text.data ? text.data : "", text.n);
    out->failed |= text.failed;
    buf_free(&text);
}

pgr_status schema_unsupported(const schema_writing *w, const char *keyword, const char *why) {
    return fail(w->err, PGR_E_UNSUPPORTED, "%s: %s: %s", w->at, keyword, why);
}

pgr_status schema_wrong(const schema_writing *w, const char *keyword, const char *expected) {
    return fail(w->err, PGR_E_FORMAT, "%s: %s: expected %s", w->at, keyword, expected);
}

pgr_status schema_read_count(const schema_writing *w, const json_t *s, const char *keyword, long without, long *out) {
    const json_t *v = json_object_get(s, keyword);
    *out = without;
    if (!v) return PGR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 100000)
        return schema_wrong(w, keyword, "a whole number from 0 to 100000");
    *out = (long)json_integer_value(v);
    return PGR_OK;
}

void schema_put_times(buf *out, long lo, long hi) {
    if (hi < 0)
        buf_printf(out, "{%ld,}", lo);
    else
        buf_printf(out, "{%ld,%ld}", lo, hi);
}

void schema_put_any(buf *out, int depth) {
    if (depth == 0) {
        buf_puts(out, "scalar");
        return;
    }
    buf_puts(out, "(scalar | \"[\" (\"]\" | ");
    schema_put_any(out, depth - 1);
    buf_puts(out, " (\", \" ");
    schema_put_any(out, depth - 1);
    buf_puts(out, ")* \"]\") | \"{\" (\"}\" | string \": \" ");
    schema_put_any(out, depth - 1);
    buf_puts(out, " (\", \" string \": \" ");
    schema_put_any(out, depth - 1);
    buf_puts(out, ")* \"}\"))");
}
