/* forms_unread.c - forms of preference data that are known but not read: what they are, and which names make one of
 * ours of them. */
#include "user/forms.h"

typedef struct unread {
    const char *keys; /* as form.keys */
    const char *say;
} unread;

/* clang-format off */
static const unread UNREAD[] = {
    {"conversations chosen rejected",
     "ShareGPT turns with two answers (conversations, chosen, rejected); rename `conversations` to `prompt` and, "
     "in turns, `from` to `role` (human: user, gpt: assistant) and `value` to `content`"},
    {"question|query|input|instruction chosen rejected",
     "a question under another name with `chosen` and `rejected`; rename it to `prompt`"},
    {"prompt winner_model_a response_a response_b",
     "the arena's table with one column per outcome (winner_model_a, response_a); rename the better response to "
     "`chosen` and the other one to `rejected`, and leave ties out"},
    {"prompt response_0 response_1 better_response_id",
     "two responses and the number of the better one (better_response_id); rename that response to `chosen`, the "
     "other one to `rejected`"},
    {"prompt response_1 response_2",
     "two responses (response_1, response_2); rename the better one to `chosen` and the other one to `rejected`"},
    {"question response_j response_k",
     "answers in order (question, response_j, response_k); rename them to `prompt`, `chosen`, `rejected`"},
    {"question answer_0 answer_1",
     "two answers (answer_0, answer_1); rename the question to `prompt`, the better answer to `chosen`, the other "
     "one to `rejected`"},
    {"info summaries choice",
     "summaries and a choice (info, summaries, choice); rename the post to `prompt`, the better summary to "
     "`chosen`, the other one to `rejected`"},
    {"prompt completion label",
     "single responses with a verdict (prompt, completion, label); two responses of one prompt make a pair: "
     "`prompt`, `chosen`, `rejected`"},
    {"prompt response helpfulness",
     "single responses with scores (prompt, response, helpfulness); two responses of one prompt make a pair: "
     "`prompt`, `chosen`, `rejected`"},
    {"prompt pos|positive|win|preferred neg|negative|lose|dispreferred",
     "pairs under other names; rename them to `prompt`, `chosen`, `rejected`"},
    {"message_tree_id parent_id",
     "a tree of messages; write its pairs as `prompt`, `chosen`, `rejected`"},
};
/* clang-format on */

const char *form_unread(const json_t *object) {
    for (size_t i = 0; i < sizeof UNREAD / sizeof *UNREAD; i++)
        if (form_keys_fit(object, UNREAD[i].keys)) return UNREAD[i].say;
    return NULL;
}
