/* hub_list.c - names, addresses, and the list of a model's files; see hub_list.h. What comes from the hub is foreign:
 * every name in it is checked before it becomes a path. */
#include "hub/hub_list.h"

#include <fnmatch.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

enum { FILES_MAX = 100000, NAME_MAX_BYTES = 512 };

static const char ALNUM[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* ---- the model's name ---- */

/* A part of an id: letters, digits, '-', '_', '.', not beginning with '.' or '-'. */
static bool part_valid(const char *s, size_t n) {
    if (n == 0 || s[0] == '.' || s[0] == '-') return false;
    for (size_t i = 0; i < n; i++)
        if (!strchr(ALNUM, s[i]) && !strchr("-_.", s[i])) return false;
    return true;
}

static bool revision_valid(const char *s) {
    if (!*s || *s == '/' || strstr(s, "..")) return false;
    for (; *s; s++)
        if (!strchr(ALNUM, *s) && !strchr("-_./+", *s)) return false;
    return true;
}

pgr_status hub_model_parse(const char *text, hub_model *out, pgr_error *err) {
    const char *at = strchr(text, '@'), *slash = strchr(text, '/');
    size_t n = at ? (size_t)(at - text) : strlen(text);
    const char *revision = at ? at + 1 : "main";
    hub_model m;
    if (n >= sizeof m.id || !slash || slash >= text + n || !part_valid(text, (size_t)(slash - text))
        || !part_valid(slash + 1, n - (size_t)(slash - text) - 1))
        return fail(err, PGR_E_ARG, "\"%.200s\": expected ORG/NAME or ORG/NAME@REVISION", text);
    if (strlen(revision) >= sizeof m.revision || !revision_valid(revision))
        return fail(err, PGR_E_ARG, "\"%.200s\": expected a branch, tag or commit after the @", text);
    memcpy(m.id, text, n);
    m.id[n] = '\0';
    strcpy(m.revision, revision);
    *out = m;
    return PGR_OK;
}

/* ---- names of files ---- */

static bool ends_with(const char *s, size_t n, const char *ending) {
    size_t k = strlen(ending);
    return n >= k && memcmp(s + n - k, ending, k) == 0;
}

bool hub_path_safe(const char *name) {
    size_t total = strlen(name);
    if (total == 0 || total > NAME_MAX_BYTES || !utf8_valid(name, total)) return false;
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F || *c == '\\') return false;
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || n > 200 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        if (ends_with(part, n, ".part") || ends_with(part, n, ".part.etag") || strncmp(part, ".pgenrm-pull", 12) == 0)
            return false;
        part += n;
        if (!*part) return true;
    }
}

bool hub_file_wanted(const char *name, bool all, const char *glob) {
    static const char *const endings[] = {".json", ".safetensors", ".gguf", ".jinja", ".txt", ".model"};
    if (glob && fnmatch(glob, name, 0) != 0) return false;
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(name, n, endings[i])) return true;
    return all;
}

/* ---- addresses ---- */

/* Percent-encoded but for what is plain in a path; keep: further bytes that stay. */
static void put_quoted(buf *b, const char *s, const char *keep) {
    for (; *s; s++)
        if (strchr(ALNUM, *s) || strchr("-_.~", *s) || strchr(keep, *s))
            buf_putc(b, *s);
        else
            buf_printf(b, "%%%02X", (unsigned char)*s);
}

char *hub_list_url(const char *endpoint, const hub_model *m) {
    buf b = {0};
    buf_printf(&b, "%s/api/models/%s/revision/", endpoint, m->id);
    put_quoted(&b, m->revision, "");
    buf_puts(&b, "?blobs=true"); /* sizes and checksums with the list; a hub that does not know it leaves them out */
    char *url = buf_take(&b);
    buf_free(&b);
    return url;
}

char *hub_file_url(const char *endpoint, const hub_model *m, const char *commit, const char *name) {
    buf b = {0};
    buf_printf(&b, "%s/%s/resolve/%s/", endpoint, m->id, commit);
    put_quoted(&b, name, "/");
    char *url = buf_take(&b);
    buf_free(&b);
    return url;
}

/* ---- the list ---- */

