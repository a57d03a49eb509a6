/* pgenrm_model.h - the public API's lower half: models, engines, generating, embeddings, score heads, perplexity, and
 * what every call rests on (errors, progress, options as rows). pgenrm.h includes it.
 *
 *     pgr_error err;
 *     pgr_model *model = NULL;
 *     const char *text = "A model reads tokens.";
 *     int32_t *ids = NULL;
 *     size_t n;
 *     if (pgr_model_open("model.gguf", NULL, &model, &err) == PGR_OK
 *         && pgr_tokenize(model, text, strlen(text), 0, &ids, &n, &err) == PGR_OK)
 *         printf("tokens: %zu\n", n);
 *     pgr_free(ids);
 *     pgr_model_close(model);
 *
 * Errors: every call that can fail returns a pgr_status; 0 is success, errors are negative. `err` may be NULL; else it
 * holds one line that names the file, line, field or tensor, what was found and what was expected. Out-parameters are
 * written on success only. Text is UTF-8. */
#ifndef PGENRM_MODEL_H
#define PGENRM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* the library is compiled with hidden visibility */

#define PGR_VERSION "0.1.0"

/* ---- status ---------------------------------------------------------------------------------------------------- */

/*          name           value  text */
#define PGR_STATUS_MAP(X)                                                                                              \
    X(OK,            0, "ok")                                                                                          \
    X(E_ARG,        -1, "invalid argument")                                                                            \
    X(E_MEM,        -2, "out of memory")                                                                               \
    X(E_IO,         -3, "file could not be read or written")                                                           \
    X(E_FORMAT,     -4, "input is not in the format we read")                                                          \
    X(E_UNSUPPORTED,-5, "feature is not supported")                                                                    \
    X(E_LIMIT,      -6, "a size limit was exceeded")                                                                   \
    X(E_CANCELLED,  -7, "cancelled")                                                                                   \
    X(E_DEADLINE,   -8, "deadline passed")                                                                             \
    X(E_REMOTE,     -9, "a server that was asked did not give it")

typedef enum pgr_status {
#define X(name, value, text) PGR_##name = (value),
    PGR_STATUS_MAP(X)
#undef X
} pgr_status;

typedef struct pgr_error {
    pgr_status status;
    char message[480];
} pgr_error;

const char *pgr_status_text(pgr_status status); /* static text, never NULL */
void pgr_free(void *p);                         /* frees strings and arrays that this API handed over */

/* Log lines (standard error) at or below this level are written: 0 error, 1 warn (default), 2 info, 3 debug. */
void pgr_log_level(int level);

/* ---- progress and cancellation --------------------------------------------------------------------------------- */

/* Called now and then from the thread that made the call. `done` of `total` in `unit`s of step `label`. */
typedef void (*pgr_progress_fn)(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit);

/* Set *cancel to non-zero (from a signal handler or another thread) and the running call returns PGR_E_CANCELLED. */
typedef volatile int pgr_cancel;

/* Who watches a long call; all zero: nobody. Every member may be NULL. */
typedef struct pgr_watch {
    pgr_cancel *cancel;
    pgr_progress_fn progress;
    void *progress_ctx;
} pgr_watch;

/* A progress bar on standard error: pass pgr_progress_bar_update as pgr_progress_fn and the bar as its ctx.
 * A step (label) shows nothing before it has taken 2 seconds; then, on a terminal, one line that is redrawn (bar,
 * done/total, rate, time left), else, or with TERM=dumb, a line at most every 5 seconds, and a last line with the total
 * time. NO_COLOR is respected. quiet: nothing ever. NULL (out of memory) is a bar that shows nothing. threads: one at a
 * time. */
typedef struct pgr_progress_bar pgr_progress_bar;
pgr_progress_bar *pgr_progress_bar_create(bool quiet);
void pgr_progress_bar_update(void *bar, const char *label, uint64_t done, uint64_t total, const char *unit);
void pgr_progress_bar_free(pgr_progress_bar *bar); /* ends the line; NULL is fine */

/* ---- options as rows ------------------------------------------------------------------------------------------- */

