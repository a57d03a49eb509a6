/* test_judge_people.c - from a store to a verdict: users are added, prototypes built, and a request is judged under its
 * own history and under those of people of its own camp. */
#include <math.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "../prototype/made_store.h"
#include "base/file_out.h"
#include "judge/desk.h"
#include "prototype/people.h"
#include "tiny_engine.h"

#define WORDS PGR_SOURCE_DIR "/tests/golden/hf-tiny-words"
#define BERT  PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert"

enum { USERS = 12, TOPICS = 4 };

static char STORE[80], PROTOS[80];

#define WELL(call)                                                                                                     \
    do {                                                                                                               \
        pgr_error err = {0};                                                                                           \
        if ((call) != PGR_OK) fail_msg("%s: %s", #call, err.message);                                                  \
    } while (0)

/* Even users choose tea wherever there is a choice, odd ones coffee. */
static void add_users(pgr_store *s) {
    for (int u = 0; u < USERS; u++) {
        char text[1200];
        size_t n =
            (size_t)snprintf(text, sizeof text, "{\"id\": \"%s%d\", \"history\": [", u % 2 ? "coffee" : "tea", u);
        for (int t = 0; t < TOPICS; t++)
            n += (size_t)snprintf(
                text + n, sizeof text - n,
                "%s{\"query\": \"Occasion %d?\", \"chosen\": \"%s at %d\", \"rejected\": \"%s at %d\"}", t ? "," : "",
                t, u % 2 ? "Coffee" : "Tea", t, u % 2 ? "Tea" : "Coffee", t);
        n += (size_t)snprintf(text + n, sizeof text - n, "]}");
        pgr_imported done;
        WELL(pgr_user_add(s, text, n, "test", &done, &err));
    }
}

static int setup(void **state) {
    (void)state;
    pgr_store *s = NULL;
    assert_int_equal(make_folder(state), 0);
    assert_int_equal(tiny_begin(state), 0);
    snprintf(STORE, sizeof STORE, "%s/u.db", scratch);
    snprintf(PROTOS, sizeof PROTOS, "%s/analysis.protos", scratch);
    WELL(pgr_store_open(STORE, PGR_STORE_CREATE, &s, &err));
    add_users(s);
    char votes[100];
    snprintf(votes, sizeof votes, "%s.protos", STORE);
    pgr_proto_options o = pgr_proto_options_default();
    o.by = PGR_PROTO_VOTES;
    o.k = 2;
    WELL(pgr_proto_build(s, votes, &o, &err));

    pgr_embedder *e = NULL;
    pgr_judge_options jo = pgr_judge_options_default();
    jo.frame = MINI;
    pgr_analyst analyst = {ENGINE, &jo};
    WELL(pgr_embedder_open(BERT, NULL, &e, &err));
    o.by = PGR_PROTO_ANALYSIS;
    o.embedder = e;
    o.analyse = pgr_analyse;
    o.analyse_ctx = &analyst;
    o.analyst = "tiny";
    WELL(pgr_proto_build(s, PROTOS, &o, &err));
    pgr_embedder_close(e);
    pgr_store_close(s);
    return 0;
}

static int teardown(void **state) {
    return tiny_end(state) != 0 ? -1 : remove_folder(state);
}

static pgr_result *judge(pgr_people *p, const pgr_request *r, int ind, int pro) {
    pgr_result *out = NULL;
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = MINI;
    o.ind = ind;
    o.pro = pro;
    o.people = p;
    o.history_by = PGR_HISTORY_RELEVANT;
    WELL(pgr_judge(ENGINE, r, &o, &out, &err));
    return out;
}

static void similar_users_are_of_the_same_camp(void **state) {
    (void)state;
    pgr_people *p = NULL;
    WELL(pgr_people_open(STORE, NULL, NULL, 1, &p, &err));
    for (int camp = 0; camp < 2; camp++) {
        pgr_request *r = parse(
            camp ? "{\"user\": {\"id\": \"coffee1\", \"history\": [{\"query\": \"Occasion 1?\", \"chosen\": \"Coffee "
                   "at 1\", "
                   "\"rejected\": \"Tea at 1\"}]}, \"query\": \"Occasion 2?\", \"responses\": [\"Tea at 2\", \"Coffee "
                   "at 2\"]}"
                 : "{\"user\": {\"history\": [{\"query\": \"Occasion 1?\", \"chosen\": \"Tea at 1\", \"rejected\": "
                   "\"Coffee at 1\"}]}, \"query\": \"Occasion 2?\", \"responses\": [\"Tea at 2\", \"Coffee at 2\"]}");
        pgr_result *out = judge(p, r, 2, 4);
        assert_int_equal(out->pro.parsed, 4);
        assert_int_equal(out->n_neighbour, 4);
        assert_true(out->prototype == 0 || out->prototype == 1);
        assert_true(out->cold_start); /* one pair */
        assert_true(fabs(out->w_pro - 0.6875) < 1e-12);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(strncmp(out->neighbours[i].user, camp ? "coffee" : "tea", 3), 0);
            assert_string_not_equal(out->neighbours[i].user, "coffee1"); /* himself */
            assert_true(out->neighbours[i].similarity > 0.5);
        }
        char *json = NULL;
        WELL(pgr_result_json(out, &json, &err));
        assert_non_null(strstr(json, "\"cold_start\":true"));
        assert_non_null(strstr(json, camp ? "{\"user\":\"coffee" : "{\"user\":\"tea"));
        pgr_free(json);
        pgr_result_free(out);
        pgr_request_free(r);
    }
    pgr_people_close(p);
}

