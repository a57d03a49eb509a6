/* convert.c - the public calls that write models, pgr_convert and pgr_merge. Owns their order of work: check,
 * open, write. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "export/export_folder.h"
#include "export/export_gguf.h"
#include "format/safetensors_write.h"

pgr_write_options pgr_write_options_default(void) {
    return (pgr_write_options){.type = PGR_FILE_KEEP};
}

static pgr_status check_options(const pgr_write_options *o, pgr_error *err) {
    if (o->n_thread < 0 || o->n_thread > 1024)
        return fail(err, PGR_E_ARG, "n_thread is %d, expected 0 to 1024", o->n_thread);
    if ((unsigned)o->type > PGR_FILE_Q4_0)
        return fail(err, PGR_E_ARG, "type is %d, expected a pgr_file_type", (int)o->type);
    return PGR_OK;
}

static export_types types_of(pgr_file_type type) {
    static const quant_type types[] = {[PGR_FILE_F32] = QUANT_F32,
                                       [PGR_FILE_F16] = QUANT_F16,
                                       [PGR_FILE_BF16] = QUANT_BF16,
                                       [PGR_FILE_Q8_0] = QUANT_Q8_0,
                                       [PGR_FILE_Q4_0] = QUANT_Q4_0};
    bool keep = type == PGR_FILE_KEEP;
    return (export_types){.keep = keep, .matrix = keep ? QUANT_F32 : types[type]};
}

/* A file that does not exist, or one that may be replaced. */
static pgr_status check_file(const char *path, bool force, pgr_error *err) {
    struct stat st;
    if (stat(path, &st) != 0) return PGR_OK; /* what is wrong with it shows when it is opened */
    if (S_ISDIR(st.st_mode)) return fail(err, PGR_E_ARG, "%s: is a folder, expected the name of a file", path);
    if (!force) return fail(err, PGR_E_ARG, "%s: exists; --force replaces it", path);
    return PGR_OK;
}

/* Before the part is opened for writing. */
static pgr_status check_model(const checkpoint *c, pgr_error *err) {
    if (c->config.score_head)
        return fail(err, PGR_E_UNSUPPORTED, "%s: has a score head; only language models are written", c->path);
    if (arch_find(c->config.arch)) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: models of architecture %s are not written, only %s", c->path,
                c->config.arch, arch_list());
}

static bool is_gguf_name(const char *path) {
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

static pgr_status write_model(const checkpoint *c, const export_adapter *adapters, size_t n, const char *path,
                              bool as_gguf, const pgr_write_options *o, pgr_written *out, pgr_error *err) {
    export_run run = {.watch = o->watch};
    PGR_TRY(pool_create(o->n_thread, &run.threads, err));
    pgr_status status = as_gguf
                            ? export_gguf(c, adapters, n, types_of(o->type), path, run, out, err)
                            : export_folder(c, adapters, n, o->type, path, o->force, SAFETENSORS_SHARD, run, out, err);
    pool_free(run.threads);
    return status;
}

pgr_status pgr_convert(const char *model, const char *path, const pgr_write_options *options, pgr_written *out,
                       pgr_error *err) {
    pgr_write_options o = options ? *options : pgr_write_options_default();
    checkpoint c;
    pgr_written w = {0};
    double start = clock_now();
    PGR_TRY(check_options(&o, err));
    PGR_TRY(check_file(path, o.force, err));
    PGR_TRY(checkpoint_open(model, &c, err));
    pgr_status status = check_model(&c, err);
    if (status == PGR_OK) status = write_model(&c, NULL, 0, path, true, &o, &w, err);
    checkpoint_close(&c);
    w.seconds = clock_now() - start;
    if (status == PGR_OK && out) *out = w;
    return status;
}

/* ---- merge ---- */

static pgr_status check_merge(const checkpoint *c, const pgr_adapter *adapters, size_t n, const char *path,
                              pgr_error *err) {
    PGR_TRY(check_model(c, err));
    if (n == 0) return fail(err, PGR_E_ARG, "no adapter to merge");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(adapters[i].scale))
            return fail(err, PGR_E_ARG, "%s: its scale is not a number", adapters[i].path);
    if (!is_gguf_name(path) && c->source.names == SOURCE_GGUF)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: a GGUF model is merged into a GGUF file, expected a name that ends with .gguf", path);
    return PGR_OK;
}

/* loras, list: (n) */
static pgr_status merge_with(const checkpoint *c, const pgr_adapter *adapters, size_t n, const char *path,
                             const pgr_write_options *o, lora *loras, export_adapter *list, pgr_written *out,
                             pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(lora_open(adapters[i].path, &c->config, &loras[i], err));
        list[i] = (export_adapter){&loras[i], adapters[i].scale};
    }
    return write_model(c, list, n, path, is_gguf_name(path), o, out, err);
}

static pgr_status merge(const checkpoint *c, const pgr_adapter *adapters, size_t n, const char *path,
                        const pgr_write_options *o, pgr_written *out, pgr_error *err) {
    PGR_TRY(check_merge(c, adapters, n, path, err));
    lora *loras = mem_zero(n, sizeof *loras);
    export_adapter *list = mem_array(n, sizeof *list);
    pgr_status status = loras && list ? merge_with(c, adapters, n, path, o, loras, list, out, err) : fail_mem(err);
    for (size_t i = 0; loras && i < n; i++) lora_close(&loras[i]);
    mem_free(loras);
    mem_free(list);
    return status;
}

pgr_status pgr_merge(const char *model, const pgr_adapter *adapters, size_t n, const char *path,
                     const pgr_write_options *options, pgr_written *out, pgr_error *err) {
    pgr_write_options o = options ? *options : pgr_write_options_default();
    checkpoint c;
    pgr_written w = {0};
    double start = clock_now();
    PGR_TRY(check_options(&o, err));
    if (is_gguf_name(path)) PGR_TRY(check_file(path, o.force, err));
    PGR_TRY(checkpoint_open(model, &c, err));
    pgr_status status = merge(&c, adapters, n, path, &o, &w, err);
    checkpoint_close(&c);
    w.seconds = clock_now() - start;
    if (status == PGR_OK && out) *out = w;
    return status;
}
