/* test_chat_jinja.c - the interpreter of chat templates against jinja2 as transformers sets it up (golden files by
 * tools/golden_chat.py): bytes and ids; what it refuses; where control tokens may come from; its limits. */
#include "../format/folder_make.h"
#include "../format/gguf_make.h"

#include <jansson.h>

#include "base/file.h"
#include "model/checkpoint.h"

static json_t *load(const char *path) {
    json_error_t e;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!root) fail_msg("%s: %s", path, e.text);
    return root;
}

static const json_t *at(const json_t *v, const char *key) {
    return json_object_get(v, key);
}
static const char *text_of(const json_t *v, const char *key) {
    return json_string_value(at(v, key));
}

typedef struct conversation {
    chat_message m[8];
    size_t n;
} conversation;

static conversation read_messages(const json_t *messages) {
    conversation c = {.n = json_array_size(messages)};
    assert_in_range(c.n, 1, 8);
    for (size_t i = 0; i < c.n; i++) {
        const json_t *m = json_array_get(messages, i), *text = at(m, "content");
        c.m[i] = (chat_message){text_of(m, "role"), json_string_value(text), json_string_length(text)};
    }
    return c;
}

static tokenizer *open_tokenizer(const char *name) {
    char path[400];
    buf text = {0};
    tokenizer *t = NULL;
    pgr_error err;
    snprintf(path, sizeof path, GOLDEN("tokenizer/%s.tokenizer.json"), name);
    if (file_read(path, &text, &err) != PGR_OK || tok_open_json(text.data, text.n, name, &t, &err) != PGR_OK)
        fail_msg("%s", err.message);
    buf_free(&text);
    return t;
}

/* ---- whole templates ---- */

static void check_ids(const chat_template *c, const tokenizer *t, const conversation *talk, const json_t *want,
                      bool generate, const char *name, size_t index) {
    ids got = {0};
    pgr_error err;
    if (chat_render(c, t, talk->m, talk->n, generate, &got, &err) != PGR_OK) fail_msg("%s: %s", name, err.message);
    size_t control[2] = {0, 0}, allowed = 0;
    for (size_t i = 0; i < got.n; i++) control[0] += tok_type_of(t, got.v[i]) == TOK_CONTROL;
    if (json_is_array(want)) {
        bool equal = json_array_size(want) == got.n;
        for (size_t i = 0; equal && i < got.n; i++) equal = json_integer_value(json_array_get(want, i)) == got.v[i];
        if (!equal) fail_msg("%s, conversation %zu: ids differ", name, index);
    } else { /* a content spells control tokens: as many as with contents that do not */
        conversation plain = *talk;
        ids other = {0};
        for (size_t i = 0; i < plain.n; i++) plain.m[i].text = "x", plain.m[i].n = 1;
        assert_int_equal(chat_render(c, t, plain.m, plain.n, generate, &other, &err), PGR_OK);
        for (size_t i = 0; i < other.n; i++) control[1] += tok_type_of(t, other.v[i]) == TOK_CONTROL;
        allowed = control[1];
        if (control[0] != allowed)
            fail_msg("%s, conversation %zu: %zu control tokens, want %zu", name, index, control[0], allowed);
        ids_free(&other);
    }
    ids_free(&got);
}

static void check_case(const chat_template *c, const tokenizer *t, const json_t *root, const json_t *item, size_t index,
                       const char *name) {
    conversation talk = read_messages(json_array_get(at(root, "conversations"), index));
    bool generate = json_is_true(at(item, "generate"));
    const json_t *want = at(item, "text");
    jinja_input in = {talk.m, talk.n, generate, c->bos_text, c->eos_text, json_integer_value(at(root, "now"))};
    buf text = {0}, made = {0};
    pgr_error err = {0};
    pgr_status status = jinja_render(c->program, &in, &text, &made, &err);
    if (json_is_null(want)) {
        assert_int_equal(status, PGR_E_ARG);
        if (!strstr(err.message, text_of(item, "error"))) fail_msg("%s: %s", name, err.message);
    } else {
        if (status != PGR_OK) fail_msg("%s, conversation %zu: %s", name, index, err.message);
        assert_int_equal(text.n, made.n);
        if (text.n != json_string_length(want) || (text.n && memcmp(text.data, json_string_value(want), text.n) != 0))
            fail_msg("%s, conversation %zu: rendered\n%s\nwant\n%s", name, index, text.data, json_string_value(want));
        check_ids(c, t, &talk, at(item, "ids"), generate, name, index);
    }
    buf_free(&text);
    buf_free(&made);
}

