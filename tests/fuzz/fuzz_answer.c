/* fuzz_answer.c - any bytes as a server's answer: an error that names the address, or choices inside what was asked
 * for, whose tokens are their texts; the same bytes as embeddings; and as what is said of slots: an error, or
 * distributions. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "infer/answer.h"
#include "infer/slot_answer.h"
#include "model/embed_remote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ASKED = 3, MOST = 40, DIMS = 2 };

static void check(const answer_choice *c) {
    size_t at = 0;
    PGR_ASSERT(c->index < ASKED && !memchr(c->text, 0, c->n));
    for (size_t i = 0; i < c->n_token; i++) {
        const answer_token *t = &c->tokens[i];
        PGR_ASSERT(t->at == at && t->n <= c->n - at && t->logprob <= 0);
        for (size_t k = 0; k < t->n_top; k++) PGR_ASSERT(t->top[k].logprob <= 0);
        at += t->n;
    }
    PGR_ASSERT(c->n_token == 0 || at == c->n);
}

/* Two slots of two choices each, one of them of two tokens. */
static void read_slots(const char *text, size_t n, bool named) {
    int32_t tokens[] = {1, 2, 3}, choices[] = {5, 6, 5, 7, 8};
    size_t rows[] = {0, 2}, end[] = {1, 2, 4, 5}, first[] = {0, 2, 4};
    slot_plan plan = {.t = {.tokens = {.v = tokens, .n = 3}, .rows = rows, .n_slot = 2, .end = end, .n_choice = 4}};
    arena a = {0};
    slot_answer got;
    infer_reading *list = NULL;
    pgr_error err = {0};
    plan.t.choices = (ids){.v = choices, .n = 5};
    plan.t.first = first;
    pgr_status s = slot_plan_make(&plan, "fuzz", &a, &err);
    if (s == PGR_OK) s = slot_answer_read(&plan, named, text, n, "fuzz", &a, &got, &err);
    if (s == PGR_OK && !got.late) s = slot_answer_readings(&plan, &got, "fuzz", &list, &err);
    PGR_ASSERT(s == PGR_OK || strncmp(err.message, "fuzz", 4) == 0);
    for (size_t i = 0; list && i < 2; i++) {
        double sum = exp(list[i].logprobs[0]) + exp(list[i].logprobs[1]);
        PGR_ASSERT(fabs(sum - 1) < 1e-9 && list[i].mass > 0 && list[i].mass < 1.03);
    }
    slot_readings_free(list, 2);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena a = {0};
    json_t *root = NULL;
    answer got;
    pgr_error err = {0};
    float out[ASKED * DIMS];
    size_t found, tokens;
    if (answer_read((const char *)data, size, "fuzz", ASKED, MOST, &a, &root, &got, &err) == PGR_OK) {
        PGR_ASSERT(got.n_choice >= 1 && got.n_choice <= ASKED && got.cached_tokens <= got.prompt_tokens);
        for (size_t i = 0; i < got.n_choice; i++) check(&got.choices[i]);
    } else {
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz", 4) == 0);
    }
    json_decref(root);
    arena_free(&a);
    read_slots((const char *)data, size, true);
    read_slots((const char *)data, size, false);
    if (embeddings_read((const char *)data, size, "fuzz", ASKED, DIMS, out, &found, &tokens, &err) == PGR_OK)
        for (size_t i = 0; i < ASKED * DIMS; i++) PGR_ASSERT(isfinite(out[i]));
    else
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz", 4) == 0);
    return 0;
}
