/* test_convert.c - GGUF files made of the tiny folders give the folders' numbers and token ids; what cannot be written
 * leaves nothing behind. That llama.cpp and transformers give the same tokens is checked by
 * tools/compare_exports.py. */
#include "export_fixture.h"

#include "export/export.h"
#include "format/gguf_write.h"

static pgr_status convert(const char *model, const char *out, pgr_file_type type, bool force, pgr_error *err) {
    pgr_write_options o = pgr_write_options_default();
    o.type = type;
    o.force = force;
    o.n_thread = 2;
    return pgr_convert(model, out, &o, NULL, err);
}

static const char *converted(const char *model, const char *name, pgr_file_type type) {
    pgr_error err;
    const char *path = path_of(name);
    if (convert(model, path, type, true, &err) != PGR_OK) fail_msg("%s: %s", model, err.message);
    return path;
}

/* ---- F32: the same numbers ---- */

static void same_ids(const tokenizer *a, const tokenizer *b) {
    static const char text[] =
        "A reader's 3 questions,  weighed:\n\tbrevity 40\xe2\x80\x99 <|im_start|>Der L\xc3\xa4ngste \xf0\x9f\x98\x80 x";
    for (int flags = 0; flags < 4; flags++) {
        ids x = {0}, y = {0};
        assert_int_equal(tok_encode(a, text, sizeof text - 1, flags, &x, NULL), PGR_OK);
        assert_int_equal(tok_encode(b, text, sizeof text - 1, flags, &y, NULL), PGR_OK);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.v, y.v, x.n * sizeof *x.v);
        ids_free(&x);
        ids_free(&y);
    }
    assert_int_equal(tok_bos(a), tok_bos(b));
    assert_int_equal(tok_eos(a), tok_eos(b));
    for (size_t i = 0; i < tok_count(a); i++) assert_int_equal(tok_ends(a, (int32_t)i), tok_ends(b, (int32_t)i));
}

static void f32_gives_the_folders_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILY; i++) {
        fixture a, b;
        assert_true(open_fixture(&a, families[i].folder, families[i].json, PGR_DTYPE_EXACT, 1));
        assert_true(open_fixture(&b, converted(families[i].folder, "f32.gguf", PGR_FILE_F32), families[i].json,
                                 PGR_DTYPE_EXACT, 1));
        double top = 0, diff = 0;
        for (size_t k = 0; k < 64 * a.V; k++) {
            double d = fabs((double)a.logits[k] - (double)b.logits[k]);
            top = fmax(top, fabs((double)a.logits[k]));
            if (!(d <= diff)) diff = d;
        }
        print_message("%s: largest difference %.2g of the largest logit\n", families[i].folder, diff / top);
        /* the order of q and k rows changes the order of sums of head_dim products: a few ulp through two layers */
        if (!(diff <= 2e-6 * top)) fail_msg("%s: %g", families[i].folder, diff / top);
        same_ids(a.m->tok, b.m->tok);
        assert_int_equal(a.m->chat.kind, b.m->chat.kind);
        assert_int_equal(a.m->config.n_ctx, b.m->config.n_ctx);
        assert_true(golden_error(&b) <= 2e-5); /* as test_family_folders.c */
        close_fixture(&a);
        close_fixture(&b);
    }
}

/* ---- packed types: every value within what its type can say ---- */

/* Largest error of a value in a block whose largest magnitude is top,
 * from the rounding of the value and of the scale (11 bits) */
static double bound_of(uint32_t type, double x, double top) {
    switch (type) {
    case QUANT_F32:
        return 0;
    case QUANT_F16:
        return fabs(x) * 0x1p-11 + 0x1p-25;
    case QUANT_BF16:
        return fabs(x) * 0x1p-8;
    case QUANT_Q8_0:
        return top / 127 * 0.5 + top * 0x1p-11 + 0x1p-24;
    default: /* Q4_0: one step where the value is as far on the other side as the largest, else half */
        return top / 8 * 1.0 + top * 0x1p-11 + 0x1p-24;
    }
}

