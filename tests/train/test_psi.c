/* test_psi.c - the stage psi on a tiny random model and made users: the taste slot learns to read the history, the
 * score slots to tell texts apart, and an interrupted run goes on to the same bits. */
#include "train_fixture.h"

#include "base/rng.h"
#include "judge/slots.h"
#include "train/psi.h"

enum { USERS = 40, PAIRS = 8 };

/* Half of the users choose the long answer, half the short one. */
static const char *write_tastes(void) {
    buf b = {0};
    rng r = {3, 0, 0};
    for (int u = 0; u < USERS; u++)
        for (int i = 0; i < PAIRS; i++) {
            buf text[2] = {{0}, {0}};
            for (int k = 0; k < 2; k++)
                for (size_t n = k ? 30 + rng_below(&r, 20) : 3 + rng_below(&r, 3); n > 0; n--)
                    buf_puts(&text[k], "stone ");
            buf_printf(
                &b,
                "{\"user_id\": \"u%d\", \"context\": [{\"role\": \"user\", \"content\": \"question %d of %d\"}], "
                "\"chosen\": {\"role\": \"assistant\", \"content\": \"%s\"}, \"rejected\": {\"role\": "
                "\"assistant\", \"content\": \"%s\"}, \"split\": \"train\"}\n",
                u, i, u, text[u % 2].data, text[1 - u % 2].data);
            buf_free(&text[0]);
            buf_free(&text[1]);
        }
    const char *path = write_text("tastes.jsonl", b.data);
    buf_free(&b);
    return path;
}

/* Whoever is asked, the answer with `&` wins over the one with `~`. */
static const char *write_qualities(void) {
    buf b = {0};
    rng r = {4, 0, 0};
    for (int i = 0; i < 120; i++) {
        char text[2][40];
        for (int k = 0; k < 2; k++)
            snprintf(text[k], sizeof text[k], "%c%c%c%c", (int)('a' + rng_below(&r, 26)), k ? '~' : '&',
                     (int)('a' + rng_below(&r, 26)), k ? '~' : '&');
        buf_printf(&b,
                   "{\"user_id\": \"v%d\", \"context\": [{\"role\": \"user\", \"content\": \"q%d\"}], \"chosen\": "
                   "{\"role\": \"assistant\", \"content\": \"%s\"}, \"rejected\": {\"role\": \"assistant\", "
                   "\"content\": \"%s\"}, \"split\": \"%s\"}\n",
                   i, i, text[0], text[1], i % 6 == 5 ? "test" : "train");
    }
    const char *path = write_text("qualities.jsonl", b.data);
    buf_free(&b);
    return path;
}

static pgr_psi_options options_for(const char *out, const pgr_psi_data *data, size_t n) {
    pgr_psi_options o = pgr_psi_options_default(PGR_STAGE_PSI);
    o.data = data;
    o.n_data = n;
    o.train.out = out;
    o.train.layers = 1;
    o.train.lr = o.taste_lr = 1e-2;
    o.pairs_max = 6;
    o.held = 0.25;
    o.eval_every = 0;
    return o;
}

static pgr_psi_options cre_options_for(const char *out, const pgr_psi_data *data, const char *init, pgr_stage stage) {
    pgr_psi_options o = options_for(out, data, 1), defaults = pgr_psi_options_default(stage);
    o.stage = stage;
    o.grpo = defaults.grpo;
    o.grpo.hard_to = 0.5;
    o.train.init = init;
    return o;
}

static pgr_status run(const pgr_psi_options *o, pgr_train_report *report) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(WORDS_MODEL, 2);
    pgr_status s = pgr_train_psi(m, o, report, &err);
    if (s != PGR_OK && s != PGR_E_CANCELLED) fail_msg("%s", err.message);
    pgr_model_close(m);
    return s;
}

static double of(const watched *w, const char *name) {
    json_t *v = json_object_get(w->evaluation, name);
    if (!json_is_number(v)) fail_msg("the evaluation has no %s", name);
    return json_number_value(v);
}

/* On users who were never trained on: their own pairs, not a stranger's, and mirrored with the history. Half of the
 * users are like the next one or unlike him, so a stranger's taste is right as often as wrong. */
