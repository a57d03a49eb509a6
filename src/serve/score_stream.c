/* score_stream.c - see score_stream.h. */
#include "serve/score_stream.h"

#include <math.h>
#include <string.h>

#include "judge/slots.h"

enum { WORDS = 5 /* of a taste that are told: the likeliest */ };

static void put_begin(buf *out, const char *object, bool provisional) {
    buf_printf(out, "data: {\"object\":\"personal.%s\",\"provisional\":%s", object, provisional ? "true" : "false");
}

static void put_text(buf *out, const char *key, const char *text, size_t n) {
    buf_printf(out, ",\"%s\":", key);
    json_put_string(out, text, n);
}

static void put_text_or_null(buf *out, const char *key, const char *text) {
    if (text)
        put_text(out, key, text, strlen(text));
    else
        buf_printf(out, ",\"%s\":null", key);
}

static void put_order(buf *out, const desk_news *n) {
    buf_puts(out, ",\"order\":[");
    for (size_t i = 0; i < n->n_response; i++) buf_printf(out, "%s%zu", i ? "," : "", n->order[i]);
    buf_putc(out, ']');
}

/* By place in the news, by response in what is told. */
static void put_by_response(buf *out, const char *key, const desk_news *n) {
    buf_printf(out, ",\"%s\":[", key);
    for (size_t r = 0; r < n->n_response; r++) {
        size_t place = 0;
        while (n->order[place] != r) place++;
        if (r) buf_putc(out, ',');
        json_put_number(out, n->values ? n->values[place] : (double)NAN); /* NaN: null */
    }
    buf_putc(out, ']');
}

static void put_words(buf *out, const double *taste) {
    bool told[N_TASTE] = {false};
    buf_puts(out, ",\"words\":[");
    for (size_t i = 0; i < WORDS; i++) {
        int best = -1;
        for (int w = 0; w < N_TASTE; w++)
            if (!told[w] && (best < 0 || taste[w] > taste[best])) best = w;
        told[best] = true;
        buf_printf(out, "%s{\"word\":", i ? "," : "");
        json_put_string(out, taste_word(best), strlen(taste_word(best)));
        buf_puts(out, ",\"p\":");
        json_put_number(out, taste[best]);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void put_reading(buf *out, const desk_news *n) {
    put_begin(out, "reading", true);
    put_text_or_null(out, "user", n->user);
    put_text_or_null(out, "of", n->taste ? "history" : "responses");
    put_order(out, n);
    if (n->taste)
        put_words(out, n->values);
    else
        put_by_response(out, "digits", n);
}

static void put_chain(buf *out, const desk_news *n) {
    put_begin(out, n->kind == DESK_PIECE ? "piece" : "chain", true);
    put_text_or_null(out, "user", n->user);
    buf_printf(out, ",\"seed\":%zu", n->number);
    put_order(out, n);
    if (n->kind == DESK_PIECE) {
        put_text(out, "text", n->text, n->n_text);
        return;
    }
    buf_printf(out, ",\"parsed\":%s", n->parsed ? "true" : "false");
    put_text_or_null(out, "reason", n->reason);
    put_by_response(out, "scores", n);
}

void score_stream_news(question *q, const desk_news *n) {
    buf out = {0};
    if (n->kind == DESK_ASKED) {
        put_begin(&out, "asked", true);
        buf_printf(&out, ",\"asked\":%zu", n->n);
    } else if (n->kind == DESK_READING) {
        put_reading(&out, n);
    } else {
        put_chain(&out, n);
    }
    buf_puts(&out, "}\n\n");
    asking_send(q->of, &out);
}

/* In a text of the result the mark's quotes would be escaped. */
void score_put_result(const call *c, const char *text, buf *out) {
    static const char mark[] = ",\"cached_tokens\":";
    const char *at = access_has_several(call_server(c)->access) ? strstr(text, mark) : NULL;
    buf_add(out, text, at ? (size_t)(at - text) : strlen(text));
    if (!at) return;
    at += sizeof mark - 1;
    buf_puts(out, at + strspn(at, "0123456789"));
}

void score_stream_answer(asking *a) {
    question *q = a->list;
    call *c = a->task.call;
    char *text = NULL;
    buf out = {0};
    pgr_error err;
    if (!q->result) {
        call_fail_error(c, &q->error);
        return;
    }
    call_note_tokens(c, q->result->prompt_tokens, q->result->completion_tokens);
    if (pgr_result_json(q->result, &text, &err) != PGR_OK) {
        call_fail_error(c, &err);
        return;
    }
    put_begin(&out, "result", false);
    buf_puts(&out, ",\"result\":");
    score_put_result(c, text, &out);
    buf_puts(&out, "}\n\ndata: [DONE]\n\n");
    pgr_free(text);
    asking_send(a, &out);
    call_end(c);
}
