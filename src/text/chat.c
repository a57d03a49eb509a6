/* chat.c - owns the two chat formats that are known by heart, ChatML and Llama-3, and their recognition from a file's
 * Jinja template: no Jinja is run for them, the template is searched for its markers and for the literals that vary
 * between models (the default system text, the date lines). Templates of neither kind go to the interpreter (jinja.h). */
#include "text/chat.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "text/jinja_lex.h"

typedef struct text {
    const char *s;
    size_t n;
} text;

/* ---- the template as text ---- */

static const char *find(text in, const char *what) {
    return memmem(in.s, in.n, what, strlen(what));
}
static bool has(text in, const char *what) {
    return find(in, what) != NULL;
}

static text after(text in, const char *at) {
    return (text){at, in.n - (size_t)(at - in.s)};
}

/* Appends the Jinja string literal's characters from s on, until its quote or `until`. Returns where that stands, NULL
 * if neither comes or an escape is not one of \n \t \\ \' \". */
static const char *literal(text s, char quote, const char *until, buf *out) {
    size_t n_until = strlen(until);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.s[i];
        if (c == quote || (n_until && s.n - i >= n_until && memcmp(s.s + i, until, n_until) == 0)) return s.s + i;
        if (c == '\\') {
            if (++i == s.n || !memchr("nt\\'\"", s.s[i], 5)) return NULL;
            c = s.s[i] == 'n' ? '\n' : s.s[i] == 't' ? '\t' : s.s[i];
        }
        buf_putc(out, c);
    }
    return NULL;
}

/* Is the filter `| trim` anywhere in it? */
static bool trims(text in) {
    for (const char *p; (p = memchr(in.s, '|', in.n)); in = after(in, p + 1)) {
        text rest = after(in, p + 1);
        while (rest.n && *rest.s == ' ') rest = after(rest, rest.s + 1);
        if (rest.n >= 4 && memcmp(rest.s, "trim", 4) == 0) return true;
    }
    return false;
}

/* ---- recognition ---- */

static pgr_status want_control(const tokenizer *t, const char *name, pgr_error *err) {
    int32_t id = tok_find(t, name);
    if (id < 0) return fail(err, PGR_E_FORMAT, "the chat template uses %s, which is not a token of the file", name);
    if (tok_type_of(t, id) != TOK_CONTROL)
        return fail(err, PGR_E_FORMAT,
                    "the chat template uses %s, which is not of type control: contents could forge it", name);
    return PGR_OK;
}

/* The text of a literal '<|im_start|>system\nTEXT<|im_end|>...': NULL if the template has none. */
static pgr_status default_system(text in, char **out, pgr_error *err) {
    static const char opening[] = "<|im_start|>system";
    *out = NULL;
    for (const char *p; (p = find(in, opening)); in = after(in, p + 1)) {
        if (p == in.s || (p[-1] != '\'' && p[-1] != '"')) continue;
        buf b = {0};
        const char *end = literal(after(in, p + sizeof opening - 1), p[-1], "<|im_end|>", &b);
        bool whole = end && *end == '<' && b.n > 0 && b.data[0] == '\n';
        bool failed = b.failed;
        if (whole && !failed) *out = mem_strdup(b.data + 1);
        buf_free(&b);
        if (failed || (whole && !*out)) return fail_mem(err);
        if (whole) return PGR_OK;
    }
    return PGR_OK;
}

static pgr_status recognise_chatml(text in, const tokenizer *t, chat_template *c, pgr_error *err) {
    PGR_TRY(want_control(t, "<|im_start|>", err));
    PGR_TRY(want_control(t, "<|im_end|>", err));
    c->kind = CHAT_CHATML;
    c->trim = trims(in);
    c->no_think = has(in, "enable_thinking");
    return default_system(in, &c->default_system, err);
}

/* The text of the first string literal that directly follows `what`. */
static bool literal_after(text in, const char *what, buf *out) {
    for (const char *p; (p = find(in, what)); in = after(in, p + 1)) {
        text rest = after(in, p + strlen(what));
        while (rest.n && *rest.s == ' ') rest = after(rest, rest.s + 1);
        if (rest.n && (*rest.s == '\'' || *rest.s == '"'))
            return literal(after(rest, rest.s + 1), *rest.s, "", out) != NULL;
    }
    return false;
}

