/* inspect.c - what a file holds and what will be used and why: pgr_inspect. Reads the directory, no weights. Language
 * models here, adapters and encoders in files of their own. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/inspect_parts.h"
#include "model/embedder.h"

typedef struct inspection {
    checkpoint from;
    size_t parameters, bytes;
    bool tied;
    sentence_config embed; /* how `embed` would use it */
    int32_t embed_end;
    pgr_error embed_why; /* why it would not; "": it would */
} inspection;

/* An embedding is a use among others: what is wrong with its files is told, not an error. */
static pgr_status look_at_embedding(inspection *in, pgr_error *err) {
    int32_t lone;
    in->embed = (sentence_config){.normalise = true, .include_prompt = true};
    pgr_status s = PGR_OK;
    if (in->from.config.score_head) {
        (void)fail(&in->embed_why, PGR_E_UNSUPPORTED, "it is a reward model's decoder");
        return PGR_OK;
    }
    if (strcmp(in->from.format, "gguf") != 0) s = sentence_read(in->from.path, &in->embed, &in->embed_why);
    if (s == PGR_OK) s = embedder_decoder_rule(&in->from, &in->embed, &in->embed_end, &lone, &in->embed_why);
    return s == PGR_E_MEM ? fail_mem(err) : PGR_OK;
}

static pgr_status read_file(const char *path, const pgr_model_options *o, inspection *in, pgr_error *err) {
    PGR_TRY(checkpoint_open(path, &in->from, err));
    if (o && o->chat_template) PGR_TRY(checkpoint_set_chat(&in->from, o->chat_template, err));
    const tensor_source *s = &in->from.source;
    inspect_count(s, &in->parameters, &in->bytes);
    PGR_TRY(look_at_embedding(in, err));
    if (in->from.config.score_head) return PGR_OK;
    in->tied = in->from.config.tied || !source_find(s, s->names == SOURCE_GGUF ? "output.weight" : "lm_head.weight");
    return PGR_OK;
}

/* With --dtype as given, on this CPU. */
static size_t kv_bytes_per_token(const config *c, pgr_dtype dtype) {
    kv_type type = model_dtype_kv(dtype, c->head_dim);
    return c->n_layer * c->n_head_kv * kv_block_bytes(type, c->head_dim) / KV_PAGE;
}

/* ---- JSON ---- */

static void put_embedding_json(const inspection *in, buf *b) {
    buf_puts(b, "\"embedding\":{");
    if (!in->embed_why.message[0]) inspect_put_embedding_json(b, &in->embed, in->from.config.n_embd, in->embed_end);
    inspect_put_or_null(b, "why_not", in->embed_why.message[0] ? in->embed_why.message : NULL, "},");
}

enum { TOKEN_TEXT = 64 };

/* The token's text, cut where it is long; NULL: there is no such token. */
static const char *token_text(const inspection *in, int32_t id, char out[TOKEN_TEXT]) {
    size_t n;
    if (id < 0) return NULL;
    const char *s = tok_bytes(in->from.tok, id, &n);
    snprintf(out, TOKEN_TEXT, "%.*s", (int)(n < TOKEN_TEXT ? n : TOKEN_TEXT - 1), s);
    return out;
}

/* null of a language model */
static void put_score_head_json(const inspection *in, buf *b) {
    if (!in->from.config.score_head) {
        buf_puts(b, "\"score_head\":null,");
        return;
    }
    char pad[TOKEN_TEXT];
    buf_puts(b, "\"score_head\":{\"labels\":1,");
    inspect_put_or_null(b, "padding", token_text(in, in->from.pad, pad), "},");
}

