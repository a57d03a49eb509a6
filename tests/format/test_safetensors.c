/* test_safetensors.c - files that PyTorch wrote hold what the GGUF of the same model holds; wrong files and folders are
 * refused with file and tensor named; cut and changed files are errors or directories that hold. */
#include "folder_make.h"

#include "base/rng.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "math/cpu/gemm.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static const char sample[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                             "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
                             "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                             "\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[32,34]},"
                             "\"none\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[24,24]},"
                             "\"ids\":{\"dtype\":\"I64\",\"shape\":[1,2],\"data_offsets\":[34,50]}}   ";

static void reads_the_directory(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = make_safetensors(sample, 50, &size);
    const uint8_t *data = bytes + size - 50;
    safetensors s;
    pgr_error err;
    if (safetensors_open_memory(bytes, size, "m", &s, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_true(s.source.n_tensor == 5 && s.source.names == SOURCE_HF);
    assert_string_equal(s.source.path, "m");
    const source_tensor *a = source_find(&s.source, "a"), *b = source_find(&s.source, "b");
    assert_true(a && a->type == QUANT_F32 && a->n_dim == 2 && a->bytes == 24 && a->data == data && !a->map);
    assert_true(a->dim[0] == 3 && a->dim[1] == 2 && a->dim[2] == 1 && a->dim[3] == 1); /* rows of 3 */
    assert_true(a->offset == size - 50 && b->offset == size - 26);
    assert_true(b && b->type == QUANT_BF16 && b->n_dim == 1 && b->dim[0] == 4 && b->data == data + 24);
    const source_tensor *scalar = source_find(&s.source, "scalar"), *none = source_find(&s.source, "none");
    assert_true(scalar && scalar->type == QUANT_F16 && scalar->n_dim == 0 && scalar->dim[0] == 1 && scalar->bytes == 2);
    assert_true(none && none->dim[0] == 5 && none->dim[1] == 0 && none->bytes == 0);
    const source_tensor *ids = source_find(&s.source, "ids"); /* kept, not readable */
    assert_true(ids && !quant_known(ids->type) && !ids->data && ids->bytes == 16);
    assert_string_equal(quant_name(ids->type), "I64");
    assert_null(source_find(&s.source, "__metadata__"));
    safetensors_close(&s);
    free(bytes);
}

/* The format promises no alignment: data is read right at every address, also by matrix products. */
static void data_at_any_address(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        quant_type type;
        size_t bytes;
    } types[] = {{"F32", QUANT_F32, 4}, {"F16", QUANT_F16, 2}, {"BF16", QUANT_BF16, 2}};
    enum { N = 3, K = 32 };
    for (size_t i = 0; i < LEN(types) * 8; i++) {
        char header[256];
        size_t size, n = N * K * types[i / 8].bytes;
        snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"%s\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]}}%*s",
                 types[i / 8].dtype, N, K, n, (int)(i % 8), "");
        uint8_t *bytes = make_safetensors(header, n, &size);
        safetensors s;
        assert_int_equal(safetensors_open_memory(bytes, size, "m", &s, NULL), PGR_OK);
        const source_tensor *t = source_find(&s.source, "w");
        _Alignas(64) uint8_t aligned[N * K * 4];
        memcpy(aligned, t->data, n);
        float got[N * K], want[N * K], x[K], y[N], z[N];
        quant_dequant(types[i / 8].type, got, t->data, N * K);
        quant_dequant(types[i / 8].type, want, aligned, N * K);
        assert_memory_equal(got, want, sizeof got);
        for (size_t k = 0; k < K; k++) x[k] = (float)k - 7.5f;
        gemm_weights *w, *v;
        assert_int_equal(gemm_create(GEMM_FILE, types[i / 8].type, t->data, N, K, NULL, &w, NULL), PGR_OK);
        assert_int_equal(gemm_create(GEMM_FILE, types[i / 8].type, aligned, N, K, NULL, &v, NULL), PGR_OK);
        assert_int_equal(gemm_run(w, y, x, 1, NULL, NULL), PGR_OK);
        assert_int_equal(gemm_run(v, z, x, 1, NULL, NULL), PGR_OK);
        assert_memory_equal(y, z, sizeof y);
        gemm_free(w);
        gemm_free(v);
        safetensors_close(&s);
        free(bytes);
    }
}

/* ---- wrong files ---- */

