/* forms_chosen.c - rows with a chosen and a rejected side: TRL's pairs, explicit (`prompt`) and implicit (a common
 * beginning), UltraFeedback binarized, HH-RLHF's transcripts, RewardBench, and RewardBench 2, whose sides are lists
 * of responses. */
#include <string.h>

#include "user/dialogue.h"
#include "user/forms.h"

typedef struct side { /* responses that are equally good */
    dialogue *v;      /* (n) */
    size_t n;
    bool plain; /* one of them is a text that does not tell what was asked */
} side;

static pgr_status read_one(const field_reader *in, const json_t *v, const field_path *p, side *out) {
    PGR_TRY(dialogue_read(in, v, p, "assistant", &out->v[out->n++]));
    const char *text = json_string_value(v);
    out->plain = out->plain || (text && !dialogue_is_transcript(text));
    return PGR_OK;
}

/* {"role", "content"}: what the assistant says. */
static pgr_status read_object(const field_reader *in, json_t *v, const field_path *p, side *out) {
    const char *text = NULL;
    PGR_TRY(form_said(in, v, p, &text));
    out->plain = true;
    return dialogue_of_answer(in, text, &out->v[out->n++]);
}

/* Texts in a list are responses, turns in a list one dialogue. */
static pgr_status read_side(const field_reader *in, const json_t *row, const char *key, side *out) {
    json_t *v = json_object_get(row, key);
    field_path p = field_key(&FIELD_TOP, key);
    bool several = json_is_array(v) && json_is_string(json_array_get(v, 0));
    size_t n = several ? json_array_size(v) : 1;
    if (n > FORM_RESPONSES_MAX)
        return fail(in->err, PGR_E_LIMIT, "%s: %s: found %zu responses, expected at most %d", in->file, key, n,
                    FORM_RESPONSES_MAX);
    *out = (side){.v = arena_array(in->a, n, sizeof *out->v)};
    if (!out->v) return fail_mem(in->err);
    if (json_is_object(v)) return read_object(in, v, &p, out);
    if (!several) return read_one(in, v, &p, out);
    for (size_t i = 0; i < n; i++) {
        field_path item = field_item(&p, i);
        if (!json_is_string(json_array_get(v, i)))
            return field_fail(in, &item, json_kind(json_array_get(v, i)), "a string as in the beginning of the list");
        PGR_TRY(read_one(in, json_array_get(v, i), &item, out));
    }
    return PGR_OK;
}

/* Scores under the names of either form. */
static pgr_status read_scores(const field_reader *in, const json_t *row, pair_record *p) {
    PGR_TRY(field_optional_number(in, row, "chosen_score", &p->chosen_score));
    PGR_TRY(field_optional_number(in, row, "rejected_score", &p->rejected_score));
    PGR_TRY(field_optional_number(in, row, "score_chosen", &p->chosen_score));
    return field_optional_number(in, row, "score_rejected", &p->rejected_score);
}

static pgr_status name_group(const field_reader *in, const dialogue *asked, const side *chosen, const side *rejected,
                             pair_record *p) {
    const char *texts[2 * FORM_RESPONSES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < chosen->n; i++)
        if (chosen->v[i].n) texts[n++] = chosen->v[i].turns[chosen->v[i].n - 1].text;
    for (size_t i = 0; i < rejected->n; i++)
        if (rejected->v[i].n) texts[n++] = rejected->v[i].turns[rejected->v[i].n - 1].text;
    if (chosen->n * rejected->n < 2) return PGR_OK;
    return form_group(in, asked->n ? asked->turns[asked->n - 1].text : "", texts, n, p);
}

static pgr_status read_about(const field_reader *in, const json_t *v, const record_list *out, pair_record *p) {
    static const char *const ids[] = {"conversation_id", "prompt_id", "id", NULL};
    field_path subset = field_key(&FIELD_TOP, "subset");
    PGR_TRY(form_begin(in, v, ids, p));
    PGR_TRY(rules_user(in, out, v, NULL, NULL, &p->user_id));
    const json_t *subsets = field_given(v, "subset");
    if (subsets) PGR_TRY(field_strings(in, subsets, &subset, &p->subsets, &p->n_subset));
    return read_scores(in, v, p);
}

pgr_status form_chosen_read(const field_reader *in, json_t *v, record_list *out) {
    pair_record p;
    dialogue asked;
    side chosen, rejected;
    field_path prompt = field_key(&FIELD_TOP, "prompt");
    PGR_TRY(read_about(in, v, out, &p));
    PGR_TRY(dialogue_read(in, json_object_get(v, "prompt"), &prompt, "user", &asked));
    PGR_TRY(read_side(in, v, "chosen", &chosen));
    PGR_TRY(read_side(in, v, "rejected", &rejected));
    if (asked.n == 0 && (chosen.plain || rejected.plain))
        return field_fail(in, &prompt, "nothing",
                          "what was asked (or dialogues that tell it in `chosen` and `rejected`)");
    if (p.chosen_score == p.rejected_score) {
        rules_leave(out, PGR_LEFT_TIE);
        return PGR_OK;
    }
    PGR_TRY(name_group(in, &asked, &chosen, &rejected, &p));
    for (size_t i = 0; i < chosen.n; i++)
        for (size_t k = 0; k < rejected.n; k++)
            PGR_TRY(dialogue_pair(in, out, &asked, &chosen.v[i], &rejected.v[k], &p));
    return PGR_OK;
}
