/* turns.c - the marks of chat templates; see turns.h. */
#include "serve/turns.h"

#include <string.h>

#include "base/mem.h"

typedef struct mark {
    const char *text;
    const char *role; /* NULL: a turn ends */
} mark;

enum { MARKS_MOST = 8 };

static const mark FAMILIES[][MARKS_MOST] = {
    {{"<|im_start|>system\n", "system"},
     {"<|im_start|>user\n", "user"},
     {"<|im_start|>assistant\n", "assistant"},
     {"<|im_end|>", NULL},
     {"<|endoftext|>", NULL}},
    {{"<|start_header_id|>system<|end_header_id|>\n\n", "system"},
     {"<|start_header_id|>user<|end_header_id|>\n\n", "user"},
     {"<|start_header_id|>assistant<|end_header_id|>\n\n", "assistant"},
     {"<|eot_id|>", NULL},
     {"<|end_of_text|>", NULL},
     {"<|begin_of_text|>", NULL}},
    {{"<start_of_turn>user\n", "user"},
     {"<start_of_turn>model\n", "assistant"},
     {"<end_of_turn>", NULL},
     {"<bos>", NULL},
     {"<eos>", NULL}},
    {{"[INST]", "user"}, {"[/INST]", "assistant"}, {"</s>", NULL}, {"<s>", NULL}},
    {{"<|system|>", "system"},
     {"<|user|>", "user"},
     {"<|assistant|>", "assistant"},
     {"<|end|>", NULL},
     {"</s>", NULL},
     {"<|endoftext|>", NULL}},
    {{"<\xef\xbd\x9cUser\xef\xbd\x9c>", "user"},
     {"<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c>",
      "assistant"},
     {"<\xef\xbd\x9c"
      "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
      NULL},
     {"<\xef\xbd\x9c"
      "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
      NULL}},
};
enum { N_FAMILY = sizeof FAMILIES / sizeof *FAMILIES };

static bool begins_with(const char *s, const char *end, const char *mark) {
    size_t n = strlen(mark);
    return (size_t)(end - s) >= n && memcmp(s, mark, n) == 0;
}

/* The first mark at or behind s, *which it is; `end`: there is none. */
static const char *next_mark(const mark *family, const char *s, const char *end, const mark **which) {
    for (; s < end; s++) {
        if (*s != '<' && *s != '[') continue;
        for (const mark *m = family; m < family + MARKS_MOST && m->text; m++) {
            if (!begins_with(s, end, m->text)) continue;
            *which = m;
            return s;
        }
    }
    return end;
}

/* Whose mark of a turn's beginning comes first; NULL: there is none. */
static const mark *family_of(const char *s, const char *end) {
    const mark *found = NULL;
    const char *first = end;
    for (size_t i = 0; i < N_FAMILY; i++) {
        const mark *which = NULL;
        const char *at = next_mark(FAMILIES[i], s, first, &which);
        while (at < first && !which->role) at = next_mark(FAMILIES[i], at + 1, first, &which);
        if (at >= first) continue;
        first = at;
        found = FAMILIES[i];
    }
    return found;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void trim(const char **s, const char **end) {
    while (*s < *end && is_blank(**s)) ++*s;
    while (*end > *s && is_blank((*end)[-1])) --*end;
}

static pgr_status add_turn(json_t *turns, const char *role, const char *s, const char *end, pgr_error *err) {
    trim(&s, &end);
    if (s == end) return PGR_OK;
    json_t *turn = json_pack("{s:s,s:s%}", "role", role, "content", s, (size_t)(end - s));
    return json_array_append_new(turns, turn) == 0 ? PGR_OK : fail_mem(err);
}

pgr_status turns_read(const char *text, size_t n, json_t *turns, const char **answer, size_t *n_answer,
                      pgr_error *err) {
    const char *end = text + n, *role = NULL, *begun = text;
    const mark *family = family_of(text, end), *which = NULL;
    *answer = end;
    *n_answer = 0;
    if (!family) return add_turn(turns, "user", text, end, err);
    for (const char *at = text; at < end; at = begun) {
        at = next_mark(family, at, end, &which);
        bool last = at == end;
        if (last && role && strcmp(role, "assistant") == 0) {
            *answer = begun;
            *n_answer = (size_t)(end - begun);
            turns_strip(answer, n_answer);
            return PGR_OK;
        }
        if (role) PGR_TRY(add_turn(turns, role, begun, at, err));
        if (last) return PGR_OK;
        role = which->role;
        begun = at + strlen(which->text);
    }
    return PGR_OK;
}

/* The mark that the text ends with; 0: none. */
static size_t ending(const char *s, const char *end) {
    for (size_t i = 0; i < N_FAMILY; i++)
        for (const mark *m = FAMILIES[i]; m < FAMILIES[i] + MARKS_MOST && m->text; m++) {
            size_t n = strlen(m->text);
            if (!m->role && (size_t)(end - s) >= n && memcmp(end - n, m->text, n) == 0) return n;
        }
    return 0;
}

void turns_strip(const char **text, size_t *n) {
    const char *s = *text, *end = s + *n;
    size_t cut;
    do {
        trim(&s, &end);
        cut = ending(s, end);
        end -= cut;
    } while (cut);
    *text = s;
    *n = (size_t)(end - s);
}

enum { OVERLAP_LEAST = 16 }; /* bytes of a prompt that are no chance */

/* The longest end of the prompt that the query begins with, by the borders of the query's beginnings (Knuth, Morris
 * and Pratt). */
static size_t overlap(const char *prompt, size_t n_prompt, const char *query, size_t n_query, size_t *border) {
    size_t k = 0;
    border[0] = border[1] = 0;
    for (size_t i = 1; i < n_query; i++) {
        while (k && query[k] != query[i]) k = border[k];
        k += query[k] == query[i];
        border[i + 1] = k;
    }
    k = 0;
    for (size_t i = 0; i < n_prompt; i++) {
        while (k && (k == n_query || query[k] != prompt[i])) k = border[k];
        k += query[k] == prompt[i];
    }
    return k;
}

pgr_status turns_behind(const char *prompt, size_t n_prompt, const char *query, size_t n_query, size_t *out,
                        pgr_error *err) {
    *out = 0;
    if (n_query >= n_prompt && memcmp(query, prompt, n_prompt) == 0) {
        *out = n_prompt;
        return PGR_OK;
    }
    if (n_query == 0) return PGR_OK;
    size_t *border = mem_array(n_query + 2, sizeof *border);
    if (!border) return fail_mem(err);
    size_t k = overlap(prompt, n_prompt, query, n_query, border);
    mem_free(border);
    if (k >= OVERLAP_LEAST) *out = k;
    return PGR_OK;
}
