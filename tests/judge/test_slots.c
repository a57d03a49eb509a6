/* test_slots.c - frames with slots: the prompts letter by letter, what the program knows by itself (levels, teachers,
 * draws, counts), and judging with them on a tiny random model. */
#include <math.h>

#include "../base/scratch.h"
#include "base/file.h"
#include "judge/judge.h"
#include "judge/slots_chain.h"
#include "model/model.h"
#include "tiny_engine.h"

static const char LONG[] = "one two three four five six seven eight nine ten eleven twelve";

/* Six pairs of four conversations; the first two turns of the first conversation's are alike. */
#define PAIR(query, chosen, rejected)                                                                                  \
    "{\"query\": \"" query "\", \"chosen\": \"" chosen "\", \"rejected\": \"" rejected "\"}"
#define RICE                                                                                                           \
    PAIR("How do I boil rice?", "Ten minutes, lid on.",                                                                \
         "Rice is a grain. Wash it well, then boil it for ten "                                                        \
         "minutes in twice as much water as there is rice, and "                                                       \
         "leave the lid on all the time.")
#define TREE                                                                                                           \
    PAIR("Name a tree", "Oak.", "There are many trees: oak, birch, pine, beech, elm, lime, ash, maple, poplar.")
#define TEA PAIR("Tea?", "Yes.", "No.")
static const char REQUEST[] =
    "{\"id\": \"r1\", \"user\": {\"id\": \"u1\", \"criteria\": [\"be brief\"], \"history\": [" RICE "," TREE "," TEA
    "]}, \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"Oslo is the capital of Norway, a country in "
    "the north of Europe.\"]}";

static frame *open_frame(const char *name) {
    frame *f = NULL;
    pgr_error err = {0};
    if (frame_open(name, &f, &err) != PGR_OK) fail_msg("%s", err.message);
    return f;
}

static slots_prompt make(const frame *f, const pgr_request *r, const slots_view *view, bool taste) {
    slots_prompt p;
    pgr_error err = {0};
    if ((taste ? slots_taste : slots_quality)(f, ENGINE, r, view, &p, &err) != PGR_OK) fail_msg("%s", err.message);
    return p;
}

static const size_t THREE[] = {0, 1, 2}, SWAPPED[] = {1, 0};

/* ---- prompts ---- */

static void the_taste_prompt(void **state) {
    (void)state;
    frame *f = open_frame("compact");
    pgr_request *r = parse(REQUEST);
    double common[N_FACT] = {[FACT_LENGTH] = 0.4, [FACT_ECHO] = 0.5, [FACT_WARMTH] = -0.2, [FACT_CODE] = 0.05};
    slots_view view = {.history = THREE, .n_history = 3, .common = common};
    slots_prompt p = make(f, r, &view, true);
    assert_int_equal(p.n_message, 2);
    assert_string_equal(
        p.messages[0].text,
        "What does one user like in answers? Each line says in words how the answer that the user chose "
        "differs from the one that was not chosen.\nMost people like focused, long, cool.");
    assert_string_equal(p.messages[1].text, "The user asks for: be brief\n"
                                            "Chose short strongly, formal, loose strongly.\n"
                                            "Chose short strongly, loose.\n"
                                            "Chose nothing stands out.\n"
                                            "This user likes");
    assert_int_equal(p.n_slot, 1);
    assert_int_equal(p.slots[0].message, 1);
    assert_int_equal(p.slots[0].at, p.messages[1].n);
    assert_int_equal(p.slots[0].n_choice, N_TASTE);
    assert_int_equal(p.n_history, 3);
    for (int w = 0; w < N_TASTE; w++) {
        assert_string_equal(p.slots[0].choices[w] + 1, taste_word(w));
        assert_true(p.slots[0].choices[w][0] == ' ');
    }
    slots_prompt_free(&p);

    view.common = NULL; /* where nothing is known the line is left out */
    view.n_history = 0;
    p = make(f, r, &view, true);
    assert_null(strstr(p.messages[0].text, "Most people"));
    assert_true(p.messages[0].text[p.messages[0].n - 1] == '.');
    assert_string_equal(p.messages[1].text,
                        "The user asks for: be brief\nNo earlier choices are known.\nThis user likes");
    slots_prompt_free(&p);
    pgr_request_free(r);
    frame_close(f);
}