static void put_json(const inspection *in, buf *b) {
    const config *c = &in->from.config;
    buf_puts(b, "{\"kind\":\"model\",");
    inspect_put_field(b, "path", in->from.path);
    inspect_put_field(b, "format", in->from.format);
    inspect_put_field(b, "architecture", c->arch);
    buf_printf(b, "\"layers\":%zu,\"width\":%zu,\"heads\":%zu,\"kv_heads\":%zu,\"head_dim\":%zu,\"feed_forward\":%zu,",
               c->n_layer, c->n_embd, c->n_head, c->n_head_kv, c->head_dim, c->n_ff);
    buf_printf(b, "\"vocabulary\":%zu,\"context\":%zu,\"rope_base\":", c->n_vocab, c->n_ctx);
    json_put_number(b, c->rope_base);
    buf_printf(b, ",\"attention_bias\":%s,\"qk_norm\":%s,\"rope_scaling\":%s", c->attn_bias ? "true" : "false",
               c->qk_norm ? "true" : "false",
               c->rope_kind == ROPE_LLAMA3                          ? "\"llama3\""
               : c->rope_kind == ROPE_YARN                          ? "\"yarn\""
               : c->rope_kind == ROPE_LINEAR                        ? "\"linear\""
               : source_find(&in->from.source, "rope_freqs.weight") ? "\"rope_freqs\""
                                                                    : "null");
    buf_printf(b, ",\"rope_interleaved\":%s,\"tied_head\":%s,", c->rope_interleaved ? "true" : "false",
               in->tied ? "true" : "false");
    put_score_head_json(in, b);
    buf_printf(b,
               "\"parameters\":%zu,\"bytes\":%zu,\"kv_bytes_per_token\":%zu,"
               "\"kv_bytes_per_token_bf16\":%zu,\"kv_bytes_per_token_int8\":%zu,",
               in->parameters, in->bytes, kv_bytes_per_token(c, PGR_DTYPE_EXACT), kv_bytes_per_token(c, PGR_DTYPE_BF16),
               kv_bytes_per_token(c, PGR_DTYPE_INT8));
    buf_puts(b, "\"tokenizer\":{");
    inspect_put_field(b, "model", tok_model_name(in->from.tok));
    inspect_put_field(b, "pre", tok_pre_name(in->from.tok));
    buf_printf(b, "\"tokens\":%zu,\"merges\":%zu,\"bos\":%d,\"eos\":%d,\"adds_bos\":%s,\"nfc\":%s},",
               tok_count(in->from.tok), tok_merge_count(in->from.tok), tok_bos(in->from.tok), tok_eos(in->from.tok),
               tok_adds_bos(in->from.tok) ? "true" : "false", tok_nfc(in->from.tok) ? "true" : "false");
    buf_puts(b, "\"chat_template\":{");
    inspect_put_field(b, "kind", chat_name(in->from.chat.kind));
    inspect_put_or_null(b, "from", in->from.chat_from, ",");
    inspect_put_or_null(b, "default_system", in->from.chat.default_system, ",");
    buf_printf(b, "\"system_turn\":%s,",
               in->from.chat.kind == CHAT_NONE ? "null"
               : in->from.chat.no_system       ? "false"
                                               : "true");
    inspect_put_or_null(b, "why_not", in->from.chat.why, "},");
    put_embedding_json(in, b);
    inspect_put_kernels_json(b);
    inspect_put_tensors(b, &in->from.source);
    buf_puts(b, "}");
}

/* ---- text ---- */

static void put_chat(const inspection *in, buf *b) {
    const chat_template *c = &in->from.chat;
    buf_printf(b, "chat template   %s", chat_name(c->kind));
    if (c->kind != CHAT_NONE) buf_printf(b, " (%s)", in->from.chat_from ? in->from.chat_from : "built in");
    if (c->no_system) buf_puts(b, ": takes no system turn, its text goes before the first user turn");
    if (c->why) buf_printf(b, ": %s", c->why);
    if (c->default_system) buf_printf(b, ", default system turn: %s", c->default_system);
    buf_puts(b, "\n");
}

static void put_score_head(const inspection *in, buf *b) {
    char text[TOKEN_TEXT];
    const char *pad = token_text(in, in->from.pad, text);
    buf_printf(b, "score head      one number, read at the last token%s%s: a reward model, for --scalar\n",
               pad ? " that is not " : "", pad ? pad : "");
}

static void put_embedding(const inspection *in, buf *b) {
    char end[TOKEN_TEXT];
    if (in->embed_why.message[0])
        buf_printf(b, "embeddings      none: %s\n", in->embed_why.message);
    else
        inspect_put_embedding(b, &in->embed, in->from.config.n_embd, token_text(in, in->embed_end, end));
}

static void put_cache_size(buf *b, const char *dtype, size_t per_token, size_t n_ctx) {
    buf_printf(b, "                with %s: KV cache %.1f kB per token, %.0f MB for the whole context\n", dtype,
               (double)per_token / 1e3, (double)per_token * (double)n_ctx / 1e6);
}

static void put_memory(const inspection *in, buf *b) {
    const config *c = &in->from.config;
    size_t exact = kv_bytes_per_token(c, PGR_DTYPE_EXACT), bf16 = kv_bytes_per_token(c, PGR_DTYPE_BF16),
           int8 = kv_bytes_per_token(c, PGR_DTYPE_INT8);
    double n = (double)in->parameters * 1e-6;
    buf_printf(b, "--dtype auto    %s on this CPU\n", pgr_dtype_name(pgr_dtype_auto()));
    buf_printf(
        b, "--dtype exact   weights stay mapped as the file has them: the least memory, no conversion at the start; "
           "fp32 arithmetic\n");
    buf_printf(b,
               "--dtype others  weights are copied: f32 %.1f MB, bf16 %.1f MB, int8 %.1f MB; bf16 and int8 round "
               "them%s\n",
               n * 4, n * 2, n * (1 + 2.0 / 64), bf16 < exact || int8 < exact ? ", and K and V" : "");
    buf_printf(
        b, "memory          %.1f MB of weights, mapped; KV cache %.1f kB per token, %.0f MB for the whole context\n",
        (double)in->bytes / 1e6, (double)exact / 1e3, (double)exact * (double)c->n_ctx / 1e6);
    if (bf16 < exact) put_cache_size(b, "bf16", bf16, c->n_ctx);
    if (int8 < exact) put_cache_size(b, "int8", int8, c->n_ctx);
}

