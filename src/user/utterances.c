/* utterances.c - PRISM's utterances.jsonl (docs/formats.md, "PRISM"): one response per line. Those of one interaction
 * stand together, a conversation's interactions in the order of their turns; so the pairs are those of
 * conversations.jsonl, without its choice attributes. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "user/prism.h"

enum { RESPONSES_MAX = 64, LINE_COST = 128 }; /* PRISM has at most 4; what a line costs beside its texts */
#define CONVERSATION_MAX ((size_t)16 << 20)   /* bytes held of one conversation, as of a record: stream.h */

static const char *const KEYS[] = {"utterance_id",
                                   "interaction_id",
                                   "conversation_id",
                                   "user_id",
                                   "turn",
                                   "within_turn_id",
                                   "conversation_type",
                                   "user_prompt",
                                   "model_response",
                                   "model_name",
                                   "model_provider",
                                   "score",
                                   "if_chosen",
                                   "included_in_balanced_subset",
                                   NULL};
static const char *const PREFIXES[] = {"timing_", NULL};

typedef struct utterance { /* a line, in its reader's arena */
    const char *interaction, *conversation, *user, *type, *prompt;
    int64_t turn;
    prism_response response;
} utterance;

struct utterances {
    arena now, before; /* of the conversation at hand; of the last one, whose pairs may still be on their way out */
    size_t held;       /* bytes of the conversation at hand */
    prism_dialogue dialogue;
    size_t cap;              /* turns that it has room for */
    const char *interaction; /* the last one; NULL before the first line */
    const char *prompt;
    int64_t turn;
    bool open; /* its pairs have not been given yet */
    prism_response responses[RESPONSES_MAX];
    size_t n, n_chosen;
};

utterances *utterances_new(void) {
    return mem_zero(1, sizeof(utterances));
}

void utterances_free(utterances *u) {
    if (!u) return;
    arena_free(&u->now);
    arena_free(&u->before);
    mem_free(u);
}

/* ---- a line ------------------------------------------------------------------------------------------------------ */

static pgr_status want_id(const field_reader *in, const json_t *v, const char *key, const char *what,
                          const char **out) {
    field_path p = field_key(&FIELD_TOP, key);
    *out = "";
    PGR_TRY(field_optional_id(in, v, key, out));
    return (*out)[0] ? PGR_OK : field_fail(in, &p, "nothing", what);
}

static pgr_status read_line(const field_reader *in, json_t *v, utterance *l) {
    field_path turn_path = field_key(&FIELD_TOP, "turn");
    PGR_TRY(field_columns(in, v, KEYS, PREFIXES));
    PGR_TRY(prism_user(in, v, &l->user));
    PGR_TRY(want_id(in, v, "conversation_id", "the conversation's name", &l->conversation));
    PGR_TRY(want_id(in, v, "interaction_id", "the interaction's name", &l->interaction));
    PGR_TRY(json_want_integer(json_object_get(v, "turn"), field_at(in, &turn_path), 0, 1 << 20, &l->turn, in->err));
    l->type = "";
    PGR_TRY(field_optional_string(in, v, "conversation_type", &FIELD_TOP, &l->type));
    PGR_TRY(prism_text(in, v, "user_prompt", &FIELD_TOP, &l->prompt));
    PGR_TRY(prism_text(in, v, "model_response", &FIELD_TOP, &l->response.text));
    l->response.score = NAN;
    PGR_TRY(field_optional_number(in, v, "score", &l->response.score));
    return field_flag(in, v, "if_chosen", &FIELD_TOP, &l->response.chosen);
}

/* ---- its place --------------------------------------------------------------------------------------------------- */

static bool continues_interaction(const utterances *u, const utterance *l) {
    return u->open && strcmp(u->interaction, l->interaction) == 0;
}

static bool continues_conversation(const utterances *u, const utterance *l) {
    return u->interaction && strcmp(u->dialogue.about.conversation_id, l->conversation) == 0;
}

static pgr_status fail_turn(const field_reader *in, int64_t found, int64_t expected, const char *why) {
    field_path p = field_key(&FIELD_TOP, "turn");
    char was[40], want[120];
    snprintf(was, sizeof was, "%" PRId64, found);
    snprintf(want, sizeof want, "%" PRId64 "%s", expected, why);
    return field_fail(in, &p, was, want);
}

static pgr_status check_interaction(const utterances *u, const field_reader *in, const utterance *l) {
    field_path conversation = field_key(&FIELD_TOP, "conversation_id"), prompt = field_key(&FIELD_TOP, "user_prompt");
    if (!continues_conversation(u, l))
        return field_fail(in, &conversation, "another conversation", "that of the interaction's first line");
    if (l->turn != u->turn) return fail_turn(in, l->turn, u->turn, " as in the interaction's first line");
    if (strcmp(l->prompt, u->prompt) != 0)
        return field_fail(in, &prompt, "another prompt", "that of the interaction's first line");
    if (u->n == RESPONSES_MAX)
        return fail(in->err, PGR_E_LIMIT, "%s: found more than %d responses in an interaction, expected at most %d",
                    in->file, RESPONSES_MAX, RESPONSES_MAX);
    return PGR_OK;
}