static void test_taste(void **state) {
    (void)state;
    pgr_train_report report;
    watched w = {0};
    pgr_psi_data data = {PGR_PSI_TASTE, write_tastes()};
    pgr_psi_options o = options_for(path_of("taste"), &data, 1);
    slots_weights weights;
    o.train.steps = 120;
    o.train.sample_every = 50;
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_int_equal(w.n_sample, 3);
    assert_true(mean(w.loss + 100, 20) < 0.6 * mean(w.loss, 5));
    assert_true(of(&w, "taste/own") > 0.9);
    buf page = {0};
    assert_int_equal(file_read(path_of("taste/curves.html"), &page, NULL), PGR_OK);
    assert_non_null(strstr(page.data, "taste of user u"));
    assert_non_null(strstr(page.data, "<polyline"));
    buf_free(&page);
    assert_true(of(&w, "taste/once") > 0.9);
    assert_true(of(&w, "taste/flipped") < 0.1);
    assert_true(of(&w, "taste/rule") == 1);
    json_decref(w.evaluation);
    assert_int_equal(slots_weights_read(path_of("taste/adapter/slots.json"), &weights, NULL), PGR_OK);
    assert_true(weights.trained && weights.a > 0);
}

/* What no run fits stays as it was: the adapter's that it began with, or what is alike where it began with none. */
static void test_no_fit(void **state) {
    (void)state;
    pgr_train_report report;
    pgr_psi_data data = {PGR_PSI_TASTE, write_tastes()};
    pgr_psi_options o = options_for(path_of("kept"), &data, 1);
    slots_weights of_init, kept, neutral = slots_weights_neutral();
    o.train.steps = 1;
    o.no_fit = true;
    o.train.init = path_of("taste/adapter");
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_int_equal(slots_weights_read(path_of("taste/adapter/slots.json"), &of_init, NULL), PGR_OK);
    assert_int_equal(slots_weights_read(path_of("kept/adapter/slots.json"), &kept, NULL), PGR_OK);
    assert_true(kept.a == of_init.a && kept.b == of_init.b && kept.pairs == of_init.pairs);
    o.train.init = NULL;
    o.train.out = path_of("begun");
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_int_equal(slots_weights_read(path_of("begun/adapter/slots.json"), &kept, NULL), PGR_OK);
    assert_true(kept.a == neutral.a && kept.b == neutral.b && kept.pairs == 0);
    assert_true(of_init.a != kept.a);
}

/* Nobody is shown as he is: what is shown, taught and asked is turned together, or it would be learnt the wrong way
 * round. */
static void test_turned(void **state) {
    (void)state;
    pgr_train_report report;
    watched w = {0};
    pgr_psi_data data = {PGR_PSI_TASTE, write_tastes()};
    pgr_psi_options o = options_for(path_of("turned"), &data, 1);
    o.train.steps = 120;
    o.turned = 1;
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_true(of(&w, "taste/own") > 0.9);
    json_decref(w.evaluation);
}

static void test_quality(void **state) {
    (void)state;
    pgr_train_report report;
    watched w = {0};
    pgr_psi_data data = {PGR_PSI_QUALITY, write_qualities()};
    pgr_psi_options o = options_for(path_of("quality"), &data, 1);
    o.train.steps = 120;
    o.hard = 0.3;
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_true(mean(w.loss + 100, 20) < 0.6 * mean(w.loss, 5));
    assert_true(of(&w, "quality/accuracy") > 0.9);
    assert_true(of(&w, "quality/longest") == 0.5);
    assert_true(of(&w, "quality/fooled") < 0.2);
    json_decref(w.evaluation);
}

/* From a psi that was stopped early the reward rises, and what was learnt of users who are never trained on stays.
 * Interrupted and resumed it ends in the same bits. */
static void test_cre(void **state) {
    (void)state;
    pgr_train_report report;
    watched before = {0}, after = {0}, halves = {.stop_after = 3};
    pgr_psi_data data = {PGR_PSI_TASTE, write_tastes()};
    pgr_psi_options o = options_for(path_of("early"), &data, 1);
    char init[160];
    o.train.steps = 10;
    watch_run(&o.train, &before);
    assert_int_equal(run(&o, &report), PGR_OK);
    snprintf(init, sizeof init, "%s", path_of("early/adapter"));

    o = cre_options_for(path_of("cre"), &data, init, PGR_STAGE_CRE);
    o.train.steps = 60;
    o.taste_lr = 2e-3;
    watch_run(&o.train, &after);
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_true(mean(after.reward + 50, 10) > mean(after.reward, 2) + 0.1);
    assert_true(of(&after, "taste/own") >= of(&before, "taste/own"));
    assert_true(of(&after, "taste/own") > 0.9);
    assert_true(of(&after, "taste/chain") > of(&before, "taste/chain") + 0.02);
    json_decref(after.evaluation);

    o.grpo.together = true;
    o.grpo.alpha = 0;
    o.train.out = path_of("together");
    after = (watched){0};
    watch_run(&o.train, &after);
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_true(of(&after, "taste/own") > 0.9 && of(&after, "taste/chain") > of(&before, "taste/chain") + 0.02);
    json_decref(before.evaluation);
    json_decref(after.evaluation);
    o.grpo.together = false;

    o.train.steps = 6;
    o.stage = PGR_STAGE_HNCL;
    o.train.out = path_of("whole_hncl");
    o.train.on_step = NULL;
    assert_int_equal(run(&o, &report), PGR_OK);
    o.train.out = path_of("halves_hncl");
    watch_run(&o.train, &halves);
    assert_int_equal(run(&o, &report), PGR_E_CANCELLED);
    halves = (watched){0};
    o.train.resume = true;
    assert_int_equal(run(&o, &report), PGR_OK);
    json_decref(halves.evaluation);
    assert_true(
        same_bytes(path_of("whole_hncl/checkpoint-6/state.bin"), path_of("halves_hncl/checkpoint-6/state.bin")));
}