/* One option of an options struct, said once: the command line, help, plan.json and JSON are made of such rows, and a
 * program of yours can be too. A table of rows ends with a name that is NULL. */
typedef enum pgr_option_type { /* of the member */
    PGR_OPTION_INT,
    PGR_OPTION_INT64,
    PGR_OPTION_SIZE,   /* size_t */
    PGR_OPTION_FLOAT,
    PGR_OPTION_DOUBLE,
    PGR_OPTION_CHOICE, /* an enum that counts from 0, as choices does */
    PGR_OPTION_FLAG,   /* bool */
    PGR_OPTION_TEXT,   /* const char *, NULL where it is not given */
} pgr_option_type;

enum { /* pgr_option.use, together */
    PGR_OPTION_VERDICT = 1, /* another value may give other verdicts: a benchmark's settings have it */
};

typedef struct pgr_option {
    const char *name;  /* "max-tokens"; in JSON "max_tokens" */
    const char *value; /* what stands for its value in help: "N"; NULL for a flag */
    const char *help;  /* without the default */
    const char *unset; /* of one whose default is no value of it but stands for "not given": what counts then; else
                        * NULL */
    pgr_option_type type;
    unsigned use;
    size_t offset;              /* of the member, in its struct */
    double standard;            /* the default; of a flag 0 or 1, of a choice its index */
    double lo, hi;              /* of numbers, both included */
    const char *const *choices; /* NULL at the end */
} pgr_option;

/* The row's member of *options becomes what text says; a flag (text NULL) becomes the opposite of its default. A text
 * is not copied. On error *options is as before, and the message names option, what was found and what was expected. */
pgr_status pgr_option_set(const pgr_option *row, void *options, const char *text, pgr_error *err);

/* As snprintf; what pgr_option_set reads back, "true" or "false" of a flag, "" where nothing is given. */
int pgr_option_print(const pgr_option *row, const void *options, char *out, size_t size);
int pgr_option_help(const pgr_option *row, char *out, size_t size); /* the help with the default */

/* The options that lie in a file as a JSON object, {"lr": 1e-4, "resume": true, "eval": ["a.jsonl", "b.jsonl"]}, as
 * words of a command line: "--lr=0.0001", "--resume", ... A key may have '_' for '-'; null and false give no word, a
 * list one per item. *words is the caller's (pgr_free): *n strings, one behind the other. Whether there are such
 * options is not looked at. */
pgr_status pgr_option_file(const char *path, char **words, size_t *n, pgr_error *err);

/* The entry of names (NULL at the end) that word was probably meant to be, else NULL. */
const char *pgr_nearest(const char *word, const char *const *names);

/* ---- model ----------------------------------------------------------------------------------------------------- */

typedef enum pgr_dtype {
    PGR_DTYPE_AUTO,  /* the fastest on this CPU within 1 % of the exact perplexity (docs/speed.md): pgr_dtype_auto */
    PGR_DTYPE_EXACT, /* weights stay as the file has them, arithmetic in fp32 on the dequantised values */
    PGR_DTYPE_F32,   /* converted to fp32 at load and packed */
    /* converted to bf16 at load and packed, sums in fp32; K and V in bf16. With AVX512-BF16 activations are rounded
     * to bf16, too */
    PGR_DTYPE_BF16,
    PGR_DTYPE_INT8,  /* 8-bit integers with a scale for every 64 values of a row, weights and activations, sums in fp32
                      * between; K and V with a scale for every token and head (docs/speed.md) */
} pgr_dtype;

pgr_dtype pgr_dtype_auto(void);             /* what PGR_DTYPE_AUTO is on this CPU: int8 or exact */
const char *pgr_dtype_name(pgr_dtype dtype); /* "auto", "exact", "f32", "bf16", "int8": static */
bool pgr_dtype_fast(pgr_dtype dtype);       /* whether this CPU computes it by more than plain C */

