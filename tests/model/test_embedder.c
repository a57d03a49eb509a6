/* test_embedder.c - pgr_embed from text to vectors against what transformers computes (tools/tiny_embed.py), and that a
 * vector depends on its own text alone. */
#include "embed_golden.h"

#include "pgenrm.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

enum { D = 32, MAX = 64 };

typedef struct fixture {
    json_t *golden;
    pgr_embedder *e;
    const char *texts[MAX];
    size_t lens[MAX], n, n_ids[MAX];
} fixture;

static pgr_embedder *open_embedder(const char *path, pgr_dtype dtype, int threads) {
    pgr_model_options o = pgr_model_options_default();
    pgr_embedder *e = NULL;
    pgr_error err;
    o.dtype = dtype;
    o.n_thread = threads;
    pgr_status s = pgr_embedder_open(path, &o, &e, &err);
    bool may_lack = dtype == PGR_DTYPE_BF16 || dtype == PGR_DTYPE_INT8;
    if (s != PGR_OK && !(may_lack && s == PGR_E_UNSUPPORTED)) fail_msg("%s", err.message);
    return e;
}

/* False: this CPU has no kernels for dtype. */
static bool open_fixture(fixture *x, const char *folder, pgr_dtype dtype, int threads) {
    char path[256];
    snprintf(path, sizeof path, "%s/embeddings.json", folder);
    *x = (fixture){.golden = read_json(path), .e = open_embedder(folder, dtype, threads)};
    if (!x->e) print_message("skipped: this CPU has no kernels for dtype %d\n", dtype);
    const json_t *texts = json_object_get(x->golden, "texts"), *ids = json_object_get(x->golden, "ids");
    x->n = json_array_size(texts);
    for (size_t i = 0; i < x->n; i++) {
        x->texts[i] = json_string_value(json_array_get(texts, i));
        x->lens[i] = json_string_length(json_array_get(texts, i));
        x->n_ids[i] = json_array_size(json_array_get(ids, i));
    }
    return x->e != NULL;
}

static void close_fixture(fixture *x) {
    pgr_embedder_close(x->e);
    json_decref(x->golden);
}

static void embed(const fixture *x, const pgr_embed_options *o, float *out, pgr_embedded *counts) {
    pgr_error err;
    if (pgr_embed(x->e, x->texts, x->lens, x->n, o, out, counts, &err) != PGR_OK) fail_msg("%s", err.message);
}

static void assert_near(const fixture *x, const pgr_embed_options *o, const char *name, double bound) {
    float out[MAX * D];
    pgr_embedded counts[MAX];
    embed(x, o, out, counts);
    double error = vector_error(x->golden, name, out, x->n, o->dim ? o->dim : D);
    print_message("%s, %s: largest difference %.2g\n", pgr_embedder_name(x->e), name, error);
    if (!(error <= bound)) fail_msg("above %g", bound);
    if (o->instruct) return;
    for (size_t i = 0; i < x->n; i++) assert_int_equal(counts[i].tokens, x->n_ids[i]);
}

/* Vectors have length 1 to the rounding of D values. */
static void assert_unit(const float *v, size_t dim) {
    double ss = 0;
    for (size_t i = 0; i < dim; i++) ss += (double)v[i] * (double)v[i];
    assert_true(fabs(ss - 1) <= 1e-6);
}

/* 1e-5: issue 4. The other forms: see test_encoder.c and test_families.c; vectors of length 1 have values near 0.2. */
static const struct {
    pgr_dtype dtype;
    double bound;
} dtypes[] = {{PGR_DTYPE_EXACT, 1e-5}, {PGR_DTYPE_F32, 1e-5}, {PGR_DTYPE_BF16, 3e-2}, {PGR_DTYPE_INT8, 1e-1}};

static void a_decoder_equals_transformers(void **state) {
    (void)state;
    for (size_t i = 0; i < LEN(dtypes); i++) {
        fixture x;
        if (open_fixture(&x, QWEN3, dtypes[i].dtype, 2)) {
            pgr_embed_options o = pgr_embed_options_default();
            assert_int_equal(pgr_embedder_dims(x.e), D);
            assert_near(&x, &o, "last", dtypes[i].bound); /* as modules.json says */
            o.dim = 8;
            assert_near(&x, &o, "last of 8", dtypes[i].bound);
            o = (pgr_embed_options){.pool = PGR_POOL_MEAN};
            assert_near(&x, &o, "mean", dtypes[i].bound);
            o = (pgr_embed_options){.instruct = json_string_value(json_object_get(x.golden, "task"))};
            assert_near(&x, &o, "instruct last", dtypes[i].bound);
            o.pool = PGR_POOL_MEAN;
            assert_near(&x, &o, "instruct mean", dtypes[i].bound);
        }
        close_fixture(&x);
    }
}