/* Both kinds, hard losers and all: eight steps are three, an interruption, and five. */
static void test_resumes(void **state) {
    (void)state;
    pgr_train_report report;
    slots_weights weights;
    pgr_psi_data data[] = {{PGR_PSI_TASTE, write_tastes()}, {PGR_PSI_QUALITY, write_qualities()}};
    pgr_psi_options o = options_for(path_of("whole"), data, 2);
    o.train.steps = 8;
    o.hard = 0.5;
    o.common = true;
    assert_int_equal(run(&o, &report), PGR_OK);
    watched w = {.stop_after = 3};
    o.train.out = path_of("halves");
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, &report), PGR_E_CANCELLED);
    w = (watched){0};
    o.train.resume = true;
    assert_int_equal(run(&o, &report), PGR_OK);
    assert_int_equal(w.n, 5);
    json_decref(w.evaluation);
    w.evaluation = NULL;
    assert_true(same_bytes(path_of("whole/checkpoint-8/state.bin"), path_of("halves/checkpoint-8/state.bin")));
    assert_true(same_bytes(path_of("whole/adapter/slots.json"), path_of("halves/adapter/slots.json")));

    o.train.steps = 9; /* a run that is done is made longer: its adapter is replaced, what the weights say with it */
    assert_int_equal(run(&o, &report), PGR_OK);
    json_decref(w.evaluation);
    assert_int_equal(report.steps, 9);
    assert_false(same_bytes(path_of("whole/adapter/adapter_model.safetensors"),
                            path_of("halves/adapter/adapter_model.safetensors")));
    assert_int_equal(slots_weights_read(path_of("halves/adapter/slots.json"), &weights, NULL), PGR_OK);
}

static void assert_refused(const pgr_psi_options *o, const char *says) {
    pgr_error err = {0};
    pgr_model *m = open_tiny(WORDS_MODEL, 1);
    if (pgr_train_psi(m, o, NULL, &err) == PGR_OK || !strstr(err.message, says))
        fail_msg("\"%s\", wanted: %s", err.message, says);
    pgr_model_close(m);
}

/* Two camps over 24 statements: camp c of user u agrees with what has its sign. Rows are pairs of statements. */
static const char *write_views(void) {
    buf b = {0};
    rng r = {5, 0, 0};
    for (int u = 0; u < USERS; u++)
        for (int i = 0; i < 10; i++) {
            size_t mine = 2 * rng_below(&r, 12) + (size_t)(u % 2), other = 2 * rng_below(&r, 12) + (size_t)(1 - u % 2);
            buf_printf(&b,
                       "{\"user_id\": \"w%d\", \"context\": [{\"role\": \"user\", \"content\": \"which?\"}], "
                       "\"chosen\": {\"role\": \"assistant\", \"content\": \"view %c\"}, \"rejected\": {\"role\": "
                       "\"assistant\", \"content\": \"view %c\"}, \"split\": \"train\"}\n",
                       u, (int)('a' + mine), (int)('a' + other));
        }
    const char *path = write_text("views.jsonl", b.data);
    buf_free(&b);
    return path;
}

static pgr_people *make_people(const char *data, size_t k) {
    pgr_error err = {0};
    pgr_store *store = NULL;
    pgr_people *people = NULL;
    pgr_imported n;
    pgr_proto_options po = pgr_proto_options_default();
    char path[160], protos[170];
    snprintf(path, sizeof path, "%s%zu.db", path_of("people"), k);
    snprintf(protos, sizeof protos, "%s.protos", path);
    po.by = PGR_PROTO_VOTES;
    po.k = k;
    po.epochs = 0;
    if (pgr_store_open(path, PGR_STORE_CREATE, &store, &err) != PGR_OK
        || pgr_user_import(store, data, NULL, &n, &err) != PGR_OK
        || pgr_proto_build(store, protos, &po, &err) != PGR_OK)
        fail_msg("%s", err.message);
    pgr_store_close(store);
    if (pgr_people_open(path, NULL, NULL, 1, &people, &err) != PGR_OK) fail_msg("%s", err.message);
    return people;
}