/* What this program has to compute with. */
typedef struct pgr_machine {
    char cpu[96];       /* as the system calls it; "" where it does not say */
    const char *level;  /* of the kernels that run: "ref" (plain C), "neon", "avx2", "avx512", "amx"; static */
    const char *most;   /* the highest that the CPU has: more than level only where PGENRM_CPU lowers it; static */
    int n_core;         /* that the process may run on: what n_thread 0 is */
    uint64_t memory;      /* bytes of the machine, or of the control group where that has fewer; 0: not known */
    uint64_t memory_free; /* bytes that programs can get now, page cache given up; 0: not known */
} pgr_machine;

void pgr_machine_look(pgr_machine *out);

typedef struct pgr_model_options {
    pgr_dtype dtype;
    int n_thread;             /* 0: as many as there are cores */
    pgr_watch watch;
    const char *chat_template; /* instead of the file's: "chatml", "llama3", the path of a template's file, or its text
                                  (docs/chat.md); NULL: the file's. One that cannot be used is an error */
} pgr_model_options;

typedef struct pgr_model pgr_model;

pgr_model_options pgr_model_options_default(void);

/* Open a GGUF v3 file, or a Hugging Face folder (config.json, tokenizer.json, safetensors), of a supported family.
 * Every tensor is bound and its shape checked against the config. After *cancel: PGR_E_CANCELLED.
 * threads: a model may be used by many engines at once. Close it after the last engine. */
pgr_status pgr_model_open(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err);
void pgr_model_close(pgr_model *model); /* NULL is fine */

/* The path of a model by name: an existing path as it is; else a file below the cache folder; NULL or "" means
 * $PGENRM_MODEL, else the default model. *out is the caller's (pgr_free). The error says how to get the model. */
pgr_status pgr_model_find(const char *name, char **out, pgr_error *err);

/* The adapter that comes with pgenrm for the model at model_path: a PEFT folder named as the model's file or folder is
 * up to the first dot, in the installed data, else in the sources. It is for the compact frame; slots.json and
 * calibration.json stand in it. *out is the caller's (pgr_free); NULL: there is none for this model. */
pgr_status pgr_adapter_find(const char *model_path, char **out, pgr_error *err);

/* What a model, a LoRA adapter (PEFT folder or GGUF file) or an encoder holds and what will be used and why, as JSON
 * (json; its "kind" is "model", "lora" or "encoder") or as text for people. Opens no weights. options may be NULL; of
 * them chat_template counts, which only a model takes. *out is the caller's (pgr_free). */
pgr_status pgr_inspect(const char *path, const pgr_model_options *options, bool json, char **out, pgr_error *err);

const char *pgr_model_name(const pgr_model *model); /* general.name, else the file's name; the model's */
size_t pgr_model_context(const pgr_model *model);   /* tokens the model was trained for */

/* ---- pull ------------------------------------------------------------------------------------------------------ */

typedef struct pgr_pull_options {
    const char *to;        /* folder; NULL: ORG/NAME below the cache folder, where pgr_model_find looks */
    bool all;              /* every file; else those that are of use here (docs/pull.md) */
    const char *include;   /* only files that match this pattern (fnmatch); NULL: no such limit */
    const char *endpoint;  /* NULL: $HF_ENDPOINT, else https://huggingface.co */
    const char *token;     /* NULL: $HF_TOKEN; "": none. Sent to the endpoint's host only, to no redirect's other
                            * host */
    const char *hub_cache; /* of Hugging Face's programs; NULL: $HF_HUB_CACHE and so on; "": none */
    bool offline;          /* no network: only what is there. The default is $HF_HUB_OFFLINE */
    double backoff_s;      /* before the second try, doubled with each */
    pgr_watch watch;
} pgr_pull_options;

typedef struct pgr_pulled {
    char *path;     /* the folder; the caller's (pgr_free) */
    char commit[65];
    size_t files;
    uint64_t bytes; /* of all these files */
    bool cached;    /* nothing had to be fetched */
} pgr_pulled;

pgr_pull_options pgr_pull_options_default(void);

/* The files of "ORG/NAME" or "ORG/NAME@REVISION" of a Hugging Face hub, into a folder. Every file's checksum is that
 * of the hub before the file gets its name. Files that the cache of Hugging Face's programs has become links to it.
 * options may be NULL.
 * on error and after *cancel: what has come stays as NAME.part, and the next call goes on from there. */
