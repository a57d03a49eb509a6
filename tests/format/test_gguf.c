/* test_gguf.c - GGUF files that are right are read in full; files that are wrong give an error that says where. */
#include "gguf_make.h"

#include "math/quant.h"

static const uint64_t shape_2x3[] = {2, 3};

/* keys of all kinds and two tensors */
static void sample(gmake *m) {
    static const char *const words[] = {"one", "", "three"};
    static const int32_t numbers[] = {-1, 7};
    make_string(m, "general.architecture", "llama");
    make_u32(m, "a.u32", 4000000000u);
    make_int(m, "a.u8", GGUF_U8, 200);
    make_int(m, "a.i16", GGUF_I16, 0xfffe);
    make_int(m, "a.u64", GGUF_U64, 1ull << 40);
    make_f32(m, "a.f32", 1.5f);
    make_int(m, "a.f64", GGUF_F64, 0x4004000000000000u); /* 2.5 */
    make_int(m, "a.bool", GGUF_BOOL, 1);
    make_strings(m, "a.strings", words, 3);
    make_i32s(m, "a.numbers", numbers, 2);
    make_tensor(m, "x.weight", 2, shape_2x3, QUANT_F32, 0);
    make_tensor(m, "y.strange", 1, (uint64_t[]){5}, 99, 32);
    for (size_t i = 0; i < 64; i++) buf_putc(&m->data, (char)i);
}

static void reads_values(void **state) {
    (void)state;
    gmake m = {0};
    gguf g;
    pgr_error err;
    uint8_t *bytes;
    sample(&m);
    assert_int_equal(make_open(&m, &g, &err, &bytes), PGR_OK);
    assert_int_equal(g.n_value, 10);
    uint32_t u;
    float f;
    bool b;
    gguf_string s;
    const gguf_value *a;
    assert_int_equal(gguf_get_u32(&g, "a.u32", &u, &err), PGR_OK);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(gguf_get_u32(&g, "a.u8", &u, &err), PGR_OK);
    assert_int_equal(u, 200);
    assert_int_equal(gguf_get_u32_or(&g, "absent", 9, &u, &err), PGR_OK);
    assert_int_equal(u, 9);
    assert_int_equal(gguf_get_f32_or(&g, "a.f32", 0, &f, &err), PGR_OK);
    assert_true(f == 1.5f);
    assert_int_equal(gguf_get_f32_or(&g, "a.f64", 0, &f, &err), PGR_OK);
    assert_true(f == 2.5f);
    assert_int_equal(gguf_get_bool_or(&g, "a.bool", false, &b, &err), PGR_OK);
    assert_true(b);
    assert_int_equal(gguf_get_string(&g, "general.architecture", &s, &err), PGR_OK);
    assert_true(gguf_string_is(s, "llama") && !gguf_string_is(s, "llam") && !gguf_string_is(s, "llama2"));
    assert_int_equal(gguf_get_array(&g, "a.strings", GGUF_STRING, &a, &err), PGR_OK);
    assert_true(a->n == 3 && gguf_string_is(a->strings[1], "") && gguf_string_is(a->strings[2], "three"));
    assert_int_equal(gguf_get_array(&g, "a.numbers", GGUF_I32, &a, &err), PGR_OK);
    assert_true(gguf_array_i32(a, 0) == -1 && gguf_array_i32(a, 1) == 7);
    gguf_close(&g);
    free(bytes);
}

static void reads_tensors(void **state) {
    (void)state;
    gmake m = {0};
    gguf g;
    pgr_error err;
    uint8_t *bytes;
    sample(&m);
    assert_int_equal(make_open(&m, &g, &err, &bytes), PGR_OK);
    const gguf_tensor *x = gguf_find_tensor(&g, "x.weight"), *y = gguf_find_tensor(&g, "y.strange");
    assert_true(x && x->n_dim == 2 && x->dim[0] == 2 && x->dim[1] == 3 && x->dim[2] == 1 && x->bytes == 24);
    assert_true((const uint8_t *)x->data == bytes + x->offset && ((const uint8_t *)x->data)[5] == 5);
    assert_true(y && !y->data && y->type == 99);
    assert_null(gguf_find_tensor(&g, "x.weigh"));
    assert_null(gguf_find_tensor(&g, ""));
    gguf_close(&g);
    free(bytes);
}

