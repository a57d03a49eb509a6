/* test_damage.c - every golden model file cut off at 200 places and with one byte changed, 500 times (2,000 times with
 * PGENRM_DAMAGE=full in the environment, 10 s): its reader gives an error with a message or a result that can be used,
 * keeps no memory, and reads nothing beyond the bytes (they end where the allocation does). A sample of the damages
 * goes through opening the whole model and writing tokens or embedding texts. */
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/faults.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/rng.h"
#include "format/hf_config.h"
#include "format/hf_template.h"
#include "infer/engine.h"
#include "model/lora.h"
#include "model/model.h"

#define GOLDEN PGR_SOURCE_DIR "/tests/golden"

enum {
    CUTS = 200,
    FLIPS = 500,
    FULL_FLIPS = 2000,
    SAMPLE = 24 /* of each file through a whole model */,
    MAX_FILE = 256
};

static rng dice = {.seed = 5, .stream = 4};

/* The k-th damage to a file: a beginning of it, or one byte changed. The caller's (free), of exactly *n bytes. */
static uint8_t *damage(const buf *whole, size_t k, size_t *n) {
    *n = k < CUTS ? whole->n * k / CUTS : whole->n;
    uint8_t *bytes = malloc(*n ? *n : 1);
    memcpy(bytes, whole->data, *n);
    if (k >= CUTS) bytes[rng_below(&dice, *n)] ^= (uint8_t)(1 + rng_below(&dice, 255));
    return bytes;
}

/* ---- readers of one file: an error, or a result that is looked at and given back ---- */

static void use_tokenizer(tokenizer *t) {
    static const char text[] =
        "The reader's 3 answers:\t<|im_end|> caf\xc3\xa9 e\xcc\x81 \xe5\xad\x97\xff  \n\n[INST] aaaa";
    for (int flags = 0; flags <= TOK_PARSE_SPECIAL; flags++) {
        ids v = {0};
        buf out = {0};
        pgr_error err = {0};
        pgr_status s = tok_encode(t, text, sizeof text - 1, flags, &v, &err);
        assert_true(s == PGR_OK || s == PGR_E_LIMIT); /* a damaged pattern may take too long */
        for (size_t i = 0; i < v.n; i++) assert_true(v.v[i] >= 0 && (size_t)v.v[i] < tok_count(t));
        assert_int_equal(tok_decode(t, v.v, v.n, &out, NULL), PGR_OK);
        buf_free(&out);
        ids_free(&v);
    }
    tok_close(t);
}

static pgr_status read_gguf(const uint8_t *data, size_t n, pgr_error *err) {
    gguf g;
    config c;
    arena a = {0};
    tensor_source s;
    tokenizer *t = NULL;
    pgr_status status = gguf_open_memory(data, n, "damaged.gguf", &g, err);
    if (status != PGR_OK) return status;
    if (gguf_find(&g, "tokenizer.ggml.model")) {
        status = tok_open(&g, &t, err);
        if (status == PGR_OK) use_tokenizer(t);
    }
    if (status == PGR_OK && g.n_tensor > 0) status = config_from_gguf(&g, &c, err);
    if (status == PGR_OK) status = source_from_gguf(&g, &a, &s, err);
    arena_free(&a);
    gguf_close(&g);
    return status;
}

static pgr_status read_tokenizer(const uint8_t *data, size_t n, pgr_error *err) {
    tokenizer *t = NULL;
    pgr_status status = tok_open_json((const char *)data, n, "damaged.json", &t, err);
    if (status == PGR_OK) use_tokenizer(t);
    return status;
}

static pgr_status read_safetensors(const uint8_t *data, size_t n, pgr_error *err) {
    safetensors s;
    pgr_status status = safetensors_open_memory(data, n, "damaged.safetensors", &s, err);
    if (status != PGR_OK) return status;
    for (size_t i = 0; i < s.source.n_tensor; i++) {
        const source_tensor *t = &s.source.tensors[i];
        if (t->data) assert_true((const uint8_t *)t->data >= data && (const uint8_t *)t->data + t->bytes <= data + n);
    }
    safetensors_close(&s);
    return PGR_OK;
}