static void within_bounds(const char *exact, const char *packed, quant_type want) {
    gguf a, b;
    size_t n_want = 0;
    assert_int_equal(gguf_open(exact, &a, NULL), PGR_OK);
    assert_int_equal(gguf_open(packed, &b, NULL), PGR_OK);
    assert_int_equal(a.n_tensor, b.n_tensor);
    for (size_t i = 0; i < a.n_tensor; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.*s", (int)a.tensors[i].name.n, a.tensors[i].name.s);
        const gguf_tensor *x = &a.tensors[i], *y = gguf_find_tensor(&b, name);
        size_t cols = x->dim[0], n = cols * x->dim[1];
        assert_non_null(y);
        assert_int_equal(x->type, QUANT_F32);
        assert_int_equal(x->n_dim, y->n_dim);
        n_want += y->type == (uint32_t)want;
        if (x->n_dim == 1) assert_int_equal(y->type, QUANT_F32);
        if (cols % 32 != 0 && want != QUANT_BF16) assert_true(y->type == QUANT_F16 || y->n_dim == 1);
        float *v = malloc(n * sizeof *v), *w = malloc(n * sizeof *w);
        memcpy(v, x->data, n * sizeof *v);
        quant_dequant((quant_type)y->type, w, y->data, n);
        for (size_t k = 0; k < n; k++) {
            size_t first = k - k % cols % 32;
            double top = 0, d = fabs((double)v[k] - (double)w[k]);
            for (size_t j = first; j < first + 32 && j < n; j++) top = fmax(top, fabs((double)v[j]));
            if (!(d <= bound_of(y->type, v[k], top)))
                fail_msg("%s: tensor %s (%s) value %zu: %g, %g", packed, name, quant_name(y->type), k, (double)v[k],
                         (double)w[k]);
        }
        free(v);
        free(w);
    }
    assert_true(n_want > 0);
    gguf_close(&a);
    gguf_close(&b);
}

static void packed_types_are_within_their_bounds(void **state) {
    (void)state;
    static const struct {
        pgr_file_type type;
        quant_type want;
    } types[] = {{PGR_FILE_F16, QUANT_F16},
                 {PGR_FILE_BF16, QUANT_BF16},
                 {PGR_FILE_Q8_0, QUANT_Q8_0},
                 {PGR_FILE_Q4_0, QUANT_Q4_0}};
    for (size_t i = 0; i < N_FAMILY; i++) {
        char exact[160];
        strcpy(exact, converted(families[i].folder, "exact.gguf", PGR_FILE_F32));
        for (size_t k = 0; k < 4; k++) {
            bool whole =
                strstr(families[i].folder, "mistral") == NULL; /* rows of 48: only ffn_down and attn_output are whole */
            const char *packed = converted(families[i].folder, "packed.gguf", types[k].type);
            within_bounds(exact, packed, types[k].want);
            pgr_model *m = model_of(packed, PGR_DTYPE_EXACT, 1);
            assert_non_null(m);
            if (types[k].type == PGR_FILE_Q4_0 && whole) assert_int_equal(m->weights.token_embd->type, QUANT_Q8_0);
            pgr_model_close(m);
        }
    }
}

/* ---- from GGUF ---- */

static void gguf_is_kept_or_changed(void **state) {
    (void)state;
    gguf a, b;
    const char *source = GOLDEN("tiny-llama31.gguf");
    const char *path = converted(source, "keep.gguf", PGR_FILE_KEEP);
    assert_int_equal(gguf_open(source, &a, NULL), PGR_OK);
    assert_int_equal(gguf_open(path, &b, NULL), PGR_OK);
    assert_int_equal(a.n_tensor, b.n_tensor);
    for (size_t i = 0; i < a.n_tensor; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.*s", (int)a.tensors[i].name.n, a.tensors[i].name.s);
        const gguf_tensor *t = gguf_find_tensor(&b, name);
        assert_non_null(t);
        assert_int_equal(t->type, a.tensors[i].type);
        assert_int_equal(t->bytes, a.tensors[i].bytes);
        assert_memory_equal(t->data, a.tensors[i].data, t->bytes);
    }
    for (size_t i = 0; i < a.n_value; i++) {
        char key[96];
        snprintf(key, sizeof key, "%.*s", (int)a.values[i].key.n, a.values[i].key.s);
        const gguf_value *v = gguf_find(&b, key);
        assert_non_null(v);
        assert_true(v->kind == a.values[i].kind && v->item == a.values[i].item && v->n == a.values[i].n);
    }
    gguf_close(&a);
    gguf_close(&b);
    within_bounds(source, converted(source, "q8.gguf", PGR_FILE_Q8_0), QUANT_Q8_0);
    fixture x;
    assert_true(open_fixture(&x, path, GOLDEN("tiny-llama31.json"), PGR_DTYPE_EXACT, 1));
    assert_true(golden_error(&x) <= 2e-5);
    close_fixture(&x);
}

/* ---- failures ---- */