static void look_ups_of_the_wrong_kind_name_the_key(void **state) {
    (void)state;
    gmake m = {0};
    gguf g;
    pgr_error err;
    uint8_t *bytes;
    uint32_t u;
    float f;
    bool b;
    gguf_string s;
    const gguf_value *a;
    sample(&m);
    assert_int_equal(make_open(&m, &g, &err, &bytes), PGR_OK);
#define WRONG(call, text)                                                                                              \
    assert_int_equal(call, PGR_E_FORMAT);                                                                              \
    assert_string_equal(err.message, "mem.gguf: key " text)
    WRONG(gguf_get_u32(&g, "absent", &u, &err), "absent is missing");
    WRONG(gguf_get_u32(&g, "a.f32", &u, &err), "a.f32 is of kind f32, want u32");
    WRONG(gguf_get_u32_or(&g, "a.strings", 1, &u, &err), "a.strings is of kind array, want u32");
    WRONG(gguf_get_u32(&g, "a.i16", &u, &err), "a.i16: its value is out of range, want 0 to 4294967295");
    WRONG(gguf_get_u32(&g, "a.u64", &u, &err), "a.u64: its value is out of range, want 0 to 4294967295");
    WRONG(gguf_get_f32_or(&g, "a.u32", 1, &f, &err), "a.u32 is of kind u32, want f32");
    WRONG(gguf_get_bool_or(&g, "a.u8", true, &b, &err), "a.u8 is of kind u8, want bool");
    WRONG(gguf_get_string(&g, "a.bool", &s, &err), "a.bool is of kind bool, want string");
    WRONG(gguf_get_array(&g, "a.u32", GGUF_I32, &a, &err), "a.u32 is of kind u32, want array");
    WRONG(gguf_get_array(&g, "a.strings", GGUF_I32, &a, &err), "a.strings is an array of string, want i32");
    gguf_close(&g);
    free(bytes);
}

/* The file that m describes is refused with this message. */
static void refused(gmake *m, pgr_status status, const char *message) {
    gguf g;
    pgr_error err;
    uint8_t *bytes;
    long live = mem_live() - (m->pairs.data ? 1 : 0) - (m->infos.data ? 1 : 0) - (m->data.data ? 1 : 0);
    assert_int_equal(make_open(m, &g, &err, &bytes), status);
    assert_string_equal(err.message, message);
    assert_int_equal(mem_live(), live);
    free(bytes);
}

