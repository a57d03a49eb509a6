/* test_split.c - models in several GGUF files give the parts of the whole one, and sets that are not whole are
 * refused; a folder stands for the only model file in it. */
#include "../format/folder_make.h"

#include "format/gguf_write.h"
#include "model/checkpoint.h"

#define WHOLE GOLDEN("tiny-llama.gguf")
enum { N_PART = 3 };

/* Part `no` of n: its share of the tensors, the model's keys in the first. */
static void write_part(const gguf *g, const char *path, uint32_t no, uint32_t n, uint32_t n_tensor) {
    gguf_writer w = {0};
    size_t first = g->n_tensor * no / n, end = g->n_tensor * (no + 1) / n;
    for (size_t i = 0; no == 0 && i < g->n_value; i++) gguf_put_value(&w, &g->values[i]);
    gguf_put_u32(&w, "split.no", no);
    gguf_put_u32(&w, "split.count", n);
    gguf_put_u32(&w, "split.tensors.count", n_tensor);
    for (size_t i = first; i < end; i++) {
        char name[128];
        const gguf_tensor *t = &g->tensors[i];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.s);
        gguf_put_tensor(&w, name, (quant_type)t->type, t->dim, t->n_dim);
    }
    assert_int_equal(gguf_write_begin(&w, path, NULL), PGR_OK);
    for (size_t i = first; i < end; i++)
        assert_int_equal(gguf_write_data(&w, g->tensors[i].data, g->tensors[i].bytes, NULL), PGR_OK);
    assert_int_equal(gguf_write_end(&w, NULL, NULL), PGR_OK);
}

static const char *part_path(const folder *f, uint32_t no, uint32_t n) {
    static char path[4][200];
    static size_t turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/m-%05u-of-%05u.gguf", f->path, no + 1, n);
    return p;
}

static void refused(const char *path, pgr_status status, const char *message) {
    checkpoint c;
    pgr_error err = {0};
    pgr_status s = checkpoint_open(path, &c, &err);
    if (s != status || !strstr(err.message, message)) fail_msg("%s: %d %s", path, s, err.message);
}

static void same_tensors(const char *path) {
    checkpoint whole, split;
    pgr_error err = {0};
    assert_int_equal(checkpoint_open(WHOLE, &whole, &err), PGR_OK);
    if (checkpoint_open(path, &split, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(split.source.n_tensor, whole.source.n_tensor);
    assert_int_equal(split.config.n_vocab, whole.config.n_vocab);
    for (size_t i = 0; i < whole.source.n_tensor; i++) {
        const source_tensor *a = &whole.source.tensors[i], *b = source_find(&split.source, a->name);
        assert_true(b && b->type == a->type && b->bytes == a->bytes && memcmp(a->data, b->data, a->bytes) == 0);
        assert_true(b->map && (const uint8_t *)b->data == b->map->data + b->offset); /* of its own file */
    }
    checkpoint_close(&whole);
    checkpoint_close(&split);
}

static void parts_make_the_whole(void **state) {
    (void)state;
    gguf g;
    folder f = folder_make();
    pgr_error err = {0};
    assert_int_equal(gguf_open(WHOLE, &g, &err), PGR_OK);
    uint32_t total = (uint32_t)g.n_tensor;
    for (uint32_t i = 0; i < N_PART; i++) write_part(&g, part_path(&f, i, N_PART), i, N_PART, total);
    same_tensors(part_path(&f, 0, N_PART));
    same_tensors(f.path); /* the folder's only model */
    refused(part_path(&f, 1, N_PART), PGR_E_ARG, "is part 2 of 3; give the first, ");

    write_part(&g, part_path(&f, 2, N_PART), 1, N_PART, total); /* part 2 under part 3's name */
    refused(part_path(&f, 0, N_PART), PGR_E_FORMAT, "its keys say part 2 of 3, want 3 of 3");
    write_part(&g, part_path(&f, 2, N_PART), 2, N_PART, total);
    write_part(&g, part_path(&f, 0, N_PART), 0, N_PART, total + 1);
    refused(part_path(&f, 0, N_PART), PGR_E_FORMAT, "split.tensors.count is");
    write_part(&g, part_path(&f, 0, N_PART), 0, N_PART, total);
    char other[200];
    snprintf(other, sizeof other, "%s/other.gguf", f.path);
    assert_int_equal(rename(part_path(&f, 0, N_PART), other), 0);
    refused(other, PGR_E_FORMAT, "is part 1 of 3, want a name that ends in -00001-of-00003.gguf");
    assert_int_equal(rename(other, part_path(&f, 0, N_PART)), 0);
    assert_int_equal(unlink(part_path(&f, 2, N_PART)), 0);
    refused(part_path(&f, 0, N_PART), PGR_E_IO, "m-00003-of-00003.gguf");
    gguf_close(&g);
    folder_remove(&f);
}

static void several_models_in_a_folder_are_listed(void **state) {
    (void)state;
    folder f = folder_make();
    buf bytes = {0};
    refused(f.path, PGR_E_IO, "config.json");
    assert_int_equal(file_read(WHOLE, &bytes, NULL), PGR_OK);
    folder_put(&f, "a.gguf", bytes.data, bytes.n);
    same_tensors(f.path);
    folder_put(&f, "b.gguf", bytes.data, bytes.n);
    refused(f.path, PGR_E_ARG, "has 2 models, expected the path of one: ");
    refused(f.path, PGR_E_ARG, "a.gguf");
    refused(f.path, PGR_E_ARG, "b.gguf");
    buf_free(&bytes);
    folder_remove(&f);
}

static const char *first_part;
static bool open_split(void) {
    checkpoint c;
    if (checkpoint_open(first_part, &c, NULL) != PGR_OK) return false;
    checkpoint_close(&c);
    return true;
}

static void failing_allocations(void **state) {
    (void)state;
    gguf g;
    folder f = folder_make();
    assert_int_equal(gguf_open(WHOLE, &g, NULL), PGR_OK);
    for (uint32_t i = 0; i < N_PART; i++) write_part(&g, part_path(&f, i, N_PART), i, N_PART, 0);
    first_part = f.path;
    assert_true(fail_each_allocation(open_split) > 20);
    gguf_close(&g);
    folder_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(several_models_in_a_folder_are_listed),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
