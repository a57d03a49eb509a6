/* good_requests.h - for tests: one good request or more for every route of the server's own table, and a server L that
 * has all that they need: people_fixture.h's users, an embedder, a score head, a folder of runs and an audit log. */
#ifndef PGR_TESTS_GOOD_REQUESTS_H
#define PGR_TESTS_GOOD_REQUESTS_H

#include <sys/stat.h>

#include "people_fixture.h"

#define BERT PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert"
#define HEAD PGR_SOURCE_DIR "/tests/golden/hf-tiny-scalar-llama"
#define LORA PGR_SOURCE_DIR "/tests/golden/lora/llama-qv"

static pgr_embedder *EMBEDDER;
static pgr_scalar *SCALAR;
static char AUDIT[120];

static inline int rows_setup(void **state) {
    pgr_error err = {0};
    pgr_model_options mo = pgr_model_options_default();
    if (people_begin(state) != 0) return -1;
    if (pgr_embedder_open(BERT, &mo, &EMBEDDER, &err) != PGR_OK) fail_msg("%s", err.message);
    if (pgr_scalar_open(HEAD, &mo, &SCALAR, &err) != PGR_OK) fail_msg("%s", err.message);
    JUDGE.scalar = SCALAR;
    snprintf(AUDIT, sizeof AUDIT, "%s/audit.jsonl", scratch);
    pgr_serve_options o = people_options(true);
    o.audit_file = AUDIT;
    assert_int_equal(mkdir(path_of("run"), 0777), 0);
    write_bytes("run/metrics.jsonl", "{\"step\":1}\n", 11);
    o.runs = scratch;
    people_listen(&o);
    L.what.embedder = EMBEDDER;
    live_start(&L);
    return 0;
}

static inline int rows_teardown(void **state) {
    live_stop(&L);
    pgr_embedder_close(EMBEDDER);
    pgr_scalar_close(SCALAR);
    return people_end(state);
}

typedef enum access_kind {
    OPEN,     /* asks for no token */
    TOKEN,    /* any token: nobody is named */
    USER,     /* a token that reaches the user named at the @ */
    OPERATOR, /* a token without a scope */
} access_kind;

typedef struct row {
    const char *method, *path, *key; /* of a route */
    access_kind kind;
    const char *rest, *body; /* behind the path, and the body; @: the user */
} row;

#define TWO  "\"query\": \"Occasion 9?\", \"responses\": [\"Tea at 9\", \"Coffee at 9\"], \"ind\": 1"
#define PAIR "\"history\": [{\"query\": \"q\", \"chosen\": \"a\", \"rejected\": \"b\"}]"
#define SAYS(text)                                                                                                     \
    "{\"output\": [{\"type\": \"message\", \"content\": [{\"type\": \"output_text\", \"text\": \"" text "\"}]}]}"
#define VERIFY                                                                                                         \
    "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": " SAYS("a") ", \"anchor\": \"b\", \"ind\": 1, "
#define COMPARE                                                                                                        \
    "{\"conversation_history\": [{\"role\": \"user\", \"content\": \"q\"}], \"response_objs\": [" SAYS("a") ", " SAYS( \
        "b") "], \"ind\": 1, "
#define SLIME "{\"prompt\": \"q\", \"response\": \"a\", \"label\": {\"anchor\": \"b\", \"ind\": 1, "
#define TEXTS "{\"text_1\": \"a cat\", \"text_2\": \"a dog\"}"
#define RANK  "{\"query\": \"a cat\", \"documents\": [\"a dog\"]}"
#define LABEL "{\"query\": \"Is it\", \"items\": [\" so\"], \"label_token_ids\": [40, 41]}"

