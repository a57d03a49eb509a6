/* test_weights.c - binding a large tensor: once it is converted, the file's pages leave memory,
 * so that a model never needs both. */
#include "../format/folder_make.h"

#include "model/weights.h"

enum { N_VOCAB = 16384, WIDTH = 128, BYTES = N_VOCAB * WIDTH * 2 };

/* A model without layers: embedding (BF16, also the head) and final norm in one mapped file. */
typedef struct model_file {
    folder dir;
    char path[300];
    file_map map;
    source_tensor tensors[2];
    tensor_source source;
    config config;
    pool *threads;
    ops *ops;
    arena arena;
} model_file;

static void open_file(model_file *f) {
    *f = (model_file){.dir = folder_make()};
    uint8_t *data = calloc(1, BYTES + 4 * WIDTH);
    for (size_t i = 0; i < BYTES; i += 2) data[i + 1] = 0x3c;
    folder_put(&f->dir, "weights", data, BYTES + 4 * WIDTH);
    free(data);
    snprintf(f->path, sizeof f->path, "%s/weights", f->dir.path);
    assert_int_equal(file_map_open(f->path, &f->map, NULL), PGR_OK);
    f->tensors[0] = (source_tensor){.name = "model.embed_tokens.weight",
                                    .type = QUANT_BF16,
                                    .n_dim = 2,
                                    .dim = {WIDTH, N_VOCAB, 1, 1},
                                    .data = f->map.data,
                                    .bytes = BYTES,
                                    .map = &f->map};
    f->tensors[1] = (source_tensor){.name = "model.norm.weight",
                                    .type = QUANT_F32,
                                    .n_dim = 1,
                                    .dim = {WIDTH, 1, 1, 1},
                                    .data = f->map.data + BYTES,
                                    .bytes = 4 * WIDTH,
                                    .map = &f->map,
                                    .offset = BYTES};
    f->source = (tensor_source){.path = f->path, .names = SOURCE_HF, .tensors = f->tensors, .n_tensor = 2};
    assert_int_equal(source_index(&f->source, &f->arena, NULL), PGR_OK);
    f->config = (config){.n_vocab = N_VOCAB, .n_embd = WIDTH};
    assert_int_equal(pool_create(2, &f->threads, NULL), PGR_OK);
    assert_int_equal(ops_create_cpu(f->threads, &f->ops, NULL), PGR_OK);
}

static void close_file(model_file *f) {
    ops_free(f->ops);
    pool_free(f->threads);
    file_map_close(&f->map);
    arena_free(&f->arena);
    folder_remove(&f->dir);
}

/* Resident bytes of the mapping, as the kernel tells. */
static size_t resident(const char *path) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[1024];
    size_t kb = 0, total = 0;
    bool ours = false;
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        if (line[0] < 'A' || line[0] > 'Z') ours = strstr(line, path) != NULL; /* "7f..-7f.. r--p ... PATH" */
        if (ours && sscanf(line, "Rss: %zu kB", &kb) == 1) total += kb * 1024;
    }
    fclose(maps);
    return total;
}

static void converted_pages_leave_memory(void **state) {
    (void)state;
    static const struct {
        gemm_form form;
        bool stays;
    } forms[] = {{GEMM_FILE, true}, {GEMM_F32, false}, {GEMM_BF16, false}, {GEMM_INT8, false}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        model_file f;
        weights w;
        pgr_error err;
        open_file(&f);
        volatile uint8_t sum = 0;
        for (size_t at = 0; at < f.map.size; at += 4096) sum = (uint8_t)(sum + f.map.data[at]); /* all pages come */
        assert_true(resident(f.path) >= BYTES);
        pgr_status s = weights_open(&f.source, &f.config, forms[i].form, f.ops, NULL, &w, &err);
        if (s == PGR_E_UNSUPPORTED) {
            print_message("SKIP: %s\n", err.message);
            close_file(&f);
            continue;
        }
        if (s != PGR_OK) fail_msg("%s", err.message);
        size_t left = resident(f.path);
        if (forms[i].stays ? left < BYTES : left > BYTES / 8) /* the last page and what the kernel maps around it */
            fail_msg("form %d: %zu of %d bytes are resident", (int)forms[i].form, left, BYTES);
        weights_close(&w);
        close_file(&f);
    }
}

/* Loading seven billion parameters takes a while: an interrupt is heard at the next product. */
static void loading_can_be_cancelled(void **state) {
    (void)state;
    model_file f;
    weights w;
    pgr_error err;
    pgr_cancel cancel = 1;
    pgr_watch watch = {.cancel = &cancel};
    open_file(&f);
    assert_int_equal(weights_open(&f.source, &f.config, GEMM_F32, f.ops, &watch, &w, &err), PGR_E_CANCELLED);
    assert_string_equal(err.message, "cancelled");
    cancel = 0;
    assert_int_equal(weights_open(&f.source, &f.config, GEMM_F32, f.ops, &watch, &w, &err), PGR_OK);
    weights_close(&w);
    close_file(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(converted_pages_leave_memory),
                                       cmocka_unit_test(loading_can_be_cancelled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
