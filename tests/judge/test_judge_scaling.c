/* test_judge_scaling.c - test-time scaling on a tiny random model: chains under neighbours' histories beside the own,
 * cold start, which pairs are shown, draws, and stopping when the verdict is settled. What the model writes is
 * nonsense; which prompts it saw, and what is made of its chains, must hold. */
#include <math.h>

#include "judge/judge.h"
#include "tiny_engine.h"

/* ---- a small town ---- */

static const turn ASKED[] = {{"user", "Tea or coffee?"}};
static const preference_pair PAIRS[] = {
    {ASKED, 1, "Coffee, black.", "Both have merits."}, {ASKED, 1, "Tea.", "Coffee"}, {ASKED, 1, "Neither", "Water"}};

typedef struct town {
    size_t n;     /* neighbours there are */
    size_t asked; /* how many were asked for */
    double similarity[4];
    size_t n_pair[4];
    const char *id[4];
    pgr_status status;
    size_t relevance_calls;
} town;

static pgr_status neighbours(void *ctx, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err) {
    town *t = ctx;
    (void)r;
    t->asked = n;
    if (t->status != PGR_OK) return (fail)(err, t->status, "the town is closed");
    *out = (neighbourhood){.prototype = 2, .similarity = 0.9};
    out->list = arena_array(a, 4, sizeof *out->list);
    if (!out->list) return fail_mem(err);
    out->n = t->n < n ? t->n : n;
    for (size_t i = 0; i < out->n; i++)
        out->list[i] = (neighbour){
            .user_id = t->id[i], .similarity = t->similarity[i], .pairs = PAIRS + i % 2, .n_pair = t->n_pair[i]};
    return PGR_OK;
}

/* A pair is the more relevant, the longer what was chosen. */
static pgr_status relevance(void *ctx, const pgr_request *r, const preference_pair *pairs, const float *vectors,
                            size_t n, double *out, pgr_error *err) {
    (void)r, (void)vectors, (void)err;
    ((town *)ctx)->relevance_calls++;
    for (size_t i = 0; i < n; i++) out[i] = (double)strlen(pairs[i].chosen);
    return PGR_OK;
}

static town make_town(size_t n) {
    return (town){
        .n = n, .similarity = {0.9, 0.6, 0.3, -0.2}, .n_pair = {2, 2, 2, 2}, .id = {"anna", "bert", "cleo", "dora"}};
}

#define NO_HISTORY "{\"user\": {\"id\": \"u1\"}, \"query\": \"Tea?\", \"responses\": [\"Yes.\", \"No, coffee.\"]}"

/* A user with n pairs, "chosen i" longer with i. */
static pgr_request *user_with(size_t n) {
    char text[4000], stars[] = "****************************************";
    size_t at =
        (size_t)snprintf(text, sizeof text, "{\"user\": {\"id\": \"u1\", \"criteria\": \"short\", \"history\": [");
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "%s{\"query\": \"Q%zu\", \"chosen\": \"%.*s %zu\", \"rejected\": \"r\"}", i ? "," : "",
                               i, (int)i, stars, i);
    snprintf(text + at, sizeof text - at, "]}, \"query\": \"Tea?\", \"responses\": [\"Yes.\", \"No, coffee.\"]}");
    return parse(text);
}

static pgr_judge_options options(int ind, int pro) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = ind;
    o.pro = pro;
    o.keep_chains = true;
    o.frame = MINI;
    return o;
}

static pgr_status judge_in(town *t, const pgr_request *r, const pgr_judge_options *o, pgr_result **out,
                           pgr_error *err) {
    judge_source source = {neighbours, relevance, t};
    return judge_many_from(ENGINE, &r, 1, o, t ? &source : NULL, out, err);
}

