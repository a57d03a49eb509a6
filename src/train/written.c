/* written.c - gives the export (src/export) a checkpoint whose tensors are what was trained. */
#include "train/written.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "export/export_folder.h"
#include "format/safetensors_write.h"

static pgr_file_type type_of(const pgr_model *m) {
    const source_tensor *t = source_find(&m->from.source, "model.embed_tokens.weight");
    if (!t) t = source_find(&m->from.source, "embed_tokens.weight");
    quant_type type = t ? (quant_type)t->type : QUANT_BF16;
    return type == QUANT_F32 ? PGR_FILE_F32 : type == QUANT_F16 ? PGR_FILE_F16 : PGR_FILE_BF16;
}

static pgr_status export(const pgr_model *m, const checkpoint *c, const export_adapter *adapter, const char *folder,
                         pgr_error *err) {
    pgr_written done;
    export_run run = {.threads = m->threads};
    return export_folder(c, adapter, adapter ? 1 : 0, type_of(m), folder, false, SAFETENSORS_SHARD, run, &done, err);
}

/* The model's tensors with the score head's row. */
static pgr_status with_score(const trainable *t, const pgr_model *m, arena *a, checkpoint *out, pgr_error *err) {
    const tensor_source *from = &m->from.source;
    *out = m->from;
    out->config.score_head = true;
    out->source = (tensor_source){.path = from->path, .names = from->names};
    out->source.tensors = arena_array(a, from->n_tensor + 1, sizeof *out->source.tensors);
    if (!out->source.tensors) return fail_mem(err);
    for (size_t i = 0; i < from->n_tensor; i++)
        if (strcmp(from->tensors[i].name, "score.weight") != 0)
            out->source.tensors[out->source.n_tensor++] = from->tensors[i];
    size_t d = m->config.n_embd;
    out->source.tensors[out->source.n_tensor++] = (source_tensor){.name = "score.weight",
                                                                  .type = QUANT_F32,
                                                                  .n_dim = 2,
                                                                  .dim = {d, 1, 1, 1},
                                                                  .data = trainable_score(t),
                                                                  .bytes = d * sizeof(float)};
    return source_index(&out->source, a, err);
}

/* folder is not there. */
static pgr_status write_new(const trainable *t, const char *folder, pgr_error *err) {
    pgr_lora *adapter = trainable_adapter((trainable *)(uintptr_t)t);
    const pgr_model *m = adapter->m;
    if (trainable_whole(t)) return export(m, trainable_whole(t), NULL, folder, err);
    arena a = {0};
    checkpoint c = m->from;
    export_adapter merged = {&adapter->file, 1.0f};
    pgr_status s = trainable_score(t) ? with_score(t, m, &a, &c, err) : PGR_OK;
    if (s == PGR_OK) s = export(m, &c, &merged, folder, err);
    arena_free(&a);
    return s;
}

/* The new folder's name is exchanged with the old one's, where the file system can do that. */
static pgr_status put_in_place(const char *part, const char *folder, pgr_error *err) {
    char text[128];
    if (rename(part, folder) == 0) return PGR_OK;
    bool exchanged = renameat2(AT_FDCWD, part, AT_FDCWD, folder, RENAME_EXCHANGE) == 0;
    file_remove_folder(exchanged ? part : folder);
    if (exchanged || rename(part, folder) == 0) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: %s", folder, strerror_r(errno, text, sizeof text));
}

pgr_status written_model(const trainable *t, const char *folder, pgr_error *err) {
    buf part = {0};
    buf_printf(&part, "%s.new", folder);
    if (part.failed) return fail_mem(err);
    file_remove_folder(part.data); /* what a killed run left */
    pgr_status s = write_new(t, part.data, err);
    if (s == PGR_OK) s = put_in_place(part.data, folder, err);
    buf_free(&part);
    return s;
}

pgr_status written_part(const trainable *t, const char *folder, pgr_error *err) {
    return trainable_whole(t) ? write_new(t, folder, err) : trainable_write(t, folder, TRAINABLE_BF16, NULL, err);
}

pgr_status written_check(const pgr_model *m, const char *what, pgr_error *err) {
    if (m->from.source.names == SOURCE_HF) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED,
                "%s: %s writes a Hugging Face folder and begins with one, whose config and tokenizer go with the "
                "result; found a GGUF file",
                m->from.path, what);
}