static void refused(const char *header, size_t n_data, pgr_status status, const char *message) {
    size_t size;
    uint8_t *bytes = make_safetensors(header, n_data, &size);
    safetensors s;
    pgr_error err;
    long live = mem_live();
    pgr_status got = safetensors_open_memory(bytes, size, "m", &s, &err);
    if (got == PGR_OK) fail_msg("opened, want: %s", message);
    assert_string_equal(err.message, message);
    assert_int_equal(got, status);
    assert_int_equal(mem_live(), live);
    free(bytes);
}

#define ONE(dtype, shape, offsets) "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void wrong_tensors_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header, *message;
    } cases[] = {
        {"{\"w\":[]}", "tensor w is an array, want an object"},
        {"{\"w\":{\"shape\":[4],\"data_offsets\":[0,16]}}", "tensor w: dtype is nothing, want a string"},
        {ONE("F33", "[4]", "[0,16]"), "tensor w has the unknown dtype \"F33\""},
        {ONE("F32", "4", "[0,16]"), "tensor w: shape is an integer, want an array"},
        {ONE("F32", "[-4]", "[0,16]"), "tensor w: dimension 0 is no whole number of 0 or more"},
        {ONE("F32", "[2,2.0]", "[0,16]"), "tensor w: dimension 1 is no whole number of 0 or more"},
        {ONE("F32", "[4294967296,4294967296]", "[0,16]"), "tensor w: its size overflows"},
        {ONE("F32", "[4611686018427387905]", "[0,4]"), "tensor w: its size overflows"},
        {ONE("F32", "[4]", "[0]"), "tensor w: data_offsets is not two whole numbers of 0 or more"},
        {ONE("F32", "[4]", "[-1,15]"), "tensor w: data_offsets is not two whole numbers of 0 or more"},
        {ONE("F32", "[4]", "{}"), "tensor w: data_offsets is not two whole numbers of 0 or more"},
        {ONE("F32", "[4]", "[16,0]"), "tensor w: its data is bytes 16 to 0 of the file's 16 bytes of data"},
        {ONE("F32", "[4]", "[0,20]"), "tensor w: its data is bytes 0 to 20 of the file's 16 bytes of data"},
        {ONE("F32", "[3]", "[0,16]"), "tensor w: has 16 bytes of data, its shape and dtype make 12"},
        {ONE("BF16", "[7]", "[0,14]"), "the last 2 bytes belong to no tensor"},
        {ONE("BF16", "[7]", "[2,16]"), "tensor w: 2 bytes before its data belong to no tensor"},
        {"{\"v\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
         "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
         "tensor w: its data overlaps that of another tensor"},
        {"{\"v\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
         "\"w\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}",
         "tensor w: its data overlaps that of another tensor"},
        {"{}", "the last 16 bytes belong to no tensor"},
        {"{\"\":{}}", "the name of a tensor has 0 bytes, want 1 to 256"},
        {"{\"a\\u001b[31m\":{}}", "the name of a tensor has a control character at byte 1"},
        {"{\"__metadata__\":3}", "__metadata__ is an integer, want an object"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char message[300];
        snprintf(message, sizeof message, "m: %s", cases[i].message);
        refused(cases[i].header, 16, PGR_E_FORMAT, message);
    }
    refused("{\"w\":{},\"w\":{}}", 0, PGR_E_FORMAT,
            "m:1: duplicate object key near '\"w\"', expected each key once in an object");
    refused("{\"w\":{}", 0, PGR_E_FORMAT, "m:1: found end of file, expected '}'");
}