/* "Cutting Knowledge Date: ...\nToday Date: ...\n\n" with the template's own date, so that a rendering does not depend
 * on the day. The lines are literals: '...Cutting Knowledge Date: X\n', then 'Today Date: ' + date_string + '\n\n'. */
static bool date_lines(text in, buf *out) {
    static const char cutting[] = "Cutting Knowledge Date", today[] = "Today Date: ";
    const char *p = find(in, cutting), *q = find(in, today);
    if (!p || !q || p == in.s || (p[-1] != '\'' && p[-1] != '"')) return false;
    if (!literal(after(in, p), p[-1], today, out)) return false;
    buf_puts(out, today);
    bool ok = literal_after(in, "set date_string =", out);
    buf_puts(out, "\n\n");
    return ok;
}

static pgr_status recognise_llama3(text in, const tokenizer *t, chat_template *c, pgr_error *err) {
    PGR_TRY(want_control(t, "<|start_header_id|>", err));
    PGR_TRY(want_control(t, "<|end_header_id|>", err));
    PGR_TRY(want_control(t, "<|eot_id|>", err));
    c->trim = trims(in);
    c->bos = has(in, "bos_token") || has(in, "<|begin_of_text|>");
    c->system_always = has(in, "Cutting Knowledge Date");
    if (c->bos && tok_bos(t) < 0)
        return fail(err, PGR_E_FORMAT, "the chat template writes a BOS token, the file names none");
    if (c->system_always) {
        buf b = {0};
        bool found = date_lines(in, &b), failed = b.failed;
        c->system_prefix = found ? buf_take(&b) : NULL;
        buf_free(&b);
        if (failed || (found && !c->system_prefix)) return fail_mem(err);
        if (!found) return PGR_OK; /* date lines of a form that we do not know: stays CHAT_NONE */
    }
    c->kind = CHAT_LLAMA3;
    return PGR_OK;
}

static pgr_status recognise_known(text in, const tokenizer *t, chat_template *c, pgr_error *err) {
    if (has(in, "<|im_start|>") && has(in, "<|im_end|>") && !has(in, "<|im_sep|>"))
        return recognise_chatml(in, t, c, err);
    if (has(in, "<|start_header_id|>") && has(in, "<|end_header_id|>") && has(in, "<|eot_id|>"))
        return recognise_llama3(in, t, c, err);
    return PGR_OK;
}

static pgr_status recognise_jinja(text in, const char *origin, const char *bos, const char *eos, chat_template *c,
                                  pgr_error *err) {
    PGR_TRY(jinja_parse(in.s, in.n, origin, &c->program, err));
    if (bos && !(c->bos_text = mem_strdup(bos))) return fail_mem(err);
    if (eos && !(c->eos_text = mem_strdup(eos))) return fail_mem(err);
    c->now = (int64_t)time(NULL);
    c->kind = CHAT_JINJA;
    return PGR_OK;
}

const char *chat_builtin(const char *name) {
    if (strcmp(name, "chatml") == 0)
        return "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    if (strcmp(name, "llama3") == 0)
        return "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + "
               "m.content | trim + '<|eot_id|>' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
    return NULL;
}

void chat_free(chat_template *c) {
    if (!c) return;
    mem_free(c->default_system);
    mem_free(c->system_prefix);
    jinja_free(c->program);
    mem_free(c->bos_text);
    mem_free(c->eos_text);
    mem_free(c->why);
    *c = (chat_template){0};
}

const char *chat_name(chat_kind kind) {
    static const char *const names[] = {"none", "ChatML", "Llama-3", "interpreted"};
    return names[kind];
}

/* ---- rendering ---- */

static text trimmed(text s) {
    for (size_t len; (len = jinja_space_at(s.s, s.n)) > 0;) s = (text){s.s + len, s.n - len};
    for (size_t len; (len = jinja_space_before(s.s, s.n)) > 0;) s.n -= len;
    return s;
}

typedef struct renderer {
    const chat_template *c;
    const tokenizer *t;
    buf scratch; /* the text between two control tokens: it is tokenised as one string */
    ids *out;
    pgr_error *err;
} renderer;

