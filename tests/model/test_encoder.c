/* test_encoder.c - the encoder over a tiny random BERT that transformers wrote (tools/tiny_embed.py): hidden states for
 * all activations and forms of weights, batches, spellings of tensor names, and what is refused. */
#include "embed_golden.h"

#include "format/safetensors.h"
#include "model/encoder.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

typedef struct fixture {
    json_t *golden;
    safetensors files;
    encoder_config c;
    pool *threads;
    ops *ops;
    encoder e;
    encoder_state *s;
    int32_t ids[512];
    size_t start[32], n; /* all sentences in one batch */
} fixture;

enum { D = 32 };

static void read_ids(fixture *x) {
    const json_t *ids = json_object_get(x->golden, "ids");
    x->n = json_array_size(ids);
    x->start[0] = 0;
    for (size_t i = 0; i < x->n; i++) {
        const json_t *v = json_array_get(ids, i);
        for (size_t k = 0; k < json_array_size(v); k++)
            x->ids[x->start[i] + k] = (int32_t)json_integer_value(json_array_get(v, k));
        x->start[i + 1] = x->start[i] + json_array_size(v);
    }
}

/* False: this CPU has no kernels for the form. */
static bool open_fixture(fixture *x, const char *folder, encoder_act act, gemm_form form, int threads) {
    bool is_encoder;
    pgr_error err;
    *x = (fixture){.golden = read_json(BERT "/embeddings.json")};
    if (encoder_config_read(folder, &is_encoder, &x->c, &err) != PGR_OK
        || safetensors_open(folder, &x->files, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_true(is_encoder);
    x->c.act = act;
    assert_int_equal(pool_create(threads, &x->threads, NULL), PGR_OK);
    assert_int_equal(ops_create_cpu(x->threads, &x->ops, NULL), PGR_OK);
    pgr_status s = encoder_open(&x->files.source, &x->c, form, x->ops, NULL, &x->e, &err);
    if (s == PGR_E_UNSUPPORTED && form != GEMM_F32) return false;
    if (s != PGR_OK) fail_msg("%s", err.message);
    read_ids(x);
    assert_int_equal(encoder_state_create(&x->e, 512, &x->s, NULL), PGR_OK);
    return true;
}

static void close_fixture(fixture *x) {
    encoder_state_free(x->s);
    encoder_close(&x->e);
    ops_free(x->ops);
    pool_free(x->threads);
    safetensors_close(&x->files);
    json_decref(x->golden);
}

static const float *run_all(fixture *x) {
    const float *hidden = NULL;
    pgr_error err;
    if (encoder_run(x->s, x->ids, x->start, x->n, &hidden, &err) != PGR_OK) fail_msg("%s", err.message);
    return hidden;
}

/* The largest difference of a component of mean or first-token vectors. */
static double error_of(fixture *x, const float *hidden, const char *act, bool mean) {
    char name[32];
    float v[32 * D];
    for (size_t i = 0; i < x->n; i++)
        for (size_t k = 0; k < D; k++) {
            double sum = 0;
            size_t end = mean ? x->start[i + 1] : x->start[i] + 1;
            for (size_t row = x->start[i]; row < end; row++) sum += (double)hidden[row * D + k];
            v[i * D + k] = (float)(sum / (double)(end - x->start[i]));
        }
    snprintf(name, sizeof name, "%s %s", act, mean ? "mean" : "cls");
    return vector_error(x->golden, name, v, x->n, D);
}

/* fp32: the promise is 1e-5 (issue 4); a few roundings of 6e-8 per layer stay far below it. bf16 keeps 8 bits, int8 7
 * of the largest value of a row: two layers of four products each. */
static void hidden_states_of_transformers(void **state) {
    (void)state;
    static const char *const acts[] = {
        [ENCODER_GELU] = "gelu", [ENCODER_GELU_TANH] = "gelu_new", [ENCODER_RELU] = "relu"};
    static const struct {
        gemm_form form;
        double bound;
    } forms[] = {{GEMM_F32, 1e-6}, {GEMM_BF16, 3e-2}, {GEMM_INT8, 1e-1}};
    for (size_t f = 0; f < LEN(forms); f++)
        for (size_t a = 0; a < LEN(acts); a++) {
            fixture x;
            if (!open_fixture(&x, BERT, (encoder_act)a, forms[f].form, 2)) {
                print_message("skipped: this CPU has no kernels for form %d\n", forms[f].form);
                close_fixture(&x);
                continue;
            }
            const float *hidden = run_all(&x);
            double mean = error_of(&x, hidden, acts[a], true), cls = error_of(&x, hidden, acts[a], false);
            print_message("form %d, %s: largest difference %.2g mean, %.2g cls\n", forms[f].form, acts[a], mean, cls);
            if (!(mean <= forms[f].bound && cls <= forms[f].bound)) fail_msg("above %g", forms[f].bound);
            if (f == 0) assert_false(error_of(&x, hidden, acts[(a + 1) % 3], true) <= 20 * forms[f].bound);
            close_fixture(&x);
        }
}

static void a_sentence_does_not_see_its_batch(void **state) {
    (void)state;
    static const gemm_form forms[] = {GEMM_F32, GEMM_BF16, GEMM_INT8};
    for (size_t f = 0; f < LEN(forms); f++) {
        fixture x;
        if (open_fixture(&x, BERT, ENCODER_GELU, forms[f], 2)) {
            float all[512 * D];
            size_t n = x.start[x.n];
            memcpy(all, run_all(&x), n * D * sizeof *all);
            for (size_t i = 0; i < x.n; i++) {
                size_t start[] = {0, x.start[i + 1] - x.start[i]};
                const float *alone;
                assert_int_equal(encoder_run(x.s, x.ids + x.start[i], start, 1, &alone, NULL), PGR_OK);
                assert_memory_equal(alone, all + x.start[i] * D, start[1] * D * sizeof *all);
            }
        } else {
            print_message("skipped: this CPU has no kernels for form %d\n", forms[f]);
        }
        close_fixture(&x);
    }
}

static void tokens_beyond_the_vocabulary_are_refused(void **state) {
    (void)state;
    fixture x;
    pgr_error err;
    const float *hidden;
    assert_true(open_fixture(&x, BERT, ENCODER_GELU, GEMM_F32, 1));
    const int32_t wrong[] = {-1, (int32_t)x.c.n_vocab};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(encoder_run(x.s, wrong + i, (size_t[]){0, 1}, 1, &hidden, &err), PGR_E_ARG);
    assert_string_equal(err.message, "token 274 is not in the vocabulary of 274");
    close_fixture(&x);
}

/* ---- other spellings of the same file ---- */

typedef struct rename {
    const char *from, *to; /* parts of names; from "": to is put before the name */
} rename_rule;

static char *renamed(const char *name, const rename_rule *rules, size_t n) {
    char *out = strdup(name);
    for (size_t i = 0; i < n; i++) {
        char *at = strstr(out, rules[i].from), next[256];
        if (!at) continue;
        snprintf(next, sizeof next, "%.*s%s%s", (int)(at - out), out, rules[i].to, at + strlen(rules[i].from));
        free(out);
        out = strdup(next);
    }
    return out;
}

/* The golden weights under other names; extra: one more tensor, without data. */
static void write_weights(const folder *f, const rename_rule *rules, size_t n, const char *extra) {
    buf file = {0};
    assert_int_equal(file_read(BERT "/model.safetensors", &file, NULL), PGR_OK);
    size_t size = 0;
    for (size_t i = 8; i-- > 0;) size = size << 8 | (uint8_t)file.data[i];
    json_t *header = NULL, *out = json_object();
    assert_int_equal(json_parse(file.data + 8, size, "header", 1, &header, NULL), PGR_OK);
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        char *name = renamed(key, rules, key[0] == '_' ? 0 : n); /* not __metadata__ */
        json_object_set(out, name, value);
        free(name);
    }
    size_t data = file.n - 8 - size;
    if (extra)
        json_object_set_new(
            out, extra,
            json_pack("{s:s,s:[i],s:[i,i]}", "dtype", "I64", "shape", 0, "data_offsets", (int)data, (int)data));
    char *text = json_dumps(out, JSON_COMPACT);
    buf whole = {0};
    for (size_t i = 0; i < 8; i++) buf_putc(&whole, (char)(strlen(text) >> (8 * i)));
    buf_puts(&whole, text);
    buf_add(&whole, file.data + 8 + size, data);
    folder_put(f, "model.safetensors", whole.data, whole.n);
    free(text);
    json_decref(header), json_decref(out);
    buf_free(&file), buf_free(&whole);
}

static void copy_file(const folder *f, const char *name) {
    char from[512];
    buf b = {0};
    snprintf(from, sizeof from, BERT "/%s", name);
    assert_int_equal(file_read(from, &b, NULL), PGR_OK);
    folder_put(f, name, b.data, b.n);
    buf_free(&b);
}

static void other_spellings_are_the_same_model(void **state) {
    (void)state;
    static const rename_rule rules[] = {
        {"", "bert."}, {"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}};
    folder f = folder_make();
    copy_file(&f, "config.json");
    for (size_t n = 0; n <= LEN(rules); n++) {
        fixture x;
        write_weights(&f, rules, n, n ? "bert.embeddings.position_ids" : "embeddings.position_ids");
        assert_true(open_fixture(&x, f.path, ENCODER_GELU, GEMM_F32, 1));
        assert_true(error_of(&x, run_all(&x), "gelu", true) <= 1e-6);
        close_fixture(&x);
    }
    folder_remove(&f);
}

static void wrong_tensors_are_named(void **state) {
    (void)state;
    static const struct {
        rename_rule rule;
        const char *extra, *message;
    } cases[] = {
        {{"encoder.layer.1.attention.self.key.weight", "k"},
         NULL,
         "tensor encoder.layer.1.attention.self.key.weight is missing"},
        {{"embeddings.LayerNorm.bias", "b"}, NULL, "tensor embeddings.LayerNorm.bias is missing"},
        {{"word_embeddings", "w"}, NULL, "tensor embeddings.word_embeddings.weight is missing"},
        {{"", ""}, "classifier.weight", "tensor classifier.weight is not part of the encoder that we compute"},
        {{"", ""}, "encoder.layer.2.output.dense.bias", "tensor encoder.layer.2.output.dense.bias is not part"},
    };
    folder f = folder_make();
    for (size_t i = 0; i < LEN(cases); i++) {
        safetensors s;
        encoder e;
        encoder_config c;
        bool is_encoder;
        ops *o;
        pgr_error err;
        write_weights(&f, &cases[i].rule, 1, cases[i].extra);
        assert_int_equal(encoder_config_read(BERT, &is_encoder, &c, NULL), PGR_OK);
        assert_int_equal(safetensors_open(f.path, &s, NULL), PGR_OK);
        assert_int_equal(ops_create_cpu(NULL, &o, NULL), PGR_OK);
        assert_true(encoder_open(&s.source, &c, GEMM_F32, o, NULL, &e, &err) < 0);
        ops_free(o);
        if (!strstr(err.message, cases[i].message)) fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].message);
        safetensors_close(&s);
    }
    folder_remove(&f);
}

static void loading_can_be_cancelled(void **state) {
    (void)state;
    safetensors s;
    encoder e;
    encoder_config c;
    bool is_encoder;
    pgr_error err;
    pgr_cancel cancel = 1;
    pgr_watch watch = {.cancel = &cancel};
    assert_int_equal(encoder_config_read(BERT, &is_encoder, &c, NULL), PGR_OK);
    assert_int_equal(safetensors_open(BERT, &s, NULL), PGR_OK);
    ops *o;
    assert_int_equal(ops_create_cpu(NULL, &o, NULL), PGR_OK);
    assert_int_equal(encoder_open(&s.source, &c, GEMM_F32, o, &watch, &e, &err), PGR_E_CANCELLED);
    ops_free(o);
    safetensors_close(&s);
}

static void shapes_follow_the_config(void **state) {
    (void)state;
    safetensors s;
    encoder e;
    encoder_config c;
    bool is_encoder;
    pgr_error err;
    assert_int_equal(encoder_config_read(BERT, &is_encoder, &c, NULL), PGR_OK);
    assert_int_equal(safetensors_open(BERT, &s, NULL), PGR_OK);
    c.n_ff = 64;
    ops *o;
    assert_int_equal(ops_create_cpu(NULL, &o, NULL), PGR_OK);
    assert_int_equal(encoder_open(&s.source, &c, GEMM_F32, o, NULL, &e, &err), PGR_E_FORMAT);
    ops_free(o);
    assert_non_null(strstr(err.message, "intermediate.dense.bias has shape 1 x 48, expected 1 rows of 64"));
    safetensors_close(&s);
}

/* ---- config.json ---- */

#define SIZES                                                                                                          \
    "\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":48,"                   \
    "\"max_position_embeddings\":64,\"vocab_size\":300"

static pgr_status parse(const char *text, bool *is_encoder, encoder_config *c, pgr_error *err) {
    return encoder_config_parse(text, strlen(text), "config.json", is_encoder, c, err);
}

static void configs_are_read(void **state) {
    (void)state;
    bool is_encoder;
    encoder_config c;
    assert_int_equal(parse("{\"model_type\":\"bert\"," SIZES "}", &is_encoder, &c, NULL), PGR_OK);
    assert_true(is_encoder && c.n_embd == 32 && c.n_layer == 2 && c.n_head == 4 && c.n_ff == 48 && c.n_pos == 64);
    assert_true(c.n_vocab == 300 && c.n_type == 2 && c.norm_eps == 1e-12f && c.act == ENCODER_GELU);
    assert_int_equal(
        parse("{\"model_type\":\"bert\",\"layer_norm_eps\":1e-5,\"type_vocab_size\":1,\"hidden_act\":\"gelu_new\","
              "\"position_embedding_type\":null,\"pruned_heads\":{}," SIZES "}",
              &is_encoder, &c, NULL),
        PGR_OK);
    assert_true(c.n_type == 1 && c.norm_eps == 1e-5f && c.act == ENCODER_GELU_TANH);
    assert_int_equal(parse("{\"model_type\":\"qwen3\"}", &is_encoder, &c, NULL), PGR_OK);
    assert_false(is_encoder);
    assert_int_equal(parse("{}", &is_encoder, &c, NULL), PGR_OK);
    assert_false(is_encoder);
}

static void configs_are_refused_by_the_keys_name(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
        pgr_status status;
    } cases[] = {
        {SIZES ",\"is_decoder\":true", "config.json: is_decoder is true", PGR_E_UNSUPPORTED},
        {SIZES ",\"add_cross_attention\":true", "config.json: add_cross_attention is true", PGR_E_UNSUPPORTED},
        {SIZES ",\"is_decoder\":1", "is_decoder is an integer, want true or false", PGR_E_FORMAT},
        {SIZES ",\"position_embedding_type\":\"relative_key\"", "position_embedding_type is \"relative_key\"",
         PGR_E_UNSUPPORTED},
        {SIZES ",\"hidden_act\":\"silu\"", "hidden_act is \"silu\"", PGR_E_UNSUPPORTED},
        {SIZES ",\"hidden_act\":3", "hidden_act", PGR_E_FORMAT},
        {SIZES ",\"pruned_heads\":{\"1\":[0]}", "pruned_heads is not empty", PGR_E_UNSUPPORTED},
        {SIZES ",\"quantization_config\":{}", "quantization_config", PGR_E_UNSUPPORTED},
        {SIZES ",\"layer_norm_eps\":0", "layer_norm_eps is 0", PGR_E_FORMAT},
        {SIZES ",\"layer_norm_eps\":\"x\"", "layer_norm_eps is a string", PGR_E_FORMAT},
        {SIZES ",\"type_vocab_size\":0", "type_vocab_size: found 0, expected 1 to", PGR_E_FORMAT},
        {"\"hidden_size\":32", "key num_hidden_layers is missing", PGR_E_FORMAT},
        {"\"hidden_size\":30,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":48,"
         "\"max_position_embeddings\":64,\"vocab_size\":300",
         "hidden_size 30 is not a multiple of num_attention_heads 4", PGR_E_FORMAT},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char text[1024];
        bool is_encoder;
        encoder_config c;
        pgr_error err;
        snprintf(text, sizeof text, "{\"model_type\":\"bert\",%s}", cases[i].text);
        assert_int_equal(parse(text, &is_encoder, &c, &err), cases[i].status);
        if (!strstr(err.message, cases[i].message)) fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].message);
    }
}