static void wrong_tensors_are_refused(void **state) {
    (void)state;
    static const struct {
        uint32_t n_dim;
        uint64_t dim[2];
        uint32_t type;
        uint64_t offset;
        const char *message;
    } cases[] = {
        {0, {0}, QUANT_F32, 0, "0 dimensions, want 1 to 4"},
        {2, {4, 0}, QUANT_F32, 0, "dimension 1 is 0"},
        {2, {1ull << 40, 1ull << 40}, QUANT_F32, 0, "its dimensions overflow"},
        {1, {1ull << 62}, QUANT_F32, 0, "its size overflows"},
        {1, {33}, QUANT_Q8_0, 0, "rows of 33 values are not whole blocks of 32 (Q8_0)"},
        {1, {8}, QUANT_F32, 4, "offset 4 is not a multiple of 32"},
        {1, {8}, QUANT_F32, 1ull << 50, "data begins at offset 1125899906842624, the file has 128 bytes"},
        {1, {9}, QUANT_F32, 0, "data ends at byte 132, the file has 128"},
        {1, {1}, QUANT_F32, 32, "data ends at byte 132, the file has 128"},
        {1, {1ull << 61}, QUANT_F16, 0, "data ends at byte 4611686018427388000, the file has 128"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gmake m = {0};
        char message[200];
        make_tensor(&m, "blk.0.attn_q.weight", cases[i].n_dim, cases[i].dim, cases[i].type, cases[i].offset);
        size_t used = (24 + m.infos.n + 31) / 32 * 32;
        for (size_t n = used; n < 128; n++) buf_putc(&m.data, 0);
        snprintf(message, sizeof message, "mem.gguf: tensor blk.0.attn_q.weight: %s", cases[i].message);
        refused(&m, PGR_E_FORMAT, message);
    }
    gmake m = {0};
    make_tensor(&m, "five", 5, (uint64_t[]){1, 1, 1, 1, 1}, QUANT_F32, 0);
    refused(&m, PGR_E_FORMAT, "mem.gguf: tensor five: 5 dimensions, want 1 to 4");
}

static void repeated_names_are_refused(void **state) {
    (void)state;
    gmake m = {0};
    make_u32(&m, "a", 1);
    make_u32(&m, "b", 1);
    make_u32(&m, "a", 2);
    refused(&m, PGR_E_FORMAT, "mem.gguf: key a occurs twice");
    make_tensor(&m, "t", 1, shape_2x3, QUANT_F32, 0);
    make_tensor(&m, "t", 1, shape_2x3, QUANT_F32, 0);
    for (size_t i = 0; i < 64; i++) buf_putc(&m.data, 0);
    refused(&m, PGR_E_FORMAT, "mem.gguf: tensor t occurs twice");
}

static void wrong_values_are_refused(void **state) {
    (void)state;
    gmake m = {0};
    make_int(&m, "a", GGUF_BOOL, 2);
    refused(&m, PGR_E_FORMAT, "mem.gguf: key a: a bool of value 2, want 0 or 1");
    make_pair(&m, "a\x1b[31m", (gguf_kind)13);
    buf_puts(&m.pairs, "0123456789");
    refused(&m, PGR_E_FORMAT, "mem.gguf: key a?[31m: unknown kind 13");
    make_array(&m, "a", GGUF_ARRAY, 0);
    refused(&m, PGR_E_UNSUPPORTED, "mem.gguf: key a: arrays of arrays are not read");
    make_array(&m, "a", (gguf_kind)77, 0);
    refused(&m, PGR_E_FORMAT, "mem.gguf: key a: array of unknown kind 77");
    make_array(&m, "a", GGUF_F64, UINT64_MAX / 8 + 2); /* times 8 it wraps to 8 */
    buf_puts(&m.pairs, "01234567");
    refused(&m, PGR_E_FORMAT, "mem.gguf: key a: 2305843009213693953 items cannot fit into the 8 bytes left");
    make_array(&m, "a", GGUF_STRING, 2);
    buf_puts(&m.pairs, "01234567");
    refused(&m, PGR_E_FORMAT, "mem.gguf: key a: 2 strings cannot fit into the 8 bytes left");
    make_string(&m, "", "x");
    refused(&m, PGR_E_FORMAT, "mem.gguf: empty key before byte 32");
    make_u32(&m, "general.alignment", 48);
    refused(&m, PGR_E_FORMAT, "mem.gguf: general.alignment is 48, want a power of two from 8 to 1048576");
}

static void wrong_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        pgr_status status;
        const char *message;
    } cases[] = {
        {"", 0, PGR_E_FORMAT, "f: the magic number at byte 0 needs 4 bytes, the file has 0 left"},
        {"GGU", 3, PGR_E_FORMAT, "f: the magic number at byte 0 needs 4 bytes, the file has 3 left"},
        {"PK\3\4....", 8, PGR_E_FORMAT, "f: not a GGUF file (starts with bytes 50 4b 03 04)"},
        {"tjgg\1\0\0\0", 8, PGR_E_UNSUPPORTED, "f: a GGML file from before GGUF; convert it to GGUF v3"},
        {"GGUF\2\0\0\0", 8, PGR_E_UNSUPPORTED, "f: GGUF version 2; only version 3 is read"},
        {"GGUF\1\0\0\0", 8, PGR_E_UNSUPPORTED, "f: GGUF version 1; only version 3 is read"},
        {"GGUF\0\0\0\3", 8, PGR_E_UNSUPPORTED, "f: a big-endian GGUF file; only little-endian is read"},
        {"FUGG\0\0\0\3", 8, PGR_E_UNSUPPORTED, "f: a big-endian GGUF file; only little-endian is read"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 24, PGR_E_FORMAT,
         "f: 72057594037927936 tensors cannot fit into 24 bytes"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 24, PGR_E_FORMAT,
         "f: 72057594037927936 keys cannot fit into 24 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf g;
        pgr_error err;
        assert_int_equal(gguf_open_memory((const uint8_t *)cases[i].bytes, cases[i].n, "f", &g, &err), cases[i].status);
        assert_string_equal(err.message, cases[i].message);
    }
}

