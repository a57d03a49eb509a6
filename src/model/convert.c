/* convert.c - pgr_convert. Owns its order of work: check, open, write. */
#include <sys/stat.h>

#include "base/clock.h"
#include "model/export_gguf.h"

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
    if (arch_find(c->config.arch)) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: models of architecture %s are not written, only %s", c->path,
                c->config.arch, arch_list());
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
    export_run run = {.cancel = o.cancel, .progress = o.progress, .progress_ctx = o.progress_ctx};
    pgr_status status = check_model(&c, err);
    if (status == PGR_OK) status = pool_create(o.n_thread, &run.threads, err);
    if (status == PGR_OK) status = export_gguf(&c, NULL, 0, types_of(o.type), path, run, &w, err);
    pool_free(run.threads);
    checkpoint_close(&c);
    w.seconds = clock_now() - start;
    if (status == PGR_OK && out) *out = w;
    return status;
}
