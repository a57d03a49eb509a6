/* export_folder.c - owns what a new Hugging Face folder holds and how it comes to be: everything is written into
 * FOLDER.part, which becomes FOLDER when it is whole. */
#include "export/export_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "format/safetensors_write.h"

/* Copied where the old folder has them; config.json is written last. */
static const char *const companions[] = {"generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer.model",
                                         "chat_template.jinja",
                                         "chat_template.json",
                                         "modules.json",
                                         "config_sentence_transformers.json",
                                         "sentence_bert_config.json",
                                         "1_Pooling/config.json"};
static const char pooling[] = "1_Pooling";

/* What an older model has that would stand beside the new one's weights. */
static const char *const old_weights[] = {"model.safetensors", "model.safetensors.index.json",
                                          "model-*-of-*.safetensors"};

typedef struct folder_out {
    const checkpoint *c;
    const char *folder; /* no slash at the end */
    char *part;
    uint64_t bytes; /* of the files beside the weights */
    arena arena;
    pgr_error *err;
} folder_out;

static pgr_status fail_errno(const folder_out *f, const char *path, int number) {
    char text[128];
    return fail(f->err, PGR_E_IO, "%s: %s", path, strerror_r(number, text, sizeof text));
}

static pgr_status join(folder_out *f, const char *folder, const char *name, const char **out) {
    *out = arena_printf(&f->arena, "%s/%s", folder, name);
    return *out ? PGR_OK : fail_mem(f->err);
}

/* Calls each() for every entry of a folder, in no order. */
static pgr_status each_entry(folder_out *f, const char *folder, pgr_status (*each)(folder_out *f, const char *name)) {
    DIR *d = opendir(folder);
    if (!d) return fail_errno(f, folder, errno);
    pgr_status status = PGR_OK;
    for (struct dirent *e; status == PGR_OK && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) status = each(f, e->d_name);
    closedir(d);
    return status;
}

/* ---- before ---- */

static pgr_status refuse_entry(folder_out *f, const char *name) {
    return fail(f->err, PGR_E_ARG, "%s: exists and holds %.80s; --force replaces a model in it", f->folder, name);
}

static pgr_status check_folder(folder_out *f, bool force) {
    struct stat old, source;
    if (stat(f->folder, &old) != 0) return errno == ENOENT ? PGR_OK : fail_errno(f, f->folder, errno);
    if (!S_ISDIR(old.st_mode)) return fail_errno(f, f->folder, ENOTDIR);
    if (stat(f->c->path, &source) == 0 && source.st_dev == old.st_dev && source.st_ino == old.st_ino)
        return fail(f->err, PGR_E_ARG, "%s: is the folder of the model itself", f->folder);
    return force ? PGR_OK : each_entry(f, f->folder, refuse_entry);
}

/* ---- the part ---- */