static void put_text(const inspection *in, buf *b) {
    const config *c = &in->from.config;
    buf_printf(b, "file            %s (%s)\n", in->from.path, in->from.format);
    buf_printf(b, "architecture    %s: %zu layers, width %zu, %zu heads over %zu KV heads of %zu, feed-forward %zu\n",
               c->arch, c->n_layer, c->n_embd, c->n_head, c->n_head_kv, c->head_dim, c->n_ff);
    buf_printf(b, "positions       %zu, rope base %.0f, %s pairs\n", c->n_ctx, c->rope_base,
               c->rope_interleaved ? "neighbouring (the file's q and k rows are permuted)" : "half-split");
    if (c->attn_bias) buf_puts(b, "attention       biases on q, k and v\n");
    if (c->qk_norm) buf_puts(b, "attention       heads of q and k are normalised before the rotation\n");
    if (c->rope_kind == ROPE_LINEAR) buf_printf(b, "rope scaling    linear: factor %g\n", c->rope_factor);
    if (c->rope_kind == ROPE_YARN)
        buf_printf(b, "rope scaling    yarn: factor %g, from %zu positions, pairs %g to %g, attention times %.4g\n",
                   c->rope_factor, c->rope_original_ctx, c->rope_ramp[0], c->rope_ramp[1], config_rope_scale(c));
    if (c->rope_kind == ROPE_LLAMA3)
        buf_printf(b, "rope scaling    llama3: factor %g, low %g, high %g, from %zu positions\n", c->rope_factor,
                   c->rope_low, c->rope_high, c->rope_original_ctx);
    if (source_find(&in->from.source, "rope_freqs.weight"))
        buf_puts(b, "rope scaling    by the divisors in rope_freqs.weight\n");
    buf_printf(b, "parameters      %.1f million in %.1f MB%s\n", (double)in->parameters / 1e6, (double)in->bytes / 1e6,
               in->tied ? ", output head tied to the embedding" : "");
    if (c->score_head) put_score_head(in, b);
    inspect_put_types(b, &in->from.source);
    buf_printf(b, "tokenizer       %s, pre-tokeniser %s%s: %zu tokens, %zu merges, BOS %s, EOS %d\n",
               tok_model_name(in->from.tok), tok_pre_name(in->from.tok), tok_nfc(in->from.tok) ? " on text in NFC" : "",
               tok_count(in->from.tok), tok_merge_count(in->from.tok),
               tok_adds_bos(in->from.tok) ? "added" : "not added", tok_eos(in->from.tok));
    put_chat(in, b);
    put_embedding(in, b);
    put_memory(in, b);
    inspect_put_kernels(b);
}

static pgr_status inspect_model(const char *path, const pgr_model_options *options, bool json, buf *b, pgr_error *err) {
    inspection in = {.embed_end = -1};
    pgr_status s = read_file(path, options, &in, err);
    if (s == PGR_OK) (json ? put_json : put_text)(&in, b);
    checkpoint_close(&in.from);
    return s;
}

/* ---- interface ---- */

pgr_status pgr_inspect(const char *path, const pgr_model_options *options, bool json, char **out, pgr_error *err) {
    inspect_kind kind;
    buf b = {0};
    PGR_TRY(inspect_kind_of(path, &kind, err));
    if (kind != INSPECT_MODEL && options && options->chat_template)
        return fail(err, PGR_E_ARG, "%s: an %s has no chat template, %s cannot stand in its place", path,
                    kind == INSPECT_ADAPTER ? "adapter" : "encoder", options->chat_template);
    pgr_status s = kind == INSPECT_ADAPTER   ? inspect_adapter(path, json, &b, err)
                   : kind == INSPECT_ENCODER ? inspect_encoder(path, json, &b, err)
                                             : inspect_model(path, options, json, &b, err);
    char *text = s == PGR_OK ? buf_take(&b) : NULL;
    if (s == PGR_OK && !text) s = fail_mem(err);
    if (s == PGR_OK) *out = text;
    buf_free(&b);
    return s;
}