pgr_status pgr_pull(const char *model, const pgr_pull_options *options, pgr_pulled *out, pgr_error *err);

/* ---- convert and merge ----------------------------------------------------------------------------------------- */

typedef enum pgr_file_type {
    PGR_FILE_KEEP, /* every tensor keeps its type; changed ones of a packed type that is not written become Q8_0 */
    PGR_FILE_F32,
    PGR_FILE_F16,
    PGR_FILE_BF16,
    PGR_FILE_Q8_0,
    PGR_FILE_Q4_0, /* embedding and head Q8_0 */
} pgr_file_type;   /* of matrices; norms and biases in GGUF are F32, rows that are no whole blocks of 32 F16 */

typedef struct pgr_write_options {
    pgr_file_type type;
    bool force;               /* an older file of that name, or an older model in that folder, is replaced */
    int n_thread;             /* 0: as many as there are cores */
    pgr_watch watch;
} pgr_write_options;

typedef struct pgr_written {
    size_t tensors;
    uint64_t bytes;  /* of the GGUF file, or of all files of the folder */
    double seconds;
} pgr_written;

typedef struct pgr_adapter {
    const char *path; /* PEFT folder or GGUF file */
    float scale;      /* of its own strength */
} pgr_adapter;

pgr_write_options pgr_write_options_default(void); /* PGR_FILE_KEEP */

/* A GGUF file of a model (a Hugging Face folder or a GGUF file) that llama.cpp loads (docs/convert.md). Memory: a few
 * megabytes beyond the mapped model, whatever its size. options may be NULL.
 * on error and after *cancel: nothing stands under the new name, an older file is as it was. */
pgr_status pgr_convert(const char *model, const char *path, const pgr_write_options *options, pgr_written *out,
                       pgr_error *err);

/* The model with the adapters (n of them, n > 0) merged in: W + sum of scale * B A, computed in fp32 and rounded to the
 * type. A path that ends with .gguf is written as GGUF, another one as a Hugging Face folder, which needs one as the
 * model.
 * on error: as pgr_convert. */
pgr_status pgr_merge(const char *model, const pgr_adapter *adapters, size_t n, const char *path,
                     const pgr_write_options *options, pgr_written *out, pgr_error *err);

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

enum {
    PGR_TOKENS_SPECIAL = 1, /* spell control tokens in the text as control tokens; else they are ordinary text */
    PGR_TOKENS_BOS = 2,     /* add BOS (and EOS) as the tokenizer's own rule says */
};

/* *ids is the caller's (pgr_free), *n may be 0. */
pgr_status pgr_tokenize(const pgr_model *model, const char *text, size_t len, int flags, int32_t **ids, size_t *n,
                        pgr_error *err);
/* *text is NUL-terminated and the caller's (pgr_free). Bytes may be incomplete UTF-8 where the ids are. */
pgr_status pgr_detokenize(const pgr_model *model, const int32_t *ids, size_t n, char **text, size_t *len,
                          pgr_error *err);

/* ---- engine ---------------------------------------------------------------------------------------------------- */

typedef struct pgr_engine_options {
    size_t n_kv_token; /* tokens that the KV cache holds, all sequences together; 0: as many as the calls need */
    size_t kv_bytes;   /* memory that the KV cache takes at most, whatever it holds; what finds no room waits. 0: as
                        * much as the calls need */
    size_t n_batch;    /* rows of a prompt in one forward pass: longer ones are computed in chunks */
    size_t cache_bytes; /* memory for the K and V of prompts that later calls may begin with; 0: nothing is kept */
    size_t n_kv_ready; /* tokens of the KV cache whose memory is taken and cleared when the engine is created, by all
                          threads: what a server does at its start, so that calls do not wait for it. 0: memory comes as
                          calls need it. More than n_kv_token counts as that */
} pgr_engine_options;

typedef struct pgr_engine pgr_engine;

pgr_engine_options pgr_engine_options_default(void);
/* options may be NULL. The model must outlive the engine. threads: one at a time. */
pgr_status pgr_engine_create(pgr_model *model, const pgr_engine_options *options, pgr_engine **out, pgr_error *err);
void pgr_engine_free(pgr_engine *engine);

