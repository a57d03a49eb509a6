/* synth_write.c - the public call: texts, users, the file, the ladder. */
#include <string.h>

#include "base/file_out.h"
#include "base/json.h"
#include "base/watch.h"
#include "bench/synth.h"

pgr_synth_options pgr_synth_options_default(void) {
    return (pgr_synth_options){.users = 400,
                               .prototypes = 8,
                               .train_pairs = 12,
                               .test_pairs = 6,
                               .held_users = .25,
                               .held_prompts = .3,
                               .noise = .05,
                               .common = .1,
                               .scenario = .25,
                               .own = .25,
                               .max_bytes = 1500};
}

static void put_key(buf *b, const char *key, const char *text) {
    buf_printf(b, "\"%s\": ", key);
    json_put_string(b, text, strlen(text));
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
    if (r->test) buf_printf(b, ", \"subset\": [\"%s\"]", u->held ? "held" : "known");
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
    double ceiling = 0;
    for (size_t i = 0; i < s->texts->n_prompt; i++) r->kinds[s->texts->prompts[i].kind]++;
    for (size_t u = 0; u < s->n_user; u++) r->held_users += s->users[u].held;
    for (size_t i = 0; i < s->n_row; i++) {
        const synth_row *row = &s->rows[i];
        *(row->test ? &r->test_rows : &r->train_rows) += 1;
        if (!row->test || !s->users[row->user].held) continue;
        r->ladder_rows++;
        ceiling += row->truth > .5 ? row->truth : 1 - row->truth;
    }
    r->ceiling = ceiling / (double)r->ladder_rows;
}

pgr_status pgr_synth(const char *responses, const char *out, const pgr_synth_options *options, pgr_synth_report *report,
                     pgr_error *err) {
    pgr_synth_options o = options ? *options : pgr_synth_options_default();
    synth_texts texts = {0};
    synth s = {0};
    pgr_synth_report found = {0};
    pgr_status status = synth_texts_load(responses, o.max_bytes, &o.watch, &texts, err);
    if (status == PGR_OK) status = synth_draw(&texts, &o, &s, err);
    if (status == PGR_OK) count(&s, &found);
    if (status == PGR_OK && report) status = synth_ladder(&s, &o, &found, err);
    if (status == PGR_OK && out) status = write_rows(&s, out, &o, err);
    if (status == PGR_OK && report) *report = found;
    synth_free(&s);
    synth_texts_free(&texts);
    return status;
}