/* Exchanging a pair's texts and turning it say the same; what has no opposite is not turned. */
static void a_turned_taste(void **state) {
    (void)state;
    frame *f = open_frame("compact");
    pgr_request *r = parse(REQUEST), *other = parse(REQUEST);
    double common[N_FACT] = {[FACT_LENGTH] = 0.4, [FACT_WARMTH] = -0.2}, p[N_TASTE], q[N_TASTE];
    slots_view view = {.history = THREE, .n_history = 3, .common = common, .turned = true}, plain = view;
    plain.turned = false;
    plain.common = NULL;
    assert_false(slots_can_turn(r, &view));
    r->n_criteria = other->n_criteria = 0;
    assert_true(slots_can_turn(r, &view));
    slots_prompt turned = make(f, r, &view, true);
    assert_non_null(strstr(turned.messages[0].text, "Most people like short, warm."));
    assert_string_equal(turned.messages[1].text, "Chose long strongly, casual, focused strongly.\n"
                                                 "Chose long strongly, focused.\n"
                                                 "Chose nothing stands out.\n"
                                                 "This user likes");
    for (size_t i = 0; i < other->n_history; i++) {
        preference_pair *x = &((preference_pair *)(uintptr_t)other->history)[i];
        const char *chosen = x->chosen;
        x->chosen = x->rejected;
        x->rejected = chosen;
    }
    slots_prompt exchanged = make(f, other, &plain, true);
    assert_string_equal(exchanged.messages[1].text, turned.messages[1].text);
    slots_prompt_free(&turned);
    slots_prompt_free(&exchanged);
    view.n_history = 0;
    assert_false(slots_can_turn(r, &view));
    r->demographics = "a teacher";
    view.n_history = 3;
    assert_false(slots_can_turn(r, &view));
    for (int w = 0; w < N_TASTE; w++) p[w] = q[w] = w;
    taste_turn(q);
    for (int k = 0; k < N_FACT; k++) assert_true(q[2 * k] == p[2 * k + 1] && q[2 * k + 1] == p[2 * k]);
    pgr_request_free(r);
    pgr_request_free(other);
    frame_close(f);
}

/* The prompt of a user is the same whatever is asked. */
static void the_taste_depends_on_no_query(void **state) {
    (void)state;
    frame *f = open_frame("compact");
    pgr_request *r = parse(REQUEST), *other = parse(REQUEST);
    static const turn question = {"user", "Quite another question"};
    static const char *const texts[] = {"a", "b", "c"};
    other->messages = &question;
    other->responses = texts;
    other->n_response = 3;
    slots_view view = {.history = THREE, .n_history = 3};
    slots_prompt a = make(f, r, &view, true), b = make(f, other, &view, true);
    for (size_t i = 0; i < 2; i++) assert_string_equal(a.messages[i].text, b.messages[i].text);
    slots_prompt_free(&a);
    slots_prompt_free(&b);
    pgr_request_free(r);
    pgr_request_free(other);
    frame_close(f);
}

static void the_quality_prompt(void **state) {
    (void)state;
    frame *f = open_frame("compact");
    pgr_request *r = parse(REQUEST);
    static const people_view people[] = {{2, 6, 0.284}, {0, 0, 0.5}};
    slots_view view = {.order = SWAPPED, .people = people};
    slots_prompt p = make(f, r, &view, false);
    assert_string_equal(p.messages[0].text, "How good is each answer? Scores go from 1 to 9.");
    assert_string_equal(p.messages[1].text, "Question: Where is Oslo?\n"
                                            "A: Oslo is the capital of Norway, a country in the north of Europe.\n"
                                            "Score:\n"
                                            "B: In Norway.\n"
                                            "Similar people: 28% agree.\n"
                                            "Score:");
    assert_int_equal(p.n_slot, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(p.slots[i].n_choice, N_DIGIT);
        assert_int_equal(p.slots[i].message, 1);
        assert_memory_equal(p.messages[1].text + p.slots[i].at - 6, "Score:", 6);
    }
    assert_true(p.messages[1].text[p.slots[0].at] == '\n');
    assert_int_equal(p.slots[1].at, p.messages[1].n);
    infer_slot_tokens t;
    assert_int_equal(engine_slots_tokens(ENGINE, p.messages, p.n_message, p.slots, p.n_slot, &t, NULL), PGR_OK);
    assert_int_equal(t.tokens.n, p.n_token);
    assert_true(t.single);
    infer_slot_tokens_free(&t);
    slots_prompt_free(&p);
    pgr_request_free(r);
    frame_close(f);
}

/* Statements: pairs that share words with the responses are shown as texts, the most alike first. */
static void statements_keep_their_texts(void **state) {
    (void)state;
    frame *f = open_frame("compact");
#define CATS  PAIR("Which?", "Cats are fine.", "Cats are a plague.")
#define DOGS  PAIR("Which?", "Ban dogs from all parks.", "Let dogs run in parks.")
#define TAXES PAIR("Which?", "Lower taxes.", "Raise taxes.")
#define OTHER PAIR("Another?", "Dogs bark.", "Cats do.")
    pgr_request *r = parse("{\"user\": {\"id\": \"u\", \"history\": [" CATS "," DOGS "," TAXES "," OTHER
                           "]}, \"query\": \"Which?\", \"responses\": [\"Dogs should be banned from parks.\", "
                           "\"A park needs cats.\"]}");
    assert_true(slots_by_views(f, r));
    slots_view view = {.order = THREE};
    slots_prompt p = make(f, r, &view, false);
    assert_int_equal(p.n_history, 2);
    const char *want = "The user chose: Ban dogs from all parks. Not: Let dogs run in parks.\n"
                       "The user chose: Cats are fine. Not: Cats are a plague.\nQuestion: Which?\n";
    assert_memory_equal(p.messages[1].text, want, strlen(want));
    slots_prompt_free(&p);
    char text[600] = "";
    for (int i = 0; i < 6; i++) strcat(text, LONG);
    const char *texts[] = {text, "b"};
    r->responses = texts;
    assert_false(slots_by_views(f, r));
    p = make(f, r, &view, false);
    assert_int_equal(p.n_history, 0);
    slots_prompt_free(&p);
    pgr_request_free(r);
    frame_close(f);
}