static void assert_fails(pgr_status want, const char *says, pgr_status got, const pgr_error *err) {
    if (got != want || !strstr(err->message, says)) fail_msg("status %d: %s; wanted %s", got, err->message, says);
}

static void older_files_are_safe(void **state) {
    (void)state;
    pgr_error err = {0};
    const char *path = path_of("model.gguf");
    assert_int_equal(convert(families[1].folder, path, PGR_FILE_F32, false, &err), PGR_OK);
    assert_fails(PGR_E_ARG, "model.gguf: exists; --force replaces it",
                 convert(families[2].folder, path, PGR_FILE_F32, false, &err), &err);
    assert_fails(PGR_E_ARG, ": is a folder", convert(families[2].folder, scratch, PGR_FILE_F32, true, &err), &err);
    limit_files(50000);
    assert_fails(PGR_E_IO, "model.gguf: cannot be written: File too large",
                 convert(families[2].folder, path, PGR_FILE_F32, true, &err), &err);
    limit_files(0);
    pgr_model *m = model_of(path, PGR_DTYPE_EXACT, 1);
    assert_int_equal(m->config.rope_dim, 8);
    assert_string_equal(m->config.arch, "llama"); /* still the first one */
    pgr_model_close(m);
    assert_fails(PGR_E_IO, "no-such", convert("/tmp/no-such-model", path, PGR_FILE_F32, true, &err), &err);
    assert_fails(PGR_E_IO, "/tmp/no-such/x: cannot be written",
                 convert(families[1].folder, "/tmp/no-such/x", PGR_FILE_F32, true, &err), &err);
    assert_int_equal(count_entries(), 1);
}

static void cancelled_leaves_nothing(void **state) {
    (void)state;
    pgr_error err = {0};
    pgr_cancel cancel = 0;
    pgr_write_options o = pgr_write_options_default();
    o.watch.cancel = &cancel;
    o.watch.progress = cancel_now;
    o.watch.progress_ctx = (void *)(uintptr_t)&cancel;
    assert_int_equal(pgr_convert(families[1].folder, path_of("x.gguf"), &o, NULL, &err), PGR_E_CANCELLED);
    assert_int_equal(count_entries(), 0);
}

static bool convert_gguf(void) {
    pgr_write_options o = pgr_write_options_default();
    o.type = PGR_FILE_Q8_0;
    o.force = true;
    o.n_thread = 1;
    return pgr_convert(PGR_SOURCE_DIR "/tests/golden/tokenizer/../tiny-llama31.gguf", path_of("x.gguf"), &o, NULL, NULL)
           == PGR_OK;
}

static void out_of_memory(void **state) {
    (void)state;
    print_message("GGUF: %ld allocations\n", fail_each_allocation(convert_gguf));
    /* a folder: every 41st of its allocations, most of which are jansson's */
    long before = mem_count(), live = mem_live();
    assert_int_equal(convert(families[3].folder, path_of("y.gguf"), PGR_FILE_F32, true, NULL), PGR_OK);
    long n = mem_count() - before;
    for (long i = 1; i <= n; i += 41) {
        mem_fail_nth(i);
        pgr_status s = convert(families[3].folder, path_of("z.gguf"), PGR_FILE_F32, true, NULL);
        mem_fail_nth(0);
        if (s != PGR_E_MEM || mem_live() != live)
            fail_msg("allocation %ld of %ld: status %d, live %ld", i, n, s, mem_live() - live);
    }
    assert_int_equal(count_entries(), 2); /* x and y */
}

/* ---- parts ---- */

typedef struct sink {
    uint8_t *data;
    size_t n;
} sink;

static pgr_status take(void *ctx, const void *p, size_t n, pgr_error *err) {
    sink *s = ctx;
    (void)err;
    memcpy(s->data + s->n, p, n);
    s->n += n;
    return PGR_OK;
}

