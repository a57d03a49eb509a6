/* The page's files: what is compiled in is what stands in src/page/web, and nothing in it makes markup of texts, runs
 * what a text says, or asks anybody but its own server. */
#include "../base/faults.h"

#include <dirent.h>
#include <string.h>

#include "base/file.h"
#include "page/files.h"

#define WEB PGR_SOURCE_DIR "/src/page/web/"

static buf unpacked(const page_file *f) {
    buf text = {0};
    pgr_error err = {0};
    if (page_file_unpack(f, &text, &err) != PGR_OK) fail_msg("%s: %s", f->name, err.message);
    return text;
}

static void what_is_compiled_in(void **state) {
    (void)state;
    size_t n = 0;
    DIR *d = opendir(WEB);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        char path[300];
        snprintf(path, sizeof path, WEB "%.200s", e->d_name);
        const page_file *f = page_file_find(e->d_name);
        if (!f) fail_msg("%s is not compiled in", e->d_name);
        buf want = {0}, have = unpacked(f);
        assert_int_equal(file_read(path, &want, NULL), PGR_OK);
        assert_int_equal(have.n, want.n);
        assert_memory_equal(have.data, want.data, want.n);
        assert_int_equal(strlen(f->etag), 66); /* 64 digits in quotes */
        buf_free(&want);
        buf_free(&have);
        n++;
    }
    closedir(d);
    assert_true(n >= 10);
    assert_non_null(page_file_find("chart.min.js"));
    assert_null(page_file_find("../files.c"));
    assert_null(page_file_find(""));
}

/* In our own files; Chart.js is Debian's. */
static void nothing_makes_markup(void **state) {
    (void)state;
    static const char *const never[] = {"innerHTML",      "outerHTML",     "insertAdjacentHTML",
                                        "document.write", "DOMParser",     "eval(",
                                        "Function(",      "setTimeout(\"", "javascript:",
                                        "srcdoc",         "localStorage.", "new Worker",
                                        "import(",        "https://",      "style="};
    for (const page_file *f = PAGE_FILES; f->name; f++) {
        if (strcmp(f->name, "chart.min.js") == 0) continue;
        buf text = unpacked(f);
        for (size_t i = 0; i < sizeof never / sizeof *never; i++)
            if (strstr(text.data, never[i])) fail_msg("%s has %s", f->name, never[i]);
        for (const char *at = text.data; (at = strstr(at, "http://")); at++)
            if (strncmp(at, "http://www.w3.org/2000/svg\"", 27) != 0) fail_msg("%s: %.60s", f->name, at);
        buf_free(&text);
    }
}

/* Scripts and styles are files of the page; no element has a handler. */
static void the_document(void **state) {
    (void)state;
    buf text = unpacked(page_file_find("index.html"));
    size_t n = 0;
    assert_null(strstr(text.data, "<style"));
    assert_null(strstr(text.data, " on"));
    for (const char *at = text.data; (at = strstr(at, "<script")); at++) {
        char name[64] = "";
        if (sscanf(at, "<script src=\"page/%63[a-z.]\"></script>", name) != 1) fail_msg("%.60s", at);
        if (!page_file_find(name)) fail_msg("%s is not there", name);
        n++;
    }
    assert_true(n > 5);
    buf_free(&text);
    assert_non_null(strstr(PAGE_POLICY, "default-src 'none'"));
    assert_null(strstr(PAGE_POLICY, "unsafe"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_compiled_in), cmocka_unit_test(nothing_makes_markup),
                                       cmocka_unit_test(the_document)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