static pgr_status read_index(const uint8_t *data, size_t n, pgr_error *err) {
    arena a = {0};
    shard_index x;
    pgr_status status = shard_index_parse((const char *)data, n, "damaged.json", &a, &x, err);
    if (status == PGR_OK)
        for (size_t i = 0; i < x.n_tensor; i++) assert_true(x.file_of[i] < x.n_file);
    arena_free(&a);
    return status;
}

static pgr_status read_config(const uint8_t *data, size_t n, pgr_error *err) {
    hf_config h;
    PGR_TRY(hf_config_parse((const char *)data, n, "damaged.json", &h, err));
    PGR_TRY(config_check(&h.c, "damaged", err));
    assert_true(h.c.n_head % h.c.n_head_kv == 0 && h.n_eos <= HF_MAX_EOS && h.bos < (int64_t)h.c.n_vocab);
    return PGR_OK;
}

static pgr_status read_generation(const uint8_t *data, size_t n, pgr_error *err) {
    hf_config h = {.c = {.n_vocab = 1000}, .bos = -1};
    PGR_TRY(hf_generation_parse((const char *)data, n, "damaged.json", &h, err));
    assert_true(h.bos < 1000 && h.n_eos <= HF_MAX_EOS);
    return PGR_OK;
}

static pgr_status read_template(const uint8_t *data, size_t n, pgr_error *err) {
    buf out = {0};
    bool found;
    pgr_status status = hf_template_parse((const char *)data, n, "damaged.json", &out, &found, err);
    buf_free(&out);
    return status;
}

/* ---- files ---- */

typedef struct golden_file {
    char path[400];
    pgr_status (*read)(const uint8_t *data, size_t n, pgr_error *err); /* NULL: through the whole model only */
    bool adapter, embedder;
} golden_file;

static golden_file files[MAX_FILE];
static size_t n_file;

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static void take_file(const char *path) {
    static const struct {
        const char *ending;
        pgr_status (*read)(const uint8_t *data, size_t n, pgr_error *err);
    } kinds[] = {{".gguf", read_gguf},
                 {"tokenizer.json", read_tokenizer},
                 {".safetensors", read_safetensors},
                 {".index.json", read_index},
                 {"/config.json", read_config},
                 {"/generation_config.json", read_generation},
                 {"/tokenizer_config.json", read_template},
                 {"/chat_template.jinja", NULL},
                 {"/modules.json", NULL},
                 {"/sentence_bert_config.json", NULL},
                 {"/adapter_config.json", NULL}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!ends_with(path, kinds[i].ending)) continue;
        assert_true(n_file < MAX_FILE);
        golden_file *f = &files[n_file++];
        snprintf(f->path, sizeof f->path, "%s", path);
        f->read = kinds[i].read;
        f->adapter = strstr(path, "/lora/") != NULL;
        f->embedder = strstr(path, "/hf-tiny-bert/") || strstr(path, "-embedding/");
        return;
    }
}

static void take_folder(const char *path) {
    struct dirent **list;
    int n = scandir(path, &list, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        char inner[400];
        struct stat st;
        snprintf(inner, sizeof inner, "%s/%s", path, list[i]->d_name);
        if (list[i]->d_name[0] != '.' && stat(inner, &st) == 0) (S_ISDIR(st.st_mode) ? take_folder : take_file)(inner);
        free(list[i]);
    }
    free(list);
}

static int find_files(void **state) {
    (void)state;
    take_folder(GOLDEN);
    return 0;
}

/* Two files of the same bytes are read once. */
static bool seen_before(size_t i, const buf *whole) {
    for (size_t k = 0; k < i; k++) {
        buf other = {0};
        bool same = files[k].read == files[i].read && file_read(files[k].path, &other, NULL) == PGR_OK
                    && other.n == whole->n && memcmp(other.data, whole->data, whole->n) == 0;
        buf_free(&other);
        if (same) return true;
    }
    return false;
}