/* The template as the interpreter has it, even where its form is known by heart. */
static chat_template interpreted(const char *name, const json_t *item, int64_t now) {
    char path[400];
    buf text = {0};
    pgr_error err;
    chat_template c = {.kind = CHAT_JINJA, .now = now};
    snprintf(path, sizeof path, GOLDEN("chat/%s.jinja"), name);
    if (file_read(path, &text, &err) != PGR_OK || jinja_parse(text.data, text.n, name, &c.program, &err) != PGR_OK)
        fail_msg("%s", err.message);
    if (text_of(item, "bos")) c.bos_text = mem_strdup(text_of(item, "bos"));
    if (text_of(item, "eos")) c.eos_text = mem_strdup(text_of(item, "eos"));
    buf_free(&text);
    return c;
}

static void golden_templates(void **state) {
    (void)state;
    json_t *root = load(GOLDEN("chat/chat.json"));
    const json_t *templates = at(root, "templates"), *item;
    size_t n = json_array_size(at(root, "conversations")), with_ids = 0, refused = 0;
    assert_true(json_array_size(templates) >= 12 && n >= 30);
    for (size_t i = 0; (item = json_array_get(templates, i)); i++) {
        const char *name = text_of(item, "name");
        tokenizer *t = open_tokenizer(text_of(item, "tokenizer"));
        chat_template c = interpreted(name, item, json_integer_value(at(root, "now")));
        const json_t *cases = at(item, "cases");
        assert_int_equal(json_array_size(cases), n);
        for (size_t k = 0; k < n; k++) {
            check_case(&c, t, root, json_array_get(cases, k), k, name);
            with_ids += json_is_array(at(json_array_get(cases, k), "ids"));
            refused += json_is_null(at(json_array_get(cases, k), "text"));
        }
        chat_free(&c);
        tok_close(t);
    }
    assert_true(with_ids > 300 && refused > 10);
    json_decref(root);
}

/* ---- small ones ---- */

static pgr_status render_piece(const char *template, size_t n, const chat_message *m, size_t n_message, int64_t now,
                               buf *text, buf *made, pgr_error *err) {
    jinja *j = NULL;
    jinja_input in = {m, n_message, true, "<s>", "</s>", now};
    PGR_TRY(jinja_parse(template, n, "t", &j, err));
    pgr_status s = jinja_render(j, &in, text, made, err);
    jinja_free(j);
    return s;
}

static void golden_pieces(void **state) {
    (void)state;
    json_t *root = load(GOLDEN("chat/pieces.json"));
    conversation talk = read_messages(at(root, "messages"));
    int64_t now = json_integer_value(at(root, "now"));
    const json_t *item;
    size_t wrong = 0;
    assert_true(json_array_size(at(root, "pieces")) > 60 && json_array_size(at(root, "refused")) > 20);
    for (size_t i = 0; (item = json_array_get(at(root, "pieces"), i)); i++) {
        const json_t *template = at(item, "template"), *want = at(item, "text");
        buf text = {0}, made = {0};
        pgr_error err = {0};
        pgr_status s = render_piece(json_string_value(template), json_string_length(template), talk.m, talk.n, now,
                                    &text, &made, &err);
        buf_add(&text, "", 0);
        bool equal = s == PGR_OK && text.n == json_string_length(want) && made.n == text.n
                     && memcmp(text.data, json_string_value(want), text.n) == 0;
        if (!equal) {
            print_message("%s\n  gives |%s| %s\n  want  |%s|\n", json_string_value(template), text.data, err.message,
                          json_string_value(want));
            wrong++;
        }
        buf_free(&text);
        buf_free(&made);
    }
    for (size_t i = 0; (item = json_array_get(at(root, "refused"), i)); i++) {
        buf text = {0}, made = {0};
        pgr_error err = {0};
        const char *template = json_string_value(item);
        pgr_status s = render_piece(template, strlen(template), talk.m, talk.n, now, &text, &made, &err);
        if (s >= 0 || strncmp(err.message, "t: ", 3) != 0 || !strstr(err.message, "line 1")) {
            print_message("%s\n  is not refused, or so: %s\n", template, err.message);
            wrong++;
        }
        buf_free(&text);
        buf_free(&made);
    }
    assert_int_equal(wrong, 0);
    json_decref(root);
}

/* ---- reached or not ---- */