/* Pairs go, then texts are shortened, then it is an error. */
static void until_it_fits(void **state) {
    (void)state;
    frame *f = open_frame("compact");
    pgr_request *r = parse(REQUEST);
    slots_view view = {.history = THREE, .n_history = 3, .order = THREE};
    slots_prompt whole = make(f, r, &view, true);
    view.budget = whole.n_token - 1;
    slots_prompt part = make(f, r, &view, true);
    assert_true(part.n_history < 3 && part.n_token <= view.budget);
    assert_non_null(strstr(part.messages[1].text, "nothing stands out")); /* the oldest goes first */
    slots_prompt_free(&part);
    slots_prompt_free(&whole);
    whole = make(f, r, &(slots_view){.order = THREE}, false);
    slots_prompt p;
    pgr_error err = {0};
    slots_view tight = {.order = THREE, .budget = whole.n_token - 4};
    p = make(f, r, &tight, false);
    assert_true(p.n_clip > 0 && p.n_token <= tight.budget);
    assert_true(p.clips[0].to_tokens < p.clips[0].from_tokens);
    slots_prompt_free(&p);
    tight.budget = 20;
    assert_int_equal(slots_quality(f, ENGINE, r, &tight, &p, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "with every text clipped to 16, there is room for 20"));
    slots_prompt_free(&whole);
    frame *lines = open_frame("compact-lines");
    assert_int_equal(slots_taste(lines, ENGINE, r, &view, &p, &err), PGR_E_ARG);
    frame_close(lines);
    pgr_request_free(r);
    frame_close(f);
}