/* Rows in the order of interleaved rotation, with two adapters, over several chunks. */
static void rows_and_adapters(void **state) {
    (void)state;
    enum { ROWS = 3000, COLS = 1024, HEAD = 6, R = 2 };
    float *w = malloc(sizeof(float) * ROWS * COLS), *b = malloc(sizeof(float) * ROWS * R),
          *got = malloc(sizeof(float) * ROWS * COLS);
    static float a[R * COLS];
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) w[i] = (float)(i % 8191) / 64;
    for (size_t i = 0; i < ROWS * R; i++) b[i] = (float)(i % 13) - 6;
    for (size_t i = 0; i < R * COLS; i++) a[i] = (float)(i % 7) - 3;
    lowrank deltas[] = {{ROWS, COLS, R, a, b, 1, 0}, {ROWS, COLS, 1, a, b, -2, 0}};
    source_tensor from = {.name = "w", .type = QUANT_F32, .n_dim = 2, .dim = {COLS, ROWS, 1, 1}, .data = w};
    export_tensor t = {
        .name = "w", .from = &from, .rows = ROWS, .cols = COLS, .matrix = true, .head_dim = HEAD, .type = QUANT_F32};
    export_plan plan = {.tensors = &t, .n = 1};
    sink s = {(uint8_t *)got, 0};
    export_run run = {.put = take, .put_ctx = &s, .path = "test"};
    assert_int_equal(pool_create(2, &run.threads, NULL), PGR_OK);
    for (t.n_delta = 0; t.n_delta < 3; t.n_delta += 2) {
        t.deltas = deltas;
        s.n = 0;
        assert_int_equal(export_tensors(&plan, &run, NULL), PGR_OK);
        assert_int_equal(s.n, sizeof(float) * ROWS * COLS);
        for (size_t r = 0; r < ROWS; r++) {
            size_t h = r / HEAD, i = r % HEAD, row = h * HEAD + (i % 2 ? HEAD / 2 : 0) + i / 2;
            for (size_t c = 0; c < COLS; c++) { /* whole numbers and their 64ths: every sum is exact */
                float want = w[row * COLS + c];
                if (t.n_delta) want += b[row * R] * a[c] + b[row * R + 1] * a[COLS + c] - 2 * b[row] * a[c];
                if (got[r * COLS + c] != want)
                    fail_msg("row %zu, value %zu: %g, want %g", r, c, (double)got[r * COLS + c], (double)want);
            }
        }
    }
    pgr_error err = {0};
    w[5 * COLS + 3] = NAN;
    t.n_delta = 1;
    s.n = 0;
    assert_fails(PGR_E_FORMAT, "test: tensor w: row 5 has a value that is not finite",
                 export_tensors(&plan, &run, &err), &err);
    pool_free(run.threads);
    free(w);
    free(b);
    free(got);
}

static void writer_gives_what_the_reader_takes(void **state) {
    (void)state;
    gguf g;
    gguf_writer w = {0};
    const char *path = path_of("w.gguf");
    float five[5] = {1, 2, 3, 4, 5}, row[32] = {7};
    uint32_t u;
    gguf_string s;
    bool yes;
    gguf_put_u32(&w, "u", 70000);
    gguf_put_bool(&w, "yes", true);
    gguf_put_string(&w, "s", "text", 4);
    gguf_put_array(&w, "list", GGUF_STRING, 2);
    gguf_item_string(&w, "a", 1);
    gguf_item_string(&w, "", 0);
    gguf_put_tensor(&w, "five", QUANT_F32, (size_t[]){5}, 1);
    gguf_put_tensor(&w, "row", QUANT_F32, (size_t[]){32, 1}, 2);
    assert_int_equal(gguf_write_begin(&w, path, NULL), PGR_OK);
    assert_int_equal(gguf_write_data(&w, five, 8, NULL), PGR_OK);
    assert_int_equal(gguf_write_data(&w, five + 2, 12, NULL), PGR_OK);
    assert_int_equal(gguf_write_data(&w, row, sizeof row, NULL), PGR_OK);
    assert_int_equal(gguf_write_end(&w, NULL, NULL), PGR_OK);
    assert_int_equal(gguf_open(path, &g, NULL), PGR_OK);
    assert_int_equal(gguf_get_u32(&g, "u", &u, NULL), PGR_OK);
    assert_int_equal(gguf_get_bool_or(&g, "yes", false, &yes, NULL), PGR_OK);
    assert_int_equal(gguf_get_string(&g, "s", &s, NULL), PGR_OK);
    assert_true(u == 70000 && yes && gguf_string_is(s, "text"));
    assert_true(gguf_find(&g, "list")->n == 2 && gguf_string_is(gguf_find(&g, "list")->strings[0], "a"));
    assert_memory_equal(gguf_find_tensor(&g, "five")->data, five, sizeof five);
    assert_memory_equal(gguf_find_tensor(&g, "row")->data, row, sizeof row);
    gguf_close(&g);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        T(f32_gives_the_folders_numbers),
        T(packed_types_are_within_their_bounds),
        T(gguf_is_kept_or_changed),
        T(older_files_are_safe),
        T(cancelled_leaves_nothing),
        T(out_of_memory),
        T(rows_and_adapters),
        T(writer_gives_what_the_reader_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
