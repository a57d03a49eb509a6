/* fields_record.c - a PersonalRewardBench record (docs/formats.md, "PersonalRewardBench") as a pair. */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "user/fields.h"

/* The columns of PersonalRewardBench and of data sets written in its form. Those that say nothing about the pair are
 * read over; so are columns that begin with one of RECORD_PREFIXES. */
static const char *const RECORD_KEYS[] = {"user_id",
                                          "conversation_id",
                                          "context",
                                          "chosen",
                                          "rejected",
                                          "split",
                                          "chosen_score",
                                          "rejected_score",
                                          "turns",
                                          "type",
                                          "flip",
                                          "dataset",
                                          "category",
                                          "subset",
                                          "chosen_model",
                                          "rejected_model",
                                          "choice_attributes",
                                          "formatted_choice_attributes",
                                          "query_reasoning",
                                          "personalizable_query",
                                          "response_reasoning",
                                          "personalizable_responses",
                                          "agreement",
                                          "truth", /* ours, of synthetic users: pgr_synth */
                                          "prototype",
                                          NULL};
static const char *const RECORD_PREFIXES[] = {"prediction_", "reasoning_", NULL};
static const char *const SIDE_KEYS[] = {"role", "content", NULL};

static bool is_ignored_column(const char *key, const char *const *prefixes) {
    for (size_t i = 0; prefixes[i]; i++)
        if (text_starts(key, prefixes[i])) return true;
    return false;
}

pgr_status field_columns(const field_reader *in, json_t *top, const char *const *known, const char *const *prefixes) {
    json_t *rest = json_object(); /* keys of the record that are not read over */
    if (!rest) return fail_mem(in->err);
    pgr_status status = PGR_OK;
    for (void *it = json_object_iter(top); it && status == PGR_OK; it = json_object_iter_next(top, it)) {
        const char *key = json_object_iter_key(it);
        if (!is_ignored_column(key, prefixes) && json_object_set(rest, key, json_object_iter_value(it)) != 0)
            status = fail_mem(in->err);
    }
    if (status == PGR_OK) status = field_keys(in, rest, known, &FIELD_TOP);
    json_decref(rest);
    return status;
}

/* {"role": .., "content": "text"}, or the text alone. */
static pgr_status read_side(const field_reader *in, const json_t *top, const char *key, const char **out) {
    const json_t *v = json_object_get(top, key);
    field_path p = field_key(&FIELD_TOP, key), content = field_key(&p, "content");
    if (json_is_string(v)) return field_text(in, v, &p, out);
    if (!json_is_object(v)) return field_fail(in, &p, json_kind(v), "an object with `content`, or a string");
    PGR_TRY(field_keys(in, v, SIDE_KEYS, &p));
    return field_text(in, json_object_get(v, "content"), &content, out);
}

/* The first of the keys that is given, as text or lines. */
static pgr_status read_attributes(const field_reader *in, const json_t *top, const char **out) {
    static const char *const keys[] = {"choice_attributes", "formatted_choice_attributes"};
    for (size_t i = 0; i < 2; i++) {
        field_path p = field_key(&FIELD_TOP, keys[i]);
        if (field_given(top, keys[i])) return field_lines(in, field_given(top, keys[i]), &p, out);
    }
    return PGR_OK;
}

pgr_status field_pair_record(const field_reader *in, json_t *top, pair_record *out) {
    *out = (pair_record){.user_id = "", .conversation_id = "", .split = "", .type = "", .choice_attributes = ""};
    out->chosen_score = out->rejected_score = NAN;
    PGR_TRY(field_columns(in, top, RECORD_KEYS, RECORD_PREFIXES));
    PGR_TRY(field_optional_id(in, top, "user_id", &out->user_id));
    PGR_TRY(field_optional_id(in, top, "conversation_id", &out->conversation_id));
    field_path context = field_key(&FIELD_TOP, "context"), subset = field_key(&FIELD_TOP, "subset");
    PGR_TRY(field_turns(in, json_object_get(top, "context"), &context, &out->pair.context, &out->pair.n_context));
    PGR_TRY(read_side(in, top, "chosen", &out->pair.chosen));
    PGR_TRY(read_side(in, top, "rejected", &out->pair.rejected));
    PGR_TRY(field_optional_number(in, top, "chosen_score", &out->chosen_score));
    PGR_TRY(field_optional_number(in, top, "rejected_score", &out->rejected_score));
    PGR_TRY(field_optional_string(in, top, "split", &FIELD_TOP, &out->split));
    PGR_TRY(field_optional_string(in, top, "type", &FIELD_TOP, &out->type));
    const json_t *subsets = field_given(top, "subset");
    if (subsets) PGR_TRY(field_strings(in, subsets, &subset, &out->subsets, &out->n_subset));
    return read_attributes(in, top, &out->choice_attributes);
}