/* An engine whose chains are written by servers that speak OpenAI's chat completions (docs/remote.md). */
typedef struct pgr_remote_options {
    const char *urls;      /* "http://HOST[:PORT]/v1", several with commas between: one service, the same model behind
                            * each. Requests are spread over them; one that fails is tried at another */
    const char *model;     /* as the servers name it; NULL: the first that they list */
    const char *key;       /* bearer token; NULL: $PGENRM_API_KEY, else $OPENAI_API_KEY, else none */
    const char *tokenizer; /* files of the same model (as of pgr_model_find), of which only the tokenizer, the chat
                            * template and the config are read; NULL: the servers count tokens, or estimates do */
    size_t jobs;           /* requests in flight, at all addresses together */
    size_t context;        /* tokens of a prompt and its chain; 0: as the servers or the files say */
    size_t max_tokens;     /* budget: of all prompts and chains together; what goes beyond it fails. 0: none */
    double timeout_s;      /* of one try; 0: 600 */
    double count_s;        /* of counting a text's tokens by a server: after it, and for a while after a failure, they
                            * are estimated, so that nobody waits for them. 0: as any other request, or an error */
    pgr_watch watch;       /* of which cancel counts, also while the engine counts tokens */
} pgr_remote_options;

pgr_remote_options pgr_remote_options_default(void);
/* Are these addresses of servers, as in `urls`, with "#MODEL" behind them or without? Nobody is asked. PGR_E_ARG: no
 * host, a port that is none, a blank... */
pgr_status pgr_addresses_check(const char *urls, pgr_error *err);
/* Looks at the servers: the model, its context, and by a probe of a few tokens what they offer (several choices of one
 * request, grammars, log-probabilities). A server that is down is left out until it is up; all of them down, or with
 * different models, is an error. The texts of the options need not outlive the call. */
pgr_status pgr_engine_connect(const pgr_remote_options *options, pgr_engine **out, pgr_error *err);
const char *pgr_engine_name(const pgr_engine *engine); /* of its model, "MODEL at ADDRESS" of servers; the engine's */

/* ---- adapters -------------------------------------------------------------------------------------------------- */

/* A LoRA adapter, read for one model: a PEFT folder (adapter_config.json, adapter_model.safetensors) or a GGUF file of
 * that kind; docs/lora.md says what is read and what is refused. Read-only after open: many engines may use it at once.
 * Close it after the last engine that uses it, and before its model. */
typedef struct pgr_lora pgr_lora;

/* on error: PGR_E_FORMAT or PGR_E_UNSUPPORTED with the tensor or key that does not fit the model or is not
 * supported. */
pgr_status pgr_lora_open(const pgr_model *model, const char *path, pgr_lora **out, pgr_error *err);
void pgr_lora_close(pgr_lora *lora); /* NULL is fine */

/* From the next call on the engine computes with these n adapters and no others, unmerged: each matrix product is W x
 * plus scales[i] * s_i * B_i (A_i x) for every adapter, s_i being its own alpha / r. n 0: the model as it is, bit for
 * bit. The weights are not touched, so that engines on one model may have different adapters. The engine keeps the
 * pointers in loras (not the arrays): the adapters must stay open until other ones are set or the engine is freed.
 * errors: PGR_E_ARG where an adapter was opened for another model, a scale is not finite, or two adapters replace the
 * same tensor or one does so at a scale that is not 1. The set is then as before.  threads: as all calls on an
 * engine. */
pgr_status pgr_engine_set_loras(pgr_engine *engine, pgr_lora *const *loras /* (n) */, const float *scales /* (n) */,
                                size_t n, pgr_error *err);

/* ---- generate -------------------------------------------------------------------------------------------------- */

typedef struct pgr_sampling {
    float temperature; /* 0: greedy */
    int top_k;         /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off; keeps tokens with p >= min_p * max p */
} pgr_sampling;