/* Who is asked is told by the user's other pairs and votes like him: the rule that counts them is nearly always right,
 * and the slots, which see its line, learn to say the same of users that they never saw. */
static void test_views(void **state) {
    (void)state;
    pgr_train_report report;
    watched w = {0};
    char path[160];
    snprintf(path, sizeof path, "%s", write_views());
    pgr_psi_data data = {PGR_PSI_VIEWS, path};
    pgr_psi_options o = options_for(path_of("views"), &data, 1);
    o.train.steps = 80;
    o.train.lr = 3e-3; /* at 1e-2 it comes and goes */
    o.train.batch = 4;
    o.people = make_people(path, 2);
    watch_run(&o.train, &w);
    assert_int_equal(run(&o, &report), PGR_OK);
    pgr_people_close(o.people);
    /* other people are other data */
    o.people = make_people(path, 3);
    o.train.resume = true;
    assert_refused(&o, "setting people");
    pgr_people_close(o.people);
    assert_true(of(&w, "views/rule") > 0.9);
    /* 40 pairs; a level of kernels is another run with other rounding: all 40 agree at avx2, avx512 and amx.
     * Slots that know nothing agree in more than 36 with a probability of 1e-8. */
    assert_true(of(&w, "views/agree") > 0.9);
    json_decref(w.evaluation);
}

