/* inspect_encoder.c - what a folder with an encoder of the BERT family holds and how `embed` will use it. */
#include "base/json.h"
#include "export/inspect_parts.h"
#include "model/embedder.h"

typedef struct look {
    const char *path;
    encoder_config config;
    sentence_config say;
    tokenizer *tok;
    safetensors files;
    size_t parameters, bytes;
} look;

static pgr_status read_folder(look *l, pgr_error *err) {
    bool is_encoder;
    PGR_TRY(encoder_config_read(l->path, &is_encoder, &l->config, err));
    PGR_TRY(sentence_read(l->path, &l->say, err));
    PGR_TRY(tok_open_folder(l->path, &l->tok, err));
    PGR_TRY(safetensors_open(l->path, &l->files, err));
    embedder_encoder_rule(&l->config, &l->say);
    inspect_count(&l->files.source, &l->parameters, &l->bytes);
    return PGR_OK;
}

static const char *act_name(encoder_act act) {
    return act == ENCODER_GELU ? "gelu" : act == ENCODER_GELU_TANH ? "gelu_tanh" : "relu";
}

static void put_json(const look *l, buf *b) {
    const encoder_config *c = &l->config;
    buf_puts(b, "{\"kind\":\"encoder\",");
    inspect_put_field(b, "path", l->path);
    inspect_put_field(b, "format", "huggingface");
    inspect_put_field(b, "architecture", "bert");
    buf_printf(b, "\"layers\":%zu,\"width\":%zu,\"heads\":%zu,\"feed_forward\":%zu,\"vocabulary\":%zu,\"context\":%zu,",
               c->n_layer, c->n_embd, c->n_head, c->n_ff, c->n_vocab, c->n_pos);
    inspect_put_field(b, "activation", act_name(c->act));
    buf_printf(b, "\"parameters\":%zu,\"bytes\":%zu,\"tokenizer\":{", l->parameters, l->bytes);
    inspect_put_field(b, "model", tok_model_name(l->tok));
    inspect_put_field(b, "pre", tok_pre_name(l->tok));
    buf_printf(b, "\"tokens\":%zu},\"embedding\":{", tok_count(l->tok));
    inspect_put_embedding_json(b, &l->say, c->n_embd, -1);
    buf_puts(b, "\"why_not\":null},");
    inspect_put_kernels_json(b);
    inspect_put_tensors(b, &l->files.source);
    buf_puts(b, "}");
}

static void put_text(const look *l, buf *b) {
    const encoder_config *c = &l->config;
    double n = (double)l->parameters * 1e-6;
    buf_printf(b, "file            %s (huggingface), an encoder: for `pgenrm embed`\n", l->path);
    buf_printf(b, "architecture    bert: %zu layers, width %zu, %zu heads, feed-forward %zu with %s\n", c->n_layer,
               c->n_embd, c->n_head, c->n_ff, act_name(c->act));
    buf_printf(b, "positions       %zu, learnt\n", c->n_pos);
    buf_printf(b, "parameters      %.1f million in %.1f MB\n", n, (double)l->bytes / 1e6);
    inspect_put_types(b, &l->files.source);
    buf_printf(b, "tokenizer       %s, pre-tokeniser %s: %zu tokens, %zu before and %zu behind a text\n",
               tok_model_name(l->tok), tok_pre_name(l->tok), tok_count(l->tok), tok_before(l->tok), tok_after(l->tok));
    inspect_put_embedding(b, &l->say, c->n_embd, NULL);
    buf_printf(b, "--dtype auto    the same as f32; bf16 and int8 round the matrices of the layers\n");
    inspect_put_kernels(b);
}

pgr_status inspect_encoder(const char *path, bool json, buf *out, pgr_error *err) {
    look l = {.path = path};
    pgr_status s = read_folder(&l, err);
    if (s == PGR_OK) (json ? put_json : put_text)(&l, out);
    tok_close(l.tok);
    safetensors_close(&l.files);
    return s;
}