typedef struct pgr_generate_options {
    pgr_sampling sampling;
    uint64_t seed;
    size_t n_sample;    /* continuations of the one prompt */
    size_t max_tokens;  /* each; limited by the context */
    bool raw;           /* the prompt is text as it is; else one user turn in the model's chat template */
    bool parse_special; /* control tokens in the prompt count as such */
    bool ignore_eos;
    const char *const *stop; /* texts that end a sample, not part of its text */
    size_t n_stop;
    const char *grammar;         /* GBNF subset (docs/grammar.md) or NULL */
    const char *grammar_name;    /* its file's name, for messages; NULL: "grammar" */
    const char *grammar_trigger; /* the grammar starts after this text; NULL: at the first token */
    double deadline_s;           /* 0: none; after this many seconds unfinished samples end with PGR_FINISH_DEADLINE */
    pgr_watch watch;
} pgr_generate_options;

typedef enum pgr_finish {
    PGR_FINISH_STOP,
    PGR_FINISH_LENGTH,
    PGR_FINISH_DEADLINE,
    PGR_FINISH_FAILED, /* a server gave no such text */
} pgr_finish;

typedef struct pgr_sample {
    const char *text; /* NUL-terminated */
    size_t n_text;
    const int32_t *tokens; /* (n_token); of servers, which count them, all -1 */
    const float *logprobs; /* (n_token) natural logarithms, temperature 1, full vocabulary; NaN: not known */
    size_t n_token;
    pgr_finish finish;
} pgr_sample;

typedef struct pgr_timing {
    double load_s, prefill_s, decode_s, total_s; /* load_s: of the model, once */
} pgr_timing;

typedef struct pgr_generation {
    const int32_t *prompt; /* (n_prompt) token ids after templating */
    size_t n_prompt;
    const pgr_sample *samples; /* (n_sample) */
    size_t n_sample;
    pgr_timing timing;
} pgr_generation;

pgr_generate_options pgr_generate_options_default(void);
/* *out is the caller's (pgr_generation_free). The same seed gives the same samples whatever the thread count. */
pgr_status pgr_generate(pgr_engine *engine, const char *prompt, size_t len, const pgr_generate_options *options,
                        pgr_generation **out, pgr_error *err);
void pgr_generation_free(pgr_generation *generation);

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

typedef enum pgr_pool {
    PGR_POOL_AUTO, /* what the model's files say (docs/embed.md) */
    PGR_POOL_MEAN, /* mean of all tokens' hidden states */
    PGR_POOL_CLS,  /* the first token's; encoders only */
    PGR_POOL_LAST, /* the last token's */
} pgr_pool;

typedef struct pgr_embed_options {
    pgr_pool pool;
    size_t dim;           /* the first values of an embedding, scaled to length 1 again; 0: all of them */
    const char *instruct; /* the task of queries: a text becomes "Instruct: TASK\nQuery:TEXT"; NULL: none */
    pgr_watch watch;
} pgr_embed_options;

typedef struct pgr_embedded {
    size_t tokens; /* that were computed, special ones counted */
    size_t cut;    /* tokens at the text's end that were beyond pgr_embedder_max_tokens and left out */
} pgr_embedded;

typedef struct pgr_embedder pgr_embedder;

pgr_embed_options pgr_embed_options_default(void);

/* Open a model for embeddings: a Hugging Face folder with an encoder of the BERT family, or any model that
 * pgr_model_open takes. The files of sentence-transformers in the folder count. PGR_DTYPE_AUTO is exact here, fp32
 * for encoders. Or "http://HOST[:PORT]/v1[#MODEL]", several with commas between: servers that answer /v1/embeddings,
 * whose pooling is their own (docs/remote.md). options may be NULL. */
pgr_status pgr_embedder_open(const char *path, const pgr_model_options *options, pgr_embedder **out, pgr_error *err);
void pgr_embedder_close(pgr_embedder *embedder); /* NULL is fine */

/* As pgr_model_find; NULL or "" means $PGENRM_EMBEDDER, else the default embedder (all-MiniLM-L6-v2). */
pgr_status pgr_embedder_find(const char *name, char **out, pgr_error *err);

const char *pgr_embedder_name(const pgr_embedder *embedder);  /* the embedder's */
size_t pgr_embedder_dims(const pgr_embedder *embedder);       /* values of an embedding */
size_t pgr_embedder_max_tokens(const pgr_embedder *embedder); /* of a text; more are cut */