/* Who is held out of a file of `synth` is shown and asked when it is evaluated on, and never learnt from. */
static void test_lessons(void **state) {
    (void)state;
    static const struct {
        const char *user, *more;
    } rows[] = {
        {"learner", "\"split\": \"train\""},
        {"learner", "\"split\": \"train\", \"subset\": [\"known\"]"},
        {"learner", "\"split\": \"test\", \"subset\": [\"known\"]"},
        {"stranger", "\"split\": \"train\", \"subset\": [\"history\"]"},
        {"stranger", "\"split\": \"train\", \"subset\": [\"more\", \"history\"]"},
        {"stranger", "\"subset\": \"history\""},
        {"stranger", "\"split\": \"test\", \"subset\": [\"held\", \"unseen\"]"},
        {"unsplit", "\"conversation_id\": \"c\""},
    };
    buf b = {0};
    psi_set s;
    pgr_error err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        buf_printf(&b,
                   "{\"user_id\": \"%s\", \"context\": [{\"role\": \"user\", \"content\": \"q%zu\"}], \"chosen\": "
                   "{\"role\": \"assistant\", \"content\": \"one\"}, \"rejected\": {\"role\": \"assistant\", "
                   "\"content\": \"other\"}, %s}\n",
                   rows[i].user, i, rows[i].more);
    pgr_psi_data data = {PGR_PSI_TASTE, write_text("lessons.jsonl", b.data)};
    buf_free(&b);
    psi_load l = {&data, 1, PGR_PSI_TASTE, false, 0, 1};
    if (psi_set_load(&l, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(s.n_user, 2);
    assert_int_equal(s.n_pair, 3);
    assert_string_equal(s.users[0].id, "learner");
    assert_int_equal(s.users[0].n, 2);
    assert_string_equal(s.users[1].id, "unsplit");
    psi_set_free(&s);
    l.evaluate = true;
    if (psi_set_load(&l, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(s.n_user, 3);
    assert_string_equal(s.users[1].id, "stranger");
    assert_int_equal(s.users[1].n, 3);
    assert_int_equal(s.users[1].n_asked, 1);

    pgr_psi_options o = pgr_psi_options_default(PGR_STAGE_PSI); /* texts: train rows may have been learnt from */
    psi p = {.o = &o};
    size_t asked[40];
    assert_int_equal(psi_held_pairs(&p, &s, asked), 2);
    assert_string_equal(psi_query(&s.pairs[asked[0]]), "q2");
    assert_string_equal(psi_query(&s.pairs[asked[1]]), "q6");
    psi_set_free(&s);
}

enum { N_HELD_ROW = 200 };

/* Which of N_HELD_ROW users' pairs are held back. */
static void held_of(const char *file, double share, uint64_t seed, bool out[N_HELD_ROW]) {
    pgr_psi_data data = {PGR_PSI_TASTE, file};
    psi_load l = {&data, 1, PGR_PSI_TASTE, false, share, seed};
    psi_set s;
    pgr_error err = {0};
    if (psi_set_load(&l, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(s.n_pair, N_HELD_ROW);
    memcpy(out, s.held, N_HELD_ROW * sizeof *out);
    psi_set_free(&s);
}

/* A run that goes on from another's adapter is not measured on what that one has learnt: the same are held back
 * whatever the seed, and a larger share holds them too. */
static void test_held_whatever_the_seed(void **state) {
    (void)state;
    buf b = {0};
    for (size_t i = 0; i < N_HELD_ROW; i++)
        buf_printf(&b,
                   "{\"user_id\": \"u%zu\", \"context\": [{\"role\": \"user\", \"content\": \"q\"}], \"chosen\": "
                   "{\"role\": \"assistant\", \"content\": \"one\"}, \"rejected\": {\"role\": \"assistant\", "
                   "\"content\": \"other\"}, \"split\": \"train\"}\n",
                   i);
    const char *file = write_text("held.jsonl", b.data);
    buf_free(&b);
    bool one[N_HELD_ROW], other[N_HELD_ROW], more[N_HELD_ROW];
    held_of(file, 0.2, 1, one);
    held_of(file, 0.2, 2, other);
    held_of(file, 0.4, 3, more);
    assert_memory_equal(one, other, sizeof one);
    size_t n = 0, n_more = 0;
    for (size_t i = 0; i < N_HELD_ROW; i++) {
        n += one[i];
        n_more += more[i];
        assert_true(!one[i] || more[i]);
    }
    assert_true(n > 0 && n < n_more && n_more < N_HELD_ROW);
}

static void test_refusals(void **state) {
    (void)state;
    pgr_psi_data data = {PGR_PSI_TASTE, write_tastes()}, views = {PGR_PSI_VIEWS, write_qualities()};
    pgr_psi_options o = options_for(path_of("refused"), &data, 1);
    o.pairs_min = PAIRS;
    o.pairs_max = PAIRS;
    assert_refused(&o, "nothing to learn taste from: found 320 train rows of 40 users");
    o.pairs_min = 3;
    o.mix[PGR_PSI_TASTE] = 0;
    assert_refused(&o, "mix");
    o = options_for(path_of("refused"), &views, 1);
    assert_refused(&o, "found nobody to ask");
    o.n_data = 0;
    assert_refused(&o, "expected files");
    o = options_for(path_of("refused"), &data, 1);
    o.stage = PGR_STAGE_CRE;
    o.grpo = pgr_psi_options_default(PGR_STAGE_CRE).grpo;
    assert_refused(&o, "expected the adapter that is the reference");
    o.stage = (pgr_stage)7;
    assert_refused(&o, "stage 7: expected psi");
}

/* A run with some allocation failing says so and leaves no memory behind: about forty of all. */
static void test_memory(void **state) {
    (void)state;
    pgr_model *m = open_tiny(WORDS_MODEL, 1);
    pgr_psi_data data[] = {{PGR_PSI_TASTE, write_tastes()}, {PGR_PSI_QUALITY, write_qualities()}};
    char out[160], command[200];
    snprintf(out, sizeof out, "%s", path_of("memory"));
    snprintf(command, sizeof command, "rm -rf %s", out);
    pgr_psi_options o = options_for(out, data, 2);
    pgr_error err = {0};
    long live = 0, n = 0, step = 1;
    o.train.steps = 2;
    o.eval_limit = 4;
    for (long i = -1; i <= n; i += i <= 0 ? 1 : step) { /* first one run in which the model keeps what it needs once */
        long before = mem_count();
        assert_int_equal(system(command), 0);
        if (i > 0) mem_fail_nth(i);
        pgr_status s = pgr_train_psi(m, &o, NULL, &err);
        mem_fail_nth(0);
        if (i < 0) live = mem_live();
        if (i == 0) n = mem_count() - before, step = n / 40;
        if ((s == PGR_OK) != (i <= 0) || mem_live() != live)
            fail_msg("allocation %ld of %ld failed: status %d, %ld more live", i, n, s, mem_live() - live);
    }
    pgr_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taste),    cmocka_unit_test(test_no_fit),  cmocka_unit_test(test_turned),
        cmocka_unit_test(test_quality),  cmocka_unit_test(test_views),   cmocka_unit_test(test_cre),
        cmocka_unit_test(test_resumes),  cmocka_unit_test(test_lessons), cmocka_unit_test(test_held_whatever_the_seed),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