static void control(renderer *r, const char *name) {
    ids_push(r->out, tok_find(r->t, name));
}

/* Tokenises what is in scratch; control tokens spelled there stay text. */
static pgr_status flush(renderer *r) {
    if (r->scratch.failed) return fail_mem(r->err);
    pgr_status status = tok_encode(r->t, r->scratch.data ? r->scratch.data : "", r->scratch.n, 0, r->out, r->err);
    buf_clear(&r->scratch);
    return status;
}

/* <|im_start|>ROLE\nTEXT<|im_end|>\n */
static pgr_status chatml_turn(renderer *r, const char *role, text s) {
    control(r, "<|im_start|>");
    buf_puts(&r->scratch, role);
    buf_putc(&r->scratch, '\n');
    buf_add(&r->scratch, s.s, s.n);
    PGR_TRY(flush(r));
    control(r, "<|im_end|>");
    buf_putc(&r->scratch, '\n');
    return flush(r);
}

/* <|start_header_id|>ROLE<|end_header_id|>\n\nPREFIX TEXT<|eot_id|> */
static pgr_status llama3_turn(renderer *r, const char *role, const char *prefix, text s) {
    control(r, "<|start_header_id|>");
    buf_puts(&r->scratch, role);
    PGR_TRY(flush(r));
    control(r, "<|end_header_id|>");
    buf_puts(&r->scratch, "\n\n");
    buf_puts(&r->scratch, prefix);
    buf_add(&r->scratch, s.s, s.n);
    PGR_TRY(flush(r));
    control(r, "<|eot_id|>");
    return PGR_OK;
}

static pgr_status render_chatml(renderer *r, const chat_message *m, size_t n, bool generate) {
    const char *system = r->c->default_system;
    if (system && strcmp(m[0].role, "system") != 0) PGR_TRY(chatml_turn(r, "system", (text){system, strlen(system)}));
    for (size_t i = 0; i < n; i++) {
        text s = {m[i].text, m[i].n};
        PGR_TRY(chatml_turn(r, m[i].role, r->c->trim ? trimmed(s) : s));
    }
    if (!generate) return PGR_OK;
    control(r, "<|im_start|>");
    buf_puts(&r->scratch, "assistant\n");
    if (r->c->no_think) buf_puts(&r->scratch, "<think>\n\n</think>\n\n");
    return flush(r);
}

static pgr_status render_llama3(renderer *r, const chat_message *m, size_t n, bool generate) {
    const char *prefix = r->c->system_prefix ? r->c->system_prefix : "";
    if (r->c->bos) ids_push(r->out, tok_bos(r->t));
    bool has_system = strcmp(m[0].role, "system") == 0;
    if (r->c->system_always && !has_system) PGR_TRY(llama3_turn(r, "system", prefix, (text){"", 0}));
    for (size_t i = 0; i < n; i++) {
        text s = {m[i].text, m[i].n};
        PGR_TRY(llama3_turn(r, m[i].role, i == 0 && has_system ? prefix : "", r->c->trim ? trimmed(s) : s));
    }
    if (!generate) return PGR_OK;
    control(r, "<|start_header_id|>");
    buf_puts(&r->scratch, "assistant");
    PGR_TRY(flush(r));
    control(r, "<|end_header_id|>");
    buf_puts(&r->scratch, "\n\n");
    return flush(r);
}

static pgr_status check_messages(const chat_message *m, size_t n, pgr_error *err) {
    static const char *const roles[] = {"system", "user", "assistant"};
    if (n == 0) return fail(err, PGR_E_ARG, "a conversation without messages");
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) known |= strcmp(m[i].role, roles[k]) == 0;
        if (!known)
            return fail(err, PGR_E_ARG, "message %zu has role \"%.40s\", want system, user or assistant", i, m[i].role);
    }
    return PGR_OK;
}

/* The template's bytes and the contents' become tokens together, so that merges across their borders are as in the
 * reference; control tokens are found in the template's only. */