/* A request that names its user gets his history from the store; many requests at once, some without neighbours. */
static void the_store_completes_requests(void **state) {
    (void)state;
    pgr_people *p = NULL;
    pgr_store *s = NULL;
    WELL(pgr_people_open(STORE, NULL, NULL, 1, &p, &err));
    WELL(pgr_store_open(STORE, PGR_STORE_READ, &s, &err));
    pgr_request *list[2] = {
        parse("{\"user\": {\"id\": \"tea0\"}, \"query\": \"Now?\", \"responses\": [\"Tea\", \"Coffee\"], \"ind\": 2, "
              "\"pro\": 2}"),
        parse(
            "{\"user\": {\"id\": \"nobody\"}, \"query\": \"Now?\", \"responses\": [\"Tea\", \"Coffee\"], \"ind\": 2}")};
    bool known[2];
    for (size_t i = 0; i < 2; i++) WELL(pgr_request_complete(list[i], s, &known[i], &err));
    assert_true(known[0] && !known[1]);
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = MINI;
    o.people = p;
    pgr_result *out[2];
    assert_int_equal(pgr_judge_many(ENGINE, (const pgr_request *const *)list, 2, &o, out, NULL), PGR_OK);
    assert_int_equal(out[0]->history_shown, 2);
    assert_false(out[0]->cold_start); /* four pairs */
    assert_int_equal(out[0]->n_neighbour, 2);
    assert_int_equal(out[1]->n_neighbour, 0);
    assert_int_equal(out[1]->history_shown, 0);
    for (size_t i = 0; i < 2; i++) {
        pgr_result_free(out[i]);
        pgr_request_free(list[i]);
    }
    pgr_store_close(s);
    pgr_people_close(p);
}

/* Prototypes of analyses: the request is analysed first, then placed. */
static void by_analysis(void **state) {
    (void)state;
    pgr_people *p = NULL;
    WELL(pgr_people_open(STORE, PROTOS, BERT, 1, &p, &err));
    pgr_request *r =
        parse("{\"user\": {\"id\": \"tea2\", \"history\": [{\"query\": \"Occasion 1?\", \"chosen\": \"Tea at 1\", "
              "\"rejected\": "
              "\"Coffee at 1\"}]}, \"query\": \"Occasion 2?\", \"responses\": [\"Tea at 2\", \"Coffee at 2\"]}");
    pgr_result *out = judge(p, r, 0, 3);
    assert_int_equal(out->pro.requested, 3);
    assert_true(out->n_neighbour >= 1 && out->n_neighbour <= 3);
    for (size_t i = 0; i < out->n_neighbour; i++) assert_string_not_equal(out->neighbours[i].user, "tea2");
    pgr_result_free(out);
    out = judge(p, r, 2, 0); /* nobody is asked for */
    assert_int_equal(out->n_neighbour, 0);
    pgr_result_free(out);
    pgr_request_free(r);
    pgr_people_close(p);
}

static const char *const ASKED[] = {
    "{\"user\": {\"id\": \"tea2\", \"history\": [{\"query\": \"Occasion 1?\", \"chosen\": \"Tea at 1\", "
    "\"rejected\": \"Coffee at 1\"}]}, \"query\": \"Occasion 2?\", \"responses\": [\"Tea at 2\", \"Coffee at 2\"], "
    "\"ind\": 2, \"pro\": 3}",
    "{\"user\": {\"id\": \"coffee3\"}, \"query\": \"Occasion 3?\", \"responses\": [\"Tea at 3\", \"Coffee at 3\"], "
    "\"ind\": 1, \"pro\": 4}",
    "{\"user\": {\"id\": \"new\", \"criteria\": \"Short answers\"}, \"query\": \"Occasion 0?\", \"responses\": [\"Tea "
    "at 0\", \"Coffee at 0\"], \"ind\": 3, \"pro\": 0}",
};
enum { N_ASKED = 3 };

