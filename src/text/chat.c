/* chat.c - owns the way from a conversation to tokens: the template's program, what it does with a system turn, and
 * which bytes may be control tokens. Running the program is the interpreter's (jinja.h). */
#include "text/chat.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"

/* ---- forms by name ---- */

/* The markers of turns that templates share: contents must not be able to spell them. */
static const char *const MARKERS[] = {"<|im_start|>",      "<|im_end|>", "<|start_header_id|>",
                                      "<|end_header_id|>", "<|eot_id|>", NULL};

static const struct {
    const char *name, *text, *tokens[4];
} BUILTINS[] = {
    {"chatml",
     "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
     {"<|im_start|>", "<|im_end|>", NULL}},
    {"llama3",
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + "
     "m.content | trim + '<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL}},
};
enum { N_BUILTIN = sizeof BUILTINS / sizeof *BUILTINS };

const char *chat_builtin(const char *name) {
    for (size_t i = 0; i < N_BUILTIN; i++)
        if (strcmp(name, BUILTINS[i].name) == 0) return BUILTINS[i].text;
    return NULL;
}

pgr_status chat_check_builtin(const char *name, const tokenizer *t, pgr_error *err) {
    for (size_t i = 0; i < N_BUILTIN; i++)
        for (const char *const *token = BUILTINS[i].tokens; strcmp(name, BUILTINS[i].name) == 0 && *token; token++)
            if (tok_find(t, *token) < 0)
                return fail(err, PGR_E_UNSUPPORTED,
                            "%s: the chat template uses %s, which is not a token of the file; give another one with "
                            "--chat-template FILE",
                            name, *token);
    return PGR_OK;
}

/* ---- rendering ---- */

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

typedef struct cutting { /* where the text is cut */
    const char *mark;    /* NULL: nowhere */
    size_t *cuts;        /* (n_cut) tokens before each mark */
    size_t n_cut;
} cutting;

/* Without marks the template's bytes and the contents' become tokens together, so that merges across their borders are
 * as in the reference; control tokens are found in the template's only. */
static pgr_status encode(const cutting *how, const tokenizer *t, const buf *text, const buf *made, ids *out,
                         pgr_error *err) {
    const char *all = text->data ? text->data : "", *from = all, *end = all + text->n, *at;
    size_t n_mark = how->mark ? strlen(how->mark) : 0, n = 0;
    while (n_mark && (at = memmem(from, (size_t)(end - from), how->mark, n_mark))) {
        const uint8_t *flags = (const uint8_t *)made->data + (from - all);
        if (at > from) PGR_TRY(tok_encode_made(t, from, flags, (size_t)(at - from), out, err));
        if (n < how->n_cut) how->cuts[n] = out->n;
        n++;
        from = at + n_mark;
    }
    if (n != how->n_cut)
        return fail(err, PGR_E_UNSUPPORTED,
                    "the chat template shows %zu of %zu slots of the messages, expected each of them once", n,
                    how->n_cut);
    if (from == end) return PGR_OK;
    return tok_encode_made(t, from, (const uint8_t *)made->data + (from - all), (size_t)(end - from), out, err);
}

static pgr_status render(const chat_template *c, const tokenizer *t, const chat_message *m, size_t n, bool generate,
                         const cutting *how, ids *out, pgr_error *err) {
    const jinja_input in = {
        .messages = m, .n_message = n, .generate = generate, .bos = c->bos_text, .eos = c->eos_text, .now = c->now};
    buf text = {0}, made = {0};
    pgr_status status = jinja_render(c->program, &in, &text, &made, err);
    if (status == PGR_OK && (text.failed || made.failed)) status = fail_mem(err);
    if (status == PGR_OK) status = encode(how, t, &text, &made, out, err);
    buf_free(&text);
    buf_free(&made);
    return status == PGR_OK && out->failed ? fail_mem(err) : status;
}

static void warn_once(void) {
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&told))
        log_warn("the chat template takes no system turn: its text is put before the first user turn");
}

/* Without the system turn, whose text stands before the first user's. */
static pgr_status render_merged(const chat_template *c, const tokenizer *t, const chat_message *m, size_t n,
                                bool generate, const cutting *how, ids *out, pgr_error *err) {
    size_t first = 1;
    while (first < n && strcmp(m[first].role, "user") != 0) first++;
    if (first == n)
        return fail(err, PGR_E_ARG, "the chat template takes no system turn, and there is no user turn to put it into");
    chat_message *list = mem_array(n - 1, sizeof *list);
    buf text = {0};
    if (!list) return fail_mem(err);
    buf_add(&text, m[0].text, m[0].n);
    if (m[0].n && m[first].n) buf_puts(&text, "\n\n");
    buf_add(&text, m[first].text, m[first].n);
    memcpy(list, m + 1, (n - 1) * sizeof *list);
    list[first - 1].text = text.data;
    list[first - 1].n = text.n;
    pgr_status s = text.failed ? fail_mem(err) : render(c, t, list, n - 1, generate, how, out, err);
    if (s == PGR_OK) warn_once();
    mem_free(list);
    buf_free(&text);
    return s;
}

static pgr_status render_any(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                             bool generate, const cutting *how, ids *out, pgr_error *err) {
    if (c->kind == CHAT_NONE) return fail(err, PGR_E_UNSUPPORTED, "%s", c->why ? c->why : "no chat template was read");
    PGR_TRY(check_messages(messages, n, err));
    bool merge = c->no_system && strcmp(messages[0].role, "system") == 0;
    return (merge ? render_merged : render)(c, t, messages, n, generate, how, out, err);
}

