/* trainable_write.c - owns the PEFT folder of an adapter: its two files, written into FOLDER.part, which then becomes
 * FOLDER at once. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/trainable_parts.h"

/* The first two are written here; the others may lie beside them: slots.json is what src/train adds. */
static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors", "README.md", "slots.json",
                                    NULL};

typedef struct writer {
    const trainable *t;
    const config *c;
    trainable_form form;
    const char *base;
    char *folder, *part, *old; /* without a slash at the end */
    pgr_error *err;
} writer;

static pgr_status fail_errno(const writer *w, const char *path, int number) {
    char text[128];
    return fail(w->err, PGR_E_IO, "%s: %s", path, strerror_r(number, text, sizeof text));
}

/* ---- names ---- */

/* "self_attn.q_proj" */
static void put_matrix(buf *b, size_t matrix) {
    static const char *const names[] = {
#define X(field, gguf, hf, rows, cols) hf,
        LAYER_MATRICES(X)
#undef X
    };
    buf_add(b, names[matrix], strlen(names[matrix]) - strlen(".weight"));
}

/* "model.layers.0.self_attn.q_proj" */
static void put_module(buf *b, size_t layer, size_t matrix) {
    buf_printf(b, "model.layers.%zu.", layer);
    put_matrix(b, matrix);
}

/* ---- adapter_config.json ---- */

/* Every layer has factors at the same matrices: they can be named without their layers. */
static bool is_regular(const writer *w) {
    for (size_t i = 0; i < w->c->n_layer * LAYER_N_MATRIX; i++)
        if ((trainable_factors(w->t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX)->r > 0)
            != (trainable_factors(w->t, 0, i % LAYER_N_MATRIX)->r > 0))
            return false;
    return true;
}

static void put_targets(const writer *w, buf *b) {
    bool regular = is_regular(w);
    const char *before = "\n    \"";
    buf_puts(b, "  \"target_modules\": [");
    for (size_t i = 0; i < (regular ? 1 : w->c->n_layer) * LAYER_N_MATRIX; i++) {
        size_t layer = i / LAYER_N_MATRIX, matrix = i % LAYER_N_MATRIX;
        if (trainable_factors(w->t, layer, matrix)->r == 0) continue;
        buf_puts(b, before);
        if (regular)
            put_matrix(b, matrix);
        else
            put_module(b, layer, matrix);
        buf_putc(b, '"');
        before = ",\n    \"";
    }
    buf_puts(b, "\n  ],\n");
}

/* alpha so that the reader's (float)(alpha / r) is the scale: a whole number where one does it. */
static double alpha_of(const lora_factors *f) {
    double r = (double)f->r, alpha = (double)f->scale * r, whole = nearbyint(alpha);
    return (float)(whole / r) == f->scale ? whole : alpha;
}

/* Ranks or alphas that are not those of the first matrix. */
static void put_patterns(const writer *w, buf *b, const lora_factors *first, const char *key, bool alphas) {
    const char *before = "\n    \"";
    buf_printf(b, "  \"%s\": {", key);
    for (size_t i = 0; i < w->c->n_layer * LAYER_N_MATRIX; i++) {
        size_t layer = i / LAYER_N_MATRIX, matrix = i % LAYER_N_MATRIX;
        const lora_factors *f = trainable_factors(w->t, layer, matrix);
        bool same = alphas ? alpha_of(f) == alpha_of(first) : f->r == first->r;
        if (f->r == 0 || same) continue;
        buf_puts(b, before);
        put_module(b, layer, matrix);
        if (alphas)
            buf_printf(b, "\": %.17g", alpha_of(f));
        else
            buf_printf(b, "\": %zu", f->r);
        before = ",\n    \"";
    }
    buf_puts(b, before[0] == ',' ? "\n  }" : "}");
}

