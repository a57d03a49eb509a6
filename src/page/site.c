/* site.c - runs put together to one file: the page's document with its scripts, styles and the runs' data inside. What
 * it may do is what those scripts do, each named by its hash in a policy of its own. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base64.h"
#include "base/file.h"
#include "base/file_out.h"
#include "base/log.h"
#include "page/files.h"
#include "page/runs.h"
#include "pgenrm_serve.h"

enum { FILE_MOST = 64 << 20, SHA256 = 32 };

/* ---- data -------------------------------------------------------------------------------------------------------- */

/* JSON inside of a script element: no '<' of a text ends it. */
static void put_apart(buf *out, const char *json, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (json[i] == '<')
            buf_puts(out, "\\u003c");
        else
            buf_putc(out, json[i]);
    }
}

static pgr_status put_file(const char *folder, const char *run, const char *name, bool first, buf *out,
                           pgr_error *err) {
    buf path = {0}, text = {0};
    buf_printf(&path, strcmp(run, ".") == 0 ? "%.0s%s" : "%s/%s", run, name);
    pgr_status s = path.failed ? fail_mem(err) : runs_read(folder, path.data, 0, FILE_MOST, &text, err);
    if (s == PGR_OK) {
        buf_puts(out, first ? "" : ",");
        json_put_string(out, path.data, path.n);
        buf_putc(out, ':');
        json_put_string(out, text.data ? text.data : "", text.n);
    }
    buf_free(&path);
    buf_free(&text);
    return s;
}

/* {"runs": [...], "files": {path: text}} */
static pgr_status put_data(const char *folder, const json_t *runs, buf *out, pgr_error *err) {
    bool first = true;
    buf_puts(out, "{\"runs\":");
    json_put(out, runs, JSON_COMPACT);
    buf_puts(out, ",\"files\":{");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i), *size;
        const char *run_name = json_string_value(json_object_get(run, "name"));
        for (size_t k = 0; RUN_FILES[k]; k++) {
            if (!(size = json_object_get(json_object_get(run, "files"), RUN_FILES[k]))) continue;
            if (json_integer_value(size) > FILE_MOST)
                log_warn("%s: %s has more than %d MiB, the first of them are shown", run_name, RUN_FILES[k],
                         FILE_MOST >> 20);
            PGR_TRY(put_file(folder, run_name, RUN_FILES[k], first, out, err));
            first = false;
        }
    }
    buf_puts(out, "}}");
    return PGR_OK;
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

static int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* " 'sha256-...'" of the file, from the hexadecimal one of its etag. */
static void put_hash(const page_file *f, buf *out) {
    unsigned char bytes[SHA256];
    for (size_t i = 0; i < SHA256; i++)
        bytes[i] = (unsigned char)(digit(f->etag[1 + 2 * i]) << 4 | digit(f->etag[2 + 2 * i]));
    buf_puts(out, " 'sha256-");
    base64_put(out, bytes, SHA256);
    buf_putc(out, '\'');
}

static bool has_ending(const page_file *f, const char *ending) {
    size_t n = strlen(f->name), k = strlen(ending);
    return n > k && strcmp(f->name + n - k, ending) == 0;
}

static void put_policy(buf *out) {
    static const char *const kinds[][2] = {{"script-src", ".js"}, {"; style-src", ".css"}};
    buf_puts(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    for (size_t k = 0; k < 2; k++) {
        buf_puts(out, kinds[k][0]);
        for (const page_file *f = PAGE_FILES; f->name; f++)
            if (has_ending(f, kinds[k][1])) put_hash(f, out);
    }
    buf_puts(out, "; base-uri 'none'; form-action 'none'\">\n");
}

/* The file that a line of the document names; NULL: it names none. */
static const page_file *named(const char *line, size_t n) {
    char name[64];
    const char *at = memmem(line, n, "=\"page/", 7);
    size_t k = at ? strcspn(at + 7, "\"") : 0;
    if (!at || k >= sizeof name) return NULL;
    memcpy(name, at + 7, k);
    name[k] = '\0';
    return page_file_find(name);
}

static pgr_status put_inside(const page_file *f, buf *out, pgr_error *err) {
    const char *element = has_ending(f, ".js") ? "script" : "style";
    if (!has_ending(f, ".js") && !has_ending(f, ".css")) return PGR_OK; /* the icon stays with the server */
    buf_printf(out, "<%s>", element);
    PGR_TRY(page_file_unpack(f, out, err));
    buf_printf(out, "</%s>\n", element);
    return PGR_OK;
}

/* Line by line: what is named comes in, the policy behind the character set, the data before the first script. */
static pgr_status put_document(const char *text, const buf *data, buf *out, pgr_error *err) {
    bool told = false;
    for (size_t n; *text; text += n) {
        n = strcspn(text, "\n");
        n += text[n] == '\n';
        const page_file *f = named(text, n);
        if (f && has_ending(f, ".js") && !told) {
            buf_puts(out, "<script type=\"application/json\" id=\"kept\">");
            put_apart(out, data->data, data->n);
            buf_puts(out, "</script>\n");
            told = true;
        }
        if (f)
            PGR_TRY(put_inside(f, out, err));
        else
            buf_add(out, text, n);
        if (strncmp(text, "<meta charset", 13) == 0) put_policy(out);
    }
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static pgr_status make_folder(const char *path, pgr_error *err) {
    char text[128];
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && file_is_folder(path))) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: cannot be made: %s", path, strerror_r(errno, text, sizeof text));
}

static pgr_status write_site(const char *folder, const json_t *runs, const char *site, pgr_error *err) {
    buf data = {0}, document = {0}, out = {0}, path = {0};
    pgr_status s = put_data(folder, runs, &data, err);
    buf_printf(&path, "%s/index.html", site);
    if (s == PGR_OK && (data.failed || path.failed)) s = fail_mem(err);
    if (s == PGR_OK) s = page_file_unpack(page_file_find("index.html"), &document, err);
    if (s == PGR_OK) s = put_document(document.data, &data, &out, err);
    if (s == PGR_OK) s = make_folder(site, err);
    if (s == PGR_OK) s = file_write(path.data, out.data, out.n, err);
    buf_free(&data);
    buf_free(&document);
    buf_free(&out);
    buf_free(&path);
    return s;
}

pgr_status pgr_report_write(const char *folder, const char *site, size_t *n, pgr_error *err) {
    json_t *runs = NULL;
    if (!folder || !site) return fail(err, PGR_E_ARG, "pgr_report_write: found NULL, expected two folders");
    json_setup();
    PGR_TRY(runs_list(folder, &runs, err));
    size_t count = json_array_size(runs);
    pgr_status s = PGR_OK;
    if (count == 0)
        s = fail(err, PGR_E_ARG, "%s: found no run, expected what bench or train wrote (rows.jsonl, metrics.jsonl)",
                 folder);
    if (s == PGR_OK) s = write_site(folder, runs, site, err);
    json_decref(runs);
    if (s == PGR_OK && n) *n = count;
    return s;
}
