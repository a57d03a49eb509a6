/* test_curves.c - the page of a run's curves: every number is drawn, text is text, tags are closed, long runs stay
 * short pages, and what is no metrics file is told. */

#include "train_fixture.h"

#include "train/curves.h"

static const char *draw(const char *lines, buf *page) {
    pgr_error err = {0};
    const char *path = write_text("metrics.jsonl", lines);
    char folder[300];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (curves_write(folder, path, "psi", &err) != PGR_OK) fail_msg("%s", err.message);
    buf_clear(page);
    assert_int_equal(file_read(path_of("curves.html"), page, &err), PGR_OK);
    return page->data;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

/* Every tag that is opened is closed by its own name: what an XML reader asks for. */
static void assert_closed(const char *text) {
    char open[64][16];
    size_t n = 0;
    for (const char *at = strstr(text, "<html"); (at = strchr(at, '<')); at++) {
        const char *name = at + 1 + (at[1] == '/'), *end = strchr(at, '>');
        size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        assert_non_null(end);
        assert_true(len > 0 && len < 16);
        if (at[1] == '/') {
            assert_true(n > 0 && strlen(open[n - 1]) == len && strncmp(open[n - 1], name, len) == 0);
            n--;
        } else if (end[-1] != '/') {
            assert_true(n < 64);
            snprintf(open[n++], 16, "%.*s", (int)len, name);
        }
    }
    assert_int_equal(n, 0);
}

static void test_page(void **state) {
    (void)state;
    buf page = {0};
    const char *text =
        draw("{\"step\":1,\"loss\":2,\"num_tokens\":100,\"step_time\":2,\"epoch\":0.1,\"kind\":\"taste\"}\n"
             "{\"step\":2,\"loss\":1.5,\"num_tokens\":300,\"step_time\":2,\"epoch\":0.2,\"kind\":\"a<b>&\"}\n"
             "{\"step\":3,\"loss\":null,\"num_tokens\":300,\"step_time\":2,\"kind\":\"taste\"}\n"
             "{\"step\":3,\"sample\":\"<script>one</script>\\ntwo\"}\n"
             "{\"step\":3,\"evaluation\":true,\"taste/own\":0.75,\"taste/own_se\":0.05,\"taste/rule\":0.8,"
             "\"taste/pairs\":40,\"taste/log_loss\":1.9}\n",
             &page);
    assert_closed(text);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp;"));
    assert_non_null(strstr(text, "&lt;script&gt;one&lt;/script&gt;\ntwo"));
    assert_null(strstr(text, "<script"));
    assert_int_equal(count(text, "http"), 1); /* the name of the document's kind: nothing from the net */
    /* own and rule together, log_loss by itself, loss (two kinds), step_time (two kinds), tokens per second */
    assert_int_equal(count(text, "<figure>"), 5);
    assert_int_equal(count(text, "<polyline"), 8);
    assert_non_null(strstr(text, "tokens per second"));
    assert_non_null(strstr(text, ">100</text>")); /* the last rate: 200 tokens in 2 s */
    buf_free(&page);
}

/* Ten thousand steps: their means, 300 at most, of which none is outside the picture. */
static void test_long(void **state) {
    (void)state;
    buf lines = {0}, page = {0};
    for (int i = 1; i <= 10000; i++)
        buf_printf(&lines, "{\"step\":%d,\"loss\":%g,\"learning_rate\":0}\n", i, 1e-7 * (i % 7));
    const char *text = draw(lines.data, &page);
    assert_closed(text);
    const char *points = strstr(text, "points=\"");
    assert_non_null(points);
    size_t n = 0;
    for (points += 8; *points != '"'; n++) {
        double x, y;
        int used;
        assert_int_equal(sscanf(points, "%lf,%lf %n", &x, &y, &used), 2);
        assert_true(x >= 0 && x <= 760 && y >= 0 && y <= 250);
        points += used;
    }
    assert_true(n > 200 && n <= 300);
    buf_free(&lines);
    buf_free(&page);
}

static void test_refusals(void **state) {
    (void)state;
    pgr_error err = {0};
    const char *path = write_text("metrics.jsonl", "{\"step\":1}\n{\"step\":\n");
    assert_int_equal(curves_write(path_of(""), path, "psi", &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "metrics.jsonl:2"));
    assert_int_equal(curves_write(path_of(""), path_of("none.jsonl"), "psi", &err), PGR_E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page), cmocka_unit_test(test_long),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