static const lora_factors *first_factors(const writer *w) {
    size_t i = w->t->first_layer * LAYER_N_MATRIX;
    while (trainable_factors(w->t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX)->r == 0) i++;
    return trainable_factors(w->t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
}

static void put_config(const writer *w, buf *b) {
    const lora_factors *first = first_factors(w);
    buf_puts(b, "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n  \"base_model_name_or_path\": ");
    json_put_string(b, w->base, strlen(w->base));
    buf_printf(b, ",\n  \"r\": %zu,\n  \"lora_alpha\": %.17g,\n", first->r, alpha_of(first));
    put_targets(w, b);
    put_patterns(w, b, first, "rank_pattern", false);
    buf_puts(b, ",\n");
    put_patterns(w, b, first, "alpha_pattern", true);
    buf_puts(b, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n"
                "  \"init_lora_weights\": true,\n  \"lora_dropout\": 0.0,\n  \"modules_to_save\": null,\n"
                "  \"use_rslora\": false\n}\n");
}

/* ---- adapter_model.safetensors ---- */

static size_t value_bytes(const writer *w) {
    return w->form == TRAINABLE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

static void put_entry(const writer *w, buf *b, size_t layer, size_t matrix, char part, size_t rows, size_t cols,
                      size_t *at) {
    size_t bytes = rows * cols * value_bytes(w);
    buf_puts(b, ",\"base_model.model.");
    put_module(b, layer, matrix);
    buf_printf(b, ".lora_%c.weight\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]}", part,
               w->form == TRAINABLE_BF16 ? "BF16" : "F32", rows, cols, *at, *at + bytes);
    *at += bytes;
}

/* Length and JSON, padded to 8 bytes. */
static void put_header(const writer *w, buf *b) {
    size_t at = 0;
    buf_add(b, "\0\0\0\0\0\0\0\0", 8);
    buf_puts(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < w->c->n_layer * LAYER_N_MATRIX; i++) {
        size_t layer = i / LAYER_N_MATRIX, matrix = i % LAYER_N_MATRIX;
        const lora_factors *f = trainable_factors(w->t, layer, matrix);
        if (f->r == 0) continue;
        put_entry(w, b, layer, matrix, 'A', f->r, f->K, &at);
        put_entry(w, b, layer, matrix, 'B', f->N, f->r, &at);
    }
    buf_putc(b, '}');
    while (b->n % 8 && !b->failed) buf_putc(b, ' ');
    for (size_t i = 0; i < 8 && !b->failed; i++) b->data[i] = (char)(uint8_t)((uint64_t)(b->n - 8) >> (8 * i));
}

static void put_values(const writer *w, buf *b, const float *v, size_t n) {
    for (size_t i = 0; i < n && w->form == TRAINABLE_BF16; i++) {
        uint16_t bits = f32_to_bf16(v[i]);
        buf_add(b, (const char *)&bits, sizeof bits);
    }
    if (w->form == TRAINABLE_F32) buf_add(b, (const char *)v, n * sizeof *v);
}

/* b of a matrix: rows of interleaved pairs go back to where Hugging Face has them (lora.c turns them round). */
static void put_b(const writer *w, buf *b, size_t matrix, const lora_factors *f) {
    bool turned = w->c->rope_interleaved && (matrix == LAYER_attn_q || matrix == LAYER_attn_k);
    size_t hd = w->c->head_dim;
    for (size_t row = 0; row < f->N; row++) {
        size_t i = row % hd % (hd / 2), j = row % hd / (hd / 2), pairs = row - row % hd + 2 * i + j;
        put_values(w, b, f->b + (turned ? pairs : row) * f->r, f->r);
    }
}

static void put_tensors(const writer *w, buf *b) {
    put_header(w, b);
    for (size_t i = 0; i < w->c->n_layer * LAYER_N_MATRIX; i++) {
        const lora_factors *f = trainable_factors(w->t, i / LAYER_N_MATRIX, i % LAYER_N_MATRIX);
        if (f->r == 0) continue;
        put_values(w, b, f->a, f->r * f->K);
        put_b(w, b, i % LAYER_N_MATRIX, f);
    }
}

/* ---- the folder ---- */

static bool is_ours(const char *name) {
    for (size_t i = 0; files[i]; i++)
        if (strcmp(name, files[i]) == 0) return true;
    return false;
}

static pgr_status check_folder(const writer *w) {
    DIR *d = opendir(w->folder);
    if (!d) return errno == ENOENT ? PGR_OK : fail_errno(w, w->folder, errno);
    pgr_status s = PGR_OK;
    for (struct dirent *e; s == PGR_OK && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !is_ours(e->d_name))
            s = fail(w->err, PGR_E_ARG, "%s: holds %.80s, which is no part of an adapter: not replaced", w->folder,
                     e->d_name);
    closedir(d);
    return s;
}

static pgr_status write_file(const writer *w, const char *name, void (*put)(const writer *w, buf *b)) {
    buf path = {0}, data = {0};
    buf_printf(&path, "%s/%s", w->part, name);
    put(w, &data);
    pgr_status s = path.failed || data.failed ? fail_mem(w->err) : file_write(path.data, data.data, data.n, w->err);
    buf_free(&path);
    buf_free(&data);
    return s;
}

static pgr_status write_part(const writer *w) {
    file_remove_folder(w->part); /* what a killed run left */
    if (mkdir(w->part, 0777) != 0) return fail_errno(w, w->part, errno);
    PGR_TRY(write_file(w, files[1], put_tensors));
    return write_file(w, files[0], put_config);
}

/* The part takes the folder's name: at once where the file system can exchange two names, else by way of a third. */
static pgr_status put_in_place(const writer *w) {
    if (renameat2(AT_FDCWD, w->part, AT_FDCWD, w->folder, RENAME_EXCHANGE) == 0) {
        file_remove_folder(w->part);
        return PGR_OK;
    }
    file_remove_folder(w->old);
    if (file_is_folder(w->folder) && rename(w->folder, w->old) != 0) return fail_errno(w, w->folder, errno);
    if (rename(w->part, w->folder) != 0) return fail_errno(w, w->folder, errno);
    file_remove_folder(w->old);
    return PGR_OK;
}

static pgr_status write_all(writer *w) {
    if (!w->folder || !w->part || !w->old) return fail_mem(w->err);
    PGR_TRY(check_folder(w));
    pgr_status s = write_part(w);
    if (s == PGR_OK) s = put_in_place(w);
    if (s != PGR_OK) file_remove_folder(w->part);
    return s;
}

static char *with_ending(const char *folder, const char *ending) {
    buf b = {0};
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    buf_add(&b, folder, n);
    buf_puts(&b, ending);
    char *path = buf_take(&b);
    buf_free(&b);
    return path;
}

pgr_status trainable_write(const trainable *t, const char *folder, trainable_form form, const char *base,
                           pgr_error *err) {
    const pgr_model *m = t->adapter.m;
    writer w = {.t = t, .c = &m->config, .form = form, .base = base ? base : pgr_model_name(m), .err = err};
    w.folder = with_ending(folder, "");
    w.part = with_ending(folder, ".part");
    w.old = with_ending(folder, ".old");
    pgr_status s = write_all(&w);
    mem_free(w.folder);
    mem_free(w.part);
    mem_free(w.old);
    return s;
}
