/* test_bind.c - tensors taken from a source: what is missing, of another type or shape,
 * or asked for by nobody is named. */
#include "gguf_make.h"

#include "format/bind.h"

enum { N = 5 };

typedef struct files {
    source_tensor tensors[N];
    tensor_source source;
    binding b;
    pgr_error err;
    arena arena;
} files;

static void make(files *f) {
    *f = (files){.tensors = {{.name = "model.embed_tokens.weight", .type = QUANT_F32, .dim = {8, 32, 1, 1}},
                             {.name = "model.norm.weight", .type = QUANT_BF16, .dim = {8, 1, 1, 1}},
                             {.name = "model.codes", .type = 99, .dim = {8, 1, 1, 1}},
                             {.name = "model.layers.0.rotary_emb.inv_freq", .type = QUANT_F32, .dim = {4, 1, 1, 1}},
                             {.name = "model.cube", .type = QUANT_F32, .dim = {8, 3, 2, 1}}}};
    f->source = (tensor_source){.path = "dir", .names = SOURCE_HF, .tensors = f->tensors, .n_tensor = N};
    assert_int_equal(source_index(&f->source, &f->arena, NULL), PGR_OK);
    assert_int_equal(bind_begin(&f->b, &f->source, &f->arena, &f->err), PGR_OK);
}

static void refuses(files *f, const char *name, size_t rows, size_t cols, pgr_status status, const char *message) {
    const source_tensor *t = NULL;
    assert_int_equal(bind_tensor(&f->b, name, rows, cols, &t), status);
    assert_string_equal(f->err.message, message);
    assert_null(t);
}

static void checks_presence_type_and_shape(void **state) {
    (void)state;
    files f;
    const source_tensor *t = NULL;
    make(&f);
    assert_int_equal(bind_tensor(&f.b, "model.embed_tokens.weight", 32, 8, &t), PGR_OK);
    assert_ptr_equal(t, &f.tensors[0]);
    assert_int_equal(bind_tensor(&f.b, "model.norm.weight", 1, 8, &t), PGR_OK);
    assert_ptr_equal(t, &f.tensors[1]);
    refuses(&f, "lm_head.weight", 1, 8, PGR_E_FORMAT, "dir: tensor lm_head.weight is missing");
    refuses(&f, "model.norm.weight", 1, 9, PGR_E_FORMAT,
            "dir: tensor model.norm.weight has shape 1 x 8, expected 1 rows of 9");
    refuses(&f, "model.embed_tokens.weight", 8, 32, PGR_E_FORMAT,
            "dir: tensor model.embed_tokens.weight has shape 32 x 8, expected 8 rows of 32");
    refuses(&f, "model.cube", 6, 8, PGR_E_FORMAT, "dir: tensor model.cube has shape 6 x 8, expected 6 rows of 8");
    refuses(&f, "model.codes", 1, 8, PGR_E_UNSUPPORTED,
            "dir: tensor model.codes has type unknown (99), which is not read");
    arena_free(&f.arena);
}

static void names_what_nobody_asked_for(void **state) {
    (void)state;
    files f;
    const source_tensor *t;
    make(&f);
    assert_int_equal(bind_tensor(&f.b, "model.embed_tokens.weight", 32, 8, &t), PGR_OK);
    assert_int_equal(bind_end(&f.b, "architecture"), PGR_E_UNSUPPORTED);
    assert_string_equal(f.err.message, "dir: tensor model.norm.weight is not part of the architecture that we compute");
    bind_skip(&f.b, "model.norm.weight");
    bind_skip(&f.b, "model.codes");
    bind_skip(&f.b, "model.none");
    bind_skip(&f.b, "model.cube");
    assert_int_equal(bind_end(&f.b, "encoder"), PGR_E_UNSUPPORTED);
    assert_string_equal(f.err.message,
                        "dir: tensor model.layers.0.rotary_emb.inv_freq is not part of the encoder that we compute");
    bind_skip_ending(&f.b, ".rotary_emb.inv_freq");
    assert_int_equal(bind_end(&f.b, "encoder"), PGR_OK);
    arena_free(&f.arena);
}

/* GGUF files have no such tables: there it is a tensor like any other. */
static void endings_are_of_hugging_face_names(void **state) {
    (void)state;
    files f;
    make(&f);
    f.source.names = SOURCE_GGUF;
    bind_skip_ending(&f.b, "t");
    for (size_t i = 0; i < N; i++) assert_false(f.b.taken[i]);
    f.source.names = SOURCE_HF;
    bind_skip_ending(&f.b, "model.cube"); /* all of a name is no ending */
    assert_false(f.b.taken[4]);
    arena_free(&f.arena);
}

static void a_prefix_is_there_or_not(void **state) {
    (void)state;
    files f;
    make(&f);
    assert_string_equal(bind_prefix(&f.source, "model.", "embed_tokens.weight"), "model.");
    assert_string_equal(bind_prefix(&f.source, "bert.", "embeddings.word_embeddings.weight"), "");
    arena_free(&f.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_presence_type_and_shape),
        cmocka_unit_test(names_what_nobody_asked_for),
        cmocka_unit_test(endings_are_of_hugging_face_names),
        cmocka_unit_test(a_prefix_is_there_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