static void remove_part(folder_out *f) {
    DIR *d = f->part ? opendir(f->part) : NULL;
    if (!d) return;
    unlinkat(dirfd(d), "1_Pooling/config.json", 0);
    unlinkat(dirfd(d), pooling, AT_REMOVEDIR);
    for (struct dirent *e; (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(f->part);
}

static pgr_status make_part(folder_out *f) {
    f->part = arena_printf(&f->arena, "%s.part", f->folder);
    if (!f->part) return fail_mem(f->err);
    remove_part(f); /* what a killed run left */
    return mkdir(f->part, 0777) == 0 ? PGR_OK : fail_errno(f, f->part, errno);
}

static pgr_status copy_file(folder_out *f, const char *name) {
    const char *from, *to, *inner;
    buf text = {0};
    PGR_TRY(join(f, f->c->path, name, &from));
    PGR_TRY(join(f, f->part, name, &to));
    PGR_TRY(join(f, f->part, pooling, &inner));
    if (!file_exists(from)) return PGR_OK;
    if (strchr(name, '/') && mkdir(inner, 0777) != 0) return fail_errno(f, inner, errno);
    PGR_TRY(file_read(from, &text, f->err));
    f->bytes += text.n;
    pgr_status status = file_write(to, text.data, text.n, f->err);
    buf_free(&text);
    return status;
}

/* ---- config.json: a text with two values changed, the rest byte for byte ---- */

/* The closing quote of the string that begins at s. The text has been parsed, so it is well-formed. */
static const char *string_end(const char *s) {
    for (s++; *s != '"'; s++) s += *s == '\\';
    return s;
}

/* The comma or bracket behind the value that begins at s. */
static const char *behind_value(const char *s) {
    for (size_t depth = 0;; s++) {
        if (*s == '"')
            s = string_end(s);
        else if (*s == '{' || *s == '[')
            depth++;
        else if ((*s == '}' || *s == ']' || *s == ',') && depth == 0)
            return s;
        else if (*s == '}' || *s == ']')
            depth--;
    }
}

/* The value of a key of the outermost object: false where it has none. */
static bool find_value(const char *text, const char *key, const char **begin, const char **end) {
    const char *s = strchr(text, '{') + 1;
    for (size_t n = strlen(key);; s = *end + 1) {
        s += strspn(s, " \t\r\n");
        if (*s == '}') return false;
        bool found = strncmp(s + 1, key, n) == 0 && s[1 + n] == '"';
        *begin = strchr(string_end(s), ':') + 1;
        *begin += strspn(*begin, " \t\r\n");
        *end = behind_value(*begin);
        if (found) return true;
        if (**end == '}') return false;
    }
}

static void set_value(buf *text, const char *key, const char *value) {
    buf b = {0};
    const char *begin, *end;
    if (find_value(text->data, key, &begin, &end)) {
        const char *tail = end;
        while (strchr(" \t\r\n", tail[-1])) tail--;
        buf_add(&b, text->data, (size_t)(begin - text->data));
        buf_puts(&b, value);
        buf_puts(&b, tail);
    } else {
        const char *first = strchr(text->data, '{') + 1;
        bool empty = first[strspn(first, " \t\r\n")] == '}';
        buf_add(&b, text->data, (size_t)(first - text->data));
        buf_printf(&b, "\n  \"%s\": %s%s", key, value, empty ? "" : ",");
        buf_puts(&b, first);
    }
    buf_free(text);
    *text = b;
}

/* A language model's config becomes that of the same family's reward model with one label. */
static pgr_status change_class(folder_out *f, buf *text, const json_t *root, const char *path) {
    const char *name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    const char *end = name ? strstr(name, "ForCausalLM") : NULL;
    if (!f->c->config.score_head || (name && strstr(name, "ForSequenceClassification"))) return PGR_OK;
    if (!end)
        return fail(f->err, PGR_E_UNSUPPORTED, "%s: architectures: found \"%.60s\", expected a name with ForCausalLM",
                    path, name ? name : "");
    const char *list =
        arena_printf(&f->arena, "[\n    \"%.*sForSequenceClassification\"\n  ]", (int)(end - name), name);
    if (!list) return fail_mem(f->err);
    set_value(text, "architectures", list);
    if (!text->failed) set_value(text, "id2label", "{\n    \"0\": \"LABEL_0\"\n  }");
    if (!text->failed) set_value(text, "label2id", "{\n    \"LABEL_0\": 0\n  }");
    return PGR_OK;
}

static pgr_status change_config(folder_out *f, buf *text, const char *path, pgr_file_type type, bool untied) {
    static const char *const names[] = {
        [PGR_FILE_F32] = "\"float32\"", [PGR_FILE_F16] = "\"float16\"", [PGR_FILE_BF16] = "\"bfloat16\""};
    json_t *root = NULL;
    PGR_TRY(json_parse(text->data, text->n, path, 1, &root, f->err));
    const char *key = json_object_get(root, "dtype") ? "dtype" : "torch_dtype"; /* transformers 5.x and 4.x */
    untied = untied || (json_is_true(json_object_get(root, "tie_word_embeddings")) && !f->c->config.tied);
    pgr_status status = change_class(f, text, root, path);
    json_decref(root);
    PGR_TRY(status);
    if (type != PGR_FILE_KEEP && !text->failed) set_value(text, key, names[type]);
    if (untied && !text->failed) set_value(text, "tie_word_embeddings", "false");
    return text->failed ? fail_mem(f->err) : PGR_OK;
}

static pgr_status write_config(folder_out *f, pgr_file_type type, bool untied) {
    const char *from, *to;
    buf text = {0};
    PGR_TRY(join(f, f->c->path, "config.json", &from));
    PGR_TRY(join(f, f->part, "config.json", &to));
    PGR_TRY(file_read(from, &text, f->err));
    pgr_status status = change_config(f, &text, from, type, untied);
    if (status == PGR_OK) f->bytes += text.n;
    if (status == PGR_OK) status = file_write(to, text.data, text.n, f->err);
    buf_free(&text);
    return status;
}

/* ---- the weights ---- */

static pgr_status put(void *ctx, const void *p, size_t n, pgr_error *err) {
    return safetensors_write_data(ctx, p, n, err);
}

static pgr_status put_tensors(folder_out *f, const export_plan *p, uint64_t shard, export_run *run,
                              safetensors_writer *w, uint64_t *bytes) {
    PGR_TRY(safetensors_begin(w, f->part, p->n, f->err));
    for (size_t i = 0; i < p->n; i++) {
        const export_tensor *t = &p->tensors[i];
        const size_t dims[] = {t->rows, t->cols};
        safetensors_put_tensor(w, t->name, t->type, t->matrix ? dims : dims + 1, t->matrix ? 2 : 1);
    }
    safetensors_divide(w, shard);
    run->put = put;
    run->put_ctx = w;
    PGR_TRY(export_tensors(p, run, f->err));
    return safetensors_write_end(w, bytes, f->err);
}

static pgr_status fill_part(folder_out *f, const export_plan *p, pgr_file_type type, bool untied, uint64_t shard,
                            export_run *run, pgr_written *out) {
    safetensors_writer w = {0};
    pgr_status status = put_tensors(f, p, shard, run, &w, &out->bytes);
    safetensors_write_abort(&w);
    for (size_t i = 0; status == PGR_OK && i < sizeof companions / sizeof *companions; i++)
        status = copy_file(f, companions[i]);
    if (status == PGR_OK) status = write_config(f, type, untied);
    out->tensors = p->n;
    out->bytes += f->bytes;
    return status;
}

/* ---- the name ---- */

static pgr_status remove_old(folder_out *f, const char *name) {
    const char *path;
    for (size_t i = 0; i < sizeof old_weights / sizeof *old_weights; i++) {
        if (fnmatch(old_weights[i], name, 0) != 0) continue;
        PGR_TRY(join(f, f->folder, name, &path));
        if (unlink(path) != 0) return fail_errno(f, path, errno);
    }
    return PGR_OK;
}

static pgr_status move_entry(folder_out *f, const char *name) {
    const char *from, *to;
    if (strcmp(name, pooling) == 0) {
        PGR_TRY(join(f, f->folder, name, &to));
        if (mkdir(to, 0777) != 0 && errno != EEXIST) return fail_errno(f, to, errno);
        PGR_TRY(move_entry(f, "1_Pooling/config.json"));
        PGR_TRY(join(f, f->part, name, &from));
        return rmdir(from) == 0 ? PGR_OK : fail_errno(f, from, errno);
    }
    PGR_TRY(join(f, f->part, name, &from));
    PGR_TRY(join(f, f->folder, name, &to));
    return rename(from, to) == 0 ? PGR_OK : fail_errno(f, to, errno);
}

/* A new or empty folder gets the part's place at once; into one with files they are moved one by one. */
static pgr_status give_name(folder_out *f, bool force) {
    if (rename(f->part, f->folder) == 0) return PGR_OK;
    if (!force || (errno != ENOTEMPTY && errno != EEXIST)) return fail_errno(f, f->folder, errno);
    PGR_TRY(each_entry(f, f->folder, remove_old));
    PGR_TRY(each_entry(f, f->part, move_entry));
    return rmdir(f->part) == 0 ? PGR_OK : fail_errno(f, f->part, errno);
}

/* ---- all of it ---- */

static export_types types_of(pgr_file_type type) {
    static const quant_type types[] = {
        [PGR_FILE_F32] = QUANT_F32, [PGR_FILE_F16] = QUANT_F16, [PGR_FILE_BF16] = QUANT_BF16};
    bool keep = type == PGR_FILE_KEEP;
    return (export_types){
        .keep = keep, .matrix = keep ? QUANT_F32 : types[type], .vectors_too = true, .vectors_keep = keep};
}

static pgr_status write_folder(folder_out *f, const export_adapter *adapters, size_t n, pgr_file_type type, bool force,
                               uint64_t shard, export_run *run, pgr_written *out) {
    export_plan plan;
    bool untied;
    PGR_TRY(check_folder(f, force));
    PGR_TRY(export_plan_make(f->c, adapters, n, EXPORT_AS_NAMED, types_of(type), &plan, &untied, f->err));
    pgr_status status = make_part(f);
    if (status == PGR_OK) status = fill_part(f, &plan, type, untied, shard, run, out);
    if (status == PGR_OK) status = give_name(f, force);
    if (status != PGR_OK) remove_part(f);
    export_plan_free(&plan);
    return status;
}

pgr_status export_folder(const checkpoint *c, const export_adapter *adapters, size_t n, pgr_file_type type,
                         const char *folder, bool force, uint64_t shard, export_run run, pgr_written *out,
                         pgr_error *err) {
    folder_out f = {.c = c, .err = err};
    size_t len = strlen(folder);
    while (len > 1 && folder[len - 1] == '/') len--;
    if (type > PGR_FILE_BF16)
        return fail(err, PGR_E_ARG, "%s: a safetensors folder has the types f32, f16 and bf16, not q8_0 and q4_0",
                    folder);
    f.folder = arena_strndup(&f.arena, folder, len);
    run.path = c->path;
    pgr_status status = f.folder ? write_folder(&f, adapters, n, type, force, shard, &run, out) : fail_mem(err);
    arena_free(&f.arena);
    return status;
}
