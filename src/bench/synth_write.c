/* synth_write.c - the public call: texts, users, the file, the ladder over several truths. */
#include <string.h>

#include "base/file_out.h"
#include "base/json.h"
#include "base/watch.h"
#include "bench/synth.h"
#include "user/rules.h"

pgr_synth_options pgr_synth_options_default(void) {
    return (pgr_synth_options){.users = 400,
                               .prototypes = 8,
                               .hold_prototypes = 2,
                               .train_pairs = 16,
                               .test_pairs = 6,
                               .held_users = .25,
                               .held_prompts = .3,
                               .least = .25,
                               .noise = .15,
                               .common = .1,
                               .scenario = .25,
                               .own = .25,
                               .max_bytes = 1500,
                               .truths = 8};
}

static void put_key(buf *b, const char *key, const char *text) {
    buf_printf(b, "\"%s\": ", key);
    json_put_string(b, text, strlen(text));
}

/* A held-out user's train rows are marked: they are for showing, and a trainer leaves them out (rules_is_lesson). */
static const char *subset_of(const synth_row *r, const synth_user *u) {
    if (!r->test) return u->held ? "\"" RULES_HISTORY "\"" : NULL;
    if (!u->held) return "\"known\"";
    return u->unseen ? "\"held\", \"unseen\"" : "\"held\", \"seen\"";
}

static void put_row(buf *b, const synth *s, const synth_row *r) {
    const synth_prompt *p = &s->texts->prompts[r->prompt];
    const synth_user *u = &s->users[r->user];
    buf_printf(b, "{\"user_id\": \"synth_%05zu\", \"conversation_id\": \"q%05zu\", \"context\": [{\"role\": \"user\", ",
               r->user, r->prompt);
    put_key(b, "content", p->text);
    buf_puts(b, "}], \"chosen\": {\"role\": \"assistant\", ");
    put_key(b, "content", s->texts->responses[r->chosen].text);
    buf_puts(b, "}, \"rejected\": {\"role\": \"assistant\", ");
    put_key(b, "content", s->texts->responses[r->rejected].text);
    buf_printf(b, "}, \"split\": \"%s\", \"type\": \"%s\"", r->test ? "test" : "train", synth_kind_name(p->kind));
    if (subset_of(r, u)) buf_printf(b, ", \"subset\": [%s]", subset_of(r, u));
    buf_printf(b, ", \"prototype\": %zu, \"truth\": ", u->prototype);
    json_put_number(b, r->truth);
    buf_puts(b, "}\n");
}

static pgr_status write_rows(const synth *s, const char *path, const pgr_synth_options *o, pgr_error *err) {
    file_out f;
    buf b = {0};
    PGR_TRY(file_out_open(path, &f, err));
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < s->n_row && status == PGR_OK; i++) {
        put_row(&b, s, &s->rows[i]);
        if (b.n < 1 << 20 && i + 1 < s->n_row) continue;
        status = b.failed ? fail_mem(err) : file_out_write(&f, b.data, b.n, err);
        buf_clear(&b);
        watch_report(&o->watch, "writing rows", i + 1, s->n_row, "rows");
        if (status == PGR_OK) status = watch_check(&o->watch, err);
    }
    if (status == PGR_OK)
        status = file_out_commit(&f, err);
    else
        file_out_abort(&f);
    buf_free(&b);
    return status;
}

static void count(const synth *s, pgr_synth_report *r) {
    r->prompts = s->texts->n_prompt;
    r->responses = s->texts->n_response;
    r->users = s->n_user;
    for (size_t i = 0; i < s->texts->n_prompt; i++) r->kinds[s->texts->prompts[i].kind]++;
    for (size_t u = 0; u < s->n_user; u++) r->held_users += s->users[u].held;
    for (size_t i = 0; i < s->n_row; i++) *(s->rows[i].test ? &r->test_rows : &r->train_rows) += 1;
}

/* One truth more: the first is counted and written. */
static pgr_status add_truth(synth_texts *texts, const pgr_synth_options *o, const char *out, bool first,
                            pgr_synth_report *report, synth_mean mean[2], pgr_error *err) {
    synth s = {0};
    pgr_synth_report one = {0};
    pgr_status status = synth_draw(texts, o, &s, err);
    if (status == PGR_OK && first && report) count(&s, report);
    if (status == PGR_OK && report) status = synth_ladder(&s, o, &one, err);
    if (status == PGR_OK && first && out) status = write_rows(&s, out, o, err);
    synth_mean_add(&mean[0], &one.ladder);
    synth_mean_add(&mean[1], &one.unseen);
    synth_free(&s);
    return status;
}

pgr_status pgr_synth(const char *responses, const char *out, const pgr_synth_options *options, pgr_synth_report *report,
                     pgr_error *err) {
    pgr_synth_options o = options ? *options : pgr_synth_options_default();
    synth_texts texts = {0};
    pgr_synth_report found = {.truths = report ? o.truths : 1};
    synth_mean mean[2] = {{.n = 0}};
    PGR_TRY(pgr_synth_check(&o, err));
    pgr_status status = synth_texts_load(responses, o.max_bytes, &o.watch, &texts, err);
    /* the first truth last: nothing can fail once its file stands */
    for (size_t i = found.truths; i-- > 0 && status == PGR_OK;) {
        o.seed = (options ? options->seed : 0) + i;
        status = add_truth(&texts, &o, out, i == 0, report ? &found : NULL, mean, err);
    }
    found.ladder = synth_mean_end(&mean[0]);
    found.unseen = synth_mean_end(&mean[1]);
    if (status == PGR_OK && report) *report = found;
    synth_texts_free(&texts);
    return status;
}