/* What the interpreter lacks is no error where no conversation comes to it. */
static void what_is_not_reached_does_not_matter(void **state) {
    (void)state;
    static const char *const lacking[] = {"{{ x | wordwrap }}",
                                          "{{ 'a' is filter }}",
                                          "{% include 'x' %}",
                                          "{% from 'x' import y as z %}",
                                          "{% block b %}{% if 1 %}x{% endif %}{% endblock b %}",
                                          "{% for x in y recursive %}{{ loop(x) }}{% endfor %}",
                                          "{{ f(*x, **y) }}",
                                          "{{ lipsum() }}",
                                          "{% set z = x | groupby('a') | batch(3) %}"};
    chat_message m = {"user", "x", 1};
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
        static const char *const around[] = {"{%% if tools %%}%s{%% endif %%}ok",
                                             "{%% macro m() %%}%s{%% endmacro %%}ok",
                                             "{%% for t in [] %%}%s{%% endfor %%}ok"};
        for (size_t k = 0; k < 4; k++) {
            buf template = {0}, text = {0}, made = {0};
            pgr_error err = {0};
            const char *hole = k < 3 ? strstr(around[k], "%s") : NULL;
            if (hole) {
                for (const char *c = around[k]; c < hole; c += 1 + (*c == '%' && c[1] == '%')) buf_putc(&template, *c);
                buf_puts(&template, lacking[i]);
                for (const char *c = hole + 2; *c; c += 1 + (*c == '%' && c[1] == '%')) buf_putc(&template, *c);
            } else {
                buf_puts(&template, lacking[i]); /* and where it is reached, it is refused by name */
            }
            pgr_status s = render_piece(template.data, template.n, &m, 1, 0, &text, &made, &err);
            if (hole && (s != PGR_OK || strcmp(text.data, "ok") != 0)) fail_msg("%s: %s", template.data, err.message);
            if (!hole && s != PGR_E_UNSUPPORTED) fail_msg("%s: %d %s", template.data, s, err.message);
            buf_free(&template);
            buf_free(&text);
            buf_free(&made);
        }
    }
}

/* ---- system turns ---- */

static void check_talk(const chat_template *c, const tokenizer *t, const chat_message *m, size_t n, const char *want) {
    ids out = {0};
    buf text = {0};
    pgr_error err = {0};
    pgr_status s = chat_render(c, t, m, n, true, &out, &err);
    if (!want) {
        assert_int_equal(s, PGR_E_ARG);
    } else {
        if (s != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(tok_decode(t, out.v, out.n, &text, &err), PGR_OK);
        buf_puts(&text, ""); /* a string even where nothing came */
        assert_string_equal(text.data, want);
    }
    ids_free(&out);
    buf_free(&text);
}

static void system_turns_go_where_there_is_room(void **state) {
    (void)state;
    static const char each[] = "{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}";
    static const struct {
        const char *head, *system, *talk, *default_system;
        bool none;
    } cases[] = {
        {"", "[system: S][user: U]", "[user: U]", NULL, false},
        {"{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}", "[user: S\n\nU]",
         "[user: U]", NULL, true},
        {"{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}", "[user: S\n\nU]",
         "[user: U]", NULL, true},
        {"{% set messages = [] %}", "", "", NULL, false}, /* nothing comes of anything */
        {"{% if messages[0].role != 'system' %}[system: Be kind.]{% endif %}", "[system: S][user: U]",
         "[system: Be kind.][user: U]", "Be kind.", false},
    };
    tokenizer *t = open_tokenizer("llama3");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const chat_message talk[] = {{"system", "S", 1}, {"user", "U", 1}}, odd[] = {{"system", "S", 1}};
        char template[400];
        chat_template c;
        pgr_error err;
        snprintf(template, sizeof template, "%s%s", cases[i].head, each);
        assert_int_equal(chat_recognise(template, strlen(template), "t", t, NULL, NULL, &c, &err), PGR_OK);
        assert_int_equal(c.kind, CHAT_JINJA);
        assert_int_equal(c.no_system, cases[i].none);
        assert_int_equal(c.default_system != NULL, cases[i].default_system != NULL);
        if (c.default_system) assert_string_equal(c.default_system, cases[i].default_system);
        check_talk(&c, t, talk, 2, cases[i].system);
        check_talk(&c, t, talk + 1, 1, cases[i].talk);
        check_talk(&c, t, odd, 1, cases[i].none ? NULL : *cases[i].talk ? "[system: S]" : "");
        chat_free(&c);
    }
    tok_close(t);
}

/* ---- where bytes come from ---- */

