/* test_source.c - tensors by name, whatever the file; a GGUF file as a source. */
#include "gguf_make.h"

#include "format/source.h"

static void finds_by_name(void **state) {
    (void)state;
    enum { N = 1000 };
    static char names[N][24];
    static source_tensor tensors[N];
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.%zu", i);
        tensors[i] = (source_tensor){.name = names[i]};
    }
    arena a = {0};
    for (size_t n = 0; n <= N; n += n < 20 ? 1 : 245) {
        tensor_source s = {.path = "x", .tensors = tensors, .n_tensor = n};
        assert_int_equal(source_index(&s, &a, NULL), PGR_OK);
        for (size_t i = 0; i < N; i++) assert_ptr_equal(source_find(&s, names[i]), i < n ? &tensors[i] : NULL);
        assert_null(source_find(&s, ""));
        assert_null(source_find(&s, "model.layers."));
    }
    pgr_error err;
    tensors[N - 1].name = "model.layers.17";
    tensor_source s = {.path = "x", .tensors = tensors, .n_tensor = N};
    assert_int_equal(source_index(&s, &a, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "x: tensor model.layers.17 occurs twice");
    arena_free(&a);
}

static void gguf_as_a_source(void **state) {
    (void)state;
    gguf g;
    arena a = {0};
    tensor_source s;
    assert_int_equal(gguf_open(GOLDEN("tiny-llama.gguf"), &g, NULL), PGR_OK);
    assert_int_equal(source_from_gguf(&g, &a, &s, NULL), PGR_OK);
    assert_int_equal(s.names, SOURCE_GGUF);
    assert_int_equal(s.n_tensor, g.n_tensor);
    assert_string_equal(s.path, g.path);
    const source_tensor *t = source_find(&s, "blk.1.attn_k.weight");
    assert_non_null(t);
    assert_true(t->n_dim == 2 && t->dim[0] == 64 && t->dim[1] == 32 && t->dim[2] == 1 && t->dim[3] == 1);
    assert_true(t->type == QUANT_F32 && t->bytes == 64 * 32 * 4);
    assert_ptr_equal(t->data, gguf_find_tensor(&g, "blk.1.attn_k.weight")->data);
    assert_ptr_equal(t->map->data + t->offset, t->data);
    assert_null(source_find(&s, "blk.2.attn_k.weight"));
    arena_free(&a);
    gguf_close(&g);
}

/* Two names that differ after a NUL byte only must not become one. */
static void refuses_names_with_nul(void **state) {
    (void)state;
    gmake m = {0};
    gguf g;
    arena a = {0};
    tensor_source s = {.n_tensor = 77};
    pgr_error err;
    uint8_t *bytes;
    put_int(&m.infos, 3, 8);
    buf_add(&m.infos, "a\0b", 3);
    put_int(&m.infos, 1, 4);
    put_int(&m.infos, 1, 8);
    put_int(&m.infos, QUANT_F32, 4);
    put_int(&m.infos, 0, 8);
    for (size_t i = 0; i < 4; i++) put_int(&m.data, 0, 8);
    m.n_tensor = 1;
    assert_int_equal(make_open(&m, &g, &err, &bytes), PGR_OK);
    assert_int_equal(source_from_gguf(&g, &a, &s, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "mem.gguf: tensor 0 has a name with a NUL byte in it");
    assert_int_equal(s.n_tensor, 77);
    arena_free(&a);
    gguf_close(&g);
    free(bytes);
}

static bool open_source(void) {
    gguf g;
    arena a = {0};
    tensor_source s;
    if (gguf_open(GOLDEN("tiny-llama.gguf"), &g, NULL) != PGR_OK) return false;
    bool worked = source_from_gguf(&g, &a, &s, NULL) == PGR_OK;
    arena_free(&a);
    gguf_close(&g);
    return worked;
}

static void survives_a_lack_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(open_source) > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name),
        cmocka_unit_test(gguf_as_a_source),
        cmocka_unit_test(refuses_names_with_nul),
        cmocka_unit_test(survives_a_lack_of_memory),
    };
    return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