static void readers_survive(void **state) {
    (void)state;
    const char *how = getenv("PGENRM_DAMAGE");
    size_t n_damage = CUTS + (how && strcmp(how, "full") == 0 ? FULL_FLIPS : FLIPS);
    size_t n_read = 0, n_refused = 0, n_taken = 0;
    for (size_t i = 0; i < n_file; i++) {
        buf whole = {0};
        assert_int_equal(file_read(files[i].path, &whole, NULL), PGR_OK);
        if (files[i].read && !seen_before(i, &whole)) {
            n_read++;
            for (size_t k = 0; k < n_damage; k++) {
                size_t n;
                long live = mem_live();
                uint8_t *bytes = damage(&whole, k, &n);
                pgr_error err = {0};
                pgr_status s = files[i].read(bytes, n, &err);
                if (s != PGR_OK && (err.status != s || !err.message[0])) fail_msg("%s: no message", files[i].path);
                if (mem_live() != live) fail_msg("%s: damage %zu left memory behind", files[i].path, k);
                s == PGR_OK ? n_taken++ : n_refused++;
                free(bytes);
            }
        }
        buf_free(&whole);
    }
    print_message("%zu files: %zu damages refused, %zu without effect on reading\n", n_read, n_refused, n_taken);
    assert_true(n_read >= 30 && n_refused > 10 * n_read);
}

/* ---- whole models ---- */

/* Greedy tokens of an engine: an error, or numbers. */
static void write_tokens(pgr_engine *e) {
    static const int32_t prompt[] = {5, 9, 3, 7};
    infer_request r = {
        .prompt = prompt, .n_prompt = 4, .n_sample = 1, .sampling = {.top_p = 1}, .max_tokens = 3, .ignore_eos = true};
    infer_output out;
    pgr_error err = {0};
    pgr_status s = infer_run(e, &r, 1, NULL, &out, &err);
    if (s != PGR_OK) {
        assert_true(err.status == s && err.message[0]);
        return;
    }
    const infer_chain *c = &out.chains[0];
    for (size_t i = 0; i < c->tokens.n; i++) assert_true(c->logprobs[i] <= 0 && isfinite(c->logprobs[i]));
    infer_output_free(&out);
}

static pgr_status open_and_write(const char *path, pgr_error *err) {
    pgr_model_options o = pgr_model_options_default();
    pgr_engine_options eo = pgr_engine_options_default();
    pgr_model *m;
    pgr_engine *e;
    o.dtype = PGR_DTYPE_EXACT;
    o.n_thread = 1;
    eo.n_batch = 8;
    PGR_TRY(pgr_model_open(path, &o, &m, err));
    pgr_status s = pgr_engine_create(m, &eo, &e, err);
    if (s == PGR_OK) {
        write_tokens(e);
        pgr_engine_free(e);
    }
    pgr_model_close(m);
    return s;
}

static pgr_model *base;     /* of damaged adapters */
static pgr_engine *adapted; /* the engine that they go to */

static pgr_status adapt_and_write(const char *path, pgr_error *err) {
    pgr_lora *l;
    PGR_TRY(pgr_lora_open(base, path, &l, err));
    const float scale = 1;
    pgr_status s = pgr_engine_set_loras(adapted, &l, &scale, 1, err);
    if (s == PGR_OK) write_tokens(adapted);
    pgr_engine_set_loras(adapted, NULL, NULL, 0, NULL);
    pgr_lora_close(l);
    return s;
}

static pgr_status open_and_embed(const char *path, pgr_error *err) {
    static const char *const texts[] = {"Which answer is better?", ""};
    static const size_t lens[] = {23, 0};
    pgr_model_options o = pgr_model_options_default();
    pgr_embedder *e;
    o.dtype = PGR_DTYPE_EXACT;
    o.n_thread = 1;
    PGR_TRY(pgr_embedder_open(path, &o, &e, err));
    size_t dims = pgr_embedder_dims(e);
    float *out = malloc(2 * dims * sizeof *out);
    pgr_status s = pgr_embed(e, texts, lens, 2, NULL, out, NULL, err);
    for (size_t i = 0; s == PGR_OK && i < 2 * dims; i++)
        if (!isfinite(out[i])) fail_msg("%s: value %zu of the embeddings is %g", path, i, (double)out[i]);
    free(out);
    pgr_embedder_close(e);
    return s;
}