static void expect_made(const char *template, const char *content, const char *want_text, const char *want_made) {
    chat_message m = {"user", content, strlen(content)};
    buf text = {0}, made = {0};
    pgr_error err;
    if (render_piece(template, strlen(template), &m, 1, 0, &text, &made, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < made.n; i++) made.data[i] = made.data[i] ? 't' : 'c';
    assert_string_equal(text.data, want_text);
    assert_string_equal(made.data, want_made);
    buf_free(&text);
    buf_free(&made);
}

#define C "messages[0].content"
static void origins_are_kept(void **state) {
    (void)state;
    expect_made("a{{ " C " }}b", "xy", "axyb", "tcct");
    expect_made("{{ '<' + " C " ~ '>' + messages[0].role + bos_token }}", "x", "<x>user<s>", "tctttttttt");
    expect_made("{{ " C " | trim }}{{ " C "[1:-1] }}{{ " C "[0] }}", " x ", "xx ", "ccc");
    expect_made("{{ ('-' ~ " C " ~ '-').strip('-') }}{{ ('a' + " C ") | upper }}", "x", "xAX", "ctc");
    expect_made("{{ " C ".split(',') | join('+') }}", "a,b", "a+b", "ctc");
    expect_made("{{ " C ".replace('a', '<s>') }}{{ 'ab'.replace('a', " C ") }}{{ 'ab'.replace('a', 'c') }}", "xa",
                "x<s>xabcb", "ccccccttt");
    expect_made("{{ ('a' + " C ") | replace('ax', '<') }}", "x", "<", "c"); /* in part a content's */
    expect_made("{{ [" C ", 1] | tojson }}{{ " C " * 2 }}", "\"", "[\"\\\"\", 1]\"\"", "ttcctttttcc");
    expect_made("{% set x %}<{{ " C " }}>{% endset %}{{ x }}{% macro m(a) %}({{ a }}){% endmacro %}{{ m(" C ") }}", "y",
                "<y>(y)", "tcttct");
    expect_made("{% set ns = namespace(a=" C ") %}{{ ns.a }}{{ {'k': " C "}['k'] }}{% for c in " C
                " %}{{ c }};{% endfor %}",
                "yz", "yzyzy;z;", "ccccctct");
    expect_made("{{ " C " | reverse }}{{ " C " | default('d') }}{{ " C " if " C " else 'e' }}{{ " C " | length }}",
                "ab", "baabab2", "cccccct");
}

static size_t control_tokens(const tokenizer *t, const char *template, const char *content) {
    chat_template c;
    chat_message m = {"user", content, strlen(content)};
    ids out = {0};
    pgr_error err;
    size_t n = 0;
    if (chat_recognise(template, strlen(template), "t", t, "<|begin_of_text|>", "<|eot_id|>", &c, &err) != PGR_OK)
        fail_msg("%s", err.message);
    if (chat_render(&c, t, &m, 1, true, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(c.kind, CHAT_JINJA);
    for (size_t i = 0; i < out.n; i++) n += tok_type_of(t, out.v[i]) == TOK_CONTROL;
    ids_free(&out);
    chat_free(&c);
    return n;
}

static void control_tokens_are_the_templates_own(void **state) {
    (void)state;
    tokenizer *t = open_tokenizer("llama3");
    assert_int_equal(control_tokens(t, "<|eot_id|>{{ " C " }}<|eot_id|>", "<|eot_id|>"), 2);
    assert_int_equal(control_tokens(t, "{{ '<|eot' ~ '_id|>' }}", "x"), 1); /* in pieces, but all the template's */
    assert_int_equal(control_tokens(t, "{{ '<|eot' ~ " C " }}", "_id|>"), 0);
    assert_int_equal(control_tokens(t, "{{ " C " }}|eot_id|>", "<"), 0);
    assert_int_equal(control_tokens(t, "{{ " C " }}<|eot_id|>", "<|eot_id|><|eot_id|"), 1);
    assert_int_equal(control_tokens(t, "{{ " C ".replace('a', '<|').replace('b', '|>') }}", "aeot_idb"), 0);
    assert_int_equal(control_tokens(t, "{{ eos_token }}{{ bos_token }}", "x"), 2);
    /* the border hides nothing: the template's token stands, whatever the content ends with */
    assert_int_equal(control_tokens(t, "{{ " C " }}<|end_of_text|>", "<|eot_id|><|end_of_text|><|end_of_text|"), 1);
    tok_close(t);
    /* a control token that only normalised text shows cannot be told from a content's */
    t = open_tokenizer("normalised");
    chat_template c;
    chat_message m = {"user", "</s>", 4};
    ids out = {0};
    pgr_error err;
    assert_int_equal(chat_recognise("x {{ messages[0].content }}</s>", 31, "t", t, NULL, NULL, &c, NULL), PGR_OK);
    assert_int_equal(chat_render(&c, t, &m, 1, true, &out, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "</s>, a control token"));
    chat_free(&c);
    assert_int_equal(chat_recognise("x {{ messages[0].content }}", 27, "t", t, NULL, NULL, &c, NULL), PGR_OK);
    assert_int_equal(chat_render(&c, t, &m, 1, true, &out, &err), PGR_OK);
    for (size_t i = 0; i < out.n; i++) assert_int_not_equal(tok_type_of(t, out.v[i]), TOK_CONTROL);
    ids_free(&out);
    chat_free(&c);
    tok_close(t);
}

/* ---- what is not ours ---- */

static void what_is_outside_is_named(void **state) {
    (void)state;
    static const struct {
        const char *template, *what;
    } cases[] = {
        {"{{ x | wordwrap }}", "the filter wordwrap (line 1)"},
        {"\n{{ x | urlize }}", "the filter urlize (line 2)"},
        {"a\n\n  {% include 'x' %}", "{% include %} (line 3)"},
        {"{% block b %}x{% endblock %}", "{% block %}"},
        {"{% autoescape true %}x{% endautoescape b %}", "{% autoescape %}"},
        {"{% do x %}", "{% do %}"},
        {"{% call messages[0].get('role') %}{% endcall %}", "a call block of anything but a macro"},
        {"{% call range(3) %}{% endcall %}", "a call block of anything but a macro"},
        {"{{ 2 ** 0.5 }}", "a power that is no integer"},
        {"{{ 10 ** 19 }}", "integers beyond 64 bits"},
        {"{{ ('a' | safe) + '<' }}", "the operator + on a safe or escaped string"},
        {"{{ ('a' | e).upper() }}", "a method of a safe or escaped string"},
        {"{{ '%s' % 1 }}", "the operator % on a string"},
        {"{{ messages | map(attribute='role') }}", "a generator as text"},
        {"{{ ['\xf0\x9f\x98\x80'] }}", "a list with characters that Python may print as escapes"},
        {"{{ x is filter }}", "the test filter"},
        {"{{ 'a'.zfill(3) }}", "the method zfill of a string"},
        {"{{ '\xc3\xa9'.isalpha() }}", "the kind of characters beyond ASCII"},
        {"{{ 'a'.zfill }}", "the method zfill of a string without a call"},
        {"{{ messages.append(1) }}", "the method append of a list"},
        {"{{ messages[0].pop('role') }}", "the method pop of a dictionary"},
        {"{{ ''.__class__ }}", "the method __class__ of a string"},
        {"{{ messages[0].items }}", "the method items of a dictionary without a call"},
        {"{{ lipsum() }}", "lipsum"},
        {"{{ open('x') }}", "the function open"},
        {"{{ loop.index }}{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}", NULL},
        {"{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}", "loop.cycle"},
        {"{% for x in [1] recursive %}{% endfor %}", "a recursive loop"},
        {"{{ '\xc3\xa9' | upper }}", "letters beyond ASCII"},
        {"{{ messages | tojson(sort_keys=true) }}", "the argument sort_keys of tojson"},
        {"{% set x = messages | selectattr('role') %}", "a generator that is kept in a variable"},
        {"{% if messages | map(attribute='role') %}{% endif %}", "a generator as a condition"},
        {"{{ '\\N{DASH}' }}", "the escape \\N"},
        {"{{ 0x10 }}", "the number 0x10"},
        {"{{ 99999999999999999999 }}", "the number 99999999999999999999"},
        {"{{ 9223372036854775807 + 1 }}", "integers beyond 64 bits"},
        {"{{ 1_ }}", "the number 1_"},
        {"{{ 1 / 100000 }}", "printed with an exponent"},
        {"{{ 'abc'[::2] }}", "a slice of a string in steps"},
        {"{{ f(*x) }}", "arguments from a list"},
    };
    chat_message m = {"user", "x", 1};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf text = {0}, made = {0};
        pgr_error err = {0};
        const char *s = cases[i].template;
        pgr_status status = render_piece(s, strlen(s), &m, 1, 0, &text, &made, &err);
        if (status != (cases[i].what ? PGR_E_UNSUPPORTED : PGR_E_FORMAT)) fail_msg("%s: %s", s, err.message);
        if (cases[i].what
            && (!strstr(err.message, cases[i].what) || !strstr(err.message, "--chat-template FILE")
                || strncmp(err.message, "t: the chat template uses ", 26) != 0))
            fail_msg("%s: %s", s, err.message);
        buf_free(&text);
        buf_free(&made);
    }
}

/* n times the same in a row, with something before and behind. */
static char *repeated(const char *begin, const char *part, size_t n, const char *end) {
    buf b = {0};
    buf_puts(&b, begin);
    for (size_t i = 0; i < n; i++) buf_puts(&b, part);
    buf_puts(&b, end);
    return buf_take(&b);
}

static void hostile_templates_end(void **state) {
    (void)state;
    char *texts[] = {
        repeated("", "{% for x in range(1000000) %}", 5,
                 "a{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}"),
        repeated("{% set x = 'aaaaaaaaaaaaaaaa' %}", "{% set x = x + x %}", 60, "{{ x }}"),
        repeated("{% set x = ['a'] %}", "{% set x = x + x %}", 60, ""),
        repeated("{{ 'abcdefgh' * 9223372036854775807 }}", "", 0, ""),
        repeated("{{ range(2147483647) | length }}", "", 0, ""),
        repeated("{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{{ x.replace('a', x) }}", "", 0,
                 "{% endfor %}"),
        repeated("{% set x = 'a' * 1000000 %}{% for i in range(1000000) %}{{ 'b' in x }}", "", 0, "{% endfor %}"),
        repeated("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "", 0, ""),
        repeated("{% macro m() %}{% for i in [1, 2, 3] %}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}", "", 0, ""),
        repeated("{{ ", "(", 100000, "1"),
        repeated("{{ ", "-", 100000, "1 }}"),
        repeated("{{ ", "[", 1000, "1 }}"),
        repeated("", "{% if 1 %}", 100000, ""),
        repeated("{{ 1", " + 1", 100000, " }}"),
        repeated("{{ 'a'", ".strip()", 1000, " }}"),
        repeated("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x "
                 "== ns.x }}",
                 "", 0, ""),
        repeated("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | "
                 "tojson }}",
                 "", 0, ""),
        repeated("{{ 1 if 0 else ", "1 if 0 else ", 100000, "1 }}"),
    };
    chat_message m = {"user", "x", 1};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buf text = {0}, made = {0};
        pgr_error err = {0};
        pgr_status status = render_piece(texts[i], strlen(texts[i]), &m, 1, 0, &text, &made, &err);
        if (status != PGR_E_LIMIT && status != PGR_E_UNSUPPORTED && status != PGR_E_FORMAT)
            fail_msg("%zu: %.60s: %d %s", i, texts[i], status, err.message);
        buf_free(&text);
        buf_free(&made);
        mem_free(texts[i]);
    }
}

static void bytes_that_are_no_text(void **state) {
    (void)state;
    static const char *const bad[] = {"a\xff", "{{ '\xc3' }}"};
    jinja *j = NULL;
    pgr_error err;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(jinja_parse(bad[i], strlen(bad[i]), "t", &j, &err), PGR_E_FORMAT);
        assert_string_equal(err.message, "t: the chat template is not UTF-8 text");
    }
    assert_int_equal(jinja_parse("a\0b", 3, "t", &j, &err), PGR_E_FORMAT);
    /* contents may be any bytes: one that is no UTF-8 is one character */
    chat_message m = {"user", "\xff\xc3\xa9\0\xe2\x82", 6};
    buf text = {0}, made = {0};
    static const char template[] = "{{ messages[0].content[1:3] | trim }}|{{ messages[0].content | length }}";
    assert_int_equal(render_piece(template, sizeof template - 1, &m, 1, 0, &text, &made, &err), PGR_OK);
    assert_int_equal(text.n, 5);
    assert_memory_equal(text.data, "\xc3\xa9\0|5", 5);
    buf_free(&text);
    buf_free(&made);
}

/* ---- in a model ---- */

static void templates_that_are_given(void **state) {
    (void)state;
    checkpoint c;
    pgr_error err;
    assert_int_equal(checkpoint_open(GOLDEN("tiny-llama.gguf"), &c, &err), PGR_OK);
    assert_string_equal(c.chat_from, "tokenizer.chat_template");
    assert_int_equal(checkpoint_set_chat(&c, GOLDEN("chat/colon.jinja"), &err), PGR_OK);
    assert_int_equal(c.chat.kind, CHAT_JINJA);
    assert_string_equal(c.chat_from, GOLDEN("chat/colon.jinja"));
    assert_int_equal(checkpoint_set_chat(&c, "chatml", &err), PGR_OK);
    assert_int_equal(c.chat.kind, CHAT_JINJA);
    assert_string_equal(c.chat_from, "chatml");
    assert_int_equal(checkpoint_set_chat(&c, "{{ messages[0].content }}", &err), PGR_OK);
    assert_int_equal(c.chat.kind, CHAT_JINJA);
    assert_int_equal(checkpoint_set_chat(&c, "llama3", &err), PGR_E_UNSUPPORTED); /* no such tokens in that file */
    assert_non_null(strstr(err.message, "<|start_header_id|>, which is not a token"));
    assert_int_equal(checkpoint_set_chat(&c, "chatlm", &err), PGR_E_IO);
    assert_string_equal(err.message, "chatlm: no such file, expected a chat template's file or text, chatml or llama3");
    assert_int_equal(checkpoint_set_chat(&c, "{{ x | }}", &err), PGR_E_UNSUPPORTED);
    assert_int_equal(c.chat.kind, CHAT_JINJA); /* as it was */
    checkpoint_close(&c);
}

/* The tiny model's folder with these files of its own. */
static folder small_folder(const char *tokenizer_config, const char *template) {
    static const char *const names[] = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"};
    folder f = folder_make();
    for (size_t i = 0; i < 4; i++) {
        char target[500], link[500];
        snprintf(target, sizeof target, GOLDEN("hf-tiny-llama/f32/%s"), names[i]);
        snprintf(link, sizeof link, "%s/%s", f.path, names[i]);
        assert_int_equal(symlink(target, link), 0);
    }
    if (tokenizer_config) folder_puts(&f, "tokenizer_config.json", tokenizer_config);
    if (template) folder_puts(&f, "chat_template.jinja", template);
    return f;
}

/* A list of templates without a default one: missed where a conversation is rendered, not before. */
static void a_list_without_default(void **state) {
    (void)state;
    static const char config[] = "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"{{ x }}\"}]}";
    folder f = small_folder(config, NULL);
    checkpoint c;
    pgr_error err;
    chat_message m = {"user", "x", 1};
    ids out = {0};
    char *text = NULL;
    assert_int_equal(checkpoint_open(f.path, &c, &err), PGR_OK);
    assert_int_equal(c.chat.kind, CHAT_NONE);
    assert_int_equal(chat_render(&c.chat, c.tok, &m, 1, true, &out, &err), PGR_E_UNSUPPORTED);
    assert_non_null(
        strstr(err.message, "chat_template: none of 1 is named \"default\"; give one with --chat-template"));
    assert_int_equal(checkpoint_set_chat(&c, "chatml", &err), PGR_OK);
    assert_int_equal(chat_render(&c.chat, c.tok, &m, 1, true, &out, &err), PGR_OK);
    ids_free(&out);
    checkpoint_close(&c);
    assert_int_equal(pgr_inspect(f.path, NULL, false, &text, &err), PGR_OK);
    assert_non_null(strstr(text, "chat template   none: "));
    pgr_free(text);
    folder_remove(&f);
}

/* A folder's templates see what tokenizer_config.json says, else the texts of the ids, as a GGUF file's do. */
static void templates_see_the_files_tokens(void **state) {
    (void)state;
    static const struct {
        const char *config, *want;
    } cases[] = {
        {"{\"bos_token\":null,\"eos_token\":\"<|endoftext|>\",\"model_max_length\":1000000000000000019884624838656}",
         "[]-[<|endoftext|>]"},
        {"{\"bos_token\":{\"content\":\"<|im_end|>\"}}", "[<|im_end|>]-[]"},
        {NULL, "[<|im_start|>]-[<|im_end|>]"},
    };
    for (size_t i = 0; i < 3; i++) {
        folder f = small_folder(cases[i].config, "[{{ bos_token }}]-[{{ eos_token }}]");
        checkpoint c;
        pgr_error err;
        chat_message m = {"user", "x", 1};
        buf text = {0};
        ids out = {0};
        assert_int_equal(checkpoint_open(f.path, &c, &err), PGR_OK);
        assert_int_equal(chat_render(&c.chat, c.tok, &m, 1, true, &out, &err), PGR_OK);
        assert_int_equal(tok_decode(c.tok, out.v, out.n, &text, &err), PGR_OK);
        assert_string_equal(text.data, cases[i].want);
        buf_free(&text);
        ids_free(&out);
        checkpoint_close(&c);
        folder_remove(&f);
    }
}

static void unusable_templates_fail_when_rendered(void **state) {
    (void)state;
    folder f = small_folder("{}", "\n{% do x %}");
    checkpoint c;
    pgr_error err;
    chat_message m = {"user", "x", 1};
    ids out = {0};
    char *text = NULL;
    assert_int_equal(checkpoint_open(f.path, &c, &err), PGR_OK);
    assert_int_equal(chat_render(&c.chat, c.tok, &m, 1, true, &out, &err), PGR_E_UNSUPPORTED);
    assert_int_equal(strncmp(err.message, f.path, strlen(f.path)), 0);
    assert_string_equal(err.message + strlen(f.path),
                        "/chat_template.jinja: the chat template uses {% do %} (line 2), "
                        "which is not supported; give another one with --chat-template FILE");
    checkpoint_close(&c);
    assert_int_equal(pgr_inspect(f.path, NULL, false, &text, &err), PGR_OK);
    assert_non_null(strstr(text, "chat template   none: /tmp/"));
    assert_non_null(strstr(text, "uses {% do %} (line 2), which is not supported"));
    pgr_free(text);
    assert_int_equal(pgr_inspect(f.path, NULL, true, &text, &err), PGR_OK);
    assert_non_null(strstr(text, "\"why_not\":\"/tmp/"));
    pgr_free(text);
    folder_remove(&f);
}

static void inspect_says_which(void **state) {
    (void)state;
    pgr_model_options o = pgr_model_options_default();
    char *text = NULL;
    pgr_error err;
    assert_int_equal(pgr_inspect(GOLDEN("tiny-llama.gguf"), NULL, false, &text, &err), PGR_OK);
    assert_non_null(strstr(text, "chat template   interpreted (tokenizer.chat_template), default system turn: You "
                                 "weigh answers for one reader"));
    pgr_free(text);
    o.chat_template = GOLDEN("chat/colon.jinja");
    assert_int_equal(pgr_inspect(GOLDEN("tiny-llama.gguf"), &o, false, &text, &err), PGR_OK);
    assert_non_null(strstr(text, "chat template   interpreted (" GOLDEN("chat/colon.jinja") ")"));
    pgr_free(text);
    assert_int_equal(pgr_inspect(GOLDEN("tiny-llama.gguf"), &o, true, &text, &err), PGR_OK);
    assert_non_null(strstr(text, "\"kind\":\"interpreted\",\"from\":"));
    pgr_free(text);
    o.chat_template = "{{ x | }}";
    assert_int_equal(pgr_inspect(GOLDEN("tiny-llama.gguf"), &o, true, &text, &err), PGR_E_UNSUPPORTED);
}

/* ---- memory ---- */

static struct {
    tokenizer *t;
    char *text;
    size_t n;
} shared;

static bool recognise_and_render(void) {
    static const chat_message m[] = {
        {"system", " s ", 3}, {"user", "a", 1}, {"assistant", "b</think>c", 10}, {"user", "d", 1}};
    chat_template c;
    ids out = {0};
    if (chat_recognise(shared.text, shared.n, "t", shared.t, "<s>", "</s>", &c, NULL) != PGR_OK) return false;
    bool ok = chat_render(&c, shared.t, m, 4, true, &out, NULL) == PGR_OK;
    ids_free(&out);
    chat_free(&c);
    return ok;
}

static void failing_allocations(void **state) {
    (void)state;
    static const char *const names[] = {"inst", "macro", "colon"};
    shared.t = open_tokenizer("llama2");
    for (size_t i = 0; i < 3; i++) {
        char path[400];
        buf text = {0};
        snprintf(path, sizeof path, GOLDEN("chat/%s.jinja"), names[i]);
        assert_int_equal(file_read(path, &text, NULL), PGR_OK);
        shared.text = text.data;
        shared.n = text.n;
        assert_true(fail_each_allocation(recognise_and_render) > 10);
        buf_free(&text);
    }
    tok_close(shared.t);
}

int main(void) {
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_pieces),
        cmocka_unit_test(golden_templates),
        cmocka_unit_test(what_is_not_reached_does_not_matter),
        cmocka_unit_test(system_turns_go_where_there_is_room),
        cmocka_unit_test(origins_are_kept),
        cmocka_unit_test(control_tokens_are_the_templates_own),
        cmocka_unit_test(what_is_outside_is_named),
        cmocka_unit_test(hostile_templates_end),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(templates_that_are_given),
        cmocka_unit_test(templates_see_the_files_tokens),
        cmocka_unit_test(a_list_without_default),
        cmocka_unit_test(unusable_templates_fail_when_rendered),
        cmocka_unit_test(inspect_says_which),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("chat_jinja", tests, NULL, NULL);
}
