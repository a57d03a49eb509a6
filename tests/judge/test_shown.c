/* test_shown.c - pgr_judge_show: the prompts are those that are asked, every part is where it is said to be, its
 * tokens sum to the prompt's, and what was shortened is named. */
#include "tiny_engine.h"

#include "base/json.h"
#include "judge/frame.h"

#define COMPACT "compact-lines"

/* The second response is far beyond the frame's limit of 160 tokens. */
static pgr_request *long_request(void) {
    buf b = {0};
    buf_puts(
        &b,
        "{\"id\":\"r1\",\"user\":{\"id\":\"u1\",\"history\":[{\"query\":\"A name for a boat?\",\"chosen\":\"Gull.\","
        "\"rejected\":\"There are many: gull, tern, auk.\"},{\"query\":\"And a dog?\",\"chosen\":\"Rex.\","
        "\"rejected\":\"It depends on the dog.\"}],\"criteria\":[\"be brief\"],\"demographics\":{\"age\":\"40\"}},"
        "\"query\":\"What is a fjord?\",\"responses\":[\"A drowned valley.\",\"");
    for (int i = 0; i < 400; i++) buf_puts(&b, "sea ");
    buf_puts(&b, "\"]}");
    pgr_request *r = parse(b.data);
    buf_free(&b);
    return r;
}