pgr_status chat_render(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                       bool generate, ids *out, pgr_error *err) {
    static const cutting nowhere;
    return render_any(c, t, messages, n, generate, &nowhere, out, err);
}

pgr_status chat_render_cut(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                           bool generate, const char *mark, ids *out, size_t *cuts, size_t n_cut, pgr_error *err) {
    return render_any(c, t, messages, n, generate, &(cutting){mark, cuts, n_cut}, out, err);
}

/* ---- recognition ---- */

/* Markers of the template that the vocabulary has, but not as control tokens, are kept whole in contents, too. */
static pgr_status check_markers(const char *text, size_t n, const tokenizer *t, pgr_error *err) {
    for (size_t i = 0; MARKERS[i]; i++) {
        int32_t id = tok_find(t, MARKERS[i]);
        if (id >= 0 && tok_type_of(t, id) != TOK_CONTROL && memmem(text, n, MARKERS[i], strlen(MARKERS[i])))
            return fail(err, PGR_E_FORMAT,
                        "the chat template uses %s, which is not of type control: contents could forge it", MARKERS[i]);
    }
    return PGR_OK;
}

static pgr_status probe(const chat_template *c, const chat_message *m, size_t n, buf *text) {
    const jinja_input in = {
        .messages = m, .n_message = n, .generate = true, .bos = c->bos_text, .eos = c->eos_text, .now = c->now};
    buf made = {0};
    pgr_status s = jinja_render(c->program, &in, text, &made, NULL);
    if (s == PGR_OK && (text->failed || made.failed)) s = PGR_E_MEM;
    buf_free(&made);
    return s;
}

static pgr_status copy_part(const char *s, size_t n, char **out) {
    if (!(*out = mem_alloc(n + 1))) return PGR_E_MEM;
    memcpy(*out, s, n);
    (*out)[n] = '\0';
    return PGR_OK;
}

/* What the template does with a system turn, seen from two short conversations, with one and without. What it puts in
 * the place of one is what stands there between what came before and behind it. */
static pgr_status look_at_system(chat_template *c, pgr_error *err) {
    static const char system[] = "sYsTeM?", user[] = "uSeR?";
    const chat_message talk[] = {{"system", system, sizeof system - 1}, {"user", user, sizeof user - 1}};
    buf with = {0}, without = {0};
    pgr_status s = probe(c, talk, 2, &with), plain = probe(c, talk + 1, 1, &without);
    const char *at = s == PGR_OK && with.n > 0 ? memmem(with.data, with.n, system, sizeof system - 1) : NULL;
    if (plain == PGR_OK && without.n > 0) c->no_system = s == PGR_E_ARG || (s == PGR_OK && !at);
    const char *behind = at ? at + sizeof system - 1 : NULL, *next = at ? strstr(behind, user) : NULL;
    size_t before = at ? (size_t)(at - with.data) : 0, between = next ? (size_t)(next - behind) : 0;
    if (plain == PGR_OK && next && between > 0 && without.n > before && memcmp(with.data, without.data, before) == 0) {
        const char *rest = without.data + before, *turn = strstr(rest, user);
        const char *end = turn && turn - rest >= (ptrdiff_t)between ? turn - between : NULL;
        if (end && end > rest && memcmp(end, behind, between) == 0)
            s = copy_part(rest, (size_t)(end - rest), &c->default_system);
    }
    buf_free(&with);
    buf_free(&without);
    return s == PGR_E_MEM || plain == PGR_E_MEM ? fail_mem(err) : PGR_OK;
}

static pgr_status open_template(const char *text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                                const char *eos, chat_template *c, pgr_error *err) {
    pgr_error plain;
    pgr_status s = check_markers(text, n, t, &plain);
    if (s != PGR_OK)
        return fail(err, s, "%.120s: %.280s; give another one with --chat-template FILE", origin, plain.message);
    PGR_TRY(jinja_parse(text, n, origin, &c->program, err));
    if (bos && !(c->bos_text = mem_strdup(bos))) return fail_mem(err);
    if (eos && !(c->eos_text = mem_strdup(eos))) return fail_mem(err);
    c->now = (int64_t)time(NULL);
    c->kind = CHAT_JINJA;
    return look_at_system(c, err);
}

pgr_status chat_recognise(const char *template_text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                          const char *eos, chat_template *out, pgr_error *err) {
    chat_template c = {0};
    pgr_error why = {.message = "the model has no chat template; give one with --chat-template FILE, or use raw text"};
    pgr_status status = PGR_E_UNSUPPORTED;
    if (template_text) status = open_template(template_text, n, origin, t, bos, eos, &c, &why);
    if (status != PGR_OK) {
        chat_free(&c);
        if (status == PGR_E_MEM || !(c.why = mem_strdup(why.message))) return fail_mem(err);
    }
    *out = c;
    return PGR_OK;
}

void chat_free(chat_template *c) {
    if (!c) return;
    jinja_free(c->program);
    mem_free(c->bos_text);
    mem_free(c->eos_text);
    mem_free(c->default_system);
    mem_free(c->why);
    *c = (chat_template){0};
}

const char *chat_name(chat_kind kind) {
    return kind == CHAT_NONE ? "none" : "interpreted";
}