static pgr_result *judged(town *t, const pgr_request *r, const pgr_judge_options *o) {
    pgr_result *out = NULL;
    pgr_error err = {0};
    if (judge_in(t, r, o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

/* ---- neighbours ---- */

static double mean_of(const pgr_result *r, size_t response, bool pro) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < r->n_sample; i++)
        if ((r->samples[i].user != NULL) == pro) sum += r->samples[i].scores[response], n++;
    return sum / n;
}

static void both_sides_are_blended(void **state) {
    (void)state;
    town t = make_town(4);
    pgr_request *r = user_with(6);
    pgr_judge_options o = options(6, 4);
    pgr_result *both = judged(&t, r, &o);
    assert_int_equal(t.asked, 4);
    assert_int_equal(both->ind.parsed, 6);
    assert_int_equal(both->pro.parsed, 4);
    assert_int_equal(both->n_sample, 10);
    assert_int_equal(both->n_neighbour, 4);
    assert_int_equal(both->prototype, 2);
    assert_false(both->cold_start);
    for (size_t k = 0; k < 4; k++) {
        assert_string_equal(both->neighbours[k].user, t.id[k]);
        assert_string_equal(both->samples[6 + k].user, t.id[k]);
        assert_int_equal(both->neighbours[k].n, 1);
        assert_true(fabs(both->neighbours[k].weight - 0.25) < 1e-12);
        assert_int_equal(both->samples[6 + k].seed, k);
        assert_int_equal(both->samples[6 + k].order[0], k % 2); /* given and reversed in turn */
    }
    for (size_t i = 0; i < 2; i++) {
        double ind = mean_of(both, i, false), pro = mean_of(both, i, true);
        assert_true(fabs(both->responses[i].ind - ind) < 1e-9);
        assert_true(fabs(both->responses[i].pro - pro) < 1e-9);
        assert_true(fabs(both->responses[i].score - (ind + pro) / 2) < 1e-9);
    }

    pgr_judge_options alone = options(6, 0);
    pgr_result *ind = judged(&t, r, &alone); /* own chains do not depend on the neighbours' */
    for (size_t i = 0; i < 6; i++) assert_string_equal(ind->samples[i].text, both->samples[i].text);
    assert_string_equal(ind->persona, both->persona); /* the user's own persona */
    assert_int_equal(ind->n_neighbour, 0);

    alone = options(0, 4);
    pgr_result *pro = judged(&t, r, &alone); /* the paper has Ind-0, Pro-n */
    for (size_t i = 0; i < 4; i++) assert_string_equal(pro->samples[i].text, both->samples[6 + i].text);
    assert_int_equal(pro->ind.requested, 0);
    assert_int_equal(pro->pro.parsed, 4);
    assert_true(isnan(pro->responses[0].ind) && pro->w_pro == 1);
    assert_int_equal(pro->history_shown, 0);
    assert_true(strlen(pro->persona) > 0);
    pgr_result_free(both);
    pgr_result_free(ind);
    pgr_result_free(pro);
    pgr_request_free(r);
}

/* A neighbour's chain is what his own request would have got: his pairs, without the user's criteria. */
static void a_neighbour_s_prompt_is_his_own(void **state) {
    (void)state;
    town t = make_town(1);
    pgr_request *r = user_with(5);
    pgr_judge_options o = options(0, 1);
    pgr_result *pro = judged(&t, r, &o);
    pgr_request *his = parse(
        "{\"user\": {\"id\": \"anna\", \"history\": [{\"query\": \"Tea or coffee?\", \"chosen\": \"Coffee, "
        "black.\", \"rejected\": \"Both have merits.\"}, {\"query\": \"Tea or coffee?\", \"chosen\": "
        "\"Tea.\", \"rejected\": \"Coffee\"}]}, \"query\": \"Tea?\", \"responses\": [\"Yes.\", \"No, coffee.\"]}");
    o = options(1, 0);
    pgr_result *own = judged(NULL, his, &o);
    assert_int_equal(pro->prompt_tokens, own->prompt_tokens);
    assert_int_equal(own->cached_tokens,
                     own->prompt_tokens - 1); /* the very prompt that was computed for the neighbour */
    assert_string_not_equal(pro->samples[0].text, own->samples[0].text); /* random numbers of its own */
    pgr_result_free(pro);
    pgr_result_free(own);
    pgr_request_free(his);
    pgr_request_free(r);
}

static void few_neighbours_share_the_chains(void **state) {
    (void)state;
    town t = make_town(2);
    pgr_request *r = user_with(5);
    pgr_judge_options o = options(2, 5);
    o.neighbour_weights = PGR_WEIGHTS_SIMILARITY;
    pgr_result *out = judged(&t, r, &o);
    assert_int_equal(out->pro.parsed, 5);
    assert_int_equal(out->n_neighbour, 2);
    assert_int_equal(out->neighbours[0].n, 3);
    assert_int_equal(out->neighbours[1].n, 2);
    assert_true(fabs(out->neighbours[0].weight - 0.6) < 1e-12); /* .9 to .6 */
    double want = 0;
    const double weight[] = {0.2, 0.2, 0.2, 0.2, 0.2}; /* .6 over three chains, .4 over two */
    for (size_t i = 0; i < 5; i++) want += weight[i] * out->samples[2 + i].scores[0];
    assert_true(fabs(out->responses[0].pro - want) < 1e-9);
    for (size_t i = 0; i + 2 < 5; i++) /* the same neighbour again sees the other order */
        assert_int_not_equal(out->samples[2 + i].order[0], out->samples[4 + i].order[0]);
    assert_true(isfinite(out->flip_rate));
    pgr_result_free(out);

    t.n_pair[0] = 0; /* has nothing to say */
    t.id[1] = "u1";  /* the user himself */
    out = judged(&t, r, &o);
    assert_int_equal(out->n_neighbour, 0);
    assert_int_equal(out->pro.requested, 0);
    assert_int_equal(out->ind.parsed, 2);
    assert_non_null(strstr(out->pro_reason, "no similar user"));
    assert_true(out->w_ind == 1);
    pgr_result_free(out);
    pgr_error err = {0};
    out = NULL;
    o.ind = 0;
    assert_int_equal(judge_in(&t, r, &o, &out, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "test: no similar user was found, and ind is 0"));
    t.status = PGR_E_IO;
    assert_int_equal(judge_in(&t, r, &o, &out, &err), PGR_E_IO);
    assert_null(out);
    pgr_request_free(r);
}

static void bad_settings_are_errors(void **state) {
    (void)state;
    town t = make_town(2);
    pgr_request *r = user_with(5);
    pgr_result *out = NULL;
    pgr_error err = {0};
    pgr_judge_options o = options(2, 2);
    assert_int_equal(judge_in(NULL, r, &o, &out, &err), PGR_E_UNSUPPORTED);
    o = options(0, 0);
    assert_int_equal(judge_in(&t, r, &o, &out, &err), PGR_E_ARG);
    o = options(2, 0);
    o.history_by = PGR_HISTORY_RELEVANT; /* 2 of 5 pairs */
    assert_int_equal(judge_in(NULL, r, &o, &out, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "embedder"));
    const double bad[][3] = {{-1, 1, 0},  {0, 0, 0},   {NAN, 1, 0}, {1, INFINITY, 0},
                             {1, 1, 0.4}, {1, 1, 1.1}, {1, 1, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = options(2, 2);
        o.w_ind = bad[i][0];
        o.w_pro = bad[i][1];
        o.adaptive = bad[i][2];
        assert_int_equal(judge_in(&t, r, &o, &out, &err), PGR_E_ARG);
        assert_null(out);
    }
    pgr_request_free(r);
}

static void cold_start_leans_on_neighbours(void **state) {
    (void)state;
    static const double want[] = {0.75, 0.6875, 0.625, 0.5625, 0.5}; /* w_pro with 0..4 pairs */
    town t = make_town(4);
    for (size_t n = 0; n <= 4; n++) {
        pgr_request *r = n ? user_with(n) : parse(NO_HISTORY);
        pgr_judge_options o = options(2, 4);
        pgr_result *out = judged(&t, r, &o);
        assert_true(fabs(out->w_pro - want[n]) < 1e-12);
        assert_true(fabs(out->w_ind + out->w_pro - 1) < 1e-12);
        assert_int_equal(out->cold_start, n < 4);
        assert_true(
            fabs(out->responses[0].score - (out->w_ind * out->responses[0].ind + out->w_pro * out->responses[0].pro))
            < 1e-9);
        pgr_result_free(out);
        o.cold_pairs = 0;
        out = judged(&t, r, &o);
        assert_false(out->cold_start);
        assert_true(out->w_pro == 0.5);
        pgr_result_free(out);
        pgr_request_free(r);
    }
}

/* ---- which pairs ---- */

/* What the own prompt shows under these options must be what is shown of a history of these pairs alone. */
static void assert_shows(const pgr_judge_options *o, town *t, size_t n, const size_t *want, size_t n_want) {
    pgr_request *all = user_with(n), *few = user_with(n);
    preference_pair pairs[8];
    for (size_t i = 0; i < n_want; i++) pairs[i] = few->history[want[i]];
    few->history = pairs;
    few->n_history = n_want;
    pgr_judge_options plain = options(2, 0);
    plain.history = (int)n_want;
    pgr_result *a = judged(t, all, o), *b = judged(NULL, few, &plain);
    assert_int_equal(a->history_shown, n_want);
    assert_string_equal(a->samples[0].text, b->samples[0].text);
    pgr_result_free(a);
    pgr_result_free(b);
    pgr_request_free(all);
    pgr_request_free(few);
}

static void history_by(void **state) {
    (void)state;
    town t = make_town(4);
    pgr_judge_options o = options(2, 0);
    o.history = 3;
    o.history_by = PGR_HISTORY_RECENT;
    assert_shows(&o, NULL, 7, (size_t[]){4, 5, 6}, 3);
    o.history_by = PGR_HISTORY_RELEVANT; /* the longest are the last ones here; as the town measures it */
    assert_shows(&o, &t, 7, (size_t[]){4, 5, 6}, 3);
    assert_int_equal(t.relevance_calls, 1);
    assert_shows(&o, &t, 3, (size_t[]){0, 1, 2}, 3); /* all are shown: nothing to choose */
    assert_int_equal(t.relevance_calls, 1);
    o.pro = 2; /* neighbours have two pairs each, of which one is shown */
    o.history = 1;
    pgr_request *r = user_with(5);
    pgr_result *out = judged(&t, r, &o);
    assert_int_equal(t.relevance_calls, 1 + 3);
    assert_int_equal(out->history_by, PGR_HISTORY_RELEVANT);
    pgr_result_free(out);
    pgr_request_free(r);
}

/* By an embedder (random weights): the pair that holds the very same statement comes out on top, wherever it stands. */
static void the_same_statement_comes_first(void **state) {
    (void)state;
    pgr_embedder *e = NULL;
    pgr_error err = {0};
    if (pgr_embedder_open(PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert", NULL, &e, &err) != PGR_OK)
        fail_msg("%s", err.message);
    pgr_judge_options o = options(2, 0);
    o.history = 1;
    o.history_by = PGR_HISTORY_RELEVANT;
    o.embedder = e;
    for (size_t at = 0; at < 5; at++) {
        pgr_request *r = user_with(5), *alone = user_with(5);
        preference_pair pairs[5];
        memcpy(pairs, r->history, sizeof pairs);
        pairs[at].rejected = "No, coffee.";
        r->history = pairs;
        alone->history = pairs + at;
        alone->n_history = 1;
        pgr_result *out = judged(NULL, r, &o), *want = judged(NULL, alone, &o);
        assert_string_equal(out->samples[0].text, want->samples[0].text);
        pgr_result_free(out);
        pgr_result_free(want);
        pgr_request_free(r);
        pgr_request_free(alone);
    }
    pgr_embedder_close(e);
}

static void draws_use_the_whole_history(void **state) {
    (void)state;
    pgr_request *r = user_with(7);
    pgr_judge_options o = options(12, 0), one = options(12, 0);
    o.history = one.history = 2;
    o.draws = 3;
    pgr_result *drawn = judged(NULL, r, &o), *plain = judged(NULL, r, &one);
    assert_int_equal(drawn->draws, 3);
    assert_int_equal(drawn->history_used, 6);
    assert_int_equal(plain->draws, 1);
    assert_int_equal(plain->history_used, 2);
    for (size_t i = 0; i < 2; i++) assert_string_equal(drawn->samples[i].text, plain->samples[i].text); /* draw 0 */
    assert_string_not_equal(drawn->samples[2].text, plain->samples[2].text);
    assert_int_equal(drawn->parsed, 12);
    assert_true(isfinite(drawn->flip_rate));
    pgr_result *again = judged(NULL, r, &o);
    for (size_t i = 0; i < 12; i++) assert_string_equal(drawn->samples[i].text, again->samples[i].text);
    pgr_result_free(drawn);
    pgr_result_free(plain);
    pgr_result_free(again);

    o.draws = 100; /* no more than show new pairs: 7 in twos */
    drawn = judged(NULL, r, &o);
    assert_int_equal(drawn->draws, 4);
    assert_int_equal(drawn->history_used, 7);
    pgr_result_free(drawn);
    o.ind = 3; /* two pairs of orders */
    drawn = judged(NULL, r, &o);
    assert_int_equal(drawn->draws, 2);
    pgr_result_free(drawn);
    o.history = 7;
    drawn = judged(NULL, r, &o);
    assert_int_equal(drawn->draws, 1);
    pgr_result_free(drawn);
    pgr_request_free(r);
}

/* ---- adaptive ---- */

static void stops_when_settled(void **state) {
    (void)state;
    town t = make_town(4);
    pgr_request *list[6];
    for (size_t i = 0; i < 6; i++) list[i] = user_with(4 + i % 3);
    list[3]->seed = 11, list[4]->seed = 12, list[5]->seed = 13;
    judge_source source = {neighbours, relevance, &t};
    pgr_judge_options o = options(24, 8), full = options(24, 8);
    o.adaptive = 0.6; /* of six chains four, of twelve eight prefer the best */
    pgr_engine *fresh = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
    pgr_result *some[6], *all[6];
    pgr_error errors[6];
    if (judge_many_from(fresh, (const pgr_request *const *)list, 6, &o, &source, some, errors) != PGR_OK)
        fail_msg("%s", errors[0].message);
    assert_int_equal(judge_many_from(ENGINE, (const pgr_request *const *)list, 6, &full, &source, all, errors), PGR_OK);
    size_t saved = 0;
    for (size_t i = 0; i < 6; i++) {
        const pgr_result *a = some[i], *f = all[i];
        print_message("request %zu: %zu of %zu chains, settled %.2f, %zu of %zu prompt tokens known\n", i, a->requested,
                      f->requested, a->settled, a->cached_tokens, a->prompt_tokens);
        assert_int_equal(a->requested + a->saved, 32);
        assert_int_equal(f->saved, 0);
        assert_true(a->settled >= 0.6 || a->saved == 0);
        assert_int_equal(a->parsed + a->failed, a->requested);
        size_t ind = a->ind.requested, pro = a->pro.requested;
        assert_true(ind == 4 || ind == 8 || ind == 16 || ind == 24);
        assert_int_equal(pro, ind == 4 ? 2 : ind == 8 ? 4 : ind == 16 ? 6 : 8);
        for (size_t k = 0; k < ind; k++) assert_string_equal(a->samples[k].text, f->samples[k].text);
        for (size_t k = 0; k < pro; k++) assert_string_equal(a->samples[ind + k].text, f->samples[24 + k].text);
        saved += a->saved;
        assert_true(a->cached_tokens > 0 || i == 0);
    }
    assert_true(saved > 0 && saved < 6 * 32); /* some stopped before others */
    for (size_t i = 0; i < 6; i++) {
        pgr_result_free(some[i]);
        pgr_result_free(all[i]);
        pgr_request_free(list[i]);
    }
    pgr_engine_free(fresh);
}

/* Later rounds take the prompt from the cache: but for its last token, whose logits are needed,
 * nothing is computed again. */
static void rounds_do_not_compute_the_prompt_again(void **state) {
    (void)state;
    pgr_request *r = user_with(4);
    pgr_result *got[2];
    for (size_t i = 0; i < 2; i++) {
        pgr_engine *fresh = NULL;
        assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
        pgr_judge_options o = options(16, 0);
        o.adaptive = i ? 1.0 : 0; /* never sure: three rounds of two prompts */
        const pgr_request *one = r;
        assert_int_equal(judge_many_from(fresh, &one, 1, &o, NULL, &got[i], NULL), PGR_OK);
        pgr_engine_free(fresh);
    }
    assert_int_equal(got[1]->saved, 0);
    assert_int_equal(got[1]->prompt_tokens, got[0]->prompt_tokens);
    assert_int_equal(got[0]->cached_tokens - got[1]->cached_tokens,
                     2 * 2); /* a token for each prompt and later round */
    assert_true(got[0]->responses[0].score == got[1]->responses[0].score);
    pgr_result_free(got[0]);
    pgr_result_free(got[1]);
    pgr_request_free(r);
}

static void calibration_decides_when_to_stop(void **state) {
    (void)state;
    const double x[] = {0.9, 0.6}, y[] = {0, 1}; /* the judge is worthless: every probability becomes about a half */
    pgr_calibration *c = NULL;
    assert_int_equal(pgr_calibration_fit(PGR_VERDICT_ANSWERS, PGR_CALIBRATION_TEMPERATURE, PGR_CALIBRATION_PROBABILITY,
                                         x, y, 2, &c, NULL),
                     PGR_OK);
    pgr_request *r = user_with(4);
    pgr_judge_options o = options(16, 0);
    o.adaptive = 0.5; /* of four chains two, of eight four */
    pgr_result *raw = judged(NULL, r, &o);
    o.adaptive = 0.6;
    o.calibration = c;
    pgr_result *out = judged(NULL, r, &o);
    assert_true(raw->saved > 0);
    assert_int_equal(out->saved, 0);
    assert_true(out->calibrated && out->confidence < 0.6);
    pgr_result_free(raw);
    pgr_result_free(out);
    pgr_calibration_free(c);
    pgr_request_free(r);
}

static bool judge_all_of_it(void) {
    town t = make_town(2);
    judge_source source = {neighbours, relevance, &t};
    pgr_engine *e = NULL;
    pgr_result *out[1] = {NULL};
    pgr_error err;
    pgr_request *r = NULL;
    static const char text[] =
        "{\"user\": {\"history\": [{\"query\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}, {\"query\": "
        "\"d\", \"chosen\": \"e\", \"rejected\": \"f\"}]}, \"query\": \"q\", \"responses\": [\"x\", \"y\"]}";
    pgr_judge_options o = options(6, 3);
    o.history = 1;
    o.draws = 2;
    o.history_by = PGR_HISTORY_RELEVANT;
    o.adaptive = 1;
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK
              && pgr_request_parse(text, strlen(text), "t", &r, NULL) == PGR_OK
              && judge_many_from(e, (const pgr_request *const *)&r, 1, &o, &source, out, &err) == PGR_OK;
    pgr_result_free(out[0]);
    pgr_request_free(r);
    pgr_engine_free(e);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    long n = fail_allocations(judge_all_of_it, 50);
    print_message("%ld allocations, each failed once\n", n);
    assert_true(n > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_are_blended),
        cmocka_unit_test(a_neighbour_s_prompt_is_his_own),
        cmocka_unit_test(few_neighbours_share_the_chains),
        cmocka_unit_test(bad_settings_are_errors),
        cmocka_unit_test(cold_start_leans_on_neighbours),
        cmocka_unit_test(history_by),
        cmocka_unit_test(the_same_statement_comes_first),
        cmocka_unit_test(draws_use_the_whole_history),
        cmocka_unit_test(stops_when_settled),
        cmocka_unit_test(rounds_do_not_compute_the_prompt_again),
        cmocka_unit_test(calibration_decides_when_to_stop),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
