/* Runs as one file: its policy names exactly the scripts and styles that stand in it, and the data come back from it to
 * the byte, whatever they say. */
#include "../base/faults.h"

#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/scratch.h"
#include "base/base64.h"
#include "base/file.h"
#include "base/json.h"
#include "page/files.h"
#include "pgenrm_serve.h"

#define EVIL "</script><script>alert(1)</script><!-- ]]> \xE2\x80\xA8 \xC3\xA9"

static void put(const char *folder, const char *name, const char *text) {
    char name_below[90];
    mkdir(path_of(folder), 0777);
    snprintf(name_below, sizeof name_below, "%.40s/%.40s", folder, name);
    write_bytes(name_below, text, strlen(text));
}

static buf site_of(const char *folder) {
    buf text = {0};
    pgr_error err = {0};
    size_t n = 0;
    if (pgr_report_write(path_of(folder), path_of("site"), &n, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_true(n > 0);
    assert_int_equal(file_read(path_of("site/index.html"), &text, NULL), PGR_OK);
    return text;
}

static const char ROWS[] = "{\"data\":\"" EVIL "\",\"method\":\"x\"}\n";
static const char METRICS[] = "{\"step\":1,\"loss\":2}\nno JSON \xff\n";

static int begin(void **state) {
    if (make_folder(state) != 0) return -1;
    mkdir(path_of("runs"), 0777);
    put("runs/a<b", "rows.jsonl", ROWS);
    put("runs/t", "metrics.jsonl", METRICS);
    put("empty", "else.txt", "x");
    return 0;
}

static const char *element(const char *at, const char *begin, const char *end, size_t *n) {
    const char *from = strstr(at, begin);
    if (!from) return NULL;
    from += strlen(begin);
    *n = (size_t)(strstr(from, end) - from);
    return from;
}

/* Every script and style that would run is allowed by its hash, nothing else is. */
static void the_policy(void **state) {
    (void)state;
    static const char *const kinds[][2] = {{"<script>", "</script>"}, {"<style>", "</style>"}};
    buf text = site_of("runs");
    size_t found = 0, allowed = 0, n = 0;
    const char *policy = element(text.data, "Content-Security-Policy\" content=\"", "\"", &n);
    assert_non_null(policy);
    assert_int_equal(strncmp(policy, "default-src 'none'; script-src 'sha256-", 39), 0);
    for (const char *at = policy; (at = strstr(at, "'sha256-")) && at < policy + n; at++) allowed++;
    assert_null(memmem(policy, n, "unsafe", 6));
    assert_null(memmem(policy, n, "'self'", 6));
    for (size_t k = 0; k < 2; k++)
        for (const char *at = text.data; (at = element(at, kinds[k][0], kinds[k][1], &n));) {
            struct sha256_ctx c;
            unsigned char digest[SHA256_DIGEST_SIZE];
            buf hash = {0};
            sha256_init(&c);
            sha256_update(&c, n, (const uint8_t *)at);
            sha256_digest(&c, sizeof digest, digest);
            buf_puts(&hash, "'sha256-");
            base64_put(&hash, digest, sizeof digest);
            buf_putc(&hash, '\'');
            if (!strstr(policy, hash.data)) fail_msg("%s: not allowed: %.60s", hash.data, at);
            buf_free(&hash);
            found++;
        }
    assert_int_equal(found, allowed);
    assert_true(found > 10);
    assert_null(strstr(text.data, "src=\"page"));
    assert_null(strstr(text.data, "href=\"page"));
    buf_free(&text);
}

static void the_data(void **state) {
    (void)state;
    buf text = site_of("runs");
    size_t n = 0;
    const char *at = element(text.data, "<script type=\"application/json\" id=\"kept\">", "</script>", &n);
    assert_non_null(at);
    assert_null(memchr(at, '<', n));
    json_t *v = json_loadb(at, n, 0, NULL);
    assert_non_null(v);
    assert_int_equal(json_array_size(json_object_get(v, "runs")), 2);
    const json_t *files = json_object_get(v, "files");
    assert_string_equal(json_string_value(json_object_get(files, "a<b/rows.jsonl")), ROWS);
    assert_string_equal(json_string_value(json_object_get(files, "t/metrics.jsonl")),
                        "{\"step\":1,\"loss\":2}\nno JSON \xEF\xBF\xBD\n");
    json_decref(v);
    buf_free(&text);
    text = site_of("runs/t"); /* a run itself */
    at = element(text.data, "id=\"kept\">", "</script>", &n);
    v = json_loadb(at, n, 0, NULL);
    assert_non_null(json_object_get(json_object_get(v, "files"), "metrics.jsonl"));
    json_decref(v);
    buf_free(&text);
}

static void what_is_not_there(void **state) {
    (void)state;
    pgr_error err = {0};
    assert_int_equal(pgr_report_write(path_of("empty"), path_of("none"), NULL, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "found no run"));
    assert_false(file_exists(path_of("none")));
    assert_int_equal(pgr_report_write("/nowhere", path_of("none"), NULL, &err), PGR_E_IO);
    assert_int_equal(pgr_report_write(path_of("runs"), path_of("empty/else.txt"), NULL, &err), PGR_E_IO);
    assert_int_equal(pgr_report_write(path_of("runs"), path_of("no/where"), NULL, &err), PGR_E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_policy), cmocka_unit_test(the_data),
                                       cmocka_unit_test(what_is_not_there)};
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