static void ask_all(const pgr_judge_options *o, pgr_request *const *list, size_t at_once, const char *scope,
                    pgr_result **out) {
    desk *d = NULL;
    desk_verdict v;
    WELL(desk_open(ENGINE, o, at_once, &d, &err));
    for (size_t i = 0; i < N_ASKED; i++) {
        desk_ask ask = {.request = list[i], .scope = scope, .tag = &out[i]};
        WELL(desk_submit(d, &ask, NULL, &err));
    }
    while (desk_pump(d)) engine_step(ENGINE);
    while (desk_take(d, &v)) {
        if (!v.result) fail_msg("%s", v.error.message);
        *(pgr_result **)v.tag = v.result;
    }
    desk_close(d);
}

/* Asked at an open desk: every request is analysed first where prototypes are of analyses, and ends as in a closed
 * call of its own; with a scope it has neighbours of that scope and no others. */
static void at_the_desk(void **state) {
    (void)state;
    pgr_request *list[N_ASKED];
    for (size_t i = 0; i < N_ASKED; i++) list[i] = parse(ASKED[i]);
    for (int analysis = 0; analysis < 2; analysis++) {
        pgr_people *p = NULL;
        WELL(pgr_people_open(STORE, analysis ? PROTOS : NULL, analysis ? BERT : NULL, 1, &p, &err));
        pgr_judge_options o = pgr_judge_options_default();
        o.frame = MINI;
        o.people = p;
        o.history_by = PGR_HISTORY_RELEVANT;
        pgr_result *alone[N_ASKED], *got[N_ASKED];
        for (size_t i = 0; i < N_ASKED; i++) WELL(pgr_judge(ENGINE, list[i], &o, &alone[i], &err));
        for (size_t at_once = 0; at_once < 3; at_once++) {
            ask_all(&o, list, at_once, NULL, got);
            for (size_t i = 0; i < N_ASKED; i++) {
                assert_memory_equal(&alone[i]->responses[0].score, &got[i]->responses[0].score, sizeof(double));
                assert_int_equal(alone[i]->n_neighbour, got[i]->n_neighbour);
                for (size_t k = 0; k < got[i]->n_neighbour; k++)
                    assert_string_equal(alone[i]->neighbours[k].user, got[i]->neighbours[k].user);
                assert_string_equal(alone[i]->persona, got[i]->persona);
                pgr_result_free(got[i]);
            }
        }
        static const char *const scopes[] = {"tea", "coffee"};
        for (size_t s = 0; s < 2; s++) {
            ask_all(&o, list, 0, scopes[s], got);
            for (size_t i = 0; i < N_ASKED; i++) {
                assert_true(i == 2 ? got[i]->n_neighbour == 0 : got[i]->n_neighbour >= 1);
                for (size_t k = 0; k < got[i]->n_neighbour; k++)
                    assert_int_equal(strncmp(got[i]->neighbours[k].user, scopes[s], strlen(scopes[s])), 0);
                pgr_result_free(got[i]);
            }
        }
        ask_all(&o, list, 0, "nobody", got);
        for (size_t i = 0; i < N_ASKED; i++) {
            assert_int_equal(got[i]->n_neighbour, 0);
            pgr_result_free(got[i]);
            pgr_result_free(alone[i]);
        }
        pgr_people_close(p);
    }
    for (size_t i = 0; i < N_ASKED; i++) pgr_request_free(list[i]);
}

/* What the text weighs in the verdict on one pair's user, percent: all of it where nothing bears his taste out. */
static double text_weighs(pgr_engine *e, const char *slots, pgr_people *p) {
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = "compact";
    o.slots = slots;
    o.ind = 2;
    o.people = p;
    pgr_request *r =
        parse("{\"user\": {\"history\": [{\"query\": \"How?\", \"chosen\": \"Ask a friend.\", \"rejected\": "
              "\"There are several ways:\\n- plan the whole week\\n- keep a list\"}]}, \"query\": \"And then?\", "
              "\"responses\": [\"Use less water.\", \"It depends on the place:\\n- in the north\\n- in the south\"]}");
    pgr_result *out = NULL;
    double weight = 0;
    WELL(pgr_judge(e, r, &o, &out, &err));
    for (size_t i = 0; i < out->n_criterion; i++)
        if (strcmp(out->criteria[i].name, "quality") == 0) weight = out->criteria[i].weight;
    pgr_result_free(out);
    pgr_request_free(r);
    return weight;
}