static void put_bytes(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A folder of links to what lies beside `path`, that one a file of its own;
 * of 1_Pooling/config.json beside 1_Pooling. */
static void link_folder(char *folder, char *own, const char *path) {
    const char *name = strrchr(path, '/'), *inner = strstr(path, "/1_Pooling/");
    char from[400];
    if (inner) name = inner;
    snprintf(from, sizeof from, "%.*s", (int)(name - path), path);
    strcpy(folder, "/tmp/pgr-damage-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(own, 400, "%s%s", folder, name);
    DIR *d = opendir(from);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char target[800], link[400];
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.') continue;
        snprintf(target, sizeof target, "%s/%s", from, e->d_name);
        snprintf(link, sizeof link, "%s/%s", folder, e->d_name);
        if (memcmp(e->d_name, name + 1, n) == 0 && (name[1 + n] == '\0' || name[1 + n] == '/'))
            assert_true(!inner || mkdir(link, 0700) == 0);
        else
            assert_int_equal(symlink(target, link), 0);
    }
    closedir(d);
}

static void remove_folder(const char *folder, const char *own) {
    char path[400];
    if (strstr(own, "/1_Pooling/")) {
        snprintf(path, sizeof path, "%s/1_Pooling", folder);
        assert_true(unlink(own) == 0 && rmdir(path) == 0);
    }
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.') assert_int_equal(unlink(path), 0);
    }
    closedir(d);
    assert_int_equal(rmdir(folder), 0);
}

/* A sample of the damages to one file, seen by whoever opens the model (or adapter) that it is part of. */
static void damage_model(const golden_file *f, size_t *n_written) {
    char folder[64], own[400];
    buf whole = {0};
    bool single = ends_with(f->path, ".gguf");
    assert_int_equal(file_read(f->path, &whole, NULL), PGR_OK);
    link_folder(folder, own, f->path);
    for (size_t i = 0; i < SAMPLE; i++) {
        size_t n, k = i < SAMPLE / 4 ? rng_below(&dice, CUTS) : CUTS;
        uint8_t *bytes = damage(&whole, k, &n);
        put_bytes(own, bytes, n);
        pgr_error err = {0};
        long live = mem_live();
        pgr_status s = (f->adapter    ? adapt_and_write
                        : f->embedder ? open_and_embed
                                      : open_and_write)(single ? own : folder, &err);
        if (s != PGR_OK && (err.status != s || !err.message[0])) fail_msg("%s: no message", f->path);
        if (!f->adapter && mem_live() != live) fail_msg("%s: damage %zu left memory behind", f->path, i);
        *n_written += s == PGR_OK;
        free(bytes);
    }
    remove_folder(folder, own);
    buf_free(&whole);
}

static void models_survive(void **state) {
    (void)state;
    pgr_model_options o = pgr_model_options_default();
    size_t n_model = 0, n_written = 0;
    o.dtype = PGR_DTYPE_EXACT;
    o.n_thread = 1;
    assert_int_equal(pgr_model_open(GOLDEN "/tiny-llama.gguf", &o, &base, NULL), PGR_OK);
    assert_int_equal(pgr_engine_create(base, NULL, &adapted, NULL), PGR_OK);
    for (size_t i = 0; i < n_file; i++) {
        if (strstr(files[i].path, "/tokenizer/")) continue; /* no models */
        damage_model(&files[i], &n_written);
        n_model++;
    }
    pgr_engine_free(adapted);
    pgr_model_close(base);
    print_message("%zu files of models: %zu of %zu damages opened and computed\n", n_model, n_written,
                  n_model * SAMPLE);
    assert_true(n_model >= 40 && n_written > n_model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_survive), cmocka_unit_test(models_survive)};
    return cmocka_run_group_tests(tests, find_files, NULL);
}