static void other_dtypes_are_refused_by_name(void **state) {
    (void)state;
    static const char *const names[] = {"I8",      "U8",      "F64",     "C64",     "F4",          "F6_E2M3",
                                        "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};
    char header[200], message[200];
    for (size_t i = 0; i < LEN(names); i++) {
        snprintf(header, sizeof header, "{\"a.weight\":{\"dtype\":\"%s\",\"shape\":[8],\"data_offsets\":[0,8]}}",
                 names[i]);
        snprintf(message, sizeof message, "m: tensor a.weight has dtype %s; weights are read as F32, F16 and BF16",
                 names[i]);
        refused(header, 8, PGR_E_UNSUPPORTED, message);
    }
    refused(ONE("F32", "[1,1,1,1,1]", "[0,4]"), 4, PGR_E_UNSUPPORTED,
            "m: tensor w has 5 dimensions; at most 4 are read");
    refused("{\"__metadata__\":{\"format\":\"tf\"}}", 0, PGR_E_UNSUPPORTED,
            "m: __metadata__ says format \"tf\"; files of PyTorch (\"pt\") are read");
}

static void wrong_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
        {"", 0, "f: not a safetensors file: has 0 bytes, want 8 at least"},
        {"\2\0\0\0\0\0\0", 7, "f: not a safetensors file: has 7 bytes, want 8 at least"},
        {"\0\0\0\0\0\0\0\0", 8, "f: not a safetensors file: its header does not begin with {"},
        {"\2\0\0\0\0\0\0\0[]", 10, "f: not a safetensors file: its header does not begin with {"},
        {"\3\0\0\0\0\0\0\0{}", 10, "f: the header has 3 bytes, the file has 2 left"},
        {"\2\0\0\0\0\0\0\x80{}", 10,
         "f: not a safetensors file: a header of 9223372036854775810 bytes, at most 100000000 are read"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        safetensors s;
        pgr_error err;
        assert_int_equal(safetensors_open_memory((const uint8_t *)cases[i].bytes, cases[i].n, "f", &s, &err),
                         PGR_E_FORMAT);
        assert_string_equal(err.message, cases[i].message);
    }
    safetensors s;
    assert_int_equal(safetensors_open_memory((const uint8_t *)"\2\0\0\0\0\0\0\0{}", 10, "f", &s, NULL), PGR_OK);
    assert_null(source_find(&s.source, "w"));
    safetensors_close(&s);
}

/* ---- what PyTorch wrote ---- */

/* "model.layers.1.mlp.up_proj.weight" as GGUF calls it; false where GGUF permutes the rows (q and k) */
static bool gguf_name(const char *name, char out[64]) {
    static const char *const pairs[][2] = {{"self_attn.v_proj", "attn_v"},          {"self_attn.o_proj", "attn_output"},
                                           {"mlp.gate_proj", "ffn_gate"},           {"mlp.up_proj", "ffn_up"},
                                           {"mlp.down_proj", "ffn_down"},           {"input_layernorm", "attn_norm"},
                                           {"post_attention_layernorm", "ffn_norm"}};
    int layer;
    if (strcmp(name, "model.embed_tokens.weight") == 0) return strcpy(out, "token_embd.weight") != NULL;
    if (strcmp(name, "model.norm.weight") == 0) return strcpy(out, "output_norm.weight") != NULL;
    assert_int_equal(sscanf(name, "model.layers.%d.", &layer), 1);
    for (size_t i = 0; i < LEN(pairs); i++)
        if (strstr(name, pairs[i][0])) return snprintf(out, 64, "blk.%d.%s.weight", layer, pairs[i][1]) > 0;
    assert_true(strstr(name, "q_proj") || strstr(name, "k_proj"));
    return false;
}

