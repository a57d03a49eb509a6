/* record_json.c - writes users and pairs as JSON, without line breaks. */
#include "user/record_json.h"

#include <math.h>
#include <string.h>

#include "user/rules.h"

static void put_text(buf *b, const char *s) {
    json_put_string(b, s, strlen(s));
}

/* ,"key":"text" where there is one */
static void put_given(buf *b, const char *key, const char *text) {
    if (!text[0]) return;
    buf_printf(b, ",\"%s\":", key);
    put_text(b, text);
}

static void put_score(buf *b, const char *key, double v) {
    if (isnan(v)) return;
    buf_printf(b, ",\"%s\":", key);
    json_put_number(b, v);
}

void json_put_texts(buf *b, const char *const *texts, size_t n) {
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_putc(b, ',');
        put_text(b, texts[i]);
    }
    buf_putc(b, ']');
}

void json_put_turns(buf *b, const turn *turns, size_t n) {
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s{\"role\":\"%s\",\"content\":", i ? "," : "", turns[i].role);
        put_text(b, turns[i].text);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_side(buf *b, const char *key, const char *text) {
    buf_printf(b, ",\"%s\":{\"role\":\"assistant\",\"content\":", key);
    put_text(b, text);
    buf_putc(b, '}');
}

void json_put_pair_record(buf *b, const pair_record *p) {
    buf_puts(b, "{\"user_id\":");
    put_text(b, p->user_id);
    put_given(b, "conversation_id", p->conversation_id);
    buf_puts(b, ",\"context\":");
    json_put_turns(b, p->pair.context, p->pair.n_context);
    put_side(b, "chosen", p->pair.chosen);
    put_side(b, "rejected", p->pair.rejected);
    put_score(b, "chosen_score", p->chosen_score);
    put_score(b, "rejected_score", p->rejected_score);
    if (p->weight != 1) put_score(b, "weight", p->weight);
    put_given(b, "split", p->split);
    put_given(b, "type", p->type);
    put_given(b, "choice_attributes", p->choice_attributes);
    put_given(b, "group", p->group);
    if (p->n_subset) {
        buf_puts(b, ",\"subset\":");
        json_put_texts(b, p->subsets, p->n_subset);
    }
    buf_putc(b, '}');
}

static void put_about(buf *b, const user_record *u) {
    buf_puts(b, ",\"criteria\":");
    json_put_texts(b, u->criteria, u->n_criteria);
    put_given(b, "demographics", u->demographics);
}

void json_put_user_record(buf *b, const user_record *u) {
    buf_puts(b, "{\"user_id\":");
    put_text(b, u->id);
    put_about(b, u);
    buf_putc(b, '}');
}

void json_put_request_user(buf *b, const stored_user *u) {
    buf_puts(b, "{\"id\":");
    put_text(b, u->user.id);
    buf_puts(b, ",\"history\":[");
    for (size_t i = 0, n = 0; i < u->n_pair; i++) {
        const preference_pair *p = &u->pairs[i].pair;
        bool plain = p->n_context == 1 && strcmp(p->context[0].role, "user") == 0;
        if (!rules_is_history(u->pairs[i].split)) continue; /* a request does not tell the split */
        buf_printf(b, "%s{\"%s\":", n++ ? "," : "", plain ? "query" : "context");
        if (plain)
            put_text(b, p->context[0].text);
        else
            json_put_turns(b, p->context, p->n_context);
        buf_puts(b, ",\"chosen\":");
        put_text(b, p->chosen);
        buf_puts(b, ",\"rejected\":");
        put_text(b, p->rejected);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
    put_about(b, &u->user);
    buf_putc(b, '}');
}
