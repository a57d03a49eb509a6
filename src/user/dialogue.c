/* dialogue.c - dialogues from JSON and from transcripts, and the pair of two that part ways. */
#include "user/dialogue.h"

#include <string.h>

#include "base/text.h"

/* ---- transcripts ------------------------------------------------------------------------------------------------- */

static const char HUMAN[] = "Human:", ASSISTANT[] = "Assistant:";
static const char BLANKS[] = " \t\r\n\v\f";

/* The next "Human:" or "Assistant:" that begins a paragraph, or the text; NULL: none. */
static const char *next_speaker(const char *text, const char *from) {
    for (const char *c = from; *c; c++) {
        if (!text_starts(c, HUMAN) && !text_starts(c, ASSISTANT)) continue;
        if (c == text || (c - text >= 2 && c[-1] == '\n' && c[-2] == '\n')) return c;
    }
    return NULL;
}

bool dialogue_is_transcript(const char *text) {
    text += strspn(text, BLANKS);
    return text_starts(text, HUMAN) && strstr(text, "\n\nAssistant:") != NULL;
}

static pgr_status copy_trimmed(const field_reader *in, const char *from, const char *end, const char **out) {
    from += strspn(from, BLANKS);
    while (end > from && strchr(BLANKS, end[-1])) end--;
    *out = arena_strndup(in->a, from, end > from ? (size_t)(end - from) : 0);
    return *out ? PGR_OK : fail_mem(in->err);
}

/* The last turn of a prompt is the assistant's, still empty: it is dropped. */
static pgr_status read_transcript(const field_reader *in, const char *text, dialogue *out) {
    text += strspn(text, BLANKS);
    size_t n = 0;
    for (const char *c = text; (c = next_speaker(text, c)); c++) n++;
    *out = (dialogue){.turns = arena_array(in->a, n, sizeof *out->turns)};
    if (!out->turns) return fail_mem(in->err);
    for (const char *c = next_speaker(text, text), *next; c; c = next) {
        bool human = text_starts(c, HUMAN);
        const char *said = c + strlen(human ? HUMAN : ASSISTANT);
        next = next_speaker(text, said);
        turn *t = &out->turns[out->n++];
        t->role = human ? "user" : "assistant";
        PGR_TRY(copy_trimmed(in, said, next ? next : said + strlen(said), &t->text));
    }
    if (out->n && !out->turns[out->n - 1].text[0]) out->n--;
    return PGR_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static pgr_status one_turn(const field_reader *in, const char *text, const char *role, dialogue *out) {
    *out = (dialogue){.turns = arena_array(in->a, 1, sizeof *out->turns), .n = 1};
    if (!out->turns) return fail_mem(in->err);
    out->turns[0] = (turn){.role = role, .text = text};
    return PGR_OK;
}

pgr_status dialogue_of_text(const field_reader *in, const char *text, const char *role, dialogue *out) {
    return dialogue_is_transcript(text) ? read_transcript(in, text, out) : one_turn(in, text, role, out);
}

pgr_status dialogue_of_answer(const field_reader *in, const char *text, dialogue *out) {
    return one_turn(in, text, "assistant", out);
}

pgr_status dialogue_read(const field_reader *in, const json_t *v, const field_path *p, const char *role,
                         dialogue *out) {
    const char *text = NULL;
    *out = (dialogue){0};
    if (!v || json_is_null(v)) return PGR_OK;
    if (json_is_array(v)) return field_dialogue(in, v, p, true, &out->turns, &out->n);
    if (!json_is_string(v)) return field_fail(in, p, json_kind(v), "a string or a list of turns");
    PGR_TRY(field_string(in, v, p, &text));
    return dialogue_of_text(in, text, role, out);
}

/* ---- two that part ways ------------------------------------------------------------------------------------------ */

static bool same_turn(const turn *a, const turn *b) {
    return strcmp(a->role, b->role) == 0 && strcmp(a->text, b->text) == 0;
}

static size_t n_common(const dialogue *a, const dialogue *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && same_turn(&a->turns[n], &b->turns[n])) n++;
    return n;
}

/* asked, then d without asked at its beginning. */
static pgr_status join(const field_reader *in, const dialogue *asked, const dialogue *d, dialogue *out) {
    size_t skip = n_common(asked, d) == asked->n ? asked->n : 0;
    *out = (dialogue){.turns = arena_array(in->a, asked->n + d->n + 1, sizeof *out->turns)};
    if (!out->turns) return fail_mem(in->err);
    for (size_t i = 0; i < asked->n; i++) out->turns[out->n++] = asked->turns[i];
    for (size_t i = skip; i < d->n; i++) out->turns[out->n++] = d->turns[i];
    return PGR_OK;
}

/* The turns behind the first n as one text; "" where there are none, or the last of them is no answer. */
static pgr_status text_behind(const field_reader *in, const dialogue *d, size_t n, const char **out) {
    *out = "";
    if (d->n == n || strcmp(d->turns[d->n - 1].role, "assistant") != 0) return PGR_OK;
    *out = d->turns[n].text;
    if (d->n == n + 1) return PGR_OK;
    buf text = {0};
    buf_puts(&text, d->turns[n].text);
    for (size_t i = n + 1; i < d->n; i++) {
        const turn *t = &d->turns[i];
        buf_printf(&text, "\n\n%c%s: %s", t->role[0] - 'a' + 'A', t->role + 1, t->text);
    }
    pgr_status status = text.failed ? fail_mem(in->err) : field_copy(in, text.data, out);
    buf_free(&text);
    return status;
}

static bool has_question(const dialogue *d) {
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->turns[i].role, "user") == 0) return true;
    return false;
}

pgr_status dialogue_pair(const field_reader *in, record_list *list, const dialogue *asked, const dialogue *chosen,
                         const dialogue *rejected, pair_record *p) {
    dialogue a, b;
    if (chosen->n == 0 || rejected->n == 0) {
        rules_leave(list, PGR_LEFT_EMPTY);
        return PGR_OK;
    }
    PGR_TRY(join(in, asked, chosen, &a));
    PGR_TRY(join(in, asked, rejected, &b));
    size_t n = n_common(&a, &b);
    while (n > 0 && strcmp(a.turns[n - 1].role, "user") != 0) n--;
    if (n == 0) {
        rules_leave(list, has_question(&a) ? PGR_LEFT_APART : PGR_LEFT_UNASKED);
        return PGR_OK;
    }
    p->pair.context = a.turns;
    p->pair.n_context = n;
    PGR_TRY(text_behind(in, &a, n, &p->pair.chosen));
    PGR_TRY(text_behind(in, &b, n, &p->pair.rejected));
    return rules_pair(in, list, p, NULL);
}
