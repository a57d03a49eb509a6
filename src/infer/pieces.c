/* pieces.c - streams: what a chain has got since it was last told of, as far as it is certain. */
#include <string.h>

#include "base/text.h"
#include "infer/local.h"

/* How much of the text's end may still become a stop text and vanish. */
static size_t uncertain(const infer_request *r, const buf *text) {
    size_t most = 0;
    for (size_t i = 0; i < r->n_stop; i++) {
        size_t n = strlen(r->stop[i]), k = n - 1 < text->n ? n - 1 : text->n;
        while (k > most && memcmp(text->data + text->n - k, r->stop[i], k) != 0) k--;
        if (k > most) most = k;
    }
    return most;
}

static bool has_ended(const job *j, const infer_chain *c) {
    return j->n_open == 0 || c->finish != PGR_FINISH_DEADLINE;
}

/* The text up to which is told now. */
static size_t certain(const job *j, const infer_chain *c) {
    if (has_ended(j, c) || c->text.n == 0) return c->text.n;
    return utf8_complete(c->text.data, c->text.n - uncertain(&j->r, &c->text));
}

bool piece_next(job *j, infer_event *out) {
    for (size_t i = 0; i < j->result->n_chain; i++) {
        const infer_chain *c = &j->result->chains[i];
        told *t = &j->told[i];
        size_t text = certain(j, c);
        if (text <= t->text && c->tokens.n == t->tokens) continue;
        *out = (infer_event){.kind = INFER_PIECE,
                             .sample = i,
                             .text = c->text.data ? c->text.data + t->text : "",
                             .n_text = text > t->text ? text - t->text : 0,
                             .tokens = c->tokens.v + t->tokens,
                             .logprobs = c->logprobs + t->tokens,
                             .tops = c->tops ? c->tops + t->tokens * j->r.n_top : NULL,
                             .n_token = c->tokens.n - t->tokens};
        if (text > t->text) t->text = text;
        t->tokens = c->tokens.n;
        return true;
    }
    return false;
}