static void an_encoder_equals_transformers(void **state) {
    (void)state;
    for (size_t i = 0; i < LEN(dtypes); i++) {
        fixture x;
        if (open_fixture(&x, BERT, dtypes[i].dtype, 2)) {
            pgr_embed_options o = pgr_embed_options_default();
            assert_int_equal(pgr_embedder_max_tokens(x.e), 40);
            assert_near(&x, &o, "gelu mean", dtypes[i].bound);
            o.pool = PGR_POOL_CLS;
            assert_near(&x, &o, "gelu cls", dtypes[i].bound);
        }
        close_fixture(&x);
    }
}

/* Alone, in one call, in a call of more tokens than a pass has, with 1 and 2 threads: the same bits. */
static void check_alone(const char *folder, pgr_pool pool) {
    fixture x, y;
    float all[MAX * D], many[MAX * D], one[D];
    pgr_embed_options o = {.pool = pool};
    assert_true(open_fixture(&x, folder, PGR_DTYPE_F32, 2) && open_fixture(&y, folder, PGR_DTYPE_F32, 1));
    embed(&x, &o, all, NULL);
    const char *texts[MAX];
    size_t lens[MAX];
    for (size_t i = 0; i < MAX; i++) texts[i] = x.texts[i % x.n], lens[i] = x.lens[i % x.n];
    assert_int_equal(pgr_embed(y.e, texts, lens, MAX, &o, many, NULL, NULL), PGR_OK);
    for (size_t i = 0; i < MAX; i++) {
        assert_memory_equal(many + i * D, all + i % x.n * D, sizeof one);
        assert_int_equal(pgr_embed(x.e, texts + i, lens + i, 1, &o, one, NULL, NULL), PGR_OK);
        assert_memory_equal(one, all + i % x.n * D, sizeof one);
        assert_unit(one, D);
    }
    close_fixture(&x), close_fixture(&y);
}

static void a_text_does_not_see_the_others(void **state) {
    (void)state;
    check_alone(QWEN3, PGR_POOL_LAST);
    check_alone(QWEN3, PGR_POOL_MEAN);
    check_alone(BERT, PGR_POOL_MEAN);
}

static void long_texts_are_cut_and_counted(void **state) {
    (void)state;
    fixture x;
    char text[4000];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 5) text[i] = ' ';
    const char *texts[] = {text, "x"};
    const size_t lens[] = {sizeof text, 1};
    float out[2 * D];
    pgr_embedded counts[2];
    const struct {
        const char *folder;
        size_t max;
    } cases[] = {{QWEN3, 512}, {BERT, 40}};
    for (size_t i = 0; i < LEN(cases); i++) {
        assert_true(open_fixture(&x, cases[i].folder, PGR_DTYPE_EXACT, 1));
        assert_int_equal(pgr_embed(x.e, texts, lens, 2, NULL, out, counts, NULL), PGR_OK);
        assert_true(counts[0].tokens == cases[i].max && counts[0].cut > 100 && counts[1].cut == 0);
        close_fixture(&x);
    }
}

/* A GGUF file whose tokenizer adds no end token: it is added where the name says that it is an embedding model. */
static void the_end_token_is_added_to_old_files(void **state) {
    (void)state;
    char path[128];
    buf file = {0};
    folder f = folder_make();
    assert_int_equal(file_read(GOLDEN("tiny-qwen3.gguf"), &file, NULL), PGR_OK);
    folder_put(&f, "tiny-embedding.gguf", file.data, file.n);
    folder_put(&f, "tiny.gguf", file.data, file.n);
    const char *texts[] = {"A reader", ""};
    const size_t lens[] = {8, 0};
    pgr_embedded counts[2][2];
    float last[2][2 * D];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", f.path, i ? "tiny-embedding.gguf" : "tiny.gguf");
        pgr_embedder *e = open_embedder(path, PGR_DTYPE_EXACT, 1);
        assert_int_equal(pgr_embed(e, texts, lens, 2, NULL, last[i], counts[i], NULL), PGR_OK);
        pgr_embedder_close(e);
    }
    assert_int_equal(counts[1][0].tokens, counts[0][0].tokens + 1);
    assert_true(counts[0][1].tokens == 1 && counts[1][1].tokens == 1); /* a text of nothing is the end token */
    assert_memory_equal(last[0] + D, last[1] + D, D * sizeof **last);
    folder_remove(&f);
    buf_free(&file);
}