/* One pair has nothing that bears it out: it counts as far as own pairs tell what these people choose. */
static void one_pair_counts_among_people_with_tastes(void **state) {
    (void)state;
    char store[100], protos[120], slots[100];
    snprintf(store, sizeof store, "%s/form.db", scratch);
    snprintf(protos, sizeof protos, "%s.protos", store);
    snprintf(slots, sizeof slots, "%s/slots.json", scratch);
    static const char weights[] = "{\"a\": 2, \"b\": 1, \"pairs\": 3}";
    WELL(file_write(slots, weights, sizeof weights - 1, &err));
    pgr_store *s = make_form_store(store, 20, 4);
    pgr_proto_options o = pgr_proto_options_default();
    o.by = PGR_PROTO_FACTS;
    o.k = 2;
    WELL(pgr_proto_build(s, protos, &o, &err));
    pgr_store_close(s);
    pgr_model *m = NULL;
    pgr_engine *e = NULL;
    WELL(pgr_model_open(WORDS, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &m, &err));
    WELL(pgr_engine_create(m, NULL, &e, &err));
    pgr_people *votes = NULL, *form = NULL;
    WELL(pgr_people_open(STORE, NULL, NULL, 1, &votes, &err));
    WELL(pgr_people_open(store, NULL, NULL, 1, &form, &err));
    double rate = people_own_lead(form), a = 2 * 3 * rate / 4;
    assert_true(text_weighs(e, slots, NULL) == 100 && text_weighs(e, slots, votes) == 100);
    assert_true(rate > 0.5 && fabs(text_weighs(e, slots, form) - 100 * 1.5 / (a + 1.5)) < 1e-9);
    pgr_people_close(form);
    pgr_people_close(votes);
    pgr_engine_free(e);
    pgr_model_close(m);
}

/* How one of two statements is told to stand with people like a tea drinker, of which n know it. */
static pgr_result *ask_statements(pgr_engine *e, pgr_people *p, const char *scope) {
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = "compact";
    o.people = p;
    o.keep_chains = true;
    pgr_request *r =
        parse("{\"user\": {\"id\": \"new\", \"history\": [{\"query\": \"Occasion 1?\", \"chosen\": \"Tea at 1\", "
              "\"rejected\": \"Coffee at 1\"}, {\"query\": \"Occasion 3?\", \"chosen\": \"Tea at 3\", \"rejected\": "
              "\"Coffee at 3\"}]}, \"query\": \"Occasion 2?\", \"responses\": [\"Coffee at 2\", \"Tea at 2\"], "
              "\"ind\": 2, \"pro\": 1}");
    desk *d = NULL;
    desk_verdict v;
    desk_ask ask = {.request = r, .scope = scope};
    WELL(desk_open(e, &o, 0, &d, &err));
    WELL(desk_submit(d, &ask, NULL, &err));
    while (desk_pump(d)) engine_step(e);
    assert_true(desk_take(d, &v));
    if (!v.result) fail_msg("%s", v.error.message);
    desk_close(d);
    pgr_request_free(r);
    return v.result;
}

static const pgr_criterion *criterion_named(const pgr_result *r, const char *name) {
    for (size_t i = 0; i < r->n_criterion; i++)
        if (strcmp(r->criteria[i].name, name) == 0) return &r->criteria[i];
    fail_msg("no criterion is called %s", name);
    return NULL;
}

/* By votes everybody's choices say what one who chose tea would choose, to three quarters of the verdict; within a
 * scope only its people are counted. */
static void everybodys_votes_say_what_one_would_choose(void **state) {
    (void)state;
    pgr_model *m = NULL;
    pgr_engine *e = NULL;
    pgr_people *p = NULL;
    WELL(pgr_model_open(WORDS, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &m, &err));
    WELL(pgr_engine_create(m, NULL, &e, &err));
    WELL(pgr_people_open(STORE, NULL, NULL, 1, &p, &err));
    assert_true(people_has_views(p));
    pgr_result *all = ask_statements(e, p, NULL), *coffee = ask_statements(e, p, "coffee");
    const pgr_criterion *said = criterion_named(all, "similar people"),
                        *among = criterion_named(coffee, "similar people");
    assert_true(fabs(said->weight - 75) < 1e-9 && fabs(criterion_named(all, "views")->weight - 25) < 1e-9);
    assert_true(said->scores[1] > 7 && said->scores[0] < 4);
    assert_non_null(strstr(all->samples[0].text, "(12 know it)"));
    assert_true(among->scores[1] < 4 && among->scores[0] > 7);
    assert_non_null(strstr(coffee->samples[0].text, "(6 know it)"));
    assert_true(all->kind == PGR_VERDICT_VIEWS && all->best == 1);
    pgr_result_free(all);
    pgr_result_free(coffee);
    pgr_people_close(p);
    pgr_engine_free(e);
    pgr_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybodys_votes_say_what_one_would_choose),
        cmocka_unit_test(similar_users_are_of_the_same_camp),
        cmocka_unit_test(the_store_completes_requests),
        cmocka_unit_test(by_analysis),
        cmocka_unit_test(at_the_desk),
        cmocka_unit_test(one_pair_counts_among_people_with_tastes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