/* One embedding per text, of length 1 unless the model's files leave that out. texts, lens: (n) any bytes, also none.
 *     out     (n, options->dim or pgr_embedder_dims) caller's; of no use after an error
 *     counts  (n) caller's; may be NULL
 * An embedding depends on its own text alone, bit for bit. options may be NULL. threads: one at a time. */
pgr_status pgr_embed(pgr_embedder *embedder, const char *const *texts, const size_t *lens, size_t n,
                     const pgr_embed_options *options, float *out, pgr_embedded *counts, pgr_error *err);

/* ---- score heads ----------------------------------------------------------------------------------------------- */

typedef struct pgr_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
} pgr_message;

typedef struct pgr_scalar_input { /* a response to a conversation */
    const pgr_message *messages;  /* (n_message) the last one is the user's */
    size_t n_message;             /* 0: the response is the whole text, as it stands: without a chat template, with the
                                     tokenizer's own BOS, control tokens spelled out in it count as such */
    const char *response;
} pgr_scalar_input;

/* A reward model with a score head: a language model's decoder whose last state becomes one number
 * (docs/scalar.md). */
typedef struct pgr_scalar pgr_scalar;

/* path: a Hugging Face folder with architectures LlamaForSequenceClassification (Mistral-, Qwen2-, Qwen3-) and one
 * label; pgr_model_find finds one by name. options as in pgr_model_open, but PGR_DTYPE_AUTO is exact here; may be NULL.
 */
pgr_status pgr_scalar_open(const char *path, const pgr_model_options *options, pgr_scalar **out, pgr_error *err);
void pgr_scalar_close(pgr_scalar *scalar); /* NULL is fine */

/* Scores of the caller's own in the place of a model's: one input at a time, from the thread that asks. */
typedef struct pgr_scalar_source {
    const char *name; /* copied */
    pgr_status (*score)(void *ctx, const pgr_scalar_input *input, float *out, pgr_error *err);
    void (*close)(void *ctx); /* by pgr_scalar_close; NULL: nothing is to be done */
    void *ctx;
} pgr_scalar_source;
/* On an error ctx is still the caller's to close. */
pgr_status pgr_scalar_create(const pgr_scalar_source *source, pgr_scalar **out, pgr_error *err);

const char *pgr_scalar_name(const pgr_scalar *scalar);  /* the scalar's */
/* of a conversation with its response; SIZE_MAX: no limit, and inputs have no tokens (0) */
size_t pgr_scalar_max_tokens(const pgr_scalar *scalar);

/* What the model thinks of n responses: higher is better, on a scale of its own. The conversation and the response as
 * the assistant's turn go through the chat template; the score is read at the last token that is no padding. Inputs of
 * one conversation that stand together have its beginning computed once. A score depends on its own input alone, bit
 * for bit.
 *     scores  (n) caller's; NaN where an input has more than pgr_scalar_max_tokens; of no use after an error
 *     tokens  (n) caller's: of each input; may be NULL
 * watch may be NULL. threads: one at a time. */
pgr_status pgr_scalar_score(pgr_scalar *scalar, const pgr_scalar_input *inputs, size_t n, const pgr_watch *watch,
                            float *scores, size_t *tokens, pgr_error *err);

/* ---- perplexity ------------------------------------------------------------------------------------------------ */

typedef struct pgr_perplexity {
    int32_t *tokens;  /* (n) */
    float *logprobs;  /* (n) log p(token | tokens before it in its window); NaN for each window's first token */
    size_t n;
    double nll;       /* mean negative log-likelihood in nats over the tokens that have one */
    double perplexity; /* exp(nll) */
} pgr_perplexity;

/* Text in windows of n_context tokens (0: the model's context). Arrays are freed by pgr_perplexity_free. */
pgr_status pgr_perplexity_of(pgr_engine *engine, const char *text, size_t len, size_t n_context,
                             const pgr_watch *watch /* may be NULL */, pgr_perplexity *out, pgr_error *err);
void pgr_perplexity_free(pgr_perplexity *p);
#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