static void refused(const char *text, const char *want) {
    frame *f = NULL;
    pgr_error err = {0};
    assert_int_equal(frame_parse(text, strlen(text), "f", &f, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, want);
}

static void what_a_frame_with_slots_needs(void **state) {
    (void)state;
#define HEAD     "form: slots\n[history]\n{facts}\n"
#define QUALITY  "[quality]\n{query}\n{responses}\n"
#define RESPONSE "[response]\n{text}{score}\n"
    refused(HEAD "[user]\n{history}\n" QUALITY RESPONSE,
            "f:4: [user] does not end with {taste}, expected that in a frame of the form slots");
    refused(HEAD "[user]\n{history} {taste}\n" RESPONSE,
            "f:8: [quality] does not end with {responses}, expected that in a frame of the form slots");
    refused(HEAD "[user]\n{history} {taste}\n" QUALITY "[response]\n{text}{score}.\n",
            "f:9: [response] does not end with {score}, expected that in a frame of the form slots");
    refused(HEAD "[user]\n{query}{history} {taste}\n" QUALITY RESPONSE,
            "f:4: the taste prompt shows {query} or {responses}, expected what depends on the user alone");
    refused("form: compact\nmax_tokens: 1\n[user]\n{query}{responses}\n[response]\n{text}{score}\n",
            "f:3: {taste} and {score} are slots, expected 'form: slots'");
    frame *f = NULL;
    const char ok[] = HEAD "[user]\n{history} {taste}\n" QUALITY RESPONSE;
    assert_int_equal(frame_parse(ok, sizeof ok - 1, "f", &f, NULL), PGR_OK);
    assert_int_equal(frame_form(f), CHAIN_SLOTS);
    frame_close(f);
}

/* ---- what the program knows ---- */

static void levels_are_those_of_a_pair(void **state) {
    (void)state;
    double ab[N_FACT], ba[N_FACT], target[N_TASTE], sum = 0;
    pgr_request *r = parse(REQUEST);
    slots_levels("q", "yes", LONG, ab);
    slots_levels("q", LONG, "yes", ba);
    assert_true(ab[FACT_LENGTH] == -3);
    for (int f = 0; f < N_FACT; f++) assert_true(ab[f] == -ba[f] && fabs(ab[f]) <= 3);
    double list[2 * N_FACT];
    assert_int_equal(slots_response_levels(r, list, NULL), PGR_OK);
    slots_levels("Where is Oslo?", r->responses[0], r->responses[1], ab);
    for (int f = 0; f < N_FACT; f++) assert_true(list[f] == ab[f] && list[N_FACT + f] == -ab[f]);

    /* short strongly twice, formal, loose strongly and plainly: sums 6, 2, 5 */
    slots_target(r->history, THREE, 3, target);
    assert_true(fabs(target[2 * FACT_LENGTH + 1] - 6.0 / 13) < 1e-12);
    assert_true(fabs(target[2 * FACT_ECHO + 1] - 5.0 / 13) < 1e-12);
    assert_true(fabs(target[2 * FACT_FORMAL] - 2.0 / 13) < 1e-12);
    for (int w = 0; w < N_TASTE; w++) sum += target[w];
    assert_true(fabs(sum - 1) < 1e-12);
    slots_target(r->history, THREE + 2, 1, target); /* nothing stands out */
    for (int w = 0; w < N_TASTE; w++) assert_true(target[w] == 1.0 / N_TASTE);
    pgr_request_free(r);
}

static void one_of_a_conversation_before_a_second(void **state) {
    (void)state;
    static const turn a = {"user", "a"}, b = {"user", "b"}, c = {"user", "c"};
    preference_pair list[12];
    size_t five[12], three[12], n, firsts[12] = {0};
    for (size_t i = 0; i < 12; i++) list[i] = (preference_pair){i < 9 ? &a : i < 11 ? &b : &c, 1, "x", "y"};
    for (uint64_t seed = 0; seed < 40; seed++) {
        size_t of[3] = {0};
        assert_int_equal(slots_draw(list, 12, 3, seed, 0, three, &n, NULL), PGR_OK);
        assert_int_equal(n, 3);
        for (size_t i = 0; i < 3; i++) of[three[i] < 9 ? 0 : three[i] < 11 ? 1 : 2]++;
        assert_true(of[0] == 1 && of[1] == 1 && of[2] == 1);
        assert_int_equal(slots_draw(list, 12, 5, seed, 0, five, &n, NULL), PGR_OK);
        for (size_t i = 1; i < 5; i++) assert_true(five[i] > five[i - 1]); /* in the order in which they happened */
        for (size_t i = 0; i < 3; i++) {
            bool there = false;
            for (size_t k = 0; k < 5; k++) there = there || five[k] == three[i];
            assert_true(there);
        }
        firsts[three[0]]++;
    }
    for (size_t i = 0; i < 9; i++) assert_true(firsts[i] < 20); /* it is a draw */
    assert_int_equal(slots_draw(list, 12, 99, 1, 0, five, &n, NULL), PGR_OK);
    assert_int_equal(n, 12);
}

static void people_are_counted_once(void **state) {
    (void)state;
    static const turn q = {"user", "q"};
    const preference_pair anna[] = {{&q, 1, "Ban  dogs.", "x"}, {&q, 1, "ban dogs", "y"}},
                          bert[] = {{&q, 1, "x", "BAN DOGS!"}},
                          cleo[] = {{&q, 1, "Ban dogs", "z"}, {&q, 1, "z", "ban dogs"}},
                          dora[] = {{&q, 1, "Ban dogs and cats", "z"}};
    const neighbour list[] = {{.pairs = anna, .n_pair = 2, .similarity = 0.75},
                              {.pairs = bert, .n_pair = 1, .similarity = -0.5},
                              {.pairs = cleo, .n_pair = 2, .similarity = 0.25},
                              {.pairs = dora, .n_pair = 1, .similarity = 1}};
    people_view p;
    slots_count_people(list, 4, " Ban dogs. ", &p);
    assert_int_equal(p.chose, 1); /* anna once; cleo has said both */
    assert_int_equal(p.rejected, 1);
    assert_true(fabs(p.share - (0.75 + 0.5) / (0.75 + 1)) < 1e-15); /* who is unlike him has no weight against him */
    assert_int_equal(slots_people_percent(&p), 71);
    slots_count_people(list, 4, "Ban parks", &p);
    assert_int_equal(p.chose + p.rejected, 0);
    assert_true(p.share == 0.5);
    slots_count_people(list, 4, "...", &p);
    assert_int_equal(p.chose + p.rejected, 0);
}

static void weights_come_from_a_file(void **state) {
    (void)state;
    const char *path = path_of("slots.json");
    slots_weights w = {.a = 1.25, .b = 0.5, .has_common = true, .common = {[FACT_LENGTH] = 0.75, [FACT_CODE] = -0.5}},
                  back;
    pgr_error err = {0};
    assert_int_equal(slots_weights_write(&w, path, &err), PGR_OK);
    assert_int_equal(slots_weights_read(path, &back, &err), PGR_OK);
    assert_true(back.trained && back.a == 1.25 && back.b == 0.5 && back.has_common && back.pairs == 0);
    for (int f = 0; f < N_FACT; f++) assert_true(back.common[f] == w.common[f]);
    w.has_common = false;
    w.pairs = 16;
    assert_int_equal(slots_weights_write(&w, path, &err), PGR_OK);
    assert_int_equal(slots_weights_read(path, &back, &err), PGR_OK);
    assert_true(!back.has_common && back.pairs == 16);
    static const char *const bad[][2] = {
        {"{\"a\": -1, \"b\": 1}", "a is -1, expected a number from 0 to"},
        {"{\"a\": 0, \"b\": 0}", "a and b are 0"},
        {"{\"a\": 1}", "b is no number"},
        {"{\"a\": 1, \"b\": 1, \"pairs\": -1}", "pairs is -1, expected a number from 0 to"},
        {"{\"a\": 1, \"b\": 1, \"c\": 1}", "unknown key \"c\""},
        {"{\"a\": 1, \"b\": 1, \"common\": {\"lenght\": 1}}", "length"},
        {"{\"a\": 1, \"b\": 1, \"common\": {\"length\": 4}}", "length is 4, expected a number from -3 to 3"},
        {"[]", "object"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text("slots.json", bad[i][0]);
        assert_int_equal(slots_weights_read(path, &back, &err), PGR_E_FORMAT);
        if (!strstr(err.message, bad[i][1])) fail_msg("'%s', expected '%s'", err.message, bad[i][1]);
    }
    slots_weights neutral = slots_weights_neutral();
    assert_true(!neutral.trained && slots_taste_share(&neutral) == 0.5);
}

/* The more shown pairs bear each other out, the more their taste weighs; views push it aside; somebody always has a
 * weight. Where people's pairs lead, the one pair of somebody new has a weight, too; no pair has none. */
static void weights_of_a_prompt(void **state) {
    (void)state;
    slots_weights w = {.a = 2, .b = 1, .pairs = 3}, only = {.a = 2, .pairs = 3}, whole = {.a = 2, .b = 1};
    assert_true(slots_weights_for(&w, 0, 0, 0, false).a == 0 && slots_weights_for(&w, 0, 0, 0, false).b == 1);
    assert_true(slots_weights_for(&w, 5, 4, 0, false).a == 1 && slots_weights_for(&w, 13, 12, 0, false).a == 1.5);
    assert_true(slots_weights_for(&w, 13, 12, 0, true).a == 0);
    assert_true(slots_weights_for(&whole, 0, 0, 0, false).a == 2 && slots_weights_for(&whole, 3, 1, 0, true).a == 0);
    assert_true(slots_weights_for(&w, 1, 0, 0.5, false).a == 0.75
                && slots_weights_for(&w, 3, 2, 0.5, false).a == 3.5 / 3);
    assert_true(slots_weights_for(&w, 0, 0, 0.5, false).a == 0 && slots_weights_for(&w, 1, 0, 0.5, true).a == 0);
    assert_true(slots_weights_for(&whole, 1, 0, 0.5, false).a == 2);
    assert_true(slots_weights_for(&only, 0, 0, 0, false).a == 2 && slots_weights_for(&only, 13, 12, 0, true).a == 2);
}

static size_t lead_of(const preference_pair *p, const size_t *pairs, size_t n) {
    size_t lead;
    assert_int_equal(slots_lead(p, pairs, n, &lead, NULL), PGR_OK);
    return lead;
}

/* Three who like it long and one who does not: the three are borne out, he is not. What has the same query as the pair
 * says nothing of it. */
static void pairs_bear_each_other_out(void **state) {
    (void)state;
    static const turn q[] = {{"user", "one?"}, {"user", "two?"}, {"user", "three?"}, {"user", "four?"}};
    const char *more = "stone stone stone stone stone stone stone stone stone stone stone stone", *less = "stone stone";
    const preference_pair p[] = {{&q[0], 1, more, less},
                                 {&q[1], 1, more, less},
                                 {&q[2], 1, more, less},
                                 {&q[3], 1, less, more},
                                 {&q[0], 1, more, less}};
    static const size_t all[] = {0, 1, 2, 3}, two[] = {0, 3}, same[] = {0, 4}, one[] = {2};
    assert_int_equal(lead_of(p, all, 3), 3);
    assert_int_equal(lead_of(p, all, 4), 2);
    assert_int_equal(lead_of(p, two, 2), 0);
    assert_int_equal(lead_of(p, same, 2), 0);
    assert_int_equal(lead_of(p, one, 1), 0);
    assert_int_equal(lead_of(p, one, 0), 0);
}

/* ---- evidence ---- */

/* The pair with most of a word, of equals the later one; nothing for a word that no pair has. */
static void evidence_is_quoted(void **state) {
    (void)state;
    pgr_request *r = parse(REQUEST);
    const char *of[N_TASTE];
    arena a = {0};
    assert_int_equal(slots_evidence(r->history, THREE, 3, &a, of, NULL), PGR_OK);
    assert_string_equal(of[2 * FACT_LENGTH + 1],
                        "as in choice 2: \"Oak.\" over \"There are many trees: oak, birch, pine, "
                        "beech, elm, lime, as...\"");
    assert_true(strncmp(of[2 * FACT_ECHO + 1], "as in choice 1: \"Ten minutes, lid on.\" over", 40) == 0);
    assert_string_equal(of[2 * FACT_LENGTH], "");
    assert_string_equal(of[2 * FACT_CODE], "");
    arena_free(&a);
    pgr_request_free(r);
}

/* ---- judging ---- */

static pgr_judge_options options(int ind) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = ind;
    o.keep_chains = true;
    o.frame = "compact";
    return o;
}

static pgr_result *judge(pgr_engine *e, const pgr_request *r, pgr_judge_options o) {
    pgr_result *out = NULL;
    pgr_error err = {0};
    if (pgr_judge(e, r, &o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

static void judging_by_slots_end_to_end(void **state) {
    (void)state;
    pgr_request *r = parse(REQUEST);
    pgr_result *out = judge(ENGINE, r, options(8));
    assert_int_equal(out->requested, 2); /* both orders: chains of one prompt would be the same */
    assert_int_equal(out->parsed, 2);
    assert_true(out->contradictory == 0 && !out->open);
    assert_int_equal(out->score_used, PGR_SCORE_EXPECTED);
    assert_true(out->untrained && !*out->persona); /* what an untrained model is said to like is not told */
    assert_int_equal(out->history_shown, 3);
    assert_int_equal(out->completion_tokens, 0);
    assert_true(out->prompt_tokens > 0 && out->arithmetic_wrong == 0);
    assert_string_equal(out->frame, "compact");
    double weight = 0;
    for (size_t k = 0; k < out->n_criterion; k++) weight += out->criteria[k].weight;
    if (fabs(weight - 100) > 1e-9) fail_msg("%zu criteria weigh %g", out->n_criterion, weight);
    for (size_t i = 0; i < 2; i++) {
        double total = 0;
        for (size_t k = 0; k < out->n_criterion; k++)
            total += out->criteria[k].weight / 100 * out->criteria[k].scores[i];
        assert_true(fabs(total - out->responses[i].score) < 1e-9); /* by hand, from the table */
    }
    pgr_judge_options o = options(8);
    o.score = PGR_SCORE_RECOMPUTED;
    pgr_result *drawn = judge(ENGINE, r, o);
    assert_int_equal(drawn->parsed, 8);
    bool differ = false;
    for (size_t c = 2; c < 8; c++) differ = differ || drawn->samples[c].scores[0] != drawn->samples[c % 2].scores[0];
    assert_true(differ);
    for (size_t i = 0; i < 2; i++) assert_true(fabs(drawn->responses[i].expected - out->responses[i].score) < 1e-12);
    for (size_t c = 0; c < 2; c++) {
        assert_string_equal(drawn->samples[c].text, out->samples[c].text);
        assert_true(strstr(out->samples[c].text, "Total: A ") != NULL);
    }
    pgr_result_free(out);
    pgr_result_free(drawn);
    pgr_request_free(r);
}

#define OF_HISTORY(history)                                                                                            \
    "{\"user\": {\"id\": \"u\", \"history\": [" history "]}, \"query\": \"Where is Oslo?\", "                          \
    "\"responses\": [\"In Norway.\", \"Oslo is the capital of Norway, a country in the north of Europe.\"]}"

/* What a model says under any history has no part in a verdict by both orders: of one who chose the other text every
 * time the taste is the opposite, so the two scores of a response have the same mean as those of any other two. */
static void opposite_choices_are_opposite_tastes(void **state) {
    (void)state;
    static const char *const requests[4] = {
        OF_HISTORY(PAIR("Name a tree", "Oak.", "There are many trees: oak, birch, pine, beech.")),
        OF_HISTORY(PAIR("Name a tree", "There are many trees: oak, birch, pine, beech.", "Oak.")),
        OF_HISTORY(PAIR("Why?", "I am so happy that you ask! See 1, 2 and 3.", "Perhaps, it may be.")),
        OF_HISTORY(PAIR("Why?", "Perhaps, it may be.", "I am so happy that you ask! See 1, 2 and 3."))};
    double score[4], alone[4];
    for (size_t i = 0; i < 4; i++) {
        pgr_request *r = parse(requests[i]);
        pgr_result *both = judge(ENGINE, r, options(2)), *one = judge(ENGINE, r, options(1));
        assert_int_equal(both->requested, 2);
        score[i] = both->responses[0].score;
        alone[i] = one->responses[0].score;
        pgr_result_free(both);
        pgr_result_free(one);
        pgr_request_free(r);
    }
    assert_true(fabs(score[0] - score[1]) > 1e-3 && fabs(score[0] - score[2]) > 1e-3);
    assert_true(fabs(score[0] + score[1] - score[2] - score[3]) < 1e-9);
    assert_true(fabs(alone[0] + alone[1] - alone[2] - alone[3]) > 1e-6); /* one chain is not free of it */
}

static void assert_same_result(pgr_result *a, pgr_result *b) {
    assert_int_equal(a->n_sample, b->n_sample);
    for (size_t c = 0; c < a->n_sample; c++) {
        assert_string_equal(a->samples[c].text, b->samples[c].text);
        assert_memory_equal(a->samples[c].scores, b->samples[c].scores, a->n_response * sizeof(double));
    }
}

/* Alone or with others, from the cache or not: the same to the bit; a user's taste is computed once. */
static void many_requests_of_one_user(void **state) {
    (void)state;
    enum { N = 4 };
    pgr_engine *e = NULL, *bare = NULL;
    pgr_engine_options eo = pgr_engine_options_default();
    eo.cache_bytes = 0;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    assert_int_equal(pgr_engine_create(MODEL, &eo, &bare, NULL), PGR_OK);
    pgr_request *list[N];
    const pgr_request *requests[N];
    pgr_result *out[N], *alone[N];
    pgr_judge_options o = options(5);
    static const char *const texts[N][2] = {
        {"In Norway.", "Far up north."}, {"Norway", "Sweden"}, {"a", "b"}, {"Same.", "Same."}};
    for (size_t i = 0; i < N; i++) {
        requests[i] = list[i] = parse(REQUEST);
        list[i]->responses = texts[i];
        list[i]->seed = (int64_t)i; /* the pairs shown do not depend on it */
    }
    assert_int_equal(pgr_judge_many(e, requests, N, &o, out, NULL), PGR_OK);
    for (size_t i = 0; i < N; i++) {
        alone[i] = judge(bare, requests[i], o);
        assert_same_result(out[i], alone[i]);
    }
    assert_true(out[3]->tie && out[3]->responses[0].score == out[3]->responses[1].score);
    pgr_result *again = judge(e, requests[1], o);
    assert_same_result(again, out[1]);
    assert_true(again->cached_tokens > again->prompt_tokens / 2);
    pgr_result_free(again);
    for (size_t i = 0; i < N; i++) {
        pgr_result_free(out[i]);
        pgr_result_free(alone[i]);
        pgr_request_free(list[i]);
    }
    pgr_engine_free(e);
    pgr_engine_free(bare);
}

/* Similar users have histories of their own, and are counted. */
static const turn QUESTION = {"user", "Where is Oslo?"};
static const preference_pair ANNA[] = {{&QUESTION, 1, "In Norway.", "In Sweden it is, as far as I know, in the west."}},
                             BERT[] = {{&QUESTION, 1, "Oslo is in the north of Europe, I am sure.", "in norway"}},
                             CLEO[] = {{&QUESTION, 1, "in  Norway", "No."}};

static pgr_status neighbours(void *ctx, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err) {
    (void)r, (void)err;
    *(size_t *)ctx = n;
    static const neighbour all[] = {
        {"anna", 0.9, ANNA, NULL, 1}, {"bert", 0.5, BERT, NULL, 1}, {"cleo", 0.2, CLEO, NULL, 1}};
    out->list = arena_array(a, 3, sizeof *out->list);
    if (!out->list) return PGR_E_MEM;
    out->n = n < 3 ? n : 3;
    memcpy(out->list, all, out->n * sizeof *out->list);
    out->prototype = 1;
    return PGR_OK;
}

static void similar_users_are_read_and_counted(void **state) {
    (void)state;
    size_t asked = 0;
    judge_source source = {neighbours, NULL, &asked};
    const pgr_request *r = parse(REQUEST);
    pgr_judge_options o = options(4);
    pgr_result *out = NULL, *own = judge(ENGINE, r, o);
    pgr_error err = {0};
    o.pro = 2;
    if (judge_many_from(ENGINE, &r, 1, &o, &source, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(asked, 200); /* of the frame */
    assert_int_equal(out->n_neighbour, 2);
    assert_int_equal(out->pro.parsed, 2);
    assert_string_equal(out->samples[2].user, "anna");
    assert_string_equal(out->samples[3].user, "bert");
    for (size_t c = 0; c < 4; c++) { /* anna and cleo chose it, bert did not: (.9 + .2 + 3 / 5) / (1.6 + 1) */
        const char *want = out->samples[c].order[0] == 0 ? "similar people: 65 % are for A (3 know it)"
                                                         : "similar people: 65 % are for B (3 know it)";
        if (!strstr(out->samples[c].text, want)) fail_msg("%s", out->samples[c].text);
    }
    assert_null(strstr(out->samples[2].text, "as in choice")); /* what others chose is not told */
    assert_true(out->samples[2].scores[0] != out->samples[0].scores[0]);
    assert_null(strstr(own->samples[0].text, "similar people"));
    pgr_result_free(out);
    pgr_result_free(own);
    pgr_request_free((pgr_request *)(uintptr_t)r);
}

static void weights_beside_an_adapter(void **state) {
    (void)state;
    const char *path = path_of("mine.json");
    slots_weights w = {.a = 0, .b = 1};
    assert_int_equal(slots_weights_write(&w, path, NULL), PGR_OK);
    pgr_request *r = parse(REQUEST);
    pgr_judge_options o = options(2);
    o.slots = path;
    pgr_result *out = judge(ENGINE, r, o);
    assert_false(out->untrained);
    assert_int_equal(out->n_criterion, 1);
    assert_string_equal(out->criteria[0].name, "quality");
    assert_string_equal(out->persona, "");
    pgr_result_free(out);
    o.slots = "no/such.json";
    pgr_error err = {0};
    assert_int_equal(pgr_judge(ENGINE, r, &o, &out, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "no/such.json"));
    pgr_request_free(r);
}

static void rounds_and_deadlines(void **state) {
    (void)state;
    pgr_request *r = parse(REQUEST);
    pgr_judge_options o = options(64);
    o.score = PGR_SCORE_RECOMPUTED;
    pgr_result *all = judge(ENGINE, r, o);
    o.adaptive = 0.9;
    pgr_result *some = judge(ENGINE, r, o);
    assert_true(some->requested <= 64 && some->requested >= 4);
    for (size_t c = 0; c < some->n_sample; c++) assert_string_equal(some->samples[c].text, all->samples[c].text);
    pgr_result_free(some);
    o.adaptive = 0;
    o.deadline_s = 1e-6;
    some = judge(ENGINE, r, o);
    assert_int_equal(some->failed, 64);
    assert_string_equal(some->responses[0].reason, "the deadline passed before the slots were read");
    pgr_result_free(some);
    pgr_result_free(all);
    pgr_request_free(r);
}

static bool judge_once(void) {
    pgr_engine *e = NULL;
    pgr_request *r = NULL;
    pgr_result *out = NULL;
    pgr_judge_options o = options(3);
    bool ok = pgr_request_parse(REQUEST, strlen(REQUEST), "test", &r, NULL) == PGR_OK
              && pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK && pgr_judge(e, r, &o, &out, NULL) == PGR_OK;
    pgr_result_free(out);
    pgr_engine_free(e);
    pgr_request_free(r);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    assert_true(fail_allocations(judge_once, 40) > 200);
}

/* The default model's tokenizer, where the model is here: every word and every digit is one token. */
static void words_are_one_token_each(void **state) {
    (void)state;
    char *path = NULL;
    pgr_model *model = NULL;
    pgr_error err = {0};
    bool there = pgr_model_find(NULL, &path, &err) == PGR_OK && file_exists(path);
    if (there) there = pgr_model_open(path, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &model, &err) == PGR_OK;
    pgr_free(path);
    if (!there) {
        print_message("the default model is not here: not tested\n");
        skip();
    }
    for (int w = 0; w < N_TASTE; w++) {
        int32_t *ids = NULL;
        size_t n = 0;
        const char *choice = taste_choices()[w];
        assert_int_equal(pgr_tokenize(model, choice, strlen(choice), 0, &ids, &n, &err), PGR_OK);
        if (n != 1) fail_msg("'%s' is %zu tokens", choice, n);
        pgr_free(ids);
    }
    pgr_model_close(model);
}

static int begin(void **state) {
    return make_folder(state) || tiny_begin(state);
}

static int end(void **state) {
    return tiny_end(state) || remove_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_taste_prompt),
        cmocka_unit_test(a_turned_taste),
        cmocka_unit_test(the_taste_depends_on_no_query),
        cmocka_unit_test(the_quality_prompt),
        cmocka_unit_test(statements_keep_their_texts),
        cmocka_unit_test(until_it_fits),
        cmocka_unit_test(what_a_frame_with_slots_needs),
        cmocka_unit_test(levels_are_those_of_a_pair),
        cmocka_unit_test(one_of_a_conversation_before_a_second),
        cmocka_unit_test(people_are_counted_once),
        cmocka_unit_test(weights_come_from_a_file),
        cmocka_unit_test(weights_of_a_prompt),
        cmocka_unit_test(pairs_bear_each_other_out),
        cmocka_unit_test(evidence_is_quoted),
        cmocka_unit_test(judging_by_slots_end_to_end),
        cmocka_unit_test(opposite_choices_are_opposite_tastes),
        cmocka_unit_test(many_requests_of_one_user),
        cmocka_unit_test(similar_users_are_read_and_counted),
        cmocka_unit_test(weights_beside_an_adapter),
        cmocka_unit_test(rounds_and_deadlines),
        cmocka_unit_test(every_allocation_failed_in_turn),
        cmocka_unit_test(words_are_one_token_each),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