static pgr_shown *show(const pgr_request *r, const pgr_judge_options *o) {
    pgr_shown *s = NULL;
    pgr_error err = {0};
    if (pgr_judge_show(ENGINE, r, o, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    return s;
}

static pgr_judge_options options(void) {
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = COMPACT;
    o.ind = 5;
    o.max_tokens = 40;
    return o;
}

static size_t tokens_of(const pgr_shown_prompt *p, const char *name) {
    for (size_t i = 0; i < p->n_part; i++)
        if (strcmp(p->parts[i].name, name) == 0) return p->parts[i].tokens;
    fail_msg("no part %s", name);
    return 0;
}

static void test_parts(void **state) {
    (void)state;
    pgr_request *r = long_request();
    const pgr_judge_options o = options();
    pgr_shown *s = show(r, &o);
    assert_string_equal(s->id, "r1");
    assert_string_equal(s->frame, COMPACT);
    assert_true(s->n_prompt == 2 && s->max_tokens == 40 && s->n_response == 2);
    assert_true(s->prompts[0].chains == 3 && s->prompts[1].chains == 2);
    assert_true(s->prompts[0].kind == PGR_SHOWN_CHAINS && s->prompts[0].n_slot == 0);
    for (size_t i = 0; i < 2; i++) {
        const pgr_shown_prompt *p = &s->prompts[i];
        size_t sum = 0, n = 0;
        infer_message messages[2];
        for (size_t k = 0; k < p->n_part; k++) sum += p->parts[k].tokens;
        assert_int_equal(sum, p->tokens);
        for (size_t k = 0; k < p->n_message; k++)
            messages[k] = (infer_message){p->messages[k].role, p->messages[k].text, p->messages[k].n};
        assert_int_equal(engine_count_messages(ENGINE, messages, p->n_message, &n, NULL), PGR_OK);
        assert_int_equal(n, p->tokens); /* as the engine reads it */
        assert_true(p->order[0] == i && p->order[1] == 1 - i && !p->neighbour && p->history == 2);
        assert_true(tokens_of(p, "responses[1]") > tokens_of(p, "responses[0]"));
        static const char *const names[] = {
            "instructions", "user.demographics", "user.criteria", "user.history", "query", "frame", "template"};
        for (size_t k = 0; k < 7; k++) assert_true(tokens_of(p, names[k]) > 0);
        bool found = false;
        for (size_t k = 0; k < p->n_clip; k++)
            found = found
                    || (strcmp(p->clipped[k].field, "responses[1]") == 0
                        && p->clipped[k].to_tokens < p->clipped[k].from_tokens);
        assert_true(found);
    }
    char *text = NULL;
    json_t *v = NULL;
    assert_int_equal(pgr_shown_json(s, &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text, strlen(text), "shown", 1, &v, NULL), PGR_OK);
    const json_t *first = json_array_get(json_object_get(v, "prompts"), 0);
    assert_int_equal(json_integer_value(json_object_get(first, "tokens")), s->prompts[0].tokens);
    assert_int_equal(json_array_size(json_object_get(first, "parts")), s->prompts[0].n_part);
    json_decref(v);
    pgr_free(text);
    pgr_shown_free(s);
    pgr_request_free(r);
}

static const char *after(const char *text, const char *what) {
    const char *at = strstr(text, what);
    if (!at) fail_msg("\"%s\" is not in %s", what, text);
    return at + strlen(what);
}

/* A frame with slots: one prompt of the taste, one of the quality for each order; slots stand where they are read, and
 * the tokens up to the last one are what the engine reads. */
static void test_slots(void **state) {
    (void)state;
    pgr_request *r = long_request();
    pgr_judge_options o = options();
    o.frame = "compact";
    o.score = PGR_SCORE_RECOMPUTED; /* criteria are drawn: more chains than prompts can differ */
    pgr_shown *s = show(r, &o);
    assert_true(s->n_prompt == 3 && s->prompts[0].kind == PGR_SHOWN_TASTE);
    assert_true(s->prompts[0].chains == 5 && s->prompts[1].chains == 3 && s->prompts[2].chains == 2);
    for (size_t i = 0; i < 3; i++) {
        const pgr_shown_prompt *p = &s->prompts[i];
        infer_message messages[2];
        infer_slot slots[2];
        infer_slot_tokens t = {0};
        size_t sum = 0;
        for (size_t k = 0; k < p->n_part; k++) sum += p->parts[k].tokens;
        assert_int_equal(sum, p->tokens);
        assert_true(p->n_message == 2 && p->n_slot == (i ? 2 : 1));
        for (size_t k = 0; k < 2; k++)
            messages[k] = (infer_message){p->messages[k].role, p->messages[k].text, p->messages[k].n};
        for (size_t k = 0; k < p->n_slot; k++)
            slots[k] = (infer_slot){p->slots[k].message, p->slots[k].at, p->slots[k].choices, p->slots[k].n_choice};
        assert_int_equal(engine_slots_tokens(ENGINE, messages, 2, slots, p->n_slot, &t, NULL), PGR_OK);
        assert_int_equal(t.tokens.n, p->tokens);
        infer_slot_tokens_free(&t);
    }
    const pgr_shown_prompt *taste = &s->prompts[0], *quality = &s->prompts[2];
    assert_true(taste->history == 2 && taste->slots[0].n_choice == 24 && tokens_of(taste, "user.history") > 0);
    assert_true(taste->slots[0].at == taste->messages[1].n);
    assert_true(quality->kind == PGR_SHOWN_QUALITY && quality->order[0] == 1 && quality->slots[0].n_choice == 9);
    const char *text = quality->messages[1].text;
    assert_ptr_equal(text + quality->slots[0].at, after(after(text, "sea sea"), "Score:"));
    assert_ptr_equal(text + quality->slots[1].at, after(after(text, "A drowned valley."), "Score:"));
    assert_true(tokens_of(quality, "responses[1]") > tokens_of(quality, "responses[0]"));
    assert_true(tokens_of(quality, "query") > 0 && quality->n_clip == 1);
    char *json = NULL;
    assert_int_equal(pgr_shown_json(s, &json, NULL), PGR_OK);
    assert_non_null(strstr(json, "\"kind\":\"taste\""));
    assert_non_null(strstr(json, "\"choices\":[\"1\",\"2\""));
    pgr_free(json);
    pgr_shown_free(s);
    pgr_request_free(r);
}

/* Every part's bytes show what its name says, and parts do not overlap. */
static void test_places(void **state) {
    (void)state;
    pgr_request *r = long_request();
    frame *f = NULL;
    arena a = {0};
    frame_prompt p = {0};
    const size_t order[] = {1, 0}, history[] = {0, 1};
    const frame_view view = {history, 2, order, 4000};
    pgr_error err = {0};
    assert_int_equal(frame_open(COMPACT, &f, NULL), PGR_OK);
    if (frame_render(f, ENGINE, r, &view, &a, &p, &err) != PGR_OK) fail_msg("%s", err.message);
    static const char *const want[][2] = {{"user.demographics", "age: 40"},       {"user.criteria", "be brief"},
                                          {"user.history", "A name for a boat?"}, {"user.history", "Rex."},
                                          {"query", "What is a fjord?"},          {"responses[1]", "sea sea"},
                                          {"responses[0]", "A drowned valley."}};
    size_t last[2] = {0, 0};
    for (size_t i = 0; i < p.n_part; i++) {
        const frame_part *q = &p.parts[i];
        assert_true(q->message < p.n_message && q->from >= last[q->message]);
        last[q->message] = q->from + q->n;
        assert_true(last[q->message] <= p.messages[q->message].n);
    }
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        bool found = false;
        for (size_t i = 0; i < p.n_part; i++) {
            const frame_part *q = &p.parts[i];
            const char *from = p.messages[q->message].text + q->from, *at = strstr(from, want[k][1]);
            found = found || (strcmp(q->name, want[k][0]) == 0 && at && (size_t)(at - from) < q->n);
        }
        if (!found) fail_msg("%s does not show \"%s\"", want[k][0], want[k][1]);
    }
    frame_prompt_free(&p);
    arena_free(&a);
    frame_close(f);
    pgr_request_free(r);
}

/* What cannot be judged cannot be shown, for the same reason. */
static void test_refusals(void **state) {
    (void)state;
    pgr_request *r = long_request();
    pgr_judge_options o = options();
    pgr_shown *s = NULL;
    pgr_error shown = {0}, judged = {0};
    pgr_result *result = NULL;
    o.pro = 4; /* nobody is there */
    assert_int_equal(pgr_judge_show(ENGINE, r, &o, &s, &shown), PGR_E_UNSUPPORTED);
    assert_int_equal(pgr_judge(ENGINE, r, &o, &result, &judged), PGR_E_UNSUPPORTED);
    assert_string_equal(shown.message, judged.message);
    o.pro = 0;
    o.frame = "/nowhere.frame";
    assert_int_equal(pgr_judge_show(ENGINE, r, &o, &s, &shown), pgr_judge(ENGINE, r, &o, &result, &judged));
    assert_string_equal(shown.message, judged.message);
    pgr_request_free(r);
}

static bool show_once(void) {
    static const char text[] = "{\"query\":\"Why?\",\"responses\":[\"So.\",\"Because.\"]}";
    pgr_request *r = NULL;
    pgr_shown *s = NULL;
    pgr_judge_options o = options();
    char *json = NULL;
    bool ok = pgr_request_parse(text, strlen(text), "test", &r, NULL) == PGR_OK
              && pgr_judge_show(ENGINE, r, &o, &s, NULL) == PGR_OK && pgr_shown_json(s, &json, NULL) == PGR_OK;
    pgr_free(json);
    pgr_shown_free(s);
    pgr_request_free(r);
    return ok;
}

static void test_memory(void **state) {
    (void)state;
    assert_true(show_once()); /* what the engine keeps is there */
    assert_true(fail_allocations(show_once, 1) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts), cmocka_unit_test(test_slots),
                                       cmocka_unit_test(test_places), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