static pgr_status render_jinja(renderer *r, const chat_message *m, size_t n, bool generate) {
    const chat_template *c = r->c;
    const jinja_input in = {
        .messages = m, .n_message = n, .generate = generate, .bos = c->bos_text, .eos = c->eos_text, .now = c->now};
    buf made = {0};
    pgr_status status = jinja_render(c->program, &in, &r->scratch, &made, r->err);
    const uint8_t *mask = (const uint8_t *)made.data;
    if (status == PGR_OK && (r->scratch.failed || made.failed)) status = fail_mem(r->err);
    if (status == PGR_OK && r->scratch.n > 0)
        status = tok_encode_made(r->t, r->scratch.data, mask, r->scratch.n, r->out, r->err);
    buf_free(&made);
    return status;
}

pgr_status chat_render(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                       bool generate, ids *out, pgr_error *err) {
    renderer r = {.c = c, .t = t, .out = out, .err = err};
    if (c->kind == CHAT_NONE) return fail(err, PGR_E_UNSUPPORTED, "%s", c->why ? c->why : "no chat template was read");
    PGR_TRY(check_messages(messages, n, err));
    pgr_status status = c->kind == CHAT_CHATML   ? render_chatml(&r, messages, n, generate)
                        : c->kind == CHAT_LLAMA3 ? render_llama3(&r, messages, n, generate)
                                                 : render_jinja(&r, messages, n, generate);
    buf_free(&r.scratch);
    return status == PGR_OK && out->failed ? fail_mem(err) : status;
}

/* ---- is it what it looks like? ---- */

/* The same ids, or one of the two cannot render it. */
static bool same_rendering(const chat_template *a, const chat_template *b, const tokenizer *t, const chat_message *m,
                           size_t n, bool generate, bool *mem) {
    ids x = {0}, y = {0};
    pgr_status s = chat_render(a, t, m, n, generate, &x, NULL), r = s;
    if (s == PGR_OK) r = chat_render(b, t, m, n, generate, &y, NULL);
    bool same = s != PGR_OK || r != PGR_OK || (x.n == y.n && (x.n == 0 || memcmp(x.v, y.v, x.n * sizeof *x.v) == 0));
    *mem |= s == PGR_E_MEM || r == PGR_E_MEM;
    ids_free(&x);
    ids_free(&y);
    return same;
}

pgr_status chat_verify(const char *template_text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                       const char *eos, chat_template *c, pgr_error *err) {
    static const chat_message talk[] = {
        {"system", "one two", 7}, {"user", "three", 5}, {"assistant", "four", 4}, {"user", "five", 4}};
    chat_template run = {0};
    bool mem = false, same = true;
    if ((c->kind != CHAT_CHATML && c->kind != CHAT_LLAMA3) || c->system_always) return PGR_OK;
    pgr_status s = recognise_jinja((text){template_text, n}, origin, bos, eos, &run, NULL);
    for (size_t first = 0; s == PGR_OK && first <= 3; first += 3)
        same &= same_rendering(c, &run, t, talk + first, 4 - first, !c->no_think, &mem);
    if (s == PGR_E_MEM || mem) {
        chat_free(&run);
        return fail_mem(err);
    }
    chat_template other = same ? run : *c;
    if (!same) *c = run;
    chat_free(&other);
    return PGR_OK;
}

pgr_status chat_recognise(const char *template_text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                          const char *eos, chat_template *out, pgr_error *err) {
    chat_template c = {0};
    pgr_error why = {.message = "the model has no chat template; give one with --chat-template FILE, or use raw text"};
    pgr_status status = template_text ? PGR_OK : PGR_E_UNSUPPORTED;
    text in = {template_text ? template_text : "", template_text ? n : 0};
    if (status == PGR_OK && (status = recognise_known(in, t, &c, &why)) != PGR_OK && status != PGR_E_MEM) {
        pgr_error known = why;
        fail(&why, status, "%.120s: %.280s; give another one with --chat-template FILE", origin, known.message);
    }
    if (status == PGR_OK && c.kind == CHAT_NONE) {
        chat_free(&c);
        status = recognise_jinja(in, origin, bos, eos, &c, &why);
    }
    if (status != PGR_OK) {
        chat_free(&c);
        if (status == PGR_E_MEM || !(c.why = mem_strdup(why.message))) return fail_mem(err);
    }
    *out = c;
    return PGR_OK;
}