/* Cut anywhere, the sample is refused; with any byte changed it is refused or read, and never read beyond its end. */
static void cut_and_changed_files_are_safe(void **state) {
    (void)state;
    gmake m = {0};
    size_t n, opened = 0;
    long live = mem_live();
    sample(&m);
    uint8_t *bytes = make_file(&m, &n);
    for (size_t cut = 0; cut < n; cut++) {
        gguf g;
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, bytes, cut);
        pgr_status status = gguf_open_memory(copy, cut, "cut", &g, NULL);
        if (status == PGR_OK) { /* only what no tensor covers may be missing */
            assert_true(cut >= n - 32);
            gguf_close(&g);
        }
        free(copy);
    }
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < n * sizeof values; i++) {
        gguf g;
        uint8_t old = bytes[i / sizeof values];
        bytes[i / sizeof values] = values[i % sizeof values];
        if (gguf_open_memory(bytes, n, "changed", &g, NULL) == PGR_OK) {
            gguf_find_tensor(&g, "x.weight");
            gguf_close(&g);
            opened++;
        }
        bytes[i / sizeof values] = old;
    }
    assert_true(opened > 0 && opened < n * sizeof values);
    assert_int_equal(mem_live(), live);
    free(bytes);
}

static void opens_files(void **state) {
    (void)state;
    gguf g;
    pgr_error err;
    assert_int_equal(gguf_open(GOLDEN("tiny-llama.gguf"), &g, &err), PGR_OK);
    assert_int_equal(g.n_tensor, 2 + 2 * 9);
    const gguf_tensor *t = gguf_find_tensor(&g, "blk.1.ffn_down.weight");
    assert_true(t && t->type == QUANT_F32 && t->dim[0] == 96 && t->dim[1] == 64 && t->bytes == 96 * 64 * 4);
    assert_int_equal((uintptr_t)t->data % 32, 0);
    gguf_close(&g);
    assert_int_equal(gguf_open("/nonexistent/x.gguf", &g, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "/nonexistent/x.gguf"));
}

static void opens_the_default_model(void **state) {
    (void)state;
    gguf g;
    pgr_error err;
    if (!default_model()) {
        print_message("opens_the_default_model: the model is not in the cache\n");
        skip();
    }
    assert_int_equal(gguf_open(default_model(), &g, &err), PGR_OK);
    assert_true(g.n_tensor == 272 && g.n_value == 33);
    const gguf_tensor *t = gguf_find_tensor(&g, "token_embd.weight");
    assert_true(t && t->type == QUANT_Q8_0 && t->dim[0] == 576 && t->dim[1] == 49152);
    gguf_close(&g);
}

static bool open_sample(void) {
    gguf g;
    if (gguf_open(PGR_SOURCE_DIR "/tests/fuzz/corpus/gguf/micro-llama.gguf", &g, NULL) != PGR_OK) return false;
    gguf_close(&g);
    return true;
}

static void failing_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(open_sample) > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_values),
        cmocka_unit_test(reads_tensors),
        cmocka_unit_test(look_ups_of_the_wrong_kind_name_the_key),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(repeated_names_are_refused),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(wrong_headers_are_refused),
        cmocka_unit_test(cut_and_changed_files_are_safe),
        cmocka_unit_test(opens_files),
        cmocka_unit_test(opens_the_default_model),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