static void wrong_options_are_errors(void **state) {
    (void)state;
    fixture x;
    pgr_error err;
    float out[MAX * D];
    assert_true(open_fixture(&x, QWEN3, PGR_DTYPE_EXACT, 1));
    pgr_embed_options o = {.dim = D + 1};
    assert_int_equal(pgr_embed(x.e, x.texts, x.lens, x.n, &o, out, NULL, &err), PGR_E_ARG);
    assert_string_equal(err.message, "dim is 33, the model's embeddings have 32 values");
    o = (pgr_embed_options){.pool = PGR_POOL_CLS};
    assert_int_equal(pgr_embed(x.e, x.texts, x.lens, x.n, &o, out, NULL, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "needs an encoder; hf-tiny-qwen3-embedding is a decoder"));
    o = (pgr_embed_options){.pool = (pgr_pool)9};
    assert_int_equal(pgr_embed(x.e, x.texts, x.lens, x.n, &o, out, NULL, &err), PGR_E_ARG);
    pgr_cancel cancel = 1;
    o = (pgr_embed_options){.watch.cancel = &cancel};
    assert_int_equal(pgr_embed(x.e, x.texts, x.lens, x.n, &o, out, NULL, &err), PGR_E_CANCELLED);
    cancel = 0;
    embed(&x, &o, out, NULL); /* as if nothing had been */
    assert_true(vector_error(x.golden, "last", out, x.n, D) <= 1e-5);
    assert_int_equal(pgr_embed(x.e, NULL, NULL, 0, NULL, NULL, NULL, NULL), PGR_OK);
    close_fixture(&x);

    pgr_embedder *e;
    assert_int_equal(pgr_embedder_open("/nowhere", NULL, &e, &err), PGR_E_IO);
    pgr_model_options mo = {.n_thread = -1};
    assert_int_equal(pgr_embedder_open(QWEN3, &mo, &e, &err), PGR_E_ARG);
}

/* Models that bring other files: lower case, no Normalize, other sizes. */
static void copy_bert(const folder *f, const char *name) {
    char from[256];
    buf b = {0};
    snprintf(from, sizeof from, BERT "/%s", name);
    assert_int_equal(file_read(from, &b, NULL), PGR_OK);
    folder_put(f, name, b.data, b.n);
    buf_free(&b);
}

static void the_folders_files_count(void **state) {
    (void)state;
    folder f = folder_make();
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json"};
    const char *texts[] = {"A READER ASKS", "a reader asks"};
    const size_t lens[] = {13, 13};
    float plain[2 * D], other[2 * D];
    pgr_embedded counts[2];
    pgr_error err;
    pgr_embedder *e;
    for (size_t i = 0; i < LEN(names); i++) copy_bert(&f, names[i]);
    e = open_embedder(f.path, PGR_DTYPE_EXACT, 1); /* nothing said: mean, length 1, all 64 positions */
    assert_int_equal(pgr_embedder_max_tokens(e), 64);
    assert_int_equal(pgr_embed(e, texts, lens, 2, NULL, plain, NULL, NULL), PGR_OK);
    assert_unit(plain, D);
    pgr_embedder_close(e);

    folder_puts(&f, "sentence_bert_config.json", "{\"max_seq_length\":4,\"do_lower_case\":true}");
    e = open_embedder(f.path, PGR_DTYPE_EXACT, 1);
    assert_int_equal(pgr_embed(e, texts, lens, 2, NULL, other, counts, NULL), PGR_OK);
    assert_true(counts[0].tokens == 4 && counts[0].cut > 0);
    assert_memory_equal(other, other + D, D * sizeof *other);
    pgr_embedder_close(e);

    folder_puts(&f, "sentence_bert_config.json", "{\"max_seq_length\":2}");
    assert_int_equal(pgr_embedder_open(f.path, NULL, &e, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "a text may have 2 tokens, of which 2 are special"));
    folder_puts(&f, "sentence_bert_config.json", "{}");
    folder_puts(&f, "pooling", "");
    folder_puts(&f, "modules.json",
                "[{\"type\":\"a.Transformer\",\"path\":\"\"},{\"type\":\"a.Pooling\",\"path\":\".\"}]");
    assert_int_equal(pgr_embedder_open(f.path, NULL, &e, &err), PGR_E_FORMAT); /* its config.json names no pooling */
    assert_non_null(strstr(err.message, "names no pooling"));
    folder_remove(&f);
}

static bool embed_all(const char *path) {
    pgr_embedder *e;
    const char *texts[] = {"A reader asks", ""};
    const size_t lens[] = {13, 0};
    float out[2 * D];
    pgr_model_options o = pgr_model_options_default();
    o.n_thread = 1;
    if (pgr_embedder_open(path, &o, &e, NULL) != PGR_OK) return false;
    pgr_embed_options eo = {.instruct = "task"};
    bool worked = pgr_embed(e, texts, lens, 2, &eo, out, NULL, NULL) == PGR_OK;
    pgr_embedder_close(e);
    return worked;
}
static bool embed_qwen3(void) {
    return embed_all(QWEN3);
}
static bool embed_bert(void) {
    return embed_all(BERT);
}

static void every_failed_allocation_is_an_error(void **state) {
    (void)state;
    assert_true(fail_allocations(embed_qwen3, 8) > 100);
    assert_true(fail_allocations(embed_bert, 8) > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decoder_equals_transformers),
        cmocka_unit_test(an_encoder_equals_transformers),
        cmocka_unit_test(a_text_does_not_see_the_others),
        cmocka_unit_test(long_texts_are_cut_and_counted),
        cmocka_unit_test(the_end_token_is_added_to_old_files),
        cmocka_unit_test(wrong_options_are_errors),
        cmocka_unit_test(the_folders_files_count),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