static const row ROWS[] = {
    {"GET", "/health", NULL, OPEN, "", NULL},
    {"GET", "/openapi.json", NULL, OPEN, "", NULL},
    {"GET", "/", NULL, OPEN, "", NULL},
    {"GET", "/page/", NULL, OPEN, "page.css", NULL},
    {"GET", "/v1/runs", NULL, OPERATOR, "", NULL},
    {"GET", "/v1/runs/", NULL, OPERATOR, "run/metrics.jsonl", NULL},
    {"GET", "/metrics", NULL, TOKEN, "", NULL},
    {"GET", "/v1/models", NULL, TOKEN, "", NULL},
    {"POST", "/v1/personal/score", NULL, USER, "", "{\"user\": \"@\", " TWO ", \"pro\": 4, \"chains\": true}"},
    {"POST", "/v1/personal/score", NULL, USER, "", "{\"user\": {\"id\": \"@\", " PAIR "}, " TWO ", \"pro\": 4}"},
    {"POST", "/v1/personal/score", NULL, TOKEN, "", "{\"user\": {" PAIR "}, " TWO ", \"pro\": 8}"},
    {"POST", "/v1/personal/score", NULL, USER, "", "{\"user\": \"@\", " TWO ", \"pro\": 1, \"stream\": true}"},
    {"POST", "/v1/personal/score", NULL, USER, "",
     "{\"user_id\": \"@\", \"conversation_id\": \"c\", \"context\": [{\"role\": \"user\", \"content\": \"q\"}], "
     "\"chosen\": {\"content\": \"a\"}, \"rejected\": {\"content\": \"b\"}}"},
    {"POST", "/v1/personal/feedback", NULL, USER, "",
     "{\"user\": \"@\", \"query\": \"Access?\", \"chosen\": \"a\", \"rejected\": \"b\"}"},
    {"POST", "/v1/personal/feedback", NULL, USER, "",
     "{\"user\": {\"id\": \"@\"}, \"query\": \"Access?\", \"chosen\": \"a\", \"rejected\": \"b\"}"},
    {"POST", "/v1/personal/forget_pair", NULL, USER, "",
     "{\"user\": \"@\", \"query\": \"Access?\", \"chosen\": \"a\", \"rejected\": \"b\"}"},
    {"GET", "/v1/personal/users", NULL, TOKEN, "", NULL},
    {"PUT", "/v1/personal/users/", NULL, USER, "@", "{\"criteria\": \"Short\"}"},
    {"GET", "/v1/personal/users/", NULL, USER, "@", NULL},
    {"DELETE", "/v1/personal/users/", NULL, USER, "@", NULL},
    {"GET", "/v1/personal/map", NULL, OPERATOR, "", NULL},
    {"POST", "/v1/personal/map", NULL, USER, "", "{\"user\": \"@\"}"},
    {"POST", "/v1/personal/map", NULL, USER, "", "{\"neighbours\": [\"@\"]}"},
    {"POST", "/get_reward", "query", USER, "",
     "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"user\": \"@\", \"anchor\": \"b\", \"ind\": 1}]}"},
    {"POST", "/get_reward", "query", USER, "",
     "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [\"{\\\"user_id\\\": \\\"@\\\", \\\"anchor\\\": "
     "\\\"b\\\", \\\"ind\\\": 1}\"]}"},
    {"POST", "/get_reward", "response", USER, "", SLIME "\"user\": {\"id\": \"@\"}}}"},
    {"POST", "/get_reward", "response", USER, "", SLIME "\"user_id\": \"@\"}}"},
    {"POST", "/get_reward", "messages", USER, "?user=@",
     "{\"messages\": [\"<|im_start|>user\\nq<|im_end|>\\n<|im_start|>assistant\\na\"]}"},
    {"POST", "/score", "response_text", TOKEN, "",
     "{\"response_text\": \"a\", \"query\": \"q\", \"profile\": [{\"query\": \"q\", \"chosen\": \"c\", \"rejected\": "
     "\"d\"}]}"},
    {"POST", "/score", NULL, TOKEN, "", TEXTS},
    {"POST", "/seed_session", NULL, TOKEN, "", "{}"},
    {"POST", "/verify", NULL, USER, "", VERIFY "\"user\": \"@\"}"},
    {"POST", "/verify", NULL, USER, "", VERIFY "\"user_id\": \"@\"}"},
    {"POST", "/verify", NULL, USER, "", VERIFY "\"user\": {\"id\": \"@\"}}"},
    {"POST", "/compare", NULL, USER, "", COMPARE "\"user\": \"@\"}"},
    {"POST", "/compare", NULL, USER, "", COMPARE "\"user_id\": \"@\"}"},
    {"POST", "/compare", NULL, USER, "", COMPARE "\"user\": {\"id\": \"@\", " PAIR "}}"},
    {"POST", "/aggregate_metrics", NULL, TOKEN, "",
     "{\"verify_responses\": [{\"_ng_task_index\": 1, \"reward\": 0.5}]}"},
    {"POST", "/v1/chat/completions", NULL, TOKEN, "",
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"max_tokens\": 2, \"seed\": 1}"},
    {"POST", "/v1/completions", NULL, TOKEN, "", "{\"prompt\": \"Once\", \"max_tokens\": 2, \"seed\": 1}"},
    {"POST", "/v1/embeddings", NULL, TOKEN, "", "{\"input\": \"a cat\"}"},
    {"POST", "/pooling", NULL, TOKEN, "", "{\"input\": \"a cat\"}"},
    {"POST", "/v1/score", NULL, TOKEN, "", TEXTS},
    {"POST", "/v1/score", "label_token_ids", TOKEN, "", LABEL},
    {"POST", "/generative_scoring", NULL, TOKEN, "", LABEL},
    {"POST", "/classify", NULL, TOKEN, "", "{\"input\": \"a cat\"}"},
    {"POST", "/v1/classify", NULL, TOKEN, "", "{\"input\": [\"a cat\"]}"},
    {"POST", "/rerank", NULL, TOKEN, "", RANK},
    {"POST", "/v1/rerank", NULL, TOKEN, "", RANK},
    {"POST", "/v2/rerank", NULL, TOKEN, "", RANK},
    {"POST", "/v1/reranking", NULL, TOKEN, "", "{\"query\":\"a\",\"texts\":[\"b\",\"c\"],\"return_text\":true}"},
    {"POST", "/v1/load_lora_adapter", NULL, OPERATOR, "",
     "{\"lora_name\": \"mine\", \"lora_path\": \"" LORA "\", \"load_inplace\": true}"},
    {"POST", "/v1/unload_lora_adapter", NULL, OPERATOR, "", "{\"lora_name\": \"mine\"}"},
    {"POST", "/tokenize", NULL, TOKEN, "", "{\"prompt\": \"Once\"}"},
    {"POST", "/detokenize", NULL, TOKEN, "", "{\"tokens\": [40, 41]}"},
};
enum { N_ROW = sizeof ROWS / sizeof *ROWS };

static inline bool same_key(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static inline bool is_of(const row *r, const route *of) {
    return strcmp(r->method, of->method) == 0 && strcmp(r->path, of->path) == 0 && same_key(r->key, of->key);
}

/* The text with the user in the place of its @. */
static inline void name_user(char *out, size_t size, const char *text, const char *user) {
    const char *at = strchr(text, '@');
    if (at)
        snprintf(out, size, "%.*s%s%s", (int)(at - text), text, user, at + 1);
    else
        snprintf(out, size, "%s", text);
}

#endif