static bool open_and_run(void) {
    safetensors s;
    encoder e;
    encoder_config c;
    encoder_state *es = NULL;
    bool is_encoder;
    const float *hidden;
    const int32_t ids[] = {2, 7, 3};
    if (encoder_config_read(BERT, &is_encoder, &c, NULL) != PGR_OK) return false;
    if (safetensors_open(BERT, &s, NULL) != PGR_OK) return false;
    ops *o = NULL;
    bool worked =
        ops_create_cpu(NULL, &o, NULL) == PGR_OK && encoder_open(&s.source, &c, GEMM_F32, o, NULL, &e, NULL) == PGR_OK;
    if (worked) {
        worked = encoder_state_create(&e, 8, &es, NULL) == PGR_OK
                 && encoder_run(es, ids, (size_t[]){0, 3}, 1, &hidden, NULL) == PGR_OK;
        encoder_state_free(es);
        encoder_close(&e);
    }
    ops_free(o);
    safetensors_close(&s);
    return worked;
}

static void every_failed_allocation_is_an_error(void **state) {
    (void)state;
    assert_true(fail_each_allocation(open_and_run) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hidden_states_of_transformers),
        cmocka_unit_test(a_sentence_does_not_see_its_batch),
        cmocka_unit_test(tokens_beyond_the_vocabulary_are_refused),
        cmocka_unit_test(other_spellings_are_the_same_model),
        cmocka_unit_test(wrong_tensors_are_named),
        cmocka_unit_test(loading_can_be_cancelled),
        cmocka_unit_test(shapes_follow_the_config),
        cmocka_unit_test(configs_are_read),
        cmocka_unit_test(configs_are_refused_by_the_keys_name),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