/* May this line stand here? */
static pgr_status check_place(const utterances *u, const field_reader *in, const utterance *l) {
    field_path user = field_key(&FIELD_TOP, "user_id"), turn_path = field_key(&FIELD_TOP, "turn");
    if (continues_interaction(u, l)) PGR_TRY(check_interaction(u, in, l));
    if (!continues_conversation(u, l))
        return l->turn == 0 ? PGR_OK
                            : fail_turn(in, l->turn, 0, ", since the lines before have no turn of this conversation");
    if (strcmp(l->user, u->dialogue.about.user_id) != 0)
        return field_fail(in, &user, "another user", "that of the conversation's first line");
    if (strlen(l->prompt) + strlen(l->response.text) + LINE_COST + u->held > CONVERSATION_MAX)
        return fail(in->err, PGR_E_LIMIT, "%s: found a conversation of more than %zu bytes, expected at most that",
                    in->file, CONVERSATION_MAX);
    if (continues_interaction(u, l)) return PGR_OK;
    if (l->turn != u->turn + 1) return fail_turn(in, l->turn, u->turn + 1, ", the conversation's next turn");
    return u->n_chosen == 1
               ? PGR_OK
               : field_fail(in, &turn_path, "a later turn", "one chosen response in the turn before, or no later turn");
}

/* ---- the interaction and the conversation at hand ---------------------------------------------------------------- */

static pgr_status keep_text(utterances *u, const field_reader *in, const char **text) {
    *text = arena_strdup(&u->now, *text);
    return *text ? PGR_OK : fail_mem(in->err);
}

static pgr_status begin_conversation(utterances *u, const field_reader *in, const utterance *l) {
    arena_free(&u->before);
    u->before = u->now;
    u->now = (arena){0};
    u->held = u->cap = 0;
    u->interaction = NULL;
    u->dialogue = (prism_dialogue){.about = pair_record_none()};
    u->dialogue.about.user_id = l->user;
    u->dialogue.about.conversation_id = l->conversation;
    u->dialogue.about.type = l->type;
    PGR_TRY(keep_text(u, in, &u->dialogue.about.user_id));
    PGR_TRY(keep_text(u, in, &u->dialogue.about.conversation_id));
    return keep_text(u, in, &u->dialogue.about.type);
}

/* Room for the two turns of an interaction; pairs' contexts that were handed out stay where they are. */
static pgr_status want_room(utterances *u, const field_reader *in) {
    if (u->dialogue.n + 2 <= u->cap) return PGR_OK;
    size_t cap = u->cap ? 2 * u->cap : 16;
    turn *turns = arena_array(&u->now, cap, sizeof *turns);
    if (!turns) return fail_mem(in->err);
    if (u->dialogue.n) memcpy(turns, u->dialogue.turns, u->dialogue.n * sizeof *turns);
    u->dialogue.turns = turns;
    u->cap = cap;
    return PGR_OK;
}

static pgr_status begin_interaction(utterances *u, const field_reader *in, const utterance *l) {
    if (!continues_conversation(u, l)) PGR_TRY(begin_conversation(u, in, l));
    PGR_TRY(want_room(u, in));
    const char *name = l->interaction, *prompt = l->prompt;
    PGR_TRY(keep_text(u, in, &name));
    PGR_TRY(keep_text(u, in, &prompt));
    u->interaction = name;
    u->prompt = prompt;
    u->turn = l->turn;
    u->n = u->n_chosen = 0;
    u->open = true;
    return PGR_OK;
}

static pgr_status add_response(utterances *u, const field_reader *in, const utterance *l, size_t line) {
    field_path p = field_key(&FIELD_TOP, "if_chosen");
    u->n_chosen += l->response.chosen;
    if (u->n_chosen > 1 && l->response.chosen)
        return field_fail(in, &p, "a second chosen response", "one in an interaction");
    prism_response r = l->response;
    r.line = line;
    PGR_TRY(keep_text(u, in, &r.text));
    u->responses[u->n++] = r;
    u->held += strlen(l->prompt) + strlen(r.text) + LINE_COST;
    return PGR_OK;
}

pgr_status utterances_end(utterances *u, const field_reader *in, record_list *out) {
    if (!u->open) return PGR_OK;
    u->open = false;
    return prism_turn(in, &u->dialogue, u->prompt, u->responses, u->n_chosen <= 1 ? u->n : 0, out);
}

pgr_status utterances_add(utterances *u, const field_reader *in, json_t *v, size_t line, record_list *out) {
    utterance l = {0};
    PGR_TRY(read_line(in, v, &l));
    PGR_TRY(check_place(u, in, &l));
    if (!continues_interaction(u, &l)) {
        PGR_TRY(utterances_end(u, in, out));
        PGR_TRY(begin_interaction(u, in, &l));
    }
    return add_response(u, in, &l, line);
}