static void a_folder_holds_what_the_gguf_holds(void **state) {
    (void)state;
    safetensors s;
    gguf g;
    pgr_error err;
    if (safetensors_open(GOLDEN("hf-tiny-llama/f32"), &s, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(gguf_open(GOLDEN("tiny-llama.gguf"), &g, &err), PGR_OK);
    assert_int_equal(s.source.n_tensor, g.n_tensor);
    size_t same = 0;
    for (size_t i = 0; i < s.source.n_tensor; i++) {
        const source_tensor *t = &s.source.tensors[i];
        char name[64];
        if (!gguf_name(t->name, name)) continue;
        const gguf_tensor *u = gguf_find_tensor(&g, name);
        assert_true(u && u->type == t->type && u->n_dim == t->n_dim && u->bytes == t->bytes);
        assert_memory_equal(u->dim, t->dim, sizeof u->dim);
        assert_memory_equal(u->data, t->data, t->bytes);
        assert_true(t->map == &s.maps[0] && (const uint8_t *)t->data == t->map->data + t->offset);
        same++;
    }
    assert_int_equal(same, g.n_tensor - 4);
    gguf_close(&g);
    safetensors_close(&s);
}

/* Three shards in BF16: the same values, rounded. */
static void shards_are_one_source(void **state) {
    (void)state;
    safetensors s, f;
    pgr_error err;
    if (safetensors_open(GOLDEN("hf-tiny-llama/bf16"), &s, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(safetensors_open(GOLDEN("hf-tiny-llama/f32/model.safetensors"), &f, &err), PGR_OK);
    assert_true(s.n_map == 3 && s.source.n_tensor == f.source.n_tensor);
    for (size_t i = 0; i < f.source.n_tensor; i++) {
        const source_tensor *t = &f.source.tensors[i], *u = source_find(&s.source, t->name);
        assert_true(u && u->type == QUANT_BF16 && u->bytes * 2 == t->bytes);
        assert_memory_equal(u->dim, t->dim, sizeof u->dim);
        for (size_t k = 0; k < t->bytes / 4; k++) {
            float v;
            uint16_t h;
            memcpy(&v, (const char *)t->data + 4 * k, sizeof v);
            memcpy(&h, (const char *)u->data + 2 * k, sizeof h);
            assert_int_equal(h, f32_to_bf16(v));
        }
    }
    safetensors_close(&s);
    safetensors_close(&f);
}

/* ---- folders ---- */

#define TENSOR(name) "{\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
#define INDEX        "model.safetensors.index.json"

/* message: what follows the folder's path */
static void folder_refused(const folder *f, pgr_status status, const char *message) {
    safetensors s;
    pgr_error err;
    char want[400];
    long live = mem_live();
    assert_true(safetensors_open(f->path, &s, &err) != PGR_OK);
    snprintf(want, sizeof want, "%s%s", f->path, message);
    assert_string_equal(err.message, want);
    assert_int_equal(err.status, status);
    assert_int_equal(mem_live(), live);
}

static void wrong_folders_are_refused(void **state) {
    (void)state;
    folder f = folder_make();
    folder_refused(&f, PGR_E_IO, ": has neither model.safetensors nor model.safetensors.index.json");
    folder_puts(&f, "pytorch_model.bin", "");
    folder_refused(
        &f, PGR_E_UNSUPPORTED,
        ": has neither model.safetensors nor model.safetensors.index.json; pytorch_model.bin is not read, save "
        "the model as safetensors");
    folder_puts(&f, INDEX, "{}");
    folder_refused(&f, PGR_E_FORMAT, "/" INDEX ": weight_map: found nothing, expected an object");
    folder_puts(&f, INDEX, "[1]");
    folder_refused(&f, PGR_E_FORMAT, "/" INDEX ": weight_map: found nothing, expected an object");
    folder_puts(&f, INDEX, "{\"weight_map\":{}}");
    folder_refused(&f, PGR_E_FORMAT, "/" INDEX ": weight_map is empty");
    static const char *const names[] = {"../a", "a/b", "..", "", "a\\\\b", "/etc/passwd", "a..b"};
    for (size_t i = 0; i < LEN(names); i++) {
        char text[100], message[200];
        snprintf(text, sizeof text, "{\"weight_map\":{\"w\":\"%s\"}}", names[i]);
        folder_puts(&f, INDEX, text);
        snprintf(message, sizeof message,
                 "/" INDEX ": weight_map: tensor w: found a string \"%s\", want a file in this folder",
                 strstr(names[i], "\\") ? "a\\b" : names[i]);
        folder_refused(&f, PGR_E_FORMAT, message);
    }
    folder_puts(&f, INDEX, "{\"weight_map\":{\"w\":null}}");
    folder_refused(&f, PGR_E_FORMAT, "/" INDEX ": weight_map: tensor w: found null \"\", want a file in this folder");
    folder_puts(&f, INDEX, "{\"weight_map\":{\"w\":\"1.safetensors\",\"v\":\"2.safetensors\"}}");
    folder_refused(&f, PGR_E_IO, "/1.safetensors: No such file or directory");
    folder_put_safetensors(&f, "1.safetensors", TENSOR("w"), 8);
    folder_put_safetensors(&f, "2.safetensors", TENSOR("w"), 8);
    folder_refused(&f, PGR_E_FORMAT, ": tensor w occurs twice");
    folder_put_safetensors(&f, "2.safetensors", TENSOR("u"), 8);
    folder_refused(&f, PGR_E_FORMAT, "/" INDEX ": tensor v is not in file 2.safetensors");
    folder_put_safetensors(&f, "1.safetensors", TENSOR("v"), 8);
    folder_put_safetensors(&f, "2.safetensors", TENSOR("w"), 8);
    folder_refused(&f, PGR_E_FORMAT, "/" INDEX ": tensor w is not in file 1.safetensors");
    folder_puts(&f, "2.safetensors", "");
    folder_refused(&f, PGR_E_FORMAT, "/2.safetensors: not a safetensors file: has 0 bytes, want 8 at least");
    folder_remove(&f);
    folder_refused(&f, PGR_E_IO, ": has neither model.safetensors nor model.safetensors.index.json");
}

/* Where both are there, the single file is the model, as transformers has it. */
static void a_single_file_comes_first(void **state) {
    (void)state;
    folder f = folder_make();
    safetensors s;
    folder_puts(&f, INDEX, "{\"weight_map\":{\"w\":\"absent\"}}");
    folder_put_safetensors(&f, "model.safetensors", TENSOR("w"), 8);
    assert_int_equal(safetensors_open(f.path, &s, NULL), PGR_OK);
    assert_non_null(source_find(&s.source, "w"));
    safetensors_close(&s);
    folder_remove(&f);
}

/* ---- hostile files ---- */

/* Every tensor lies in the file, and reading all of it is safe. */
static void check_source(const safetensors *s, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < s->source.n_tensor; i++) {
        const source_tensor *t = &s->source.tensors[i];
        assert_true(t->offset <= size && t->bytes <= size - t->offset);
        assert_true(!t->data || t->data == bytes + t->offset);
        assert_ptr_equal(source_find(&s->source, t->name), t);
    }
}

static void cut_and_changed_files_are_safe(void **state) {
    (void)state;
    buf file = {0};
    assert_int_equal(file_read(GOLDEN("hf-tiny-llama/bf16/model-00002-of-00003.safetensors"), &file, NULL), PGR_OK);
    long live = mem_live();
    uint8_t *bytes = malloc(file.n);
    memcpy(bytes, file.data, file.n);
    size_t header = bytes[0] + 256u * bytes[1], opened = 0;
    safetensors s;
    for (size_t i = 0; i < 200; i++) { /* half of them in the header */
        size_t cut = i < 100 ? (8 + header) * i / 100 : 8 + header + (file.n - 8 - header) * (i - 100) / 100;
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, bytes, cut);
        assert_int_equal(safetensors_open_memory(copy, cut, "cut", &s, NULL), PGR_E_FORMAT);
        free(copy);
    }
    rng r = {.seed = 11};
    for (size_t i = 0; i < 2000; i++) { /* three quarters of them in the header */
        size_t at = rng_below(&r, i % 4 ? 8 + header : file.n);
        uint8_t old = bytes[at];
        bytes[at] = (uint8_t)rng_below(&r, 256);
        pgr_status status = safetensors_open_memory(bytes, file.n, "changed", &s, NULL);
        if (at >= 8 + header) assert_int_equal(status, PGR_OK); /* weights may be any bytes */
        if (status == PGR_OK) {
            check_source(&s, bytes, file.n);
            safetensors_close(&s);
            opened++;
        }
        bytes[at] = old;
    }
    assert_true(opened > 300 && opened < 1700);
    assert_int_equal(mem_live(), live);
    free(bytes);
    buf_free(&file);
}

static bool open_shards(void) {
    safetensors s;
    if (safetensors_open(GOLDEN("hf-tiny-llama/bf16"), &s, NULL) != PGR_OK) return false;
    safetensors_close(&s);
    return true;
}

static bool open_single(void) {
    safetensors s;
    if (safetensors_open(GOLDEN("hf-tiny-llama/f32"), &s, NULL) != PGR_OK) return false;
    safetensors_close(&s);
    return true;
}

static void failing_allocations(void **state) {
    (void)state;
    assert_true(fail_allocations(open_shards, 20) > 100);
    assert_true(fail_allocations(open_single, 20) > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_directory),       cmocka_unit_test(data_at_any_address),
        cmocka_unit_test(wrong_tensors_are_refused), cmocka_unit_test(other_dtypes_are_refused_by_name),
        cmocka_unit_test(wrong_headers_are_refused), cmocka_unit_test(a_folder_holds_what_the_gguf_holds),
        cmocka_unit_test(shards_are_one_source),     cmocka_unit_test(wrong_folders_are_refused),
        cmocka_unit_test(a_single_file_comes_first), cmocka_unit_test(cut_and_changed_files_are_safe),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