/* Size and checksum, where the hub tells them: {"size", "blobId", "lfs": {"size", "sha256"}}. */
static pgr_status parse_facts(const json_t *v, json_at at, hub_file *f, pgr_error *err) {
    const json_t *lfs = json_object_get(v, "lfs"), *size = json_object_get(v, "size");
    const char *hash = json_string_value(json_object_get(v, "blobId"));
    if (json_is_object(lfs)) {
        hash = json_string_value(json_object_get(lfs, "sha256"));
        if (json_object_get(lfs, "size")) size = json_object_get(lfs, "size");
    }
    f->size = -1;
    if (size && !json_is_null(size)) PGR_TRY(json_want_integer(size, at, 0, INT64_MAX / 4, &f->size, err));
    f->hash = hash ? hash_from_etag(hash) : (file_hash){0};
    return PGR_OK;
}

static pgr_status parse_file(const json_t *v, size_t i, const char *origin, hub_list *list, pgr_error *err) {
    char field[64];
    json_at at = {origin, field};
    hub_file *f = &list->files[i];
    const char *name = NULL;
    snprintf(field, sizeof field, "siblings[%zu]", i);
    PGR_TRY(json_want_object(v, at, err));
    snprintf(field, sizeof field, "siblings[%zu].rfilename", i);
    PGR_TRY(json_want_string(json_object_get(v, "rfilename"), at, &name, err));
    if (!hub_path_safe(name))
        return fail(err, PGR_E_FORMAT, "%s: %s: found \"%.100s\", expected a path below the model's folder", origin,
                    field, name);
    f->name = arena_strdup(&list->memory, name);
    if (!f->name) return fail_mem(err);
    snprintf(field, sizeof field, "siblings[%zu].size", i);
    return parse_facts(v, at, f, err);
}

static pgr_status refuse_twice(const json_t *siblings, const char *origin, pgr_error *err) {
    json_t *seen = json_object();
    pgr_status s = seen ? PGR_OK : fail_mem(err);
    for (size_t i = 0; i < json_array_size(siblings) && s == PGR_OK; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(siblings, i), "rfilename"));
        if (json_object_get(seen, name))
            s = fail(err, PGR_E_FORMAT, "%s: siblings[%zu]: \"%.100s\" comes twice", origin, i, name);
        else if (json_object_set_new(seen, name, json_true()) != 0)
            s = fail_mem(err);
    }
    json_decref(seen);
    return s;
}

static pgr_status parse_answer(const json_t *root, const char *origin, hub_list *list, pgr_error *err) {
    const char *commit = NULL;
    const json_t *siblings = json_object_get(root, "siblings");
    PGR_TRY(json_want_object(root, (json_at){origin, ""}, err));
    PGR_TRY(json_want_string(json_object_get(root, "sha"), (json_at){origin, "sha"}, &commit, err));
    size_t n = strlen(commit);
    if (n < 7 || n >= sizeof list->commit || strspn(commit, "0123456789abcdef") != n)
        return fail(err, PGR_E_FORMAT, "%s: sha: found \"%.100s\", expected a commit in hexadecimal", origin, commit);
    strcpy(list->commit, commit);
    PGR_TRY(json_want_array(siblings, (json_at){origin, "siblings"}, err));
    list->n = json_array_size(siblings);
    if (list->n > FILES_MAX)
        return fail(err, PGR_E_LIMIT, "%s: siblings: found %zu files, expected at most %d", origin, list->n, FILES_MAX);
    list->files = arena_array(&list->memory, list->n + 1, sizeof *list->files);
    if (!list->files) return fail_mem(err);
    for (size_t i = 0; i < list->n; i++) PGR_TRY(parse_file(json_array_get(siblings, i), i, origin, list, err));
    return refuse_twice(siblings, origin, err);
}

pgr_status hub_list_parse(const char *json, size_t len, const char *origin, hub_list *out, pgr_error *err) {
    json_t *root = NULL;
    hub_list list = {0};
    PGR_TRY(json_parse(json, len, origin, 1, &root, err));
    pgr_status s = parse_answer(root, origin, &list, err);
    json_decref(root);
    if (s == PGR_OK)
        *out = list;
    else
        hub_list_free(&list);
    return s;
}

void hub_list_free(hub_list *list) {
    arena_free(&list->memory);
    *list = (hub_list){0};
}
