/* shown_json.c - prompts as one JSON object without line breaks (docs/requests.md). */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "pgenrm.h"

static void put_text(buf *b, const char *key, const char *s, size_t n) {
    buf_printf(b, "\"%s\":", key);
    json_put_string(b, s, n);
}

static void put_messages(buf *b, const pgr_shown_prompt *p) {
    buf_puts(b, ",\"messages\":[");
    for (size_t i = 0; i < p->n_message; i++) {
        buf_puts(b, i ? ",{" : "{");
        put_text(b, "role", p->messages[i].role, strlen(p->messages[i].role));
        buf_putc(b, ',');
        put_text(b, "content", p->messages[i].text, p->messages[i].n);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_slots(buf *b, const pgr_shown_prompt *p) {
    buf_puts(b, ",\"slots\":[");
    for (size_t i = 0; i < p->n_slot; i++) {
        const pgr_shown_slot *s = &p->slots[i];
        buf_printf(b, "%s{\"message\":%zu,\"at\":%zu,\"choices\":[", i ? "," : "", s->message, s->at);
        for (size_t k = 0; k < s->n_choice; k++) {
            if (k) buf_putc(b, ',');
            json_put_string(b, s->choices[k], strlen(s->choices[k]));
        }
        buf_puts(b, "]}");
    }
    buf_putc(b, ']');
}

static void put_prompt(buf *b, const pgr_shown *s, const pgr_shown_prompt *p) {
    static const char *const kinds[] = {"chains", "taste", "quality"};
    buf_printf(b, "{\"kind\":\"%s\",", kinds[p->kind]);
    put_text(b, "user", p->user, strlen(p->user));
    buf_printf(b, ",\"neighbour\":%s,\"order\":[", p->neighbour ? "true" : "false");
    for (size_t i = 0; i < s->n_response; i++) buf_printf(b, "%s%zu", i ? "," : "", p->order[i]);
    buf_printf(b, "],\"chains\":%zu,\"history\":%zu,\"tokens\":%zu,\"parts\":[", p->chains, p->history, p->tokens);
    for (size_t i = 0; i < p->n_part; i++) {
        buf_puts(b, i ? ",{" : "{");
        put_text(b, "part", p->parts[i].name, strlen(p->parts[i].name));
        buf_printf(b, ",\"tokens\":%zu}", p->parts[i].tokens);
    }
    buf_puts(b, "],\"clipped\":[");
    for (size_t i = 0; i < p->n_clip; i++) {
        buf_puts(b, i ? ",{" : "{");
        put_text(b, "field", p->clipped[i].field, strlen(p->clipped[i].field));
        buf_printf(b, ",\"from_tokens\":%zu,\"to_tokens\":%zu}", p->clipped[i].from_tokens, p->clipped[i].to_tokens);
    }
    buf_putc(b, ']');
    put_messages(b, p);
    put_slots(b, p);
    buf_putc(b, '}');
}

pgr_status pgr_shown_json(const pgr_shown *s, char **out, pgr_error *err) {
    buf b = {0};
    buf_putc(&b, '{');
    put_text(&b, "id", s->id, strlen(s->id));
    buf_putc(&b, ',');
    put_text(&b, "model", s->model, strlen(s->model));
    buf_putc(&b, ',');
    put_text(&b, "frame", s->frame, strlen(s->frame));
    buf_printf(&b, ",\"context\":%zu,\"max_tokens\":%zu,\"prompts\":[", s->n_ctx, s->max_tokens);
    for (size_t i = 0; i < s->n_prompt; i++) {
        if (i) buf_putc(&b, ',');
        put_prompt(&b, s, &s->prompts[i]);
    }
    buf_puts(&b, "]}");
    char *text = b.failed ? NULL : buf_take(&b);
    if (!text) {
        buf_free(&b);
        return fail_mem(err);
    }
    *out = text;
    return PGR_OK;
}
